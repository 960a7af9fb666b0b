"""Shared by the pictures of games: figures, titles, markers, legends and the scales of axes."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from portable_nn.adversarial.games.game import Game
from portable_nn.adversarial.games.kinds import kind_of
from portable_nn.adversarial.pictures.view import Limits, View
from portable_nn.adversarial.runs.result import Result
from portable_nn.core.plotting import BLACK, BLUE, GREEN, ORANGE, SKY, VERMILLION, figure, tint
from portable_nn.operators import Array

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    from matplotlib.artist import Artist
    from matplotlib.axis import Axis
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import SubFigure
    from matplotlib.lines import Line2D

Axes: TypeAlias = "matplotlib.axes.Axes"
Figure: TypeAlias = "matplotlib.figure.Figure"
Grid: TypeAlias = Literal["both", "x", "y"]
Look: TypeAlias = dict[str, Any]
"""Options of what matplotlib draws."""

PALE: Final = "#B8B8B8"

X_COLOUR, Y_COLOUR = BLUE, ORANGE
"""The colours of the players."""

PATH: Final[Look] = {"color": VERMILLION, "linewidth": 1.4, "label": "trajectory", "zorder": 5}
START: Final[Look] = {
    "marker": "o",
    "markersize": 7,
    "markerfacecolor": "white",
    "markeredgecolor": BLACK,
    "markeredgewidth": 1.5,
    "linestyle": "none",
    "label": "start",
    "zorder": 7,
}
END: Final[Look] = {
    **START,
    "marker": "s",
    "markersize": 7.5,
    "markerfacecolor": VERMILLION,
    "markeredgewidth": 0.8,
    "label": "end",
}
EQUILIBRIUM: Final[Look] = {
    **START,
    "marker": "P",
    "markersize": 9,
    "markerfacecolor": GREEN,
    "markeredgecolor": "white",
    "markeredgewidth": 0.7,
    "label": "equilibrium",
    "zorder": 8,
}
STATIONARY: Final[Look] = {
    **EQUILIBRIUM,
    "markerfacecolor": "white",
    "markeredgecolor": GREEN,
    "markeredgewidth": 1.2,
    "label": "F = 0, no equilibrium",
}
MEASURED: Final[Look] = {"linewidth": 2.6, "alpha": 0.6, "zorder": 4}
THEORY: Final[Look] = {"color": BLACK, "linestyle": (0, (5, 3)), "linewidth": 1.1, "zorder": 5}
"""The lines of measurements, and on top of them those of theory."""

NARROW, WIDE = 1.3, 3.0
"""Decades of a logarithmic axis below which its ticks are linear, and below which they are at 1, 2 and 5."""

STRIDES: Final = (1, 2, 3, 5, 10, 20, 50, 100)
"""Distances of the ticks of a logarithmic axis, in decades."""

SMALLEST, LARGEST = 1e-280, 1e280
"""The range of a logarithmic axis that leaves room for margins."""

FEW: Final = 80
"""Up to so many points of a path, each is marked."""

ARROW: Final[Look] = {"marker": r"$\rightarrow$", "linestyle": "none", "markeredgewidth": 0.3}
"""An arrow in a legend."""

CHARACTERS: Final = 12.5
"""Characters of a title per inch."""


def sheet(width: float, height: float, heading: Sequence[str] = ()) -> Figure:
    """An empty figure of that size in inches, with constrained layout, under the lines of a title."""
    paper = figure(width, height)
    paper.set_layout_engine("constrained", h_pad=0.12, w_pad=0.09)
    lines = [line for words in heading for line in textwrap.wrap(minus(words), int(width * CHARACTERS))]
    if lines:
        paper.suptitle("\n".join(lines), fontsize=11, x=0.5, linespacing=1.35)
    return paper


def parts_of(paper: Figure, rows: int, columns: int, **ratios: Any) -> list[SubFigure]:
    """Subfigures, row by row, each with room for a legend of its own."""
    return [*paper.subfigures(rows, columns, squeeze=False, **ratios).ravel()]


def minus(words: str) -> str:
    """``words`` with minus signs in place of hyphens, but for those that join words."""
    return re.sub(r"(?<![A-Za-z]{2})-|-(?![A-Za-z]{2})", "\N{MINUS SIGN}", words)


def heading(result: Result) -> list[str]:
    """The game, the method with its learning rate, and the verdict: three lines."""
    rate = rate_in_words(result)
    return [game_in_words(result.game), f"{method_in_words(result)}, {rate}", result.message]


def game_in_words(game: Game) -> str:
    """The game's name and formula."""
    if game.name == game.title:
        return f"f = {game.title}"
    return f"{game.name}: {game.title}" if "=" in game.title else f"{game.name}: f = {game.title}"


def method_in_words(result: Result) -> str:
    """The method's name, and its options that are not the defaults."""
    known = result.method.options
    own = [
        f"{name} = {value:g}"
        for name, value in result.options.items()
        if value is not None and value != known[name].default
    ]
    return result.method.name + (f" ({', '.join(own)})" if own else "")


def rate_in_words(result: Result) -> str:
    """The learning rate: one or that of each player, the ends of a schedule, or the number of learning rates."""
    if result.rates.shape:
        return f"{int(np.prod(result.rates.shape)):,} learning rates"
    both = [float(base) * result.rates.factors[:, player] for player, base in enumerate(result.rates.base)]
    words = [
        f"{rates[0]:.4g}" if rates[0] == rates[-1] else f"from {rates[0]:.3g} to {rates[-1]:.3g}" for rates in both
    ]
    pair = words[0] if words[0] == words[1] else f"{words[0]} for x, {words[1]} for y"
    return f"learning rate η = {pair}" if "from" not in pair else f"learning rate η {pair}"


def is_article(game: Game) -> bool:
    """True if the game is f = x·y."""
    return game.players == (1, 1) and game.linear and np.array_equal(game.jacobian(np.zeros(2)), [[0, -1], [1, 0]])


def diverging() -> LinearSegmentedColormap:
    """Blue, over white in the middle, to orange; pale enough for lines and arrows on top."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = [tint(BLUE, 0.75), tint(SKY, 0.6), "#FFFFFF", tint(ORANGE, 0.55), tint(VERMILLION, 0.75)]
    return LinearSegmentedColormap.from_list("portable-nn diverging", colours)


def kinds(game: Game, points: Array) -> list[tuple[Array, Look]]:
    """The equilibria among points (m, 2) with F = 0, and the others, each with how they are marked."""
    are = np.array([kind_of(game, point).is_equilibrium for point in points], dtype=bool)
    return [(part, look) for part, look in ((points[are], EQUILIBRIUM), (points[~are], STATIONARY)) if len(part)]


def mark_equilibria(axes: Axes, game: Game, points: Array) -> None:
    """Mark points (m, 2) with F = 0."""
    for part, look in kinds(game, points):
        axes.plot(part[:, 0], part[:, 1], **look)


def distance_in_words(game: Game) -> str:
    """The name of the distance that is drawn of a run."""
    if not len(game.equilibria):
        return "‖F‖, 0 at an equilibrium"
    known = any(kind_of(game, point).is_equilibrium for point in game.equilibria)
    return f"distance to the nearest {'equilibrium' if known else 'point with F = 0'}"


def frame(axes: Axes, title: str, x: str = "", y: str = "", grid: Grid | None = None, **limits: Any) -> None:
    """Give axes a title, names, and perhaps pale lines of a ``grid`` along an axis, or both, behind what is drawn."""
    axes.set(xlabel=x, ylabel=y, **limits)
    axes.set_title(title, fontsize=10)
    if grid:
        axes.grid(axis=grid, color="#E6E6E6", linewidth=0.6)
        axes.set_axisbelow(True)


def plane(
    axes: Axes,
    window: Limits,
    title: str = "",
    x: str = "x (maximises f)",
    y: str = "y (minimises f)",
    grid: Grid | None = None,
) -> None:
    """Frame a plane, by default that of x and y, with limits and equal aspect."""
    frame(axes, title, x, y, grid, xlim=window[0], ylim=window[1], aspect="equal")
    few_ticks(axes.xaxis, axes.yaxis)


def path_on(axes: Axes, view: View, title: str, grid: Grid | None = None) -> None:
    """Draw a run in the plane: its path, start and end, and the equilibria."""
    dots = {"marker": ".", "markersize": 4} if len(view.z) <= FEW else {}
    axes.plot(view.z[:, 0], view.z[:, 1], **{**PATH, **dots})
    mark_equilibria(axes, view.game, view.equilibria)
    axes.plot(*view.z[0], **START)
    if not view.leaves:
        axes.plot(*view.z[-1], **END)
    plane(axes, view.window, title, grid=grid)


def few_ticks(*axes: Axis, most: int = 6) -> None:
    """Give each axis of a plot at most so many intervals between ticks."""
    from matplotlib.ticker import MaxNLocator

    for axis in axes:
        axis.set_major_locator(MaxNLocator(most))


def legend_below(axes: Axes, columns: int, handles: Sequence[Artist] | None = None) -> None:
    """A legend below the figure or subfigure of axes; by default with all labelled artists of the axes."""
    named = axes.get_legend_handles_labels()[0] if handles is None else handles
    part: Any = axes.get_figure(root=False)
    part.legend(
        handles=named,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
        columnspacing=1.4,
        handletextpad=0.6,
        borderaxespad=0.3,
    )


def legend_line(**look: Any) -> Line2D:
    """A line for a legend that is not in the plot."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **look)


def colour_bar(drawn: ScalarMappable, axes: Axes, label: str, **options: Any) -> None:
    """A colour bar beside or below axes, without a frame."""
    part: Any = axes.get_figure(root=False)
    part.colorbar(drawn, ax=axes, label=label, **options).outline.set_visible(False)


def powers(axes: Axes, values: Array) -> None:
    """Give axes a logarithmic vertical scale for positive ``values``; without any, leave them as they are."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

    usable = np.log10(values[np.isfinite(values) & (values > 0)])
    if not usable.size:
        return
    low, high = float(usable.min()), float(usable.max())
    room = max(0.04 * (high - low), 0.05 if high - low > 0.25 else 0.12)
    axes.set_ylim(10 ** (low - room), 10 ** (high + room))
    axes.set_yscale("log")
    axes.yaxis.set_minor_locator(NullLocator())
    if high - low < NARROW:
        axes.yaxis.set_major_locator(MaxNLocator(6))
    elif high - low < WIDE:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    else:
        stride = next((nice for nice in STRIDES if (high - low) / nice <= 7), STRIDES[-1])
        ticks = 10.0 ** np.arange(stride * math.ceil(low / stride), high + 1e-9, stride)
        axes.yaxis.set_major_locator(FixedLocator(ticks.tolist()))
    if high - low < WIDE:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def drawable(lengths: Array) -> Array:
    """Lengths on a logarithmic axis; nan for those that it cannot show, such as 0."""
    usable = (lengths > SMALLEST) & (lengths < LARGEST)
    return np.where(usable, lengths, np.nan)
