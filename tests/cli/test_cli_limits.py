"""Numbers that no computer can work with, and commands that would never end."""

from __future__ import annotations

import inspect
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, parser
from test_cli_files import LINES, MODEL
from test_cli_main import PATHS

from portable_nn.cli import conventions, module_of

ENDLESS = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 4] x) => (float[N, 4] y) {
    n = Constant <value = int64 {4611686018427387904}> ()
    go = Constant <value = bool {1}> ()
    y = Loop (n, go, x) <body = b (int64 i, bool c, float[N, 4] v) => (bool d, float[N, 4] w)
        { d = Identity (c) w = Neg (v) }>
}"""
"""A model that loops 2^62 times."""


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    onnx.save(parser.parse_model(ENDLESS), tmp_path / "endless.onnx")
    (tmp_path / "rows.csv").write_text("1,2,3,4\n")
    return tmp_path


@pytest.mark.long
def test_a_model_that_never_ends_is_ended(shell, endless):
    began = time.monotonic()
    found = shell("predict", "endless.onnx", "rows.csv", "--timeout", "3", timeout=60)
    told = "error: not done after 3 s (--timeout), and stopped: the model may never end, or need more time\n"
    assert found == (3, "", told)
    assert time.monotonic() - began >= 3


@pytest.mark.long
def test_what_is_done_in_time_is_the_same(shell, digits_csv):
    line = ["predict", "digits-mlp", "-", "--format", "json"]
    found = shell(*line, "--timeout", "300", input=digits_csv.read_text())
    assert found == shell(*line, input=digits_csv.read_text())
    assert found.code == 0


@pytest.mark.long
def test_nor_is_an_error_another(shell, run):
    assert shell("inspect", "nothing.onnx", "--timeout", "300") == run("inspect", "nothing.onnx")


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_a_command_whose_parent_was_killed_ends_itself(endless, monkeypatch):
    program = "from portable_nn.cli import main, timing; timing.GRACE = 0; timing.has_limit = True; main()"
    line = [sys.executable, "-c", program, "predict", "endless.onnx", "rows.csv", "--timeout", "2"]
    assert subprocess.run(line, cwd=endless, timeout=60, check=False).returncode == -14


@pytest.mark.parametrize("seconds", ["0", "-1", "1e7"])
def test_a_limit_of_no_time(run, seconds):
    told = f"error: --timeout must be a number of seconds above 0, at most 1,000,000, not {float(seconds):g}\n"
    assert run("models", "list", "--timeout", seconds) == (2, "", told)


def numbers(kind: type) -> Iterator[tuple[str, str]]:
    """The options of every command whose value is a number of that kind."""
    for path in PATHS:
        found: Any = conventions.with_conventions(module_of(*path))
        for option in inspect.signature(found).parameters.values():
            if option.annotation.__origin__ in {kind, kind | None}:
                yield " ".join(path), conventions._flag(option)


def line_of(command: str, tmp_path: Path) -> list[str]:
    """A line of a command that would read and write."""
    ends = {"convert": ["new.h5"], "export": ["new.onnx"], "import": ["new.h5"]}
    end = ends.get(command, ["--out", "new.h5"] if command in {"calibrate", "train", "tune"} else [])
    (tmp_path / MODEL).touch()
    return [*LINES[command].split(), *end]


@pytest.mark.parametrize(("command", "flag"), [*numbers(int)], ids=" ".join)
def test_whole_numbers_beyond_those_of_arrays_and_files(run, tmp_path, command, flag):
    code, out, err = run(*line_of(command, tmp_path), flag, str(2**63))
    assert (code, out, err) == (2, "", f"error: {flag} must be at most {2**63 - 1}\n")
    assert run(*line_of(command, tmp_path), flag, "9" * 5000).code == 2


@pytest.mark.parametrize(("command", "flag"), [*numbers(float)], ids=" ".join)
def test_numbers_that_are_not_finite(run, tmp_path, command, flag):
    value = "-inf" if len(command + flag) % 2 else "nan"
    found = run(*line_of(command, tmp_path), flag, value)
    assert found == (2, "", f"error: {flag} must be a finite number, not {value}\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "export digits-mlp x.onnx --dim batch=99999999999999999999",
            "--dim needs NAME=SIZE, such as height=224 or height=width, ",
        ),
        (f"export digits-mlp x.onnx --external-data {'9' * 400}", "--external-data needs a number of bytes such as "),
        ("size net digits-mlp --in 99999999999999999999,784", "expected sizes such as N,3,224,224, not "),
        (f"size net digits-mlp --in {'9' * 5000},784", "expected sizes such as N,3,224,224, not "),
        ("simulate run --steps 1000000000", "1,000,000,001 points of 1 runs would take 16.0 GB: "),
        (
            "simulate compare --steps 1000000000",
            "1,000,000,001 points of 1 runs would take 16.0 GB: keep fewer with ",
        ),
    ],
)
def test_sizes_beyond_all_memory(run, line, message):
    code, out, err = run(*line.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="memory cannot be limited")
@pytest.mark.parametrize(
    "line",
    [
        "train 784-2000000-10 digits.csv --validation 0 --out x.npz",
        "predict digits-gan --samples 1000000000 --out x.npy",
    ],
)
def test_memory_that_is_not_there(shell, digits_csv, line):
    import resource

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))

    code, out, err = shell(*line.split(), preexec_fn=limited)
    assert (code, out) == (3, "")
    assert err.startswith("error: there is not enough memory: Unable to allocate ")
    assert err.count("\n") == 1


# Models that few programs write


def saved(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], opsets: Any = (("", 17),)) -> Path:
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(*each) for each in opsets], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def value(name: str, shape: Any = ("N", 4), kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


NEG = helper.make_node("Neg", ["x"], ["y"])
NOTHING = helper.make_graph([], "nothing", [], [])
IF = helper.make_node("If", ["c"], [], then_branch=NOTHING, else_branch=NOTHING)
ODD: dict[str, Any] = {
    "no outputs": ([NEG], [value("x")], []),
    "no inputs": ([NEG], [], [value("y")]),
    "nothing": ([], [], []),
    "batch 0": ([NEG], [value("x", (0, 4))], [value("y", (0, 4))]),
    "an If without outputs": ([IF, NEG], [value("x"), value("c", (), TensorProto.BOOL)], [value("y")]),
    "no standard opset": ([NEG], [value("x")], [value("y")], [("other", 1)]),
    "no opset": ([NEG], [value("x")], [value("y")], []),
    **{f"type {kind}": ([NEG], [value("x", kind=kind)], [value("y", kind=kind)]) for kind in (0, 8, 14, 17, 23, 99)},
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(
    "line",
    [
        "inspect", "check", "size net", "predict rows.csv", "predict rows.csv --engine numpy", "import new.npz",
        "convert new.h5",
    ],
)  # fmt: skip
def test_odd_models(run, tmp_path, kind, line):
    saved(tmp_path / "odd.onnx", *ODD[kind])
    np.savetxt(tmp_path / "rows.csv", np.ones((2, 4)), delimiter=",")
    verb, *rest = line.replace("size net", "size_net").split()
    code, _, err = run(*verb.split("_"), "odd.onnx", *rest)
    assert code in range(5)
    assert "fault of" not in err


def test_what_is_said_of_a_model_without_outputs_or_examples(run, tmp_path):
    np.savetxt(tmp_path / "rows.csv", np.ones((2, 4)), delimiter=",")
    saved(tmp_path / "a.onnx", *ODD["no outputs"])
    saved(tmp_path / "b.onnx", *ODD["batch 0"])
    told = run("predict", "b.onnx", "rows.csv").err
    assert told == "error: b.onnx: input 'x' is float32(0, 4); predict needs a batch of examples of one known shape\n"
    assert "has no outputs" in run("predict", "a.onnx", "rows.csv").err


@pytest.mark.long
@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
@pytest.mark.parametrize("letter", list("xynpgkvdN"))
def test_names_that_are_not_utf8(run, tmp_path, engine, letter):
    """In protobuf messages of version 2 any bytes can be text."""
    node = helper.make_node("Neg", ["xxxx"], ["yyyy"], name="nnnn")
    model = onnx.load(saved(tmp_path / "a.onnx", [node], [value("xxxx", ("NNNN", 4))], [value("yyyy", ("NNNN", 4))]))
    model.producer_name, model.graph.name, model.doc_string = "pppp", "gggg", "dddd"
    model.metadata_props.add(key="kkkk", value="vvvv")
    data = model.SerializeToString().replace(4 * letter.encode(), letter.encode() + b"\xff\xfe" + letter.encode())
    (tmp_path / "a.onnx").write_bytes(data)
    np.savetxt(tmp_path / "rows.csv", np.ones((2, 4)), delimiter=",")
    for line in (f"predict a.onnx rows.csv --engine {engine}", "inspect a.onnx", "check a.onnx", "import a.onnx b.npz"):
        code, _, err = run(*line.split())
        assert code in range(5), err


def test_a_model_of_functions_of_its_own_without_a_standard_opset(run, tmp_path):
    """Its functions say which opset their nodes are of."""
    model = parser.parse_model("""<ir_version: 8, opset_import: ["own" : 1]> g (float[N, 1] x) => (float[N, 1] y) {
        y = own.twice (x)
    }
    <domain: "own", opset_import: ["" : 17]> twice (a) => (b) { b = Add (a, a) }""")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "x.csv").write_text("1.5\n-2\n")
    found = run("predict", "m.onnx", "x.csv", "--engine", "numpy", "--format", "json")
    assert [row["values"] for row in found.json["results"]] == [[3.0], [-4.0]]
    assert run("import", "m.onnx", "m.h5", "--verify", "none").code == 0


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_an_input_that_is_a_single_number(run, tmp_path, kind):
    """It is imported, and both engines agree on it."""
    nodes = [helper.make_node("Cast", ["s"], ["t"], to=TensorProto.FLOAT), helper.make_node("Mul", ["x", "t"], ["y"])]
    saved(tmp_path / "m.onnx", nodes, [value("x"), value("s", (), kind)], [value("y")])
    code, out, err = run("import", "m.onnx", "m.h5")
    assert (code, "written  m.h5" in out) == (0, True), err
