"""Attention of com.microsoft in operators of the standard, as the kernels of onnxruntime compute it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from portable_nn.core.graph import format_shape
from portable_nn.operators import InvalidNode, Symbol, cast, constant, emit, emit_all, integers, sizes
from portable_nn.operators.attention.attention_lowering import heads_apart

Given = Symbol | None


def _added_mask(mask: Given, keys: Symbol, least: float, dtype: str) -> Given:
    """The numbers that are added to scores: ``least`` where a mask hides one of ``keys`` keys."""
    if mask is None:
        return None
    if len(mask.shape) == 1:  # The number of keys of each example.
        places = emit("Range", constant(0, "int64"), keys, constant(1, "int64"))
        mask = cast(emit("Less", places, cast(emit("Unsqueeze", mask, integers([1])), "int64")), "int32")
    if len(mask.shape) not in (2, 3):
        raise InvalidNode(f"a mask must be (batch,), (batch, keys) or (batch, queries, keys), not {mask.type}")
    # onnxruntime hides where the mask is not above 0; of 2 and more, which are no truth values, it hides none.
    seen, least = emit("Greater", mask, constant(0, mask.dtype)), max(least, float(np.finfo(dtype).min))
    hidden = emit("Where", seen, constant(0, dtype), constant(least, dtype))
    return emit("Unsqueeze", hidden, integers([1, 2] if len(mask.shape) == 2 else [1]))


def _attended(
    q: Symbol,
    k: Symbol,
    v: Symbol,
    mask: Given,
    bias: Given,
    past: Sequence[Given],
    *,
    num_heads: int,
    unidirectional: int = 0,
    scale: float = 0.0,
    mask_filter_value: float = -10000.0,
    **others: int,
) -> tuple[Symbol, ...]:
    """Attention in the form of the standard: the result, and all keys and values."""
    if any(others.values()):
        raise InvalidNode(f"{', '.join(others)} must be 0 or left out")
    keys = emit("Squeeze", sizes(k, [1]), integers([0]))
    if past[0]:
        keys = keys + emit("Squeeze", sizes(past[0], [2]), integers([0]))
    added = _added_mask(mask, keys, mask_filter_value, q.dtype)
    added = added + bias if added and bias else added or bias
    return emit_all(
        "Attention", q, k, v, added, *past, outputs=3,
        q_num_heads=num_heads, kv_num_heads=num_heads, is_causal=unidirectional, scale=scale or None,
    )  # fmt: skip


def self_attention(
    whole: Symbol,
    mask: Given = None,
    past: Given = None,
    attention_bias: Given = None,
    *,
    qkv_hidden_sizes: Sequence[int] = (),
    **options: Any,
) -> tuple[Symbol, ...]:
    """Attention of an input to itself; all keys and values. ``whole`` is its product with the weights of all three."""
    width = whole.shape[-1]
    if not isinstance(width, int):
        raise InvalidNode(f"weights must have a known width, not {format_shape(whole.shape)}")
    parts = integers(qkv_hidden_sizes or [width // 3] * 3)
    q, k, v = emit_all("Split", whole, parts, axis=-1, outputs=3)
    before = [past and emit("Gather", past, constant(place, "int64")) for place in (0, 1)]
    y, *both = _attended(q, k, v, mask, attention_bias, before, **options)
    if both[0].shape != both[1].shape:
        return (y,)  # There is no array of both.
    return y, emit("Concat", *(emit("Unsqueeze", each, integers([0])) for each in both), axis=0)


def multi_head_attention(
    query: Symbol,
    key: Given = None,
    value: Given = None,
    bias: Given = None,
    mask: Given = None,
    attention_bias: Given = None,
    past_key: Given = None,
    past_value: Given = None,
    **options: Any,
) -> tuple[Symbol, ...]:
    """Attention of queries to keys in several heads; and all keys and values."""
    if key is None or value is None or {len(each.shape) for each in (query, key, value)} != {3}:
        raise InvalidNode("query, key and value must each be (batch, steps, features): packed ones are not supported")
    q, k, v = query, key, value
    if bias:
        widths = [each.shape[-1] for each in (q, k, v)]
        parts = emit_all("Split", bias, integers([each for each in widths if isinstance(each, int)]), outputs=3)
        q, k, v = (each + part for each, part in zip((q, k, v), parts, strict=True))
    return _attended(q, k, v, mask, attention_bias, [past_key, past_value], **options)


def rotary_embedding(
    x: Symbol,
    places: Symbol,
    cosines: Symbol,
    sines: Symbol,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    scale: float = 1.0,
    is_packed_batching: int = 0,
) -> Symbol:
    """A rotary embedding whose places are those of each example, or the first one of all."""
    if scale != 1 or is_packed_batching:
        raise InvalidNode("scale must be 1 and is_packed_batching 0")
    axis = len(x.shape) - 2
    if len(places.shape) == 1:
        places = emit("Unsqueeze", places + _counted(sizes(x, [axis])), integers([0]))
        places = emit("Expand", places, emit("Concat", sizes(x, [0, axis]), axis=0))
    if len(x.shape) == 3 and not rotary_embedding_dim:
        num_heads = _divided(x, 2 * _known(cosines, 1))
    options = {"num_heads": num_heads} if len(x.shape) == 3 else {}
    turned = {"rotary_embedding_dim": rotary_embedding_dim, "interleaved": interleaved}
    return emit("RotaryEmbedding", x, cosines, sines, places, **options, **turned)


def grouped_query_attention(
    query: Symbol,
    *others: Given,
    num_heads: int,
    kv_num_heads: int,
    do_rotary: int = 0,
    rotary_interleaved: int = 0,
    scale: float = 0.0,
    softcap: float = 0.0,
    local_window_size: int = -1,
    **options: Any,
) -> tuple[Symbol, ...]:
    """Attention to the keys before each query, whose heads share those of keys; and all keys and values.

    Lengths are the last places of the examples. New keys stand behind the past ones of each example, which are fewer
    than there is room for in a shorter one.
    """
    if changed := [name for name, given in options.items() if given not in (0, -1, "NONE")]:
        raise InvalidNode(f"{', '.join(changed)} must be left out")
    if len(others) > 10:
        raise InvalidNode("inputs behind attention_bias are not supported")
    key, value, past_key, past_value, lengths, total, *angles, places, bias = [*others, *[None] * 10][:10]
    if lengths is None or total is None:
        raise InvalidNode("seqlens_k and total_sequence_length are missing")
    q, k, v = _by_heads(query, key, value, (num_heads, kv_num_heads, kv_num_heads))
    steps, total = sizes(query, [1]), emit("Reshape", cast(total, "int64"), integers([1]))
    ends = emit("Reshape", cast(lengths, "int64"), integers([-1, 1])) + constant(1, "int64")
    past = emit("Where", emit("Equal", steps, total), constant(0, "int64"), ends - steps)
    mine = past + _counted(steps)
    if do_rotary:
        turned = {"interleaved": rotary_interleaved}
        q, k = (emit("RotaryEmbedding", each, *angles, places or mine, **turned) for each in (q, k))
    every = _counted(emit("Max", total, sizes(past_key, [2])) if past_key else total)
    both = [_cached(old, new, past, every) for old, new in ((past_key, k), (past_value, v))]
    mask = _before(emit("Unsqueeze", mine, integers([2])), every, local_window_size)
    if bias:
        mask = emit("Where", mask, bias, constant(-np.inf, q.dtype))
    y = emit("Attention", q, *both, mask, softcap=softcap, scale=scale or None)
    return emit("Reshape", emit("Transpose", y, perm=[0, 2, 1, 3]), integers([0, 0, -1])), *both


def _by_heads(query: Symbol, key: Given, value: Given, heads: Sequence[int]) -> list[Symbol]:
    """Queries, keys and values as (batch, heads, steps, features); ``query`` may hold all three."""
    given: Sequence[Given] = query, key, value
    if key is None or value is None:
        size = _divided(query, sum(heads))
        given = emit_all("Split", query, integers([each * size for each in heads]), axis=-1, outputs=3)
    return [heads_apart(each, count) for each, count in zip(given, heads, strict=True) if each]


def _before(own: Symbol, every: Symbol, window: int) -> Symbol:
    """True where a query at its ``own`` place sees one of ``every`` place, (batch, 1, steps, places)."""
    seen = emit("LessOrEqual", every, own)
    if window > 0:
        seen = emit("And", seen, emit("Greater", every, own - constant(window, "int64")))
    return emit("Unsqueeze", seen, integers([1]))


def _cached(old: Given, new: Symbol, past: Symbol, every: Symbol) -> Symbol:
    """The past keys (batch, heads, steps, features) of each example and the new ones behind them, then zeros."""
    before = sizes(old, [2]) if old else integers([0])
    whole = emit("Concat", old, new, axis=2) if old else new
    last = emit("Add", past, sizes(new, [2]))
    place = emit("Where", emit("Less", every, past), every, every - past + before)
    place = emit("Min", place, sizes(whole, [2]) - constant(1, "int64"))
    index = emit("Unsqueeze", place, integers([1, 3]))
    shape = emit("Concat", sizes(new, [0, 1]), sizes(every, [0]), sizes(new, [3]), axis=0)
    found = emit("GatherElements", whole, emit("Expand", index, shape), axis=2)
    there = emit("Unsqueeze", emit("Less", every, last), integers([1, 3]))
    return emit("Where", there, found, constant(0, new.dtype))


def _counted(count: Symbol) -> Symbol:
    """0, 1, 2, …, as many as an array of one element says."""
    return emit("Range", constant(0, "int64"), emit("Squeeze", count, integers([0])), constant(1, "int64"))


def _known(x: Symbol, axis: int) -> int:
    if not isinstance(size := x.shape[axis], int):
        raise InvalidNode(f"axis {axis} of {format_shape(x.shape)} must have a known size")
    return size


def _divided(x: Symbol, parts: int) -> int:
    """The features of ``x`` in so many equal parts."""
    size, rest = divmod(_known(x, -1), parts)
    if rest:
        raise InvalidNode(f"the {size * parts + rest} features cannot be divided by {parts}")
    return size
