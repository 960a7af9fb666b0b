"""The softmax family."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from portable_nn.operators.base import (
    FLOATS,
    Array,
    Attr,
    Dim,
    GradientContext,
    KernelContext,
    Limit,
    Operator,
    OperatorContext,
    Portability,
    Shape,
    Step,
    Symbol,
    Type,
    axis_fields,
    emit,
    integers,
    register,
)

FEW: Final = 4096
"""So many rows are added in their own element type, in a fifth of the time that double precision takes."""


def _type(use: OperatorContext) -> Type:
    use.check_dtype(use.type().dtype, FLOATS)
    use.attribute_axis()
    return Type(use.type().dtype, use.type().shape)


def _shifted(n: KernelContext, x: Array, out: Array) -> tuple[Array, Array, list[Step]]:
    """Steps that put x - max(x) over the axis into work memory whose first axis is the reduced one.

    numpy reduces the first axis of an array several times faster than a short last one.
    """
    axis = n.axis(n.int("axis") if "axis" in n.operator.attributes else 1, x.ndim)
    source, target = np.moveaxis(x, axis, 0), np.moveaxis(out, axis, 0)
    work = n.scratch(source.shape, x.dtype)
    row = n.scratch((1, *source.shape[1:]), x.dtype)
    steps: list[Step] = [
        partial(np.copyto, work, source),
        partial(np.maximum.reduce, work, axis=0, out=row, keepdims=True, initial=-np.inf),
        partial(np.subtract, work, row, out=work),
    ]
    return work, target, steps


def _softmax(n: KernelContext) -> list[Step]:
    work, target, steps = _shifted(n, n.x[0], n.out())
    row = n.scratch((1, *work.shape[1:]), work.dtype)
    return [
        *steps,
        partial(np.exp, work, out=work),
        partial(np.add.reduce, work, axis=0, out=row, keepdims=True, dtype=_sum_type(work)),
        partial(np.divide, work, row, out=target),
    ]


def _sum_type(work: Array) -> type[np.floating]:
    """The element type in which rows are added, one by one: of very many, float32 would lose digits."""
    return np.float64 if len(work) > FEW else work.dtype.type


def log_softmax_steps(n: KernelContext, x: Array, out: Array) -> list[Step]:
    """Steps that put log softmax of ``x`` into ``out``, over the node's axis, or over axis 1 where it has none."""
    work, target, steps = _shifted(n, x, out)
    row, exponentials = n.scratch((1, *work.shape[1:]), work.dtype), n.scratch(work.shape, work.dtype)
    return [
        *steps,
        partial(np.exp, work, out=exponentials),
        partial(np.add.reduce, exponentials, axis=0, out=row, keepdims=True, dtype=_sum_type(work)),
        partial(np.log, row, out=row),
        partial(np.subtract, work, row, out=target),
    ]


def _hardmax(n: KernelContext) -> list[Step]:
    axis = n.attribute_axis()

    def run(x: Array, out: Array) -> None:
        out.fill(0)
        np.put_along_axis(out, np.expand_dims(np.argmax(x, axis), axis), 1, axis)

    x, out = n.x[0], n.out()
    return [partial(run, x, out)] if x.size else []


def _softmax_gradient(n: GradientContext) -> Symbol:
    axis = integers([n.attribute_axis()])
    weighted = n.dy * n.y[0]
    return weighted - n.y[0] * emit("ReduceSum", weighted, axis, keepdims=1)


def _log_softmax_gradient(n: GradientContext) -> Symbol:
    axis = integers([n.attribute_axis()])
    return n.dy - emit("Exp", n.y[0]) * emit("ReduceSum", n.dy, axis, keepdims=1)


def _flattens(use: OperatorContext, shape: Shape | None) -> bool:
    """True if all axes from ``axis``, 1 by default, to the last were combined."""
    rank = len(use.type().shape)
    return rank > 2 and use.attributes.get("axis", 1) not in (-1, rank - 1)


def _along(use: OperatorContext) -> list[Dim]:
    """The size of the axis that shares are taken of."""
    shape = use.type().shape
    return [shape[use.axis(use.int("axis"), len(shape))]]


_FLATTENED = Limit(
    "axis",
    _flattens,
    "before opset 13 it means all axes from there on; OpenCV 5.0 and for Softmax OpenVINO 2026.4 take it alone",
    "flatten the input first, or write the file at opset 13 or newer",
    before=13,
)

register(
    Operator(
        "Softmax",
        ("input",),
        _type,
        _softmax,
        _softmax_gradient,
        {"axis": Attr(int, -1)},
        family="activation",
        probabilities=True,
        mixes=_along,
        receptive=axis_fields,
        portability=Portability(limits=(_FLATTENED,)),
    )
)
register(
    Operator(
        "LogSoftmax",
        ("input",),
        _type,
        lambda n: log_softmax_steps(n, n.x[0], n.out()),
        _log_softmax_gradient,
        {"axis": Attr(int, -1)},
        family="activation",
        mixes=_along,
        receptive=axis_fields,
        portability=Portability(limits=(_FLATTENED,)),
    )
)
register(
    Operator(
        "Hardmax",
        ("input",),
        _type,
        _hardmax,
        None,
        {"axis": Attr(int, -1)},
        family="activation",
        mixes=_along,
        receptive=axis_fields,
        portability=Portability(limits=(_FLATTENED,)),
    )
)
