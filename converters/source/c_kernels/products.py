"""Products of matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KERNELS: Final[Mapping[str, str]] = {
    "dense": """
/* For each row of x (rows, inputs): a weighted sum for each row of w (outputs, inputs), and a bias if there is one. */
static void dense(const float *x, const float *w, const float *bias, float *y, int rows, int inputs, int outputs)
{
    for (int row = 0; row < rows; ++row) {
        for (int o = 0; o < outputs; ++o) {
            const float *a = x + (size_t)row * inputs, *b = w + (size_t)o * inputs;
            float s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f; /* Four sums, which processors add side by side. */
            int i = 0;
            for (; i + 3 < inputs; i += 4) {
                s0 += a[i] * b[i];
                s1 += a[i + 1] * b[i + 1];
                s2 += a[i + 2] * b[i + 2];
                s3 += a[i + 3] * b[i + 3];
            }
            for (; i < inputs; ++i)
                s0 += a[i] * b[i];
            y[(size_t)row * outputs + o] = (s0 + s1) + (s2 + s3) + (bias ? bias[o] : 0.0f);
        }
    }
}
""",
    "product": """
/* The matrix product of a (rows, depth) and b (depth, columns), whose elements are so far apart along each axis. */
static void product(const float *a, int a_row, int a_depth, const float *b, int b_depth, int b_column, float *y,
                    int rows, int depth, int columns)
{
    for (int row = 0; row < rows; ++row) {
        float *sum = y + (size_t)row * columns;
        for (int c = 0; c < columns; ++c)
            sum[c] = 0.0f;
        for (int k = 0; k < depth; ++k) {
            const float factor = a[(size_t)row * a_row + (size_t)k * a_depth];
            const float *other = b + (size_t)k * b_depth;
            for (int c = 0; c < columns; ++c)
                sum[c] += factor * other[(size_t)c * b_column];
        }
    }
}
""",
}
