"""Normalizations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KERNELS: Final[Mapping[str, str]] = {
    "softmax": """
/* Positive numbers whose sum along the middle axis of (outer, size, inner) is 1. */
static void softmax(const float *x, float *y, int outer, int size, int inner)
{
    for (int o = 0; o < outer; ++o) {
        for (int i = 0; i < inner; ++i) {
            const size_t start = (size_t)o * size * inner + i;
            float largest = -INFINITY, sum = 0.0f;
            for (int k = 0; k < size; ++k) /* It is taken off first, so that exp cannot overflow. */
                largest = x[start + (size_t)k * inner] > largest ? x[start + (size_t)k * inner] : largest;
            for (int k = 0; k < size; ++k)
                sum += y[start + (size_t)k * inner] = expf(x[start + (size_t)k * inner] - largest);
            for (int k = 0; k < size; ++k)
                y[start + (size_t)k * inner] /= sum;
        }
    }
}
""",
    "log_softmax": """
/* The logarithm of softmax along the middle axis of (outer, size, inner). */
static void log_softmax(const float *x, float *y, int outer, int size, int inner)
{
    for (int o = 0; o < outer; ++o) {
        for (int i = 0; i < inner; ++i) {
            const size_t start = (size_t)o * size * inner + i;
            float largest = -INFINITY, sum = 0.0f;
            for (int k = 0; k < size; ++k)
                largest = x[start + (size_t)k * inner] > largest ? x[start + (size_t)k * inner] : largest;
            for (int k = 0; k < size; ++k)
                sum += expf(x[start + (size_t)k * inner] - largest);
            for (int k = 0; k < size; ++k)
                y[start + (size_t)k * inner] = x[start + (size_t)k * inner] - largest - logf(sum);
        }
    }
}
""",
    "standardize": """
/* Rows of x (rows, size) with mean 0 and deviation 1; epsilon keeps it from dividing by 0. */
static void standardize(const float *x, float *y, int rows, int size, float epsilon)
{
    for (int row = 0; row < rows; ++row) {
        const float *from = x + (size_t)row * size;
        float mean = 0.0f, square = 0.0f;
        for (int i = 0; i < size; ++i)
            mean += from[i];
        mean /= (float)size;
        for (int i = 0; i < size; ++i)
            square += (from[i] - mean) * (from[i] - mean);
        for (int i = 0; i < size; ++i)
            y[(size_t)row * size + i] = (from[i] - mean) / sqrtf(square / (float)size + epsilon);
    }
}
""",
    "root_mean_square": """
/* Rows of x (rows, size), divided by the root of their mean square. */
static void root_mean_square(const float *x, float *y, int rows, int size, float epsilon)
{
    for (int row = 0; row < rows; ++row) {
        float square = 0.0f;
        for (int i = 0; i < size; ++i)
            square += x[(size_t)row * size + i] * x[(size_t)row * size + i];
        for (int i = 0; i < size; ++i)
            y[(size_t)row * size + i] = x[(size_t)row * size + i] / sqrtf(square / (float)size + epsilon);
    }
}
""",
    "scale_channels": """
/* Multiply each channel of y (batch, channels, size) by its scale, and add its bias. */
static void scale_channels(float *y, const float *scale, const float *bias, int batch, int channels, int size)
{
    for (int n = 0; n < batch * channels; ++n)
        for (int i = 0; i < size; ++i)
            y[(size_t)n * size + i] = y[(size_t)n * size + i] * scale[n % channels] + bias[n % channels];
}
""",
    "batch_norm": """
/* Take off each channel's mean, divide by its deviation, both known from training; then scale and shift. */
static void batch_norm(const float *x, const float *scale, const float *bias, const float *mean, const float *variance,
                       float *y, int batch, int channels, int size, float epsilon)
{
    for (int n = 0; n < batch * channels; ++n) {
        const int c = n % channels;
        const float factor = scale[c] / sqrtf(variance[c] + epsilon);
        for (int i = 0; i < size; ++i)
            y[(size_t)n * size + i] = (x[(size_t)n * size + i] - mean[c]) * factor + bias[c];
    }
}
""",
    "response_norm": """
/* Divide by what the squares of neighbouring channels of x (batch, channels, inner) add up to. */
static void response_norm(const float *x, float *y, int batch, int channels, int inner, int size, float alpha,
                          float beta, float bias)
{
    for (int n = 0; n < batch; ++n) {
        for (int c = 0; c < channels; ++c) {
            for (int i = 0; i < inner; ++i) {
                float sum = 0.0f;
                for (int k = c - (size - 1) / 2; k <= c + size / 2; ++k) {
                    if (k >= 0 && k < channels) {
                        const float each = x[((size_t)n * channels + k) * inner + i];
                        sum += each * each;
                    }
                }
                const size_t place = ((size_t)n * channels + c) * inner + i;
                y[place] = x[place] / powf(bias + alpha / (float)size * sum, beta);
            }
        }
    }
}
""",
}
