"""Operators on the two last axes as matrices: triangles, the unit matrix, the determinant."""

from __future__ import annotations

from functools import partial

import numpy as np

from portable_nn.operators.base import (
    ANY,
    DTYPE_CODES,
    FLOATS,
    ONNX_DTYPES,
    Array,
    Attr,
    GradientContext,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    constant,
    count_up,
    emit,
    format_shape,
    integers,
    register,
    size_of,
    sizes,
)


def _matrices(use: OperatorContext) -> None:
    if len(use.type().shape) < 2:
        use.fail(f"{use.operator.input_name(0)} must be (…, rows, columns), not {format_shape(use.type().shape)}")


# -- a triangle


def _triangle_type(use: OperatorContext) -> Type:
    _matrices(use)
    if use.has(1):
        dtype, shape, _ = use.type(1)
        if dtype != "int64" or shape not in {(), (1,)}:
            use.fail(f"k must be one int64, not {use.type(1)}")
    return use.like(use.type().shape)


def _triangle(n: KernelContext) -> list[Step]:
    x, out, k = n.x[0], n.out(), n.x[1] if n.has(1) else np.zeros((), np.int64)
    rows, columns = np.arange(x.shape[-2])[:, None], np.arange(x.shape[-1])
    inside = columns - rows  # The number of the diagonal that each place is on.
    mask, compare = n.scratch(inside.shape, np.bool_), np.greater_equal if n.int("upper") else np.less_equal
    return [
        partial(compare, inside, k.reshape(()), out=mask),
        partial(out.fill, 0),
        partial(np.copyto, out, x, where=mask),
    ]


def _triangle_gradient(n: GradientContext) -> list[Symbol | None]:
    k = n.x[1] if n.has(1) else None
    return [emit("Trilu", n.dy, k, upper=n.int("upper")), None][: n.inputs]


def _triangle_lowering(x: Symbol, k: Symbol | None = None, *, upper: int = 1) -> Symbol:
    rank = len(x.shape)
    rows = emit("Unsqueeze", count_up(size_of(x, rank - 2)), integers([1]))
    diagonals = count_up(size_of(x, rank - 1)) - rows
    inside = emit("GreaterOrEqual" if upper else "LessOrEqual", diagonals, constant(0, "int64") if k is None else k)
    return emit("Where", inside, x, constant(0, x.dtype))


# -- the unit matrix


def _unit_type(use: OperatorContext) -> Type:
    use.check_dtype(use.type().dtype, ANY)
    shape, code = use.type().shape, use.attributes.get("dtype", DTYPE_CODES[use.type().dtype])
    if len(shape) != 2:
        use.fail(f"input must be (rows, columns), not {format_shape(shape)}")
    if code not in ONNX_DTYPES:
        use.fail(f"attribute 'dtype' is {code}, an element type that is not supported")
    return Type(ONNX_DTYPES[int(str(code))], shape)


def _unit(n: KernelContext) -> None:
    rows, columns = n.output_shape()
    n.view(np.eye(rows, columns, n.int("k"), dtype=_unit_type(n).dtype))


# -- the determinant


def _determinant_type(use: OperatorContext) -> Type:
    use.check_dtype(use.type().dtype, FLOATS)
    _matrices(use)
    *batch, rows, columns = use.type().shape
    if rows != columns:
        use.fail(f"X must be square, not {rows} by {columns}")
    return use.like(batch)


def _determinant(n: KernelContext) -> list[Step]:
    x, out = n.x[0], n.out()
    wide, copies = x, list[Step]()
    if x.dtype == np.float16:  # LAPACK has no half precision.
        wide = n.scratch(x.shape, np.float32)
        copies = [partial(np.copyto, wide, x)]

    def run(wide: Array = wide) -> None:
        out[...] = np.linalg.det(wide)

    return [*copies, run]


def _determinant_gradient(n: GradientContext) -> Symbol:
    """The cofactors, from the determinants of the minors: also right for singular matrices."""
    x, size = n.x[0], n.x[0].shape[-1]
    if not isinstance(size, int):
        n.fail(f"its gradient needs a known size, not {format_shape(x.shape)}")
    dy = emit("Unsqueeze", n.dy, integers([-2, -1]))
    if size < 2:
        return emit("Expand", dy, sizes(x))
    others = np.array([[place for place in range(size) if place != out] for out in range(size)])
    signs = (-1.0) ** np.add.outer(np.arange(size), np.arange(size))
    rank, kept = len(x.shape), constant(others, "int64")
    # (…, row left out, rows, column left out, columns), and then the four axes in the order of matrices.
    minors = emit("Gather", emit("Gather", x, kept, axis=-1), kept, axis=rank - 2)
    lead = list(range(rank - 2))
    minors = emit("Transpose", minors, perm=[*lead, rank - 2, rank, rank - 1, rank + 1])
    return dy * (emit("Det", minors) * constant(signs, x.dtype))


register(
    Operator(
        "Trilu",
        ("input", "k?"),
        _triangle_type,
        _triangle,
        _triangle_gradient,
        {"upper": Attr(int, 1)},
        lowering=_triangle_lowering,
    )
)
register(Operator("EyeLike", ("input",), _unit_type, _unit, None, {"dtype": Attr(int), "k": Attr(int, 0)}))
register(
    Operator("Det", ("X",), _determinant_type, _determinant, _determinant_gradient, outputs=("Y",), family="arithmetic")
)
