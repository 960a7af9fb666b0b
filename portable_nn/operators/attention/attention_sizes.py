"""The sizes of an attention, and what fits them: the rule for its shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from portable_nn.core.dims import quotient, total
from portable_nn.operators.base import DTYPE_CODES, FLOATS, Dim, OperatorContext, Shape, Type, format_shape

Q, K, V, MASK, PAST_KEY, PAST_VALUE, LENGTHS = range(7)
"""The inputs; the last is the number of keys of each example that are not padding."""

RAW, CAPPED, BIASED, NORMALIZED = range(4)
"""The contents of the output qk_matmul_output: the scores at one of four stages."""


class Sizes(NamedTuple):
    """The sizes of an attention; ``keys`` counts those of the past as well."""

    batch: Dim
    heads: int
    key_heads: int
    queries: Dim
    past: Dim
    keys: Dim
    features: int
    value_features: int


def sizes_of(use: OperatorContext) -> Sizes:
    """The sizes of a node, whose inputs must fit each other."""
    attributes = {Q: "q_num_heads", K: "kv_num_heads", V: "kv_num_heads"}
    q, k, v = (by_heads(use, index, attribute) for index, attribute in attributes.items())
    batch, heads, queries, features = q
    key_heads, new = k[1], k[2]
    numbers = [size for size in (heads, key_heads, features, v[3]) if isinstance(size, int)]
    if len(numbers) < 4:
        use.fail(
            f"Q {format_shape(q)}, K {format_shape(k)} and V {format_shape(v)} need known numbers of heads and features"
        )
    heads, key_heads, features, value_features = numbers
    if k != (batch, key_heads, new, features):
        wanted = format_shape((batch, key_heads, new, features))
        use.fail(
            f"K must have the batch and the features of Q {format_shape(q)}: {wanted} by heads, not {format_shape(k)}"
        )
    if v[:3] != k[:3]:
        use.fail(
            f"V must have the batch, heads and positions of K, {format_shape(k[:3])} by heads, not "
            f"{format_shape(v[:3])}"
        )
    if not key_heads or heads % key_heads:
        use.fail(f"{heads} heads of queries cannot share {key_heads} of keys evenly")
    past = _past(use, (batch, key_heads), (features, value_features))
    return Sizes(batch, heads, key_heads, queries, past, total([past, new]), features, value_features)


def by_heads(use: OperatorContext, index: int, attribute: str, unsaid: int | None = None) -> Shape:
    """(batch, heads, positions, features) of an input, whose number of heads an attribute says, unless ``unsaid``."""
    shape, name = use.type(index).shape, use.operator.input_name(index)
    heads = use.attributes.get(attribute, unsaid)
    if len(shape) == 4:
        if heads not in (unsaid, shape[1]):
            use.fail(f"{attribute} is {heads}, but {name} {format_shape(shape)} has {shape[1]} heads")
        return shape
    if len(shape) != 3:
        use.fail(
            f"{name} must be (batch, heads, positions, features) or (batch, positions, features of all heads), "
            f"not {format_shape(shape)}"
        )
    batch, positions, hidden = shape
    if not isinstance(heads, int) or heads < 1:
        use.fail(f"{'an' if name == 'X' else 'a'} {name} of 3 dimensions needs {attribute}, 1 or more, not {heads}")
    features = quotient(hidden, heads)
    if features is None:
        use.fail(f"{attribute} must divide the {hidden} features of {name}, not be {heads}")
    return batch, heads, positions, features


def _past(use: OperatorContext, lead: Shape, features: Sequence[int]) -> Dim:
    """The number of positions of the past."""
    if use.has(PAST_KEY) != use.has(PAST_VALUE):
        use.fail("past_key and past_value go together, and only one of them is given")
    if not use.has(PAST_KEY):
        return 0
    if use.has(LENGTHS):
        use.fail("nonpad_kv_seqlen goes with keys that hold the past already, not with past_key and past_value")
    shape = use.type(PAST_KEY).shape
    positions = shape[2] if len(shape) == 4 else "positions"
    for index, size in zip((PAST_KEY, PAST_VALUE), features, strict=True):
        use.expect(index, use.like((*lead, positions, size)))
    return positions


def _check_options(use: OperatorContext) -> None:
    dtypes = [use.type(index).dtype for index in (Q, K, V)]
    if len(set(dtypes)) > 1:
        use.fail(f"Q, K and V have different element types: {', '.join(dtypes)}")
    use.check_dtype(dtypes[0], FLOATS)
    if not 0 <= use.int("qk_matmul_output_mode") <= NORMALIZED:
        use.fail(f"qk_matmul_output_mode must be 0 to 3, not {use.int('qk_matmul_output_mode')}")
    precision = use.attributes.get("softmax_precision", DTYPE_CODES["float32"])
    if precision not in {DTYPE_CODES[dtype] for dtype in FLOATS}:
        use.fail(f"softmax_precision must be 1, 10 or 11 (float32, float16, float64), not {precision}")
    if use.float("softcap") < 0:
        use.fail(f"softcap must be 0 or more, not {use.float('softcap')}")
    for side in ("left_window_size", "right_window_size"):
        if use.int(side) < -1:
            use.fail(f"{side} must be -1 (no limit), 0 or more, not {use.int(side)}")


def _check_mask(use: OperatorContext, s: Sizes) -> None:
    mask, dtype = use.type(MASK), use.type().dtype
    whole = (s.batch, s.heads, s.queries, s.keys)
    beside = zip(mask.shape[:-1][::-1], whole[:-1][::-1], strict=False)
    fits = 1 <= len(mask.shape) <= 4 and all(dim in (1, size) for dim, size in beside)
    longer = fits and isinstance(last := mask.shape[-1], int) and isinstance(s.keys, int) and last > s.keys
    if mask.dtype not in {"bool", dtype} or not fits or longer:
        use.fail(f"attn_mask must be bool or {dtype} that broadcasts to {format_shape(whole)}, not {mask}")


def attention_type(use: OperatorContext) -> tuple[Type, ...]:
    """The types of its outputs. Raises ``InvalidNode``."""
    _check_options(use)
    s, dtype = sizes_of(use), use.type().dtype
    if use.has(MASK):
        _check_mask(use, s)
    if use.has(LENGTHS):
        use.expect(LENGTHS, Type("int64", (s.batch,)))
    if len(use.type().shape) == 4:
        result: Shape = (s.batch, s.heads, s.queries, s.value_features)
    else:
        result = (s.batch, s.queries, s.heads * s.value_features)
    return (
        Type(dtype, result),
        Type(dtype, (s.batch, s.key_heads, s.keys, s.features)),
        Type(dtype, (s.batch, s.key_heads, s.keys, s.value_features)),
        Type(dtype, (s.batch, s.heads, s.queries, s.keys)),
    )


def scale_of(use: OperatorContext, s: Sizes) -> float:
    """The factor of the scores."""
    scale = use.attributes.get("scale")
    return float(scale) if isinstance(scale, float) else 1 / math.sqrt(max(s.features, 1))


class AttentionWindow(NamedTuple):
    """The number of earlier and of later keys that a query attends to; ``None`` where that is not limited."""

    left: int | None
    right: int | None

    def allows(self, places: Any, positions: Any) -> list[tuple[Any, Any]]:
        """Pairs of which the first must not be larger than the second, for keys at ``places``."""
        behind = [] if self.left is None else [(positions - self.left, places)]
        return behind + ([] if self.right is None else [(places, positions + self.right)])


def window_of(use: OperatorContext) -> AttentionWindow:
    """The keys that a query attends to, by its place."""
    left, right = (size if (size := use.int(f"{side}_window_size")) >= 0 else None for side in ("left", "right"))
    if use.int("is_causal"):
        right = 0
    return AttentionWindow(left, right)
