"""Graphs as ONNX models at every opset, and back; expectations come from onnx, onnxruntime and plain numpy."""

from __future__ import annotations

from itertools import product
from types import MappingProxyType

import numpy as np
import onnx
import onnxruntime
import pytest
from msgspec.structs import replace
from onnx import TensorProto, checker, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_cases import CASES, form_of, graph_of

from portable_nn.core.errors import FormatError, GraphError, UnsupportedError, UsageError
from portable_nn.core.graph import INTERNAL, OPSET, Graph, Node, Parameter, Tensor, Value
from portable_nn.engines.plan import Plan
from portable_nn.layers import Input
from portable_nn.onnx.opsets.standard import signature
from portable_nn.onnx.opsets.support import NEWEST_READ
from portable_nn.onnx.opsets.translation import OLDEST_WRITTEN, to_opset
from portable_nn.onnx.reading import from_model
from portable_nn.onnx.session import Session
from portable_nn.onnx.verify import Tolerance, compare
from portable_nn.onnx.writing import to_bytes, to_model
from portable_nn.operators import REGISTRY, emit, infer, integers, trace

OPSETS = range(OLDEST_WRITTEN, OPSET + 1)
X = np.array([[1, -2, 3, -4], [0.5, 0.25, -8, 16]], np.float32)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_every_operator_survives_every_opset(case):
    graph, known = graph_of(case), []
    for opset, portable in product(OPSETS, (False, True)):
        model = to_model(graph, {}, opset=opset, portable=portable)
        back, parameters, _ = from_model(model, case)
        if (form := (form_of(model), back)) not in known:
            known.append(form)
            checker.check_model(model, full_check=True)
            assert_agree(graph, model)
            assert_agree(back, model, parameters)
        if not portable and to_opset(graph, infer(graph).types, opset) == list(graph.nodes):
            assert back == graph


NOWHERE = {"GlobalLpPool"}
"""What neither onnxruntime nor onnx's reference runs since opset 22; before, nothing was different about it."""


def assert_agree(graph, model, parameters=MappingProxyType({})):
    try:
        compare(graph, parameters, model, graph.name, tolerance=Tolerance())
    except UnsupportedError:  # onnxruntime lacks some of the newest operators.
        if NOWHERE & {node.op_type for node in model.graph.node}:
            return
        shapes = {value.name: (3, *value.shape[1:]) for value in graph.inputs}
        feeds = {name: np.random.default_rng(0).normal(size=shape).astype("f") for name, shape in shapes.items()}
        plan = Plan(graph, shapes, parameters)
        for name, array in feeds.items():
            plan.inputs[name][...] = array
        plan.run()
        for ours, theirs in zip(plan.outputs.values(), ReferenceEvaluator(model).run(None, feeds), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.quick("Conv", "Gemm", "Softmax", "LSTM", "Slice", "MaxPool", "LayerNormalization", "Where")
@pytest.mark.skipif(onnx.defs.onnx_opset_version() < NEWEST_READ, reason="this onnx does not know it")
@pytest.mark.parametrize("name", sorted(name for domain, name in REGISTRY if not domain))
def test_the_newest_opset_has_the_forms_of_the_vocabulary(name):
    """What was added since has a default value that says what was so before."""
    ours, newest = signature(name, OPSET), signature(name, NEWEST_READ)
    added = newest.attributes.items() - ours.attributes.items()
    assert newest.most == ours.most
    assert len(ours.attributes) + len(added) == len(newest.attributes)
    assert {name for name, _ in added} <= set(newest.defaults)


def run(model: onnx.ModelProto, **feeds: np.ndarray) -> np.ndarray:
    [result] = Session(to_bytes(model)).run(feeds).values()
    return result


@pytest.mark.parametrize(("opset", "as_attribute"), [(13, True), (17, True), (18, False), (25, False)])
def test_axes_of_reductions_are_an_attribute_before_opset_18(opset, as_attribute):
    model = to_model(graph_of("ReduceMean"), {}, opset=opset)
    nodes = {node.op_type: node for node in model.graph.node}
    attributes = {attribute.name: list(attribute.ints) for attribute in nodes["ReduceMean"].attribute}
    assert (attributes.get("axes") == [-1]) == as_attribute
    assert ("Constant" not in nodes) == as_attribute
    assert len(nodes["ReduceMean"].input) == (1 if as_attribute else 2)
    np.testing.assert_allclose(run(model, x=X), X.mean(axis=-1), rtol=1e-6)


def test_axes_as_an_attribute_become_a_constant():
    node = helper.make_node("ReduceMax", ["x"], ["y"], name="top", axes=[0], keepdims=0)
    graph = from_model(model_of([node], opset=13), "m.onnx").graph
    constant, reduce = graph.nodes
    assert constant == Node("top.axes", "Constant", (), ("top.axes",), {"value": Tensor("int64", (1,), (0,))})
    assert reduce == Node("top", "ReduceMax", ("x", "top.axes"), ("y",), {"keepdims": 0})


def test_a_part_of_a_shape_is_sliced_before_opset_15():
    model = to_model(graph_of("Shape in part"), {}, opset=14)
    assert [node.op_type for node in model.graph.node] == ["Shape", "Constant", "Constant", "Slice"]
    assert run(model, x=X).tolist() == [4]


def test_pads_along_axes_name_all_axes_before_opset_18():
    model = to_model(graph_of("Pad along axes"), {}, opset=17)
    expected = np.pad(X, ((0, 0), (1, 2)), constant_values=7)
    np.testing.assert_array_equal(run(model, x=X), expected)


def test_constants_that_became_attributes_are_left_out_but_not_outputs():
    x = Input(4, name="x")
    axes = integers([1])
    graph = trace([x], [emit("ReduceMean", x, axes), axes]).graph
    assert [node.op_type for node in to_model(graph, {}, opset=13).graph.node] == ["Constant", "ReduceMean"]


def test_numbers_are_those_of_plain_numpy():
    weight, bias = np.arange(12, dtype=np.float32).reshape(3, 4) / 10, np.array([1, -1, 0], np.float32)
    graph = Graph(
        (Value("x", "float32", ("batch", 4)),),
        ("y",),
        (Parameter("w", "float32", (3, 4)), Parameter("b", "float32", (3,))),
        (
            Node("dense", "Gemm", ("x", "w", "b"), ("h",), {"transB": 1}),
            Node("act", "Sigmoid", ("h",), ("y",)),
        ),
    )
    model = to_model(graph, {"w": weight, "b": bias})
    np.testing.assert_allclose(run(model, x=X), 1 / (1 + np.exp(-(X @ weight.T + bias))), rtol=1e-5)


IR_VERSIONS = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12, 25: 13}
"""From the table in ONNX's own docs/Versioning.md."""


@pytest.mark.parametrize("opset", OPSETS)
def test_the_ir_version_goes_with_the_opset(opset):
    model = to_model(graph_of("Relu"), {}, opset=opset)
    assert (model.ir_version, model.opset_import[0].version) == (IR_VERSIONS[opset], opset)


def test_names_dimensions_metadata_and_documentation_are_written():
    graph = Graph(
        (Value("in put", "float32", ("batch", "time", 3)),),
        ("höhe",),
        (),
        (Node("a/b:0", "Relu", ("in put",), ("höhe",)),),
        "mine",
    )
    model = to_model(graph, {}, metadata={"b": "2", "a": "1"}, doc="what it is")
    assert (model.producer_name, model.doc_string, model.graph.name) == ("portable-nn", "what it is", "mine")
    assert [(entry.key, entry.value) for entry in model.metadata_props] == [("a", "1"), ("b", "2")]
    dims = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    ]
    assert dims == [["batch", "time", 3]] * 2
    assert from_model(model, "m").graph == graph


def test_parameters_are_little_endian_bytes():
    graph = Graph(
        (Value("x", "int32", (2,)),), ("y",), (Parameter("w", "int32", (2,)),), (Node("n", "Add", ("x", "w"), ("y",)),)
    )
    [tensor] = to_model(graph, {"w": np.array([1, 256], ">i4")}).graph.initializer
    assert tensor.raw_data == b"\x01\0\0\0\0\x01\0\0"


def test_the_same_network_gives_the_same_bytes():
    first, second = (to_bytes(to_model(graph_of("Gemm"), {}, metadata={"k": "v"})) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("opset", [12, 26])
def test_other_opsets_are_not_written(opset):
    with pytest.raises(UsageError, match=rf"^opset must be 13 to 25, not {opset}$"):
        to_model(graph_of("Relu"), {}, opset=opset)


def test_all_that_an_opset_cannot_express_is_listed_with_the_lowest_that_can():
    x = Input(4, name="x", dtype="int8")
    kept = emit("ReduceSumSquare", Input(4, name="f"), integers([]), noop_with_empty_axes=1, name="kept")
    floats = kept.origin.inputs[0]
    graph = trace([x, floats], [emit("Add", x, x, name="sum"), kept]).graph
    with pytest.raises(UsageError) as caught:
        to_model(graph, {}, opset=13)
    assert str(caught.value).splitlines() == [
        "this network cannot be written at opset 13: 2 faults",
        "  node 'kept' (ReduceSumSquare): there is no attribute 'noop_with_empty_axes'; "
        "opset 18 is the lowest that can",
        "  node 'sum' (Add): there it is not defined for int8; opset 14 is the lowest that can",
    ]
    checker.check_model(to_model(graph, {}, opset=18), full_check=True)


def test_internal_operators_are_written_as_standard_ones():
    node = Node("step", "ReluGrad", ("x", "x"), ("y",), {}, INTERNAL)
    graph = Graph((Value("x", "float32", (2,)),), ("y",), (), (node,))
    model = to_model(graph, {})
    assert {entry.domain for entry in model.opset_import} == {""}
    x = np.array([-2, 3], np.float32)
    [found] = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_array_equal(found, [0, 3])


def test_more_than_protocol_buffers_hold_is_refused():
    huge = np.broadcast_to(np.float32(0), (2**29,))
    graph = Graph((), ("w",), (Parameter("w", "float32", (2**29,)),), ())
    with pytest.raises(UsageError, match="the parameters have 2147483648 bytes; an ONNX file holds at most 2147483647"):
        to_model(graph, {"w": huge})


# -- models that others made


def info(name: str, shape: list[int | str | None] | None = None, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, ["batch", 4] if shape is None else shape)


def model_of(
    nodes: list[onnx.NodeProto],
    initializers: dict[str, np.ndarray] | None = None,
    *,
    opset: int = 17,
    inputs: list[onnx.ValueInfoProto] | None = None,
    outputs: list[str] | None = None,
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(array, name) for name, array in (initializers or {}).items()]
    results = [info(name, []) for name in outputs or ["y"]]
    graph = helper.make_graph(nodes, "theirs", inputs or [info("x")], results, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("opset", [13, 17, 21, 25, 26, 27, 28])
def test_models_are_read_at_every_opset(opset):
    weight = np.ones((4, 2), np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Softmax", ["h"], ["y"], axis=1)]
    graph, parameters, _ = from_model(model_of(nodes, {"w": weight}, opset=opset), "m.onnx")
    assert [node.name for node in graph.nodes] == ["matmul", "softmax"]
    assert graph.parameters == (Parameter("w", "float32", (4, 2)),)
    np.testing.assert_array_equal(parameters["w"], weight)


@pytest.mark.parametrize("opset", [5, 29])
def test_other_opsets_are_not_read(opset):
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], opset=opset)
    with pytest.raises(UnsupportedError, match=rf"^m\.onnx: uses opset {opset}; 6 to 28 are read$"):
        from_model(model, "m.onnx")


def test_initializers_that_are_inputs_too_are_parameters():
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])], {"w": np.ones(4, np.float32)})
    model.graph.input.append(info("w", [4]))
    graph = from_model(model, "m").graph
    assert [value.name for value in graph.inputs] == ["x"]
    assert [value.name for value in graph.parameters] == ["w"]


def test_initializers_that_decide_shapes_are_constants():
    model = model_of([helper.make_node("Reshape", ["x", "sizes"], ["y"])], {"sizes": np.array([-1, 2, 2])})
    graph = from_model(model, "m").graph
    assert graph.parameters == ()
    assert graph.nodes[0].attributes == {"value": Tensor("int64", (3,), (-1, 2, 2))}


def test_what_is_trained_are_float_initializers():
    frozen = helper.make_node("Constant", [], ["big"], value=numpy_helper.from_array(np.ones((512, 4), np.float32)))
    small = helper.make_node("Constant", [], ["small"], name="small", value_float=0.1)
    nodes = [
        frozen,
        small,
        helper.make_node("Gemm", ["x", "big"], ["a"], transB=1),
        helper.make_node("Mul", ["a", "small"], ["b"]),
        helper.make_node("Add", ["b", "w"], ["c"]),
        helper.make_node("Where", ["mask", "c", "b"], ["y"]),
    ]
    model = model_of(nodes, {"w": np.ones(512, np.float32), "mask": np.ones(512, bool)})
    graph, parameters, _ = from_model(model, "m")
    assert graph.parameters == (
        Parameter("w", "float32", (512,)),
        Parameter("mask", "bool", (512,), trainable=False),
        Parameter("big", "float32", (512, 4)),
    )
    assert parameters["big"].shape == (512, 4)
    assert graph.nodes[0] == Node("small", "Constant", (), ("small",), {"value_float": 0.1})


def test_names_are_made_unique_and_others_kept():
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="act"),
        helper.make_node("Relu", ["a"], ["b"], name="act"),
        helper.make_node("Relu", ["b"], ["relu"]),
        helper.make_node("Relu", ["relu"], ["y"]),
    ]
    graph = from_model(model_of(nodes), "m").graph
    assert [node.name for node in graph.nodes] == ["act", "act_2", "relu_2", "relu_3"]


def test_sizes_that_are_not_known_get_names():
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], inputs=[info("x", [None, -1, 4])])
    assert from_model(model, "m").graph.inputs[0].shape == ("x.0", "x.1", 4)
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], inputs=[info("x", ["-1", "n", 0])])
    assert from_model(model, "m").graph.inputs[0].shape == ("x.0", "n", 0)


def test_an_attribute_that_is_not_known_is_named():
    model = model_of([helper.make_node("Relu", ["x"], ["y"], name="r", slope=0.5)])
    with pytest.raises(GraphError, match=r"^m: 'r' \(Relu\): attribute 'slope' is not one of Relu's \(none\)$"):
        from_model(model, "m")


def test_all_that_is_not_supported_is_listed():
    body = helper.make_graph([], "body", [], [])
    nodes = [
        helper.make_node("Foo", ["x"], ["a"], name="first", domain="com.example"),
        *(helper.make_node("TfIdfVectorizer", ["x"], [f"c{i}"]) for i in range(7)),
        helper.make_node("Relu", ["x"], ["y"], name="r", weird=body),
    ]
    inputs = [info("x"), info("t", dtype=TensorProto.COMPLEX64), onnx.ValueInfoProto(name="v")]
    inputs.append(helper.make_tensor_value_info("u", TensorProto.FLOAT, None))
    model = model_of(nodes, inputs=inputs)
    model.graph.initializer.append(TensorProto(name="s", data_type=TensorProto.STRING))
    model.graph.initializer.append(TensorProto(name="z", data_type=99))
    with pytest.raises(UnsupportedError) as caught:
        from_model(model, "m.onnx")
    assert str(caught.value).splitlines() == [
        "m.onnx: not supported: 8 faults",
        "  operator 'TfIdfVectorizer' (domain ai.onnx, version 9), in 7 nodes: c0, c1, c2, c3, c4, …",
        "  operator 'com.example.Foo' (domain com.example, no known version), in 1 node: first",
        "  attribute 'weird' of node 'r' (Relu), of type GRAPH",
        "  tensor 's', with elements of type STRING",
        "  tensor 'z', with elements of type 99",
        "  input 't', with elements of type COMPLEX64",
        "  input 'v', which is nothing known and not a tensor",
        "  input 'u', of unknown rank",
    ]


def test_all_nodes_that_do_not_fit_are_listed():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
        helper.make_node("Softmax", ["x"], ["y"], name="second", axis=5),
    ]
    with pytest.raises(GraphError) as caught:
        from_model(model_of(nodes, {"w": np.ones((3, 2), np.float32)}), "m.onnx")
    assert str(caught.value).splitlines() == [
        "m.onnx: 2 faults",
        "  'first' (MatMul): the shapes (batch, 4) and (3, 2) cannot be multiplied",
        "  'second' (Softmax): axis 5 is outside an input of 2 dimensions",
    ]


def without(model: onnx.ModelProto, field: str) -> onnx.ModelProto:
    model.ClearField(field)
    return model


def of_the_future(model: onnx.ModelProto) -> onnx.ModelProto:
    model.opset_import.append(helper.make_opsetid("x", 2**62))
    return model


def broken_constant(*dims: int, data: bytes = b"\0") -> onnx.NodeProto:
    tensor = TensorProto(data_type=TensorProto.FLOAT, dims=dims, raw_data=data)
    return helper.make_node("Constant", [], ["c"], value=tensor)


RELU = helper.make_node("Relu", ["x"], ["y"])
DAMAGED = {
    "is not a whole ONNX model: it has no graph": without(model_of([RELU]), "graph"),
    "is not a whole ONNX model: it has no version of the standard operators": without(model_of([RELU]), "opset_import"),
    r"is not a whole ONNX model: it uses version 4611686018427387904 of the operators of 'x'; 2147483647 ": (
        of_the_future(model_of([helper.make_node("Dropout", ["x"], ["y"], domain="x")]))
    ),
    r"makes values twice: 'y'": model_of([RELU, RELU]),
    r"declares inputs twice: 'x'": model_of([RELU], inputs=[info("x", [2, 4]), info("x", [2])]),
    r"tensor 'w' is damaged": model_of([RELU], {"w": np.ones(2, np.float32)}),
    r"attribute 'value' is damaged": model_of([broken_constant(2)]),
    r"'c' is damaged": model_of([broken_constant(2000)]),
    r"attribute 'value' is damaged: its shape is \(2, -1\)": model_of([broken_constant(2, -1, data=bytes(16))]),
    r"attribute 'mode' is not text in UTF-8: b'\\xff'": model_of([helper.make_node("Pad", ["x"], ["y"], mode=b"\xff")]),
}
DAMAGED[r"tensor 'w' is damaged"].graph.initializer[0].raw_data = b"\0\0\0"


def test_a_constant_that_nobody_can_read_is_left_alone():
    """A node may have no outputs at all, or none with a name."""
    value = helper.make_tensor("v", TensorProto.INT64, [1], [3])
    nodes = [*(helper.make_node("Constant", [], outputs, value=value) for outputs in ([], [""])), RELU]
    with pytest.raises(GraphError, match=r"'constant' \(Constant\): Constant has 1 output, not 0"):
        from_model(model_of(nodes), "m.onnx")


@pytest.mark.parametrize("reason", DAMAGED)
def test_damage_is_reported(reason):
    with pytest.raises(FormatError, match=f"^m.onnx: {reason}"):
        from_model(DAMAGED[reason], "m.onnx")


def test_a_name_that_is_not_text_is_refused():
    data = model_of([helper.make_node("Relu", ["x"], ["y"], name="????")]).SerializeToString()
    model = onnx.ModelProto.FromString(data.replace(b"????", b"\xff\xfe\xff\xfe"))
    with pytest.raises(FormatError, match=r"^m.onnx: has a name that is not text in UTF-8$"):
        from_model(model, "m.onnx")


def test_a_tensor_in_another_file_needs_the_path():
    model = model_of([RELU], {"w": np.ones(2, np.float32)})
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(UnsupportedError, match="tensor 'w' lies in another file: import the model by its path"):
        from_model(model, "m.onnx")


def test_a_parameter_that_is_not_trainable_may_be_one_after_a_round_trip_through_a_bare_model():
    graph = Graph(
        (Value("x", "float32", (2,)),),
        ("y",),
        (Parameter("w", "float32", (2,), False),),
        (Node("n", "Add", ("x", "w"), ("y",)),),
    )
    back = from_model(to_model(graph, {"w": np.ones(2, np.float32)}), "m").graph
    assert back == replace(graph, parameters=(Parameter("w", "float32", (2,), True),))
