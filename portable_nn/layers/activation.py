"""Builders of activation functions, most by the names that PyTorch gives them."""

from __future__ import annotations

import math

import numpy as np

from portable_nn.core.errors import Fault, GraphError, UsageError
from portable_nn.core.graph import format_shape
from portable_nn.layers.layer import Layer, Operation
from portable_nn.operators import Symbol, constant, emit, integers


def _number(builder: str, option: str, value: float) -> float:
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise UsageError(f"{builder}: {option} must be a finite number, not {value!r}")
    return float(value)


def ReLU(*, name: str | None = None) -> Layer:
    """max(x, 0)."""
    return Operation("Relu", "relu", name)


def LeakyReLU(alpha: float = 0.01, *, name: str | None = None) -> Layer:
    """x where it is positive, alpha·x elsewhere."""
    return Operation("LeakyRelu", "leaky_relu", name, alpha=_number("LeakyReLU", "alpha", alpha))


def ThresholdedReLU(alpha: float = 1.0, *, name: str | None = None) -> Layer:
    """x where it is above alpha, 0 elsewhere."""
    return Operation("ThresholdedRelu", "thresholded_relu", name, alpha=_number("ThresholdedReLU", "alpha", alpha))


def ELU(alpha: float = 1.0, *, name: str | None = None) -> Layer:
    """x where it is positive, alpha·(exp(x) - 1) elsewhere."""
    return Operation("Elu", "elu", name, alpha=_number("ELU", "alpha", alpha))


def SELU(*, name: str | None = None) -> Layer:
    """1.0507·x where x is positive, 1.7581·(exp(x) - 1) elsewhere: it keeps the mean at 0 and the variance at 1."""
    return Operation("Selu", "selu", name)


def CELU(alpha: float = 1.0, *, name: str | None = None) -> Layer:
    """x where it is positive, alpha·(exp(x / alpha) - 1) elsewhere; of float32, as the standard has it."""
    if _number("CELU", "alpha", alpha) == 0:
        raise UsageError("CELU: alpha must not be 0: x is divided by it")
    return Operation("Celu", "celu", name, alpha=float(alpha))


def GELU(approximate: str = "none", *, name: str | None = None) -> Layer:
    """x times the standard normal distribution function of x; with "tanh" an approximation of it."""
    if approximate not in {"none", "tanh"}:
        raise UsageError(f"GELU: approximate must be 'none' or 'tanh', not {approximate!r}")
    return Operation("Gelu", "gelu", name, approximate=approximate)


def Sigmoid(*, name: str | None = None) -> Layer:
    """1 / (1 + exp(-x))."""
    return Operation("Sigmoid", "sigmoid", name)


def Hardsigmoid(*, name: str | None = None) -> Layer:
    """x / 6 + 1/2, between 0 and 1."""
    return Operation("HardSigmoid", "hardsigmoid", name, alpha=1 / 6, beta=0.5)


def SiLU(*, name: str | None = None) -> Layer:
    """x / (1 + exp(-x))."""
    return Operation("Swish", "silu", name)


def Hardswish(*, name: str | None = None) -> Layer:
    """x times what ``Hardsigmoid`` makes of it."""
    return Operation("HardSwish", "hardswish", name)


def Mish(*, name: str | None = None) -> Layer:
    """x · tanh(log(1 + exp(x)))."""
    return Operation("Mish", "mish", name)


def Tanh(*, name: str | None = None) -> Layer:
    """The hyperbolic tangent."""
    return Operation("Tanh", "tanh", name)


def Softplus(*, name: str | None = None) -> Layer:
    """log(1 + exp(x))."""
    return Operation("Softplus", "softplus", name)


def Softsign(*, name: str | None = None) -> Layer:
    """x / (1 + |x|)."""
    return Operation("Softsign", "softsign", name)


def Softshrink(lambd: float = 0.5, *, name: str | None = None) -> Layer:
    """x moved by ``lambd`` towards 0; 0 for what is within ``lambd`` of it."""
    if _number("Softshrink", "lambd", lambd) < 0:
        raise UsageError(f"Softshrink: lambd must be at least 0, not {lambd:g}")
    return Operation("Shrink", "softshrink", name, lambd=float(lambd), bias=float(lambd))


def Hardshrink(lambd: float = 0.5, *, name: str | None = None) -> Layer:
    """x; 0 for what is within ``lambd`` of 0."""
    return Operation("Shrink", "hardshrink", name, lambd=_number("Hardshrink", "lambd", lambd))


class Clip(Layer):
    """x, but at least ``min`` and at most ``max``; where they cross, ``max``."""

    def __init__(self, min: float | None = None, max: float | None = None, *, name: str | None = None) -> None:
        super().__init__(name)
        self.bounds = [
            None if value is None else _number("Clip", option, value) for option, value in (("min", min), ("max", max))
        ]

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        bounds = (None if value is None else constant(value, x.dtype) for value in self.bounds)
        return emit("Clip", x, *bounds, name=self.node_name(), wish="clip")


def ReLU6(*, name: str | None = None) -> Layer:
    """min(max(x, 0), 6)."""
    return Clip(0, 6, name=name)


def Hardtanh(min_val: float = -1.0, max_val: float = 1.0, *, name: str | None = None) -> Layer:
    """min(max(x, min_val), max_val)."""
    return Clip(min_val, max_val, name=name)


class PReLU(Layer):
    """x where it is positive, weight·x elsewhere.

    The weight is learned: one for all, or with ``num_parameters`` one for each channel of (batch, channels, …). It
    begins with ``init``.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, name: str | None = None) -> None:
        super().__init__(name)
        if not isinstance(num_parameters, (int, np.integer)) or num_parameters < 1:
            raise UsageError(f"PReLU: num_parameters must be a positive whole number, not {num_parameters!r}")
        self.num_parameters, self.init = int(num_parameters), _number("PReLU", "init", init)

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape. Raises ``GraphError`` where there are more or fewer channels than weights."""
        count, rank = self.num_parameters, len(x.shape)
        if count > 1 and (rank < 2 or x.shape[1] != count):
            fault = f"its {count} weights need (batch, {count}, …), not {format_shape(x.shape)}"
            raise GraphError([Fault(f"'{self.name or 'prelu'}' (PReLU)", fault)])
        weight = self.parameter("weight", (count,), x.dtype, self.init)
        slope = emit("Reshape", weight, integers([count, *[1] * (rank - 2)])) if count > 1 and rank > 2 else weight
        result = emit("PRelu", x, slope, name=self.node_name(), wish="prelu")
        weight.owner = weight.owner or result
        return result


def Softmax(axis: int = -1, *, name: str | None = None) -> Layer:
    """exp(x) / Σ exp(x) along ``axis``."""
    return Operation("Softmax", "softmax", name, axis=axis)


def LogSoftmax(axis: int = -1, *, name: str | None = None) -> Layer:
    """x - log Σ exp(x) along ``axis``."""
    return Operation("LogSoftmax", "log_softmax", name, axis=axis)
