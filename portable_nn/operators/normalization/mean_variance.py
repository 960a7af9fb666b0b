"""MeanVarianceNormalization: mean 0 and standard deviation 1 along some axes, without parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np

from portable_nn.operators.base import (
    FLOATS,
    Attr,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    emit,
    integers,
    register,
)
from portable_nn.operators.normalization.statistics import precision

EPSILON: Final = 1e-9
"""The epsilon that the standard adds to the standard deviation."""


def _axes(use: OperatorContext) -> tuple[int, ...]:
    return use.axes(use.ints("axes") or (), len(use.type().shape))


def _type(use: OperatorContext) -> Type:
    use.check_dtype(use.type().dtype, FLOATS)
    _axes(use)
    return use.like(use.type().shape)


def _kernel(n: KernelContext) -> list[Step]:
    x, out, axes = n.x[0], n.out(), _axes(n) or tuple(range(n.x[0].ndim))
    wide = precision(x.dtype)
    centred = out if out.dtype == wide else n.scratch(x.shape, wide)
    squares, size = n.scratch(x.shape, wide), np.asarray(math.prod(x.shape[axis] for axis in axes), wide)
    mean = n.scratch(tuple(1 if axis in axes else length for axis, length in enumerate(x.shape)), wide)
    steps: list[Step] = [
        partial(np.add.reduce, x, axis=axes, dtype=wide, keepdims=True, out=mean),
        partial(np.divide, mean, size, out=mean),
        partial(np.subtract, x, mean, out=centred),
        # Once more: the rounding of the mean may exceed the differences of nearly equal numbers.
        partial(np.add.reduce, centred, axis=axes, keepdims=True, out=mean),
        partial(np.divide, mean, size, out=mean),
        partial(np.subtract, centred, mean, out=centred),
        partial(np.multiply, centred, centred, out=squares),
        partial(np.add.reduce, squares, axis=axes, keepdims=True, out=mean),
        partial(np.divide, mean, size, out=mean),
        partial(np.sqrt, mean, out=mean),
        partial(np.add, mean, np.asarray(EPSILON, wide), out=mean),
        partial(np.divide, centred, mean, out=centred),
    ]
    return steps if centred is out else [*steps, partial(np.copyto, out, centred, casting="same_kind")]


def _lowering(x: Symbol, *, axes: Sequence[int] = (0, 2, 3)) -> Symbol:
    along = integers(axes) if axes else None
    near = x - emit("ReduceMean", x, along)
    centred = near - emit("ReduceMean", near, along)
    deviation = emit("Sqrt", emit("ReduceMean", centred * centred, along))
    return centred / (deviation + EPSILON)


register(
    Operator(
        "MeanVarianceNormalization",
        ("X",),
        _type,
        _kernel,
        "lowering",
        {"axes": Attr(tuple, (0, 2, 3))},
        outputs=("Y",),
        lowering=_lowering,
        family="normalization",
    )
)
