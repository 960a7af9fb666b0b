"""The contents of a picture of an operation, as cells and text: boards side by side, arrows and a legend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import isqrt, prod
from typing import Final, NamedTuple, TypeAlias

from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.sizes.coverage import axis_name, coverage
from portable_nn.sizes.notation import onnx_text, torch_text
from portable_nn.sizes.operation import Kind, Operation, PerAxis, Window, input_sizes, size_text


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells along one axis, and the position of the kernel for each output cell.

    Attributes:
        kinds: the kind of each cell: "input"; "unread", an input cell that no window reads; "padding"; "beyond", which
            only ceil mode reaches; of a transposed convolution "zero", between the input cells, "ring", around them,
            and "added", which is output padding.
        cut: how many of these the padding of a transposed convolution crops at the begin and at the end.
        starts: the first cell of the kernel for each output cell.
        taps: the cells that the kernel reads, counted from there.
        outputs: the kind of each output cell: "output", or "unread" where it holds the bias alone.
        landing: how many taps of a transposed convolution land on each output cell.
    """

    kinds: tuple[str, ...]
    cut: tuple[int, int]
    starts: tuple[int, ...]
    taps: tuple[int, ...]
    outputs: tuple[str, ...]
    landing: tuple[int, ...] = ()

    def trimmed(self) -> Grid:
        """The grid without the cropped cells."""
        begin, end = self.cut
        kinds = self.kinds[begin : len(self.kinds) - end]
        return replace(self, kinds=kinds, cut=(0, 0), starts=tuple(start - begin for start in self.starts))


LINE = Grid(("input",), (0, 0), (0,), (0,), ("output",), (1,))
"""The second axis of an operation that has a single one."""


def grids(operation: Operation, sizes: PerAxis) -> tuple[Grid, ...]:
    """The grid along each axis, for an input of ``sizes``. Raises ``UsageError`` or ``ShapeError``."""
    found = input_sizes(sizes)
    whole = operation.resolved(found)
    layout = _transposed if whole.kind == "convt" else _direct
    counts = [axis.counts for axis in coverage(whole, found)]
    axes = zip(whole.windows, found, whole.output_size(found), counts, strict=True)
    return tuple(layout(*axis) for axis in axes)


def longest_side(kind: Kind, window: Window, inputs: int, outputs: int) -> int:
    """The most cells on one side along an axis: of the input, of the output, or of ``Grid.kinds``."""
    if kind == "convt":
        cells = window.stride * (inputs - 1) + 1 + 2 * (window.extent - 1) + window.output_padding
    else:
        cells = max(inputs + sum(window.pads), (outputs - 1) * window.stride + window.extent)
    return max(inputs, outputs, cells)


def _direct(window: Window, inputs: int, outputs: int, counts: Sequence[int]) -> Grid:
    starts = tuple(range(0, outputs * window.stride, window.stride))
    beyond = starts[-1] + window.extent - (window.pad_begin + inputs + window.pad_end)
    padding = [["padding"] * pads for pads in window.pads]
    kinds = (*padding[0], *_seen("input", counts), *padding[1], *["beyond"] * beyond)
    return Grid(kinds, (0, 0), starts, _taps(window), ("output",) * outputs)


def _transposed(window: Window, inputs: int, outputs: int, counts: Sequence[int]) -> Grid:
    ring = ["ring"] * (window.extent - 1)
    spread = ["input", *["zero"] * (window.stride - 1)] * (inputs - 1) + ["input"]
    kinds = (*ring, *spread, *ring, *["added"] * window.output_padding)
    starts = tuple(range(window.pad_begin, window.pad_begin + outputs))
    return Grid(kinds, window.pads, starts, _taps(window), _seen("output", counts), tuple(counts))


def _seen(kind: str, counts: Sequence[int]) -> tuple[str, ...]:
    return tuple(kind if count else "unread" for count in counts)


def _taps(window: Window) -> tuple[int, ...]:
    return tuple(range(0, window.extent, window.dilation))


MOST_CELLS: Final = 40
"""The most cells on a side of a board."""

TIMES: Final = "\N{MULTIPLICATION SIGN}"

KINDS: Final = (
    "input",
    "output",
    "unread",
    "zero",
    "padding",
    "ring",
    "added",
    "beyond",
    "cut",
    "tap",
    "kernel",
    "now",
    "to come",
)
"""All kinds of cells. A cell is of the kind of its row or its column, whichever is later here."""

ZEROS: Final = ("zero", "padding", "ring", "added")

Place: TypeAlias = tuple[int, int]
"""The row and column of a cell."""


@dataclass(frozen=True, slots=True)
class Scene:
    """An operation with explicit pads, on an input; an operation of one axis has a single row."""

    operation: Operation
    sizes: tuple[int, ...]
    outputs: tuple[int, ...]
    rows: Grid
    columns: Grid
    title: str

    @property
    def sides(self) -> tuple[Grid, ...]:
        """The grid of each axis."""
        return (self.rows, self.columns)[-len(self.sizes) :]

    @property
    def mover(self) -> str:
        """The word for what moves over the input."""
        return "window" if self.operation.kind == "pool" else "kernel"

    def trimmed(self) -> Scene:
        """The scene without the cropped cells."""
        return replace(self, rows=self.rows.trimmed(), columns=self.columns.trimmed())

    def places(self) -> list[Place]:
        """The output cells, one for each position of the kernel."""
        return list(product(range(len(self.rows.starts)), range(len(self.columns.starts))))

    def taps(self, position: Place) -> list[Place]:
        """The cells under the taps of the kernel where it stands for the output cell ``position``."""
        row, column = self.rows.starts[position[0]], self.columns.starts[position[1]]
        return [(row + down, column + right) for down, right in product(self.rows.taps, self.columns.taps)]

    def read(self, position: Place) -> list[Place]:
        """Those of them that are read: cells that a pool does not count are not."""
        unread = {"beyond"} if self.operation.counts_padding else {"beyond", "padding"}
        rows, columns = self.rows.kinds, self.columns.kinds
        return [place for place in self.taps(position) if not unread & {rows[place[0]], columns[place[1]]}]

    def cut(self) -> list[Place]:
        """The cells of a transposed convolution's spread-out input that the padding crops."""
        kept = [range(side.cut[0], len(side.kinds) - side.cut[1]) for side in (self.rows, self.columns)]
        places = product(range(len(self.rows.kinds)), range(len(self.columns.kinds)))
        return [(row, column) for row, column in places if row not in kept[0] or column not in kept[1]]

    def zeros(self, board: Board) -> list[Place]:
        """The cells of a board that hold a zero: inserted between the input cells, around them, or as padding."""
        if self.operation.kind == "pool":
            return []
        cut = set(self.cut())
        places = (place for kind in ZEROS for place in board.kinds().get(kind, ()))
        return [place for place in places if place not in cut]

    def landing(self) -> dict[Place, int]:
        """The number of taps of a transposed convolution that land on each output cell; empty where all have equally
        many."""
        counts = {
            (row, column): one * other
            for (row, one), (column, other) in product(enumerate(self.rows.landing), enumerate(self.columns.landing))
        }
        return counts if len(set(counts.values()) - {0}) > 1 else {}


class Board(NamedTuple):
    """Cells in rows and columns, with the kind of each row and of each column."""

    name: str
    caption: str
    rows: Sequence[str]
    columns: Sequence[str]

    def kinds(self) -> dict[str, list[Place]]:
        """The places of the cells of each kind."""
        found: dict[str, list[Place]] = {}
        for (row, one), (column, other) in product(enumerate(self.rows), enumerate(self.columns)):
            found.setdefault(max(one, other, key=KINDS.index), []).append((row, column))
        return found


def scene_of(
    operation: Operation, sizes: PerAxis, title: str | None = None, most_positions: int | None = None
) -> Scene:
    """The scene of ``operation`` on an input of ``sizes``; its ``title`` is the PyTorch notation by default.

    Where there are more than ``MOST_CELLS`` on a side, or more than ``most_positions``, it is that of an input which is
    smaller by whole strides, and the title says so.

    Raises:
        UsageError: more than two axes, or a side that is too long and no smaller input with the same edges.
        ShapeError: the options do not fit the sizes.
    """
    found = input_sizes(sizes)
    if len(found) > 2:
        raise UsageError(f"a picture has one or two axes, not {len(found)}: draw two of the axes")
    explicit = operation.resolved(found)
    outputs = explicit.output_size(found)
    longest = max(*found, *outputs)
    if longest <= MOST_CELLS:
        axes = zip(explicit.windows, found, outputs, strict=True)
        longest = max(longest_side(explicit.kind, *axis) for axis in axes)
    most = MOST_CELLS if most_positions is None else isqrt(most_positions)
    if longest > MOST_CELLS or prod(outputs) > most**2:
        if all(smaller := _smaller(operation, found, most)):
            words = f"{title or _title(explicit)}, drawn on {size_text(smaller)} cells, whose edges are the same"
            return scene_of(operation, smaller, words, most_positions)
        raise UsageError(f"a side of {longest} cells is too long for a picture (at most {MOST_CELLS})")
    sides = grids(explicit, found)
    rows, columns = sides if len(sides) == 2 else (LINE, *sides)
    return Scene(explicit, found, outputs, rows, columns, title or _title(explicit))


def boards(scene: Scene) -> tuple[Board, ...]:
    """The boards: the input, for a transposed convolution also with zeros inserted, and the output."""
    inputs, rows, columns = f"{by(scene.sizes)} cells", scene.rows.kinds, scene.columns.kinds
    output = Board("output", f"{by(scene.outputs)} cells", scene.rows.outputs, scene.columns.outputs)
    if scene.operation.kind == "convt":
        alone = [["input"] * kinds.count("input") for kinds in (rows, columns)]
        spread = f"{by(len(side.kinds) for side in scene.sides)} cells"
        if scene.cut():
            spread += f", {by(len(side.trimmed().kinds) for side in scene.sides)} left"
        return Board("input", inputs, *alone), Board("spread out", spread, rows, columns), output
    if any(any(window.pads) for window in scene.operation.windows):
        inputs += f", {by(len(side.kinds) - side.kinds.count('beyond') for side in scene.sides)} padded"
    return Board("input", inputs, rows, columns), output


def arrows(scene: Scene) -> tuple[list[str], ...]:
    """The text between each two boards."""
    windows = scene.operation.windows
    moves = [f"{scene.mover} {by(window.kernel for window in windows)}"]
    if any(window.dilation > 1 for window in windows):
        moves.append(f"dilation {_one(window.dilation for window in windows)}")
        moves.append(f"spans {by(window.extent for window in windows)}")
    if scene.operation.kind != "convt":
        return ([*moves, f"moves by {_one(window.stride for window in windows)}"],)
    spreads: dict[str, list[int] | list[str]] = {
        "zeros between": [window.stride - 1 for window in windows],
        "rings around": [window.extent - 1 for window in windows],
        "output padding": [window.output_padding for window in windows],
        "taken away": [_pads_text(window.pads) for window in windows],
    }
    words = [f"{what}: {_one(values)}" for what, values in spreads.items() if set(values) not in ({0}, {"0"})]
    return words, [*moves, "moves by 1"]


def legend(scene: Scene, output: str) -> list[tuple[str, str]]:
    """The kinds of cells in the scene with their descriptions; ``output`` is that of output cells."""
    transposed = scene.operation.kind == "convt"
    there = {kind for board in boards(scene) for kind in board.kinds()} | {"tap", "now"}
    there |= {"cut"} if scene.cut() else set()
    words = {
        "input": "input",
        "padding": "padding: zeros" if scene.operation.counts_padding else "padding, which is not counted",
        "beyond": "beyond the edge: ceil lets the last window stand there",
        "zero": "zeros put between",
        "ring": "rings of zeros around",
        "added": "output padding: zeros at the end",
        "cut": "taken away by the padding",
        "tap": f"what the {scene.mover} reads where it stands",
        "now": "the output cell that it makes there",
        "output": output,
    }
    uncovered = "holds the bias alone" if transposed else "never read"
    covered = coverage(scene.operation, scene.sizes)
    names = [found.words(axis_name(axis, len(covered))) for axis, found in enumerate(covered)]
    entries = [(kind, text) for kind, text in words.items() if kind in there]
    return entries + [("unread", f"{uncovered}: {name}") for name in names if name]


def by(values: Iterable[object]) -> str:
    """The sizes along the axes, separated by multiplication signs."""
    return f" {TIMES} ".join(map(str, values))


def _one(values: Iterable[object]) -> str:
    """One number where it is the same for all axes."""
    found = list(values)
    return str(found[0]) if len(set(found)) == 1 else by(found)


def _pads_text(pads: tuple[int, int]) -> str:
    begin, end = pads
    return str(begin) if begin == end else f"{begin}:{end}"


def _title(operation: Operation) -> str:
    try:
        return torch_text(operation, operation.groups, operation.groups)
    except UsageError:  # PyTorch has no such layer.
        return onnx_text(operation)


def _smaller(operation: Operation, sizes: tuple[int, ...], most_positions: int) -> list[int]:
    """An input that is smaller by whole strides, whose edges are treated the same; 0 along an axis that has none."""
    found = []
    for window, size in zip(operation.over(len(sizes)).windows, sizes, strict=True):
        alone = replace(operation, windows=(window,))
        step = 1 if operation.kind == "convt" else window.stride
        largest = min(size, MOST_CELLS - (MOST_CELLS - size) % step)
        found.append(next((n for n in range(largest, 0, -step) if _fits(alone, n, most_positions)), 0))
    return found


def _fits(operation: Operation, size: int, most_positions: int) -> bool:
    try:
        [window], [output] = operation.resolved(size).windows, operation.output_size(size)
    except ShapeError:
        return False
    return longest_side(operation.kind, window, size, output) <= MOST_CELLS and output <= most_positions
