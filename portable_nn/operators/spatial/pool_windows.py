"""Shared by pools: their options, their type, and the reduction of windows.

It is separable, and computed axis by axis: k + k steps and not k · k. Every step is one numpy call over slices,
whatever the memory layout of the arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from portable_nn.operators.base import (
    FLOATS,
    REQUIRED,
    Array,
    Attr,
    Dim,
    KernelContext,
    Operator,
    OperatorContext,
    Shape,
    Step,
    Type,
    laid_in,
    memory_order,
)
from portable_nn.operators.costs import volume
from portable_nn.operators.spatial.window import ATTRIBUTES, per_axis, reaching, slide, spatial_sizes, taps, windows
from portable_nn.sizes.operation import Window

pool = partial(Operator, outputs=("Y",), family="reduction", batch_inputs="all")
"""A pool, with the facts that most of them share."""

LONG: Final = 4096
"""The longest window along an axis that has a step for each of its cells; of a longer one, each place has a step."""

POOL = {**ATTRIBUTES, "kernel_shape": Attr(tuple, REQUIRED), "ceil_mode": Attr(int, 0)}


def windows_of(use: OperatorContext, shape: Shape) -> list[Window]:
    """The window of a pool along each spatial axis of an input of this shape."""
    return windows(use, per_axis(use, "kernel_shape", len(shape) - 2), shape[2:])


def check_norm(use: OperatorContext) -> None:
    """Raise ``InvalidNode`` for a p-norm with a p below 1."""
    if "p" in use.operator.attributes:
        use.at_least("p")


def pool_type(use: OperatorContext, allowed: frozenset[str] = FLOATS) -> Type:
    """The type of the output of a pool. Raises ``InvalidNode``."""
    use.check_dtype(use.type().dtype, allowed)
    check_norm(use)
    found = spatial_sizes(use)
    kernels = windows_of(use, use.type().shape)
    if any(max(w.pads) >= w.extent for w in kernels):
        use.fail(f"pads {use.ints('pads')} leave windows that see no cell: they must be less than the kernel spans")
    return use.like([*use.type().shape[:2], *slide(use, kernels, found, ceil=bool(use.int("ceil_mode")))])


def visits(use: OperatorContext, y: Shape) -> list[Dim]:
    """The cells of the window at each place, along one axis after the other."""
    shape, found = list(use.type().shape), 0
    for axis, w in enumerate(windows_of(use, use.type().shape), 2):
        shape[axis] = y[axis]
        found += w.kernel * volume(tuple(shape))
    return [found]


def _cells(w: Window, place: int, size: int) -> slice:
    """The cells, of ``size``, that the window at a place sees."""
    start = place * w.stride - w.pad_begin
    first = start + max(0, -(start // w.dilation)) * w.dilation
    return slice(first, max(first, min(size, start + w.extent)), w.dilation)


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (*(slice(None),) * (axis + 2), part)


def fold(
    n: KernelContext, x: Array, found: Sequence[Window], out: Array, combine: np.ufunc, neutral: float
) -> list[Step]:
    """Reduce each window, one axis after the other; ``neutral`` is the value of the padding."""
    steps: list[Step] = []
    for source, target, axis, w in _axis_by_axis(n, x, found, out):
        count, size = target.shape[axis + 2], source.shape[axis + 2]
        if w.kernel > LONG:
            for place in range(count):
                seen, at = source[_along(axis, _cells(w, place, size))], target[_along(axis, slice(place, place + 1))]
                empty = seen.shape[axis + 2] == 0
                reduce = partial(combine.reduce, seen, axis + 2, out=at, keepdims=True)
                steps.append(partial(at.fill, neutral) if empty else reduce)
            continue
        moves = [taps(w, tap, size, count) for tap in range(w.kernel)]
        parts = [(target[_along(axis, to)], source[_along(axis, at)]) for to, at in moves if to.stop > to.start]
        full = [place for place, (to, _) in enumerate(parts) if to.shape == target.shape]
        if len(full) > 1:
            (_, first), (_, second) = parts.pop(full[1]), parts.pop(full[0])
            steps.append(partial(combine, second, first, out=target))
        elif full:
            steps.append(partial(np.copyto, target, parts.pop(full[0])[1]))
        else:
            steps.append(partial(target.fill, neutral))
        steps.extend(partial(combine, to, part, out=to) for to, part in parts)
    return steps or [partial(np.copyto, out, x)]


def _axis_by_axis(
    n: KernelContext, source: Array, found: Sequence[Window], out: Array, *, back: bool = False
) -> Iterator[tuple[Array, Array, int, Window]]:
    """The axes along which windows slide, from the last one on if ``back``: source, target, spatial axis and window."""
    order = memory_order(source)
    sliding = [axis for axis, w in enumerate(found) if (source.shape[axis + 2], 1) != (out.shape[axis + 2], w.kernel)]
    for axis in reversed(sliding) if back else sliding:
        shape = [*source.shape[: axis + 2], out.shape[axis + 2], *source.shape[axis + 3 :]]
        is_last = axis == sliding[0 if back else -1]
        target = out if is_last else laid_in(order, n.scratch(tuple(shape[a] for a in order), source.dtype))
        yield source, target, axis, found[axis]
        source = target


def unfold(n: KernelContext, y: Array, found: Sequence[Window], out: Array) -> list[Step]:
    """Add each cell of ``y`` to all the cells of its window, one axis after the other."""
    steps: list[Step] = []
    for source, target, axis, w in _axis_by_axis(n, y, found, out, back=True):
        count, size = source.shape[axis + 2], target.shape[axis + 2]
        if w.kernel > LONG:
            places = [(_cells(w, place, size), slice(place, place + 1)) for place in range(count)]
        else:
            moves = [taps(w, tap, size, count) for tap in range(w.kernel)]
            places = [(at, to) for to, at in moves if to.stop > to.start]
        parts = [(target[_along(axis, at)], source[_along(axis, to)]) for at, to in places]
        apart = w.stride >= w.extent and w.kernel <= LONG
        if not apart or sum(part.shape[axis + 2] for _, part in parts) < size:
            steps.append(partial(target.fill, 0))
        if apart:
            steps.extend(partial(np.copyto, cells, part) for cells, part in parts)
        else:
            steps.extend(partial(np.add, cells, part, out=cells) for cells, part in parts)
    return steps or [partial(np.copyto, out, y)]


def attributes_but(use: OperatorContext, *names: str) -> dict[str, Any]:
    """The attributes of a use, but for some."""
    return {name: value for name, value in use.attributes.items() if name not in names}


def reached(use: OperatorContext) -> list[Window] | None:
    """The windows with the pads that give ``ceil_mode``'s result without it; ``None`` where a size is not known."""
    sizes = [size for size in spatial_sizes(use) if isinstance(size, int)]
    found = windows_of(use, use.type().shape)
    if len(sizes) < len(found):
        return None
    return [reaching(w, size) if use.int("ceil_mode") else w for w, size in zip(found, sizes, strict=True)]
