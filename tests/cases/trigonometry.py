"""Trigonometric and hyperbolic functions and their inverses."""

from __future__ import annotations

from cases.case import Case, positive, real, scalar


def _rows() -> list[Case]:
    return [
        *(Case(name, (real(3, 4),), wrt=(0,), batched=(0,)) for name in ("Asinh", "Atan", "Cosh", "Sinh")),
        *(Case(name, (real(3, 4) / 2,), wrt=(0,), batched=(0,)) for name in ("Acos", "Asin", "Atanh", "Tan")),
        Case("Acosh", (positive(3, 4) + 1,), wrt=(0,), batched=(0,)),
        Case("Tan", (scalar(0.4),), wrt=(0,)),
    ]


CASES = _rows()
