"""Functions of each entry, and reductions: operations of ``keras.ops``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.nodes import whole
from portable_nn.converters.keras.rebuilding.rebuilder import Rebuilder, Row
from portable_nn.converters.keras.rebuilding.values import Laid, plain
from portable_nn.core.graph import Node


def _function(word: str) -> Callable[[Rebuilder, Node], Laid]:
    def build(b: Rebuilder, node: Node) -> Laid:
        value = b.values[node.inputs[0]]
        assert isinstance(value, Laid)
        return value._replace(tensor=getattr(keras().ops, word)(value.tensor))

    return build


def _reduced(word: str, before: str | None = None, after: str | None = None) -> Callable[[Rebuilder, Node], Laid]:
    """A reduction of what a function makes of each entry, and a function of the result."""

    def build(b: Rebuilder, node: Node) -> Laid:
        axes = b.untrained(node, 1)
        rank, ops, x = b.rank(node.inputs[0]), keras().ops, b.laid(node.inputs[0])
        places = tuple(int(axis) % rank for axis in axes) if axes is not None and axes.size else tuple(range(rank))
        made = getattr(ops, before)(x) if before else x
        if axes is not None or not whole(node, "noop_with_empty_axes", 0):
            made = getattr(ops, word)(made, axis=places, keepdims=bool(whole(node, "keepdims", 1)))
        return Laid(getattr(ops, after)(made) if after else made, plain(b.rank(node.outputs[0])))

    return build


def _place(word: str) -> Callable[[Rebuilder, Node], Laid]:
    """The place of the largest or smallest entry."""

    def build(b: Rebuilder, node: Node) -> Laid:
        ops, axis, last = keras().ops, whole(node, "axis", 0), whole(node, "select_last_index", 0)
        x = b.laid(node.inputs[0])
        size = b.size(node.inputs[0], axis)
        made: Any = getattr(ops, word)(ops.flip(x, axis) if last else x, axis=axis, keepdims=True)
        made = ops.cast(made, "int64")
        if last:
            if size is None:
                b.refuse("it takes the last of equal entries, along an axis whose size is open")
            made = ops.subtract(size - 1, made)
        return Laid(made if whole(node, "keepdims", 1) else ops.squeeze(made, axis), plain(b.rank(node.outputs[0])))

    return build


def _cumulated(b: Rebuilder, node: Node) -> Laid:
    axis, rank, ops = b.untrained(node, 1), b.rank(node.inputs[0]), keras().ops
    assert axis is not None
    place, x = int(axis) % rank, b.laid(node.inputs[0])
    backwards = whole(node, "reverse", 0)
    made = ops.cumsum(ops.flip(x, place) if backwards else x, axis=place)
    made = ops.flip(made, place) if backwards else made
    return Laid(ops.subtract(made, x) if whole(node, "exclusive", 0) else made, plain(rank))


ROWS: Final[Mapping[str, Row]] = {
    **{
        operator: _function(word)
        for operator, word in {
            "Not": "logical_not", "Neg": "negative", "Abs": "absolute", "Sqrt": "sqrt", "Log": "log", "Sin": "sin",
            "Cos": "cos", "Tan": "tan", "Asin": "arcsin", "Acos": "arccos", "Atan": "arctan", "Sinh": "sinh",
            "Cosh": "cosh", "Asinh": "arcsinh", "Acosh": "arccosh", "Atanh": "arctanh", "Floor": "floor",
            "Ceil": "ceil", "Round": "round", "Sign": "sign", "Erf": "erf", "Reciprocal": "reciprocal",
            "IsNaN": "isnan", "StopGradient": "stop_gradient",
        }.items()
    },
    "ReduceMean": _reduced("mean"),
    "ReduceSum": _reduced("sum"),
    "ReduceMax": _reduced("max"),
    "ReduceMin": _reduced("min"),
    "ReduceProd": _reduced("prod"),
    "ReduceSumSquare": _reduced("sum", "square"),
    "ReduceLogSum": _reduced("sum", None, "log"),
    "ReduceLogSumExp": _reduced("logsumexp"),
    "ArgMax": _place("argmax"),
    "ArgMin": _place("argmin"),
    "CumSum": _cumulated,
}  # fmt: skip
