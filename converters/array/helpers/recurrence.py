"""Recurrence: one step after the other over x (steps, batch, features), forwards, backwards, or both."""

import numpy as np

from portable_nn.converters.array.helpers.formulas import sigmoid


def clipped(x, limit):
    """x from -limit to limit."""
    return np.clip(x, -limit, limit)


def recurrence(step, x, W, R, states, direction, lengths):
    """Run a cell over all steps: step(way, x @ W.T of one step, *states) returns the new states; the first is h.

    Returns h of every step (steps, ways, batch, units), and the states after the last. `lengths` says how many steps of
    each sequence count.
    """
    backwards = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    zeros = np.zeros((len(backwards), x.shape[1], R.shape[2]), x.dtype)
    every_h, last = [], []
    for way, is_backwards in enumerate(backwards):
        now, of_x = [(zeros if state is None else state)[way] for state in states], x @ W[way].T
        made = [None] * len(x)
        for t in reversed(range(len(x))) if is_backwards else range(len(x)):
            new = step(way, of_x[t], *now)
            made[t] = new[0]
            if lengths is not None:  # Sequences that are over keep their states; their h is 0.
                runs = (t < lengths)[:, np.newaxis]
                made[t] = np.where(runs, new[0], 0).astype(x.dtype)
                new = [np.where(runs, after, before) for after, before in zip(new, now)]
            now = new
        every_h.append(np.stack(made))
        last.append(now)
    return np.stack(every_h, axis=1), *(np.stack(parts) for parts in zip(*last))


def batch_first(results):
    """What a recurrence returns, with the batch as the first axis."""
    every_h, *states = results
    return every_h.transpose(2, 0, 1, 3), *(state.swapaxes(0, 1) for state in states)


def rnn(x, W, R, B, h=None, direction="forward", lengths=None, functions=None):
    """A simple recurrence: h = tanh(x @ W.T + h @ R.T + b)."""
    functions = functions or [[np.tanh]] * 2

    def step(way, of_x, h):
        bias = 0 if B is None else sum(np.split(B[way], 2))
        [f] = functions[way]
        return (f(of_x + h @ R[way].T + bias),)

    return recurrence(step, x, W, R, [h], direction, lengths)


def gru(x, W, R, B, h=None, direction="forward", lengths=None, functions=None, reset_after=True):
    """A gated recurrent unit: the gate z says how much of h is kept, r how much of it the new h looks at."""
    functions = functions or [[sigmoid, np.tanh]] * 2

    def step(way, of_x, h):
        f, g = functions[way]
        b, c = [0, 0] if B is None else np.split(B[way], 2)
        xz, xr, xn = np.split(of_x + b, 3, axis=1)  # W and R have the rows of z, of r, of the new h.
        hz, hr, hn = np.split(h @ R[way].T + c, 3, axis=1)
        z, r = f(xz + hz), f(xr + hr)
        if reset_after:
            new = g(xn + r * hn)
        else:
            new = g(xn + (r * h) @ np.split(R[way], 3)[2].T + (0 if B is None else np.split(c, 3)[2]))
        return (z * h + (1 - z) * new,)

    return recurrence(step, x, W, R, [h], direction, lengths)


def lstm(x, W, R, B, h=None, c=None, direction="forward", lengths=None, functions=None, P=None, coupled=False):
    """Long short-term memory: c is the memory; gates say what is forgotten, what is added, and what is shown as h."""
    functions = functions or [[sigmoid, np.tanh, np.tanh]] * 2

    def step(way, of_x, h, c):
        f, g, shown = functions[way]
        bias = 0 if B is None else sum(np.split(B[way], 2))
        i, o, forget, new = np.split(of_x + h @ R[way].T + bias, 4, axis=1)  # The rows of W and R.
        seen_i, seen_o, seen_f = [0, 0, 0] if P is None else np.split(P[way], 3)  # How the gates look at c.
        i = f(i + seen_i * c)
        forget = 1 - i if coupled else f(forget + seen_f * c)
        c = forget * c + i * g(new)
        return f(o + seen_o * c) * shown(c), c

    return recurrence(step, x, W, R, [h, c], direction, lengths)
