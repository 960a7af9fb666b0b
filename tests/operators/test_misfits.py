"""What does not fit is refused, and the message says what was wanted and what was found."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from portable_nn.engines.plan import Plan
from portable_nn.errors import GraphError
from portable_nn.graph import INTERNAL, Tensor
from portable_nn.operators import Leaf, Symbol, constant, emit_all, integers, trace
from portable_nn.operators.registry import Misfit, lookup
from portable_nn.training.gradient import gradients


def f(*shape: int | str) -> Leaf:
    return Leaf(None, "float32", shape)


def i(*shape: int | str) -> Leaf:
    return Leaf(None, "int64", shape)


def b(*shape: int | str) -> Leaf:
    return Leaf(None, "bool", shape)


Row = tuple[str, Sequence[Symbol | None], Mapping[str, Any], str]

ROWS: list[Row] = [
    ("Relu", [f(2)], {"axis": 1}, "attribute 'axis' is not one of Relu's (none)"),
    ("Gemm", [f(2, 3), f(3, 4)], {"trans": 1}, "attribute 'trans' is not one of Gemm's (alpha, beta, transA, transB)"),
    ("Gemm", [f(2, 3), f(3, 4)], {"transA": "yes"}, "attribute 'transA' must be of type int, not 'yes'"),
    ("Gemm", [f(2, 3), f(3, 4)], {"transA": 1.0}, "attribute 'transA' must be of type int, not 1.0"),
    ("Transpose", [f(2, 3)], {"perm": (1, "x")}, "attribute 'perm' must be of type tuple of int, not (1, 'x')"),
    ("Transpose", [f(2, 3)], {"perm": 1}, "attribute 'perm' must be of type tuple of int, not 1"),
    ("Constant", [], {"value_floats": (1,)}, "attribute 'value_floats' must be of type tuple of float, not (1,)"),
    ("Concat", [f(2)], {}, "attribute 'axis' is missing"),
    ("Relu", [], {}, "Relu takes 1 input, not 0"),
    ("Relu", [f(2), f(2)], {}, "Relu takes 1 input, not 2"),
    ("Add", [f(2)], {}, "Add takes 2 inputs, not 1"),
    ("Gemm", [f(2, 2)], {}, "Gemm takes 2 to 3 inputs, not 1"),
    ("Sum", [], {}, "Sum takes 1 or more inputs, not 0"),
    ("Relu", [f(2)], {"outputs": 2}, "Relu has 1 output, not 2"),
    ("Dropout", [f(2)], {"outputs": 3}, "Dropout has 1 to 2 outputs, not 3"),
    ("Gemm", [None, f(2, 2)], {}, "input 'A' is missing"),
    ("Concat", [f(2), None, f(2)], {"axis": 0}, "input 'inputs' is missing"),
    ("Reshape", [f(2), i(1)], {}, "input 'shape' must be a constant: its values decide the shape"),
    ("Reshape", [f(2), constant([2], "int32")], {}, "input 'shape' must be int64, not int32"),
    ("Slice", [f(2), f(1), i(1)], {}, "input 'starts' must be int32 or int64, not float32"),
    ("ReduceSum", [f(2), i(1)], {}, "input 'axes' must be a constant: its values decide the shape"),
    ("ReduceSum", [f(2, 3), integers([2])], {}, "axis 2 is outside an input of 2 dimensions"),
    ("ReduceSum", [f(2, 3), integers([1, -1])], {}, "the axes (1, -1) name one axis twice"),
    ("Softmax", [f(2, 3)], {"axis": -3}, "axis -3 is outside an input of 2 dimensions"),
    ("Add", [f(2), i(2)], {}, "its inputs have different element types: float32, int64"),
    ("Add", [f(2, 3), f(2)], {}, "the shapes (2, 3) and (2,) do not broadcast"),
    ("Add", [f("batch", 3), f("time", 3)], {}, "the shapes (batch, 3) and (time, 3) do not broadcast"),
    ("Max", [f(2), f(3), f(2)], {}, "the shapes (2,) and (3,) and (2,) do not broadcast"),
    ("Relu", [i(2)], {}, "it is not defined for int64"),
    ("Neg", [Leaf(None, "uint8", (2,))], {}, "it is not defined for uint8"),
    ("Pow", [f(2), f(3)], {}, "the shapes (2,) and (3,) do not broadcast"),
    ("Pow", [f(2), b(2)], {}, "it is not defined for bool"),
    ("Where", [f(2), f(2), f(2)], {}, "condition must be bool, not float32"),
    ("Where", [b(3), f(2), f(2)], {}, "the shapes (3,) and (2,) do not broadcast"),
    ("Cast", [f(2)], {"to": 8}, "attribute 'to' is 8, an element type that is not supported"),
    ("Gemm", [f(2), f(2, 3)], {}, "A and B must have 2 dimensions, not (2,) and (2, 3)"),
    ("Gemm", [f("batch", 784), f(200, 100), f(200)], {"transB": 1},
     "it multiplies rows of 784 (A is (batch, 784)) by columns of 100 (B is (200, 100), transposed)"),
    ("Gemm", [f(4, 2), f(3, 2)], {"transA": 1},
     "it multiplies rows of 4 (A is (4, 2), transposed) by columns of 3 (B is (3, 2))"),
    ("Gemm", [f(2, 3), f(3, 4), f(3)], {}, "C is (3,), which does not broadcast to (2, 4)"),
    ("Gemm", [f(2, 3), f(3, 4), i(4)], {}, "its inputs have different element types: float32, float32, int64"),
    ("MatMul", [f(2, 3), i(3, 4)], {}, "its inputs have different element types: float32, int64"),
    ("MatMul", [f(), f(2)], {}, "its inputs must have at least one dimension"),
    ("MatMul", [f(2, 3), f(2, 3)], {}, "the shapes (2, 3) and (2, 3) cannot be multiplied"),
    ("MatMul", [f(2, 3, 4), f(3, 4, 2)], {}, "the shapes (2, 3, 4) and (3, 4, 2) cannot be multiplied"),
    ("Reshape", [f(2, 3), integers([2, 3, 0])], {}, "shape (2, 3, 0) copies axis 2, which the input does not have"),
    ("Reshape", [f(2, 3), integers([-1, -1])], {}, "shape (-1, -1) may have one size of -1, and none below it"),
    ("Reshape", [f(2, 3), integers([-2, -3])], {}, "shape (-2, -3) may have one size of -1, and none below it"),
    ("Reshape", [f(2, 3), integers([4, -1])], {}, "an input of shape (2, 3) cannot take the shape (4, -1)"),
    ("Reshape", [f("batch", 3), integers([6])], {}, "an input of shape (batch, 3) cannot take the shape (6,)"),
    ("Flatten", [f(2, 3)], {"axis": 3}, "axis 3 is outside an input of 2 dimensions"),
    ("Transpose", [f(2, 3)], {"perm": (0, 0)}, "perm (0, 0) is no permutation of the 2 axes of (2, 3)"),
    ("Concat", [f(2), i(2)], {"axis": 0}, "its inputs have different element types: float32, int64"),
    ("Concat", [f(2, 3), f(3, 3)], {"axis": 1}, "(2, 3) and (3, 3) differ outside axis 1"),
    ("Concat", [f(2, 3), f(2)], {"axis": 0}, "(2, 3) and (2,) differ outside axis 0"),
    ("Slice", [f(5), integers([0]), integers([1, 2])], {}, "starts, ends, axes and steps must be of one length"),
    ("Slice", [f(5, 5), integers([0, 0]), integers([1, 1]), integers([1, -1])], {},
     "the axes (1, 1) name one axis twice"),
    ("Slice", [f(5), integers([0]), integers([1]), None, integers([0])], {}, "a step of 0 moves nowhere"),
    ("Slice", [f("batch"), integers([1]), integers([3])], {}, "it slices axis 0, whose size batch is not known"),
    ("Squeeze", [f(2, 1), integers([0])], {}, "axis 0 of (2, 1) is not of size 1"),
    ("Unsqueeze", [f(2), integers([0, -3])], {}, "the axes (0, -3) name one axis twice"),
    ("Expand", [f(2), integers([3])], {}, "(2,) does not broadcast to (3,)"),
    ("Pad", [f(2), integers([1, 1])], {"mode": "wrap"}, "mode 'wrap' is not supported"),
    ("Pad", [f(2, 2), integers([1, 1])], {}, "2 axes need 4 pads, not 2"),
    ("Pad", [f(2), integers([1, -1])], {}, "negative pads (1, -1) are not supported"),
    ("Pad", [f(2), integers([1, 1]), i()], {}, "constant_value must be one float32, not int64 ()"),
    ("Pad", [f(2), integers([1, 1]), f(2)], {}, "constant_value must be one float32, not float32 (2,)"),
    ("Constant", [], {}, "it needs one value"),
    ("Constant", [], {"value_int": 1, "value_float": 1.0}, "it needs one value"),
    ("Constant", [], {"value": Tensor("int8", (2,), (1,))}, "its value is no int8 array of shape (2,)"),
    ("Constant", [], {"value": Tensor("int8", (-1, -1), (1,))}, "its value is no int8 array of shape (-1, -1)"),
    ("Constant", [], {"value": Tensor("complex64", (), (1,))}, "its value is no complex64 array of shape ()"),
    ("Constant", [], {"value": Tensor("int8", (), (300,))}, "its value has numbers outside int8"),
    ("OneHot", [f(2), integers([3]), f(2)], {}, "indices must be integers, not float32"),
    ("OneHot", [i(2), integers([3]), f(3)], {}, "depth must be one number and values must be the pair (off, on)"),
    ("Dropout", [f(2), f(), f()], {}, "training_mode must be one bool, not float32 ()"),
    ("Dropout", [f(2), f(2)], {}, "ratio must be one float, not float32 (2,)"),
    ("SoftmaxCrossEntropyLoss", [f(2, 3), f(2)], {}, "labels must be int32 or int64, not float32"),
    ("SoftmaxCrossEntropyLoss", [f(2), i(2)], {}, "scores must have at least 2 dimensions, not (2,)"),
    ("SoftmaxCrossEntropyLoss", [f(2, 3), i(3)], {}, "scores (2, 3) need labels (2,), not (3,)"),
    ("SoftmaxCrossEntropyLoss", [f(2, 3), i(2), f(2)], {}, "weights must be float32 (3,), not float32 (2,)"),
    ("SoftmaxCrossEntropyLoss", [f(2, 3), i(2)], {"reduction": "max"},
     "reduction must be none, mean or sum, not 'max'"),
    ("Momentum", [f(2), f(2), f(3), f()], {"domain": INTERNAL}, "input 'velocity' is float32 (3,), not float32 (2,)"),
    ("Momentum", [f(2), f(2), f(2), f(1)], {"domain": INTERNAL}, "input 'rate' is float32 (1,), not float32 ()"),
    ("Foo", [f(2)], {}, "operator 'Foo' is not supported"),
    ("Foo", [f(2)], {"domain": "com.example"}, "operator 'com.example.Foo' is not supported"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}: {row[3]}".replace(" ", "_"))
def test_node_that_does_not_fit(row: Row) -> None:
    operator, inputs, options, message = row
    with pytest.raises(GraphError, match="^" + re.escape(f"'here' ({operator}): {message}") + "$"):
        emit_all(operator, *inputs, name="here", **options)


def loss_without_probabilities() -> tuple[Symbol, ...]:
    return emit_all("SoftmaxCrossEntropyLoss", f("batch", 3), i("batch"), name="here")


def loss_over_unknown_classes() -> tuple[Symbol, ...]:
    return emit_all("SoftmaxCrossEntropyLoss", f(2, "classes"), i(2), outputs=2, name="here")


def probabilities_of_a_loss() -> tuple[Symbol, ...]:
    return emit_all("SoftmaxCrossEntropyLoss", f(2, 3), i(2), outputs=2, name="here")[1:]


def dropout_without_mask() -> tuple[Symbol, ...]:
    return emit_all("Dropout", f(3), f(), constant(True, "bool"), name="here")


def padded_batch() -> tuple[Symbol, ...]:
    return emit_all("Pad", f("batch"), integers([0, 1]), name="here")


def joined_batches() -> tuple[Symbol, ...]:
    return emit_all("Concat", f("batch"), f("batch"), axis=0, name="here")


NO_GRADIENT = {
    loss_without_probabilities: "its gradient needs its second output, log_prob",
    loss_over_unknown_classes: "its gradient needs a known number of classes",
    probabilities_of_a_loss: "SoftmaxCrossEntropyLoss has a gradient through its first output only",
    dropout_without_mask: "its gradient needs its second output, mask",
    padded_batch: "its gradient needs the size of the padded axis 0, which is the unknown batch",
    joined_batches: "its gradient needs known sizes along axis 0, and one is batch",
}


@pytest.mark.parametrize(("build", "message"), NO_GRADIENT.items(), ids=lambda x: getattr(x, "__name__", ""))
def test_use_that_has_no_gradient(build: Callable[[], tuple[Symbol, ...]], message: str) -> None:
    [output] = build()[:1]
    [leaf] = [symbol for symbol in output.origin.inputs if symbol is not None][:1]
    with pytest.raises(GraphError, match=f"^'here' .*: {re.escape(message)}$"):
        gradients([output], [Leaf(None, output.dtype, output.shape)], [leaf])


@pytest.mark.parametrize(
    ("ratio", "mode", "message"),
    [
        (constant(1.0, "float32"), constant(True, "bool"), "ratio must be at least 0 and less than 1, not 1"),
        (constant(-0.5, "float32"), constant(True, "bool"), "ratio must be at least 0 and less than 1, not -0.5"),
        (None, Leaf("mode", "bool", ()), "input 'training_mode' must be a constant"),
    ],
)
def test_dropout_that_cannot_be_planned(ratio: Symbol | None, mode: Symbol, message: str) -> None:
    x = Leaf("x", "float32", (2,))
    outputs = emit_all("Dropout", x, ratio, mode, name="here")
    graph = trace([x, mode] if isinstance(mode, Leaf) else [x], outputs).graph
    with pytest.raises(GraphError, match=f"^'here' \\(Dropout\\): {re.escape(message)}$"):
        Plan(graph, {}, {})


def test_the_greatest_of_nothing() -> None:
    x = Leaf("x", "float32", (2, 0))
    with pytest.raises(
        GraphError, match=r"^'here' \(ArgMax\): axis 1 of \(2, 0\) is empty: nothing in it is an extreme$"
    ):
        Plan(trace([x], emit_all("ArgMax", x, axis=1, name="here")).graph, {}, {})


def test_lookup_of_what_is_not_there() -> None:
    with pytest.raises(Misfit, match=r"^operator 'Foo' is not supported$"):
        lookup("Foo")
