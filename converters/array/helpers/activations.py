"""What goes in is checked; functions along an axis, and what numpy lacks."""

import math

import numpy as np


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


def erf(x):
    """The error function, number by number: numpy has none, Python's math has."""
    return np.array([math.erf(each) for each in np.ravel(x)], x.dtype).reshape(x.shape)


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


def log_sum_exp(x, axis, keepdims=False):
    """The logarithm of the sum of exp(x); the largest is taken off first, so that exp cannot overflow."""
    highest = x.max(axis=axis, keepdims=True)
    highest = np.where(np.isfinite(highest), highest, 0)
    found = np.log(np.exp(x - highest).sum(axis=axis, keepdims=True)) + highest
    return found if keepdims else found.squeeze(axis)


def divided(a, b):
    """A division of whole numbers, towards 0."""
    return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)


def negative_log_likelihood(scores, labels, weights, ignored, reduction):
    """How unlikely the labels are by the logarithms of probabilities (batch, classes, ...), of all but ignored ones."""
    counts = np.ones(labels.shape, np.bool_) if ignored is None else labels != ignored
    classes = np.where(counts, labels, 0)
    share = counts * (np.ones(labels.shape, scores.dtype) if weights is None else weights[classes])
    each = -np.take_along_axis(scores, classes[:, np.newaxis], 1)[:, 0]
    found = np.where(counts, each * share, 0)
    if reduction == "none":
        return found
    return found.sum() if reduction == "sum" else found.sum() / share.sum()


def cross_entropy(scores, labels, weights, ignored, reduction):
    """negative_log_likelihood of scores (batch, classes, ...) by log_softmax, and what that is."""
    logarithms = log_softmax(scores, 1)
    return negative_log_likelihood(logarithms, labels, weights, ignored, reduction), logarithms
