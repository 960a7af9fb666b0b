"""Models of other programs that would compute for ever in onnxruntime, or end the process, end with a message."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, parser

import portable_nn as pnn
from portable_nn.analysis.onnx import multiply_adds_of
from portable_nn.core.errors import FormatError, GraphError, UnsupportedError
from portable_nn.core.limits import SECONDS, SPEED
from portable_nn.opening.kinds import open_model
from portable_nn.opening.onnx_limit import FileLimit
from portable_nn.scale import Predictor

X = np.ones((2, 3), np.float32)

HEAD = '<ir_version: 8, opset_import: ["" : 17, "loops" : 1]> g (float[N, 3] x) => (float[N, 3] y) '

BODY = "<body = b (int64 i, bool c, float[N, 3] v) => (bool d, float[N, 3] w) { d = Identity (c) w = Neg (v) }>"


def turns(count: int) -> str:
    return f"n = Constant <value = int64 {{{count}}}> () go = Constant <value = bool {{1}}> ()"


ENDLESS = {
    "turns": HEAD + f"{{ {turns(2**63 - 1)} y = Loop (n, go, x) {BODY} }}",
    "no number of turns": HEAD + f"{{ y = Loop (, , x) {BODY} }}",
    "steps without elements": HEAD
    + """{
        sizes = Constant <value = int64[2] {4611686018427387904, 0}> ()
        nothing = ConstantOfShape (sizes)
        y = Scan <num_scan_inputs = 1, body = b (float[N, 3] v, float[0] s) => (float[N, 3] w) { w = Neg (v) }>
            (x, nothing)
    }""",
    "a loop in a branch": HEAD
    + f"""{{
        {turns(2**63 - 1)} half = Constant <value = float {{0.5}}> ()
        mean = ReduceMean <keepdims = 0> (x) large = Greater (mean, half)
        y = If (large) <
            then_branch = t () => (float[N, 3] a) {{ a = Loop (n, go, x) {BODY} }},
            else_branch = e () => (float[N, 3] b) {{ b = Identity (x) }}
        >
    }}""",
    "a loop in a function": HEAD
    + f"""{{ y = loops.turn (x) }}
    <domain: "loops", opset_import: ["" : 17]> turn (x) => (y) {{ {turns(2**63 - 1)} y = Loop (n, go, x) {BODY} }}""",
}


def saved(text: str, folder: Path, name: str = "m.onnx") -> Path:
    onnx.save(parser.parse_model(text), folder / name)
    return folder / name


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is little time."""
    monkeypatch.setenv("PORTABLE_NN_TIME", "0.2")


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_model_ends_with_a_message(tmp_path: Path, name: str) -> None:
    path = saved(ENDLESS[name], tmp_path)
    loop = "Scan" if name == "steps without elements" else "Loop"
    said = rf"m\.onnx: is not done after 0\.2 s of processor time, .* it has loops, '\w+' \({loop}\), whose "
    with pytest.raises(FormatError, match=said + "turns nothing limits; at most 0.2 s .* unless --timeout or PORTABLE"):
        pnn.run(path, X)


USES: dict[str, Callable[[Path], Any]] = {
    "predict": lambda path: list(pnn.predict(path, X)),
    "evaluate": lambda path: pnn.evaluate(path, X, np.zeros(2, int), task="classes"),
    "calibrate": lambda path: pnn.calibrate(path, X, [0, 1]),
    "Predictor": lambda path: Predictor(str(path))(X),
    "check_runtimes": lambda path: pnn.check_runtimes(path, runtimes="onnxruntime"),
}


@pytest.mark.quick("predict")
@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("use", USES)
def test_whatever_runs_it(tmp_path: Path, use: str) -> None:
    with pytest.raises((FormatError, pnn.PortableNNError), match=r"is not done after|'loop' \(Loop\): goes through"):
        USES[use](saved(ENDLESS["turns"], tmp_path))


def test_a_loop_that_ends_is_computed(tmp_path: Path) -> None:
    path = saved(HEAD + f"{{ {turns(1001)} y = Loop (n, go, x) {BODY} }}", tmp_path)
    np.testing.assert_array_equal(pnn.run(path, X)["y"], -X)


@pytest.mark.usefixtures("hurried")
def test_two_at_once(tmp_path: Path) -> None:
    """One that ends is not held up by one that does not."""
    from threading import Thread

    endless, short = saved(ENDLESS["turns"], tmp_path), HEAD + f"{{ {turns(11)} y = Loop (n, go, x) {BODY} }}"
    errors = list[Exception]()

    def run() -> None:
        try:
            pnn.run(endless, X)
        except FormatError as error:
            errors.append(error)

    thread = Thread(target=run)
    thread.start()
    np.testing.assert_array_equal(pnn.run(saved(short, tmp_path, "short.onnx"), X)["y"], -X)
    thread.join()
    assert len(errors) == 1


# -- how long it may take


COUNTED = {
    "a loop once": (HEAD + f"{{ {turns(5)} y = Loop (n, go, x) " + BODY.replace("Neg (v)", "MatMul (v, k)") + " }", 18),
    "a loop in a loop": (
        HEAD
        + f"{{ {turns(5)} y = Loop (n, go, x) <body = a (int64 i, bool c, float[N, 3] v) => (bool d, float[N, 3] w) "
        + "{ d = Identity (c) u = MatMul (v, k) w = Loop (n, go, u) <body = b "
        + "(int64 j, bool e, float[N, 3] p) => (bool f, float[N, 3] q) { f = Identity (e) q = MatMul (p, k) }> }> }",
        36,
    ),
    "both branches": (
        HEAD
        + """{
        half = Constant <value = float {0.5}> () mean = ReduceMean <keepdims = 0> (x) large = Greater (mean, half)
        y = If (large) <
            then_branch = t () => (float[N, 3] a) { a = MatMul (x, k) },
            else_branch = e () => (float[N, 3] b) { u = MatMul (x, k) b = MatMul (u, k) }
        > }""",
        54,
    ),
    "each step of a sequence once": (
        HEAD
        + """{
        y = Scan <num_scan_inputs = 1, body = b (float[2, 3] v, float[3] s) => (float[2, 3] w)
            { u = MatMul (v, k) w = Add (u, s) }> (x, k)
        }""",
        18,
    ),
}
"""Models and their multiply-adds for two examples: a product with the matrix k, 3 times 3, has 2 · 3 · 3."""


@pytest.mark.parametrize("name", COUNTED)
def test_multiply_adds_of_loops_and_branches(name: str) -> None:
    text, expected = COUNTED[name]
    model = parser.parse_model(text)
    model.graph.initializer.append(helper.make_tensor("k", TensorProto.FLOAT, [3, 3], [0.1] * 9))
    onnx.checker.check_model(model, full_check=True)
    assert multiply_adds_of(model, {"x": (2, 3)}, "m.onnx") == expected


def test_the_time_follows_examples_and_multiply_adds(tmp_path: Path) -> None:
    text, counted = COUNTED["a loop once"]
    model = parser.parse_model(text.replace("{5}", "{50}"))  # Few turns are nodes, which end.
    model.graph.initializer.append(helper.make_tensor("k", TensorProto.FLOAT, [3, 3], [0.1] * 9))
    onnx.save(model, tmp_path / "m.onnx")
    seconds = open_model(tmp_path / "m.onnx").limit.seconds({"x": (2, 3)})  # type: ignore[attr-defined]
    assert list(seconds) == [2 * SECONDS, 2 * SECONDS + 20 * counted / SPEED]


def test_a_model_whose_end_is_known_has_no_limit(tmp_path: Path) -> None:
    path = saved(HEAD + "{ y = Neg (x) }", tmp_path)
    limit = open_model(path).limit  # type: ignore[attr-defined]
    assert limit.seconds({}) is None
    assert limit.seconds({"x": (1000, 3)}) is None


def test_one_that_is_too_large_to_be_read_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portable_nn.opening.onnx_limit.SMALL", 10)
    path = saved(HEAD + "{ y = Neg (x) }", tmp_path)
    assert list(open_model(path).limit.seconds({"x": (3, 3)})) == [180, 180]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(pnn.run(path, X)["y"], -X)


def test_the_network_is_looked_for_once(tmp_path: Path) -> None:
    path, asked = saved(ENDLESS["turns"], tmp_path), list[int]()

    def network() -> pnn.Network:
        asked.append(1)
        raise FormatError(path, "has a loop")

    limit = FileLimit(path, network)
    assert limit.seconds({}) is not None
    assert limit.seconds({"x": (1, 3)}) is not None
    assert asked == [1]


def test_claims_grow_with_the_batch(tmp_path: Path) -> None:
    """What one example claims is little, and what a thousand claim together is too much for any of them."""
    path = saved(
        HEAD.replace("float[N, 3] y", "float[N, N] y")
        + """{
        t = Transpose (x) g = MatMul (x, t) s = Shape (g) r = Concat <axis = 0> (s, s) b = Expand (g, r)
        y = ReduceMax <axes = [0, 1], keepdims = 0> (b) }""",
        tmp_path,
    )
    assert pnn.run(path, X)["y"].shape == (2, 2)
    with pytest.raises(GraphError, match=r"'expand' \(Expand\): takes .* of memory"):
        pnn.run(path, np.ones((200, 3), np.float32))


# -- kernels that do not end by themselves: in processes of their own, which their threads would outlive


def vast(operator: str) -> str:
    """A node on an array without elements, whose kernel makes a turn for each of 2^62 rows."""
    return (
        HEAD
        + f"""{{
        sizes = Constant <value = int64[3] {{4611686018427387904, 0, 0}}> ()
        nothing = ConstantOfShape (sizes) none, place, back, count = {operator} <axis = 0> (nothing)
        number = Size (none) zero = Cast <to = 1> (number) y = Add (x, zero) }}"""
    )


STUCK = {
    "kernel": vast("Unique"),
    "loop without nodes": HEAD
    + f"""{{ {turns(2**63 - 1)}
        y = Loop (n, go, x) <body = b (int64 i, bool c, float[N, 3] v) => (bool c, float[N, 3] v) {{ }}> }}""",
    "functions": HEAD
    + "{ y = loops.f30 (x) }"
    + """<domain: "loops", opset_import: ["" : 17]> f0 (x) => (y) { y = Neg (x) }"""
    + "".join(
        f"""<domain: "loops", opset_import: ["" : 17, "loops" : 1]> f{k} (x) => (y)
        {{ a = loops.f{k - 1} (x) y = loops.f{k - 1} (a) }}"""
        for k in range(1, 31)
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", STUCK)
def test_what_cannot_be_stopped_is_given_up(tmp_path: Path, name: str) -> None:
    saved(STUCK[name], tmp_path)
    np.save(tmp_path / "x.npy", X)
    line = [sys.executable, "-m", "portable_nn", "predict", "m.onnx", "x.npy", "--out", "y.npz"]
    found = subprocess.run(
        line, cwd=tmp_path, env={**os.environ, "PORTABLE_NN_TIME": "0.5"}, capture_output=True, text=True, timeout=600
    )
    assert (found.returncode, found.stdout) == (3, "")
    assert found.stderr.startswith("error: m.onnx: ")
    assert ("is not done after 0.5 s" if name != "functions" else "no tool can run so many") in found.stderr
    assert not (tmp_path / "y.npz").exists()


# -- kernels that write outside of their memory


INVERSE = """<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
    g (float[SHAPE] x) => (float[SHAPE] y) { y = com.microsoft.Inverse (x) }"""


@pytest.mark.long
def test_inverses_are_computed_of_square_matrices_alone(tmp_path: Path) -> None:
    """onnxruntime looks at the sizes when it opens a model, but not at those of the arrays that it is given."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 3)).astype(np.float32)
    path = saved(INVERSE.replace("SHAPE", "N, 3, 3"), tmp_path)
    np.testing.assert_allclose(pnn.run(path, x)["y"], np.linalg.inv(x), rtol=1e-4)
    for shape in ("A, B", "N, N"):
        path = saved(INVERSE.replace("SHAPE", shape), tmp_path)
        for array in (x[0], x[0, :2]):
            with pytest.raises(UnsupportedError, match=r"'y' \(com.microsoft.Inverse\) inverts float32 \(.*not known"):
                pnn.run(path, array)
        line = [sys.executable, "-m", "portable_nn", "check", str(path), "--runtimes", "onnxruntime"]
        found = subprocess.run(line, capture_output=True, text=True, timeout=600)
        assert (found.returncode, "onnxruntime may end the process" in found.stdout) == (1, True), shape
