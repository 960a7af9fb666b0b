"""Shapes, and parts of arrays, in numpy."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Final

from portable_nn.converters.array.use import ArrayUse, Row, in_quotes, tuple_of
from portable_nn.core.dims import total
from portable_nn.core.errors import RefusalError
from portable_nn.core.graph import Dim
from portable_nn.operators.layout.movement import cuts_of
from portable_nn.operators.layout.padding import pads_of


def _reshape(use: ArrayUse) -> str:
    """The sizes of the result, which the type of the node says, are written where they follow from the inputs."""
    x, target = use.x(), use.results[0].shape
    sizes = [_size(use, dim) for dim in target]
    if sizes and [dim for dim in target if isinstance(dim, str)] == [*target[:1]] == [*use.type().shape[:1]]:
        sizes[0] = f"len({x})"
    if "-1" in sizes and use.has(1):
        return f"reshape({x}, {use.x(1)})"
    return f"{x}.reshape({', '.join(sizes) or '()'})"


def _size(use: ArrayUse, dim: Dim) -> str:
    try:
        return use.size(dim)
    except RefusalError:
        return "-1"


def _squeeze(use: ArrayUse) -> str:
    if use.has(1) and not use.knows(1):
        return f"{use.x()}.squeeze({use.counted(1)})"
    axes = use.axes_of(1)
    if axes is None:
        axes = tuple(axis for axis, size in enumerate(use.type().shape) if size == 1)
    return f"{use.x()}.squeeze({axes[0] if len(axes) == 1 else axes})" if axes else use.x()


def _unsqueeze(use: ArrayUse) -> str:
    if not use.knows(1):
        return f"np.expand_dims({use.x()}, {use.counted(1)})"
    axes = use.axes_of(1, len(use.results[0].shape)) or ()
    if axes == (0,):
        return f"{use.x()}[np.newaxis]"
    return f"np.expand_dims({use.x()}, {axes[0] if len(axes) == 1 else axes})"


def _transpose(use: ArrayUse) -> str:
    perm = use.ints("perm")
    return f"{use.x()}.T" if perm is None else f"{use.x()}.transpose({', '.join(map(str, perm))})"


def _shape(use: ArrayUse) -> str:
    start, end = use.int("start"), use.attributes.get("end")
    part = "" if not start and end is None else f"[{start or ''}:{'' if end is None else end}]"
    return f"np.array({use.x()}.shape{part}, np.int64)"


def _slice(use: ArrayUse) -> str:
    try:
        given, sizes = cuts_of(use), use.type().shape
        flips = [axis for axis, start, end, step in given if _turns(start, end, step, sizes[axis])]
        cuts = [(a, use.size(start), use.size(end), step) for a, start, end, step in given if a not in flips]
    except RefusalError:
        return _cut(use)
    if flips and not cuts:
        return f"np.flip({use.x()}, {tuple_of(flips)})"
    parts = [":"] * use.rank
    for axis, start, end, step in cuts:
        if flips or step < 0:
            return _cut(use)
        size = use.type().shape[axis]
        if start.startswith("-") and isinstance(size, int) and start[1:].isdecimal():
            start = str(max(0, int(start) + size))  # Python reads -7 of 5 as 0 too, but less plainly.
        is_whole = end.isdecimal() and int(end) > 2**30
        parts[axis] = f"{'' if start == '0' else start}:{'' if is_whole else end}{f':{step}' if step > 1 else ''}"
    while len(parts) > 1 and parts[-1] == ":":
        parts.pop()
    return f"{use.x()}[{', '.join(parts)}]"


def _turns(start: Dim, end: Dim, step: int, size: Dim) -> bool:
    """True for a slice from the last entry to the first."""
    if step != -1 or isinstance(start, str) or isinstance(end, str):
        return False
    most = 2**30 if isinstance(size, str) else size
    return (start == -1 or start >= most - 1) and end < -most


def _cut(use: ArrayUse) -> str:
    """A slice along each of some axes, backwards or by what is computed."""
    if not all(use.knows(index) for index in (3, 4) if use.has(index)):
        raise RefusalError("axes and steps that are computed")
    count = use.type(1).shape[0]
    axes = [int(axis) % use.rank for axis in use.whole(3)] if use.has(3) else range(int(count))
    steps = use.whole(4) if use.has(4) else ["1"] * len(axes)
    return f"cut({use.x()}, {use.listed(1)}, {use.listed(2)}, {tuple_of(axes)}, {tuple_of(steps)})"


def _split(use: ArrayUse) -> str:
    axis = use.attribute_axis()
    sizes = [result.shape[axis] for result in use.results]
    if len(sizes) == 1:
        return f"[{use.x()}]"
    if use.has(1) and not use.knows(1):
        return f"np.split({use.x()}, np.cumsum({use.x(1)})[:-1], axis={axis})"
    if len(set(sizes)) == 1:
        return f"np.split({use.x()}, {len(sizes)}, axis={axis})"
    places = [use.size(total(sizes[: place + 1])) for place in range(len(sizes) - 1)]
    return f"np.split({use.x()}, [{', '.join(places)}], axis={axis})"


def _pad(use: ArrayUse) -> str:
    pads = use.listed(1)
    if use.has(3):
        pads = tuple_of([use.size(each) for each in chain(*zip(*pads_of(use), strict=True))])
    value = f", {use.x(2)}" if use.has(2) and use.string("mode") == "constant" else ""
    return f"padded({use.x()}, {pads}, {in_quotes(use.string('mode'))}{value})"


ROWS: Final[Mapping[str, Row]] = {
    "Identity": Row("{0}", "as it is"),
    "Reshape": Row(_reshape, "the same numbers in another shape"),
    "Flatten": Row(_reshape, "all numbers of an example in one row"),
    "Squeeze": Row(_squeeze, "without axes of size 1"),
    "Unsqueeze": Row(_unsqueeze, "with further axes of size 1"),
    "Transpose": Row(_transpose, "the axes in another order"),
    "Expand": Row(lambda u: f"expand({u.x()}, {u.listed(1)})", "repeated"),
    "Shape": Row(_shape, "its sizes"),
    "Size": Row("np.array({0}.size, np.int64)", "how many numbers it has"),
    "Concat": Row("np.concatenate([{all}], axis={axis})", "one after the other"),
    "Split": Row(_split, "in parts"),
    "Slice": Row(_slice, "a part"),
    "Pad": Row(_pad, "with more cells around it"),
    "Tile": Row(lambda u: f"np.tile({u.x()}, {u.listed(1)})", "repeated"),
}
