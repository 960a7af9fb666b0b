"""Builders of normalisations, with PyTorch's options and parameters."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Final

import numpy as np

from portable_nn.core.dims import static
from portable_nn.core.errors import Fault, GraphError, UsageError
from portable_nn.core.graph import format_shape
from portable_nn.layers.layer import Layer, Operation
from portable_nn.operators import Symbol, constant, emit, emit_all, integers

ANY: Final = 65
"""The first number of dimensions that no array of numpy has."""


class _Normalization(Layer):
    wish: ClassVar[str]

    def __init__(self, *, eps: float | None, affine: bool, name: str | None) -> None:
        super().__init__(name)
        self.kind = type(self).__name__
        if eps is not None and not 0 <= eps < math.inf:
            raise UsageError(f"{self.kind}: eps must be 0 or more, not {eps!r}")
        self.eps, self.affine = eps, affine

    def misfit(self, wanted: str, x: Symbol) -> GraphError:
        """The error of an input that is not what is wanted."""
        return GraphError(
            [Fault(f"'{self.name or self.wish}' ({self.kind})", f"it needs {wanted}, not {format_shape(x.shape)}")]
        )

    def scale(self, x: Symbol, shape: tuple[int, ...]) -> Symbol:
        """The weight, first 1; the constant 1 where there is none."""
        return self.parameter("weight", shape, x.dtype, "ones") if self.affine else _filled(1, shape, x)

    def shift(self, x: Symbol, shape: tuple[int, ...]) -> Symbol:
        """The bias, first 0; the constant 0 where there is none."""
        return self.parameter("bias", shape, x.dtype, "zeros") if self.affine else _filled(0, shape, x)

    def emit(self, operator: str, *inputs: Symbol, outputs: int = 1, **attributes: Any) -> Symbol:
        """The first output of the layer's node."""
        options: dict[str, Any] = {"epsilon": self.eps, **attributes}
        return emit_all(operator, *inputs, outputs=outputs, name=self.node_name(), wish=self.wish, **options)[0]


def _filled(value: float, shape: tuple[int, ...], x: Symbol) -> Symbol:
    return emit("Expand", constant(value, x.dtype), integers(shape))


class _OfChannels(_Normalization):
    form: ClassVar[str]
    ranks: ClassVar[range]

    def channels(self, x: Symbol) -> int:
        """The channels of ``x``; raises ``GraphError`` where it is of another form."""
        found = x.shape[1] if len(x.shape) in self.ranks else None
        if not isinstance(found, int):
            raise self.misfit(f"{self.form} with known channels", x)
        return found


class _BatchNorm(_OfChannels):
    wish = "batch_norm"

    def __init__(
        self,
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(eps=eps, affine=affine, name=name)
        if not 0 <= momentum <= 1:
            raise UsageError(f"{self.kind}: momentum must be from 0 to 1, not {momentum!r}")
        self.momentum, self.track_running_stats = momentum, track_running_stats

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        shape = (self.channels(x),)
        inputs = [x, self.scale(x, shape), self.shift(x, shape)]
        if not self.track_running_stats:
            unused = [_filled(0, shape, x), _filled(1, shape, x)]
            return self.emit("BatchNormalization", *inputs, *unused, outputs=3, training_mode=1)
        mean = self.parameter("running_mean", shape, x.dtype, "zeros", trainable=False)
        variance = self.parameter("running_var", shape, x.dtype, "ones", trainable=False)
        # ONNX has the share of the old statistic for what PyTorch has the share of the new one.
        return self.emit("BatchNormalization", *inputs, mean, variance, momentum=1 - self.momentum)


class BatchNorm1d(_BatchNorm):
    """Each channel of (batch, channels) or (batch, channels, width) less its mean, by its standard deviation.

    While training, these are the mean and the variance of the batch, in which a channel must have two values at least,
    and ``running_mean`` and ``running_var`` are moved towards them by the share ``momentum``; afterwards those are
    used, or, without ``track_running_stats``, still those of the batch. Then ``weight`` and ``bias`` scale and shift
    each channel, where it is ``affine``.

    ``running_var`` follows the variance Σ(x - mean)² / n, as ONNX has it; PyTorch's follows Σ(x - mean)² / (n - 1).
    """

    form, ranks = "(batch, channels) or (batch, channels, width)", range(2, 4)


class BatchNorm2d(_BatchNorm):
    """As ``BatchNorm1d``, for (batch, channels, height, width)."""

    form, ranks = "(batch, channels, height, width)", range(4, 5)


class BatchNorm3d(_BatchNorm):
    """As ``BatchNorm1d``, for (batch, channels, depth, height, width)."""

    form, ranks = "(batch, channels, depth, height, width)", range(5, 6)


class InstanceNorm(_OfChannels):
    """Each channel of each example of (batch, channels, size, …) less its mean, by its standard deviation.

    Then ``weight`` and ``bias``, (channels,), scale and shift it, where it is ``affine``.
    """

    wish, form, ranks = "instance_norm", "(batch, channels, size, …)", range(3, ANY)

    def __init__(self, *, eps: float = 1e-5, affine: bool = False, name: str | None = None) -> None:
        super().__init__(eps=eps, affine=affine, name=name)

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        shape = (self.channels(x),)
        return self.emit("InstanceNormalization", x, self.scale(x, shape), self.shift(x, shape))


class GroupNorm(_OfChannels):
    """Each of ``groups`` groups of channels of each example less its mean, by its standard deviation.

    Then ``weight`` and ``bias``, (channels,), scale and shift each channel, where it is ``affine``.
    """

    wish, form, ranks = "group_norm", "(batch, channels, …)", range(2, ANY)

    def __init__(self, groups: int, *, eps: float = 1e-5, affine: bool = True, name: str | None = None) -> None:
        super().__init__(eps=eps, affine=affine, name=name)
        if type(groups) is not int or groups < 1:
            raise UsageError(f"GroupNorm: groups must be a positive whole number, not {groups!r}")
        self.groups = groups

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        shape = (self.channels(x),)
        if shape[0] % self.groups:
            raise self.misfit(f"a number of channels that {self.groups} groups can share equally", x)
        inputs = x, self.scale(x, shape), self.shift(x, shape)
        return self.emit("GroupNormalization", *inputs, num_groups=self.groups)


class _OfLastAxes(_Normalization):
    def __init__(self, axis: int, *, eps: float | None, affine: bool, name: str | None) -> None:
        super().__init__(eps=eps, affine=affine, name=name)
        if type(axis) is not int:
            raise UsageError(f"{self.kind}: axis must be a whole number, not {axis!r}")
        self.axis = axis

    def sizes(self, x: Symbol) -> tuple[int, ...]:
        """The sizes from the first normalised axis on."""
        found = static(x.shape[self.axis :])
        if not found:
            raise self.misfit(f"known sizes from axis {self.axis} on", x)
        return found


class LayerNorm(_OfLastAxes):
    """What lies along the axes from ``axis`` on less its mean, by its standard deviation.

    Then ``weight`` and ``bias``, of the sizes of those axes, scale and shift it, where it is ``affine``; without
    ``bias`` it is only scaled.
    """

    wish = "layer_norm"

    def __init__(
        self, axis: int = -1, *, eps: float = 1e-5, affine: bool = True, bias: bool = True, name: str | None = None
    ) -> None:
        super().__init__(axis, eps=eps, affine=affine, name=name)
        self.bias = bias

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        shape = self.sizes(x)
        shift = [self.shift(x, shape)] if self.affine and self.bias else []
        return self.emit("LayerNormalization", x, self.scale(x, shape), *shift, axis=self.axis)


class RMSNorm(_OfLastAxes):
    """What lies along the axes from ``axis`` on, by the root of the mean of its squares.

    Then ``weight``, of the sizes of those axes, scales it, where it is ``affine``. Without ``eps``, the mean has the
    machine epsilon of the element type added to it.
    """

    wish = "rms_norm"

    def __init__(
        self, axis: int = -1, *, eps: float | None = None, affine: bool = True, name: str | None = None
    ) -> None:
        super().__init__(axis, eps=eps, affine=affine, name=name)

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        eps = float(np.finfo(x.dtype).eps) if self.eps is None else self.eps
        return self.emit("RMSNormalization", x, self.scale(x, self.sizes(x)), axis=self.axis, epsilon=eps)


def LocalResponseNorm(
    size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, name: str | None = None
) -> Layer:
    """x · (k + alpha / size · Σ x²) ** -beta, summed over a window of ``size`` channels around each.

    Where ``size`` is even, the window reaches one channel further forward than back; PyTorch's reaches further back.
    """
    if type(size) is not int or size < 1:
        raise UsageError(f"LocalResponseNorm: size must be a positive whole number, not {size!r}")
    return Operation("LRN", "local_response_norm", name, size=size, alpha=alpha, beta=beta, bias=k)
