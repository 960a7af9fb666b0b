"""Files of onnxruntime's own quantiser: read with proof, computed, written again, saved, and trained behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import portable_nn as pnn
from portable_nn.converters.onnx import import_onnx, read_onnx
from portable_nn.core.errors import UsageError
from portable_nn.network.heads import head_input

quantization: Any = pytest.importorskip("onnxruntime.quantization")
Kind, Form = quantization.QuantType, quantization.QuantFormat
Array = np.ndarray[Any, Any]
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 1, 12, 12)).astype(np.float32)
Y = (X.mean((1, 2, 3)) > 0).astype(int)


class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self.rows: Iterator[Array] = iter(X)

    def get_next(self) -> dict[str, Array] | None:
        row = next(self.rows, None)
        return None if row is None else {"input": row[np.newaxis]}


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = pnn.Sequential(
        pnn.Input(1, 12, 12), pnn.Conv2d(8, 3, padding=1), pnn.BatchNorm2d(), pnn.ReLU(), pnn.MaxPool2d(2),
        pnn.Conv2d(8, 3), pnn.ReLU(), pnn.GlobalAvgPool(), pnn.Flatten(), pnn.Dense(16), pnn.Sigmoid(), pnn.Dense(2),
        pnn.Softmax(), seed=0,
    )  # fmt: skip
    network.fit(X, Y, epochs=3, progress=False)
    path = tmp_path_factory.mktemp("floats") / "net.onnx"
    pnn.export_onnx(network, path)
    model = onnx.load(path)
    del model.metadata_props[:]  # The manifest would be that of another network afterwards.
    onnx.save(model, path)
    return path


STATIC = [
    (form, activations, weights, per_channel)
    for form in (Form.QDQ, Form.QOperator)
    for activations, weights in ((Kind.QUInt8, Kind.QInt8), (Kind.QInt8, Kind.QInt8), (Kind.QUInt8, Kind.QUInt8))
    for per_channel in (False, True)
] + [(Form.QDQ, Kind.QUInt16, Kind.QInt8, False), (Form.QDQ, Kind.QInt16, Kind.QInt8, True)]


def unfused(path: Path, x: Array) -> Array:
    """What onnxruntime computes of the file as it is, without its optimiser."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    found: Array = onnxruntime.InferenceSession(path, options).run(None, {"input": x})[0]
    return found


def check(path: Path, tmp_path: Path) -> pnn.Network:
    network = pnn.import_onnx(path)
    found = network.predict(X)
    wanted = unfused(path, X)
    assert np.abs(found - wanted).max() <= 2 / 256  # A sum between two whole numbers is rounded to either.
    assert (np.abs(found - wanted) > 1e-5).mean() < 0.1
    pnn.export_onnx(network, tmp_path / "again.onnx")
    np.testing.assert_allclose(unfused(tmp_path / "again.onnx", X), wanted, atol=1e-6)
    network.save(tmp_path / "net.npz")
    np.testing.assert_array_equal(pnn.load(tmp_path / "net.npz").predict(X), found)
    return network


@pytest.mark.parametrize(("form", "activations", "weights", "per_channel"), STATIC, ids=str)
def test_a_network_with_measured_ranges(
    floats: Path, tmp_path: Path, form: Any, activations: Any, weights: Any, per_channel: bool
) -> None:
    path = tmp_path / "theirs.onnx"
    quantization.quantize_static(
        floats, path, Calibration(), quant_format=form, activation_type=activations, weight_type=weights,
        per_channel=per_channel,
    )  # fmt: skip
    network = check(path, tmp_path)
    if form == quantization.QuantFormat.QDQ:
        [note] = [each for each in read_onnx(path).notes if "quantised" in each]
        assert note.startswith(f"{len(network.dequantize().parameters) - len(network.parameters)} tensors of weights")
    else:
        [note] = [each for each in read_onnx(path).notes if "quantised" in each]
        assert note.endswith("; dequantize() turns those that it can into floats, which train")
        trained = network.dequantize()
        matrices = [name for name, array in trained.parameters.items() if array.ndim > 1]
        assert {trained.parameters[name].dtype for name in matrices} == {np.dtype(np.float32)}
        assert len(matrices) == sum(len(each.dims) > 1 for each in onnx.load(floats).graph.initializer)
        found = trained.predict(X)
        assert np.abs(found - network.predict(X)).max() <= 2 / 256
        assert (np.abs(found - network.predict(X)) > 1e-5).mean() < 0.1
        history = trained.fit(X, Y, optimizer=pnn.Adam(0.003), epochs=10, progress=False)
        assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize(
    ("weights", "per_channel"), [(Kind.QInt8, False), (Kind.QInt8, True), (Kind.QUInt8, False)], ids=str
)
def test_weights_of_products_of_whole_numbers_are_floats_that_train(
    floats: Path, tmp_path: Path, weights: Any, per_channel: bool
) -> None:
    """They are the weights that were quantised, to a step, and the network still is what onnxruntime computes."""
    path = tmp_path / "theirs.onnx"
    quantization.quantize_dynamic(floats, path, weight_type=weights, per_channel=per_channel)
    network = pnn.import_onnx(path).dequantize()
    pnn.export_onnx(network, tmp_path / "again.onnx")
    np.testing.assert_allclose(unfused(tmp_path / "again.onnx", X[:1]), unfused(path, X[:1]), atol=1e-6)
    np.testing.assert_allclose(network.predict(X[:1]), unfused(floats, X[:1]), atol=0.02)
    ours = [each for each in network.parameters.values() if each.ndim > 1]
    tensors = map(numpy_helper.to_array, onnx.load(floats).graph.initializer)
    for one, other in zip(ours, [each for each in tensors if each.ndim > 1], strict=True):
        assert np.abs(one - (other if one.shape == other.shape else other.T)).max() <= np.ptp(other) / 128
    head = network.until("-1")
    kernel = ours[0].copy()
    history = network.fit(X, Y, optimizer=pnn.Adam(0.01), epochs=20, progress=False)
    assert history["loss"][-1] < history["loss"][0]
    assert (ours[0] != kernel).all()
    assert head.types[head.graph.outputs[0]].shape[1:] == (16,)


def test_weights_that_two_products_share_stay_one_and_a_table_becomes_floats(tmp_path: Path) -> None:
    """As a float it is one matrix, that learns from both; a table from which rows are taken learns as well."""
    rng = np.random.default_rng(0)
    table, weight = (rng.normal(size=(size, 6)).astype(np.float32) for size in (10, 6))
    nodes = [
        helper.make_node("Gather", ["table", "i"], ["a"]), helper.make_node("Add", ["a", "a"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["c"]), helper.make_node("Tanh", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]  # fmt: skip
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("i", 7, ["n"])], [helper.make_tensor_value_info("y", 1, ["n", 6])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "f.onnx")
    quantization.quantize_dynamic(tmp_path / "f.onnx", tmp_path / "q.onnx")
    network = pnn.import_onnx(tmp_path / "q.onnx").dequantize()
    kept, found = (network.parameters[name] for name in ("table", "w"))
    assert np.abs(found - weight).max() <= np.ptp(weight) / 128
    assert np.abs(kept - table).max() <= np.ptp(table) / 128
    rows = np.arange(10)
    stored = {each.name: numpy_helper.to_array(each) for each in onnx.load(tmp_path / "q.onnx").graph.initializer}
    table = (stored["table_quantized"] - stored["table_zero_point"].astype(np.float32)) * stored["table_scale"]
    np.testing.assert_allclose(kept, table, rtol=1e-6)
    wanted = np.tanh(2 * table @ found) @ found
    np.testing.assert_allclose(network.predict(rows), wanted, rtol=0.02, atol=0.02)  # Rows are rounded on the way.
    network.fit(rows, 0 * wanted, optimizer=pnn.Adam(0.05), epochs=30, progress=False, loss="mean_squared_error")
    assert np.abs(network.predict(rows)).mean() < np.abs(wanted).mean() / 2
    assert (kept != table).all()


_R = np.random.default_rng(0)
_ONE = {
    "xs": np.float32(0.02),
    "xz": np.uint8(100),
    "ws": np.float32(0.01),
    "wz": np.int8(0),
    "w": _R.integers(-128, 128, (8, 4), np.int8),
}
_TABLE = {"t": _R.integers(0, 256, (20, 8), np.uint8), "s": np.float32(0.02), "z": np.uint8(120)}
_FEW = {name: np.full(1, array) if array.ndim == 0 else array for name, array in _ONE.items()}
_PRODUCT = """(float[n,8] x) => (float[n,4] y) {q = QuantizeLinear(x, xs, xz) m = MatMulInteger(q, w, xz, wz)
    f = Cast<to = 1>(m) both = Mul(xs, ws) y = Mul(f, both)}"""
_LOOKED_UP = "(int64[n,5] i) => (float[n,5,8] y) {e = Gather(t, i) %s y = Tanh(d)}"
FLOATED: dict[str, tuple[str, dict[str, Any]]] = {
    "constant scales": (_PRODUCT, _ONE),
    "scales in vectors": (_PRODUCT, _FEW),
    "one scale of both": (_PRODUCT.replace("both = Mul(xs, ws)", ""), _ONE | {"both": np.float32(2e-4)}),
    "a convolution": (
        """(float[n,2,6,6] x) => (float[n,4,6,6] y) {q = QuantizeLinear(x, xs, xz)
        m = ConvInteger<pads = [1, 1, 1, 1]>(q, w, xz, wz) f = Cast<to = 1>(m) both = Mul(xs, ws) y = Mul(f, both)}""",
        _ONE | {"w": _R.integers(-128, 128, (4, 2, 3, 3), np.int8)},
    ),
    "QGemm": (
        """(float[n,8] x) => (float[n,4] y) {q = QuantizeLinear(x, xs, xz)
        y = com.microsoft.QGemm<transB = 1, alpha = 0.5>(q, xs, xz, w, ws, wz, b)}""",
        _ONE | {"w": _ONE["w"].T.copy(), "ws": _R.uniform(0.01, 0.02, 4).astype(np.float32), "wz": np.zeros(4, np.int8),
                "b": _R.integers(-999, 999, 4, np.int32)},
    ),
    "a table": (_LOOKED_UP % "d = DequantizeLinear(e, s, z)", _TABLE),
    "a table with a scale for each column": (
        _LOOKED_UP % "d = DequantizeLinear<axis = 2>(e, s, z)",
        _TABLE | {"s": _R.uniform(0.01, 0.02, 8).astype(np.float32), "z": _R.integers(0, 256, 8, np.uint8)},
    ),
    "a table with a scale for each row": (
        _LOOKED_UP % "o = Gather(s, i) c = Cast<to = 1>(e) d = Mul(c, o)",
        {"t": _TABLE["t"], "s": _R.uniform(0.01, 0.02, (20, 1)).astype(np.float32)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FLOATED)
def test_weights_of_every_form_are_floats_that_train(form: str, tmp_path: Path) -> None:
    """The network computes what onnxruntime computes of the file, and no matrix of whole numbers is left."""
    text, arrays = FLOATED[form]
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]> g {text}')
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(each), name) for name, each in arrays.items())
    onnx.save(model, tmp_path / "q.onnx")
    rng = np.random.default_rng(1)
    sizes = [dim.dim_value or 16 for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = rng.integers(0, 20, sizes) if "Gather" in text else rng.normal(size=sizes).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    [wanted] = onnxruntime.InferenceSession(tmp_path / "q.onnx", options).run(None, {model.graph.input[0].name: x})
    network = pnn.import_onnx(tmp_path / "q.onnx").dequantize()
    np.testing.assert_allclose(network.predict(x), wanted, rtol=1e-4, atol=1e-5)
    [weight] = [array for array in network.parameters.values() if array.size >= 32]
    assert weight.dtype == np.float32
    before = weight.copy()
    network.fit(x, wanted + 1, loss="mean_squared_error", epochs=5, progress=False)
    assert (weight != before).mean() > 0.5  # Of a table, the rows that were looked up.


def test_recurrent_weights_are_floats_that_train(tmp_path: Path) -> None:
    """Those of DynamicQuantizeLSTM are what was quantised, to a step, and the network computes the same."""
    steps = np.random.default_rng(0).normal(size=(8, 6, 3)).astype(np.float32)
    plain = pnn.Sequential(pnn.Input(6, 3), pnn.LSTM(5, last=True), pnn.Dense(2), seed=0)
    pnn.export_onnx(plain, tmp_path / "f.onnx")
    model = onnx.load(tmp_path / "f.onnx")
    del model.metadata_props[:]  # The manifest would be that of another network afterwards.
    onnx.save(model, tmp_path / "f.onnx")
    quantization.quantize_dynamic(tmp_path / "f.onnx", tmp_path / "q.onnx")
    assert "DynamicQuantizeLSTM" in {node.op_type for node in onnx.load(tmp_path / "q.onnx").graph.node}
    network = pnn.import_onnx(tmp_path / "q.onnx").dequantize()
    assert {array.dtype.kind for array in network.parameters.values() if array.ndim > 1} == {"f"}
    ours = sorted((array for array in network.parameters.values() if array.ndim > 1 and 20 in array.shape), key=np.size)
    theirs = sorted(
        (array for array in plain.parameters.values() if 20 in array.shape and array.size > 40), key=np.size
    )
    for one, other in zip([each for each in ours if each.size > 40], theirs, strict=True):
        assert np.abs(np.sort(one, axis=None) - np.sort(other, axis=None)).max() <= np.ptp(other) / 128
    np.testing.assert_allclose(network.predict(steps), plain.predict(steps), atol=0.03)
    before = [each.copy() for each in ours]
    network.fit(steps, plain.predict(steps) + 1, loss="mean_squared_error", epochs=2, progress=False)
    assert all((one != other).mean() > 0.9 for one, other in zip(ours, before, strict=True))


@pytest.mark.parametrize("weights", [Kind.QInt8, Kind.QUInt8], ids=str)
def test_a_network_that_measures_as_it_runs(floats: Path, tmp_path: Path, weights: Any) -> None:
    path = tmp_path / "theirs.onnx"
    quantization.quantize_dynamic(floats, path, weight_type=weights)
    network = check(path, tmp_path)
    [note] = [each for each in read_onnx(path).notes if "quantised" in each]
    assert note.startswith("4 tensors of weights are quantised")
    assert not any("do_constant_folding" in each for each in read_onnx(path).notes)
    with pytest.raises(UsageError, match="weights are quantised: tune the file of floats"):
        head_input(network.graph)
    history = network.fit(X, Y, optimizer=pnn.Adam(0.01), epochs=20, progress=False)
    assert history["loss"][-1] < history["loss"][0]


FORMS = {
    "dynamic": [
        helper.make_node("DynamicQuantizeLinear", ["h"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["m"]),
        helper.make_node("Cast", ["m"], ["f"], to=1),
        helper.make_node("Mul", ["s", "ws"], ["both"]),
        helper.make_node("Mul", ["f", "both"], ["y"]),
    ],
    "with a bias": [
        helper.make_node("QuantizeLinear", ["h", "hs", "hz"], ["q"]),
        helper.make_node("QGemm", ["q", "hs", "hz", "w", "ws", "wz", "c"], ["y"], domain="com.microsoft"),
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_before_a_product_of_bytes_learns_as_in_pytorch(form: str) -> None:
    """The layer before it takes the step that it takes before ``torch.fake_quantize_per_tensor_affine``."""
    torch = pytest.importorskip("torch")
    arrays = {
        "w1": RANDOM.normal(size=(4, 3)), "b1": RANDOM.normal(size=3), "w": RANDOM.integers(-128, 128, (3, 2), np.int8),
        "ws": np.float32(0.01), "wz": np.int8(0), "hs": np.float32(0.02), "hz": np.uint8(100),
        "c": RANDOM.integers(-999, 999, 2, np.int32),
    }  # fmt: skip
    arrays |= {key: np.float32(arrays[key]) for key in ("w1", "b1")}
    nodes = [helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]), *FORMS[form]]
    read = {each for node in nodes for each in node.input}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, ["n", 4])], [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(np.asarray(each), key) for key, each in arrays.items() if key in read],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    network = import_onnx(helper.make_model(graph, opset_imports=opsets, ir_version=8))
    x, target = (RANDOM.normal(size=(6, size)).astype(np.float32) for size in (4, 2))
    w1, b1 = (torch.tensor(arrays[key], requires_grad=True) for key in ("w1", "b1"))
    h = torch.from_numpy(x) @ w1 + b1
    low, high = min(0, h.min().item()), max(0, h.max().item())
    scale, point = ((high - low) / 255, round(-low / ((high - low) / 255))) if form == "dynamic" else (0.02, 100)
    y = torch.fake_quantize_per_tensor_affine(h, scale, point, 0, 255) @ torch.from_numpy(arrays["w"] * arrays["ws"])
    y = y + torch.from_numpy(arrays["c"] * np.float32(scale * 0.01)) if form != "dynamic" else y
    ((y - torch.from_numpy(target)) ** 2).mean().backward()
    network.fit(x, target, loss="mean_squared_error", optimizer=pnn.SGD(1.0), epochs=1, batch_size=6, progress=False)
    for key, each in (("w1", w1), ("b1", b1)):
        moved = arrays[key] - network.parameters[key]
        assert np.abs(moved).max() > 1e-3
        np.testing.assert_allclose(moved, each.grad.numpy(), rtol=1e-4, atol=1e-6)
