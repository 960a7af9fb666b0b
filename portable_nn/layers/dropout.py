"""Dropout."""

from __future__ import annotations

from portable_nn.core.numbers import BelowOne
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol, constant

__all__ = ["Dropout"]


class Dropout(Layer):
    """While training, each element becomes 0 with probability ``ratio``; the others are multiplied by 1 / (1 - ratio).

    The shape stays the same. ``predict`` and exported models leave the input as it is. Source: Srivastava et al.,
    "Dropout: a simple way to prevent neural networks from overfitting" (2014).

    Args:
        ratio: the probability, PyTorch's ``p``, from 0 to less than 1.
        name: the name of the node.

    Raises ``UsageError`` for any other ``ratio``.
    """

    def __init__(self, ratio: BelowOne = 0.5, *, name: str | None = None) -> None:
        super().__init__(name)
        self.ratio = ratio

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        return self.emit("Dropout", x, constant(self.ratio, "float32"))
