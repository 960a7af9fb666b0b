"""CumSum: the cumulative sum along one axis."""

from __future__ import annotations

from functools import partial

import numpy as np

from portable_nn.operators.base import (
    WIDE,
    Attr,
    Interval,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Type,
    emit,
    register,
)


def _axis(use: OperatorContext) -> int:
    """The axis; raises ``DataDependentShape`` until it is known."""
    [axis] = use.numbers(1, ("int32", "int64"), single=True)
    return use.axis(axis, len(use.type().shape))


def _cumulative_type(use: OperatorContext) -> Type:
    use.check_dtype(use.type().dtype, WIDE)
    _axis(use)
    return use.like(use.type().shape)


def _cumulative_sum(n: KernelContext) -> list[Step]:
    axis, x, out = _axis(n), n.x[0], n.out()
    if not out.size:
        return []
    if n.int("reverse"):
        x, out = np.flip(x, axis), np.flip(out, axis)
    if not n.int("exclusive"):
        return [partial(np.add.accumulate, x, axis=axis, out=out)]
    along = (slice(None),) * axis
    first, rest = out[(*along, slice(None, 1))], out[(*along, slice(1, None))]
    # The sum of no elements.
    steps: list[Step] = [partial(first.fill, 0)]
    if rest.size:
        steps.append(partial(np.add.accumulate, x[(*along, slice(None, -1))], axis=axis, out=rest))
    return steps


register(
    Operator(
        "CumSum",
        ("x", "axis"),
        _cumulative_type,
        _cumulative_sum,
        # An element is in all sums from its own place on: their gradients are summed from the other end.
        lambda n: [emit("CumSum", n.dy, n.x[1], exclusive=n.int("exclusive"), reverse=int(not n.int("reverse"))), None],
        {"exclusive": Attr(int, 0), "reverse": Attr(int, 0)},
        outputs=("y",),
        family="arithmetic",
        mixes=lambda use: [use.type().shape[_axis(use)]] if use.type(1).constant else use.type().shape,
        samples={1: lambda use: Interval(-len(use.type().shape), len(use.type().shape) - 1)},
        unsized=lambda use: use.like(use.type().shape),
    )
)
