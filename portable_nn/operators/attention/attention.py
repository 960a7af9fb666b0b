"""Attention: for each query a mean of the values, weighted by the softmax of the products of query and keys.

Vaswani et al., "Attention is all you need" (NeurIPS 2017), equation 1; with several query heads for one head of keys
and values, Ainslie et al., "GQA" (EMNLP 2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from portable_nn.core.dims import quotient, total
from portable_nn.operators.base import (
    DTYPE_CODES,
    FLOATS,
    ONNX_DTYPES,
    Array,
    Attr,
    Dim,
    KernelContext,
    Operator,
    OperatorContext,
    Shape,
    Step,
    Symbol,
    Type,
    cast,
    constant,
    emit,
    format_shape,
    integers,
    lookup,
    register,
    size_of,
    sizes,
)

Q, K, V, MASK, PAST_KEY, PAST_VALUE, LENGTHS = range(7)
"""The inputs; the last is the number of keys of each example that are not padding."""

RAW, CAPPED, BIASED, NORMALIZED = range(4)
"""What the output qk_matmul_output may hold: the scores at one of four stages."""


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


# -- shape rule


def _sizes(use: OperatorContext) -> Sizes:
    """The sizes of a node, whose inputs must fit each other."""
    q, k, v = (_by_heads(use, index) for index in (Q, K, V))
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


def _by_heads(use: OperatorContext, index: int) -> Shape:
    """(batch, heads, positions, features) of Q, K or V."""
    shape, attribute = use.type(index).shape, "q_num_heads" if index == Q else "kv_num_heads"
    heads, name = use.attributes.get(attribute), use.operator.input_name(index)
    if len(shape) == 4:
        if heads is not None and heads != shape[1]:
            use.fail(f"{attribute} is {heads}, but {name} {format_shape(shape)} has {shape[1]} heads")
        return shape
    if len(shape) != 3:
        use.fail(
            f"{name} must be (batch, heads, positions, features) or (batch, positions, features of all heads), "
            f"not {format_shape(shape)}"
        )
    batch, positions, hidden = shape
    if not isinstance(heads, int) or heads < 1:
        use.fail(f"a {name} of 3 dimensions needs {attribute}, 1 or more, not {heads}")
    features = quotient(hidden, heads)
    if features is None:
        use.fail(f"{attribute} must divide the {hidden} features of {name}, not be {heads}")
    return batch, heads, positions, features


def _past(use: OperatorContext, lead: Shape, features: Sequence[int]) -> Dim:
    """How many positions the past has."""
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


def _type(use: OperatorContext) -> tuple[Type, ...]:
    _check_options(use)
    s, dtype = _sizes(use), use.type().dtype
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


def _scale(use: OperatorContext, s: Sizes) -> float:
    """The factor of the scores."""
    scale = use.attributes.get("scale")
    return float(scale) if isinstance(scale, float) else 1 / math.sqrt(max(s.features, 1))


# -- masks


class AttentionWindow(NamedTuple):
    """How far a query attends to earlier and to later keys; ``None`` where that is not limited."""

    left: int | None
    right: int | None

    def allows(self, places: Any, positions: Any) -> list[tuple[Any, Any]]:
        """Pairs of which the first must not be larger than the second, for keys at ``places``."""
        behind = [] if self.left is None else [(positions - self.left, places)]
        return behind + ([] if self.right is None else [(places, positions + self.right)])


def _window(use: OperatorContext) -> AttentionWindow:
    left, right = (size if (size := use.int(f"{side}_window_size")) >= 0 else None for side in ("left", "right"))
    if use.int("is_causal"):
        right = 0
    return AttentionWindow(left, right)


# -- kernel


class Bias(NamedTuple):
    """The additive attention mask, and which queries attend to no key (``None``: each attends to one)."""

    added: Array
    blind: Array | None


def _numbers(dims: Sequence[Dim]) -> tuple[int, ...]:
    return tuple(dim for dim in dims if isinstance(dim, int))


def _bias(n: KernelContext, s: Sizes, dtype: Any) -> tuple[Bias | None, list[Step]]:
    """The additive attention mask, in the smallest shape that broadcasts; computed once where it is constant."""
    batch, _, _, queries, past, keys, *_ = _numbers(s)
    window, mask = _window(n), n.x[MASK] if n.has(MASK) else None
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
    hide: list[Step] = [partial(np.copyto, array, value, where=blind) for array, value in nothing]
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
    s = _sizes(n)
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
            np.multiply, _view_by_heads(n.x[Q], heads), dtype.type(_scale(n, s)), out=scaled.reshape(*apart, features)
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


# -- lowering


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
    dtype, parts, window = scores.dtype, list[Symbol](), _window(use)
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


def _lowering(*inputs: Symbol | None, **attributes: Any) -> list[Symbol]:
    found = [*inputs, *[None] * 7][:7]
    use = OperatorContext(
        lookup("Attention"), [value.type if value is not None else None for value in inputs], attributes
    )
    s, (q, k, v, mask, past_key, past_value, lengths) = _sizes(use), found
    assert q is not None
    assert k is not None
    assert v is not None
    query, k, v = heads_apart(q, s.heads), heads_apart(k, s.key_heads), heads_apart(v, s.key_heads)
    if past_key is not None and past_value is not None:
        k, v = emit("Concat", past_key, k, axis=2), emit("Concat", past_value, v, axis=2)
    # Each by the root, as the standard has it: a product of two halves may overflow.
    root = math.sqrt(_scale(use, s))
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
    if added is not None and (use.has(MASK) or use.has(LENGTHS) or _window(use).left is not None):
        # onnxruntime finds the largest of a row in single precision only.
        largest = emit("ReduceMax", cast(added, "float32"), integers([-1]), keepdims=1)
        blind = emit("Equal", largest, constant(-np.inf, "float32"))
        scores = emit("Where", blind, constant(0, dtype), scores)
    precision = use.attributes.get("softmax_precision")
    if isinstance(precision, int):
        scores = cast(scores, ONNX_DTYPES[precision])
    weights = cast(emit("Softmax", scores, axis=-1), dtype)
    return weights if blind is None else emit("Where", blind, constant(0, dtype), weights)


register(
    Operator(
        "Attention",
        ("Q", "K", "V", "attn_mask?", "past_key?", "past_value?", "nonpad_kv_seqlen?"),
        _type,
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
        lowering=_lowering,
        mixes=lambda use: [use.type(1).shape[-2]],
        family="linear",
    )
)
