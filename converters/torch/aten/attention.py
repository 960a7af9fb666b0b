"""Attention."""

from __future__ import annotations

import math

from portable_nn.converters.torch.aten.normalization import dropped
from portable_nn.converters.torch.aten.rows import Use, row, scalar, size_along, swapped
from portable_nn.operators import Symbol, cast, constant, count_up, emit, integers, plain_float, unsqueezed


@row("scaled_dot_product_attention")
def _attention(
    use: Use,
    query: Symbol,
    key: Symbol,
    value: Symbol,
    attn_mask: Symbol | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Symbol:
    """One node; products and a softmax where weights are dropped, or the tensors are of another form.

    Of a query that sees no key PyTorch makes zeros; a softmax of nothing would be NaN.
    """
    sees, attn_mask = (None, None) if attn_mask is None else _seeing(attn_mask)
    made = _of_some(use, query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    return made if sees is None else emit("Where", sees, made, constant(0, made.dtype))


def _seeing(mask: Symbol) -> tuple[Symbol, Symbol]:
    """True for each query that sees a key, and the mask in which queries that see none see all."""
    if mask.dtype == "bool":
        sees = cast(emit("ReduceMax", cast(mask, "int32"), integers([-1])), "bool")
        return sees, emit("Or", mask, emit("Not", sees))
    sees = emit("Greater", emit("ReduceMax", mask, integers([-1])), constant(-math.inf, mask.dtype))
    return sees, emit("Where", sees, mask, constant(0, mask.dtype))


def _of_some(
    use: Use,
    query: Symbol,
    key: Symbol,
    value: Symbol,
    attn_mask: Symbol | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
) -> Symbol:
    """Attention of queries of which each sees a key."""
    ranks = {len(each.shape) for each in (query, key, value)}
    alike = query.shape[:2] == key.shape[:2] == value.shape[:2] or enable_gqa
    exact = scale is None or plain_float(scale) == scale
    if dropout_p == 0 and ranks == {4} and alike and exact and _fits(query, key, attn_mask):
        return emit("Attention", query, key, value, attn_mask, is_causal=int(is_causal), scale=scale)
    if enable_gqa:
        use.refuse("groups of queries together with dropout or a scale of many digits")
    features = query.shape[-1]
    if scale is None and not isinstance(features, int):
        use.refuse("features whose number is open")
    factor = 1 / math.sqrt(features) if scale is None else scale  # type: ignore[arg-type]
    scores = emit("MatMul", query * factor, swapped(key, -2, -1))
    if is_causal:
        scores = emit("Where", _causal(query, key), scores, constant(-math.inf, scores.dtype))
    if attn_mask is not None and attn_mask.dtype == "bool":
        scores = emit("Where", attn_mask, scores, constant(-math.inf, scores.dtype))
    elif attn_mask is not None:
        scores = scores + attn_mask
    weights = dropped(use, emit("Softmax", scores, axis=-1), dropout_p)
    return emit("MatMul", weights, value)


def _fits(query: Symbol, key: Symbol, mask: Symbol | None) -> bool:
    """True if the node takes a mask: it broadcasts, but not along the keys."""
    if mask is None:
        return True
    wanted = (*query.shape[:3], key.shape[2])
    pairs = list(zip(mask.shape[::-1], wanted[::-1], strict=False))
    return 1 <= len(mask.shape) <= 4 and pairs[0][0] == pairs[0][1] and all(one in (1, size) for one, size in pairs[1:])


def _causal(query: Symbol, key: Symbol) -> Symbol:
    """True where a key is not behind the query."""
    rows, columns = (count_up(scalar(size_along(each, -2))) for each in (query, key))
    return emit("GreaterOrEqual", unsqueezed(rows, 1), columns)
