"""Functions of one number or two: those of array code, and what differs from it or is not in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from portable_nn.converters.source.c_formulas import FORMULAS, in_c

KERNELS: Final[Mapping[str, str]] = {
    "larger": """
/* The larger number; a NaN stays one. */
static float larger(float a, float b)
{
    return a >= b || a != a ? a : b;
}
""",
    "smaller": """
/* The smaller number; a NaN stays one. */
static float smaller(float a, float b)
{
    return a <= b || a != a ? a : b;
}
""",
    **{name: in_c(name) for name in FORMULAS},
    "sigmoid": """
/* 1 / (1 + exp(-x)): from 0 to 1. */
static float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}
""",
}
