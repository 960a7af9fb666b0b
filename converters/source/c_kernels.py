"""The functions that a C file of ``write_c`` is given, as they are printed there: those that it uses.

They are written for ``float``; ``kernel_of`` makes the same for ``double``. All arrays are row-major.
"""

from __future__ import annotations

import re
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
    "conv2d": """
/* Slide kernels w (out_c, c / groups, kh, kw) over x (c, h, wd); the result is (out_c, out_h, out_w). */
static void conv2d(const float *x, const float *w, const float *bias, float *y, int c, int h, int wd, int out_c,
                   int out_h, int out_w, int kh, int kw, int stride_h, int stride_w, int pad_h, int pad_w, int step_h,
                   int step_w, int groups)
{
    const int in_group = c / groups, out_group = out_c / groups;
    for (int o = 0; o < out_c; ++o) {
        float *plane = y + (size_t)o * out_h * out_w;
        for (int i = 0; i < out_h * out_w; ++i)
            plane[i] = bias ? bias[o] : 0.0f;
        for (int k = 0; k < in_group; ++k) {
            const float *from = x + (size_t)(o / out_group * in_group + k) * h * wd;
            const float *kernel = w + ((size_t)o * in_group + k) * kh * kw;
            for (int row = 0; row < kh; ++row) {
                for (int column = 0; column < kw; ++column) {
                    /* The places whose window has this cell of the kernel inside x, not in the padding. */
                    const float factor = kernel[row * kw + column];
                    const int shift = column * step_w - pad_w;
                    const int first = shift < 0 ? (-shift + stride_w - 1) / stride_w : 0;
                    const int most = wd - 1 - shift < 0 ? 0 : (wd - 1 - shift) / stride_w + 1;
                    const int last = most < out_w ? most : out_w;
                    for (int i = 0; i < out_h; ++i) {
                        const int line = i * stride_h + row * step_h - pad_h;
                        if (line < 0 || line >= h)
                            continue;
                        for (int j = first; j < last; ++j)
                            plane[i * out_w + j] += factor * from[line * wd + j * stride_w + shift];
                    }
                }
            }
        }
    }
}
""",
    "conv_transpose2d": """
/* The reverse of a convolution: each number of x (c, h, wd), times w (c, out_c / groups, kh, kw), is added to y. */
static void conv_transpose2d(const float *x, const float *w, const float *bias, float *y, int c, int h, int wd,
                             int out_c, int out_h, int out_w, int kh, int kw, int stride_h, int stride_w, int pad_h,
                             int pad_w, int step_h, int step_w, int groups)
{
    const int in_group = c / groups, out_group = out_c / groups;
    for (int o = 0; o < out_c; ++o)
        for (int i = 0; i < out_h * out_w; ++i)
            y[(size_t)o * out_h * out_w + i] = bias ? bias[o] : 0.0f;
    for (int k = 0; k < c; ++k) {
        for (int o = 0; o < out_group; ++o) {
            float *plane = y + (size_t)(k / in_group * out_group + o) * out_h * out_w;
            const float *kernel = w + ((size_t)k * out_group + o) * kh * kw;
            for (int i = 0; i < h; ++i) {
                for (int j = 0; j < wd; ++j) {
                    for (int row = 0; row < kh; ++row) {
                        const int line = i * stride_h + row * step_h - pad_h;
                        if (line < 0 || line >= out_h)
                            continue;
                        for (int column = 0; column < kw; ++column) {
                            const int place = j * stride_w + column * step_w - pad_w;
                            if (place >= 0 && place < out_w)
                                plane[line * out_w + place] +=
                                    x[((size_t)k * h + i) * wd + j] * kernel[row * kw + column];
                        }
                    }
                }
            }
        }
    }
}
""",
    "max_pool2d": """
/* The largest number of each window of x (c, h, w), of the cells that are no padding. */
static void max_pool2d(const float *x, float *y, int c, int h, int w, int out_h, int out_w, int kh, int kw,
                       int stride_h, int stride_w, int pad_h, int pad_w, int step_h, int step_w)
{
    for (int k = 0; k < c; ++k) {
        for (int i = 0; i < out_h; ++i) {
            for (int j = 0; j < out_w; ++j) {
                float found = -INFINITY;
                for (int row = 0; row < kh; ++row) {
                    for (int column = 0; column < kw; ++column) {
                        const int line = i * stride_h + row * step_h - pad_h;
                        const int place = j * stride_w + column * step_w - pad_w;
                        if (line >= 0 && line < h && place >= 0 && place < w) {
                            const float each = x[((size_t)k * h + line) * w + place];
                            found = each > found || each != each ? each : found;
                        }
                    }
                }
                y[((size_t)k * out_h + i) * out_w + j] = found;
            }
        }
    }
}
""",
    "average_pool2d": """
/* The mean of each window of x (c, h, w): of the cells of x, and of so much padding around it as counts. */
static void average_pool2d(const float *x, float *y, int c, int h, int w, int out_h, int out_w, int kh, int kw,
                           int stride_h, int stride_w, int pad_h, int pad_w, int step_h, int step_w, int top,
                           int bottom, int left, int right)
{
    for (int k = 0; k < c; ++k) {
        for (int i = 0; i < out_h; ++i) {
            for (int j = 0; j < out_w; ++j) {
                float sum = 0.0f;
                int count = 0;
                for (int row = 0; row < kh; ++row) {
                    for (int column = 0; column < kw; ++column) {
                        const int line = i * stride_h + row * step_h - pad_h;
                        const int place = j * stride_w + column * step_w - pad_w;
                        if (line >= -top && line < h + bottom && place >= -left && place < w + right)
                            ++count;
                        if (line >= 0 && line < h && place >= 0 && place < w)
                            sum += x[((size_t)k * h + line) * w + place];
                    }
                }
                y[((size_t)k * out_h + i) * out_w + j] = sum / (float)count;
            }
        }
    }
}
""",
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
    "rnn": """
/* A simple recurrence over x (steps, batch, inputs): h = tanh(W x + R h + b). y is h of every step. */
static void rnn(const float *x, const float *W, const float *R, const float *b, const float *first, float *y, float *h,
                float *gates, const int32_t *lengths, int steps, int batch, int inputs, int units, int x_step,
                int x_batch, int y_step, int y_batch, int h_batch, int backwards)
{
    for (int n = 0; n < batch; ++n) {
        float *now = h + (size_t)n * h_batch;
        for (int u = 0; u < units; ++u)
            now[u] = first ? first[(size_t)n * h_batch + u] : 0.0f;
        for (int step = 0; step < steps; ++step) {
            const int t = backwards ? steps - 1 - step : step;
            float *out = y + (size_t)t * y_step + (size_t)n * y_batch;
            if (lengths && t >= lengths[n]) { /* The sequence is over. */
                for (int u = 0; u < units; ++u)
                    out[u] = 0.0f;
                continue;
            }
            dense(x + (size_t)t * x_step + (size_t)n * x_batch, W, b, gates, 1, inputs, units);
            dense(now, R, b ? b + units : 0, gates + units, 1, units, units);
            for (int u = 0; u < units; ++u)
                now[u] = out[u] = tanhf(gates[u] + gates[units + u]);
        }
    }
}
""",
    "gru": """
/* A gated recurrence over x (steps, batch, inputs): z says how much of h is kept, r how much the new h sees of it. */
static void gru(const float *x, const float *W, const float *R, const float *b, const float *first, float *y, float *h,
                float *gates, const int32_t *lengths, int steps, int batch, int inputs, int units, int x_step,
                int x_batch, int y_step, int y_batch, int h_batch, int backwards, int reset_after)
{
    float *other = gates + 3 * (size_t)units;
    for (int n = 0; n < batch; ++n) {
        float *now = h + (size_t)n * h_batch;
        for (int u = 0; u < units; ++u)
            now[u] = first ? first[(size_t)n * h_batch + u] : 0.0f;
        for (int step = 0; step < steps; ++step) {
            const int t = backwards ? steps - 1 - step : step;
            float *out = y + (size_t)t * y_step + (size_t)n * y_batch;
            if (lengths && t >= lengths[n]) { /* The sequence is over. */
                for (int u = 0; u < units; ++u)
                    out[u] = 0.0f;
                continue;
            }
            dense(x + (size_t)t * x_step + (size_t)n * x_batch, W, b, gates, 1, inputs, 3 * units);
            dense(now, R, b ? b + 3 * (size_t)units : 0, other, 1, units, (reset_after ? 3 : 2) * units);
            for (int u = 0; u < 2 * units; ++u)
                gates[u] = sigmoid(gates[u] + other[u]); /* z, then r. */
            if (!reset_after) {
                for (int u = 0; u < units; ++u)
                    other[u] = gates[units + u] * now[u];
                dense(other, R + 2 * (size_t)units * units, b ? b + 5 * (size_t)units : 0, other + 2 * units, 1, units,
                      units);
            }
            for (int u = 0; u < units; ++u) {
                const float more = (reset_after ? gates[units + u] : 1.0f) * other[2 * units + u];
                out[u] = (1.0f - gates[u]) * tanhf(gates[2 * units + u] + more) + gates[u] * now[u];
            }
            for (int u = 0; u < units; ++u)
                now[u] = out[u];
        }
    }
}
""",
    "lstm": """
/* A recurrence with a memory c over x (steps, batch, inputs): gates i, o, f say what is added, shown and kept. */
static void lstm(const float *x, const float *W, const float *R, const float *b, const float *first_h,
                 const float *first_c, float *y, float *h, float *c, float *gates, const int32_t *lengths, int steps,
                 int batch, int inputs, int units, int x_step, int x_batch, int y_step, int y_batch, int h_batch,
                 int backwards)
{
    float *other = gates + 4 * (size_t)units;
    for (int n = 0; n < batch; ++n) {
        float *now = h + (size_t)n * h_batch, *memory = c + (size_t)n * h_batch;
        for (int u = 0; u < units; ++u) {
            now[u] = first_h ? first_h[(size_t)n * h_batch + u] : 0.0f;
            memory[u] = first_c ? first_c[(size_t)n * h_batch + u] : 0.0f;
        }
        for (int step = 0; step < steps; ++step) {
            const int t = backwards ? steps - 1 - step : step;
            float *out = y + (size_t)t * y_step + (size_t)n * y_batch;
            if (lengths && t >= lengths[n]) { /* The sequence is over. */
                for (int u = 0; u < units; ++u)
                    out[u] = 0.0f;
                continue;
            }
            dense(x + (size_t)t * x_step + (size_t)n * x_batch, W, b, gates, 1, inputs, 4 * units);
            dense(now, R, b ? b + 4 * (size_t)units : 0, other, 1, units, 4 * units);
            for (int u = 0; u < units; ++u) {
                const float i = sigmoid(gates[u] + other[u]);
                const float o = sigmoid(gates[units + u] + other[units + u]);
                const float f = sigmoid(gates[2 * units + u] + other[2 * units + u]);
                memory[u] = f * memory[u] + i * tanhf(gates[3 * units + u] + other[3 * units + u]);
                now[u] = out[u] = o * tanhf(memory[u]);
            }
        }
    }
}
""",
}
"""The source of each function by its name, in the order in which they are printed: none calls a later one."""

_MATH: Final = (
    "acos|asin|atan|acosh|asinh|atanh|cos|sin|tan|cosh|sinh|tanh|exp|expm1|log|log1p|sqrt|fabs|erf|pow|floor|ceil|rint"
)


def name_of(kernel: str, dtype: str) -> str:
    """The name of a function for numbers of a type."""
    return kernel if dtype == "float32" else f"{kernel}_double"


def in_type(code: str, dtype: str) -> str:
    """Code that is written for ``float``, for a type."""
    if dtype == "float32":
        return code
    code = re.sub(r"\bfloat\b", "double", code)
    code = re.sub(rf"\b({_MATH})f\(", r"\1(", code)
    code = re.sub(r"(\d)f\b", r"\1", code)
    return re.sub(rf"\b({'|'.join(KERNELS)})\(", r"\1_double(", code)


def kernels_in(wanted: set[tuple[str, str]]) -> list[str]:
    """The source of functions by name and type, with those that they call."""
    every = set(wanted)
    for name, dtype in wanted:
        every |= {(other, dtype) for other in KERNELS if re.search(rf"\b{other}\(", KERNELS[name])}
    return [
        in_type(KERNELS[name].strip("\n"), dtype)
        for name in KERNELS
        for dtype in ("float32", "float64")
        if (name, dtype) in every
    ]
