"""Mean and spread of groups of elements: the kernels of normalisations, over arrays with as many axes."""

from __future__ import annotations

import math
from functools import partial
from typing import Final

import numpy as np

from portable_nn.operators.base import Array, Attr, KernelContext, OperatorContext, Step
from portable_nn.operators.normalization.statistics import inverse_root, parts, spread, statistic, sum_over, work_parts


def _standardize(
    n: KernelContext, x: Array, out: Array, mean: Array, inverse: Array, axes: tuple[int, ...], *, centred: bool
) -> list[Step]:
    """As ``standardized``, into ``out``, with the mean and 1 / √(variance + ε) beside it.

    What is subtracted first is the mean of a few elements: the rounding of the mean of all may exceed the differences
    of nearly equal numbers.
    """
    steps: list[Step] = []
    if centred:
        few = tuple(slice(None, None, math.isqrt(size) if axis in axes else 1) for axis, size in enumerate(x.shape))
        rest = inverse
        steps = [
            *_mean_over(n, axes, mean, x[few] if x.size else x),
            partial(np.subtract, x, mean, out=out),
            *_mean_over(n, axes, rest, out),
            partial(np.subtract, out, rest, out=out),
            partial(np.add, mean, rest, out=mean),
        ]
        x = out
    return [
        *steps,
        *_mean_over(n, axes, inverse, x, x),
        *inverse_root(n, inverse, inverse),
        partial(np.multiply, x, inverse, out=out),
    ]


def _mean_over(n: KernelContext, axes: tuple[int, ...], into: Array, *factors: Array) -> list[Step]:
    size = max(math.prod(factors[0].shape[axis] for axis in axes), 1)
    return [sum_over(axes, into, *factors), partial(np.divide, into, n.filled((), into.dtype, size), out=into)]


def _uncut(axes: tuple[int, ...], *parameters: Array | None) -> set[int]:
    """The axes along which the parts are whole: those normalised, and those along which a parameter varies."""
    varied = {axis for p in parameters if p is not None for axis, size in enumerate(p.shape) if size > 1}
    return varied.union(axes)


def normalize(
    n: KernelContext,
    x: Array,
    out: Array,
    scale: Array,
    bias: Array | None,
    axes: tuple[int, ...],
    *,
    centred: bool = True,
) -> tuple[Array, Array, list[Step]]:
    """Mean, 1 / √(variance + ε), and the steps that put (x - mean) / √(variance + ε)·scale + bias into ``out``."""
    mean, inverse = statistic(n, x, axes), statistic(n, x, axes)
    work = out if out.dtype == mean.dtype else n.scratch_like(x, mean.dtype)
    steps: list[Step] = []
    places = parts(x, _uncut(axes, scale, bias))
    scales = spread(n, scale, x, places, steps)
    biases = spread(n, bias, x, places, steps) if bias is not None else []
    for number, place in enumerate(places):
        steps += _standardize(n, x[place], work[place], mean[place], inverse[place], axes, centred=centred)
        steps.append(partial(np.multiply, work[place], scales[number], out=out[place]))
        if bias is not None:
            steps.append(partial(np.add, out[place], biases[number], out=out[place]))
    return mean, inverse, steps


def normalize_grad(
    n: KernelContext,
    dy: Array,
    x: Array,
    scale: Array,
    dx: Array,
    dscale: Array,
    axes: tuple[int, ...],
    *,
    centred: bool = True,
) -> list[Step]:
    """As ``through_standardized`` for dy·scale, into ``dx``; and the gradient of the scale into ``dscale``.

    That is the sum of dy·(x - mean) / √(variance + ε).
    """
    mean, inverse, share = (statistic(n, x, axes) for _ in range(3))
    places = parts(x, _uncut(axes, scale))
    shared = [axis for axis, size in enumerate(scale.shape) if size == 1]
    totals = n.scratch((len(places), *scale.shape), mean.dtype)
    steps: list[Step] = []
    scales = spread(n, scale, x, places, steps)
    works = [work_parts(n, x, places, mean.dtype) for _ in range(2)]
    for place, total, scales_here, normalized, flow in zip(places, totals, scales, *works, strict=True):
        steps += [
            *_standardize(n, x[place], normalized, mean[place], inverse[place], axes, centred=centred),
            sum_over(shared, total, dy[place], normalized),
            partial(np.multiply, dy[place], scales_here, out=flow),
            *_mean_over(n, axes, share[place], flow, normalized),
            partial(np.multiply, normalized, share[place], out=normalized),
        ]
        if centred:
            steps += [*_mean_over(n, axes, mean[place], flow), partial(np.subtract, flow, mean[place], out=flow)]
        steps += [
            partial(np.subtract, flow, normalized, out=flow),
            partial(np.multiply, flow, inverse[place], out=dx[place]),
        ]
    return [*steps, partial(np.add.reduce, totals, axis=0, dtype=totals.dtype, out=dscale)]


def check_precision(use: OperatorContext) -> None:
    """Raise ``InvalidNode`` where the statistics are to be of another type than float32."""
    if use.int("stash_type") != 1:
        use.fail(f"stash_type must be 1 (float32), not {use.int('stash_type')}")


STASH: Final = {"stash_type": Attr(int, 1)}
