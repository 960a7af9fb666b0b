"""Builders: each adds nodes, and the parameters they need, to a graph in the making.

A builder is called on a symbol and gives a symbol. Called twice, it uses the same parameters twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from portable_nn.errors import Fault, GraphError, UsageError
from portable_nn.graph import Dim, format_shape
from portable_nn.initializers import Initial
from portable_nn.operators import Leaf, Symbol, constant, emit, emit_all, integers
from portable_nn.operators.registry import DTYPE_CODES


def Input(*shape: Dim, name: str | None = None, dtype: str = "float32", batch: Dim = "batch") -> Leaf:
    """What enters a network: one example has ``shape``; the examples of a batch stand along a first axis."""
    for dim in shape:
        if not isinstance(dim, (int, str)) or isinstance(dim, bool) or (isinstance(dim, int) and dim < 1):
            raise UsageError(f"Input: a size must be a positive whole number or a name, not {dim!r}")
    if dtype not in DTYPE_CODES:
        raise UsageError(f"Input: dtype must be one of {', '.join(DTYPE_CODES)}, not {dtype!r}")
    return Leaf(name, dtype, (batch, *shape))


class Layer(ABC):
    """A builder: from a symbol to a symbol."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self._uses = 0
        self._parameters: dict[str, Leaf] = {}

    @abstractmethod
    def __call__(self, x: Symbol) -> Symbol:
        """The layer's output for ``x``."""

    def node_name(self) -> str | None:
        """The layer's own name for the node in the making; numbered from the second use on."""
        self._uses += 1
        return self.name if self._uses == 1 or self.name is None else f"{self.name}_{self._uses}"

    def parameter(self, role: str, shape: tuple[int, ...], dtype: str, initial: Initial) -> Leaf:
        """The layer's own parameter; made the first time, the same afterwards."""
        if role not in self._parameters:
            name = f"{self.name}.{role}" if self.name else None
            self._parameters[role] = Leaf(name, dtype, shape, wish=role, parameter=True, initial=initial)
        return self._parameters[role]


class Dense(Layer):
    """y = x·Wᵀ + b over the last axis: (batch, …, in) → (batch, …, units); W is (units, in), b is (units,)."""

    def __init__(
        self, units: int, *, bias: bool = True, weight_initial: Initial = "glorot_uniform",
        bias_initial: Initial = "zeros", name: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name)
        if not isinstance(units, (int, np.integer)) or units < 1:
            raise UsageError(f"Dense: units must be a positive whole number, not {units!r}")
        self.units, self.bias = int(units), bias
        self.weight_initial, self.bias_initial = weight_initial, bias_initial

    def __call__(self, x: Symbol) -> Symbol:
        """(batch, …, in) → (batch, …, units)."""
        features = x.shape[-1] if len(x.shape) > 1 else None
        if not isinstance(features, int):
            label = f"'{self.name or 'dense'}' (Dense)"
            raise GraphError([Fault(label, f"it needs (batch, …, a known size), not {format_shape(x.shape)}")])
        weight = self.parameter("weight", (self.units, features), x.dtype, self.weight_initial)
        bias = self.parameter("bias", (self.units,), x.dtype, self.bias_initial) if self.bias else None
        named: dict[str, Any] = {"name": self.node_name(), "wish": "dense"}
        if len(x.shape) == 2:
            return emit("Gemm", x, weight, bias, transB=1, **named)
        transposed = emit("Transpose", weight, perm=[1, 0])
        result = emit("MatMul", x, transposed, **({} if bias else named))
        if bias:
            result = emit("Add", result, bias, **named)
        for leaf in self._parameters.values():
            leaf.owner = leaf.owner or result
        return result


class Operation(Layer):
    """One node without parameters, such as an activation."""

    def __init__(self, operator: str, wish: str, name: str | None = None, **attributes: Any) -> None:
        super().__init__(name)
        self.operator, self.wish, self.attributes = operator, wish, attributes

    def __call__(self, x: Symbol) -> Symbol:
        """The operator applied to ``x``."""
        return emit(self.operator, x, name=self.node_name(), wish=self.wish, **self.attributes)


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


def Flatten(*, name: str | None = None) -> Layer:
    """(batch, a, b, …) → (batch, a·b·…)."""
    return Operation("Flatten", "flatten", name, axis=1)


class Dropout(Layer):
    """While training, zero a share ``ratio`` of the elements and scale the others by 1 / (1 - ratio)."""

    def __init__(self, ratio: float = 0.5, *, name: str | None = None) -> None:
        super().__init__(name)
        if not 0 <= ratio < 1:
            raise UsageError(f"Dropout: ratio must be from 0 to less than 1, not {ratio}")
        self.ratio = ratio

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        return emit_all("Dropout", x, constant(self.ratio, "float32"), name=self.node_name(), wish="dropout")[0]


class Reshape(Layer):
    """(batch, …) → (batch, \\*shape); one size may be -1."""

    def __init__(self, *shape: int, name: str | None = None) -> None:
        super().__init__(name)
        self.shape = shape

    def __call__(self, x: Symbol) -> Symbol:
        """The same elements in the new shape."""
        return emit("Reshape", x, integers([0, *self.shape]), name=self.node_name(), wish="reshape")


def concatenate(*values: Symbol, axis: int = 1, name: str | None = None) -> Symbol:
    """Join symbols along ``axis``."""
    return emit("Concat", *values, axis=axis, name=name, wish="concat")
