"""Small graphs, at least one for each standard operator: what goes out to ONNX and comes back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from portable_nn.graph import Graph
from portable_nn.layers import Input
from portable_nn.operators import Leaf, Symbol, constant, emit, emit_all, integers, trace

Build = Callable[[Leaf], Symbol]

UNARY = (
    "Abs", "ArgMax", "ArgMin", "Ceil", "Cos", "Dropout", "Exp", "Flatten", "Floor", "Hardmax", "Identity", "IsNaN",
    "LeakyRelu", "LogSoftmax", "Neg", "Reciprocal", "Relu", "Round", "Shape", "Sigmoid", "Sign", "Sin", "Size",
    "Softmax", "Softplus", "Tanh", "Transpose", "Elu", "Selu", "Celu", "Erf", "Gelu", "HardSigmoid", "HardSwish",
    "Mish", "Swish", "Softsign", "ThresholdedRelu", "Shrink",
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
    "ConstantOfShape": lambda x: x + emit("ConstantOfShape", emit("Shape", x)),
    "Concat": lambda x: emit("Concat", x, x * 2, axis=-1),
    "Reshape": lambda x: emit("Reshape", x, integers([0, 2, 2]), allowzero=0),
    "Squeeze": lambda x: emit("Squeeze", emit("Unsqueeze", x, integers([1, -1])), integers([1])),
    "Unsqueeze": lambda x: emit("Unsqueeze", x, integers([0])),
    "Slice": lambda x: emit("Slice", x, integers([3]), integers([-9]), integers([1]), integers([-2])),
    "Expand": lambda x: emit("Expand", emit("Unsqueeze", x, integers([1])), integers([1, 3, 1])),
    "Pad": lambda x: emit("Pad", x, integers([0, 1, 0, 2])),
    "Pad along axes": lambda x: emit("Pad", x, integers([1, 2]), constant(7.0, "float32"), integers([-1])),
    "Shape in part": lambda x: emit("Shape", x, start=-1),
    "Gather": lambda x: emit("Gather", x, constant([[0, -1, 3], [2, 0, 1]], "int64"), axis=1),
    "GatherElements": lambda x: emit("GatherElements", x, emit("ArgMax", x, axis=1), axis=1),
    "ScatterElements": lambda x: emit(
        "ScatterElements", x, emit("ArgMax", x, axis=1), emit("ReduceSum", x, integers([1])), axis=1
    ),
    "Split": lambda x: emit_all("Split", x, axis=1, num_outputs=2, outputs=2)[1],
    "Split unevenly": lambda x: emit_all("Split", x, axis=1, num_outputs=3, outputs=3)[1],
    "Split by sizes": lambda x: emit_all("Split", x, integers([1, 3]), axis=-1, outputs=2)[1],
    "Gelu by tanh": lambda x: emit("Gelu", x, approximate="tanh"),
    "Swish with alpha": lambda x: emit("Swish", x, alpha=1.75),
    "PRelu": lambda x: emit("PRelu", x, constant([0.5, -0.25, 0, 1], "float32")),
    "Clip": lambda x: emit("Clip", x, constant(-0.5, "float32"), constant(0.75, "float32")),
    "Clip from above": lambda x: emit("Clip", x, None, constant(0.75, "float32")),
    "Clip to nothing": lambda x: emit("Clip", x),
    "OneHot": lambda x: emit("OneHot", emit("ArgMax", x, axis=1), integers([4]), constant([0, 1], "float32")),
    "Gemm": lambda x: emit("Gemm", x, x, constant(0.5, "float32"), transB=1, alpha=0.3, beta=2.0),
    "MatMul": lambda x: x @ emit("Transpose", x),
    "SoftmaxCrossEntropyLoss": lambda x: emit("SoftmaxCrossEntropyLoss", x, emit("ArgMax", x, axis=1, keepdims=0)),
}  # fmt: skip


def _weight(*shape: int) -> Symbol:
    return constant(np.linspace(-1, 1, int(np.prod(shape))).reshape(shape), "float32")


IMAGES: dict[str, Build] = {
    "Conv": lambda x: emit("Conv", x, _weight(3, 4, 3, 2), _weight(3), pads=[1, 0, 2, 1], strides=[2, 1]),
    "Conv in groups": lambda x: emit("Conv", x, _weight(6, 2, 2, 2), group=2, dilations=[1, 2]),
    "ConvTranspose": lambda x: emit(
        "ConvTranspose", x, _weight(4, 2, 3, 3), strides=[2, 2], pads=[1, 0, 0, 1], output_padding=[1, 0]
    ),
    "MaxPool": lambda x: emit("MaxPool", x, kernel_shape=[2, 3], strides=[2, 2], pads=[0, 1, 1, 1]),
    "MaxPool with places": lambda x: emit_all("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], outputs=2)[1],
    "AveragePool": lambda x: emit("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    "LpPool": lambda x: emit("LpPool", x, kernel_shape=[2, 2], p=2),
    "GlobalAveragePool": lambda x: emit("GlobalAveragePool", x),
    "GlobalMaxPool": lambda x: emit("GlobalMaxPool", x),
    "GlobalLpPool": lambda x: emit("GlobalLpPool", x, p=2),
    "BatchNormalization": lambda x: emit(
        "BatchNormalization", x, *(_weight(4) for _ in range(3)), emit("Abs", _weight(4)), epsilon=0.01
    ),
    "InstanceNormalization": lambda x: emit("InstanceNormalization", x, _weight(4), _weight(4), epsilon=0.01),
    "GroupNormalization": lambda x: emit("GroupNormalization", x, _weight(4), _weight(4), num_groups=2),
    "LayerNormalization": lambda x: emit("LayerNormalization", x, _weight(6, 5), _weight(5), axis=2),
    "LayerNormalization and what it divides by": lambda x: emit_all("LayerNormalization", x, _weight(5), outputs=3)[2],
    "RMSNormalization": lambda x: emit("RMSNormalization", x, _weight(6, 5), axis=-2, epsilon=0.01),
    "LRN": lambda x: emit("LRN", x, size=3, alpha=0.5, bias=2.0),
    "LpNormalization": lambda x: emit("LpNormalization", x, axis=1, p=1),
    "Pad by reflection": lambda x: emit("Pad", x, integers([0, 0, 2, 1, 0, 0, 0, 3]), mode="reflect"),
    "Pad by the edge, and cut": lambda x: emit("Pad", x, integers([0, 0, 2, -1, 0, 0, -1, 1]), mode="edge"),
    "Resize": lambda x: emit("Resize", x, None, constant([1, 1, 2, 2], "float32")),
    "Resize by interpolation": lambda x: emit(
        "Resize", x, None, constant([1, 1, 1.5, 0.5], "float32"), mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1
    ),
    "Resize to sizes": lambda x: emit(
        "Resize", x, None, None, emit("Concat", emit("Shape", x, end=2), integers([9, 3]), axis=0), mode="linear"
    ),
    "Resize a region": lambda x: emit(
        "Resize", x, constant([0, 0, 0.25, -0.5, 1, 1, 0.75, 1], "float32"), constant([1, 1, 1.5, 2], "float32"),
        coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=0.5,
    ),
    "DepthToSpace": lambda x: emit("DepthToSpace", x, blocksize=2, mode="CRD"),
    "SpaceToDepth": lambda x: emit("SpaceToDepth", emit("Pad", x, integers([0, 0, 0, 1, 0, 0, 0, 0])), blocksize=2),
}  # fmt: skip

CASES = ROWS | IMAGES


def graph_of(case: str) -> Graph:
    """The graph of one case: a float32 input ``x``, (batch, 4) or for images (batch, 4, 6, 5), and one output."""
    x = Input(4, 6, 5, name="x") if case in IMAGES else Input(4, name="x")
    return trace([x], [CASES[case](x)]).graph
