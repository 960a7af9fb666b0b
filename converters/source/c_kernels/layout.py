"""Kernels that move elements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KERNELS: Final[Mapping[str, str]] = {
    "whole": """
/* A number without its fraction; what does not fit, and NaN, is the smallest there is. */
static int64_t whole(float x)
{
    return x >= -9223372036854775808.0f && x < 9223372036854775808.0f ? (int64_t)x : INT64_MIN;
}
""",
    "reflected": """
/* Which of n cells lies at place i, where beyond both ends the cells before follow in reverse. */
static int reflected(int i, int n)
{
    const int period = n > 1 ? 2 * (n - 1) : 1, place = (i < 0 ? -i : i) % period;
    return place < n ? place : period - place;
}
""",
    "clamped": """
/* Which of n cells is nearest to place i. */
static int clamped(int i, int n)
{
    return i < 0 ? 0 : i < n ? i : n - 1;
}
""",
    "wrapped": """
/* Which of n cells lies at place i, where they begin again after the last. */
static int wrapped(int i, int n)
{
    return (i % n + n) % n;
}
""",
}
