"""Direct labels: a column of names beside axes, each joined to its curve or point, none on another."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

from portable_nn.adversarial.pictures.paper import Axes, Figure, Look
from portable_nn.core.plotting import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION
from portable_nn.operators import Array

T = TypeVar("T")

COLOURS: Final = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, BLACK)
"""Those of the palette that are seen as thin lines on white."""
SIZE: Final = 8.5
ROW: Final = 1.3 * SIZE / 72
"""Inches of a line of a label."""
APART: Final = 0.05
"""Inches between two labels."""
WIDEST: Final = 70
"""Characters of a line of a label."""
NEAR, SAMPLE, TEXT = 0.3, 0.64, 0.74
"""Inches from the axes to the end of the leader, to the end of the sample of the line, and to the text."""


@dataclass(frozen=True)
class Label:
    """A label in a picture.

    Attributes:
        words: its name.
        at: the point that it is joined to, in data coordinates; ``None`` where nothing of it is drawn.
        look: how its line or marker is drawn, as for ``plot``.
    """

    words: str
    at: tuple[float, float] | None
    look: Look

    @property
    def lines(self) -> list[str]:
        """The words, wrapped."""
        return textwrap.wrap(self.words, WIDEST, break_on_hyphens=False)

    @property
    def height(self) -> float:
        """In inches."""
        return len(self.lines) * ROW + APART


def room(labels: Sequence[Label]) -> float:
    """The height of a column of labels, in inches."""
    return sum(label.height for label in labels)


def axes_at(paper: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches from the lower left corner of the sheet, which is not laid out again."""
    paper.set_layout_engine("none")
    wide, high = paper.get_size_inches()
    return paper.add_axes((left / wide, bottom / high, width / wide, height / high))


def write(axes: Axes, labels: Sequence[Label], low: float = 0.0) -> None:
    """Write the labels beside axes of final limits, each as near to its point as the others allow.

    ``low`` says how many inches below the axes the column may reach.
    """
    paper: Any = axes.get_figure(root=True)
    wide, tall = np.array(axes.get_position().size) * paper.get_size_inches()
    labels = sorted(labels, key=lambda label: _order(axes, label))
    points = [_inside(axes, label) for label in labels]
    places = apart([y * tall for _, y in points], [label.height for label in labels], -low, float(tall))
    right = [1 + inches / wide for inches in (NEAR, SAMPLE, TEXT)]
    common: Look = {"transform": axes.transAxes, "clip_on": False}
    for label, (x, y), place in zip(labels, points, np.array(places) / tall, strict=True):
        look = {**label.look, "zorder": 6, **common}
        if label.at is not None:
            # A marker may be pale: its leader is grey.
            leader = {"color": label.look.get("color", "#8C8C8C"), "linewidth": 0.6, "gid": "leader"}
            axes.plot([x, right[0]], [y, place], **leader, **common)
        if label.look.get("linestyle") == "none":
            axes.plot((right[0] + right[1]) / 2, place, gid="sample", **look)
        else:
            axes.plot(right[:2], [place, place], gid="sample", **look)
        words = "\n".join(label.lines)
        axes.text(right[2], place, words, va="center", fontsize=SIZE, linespacing=1.15, gid="label", **common)


def _order(axes: Axes, label: Label) -> tuple[float, bool, float]:
    """From the bottom to the top; where curves leave the axes, such that leaders do not cross."""
    x, y = _inside(axes, label)
    return y, label.at is not None, x if y > 0.5 else -x


def _inside(axes: Axes, label: Label) -> tuple[float, float]:
    """The point of a label as shares of the axes; at the bottom where it has none."""
    if label.at is None:
        return 0.0, 0.0
    x, y = axes.transAxes.inverted().transform(axes.transData.transform(label.at))
    return float(np.clip(x, 0, 1)), float(np.clip(y, 0, 1))


def apart(wanted: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Middles of boxes of these heights that do not overlap, as near to the wanted ones as that allows.

    The order is kept, and they are between ``low`` and ``high`` if there is room. The sum of the squares of the moves
    is the smallest: without the heights before it, each middle is an isotonic regression (pool adjacent violators).
    """
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    sizes = np.array([heights[place] for place in order])
    before = np.cumsum(sizes) - sizes / 2
    free = _rising(np.array([wanted[place] for place in order]) - before)
    free = np.clip(free, low, max(low, high - float(sizes.sum())))
    places = [0.0] * len(order)
    for place, middle in zip(order, free + before, strict=True):
        places[place] = float(middle)
    return places


def _rising(values: Array) -> Array:
    """The nearest numbers that do not fall: means of neighbours."""
    pools: list[tuple[float, int]] = []
    for value in values.tolist():
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (last, more), (mean, count) = pools.pop(), pools.pop()
            pools.append(((mean * count + last * more) / (count + more), count + more))
    return np.concatenate([np.full(count, mean) for mean, count in pools])


def grouped(items: Iterable[T], alike: Callable[[T, T], bool]) -> list[list[T]]:
    """The items in groups: each joins the first group whose first one is like it."""
    groups: list[list[T]] = []
    for item in items:
        known = next((group for group in groups if alike(group[0], item)), None)
        if known is None:
            groups.append([item])
        else:
            known.append(item)
    return groups
