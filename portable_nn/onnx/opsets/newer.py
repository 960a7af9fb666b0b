"""Operators, and options of operators, that are newer than ``OPSET``, expressed in the vocabulary.

Each row of ``NEWER`` is an operator that is new, or does more, in a later version of the standard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from portable_nn.core.graph import OPSET, Node, format_shape
from portable_nn.onnx.opsets.sequences import causal_convolution, linear_attention
from portable_nn.operators import FLOATS, INTEGERS, InvalidNode, Symbol, cast, constant, emit, integers, sizes
from portable_nn.operators.spatial.depth_space import pixel_unshuffle
from portable_nn.rewrites.scope import Scope


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


def _celu(x: Symbol, *, alpha: float = 1.0) -> Symbol:
    return emit("Elu", x / alpha) * alpha


def _cumulative_product(x: Symbol, axis: Symbol, *, exclusive: int = 0, reverse: int = 0) -> Symbol:
    """For each place along the axis the product of all elements, with those after it replaced by 1."""
    rank, given = len(x.shape), axis.type.constant
    if given is None or len(given) != 1 or not isinstance(given[0], int) or not -rank <= given[0] < rank:
        raise InvalidNode(f"axis must be a constant from {-rank} to {rank - 1}")
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
    "BitShift": Newer(28, _shift, _of_types(*(dtype for dtype in INTEGERS if not dtype.startswith("u")))),
    "CausalConvWithState": Newer(27, causal_convolution),
    "Celu": Newer(28, _celu, _of_types(*(FLOATS - {"float32"}))),
    "CumProd": Newer(26, _cumulative_product),
    "LinearAttention": Newer(27, linear_attention),
    "Mod": Newer(28, _modulo, _of_types(*FLOATS)),
    "Range": Newer(27, _range, _of_types("float16")),
    "SpaceToDepth": Newer(28, _space_to_depth, lambda node, scope: "mode" in node.attributes),
    "SwiGLU": Newer(28, _gated),
}
