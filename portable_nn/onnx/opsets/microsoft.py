"""Operators of the domain ``com.microsoft``, expressed in the vocabulary: a row for each.

onnxruntime's optimiser and quantiser make files with them. They mean what ``ContribOperators.md`` of onnxruntime says
of them; where that leaves it open, what its kernels compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from portable_nn.core.graph import Node, format_shape
from portable_nn.core.text import said
from portable_nn.onnx.opsets.microsoft_attention import (
    grouped_query_attention,
    multi_head_attention,
    rotary_embedding,
    self_attention,
)
from portable_nn.operators import InvalidNode, Symbol, Type, cast, constant, emit, emit_all, integers, sizes
from portable_nn.operators.control.bodies import Outside, emit_node, leaf
from portable_nn.operators.recurrent.uses import KINDS
from portable_nn.rewrites.scope import Scope

DOMAIN: Final = "com.microsoft"

Given = Symbol | None


def _plus(x: Symbol, bias: Given) -> Symbol:
    return x + bias if bias else x


def _activated(x: Symbol, activation: str, parameters: Sequence[float]) -> Symbol:
    """An activation by its name, with its parameters in the order of ``alpha`` and ``beta``."""
    if activation == "Clip":
        return emit("Clip", x, *(constant(each, x.dtype) for each in parameters))
    return emit(activation, x, **dict(zip(("alpha", "beta"), parameters, strict=False))) if activation else x


def _fused_conv(
    x: Symbol,
    w: Symbol,
    bias: Given = None,
    added: Given = None,
    *,
    activation: str = "",
    activation_params: Sequence[float] = (),
    **options: Any,
) -> Symbol:
    return _activated(_plus(emit("Conv", x, w, bias, **options), added), activation, activation_params)


def _fused_gemm(
    a: Symbol,
    b: Symbol,
    c: Given = None,
    *,
    activation: str = "",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    activation_gamma: float = 0.0,
    **options: Any,
) -> Symbol:
    parameters = [each for each in (activation_alpha, activation_beta) if each is not None]
    return _activated(emit("Gemm", a, b, c, **options), activation, parameters)


def _swapped(x: Symbol, batch: int, matrix: int) -> Symbol:
    """A matrix transposed, after its batch axis was moved behind the rows."""
    order = list(range(len(x.shape)))
    if len(order) < 2 + batch and (batch or matrix):
        raise InvalidNode(f"{format_shape(x.shape)} has too few axes to be transposed")
    if batch:
        order = [*order[1:-1], 0, order[-1]]
    if matrix:
        order[-2:] = order[:-3:-1]
    return emit("Transpose", x, perm=order) if order != sorted(order) else x


def _fused_matmul(
    a: Symbol,
    b: Symbol,
    *,
    alpha: float = 1.0,
    transA: int = 0,  # noqa: N803
    transB: int = 0,  # noqa: N803
    transBatchA: int = 0,  # noqa: N803
    transBatchB: int = 0,  # noqa: N803
) -> Symbol:
    product = _swapped(a, transBatchA, transA) @ _swapped(b, transBatchB, transB)
    return product if alpha == 1 else product * alpha


def _gelu(x: Symbol, bias: Given = None, *, approximate: str = "none") -> Symbol:
    return emit("Gelu", _plus(x, bias), approximate=approximate)


def _skip(
    x: Symbol,
    skip: Symbol,
    gamma: Symbol,
    beta: Given = None,
    bias: Given = None,
    *,
    epsilon: float = 1e-12,
) -> tuple[Symbol, ...]:
    """The normalised sum of an input, what goes round the layers before it, and a bias; and the sum."""
    whole = _plus(x + skip, bias)
    return *emit_all("LayerNormalization", whole, gamma, beta, axis=-1, epsilon=epsilon, outputs=3), whole


def _skip_rms(
    x: Symbol, skip: Symbol, gamma: Symbol, bias: Given = None, *, epsilon: float = 1e-12
) -> tuple[Symbol, ...]:
    whole = _plus(x + skip, bias)
    spread = emit("Reciprocal", emit("Sqrt", emit("ReduceMean", whole * whole, integers([-1])) + epsilon))
    return emit("RMSNormalization", whole, gamma, axis=-1, epsilon=epsilon), spread, spread, whole


def _embedded(
    ids: Symbol,
    segments: Given,
    words: Symbol,
    places: Symbol,
    kinds: Given,
    gamma: Symbol,
    beta: Symbol,
    mask: Given = None,
    position: Given = None,
    *,
    epsilon: float = 1e-12,
    mask_index_type: int = 0,
) -> tuple[Symbol, ...]:
    """Words, their places and the kinds of their sentences, embedded, added and normalised; and the words that are."""
    steps = emit("Squeeze", sizes(ids, [1]), integers([0]))
    where = position or emit("Range", *(constant(0, "int64"), steps, constant(1, "int64")))
    found = emit("Gather", words, ids) + emit("Gather", places, where)
    if segments and kinds:
        found = found + emit("Gather", kinds, segments)
    counted = (
        emit("ReduceSum", cast(emit("Equal", mask, constant(1, mask.dtype)), "int32"), integers([1]), keepdims=0)
        if mask
        else emit("Expand", constant(0, "int32"), sizes(ids, [0]))
    )
    return emit("LayerNormalization", found, gamma, beta, axis=-1, epsilon=epsilon), counted, found


def _attention(x: Symbol, weights: Symbol, bias: Given = None, *others: Given, **options: Any) -> tuple[Symbol, ...]:
    return self_attention(_plus(x @ weights, bias), *others, **options)


# -- quantised


def _real(x: Given, scale: Given, point: Given) -> Symbol:
    return emit("DequantizeLinear", x, scale, point)


def _through(function: Callable[..., Symbol], operands: int = 1) -> Callable[..., Symbol]:
    """``function`` of real numbers between quantised ones: each with its scale and zero point, then those of the
    result."""

    def quantised(*inputs: Given, **options: Any) -> Symbol:
        given = [*inputs, None]
        real = [_real(*given[3 * place : 3 * place + 3]) for place in range(operands)]
        return emit("QuantizeLinear", function(*real, **options), *given[3 * operands : 3 * operands + 2])

    return quantised


def _of(name: str) -> Callable[..., Symbol]:
    return partial(emit, name)


def _first_channels(name: str, x: Symbol, *, channels_last: int = 0, **options: Any) -> Symbol:
    """A pool, whose channels may be the last axis."""
    if not channels_last:
        return emit(name, x, **options)
    rank = len(x.shape)
    y = emit(name, emit("Transpose", x, perm=[0, rank - 1, *range(1, rank - 1)]), **options)
    return emit("Transpose", y, perm=[0, *range(2, rank), 1])


def _softmax(x: Symbol, *, axis: int = -1, opset: int) -> Symbol:
    if opset >= 13 or axis in (-1, len(x.shape) - 1):
        return emit("Softmax", x, axis=axis)
    flat = emit("Softmax", emit("Flatten", x, axis=axis), axis=-1)
    return emit("Reshape", flat, sizes(x))


def _where(condition: Symbol, *inputs: Given) -> Symbol:
    return emit("QuantizeLinear", emit("Where", condition, _real(*inputs[:3]), _real(*inputs[3:6])), *inputs[6:])


def _concatenated(scale: Symbol, point: Symbol, *inputs: Given, axis: int) -> Symbol:
    real = [_real(*inputs[place : place + 3]) for place in range(0, len(inputs), 3)]
    return emit("QuantizeLinear", emit("Concat", *real, axis=axis), scale, point)


def _q_gemm(
    a: Symbol,
    a_scale: Symbol,
    a_point: Symbol,
    b: Symbol,
    b_scale: Symbol,
    b_point: Symbol,
    c: Given = None,
    y_scale: Given = None,
    y_point: Given = None,
    *,
    alpha: float = 1.0,
    transA: int = 0,  # noqa: N803
    transB: int = 0,  # noqa: N803
) -> Symbol:
    sums = emit("MatMulInteger", _swapped(a, 0, transA), _swapped(b, 0, transB), a_point, b_point)
    found = cast(_plus(sums, c), "float32") * (a_scale * b_scale * alpha)
    return emit("QuantizeLinear", found, y_scale, y_point) if y_scale else found


def _to_float(
    a: Symbol,
    b: Symbol,
    a_scale: Symbol,
    b_scale: Symbol,
    a_point: Given = None,
    b_point: Given = None,
    bias: Given = None,
) -> Symbol:
    return _plus(cast(emit("MatMulInteger", a, b, a_point, b_point), "float32") * (a_scale * b_scale), bias)


def _dynamic(a: Symbol, b: Symbol, b_scale: Symbol, b_point: Given = None, bias: Given = None) -> Symbol:
    whole, scale, point = emit_all("DynamicQuantizeLinear", a, outputs=3)
    return _to_float(whole, b, scale, b_scale, point, b_point, bias)


def _q_attention(
    x: Symbol,
    weights: Symbol,
    bias: Given,
    x_scale: Symbol,
    weight_scale: Symbol,
    mask: Given = None,
    x_point: Given = None,
    weight_point: Given = None,
    past: Given = None,
    **options: Any,
) -> tuple[Symbol, ...]:
    product = _to_float(x, weights, x_scale, weight_scale, x_point, weight_point, bias)
    return self_attention(product, mask, past, **options)


def _dynamic_lstm(
    x: Symbol,
    w: Symbol,
    r: Symbol,
    bias: Given = None,
    lengths: Given = None,
    h: Given = None,
    c: Given = None,
    peepholes: Given = None,
    *quantised: Symbol,
    hidden_size: int,
    direction: str = "forward",
    **others: Any,
) -> list[Symbol]:
    """An LSTM whose products are of 8 bits: of all that it reads by one scale, of its state by one for each step."""
    usual = {"activations": KINDS["LSTM"].functions * (1 + (direction == "bidirectional")), "input_forget": 0}
    if lengths or peepholes or any(usual.get(name) != value for name, value in others.items()):
        raise InvalidNode("sequence_lens, P, clip and activations other than the usual ones are not supported")
    ways = ([0], [1], [0, 1])[("forward", "reverse", "bidirectional").index(direction)]
    found = list[list[Symbol]]()
    for place, backwards in enumerate(ways):
        own = [emit("Gather", each, constant(place, "int64")) for each in (w, r, *quantised)]
        gates = _dynamic(x, own[0], *own[2:4])
        if bias:
            parts = emit_all("Split", emit("Gather", bias, constant(place, "int64")), axis=0, num_outputs=2, outputs=2)
            gates = gates + parts[0] + parts[1]
        zero = emit("Expand", constant(0.0, x.dtype), emit("Concat", sizes(x, [1]), integers([hidden_size]), axis=0))
        states = [emit("Gather", each, constant(place, "int64")) if each else zero for each in (h, c)]
        outside = Outside()
        old, cell = (leaf(f"entry_{n}", Type(x.dtype, zero.shape)) for n in range(2))
        gate = leaf("gates", Type(x.dtype, gates.shape[1:]))
        whole = gate + _dynamic(old, *map(outside.leaf, (own[1], *own[4:])))
        i, o, f, g = emit_all("Split", whole, axis=-1, num_outputs=4, outputs=4)
        new = emit("Sigmoid", f) * cell + emit("Sigmoid", i) * emit("Tanh", g)
        y = emit("Sigmoid", o) * emit("Tanh", new)
        body = outside.body("step", [old, cell, gate], [y, new, y])
        turned = {"scan_input_directions": [backwards], "scan_output_directions": [backwards]}
        last, kept, every = emit_node("Scan", [*states, gates], {"body": body}, 3, num_scan_inputs=1, **turned)
        found.append(
            [emit("Unsqueeze", every, integers([1])), *(emit("Unsqueeze", z, integers([0])) for z in (last, kept))]
        )
    return [emit("Concat", *each, axis=int(place == 0)) for place, each in enumerate(zip(*found, strict=True))]


def _few_bits(
    a: Symbol,
    b: Symbol,
    scales: Symbol,
    points: Given = None,
    order: Given = None,
    bias: Given = None,
    *,
    K: int,  # noqa: N803
    N: int,  # noqa: N803
    bits: int = 4,
    block_size: int,
    accuracy_level: int = 0,
    weight_prepacked: int = 0,
) -> Symbol:
    """A product with a matrix (N, K) of 4 or 8 bits, two to a byte, with a scale for each block of a row."""
    if bits not in (4, 8) or order or weight_prepacked:
        raise InvalidNode("only 4 and 8 bits without g_idx and weight_prepacked are supported")
    blocks = -(-K // block_size)

    def unpacked(packed: Symbol, count: int) -> Symbol:
        """The numbers of each row, (N, count), of which a byte has the lower half first."""
        rows = emit("Reshape", packed, integers([N, -1]))
        rows = _halves(rows) if bits == 4 else rows
        return cast(emit("Slice", rows, integers([0]), integers([count]), integers([1])), scales.dtype)

    found = emit("Reshape", unpacked(b, blocks * block_size), integers([N, blocks, block_size]))
    if points is None:
        middle = constant(float(2 ** (bits - 1)), scales.dtype)
    else:
        middle = unpacked(points, blocks) if points.dtype == "uint8" else emit("Reshape", points, integers([N, blocks]))
        middle = emit("Unsqueeze", middle, integers([2]))
    weight = (found - middle) * emit("Reshape", scales, integers([N, blocks, 1]))
    rows = emit("Reshape", weight, integers([N, blocks * block_size]))
    part = emit("Slice", rows, integers([0]), integers([K]), integers([1]))
    return _plus(a @ emit("Transpose", part, perm=[1, 0]), bias)


def _halves(packed: Symbol) -> Symbol:
    """The two numbers of 4 bits in each byte along the last axis, the lower half first."""
    count = range(2 * int(packed.shape[-1]))
    twice = emit("Gather", packed, integers(place // 2 for place in count), axis=-1)
    moved = emit("BitShift", twice, cast(integers(4 * (place % 2) for place in count), "uint8"), direction="RIGHT")
    return emit("BitwiseAnd", moved, constant(15, "uint8"))


def _gathered(
    table: Symbol,
    places: Symbol,
    scales: Symbol,
    points: Given = None,
    *,
    bits: int = 4,
    block_size: int = 128,
    gather_axis: int = 0,
    quantize_axis: int = 1,
    packed: int = 1,
) -> Symbol:
    """Parts of a table of 4 or 8 bits with a scale for each block. Bytes have two numbers of 4 bits if ``packed``."""
    rank, axis, along = len(table.shape), quantize_axis % len(table.shape), gather_axis % len(table.shape)
    packed, blocks = _is_packed(table, scales, axis, packed * bits, block_size), int(scales.shape[axis])
    if packed and (axis == along or axis != rank - 1):
        raise InvalidNode("numbers that are packed along the last axis are looked up along another one")
    if points is None and table.dtype == "uint8" and (packed or bits == 8):
        points = emit("Expand", constant(2 ** (bits - 1), "uint8"), sizes(scales))
    elif packed and points:
        points = emit("Slice", _halves(points), integers([0]), integers([blocks]), integers([axis]))
    if along == axis:
        found = emit("DequantizeLinear", table, scales, points, axis=axis, block_size=block_size)
        return emit("Gather", found, places, axis=along)
    # Of a large table few rows are unpacked.
    rows = partial(emit, "Gather", axis=along)
    found = _halves(rows(table, places)) if packed else rows(table, places)
    points, place = points and rows(points, places), axis - rank if axis > along else axis
    return emit("DequantizeLinear", found, rows(scales, places), points, axis=place, block_size=block_size)


def _is_packed(table: Symbol, scales: Symbol, axis: int, bits: int, block_size: int) -> bool:
    """True if two numbers of 4 bits are in each byte of a table; ``InvalidNode`` if it is not in such blocks."""
    width, blocks, packed = table.shape[axis], scales.shape[axis], bits == 4 and table.dtype == "uint8"
    if isinstance(width, str):
        raise InvalidNode(f"a table must have a known width, not {table.type}")
    if -(-width * (1 + packed) // block_size) != blocks:
        numbers = f"{width * (1 + packed)} numbers" + packed * " of 4 bits, two in each byte"
        raise InvalidNode(f"{table.type} has rows of {numbers}, which are not {blocks} blocks of {block_size}")
    return packed


MICROSOFT: Final[Mapping[str, Callable[..., Symbol | Sequence[Symbol]]]] = {
    "Attention": _attention,
    "BiasGelu": _gelu,
    "DequantizeLinear": _of("DequantizeLinear"),
    "DynamicQuantizeLSTM": _dynamic_lstm,
    "DynamicQuantizeMatMul": _dynamic,
    "EmbedLayerNormalization": _embedded,
    "FastGelu": partial(_gelu, approximate="tanh"),
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
    "GatherBlockQuantized": _gathered,
    "Gelu": _gelu,
    "GroupQueryAttention": grouped_query_attention,
    "MatMulIntegerToFloat": _to_float,
    "MatMulNBits": _few_bits,
    "MultiHeadAttention": multi_head_attention,
    "QAttention": _q_attention,
    "QGemm": _q_gemm,
    "QLinearAdd": _through(_of("Add"), 2),
    "QLinearAveragePool": _through(partial(_first_channels, "AveragePool")),
    "QLinearConcat": _concatenated,
    "QLinearGlobalAveragePool": _through(partial(_first_channels, "GlobalAveragePool")),
    "QLinearLeakyRelu": _through(_of("LeakyRelu")),
    "QLinearMul": _through(_of("Mul"), 2),
    "QLinearSigmoid": _through(_of("Sigmoid")),
    "QLinearSoftmax": _through(_softmax),
    "QLinearWhere": _where,
    "QuantizeLinear": _of("QuantizeLinear"),
    "QuickGelu": lambda x, *, alpha=1.702: emit("Swish", x, alpha=alpha),
    "RotaryEmbedding": rotary_embedding,
    "SkipLayerNormalization": _skip,
    "SkipSimplifiedLayerNormalization": _skip_rms,
}
"""The functions of symbols by the names of operators."""


def of_microsoft(node: Node, scope: Scope) -> list[Node]:
    """A node of the domain in the vocabulary. Raises ``InvalidNode`` or ``GraphError`` if it is invalid."""
    try:
        return scope.spliced(node, MICROSOFT[node.operator])
    except (AttributeError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise InvalidNode(
            f"its inputs and attributes are not those of {DOMAIN}.{node.operator} {said(error)}"
        ) from error
