"""The positions of a kernel, each on a small panel of its own. All lengths are in inches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from portable_nn.sizes.painting import CELL, MARGIN, WIDTH, Point, cells, kernel, text
from portable_nn.sizes.scene import Board, Place, Scene, boards

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_CELL: Final = 0.055
LARGEST_CELL: Final = 0.18
HEIGHT: Final = 8.5
"""The maximum height of all panels together."""
BESIDE: Final = 0.35
BELOW: Final = 0.25
"""The space between two panels."""
INDENT: Final = 0.4
HEADING: Final = 0.35
BETWEEN: Final = 1
"""The distance between the two boards of a panel, in cells."""
OF_MANY: Final = 4
"""The most panels along an axis where there is no room for all of them."""


class Panels(NamedTuple):
    """The chosen positions of the kernel, in lines, and the size of a cell and of a panel."""

    lines: Sequence[Sequence[Place]]
    cell: float
    wide: float
    tall: float

    @property
    def height(self) -> float:
        """The height of all panels."""
        return HEADING + len(self.lines) * (self.tall + BELOW)


def arrange(scene: Scene) -> Panels:
    """Choose as many positions as there is room for: all, or the first and the last along each axis."""
    moved_over, output = boards(scene.trimmed())[-2:]
    wide = len(moved_over.columns) + BETWEEN + len(output.columns)
    tall = max(len(moved_over.rows), len(output.rows))
    rows, columns = range(len(output.rows)), range(len(output.columns))
    if len(scene.sizes) == 1:
        cell = min(CELL, (WIDTH - 2 * MARGIN - INDENT) / wide)
        lines = [[(0, column)] for column in _ends(columns, HEIGHT / (cell + BELOW))]
        return Panels(lines, cell, cell * wide, cell)
    width = WIDTH - 2 * MARGIN + BESIDE
    room = [HEIGHT / (LEAST_CELL * tall + BELOW), width / (LEAST_CELL * wide + BESIDE)]
    if len(rows) > room[0] or len(columns) > room[1]:
        room = [min(number, OF_MANY) for number in room]
    down, across = _ends(rows, room[0]), _ends(columns, room[1])
    cell = min(LARGEST_CELL, (width / len(across) - BESIDE) / wide, (HEIGHT / len(down) - BELOW) / tall)
    return Panels([[(row, column) for column in across] for row in down], cell, cell * wide, cell * tall)


def _ends(numbers: Sequence[int], room: float) -> list[int]:
    """All ``numbers``, or the first and the last, as many as fit into ``room`` but at least two."""
    most = max(int(room), 2)
    return [*numbers] if len(numbers) <= most else [*numbers[: most - most // 2], *numbers[-(most // 2) :]]


def draw_panels(axes: Axes, scene: Scene, panels: Panels, top: float) -> None:
    """Draw the kernel at each chosen position, with the output cell that it computes there."""
    shown, total = sum(map(len, panels.lines)), len(scene.places())
    positions = f"All {total} {scene.mover} positions" if total > 1 else f"The only {scene.mover} position"
    if shown < total:
        positions = f"{shown} of the {total} {scene.mover} positions, the first and the last"
    single, trimmed = len(scene.sizes) == 1, scene.trimmed()
    side_by_side = boards(trimmed)[-2:]
    heading = f"{positions}, by {'number' if single else 'row and column'} of the output cell"
    text(axes, (MARGIN, top), heading, 10, weight="bold")
    for down, line in enumerate(panels.lines):
        for across, position in enumerate(line):
            x = MARGIN + across * (panels.wide + BESIDE)
            y = top + HEADING + down * (panels.tall + BELOW)
            if single:
                text(axes, (x, y + panels.tall / 2), str(position[1]), 9, va="center")
                x += INDENT
            else:
                y += BELOW
                text(axes, (x, y - 0.03), "({}, {})".format(*position), 8, va="bottom")
            _panel(axes, trimmed, side_by_side, position, (x, y), panels.cell)


def _panel(
    axes: Axes, scene: Scene, side_by_side: Sequence[Board], position: Place, corner: Point, cell: float
) -> None:
    """Draw the kernel at one position, on two small boards."""
    moved_over, output = side_by_side
    part = "position " + " ".join(map(str, position))
    left, top = corner
    tall = max(len(moved_over.rows), len(output.rows))
    tops = [top + cell * (tall - len(board.rows)) / 2 for board in side_by_side]
    first, second = (left, tops[0]), (left + cell * (len(moved_over.columns) + BETWEEN), tops[1])
    for kind, places in moved_over.kinds().items():
        cells(axes, kind, places, first, cell, part)
    kernel(axes, scene.taps(position), first, cell, part)
    cells(axes, "to come", scene.places(), second, cell, f"{part} output")
    cells(axes, "now", [position], second, cell, f"{part} output")
