"""Small changes of options that cover every cell, and make the overlap of a transposed convolution even."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, product
from operator import itemgetter
from typing import Final, TypeAlias

from portable_nn.core.errors import ShapeError
from portable_nn.sizes.coverage import axis_name, is_faulty
from portable_nn.sizes.operation import (
    Operation,
    PerAxis,
    Window,
    input_sizes,
    joined,
    size_text,
    torch_refusal,
    window_size,
)
from portable_nn.sizes.solve import Cost, total_cost

Axis: TypeAlias = tuple[Window, int]
"""The options along an axis, and the size of the input along it."""

FARTHEST: Final = 3
"""The largest change of an option that is tried, but for a kernel that grows and for output padding."""

MOST_ADDED: Final = 16
"""The most cells by which a kernel grows, but for the next multiple of the stride, and the most of output padding."""


@dataclass(frozen=True, slots=True)
class Fix:
    """One fix: the changed operation, its changes in words, its output size, and all of it in one line."""

    operation: Operation
    changes: tuple[str, ...]
    output_size: tuple[int, ...]
    text: str


def fixes(operation: Operation, sizes: PerAxis, limit: int = 3) -> tuple[Fix, ...]:
    """The best changes of one option of an axis, or of two where one is not enough, that leave no fault; best first.

    A fault is an input cell that is never read, or a transposed convolution with uncovered cells or uneven overlap.
    Changes that keep the stride, which decides the scale, come first; then those that keep the output size; then small
    ones. Ceil mode is never proposed: runtimes disagree on it. Empty where there is no fault, or no fix.
    """
    found = input_sizes(sizes)
    before = operation.resolved(found) if operation.auto_pad == "VALID" else operation.over(len(found))
    now = before.output_size(found)
    # Equal axes get equal changes.
    faulty = [axis for axis in dict.fromkeys(zip(before.windows, found, strict=True)) if _outcome(before, *axis)[1]]
    if not faulty:
        return ()
    candidates = [sorted(_candidates(before, *axis), key=itemgetter(0))[:limit] for axis in faulty]
    choices = sorted(product(*candidates), key=lambda choice: total_cost([cost for cost, _ in choice]))[:limit]
    chosen = [[window for _, window in choice] for choice in choices]
    return tuple(_fix(before, found, now, dict(zip(faulty, windows, strict=True))) for windows in chosen)


def _fix(before: Operation, sizes: tuple[int, ...], now: tuple[int, ...], after: Mapping[Axis, Window]) -> Fix:
    axes = list(zip(before.windows, sizes, strict=True))
    operation = replace(before, windows=tuple(after.get(axis, axis[0]) for axis in axes))
    where: dict[str, list[str]] = {}
    for number, (old, new) in enumerate(zip(before.windows, operation.windows, strict=True)):
        for change in _changes(old, new):
            where.setdefault(change, []).append(axis_name(number, len(axes)))
    changes = tuple(
        change if len(names) == len(axes) else f"{change} for {joined(names)}" for change, names in where.items()
    )
    size = operation.output_size(sizes)
    gives = f"{size_text(size)} as now" if size == now else f"{size_text(size)} instead of {size_text(now)}"
    return Fix(operation, changes, size, f"{', '.join(changes)}: output {gives}")


def _changes(before: Window, after: Window) -> Iterator[str]:
    for option in ("kernel", "stride", "dilation", "output_padding"):
        if getattr(before, option) != getattr(after, option):
            yield f"{option} {getattr(before, option)} → {getattr(after, option)}"
    if before.pads != after.pads:
        alike = all(begin == end for begin, end in (before.pads, after.pads))
        old, new = (before.pad_begin, after.pad_begin) if alike else (before.pads, after.pads)
        yield f"padding {old} → {new}"


def _candidates(operation: Operation, window: Window, size: int) -> Iterator[tuple[Cost, Window]]:
    """The faultless windows after one change, and after two where no single one keeps the output size."""
    now, _ = _outcome(operation, window, size)
    moves = list(_moves(operation, window))
    alone = set()
    kept = False
    for index, (_, fields) in enumerate(moves):
        after = replace(window, **fields)
        output = _valid_output(operation, after, size)
        if output:
            alone.add(index)
            kept = kept or (output == now and after.stride == window.stride)
            yield _cost(window, after, output - now, 1), after
    for (first, (one, fields)), (second, (other, more)) in () if kept else combinations(enumerate(moves), 2):
        if one == other:
            continue
        after = replace(window, **fields, **more)
        output = _valid_output(operation, after, size)
        # Where one of the two is enough, the other must bring the output size back.
        if output and (output == now or not alone & {first, second}):
            yield _cost(window, after, output - now, 2), after


def _valid_output(operation: Operation, window: Window, size: int) -> int:
    """The output size with that window; 0 where it has a fault, does not fit, or PyTorch rejects it."""
    if torch_refusal(operation.kind, window) or max(window.pads) >= window.extent:
        return 0
    try:
        output, faulty = _outcome(operation, window, size)
    except ShapeError:
        return 0
    return 0 if faulty else output


def _cost(before: Window, after: Window, growth: int, count: int) -> Cost:
    distance = sum(abs(getattr(before, option) - getattr(after, option)) for option in Window.__slots__)
    return (before.stride != after.stride, growth != 0, count, abs(growth), after.pad_begin != after.pad_end, distance)


def _moves(operation: Operation, window: Window) -> Iterator[tuple[str, dict[str, int]]]:
    """The changes that are tried: the option, and the changed fields of the window."""
    kernel, stride, dilation = window.kernel, window.stride, window.dilation
    added = max(FARTHEST, min(stride, MOST_ADDED))
    tried: dict[str, Iterable[int]] = {
        "kernel": sorted({*range(max(1, kernel - FARTHEST), kernel + added + 1), -(-kernel // stride) * stride}),
        "stride": range(max(1, min(kernel, stride - FARTHEST)), stride + FARTHEST + 1),
        "dilation": range(max(1, dilation - FARTHEST), dilation + FARTHEST + 1),
    }
    if operation.kind == "convt":
        tried["output_padding"] = range(min(max(stride, dilation), MOST_ADDED))
    for option, values in tried.items():
        yield from ((option, {option: value}) for value in values if value != getattr(window, option))
    begins, ends = (range(max(0, pad - FARTHEST), pad + FARTHEST + 1) for pad in window.pads)
    for begin, end in product(begins, ends) if operation.auto_pad == "NOTSET" else ():
        # PyTorch can pad a convolution asymmetrically, by a layer before it, but not the others.
        alike = begin - window.pad_begin == end - window.pad_end
        if (begin, end) != window.pads and (alike or operation.kind == "conv"):
            yield "padding", {"pad_begin": begin, "pad_end": end}


def _outcome(operation: Operation, window: Window, size: int) -> tuple[int, bool]:
    """The output size along one axis, and whether a cell is uncovered or the overlap is uneven."""
    alone = replace(operation, windows=(window,)).resolved(size)
    [explicit] = alone.windows
    output = window_size(alone, explicit, size)
    return output, is_faulty(alone.kind, explicit, size, output)
