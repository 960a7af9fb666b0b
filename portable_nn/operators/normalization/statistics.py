"""Shared by all normalisations: kernels over parts of an array, and the same in symbols.

A part stays in the cache, so that several passes over it cost little more than one. Whatever the type of the input, the
kernels compute in float32 at least.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from string import ascii_letters
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.operators.base import (
    FLOATS,
    Array,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    cast,
    emit,
    format_shape,
    integers,
    laid_in,
    memory_order,
)
from portable_nn.operators.elementwise.blocks import BLOCK

normalization = partial(Operator, family="normalization", overwrites_input=True, keeps_layout=True)
"""An operator of this family, with the facts that most of them share."""

CHANNELS: Final = 1
"""The axis of the channels."""

Places: TypeAlias = list[tuple[slice, ...]]
"""The slices of an array's parts."""


def precision(dtype: Any) -> str:
    """The element type to compute in: float32 at least."""
    return str(np.result_type(dtype, np.float32))


def parts(x: Array, whole: Collection[int]) -> Places:
    """The parts of ``x`` along its slowest axis, each of which stays in the cache; not along the axes ``whole``."""
    axis = next((axis for axis in memory_order(x) if x.shape[axis] > 1), 0)
    length = x.shape[axis]
    step = length if axis in whole else BLOCK * length // max(x.size, 1)
    step = max(step, 1)
    return [(slice(None),) * axis + (slice(start, start + step),) for start in range(0, length, step)]


def work_parts(n: KernelContext, x: Array, places: Places, dtype: Any) -> list[Array]:
    """Work memory for the parts of ``x``, the same for all of them, in their memory layout."""
    whole = n.scratch_like(x[places[0]], dtype) if places else x
    return [whole[tuple(map(slice, x[place].shape))] for place in places]


def spread(n: KernelContext, parameter: Array, x: Array, places: Places, steps: list[Step]) -> list[Array]:
    """``parameter``, which broadcasts to every part of ``x``, as the parts meet it.

    For several parts it is spread out once to their shape, by what is added to ``steps``: numpy is slow where it
    broadcasts over short stretches.
    """
    if len(places) < 2:
        return [parameter] * len(places)
    copies = work_parts(n, x, places, parameter.dtype)
    steps.append(partial(np.copyto, copies[0], parameter))
    return copies


def statistic(n: KernelContext, x: Array, axes: Collection[int]) -> Array:
    """Work memory for one number for all places along ``axes``, which it keeps with size 1; laid out as ``x`` is."""
    order = memory_order(x)
    shape = tuple(1 if axis in axes else x.shape[axis] for axis in order)
    return laid_in(order, n.scratch(shape, precision(x.dtype)))


def sum_over(axes: Iterable[int], into: Array, *factors: Array) -> Step:
    """Sum the product of ``factors``, arrays of one shape, over ``axes``; ``into`` may keep those, each of size 1.

    This is fast for every order of the axes in memory, where ``np.add.reduce`` is not.
    """
    names, axes, first = ascii_letters[: factors[0].ndim], tuple(axes), factors[0]
    if first.size and all(array.dtype == into.dtype for array in factors) and into.flags.c_contiguous:
        total = into.reshape(into.size)
        if _are_rows(axes, *factors):
            rows = [factor.transpose(memory_order(first)).reshape(into.size, -1) for factor in factors]
            return partial(np.vecdot, *rows, *_ones(first.size // into.size, first, 2 - len(rows)), out=total)
        if len(factors) == 1 and names == "ab" and axes == (0,) and first.flags.c_contiguous:
            return partial(np.dot, *_ones(len(first), first, 1), first, out=total)
    kept = "".join(name for axis, name in enumerate(names) if axis not in axes)
    out = np.squeeze(into, axes) if into.ndim == len(names) else into
    return partial(np.einsum, f"{','.join([names] * len(factors))}->{kept}", *factors, out=out, dtype=into.dtype)


def _ones(size: int, like: Array, times: int) -> list[Array]:
    return [np.ones(size, like.dtype)] * times


def _are_rows(axes: Collection[int], *arrays: Array) -> bool:
    """True if all arrays lie in memory alike, ``axes`` last and the others in order, for BLAS to sum row by row."""
    order = memory_order(arrays[0])
    long = [axis for axis in order if arrays[0].shape[axis] > 1]
    kept = [axis for axis in long if axis not in axes]
    return long[: len(kept)] == sorted(kept) and all(array.transpose(order).flags.c_contiguous for array in arrays)


def inverse_root(n: KernelContext, variance: Array, out: Array) -> list[Step]:
    """1 / √(variance + ε)."""
    return [
        partial(np.add, variance, n.filled((), out.dtype, n.float("epsilon")), out=out),
        partial(np.sqrt, out, out=out),
        partial(np.reciprocal, out, out=out),
    ]


def centred_values(x: Symbol, axes: Sequence[int]) -> tuple[Symbol, Symbol]:
    """``x`` less its mean over ``axes``, and the mean.

    It is taken in two passes: the rounding of the first may exceed the differences of nearly equal numbers.
    """
    mean = emit("ReduceMean", x, integers(axes))
    near = x - mean
    rest = emit("ReduceMean", near, integers(axes))
    return near - rest, mean + rest


def standardized(x: Symbol, axes: Sequence[int], epsilon: float, *, centred: bool = True) -> tuple[Symbol, Symbol]:
    """``x`` less its mean over ``axes``, times s = 1 / √(variance + ε), and s; not ``centred``, with a mean of 0."""
    if centred:
        x, _ = centred_values(x, axes)
    inverse = 1 / emit("Sqrt", emit("ReduceMean", x * x, integers(axes)) + epsilon)
    return x * inverse, inverse


def through_standardized(
    dy: Symbol, normalized: Symbol, inverse: Symbol, axes: Sequence[int], *, centred: bool = True
) -> Symbol:
    """The gradient of ``standardized``: Ioffe and Szegedy, ICML 2015, section 3, in its simplest form."""
    share = normalized * emit("ReduceMean", dy * normalized, integers(axes))
    return inverse * (dy - emit("ReduceMean", dy, integers(axes)) - share if centred else dy - share)


def wide(*values: Symbol) -> list[Symbol]:
    """``values`` in float32 at least."""
    return [cast(value, precision(value.dtype)) for value in values]


def per_channel(value: Symbol, rank: int) -> Symbol:
    """A value for each channel, (C,), as it broadcasts to an array of ``rank`` dimensions."""
    return emit("Unsqueeze", value, integers(range(1, rank - 1))) if rank > 2 else value


def check_channels(use: OperatorContext, indices: Iterable[int], least: int = 2, *, mixed: bool = False) -> None:
    """The first input must be (batch, channels, …), the inputs ``indices`` have a number for each channel.

    They must be of its type, or ``mixed``, of any float type.
    """
    x, name = use.type(), use.operator.input_name(0)
    use.check_dtype(x.dtype, FLOATS)
    if len(x.shape) < least:
        form = "(batch, channels, …)" if least == 2 else "(batch, channels, size, …)"
        use.fail(f"{name} must be {form}, not {format_shape(x.shape)}")
    for index in indices:
        found = use.type(index)
        if found.shape != x.shape[1:2] or found.dtype not in (FLOATS if mixed else {x.dtype}):
            wanted = f"{'a float type' if mixed else x.dtype} {format_shape(x.shape[1:2])}"
            use.fail(f"{use.operator.input_name(index)} must be {wanted} for {name} {x}, not {found}")


def grad_types(use: OperatorContext) -> tuple[Type, Type]:
    """The types of X and of its scale where the gradient, dY, is like X."""
    x, scale = (Type(use.type(index).dtype, use.type(index).shape) for index in (1, 2))
    use.expect(0, x, ", as X is")
    return x, scale
