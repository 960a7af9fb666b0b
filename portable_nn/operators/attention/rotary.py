"""Rotary position embeddings: pairs of features turned by an angle that grows with the position.

Su et al., "RoFormer: enhanced transformer with rotary position embedding" (2021).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from portable_nn.operators.attention.attention_lowering import heads_apart
from portable_nn.operators.attention.attention_sizes import by_heads
from portable_nn.operators.base import (
    Array,
    Attr,
    Dim,
    GradientContext,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    emit,
    integers,
    register,
    sizes,
    zeros_like,
)


def _heads(use: OperatorContext) -> tuple[Dim, Dim, int]:
    """Batch, positions, and how many features of each head are turned."""
    batch, _, positions, size = by_heads(use, 0, "num_heads", unsaid=0)
    if not isinstance(size, int):
        use.fail(f"a head must have a known number of features, not {size}")
    turned = use.int("rotary_embedding_dim") or size
    if turned % 2 or not 0 < turned <= size:
        use.fail(f"the features to be turned must be an even number of at most {size}, not {turned}")
    return batch, positions, turned


def _type(use: OperatorContext) -> Type:
    x = use.type()
    use.check_dtype(x.dtype, frozenset({"float16", "float32"}))
    batch, positions, turned = _heads(use)
    for index in (1, 2):
        cache = use.type(index).shape
        looked_up = (cache[0] if len(cache) == 2 else "positions", turned // 2)
        use.expect(index, use.like(looked_up if use.has(3) else (batch, positions, turned // 2)))
    if use.has(3):
        use.expect(3, Type("int64", (batch, positions)), ", as X has its positions")
    return Type(x.dtype, x.shape)


def _by_heads(n: KernelContext, array: Array) -> Array:
    """(batch, positions, heads, features): the same memory."""
    if array.ndim == 4:
        return array.transpose(0, 2, 1, 3)
    batch, positions, hidden = array.shape
    heads = n.int("num_heads")
    return array.reshape(batch, positions, heads, hidden // heads, copy=False)


def _angles(n: KernelContext) -> tuple[Array, Array, list[Step]]:
    """Cosines and sines of each position, (batch, positions, 1, pairs), and the steps that find them."""
    if not n.has(3):
        return n.x[1][:, :, np.newaxis], n.x[2][:, :, np.newaxis], []
    places, limit = n.x[3], n.x[1].shape[0]

    def check() -> None:
        for extreme in (int(places.min(initial=0)), int(places.max(initial=0))):
            if not -limit <= extreme < max(limit, 1):
                n.fail(f"position {extreme} is outside the {limit} positions of cos_cache")

    found = [n.scratch((*places.shape, cache.shape[1]), cache.dtype) for cache in n.x[1:3]]
    takes = [
        partial(np.take, cache, places, axis=0, out=out, mode="wrap")
        for cache, out in zip(n.x[1:3], found, strict=True)
    ]
    return found[0][:, :, np.newaxis], found[1][:, :, np.newaxis], [check, *takes]


def _rotate(n: KernelContext) -> list[Step]:
    _, _, turned = _heads(n)
    x, copies = n.in_order(n.x[0])
    source, goal = _by_heads(n, x), _by_heads(n, n.out())
    cosine, sine, steps = _angles(n)
    half = [slice(0, turned // 2), slice(turned // 2, turned)]
    if n.int("interleaved"):
        half = [slice(0, turned, 2), slice(1, turned, 2)]
    (first, second), (real, imaginary) = ([array[..., part] for part in half] for array in (source, goal))
    work = n.scratch(first.shape, first.dtype)
    steps = [
        *copies,
        *steps,
        partial(np.multiply, second, sine, out=work),
        partial(np.multiply, first, cosine, out=real),
        partial(np.subtract, real, work, out=real),
        partial(np.multiply, second, cosine, out=work),
        partial(np.multiply, first, sine, out=imaginary),
        partial(np.add, imaginary, work, out=imaginary),
    ]
    if turned < source.shape[-1]:
        steps.append(partial(np.copyto, goal[..., turned:], source[..., turned:]))
    return steps


# -- lowering and gradient


def _together(x: Symbol, like: Symbol) -> Symbol:
    """The inverse of ``heads_apart``."""
    if len(like.shape) == 4:
        return x
    return emit("Reshape", emit("Transpose", x, perm=[0, 2, 1, 3]), integers([0, 0, -1]))


def _pairs(x: Symbol, turned: int, *, interleaved: int) -> list[Symbol]:
    """The first and the second of each pair of features."""
    if interleaved:
        ends, axes, steps = integers([turned]), integers([-1]), integers([2])
        return [emit("Slice", x, integers([start]), ends, axes, steps) for start in (0, 1)]
    return [
        emit("Slice", x, integers([start]), integers([start + turned // 2]), integers([-1]))
        for start in (0, turned // 2)
    ]


def _looked_up(cache: Symbol, places: Symbol | None) -> Symbol:
    """(batch, 1, positions, pairs)"""
    found = cache if places is None else emit("Gather", cache, places, axis=0)
    return emit("Unsqueeze", found, integers([1]))


def _lowering(
    x: Symbol,
    cosines: Symbol,
    sines: Symbol,
    places: Symbol | None = None,
    *,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    interleaved: int = 0,
) -> Symbol:
    apart = heads_apart(x, num_heads)
    size = apart.shape[3]
    assert isinstance(size, int)
    turned = rotary_embedding_dim or size
    cosine, sine = _looked_up(cosines, places), _looked_up(sines, places)
    first, second = _pairs(apart, turned, interleaved=interleaved)
    parts = [first * cosine - second * sine, first * sine + second * cosine]
    if interleaved:
        pair = emit("Concat", *(emit("Unsqueeze", part, integers([-1])) for part in parts), axis=-1)
        parts = [emit("Reshape", pair, emit("Concat", sizes(first, [0, 1, 2]), integers([turned]), axis=0))]
    if turned < size:
        parts.append(emit("Slice", apart, integers([turned]), integers([size]), integers([-1])))
    return _together(parts[0] if len(parts) == 1 else emit("Concat", *parts, axis=-1), x)


def _gradient(n: GradientContext) -> list[Symbol | None]:
    """Rotated back by the same angles; the gradients of cosines and sines are summed over the heads."""
    places = n.x[3] if n.has(3) else None
    back = emit("RotaryEmbedding", n.dy, n.x[1], -n.x[2], places, **n.attributes)
    heads, turned = n.attributes.get("num_heads", 0), _heads(n)[2]
    assert isinstance(heads, int)
    (first, second), (real, imaginary) = (
        _pairs(heads_apart(value, heads), turned, interleaved=n.int("interleaved")) for value in (n.x[0], n.dy)
    )
    flows = [first * real + second * imaginary, first * imaginary - second * real]
    by_position = [emit("ReduceSum", flow, integers([1]), keepdims=0) for flow in flows]
    if places is None:
        return [back, *by_position]
    return [back, *(_collected(flow, cache, places) for flow, cache in zip(by_position, n.x[1:3], strict=True))]


def _collected(flow: Symbol, cache: Symbol, places: Symbol) -> Symbol:
    """The gradient of each position of a cache: the sum over the places where it was looked up."""
    pairs = cache.shape[1]
    rows = emit("Reshape", flow, integers([-1, pairs]))  # type: ignore[list-item]
    index = emit("Expand", emit("Reshape", places, integers([-1, 1])), sizes(rows))
    return emit("ScatterElements", zeros_like(cache), index, rows, axis=0, reduction="add")


register(
    Operator(
        "RotaryEmbedding",
        ("X", "cos_cache", "sin_cache", "position_ids?"),
        _type,
        _rotate,
        _gradient,
        {"interleaved": Attr(int, 0), "num_heads": Attr(int), "rotary_embedding_dim": Attr(int, 0)},
        outputs=("Y",),
        lowering=_lowering,
        family="arithmetic",
    )
)
