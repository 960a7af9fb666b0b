"""Graphs: every fault is found at once; symbols become graphs and graphs symbols again; names."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest

from portable_nn.core.errors import GraphError
from portable_nn.core.graph import Graph, Node, Parameter, Tensor, Value, format_shape
from portable_nn.operators import Leaf, Symbol, Type, cast, constant, emit, emit_all, infer, integers, replay, trace


def node(name: str, operator: str, inputs: str, outputs: str, **attributes: object) -> Node:
    return Node(name, operator, tuple(inputs.split()), tuple(outputs.split()), attributes)  # type: ignore[arg-type]


def graph(*nodes: Node, outputs: tuple[str, ...] = ()) -> Graph:
    """Nodes over the input ``x`` (batch, 4) and the parameter ``w`` (3, 4)."""
    return Graph((Value("x", "float32", ("batch", 4)),), outputs, (Parameter("w", "float32", (3, 4)),), nodes)


FAULTS = [
    (node("a", "Foo", "x", "y"), "'a' (Foo): operator 'Foo' is not supported"),
    (node("a", "Relu", "x", "y", slope=1), "'a' (Relu): attribute 'slope' is not one of Relu's (none)"),
    (node("a", "Flatten", "x", "y", axis=1.0), "'a' (Flatten): attribute 'axis' must be of type int, not 1.0"),
    (
        node("a", "Gemm", "x w", "y"),
        "'a' (Gemm): it multiplies rows of 4 (A is (batch, 4)) by columns of 3 (B is (3, 4))",
    ),
    (node("a", "Add", "x w", "y"), "'a' (Add): the shapes (batch, 4) and (3, 4) do not broadcast"),
    (node("a", "Relu", "nowhere", "y"), "'a' (Relu): reads 'nowhere', which nothing before it makes"),
    (node("a", "Relu", "y", "y"), "'a' (Relu): reads 'y', which nothing before it makes"),
    (node("a", "Relu", "x", "w"), "'a' (Relu): the name 'w' is taken by the parameters"),
    (node("a", "Relu", "x", "x"), "'a' (Relu): the name 'x' is taken by the inputs"),
    (node("a", "Relu", "x", "y z"), "'a' (Relu): Relu has 1 output, not 2"),
    (node("a", "Relu", "x x", "y"), "'a' (Relu): Relu takes 1 input, not 2"),
]


@pytest.mark.parametrize(("faulty", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_one_fault(faulty: Node, message: str) -> None:
    with pytest.raises(GraphError, match="^" + re.escape(message) + "$"):
        infer(graph(faulty))


def test_all_faults_are_reported_at_once_and_what_follows_from_them_is_not() -> None:
    faulty = graph(
        node("unknown", "Foo", "x", "a"),
        node("after_unknown", "Relu", "a", "b"),
        node("mismatch", "Gemm", "x w", "c"),
        node("after_both", "Add", "b c", "d"),
        node("attribute", "Relu", "x", "e", slope=1),
        node("fine", "Relu", "x", "f"),
        node("fine", "Tanh", "f", "g"),
        node("blind", "Add", "f nowhere", "h"),
        node("after_blind", "Relu", "h", "i"),
        node("again", "Relu", "x", "f"),
        node("also_wrong", "Foo", "d nothing", "j"),
        outputs=("d", "f", "missing", "x"),
    )
    with pytest.raises(GraphError) as caught:
        infer(faulty)
    assert str(caught.value).splitlines() == [
        "8 faults",
        "  'unknown' (Foo): operator 'Foo' is not supported",
        "  'mismatch' (Gemm): it multiplies rows of 4 (A is (batch, 4)) by columns of 3 (B is (3, 4))",
        "  'attribute' (Relu): attribute 'slope' is not one of Relu's (none)",
        "  'fine' (Tanh): another node has this name",
        "  'blind' (Add): reads 'nowhere', which nothing before it makes",
        "  'again' (Relu): the name 'f' is taken by 'fine' (Relu)",
        "  'also_wrong' (Foo): reads 'nothing', which nothing before it makes",
        "  output 'missing' is made by no node",
    ]
    assert [fault.node for fault in caught.value.faults][-2:] == ["'also_wrong' (Foo)", ""]


def test_two_inputs_or_parameters_of_one_name() -> None:
    twice = Value("x", "float32", (2,))
    with pytest.raises(GraphError) as caught:
        infer(Graph((twice, twice), ("x",), (Parameter("x", "float32", (2,)),), ()))
    assert [str(fault) for fault in caught.value.faults] == [
        "the inputs: the name 'x' is taken by the inputs",
        "the parameters: the name 'x' is taken by the inputs",
    ]


def test_nodes_that_differ_in_the_type_of_an_attribute_alone_are_distinguished() -> None:
    one, true = node("one", "Flatten", "x", "a", axis=1), node("true", "Flatten", "x", "c", axis=True)
    float_one = node("float_one", "Flatten", "x", "b", axis=1.0)
    with pytest.raises(GraphError) as caught:
        infer(graph(one, float_one, true))
    assert [str(fault) for fault in caught.value.faults] == [
        "'float_one' (Flatten): attribute 'axis' must be of type int, not 1.0",
        "'true' (Flatten): attribute 'axis' must be of type int, not True",
    ]


def test_shapes_may_be_lists() -> None:
    x = Value("x", "float32", ["batch", 4])  # type: ignore[arg-type]
    assert infer(Graph((x,), ("y",), (), (node("a", "Relu", "x", "y"),))).types["y"].shape == ["batch", 4]


def test_nodes_whose_inputs_differ_in_their_elements_alone_are_distinguished() -> None:
    shapes = {"rows": (2, 6), "columns": (6, 2)}
    nodes = [node(name, "Constant", "", name, value=Tensor("int64", (2,), to)) for name, to in shapes.items()]
    reshaped = [node(f"by_{name}", "Reshape", f"w {name}", f"by_{name}") for name in shapes]
    types = infer(graph(*nodes, *reshaped)).types
    assert {name: types[f"by_{name}"].shape for name in shapes} == shapes


def test_shapes_given_at_inference_take_the_place_of_the_declared_ones() -> None:
    found = infer(graph(node("a", "Gemm", "x w", "y", transB=1), outputs=("y",)), {"x": (7, 4)})
    assert found.types["y"] == Type("float32", (7, 3))
    with pytest.raises(GraphError, match=r"rows of 5 \(A is \(7, 5\)\)"):
        infer(graph(node("a", "Gemm", "x w", "y", transB=1)), {"x": (7, 5)})


def network() -> tuple[list[Leaf], list[Symbol]]:
    """A network with shared parameters, an absent optional input, unused outputs and constants."""
    x = Leaf("image", "float32", ("batch", 4))
    mask = Leaf(None, "float32", ("batch", 3), stem="mask")
    w = Leaf(None, "float32", (3, 4), stem="weight", parameter=True)
    b = Leaf("my.bias", "float32", (3,), stem="bias", parameter=True, trainable=False)
    h = emit("Gemm", x, w, b, transB=1, stem="dense")
    h = emit("Gemm", h @ w, w, transB=1, stem="dense", alpha=0.1)
    h = emit("Pad", h * 2, integers([0, 1]), None, integers([1]))
    h = emit("ReduceSum", h * 2 + 1, integers([1]), keepdims=0, name="sum")
    noisy, kept = emit_all("Dropout", h, constant(0.5, "float32"), constant(True, "bool"), outputs=2)
    return [x, mask], [noisy, emit("Not", kept), emit("Relu", mask, stem="dense"), emit("Identity", b)]


def test_round_trip() -> None:
    leaves, outputs = network()
    made = trace(leaves, outputs, "net").graph
    symbols = replay(made)
    again_leaves = [leaf for value in made.inputs if isinstance(leaf := symbols[value.name], Leaf)]
    again = trace(again_leaves, [symbols[name] for name in made.outputs], "net").graph
    assert again == made
    assert msgspec.json.decode(msgspec.json.encode(again), type=Graph) == made
    assert {name: symbol.type for name, symbol in symbols.items()} == infer(made).types


def test_names() -> None:
    leaves, outputs = network()
    traced = trace(leaves, outputs, "net")
    made = traced.graph
    assert [value.name for value in made.inputs] == ["image", "mask"]
    assert [(p.name, p.trainable) for p in made.parameters] == [("dense_1.weight", True), ("my.bias", False)]
    assert [n.name for n in made.nodes if n.operator != "Constant"] == [
        "dense_1",
        "matmul_1",
        "dense_2",
        "mul_1",
        "pad_1",
        "mul_2",
        "add_1",
        "sum",
        "dropout_1",
        "not_1",
        "dense_3",
        "identity_1",
    ]
    assert made.outputs == ("dropout_1", "not_1", "dense_3", "identity_1")
    assert [n.outputs for n in made.nodes if n.operator == "Dropout"] == [("dropout_1", "dropout_1.mask")]
    assert traced.names[outputs[0]] == "dropout_1"
    assert len(set(made.values())) == len(list(made.values()))
    assert made.name == "net"


def test_given_names_are_kept_and_numbered_ones_step_aside() -> None:
    x = Leaf("relu_1", "float32", (2,))
    unused = Leaf("relu_3", "float32", (2,))
    made = trace([x, unused], [emit("Relu", emit("Relu", emit("Relu", x), name="relu_2"))]).graph
    assert [n.name for n in made.nodes] == ["relu_4", "relu_2", "relu_5"]
    infer(made)


@pytest.mark.parametrize("names", [("same", "same", None), ("same", None, "same"), (None, "same", "same")])
def test_a_name_given_twice(names: tuple[str | None, str | None, str | None]) -> None:
    x = Leaf(names[0], "float32", (2,))
    y = emit("Relu", emit("Relu", x, name=names[1]), name=names[2])
    with pytest.raises(GraphError, match=r"^the name 'same' was given twice$"):
        trace([x], [y])


def test_equal_constants_are_one_node_and_named_ones_stay() -> None:
    x = Leaf("x", "float32", (2,))
    mine = emit("Constant", value=Tensor("float32", (), (2.0,)), name="mine")
    made = trace([x], [(x * 2 + 2) * constant(2, "float32") * mine * 3]).graph
    assert [n.name for n in made.nodes if n.operator == "Constant"] == ["mine", "constant_1", "constant_2"]
    wide = trace([x], [cast(x, "int64") * constant(2, "int64") * constant([2], "int64")]).graph
    assert sum(n.operator == "Constant" for n in wide.nodes) == 2


def test_constants_that_are_equal_but_not_the_same_stay_two() -> None:
    x = Leaf("x", "float32", (2,))
    made = trace(
        [x], [emit("Div", x, constant([0.0, 1.0], "float32")), emit("Div", x, constant([-0.0, 1.0], "float32"))]
    )
    found = [each.attributes["value"] for each in made.graph.nodes if each.operator == "Constant"]
    assert [np.signbit(each.data[0]) for each in found if isinstance(each, Tensor)] == [False, True]


def test_what_leads_to_no_output_is_left_out() -> None:
    x = Leaf("x", "float32", (2,))
    w = Leaf("w", "float32", (2,), parameter=True)
    kept = emit("Relu", x)
    emit("Add", kept, w)
    made = trace([x], [kept]).graph
    assert (len(made.nodes), made.parameters) == (1, ())


def test_a_parameter_or_an_input_may_be_an_output() -> None:
    x, w = Leaf("x", "float32", (2,)), Leaf(None, "float32", (3,), stem="weight", parameter=True)
    made = trace([x], [x, w]).graph
    assert made.outputs == ("x", "weight_1")
    assert infer(made).types["weight_1"] == Type("float32", (3,))


def test_strangers() -> None:
    x, y, z = (Leaf(name, "float32", (2,)) for name in ("x", "y", "z"))
    with pytest.raises(GraphError) as caught:
        trace([x], [x + y, emit("Relu", z)])
    assert [str(fault) for fault in caught.value.faults] == [
        "the outputs need <y: float32 (2,)>, which is not among the inputs",
        "the outputs need <z: float32 (2,)>, which is not among the inputs",
    ]


def test_arithmetic_on_symbols_and_numbers() -> None:
    x = Leaf("x", "float64", (3,))
    values = [x + 1, 1 + x, x - 1, 1 - x, 2 * x, x * 2, x / 2, 2 / x, x**2, -x, x @ x, x + x]
    assert [value.origin.operator.name for value in values if value.origin.operator] == [
        "Add",
        "Add",
        "Sub",
        "Sub",
        "Mul",
        "Mul",
        "Div",
        "Div",
        "Pow",
        "Neg",
        "MatMul",
        "Add",
    ]
    assert {value.dtype for value in values} == {"float64"}


def test_attributes_are_plain_numbers_in_the_precision_of_onnx() -> None:
    x = Leaf("x", "float32", (2, 3))
    made = emit("LeakyRelu", x, alpha=np.float64(0.1) + 1e-12).origin
    assert made.attributes == {"alpha": 0.1}
    made = emit("Transpose", x, perm=np.array([1, 0])).origin
    assert made.attributes == {"perm": (1, 0)}
    assert all(type(item) is int for item in made.attributes["perm"])  # type: ignore[union-attr]
    made = emit("Gemm", x, x, transB=True, transA=None).origin
    assert made.attributes == {"transB": 1}
    assert type(made.attributes["transB"]) is int
    assert constant(0.1, "float32").origin.attributes["value"] == Tensor("float32", (), (0.1,))
    assert constant(True, "bool").origin.attributes["value"] == Tensor("bool", (), (1,))


def test_how_things_are_written() -> None:
    assert [format_shape(shape) for shape in ((), ("batch",), ("batch", 3))] == ["()", "(batch,)", "(batch, 3)"]
    assert str(Value("x", "float32", ("batch", 3))) == "x: float32(batch, 3)"
    assert repr(emit("Relu", Leaf("x", "float32", (2,)), stem="hidden")) == "<'hidden' (Relu): float32 (2,)>"
