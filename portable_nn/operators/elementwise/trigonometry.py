"""Trigonometric and hyperbolic functions and their inverses, element by element.

Each row of the table is one operator: its numpy function and its derivative by x, from x and y.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from portable_nn.operators.base import Interval, Symbol, emit
from portable_nn.operators.elementwise.building import unary


def _root(x: Symbol) -> Symbol:
    return emit("Sqrt", x)


_DERIVATIVES: dict[str, tuple[np.ufunc, Callable[[Symbol, Symbol], Symbol]]] = {
    "Acos": (np.arccos, lambda x, y: -1 / _root(1 - x * x)),
    "Acosh": (np.arccosh, lambda x, y: 1 / (_root(x - 1) * _root(x + 1))),
    "Asin": (np.arcsin, lambda x, y: 1 / _root(1 - x * x)),
    "Asinh": (np.arcsinh, lambda x, y: 1 / _root(x * x + 1)),
    "Atan": (np.arctan, lambda x, y: 1 / (x * x + 1)),
    "Atanh": (np.arctanh, lambda x, y: 1 / (1 - x * x)),
    "Cos": (np.cos, lambda x, y: -emit("Sin", x)),
    "Cosh": (np.cosh, lambda x, y: emit("Sinh", x)),
    "Sin": (np.sin, lambda x, y: emit("Cos", x)),
    "Sinh": (np.sinh, lambda x, y: emit("Cosh", x)),
    "Tan": (np.tan, lambda x, y: y * y + 1),
}


_INSIDE = Interval(-0.9, 0.9)
_SAMPLES = {"Acos": _INSIDE, "Acosh": Interval(1.1, 3), "Asin": _INSIDE, "Atanh": _INSIDE}


def _function(name: str, function: np.ufunc, derivative: Callable[[Symbol, Symbol], Symbol]) -> None:
    unary(
        name,
        function,
        lambda n: n.dy * derivative(n.x[0], n.y[0]),
        names=("input", "output"),
        samples=_SAMPLES.get(name),
    )


for _name, (_ufunc, _derivative) in _DERIVATIVES.items():
    _function(_name, _ufunc, _derivative)
