"""What portable files have in the place of what a runtime lacks computes the same, and comes back as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx


class OneHot(pnn.Layer):
    """One-hot codes of whole numbers made of floats, from -3 to 2."""

    def __init__(self, axis: int) -> None:
        super().__init__(None)
        self.axis = axis

    def __call__(self, x: pnn.Symbol) -> pnn.Symbol:
        whole = pnn.emit("Cast", pnn.Clip(-3.0, 2.0)(x), to=7)
        off_on = pnn.emit("Constant", value_floats=(-1.0, 2.0))
        return pnn.emit("OneHot", whole, pnn.emit("Constant", value_ints=(3,)), off_on, axis=self.axis)


CASES: list[tuple[Any, tuple[int, ...], str]] = [
    (lambda: pnn.CELU(), (5,), "Celu"),
    (lambda: pnn.CELU(alpha=0.3), (5,), "Celu"),
    (lambda: pnn.Hardshrink(), (5,), "Shrink"),
    (lambda: pnn.Softshrink(), (5,), "Shrink"),
    (lambda: pnn.LPPool2d(2, 2), (3, 6, 8), "LpPool"),
    (lambda: pnn.LPPool2d(1, 3, stride=2, padding=1), (3, 6, 8), "LpPool"),
    (lambda: pnn.LPPool1d(3, 2), (3, 8), "LpPool"),
    (lambda: pnn.GlobalLPPool(), (3, 6, 8), "GlobalLpPool"),
    (lambda: OneHot(-1), (5,), "OneHot"),
    (lambda: OneHot(1), (5,), "OneHot"),
]
IDS = [f"{place} {operator}" for place, (_, _, operator) in enumerate(CASES)]


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


@pytest.mark.parametrize(("layer", "shape", "operator"), CASES, ids=IDS)
def test_other_operators_compute_the_same_and_come_back(layer: Any, shape: Any, operator: str, tmp_path: Path) -> None:
    network = pnn.Sequential(pnn.Input(*shape), layer(), seed=0)
    files = {portable: tmp_path / f"{portable}.onnx" for portable in (True, False)}
    for portable, path in files.items():
        export_onnx(network, path, portable=portable, opset=17)
        onnx.checker.check_model(onnx.load(path), full_check=True)
        assert (operator in operators(path)) is not portable
        back = import_onnx(path)
        assert [node.operator for node in back.graph.nodes] == [node.operator for node in network.graph.nodes]
    x = np.random.default_rng(1).normal(size=(3, *shape)).astype(np.float32) * 2
    one, other = (onnxruntime.InferenceSession(path).run(None, {"input": x})[0] for path in files.values())
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@given(
    alpha=st.floats(0.0625, 16, width=32),
    x=st.lists(st.floats(-50, 50, width=32) | st.just(np.inf) | st.just(-np.inf), min_size=1, max_size=9),
)
@settings(max_examples=15, deadline=None)
def test_celu_of_any_alpha_is_that_of_the_formula(alpha: float, x: list[float]) -> None:
    from portable_nn.onnx.writing import to_model

    network = pnn.Sequential(pnn.Input(len(x)), pnn.CELU(alpha=alpha), seed=0)
    model = to_model(network.graph, network.parameters).SerializeToString()
    given = np.array([x], np.float32)
    [found] = onnxruntime.InferenceSession(model).run(None, {"input": given})
    wide = given.astype(np.float64)
    expected = np.maximum(wide, 0) + np.minimum(0, alpha * np.expm1(np.minimum(wide, 0) / alpha))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * max(1, alpha))


def test_defaults_that_runtimes_misunderstand_are_written_out(tmp_path: Path) -> None:
    layers = pnn.Upsample(scale_factor=2), pnn.GlobalLPPool()
    network = pnn.Sequential(pnn.Input(2, 3, 4), *layers, seed=0)
    export_onnx(network, tmp_path / "net.onnx")
    written = {
        node.op_type: {each.name for each in node.attribute} for node in onnx.load(tmp_path / "net.onnx").graph.node
    }
    assert "mode" in written["Resize"]
    assert "keepdims" in written["ReduceL2"]


@pytest.mark.parametrize("portable", [True, False])
def test_a_change_of_either_form_is_found(portable: bool, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    network = pnn.Sequential(pnn.Input(4), pnn.Dense(3), pnn.CELU(), pnn.Softshrink(), seed=0)
    export_onnx(network, path, portable=portable)
    model = onnx.load(path)
    node = next(each for each in model.graph.node if each.op_type == "Gemm")
    [transposed] = [each for each in node.attribute if each.name == "transB"]
    transposed.i = 0
    onnx.save(model, path)
    with pytest.raises(pnn.PortableNNError, match="is damaged"):
        import_onnx(path)


def test_the_command_writes_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from portable_nn.cli import main

    network = pnn.Sequential(pnn.Input(4), pnn.CELU(), seed=0)
    network.save(tmp_path / "net.safetensors")
    out = tmp_path / "net.onnx"
    monkeypatch.setattr("sys.argv", ["portable-nn", "export", str(tmp_path / "net.safetensors"), str(out)])
    assert main() == 0
    assert operators(out) == {"Elu"}


@pytest.mark.parametrize("swapped", [False, True])
def test_a_logarithm_of_a_sum_is_written_so_that_no_runtime_takes_it_for_softplus(
    tmp_path: Path, swapped: bool
) -> None:
    """OpenCV 5.0 computes log(exp(x) + 1) of log(exp(x) + y): an Identity stands between, and only there."""
    x = pnn.Input(3)
    terms = (pnn.emit("Exp", x), pnn.emit("Abs", x))
    network = pnn.Network(x, pnn.emit("Log", pnn.emit("Add", *(terms[::-1] if swapped else terms))), seed=0)
    given = np.array([[1.0, 2.0, -3.0]], np.float32)
    for portable in (True, False):
        path = tmp_path / f"{portable}.onnx"
        export_onnx(network, path, portable=portable)
        nodes = {node.op_type: node for node in onnx.load(path).graph.node}
        assert ("Identity" in nodes) is portable
        assert [node.operator for node in import_onnx(path).graph.nodes] == ["Exp", "Abs", "Add", "Log"]
        [found] = onnxruntime.InferenceSession(path).run(None, {network.graph.inputs[0].name: given})
        np.testing.assert_allclose(found, np.log(np.exp(given) + np.abs(given)), rtol=1e-6)
    cv2 = pytest.importorskip("cv2")
    net = cv2.dnn.readNetFromONNX(str(tmp_path / "True.onnx"))
    net.setInput(given)
    np.testing.assert_allclose(net.forward(), np.log(np.exp(given) + np.abs(given)), rtol=1e-5)
    [finding] = [each for each in pnn.check(network).findings if "OpenCV" in each.message]
    assert "softplus" in finding.message
