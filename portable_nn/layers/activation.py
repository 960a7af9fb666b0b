"""Builders of activation functions."""

from __future__ import annotations

from portable_nn.layers.layer import Layer, Operation


def ReLU(*, name: str | None = None) -> Layer:
    """max(x, 0)."""
    return Operation("Relu", "relu", name)


def LeakyReLU(alpha: float = 0.01, *, name: str | None = None) -> Layer:
    """x where it is positive, alpha·x elsewhere."""
    return Operation("LeakyRelu", "leaky_relu", name, alpha=alpha)


def Sigmoid(*, name: str | None = None) -> Layer:
    """1 / (1 + exp(-x))."""
    return Operation("Sigmoid", "sigmoid", name)


def Tanh(*, name: str | None = None) -> Layer:
    """The hyperbolic tangent."""
    return Operation("Tanh", "tanh", name)


def Softplus(*, name: str | None = None) -> Layer:
    """log(1 + exp(x))."""
    return Operation("Softplus", "softplus", name)


def Softmax(axis: int = -1, *, name: str | None = None) -> Layer:
    """exp(x) / Σ exp(x) along ``axis``."""
    return Operation("Softmax", "softmax", name, axis=axis)


def LogSoftmax(axis: int = -1, *, name: str | None = None) -> Layer:
    """x - log Σ exp(x) along ``axis``."""
    return Operation("LogSoftmax", "log_softmax", name, axis=axis)
