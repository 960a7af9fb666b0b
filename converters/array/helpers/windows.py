"""Windows that slide over x (batch, channels, *sizes): convolutions and pools."""

import math

import numpy as np

from portable_nn.converters.array.helpers.normalization import per_channel


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


def max_pool_with_places(x, kernel, strides, dilations, pads, by_columns):
    """max_pool, and where each of its numbers stands in x: the first place, counted by rows or by columns."""
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    seen = windows(x, kernel, strides, dilations, pads, lowest)
    seen = seen.reshape(*seen.shape[: x.ndim], -1)
    best = seen.argmax(axis=-1)[..., np.newaxis]
    cells = np.arange(math.prod(x.shape[2:]))
    cells = cells.reshape(x.shape[:1:-1]).T if by_columns else cells.reshape(x.shape[2:])
    images = np.arange(math.prod(x.shape[:2])).reshape(*x.shape[:2], *[1] * cells.ndim)
    places = windows(images * cells.size + cells, kernel, strides, dilations, pads).reshape(seen.shape)
    return np.take_along_axis(seen, best, -1)[..., 0], np.take_along_axis(places, best, -1)[..., 0]


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
