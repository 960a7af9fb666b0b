"""The parts of a verification: weights from the bytes of a file, values step by step, rounding, what is not shown."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, read_onnx
from portable_nn.core.errors import FormatError, VerificationError
from portable_nn.core.graph import Graph, Node, Value
from portable_nn.format.meaning import Column, Statistics
from portable_nn.network import Network
from portable_nn.onnx.samples import meant, varied
from portable_nn.onnx.verification.differences import difference
from portable_nn.onnx.verification.stored import stored
from portable_nn.onnx.verify import Proof, Tolerance, compare
from portable_nn.onnx.writing import to_model
from portable_nn.operators import REGISTRY, constant, emit

Array = np.ndarray[Any, Any]


def proved(net: Network, model: onnx.ModelProto, **options: Any) -> Proof:
    return compare(net.graph, net.parameters, model, "m", tolerance=Tolerance(), **options)


# -- weights


def every_way_of_storing() -> onnx.ModelProto:
    """Tensors in each of the fields that ``onnx.proto`` has for them."""
    rng = np.random.default_rng(0)
    floats = rng.normal(size=(3, 4)).astype(np.float32)
    tensors = [
        numpy_helper.from_array(floats, "raw"),
        helper.make_tensor("floats", TensorProto.FLOAT, (3, 4), floats.ravel()),
        helper.make_tensor("doubles", TensorProto.DOUBLE, (2,), [1.5, -2.25]),
        helper.make_tensor("halves", TensorProto.FLOAT16, (2,), np.float16([0.5, -3])),
        helper.make_tensor("longs", TensorProto.INT64, (2,), [2**40, -1]),
        helper.make_tensor("bytes", TensorProto.INT8, (3,), [-128, 0, 127]),
        helper.make_tensor("truths", TensorProto.BOOL, (2,), [True, False]),
        helper.make_tensor("empty", TensorProto.FLOAT, (0, 2), []),
        helper.make_tensor("words", TensorProto.STRING, (1,), [b"a"]),
    ]
    nodes = [helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(floats))]
    nodes += [helper.make_node("Constant", [], ["i"], value_ints=[1, 2]), helper.make_node("Add", ["c", "raw"], ["y"])]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, (3, 4))
    return helper.make_model(helper.make_graph(nodes, "g", [], [output], tensors))


def test_tensors_are_read_from_bytes_as_onnx_reads_them(tmp_path: Path) -> None:
    model = every_way_of_storing()
    onnx.save(model, tmp_path / "a.onnx")
    expected = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer if each.name != "words"}
    expected |= {"c": expected["raw"], "i": np.array([1, 2])}
    for source in (model, model.SerializeToString(), tmp_path / "a.onnx"):
        found = {each.name: each.array for each in stored(source, "m")}
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, strict=True)
    with pytest.raises(FormatError):
        list(stored(model.SerializeToString()[:-3], "m"))


def small() -> Network:
    return pnn.Sequential(pnn.Input(4), pnn.Dense(3, name="a"), pnn.Tanh(), pnn.Dense(2, name="y"), seed=0)


@pytest.mark.parametrize("bit", [0, 22, 31])
@pytest.mark.parametrize("element", [0, 7, 11])
def test_one_flipped_bit_of_a_file_is_named(tmp_path: Path, element: int, bit: int) -> None:
    net, path = small(), tmp_path / "a.onnx"
    export_onnx(net, path)
    data = bytearray(path.read_bytes())
    weight = net.parameters["a.weight"]
    place = data.index(weight.tobytes()) + 4 * element + bit // 8
    data[place] ^= 1 << bit % 8
    row, column = divmod(element, 4)
    message = rf"^m: weights differ .*: 'a\.weight' differs in 1 of 12 elements: 'a\.weight'\[{row}, {column}\] is "
    with pytest.raises(VerificationError, match=message):
        proved(net, to_model(net.graph, net.parameters), source=bytes(data))


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_an_error_is_never_negative(zero: float) -> None:
    """As a text, too: the negative of a difference of zero is -0.0."""
    x = np.full(3, zero, np.float32)
    assert difference(x, np.zeros(3, np.float32)).cells() == difference(x + 1, x + 1).cells() == ("0.0e+00", "0.0e+00")


def test_a_rounding_that_is_not_the_stated_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Towards zero, where float16 weights are to be the nearest ones."""
    kinds = {fate.name: fate.kind for fate in export_onnx(small(), tmp_path / "a.onnx", float16=True).outputs.weights}
    assert kinds == {"a.weight": "transformed", "a.bias": "kept", "y.weight": "transformed", "y.bias": "kept"}
    from portable_nn import rewrites

    right = rewrites.REWRITES["float16"]

    def truncated(program: rewrites.Program) -> rewrites.Program:
        made = right.rewrite(program)
        arrays = dict(made.parameters)
        for name, array in arrays.items():
            if array.dtype == np.float16:
                beyond = np.abs(array.astype(np.float32)) > np.abs(program.parameters[name])
                arrays[name] = np.where(beyond, np.nextafter(array, np.float16(0)), array)
        return made._replace(parameters=arrays)

    monkeypatch.setitem(rewrites.REWRITES, "float16", right._replace(rewrite=truncated))  # type: ignore[arg-type]
    with pytest.raises(VerificationError, match=r"weights differ between the two sides"):
        export_onnx(small(), tmp_path / "b.onnx", float16=True)
    assert not (tmp_path / "b.onnx").exists()


def test_the_fates_of_a_foreign_files_tensors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tensors = {"w": rng.normal(size=(4, 3)).astype(np.float32), "axes": np.array([1]), "extra": np.float32([1])}
    nodes = [
        helper.make_node("Constant", [], ["b"], value=numpy_helper.from_array(rng.normal(size=3).astype(np.float32))),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["s"]),
        helper.make_node("ReduceSum", ["s", "axes"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 1))],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    path = tmp_path / "a.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    fates = {fate.name: fate.kind for fate in read_onnx(path).outputs.weights}
    assert {name: fates[name] for name in ("w", "b", "axes")} == {"w": "kept", "b": "kept", "axes": "constant"}
    assert fates["extra"] in {"kept", "unused"}


# -- values


def test_every_change_of_a_head_of_zeros_is_caught() -> None:
    """On noise its outputs are zeros, whatever comes before."""
    net = small()
    net.parameters["y.weight"][...] = 0
    model = to_model(net.graph, net.parameters)
    assert proved(net, model).not_exercised == {}
    for name, array in net.parameters.items():
        for changed in (array + np.float32(1), array * np.float32(1.01), array.ravel()[::-1].reshape(array.shape)):
            if not np.array_equal(changed, array):
                with pytest.raises(VerificationError, match=re.escape(f"'{name}' differs in ")):
                    compare(net.graph, {**net.parameters, name: changed}, model, "m", tolerance=Tolerance())


def saturated() -> Network:
    """Its outputs are 1e-7 on any noise, and differ by less than what float32 tells from 1."""
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(3, name="a"), pnn.Sigmoid(name="y"), seed=0)
    net.parameters["a.bias"][...] = -16
    return net


def test_a_kernel_is_compared_where_its_inputs_are_saturated(monkeypatch: pytest.MonkeyPatch) -> None:
    net = saturated()
    model = to_model(net.graph, net.parameters)
    assert proved(net, model).not_exercised == {}
    right = REGISTRY["", "Sigmoid"]

    def kernel(bound: Any) -> list[Any]:
        made = right.kernel(bound)
        steps = [made] if callable(made) else list(made or ())
        return [*steps, lambda: bound.plan._arrays[bound.node.outputs[0]].__imul__(np.float32(1.001))]

    monkeypatch.setitem(REGISTRY, ("", "Sigmoid"), dataclasses.replace(right, kernel=kernel))
    with pytest.raises(VerificationError, match=r"part at node 'y' \(Sigmoid\)"):
        proved(net, model)


def half_rounded(graph: Graph, name: str) -> Graph:
    """A graph in which what makes ``name`` is rounded to float16 and back."""
    nodes = list[Node]()
    for node in graph.nodes:
        if name in node.outputs:
            nodes.append(replace(node, outputs=("whole",)))
            nodes.append(Node("half", "Cast", ("whole",), ("half",), {"to": TensorProto.FLOAT16}))
            nodes.append(Node("back", "Cast", ("half",), (name,), {"to": TensorProto.FLOAT}))
        else:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


@pytest.mark.parametrize("name", ["a", "b", "y"])
def test_a_rounding_that_the_network_alone_has_does_not_excuse_itself(name: str) -> None:
    layers = [pnn.Dense(8, name="a"), pnn.Tanh(name="b"), pnn.Dense(3, name="y")]
    net = pnn.Sequential(pnn.Input(4), *layers, seed=0)
    model = to_model(net.graph, net.parameters)
    assert not proved(net, model).notes
    with pytest.raises(VerificationError, match=r"part at node 'back' \(Cast\)"):
        compare(half_rounded(net.graph, name), net.parameters, model, "m", tolerance=Tolerance())


@pytest.mark.parametrize("operator", ["Mul", "Add", "Tanh", "Gemm"])
def test_nor_does_a_kernel_that_is_wrong_in_float32_alone(operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = pnn.Input(4)
    h = pnn.Tanh()(pnn.Dense(8)(x))
    net = Network(x, pnn.Dense(3)(h * 2.0 + h), seed=0)
    model = to_model(net.graph, net.parameters)
    right = REGISTRY["", operator]

    def kernel(bound: Any) -> list[Any]:
        made = right.kernel(bound)
        steps = [made] if callable(made) else list(made or ())
        array = bound.plan._arrays[bound.node.outputs[0]]
        return [*steps, lambda: np.clip(array, -0.3, 0.3, out=array)] if array.dtype == np.float32 else steps

    monkeypatch.setitem(REGISTRY, ("", operator), dataclasses.replace(right, kernel=kernel))
    with pytest.raises(VerificationError, match=rf"part at node '\w+' \({operator}\)"):
        proved(net, model)


@pytest.mark.parametrize("fault", [
    lambda y: np.where(np.abs(y) < 0.02, y + 0.01, y),
    lambda y: np.where(y > 3, 1.01 * y, y),
    lambda y: np.where(y < -3, 0.99 * y, y),
], ids=["near zero", "large", "far below"])  # fmt: skip
@pytest.mark.parametrize("seed", range(5))
def test_a_kernel_is_compared_everywhere_though_inputs_are_few(
    fault: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = Graph((Value("x", "float32", (2, 3, 4)),), ("y",), (), (Node("n", "Elu", ("x",), ("y",), {"alpha": 4.0}),))
    right = REGISTRY["", "Elu"]

    def kernel(bound: Any) -> list[Any]:
        made = right.kernel(bound)
        steps = [made] if callable(made) else list(made or ())
        array = bound.plan._arrays[bound.node.outputs[0]]
        return [*steps, lambda: np.copyto(array, fault(array))]

    monkeypatch.setitem(REGISTRY, ("", "Elu"), dataclasses.replace(right, kernel=kernel))
    with pytest.raises(VerificationError, match=r"part at node 'n' \(Elu\)"):
        compare(graph, {}, to_model(graph, {}), "m", tolerance=Tolerance(), seed=seed)


def far_away(operator: str, *limits: float, dtype: str = "float32", **attributes: Any) -> Network:
    """One operator with limits that noise does not reach."""
    x = pnn.Input(6, name="x", dtype=dtype)
    return Network(x, emit(operator, x, *(constant(each, dtype) for each in limits), name="y", **attributes), seed=0)


@pytest.mark.parametrize(("net", "operator", "inputs"), [
    (far_away("Clip", -1e4, 1e4), "Clip", 1),
    (far_away("Clip", -1e4, 1e4), "Clip", 2),
    (far_away("Clip", -1e4, 1e4), "Identity", 1),
    (far_away("Clip", 0, 1000, dtype="int64"), "Clip", 2),
    (far_away("Max", -50.0), "Identity", 1),
    (far_away("Min", 5000, dtype="int32"), "Identity", 1),
    (far_away("Greater", 100.0), "GreaterOrEqual", 2),
    (far_away("Equal", 77, dtype="int64"), "GreaterOrEqual", 2),
    (far_away("ThresholdedRelu", alpha=300.0), "Identity", 1),
    (far_away("Floor"), "Round", 1),
])  # fmt: skip
def test_a_limit_that_noise_does_not_reach_is_missed(net: Network, operator: str, inputs: int) -> None:
    model = to_model(net.graph, net.parameters)
    assert proved(net, model).not_exercised == {}
    [node] = (each for each in model.graph.node if "y" in each.output)
    node.op_type = operator
    del node.input[inputs:]
    del node.attribute[:]
    with pytest.raises(VerificationError, match="part at node 'y'"):
        proved(net, model)


def test_roundings_are_compared_at_ties() -> None:
    """Those of the standard go to the even number: of the floor of x + 1/2 only halves differ."""
    net = far_away("Round")
    model = to_model(net.graph, net.parameters)
    [node] = model.graph.node
    node.op_type, node.input[0] = "Floor", "sum"
    model.graph.node.insert(0, helper.make_node("Add", ["x", "half"], ["sum"]))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "half"))
    with pytest.raises(VerificationError, match=r"part at node 'y' \(Round\)"):
        proved(net, model)


def test_what_no_input_shows_is_named(tmp_path: Path) -> None:
    x = pnn.Input(4, name="x")
    net = Network(x, emit("Tanh", emit("Mul", x, emit("Constant", value_float=0.0), name="nothing"), name="y"), seed=0)
    report = export_onnx(net, tmp_path / "a.onnx")
    assert list(report.outputs.not_exercised) == ["'nothing' (Mul)"]
    assert "not exercised: 1 node: 'nothing' (Mul)" in repr(report)
    assert report.outputs.as_json()["values"]["not_exercised"][0]["node"] == "'nothing' (Mul)"


def test_an_attribute_that_no_input_shows_is_named() -> None:
    """Of a bias of zeros nobody sees how often it is added."""
    net = small()
    model = to_model(net.graph, net.parameters)
    model.graph.node[0].attribute.append(helper.make_attribute("beta", 2.0))
    assert proved(net, model).notes == (
        "node 'a' (Gemm): beta is 1.0 in the network and 2.0 in the file; no input shows a difference",
    )
    net.parameters["a.bias"][...] = 1
    model = to_model(net.graph, net.parameters)
    model.graph.node[0].attribute.append(helper.make_attribute("beta", 2.0))
    with pytest.raises(VerificationError, match=r"part at node 'a' \(Gemm\)"):
        proved(net, model)


@pytest.mark.parametrize("size", [1, 300, 2000])
def test_a_model_is_compared_piece_by_piece(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    x = pnn.Input(3, 8, 8)
    h = pnn.ReLU()(pnn.Conv2d(4, kernel=3, padding=1)(x))
    net = Network(x, pnn.Dense(2)(pnn.Flatten()(pnn.concatenate(h, pnn.Conv2d(2, kernel=1)(h), x))), seed=0)
    model = to_model(net.graph, net.parameters, opset=13)
    whole = proved(net, model)
    for module in ("sections", "values"):
        monkeypatch.setattr(f"portable_nn.onnx.verification.{module}.CHUNK", size)
    pieces = proved(net, model)
    assert list(pieces.compared) == list(whole.compared)
    assert pieces.not_exercised == whole.not_exercised == {}
    conv = next(node for node in model.graph.node if node.op_type == "Relu")
    conv.op_type = "Sigmoid"
    with pytest.raises(VerificationError, match=r"part at node 'relu_1' \(Relu\)"):
        proved(net, model)


def test_inputs_are_of_several_kinds_and_lengths() -> None:
    x = pnn.Input("time", 6, name="x")
    net = Network(x, emit("Softmax", x, name="y"))
    one, some, others, longer = varied(net.graph, np.random.default_rng(0))
    assert (one["x"].shape, some["x"].shape, others["x"].shape) == ((1, 16, 6), (3, 33, 6), (3, 33, 6))
    assert longer["x"].shape == (3, 32, 6)
    noise, faint, shapes = (array.std() for array in some["x"])
    assert abs(noise - 1) < 0.2
    assert abs(faint - 0.05) < 0.01
    assert shapes > 0.05
    assert some["x"][2].min() >= 0
    assert some["x"][2].max() <= 1
    assert others["x"][2].std() > 5
    again = varied(net.graph, np.random.default_rng(0))[1]
    np.testing.assert_array_equal(again["x"], some["x"])


# -- what inputs are meant for


COLUMNS = (
    Column("a", missing="mean", statistics=Statistics(900.0, 1100.0, 1000.0, 30.0)),
    Column("w", categories=("x", "y", "z"), unknown="other"),
    Column("b", missing="indicator", statistics=Statistics(0.0, 0.01, 0.005, 0.001)),
)


def table() -> Network:
    rng = np.random.default_rng(0)
    rows = np.stack([rng.normal(1000, 30, 50), rng.integers(0, 3, 50), rng.uniform(0, 0.01, 50)], axis=1)
    x = pnn.Input(3, name="x")
    net = Network(x, pnn.Dense(2, name="y")(pnn.Columns(COLUMNS, rows)(x)), seed=0)
    net.inputs = (msgspec.structs.replace(net.inputs[0], kind="table", columns=COLUMNS),)
    return net


def test_rows_are_drawn_as_the_columns_say() -> None:
    net = table()
    kinds = meant(net.graph, net.parameters, net.inputs)
    rows = np.concatenate([varied(net.graph, np.random.default_rng(seed), kinds)[1]["x"] for seed in range(60)])
    assert set(rows[:, 1]) == {-1, 0, 1, 2}
    for place in (0, 2):
        cells, known = rows[:, place], COLUMNS[place].statistics
        assert known
        assert 0.2 < np.isnan(cells).mean() < 0.5
        assert np.float32(known.minimum) <= np.nanmin(cells) <= np.nanmax(cells) <= np.float32(known.maximum)
        assert abs(np.nanmean(cells) - known.mean) < known.std


@pytest.mark.parametrize("change", ["fill", "no fill", "category"])
def test_what_is_done_with_the_rows_of_a_table_is_compared(tmp_path: Path, change: str) -> None:
    net, path = table(), tmp_path / "a.onnx"
    assert export_onnx(net, path, columns=False).outputs.not_exercised == {}
    assert read_onnx(path).outputs.not_exercised == {}
    model = onnx.load(path)
    nodes = {node.op_type: node for node in model.graph.node}
    if change == "no fill":
        nodes["Where"].op_type = "Identity"
        del nodes["Where"].input[:2]
    else:  # A sum that the weights do not show.
        node, place = (nodes["Where"], 1) if change == "fill" else (nodes["Equal"], 1)
        before = node.input[place]
        node.input[place] = "moved"
        model.graph.initializer.append(numpy_helper.from_array(np.float32(1), "one"))
        at = next(i for i, each in enumerate(model.graph.node) if each == node)
        model.graph.node.insert(at, helper.make_node("Add", [before, "one"], ["moved"]))
    with pytest.raises(VerificationError, match="part at node"):
        proved(net, model, infos=net.inputs)


@pytest.mark.parametrize("stated", [True, False])
def test_numbers_are_drawn_of_the_range(stated: bool) -> None:
    """A range that is stated, or what a factor brings to 1."""
    x = pnn.Input(1, 6, 6, name="x")
    net = Network(x, pnn.Rescaling(1 / 255)(x), seed=0)
    if stated:
        net = Network(x, emit("Tanh", x), seed=0)
        net.inputs = (msgspec.structs.replace(net.inputs[0], range=(0.0, 255.0)),)
    one, *others = varied(net.graph, np.random.default_rng(0), meant(net.graph, net.parameters, net.inputs))
    assert (one["x"].max() > 10) == stated
    for feeds in others:
        np.testing.assert_allclose(feeds["x"].min((1, 2, 3)), 0, atol=1e-4)
        np.testing.assert_allclose(feeds["x"].max((1, 2, 3)), 255, rtol=1e-6)
