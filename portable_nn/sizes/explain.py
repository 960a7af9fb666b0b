"""The formula of an output size with numbers substituted, step by step."""

from __future__ import annotations

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


def _steps(operation: Operation, given: Window, window: Window, size: int) -> Iterator[Line]:
    """The steps along one axis, of the window as ``given``, and ``window`` with explicit pads."""
    yield Line(
        "span of the kernel",
        "dilation * (kernel - 1) + 1",
        f"{window.dilation} * ({window.kernel} - 1) + 1",
        window.extent,
    )
    if operation.kind == "convt":
        if operation.auto_pad.startswith("SAME"):
            yield from _transposed_padding(given, window, size)
        yield from _transposed(window, size)
    else:
        if operation.auto_pad.startswith("SAME"):
            yield from _padding(window, size)
        yield from _positions(operation, window, size)


def _positions(operation: Operation, window: Window, size: int) -> Iterator[Line]:
    """A convolution or pool: how many steps the kernel can move."""
    stride, (begin, end) = window.stride, window.pads
    padded = size + begin + end
    room = padded - window.extent
    yield Line("padded input", "begin + input + end", f"{begin} + {size} + {end}", padded)
    yield Line("room to move", "padded - span", f"{padded} - {window.extent}", room)
    if operation.ceil:
        steps = -(-room // stride)
        yield Line("steps, rounded up", "ceil(room / stride)", f"ceil({room} / {stride})", steps)
    else:
        steps = room // stride
        yield Line("steps, rounded down", "floor(room / stride)", f"floor({room} / {stride})", steps)
        yield Line("left over at the end", "room mod stride", f"{room} mod {stride}", room % stride)
    output = window_size(operation, window, size)
    if output <= steps:
        formula, numbers = "steps * stride >= begin + input", f"{steps} * {stride} >= {begin} + {size}"
        yield Line("a last window in the end padding is dropped", formula, numbers, steps := steps - 1)
    yield Line("output", "steps + 1", f"{steps} + 1", output)


def _transposed(window: Window, size: int) -> Iterator[Line]:
    """A transposed convolution: a zero-inserted and padded input, over which a kernel moves by 1."""
    stride, span, (begin, end) = window.stride, window.extent, window.pads
    grid = stride * (size - 1) + 1
    yield Line("grid: the input cells, stride apart", "stride * (input - 1) + 1", f"{stride} * ({size} - 1) + 1", grid)
    ringed = grid + 2 * (span - 1)
    yield Line("span - 1 rings added around it", "grid + 2 * (span - 1)", f"{grid} + 2 * ({span} - 1)", ringed)
    left = ringed - begin - end
    yield Line("padding: rings taken away", "grid - begin - end", f"{ringed} - {begin} - {end}", left)
    if window.output_padding:
        formula, numbers = "grid + output_padding", f"{left} + {window.output_padding}"
        yield Line("output_padding: added at the end", formula, numbers, left := left + window.output_padding)
    yield Line("output: positions, moved by 1", "grid - span + 1", f"{left} - {span} + 1", left - span + 1)


def _padding(window: Window, size: int) -> Iterator[Line]:
    """The "same" padding of a convolution or pool."""
    wanted = -(-size // window.stride)
    yield Line("same: cells wanted", "ceil(input / stride)", f"ceil({size} / {window.stride})", wanted)
    numbers = f"max(0, ({wanted} - 1) * {window.stride} + {window.extent} - {size})"
    yield Line("padding in all", "max(0, (wanted - 1) * stride + span - input)", numbers, sum(window.pads))


def _transposed_padding(given: Window, window: Window, size: int) -> Iterator[Line]:
    """The "same" padding of a transposed convolution."""
    stride, span, added = window.stride, window.extent, given.output_padding
    yield Line("same: cells wanted", "stride * input", f"{stride} * {size}", stride * size)
    formula = "max(0, stride * (input - 1) + span + output_padding - wanted)"
    numbers = f"max(0, {stride} * ({size} - 1) + {span} + {added} - {stride * size})"
    yield Line("padding in all", formula, numbers, sum(window.pads))
