"""Matrix products."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from portable_nn.core.dims import agreed, agreed_shape, broadcast
from portable_nn.operators.base import (
    WIDE,
    Array,
    Attr,
    GradientContext,
    KernelContext,
    Operator,
    OperatorContext,
    Shape,
    Step,
    Symbol,
    Type,
    emit,
    fit,
    format_shape,
    integers,
    mixed_fields,
    register,
)
from portable_nn.operators.linear.blas import accumulate
from portable_nn.operators.linear.products import in_parts, matrix_product, parts_of_rows


def _gemm_type(use: OperatorContext) -> Type:
    a, b = use.type(0), use.type(1)
    dtype = use.common_dtype(WIDE)
    if len(a.shape) != 2 or len(b.shape) != 2:
        use.fail(f"A and B must have 2 dimensions, not {format_shape(a.shape)} and {format_shape(b.shape)}")
    rows, inner = a.shape[::-1] if use.int("transA") else a.shape
    depth, columns = b.shape[::-1] if use.int("transB") else b.shape
    if agreed(inner, depth) is None:
        use.fail(
            f"it multiplies rows of {inner} (A is {format_shape(a.shape)}{', transposed' * bool(use.int('transA'))}) "
            f"by columns of {depth} (B is {format_shape(b.shape)}{', transposed' * bool(use.int('transB'))})"
        )
    result = (rows, columns)
    bias = broadcast(use.type(2).shape, result) if use.has(2) else result
    if bias is None or agreed_shape(bias, result) is None:
        use.fail(f"C is {format_shape(use.type(2).shape)}, which does not broadcast to {format_shape(result)}")
    return Type(dtype, result)


def _gemm(n: KernelContext) -> list[Step]:
    a = n.x[0].T if n.int("transA") else n.x[0]
    b = n.x[1].T if n.int("transB") else n.x[1]
    # BLAS is faster at a product with few columns than at one with few rows: yᵀ = bᵀ·aᵀ then, laid out by columns.
    # A product with Aᵀ is the gradient of a weight, and gets the memory layout of the weight.
    rows, columns = n.output_shape()
    alpha, beta = n.float("alpha"), n.float("beta")
    by_columns = 1 < rows < columns and not n.int("transA") and not in_parts(rows * columns * len(b), b.dtype)
    out = n.out(over=2 if n.has(2) else None, order=(1, 0) if by_columns else None)
    if n.has(2) and out is n.x[2]:
        return _add_product(n, a, b, out)
    steps: list[Step] = [partial(np.dot, b.T, a.T, out.T)] if by_columns else matrix_product(a, b, out)
    if alpha != 1:
        steps.append(partial(np.multiply, out, n.filled((), out.dtype, alpha), out=out))
    if n.has(2):
        c = n.x[2]
        if beta != 1:
            scaled = n.scratch(c.shape, c.dtype)
            steps.append(partial(np.multiply, c, n.filled((), c.dtype, beta), out=scaled))
            c = scaled
        # Adding arrays of one shape takes half as long as broadcasting a short one.
        c = c.reshape(out.shape) if c.size == out.size else c
        steps.append(partial(np.add, out, c, out=out))
    return steps


def _add_product(n: KernelContext, a: Array, b: Array, c: Array) -> list[Step]:
    """c ← alpha·a·b + beta·c in place, as a step of gradient descent is."""
    alpha, beta = n.float("alpha"), n.float("beta")
    parts = parts_of_rows(a, b)
    fused = [step for rows in parts if (step := accumulate(a[rows], b, c[rows], alpha, beta)) is not None]
    if len(fused) == len(parts):
        return [*fused]
    product = n.scratch(c.shape, c.dtype)
    steps = matrix_product(a, b, product)
    if beta != 1:
        steps.append(partial(np.multiply, c, n.filled((), c.dtype, beta), out=c))
    if alpha == -1:
        return [*steps, partial(np.subtract, c, product, out=c)]
    if alpha != 1:
        steps.append(partial(np.multiply, product, n.filled((), c.dtype, alpha), out=product))
    return [*steps, partial(np.add, c, product, out=c)]


def _gemm_gradient(n: GradientContext) -> list[Symbol | None]:
    """For Y = alpha·A·B + beta·C: dA = alpha·dY·Bᵀ, dB = alpha·Aᵀ·dY, each transposed where its input was."""
    a, b, alpha = n.x[0], n.x[1], n.float("alpha")
    trans_a, trans_b = n.int("transA"), n.int("transB")
    if trans_a:
        to_a = emit("Gemm", b, n.dy, transA=trans_b, transB=1, alpha=alpha)
    else:
        to_a = emit("Gemm", n.dy, b, transB=1 - trans_b, alpha=alpha)
    if trans_b:
        to_b = emit("Gemm", n.dy, a, transA=1, transB=trans_a, alpha=alpha)
    else:
        to_b = emit("Gemm", a, n.dy, transA=1 - trans_a, alpha=alpha)
    if not n.has(2):
        return [to_a, to_b]
    beta = n.float("beta")
    return [to_a, to_b, fit(n.dy if beta == 1 else n.dy * beta, n.x[2])]


def product_shape(use: OperatorContext) -> Shape:
    """The shape of the product of the first two inputs; matrices behind further axes, which broadcast."""
    a, b = use.type(0), use.type(1)
    if not a.shape or not b.shape:
        use.fail("its inputs must have at least one dimension")
    left = (1, *a.shape) if len(a.shape) == 1 else a.shape
    right = (*b.shape, 1) if len(b.shape) == 1 else b.shape
    batch = broadcast(left[:-2], right[:-2])
    if agreed(left[-1], right[-2]) is None or batch is None:
        use.fail(f"the shapes {format_shape(a.shape)} and {format_shape(b.shape)} cannot be multiplied")
    rows = left[-2:-1] if len(a.shape) > 1 else ()
    columns = right[-1:] if len(b.shape) > 1 else ()
    return batch + rows + columns


def _matmul(n: KernelContext) -> list[Step]:
    a, b, out = n.x[0], n.x[1], n.out()
    if b.ndim == 2 and a.ndim >= 2 and a.flags.c_contiguous and out.flags.c_contiguous:
        # One product of a tall matrix instead of one for each in the batch.
        rows = math.prod(a.shape[:-1])
        a, out = a.reshape(rows, a.shape[-1]), out.reshape(rows, out.shape[-1])
        return matrix_product(a, b, out)
    return [partial(np.matmul, a, b, out=out)]


def _transposed(value: Symbol) -> Symbol:
    rank = len(value.shape)
    return emit("Transpose", value, perm=[*range(rank - 2), rank - 1, rank - 2])


def _matmul_gradient(n: GradientContext) -> list[Symbol | None]:
    a, b, dy = n.x[0], n.x[1], n.dy
    row, column = len(a.shape) == 1, len(b.shape) == 1
    if row:
        a, dy = emit("Unsqueeze", a, integers([0])), emit("Unsqueeze", dy, integers([-1 if column else -2]))
    if column:
        b, dy = emit("Unsqueeze", b, integers([-1])), emit("Unsqueeze", dy, integers([-1]))
    to_a, to_b = fit(dy @ _transposed(b), a), fit(_transposed(a) @ dy, b)
    return [
        emit("Squeeze", to_a, integers([0])) if row else to_a,
        emit("Squeeze", to_b, integers([-1])) if column else to_b,
    ]


def _gemm_multiply_adds(use: OperatorContext, y: Shape) -> Shape:
    rows = use.type().shape
    return (*y, *(rows[:1] if use.int("transA") else rows[-1:]))


register(
    Operator(
        "Gemm",
        ("A", "B", "C?"),
        _gemm_type,
        _gemm,
        _gemm_gradient,
        {"alpha": Attr(float, 1.0), "beta": Attr(float, 1.0), "transA": Attr(int, 0), "transB": Attr(int, 0)},
        outputs=("Y",),
        family="linear",
        batch_inputs="first",
        weights=(0, 1, 2),
        multiply_adds=_gemm_multiply_adds,
        polynomial=True,
    )
)
register(
    Operator(
        "MatMul",
        ("A", "B"),
        lambda use: Type(use.common_dtype(WIDE), product_shape(use)),
        _matmul,
        _matmul_gradient,
        outputs=("Y",),
        family="linear",
        weights=(0, 1),
        # A product with a constant matrix combines everything along the last axis.
        receptive=lambda use: mixed_fields(use, [len(use.input) - 1]),
        multiply_adds=lambda use, y: (*y, *use.type().shape[-1:]),
        polynomial=True,
    )
)
