"""Convolutions and transposed convolutions, with PyTorch's parameters and their layouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Dim, format_shape
from portable_nn.core.numbers import Count
from portable_nn.layers.initializers import Initial
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol
from portable_nn.sizes import Operation, check_channels, conv, convt
from portable_nn.sizes.operation import Padding, PerAxis

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


def spatial_attributes(operation: Operation, sizes: tuple[Dim, ...]) -> dict[str, Any]:
    """The ONNX attributes of an operation on an input of ``sizes``: explicit pads wherever they are known."""
    known = [size for size in sizes if isinstance(size, int)]
    if len(known) == len(sizes):
        operation = operation.resolved(known)
    windows = operation.windows
    options = (
        ("strides", [w.stride for w in windows], 1),
        ("dilations", [w.dilation for w in windows], 1),
        ("pads", [w.pad_begin for w in windows] + [w.pad_end for w in windows], 0),
        ("output_padding", [w.output_padding for w in windows], 0),
    )
    return {
        "kernel_shape": [w.kernel for w in windows],
        "auto_pad": None if operation.auto_pad == "NOTSET" else operation.auto_pad,
        **{name: values for name, values, default in options if any(value != default for value in values)},
    }


def described(layer: str, describe: Callable[..., Operation], axes: int, kernel: PerAxis, **options: Any) -> Operation:
    """The operation that a layer's options describe. Raises ``UsageError`` that names the layer."""
    try:
        return describe(kernel, axes=axes, **options)
    except UsageError as error:
        raise UsageError(f"{layer}: {error}") from None


def channels_of(layer: Layer, x: Symbol, axes: int) -> int:
    """The channels of (batch, channels, …). Raises ``GraphError`` where ``x`` does not have ``axes`` axes more."""
    found = x.shape[1] if len(x.shape) == axes + 2 else None
    if not isinstance(found, int):
        wanted = ", ".join(["batch", "channels", *("depth", "height", "width")[3 - axes :]])
        raise layer.invalid(f"it needs ({wanted}) with known channels, not {format_shape(x.shape)}")
    return found


class _Convolution(Layer):
    axes: ClassVar[int]
    transposed: ClassVar[bool] = False

    def __init__(
        self,
        filters: Count,
        kernel: PerAxis,
        *,
        stride: PerAxis = 1,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        groups: Count = 1,
        bias: bool = True,
        weight_initial: Initial = "glorot_uniform",
        bias_initial: Initial = "zeros",
        name: str | None = None,
    ) -> None:
        """Make the layer.

        Args:
            filters: the number of output channels, PyTorch's ``out_channels``. Those of the input are read from it.
            kernel: the size of the kernel, PyTorch's ``kernel_size``: one number for every axis, or one for each.
            stride: the step from one place of the kernel to the next: one number, or one for each axis.
            padding: zeros around the input: one number, one for each axis, or a pair (begin, end) for each axis;
                ``"valid"`` for none, ``"same"`` for an output of ⌈size / stride⌉.
            dilation: the distance between the kernel's cells: one number, or one for each axis.
            groups: into how many groups the channels of input and output are divided; each output group sees only its
                input group.
            bias: whether a number is added to each output channel.
            weight_initial: the first values of the weight: the name of an initializer, a number, an array, or a
                function of a random generator and the shape (see ``portable_nn.layers.initializers``).
            bias_initial: the first values of the bias, likewise.
            name: the name of the node.

        Raises ``UsageError`` for an option that makes no sense. Calling the layer raises ``GraphError`` where the input
        has another rank, its channels are not known, or ``groups`` does not divide the channels.
        """
        _Convolution._set(**locals())

    def _set(
        self,
        filters: Count,
        kernel: PerAxis,
        bias: bool,
        weight_initial: Initial,
        bias_initial: Initial,
        name: str | None,
        **options: Padding,
    ) -> None:
        super().__init__(name, "conv_transpose" if self.transposed else "conv")
        kind = type(self).__name__
        self.filters, self.bias = int(filters), bias
        self.operation = described(kind, convt if self.transposed else conv, self.axes, kernel, **options)
        self.weight_initial, self.bias_initial = weight_initial, bias_initial

    def __call__(self, x: Symbol) -> Symbol:
        """(batch, channels, …) → (batch, filters, …)."""
        channels, groups = channels_of(self, x, self.axes), self.operation.groups
        try:
            check_channels(self.operation, channels, self.filters)
        except UsageError as error:
            raise self.invalid(str(error)) from None
        outer, inner = (channels, self.filters) if self.transposed else (self.filters, channels)
        kernel = tuple(w.kernel for w in self.operation.windows)
        weight = self.parameter("weight", (outer, inner // groups, *kernel), x.dtype, self.weight_initial)
        bias = self.parameter("bias", (self.filters,), x.dtype, self.bias_initial) if self.bias else None
        attributes = spatial_attributes(self.operation, x.shape[2:])
        if groups > 1:
            attributes["group"] = groups
        return self.emit("ConvTranspose" if self.transposed else "Conv", x, weight, bias, **attributes)


class _ConvTranspose(_Convolution):
    transposed = True

    def __init__(
        self,
        filters: Count,
        kernel: PerAxis,
        *,
        stride: PerAxis = 1,
        padding: Padding = 0,
        output_padding: PerAxis = 0,
        dilation: PerAxis = 1,
        groups: Count = 1,
        bias: bool = True,
        weight_initial: Initial = "glorot_uniform",
        bias_initial: Initial = "zeros",
        name: str | None = None,
    ) -> None:
        """Make the layer.

        Args:
            filters: the number of output channels, PyTorch's ``out_channels``. Those of the input are read from it.
            kernel: the size of the kernel, PyTorch's ``kernel_size``: one number for every axis, or one for each.
            stride: the step in the output from one input cell to the next: one number, or one for each axis.
            padding: how many cells are cut off the output: one number, one for each axis, or a pair (begin, end) for
                each axis; ``"valid"`` for none, ``"same"`` for an output of size · stride.
            output_padding: how many cells are added to the output's end: one number, or one for each axis, smaller
                than the stride or the dilation.
            dilation: the distance between the kernel's cells: one number, or one for each axis.
            groups: into how many groups the channels of input and output are divided; each output group sees only its
                input group.
            bias: whether a number is added to each output channel.
            weight_initial: the first values of the weight: the name of an initializer, a number, an array, or a
                function of a random generator and the shape (see ``portable_nn.layers.initializers``).
            bias_initial: the first values of the bias, likewise.
            name: the name of the node.

        Raises ``UsageError`` for an option that makes no sense. Calling the layer raises ``GraphError`` where the input
        has another rank, its channels are not known, or ``groups`` does not divide the channels.
        """
        _Convolution._set(**locals())


class Conv1d(_Convolution):
    """Convolution over one axis: (batch, channels, width) → (batch, filters, new width).

    new width = ⌊(width + padding - dilation·(kernel - 1) - 1) / stride⌋ + 1, where padding is that of both ends.
    Parameters: ``weight`` (filters, channels / groups, kernel) and ``bias`` (filters,).
    """

    axes = 1

    def __init__(
        self,
        filters: Count,
        kernel: PerAxis,
        *,
        stride: PerAxis = 1,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        groups: Count = 1,
        bias: bool = True,
        causal: bool = False,
        weight_initial: Initial = "glorot_uniform",
        bias_initial: Initial = "zeros",
        name: str | None = None,
    ) -> None:
        """Make the layer, with the options of ``Conv2d`` and one more.

        Args:
            filters: as for ``Conv2d``.
            kernel: as for ``Conv2d``.
            stride: as for ``Conv2d``.
            padding: as for ``Conv2d``.
            dilation: as for ``Conv2d``.
            groups: as for ``Conv2d``.
            bias: as for ``Conv2d``.
            causal: whether no cell of the output depends on later cells of the input: all padding,
                dilation·(kernel - 1) zeros, is at the beginning, and ``padding`` must not be given.
            weight_initial: as for ``Conv2d``.
            bias_initial: as for ``Conv2d``.
            name: the name of the node.

        Raises ``UsageError`` for an option that makes no sense, and what calling ``Conv2d`` raises.
        """
        if causal:
            if padding != 0:
                raise UsageError(f"Conv1d: causal decides the padding, so padding must not be {padding!r}")
            [window] = described("Conv1d", conv, 1, kernel, dilation=dilation).windows
            padding = [(window.dilation * (window.kernel - 1), 0)]
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        self._set(filters, kernel, bias, weight_initial, bias_initial, name, **options)


class Conv2d(_Convolution):
    """Convolution over two axes: (batch, channels, height, width) → (batch, filters, new height, new width).

    new size = ⌊(size + padding - dilation·(kernel - 1) - 1) / stride⌋ + 1 along each axis, where padding is that of
    both ends; ``portable-nn size conv`` explains it. Parameters: ``weight`` (filters, channels / groups, kernel height,
    kernel width) and ``bias`` (filters,).

    >>> import portable_nn as pnn
    >>> pnn.Conv2d(16, kernel=5, stride=2, padding=2)(pnn.Input(3, 28, 28)).shape
    ('batch', 16, 14, 14)
    """

    axes = 2


class Conv3d(_Convolution):
    """Convolution over three axes: (batch, channels, depth, height, width) → (batch, filters, …).

    The new sizes are as for ``Conv2d``. Parameters: ``weight`` (filters, channels / groups, kernel depth, kernel
    height, kernel width) and ``bias`` (filters,).
    """

    axes = 3


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution over one axis: (batch, channels, width) → (batch, filters, new width).

    new width = (width - 1)·stride - padding + dilation·(kernel - 1) + output_padding + 1, where padding is that of both
    ends. Parameters: ``weight`` (channels, filters / groups, kernel) and ``bias`` (filters,).
    """

    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution over two axes: (batch, channels, height, width) → (batch, filters, new height, new width).

    It is the gradient of ``Conv2d`` with respect to its input: each input cell adds the kernel, times its value, to the
    output. new size = (size - 1)·stride - padding + dilation·(kernel - 1) + output_padding + 1 along each axis, where
    padding is that of both ends; ``portable-nn size convt`` explains it. Parameters: ``weight`` (channels,
    filters / groups, kernel height, kernel width) and ``bias`` (filters,).

    >>> import portable_nn as pnn
    >>> pnn.ConvTranspose2d(3, kernel=4, stride=2, padding=1)(pnn.Input(16, 14, 14)).shape
    ('batch', 3, 28, 28)
    """

    axes = 2


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution over three axes: (batch, channels, depth, height, width) → (batch, filters, …).

    The new sizes are as for ``ConvTranspose2d``. Parameters: ``weight`` (channels, filters / groups, kernel depth,
    kernel height, kernel width) and ``bias`` (filters,).
    """

    axes = 3
