"""Builders of pools, with PyTorch's names, options and defaults."""

from __future__ import annotations

from typing import Any, ClassVar

from portable_nn.core.errors import UsageError
from portable_nn.layers.convolution import channels_of, described, spatial_attributes
from portable_nn.layers.layer import Layer, Operation
from portable_nn.operators import Symbol, emit
from portable_nn.sizes import pool
from portable_nn.sizes.operation import Padding, PerAxis


class _Pool(Layer):
    axes: ClassVar[int]
    operator: ClassVar[str]
    wish: ClassVar[str]

    def __init__(
        self,
        kernel: PerAxis,
        *,
        stride: PerAxis | None,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        ceil_mode: bool,
        name: str | None,
        **attributes: int,
    ) -> None:
        super().__init__(name)
        self.kind = type(self).__name__
        options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "ceil": ceil_mode}
        self.operation = described(self.kind, pool, self.axes, kernel, **options)
        self.attributes = {"ceil_mode": int(ceil_mode), **attributes}

    def __call__(self, x: Symbol) -> Symbol:
        """(batch, channels, …) → (batch, channels, …)."""
        channels_of(x, f"'{self.name or self.wish}' ({self.kind})", self.axes)
        own = {name: value for name, value in self.attributes.items() if value}
        attributes = {**spatial_attributes(self.operation, x.shape[2:]), **own}
        return emit(self.operator, x, name=self.node_name(), wish=self.wish, **attributes)


class _MaxPool(_Pool):
    operator, wish = "MaxPool", "max_pool"

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
        super().__init__(kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode, name=name)


class _AvgPool(_Pool):
    operator, wish = "AveragePool", "average_pool"

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
        counted = {"count_include_pad": int(count_include_pad)}
        super().__init__(kernel, stride=stride, padding=padding, ceil_mode=ceil_mode, name=name, **counted)


class _LPPool(_Pool):
    operator, wish = "LpPool", "lp_pool"

    def __init__(
        self,
        p: int,
        kernel: PerAxis,
        *,
        stride: PerAxis | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(kernel, stride=stride, padding=padding, ceil_mode=ceil_mode, name=name, p=_norm(self, p))


class MaxPool1d(_MaxPool):
    """The largest of each window over (batch, channels, width); ``stride`` is the kernel where none is given."""

    axes = 1


class MaxPool2d(_MaxPool):
    """The largest of each window over (batch, channels, height, width); options as ``MaxPool1d`` has them."""

    axes = 2


class MaxPool3d(_MaxPool):
    """The largest of each window over (batch, channels, depth, height, width)."""

    axes = 3


class AvgPool1d(_AvgPool):
    """The mean of each window over (batch, channels, width); zeros of the padding count, as PyTorch has it."""

    axes = 1


class AvgPool2d(_AvgPool):
    """The mean of each window over (batch, channels, height, width); options as ``AvgPool1d`` has them."""

    axes = 2


class AvgPool3d(_AvgPool):
    """The mean of each window over (batch, channels, depth, height, width)."""

    axes = 3


class LPPool1d(_LPPool):
    """(Σ |x|ᵖ) ** (1 / p) of each window over (batch, channels, width)."""

    axes = 1


class LPPool2d(_LPPool):
    """(Σ |x|ᵖ) ** (1 / p) of each window over (batch, channels, height, width)."""

    axes = 2


class LPPool3d(_LPPool):
    """(Σ |x|ᵖ) ** (1 / p) of each window over (batch, channels, depth, height, width)."""

    axes = 3


def GlobalAvgPool(*, name: str | None = None) -> Layer:
    """The mean of each channel: (batch, channels, …) → (batch, channels, 1, …)."""
    return Operation("GlobalAveragePool", "global_average_pool", name)


def GlobalMaxPool(*, name: str | None = None) -> Layer:
    """The largest of each channel: (batch, channels, …) → (batch, channels, 1, …)."""
    return Operation("GlobalMaxPool", "global_max_pool", name)


def GlobalLPPool(p: int = 2, *, name: str | None = None) -> Layer:
    """(Σ |x|ᵖ) ** (1 / p) of each channel: (batch, channels, …) → (batch, channels, 1, …)."""
    return Operation("GlobalLpPool", "global_lp_pool", name, p=_norm("GlobalLPPool", p))


def _norm(layer: object, p: int) -> int:
    kind = layer if isinstance(layer, str) else type(layer).__name__
    if type(p) is not int or p < 1:
        raise UsageError(f"{kind}: p must be a positive whole number, not {p!r}")
    return p
