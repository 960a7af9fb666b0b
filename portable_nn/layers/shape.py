"""Layers that change shapes and pad, and ``concatenate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard

from portable_nn.core.arguments import check_kinds, check_layer
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.numbers import NotNaN
from portable_nn.layers.layer import Layer, OperatorLayer
from portable_nn.operators import Symbol, constant, emit, integers

__all__ = ["Flatten", "Pad", "Reshape", "concatenate"]


@check_layer
def Flatten(*, name: str | None = None) -> Layer:
    """All axes but the batch as one: (batch, a, b, …) → (batch, a·b·…)."""
    return OperatorLayer("Flatten", "flatten", name, axis=1)


class Reshape(Layer):
    """The same elements, in the same order, in another shape: (batch, …) → (batch, \\*shape).

    Args:
        shape: the new sizes, without the batch; one of them may be -1, and follows from the others.
        name: the name of the node.

    Calling the layer raises ``GraphError`` where the sizes do not give as many elements.
    """

    def __init__(self, *shape: int, name: str | None = None) -> None:
        super().__init__(name)
        self.shape = shape

    def __call__(self, x: Symbol) -> Symbol:
        """(batch, …) → (batch, \\*shape)."""
        return self.emit("Reshape", x, integers([0, *self.shape]))


_PAD_MODES: Final[Mapping[str, str]] = {
    "constant": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
}
"""PyTorch's names of the modes of Pad, and the standard's."""


class Pad(Layer):
    """Add cells around the axes after the channels of (batch, channels, …); negative numbers cut cells off.

    Args:
        padding: one number for both ends of all these axes; or numbers in PyTorch's order, which is (left, right, top,
            bottom, …), the last axis first; or a pair (begin, end) for each axis in the order of the shape.
        mode: what is in the new cells: ``constant`` (``value``), ``reflect`` (the image mirrored at the edge cell),
            ``replicate`` (the edge cell) or ``circular`` (the image from its other end).
        value: what is in the new cells with mode ``constant``.
        name: the name of the node.

    Raises ``UsageError`` for options that make no sense, and ``GraphError`` where the input has fewer axes than
    ``padding``.

    >>> import portable_nn as pnn
    >>> pnn.Pad((1, 2, 0, 0))(pnn.Input(3, 10, 10)).shape
    ('batch', 3, 10, 13)
    """

    def __init__(
        self,
        padding: int | Sequence[int] | Sequence[tuple[int, int]],
        mode: str = "constant",
        value: NotNaN = 0.0,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.padding = _pairs(padding)
        if mode not in _PAD_MODES:
            raise UsageError(f"Pad: mode must be one of {', '.join(_PAD_MODES)}, not {mode!r}")
        if value and mode != "constant":
            raise UsageError(f"Pad: value goes with mode constant, not with {mode}")
        self.mode, self.value = mode, value

    def __call__(self, x: Symbol) -> Symbol:
        """(batch, channels, …) → (batch, channels, …)."""
        spatial = len(x.shape) - 2
        pairs = self.padding if isinstance(self.padding, list) else [(self.padding, self.padding)] * spatial
        if spatial < 1 or len(pairs) > spatial:
            axes = "…" if len(pairs) < 2 else f"{len(pairs)} axes"
            raise self.invalid(f"it needs (batch, channels, {axes}), not {format_shape(x.shape)}")
        pairs = [(0, 0)] * (len(x.shape) - len(pairs)) + pairs
        pads = integers(cells for side in zip(*pairs, strict=True) for cells in side)
        value = constant(self.value, x.dtype) if self.value else None
        mode = None if self.mode == "constant" else _PAD_MODES[self.mode]
        return self.emit("Pad", x, pads, value, mode=mode)


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _pairs(padding: object) -> int | list[tuple[int, int]]:
    """``padding`` as one number, or as pairs (begin, end) of the last axes in their own order."""
    if type(padding) is int:
        return padding
    if _is_list(padding) and padding:
        if all(type(item) is int for item in padding) and len(padding) % 2 == 0:
            return list(zip(padding[-2::-2], padding[::-2], strict=True))
        pairs = [tuple(item) for item in padding if _is_list(item)]
        if len(pairs) == len(padding) and all([type(cells) for cells in pair] == [int, int] for pair in pairs):
            return [(begin, end) for begin, end in pairs]
    raise UsageError(
        "Pad: padding must be a whole number, an even number of them (left, right, top, bottom, …), or a pair "
        f"(begin, end) for each axis, not {padding!r}"
    )


@check_kinds
def concatenate(*values: Symbol, axis: int = 1, name: str | None = None) -> Symbol:
    """Join values along an axis.

    Args:
        values: the symbols; their sizes along all other axes are the same.
        axis: the axis, by default that of the channels or features.
        name: the name of the node.

    Raises ``GraphError`` where the shapes do not fit.

    >>> import portable_nn as pnn
    >>> pnn.concatenate(pnn.Input(3, name="a"), pnn.Input(4, name="b")).shape
    ('batch', 7)
    """
    return emit("Concat", *values, axis=axis, name=name, stem="concat")
