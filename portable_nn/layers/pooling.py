"""Pools, with PyTorch's defaults. They have no parameters and keep the channels.

new size = ⌊(size + padding - dilation·(kernel - 1) - 1) / stride⌋ + 1 along each axis, where padding is that of both
ends; with ``ceil_mode`` it is rounded up.
"""

from __future__ import annotations

from typing import Any, ClassVar

from portable_nn.core.arguments import check_layer
from portable_nn.core.numbers import Count
from portable_nn.layers.convolution import channels_of, described, spatial_attributes
from portable_nn.layers.layer import Layer, OperatorLayer
from portable_nn.operators import Symbol
from portable_nn.sizes import pool
from portable_nn.sizes.operation import Padding, PerAxis

__all__ = [
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "GlobalAvgPool",
    "GlobalLPPool",
    "GlobalMaxPool",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
]


class _Pool(Layer):
    axes: ClassVar[int]
    operator: ClassVar[str]

    def _set(self, stem: str, name: str | None, kernel: PerAxis, options: dict[str, Any], **attributes: int) -> None:
        super().__init__(name, stem)
        self.operation = described(type(self).__name__, pool, self.axes, kernel, **options)
        self.attributes = {"ceil_mode": int(options["ceil"]), **attributes}

    def __call__(self, x: Symbol) -> Symbol:
        """(batch, channels, …) → (batch, channels, …)."""
        channels_of(self, x, self.axes)
        own = {name: value for name, value in self.attributes.items() if value}
        return self.emit(self.operator, x, **{**spatial_attributes(self.operation, x.shape[2:]), **own})


class _MaxPool(_Pool):
    operator = "MaxPool"

    def __init__(
        self,
        kernel: PerAxis,
        *,
        stride: PerAxis | None = None,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        ceil_mode: bool = False,
        name: str | None = None,
    ) -> None:
        """Make the layer.

        Args:
            kernel: the size of the window, PyTorch's ``kernel_size``: one number for every axis, or one for each.
            stride: the step from one window to the next: one number, or one for each axis; by default the kernel.
            padding: cells around the input, which are never the largest: one number, one for each axis, or a pair
                (begin, end) for each axis, at most half the kernel; ``"valid"`` for none, ``"same"`` for an output of
                ⌈size / stride⌉.
            dilation: the distance between the window's cells: one number, or one for each axis.
            ceil_mode: round the new size up, so that the last window may reach over the edge.
            name: the name of the node.

        Raises ``UsageError`` for an option that makes no sense. Calling the layer raises ``GraphError`` where the input
        has another rank or its channels are not known.
        """
        options = {"stride": stride, "padding": padding, "dilation": dilation, "ceil": ceil_mode}
        self._set("max_pool", name, kernel, options)


class _AvgPool(_Pool):
    operator = "AveragePool"

    def __init__(
        self,
        kernel: PerAxis,
        *,
        stride: PerAxis | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        name: str | None = None,
    ) -> None:
        """Make the layer.

        Args:
            kernel: the size of the window, PyTorch's ``kernel_size``: one number for every axis, or one for each.
            stride: the step from one window to the next: one number, or one for each axis; by default the kernel.
            padding: zeros around the input: one number, one for each axis, or a pair (begin, end) for each axis, at
                most half the kernel; ``"valid"`` for none, ``"same"`` for an output of ⌈size / stride⌉.
            ceil_mode: round the new size up, so that the last window may reach over the edge.
            count_include_pad: whether the zeros of the padding count in the mean.
            name: the name of the node.

        Raises ``UsageError`` for an option that makes no sense. Calling the layer raises ``GraphError`` where the input
        has another rank or its channels are not known.
        """
        options = {"stride": stride, "padding": padding, "ceil": ceil_mode}
        self._set("average_pool", name, kernel, options, count_include_pad=int(count_include_pad))


class _LPPool(_Pool):
    operator = "LpPool"

    def __init__(
        self,
        p: Count,
        kernel: PerAxis,
        *,
        stride: PerAxis | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        name: str | None = None,
    ) -> None:
        """Make the layer.

        Args:
            p: the order of the norm, PyTorch's ``norm_type``: a positive whole number.
            kernel: the size of the window, PyTorch's ``kernel_size``: one number for every axis, or one for each.
            stride: the step from one window to the next: one number, or one for each axis; by default the kernel.
            padding: zeros around the input: one number, one for each axis, or a pair (begin, end) for each axis, at
                most half the kernel; ``"valid"`` for none, ``"same"`` for an output of ⌈size / stride⌉.
            ceil_mode: round the new size up, so that the last window may reach over the edge.
            name: the name of the node.

        Raises ``UsageError`` for an option that makes no sense. Calling the layer raises ``GraphError`` where the input
        has another rank or its channels are not known.
        """
        options = {"stride": stride, "padding": padding, "ceil": ceil_mode}
        self._set("lp_pool", name, kernel, options, p=int(p))


class MaxPool1d(_MaxPool):
    """The maximum of each window: (batch, channels, width) → (batch, channels, new width)."""

    axes = 1


class MaxPool2d(_MaxPool):
    """The maximum of each window: (batch, channels, height, width) → (batch, channels, new height, new width).

    >>> import portable_nn as pnn
    >>> pnn.MaxPool2d(2)(pnn.Input(16, 28, 28)).shape
    ('batch', 16, 14, 14)
    """

    axes = 2


class MaxPool3d(_MaxPool):
    """The maximum of each window: (batch, channels, depth, height, width) → (batch, channels, …)."""

    axes = 3


class AvgPool1d(_AvgPool):
    """The mean of each window: (batch, channels, width) → (batch, channels, new width)."""

    axes = 1


class AvgPool2d(_AvgPool):
    """The mean of each window: (batch, channels, height, width) → (batch, channels, new height, new width)."""

    axes = 2


class AvgPool3d(_AvgPool):
    """The mean of each window: (batch, channels, depth, height, width) → (batch, channels, …)."""

    axes = 3


class LPPool1d(_LPPool):
    """The p-norm of each window, (Σ |x|ᵖ) ** (1 / p): (batch, channels, width) → (batch, channels, new width)."""

    axes = 1


class LPPool2d(_LPPool):
    """The p-norm of each window, (Σ |x|ᵖ) ** (1 / p).

    (batch, channels, height, width) → (batch, channels, new height, new width).
    """

    axes = 2


class LPPool3d(_LPPool):
    """The p-norm of each window, (Σ |x|ᵖ) ** (1 / p).

    (batch, channels, depth, height, width) → (batch, channels, …).
    """

    axes = 3


@check_layer
def GlobalAvgPool(*, name: str | None = None) -> Layer:
    """The mean of each channel: (batch, channels, …) → (batch, channels, 1, …)."""
    return OperatorLayer("GlobalAveragePool", "global_average_pool", name)


@check_layer
def GlobalMaxPool(*, name: str | None = None) -> Layer:
    """The maximum of each channel: (batch, channels, …) → (batch, channels, 1, …)."""
    return OperatorLayer("GlobalMaxPool", "global_max_pool", name)


@check_layer
def GlobalLPPool(p: Count = 2, *, name: str | None = None) -> Layer:
    """The p-norm of each channel, (Σ |x|ᵖ) ** (1 / p): (batch, channels, …) → (batch, channels, 1, …).

    Args:
        p: the order of the norm: a positive whole number.
        name: the name of the node.

    Raises ``UsageError`` for any other ``p``.
    """
    return OperatorLayer("GlobalLpPool", "global_lp_pool", name, p=int(p))
