"""Axes that are resized."""

import numpy as np


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
