"""The formula of an output size with numbers substituted, step by step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from portable_nn.core.text import table
from portable_nn.sizes.coverage import axis_name
from portable_nn.sizes.operation import Operation, PerAxis, Window, input_sizes, joined, size_text, window_size


class Line(NamedTuple):
    """One step: what is computed, its formula, the same with numbers, and the result."""

    what: str
    formula: str
    numbers: str
    result: int


NAMES = {"conv": "Convolution", "convt": "Transposed convolution", "pool": "Pool"}


def explain(operation: Operation, sizes: PerAxis) -> tuple[tuple[Line, ...], ...]:
    """The steps from the size of the input to that of the output, along each axis. Raises ``ShapeError``."""
    found = input_sizes(sizes)
    operation.output_size(found)
    whole = operation.over(len(found))
    axes = zip(whole.windows, operation.resolved(found).windows, found, strict=True)
    return tuple(tuple(_steps(whole, *axis)) for axis in axes)


def explain_text(operation: Operation, sizes: PerAxis) -> str:
    """``explain`` as text; axes with equal sizes and options are explained once."""
    found = input_sizes(sizes)
    outputs = operation.output_size(found)
    lines = explain(operation, found)
    parts = [f"{NAMES[operation.kind]}: {size_text(found)} -> {size_text(outputs)}\n"]
    for steps in dict.fromkeys(lines):
        names = [axis_name(axis, len(lines)) for axis, other in enumerate(lines) if other == steps]
        axis = lines.index(steps)
        heading = f"{joined(names).capitalize()}: {found[axis]} -> {outputs[axis]}\n" if len(lines) > 1 else ""
        rows = [(line.what, line.formula, line.numbers, str(line.result)) for line in steps]
        parts.append(heading + table(("step", "formula", "numbers", ">result"), rows))
    return "\n".join(parts)


def _line(what: str, formula: str, result: int, **values: int) -> Line:
    """A step, with numbers for the names in its formula."""
    return Line(what, formula, re.sub("[a-z_]+", lambda name: str(values.get(name[0], name[0])), formula), result)


def _steps(operation: Operation, given: Window, window: Window, size: int) -> Iterator[Line]:
    """The steps along one axis, of the window as ``given``, and ``window`` with explicit pads."""
    kernel, stride, dilation, span = window.kernel, window.stride, window.dilation, window.extent
    yield _line("span of the kernel", "dilation * (kernel - 1) + 1", span, kernel=kernel, dilation=dilation)
    if operation.auto_pad.startswith("SAME"):
        values = {"stride": stride, "span": span, "input": size, "output_padding": given.output_padding}
        if operation.kind == "convt":
            wanted, of_wanted = stride * size, "stride * input"
            of_pads = "max(0, stride * (input - 1) + span + output_padding - wanted)"
        else:
            wanted, of_wanted = -(-size // stride), "ceil(input / stride)"
            of_pads = "max(0, (wanted - 1) * stride + span - input)"
        yield _line("same: cells wanted", of_wanted, wanted, **values)
        yield _line("padding in all", of_pads, sum(window.pads), wanted=wanted, **values)
    yield from _transposed(window, size) if operation.kind == "convt" else _positions(operation, window, size)


def _positions(operation: Operation, window: Window, size: int) -> Iterator[Line]:
    """A convolution or pool: how many steps the kernel can move."""
    stride, (begin, end) = window.stride, window.pads
    padded = size + begin + end
    room = padded - window.extent
    yield _line("padded input", "begin + input + end", padded, begin=begin, input=size, end=end)
    yield _line("room to move", "padded - span", room, padded=padded, span=window.extent)
    if operation.ceil:
        steps = -(-room // stride)
        yield _line("steps, rounded up", "ceil(room / stride)", steps, room=room, stride=stride)
    else:
        steps = room // stride
        yield _line("steps, rounded down", "floor(room / stride)", steps, room=room, stride=stride)
        yield _line("left over at the end", "room mod stride", room % stride, room=room, stride=stride)
    if window_size(operation, window, size) <= steps:
        values = {"steps": steps, "stride": stride, "begin": begin, "input": size}
        steps -= 1
        yield _line("a last window in the end padding is dropped", "steps * stride >= begin + input", steps, **values)
    yield _line("output", "steps + 1", steps + 1, steps=steps)


def _transposed(window: Window, size: int) -> Iterator[Line]:
    """A transposed convolution: a zero-inserted and padded input, over which a kernel moves by 1."""
    stride, span, (begin, end), added = window.stride, window.extent, window.pads, window.output_padding
    grid = stride * (size - 1) + 1
    yield _line("grid: the input cells, stride apart", "stride * (input - 1) + 1", grid, stride=stride, input=size)
    ringed = grid + 2 * (span - 1)
    yield _line("span - 1 rings added around it", "grid + 2 * (span - 1)", ringed, grid=grid, span=span)
    left = ringed - begin - end
    yield _line("padding: rings taken away", "grid - begin - end", left, grid=ringed, begin=begin, end=end)
    if added:
        formula = "grid + output_padding"
        yield _line("output_padding: added at the end", formula, left + added, grid=left, output_padding=added)
    left += added
    yield _line("output: positions, moved by 1", "grid - span + 1", left - span + 1, grid=left, span=span)
