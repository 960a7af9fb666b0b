"""Functions of a number, element by element: each is one expression, which ``write_c`` prints in C as well."""

import math

import numpy as np

from portable_nn.converters.array.helpers.activations import erf


def relu(x):
    """Negative numbers become 0, the others stay."""
    return np.maximum(x, 0)


def sigmoid(x):
    """1 / (1 + exp(-x)): from 0 to 1; written with tanh, which cannot overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def softplus(x):
    """log(1 + exp(x)): a smooth relu."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def elu(x, alpha=1.0):
    """x where it is positive, alpha * (exp(x) - 1), which is above -alpha, where it is negative."""
    return np.where(x > 0, x, alpha * np.expm1(np.where(x > 0, 0, x)))


def leaky_relu(x, slope):
    """Negative numbers are multiplied by a small slope, the others stay."""
    return np.where(x > 0, x, x * slope)


def hard_sigmoid(x, alpha, beta):
    """A straight line in place of the sigmoid, cut at 0 and 1."""
    return np.clip(x * alpha + beta, 0, 1)


def softsign(x):
    """From -1 to 1, like tanh, but flatter."""
    return x / (1 + np.abs(x))


def gelu(x):
    """x times the probability that a normally distributed number is smaller than x."""
    return x * (0.5 * (1 + erf(x * math.sqrt(0.5))))


def gelu_tanh(x):
    """gelu, with tanh in place of the error function."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
