"""The formulas for the output size of convolutions, transposed convolutions and pools, along one axis.

``kernel``, ``stride``, ``dilation`` and the pads are those of this axis; every size is a number of cells. Options
are checked in ``operation``; here only an output that would be empty raises ``ShapeError``.
"""

from __future__ import annotations

from portable_nn.core.errors import ShapeError


def extent(kernel: int, dilation: int) -> int:
    """The effective size of a dilated kernel: the cells from its first tap to its last, both included."""
    return dilation * (kernel - 1) + 1


def conv_size(size: int, kernel: int, stride: int, dilation: int, pad_begin: int, pad_end: int) -> int:
    """Output size of a convolution, or of a pool in floor mode: the positions where the whole kernel fits.

    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016), sections 2 and 5.1.
    """
    padded, span = size + pad_begin + pad_end, extent(kernel, dilation)
    if padded < span:
        raise ShapeError(_too_small(size, kernel, dilation, pad_begin, pad_end))
    return (padded - span) // stride + 1


def pool_size(size: int, kernel: int, stride: int, dilation: int, pad_begin: int, pad_end: int, *, ceil: bool) -> int:
    """Output size of a pool; in ceil mode the last window may extend beyond the padding.

    A window that would start in the end padding, or beyond, holds no input cell. PyTorch and onnxruntime drop it;
    OpenCV, OpenVINO and the shape inference of ONNX keep it.
    """
    if not ceil:
        return conv_size(size, kernel, stride, dilation, pad_begin, pad_end)
    # Rounded up; a kernel that is larger than the padded input may still fit once, beyond the edge.
    steps = -((extent(kernel, dilation) - size - pad_begin - pad_end) // stride)
    if steps > 0 and steps * stride >= size + pad_begin:
        steps -= 1
    if steps < 0:
        raise ShapeError(_too_small(size, kernel, dilation, pad_begin, pad_end) + f", even by one stride of {stride}")
    return steps + 1


def conv_transpose_size(
    size: int, kernel: int, stride: int, dilation: int, pad_begin: int, pad_end: int, output_padding: int
) -> int:
    """Output size of a transposed convolution: pads crop the output, output_padding adds cells at the end.

    Source: Dumoulin and Visin (2016), section 4; ONNX ConvTranspose.
    """
    full = stride * (size - 1) + extent(kernel, dilation) + output_padding
    found = full - pad_begin - pad_end
    if found < 1:
        raise ShapeError(
            f"padding takes {pad_begin} + {pad_end} cells from an output of only {full}: at most {full - 1} can go"
        )
    return found


def _too_small(size: int, kernel: int, dilation: int, pad_begin: int, pad_end: int) -> str:
    """The message for a kernel that is larger than the padded input."""
    spans = f"kernel {kernel} with dilation {dilation} spans" if dilation > 1 else f"kernel {kernel} spans"
    there = f"the input has only {size}"
    if pad_begin or pad_end:
        there = f"the padded input has only {size + pad_begin + pad_end} ({pad_begin} + {size} + {pad_end})"
    return f"{spans} {extent(kernel, dilation)} cells, but {there}"
