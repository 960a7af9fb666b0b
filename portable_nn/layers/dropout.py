"""The builder of dropout."""

from __future__ import annotations

from portable_nn.core.errors import UsageError
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol, constant, emit_all


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
