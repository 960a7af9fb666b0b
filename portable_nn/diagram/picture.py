"""A diagram as a picture: boxes in layers from top to bottom, in as many columns as make it nearly fit a screen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from portable_nn.core.errors import UsageError
from portable_nn.core.plotting import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILLION, YELLOW, figure, style, tint
from portable_nn.core.text import printable
from portable_nn.diagram.boxes import ENDS, FAMILIES, OTHER, Box, Diagram
from portable_nn.diagram.layout import LANE, Layout, arrange

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST: Final = 600
"""The most boxes in a picture."""

WIDTH: Final = 2.15
"""The width of a box; this and all lengths are inches."""
LINE: Final = 0.135
"""The height of a line in a box."""
PAD: Final = 0.05
"""The space above and below the lines."""
BETWEEN: Final = 0.27
"""The space between two layers, ..."""
GUTTER: Final = 0.35
"""... between two columns, for one arrow from one to the other, ..."""
MARGIN: Final = 0.3
"""... and around everything."""
HEAD: Final = 0.8
"""The place where the first box begins, below the title; in several columns, below the arrows from the column before as
well."""
ARROWS: Final = 0.25
"""The space for these, and as much for each more of them as lies between two."""
LEAST: Final = 3.6
"""The width of a picture, at least."""

SIZE: Final = 7.0
TITLE: Final = 10.0
"""Of the letters, in points."""
BOLD: Final = 0.8
"""The width of letters by that of bold ones, at least."""
POINTS: Final = 72
"""Points in an inch."""
LANE_APART: Final = 0.08
"""The space between two arrows from one column to the next."""

ASPECT: Final = 1.4
"""The width of a picture by its height, as far as whole columns go."""
ONE_COLUMN: Final = 12
"""So many layers stand in one column."""

COLOURS: Final = {
    **dict(zip(FAMILIES.values(), (BLUE, GREEN, ORANGE, PURPLE, YELLOW, "#999999"), strict=True)),
    OTHER: VERMILLION,
    ENDS: BLACK,
}
SHARES: Final = {ENDS: 0.0, "arithmetic": 0.45}
"""The share of its colour in the fill of a box; 0.25 by default."""
DARK: Final = "#555555"

Point: TypeAlias = tuple[float, float]


@style()
def draw(drawn: Diagram) -> Figure:
    """A picture of ``drawn``. The ``gid`` of a box is ``box/`` and its place, that of an arrow ``arrow/`` and both.

    Raises:
        UsageError: there are more boxes than a picture may have.
        MissingPackageError: without matplotlib.
    """
    if len(drawn.boxes) > MOST:
        raise UsageError(
            f"a picture has at most {MOST} boxes, and this would have {len(drawn.boxes):,}: "
            "as text for Graphviz (--plot FILE.dot) there may be any number"
        )
    # A faulty file may have nodes in a wrong order, or a cycle: the order in the file then decides.
    ordered = dict.fromkeys((min(pair), max(pair)) for pair in drawn.arrows if pair[0] != pair[1])
    sheet = _sheet(drawn, arrange(len(drawn.boxes), list(ordered)))
    page = figure(sheet.width, sheet.height)
    axes = page.add_axes((0, 0, 1, 1), xlim=(0, sheet.width), ylim=(sheet.height, 0))
    axes.axis("off")
    for source, target in drawn.arrows:
        if source != target:
            _draw_arrow(axes, sheet, drawn, source, target)
    for place, box in enumerate(drawn.boxes):
        left = sheet.x(sheet.layout.layers[place], sheet.layout.middles[place]) - WIDTH / 2
        _draw_box(axes, box, (left, _ends(sheet, drawn, place)[0]), f"box/{place}")
    _draw_words(axes, sheet, drawn)
    return page


@dataclass(frozen=True)
class Sheet:
    """The places of all parts, in inches from the upper left corner: layers have a top, a height and a column."""

    layout: Layout
    width: float
    height: float
    tops: tuple[float, ...]
    heights: tuple[float, ...]
    columns: tuple[int, ...]
    lefts: tuple[float, ...]
    """For each column, where middle 0 is."""
    edges: tuple[float, ...]
    """For each column, where the space before it begins."""

    def x(self, layer: int, middle: float) -> float:
        """The place of a middle in that layer."""
        return self.lefts[self.columns[layer]] + middle * WIDTH

    def bottom(self, column: int) -> float:
        """The place where the last box of a column ends."""
        return max(t + h for t, h, c in zip(self.tops, self.heights, self.columns, strict=True) if c == column)


def _sheet(drawn: Diagram, layout: Layout) -> Sheet:
    """The columns whose picture is nearest to a screen's form."""
    most = max(1, math.ceil(layout.depth / ONE_COLUMN))
    sheets = [_columns(drawn, layout, count) for count in range(1, most + 1)]
    return min(sheets, key=lambda each: abs(math.log(each.width / each.height / ASPECT)))


def _columns(drawn: Diagram, layout: Layout, count: int) -> Sheet:
    heights = [0.0] * layout.depth
    for layer, box in zip(layout.layers, drawn.boxes, strict=True):
        heights[layer] = max(heights[layer], _tall(box))
    extents: list[list[float]] = [[] for _ in range(layout.depth)]
    for layer, middle in zip(layout.layers, layout.middles, strict=True):
        extents[layer] += [middle - 0.5, middle + 0.5]
    for (source, _), way in layout.ways.items():
        for layer, middle in enumerate(way, layout.layers[source] + 1):
            extents[layer] += [middle - LANE / 2, middle + LANE / 2]
    per = math.ceil(layout.depth / count)
    tops, columns, lefts, edges = list[float](), list[int](), list[float](), list[float]()
    right = MARGIN
    starts = range(0, layout.depth, per)
    lanes = max((len(_crossing(layout, start)) for start in starts[1:]), default=0)
    head = HEAD + (ARROWS + LANE_APART * lanes if lanes else 0)
    for column, start in enumerate(starts):
        top = head
        for height in heights[start : start + per]:
            tops.append(top)
            columns.append(column)
            top += height + BETWEEN
        reached = [middle for each in extents[start : start + per] for middle in each]
        edges.append(right)
        right += GUTTER + LANE_APART * len(_crossing(layout, start)) if column else 0
        lefts.append(right - min(reached) * WIDTH)
        right += (max(reached) - min(reached)) * WIDTH
    bottom = max(top + height for top, height in zip(tops, heights, strict=True))
    if (missing := LEAST - MARGIN - right) > 0:
        lefts, right = [left + missing / 2 for left in lefts], right + missing
    return Sheet(
        layout,
        right + MARGIN,
        bottom + HEAD + LANE_APART * lanes,
        tuple(tops),
        tuple(heights),
        tuple(columns),
        tuple(lefts),
        tuple(edges),
    )


# -- boxes


def _words(box: Box) -> list[str]:
    return [box.title, *([box.name] if box.name != box.title else []), *box.lines]


def _tall(box: Box) -> float:
    return LINE * len(_words(box)) + 2 * PAD


def _draw_box(axes: Axes, box: Box, corner: Point, gid: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    words, tall, (left, top) = _words(box), _tall(box), corner
    colour = COLOURS[box.family]
    rounding = tall / 2.5 if box.family == ENDS else 0.06
    axes.add_patch(
        FancyBboxPatch(
            (left, top),
            WIDTH,
            tall,
            f"round,pad=0,rounding_size={rounding}",
            facecolor=_fill(box.family),
            edgecolor=colour,
            linewidth=0.8,
            linestyle="--" if box.family == OTHER else "-",
            gid=gid,
        )
    )
    for place, line in enumerate(words):
        room = (WIDTH - 2 * PAD) * (0.93 if place else BOLD)  # Letters stand on whole pixels: they may need a bit more.
        axes.text(
            left + WIDTH / 2,
            top + PAD + LINE * (place + 0.5),
            shown(line, room),
            ha="center",
            va="center",
            fontsize=SIZE,
            weight="normal" if place else "bold",
            color=BLACK if place < 2 else DARK,
            parse_math=False,
        )


def _fill(family: str) -> str:
    return tint(COLOURS[family], SHARES.get(family, 0.25))


def shown(text: str, room: float, size: float = SIZE) -> str:
    """``text`` in letters that the font has, within ``room`` inches; of a long one the end, which is more specific."""
    text = "".join(c if _advance(c) else "\N{REPLACEMENT CHARACTER}" for c in printable(text))
    widths = [_advance(c) * size / POINTS for c in text]
    if sum(widths) <= room:
        return text
    room -= _advance("…") * size / POINTS
    start = len(text)
    while start and (room := room - widths[start - 1]) >= 0:
        start -= 1
    return "…" + text[start:]


@cache
def _advance(letter: str) -> float:
    """The width of a letter of size 1; 0 where the font does not have it."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("DejaVu Sans"))
    if ord(letter) not in font.get_charmap():
        return 0.0
    font.set_size(SIZE, POINTS)
    return float(font.load_char(ord(letter)).linearHoriAdvance) / 2**16 / SIZE


# -- arrows


def _draw_arrow(axes: Axes, sheet: Sheet, drawn: Diagram, source: int, target: int) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    first, last = min(source, target), max(source, target)
    points, kinds = list[Point](), list[Any]()
    for curve in _route(sheet, drawn, first, last):
        kind = Path.CURVE4 if len(curve) == 4 else Path.LINETO
        kinds += [Path.LINETO if points else Path.MOVETO, *[kind] * (len(curve) - 1)]
        points += curve
    if source > target:
        points.reverse()
        kinds = [Path.MOVETO, *reversed(kinds[1:])]
    axes.add_patch(
        FancyArrowPatch(
            path=Path(points, kinds),
            arrowstyle="-|>,head_width=1.6,head_length=3.4",
            linewidth=0.7,
            color=DARK,
            shrinkA=0,
            shrinkB=0,
            gid=f"arrow/{source}/{target}",
            capstyle="butt",
            joinstyle="round",
        )
    )


def _route(sheet: Sheet, drawn: Diagram, first: int, last: int) -> Iterator[list[Point]]:
    """The arrow in pieces: a curve of four points, or straight lines."""
    layers, middles = sheet.layout.layers, sheet.layout.middles
    way = sheet.layout.ways[first, last]
    stops = [*zip(range(layers[first], layers[last] + 1), (middles[first], *way, middles[last]), strict=True)]
    for place, (layer, middle) in enumerate(stops[:-1]):
        x, y = sheet.x(layer, middle), sheet.tops[layer] + sheet.heights[layer]
        following, beside = stops[place + 1]
        x2, y2 = sheet.x(following, beside), sheet.tops[following]
        if place:
            yield [(x, sheet.tops[layer]), (x, y)]
        else:
            y = _ends(sheet, drawn, first)[1]
        if place == len(stops) - 2:
            y2 = _ends(sheet, drawn, last)[0]
        column = sheet.columns[following]
        if sheet.columns[layer] == column:
            yield [(x, y), (x, (y + y2) / 2), (x2, (y + y2) / 2), (x2, y2)]
        else:
            yield _around(sheet, (x, y), (x2, y2), column, _crossing(sheet.layout, following).index((first, last)))


def _around(sheet: Sheet, start: Point, end: Point, column: int, lane: int) -> list[Point]:
    """From the foot of one column through the space between both to the head of the next."""
    apart = LANE_APART * (lane + 1)
    between = sheet.edges[column] + GUTTER / 2 + apart
    low, high = sheet.bottom(column - 1) + 0.1 + apart, min(sheet.tops) - 0.08 - apart
    return [start, (start[0], low), (between, low), (between, high), (end[0], high), end]


def _crossing(layout: Layout, layer: int) -> list[tuple[int, int]]:
    """The arrows that come from before a layer and end in it or after it."""
    layers = layout.layers
    return [arrow for arrow in layout.ways if layers[arrow[0]] < layer <= layers[arrow[1]]]


def _ends(sheet: Sheet, drawn: Diagram, place: int) -> tuple[float, float]:
    """The upper and the lower edge of a box, which stands in the middle of its layer."""
    layer, height = sheet.layout.layers[place], _tall(drawn.boxes[place])
    top = sheet.tops[layer] + (sheet.heights[layer] - height) / 2
    return top, top + height


# -- text


def _draw_words(axes: Axes, sheet: Sheet, drawn: Diagram) -> None:
    """The title and the numbers above, and below what the colours mean."""
    title = shown(drawn.title, BOLD * (sheet.width - 2 * MARGIN), TITLE)
    axes.text(MARGIN, MARGIN, title, va="center", fontsize=TITLE, weight="bold", parse_math=False)
    axes.text(MARGIN, MARGIN + 0.18, ", ".join(drawn.notes), va="center", fontsize=SIZE, color=DARK)
    families = [family for family in COLOURS if any(box.family == family for box in drawn.boxes)]
    rows: list[list[tuple[float, str]]] = [[]]
    x = MARGIN
    for family in families:
        wide = 0.3 + 0.065 * len(family)
        if rows[-1] and x + wide > sheet.width:
            rows.append([])
            x = MARGIN
        rows[-1].append((x, family))
        x += wide
    for y, row in enumerate(reversed(rows)):
        for x, family in row:
            _draw_swatch(axes, (x, sheet.height - MARGIN / 2 - 0.17 * y), family)


def _draw_swatch(axes: Axes, at: Point, family: str) -> None:
    """Draw a colour with its meaning."""
    from matplotlib.patches import Rectangle

    x, y = at
    axes.add_patch(
        Rectangle((x, y - 0.05), 0.1, 0.1, facecolor=_fill(family), edgecolor=COLOURS[family], linewidth=0.8)
    )
    axes.text(x + 0.15, y, family, va="center", fontsize=SIZE, color=DARK)
