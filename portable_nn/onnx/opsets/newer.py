"""Operators, and options of operators, that are newer than ``OPSET``, expressed in the vocabulary.

Each row of ``NEWER`` is an operator that is new, or does more, in a later version of the standard.

Sources: the standard; for the rules of ``LinearAttention`` Yang et al., "Gated delta networks" (ICLR 2025).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from portable_nn.core.graph import OPSET, Node, format_shape
from portable_nn.onnx.opsets.bit_casts import bit_cast
from portable_nn.operators import FLOATS, INTEGERS, InvalidNode, Symbol, cast, constant, emit, emit_all, integers, sizes
from portable_nn.operators.spatial.depth_space import pixel_unshuffle
from portable_nn.rewrites.scope import Scope


def causal_convolution(
    x: Symbol, weight: Symbol, bias: Symbol | None = None, past: Symbol | None = None, *, activation: str = "none"
) -> tuple[Symbol, Symbol]:
    """``CausalConvWithState``: a convolution of each channel (batch, channels, length), and the last inputs it saw."""
    channels = x.shape[1] if len(x.shape) == 3 else None
    taps = weight.shape[2] if len(weight.shape) == 3 else None
    if not isinstance(channels, int) or not isinstance(taps, int):
        raise InvalidNode(
            f"input and weight must be (batch, channels, length) and (channels, 1, k), not {format_shape(x.shape)} and "
            f"{format_shape(weight.shape)}"
        )
    if activation not in ("none", "silu", "swish"):
        raise InvalidNode(f"activation must be none, silu or swish, not '{activation}'")
    if past is None:
        shape = emit("Concat", sizes(x, [0]), integers([channels, taps - 1]), axis=0)
        past = emit("Expand", constant(0, x.dtype), shape)
    whole = emit("Concat", past, x, axis=2)
    y = emit("Conv", whole, weight, bias, group=channels)
    last = emit("Slice", whole, integers([1 - taps]), integers([2**63 - 1]), integers([2])) if taps > 1 else past
    return (y if activation == "none" else emit("Swish", y)), last


def linear_attention(
    query: Symbol,
    key: Symbol,
    value: Symbol,
    past: Symbol | None = None,
    decay: Symbol | None = None,
    beta: Symbol | None = None,
    *,
    q_num_heads: int,
    kv_num_heads: int,
    update_rule: str = "gated_delta",
    scale: float = 0.0,
    chunk_size: int = 64,
) -> tuple[Symbol, Symbol]:
    """``LinearAttention``, step by step: its number of steps must be known. ``chunk_size`` changes no number."""
    steps = query.shape[1] if len(query.shape) == 3 else None
    if not isinstance(steps, int) or steps < 1:
        raise InvalidNode(
            f"it is written out for a known number of steps, and query is {format_shape(query.shape)}: --dim sets it"
        )
    _check(update_rule, q_num_heads, kv_num_heads, decay=decay, beta=beta)
    dtype, state_dtype = query.dtype, (past or query).dtype
    q = _by_step(query, q_num_heads, steps)
    k, v = _by_step(key, kv_num_heads, steps), _by_step(value, kv_num_heads, steps)
    d_k, d_v = int(k[0].shape[-1]), int(v[0].shape[-1])
    g = _by_step(decay, kv_num_heads, steps) if decay else None
    b = _by_step(beta, kv_num_heads if beta.shape[-1] == kv_num_heads else 1, steps) if beta else None
    shape = emit("Concat", sizes(query, [0]), integers([kv_num_heads, d_k, d_v]), axis=0)
    state = emit("Expand", constant(0, "float32"), shape) if past is None else cast(past, "float32")
    group, factor = q_num_heads // kv_num_heads, scale or d_k**-0.5
    found = []
    for t in range(steps):
        row, new = (emit("Unsqueeze", each[t], integers([2])) for each in (k, v))  # (batch, heads, 1, size)
        if g:
            state = state * emit("Exp", emit("Unsqueeze", g[t], integers([3])))
        if b:
            new = emit("Unsqueeze", b[t], integers([3])) * (new - row @ state)
        state = state + emit("Transpose", row, perm=[0, 1, 3, 2]) @ new
        asked = emit("Reshape", q[t], integers([0, kv_num_heads, group, d_k]))
        found.append(emit("Reshape", asked @ state, integers([0, 1, q_num_heads * d_v])) * factor)
    y = found[0] if steps == 1 else emit("Concat", *found, axis=1)
    return cast(y, dtype), cast(state, state_dtype)


def _check(rule: str, q_num_heads: int, kv_num_heads: int, **given: Symbol | None) -> None:
    """Raise ``InvalidNode`` for heads that do not fit, an unknown rule, or one with other inputs than it needs."""
    if q_num_heads < 1 or kv_num_heads < 1 or q_num_heads % kv_num_heads:
        raise InvalidNode(f"q_num_heads must be a multiple of kv_num_heads, not {q_num_heads} and {kv_num_heads}")
    rules = ("linear", "gated", "delta", "gated_delta")
    if rule not in rules:
        raise InvalidNode(f"update_rule must be one of {', '.join(rules)}, not '{rule}'")
    for name, word in (("decay", "gated"), ("beta", "delta")):
        if (given[name] is not None) != (word in rule):
            raise InvalidNode(f"update_rule '{rule}' {'needs' if word in rule else 'has no'} {name}")


def _by_step(x: Symbol, heads: int, steps: int) -> list[Symbol]:
    """(batch, steps, heads · size) as (batch, heads, size) in single precision, for each step."""
    width = x.shape[-1]
    if len(x.shape) != 3 or not isinstance(width, int) or width % heads:
        raise InvalidNode(f"an input must be (batch, steps, features) that {heads} heads divide, not {x.type}")
    parts = [x] if steps == 1 else [*emit_all("Split", x, outputs=steps, axis=1, num_outputs=steps)]
    return [emit("Reshape", cast(part, "float32"), integers([0, heads, width // heads])) for part in parts]


class Newer(NamedTuple):
    """The opset that introduced it, the function of symbols that computes it, and whether a node needs this."""

    since: int
    function: Callable[..., Symbol | Sequence[Symbol]]
    needed: Callable[[Node, Scope], bool] = lambda node, scope: True


def has_newer(node: Node, opset: int) -> bool:
    """True if the operator of ``node`` is new, or does more, at version ``opset`` than in the vocabulary."""
    return opset > OPSET and node.operator in NEWER and opset >= NEWER[node.operator].since


def in_vocabulary(node: Node, opset: int, scope: Scope) -> list[Node]:
    """``node`` of version ``opset`` in operators of the vocabulary; unchanged where it is one of them."""
    if not has_newer(node, opset) or not NEWER[node.operator].needed(node, scope):
        return [node]
    return scope.spliced(node, NEWER[node.operator].function)


def _of_types(*dtypes: str) -> Callable[[Node, Scope], bool]:
    return lambda node, scope: scope.type(node).dtype in dtypes


def _shift(x: Symbol, y: Symbol, *, direction: str) -> Symbol:
    """Shift of signed integers: arithmetic to the right; a negative shift counts as a very long one."""
    wide, by = cast(x, "int64"), cast(cast(y, "int64"), "uint64")

    def shifted(value: Symbol) -> Symbol:
        return cast(emit("BitShift", cast(value, "uint64"), by, direction=direction), "int64")

    if direction == "LEFT":
        return cast(shifted(wide), x.dtype)
    negative = emit("Less", wide, constant(0, "int64"))
    moved = shifted(emit("Where", negative, emit("BitwiseNot", wide), wide))
    return cast(emit("Where", negative, emit("BitwiseNot", moved), moved), x.dtype)


def _cumulative_product(x: Symbol, axis: Symbol, *, exclusive: int = 0, reverse: int = 0) -> Symbol:
    """For each place along the axis the product of all elements, with those after it replaced by 1."""
    rank, given = len(x.shape), axis.type.constant
    if given is None:
        return _along_computed(x, axis, exclusive, reverse)
    if len(given) != 1 or not isinstance(given[0], int) or not -rank <= given[0] < rank:
        raise InvalidNode(f"axis must be one number from {-rank} to {rank - 1}, not {[*given]}")
    along = given[0] % rank
    length = emit("Squeeze", sizes(x, [along]), integers([0]))
    places = emit("Range", constant(0, "int64"), length, constant(1, "int64"))
    # (factor, place, 1, …), as the axes from ``along`` on are once the places have an axis of their own.
    behind = range(rank - along)
    factor = emit("Unsqueeze", places, integers([1 + axis for axis in behind]))
    place = emit("Unsqueeze", places, integers([0, *(2 + axis for axis in behind[:-1])]))
    first, second = (place, factor) if reverse else (factor, place)
    kept = emit("Less" if exclusive else "LessOrEqual", first, second)
    factors = emit("Where", kept, emit("Unsqueeze", x, integers([along + 1])), constant(1, x.dtype))
    return emit("ReduceProd", factors, integers([along]), keepdims=0)


def _along_computed(x: Symbol, axis: Symbol, exclusive: int, reverse: int) -> Symbol:
    """With the axes before and behind the computed one put together, it is the second of three."""
    rank, shape = len(x.shape), emit("Shape", x)
    after = emit("Gather", integers(range(1, rank + 1)), emit("Reshape", axis, integers([1])))
    behind = emit("ReduceProd", emit("Slice", shape, after, integers([rank])), keepdims=1)
    along = emit("Concat", integers([-1]), emit("Gather", shape, after - integers([1])), behind, axis=0)
    flat = emit("Reshape", x, along)
    return emit("Reshape", _cumulative_product(flat, integers([1]), exclusive=exclusive, reverse=reverse), sizes(x))


def _modulo(a: Symbol, b: Symbol, *, fmod: int = 0) -> Symbol:
    """Modulo of floats, with the sign of B: ``fmod``, plus B where that has the other sign."""
    rest = emit("Mod", a, b, fmod=1)
    if fmod:
        return rest
    zero = constant(0, a.dtype)
    below = emit("Less", b, zero)
    none = emit("Where", below, -zero, zero)
    moved = emit("Where", emit("Equal", emit("Less", rest, zero), below), rest, rest + b)
    return emit("Where", emit("Equal", rest, zero), none, moved)


def _range(start: Symbol, limit: Symbol, delta: Symbol) -> Symbol:
    return cast(emit("Range", *(cast(value, "float32") for value in (start, limit, delta))), start.dtype)


def _space_to_depth(x: Symbol, *, blocksize: int, mode: str = "DCR") -> Symbol:
    if mode == "DCR":
        return emit("SpaceToDepth", x, blocksize=blocksize)
    if mode != "CRD":
        raise InvalidNode(f"mode must be DCR or CRD, not '{mode}'")
    channels = x.shape[1] if len(x.shape) == 4 else None
    if not isinstance(channels, int):
        raise InvalidNode(
            f"mode CRD needs (batch, channels, height, width) with known channels, not {format_shape(x.shape)}"
        )
    return pixel_unshuffle(x, channels * blocksize * blocksize, blocksize)


def _gated(a: Symbol, b: Symbol, *, alpha: float = 1.0) -> Symbol:
    if a.type != b.type:
        raise InvalidNode(f"A and B must be of one type and shape, not {a.type} and {b.type}")
    return emit("Swish", a, alpha=alpha) * b


NEWER: Final[Mapping[str, Newer]] = {
    "BitCast": Newer(26, bit_cast),
    "BitShift": Newer(28, _shift, _of_types(*(dtype for dtype in INTEGERS if not dtype.startswith("u")))),
    "CausalConvWithState": Newer(27, causal_convolution),
    "Celu": Newer(28, lambda x, *, alpha=1.0: emit("Elu", x / alpha) * alpha, _of_types(*(FLOATS - {"float32"}))),
    "CumProd": Newer(26, _cumulative_product),
    "LinearAttention": Newer(27, linear_attention),
    "Mod": Newer(28, _modulo, _of_types(*FLOATS)),
    "Range": Newer(27, _range, _of_types("float16")),
    "SpaceToDepth": Newer(28, _space_to_depth, lambda node, scope: "mode" in node.attributes),
    "SwiGLU": Newer(28, _gated),
}
