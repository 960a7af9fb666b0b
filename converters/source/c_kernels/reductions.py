"""Kernels that reduce an axis, or search along it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KERNELS: Final[Mapping[str, str]] = {
    "argmax": """
/* Where the largest number along the middle axis of x (outer, size, inner) stands: the first of several. */
static void argmax(const float *x, int64_t *y, int outer, int size, int inner, float sign)
{
    for (int o = 0; o < outer; ++o) {
        for (int i = 0; i < inner; ++i) {
            const float *from = x + (size_t)o * size * inner + i;
            int found = 0;
            for (int k = 1; k < size; ++k)
                if (sign * from[(size_t)k * inner] > sign * from[(size_t)found * inner])
                    found = k;
            y[(size_t)o * inner + i] = found;
        }
    }
}
""",
    "cumulative": """
/* Sums of all numbers before along the middle axis of x (outer, size, inner), with the number itself or without. */
static void cumulative(const float *x, float *y, int outer, int size, int inner, int exclusive, int reverse)
{
    for (int o = 0; o < outer; ++o) {
        for (int i = 0; i < inner; ++i) {
            float sum = 0.0f;
            for (int k = 0; k < size; ++k) {
                const size_t place = ((size_t)o * size + (reverse ? size - 1 - k : k)) * inner + i;
                const float before = sum;
                sum += x[place];
                y[place] = exclusive ? before : sum;
            }
        }
    }
}
""",
    "top_k": """
/* The count largest numbers along the middle axis of x (outer, size, inner), or with sign -1 smallest, in order. */
static void top_k(const float *x, float *y, int64_t *places, int outer, int size, int inner, int count, float sign)
{
    for (int o = 0; o < outer; ++o) {
        for (int i = 0; i < inner; ++i) {
            const float *from = x + (size_t)o * size * inner + i;
            int last = -1;
            for (int k = 0; k < count; ++k) {
                int found = -1; /* The best of those that come after the last one. */
                for (int j = 0; j < size; ++j) {
                    const float each = sign * from[(size_t)j * inner];
                    const float before = last < 0 ? 0.0f : sign * from[(size_t)last * inner];
                    const int is_after = last < 0 || each < before || (each == before && j > last);
                    if (is_after && (found < 0 || each > sign * from[(size_t)found * inner]))
                        found = j;
                }
                found = found < 0 ? 0 : found; /* What is no number has no place in the order. */
                y[((size_t)o * count + k) * inner + i] = from[(size_t)found * inner];
                places[((size_t)o * count + k) * inner + i] = found;
                last = found;
            }
        }
    }
}
""",
}
