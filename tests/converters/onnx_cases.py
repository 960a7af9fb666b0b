"""Small graphs, at least one for each standard operator: what goes out to ONNX and comes back."""

from __future__ import annotations

from collections.abc import Callable

from portable_nn.graph import Graph
from portable_nn.layers import Input
from portable_nn.operators import Leaf, Symbol, constant, emit, integers, trace

Build = Callable[[Leaf], Symbol]

UNARY = (
    "Abs", "ArgMax", "ArgMin", "Ceil", "Cos", "Dropout", "Exp", "Flatten", "Floor", "Hardmax", "Identity", "IsNaN",
    "LeakyRelu", "LogSoftmax", "Neg", "Reciprocal", "Relu", "Round", "Shape", "Sigmoid", "Sign", "Sin", "Size",
    "Softmax", "Softplus", "Tanh", "Transpose",
)  # fmt: skip
BINARY = (
    "Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mul", "Sub",
    "Sum",
)  # fmt: skip
LOGICAL = ("And", "Or", "Xor")
REDUCTIONS = ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


def _logical(operator: str) -> Build:
    return lambda x: emit(operator, emit("Greater", x, x * 0), emit("Less", x, x * 0 + 1))


ROWS: dict[str, Build] = {
    **{name: lambda x, name=name: emit(name, x) for name in UNARY},
    **{name: lambda x, name=name: emit(name, x, x * 2 + 1) for name in BINARY},
    **{name: _logical(name) for name in LOGICAL},
    **{
        f"Reduce{name}": lambda x, name=name: emit(f"Reduce{name}", x, integers([-1]), keepdims=0)
        for name in REDUCTIONS
    },
    "ReduceMean of all": lambda x: emit("ReduceMean", x),
    "ReduceLogSum": lambda x: emit("ReduceLogSum", x * x + 1, integers([1])),
    "Log": lambda x: emit("Log", x * x + 1),
    "Sqrt": lambda x: emit("Sqrt", x * x),
    "Pow": lambda x: x**2.0,
    "Not": lambda x: emit("Not", emit("Greater", x, x * 0)),
    "Where": lambda x: emit("Where", emit("Greater", x, x * 0), x, x * 3),
    "Cast": lambda x: emit("Cast", x, to=11),
    "Constant": lambda x: x + constant([0.1, -2, 3e-9, 4], "float32"),
    "Constant of floats": lambda x: x * emit("Constant", value_floats=[0.5, 1.0, 2.0, 3.0]),
    "Concat": lambda x: emit("Concat", x, x * 2, axis=-1),
    "Reshape": lambda x: emit("Reshape", x, integers([0, 2, 2]), allowzero=0),
    "Squeeze": lambda x: emit("Squeeze", emit("Unsqueeze", x, integers([1, -1])), integers([1])),
    "Unsqueeze": lambda x: emit("Unsqueeze", x, integers([0])),
    "Slice": lambda x: emit("Slice", x, integers([3]), integers([-9]), integers([1]), integers([-2])),
    "Expand": lambda x: emit("Expand", emit("Unsqueeze", x, integers([1])), integers([1, 3, 1])),
    "Pad": lambda x: emit("Pad", x, integers([0, 1, 0, 2])),
    "Pad along axes": lambda x: emit("Pad", x, integers([1, 2]), constant(7.0, "float32"), integers([-1])),
    "Shape in part": lambda x: emit("Shape", x, start=-1),
    "OneHot": lambda x: emit("OneHot", emit("ArgMax", x, axis=1), integers([4]), constant([0, 1], "float32")),
    "Gemm": lambda x: emit("Gemm", x, x, constant(0.5, "float32"), transB=1, alpha=0.3, beta=2.0),
    "MatMul": lambda x: x @ emit("Transpose", x),
    "SoftmaxCrossEntropyLoss": lambda x: emit("SoftmaxCrossEntropyLoss", x, emit("ArgMax", x, axis=1, keepdims=0)),
}  # fmt: skip


IMAGES: dict[str, Build] = {
}  # fmt: skip

CASES = ROWS | IMAGES


def graph_of(case: str) -> Graph:
    """The graph of one case: a float32 input ``x``, (batch, 4) or for images (batch, 4, 6, 5), and one output."""
    x = Input(4, 6, 5, name="x") if case in IMAGES else Input(4, name="x")
    return trace([x], [CASES[case](x)]).graph
