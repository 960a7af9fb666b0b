"""Recurrences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KERNELS: Final[Mapping[str, str]] = {
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
