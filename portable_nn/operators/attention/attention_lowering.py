"""Attention in older operators."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from portable_nn.operators.attention.attention_sizes import LENGTHS, MASK, Sizes, scale_of, sizes_of, window_of
from portable_nn.operators.base import (
    ONNX_DTYPES,
    OperatorContext,
    Symbol,
    cast,
    constant,
    emit,
    integers,
    lookup,
    size_of,
    sizes,
)


def heads_apart(x: Symbol, heads: int) -> Symbol:
    """``x`` as (batch, heads, positions, features); it may be (batch, positions, heads · features)."""
    if len(x.shape) == 4:
        return x
    return emit("Transpose", emit("Reshape", x, integers([0, 0, heads, -1])), perm=[0, 2, 1, 3])


def _counted(value: Symbol, axis: int) -> Symbol:
    """0, 1, 2, … along an axis, as a 1-D symbol."""
    size = value.shape[axis]
    if isinstance(size, int):
        return integers(range(size))
    return emit("Range", constant(0, "int64"), size_of(value, axis), constant(1, "int64"))


def _added(
    use: OperatorContext, scores: Symbol, mask: Symbol | None, past: Symbol | None, lengths: Symbol | None
) -> Symbol | None:
    """The additive attention mask."""
    dtype, parts, window = scores.dtype, list[Symbol](), window_of(use)
    zero, hidden = constant(0, dtype), constant(-np.inf, dtype)
    places, offset = _counted(scores, 3), constant(0, "int64") if past is None else size_of(past, 2)
    if lengths is not None:
        each = emit("Reshape", lengths, integers([-1, 1, 1, 1]))
        parts.append(emit("Where", emit("Less", places, each), zero, hidden))
        offset = each - size_of(scores, 2)
    positions = emit("Unsqueeze", _counted(scores, 2), integers([1])) + offset
    for low, high in window.allows(places, positions):
        parts.append(emit("Where", emit("LessOrEqual", low, high), zero, hidden))
    if mask is not None:
        parts.append(_whole_mask(mask, scores))
    return sum(parts[1:], parts[0]) if parts else None


def _whole_mask(mask: Symbol, scores: Symbol) -> Symbol:
    """A boolean or float mask as an additive one that covers all keys."""
    hidden = constant(-np.inf, scores.dtype)
    if mask.dtype == "bool":
        mask = emit("Where", mask, constant(0, scores.dtype), hidden)
    if mask.shape[-1] == scores.shape[3]:
        return mask
    last = len(mask.shape) - 1
    missing = emit("Sub", sizes(scores, [3]), sizes(mask, [last]))
    if isinstance(have := mask.shape[last], int) and isinstance(want := scores.shape[3], int):
        missing = integers([want - have])
    shape = emit("Concat", sizes(mask, range(last)), missing, axis=0) if last else missing
    return emit("Concat", mask, emit("Expand", hidden, shape), axis=-1)


def _shared_out(x: Symbol, s: Sizes) -> Symbol:
    """Heads of queries (batch, heads, …) by the heads of keys that they share: (batch, key heads, …, …)."""
    batch, rest = sizes(x, [0]), sizes(x, [2, 3])
    return emit("Reshape", x, emit("Concat", batch, integers([s.key_heads, s.heads // s.key_heads]), rest, axis=0))


def _product(a: Symbol, b: Symbol, s: Sizes) -> Symbol:
    """A matrix product for each query head with its head of keys or values."""
    if s.heads == s.key_heads:
        return a @ b
    made = _shared_out(a, s) @ emit("Unsqueeze", b, integers([2]))
    return emit("Reshape", made, emit("Concat", sizes(a, [0, 1, 2]), sizes(b, [3]), axis=0))


def attention_lowering(*inputs: Symbol | None, **attributes: Any) -> list[Symbol]:
    """Its outputs in operators of opset 13."""
    found = [*inputs, *[None] * 7][:7]
    use = OperatorContext(
        lookup("Attention"), [value.type if value is not None else None for value in inputs], attributes
    )
    s, (q, k, v, mask, past_key, past_value, lengths) = sizes_of(use), found
    assert q is not None
    assert k is not None
    assert v is not None
    query, k, v = heads_apart(q, s.heads), heads_apart(k, s.key_heads), heads_apart(v, s.key_heads)
    if past_key is not None and past_value is not None:
        k, v = emit("Concat", past_key, k, axis=2), emit("Concat", past_value, v, axis=2)
    # Each by the root, as the standard has it: a product of two halves may overflow.
    root = math.sqrt(scale_of(use, s))
    shown = [_product(query * root, emit("Transpose", k * root, perm=[0, 1, 3, 2]), s)]
    cap = use.float("softcap")
    shown.append(emit("Tanh", shown[-1] / cap) * cap if cap else shown[-1])
    added = _added(use, shown[-1], mask, past_key, lengths)
    shown.append(shown[-1] if added is None else shown[-1] + added)
    shown.append(_weights(use, shown[-1], added))
    made = _product(shown[-1], v, s)
    if len(q.shape) == 3:
        made = emit("Reshape", emit("Transpose", made, perm=[0, 2, 1, 3]), integers([0, 0, -1]))
    return [made, k, v, shown[use.int("qk_matmul_output_mode")]]


def _weights(use: OperatorContext, scores: Symbol, added: Symbol | None) -> Symbol:
    """Softmax over the keys; 0 for a query that attends to no key, whose gradient is 0 as well."""
    dtype, blind = scores.dtype, None
    # All keys of a query may be masked then, so that its output is 0.
    if added is not None and (use.has(MASK) or use.has(LENGTHS) or window_of(use).left is not None):
        # onnxruntime finds the largest of a row in single precision only.
        largest = emit("ReduceMax", cast(added, "float32"), integers([-1]), keepdims=1)
        blind = emit("Equal", largest, constant(-np.inf, "float32"))
        scores = emit("Where", blind, constant(0, dtype), scores)
    precision = use.attributes.get("softmax_precision")
    if isinstance(precision, int):
        scores = cast(scores, ONNX_DTYPES[precision])
    weights = cast(emit("Softmax", scores, axis=-1), dtype)
    return weights if blind is None else emit("Where", blind, constant(0, dtype), weights)
