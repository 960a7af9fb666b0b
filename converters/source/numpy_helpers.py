"""The functions that a numpy module of ``write_numpy`` is given, as they are printed there: those that it uses.

They are read by beginners: each is a few lines of numpy that say what they do. So they have no types, and none of them
imports or calls anything but numpy and each other.
"""

import math

import numpy as np

# -- what goes in


def checked(name, x, dtype, shape, sizes):
    """Refuse an input that the network is not made for, instead of computing nonsense from it."""
    x = np.asarray(x)
    if not np.can_cast(x.dtype, dtype, "same_kind"):
        raise TypeError(f"{name} must be {dtype}, not {x.dtype}")
    if x.ndim != len(shape):
        raise ValueError(f"{name} must have {len(shape)} dimensions, {shape}, not the shape {x.shape}")
    for expected, found in zip(shape, x.shape):
        if isinstance(expected, str):  # A size that may be any, but the same wherever it is named.
            expected = sizes.setdefault(expected, found)
        if expected != found:
            raise ValueError(f"{name} must be of shape {shape}, not {x.shape}: {found} where {expected} is expected")
    return x.astype(dtype)


# -- activation functions: each number by itself


def relu(x):
    """Negative numbers become 0, the others stay."""
    return np.maximum(x, 0)


def sigmoid(x):
    """1 / (1 + exp(-x)): from 0 to 1; written with tanh, which cannot overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def softplus(x):
    """log(1 + exp(x)): a smooth relu."""
    return np.logaddexp(x, np.zeros((), x.dtype))


def elu(x, alpha=1.0):
    """x where it is positive, alpha * (exp(x) - 1), which is above -alpha, where it is negative."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def leaky_relu(x, slope):
    """Negative numbers are multiplied by a small slope, the others stay."""
    return np.where(x < 0, x * slope, x)


def hard_sigmoid(x, alpha, beta):
    """A straight line in place of the sigmoid, cut at 0 and 1."""
    return np.clip(x * alpha + beta, 0, 1)


def softsign(x):
    """From -1 to 1, like tanh, but flatter."""
    return x / (1 + np.abs(x))


def erf(x):
    """The error function, number by number: numpy has none, Python's math has."""
    return np.array([math.erf(each) for each in np.ravel(x)], x.dtype).reshape(x.shape)


def gelu(x):
    """x times the probability that a normally distributed number is smaller than x."""
    return x * (0.5 * (1 + erf(x * math.sqrt(0.5))))


def gelu_tanh(x):
    """gelu, with tanh in place of the error function."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def softmax(x, axis=-1):
    """Positive numbers whose sum along an axis is 1; the largest is taken off first, so that exp cannot overflow."""
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def log_softmax(x, axis=-1):
    """The logarithm of softmax, without a division."""
    x = x - x.max(axis=axis, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))


def hardmax(x, axis=-1):
    """1 for the largest number along an axis (the first of several), 0 for the others."""
    places = np.arange(x.shape[axis]).reshape([-1 if a == axis % x.ndim else 1 for a in range(x.ndim)])
    return (places == x.argmax(axis=axis, keepdims=True)).astype(x.dtype)


def log_sum_exp(x, axis, keepdims):
    """The logarithm of the sum of exp(x); the largest is taken off first, so that exp cannot overflow."""
    highest = x.max(axis=axis, keepdims=True)
    highest = np.where(np.isfinite(highest), highest, 0)
    found = np.log(np.exp(x - highest).sum(axis=axis, keepdims=True)) + highest
    return found if keepdims else found.squeeze(axis)


# -- normalization


def per_channel(values, x):
    """One number for each channel, in a shape that fits x (batch, channels, ...)."""
    return values.reshape(-1, *[1] * (x.ndim - 2))


def standardized(x, axes, epsilon):
    """x with mean 0 and deviation 1 over some axes; epsilon keeps it from dividing by 0."""
    x = x - x.mean(axis=axes, keepdims=True)
    return x / np.sqrt((x * x).mean(axis=axes, keepdims=True) + epsilon)


def batch_norm(x, scale, bias, mean, variance, epsilon):
    """Take off each channel's mean, divide by its deviation, both known from training; then scale and shift."""
    factor = scale / np.sqrt(variance + epsilon)
    return (x - per_channel(mean, x)) * per_channel(factor, x) + per_channel(bias, x)


def batch_norm_of_batch(x, scale, bias, mean, variance, epsilon, momentum):
    """batch_norm with the mean and deviation of this batch; also returns the running ones, moved towards these."""
    axes = (0, *range(2, x.ndim))
    now, spread = x.mean(axis=axes), x.var(axis=axes)
    y = batch_norm(x, scale, bias, now, spread, epsilon)
    return y, mean * momentum + now * (1 - momentum), variance * momentum + spread * (1 - momentum)


def instance_norm(x, scale, bias, epsilon):
    """Each channel of each example with mean 0 and deviation 1; then scale and shift."""
    x = standardized(x, tuple(range(2, x.ndim)), epsilon)
    return x * per_channel(scale, x) + per_channel(bias, x)


def group_norm(x, scale, bias, groups, epsilon):
    """Groups of channels of each example with mean 0 and deviation 1; then scale and shift each channel."""
    grouped = standardized(x.reshape(x.shape[0], groups, -1), 2, epsilon).reshape(x.shape)
    return grouped * per_channel(scale, x) + per_channel(bias, x)


def local_response_norm(x, size, alpha, beta, bias):
    """Divide by what the squares of neighbouring channels add up to."""
    before = (size - 1) // 2
    around = [(0, 0), (before, size - 1 - before)] + [(0, 0)] * (x.ndim - 2)
    squares = np.pad(x * x, around)
    total = sum(squares[:, first : first + x.shape[1]] for first in range(size))
    return x / (bias + alpha / size * total) ** beta


# -- windows that slide over x (batch, channels, *sizes)


def same_pads(sizes, kernel, strides, dilations, upper):
    """Padding with which the result has a cell for every stride: all (before, after) that are needed."""
    pads = []
    for size, k, s, d in zip(sizes, kernel, strides, dilations):
        needed = max(0, (-(-size // s) - 1) * s + d * (k - 1) + 1 - size)
        pads.append(((needed + (not upper)) // 2, (needed + upper) // 2))
    return pads


def ceil_pads(sizes, kernel, strides, dilations, pads):
    """Padding that lets the last window, which begins inside, reach beyond the end."""
    longer = []
    for size, k, s, d, (before, after) in zip(sizes, kernel, strides, dilations, pads):
        reach = d * (k - 1) + 1
        count = -(-(size + before + after - reach) // s) + 1
        if (count - 1) * s >= size + before:
            count -= 1
        longer.append((before, max(after, (count - 1) * s + reach - size - before)))
    return longer


def windows(x, kernel, strides, dilations, pads, fill=0):
    """Every window: (batch, channels, *positions, *kernel). It is a view: nothing is copied but the padding."""
    axes = tuple(range(2, x.ndim))
    x = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilations)]
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, axes)
    return seen[(..., *[slice(None, None, s) for s in strides], *[slice(None, None, d) for d in dilations])]


def conv(x, weight, bias, strides, dilations, pads, groups=1):
    """Slide kernels (out channels, channels / groups, *kernel) over x; each place is a weighted sum of its window."""
    axes = len(strides)
    seen = windows(x, weight.shape[2:], strides, dilations, pads)
    parts = [
        np.tensordot(window, kernels, ([1, *range(-axes, 0)], [1, *range(2, 2 + axes)]))
        for window, kernels in zip(np.split(seen, groups, 1), np.split(weight, groups, 0))
    ]
    y = np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)  # The channels become the second axis again.
    return y if bias is None else y + per_channel(bias, y)


def conv_transpose(x, weight, bias, strides, dilations, pads, output_padding, groups=1):
    """The reverse of a convolution: each number of x, times a kernel, is added to the result around its place."""
    kernel, sizes = weight.shape[2:], x.shape[2:]
    whole = [
        (n - 1) * s + d * (k - 1) + 1 + more
        for n, s, d, k, more in zip(sizes, strides, dilations, kernel, output_padding)
    ]
    y = np.zeros((x.shape[0], weight.shape[1] * groups, *whole), x.dtype)
    for place in np.ndindex(*kernel):
        parts = [
            np.tensordot(part, kernels[(slice(None), slice(None), *place)], (1, 0))
            for part, kernels in zip(np.split(x, groups, 1), np.split(weight, groups, 0))
        ]
        cells = [slice(p * d, p * d + (n - 1) * s + 1, s) for p, d, n, s in zip(place, dilations, sizes, strides)]
        y[(..., *cells)] += np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)
    y = y[(..., *[slice(before, size - after) for size, (before, after) in zip(whole, pads)])]
    return y if bias is None else y + per_channel(bias, y)


def max_pool(x, kernel, strides, dilations, pads):
    """The largest number of each window; padding is smaller than all."""
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    return windows(x, kernel, strides, dilations, pads, lowest).max(axis=tuple(range(-len(kernel), 0)))


def average_pool(x, kernel, strides, dilations, pads, counted):
    """The mean of each window, of the cells that count: those of x, and as much of the padding as `counted` says."""
    axes = tuple(range(-len(kernel), 0))
    cells = np.pad(np.ones((1, 1, *x.shape[2:]), x.dtype), [(0, 0), (0, 0), *counted], constant_values=1)
    rest = [(b - cb, a - ca) for (b, a), (cb, ca) in zip(pads, counted)]
    count = windows(cells, kernel, strides, dilations, rest).sum(axis=axes)
    return windows(x, kernel, strides, dilations, pads).sum(axis=axes) / count


def lp_pool(x, kernel, strides, dilations, pads, p):
    """The p-norm of each window: the p-th root of the sum of p-th powers."""
    powers = np.abs(windows(x, kernel, strides, dilations, pads)) ** p
    return powers.sum(axis=tuple(range(-len(kernel), 0))) ** (1 / p)


# -- recurrence: one step after the other over x (steps, batch, features), forwards, backwards, or both


def clipped(x, limit):
    """x from -limit to limit."""
    return np.clip(x, -limit, limit)


def recurrence(step, x, units, states, direction, lengths):
    """Run a cell over all steps: step(way, x of one step, *states) returns the new states, of which the first is h.

    Returns h of every step (steps, ways, batch, units), and the states after the last. `lengths` says how many steps of
    each sequence count.
    """
    backwards = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    zeros = np.zeros((len(backwards), x.shape[1], units), x.dtype)
    every_h, last = [], []
    for way, is_backwards in enumerate(backwards):
        now = [(zeros if state is None else state)[way] for state in states]
        made = [None] * len(x)
        for t in reversed(range(len(x))) if is_backwards else range(len(x)):
            new = step(way, x[t], *now)
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

    def step(way, x, h):
        bias = 0 if B is None else sum(np.split(B[way], 2))
        [f] = functions[way]
        return (f(x @ W[way].T + h @ R[way].T + bias),)

    return recurrence(step, x, R.shape[2], [h], direction, lengths)


def gru(x, W, R, B, h=None, direction="forward", lengths=None, functions=None, reset_after=True):
    """A gated recurrent unit: the gate z says how much of h is kept, r how much of it the new h looks at."""
    functions = functions or [[sigmoid, np.tanh]] * 2

    def step(way, x, h):
        f, g = functions[way]
        of_x, of_h = [0, 0] if B is None else np.split(B[way], 2)
        xz, xr, xn = np.split(x @ W[way].T + of_x, 3, axis=1)  # W and R have the rows of z, of r, of the new h.
        hz, hr, hn = np.split(h @ R[way].T + of_h, 3, axis=1)
        z, r = f(xz + hz), f(xr + hr)
        if reset_after:
            new = g(xn + r * hn)
        else:
            new = g(xn + (r * h) @ np.split(R[way], 3)[2].T + (0 if B is None else np.split(of_h, 3)[2]))
        return (z * h + (1 - z) * new,)

    return recurrence(step, x, R.shape[2], [h], direction, lengths)


def lstm(x, W, R, B, h=None, c=None, direction="forward", lengths=None, functions=None, P=None, coupled=False):
    """Long short-term memory: c is the memory; gates say what is forgotten, what is added, and what is shown as h."""
    functions = functions or [[sigmoid, np.tanh, np.tanh]] * 2

    def step(way, x, h, c):
        f, g, shown = functions[way]
        bias = 0 if B is None else sum(np.split(B[way], 2))
        i, o, forget, new = np.split(x @ W[way].T + h @ R[way].T + bias, 4, axis=1)  # The rows of W and R.
        seen_i, seen_o, seen_f = [0, 0, 0] if P is None else np.split(P[way], 3)  # How the gates look at c.
        i = f(i + seen_i * c)
        forget = 1 - i if coupled else f(forget + seen_f * c)
        c = forget * c + i * g(new)
        return f(o + seen_o * c) * shown(c), c

    return recurrence(step, x, R.shape[2], [h, c], direction, lengths)


# -- attention


def attention(q, k, v, mask, scale):
    """For each query a mean of the values (batch, heads, keys, features): weighted by how well the keys fit it."""
    groups = q.shape[1] // k.shape[1]  # Several heads of queries may share one of keys and values.
    k, v = np.repeat(k, groups, axis=1), np.repeat(v, groups, axis=1)
    scores = q @ np.swapaxes(k, -1, -2) * scale
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    highest = scores.max(axis=-1, keepdims=True)
    powers = np.exp(scores - np.where(highest == -np.inf, 0, highest))
    totals = powers.sum(axis=-1, keepdims=True)
    return (powers / np.where(totals == 0, 1, totals)).astype(q.dtype) @ v  # Who may look at nothing gets zeros.


def by_heads(x, heads):
    """(batch, positions, heads * features) as (batch, heads, positions, features)."""
    return x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(0, 2, 1, 3)


def joined_heads(x):
    """(batch, heads, positions, features) as (batch, positions, heads * features)."""
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def causal(queries, keys):
    """A mask that lets each position look at itself and those before it."""
    return np.arange(keys) <= np.arange(queries)[:, np.newaxis]


# -- elements that move


def expand(x, shape):
    """x repeated along axes of size 1, as far as that shape asks for."""
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(int(n) for n in shape)))


def reshape(x, shape):
    """The same numbers in another shape; 0 keeps the size of x."""
    return x.reshape([x.shape[place] if n == 0 else int(n) for place, n in enumerate(shape)])


def take(x, indices, axis):
    """Rows of x by their numbers; other numbers than there are rows are refused."""
    if np.any((indices < -x.shape[axis]) | (indices >= x.shape[axis])):
        raise IndexError(f"indices must be from 0 to {x.shape[axis] - 1}")
    return np.take(x, indices, axis=axis)


def take_elements(x, indices, axis):
    """Of each place, the element whose number along an axis is given."""
    x = x[tuple(slice(None) if a == axis else slice(size) for a, size in enumerate(indices.shape))]
    return np.take_along_axis(x, indices, axis)


def take_nd(x, indices, batch_axes):
    """Parts of x, each by the numbers that the last axis of `indices` holds for its first axes."""
    common, size = x.shape[:batch_axes], math.prod(x.shape[:batch_axes])
    x, rows = x.reshape(size, *x.shape[batch_axes:]), indices.reshape(size, -1, indices.shape[-1])
    found = np.stack([part[tuple(np.moveaxis(row, -1, 0))] for part, row in zip(x, rows)])
    return found.reshape(*common, *indices.shape[batch_axes:-1], *x.shape[1 + indices.shape[-1] :])


def put_elements(x, indices, updates, axis, combine):
    """A copy of x in which elements are replaced by updates, or combined with them."""
    y, places = x.copy(), list(np.indices(indices.shape))
    places[axis] = indices % x.shape[axis]
    put(y, tuple(places), updates, combine)
    return y


def put_nd(x, indices, updates, combine):
    """A copy of x in which parts, by the numbers in the last axis of `indices`, are replaced or combined."""
    y = x.copy()
    put(y, tuple(np.moveaxis(indices, -1, 0)), updates, combine)
    return y


def put(y, places, updates, combine):
    """Write updates into y: as they are, or added, multiplied, or if they are larger or smaller."""
    functions = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
    if combine == "none":
        y[places] = updates
    else:
        functions[combine].at(y, places, updates)


def reversed_sequences(x, lengths, time_axis):
    """The first so many steps of each sequence in reverse order; x has time and batch as its first two axes."""
    y = np.array(x if time_axis == 0 else x.swapaxes(0, 1))
    for sequence, length in enumerate(lengths):
        y[:length, sequence] = y[:length, sequence][::-1].copy()
    return y if time_axis == 0 else y.swapaxes(0, 1)


def cut(x, starts, ends, axes, steps):
    """A slice along each of some axes."""
    where = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps):
        size = x.shape[axis]
        if step < 0:  # Backwards, an end before the first element means: to the first element, included.
            start, end = max(start, -size), None if end < -size else int(end)
        where[axis] = slice(int(start), end if end is None else int(end), int(step))
    return x[tuple(where)]


def padded(x, pads, mode, value=0):
    """x with more cells before and after; negative numbers take cells away. `pads`: all befores, then all afters."""
    pairs = [(int(before), int(after)) for before, after in zip(pads[: x.ndim], pads[x.ndim :])]
    more = [(max(0, before), max(0, after)) for before, after in pairs]
    if mode == "constant":
        x = np.pad(x, more, constant_values=value)
    x = x[tuple(slice(max(0, -b), n - max(0, -a)) for n, (b, a) in zip(x.shape, pairs))]
    return x if mode == "constant" else np.pad(x, more, mode=mode)


def one_hot(indices, depth, off, on, axis):
    """At the place that each index says, `on`; elsewhere `off`."""
    places = np.where(indices < 0, indices + depth, indices)[..., np.newaxis] == np.arange(depth)
    return np.moveaxis(np.where(places, on, off), -1, axis)


def top_k(x, k, axis, largest):
    """The k largest (or smallest) numbers along an axis, in order, and where they are."""
    keys = -x if largest and x.dtype.kind != "u" else (~x if largest else x)
    places = np.take(np.argsort(keys, axis=axis, kind="stable"), np.arange(k), axis=axis)
    return np.take_along_axis(x, places, axis=axis), places


def cumulative_sum(x, axis, exclusive, reverse):
    """The sum of everything up to each element."""
    x = np.flip(x, axis) if reverse else x
    total = np.cumsum(x, axis=axis, dtype=x.dtype) - (x if exclusive else 0)
    return np.flip(total, axis) if reverse else total


def depth_to_space(x, block, order):
    """Channels become blocks of block x block cells."""
    b, _, h, w = x.shape
    if order == "DCR":
        return x.reshape(b, block, block, -1, h, w).transpose(0, 3, 4, 1, 5, 2).reshape(b, -1, h * block, w * block)
    return x.reshape(b, -1, block, block, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(b, -1, h * block, w * block)


def space_to_depth(x, block):
    """Blocks of block x block cells become channels."""
    b, c, h, w = x.shape
    x = x.reshape(b, c, h // block, block, w // block, block)
    return x.transpose(0, 3, 5, 1, 2, 4).reshape(b, -1, h // block, w // block)


def copied_along(x, axis, places):
    """Resize an axis: each cell of the result copies the one of x at its place."""
    return np.take(x, np.clip(places, 0, x.shape[axis] - 1).astype(int), axis=axis)


def interpolated_along(x, axis, places):
    """Resize an axis: each cell of the result is between two cells of x, and has of each the more the nearer it is."""
    low = np.floor(places).astype(int)
    share = (places - low).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    first, second = (np.take(x, np.clip(p, 0, x.shape[axis] - 1), axis=axis) for p in (low, low + 1))
    return (first * (1 - share) + second * share).astype(x.dtype)


def cubic_along(x, axis, places, a):
    """Resize an axis: each cell of the result is a mean of four cells of x, weighted by cubic curves (Keys, 1981)."""
    total = 0
    for step in (-1, 0, 1, 2):
        cells = np.floor(places).astype(int) + step
        far = np.abs(places - cells)
        near = ((a + 2) * far - (a + 3)) * far * far + 1
        weight = np.where(far <= 1, near, ((a * far - 5 * a) * far + 8 * a) * far - 4 * a)
        weight = weight.reshape([-1 if each == axis else 1 for each in range(x.ndim)])
        total = total + weight * np.take(x, np.clip(cells, 0, x.shape[axis] - 1), axis=axis)
    return total.astype(x.dtype)


# -- whole numbers


def divided(a, b):
    """A division of whole numbers, towards 0."""
    return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)
