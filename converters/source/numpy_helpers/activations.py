"""Functions of numbers: what goes in is checked, and activation functions."""

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


def divided(a, b):
    """A division of whole numbers, towards 0."""
    return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)
