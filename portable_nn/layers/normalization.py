"""Normalisations, with PyTorch's parameters. They keep the shape.

Most subtract a mean and divide by a standard deviation, y = (x - mean) / √(variance + eps), and then scale and shift by
trained parameters: y · weight + bias. They differ in what the mean and the variance are taken over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import numpy as np

from portable_nn.core.dims import static
from portable_nn.core.errors import GraphError, UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.numbers import Count, Finite, NonNegative, Positive, Share
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol, constant, emit, integers
from portable_nn.operators.normalization.lrn import response_factor

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "LocalResponseNorm",
    "RMSNorm",
]

ANY: Final = 65
"""The first number of dimensions that no array of numpy has."""


class _Normalization(Layer):
    def __init__(self, stem: str, *, eps: float | None, affine: bool, name: str | None) -> None:
        super().__init__(name, stem)
        self.kind = type(self).__name__
        self.eps, self.affine = eps, affine

    def needs(self, wanted: str, x: Symbol) -> GraphError:
        """The error for an input that is not what is wanted."""
        return self.invalid(f"it needs {wanted}, not {format_shape(x.shape)}")

    def scale(self, x: Symbol, shape: tuple[int, ...]) -> Symbol:
        """The weight, first 1; the constant 1 where there is none."""
        return self.parameter("weight", shape, x.dtype, "ones") if self.affine else _filled(1, shape, x)

    def shift(self, x: Symbol, shape: tuple[int, ...]) -> Symbol:
        """The bias, first 0; the constant 0 where there is none."""
        return self.parameter("bias", shape, x.dtype, "zeros") if self.affine else _filled(0, shape, x)

    def normalised(self, operator: str, *inputs: Symbol, outputs: int = 1, **attributes: Any) -> Symbol:
        """The layer's node, with its ``eps``."""
        options: dict[str, Any] = {"epsilon": self.eps, **attributes}
        return self.emit(operator, *inputs, outputs=outputs, **options)


def _filled(value: float, shape: tuple[int, ...], x: Symbol) -> Symbol:
    return emit("Expand", constant(value, x.dtype), integers(shape))


class _OfChannels(_Normalization):
    form: ClassVar[str]
    ranks: ClassVar[range]

    def channels(self, x: Symbol) -> int:
        """The channels of ``x``. Raises ``GraphError`` where it is of another form."""
        found = x.shape[1] if len(x.shape) in self.ranks else None
        if not isinstance(found, int):
            raise self.needs(f"{self.form} with known channels", x)
        return found


class _BatchNorm(_OfChannels):
    def __init__(
        self,
        *,
        eps: NonNegative = 1e-5,
        momentum: Share = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        name: str | None = None,
    ) -> None:
        """Make the layer.

        Args:
            eps: added to the variance.
            momentum: the share of the batch's statistics in the new running ones, from 0 to 1: running = (1 - momentum)
                · running + momentum · batch. This is PyTorch's momentum; ONNX and Keras have 1 - momentum.
            affine: whether there are a weight and a bias.
            track_running_stats: whether there are running statistics, which ``predict`` uses; without them it uses the
                statistics of the batch that it is given: of a single value in each channel the result is the bias.
            name: the name of the node.

        Raises ``UsageError`` for an option that makes no sense. Calling the layer raises ``GraphError`` where the input
        has another rank or its channels are not known.
        """
        super().__init__("batch_norm", eps=eps, affine=affine, name=name)
        self.momentum, self.track_running_stats = momentum, track_running_stats

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        shape = (self.channels(x),)
        inputs = [x, self.scale(x, shape), self.shift(x, shape)]
        if not self.track_running_stats:
            unused = [_filled(0, shape, x), _filled(1, shape, x)]
            return self.normalised("BatchNormalization", *inputs, *unused, outputs=3, training_mode=1)
        mean = self.parameter("running_mean", shape, x.dtype, "zeros", trainable=False)
        variance = self.parameter("running_var", shape, x.dtype, "ones", trainable=False)
        # ONNX has the share of the old statistic for what PyTorch has the share of the new one.
        return self.normalised("BatchNormalization", *inputs, mean, variance, momentum=1 - self.momentum)


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (batch, channels) or (batch, channels, width): each channel over the batch and the width.

    While training, the mean and the variance are those of the batch, in which each channel must have at least two
    values, and the running ones follow them; afterwards the running ones are used. Parameters, each (channels,):
    ``weight``, ``bias``, ``running_mean`` and ``running_var``, which is Σ(x - mean)² / n as in ONNX; PyTorch's is
    Σ(x - mean)² / (n - 1). Source: Ioffe and Szegedy (2015), arXiv:1502.03167.
    """

    form, ranks = "(batch, channels) or (batch, channels, width)", range(2, 4)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (batch, channels, height, width): each channel over all the other axes.

    While training, the mean and the variance are those of the batch, and the running ones follow them; afterwards the
    running ones are used. Parameters, each (channels,): ``weight``, ``bias``, ``running_mean`` and ``running_var``,
    which is Σ(x - mean)² / n as in ONNX; PyTorch's is Σ(x - mean)² / (n - 1). Source: Ioffe and Szegedy (2015),
    arXiv:1502.03167.
    """

    form, ranks = "(batch, channels, height, width)", range(4, 5)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (batch, channels, depth, height, width), as ``BatchNorm2d``."""

    form, ranks = "(batch, channels, depth, height, width)", range(5, 6)


class InstanceNorm(_OfChannels):
    """Instance normalisation of (batch, channels, size, …): each channel of each example by itself.

    Parameters, where it is ``affine``: ``weight`` and ``bias``, each (channels,). Source: Ulyanov et al. (2016),
    arXiv:1607.08022.

    Args:
        eps: added to the variance.
        affine: whether there are a weight and a bias; not by default, as in PyTorch.
        name: the name of the node.

    Raises ``UsageError`` for a negative ``eps``, and ``GraphError`` where the input has no axis after the channels or
    these are symbolic."""

    form, ranks = "(batch, channels, size, …)", range(3, ANY)

    def __init__(self, *, eps: NonNegative = 1e-5, affine: bool = False, name: str | None = None) -> None:
        super().__init__("instance_norm", eps=eps, affine=affine, name=name)

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        shape = (self.channels(x),)
        return self.normalised("InstanceNormalization", x, self.scale(x, shape), self.shift(x, shape))


class GroupNorm(_OfChannels):
    """Group normalisation of (batch, channels, …): each group of channels of each example by itself.

    Parameters, where it is ``affine``: ``weight`` and ``bias``, each (channels,). Source: Wu and He (2018),
    arXiv:1803.08494.

    Args:
        groups: the number of groups, PyTorch's ``num_groups``, which divides the number of channels.
        eps: added to the variance.
        affine: whether there are a weight and a bias.
        name: the name of the node.

    Raises ``UsageError`` for an option that makes no sense, and ``GraphError`` where ``groups`` does not divide the
    channels or these are not known.
    """

    form, ranks = "(batch, channels, …)", range(2, ANY)

    def __init__(self, groups: Count, *, eps: NonNegative = 1e-5, affine: bool = True, name: str | None = None) -> None:
        super().__init__("group_norm", eps=eps, affine=affine, name=name)
        self.groups = int(groups)

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        shape = (self.channels(x),)
        if shape[0] % self.groups:
            raise self.needs(f"a number of channels that {self.groups} groups can share equally", x)
        inputs = x, self.scale(x, shape), self.shift(x, shape)
        return self.normalised("GroupNormalization", *inputs, num_groups=self.groups)


class _OfLastAxes(_Normalization):
    def __init__(self, stem: str, axis: int, *, eps: float | None, affine: bool, name: str | None) -> None:
        super().__init__(stem, eps=eps, affine=affine, name=name)
        if type(axis) is not int:
            given: Any = axis
            sizes = isinstance(given, Sequence) and not isinstance(given, str)
            hint = f"; PyTorch's normalized_shape {axis!r} is axis={-len(given)} here" if sizes else ""
            raise UsageError(f"{self.kind}: axis must be a whole number, not {axis!r}{hint}")
        self.axis = axis

    def sizes(self, x: Symbol) -> tuple[int, ...]:
        """The sizes from the first normalised axis on."""
        found = static(x.shape[self.axis :])
        if not found:
            hint = " (the axis, not PyTorch's normalized_shape)" if self.axis >= len(x.shape) else ""
            raise self.needs(f"known sizes from axis {self.axis}{hint} on", x)
        return found


class LayerNorm(_OfLastAxes):
    """Layer normalisation: over the axes from ``axis`` to the last, each of the others by itself.

    Parameters, each of the sizes of the normalised axes: ``weight`` and ``bias``. Source: Ba et al. (2016),
    arXiv:1607.06450.

    Args:
        axis: the first axis that is normalised; negative numbers count from the last, -1. PyTorch has the sizes of
            these axes instead, ``normalized_shape``.
        eps: added to the variance.
        affine: whether there are a weight and a bias.
        bias: whether there is a bias, where it is ``affine``.
        name: the name of the node.

    Raises ``UsageError`` for an option that makes no sense, and ``GraphError`` where a size from ``axis`` on is not
    known.
    """

    def __init__(
        self,
        axis: int = -1,
        *,
        eps: NonNegative = 1e-5,
        affine: bool = True,
        bias: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__("layer_norm", axis, eps=eps, affine=affine, name=name)
        self.bias = bias

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        shape = self.sizes(x)
        shift = [self.shift(x, shape)] if self.affine and self.bias else []
        return self.normalised("LayerNormalization", x, self.scale(x, shape), *shift, axis=self.axis)


class RMSNorm(_OfLastAxes):
    """Root-mean-square normalisation: x / √(mean(x²) + eps) · weight, over the axes from ``axis`` to the last.

    Parameter, of the sizes of the normalised axes: ``weight``. Source: Zhang and Sennrich (2019), arXiv:1910.07467.

    Args:
        axis: the first axis that is normalised; negative numbers count from the last, -1. PyTorch has the sizes of
            these axes instead, ``normalized_shape``.
        eps: added to the mean of the squares; by default the machine epsilon of the element type.
        affine: whether there is a weight.
        name: the name of the node.

    Raises ``UsageError`` for an option that makes no sense, and ``GraphError`` where a size from ``axis`` on is not
    known.
    """

    def __init__(
        self, axis: int = -1, *, eps: NonNegative | None = None, affine: bool = True, name: str | None = None
    ) -> None:
        super().__init__("rms_norm", axis, eps=eps, affine=affine, name=name)

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        eps = float(np.finfo(x.dtype).eps) if self.eps is None else self.eps
        return self.normalised("RMSNormalization", x, self.scale(x, self.sizes(x)), axis=self.axis, epsilon=eps)


class LocalResponseNorm(Layer):
    """Local response normalisation of (batch, channels, …): x / (k + alpha / size · Σ x²)^beta.

    The sum is over a window of ``size`` channels around each; where ``size`` is even, it reaches one channel further
    back than forward. (ONNX's LRN reaches further forward, so that such a layer has several nodes.) Source: Krizhevsky
    et al., "ImageNet classification with deep convolutional neural networks" (2012).

    Args:
        size: the number of channels in the window.
        alpha: the factor of the mean square.
        beta: the exponent.
        k: what is added to the mean square.
        name: the name of the node.

    Raises ``UsageError`` where ``size`` is not a positive whole number.
    """

    def __init__(
        self, size: Count, alpha: NonNegative = 1e-4, beta: Finite = 0.75, k: Positive = 1.0, *, name: str | None = None
    ) -> None:
        super().__init__(name, "local_response_norm")
        self.size = int(size)
        self.alpha, self.beta, self.k = alpha, beta, k

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        if self.size % 2:
            return self.emit("LRN", x, size=self.size, alpha=self.alpha, beta=self.beta, bias=self.k)
        if len(x.shape) < 2:
            raise self.invalid(f"it needs (batch, channels, …), not {format_shape(x.shape)}")
        reach = self.size // 2, self.size // 2 - 1
        return self.emit("Mul", x, response_factor(x, *reach, alpha=self.alpha, beta=self.beta, bias=self.k))
