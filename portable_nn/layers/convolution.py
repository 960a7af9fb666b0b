"""Builders of convolutions and transposed convolutions, with PyTorch's options and parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from portable_nn.core.errors import Fault, GraphError, UsageError
from portable_nn.core.graph import Dim, format_shape
from portable_nn.layers.initializers import Initial
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol, emit
from portable_nn.sizes import Operation, check_channels, conv, convt
from portable_nn.sizes.operation import Padding, PerAxis


def spatial_attributes(operation: Operation, sizes: tuple[Dim, ...]) -> dict[str, Any]:
    """The attributes that ONNX has for an operation on an input of ``sizes``: explicit pads wherever they are known."""
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
    """The operation that a builder's options describe; a ``UsageError`` names the builder."""
    try:
        return describe(kernel, axes=axes, **options)
    except UsageError as error:
        raise UsageError(f"{layer}: {error}") from None


def channels_of(x: Symbol, label: str, axes: int) -> int:
    """The channels of (batch, channels, …); raises ``GraphError`` where ``x`` is of another form."""
    found = x.shape[1] if len(x.shape) == axes + 2 else None
    if not isinstance(found, int):
        wanted = ", ".join(["batch", "channels", *("depth", "height", "width")[3 - axes :]])
        raise GraphError([Fault(label, f"it needs ({wanted}) with known channels, not {format_shape(x.shape)}")])
    return found


class _Convolution(Layer):
    axes: ClassVar[int]
    transposed: ClassVar[bool] = False

    def __init__(
        self,
        filters: int,
        kernel: PerAxis,
        *,
        stride: PerAxis = 1,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        weight_initial: Initial = "glorot_uniform",
        bias_initial: Initial = "zeros",
        name: str | None = None,
        **others: PerAxis,
    ) -> None:
        super().__init__(name)
        self.kind = type(self).__name__
        if type(filters) is not int or filters < 1:
            raise UsageError(f"{self.kind}: filters must be a positive whole number, not {filters!r}")
        describe = convt if self.transposed else conv
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, **others}
        self.operation = described(self.kind, describe, self.axes, kernel, **options)
        self.filters, self.bias = filters, bias
        self.weight_initial, self.bias_initial = weight_initial, bias_initial

    def __call__(self, x: Symbol) -> Symbol:
        """(batch, channels, …) → (batch, filters, …)."""
        wish = "conv_transpose" if self.transposed else "conv"
        label, groups = f"'{self.name or wish}' ({self.kind})", self.operation.groups
        channels = channels_of(x, label, self.axes)
        try:
            check_channels(self.operation, channels, self.filters)
        except UsageError as error:
            raise GraphError([Fault(label, str(error))]) from None
        outer, inner = (channels, self.filters) if self.transposed else (self.filters, channels)
        kernel = tuple(w.kernel for w in self.operation.windows)
        weight = self.parameter("weight", (outer, inner // groups, *kernel), x.dtype, self.weight_initial)
        bias = self.parameter("bias", (self.filters,), x.dtype, self.bias_initial) if self.bias else None
        attributes = spatial_attributes(self.operation, x.shape[2:])
        if groups > 1:
            attributes["group"] = groups
        operator = "ConvTranspose" if self.transposed else "Conv"
        return emit(operator, x, weight, bias, name=self.node_name(), wish=wish, **attributes)


class Conv1d(_Convolution):
    """``filters`` kernels slide over (batch, channels, width).

    The weight is (filters, channels / groups, kernel). ``stride``, ``padding`` and ``dilation`` are numbers, or one for
    each axis; padding also a pair (begin, end) for each axis, "valid", or "same" (⌈size / stride⌉ comes out).
    """

    axes = 1


class Conv2d(_Convolution):
    """``filters`` kernels slide over (batch, channels, height, width); options as ``Conv1d`` has them.

    The weight is (filters, channels / groups, kernel height, kernel width).
    """

    axes = 2


class Conv3d(_Convolution):
    """``filters`` kernels slide over (batch, channels, depth, height, width); options as ``Conv1d`` has them."""

    axes = 3


class ConvTranspose1d(_Convolution):
    """The transpose of ``Conv1d``: every cell of (batch, channels, width) adds a kernel's worth to the output.

    The weight is (channels, filters / groups, kernel). ``padding`` takes cells away from the output's ends,
    ``output_padding`` adds some at its end. ``portable-nn size convt`` explains what size comes out.
    """

    axes, transposed = 1, True


class ConvTranspose2d(_Convolution):
    """The transpose of ``Conv2d``; options as ``ConvTranspose1d`` has them."""

    axes, transposed = 2, True


class ConvTranspose3d(_Convolution):
    """The transpose of ``Conv3d``; options as ``ConvTranspose1d`` has them."""

    axes, transposed = 3, True
