"""Products with matrices, convolutions and tables of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portable_nn.converters.torch.aten.rows import Use, batched, each, row, swapped
from portable_nn.layers.convolution import spatial_attributes
from portable_nn.operators import Leaf, Symbol, constant, emit, unsqueezed
from portable_nn.sizes.operation import conv, convt


@row("linear")
def _linear(use: Use, x: Symbol, weight: Symbol, bias: Symbol | None = None) -> Symbol:
    if len(x.shape) == 2 and len(weight.shape) == 2:
        return emit("Gemm", x, weight, bias, transB=1)
    found = emit("MatMul", x, swapped(weight, 0, 1) if len(weight.shape) == 2 else weight)
    return found if bias is None else found + bias


@row("matmul", "mm", "bmm", "mv", "dot")
def _matmul(use: Use, a: Symbol, b: Symbol) -> Symbol:
    return emit("MatMul", a, b)


@row("addmm")
def _addmm(use: Use, c: Symbol, a: Symbol, b: Symbol, beta: float = 1, alpha: float = 1) -> Symbol:
    return emit("Gemm", a, b, c, beta=float(beta), alpha=float(alpha))


@row("baddbmm")
def _baddbmm(use: Use, c: Symbol, a: Symbol, b: Symbol, beta: float = 1, alpha: float = 1) -> Symbol:
    product = emit("MatMul", a, b)
    product = product if alpha == 1 else product * alpha
    return product if beta == 0 else product + (c if beta == 1 else c * beta)


@row("einsum")
def _einsum(use: Use, equation: str, operands: Sequence[Symbol], path: Any = None) -> Symbol:
    return emit("Einsum", *operands, equation=equation)


@row("bilinear")
def _bilinear(use: Use, a: Symbol, b: Symbol, weight: Symbol, bias: Symbol | None = None) -> Symbol:
    made = emit("Einsum", a, weight, b, equation="...i,oij,...j->...o")
    return made if bias is None else made + bias


@row("outer")
def _outer(use: Use, a: Symbol, b: Symbol) -> Symbol:
    return unsqueezed(a, 1) * b


@row("conv1d", "conv2d", "conv3d")
def _conv(
    use: Use,
    x: Symbol,
    weight: Symbol,
    bias: Symbol | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Symbol:
    """A padding of "same" has the larger half at the end, as ONNX's SAME_UPPER of a stride of 1."""
    axes = len(weight.shape) - 2
    kernel = [int(size) for size in weight.shape[2:]]
    stride, dilation = each(stride, axes), each(dilation, axes)
    if padding == "same":
        totals = [gap * (size - 1) for gap, size in zip(dilation, kernel, strict=True)]
        pads = [(total // 2, total - total // 2) for total in totals]
    else:
        pads = [(size, size) for size in each(0 if padding == "valid" else padding, axes)]
    operation = conv(kernel, stride=stride, padding=pads, dilation=dilation, axes=axes)
    options = spatial_attributes(operation, x.shape[-axes:]) | _groups(groups)
    return batched(x, axes, "Conv", weight, bias, **options)


@row("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv_transpose(
    use: Use,
    x: Symbol,
    weight: Symbol,
    bias: Symbol | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Symbol:
    axes = len(weight.shape) - 2
    operation = convt(
        [int(size) for size in weight.shape[2:]],
        stride=each(stride, axes),
        padding=each(padding, axes),
        output_padding=each(output_padding, axes),
        dilation=each(dilation, axes),
        axes=axes,
    )
    options = spatial_attributes(operation, x.shape[-axes:]) | _groups(groups)
    return batched(x, axes, "ConvTranspose", weight, bias, **options)


@row("convolution")
def _convolution(
    use: Use,
    x: Symbol,
    weight: Symbol,
    bias: Symbol | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Symbol:
    if transposed:
        return _conv_transpose(use, x, weight, bias, stride, padding, output_padding, groups, dilation)
    return _conv(use, x, weight, bias, stride, padding, dilation, groups)


def _groups(groups: int) -> dict[str, int]:
    return {} if groups == 1 else {"group": groups}


@row("embedding")
def _embedding(
    use: Use,
    weight: Symbol,
    indices: Symbol,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Symbol:
    """The vector at ``padding_idx`` gets no gradient: where it is 0, as it begins, a constant takes its place."""
    if scale_grad_by_freq:
        use.note("embedding: gradients are not divided by the frequency of an entry here (scale_grad_by_freq)")
    found = emit("Gather", weight, indices)
    if padding_idx < 0 or not isinstance(weight, Leaf) or not weight.trainable:
        return found
    if weight.initial is None or weight.initial[padding_idx].any():
        use.note(f"embedding: the vector at padding_idx {padding_idx} of '{weight.name}' is trained here")
        return found
    is_padding = emit("Equal", indices, constant(padding_idx, indices.dtype))
    return emit("Where", unsqueezed(is_padding, len(indices.shape)), constant(0, found.dtype), found)
