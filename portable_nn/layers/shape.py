"""Builders that change shapes and join."""

from __future__ import annotations

from portable_nn.layers.layer import Layer, Operation
from portable_nn.operators import Symbol, emit, integers


def Flatten(*, name: str | None = None) -> Layer:
    """(batch, a, b, …) → (batch, a·b·…)."""
    return Operation("Flatten", "flatten", name, axis=1)


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
