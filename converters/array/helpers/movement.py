"""Elements that move: reshaped, taken, put, cut, padded and sorted."""

import numpy as np


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
    more = [1] * (indices.ndim - 1 - batch_axes)
    batch = [n.reshape(*n.shape, *more) for n in np.indices(indices.shape[:batch_axes], sparse=True)]
    return x[(*batch, *np.moveaxis(indices, -1, 0))]


def put_elements(x, indices, updates, axis, combine):
    """A copy of x in which elements are replaced by updates, or combined with them."""
    places = list(np.indices(indices.shape))
    places[axis] = indices % x.shape[axis]
    return put(x, tuple(places), updates, combine)


def put_nd(x, indices, updates, combine):
    """A copy of x in which parts, by the numbers in the last axis of `indices`, are replaced or combined."""
    return put(x, tuple(np.moveaxis(indices, -1, 0)), updates, combine)


def put_steps(x, updates, starts, axis, mode):
    """A copy of x with updates along an axis, of each example from its own place on; a circle goes on at the front."""
    places, size = list(np.indices(updates.shape, sparse=True)), x.shape[axis]
    steps = places[axis] + (0 if starts is None else starts.reshape(-1, *[1] * (x.ndim - 1)))
    places[axis] = steps % size if mode == "circular" else np.where(steps < 0, size, steps)  # There is no such place.
    return put(x, tuple(places), updates, "none")


def put(x, places, updates, combine):
    """A copy of x with updates: as they are, or added, multiplied, or if they are larger or smaller."""
    functions, y = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}, x.copy()
    if combine == "none":
        y[places] = updates
    else:
        functions[combine].at(y, places, updates)
    return y


def reversed_sequences(x, lengths, time_axis):
    """The first so many steps of each sequence in reverse order; x has time and batch as its first two axes."""
    x = x if time_axis == 0 else x.swapaxes(0, 1)
    steps = np.arange(x.shape[0])[:, np.newaxis]
    y = x[np.where(steps < lengths, lengths - 1 - steps, steps), np.arange(x.shape[1])]
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


def different(x, axis, in_order):
    """Elements, or slices along an axis, once each; the first place of each, which of them is where, and how often."""
    if axis is None:
        x, axis = x.reshape(-1), 0
    found = np.unique(x, return_index=True, return_inverse=True, return_counts=True, axis=axis)
    _, first, inverse, counts = found
    if not in_order:
        order = np.argsort(first)
        first, inverse, counts = first[order], np.argsort(order)[inverse.reshape(-1)], counts[order]
    return np.take(x, first, axis), first, inverse.reshape(-1), counts


def without_overlaps(boxes, scores, most, overlap, least, centred):
    """Of boxes that overlap, those with the highest scores: rows of batch, class and box."""
    one, other = boxes[..., :2], boxes[..., 2:]
    if centred:
        low, high = one - other / 2, one + other / 2
    else:
        low, high = np.minimum(one, other), np.maximum(one, other)
    areas, found = (high - low).prod(axis=2), []
    for batch, of in np.ndindex(*scores.shape[:2]):
        order = np.argsort(-scores[batch, of], kind="stable")
        if least is not None:
            order = order[scores[batch, of][order] > least]
        kept = []
        while len(order) and len(kept) < most:
            kept.append(order[0])
            sides = np.minimum(high[batch, order], high[batch, order[0]]) - np.maximum(
                low[batch, order], low[batch, order[0]]
            )
            shared = np.where((sides > 0).all(axis=1), sides.prod(axis=1), 0)
            union = areas[batch, order] + areas[batch, order[0]] - shared
            order = order[1:][~(shared > overlap * union)[1:]]
        found += [(batch, of, place) for place in kept]
    return np.array(found, np.int64).reshape(-1, 3)


def cumulative_sum(x, axis, exclusive, reverse):
    """The sum of everything up to each element."""
    x = np.flip(x, (axis,)) if reverse else x
    total = np.cumsum(x, axis=axis, dtype=x.dtype) - (x if exclusive else 0)
    return np.flip(total, (axis,)) if reverse else total


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
