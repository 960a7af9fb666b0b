"""How large the output of a convolution, transposed convolution or pool is: the formulas, along one axis.

``kernel``, ``stride``, ``dilation`` and the pads are those of this axis; every size is a number of cells. Nothing here
checks options (``operation`` does): an output without a single cell is the one fault that is found, as ``ShapeError``.
"""

from __future__ import annotations

from portable_nn.core.errors import ShapeError


def extent(kernel: int, dilation: int) -> int:
    """How many cells a kernel spans from its first tap to its last, both included."""
    return dilation * (kernel - 1) + 1


def conv_size(size: int, kernel: int, stride: int, dilation: int, pad_begin: int, pad_end: int) -> int:
    """Output size of a convolution, or of a pool that rounds down: every position where the whole kernel fits.

    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016), sections 2 and 5.1.
    """
    padded, span = size + pad_begin + pad_end, extent(kernel, dilation)
    if padded < span:
        raise ShapeError(_too_small(size, kernel, dilation, pad_begin, pad_end))
    return (padded - span) // stride + 1


def pool_size(size: int, kernel: int, stride: int, dilation: int, pad_begin: int, pad_end: int, *, ceil: bool) -> int:
    """Output size of a pool; with ``ceil`` the last window may stand over the edge.

    A window that would start in the end padding, or beyond, holds no cell and is dropped: PyTorch's and onnxruntime's
    rule. OpenCV, OpenVINO and the shape inference of ONNX keep it.
    """
    if not ceil:
        return conv_size(size, kernel, stride, dilation, pad_begin, pad_end)
    # Rounded up; a kernel that spans more than the padded input may still stand once, over the edge.
    steps = -((extent(kernel, dilation) - size - pad_begin - pad_end) // stride)
    if steps > 0 and steps * stride >= size + pad_begin:
        steps -= 1
    if steps < 0:
        raise ShapeError(_too_small(size, kernel, dilation, pad_begin, pad_end) + f", even by one stride of {stride}")
    return steps + 1


def conv_transpose_size(
    size: int, kernel: int, stride: int, dilation: int, pad_begin: int, pad_end: int, output_padding: int
) -> int:
    """Output size of a transposed convolution: pads take rows away, output_padding adds rows at the end.

    Source: Dumoulin and Visin (2016), section 4; ONNX ConvTranspose.
    """
    full = stride * (size - 1) + extent(kernel, dilation) + output_padding
    found = full - pad_begin - pad_end
    if found < 1:
        raise ShapeError(
            f"padding takes {pad_begin} + {pad_end} cells from an output of only {full}: at most {full - 1} can go"
        )
    return found


def same_pads(size: int, kernel: int, stride: int, dilation: int, *, upper: bool) -> tuple[int, int]:
    """The pads (begin, end) with which a convolution or pool gives ``ceil(size / stride)`` cells.

    What is odd goes to the end with ``upper`` (SAME_UPPER; Keras's and PyTorch's "same"), else to the begin
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
    """The pads and output padding (begin, end, output_padding) that ``auto_pad`` or ``output_shape`` stand for.

    The output has ``output_size`` cells, or ``size * stride`` where none is wanted (SAME_UPPER, SAME_LOWER). What is
    odd goes to the end with ``upper``, else to the begin: with ``output_shape`` alone, too. Rows that are lacking
    without any pads are added as output padding. Source: ONNX ConvTranspose; runtimes do not agree on it.
    """
    wanted = size * stride if output_size is None else output_size
    surplus = stride * (size - 1) + extent(kernel, dilation) + output_padding - wanted
    return *_halves(max(0, surplus), upper=upper), output_padding + max(0, -surplus)


def _halves(total: int, *, upper: bool) -> tuple[int, int]:
    small, large = total // 2, total - total // 2
    return (small, large) if upper else (large, small)


def _too_small(size: int, kernel: int, dilation: int, pad_begin: int, pad_end: int) -> str:
    """What is said where a kernel spans more than there is."""
    spans = f"kernel {kernel} with dilation {dilation} spans" if dilation > 1 else f"kernel {kernel} spans"
    padded = f"{size + pad_begin + pad_end}"
    if pad_begin or pad_end:
        there = f"the padded input has only {padded} ({pad_begin} + {size} + {pad_end})"
    else:
        there = f"the input has only {padded}"
    return f"{spans} {extent(kernel, dilation)} cells, but {there}"
