"""The softmax family."""

from __future__ import annotations

from functools import partial

import numpy as np

from portable_nn.operators.elementwise import check_dtype
from portable_nn.operators.registry import FLOATS, Array, Attr, Backward, Bound, Operator, Step, Type, Use, register
from portable_nn.operators.symbols import Symbol, emit, integers


def _type(use: Use) -> Type:
    check_dtype(use, use.type().dtype, FLOATS)
    use.axis(use.int("axis"), len(use.type().shape))
    return Type(use.type().dtype, use.type().shape)


def _shifted(n: Bound, x: Array, out: Array) -> tuple[Array, Array, list[Step]]:
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


def _softmax(n: Bound) -> list[Step]:
    work, target, steps = _shifted(n, n.x[0], n.out())
    row = n.scratch((1, *work.shape[1:]), work.dtype)
    return [
        *steps,
        partial(np.exp, work, out=work),
        partial(np.add.reduce, work, axis=0, out=row, keepdims=True),
        partial(np.divide, work, row, out=target),
    ]


def log_softmax_steps(n: Bound, x: Array, out: Array) -> list[Step]:
    """Steps that put log softmax of ``x`` into ``out``, over the node's axis, or over axis 1 where it has none."""
    work, target, steps = _shifted(n, x, out)
    row, exponentials = n.scratch((1, *work.shape[1:]), work.dtype), n.scratch(work.shape, work.dtype)
    return [
        *steps,
        partial(np.exp, work, out=exponentials),
        partial(np.add.reduce, exponentials, axis=0, out=row, keepdims=True),
        partial(np.log, row, out=row),
        partial(np.subtract, work, row, out=target),
    ]


def _log_softmax(n: Bound) -> list[Step]:
    return log_softmax_steps(n, n.x[0], n.out())


def _hardmax(n: Bound) -> list[Step]:
    axis = n.axis(n.int("axis"), n.x[0].ndim)

    def run(x: Array, out: Array) -> None:
        out.fill(0)
        np.put_along_axis(out, np.expand_dims(np.argmax(x, axis), axis), 1, axis)

    x, out = n.x[0], n.out()
    return [partial(run, x, out)] if x.size else []


def _softmax_gradient(n: Backward) -> Symbol:
    axis = integers([n.axis(n.int("axis"), len(n.x[0].shape))])
    weighted = n.dy * n.y[0]
    return weighted - n.y[0] * emit("ReduceSum", weighted, axis, keepdims=1)


def _log_softmax_gradient(n: Backward) -> Symbol:
    axis = integers([n.axis(n.int("axis"), len(n.x[0].shape))])
    return n.dy - emit("Exp", n.y[0]) * emit("ReduceSum", n.dy, axis, keepdims=1)


register(Operator("Softmax", ("input",), _type, _softmax, _softmax_gradient, {"axis": Attr(int, -1)}))
register(Operator("LogSoftmax", ("input",), _type, _log_softmax, _log_softmax_gradient, {"axis": Attr(int, -1)}))
register(Operator("Hardmax", ("input",), _type, _hardmax, None, {"axis": Attr(int, -1)}))
