"""The inverse of the formula: the options that turn one size into another, the most usual first."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from heapq import heappop, heappush, merge
from itertools import islice, product
from operator import itemgetter
from typing import NamedTuple, TypeAlias

from portable_nn.core.errors import ShapeError, UsageError, listed
from portable_nn.sizes.coverage import is_faulty
from portable_nn.sizes.operation import (
    Kind,
    Operation,
    Padding,
    PerAxis,
    Window,
    input_sizes,
    joined,
    per_axis_windows,
    size_text,
    torch_refusal,
)

Cost: TypeAlias = tuple[int, ...]
Ranked: TypeAlias = tuple[Cost, Window]


class Tried(NamedTuple):
    """The values of each option that are tried along one axis."""

    kernel: Sequence[int]
    stride: Sequence[int]
    padding: Sequence[tuple[int, int]]
    dilation: Sequence[int]
    output_padding: Sequence[int]

    def __str__(self) -> str:
        pads = [begin for begin, end in self.padding if begin == end]
        values = {**self._asdict(), "padding": pads or self.padding}
        return joined(f"{option} {_span(tried)}" for option, tried in values.items() if tried != (0,))


@dataclass(frozen=True, slots=True)
class Bounds:
    """The values of each option that are tried; with ``asymmetric``, also pads that differ at the two ends."""

    kernel: Sequence[int] = range(1, 12)
    stride: Sequence[int] = range(1, 9)
    padding: Sequence[int] = range(6)
    dilation: Sequence[int] = range(1, 3)
    output_padding: Sequence[int] = range(8)
    asymmetric: bool = False

    @classmethod
    def usual(cls, size: int, output: int) -> Bounds:
        """The default: small values, and those that fit the ratio of the sizes."""
        small, large = sorted((size, output))
        ratios = {large // small, -(-large // small)}
        plain = cls()
        return cls(
            kernel=sorted({*plain.kernel, *ratios, *(2 * ratio for ratio in ratios)}),
            stride=sorted({*plain.stride, *ratios}),
            padding=sorted({*plain.padding, *(ratio // 2 for ratio in ratios)}),
        )


def solve(
    kind: Kind,
    sizes: PerAxis,
    outputs: PerAxis,
    *,
    limit: int | None = 5,
    kernel: PerAxis | None = None,
    stride: PerAxis | None = None,
    padding: Padding | None = None,
    dilation: PerAxis | None = None,
    output_padding: PerAxis | None = None,
    ceil: bool = False,
    bounds: Bounds | None = None,
) -> tuple[Operation, ...]:
    """The operations that turn an input of ``sizes`` into ``outputs``, best first.

    Operations without faults come first (see ``fixes``), then those with the same options on every axis, without
    dilation and output padding, with symmetric pads, and with a small kernel: odd with "same" padding for a
    convolution, a multiple of the stride for a transposed one, equal to the stride for a pool.

    Args:
        kind: ``"conv"``, ``"convt"`` or ``"pool"``.
        sizes: the size of the input along each axis.
        outputs: the wanted size of the output along each axis.
        limit: the most operations to return; ``None`` for all, also those that differ between axes of the same sizes,
            and in strides that change nothing.
        kernel, stride, padding, dilation, output_padding: fixed values; an option that is not given takes every value
            of ``bounds``.
        ceil: ceil mode of a pool.
        bounds: the values to try; ``Bounds.usual`` by default.

    Raises:
        UsageError: options that contradict each other or the kind.
        ShapeError: no operation fits; the message has the nearest sizes that are possible.
    """
    found, wanted = both_sizes(sizes, outputs)
    if isinstance(padding, str):
        raise UsageError(f"padding must be numbers to solve with, not {padding!r}")
    given = {"kernel": kernel, "stride": stride, "dilation": dilation, "output_padding": output_padding}
    options = {option: value for option, value in given.items() if value is not None}
    pinned = {*options, *(["padding"] if padding is not None else [])}
    windows, _ = per_axis_windows(len(found), padding or 0, "NOTSET", **{"kernel": 1, **options})
    Operation(kind, windows, ceil=ceil)  # raises for options that are not of its kind
    tried = [
        _tried(kind, bounds or Bounds.usual(size, output), window, pinned)
        for size, output, window in zip(found, wanted, windows, strict=True)
    ]
    axes = list(zip(tried, found, wanted, strict=True))
    ranked = [_ranked(kind, *axis, ceil) for axis in axes]
    faults = [_no_solution(kind, *axis, ceil) for axis, fitting in zip(axes, ranked, strict=True) if not fitting]
    if faults:
        raise ShapeError(listed(dict.fromkeys(faults)))
    best = (
        _best(ranked) if limit is None else _best(list(map(_telling, ranked)), equal=axes.count(axes[0]) == len(axes))
    )
    return tuple(Operation(kind, windows, ceil=ceil) for _, windows in islice(best, limit))


def both_sizes(sizes: PerAxis, outputs: PerAxis) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The sizes of an input and of the wanted output, along the same axes. Raises ``UsageError``."""
    found = input_sizes(sizes)
    wanted = input_sizes(outputs, "output size") * (len(found) if isinstance(outputs, int) else 1)
    if len(found) != len(wanted):
        raise UsageError(f"the wanted output {size_text(wanted)} needs as many axes as the input {size_text(found)}")
    return found, wanted


def _tried(kind: Kind, bounds: Bounds, window: Window, pinned: Set[str]) -> Tried:
    values = {
        option: (getattr(window, option),) if option in pinned else getattr(bounds, option)
        for option in ("kernel", "stride", "dilation", "output_padding")
    }
    if kind != "convt":
        values["output_padding"] = (0,)
    pads = [pair for pair in product(bounds.padding, bounds.padding) if bounds.asymmetric or pair[0] == pair[1]]
    return Tried(**values, padding=[window.pads] if "padding" in pinned else pads)


def _every(kind: Kind, tried: Tried, size: int, ceil: bool) -> Iterator[tuple[int, Window]]:
    """Every possible output size, with its window."""
    for kernel, stride, pads, dilation, added in product(
        tried.kernel, tried.stride, tried.padding, tried.dilation, tried.output_padding
    ):
        window = Window(kernel, stride, dilation, *pads, added)
        with suppress(ShapeError):
            yield window.spread_size(size) if kind == "convt" else window.output_size(size, ceil=ceil), window


def _ranked(kind: Kind, tried: Tried, size: int, wanted: int, ceil: bool) -> list[Ranked]:
    """Along one axis: the windows that give ``wanted``, best first."""
    fitting = [window for output, window in _every(kind, tried, size, ceil) if output == wanted]
    allowed = [window for window in fitting if not torch_refusal(kind, window)]
    return sorted(((_cost(kind, window, size, wanted), window) for window in allowed), key=itemgetter(0))


def _cost(kind: Kind, window: Window, size: int, output: int) -> Cost:
    """The cost of a window: how unusual it is, the worst first."""
    kernel, stride, pads = window.kernel, window.stride, sum(window.pads)
    pointless = 6 if kernel == 1 else 0
    habit = {
        "conv": 2 * kernel + (4 if kernel % 2 == 0 else 0) + abs(pads - window.extent + 1),
        "convt": 2 * kernel + abs(pads - kernel + stride),
        "pool": kernel + abs(kernel - stride) + pads,
    }[kind]
    # Where the kernel has a single position, every stride gives the same.
    once = (size if kind == "convt" else output) == 1
    return (
        is_faulty(kind, window, size, output) or max(window.pads) >= window.extent,
        once and stride != (kernel if kind == "pool" else 1),
        window.dilation,
        abs(window.pad_begin - window.pad_end),
        window.output_padding,
        habit + pointless,
        stride,
    )


def _best(ranked: Sequence[Sequence[Ranked]], *, equal: bool = False) -> Iterator[tuple[Cost, tuple[Window, ...]]]:
    """The windows of all axes, best first: equal ones before others of the same faults, and alone on ``equal`` axes."""
    different = () if equal else _different(ranked)
    return merge(_shared(ranked), different, key=lambda found: (found[0][0], len(set(found[1])) > 1, found[0]))


def _telling(ranked: list[Ranked]) -> list[Ranked]:
    """The windows without those whose stride changes nothing, unless it is given."""
    return [each for each in ranked if not each[0][1]] or ranked


def _shared(ranked: Sequence[Sequence[Ranked]]) -> list[tuple[Cost, tuple[Window, ...]]]:
    """The windows that fit every axis, best first."""
    costs = [{window: cost for cost, window in axis} for axis in ranked]
    shared = [window for window in costs[0] if all(window in axis for axis in costs)]
    found = [(total_cost([axis[window] for axis in costs]), (window,) * len(ranked)) for window in shared]
    return sorted(found, key=itemgetter(0))


def _different(ranked: Sequence[Sequence[Ranked]]) -> Iterator[tuple[Cost, tuple[Window, ...]]]:
    """Every combination of different windows, best first, computed lazily."""
    # The best remaining combination is always a neighbour of one that was yielded.
    start = (0,) * len(ranked)
    waiting, seen = [(total_cost([axis[0][0] for axis in ranked]), start)], {start}
    while waiting:
        cost, place = heappop(waiting)
        windows = tuple(axis[index][1] for axis, index in zip(ranked, place, strict=True))
        if len(set(windows)) > 1:
            yield cost, windows
        for number, index in enumerate(place):
            after = (*place[:number], index + 1, *place[number + 1 :])
            if index + 1 < len(ranked[number]) and after not in seen:
                seen.add(after)
                heappush(waiting, (total_cost([axis[at][0] for axis, at in zip(ranked, after, strict=True)]), after))


def total_cost(costs: Sequence[Cost]) -> Cost:
    """The sum of costs along several axes."""
    return tuple(map(sum, zip(*costs, strict=True)))


def _no_solution(kind: Kind, tried: Tried, size: int, wanted: int, ceil: bool) -> str:
    """Why nothing fits along one axis, and the nearest sizes that are possible."""
    every = _every(kind, tried, size, ceil)
    reached = sorted({output for output, window in every if not torch_refusal(kind, window)})
    place = bisect(reached, wanted)
    below, above = reached[:place][-1:], reached[place:][:1]
    verb = "are" if below and above else "is"
    said = f"no {kind} with {tried} turns {size} into {wanted}"
    if not reached:
        return f"{said}, or into anything else: the kernel spans more than the padded input"
    reason = ""
    if kind != "convt" and not above and wanted > size:
        reason = " (only padding makes the output of a conv or pool larger than its input: use convt to enlarge)"
    if kind == "convt" and not below and wanted < size:
        reason = " (only padding makes the output of a convt smaller than its input: use conv or pool to shrink)"
    return f"{said}; the nearest that they reach {verb} {joined(below + above)}{reason}"


def _span(values: Sequence[object]) -> str:
    """``3``, ``1 to 11``, ``1 to 8 and 16``."""
    runs: list[list[object]] = []
    for value in values:
        if runs and isinstance(value, int) and runs[-1][-1] == value - 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return joined(f"{run[0]} to {run[-1]}" if len(run) > 1 else run[0] for run in runs)
