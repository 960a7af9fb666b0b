"""Pictures of an operation, cell by cell: the padded input, each position of the kernel, and the output.

Each position is on a small panel of its own. All lengths are in inches.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from portable_nn.core.plotting import GREEN, figure, put_on, style, tint
from portable_nn.sizes.operation import Operation, PerAxis
from portable_nn.sizes.painting import (
    CELL,
    GREY,
    LEAST_WIDTH,
    LINE,
    MARGIN,
    WIDTH,
    Point,
    arrow,
    cells,
    kernel,
    sheet,
    text,
)
from portable_nn.sizes.scene import Board, Place, Scene, arrows, boards, by, legend, scene_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

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


MOST_FRAMES: Final = 400
"""The most positions of the kernel in an animation."""
FRAME_DPI: Final = 80

ARROW: Final = 1.7
"""The least space between two boards, for an arrow; this and all lengths are in inches."""
NUMBERS: Final = 0.2
"""The space above and left of a board, for the numbers of its rows and columns."""
BOARD_HEIGHT: Final = 4.5
"""The maximum height of a board."""
CHARACTER: Final = 0.075
"""The maximum width of a character of a caption."""
TITLE_CHARACTER: Final = 0.095
"""The width of a character of a title."""
LEAST_WITH_TEXT: Final = 0.17
"""The smallest cell that has room for a number."""
LANDING: Final = ("darker where more taps land", "with the number of taps that land on it")
"""The description of a shaded output, without and with room for numbers."""
LEGEND_CELL: Final = 0.16
LEGEND_UNDER: Final = {"tap": ("input",), "cut": ("ring",)}
"""The kinds of cells under another kind in the legend."""


class Page(NamedTuple):
    """A figure with the boards of a scene, their corners, and the top of the free space below them."""

    figure: Figure
    axes: Axes
    cell: float
    moved_over: Point
    output: Point
    bottom: float


@style()
def draw(operation: Operation, sizes: PerAxis, title: str | None = None) -> Figure:
    """A picture of ``operation`` on an input of ``sizes``: an overview, and each position of the kernel.

    Of many positions the first and the last are drawn, and a single one in the overview alone. The sheet is as wide as
    all this needs. Input cells that are never read are hatched, and so are output cells that hold the bias alone.

    The ``gid`` of each artist is its part of the picture and its kind of cell.

    Args:
        operation: what to draw, over one or two axes.
        sizes: the size of the input along each axis.
        title: the heading; the PyTorch notation by default.

    Raises:
        UsageError: more than two axes, or a side that is too long for a picture, where no smaller input shows the same.
        ShapeError: the options do not fit the sizes.
        MissingPackageError: without matplotlib.
    """
    scene = scene_of(operation, sizes, title)
    wanted = wanted_width(scene)
    width = _width(scene, wanted)
    panels = arrange(scene, width)
    page = _page(scene, width, panels.height if wanted else 0)
    _stand(page, scene, (0, 0), "first")
    if wanted:
        draw_panels(page.axes, scene, panels, page.bottom)
    return page.figure


@style()
def animate(operation: Operation, sizes: PerAxis, title: str | None = None) -> list[Image]:
    """The frames of an animation: the kernel at each of its positions in turn, and the output so far.

    Arguments and errors are those of ``draw``; an input that has more than ``MOST_FRAMES`` positions is drawn smaller.
    """
    from PIL import Image

    scene = scene_of(operation, sizes, title, most_positions=MOST_FRAMES)
    page = _page(scene, _width(scene), LINE, empty=True)
    page.figure.set_dpi(FRAME_DPI)
    canvas: Any = page.figure.canvas
    canvas.draw()
    kinds = {place: kind for kind, places in boards(scene)[-1].kinds().items() for place in places}
    frames = []
    for number, position in enumerate(scene.places(), start=1):
        put_on(canvas, [cells(page.axes, kinds[position], [position], page.output, page.cell, "made")])
        before = canvas.copy_from_bbox(page.figure.bbox)
        words = f"{scene.mover} position {number} of {len(kinds)}"
        put_on(canvas, [*_stand(page, scene, position, "now"), text(page.axes, (MARGIN, page.bottom), words, 10)])
        frames.append(Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB"))
        canvas.restore_region(before)
    return frames


def _stand(page: Page, scene: Scene, position: Place, part: str) -> list[Artist]:
    """Draw the kernel at a position, and the output cell that it computes there."""
    return [
        *kernel(page.axes, scene, position, page.moved_over, page.cell, part),
        cells(page.axes, "now", [position], page.output, page.cell, part),
    ]


def _width(scene: Scene, wanted: float = 0) -> float:
    """The width of a sheet that the overview of a scene fills, at least ``wanted``."""
    count = len(boards(scene))
    _, widths = _cell_size(boards(scene), WIDTH)
    return min(WIDTH, max(LEAST_WIDTH, wanted, 2 * MARGIN + sum(widths) + NUMBERS * count + ARROW * (count - 1)))


def _page(scene: Scene, across: float, below: float, *, empty: bool = False) -> Page:
    """The overview of a scene on a new figure as wide as ``across``, and free space of height ``below``.

    The output may be ``empty`` as yet.
    """
    title = textwrap.wrap(scene.title, int((across - 2 * MARGIN) / TITLE_CHARACTER), subsequent_indent="    ")
    side_by_side, words = boards(scene), arrows(scene)
    cell, widths = _cell_size(side_by_side, across)
    space = (across - 2 * MARGIN - NUMBERS * len(widths) - sum(widths)) / (len(widths) - 1)
    height = max(0.5, cell * max(len(board.rows) for board in side_by_side))
    top = MARGIN + LINE * (len(title) + 1) + 0.85
    landing = scene.landing() and not empty
    output = f"output, {LANDING[cell >= LEAST_WITH_TEXT]}" if landing else "output"
    entries = list(_legend_entries(legend(scene, output), across, top + height + 0.3))
    bottom = entries[-1][2][1] + 2 * LINE
    paper = figure(across, bottom + below + MARGIN)
    axes = sheet(paper)
    text(axes, (MARGIN, MARGIN), "\n".join(title), 11, family="DejaVu Sans Mono", weight="bold", linespacing=1.4)
    summary = f"{by(scene.sizes)} cells → {by(scene.outputs)} cells"
    text(axes, (MARGIN, MARGIN + LINE * len(title) + 0.05), summary, 11)
    left, corners = MARGIN, []
    for board, width, between in zip(side_by_side, widths, [*words, []], strict=True):
        left += NUMBERS
        corners.append((left, top + (height - cell * len(board.rows)) / 2))
        _board(axes, scene, board, corners[-1], cell, empty=empty and board.name == "output")
        left += width
        if between:
            arrow(axes, (left + 0.25, top + height / 2), space - 0.45, between)
            left += space
    for kind, meaning, corner in entries:
        for sample in [*LEGEND_UNDER.get(kind, ()), kind]:
            cells(axes, sample, [(0, 0)], corner, LEGEND_CELL, "legend")
        text(axes, (corner[0] + 0.28, corner[1] + LEGEND_CELL / 2), meaning, 9.5, va="center")
    return Page(paper, axes, cell, corners[-2], corners[-1], bottom)


def _cell_size(side_by_side: Sequence[Board], across: float) -> tuple[float, list[float]]:
    """The largest size of a cell with which all boards fit side by side, and the width of each board."""
    count = len(side_by_side)
    room = across - 2 * MARGIN - ARROW * (count - 1) - NUMBERS * count
    largest = min(CELL, BOARD_HEIGHT / max(len(board.rows) for board in side_by_side))
    for hundredths in range(int(100 * largest), 0, -1):
        cell = hundredths / 100
        widths = [max(cell * len(board.columns), CHARACTER * len(board.caption)) for board in side_by_side]
        if sum(widths) <= room:
            break
    return cell, widths


def _board(axes: Axes, scene: Scene, board: Board, corner: Point, cell: float, *, empty: bool) -> None:
    """Draw a board with its caption, and the numbers of its rows and columns."""
    left, top = corner
    for kind, places in board.kinds().items():
        cells(axes, "to come" if empty else kind, places, corner, cell, board.name)
    text(axes, (left, top - NUMBERS - 0.2), board.name, 10, va="bottom", weight="bold")
    text(axes, (left, top - NUMBERS), board.caption, 9.5, va="bottom")
    for place in scene.zeros(board) if cell >= LEAST_WITH_TEXT else ():
        _inside(axes, "0", place, corner, cell, color=GREY)
    if board.name == "spread out":
        if gone := scene.cut():
            cells(axes, "cut", gone, corner, cell, board.name)
        return
    step = 1 if cell >= 0.2 else 5
    for number, column in list(enumerate(_numbered(board.columns)))[::step]:
        text(axes, (left + cell * (column + 0.5), top - 0.04), str(number), 7.5, va="bottom", ha="center", color=GREY)
    if len(scene.sizes) == 2:
        for number, row in list(enumerate(_numbered(board.rows)))[::step]:
            text(axes, (left - 0.05, top + cell * (row + 0.5)), str(number), 7.5, va="center", ha="right", color=GREY)
    if board.name == "output" and not empty:
        _landing(axes, scene, corner, cell)


def _numbered(kinds: Sequence[str]) -> list[int]:
    """The places of the numbered cells: those of the input itself, or of the output."""
    return [place for place, kind in enumerate(kinds) if kind in ("input", "unread", "output")]


def _landing(axes: Axes, scene: Scene, corner: Point, cell: float) -> None:
    """Shade the output cells of a transposed convolution by the number of taps that land on them; write it there."""
    counts = scene.landing()
    for count in sorted(set(counts.values()) - {0}):
        places = [place for place, found in counts.items() if found == count]
        shade = tint(GREEN, 0.1 + 0.6 * count / max(counts.values()))
        cells(axes, "output", places, corner, cell, f"output: {count}", facecolor=shade)
        for place in places if cell >= LEAST_WITH_TEXT else ():
            _inside(axes, str(count), place, corner, cell)


def _inside(axes: Axes, words: str, place: Place, corner: Point, cell: float, **look: Any) -> None:
    """Write text into a cell."""
    middle = (corner[0] + cell * (place[1] + 0.5), corner[1] + cell * (place[0] + 0.5))
    text(axes, middle, words, min(28 * cell, 11), va="center_baseline", ha="center", **look)


def _legend_entries(kinds: Iterable[tuple[str, str]], across: float, top: float) -> Iterator[tuple[str, str, Point]]:
    """Kinds of cells, their descriptions and corners: two in a line, or a long one alone."""
    half = across / 2 - MARGIN
    slot = 0
    for kind, meaning in kinds:
        long = CHARACTER * len(meaning) > half - 0.3
        slot += slot % 2 if long else 0
        yield kind, meaning, (MARGIN + slot % 2 * half, top + slot // 2 * LINE)
        slot += 1 + long
