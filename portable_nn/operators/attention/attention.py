"""Attention: for each query a mean of the values, weighted by the softmax of the products of query and keys.

Vaswani et al., "Attention is all you need" (NeurIPS 2017), equation 1; with several query heads for one head of keys
and values, Ainslie et al., "GQA" (EMNLP 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from portable_nn.operators.attention.attention_lowering import attention_lowering
from portable_nn.operators.attention.attention_sizes import (
    BIASED,
    CAPPED,
    LENGTHS,
    MASK,
    NORMALIZED,
    PAST_KEY,
    RAW,
    AttentionWindow,
    K,
    Q,
    Sizes,
    V,
    attention_type,
    scale_of,
    sizes_of,
    window_of,
)
from portable_nn.operators.base import ONNX_DTYPES, Array, Attr, Dim, KernelContext, Operator, Step, register


class Bias(NamedTuple):
    """The additive attention mask, and which queries attend to no key (``None``: each attends to one)."""

    added: Array
    blind: Array | None


def _numbers(dims: Sequence[Dim]) -> tuple[int, ...]:
    return tuple(dim for dim in dims if isinstance(dim, int))


def _bias(n: KernelContext, s: Sizes, dtype: Any) -> tuple[Bias | None, list[Step]]:
    """The additive attention mask, in the smallest shape that broadcasts; computed once where it is constant."""
    batch, _, _, queries, past, keys, *_ = _numbers(s)
    window, mask = window_of(n), n.x[MASK] if n.has(MASK) else None
    lengths = n.x[LENGTHS].reshape(-1, 1, 1, 1) if n.has(LENGTHS) else None
    bounded = window != AttentionWindow(None, None)
    shapes = [(queries, keys)] * bounded + [(batch, 1, 1, keys)] * (lengths is not None)
    if mask is not None:
        shapes.append((*mask.shape[:-1], keys))
    if not shapes:
        return None, []
    fixed = all(n.is_constant(index) for index in (MASK, LENGTHS) if n.has(index))
    shape = np.broadcast_shapes(*shapes)
    added = np.empty(shape, dtype) if fixed else n.scratch(shape, dtype)
    blind = np.empty((*shape[:-1], 1), np.bool_) if fixed else n.scratch((*shape[:-1], 1), np.bool_)
    places, rows = np.arange(keys), np.arange(queries)[:, np.newaxis]

    def see() -> None:
        added.fill(0)
        if mask is not None:
            _add_mask(added, mask)
        seen = [] if lengths is None else [places < lengths]
        positions = rows + (past if lengths is None else lengths - queries)
        seen += [low <= high for low, high in window.allows(places, positions)]
        for each in seen:
            np.copyto(added, -np.inf, where=~each)
        np.equal(np.max(added, axis=-1, keepdims=True, initial=-np.inf), -np.inf, out=blind)

    if not fixed:
        return Bias(added, blind), [see]
    see()
    return Bias(added, blind if blind.any() else None), []


def _add_mask(added: Array, mask: Array) -> None:
    """Add a mask; one that is too short masks the keys beyond its end."""
    part = added[..., : mask.shape[-1]]
    if mask.dtype == np.bool_:
        np.copyto(part, -np.inf, where=~mask)
    else:
        np.add(part, mask, out=part)
    added[..., mask.shape[-1] :] = -np.inf


def _view_by_heads(array: Array, heads: int) -> Array:
    """(batch, heads, positions, features): the same memory."""
    if array.ndim == 4:
        return array
    batch, positions, hidden = array.shape
    return array.reshape(batch, positions, heads, hidden // heads).transpose(0, 2, 1, 3)


def _remembered(n: KernelContext, index: int, s: Sizes) -> tuple[Array, list[Step]]:
    """The keys or values, those of the past first: also an output."""
    new, output = _view_by_heads(n.x[index], s.key_heads), index
    if not n.has(PAST_KEY):
        if output < n.output_count:
            n.view(new, output)
        return new, []
    past, out = n.x[index + PAST_KEY - K], n.out(output)
    parts = (out[:, :, : past.shape[2]], past), (out[:, :, past.shape[2] :], new)
    return out, [partial(np.copyto, part, source) for part, source in parts]


def _in(n: KernelContext, array: Array, dtype: Any) -> tuple[Array, list[Step]]:
    """``array`` in ``dtype``."""
    if array.dtype == dtype:
        return array, []
    copy = n.scratch(array.shape, dtype)
    return copy, [partial(np.copyto, copy, array, casting="same_kind")]


def _shown(n: KernelContext, stage: int, scores: Array) -> list[Step]:
    """The steps that copy the scores into the output that asks for this stage of them."""
    if n.output_count <= NORMALIZED or n.int("qk_matmul_output_mode") != stage:
        return []
    return [partial(np.copyto, n.out(3), scores, casting="same_kind")]


def _capped(n: KernelContext, scores: Array) -> list[Step]:
    if not (cap := n.float("softcap")):
        return []
    limit = n.filled((), scores.dtype, cap)
    return [
        partial(np.divide, scores, limit, out=scores),
        partial(np.tanh, scores, out=scores),
        partial(np.multiply, scores, limit, out=scores),
    ]


def _exponentials(scores: Array, row: Array, blind: Array | None) -> list[Step]:
    """exp(score - the largest of the query) in place of the scores, and their sums in ``row``."""
    nothing = [] if blind is None else [(scores, 0), (row, 1)]
    hide = [partial(np.copyto, array, value, where=blind) for array, value in nothing]
    ones = np.ones((scores.shape[-1], 1), scores.dtype)
    return [
        partial(np.maximum.reduce, scores, axis=-1, keepdims=True, initial=-np.inf, out=row),
        partial(np.subtract, scores, row, out=scores),
        partial(np.exp, scores, out=scores),
        *hide[:1],
        # A product with ones adds up short rows several times faster.
        partial(np.matmul, scores, ones, out=row),
        *hide[1:],
    ]


def _weights_in_place(n: KernelContext, s: Sizes, scores: Array, row: Array) -> list[Step]:
    """The weights of the values in place of the scores, each still to be divided by what is then in ``row``."""
    bias, sight = _bias(n, s, scores.dtype)
    steps = [*_shown(n, RAW, scores), *_capped(n, scores), *_shown(n, CAPPED, scores), *sight]
    if bias is not None:
        steps.append(partial(np.add, scores, bias.added, out=scores))
    steps += _shown(n, BIASED, scores)
    blind, code = None if bias is None else bias.blind, n.attributes.get("softmax_precision")
    precision = np.dtype(ONNX_DTYPES[code]) if isinstance(code, int) else scores.dtype
    if precision in (scores.dtype, n.x[Q].dtype):
        steps += _exponentials(scores, row, blind)
    else:
        steps += _in_precision(n, scores, row, blind, precision)
    if exposed := _shown(n, NORMALIZED, scores):
        steps += [partial(np.divide, scores, row, out=scores), *exposed, partial(row.fill, 1)]
    return steps


def _in_precision(n: KernelContext, scores: Array, row: Array, blind: Array | None, dtype: Any) -> list[Step]:
    """The softmax in another precision, in place of the scores; ``row`` is then 1."""
    other, total = n.scratch(scores.shape, dtype), n.scratch(row.shape, dtype)
    return [
        partial(np.copyto, other, scores, casting="same_kind"),
        *_exponentials(other, total, blind),
        partial(np.divide, other, total, out=other),
        partial(np.copyto, scores, other, casting="same_kind"),
        partial(row.fill, 1),
    ]


def _attention(n: KernelContext) -> list[Step]:
    """The scores lie by heads of keys, the queries that share one below each other: fewer and larger products.

    The outputs are divided by the sums of the exponentials, not the weights, of which there are more.
    """
    s = sizes_of(n)
    batch, heads, key_heads, queries, _, keys, features, value_features = _numbers(s)
    # BLAS has no half precision.
    dtype = np.dtype(np.float32) if n.x[Q].dtype == np.float16 else n.x[Q].dtype
    ready = [_remembered(n, index, s) for index in (K, V)]
    wide = [_in(n, array, dtype) for array, _ in ready]
    k, v = (array for array, _ in wide)
    shared, apart = heads // key_heads * queries, (batch, heads, queries)
    scaled, scores = (n.scratch((batch, key_heads, shared, size), dtype) for size in (features, keys))
    whole, row = scores.reshape(*apart, keys), n.scratch((*apart, 1), dtype)
    steps: list[Step] = [
        *(step for pairs in (ready, wide) for _, made in pairs for step in made),
        partial(
            np.multiply, _view_by_heads(n.x[Q], heads), dtype.type(scale_of(n, s)), out=scaled.reshape(*apart, features)
        ),
        partial(np.matmul, scaled, k.swapaxes(2, 3), out=scores),
        *_weights_in_place(n, s, whole, row),
    ]
    result = n.scratch((batch, key_heads, shared, value_features), dtype)
    out = _view_by_heads(n.out(), heads)
    return [
        *steps,
        partial(np.matmul, scores, v, out=result),
        partial(np.divide, result.reshape(*apart, value_features), row, out=out),
    ]


register(
    Operator(
        "Attention",
        ("Q", "K", "V", "attn_mask?", "past_key?", "past_value?", "nonpad_kv_seqlen?"),
        attention_type,
        _attention,
        "lowering",
        {
            "is_causal": Attr(int, 0),
            "kv_num_heads": Attr(int),
            "left_window_size": Attr(int, -1),
            "q_num_heads": Attr(int),
            "qk_matmul_output_mode": Attr(int, 0),
            "right_window_size": Attr(int, -1),
            "scale": Attr(float),
            "softcap": Attr(float, 0.0),
            "softmax_precision": Attr(int),
        },
        outputs=("Y", "present_key", "present_value", "qk_matmul_output"),
        lowering=attention_lowering,
        mixes=lambda use: [use.type(1).shape[-2]],
        family="linear",
    )
)
