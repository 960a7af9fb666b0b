"""Files of onnxruntime's own quantiser: read with proof, computed, written again, saved, and trained behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import NodeProto, helper, numpy_helper

import portable_nn as pnn
from portable_nn.converters.onnx import import_onnx, read_onnx
from portable_nn.core.errors import UsageError
from portable_nn.network.heads import head_input

quantization: Any = pytest.importorskip("onnxruntime.quantization")
Kind, Form = quantization.QuantType, quantization.QuantFormat
Array = np.ndarray[Any, Any]
Arrays = dict[str, Any]
MS = "com.microsoft"
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


def unfused(path: Path, x: Array, name: str = "input") -> Array:
    """What onnxruntime computes of the file as it is, without its optimiser."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    found: Array = onnxruntime.InferenceSession(path, options).run(None, {name: x})[0]
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


@pytest.mark.quick("QDQ")
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
    """As a float it is one matrix, that learns from both; so does a table, from which rows are taken."""
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


MEASURED = helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])
ROUNDED = helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["q"])
BACK = helper.make_node("DequantizeLinear", ["m", "ys", "yz"], ["y"])
ROWS = helper.make_node("Gather", ["w", "i"], ["e"])
READ = helper.make_node("DequantizeLinear", ["e", "s", "z"], ["y"])
SETTINGS = {
    "xs": np.float32(0.02137), "ws": np.float32(0.01091), "xz": np.uint8(100), "wz": np.int8(3),
    "ys": np.float32(0.1003), "yz": np.uint8(120), "both": np.float32(0.02137 * 0.01091),
}  # fmt: skip
MATRIX = {"w": RANDOM.integers(-128, 128, (8, 4), np.int8)}
KERNEL = {"w": RANDOM.integers(-128, 128, (4, 2, 3, 3), np.int8), "c": RANDOM.integers(-999, 999, 4, np.int32)}
TABLE = {"w": RANDOM.integers(0, 256, (20, 8), np.uint8), "s": np.float32(0.02), "z": np.uint8(120)}


def scaled(product: NodeProto, scales: str) -> list[NodeProto]:
    """A product whose sums are scaled by the product of ``scales``, or by one constant."""
    both = [helper.make_node("Mul", scales.split(), ["both"])] if scales else []
    tail = [helper.make_node("Cast", ["m"], ["f"], to=1), helper.make_node("Mul", ["f", "both"], ["y"])]
    return [MEASURED if "z" in product.input else ROUNDED, product, *both, *tail]


def whole_forms() -> Iterator[tuple[str, list[NodeProto], Arrays]]:
    """Quantised forms of one product or table."""
    node = helper.make_node
    for words, shape in (("numbers", ()), ("vectors of one element", (1,))):
        settings = {key: np.full(shape, each) for key, each in SETTINGS.items()}
        matrix = node("MatMulInteger", ["q", "w", "xz", "wz"], ["m"])
        kernel = node("ConvInteger", ["q", "w", "xz", "wz"], ["m"], pads=[1] * 4)
        for product, weight in ((matrix, MATRIX), (kernel, KERNEL)):
            for scales in ("xs ws", "ws xs", ""):
                yield f"{product.op_type}, {scales or 'one scale'}, {words}", scaled(product, scales), settings | weight
        product = node("MatMulInteger", ["q", "w", "z", "wz"], ["m"])
        yield f"measured, {words}", scaled(product, "s ws"), settings | MATRIX
        inputs = ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
        yield f"QLinearMatMul, {words}", [ROUNDED, node("QLinearMatMul", inputs, ["m"]), BACK], settings | MATRIX
        product = node("QLinearConv", [*inputs, "c"], ["m"], pads=[1] * 4)
        yield f"QLinearConv, {words}", [ROUNDED, product, BACK], settings | KERNEL
        yield f"table, {words}", [ROWS, READ], TABLE | {key: np.full(shape, TABLE[key]) for key in "sz"}
    columns = {"ws": RANDOM.uniform(0.01, 0.02, 4).astype(np.float32), "wz": np.zeros(4, np.int8), "c": KERNEL["c"]}
    product = node("QGemm", ["q", "xs", "xz", "w", "ws", "wz", "c"], ["y"], domain=MS, transB=1, alpha=0.5)
    yield "QGemm to floats", [ROUNDED, product], SETTINGS | columns | {"w": MATRIX["w"].T.copy()}
    product = node("QGemm", ["q", "xs", "xz", "w", "ws", "wz", "", "ys", "yz"], ["m"], domain=MS)
    yield "QGemm without a bias", [ROUNDED, product, BACK], SETTINGS | MATRIX
    columns = {"s": RANDOM.uniform(0.01, 0.1, 8).astype(np.float32), "z": RANDOM.integers(0, 256, 8, np.uint8)}
    read = node("DequantizeLinear", ["e", "s", "z"], ["y"], axis=2)
    yield "table, a scale for each column", [ROWS, read], TABLE | columns
    scales, number = node("Gather", ["s", "i"], ["r"]), node("Cast", ["e"], ["f"], to=1)
    rows = {"s": RANDOM.uniform(0.01, 0.1, (20, 1)).astype(np.float32)}
    yield "table, a scale for each row", [ROWS, scales, number, node("Mul", ["f", "r"], ["y"])], TABLE | rows
    turned = node("DequantizeLinear", ["t", "s", "z"], ["y"])
    yield "table, turned", [ROWS, node("Transpose", ["e"], ["t"], perm=[0, 2, 1]), turned], TABLE
    first, other = (node("DequantizeLinear", ["e", "s", "z"], [name]) for name in "ab")
    both = node("Concat", ["a", "d"], ["y"], axis=-1)
    yield "table, twice", [ROWS, first, other, node("Abs", ["b"], ["d"]), both], TABLE
    for bits, width in ((4, 16), (8, 32)):
        read = node("GatherBlockQuantized", ["w", "i", "s"], ["y"], domain=MS, bits=bits, block_size=16)
        blocks = {"s": RANDOM.uniform(0.01, 0.1, (20, 2)).astype(np.float32)}
        yield f"table, {bits} bits", [read], blocks | {"w": RANDOM.integers(0, 256, (20, width), np.uint8)}


@pytest.mark.parametrize(("nodes", "arrays"), [pytest.param(*rest, id=name) for name, *rest in whole_forms()])
def test_every_form_becomes_one_matrix_of_floats_that_trains(
    nodes: list[NodeProto], arrays: Arrays, tmp_path: Path
) -> None:
    """The network still is what onnxruntime computes of the whole numbers, and so is the file that is written of it."""
    read, path = {each for node in nodes for each in node.input}, tmp_path / "q.onnx"
    made = {each for node in nodes for each in node.output}
    rng, is_table = np.random.default_rng(1), "i" in read
    shape = [5] if is_table else [2, 6, 6] if arrays["w"].ndim == 4 else [8]
    x = rng.integers(0, 20, (3, *shape)) if is_table else rng.normal(size=(3, *shape)).astype(np.float32)
    name = "i" if is_table else "x"
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(name, 7 if is_table else 1, ["n", *shape])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(np.asarray(arrays[key]), key) for key in sorted(read - made - {name, ""})],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MS, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    wanted = unfused(path, x, name)
    network = pnn.import_onnx(path).dequantize()
    [weight] = [each for each in network.parameters.values() if each.ndim > 1]
    assert weight.dtype == np.float32
    np.testing.assert_allclose(network.predict(x), wanted, rtol=1e-5, atol=1e-5)
    pnn.export_onnx(network, tmp_path / "again.onnx")
    np.testing.assert_allclose(unfused(tmp_path / "again.onnx", x, name), wanted, rtol=1e-5, atol=1e-5)
    before = weight.copy()
    network.fit(x, wanted + 1, loss="mean_squared_error", optimizer=pnn.SGD(0.1), epochs=1, progress=False)
    assert (weight != before).mean() > 0.1


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_weights_of_lstms_that_measure_as_they_run_are_floats_that_train(tmp_path: Path, direction: str) -> None:
    """Those of the state as well, which each step reads: they are the weights that were quantised, to a step."""
    ways, rng = 1 + (direction != "forward"), np.random.default_rng(0)
    shapes = {"W": (ways, 20, 3), "R": (ways, 20, 5), "B": (ways, 40)}
    arrays = {key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["steps", "W", "R", "B"], ["", "h"], hidden_size=5, direction=direction),
        helper.make_node("Transpose", ["h"], ["y"], perm=[1, 0, 2]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, ["n", 6, 3])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(each, key) for key, each in arrays.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "f.onnx")
    quantization.quantize_dynamic(tmp_path / "f.onnx", tmp_path / "q.onnx")
    x = rng.normal(size=(4, 6, 3)).astype(np.float32)
    whole = pnn.import_onnx(tmp_path / "q.onnx")
    network = whole.dequantize()
    np.testing.assert_allclose(network.predict(x), whole.predict(x), atol=1e-4)
    np.testing.assert_allclose(network.predict(x), unfused(tmp_path / "q.onnx", x, "x"), atol=0.05)
    found = {name: array.copy() for name, array in network.parameters.items() if name != "B" and array.ndim > 1}
    assert sorted(found) == ["R", "R_2", "W", "W_2"][:: 3 - ways]
    for name, array in found.items():
        weight = arrays[name[0]]
        assert np.abs(array - weight[int(name.endswith("2"))].T).max() <= np.ptp(weight) / 128
    pnn.export_onnx(network, tmp_path / "again.onnx")
    np.testing.assert_allclose(unfused(tmp_path / "again.onnx", x, "x"), network.predict(x), atol=1e-4)
    target = network.predict(x) + 1
    network.fit(x, target, loss="mean_squared_error", optimizer=pnn.SGD(0.1), epochs=1, progress=False)
    assert all((network.parameters[name] != array).mean() > 0.9 for name, array in found.items())


def test_what_stays_whole_is_named_with_its_node_and_the_reason() -> None:
    """The sums are scaled by a number for each row, which is no scale of the weights."""
    nodes = scaled(helper.make_node("MatMulInteger", ["q", "w", "xz"], ["m"], "product"), "xs rows")
    arrays = {key: SETTINGS[key] for key in ("xs", "xz")} | MATRIX | {"rows": np.full((3, 1), 0.01, np.float32)}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, [3, 8])], [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(np.asarray(each), key) for key, each in arrays.items()],
    )  # fmt: skip
    network = import_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    reason = (
        r"w of 'product' \(MatMulInteger\), as no scale of one number, or for each column or filter, is found behind it"
    )
    with pytest.raises(UsageError, match=f"so that they could be floats: {reason}$"):
        network.dequantize()


@pytest.mark.quick("QInt8")
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
