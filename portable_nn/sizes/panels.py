"""The positions of a kernel, each on a small panel of its own. All lengths are in inches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from portable_nn.sizes.painting import MARGIN, WIDTH, Point, cells, kernel, text
from portable_nn.sizes.scene import Board, Place, Scene, boards

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_CELL: Final = 0.055
MIDDLE_CELL: Final = 0.18
"""The size of a cell for which a sheet is made wide enough, if it can be."""
LARGEST_CELL: Final = 0.32
HEIGHT: Final = 10.5
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
    """The chosen positions of the kernel, in lines, the size of a cell, the height of a panel and their distance."""

    lines: Sequence[Sequence[Place]]
    cell: float
    tall: float
    apart: float

    @property
    def height(self) -> float:
        """The height of all panels."""
        return HEADING + len(self.lines) * (self.tall + BELOW)


def wanted_width(scene: Scene) -> float:
    """The width of a sheet with room for all positions, at most ``WIDTH``; 0 where the overview shows the only one."""
    wide, _, (_, columns) = _extent(scene)
    if len(scene.places()) == 1:
        return 0
    beside = INDENT if len(scene.sizes) == 1 else (columns - 1) * (MIDDLE_CELL * wide + BESIDE)
    return min(WIDTH, MIDDLE_CELL * wide + beside + 2 * MARGIN)


def arrange(scene: Scene, sheet: float) -> Panels:
    """Choose as many positions as there is room for on a ``sheet``: all, or the first and the last along each axis."""
    wide, tall, (rows, columns) = _extent(scene)
    width = sheet - 2 * MARGIN
    if len(scene.sizes) == 1:
        cell = min(LARGEST_CELL, (width - INDENT) / wide)
        lines = [[(0, column)] for column in _ends(columns, HEIGHT / (cell + BELOW))]
        return Panels(lines, cell, cell, width)
    width += BESIDE
    room = [HEIGHT / (LEAST_CELL * tall + BELOW), width / (LEAST_CELL * wide + BESIDE)]
    if rows > room[0] or columns > room[1]:
        room = [min(number, OF_MANY) for number in room]
    down, across = _ends(rows, room[0]), _ends(columns, room[1])
    cell = min(LARGEST_CELL, (width / len(across) - BESIDE) / wide, (HEIGHT / len(down) - BELOW) / tall)
    lines = [[(row, column) for column in across] for row in down]
    return Panels(lines, cell, cell * tall, width / len(across))


def _extent(scene: Scene) -> tuple[int, int, tuple[int, int]]:
    """The width and height of a panel, in cells, and the rows and columns of positions."""
    moved_over, output = boards(scene.trimmed())[-2:]
    wide = len(moved_over.columns) + BETWEEN + len(output.columns)
    tall = max(len(moved_over.rows), len(output.rows))
    return wide, tall, (len(output.rows), len(output.columns))


def _ends(count: int, room: float) -> list[int]:
    """All numbers below ``count``, or the first and the last, as many as fit into ``room`` but at least two."""
    most = max(int(room), 2)
    numbers = range(count)
    return [*numbers] if count <= most else [*numbers[: most - most // 2], *numbers[-(most // 2) :]]


def draw_panels(axes: Axes, scene: Scene, panels: Panels, top: float) -> None:
    """Draw the kernel at each chosen position, with the output cell that it computes there."""
    shown, total = sum(map(len, panels.lines)), len(scene.places())
    positions = f"All {total} {scene.mover} positions"
    if shown < total:
        positions = f"{shown} of the {total} {scene.mover} positions, the first and the last"
    single, trimmed = len(scene.sizes) == 1, scene.trimmed()
    side_by_side = boards(trimmed)[-2:]
    heading = f"{positions}, by {'number' if single else 'row and column'} of the output cell"
    text(axes, (MARGIN, top), heading, 10, weight="bold")
    for down, line in enumerate(panels.lines):
        for across, position in enumerate(line):
            x = MARGIN + across * panels.apart
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
    kernel(axes, scene, position, first, cell, part)
    cells(axes, "to come", scene.places(), second, cell, f"{part} output")
    cells(axes, "now", [position], second, cell, f"{part} output")
