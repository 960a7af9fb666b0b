"""Arithmetic on sizes: numbers where all are known, and nodes on symbols (1,) otherwise."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from portable_nn.converters.torch.aten.rows import ROWS, Use, row, size_along
from portable_nn.operators import Symbol, cast, constant, emit


@row("sym_size")
def _size(use: Use, x: Symbol, dim: int) -> Any:
    return size_along(x, dim)


def _computed(
    plain: Callable[..., Any], node: str | Callable[..., Symbol], use: Use, *values: Any, **options: Any
) -> Any:
    """``plain`` of numbers; otherwise the node of that name, or what a function makes, in a common element type."""
    if not any(isinstance(each, Symbol) for each in values):
        return plain(*values)
    floats = any(isinstance(each, float) or (isinstance(each, Symbol) and each.dtype == "float64") for each in values)
    dtype = "float64" if floats or plain is operator.truediv else "int64"
    symbols = [cast(each, dtype) if isinstance(each, Symbol) else constant([each], dtype) for each in values]
    return emit(node, *symbols) if isinstance(node, str) else node(*symbols)


def _floor_divide(a: Symbol, b: Symbol) -> Symbol:
    """Div of whole numbers rounds towards 0: down where none is negative, which is known of sizes, and not of h - 1."""
    if a.dtype == "int64" and (found := emit("Div", a, b)).type.constant is not None:
        return found
    return cast(emit("Floor", emit("Div", cast(a, "float64"), cast(b, "float64"))), a.dtype)


def _rounded(way: str, x: Symbol) -> Symbol:
    return x if x.dtype == "int64" else cast(emit(way, x), "int64")


_OPERATORS: Final = "Add Sub Mul Mod Neg Pow"
"""The operators that have the same name in Python, but for capital letters."""

_ARITHMETIC: Final[Mapping[str, tuple[Callable[..., Any], str | Callable[..., Symbol]]]] = {
    **{f"_operator.{name.lower()}": (getattr(operator, name.lower()), name) for name in _OPERATORS.split()},
    "_operator.truediv": (operator.truediv, "Div"),
    "_operator.floordiv": (operator.floordiv, _floor_divide),
    "torch.sym_max": (max, "Max"),
    "torch.sym_min": (min, "Min"),
    "torch.sym_int": (int, partial(_rounded, "Floor")),
    "torch.sym_float": (float, lambda x: cast(x, "float64")),
    "math.ceil": (math.ceil, partial(_rounded, "Ceil")),
    "math.floor": (math.floor, partial(_rounded, "Floor")),
    "math.trunc": (math.trunc, partial(_rounded, "Floor")),
    "_builtins.round": (round, partial(_rounded, "Round")),
    "torch.sym_sqrt": (math.sqrt, "Sqrt"),
}
"""The arithmetic of sizes: of numbers, and of symbols."""

ROWS.update({name: partial(_computed, *ways) for name, ways in _ARITHMETIC.items()})
