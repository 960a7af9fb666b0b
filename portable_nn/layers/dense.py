"""The fully connected layer."""

from __future__ import annotations

from portable_nn.core.graph import format_shape
from portable_nn.core.numbers import Count
from portable_nn.layers.initializers import Initial
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol, emit

__all__ = ["Dense"]


class Dense(Layer):
    """A fully connected layer: y = x·Wᵀ + b over the last axis, PyTorch's ``Linear``.

    (batch, …, in) → (batch, …, units). The number of inputs is read from ``x``. Parameters: ``weight`` (units, in) and
    ``bias`` (units,).

    Args:
        units: the number of output features, PyTorch's ``out_features``.
        bias: whether b is added.
        weight_initial: the first values of W: the name of an initializer, a number, an array, or a function of a random
            generator and the shape (see ``portable_nn.layers.initializers``).
        bias_initial: the first values of b, likewise.
        name: the name of the node.

    Raises ``UsageError`` for ``units`` that is no positive whole number, and ``GraphError`` where the last size of the
    input is symbolic.

    >>> import portable_nn as pnn
    >>> net = pnn.Sequential(pnn.Input(784), pnn.Dense(200, name="hidden"), pnn.Sigmoid(), pnn.Dense(10))
    >>> net.parameters["hidden.weight"].shape
    (200, 784)
    """

    def __init__(
        self,
        units: Count,
        *,
        bias: bool = True,
        weight_initial: Initial = "glorot_uniform",
        bias_initial: Initial = "zeros",
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.units, self.bias = int(units), bias
        self.weight_initial, self.bias_initial = weight_initial, bias_initial

    def __call__(self, x: Symbol) -> Symbol:
        """(batch, …, in) → (batch, …, units)."""
        features = x.shape[-1] if len(x.shape) > 1 else None
        if not isinstance(features, int):
            raise self.invalid(f"it needs (batch, …, a known size), not {format_shape(x.shape)}")
        weight = self.parameter("weight", (self.units, features), x.dtype, self.weight_initial)
        bias = self.parameter("bias", (self.units,), x.dtype, self.bias_initial) if self.bias else None
        if len(x.shape) == 2:
            return self.emit("Gemm", x, weight, bias, transB=1)
        transposed = emit("Transpose", weight, perm=[1, 0])
        if bias is None:
            return self.emit("MatMul", x, transposed)
        return self.emit("Add", emit("MatMul", x, transposed), bias)
