"""Element-wise operators on single Python floats, for loops of a few floats where each call of numpy would cost more.

An operator that is not listed runs on arrays only. Like Python's ``math``, these raise where numpy returns ``inf`` or
``nan`` with a warning: ``OverflowError``, ``ZeroDivisionError``, ``ValueError``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Final


def _sigmoid(value: float) -> float:
    small = math.exp(-abs(value))
    return 1 / (1 + small) if value >= 0 else small / (1 + small)


SCALARS: Final[Mapping[str, Callable[..., float]]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": operator.truediv,
    "Neg": operator.neg,
    "Pow": math.pow,
    "Exp": math.exp,
    "Log": math.log,
    "Sqrt": math.sqrt,
    "Sin": math.sin,
    "Cos": math.cos,
    "Tanh": math.tanh,
    "Abs": abs,
    "Sign": lambda value: value if math.isnan(value) else float((value > 0) - (value < 0)),
    "Softplus": lambda value: max(value, 0.0) + math.log1p(math.exp(-abs(value))),
    "Sigmoid": _sigmoid,
}
"""By the name of the operator in ONNX."""
