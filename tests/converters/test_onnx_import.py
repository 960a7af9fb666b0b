"""What others write: old semantics, weights in unusual places, shapes that are computed, and all faults at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from portable_nn.converters.onnx import import_onnx, read_onnx
from portable_nn.core.errors import GraphError, ShapeError, UnsupportedError, UsageError
from portable_nn.core.graph import Parameter
from portable_nn.onnx.reading import from_model
from portable_nn.onnx.writing import to_model
from portable_nn.operators import infer

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(6)


def real(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def info(name: str, shape: Sequence[int | str], dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    weights: Mapping[str, Array] | None = None,
    *,
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    entries = [info(name, shape) for name, shape in inputs.items()]
    tensors = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph(nodes, "theirs", entries, results, tensors)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("theirs", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, functions=functions)


def node(operator: str, inputs: str, outputs: str = "y", name: str = "it", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), name, **attributes)


def constant(name: str, array: Array) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], f"{name}.node", value=numpy_helper.from_array(array))


# -- opset 6

X = real(2, 3, 4, 5)
BROADCASTS = [
    ({}, real(2, 3, 4, 5), lambda b: b),
    ({"broadcast": 1}, real(4, 5), lambda b: b),
    ({"broadcast": 1}, real(1), lambda b: b),
    ({"broadcast": 1}, np.float32(2.5), lambda b: b),
    ({"broadcast": 1, "axis": 1}, real(3), lambda b: b[:, None, None]),
    ({"broadcast": 1, "axis": 1}, real(3, 4), lambda b: b[:, :, None]),
    ({"broadcast": 1, "axis": -3}, real(3, 1), lambda b: b[:, :, None]),
    ({"broadcast": 1, "axis": 0}, real(2), lambda b: b[:, None, None, None]),
]


@pytest.mark.parametrize(("attributes", "b", "aligned"), BROADCASTS, ids=map(str, range(len(BROADCASTS))))
@pytest.mark.parametrize(("operator", "function"), [("Add", np.add), ("Mul", np.multiply), ("Less", np.less)])
def test_inputs_were_stretched_as_attributes_said(operator, function, attributes, b, aligned) -> None:
    model = model_of([node(operator, "x b", **attributes)], {"x": X.shape}, {"b": b}, opset=6)
    np.testing.assert_array_equal(import_onnx(model, verify=False).predict(X), function(X, aligned(b)))


@pytest.mark.parametrize(
    ("made", "weights", "message"),
    [
        (
            node("Add", "x b"),
            {"b": real(5)},
            "without the attribute 'broadcast' its inputs have one shape, not A (2, 3, 4, 5) and B (5,)",
        ),
        (node("Sub", "x b", broadcast=1, axis=1), {"b": real(4)}, "B (4,) does not fit A (2, 3, 4, 5) from axis 1 on"),
        (
            node("Sub", "x b", broadcast=1, axis=3),
            {"b": real(5, 1)},
            "B (5, 1) does not fit A (2, 3, 4, 5) from axis 3 on",
        ),
        (
            node("PRelu", "x b"),
            {"b": real(5)},
            "slope (5,) is neither one number nor one for each channel of (2, 3, 4, 5)",
        ),
    ],
)
def test_what_did_not_fit_at_opset_6_does_not(made, weights, message) -> None:
    with pytest.raises(GraphError) as caught:
        import_onnx(model_of([made], {"x": X.shape}, weights, opset=6))
    assert str(caught.value) == f"model: 'it' ({made.op_type}): at opset 6, {message}"


def test_a_bias_of_gemm_was_stretched_only_where_that_is_said() -> None:
    weights = {"w": real(3, 4), "c": real(4)}
    stretched = model_of([node("Gemm", "x w c", broadcast=1)], {"x": ("batch", 3)}, weights, opset=6)
    x = real(2, 3)
    np.testing.assert_allclose(import_onnx(stretched).predict(x), x @ weights["w"] + weights["c"], rtol=1e-5, atol=1e-6)
    plain = model_of([node("Gemm", "x w c")], {"x": (2, 3)}, weights, opset=6)
    with pytest.raises(GraphError, match=r"without the attribute 'broadcast' C has the shape \(2, 4\), not \(4,\)$"):
        import_onnx(plain)


def test_a_slope_was_one_for_each_channel() -> None:
    slope = real(3)
    model = model_of([node("PRelu", "x w")], {"x": ("batch", 3, 4, 5)}, {"w": slope}, opset=6)
    expected = np.where(X < 0, X * slope[:, None, None], X)
    np.testing.assert_allclose(import_onnx(model).predict(X), expected, rtol=1e-6)


def test_test_mode_and_scales_of_upsampling() -> None:
    weights = {"s": real(3), "b": real(3), "m": real(3), "v": np.abs(real(3)) + 1}
    nodes = [
        node("BatchNormalization", "x s b m v", "n mean var", "norm", is_test=1),
        node("Dropout", "n", "d mask", "drop", is_test=1, ratio=0.5),
        node("Upsample", "d", name="up", height_scale=2.0, width_scale=3.0),
    ]
    network = import_onnx(model_of(nodes, {"x": ("batch", 3, 4, 5)}, weights, opset=6), verify=False)
    s, b, m, v = (weights[name][:, None, None] for name in "sbmv")
    expected = ((X - m) / np.sqrt(v + 1e-5) * s + b).repeat(2, axis=2).repeat(3, axis=3)
    np.testing.assert_allclose(network.predict(X), expected, rtol=1e-4, atol=1e-5)


def test_what_onnxruntime_has_no_kernel_for_is_compared_after_it_was_written() -> None:
    found = read_onnx(model_of([node("Add", "x x")], {"x": ("batch", 3)}, opset=6))
    assert found.outputs.batches == (1, 3)
    [note] = found.outputs.notes
    assert note.startswith("compared with what is written of it at opset 17: onnxruntime lacks an operator")


@pytest.mark.parametrize("opset", [1, 5])
def test_older_opsets_are_read_where_nothing_has_changed(opset: int) -> None:
    model = model_of([node("Transpose", "x")], {"x": (2, 3)}, opset=opset)
    np.testing.assert_array_equal(import_onnx(model, verify=False).predict(X[0, :2, :3, 0]), X[0, :2, :3, 0].T)
    with pytest.raises(UnsupportedError, match=rf"^model: uses opset {opset}; 6 to 28 are read$"):
        import_onnx(model_of([node("Relu", "x")], {"x": (2, 3)}, opset=opset))


# -- weights wherever they are


def test_inputs_become_weights_on_request() -> None:
    w, b, x = real(3, 4), real(4), real(2, 3)
    model = model_of([node("Gemm", "x w b")], {"x": ("batch", 3), "w": (3, 4), "b": ("n",)})
    network = import_onnx(model, weights={"w": w, "b": b})
    assert network.graph.parameters == (Parameter("w", "float32", (3, 4)), Parameter("b", "float32", (4,)))
    np.testing.assert_allclose(network.predict(x), x @ w + b, rtol=1e-5, atol=1e-6)
    assert [value.name for value in model.graph.input] == ["x", "w", "b"]


def test_inputs_that_become_weights_must_be_there_and_fit() -> None:
    model = model_of([node("Gemm", "x w b")], {"x": ("batch", 3), "w": (3, 4), "b": (4,)})
    with pytest.raises(UsageError, match=r"^model: weights are given for 'v', but its inputs are: x, w, b$"):
        import_onnx(model, weights={"v": real(1)})
    with pytest.raises(ShapeError) as caught:
        import_onnx(model, weights={"w": real(4, 3), "b": np.zeros(4)})
    assert str(caught.value).splitlines() == [
        "model: 2 faults",
        "  weight 'w' must be float32 (3, 4), not float32 (4, 3)",
        "  weight 'b' must be float32 (4,), not float64 (4,)",
    ]


def test_shapes_may_be_among_them() -> None:
    model = model_of([node("Reshape", "x n")], {"x": (2, 6)})
    model.graph.input.append(info("n", [2], TensorProto.INT64))
    assert import_onnx(model, weights={"n": np.array([3, -1])}).types["y"].shape == (3, 4)


def test_constants_where_weights_stand_are_trained() -> None:
    nodes = [
        constant("w", real(4, 3)),
        constant("b", real(3)),
        constant("scale", real(3)),
        node("MatMul", "x w", "h", "product"),
        node("Add", "b h", "a", "sum"),
        node("Mul", "a scale", name="scaled"),
    ]
    found = read_onnx(model_of(nodes, {"x": ("batch", 4)}))
    assert found.network.graph.parameters == (Parameter("w", "float32", (4, 3)), Parameter("b", "float32", (3,)))
    assert [each.name for each in found.network.graph.nodes] == ["scale.node", "product", "sum", "scaled"]
    assert "constants that are kept as parameters (2): 'w', 'b'" in found.notes
    written = to_model(found.network.graph, found.network.parameters).graph
    assert [tensor.name for tensor in written.initializer] == ["w", "b"]


def test_parameters_that_were_stored_once_are_parameters_of_their_own() -> None:
    """PyTorch stores parameters of equal elements once, and writes Identity for the others."""
    nodes = [
        node("Identity", "first.bias", "second.bias", "Identity_0"),
        node("Gemm", "x w first.bias", "h", "first"),
        node("Gemm", "h w second.bias", "y", "second"),
    ]
    found = read_onnx(model_of(nodes, {"x": ("batch", 3)}, {"w": real(3, 3), "first.bias": np.zeros(3, np.float32)}))
    assert [value.name for value in found.network.graph.parameters] == ["w", "first.bias", "second.bias"]
    assert "copies of a parameter that are parameters of their own (1): 'second.bias'" in found.notes
    assert found.network.parameters["first.bias"] is not found.network.parameters["second.bias"]


def test_an_identity_that_copies_nothing_else_stays() -> None:
    nodes = [node("Identity", "w", "v", "same"), node("Add", "x v")]
    graph = from_model(model_of(nodes, {"x": (3,)}, {"w": real(3)}), "m").graph
    assert [each.operator for each in graph.nodes] == ["Identity", "Add"]


# -- shapes that are computed


def shape_of(nodes: Sequence[onnx.NodeProto], weights: Mapping[str, Array], x: Sequence[int | str]) -> tuple[Any, ...]:
    """The shape of 'y', with the sizes of 'x' as they are."""
    return infer(from_model(model_of(nodes, {"x": x}, weights), "m").graph).types["y"].shape


INTS = {
    "0": np.array(0),
    "1": np.array(1),
    "[0]": np.array([0]),
    "[1]": np.array([1]),
    "[-1]": np.array([-1]),
    "[2]": np.array([2]),
    "2": np.array(2),
}


def test_an_expansion_as_torch_writes_it_keeps_the_batch_open() -> None:
    """x.expand(batch, -1, 4): the -1 become sizes by way of Equal and Where."""
    nodes = [
        node("Shape", "x", "s", "s"),
        node("Gather", "s 0", "b", "b"),
        node("Unsqueeze", "b [0]", "b1", "b1"),
        node("Concat", "b1 [-1] [2]", "want", "want", axis=0),
        node("Shape", "want", "ws", "ws"),
        node("ConstantOfShape", "ws", "ones", "ones", value=numpy_helper.from_array(np.array([1]))),
        node("Mul", "ones -1", "minus", "minus"),
        node("Equal", "want minus", "is", "is"),
        node("Where", "is ones want", "size", "size"),
        node("Expand", "x size"),
    ]
    weights = {**INTS, "-1": np.array(-1)}
    assert shape_of(nodes, weights, ("batch", 3, 1)) == ("batch", 3, 2)


def test_sizes_that_go_through_floats_stay_open() -> None:
    nodes = [
        constant("half", np.float32(0.5)),
        constant("double", np.float32(2)),
        node("Shape", "x", "s", "s"),
        node("Slice", "s [1] [2]", "h", "h"),
        node("Cast", "h", "f", "f", to=1),
        node("Mul", "f half", "g", "g"),
        node("Floor", "g", "k", "k"),
        node("Cast", "k", "n", "n", to=7),
        node("ConstantOfShape", "n"),
    ]
    assert shape_of(nodes, INTS, ("batch", "height")) == ("floor(0.5*height)",)
    assert shape_of(nodes, INTS, ("batch", 7)) == (3,)
    nodes[5] = node("Mul", "f double", "g", "g")
    assert shape_of(nodes, INTS, ("batch", "height")) == ("2*height",)


def test_a_range_of_a_size_has_that_size() -> None:
    nodes = [node("Shape", "x", "s", "s"), node("Gather", "s 1", "n", "n"), node("Range", "0 n 1")]
    assert shape_of(nodes, INTS, ("batch", "time")) == ("time",)


def test_a_division_of_sizes_is_rounded_down() -> None:
    nodes = [
        node("Shape", "x", "s", "s"),
        node("Gather", "s [0]", "n", "n"),
        node("Div", "n 2", "half_of", "d"),
        node("ConstantOfShape", "half_of"),
    ]
    assert shape_of(nodes, INTS, ("2*batch+4",)) == ("batch+2",)
    assert shape_of(nodes, INTS, ("batch",)) == ("floor(batch/2)",)


# -- choices and functions


def choice(condition: str, then: Sequence[onnx.NodeProto], other: Sequence[onnx.NodeProto]) -> onnx.NodeProto:
    branches = {
        name: helper.make_graph(nodes, name, [], [onnx.ValueInfoProto(name=nodes[-1].output[0])])
        for name, nodes in (("then_branch", then), ("else_branch", other))
    }
    return node("If", condition, "y", "choice", **branches)


def squeezed(x: Sequence[int | str]) -> onnx.ModelProto:
    """x.squeeze(1) as torch writes it."""
    nodes = [
        node("Shape", "x", "s", "s"),
        node("Gather", "s [1]", "n", "n"),
        node("Equal", "n [1]", "is_one", "is_one"),
        choice("is_one", [node("Squeeze", "x [1]", "a", "squeeze")], [node("Identity", "x", "b", "same")]),
    ]
    return model_of(nodes, {"x": x}, INTS)


@pytest.mark.parametrize(("size", "shape", "name"), [(1, ("batch", 4), "squeeze"), (3, ("batch", 3, 4), "same")])
def test_a_choice_that_sizes_decide_is_made(size: int, shape: tuple[Any, ...], name: str) -> None:
    found = read_onnx(squeezed(("batch", size, 4)), verify=size == 1)  # onnxruntime refuses the branch not taken.
    assert found.network.types["y"].shape == shape
    assert found.network.graph.nodes[-1].name == name
    assert "If nodes replaced by one branch, as their condition is constant: 'choice'" in found.notes


def test_a_choice_of_shapes_that_is_made_while_the_model_runs_is_refused() -> None:
    with pytest.raises(GraphError) as caught:
        import_onnx(squeezed(("batch", "channels", 4)))
    assert str(caught.value) == (
        "model: 'choice' (If): in 'then_branch', 'squeeze' (Squeeze): axis 1 of (batch, channels, 4) is not of size 1"
    )


def test_names_inside_a_branch_give_way_to_those_outside() -> None:
    weight = numpy_helper.from_array(real(4), "w")
    made = choice("yes", [node("Add", "x w", "x2", "add"), node("Neg", "x2", "z", "neg")], [node("Neg", "x", "z")])
    next(each for each in made.attribute if each.name == "then_branch").g.initializer.append(weight)
    nodes = [made, node("Relu", "x", "x2", "before")]
    found = read_onnx(model_of(nodes, {"x": ("batch", 4)}, {"yes": np.array(True)}, outputs=["y", "x2"]))
    assert [(each.name, each.outputs) for each in found.network.graph.nodes][-3:] == [
        ("add", ("x2_2",)),
        ("neg", ("y",)),
        ("before", ("x2",)),
    ]
    assert found.network.graph.parameters == (Parameter("w", "float32", (4,)),)


def test_functions_stand_in_place_of_their_calls() -> None:
    body = [node("Mul", "a a", "b", "square"), node("Add", "b a", "c", "plus")]
    function = helper.make_function("theirs", "Poly", ["a"], ["c"], body, [helper.make_opsetid("", 17)])
    model = model_of(
        [helper.make_node("Poly", ["x"], ["y"], domain="theirs")], {"x": ("batch", 2)}, functions=[function]
    )
    found = read_onnx(model)
    x = real(3, 2)
    np.testing.assert_allclose(found.network.predict(x), x * x + x, rtol=1e-6)
    assert found.notes[0] == "functions of the model that were inlined: Poly"


# -- all faults at once


def test_three_operators_and_two_shapes_are_reported_in_one_error() -> None:
    nodes = [
        node(
            "TfIdfVectorizer",
            "x",
            "t",
            "words",
            max_gram_length=1,
            max_skip_count=0,
            min_gram_length=1,
            mode="TF",
            ngram_counts=[0],
            ngram_indexes=[0],
        ),
        node("Fancy", "x", "f", "fancy"),
        helper.make_node("Foo", ["x"], ["g"], "foo_1", domain="theirs"),
        helper.make_node("Foo", ["g"], ["g2"], "foo_2", domain="theirs"),
        node("MatMul", "x w", "m", "product"),
        node("Relu", "m", "behind it", "after"),
        node("Softmax", "g2", "never seen", "behind"),
        node("Concat", "x v", "y", "joined", axis=1),
    ]
    model = model_of(nodes, {"x": ("batch", 4), "v": ("batch", 4, 4)}, {"w": real(3, 5)})
    with pytest.raises(UnsupportedError) as caught:
        import_onnx(model)
    assert str(caught.value).splitlines() == [
        "model: cannot be imported: 5 faults",
        "  operator 'Fancy' (domain ai.onnx, no known version), in 1 node: fancy",
        "  operator 'TfIdfVectorizer' (domain ai.onnx, version 9), in 1 node: words",
        "  operator 'theirs.Foo' (domain theirs, version 1), in 2 nodes: foo_1, foo_2",
        "  'product' (MatMul): the shapes (batch, 4) and (3, 5) cannot be multiplied",
        "  'joined' (Concat): (batch, 4) and (batch, 4, 4) differ outside axis 1",
    ]


def test_old_forms_and_present_ones_are_reported_in_one_error() -> None:
    nodes = [
        node("Softmax", "x", "a", "old", axis="last"),
        node("MatMul", "x w", "y", "product"),
        node("Elu", "x", "z", "unread", alpha=0.5, beta=2.0),
        node("Relu", "a", "b", "behind"),
    ]
    with pytest.raises(GraphError) as caught:
        import_onnx(model_of(nodes, {"x": ("batch", 4)}, {"w": real(3, 5)}, opset=11))
    assert str(caught.value).splitlines() == [
        "model: 3 faults",
        "  'old' (Softmax): at opset 11, attribute 'axis' must be of type int, not 'last'",
        "  'product' (MatMul): the shapes (batch, 4) and (3, 5) cannot be multiplied",
        "  'unread' (Elu): attribute 'beta' is not one of Elu's (alpha)",
    ]
