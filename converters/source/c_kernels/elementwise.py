"""Functions of one number or two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KERNELS: Final[Mapping[str, str]] = {
    "sigmoid": """
/* 1 / (1 + exp(-x)): from 0 to 1. */
static float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}
""",
    "softplus": """
/* log(1 + exp(x)), which does not overflow. */
static float softplus(float x)
{
    return (x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x)));
}
""",
    "elu": """
/* x where it is positive, alpha * (exp(x) - 1) where it is negative. */
static float elu(float x, float alpha)
{
    return x > 0.0f ? x : alpha * expm1f(x);
}
""",
    "hard_sigmoid": """
/* alpha * x + beta, cut at 0 and 1. */
static float hard_sigmoid(float x, float alpha, float beta)
{
    x = alpha * x + beta;
    return x < 0.0f ? 0.0f : x > 1.0f ? 1.0f : x;
}
""",
    "gelu": """
/* x times the probability that a normally distributed number is smaller. */
static float gelu(float x)
{
    return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
}
""",
    "gelu_tanh": """
/* gelu, with tanh in place of the error function. */
static float gelu_tanh(float x)
{
    return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
}
""",
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
}
