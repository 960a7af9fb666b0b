"""The pads that ``auto_pad`` and ``output_shape`` stand for, along one axis."""

from __future__ import annotations

from portable_nn.sizes.arithmetic import extent


def same_pads(size: int, kernel: int, stride: int, dilation: int, *, upper: bool) -> tuple[int, int]:
    """The pads (begin, end) with which a convolution or pool gives ``ceil(size / stride)`` cells.

    An odd cell goes to the end with ``upper`` (SAME_UPPER; Keras's and PyTorch's "same"), else to the begin
    (SAME_LOWER). Source: ONNX Conv, attribute ``auto_pad``.
    """
    outputs = -(-size // stride)
    return _halves(max(0, (outputs - 1) * stride + extent(kernel, dilation) - size), upper=upper)


def transpose_same_pads(
    size: int,
    kernel: int,
    stride: int,
    dilation: int,
    output_padding: int,
    *,
    upper: bool,
    output_size: int | None = None,
) -> tuple[int, int, int]:
    """The explicit (begin, end, output_padding) of ``auto_pad`` or ``output_shape``.

    The output has ``output_size`` cells, or ``size * stride`` by default (SAME_UPPER, SAME_LOWER). An odd cell goes to
    the end with ``upper``, else to the begin, also with ``output_shape`` alone. An output that would be too small
    without pads gets output padding. Source: ONNX ConvTranspose; runtimes do not agree on it.
    """
    wanted = size * stride if output_size is None else output_size
    surplus = stride * (size - 1) + extent(kernel, dilation) + output_padding - wanted
    return *_halves(max(0, surplus), upper=upper), output_padding + max(0, -surplus)


def _halves(total: int, *, upper: bool) -> tuple[int, int]:
    small, large = total // 2, total - total // 2
    return (small, large) if upper else (large, small)
