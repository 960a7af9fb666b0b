"""Models in other runtimes: the comparison, processes that fail, and the node at which one goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import portable_nn as pnn
from portable_nn.core.errors import UsageError
from portable_nn.onnx.writing import to_model
from portable_nn.runtimes.processes import Job, brief, run_jobs
from portable_nn.runtimes.table import RUNTIMES, chosen
from portable_nn.runtimes.task import Port


def network() -> pnn.Network:
    layers = [pnn.Conv2d(3, 3), pnn.ReLU(), pnn.Flatten(), pnn.Dense(5), pnn.Tanh(), pnn.Dense(2)]
    return pnn.Sequential(pnn.Input(1, 8, 8), *layers, seed=0)


def one(name: str, model: Any = None, **options: Any) -> Any:
    [row] = pnn.check_runtimes(model or network(), runtimes=[name], **options).rows
    return row


@pytest.mark.long
def test_a_runtime_that_computes_the_same_agrees(stand_in: Any) -> None:
    report = pnn.check_runtimes(network(), runtimes=stand_in())
    [row] = report.rows
    assert (row.state, row.sizes, row.reason, row.node) == ("agrees", "open", "", "")
    assert row.error.max_rel_error < 1e-5
    assert (report.passes(), report.reference, report.batches) == (True, "numpy", (1, 3))


@pytest.mark.long
def test_errors_are_those_that_were_made(stand_in: Any) -> None:
    """A thousandth more in one output of a network whose largest one is 2: absolute and relative errors are known."""
    net = pnn.Sequential(pnn.Input(1), pnn.Clip(-2.0, 2.0), seed=0)
    row = one(stand_in(at_run="found = [found[0] + np.float32(0.001)]"), net, locate=False)
    assert row.state == "differs"
    assert row.error.max_abs_error == pytest.approx(0.001, rel=1e-3)
    one_round = 0.001 / row.error.max_rel_error  # Relative to the largest magnitude, of one round or another.
    assert 0 < one_round <= 2


@pytest.mark.long
def test_the_first_node_that_differs_is_found(stand_in: Any) -> None:
    wrong = "found = [found[0] * (1.001 if 'Tanh' in operators else 1)]; found = [found[0].astype('float32')]"
    row = one(stand_in(at_run=wrong))
    assert (row.state, row.node) == ("differs", "'tanh_1' (Tanh)")


@pytest.mark.long
def test_the_first_node_that_is_refused_is_found_with_the_words_of_the_runtime(stand_in: Any) -> None:
    row = one(stand_in(at_load="assert 'Flatten' not in operators, 'no Flatten here'"))
    assert (row.state, row.reason, row.node) == ("refused", "no Flatten here", "'flatten_1' (Flatten)")


@pytest.mark.long
def test_a_fault_in_a_branch_is_found_there(stand_in: Any) -> None:
    x = pnn.Input(4)
    left, right = pnn.Tanh(name="left")(x), pnn.Sigmoid(name="right")(x)
    both = pnn.concatenate(pnn.ReLU()(pnn.Dense(3)(left)), pnn.ReLU()(pnn.Dense(3)(right)))
    out = pnn.Dense(2, name="out")(both)
    wrong = "found = [(found[0] * (1.01 if 'Sigmoid' in operators else 1)).astype('float32')]"
    assert one(stand_in(at_run=wrong), pnn.Network(x, out, seed=0)).node == "'right' (Sigmoid)"


@pytest.mark.long
def test_what_runs_with_numbers_for_all_sizes_alone_is_said_to(stand_in: Any) -> None:
    row = one(stand_in(at_load="assert all(sizes), 'only numbers'"))
    assert (row.state, row.sizes) == ("agrees", "fixed")


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "state", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed", "ended by SIGSEGV"),
        ("os.write(2, b'the last word\\n'); os._exit(7)", "crashed", "ended with code 7: the last word"),
        ("time.sleep(100)", "timed out", "not done after 4 s"),
        ("np.ones(2**31)", "refused", "Unable to allocate 16.0 GiB"),
        ("raise SystemExit('enough')", "refused", "enough"),
        ("print('words'); os.write(1, b'more of them')", "agrees", ""),
        ("sys.stdout.close(); os.close(1)", "refused", "Bad file descriptor"),
        ("found = [found[0][:, :1]]", "differs", "output 'dense_2' is float32 (1, 1) and should be float32 (1, 2)"),
        ("found = [found[0].astype('float64')]", "differs", "is float64 (1, 2) and should be float32 (1, 2)"),
        ("found = [found[0] * np.float32('nan')]", "differs", ""),
    ],
)
def test_what_fails_is_a_row(stand_in: Any, fault: str, state: str, words: str) -> None:
    row = one(stand_in(at_run=fault), timeout=4, memory=2**32, locate=False)
    assert row.state == state
    assert words in row.reason
    report = pnn.check_runtimes(network(), runtimes=[row.runtime], timeout=4, memory=2**32, locate=False)
    assert report.passes() == (state == "agrees")


@pytest.mark.long
def test_after_a_crash_the_next_model_runs(stand_in: Any) -> None:
    name = stand_in(at_run="os._exit(3) if 'Tanh' in operators else None")
    x = np.ones((1, 4), np.float32)
    jobs = []
    for layer in (pnn.Tanh(), pnn.ReLU(), pnn.Tanh(), pnn.Sigmoid()):
        net = pnn.Sequential(pnn.Input(4), layer, seed=0)
        ends = (Port(net.graph.inputs[0].name, "float32", ("n", 4)),), (Port(net.graph.outputs[0], "float32", ()),)
        jobs.append(Job(to_model(net.graph, net.parameters).SerializeToString(), *ends, [{ends[0][0].name: x}]))
    answers = list(run_jobs(name, jobs, timeout=60, memory=2**33))
    assert [answer.outcome for answer in answers] == ["crashed", "ran", "crashed", "ran"]
    assert next(iter(answers[1].outputs[0].values())).tolist() == [[1, 1, 1, 1]]


@pytest.mark.long
def test_without_node_the_runtime_of_browsers_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    [row] = pnn.check_runtimes(network(), runtimes="web").rows
    assert (row.state, row.reason) == ("not installed", "npm install onnxruntime-web")


def _of_words(node: onnx.NodeProto, kind: int, path: Path) -> Path:
    """A file with an input of words."""
    ends = [
        helper.make_tensor_value_info(name, type_, ["N", 1]) for name, type_ in (("x", TensorProto.STRING), ("y", kind))
    ]
    graph = helper.make_graph([node], "words", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_inputs_of_words_are_compared_as_the_network_that_import_makes(tmp_path: Path) -> None:
    keys = {"keys_strings": ["a", "b"], "values_floats": [1.0, 2.0], "domain": "ai.onnx.ml"}
    path = _of_words(helper.make_node("LabelEncoder", ["x"], ["y"], **keys), TensorProto.FLOAT, tmp_path / "words.onnx")
    report = pnn.check_runtimes(path, runtimes="onnxruntime")
    assert report.passes()
    assert "the network that import makes was compared: 'x' is tensor(string)" in report.note
    assert report.note in " ".join(repr(report).split())


def test_what_nothing_can_be_compared_of_is_a_row_for_each_runtime(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    path = _of_words(node, TensorProto.STRING, tmp_path / "words.onnx")
    report = pnn.check_runtimes(path, runtimes="onnxruntime,reference")
    assert [row.state for row in report.rows] == ["refused", "refused"]
    assert "'x' is tensor(string), not an array of numbers" in report.note
    assert (report.reference, report.passes()) == ("nothing", False)


def test_what_is_not_installed_is_a_row_and_no_failure(stand_in: Any) -> None:
    missing = stand_in(packages=("no-such-package-anywhere",))
    row = one(missing)
    assert (row.state, row.version, row.reason) == ("not installed", None, "pip install it")
    assert not pnn.check_runtimes(network(), runtimes=[missing]).passes()
    assert pnn.check_runtimes(network(), runtimes=[missing, stand_in()]).passes()


@pytest.mark.long
def test_known_disagreements_of_the_runtime_explain_a_failure(stand_in: Any, tmp_path: Path) -> None:
    """A transposed convolution with output_shape: that OpenCV differs there is in the table of known disagreements."""
    from onnx import TensorProto, helper, numpy_helper

    kernel = numpy_helper.from_array(np.ones((1, 1, 2, 2), np.float32), "w")
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], name="up", strides=[2, 2], output_shape=[6, 6])
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1, *sizes])
        for name, sizes in (("x", (3, 3)), ("y", (6, 6)))
    ]
    model = helper.make_model(
        helper.make_graph([node], "g", ends[:1], ends[1:], [kernel]), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    (tmp_path / "up.onnx").write_bytes(model.SerializeToString())
    row = one(stand_in(at_run="found = [found[0] * np.float32(2)]"), tmp_path / "up.onnx")
    assert row.node == "'up' (ConvTranspose)"
    assert "OpenCV 5.0 gives an output of another size" in " ".join(row.explanations)


def test_unknown_names_are_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="not 'openvin'"):
        pnn.check_runtimes(network(), runtimes="tract,openvin")
    assert chosen("all") == tuple(RUNTIMES)
    assert chosen("tract, tract") == ("tract",)
    with pytest.raises(UsageError, match="at least one"):
        chosen([])


def test_words_of_runtimes_are_on_one_line_without_paths() -> None:
    said = "\x1b[31mError\x1b[0m:\n  at /usr/lib/python3/site-packages/a/b.py:3 of 0x7f0012345678"
    assert brief(said) == "Error: at b.py:3 of"
    assert len(brief("x" * 1000)) < 300


def test_the_process_of_a_runtime_imports_neither_onnx_nor_this_package_s_network() -> None:
    """Some runtimes cannot live beside onnx."""
    code = "import sys, portable_nn.runtimes.side; print({'onnx', 'portable_nn.network'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.long
def test_the_command_has_a_table_json_and_an_exit_code(stand_in: Any, capsys: Any, monkeypatch: Any) -> None:
    from portable_nn.cli import main

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["portable-nn", "check", "digits-mlp", *words])
        return main(), capsys.readouterr().out

    code, text = run("--runtimes", stand_in())
    assert code == 0
    assert "OpenCV" in text
    assert "agrees" in text
    code, text = run("--runtimes", stand_in(at_run="found = [found[0] * 0]"), "--format", "json")
    assert code == 1
    [row] = json.loads(text)["runtimes"]["runtimes"]
    assert row["state"] == "differs"
    assert row["outputs"]["digit"]["max_rel_error"] == pytest.approx(1)
    assert row["node"]
    assert run("--runtimes", "nothing")[0] == 2


@pytest.mark.long
@pytest.mark.parametrize("name", ["onnxruntime", "reference"])
def test_what_the_package_needs_anyhow_agrees(name: str) -> None:
    row = one(name, rtol=1e-5)
    assert (row.state, row.sizes) == ("agrees", "open")


@pytest.mark.long
def test_what_numpy_cannot_run_is_compared_with_onnxruntime(stand_in: Any, tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Abs", ["x"], ["positive"], name="first"),
        helper.make_node("SequenceConstruct", ["positive", "x"], ["both"], name="second"),
        helper.make_node("ConcatFromSequence", ["both"], ["y"], name="third", axis=0),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [size]) for name, size in (("x", 4), ("y", 8))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "both.onnx").write_bytes(model.SerializeToString())
    report = pnn.check_runtimes(tmp_path / "both.onnx", runtimes=["onnxruntime", stand_in()])
    assert (report.reference, [row.state for row in report.rows]) == ("onnxruntime", ["agrees", "agrees"])
    wrong = stand_in(at_run="found = [found[0] + np.float32('ConcatFromSequence' in operators)]")
    assert one(wrong, tmp_path / "both.onnx").node == "'third' (ConcatFromSequence)"


@pytest.mark.long
@pytest.mark.parametrize("name", ["openvino", "tract", "opencv", "mnn"])
@pytest.mark.parametrize("model", ["digits-mlp", "digits-cnn", "digits-gan", "altimetry-surface"])
def test_shipped_models_agree_in_the_light_runtimes(name: str, model: str) -> None:
    row = one(name, model)
    if row.state == "not installed":
        pytest.skip(row.reason)
    assert (row.state, row.reason, row.sizes) == ("agrees", "", "open")
