"""Drawing primitives: cells, arrows and text. All lengths are in inches, from the left and from the top."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from portable_nn.core.plotting import BLACK, GREEN, ORANGE, SKY, VERMILLION, YELLOW, tint
from portable_nn.sizes.scene import Place, Scene

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point: TypeAlias = tuple[float, float]

WIDTH: Final = 10.0
LEAST_WIDTH: Final = 6.5
"""The maximum and minimum width of a sheet."""
MARGIN: Final = 0.4
LINE: Final = 0.22
"""The height of a line of text."""
CELL: Final = 0.7
"""The maximum size of a cell."""

GREY: Final = "#5A5A5A"
THIN: Final = {"edgecolor": GREY, "linewidth": 0.5}

LOOKS: Final[Mapping[str, Mapping[str, Any]]] = {
    "input": {**THIN, "facecolor": SKY},
    "output": {**THIN, "facecolor": tint(GREEN, 0.35)},
    "unread": {"facecolor": "white", "edgecolor": VERMILLION, "linewidth": 0.8, "hatch": "////"},
    "zero": {**THIN, "facecolor": "white"},
    "padding": {**THIN, "facecolor": "#D4D4D4"},
    "ring": {**THIN, "facecolor": "#D4D4D4"},
    "added": {**THIN, "facecolor": tint(YELLOW, 0.7)},
    "beyond": {"facecolor": "white", "edgecolor": GREY, "linewidth": 0.8, "linestyle": (0, (2, 2))},
    "cut": {"facecolor": "none", "edgecolor": BLACK, "linewidth": 0.9},
    "tap": {"facecolor": ORANGE, "edgecolor": BLACK, "linewidth": 0.4},
    "kernel": {"facecolor": "none", "edgecolor": BLACK, "linewidth": 1.8},
    "now": {"facecolor": GREEN, "edgecolor": BLACK, "linewidth": 1.2},
    "to come": {**THIN, "facecolor": "white"},
}
"""The style of each kind of cell."""

INSETS: Final = {"tap": 0.2, "cut": 0.2}
"""The margin inside a cell, as a part of it, for kinds that are drawn over cells of another kind."""


def sheet(figure: Figure) -> Axes:
    """Axes that cover all of a figure, in inches."""
    axes = figure.add_axes((0, 0, 1, 1))
    width, height = figure.get_size_inches()
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return axes


def text(axes: Axes, at: Point, words: str, size: float, **look: Any) -> Artist:
    """Write ``words`` with the upper left corner ``at``, unless ``look`` has another alignment."""
    return axes.text(*at, words, size=size, **{"va": "top", **look})


def arrow(axes: Axes, start: Point, length: float, words: Sequence[str]) -> None:
    """An arrow to the right, with lines of text above it."""
    x, y = start
    look = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (x + length, y), start, arrowprops=look)
    text(axes, (x + length / 2, y - 0.08), "\n".join(words), 9, ha="center", va="bottom")


def cells(axes: Axes, kind: str, places: Iterable[Place], corner: Point, cell: float, part: str, **look: Any) -> Artist:
    """Draw cells of a kind on a board with that ``corner`` and size of a ``cell``; their ``gid`` is ``part: kind``."""
    shape = _cross if kind == "cut" else _square
    shapes = [shape(place, place, INSETS.get(kind, 0.0)) for place in places]
    return _shapes(axes, kind, shapes, corner, cell, part, **look)


def kernel(axes: Axes, scene: Scene, position: Place, corner: Point, cell: float, part: str) -> list[Artist]:
    """Draw what the kernel reads at a position, and its outline."""
    taps, read = scene.taps(position), scene.read(position)
    outline = [_square(taps[0], taps[-1], 0.0)]
    return [cells(axes, "tap", read, corner, cell, part), _shapes(axes, "kernel", outline, corner, cell, part)]


def _shapes(
    axes: Axes, kind: str, shapes: Iterable[Sequence[Point]], corner: Point, cell: float, part: str, **look: Any
) -> Artist:
    from matplotlib.collections import PolyCollection

    left, top = corner
    scaled = [[(left + cell * x, top + cell * y) for x, y in shape] for shape in shapes]
    look = {**LOOKS[kind], **look}
    look["linewidth"] *= max(0.4, min(1.0, cell / 0.16))  # Small cells have thin lines.
    return axes.add_collection(PolyCollection(scaled, gid=f"{part}: {kind}", **look), autolim=False)


def _square(first: Place, last: Place, inset: float) -> list[Point]:
    top, left, bottom, right = first[0] + inset, first[1] + inset, last[0] + 1 - inset, last[1] + 1 - inset
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _cross(first: Place, last: Place, inset: float) -> list[Point]:
    a, b, c, d = _square(first, last, inset)
    middle = ((a[0] + c[0]) / 2, (a[1] + c[1]) / 2)
    return [a, c, middle, b, d, middle]
