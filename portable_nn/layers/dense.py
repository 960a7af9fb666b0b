"""The builder of layers in which everything is connected to everything."""

from __future__ import annotations

from typing import Any

import numpy as np

from portable_nn.core.errors import Fault, GraphError, UsageError
from portable_nn.core.graph import format_shape
from portable_nn.layers.initializers import Initial
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol, emit


class Dense(Layer):
    """y = x·Wᵀ + b over the last axis: (batch, …, in) → (batch, …, units); W is (units, in), b is (units,)."""

    def __init__(
        self,
        units: int,
        *,
        bias: bool = True,
        weight_initial: Initial = "glorot_uniform",
        bias_initial: Initial = "zeros",
        name: str | None = None,
    ) -> None:
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
