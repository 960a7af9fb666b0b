"""Small graphs, at least one for each standard operator: what goes out to ONNX and comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import cases
import numpy as np
import onnx

from portable_nn.core.graph import Graph, Tensor
from portable_nn.layers import Input
from portable_nn.operators import Leaf, Symbol, constant, emit, emit_all, integers, trace

Build = Callable[[Leaf], Symbol]

BINARY = (
    "Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mul", "Sub",
    "Sum",
)  # fmt: skip
REDUCTIONS = ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
WINDOWS = ("Hann", "Hamming", "Blackman")


def _whole(x: Symbol, code: int) -> Symbol:
    """Whole numbers of both signs, or of the one that an element type has."""
    return emit("Cast", (x if code in {6, 7} else emit("Abs", x)) * 100, to=code)


def _count_of(x: Symbol) -> Symbol:
    return emit("Squeeze", emit("Shape", x, end=1), integers([0]))


ROWS: dict[str, Build] = {
    "Relu": lambda x: emit("Relu", x),
    "Gelu": lambda x: emit("Gelu", x),
    **{name: lambda x, name=name: emit(name, x, x * 2 + 1) for name in BINARY},
    **{
        f"Reduce{name}": lambda x, name=name: emit(f"Reduce{name}", x, integers([-1]), keepdims=0)
        for name in REDUCTIONS
    },
    **{f"{name}Window": lambda x, name=name: emit(f"{name}Window", _count_of(x)) for name in WINDOWS},
    **{
        f"Bitwise{name}": lambda x, name=name: emit(f"Bitwise{name}", _whole(x, 6), _whole(x * 3, 6))
        for name in ("And", "Or", "Xor")
    },
    "Acosh": lambda x: emit("Acosh", x * x + 1.5),
    "BitShift": lambda x: emit("BitShift", _whole(x, 12), constant([0, 1, 5, 31], "uint32"), direction="LEFT"),
    "BitwiseNot": lambda x: emit("BitwiseNot", _whole(x, 7)),
    "CastLike": lambda x: emit("CastLike", x, constant(1, "float64")),
    "CenterCropPad": lambda x: emit("CenterCropPad", x, integers([7]), axes=[-1]),
    "Compress": lambda x: emit("Compress", x, constant([True, False, True], "bool"), axis=1),
    "CumSum": lambda x: emit("CumSum", x, constant(1, "int64"), exclusive=1),
    "Det": lambda x: emit("Det", emit("Reshape", x, integers([-1, 2, 2]))),
    "GatherND": lambda x: emit("GatherND", x, emit("ArgMax", x, axis=1), batch_dims=1),
    "IsInf": lambda x: emit("IsInf", x / (x - x), detect_negative=0),
    "Mod": lambda x: emit("Mod", x, x * x + 0.1, fmod=1),
    "Mod of whole numbers": lambda x: emit("Mod", _whole(x, 6), constant(7, "int32")),
    "NonZero": lambda x: emit(
        "NonZero", emit("ConstantOfShape", emit("Shape", x, start=1), value=Tensor("int64", (1,), (3,)))
    ),
    "Range": lambda x: emit("Range", constant(1, "int64"), _count_of(x) * 2, constant(1, "int64")),
    "ReverseSequence": lambda x: emit(
        "ReverseSequence", x, emit("ArgMax", x, axis=1, keepdims=0) + 1, batch_axis=0, time_axis=1
    ),
    "ScatterND": lambda x: emit(
        "ScatterND", x, constant([[0, -1], [0, 2]], "int64"), constant([0.5, -0.5], "float32")
    ),
    "Tile": lambda x: emit("Tile", x, integers([2, 3])),
    "Trilu below": lambda x: emit("Trilu", x, constant(1, "int64"), upper=0),
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
    "Einsum": lambda x: emit("Einsum", x, _weight(4, 3), equation="...i, ij -> j..."),
    "TopK": lambda x: emit_all("TopK", x, integers([3]), outputs=2)[0],
    "TopK of the smallest, and where they are": lambda x: emit_all("TopK", x, integers([2]), largest=0, outputs=2)[1],
    "NegativeLogLikelihoodLoss": lambda x: emit(
        "NegativeLogLikelihoodLoss", x, emit("ArgMax", x, axis=1, keepdims=0), _weight(4), ignore_index=2
    ),
    "AffineGrid": lambda x: emit(
        "AffineGrid", _first(emit("Reshape", emit("Concat", x, x * 2, axis=1), integers([0, 2, 4])), 3),
        emit("Concat", emit("Shape", x, end=1), integers([1, 3, 2]), axis=0),
    ),
    "SoftmaxCrossEntropyLoss": lambda x: emit("SoftmaxCrossEntropyLoss", x, emit("ArgMax", x, axis=1, keepdims=0)),
}  # fmt: skip


def _weight(*shape: int) -> Symbol:
    return constant(np.linspace(-1, 1, int(np.prod(shape))).reshape(shape), "float32")


def _recurrent(operator: str, gates: int) -> Build:
    def build(x: Symbol) -> Symbol:
        steps = emit("Transpose", emit("Unsqueeze", x, integers([2])), perm=[1, 0, 2])
        return emit_all(operator, steps, _weight(1, 3 * gates, 1), _weight(1, 3 * gates, 3), outputs=2, hidden_size=3)[
            0
        ]

    return build


def _first(x: Symbol, count: int) -> Symbol:
    """The first elements along the last axis."""
    return emit("Slice", x, integers([0]), integers([count]), integers([-1]))


def _turned(x: Symbol, interleaved: int) -> Symbol:
    places = emit(
        "Expand",
        constant([[5, 0, 2, 1, 1, 3]], "int64"),
        emit("Concat", emit("Shape", x, end=1), integers([6]), axis=0),
    )
    angles = (emit("Cos", _weight(6, 2)), emit("Sin", _weight(6, 2)))
    return emit(
        "RotaryEmbedding", _first(x, 4), *angles, places, interleaved=interleaved, rotary_embedding_dim=4 * interleaved
    )


def _rows(x: Symbol, count: int) -> Symbol:
    """(batch, 3, count, 10)"""
    return emit("Slice", emit("Reshape", x, integers([0, 3, 4, 10])), integers([0]), integers([count]), integers([2]))


def _sampled(x: Symbol, **options: str | int) -> Symbol:
    return emit("GridSample", x, _first(x, 2), **options)


IMAGES: dict[str, Build] = {
    "Attention": lambda x: emit("Attention", x, x * 2, x - 1, is_causal=1),
    "Attention of groups behind a mask": lambda x: emit(
        "Attention", x, *(emit("Slice", x, integers([0]), integers([2]), integers([1])) for _ in range(2)),
        emit("GreaterOrEqual", _weight(6, 6), constant(-0.75, "float32")), softcap=2.0,
    ),
    "Attention in flat rows": lambda x: emit_all(
        "Attention", *[emit("Reshape", x, integers([0, 4, 30]))] * 3, None, _rows(x, 2), _rows(x, 2) * 3,
        q_num_heads=3, kv_num_heads=3, scale=0.25, outputs=3,
    )[0],
    "Attention through a window": lambda x: emit("Attention", x, x, x, left_window_size=1, right_window_size=2),
    "RotaryEmbedding": lambda x: _turned(x, 0),
    "RotaryEmbedding of neighbours": lambda x: _turned(x, 1),
    "GridSample": _sampled,
    "GridSample of cubics": lambda x: _sampled(x, mode="cubic", padding_mode="border", align_corners=1),
    "GridSample of the nearest": lambda x: _sampled(x, mode="nearest", padding_mode="reflection"),
    "RoiAlign": lambda x: emit(
        "RoiAlign", x, constant([[0, 1, 3, 4], [1, 1, 4, 2]], "float32"), integers([0, 0]), output_height=2,
        output_width=2, sampling_ratio=3, coordinate_transformation_mode="output_half_pixel",
    ),
    "RoiAlign half a cell on": lambda x: emit(
        "RoiAlign", x, constant([[0, 1, 3, 4], [1, 1, 4, 2]], "float32"), integers([0, 0]), sampling_ratio=2
    ),
    "GridSample of a volume": lambda x: emit(
        "GridSample", emit("Unsqueeze", x, integers([2])), emit("Unsqueeze", _first(x, 3), integers([1]))
    ),
    "Conv": lambda x: emit("Conv", x, _weight(3, 4, 3, 2), _weight(3), pads=[1, 0, 2, 1], strides=[2, 1]),
    "Conv in groups": lambda x: emit("Conv", x, _weight(6, 2, 2, 2), group=2, dilations=[1, 2]),
    "ConvTranspose": lambda x: emit(
        "ConvTranspose", x, _weight(4, 2, 3, 3), strides=[2, 2], pads=[1, 0, 0, 1], output_padding=[1, 0]
    ),
    "DeformConv": lambda x: emit(
        "DeformConv", x, _weight(2, 4, 3, 3), emit("Conv", x, _weight(18, 4, 3, 3)), _weight(2)
    ),
    "MaxPool": lambda x: emit("MaxPool", x, kernel_shape=[2, 3], strides=[2, 2], pads=[0, 1, 1, 1]),
    "MaxPool with places": lambda x: emit_all("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], outputs=2)[1],
    "AveragePool": lambda x: emit("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    "Col2Im": lambda x: emit("Col2Im", emit("Reshape", x, integers([-1, 24, 5])), integers([2, 7]), integers([2, 3])),
    "MaxUnpool": lambda x: emit(
        "MaxUnpool", *emit_all("MaxPool", x, kernel_shape=[2, 5], strides=[2, 5], outputs=2),
        kernel_shape=[2, 5], strides=[2, 5],
    ),
    "MeanVarianceNormalization": lambda x: emit("MeanVarianceNormalization", x, axes=[-2, 3]),
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

RECURRENT: dict[str, Build] = {name: _recurrent(name, gates) for name, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4))}

BUILDS = ROWS | IMAGES | RECURRENT

DRAWN = {each.operator: each for each in reversed(cases.CASES) if not each.domain and each.operator not in BUILDS}
"""Of an operator without a row, the first case of ``tests/cases``."""

CASES = (*BUILDS, *DRAWN)


def form_of(model: onnx.ModelProto) -> tuple[bytes, tuple[int, ...]]:
    """The graph of a model and the versions of its operators: a model of another opset with the same is the same."""
    [opset] = [each.version for each in model.opset_import if not each.domain]

    def versions(nodes: Iterable[onnx.NodeProto]) -> Iterator[int]:
        for node in nodes:
            yield onnx.defs.get_schema(node.op_type, opset, node.domain).since_version
            for attribute in node.attribute:
                yield from versions(attribute.g.node)

    return model.graph.SerializeToString(deterministic=True), tuple(versions(model.graph.node))


def graph_of(case: str) -> Graph:
    """The graph of one case: a float32 input ``x``, (batch, 4) or for images (batch, 4, 6, 5), and one output."""
    if case in DRAWN:
        return trace(*DRAWN[case].build("float32", "batch" if DRAWN[case].batched else None)).graph
    x = Input(4, 6, 5, name="x") if case in IMAGES else Input(4, name="x")
    return trace([x], [BUILDS[case](x)]).graph
