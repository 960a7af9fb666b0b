"""The payoff f: as colours, with its gradient and the direction of the players as arrows; and as a surface."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from portable_nn.adversarial.games.game import Game, norm
from portable_nn.adversarial.pictures.paper import (
    ARROW,
    END,
    PATH,
    START,
    Axes,
    Figure,
    Look,
    colour_bar,
    diverging,
    few_ticks,
    heading,
    is_article,
    kinds,
    legend_below,
    legend_line,
    path_on,
    sheet,
)
from portable_nn.adversarial.pictures.view import Limits, View, check_value, plane_view
from portable_nn.adversarial.runs.result import Result
from portable_nn.core.plotting import BLACK, BLUE, style
from portable_nn.operators import Array

FINE: Final = 121
"""Points along a side at which f is computed."""
ARROWS: Final = 11
"""Arrows along a side."""

ASCENT: Final[Look] = {"color": BLACK, "alpha": 0.55}
PLAYERS: Final[Look] = {"color": BLUE, "alpha": 1.0}
ASCENT_ID, PLAYERS_ID = "steepest ascent", "players"
"""The ``gid`` of the arrows."""

SURFACE: Final = 41
"""Points along a side of the surface."""

ANGLES: Final = ((28, 300), (10, 315), (45, 225))
"""Elevation and azimuth of the views, in degrees."""


def above_on(axes: Axes, view: View) -> None:
    """The payoff f as colours, with a run, arrows of steepest ascent and arrows of the players.

    The first are (∂f/∂x, ∂f/∂y), the others (∂f/∂x, -∂f/∂y), as y descends. All have the same length.
    """
    game, window = view.game, view.window
    colours(axes, game, window)
    arrows(axes, game, window)
    path_on(axes, view, "payoff f")
    _legend(axes, game)


def grid(window: Limits, count: int, inset: float = 0.0) -> Array:
    """Points over a window, ``inset`` steps from its edges: (count, count, 2), a row for each y."""
    sides = []
    for low, high in window:
        step = (high - low) / (count - 1 + 2 * inset)
        sides.append(low + step * (inset + np.arange(count)))
    return np.stack(np.meshgrid(*sides), axis=-1)


def values(game: Game, points: Array) -> Array:
    """f at points; nan where it is not finite."""
    with np.errstate(all="ignore"):
        found = game.value(points)
    return np.where(np.isfinite(found), found, np.nan)


def levels(found: Array) -> Array:
    """The levels of the colours, symmetric about 0 where f has both signs, else about the middle."""
    usable = found[np.isfinite(found)]
    low, high = (float(usable.min()), float(usable.max())) if usable.size else (0.0, 0.0)
    middle = 0.0 if low <= 0 <= high else (low + high) / 2
    reach = max(high - middle, middle - low) or 1.0
    typical = float(np.percentile(np.abs(usable - middle), 90)) if usable.size else 0.0
    if typical and reach > 4 * typical:  # Else a few steep corners would leave all others white.
        reach = 2 * typical
    return np.asarray(middle + reach * np.linspace(-1, 1, 21))


def colours(axes: Axes, game: Game, window: Limits) -> None:
    """Colour a plane by f, with a colour bar."""
    from matplotlib.ticker import MaxNLocator

    points = grid(window, FINE)
    found = values(game, points)
    borders = levels(found)
    drawn = axes.contourf(
        points[..., 0],
        points[..., 1],
        np.ma.masked_invalid(found),
        levels=borders,
        cmap=diverging(),
        extend="both",
        zorder=0,
    )
    ticks = MaxNLocator(6).tick_values(borders[0], borders[-1])
    ticks = ticks[(ticks >= borders[0]) & (ticks <= borders[-1])]
    colour_bar(drawn, axes, "f(x, y)", shrink=0.8, aspect=30, pad=0.02, ticks=ticks)


def arrows(axes: Axes, game: Game, window: Limits) -> None:
    """Both kinds of arrows on a grid of points."""
    at = grid(window, ARROWS, inset=0.72).reshape(-1, 2)
    forward = -game.field(at)
    sizes = norm(forward)
    usable = np.isfinite(sizes) & (sizes > 1e-12 * np.nanmax(sizes, initial=0.0))
    at, players = at[usable], forward[usable] / sizes[usable, None]
    step = (window[0][1] - window[0][0]) / (ARROWS + 0.44)
    look: Look = {
        "angles": "xy",
        "scale_units": "xy",
        "scale": 1.5 / step,
        "units": "width",
        "width": 0.0045,
        "headwidth": 4.2,
        "headlength": 4.6,
        "headaxislength": 4.2,
        "zorder": 2,
    }
    for gid, vectors, own in ((ASCENT_ID, players * [1, -1], ASCENT), (PLAYERS_ID, players, PLAYERS)):
        axes.quiver(at[:, 0], at[:, 1], vectors[:, 0], vectors[:, 1], gid=gid, **look, **own)


def _legend(axes: Axes, game: Game) -> None:
    ascent, players = "(∂f/∂x, ∂f/∂y)", "(∂f/∂x, \N{MINUS SIGN}∂f/∂y)"
    if is_article(game):
        ascent, players = f"{ascent} = (y, x)", f"{players} = (y, \N{MINUS SIGN}x)"
    arrow = {**ARROW, "markersize": 15}
    handles, _ = axes.get_legend_handles_labels()
    named = [
        legend_line(label=f"steepest ascent {ascent}", **arrow, **ASCENT),
        legend_line(label=f"players {players}", **arrow, **PLAYERS),
    ]
    legend_below(axes, columns=2, handles=[*named, *handles])


@style()
def saddle(result: Result) -> Figure:
    """The payoff f as a surface with a run on it, from three angles.

    Raises ``UsageError`` for many runs at once, and for a game that is not played in a plane or has no f.
    """
    view = plane_view(result)
    check_value(view.game)
    paper = sheet(12, 5.2, heading(result))
    points = grid(view.window, SURFACE)
    found = values(view.game, points)
    engine: Any = paper.get_layout_engine()
    engine.set(wspace=0.14)
    for place, (high, around) in enumerate(ANGLES, start=1):
        axes: Any = paper.add_subplot(1, 3, place, projection="3d", computed_zorder=False)
        _surface(axes, points, found)
        _path_on_surface(axes, view)
        axes.view_init(high, around)
        axes.zaxis.set_rotate_label(False)
        axes.set(xlabel="x", ylabel="y")
        axes.set_zlabel("f(x, y)", rotation=90)
        axes.set_title(f"elevation {high}°, azimuth {around}°", fontsize=10)
        axes.set_box_aspect((1, 1, 0.75), zoom=0.9)
        axes.tick_params(labelsize=8)
        few_ticks(axes.xaxis, axes.yaxis, axes.zaxis, most=5)
    handles, labels = axes.get_legend_handles_labels()
    paper.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return paper


def _surface(axes: Any, points: Array, found: Array) -> None:
    borders = levels(found)
    axes.plot_surface(
        points[..., 0],
        points[..., 1],
        np.clip(found, borders[0], borders[-1]),
        cmap=diverging(),
        vmin=borders[0],
        vmax=borders[-1],
        rcount=SURFACE,
        ccount=SURFACE,
        linewidth=0.2,
        edgecolor="#00000018",
        alpha=0.85,
        zorder=1,
    )


def _path_on_surface(axes: Any, view: View) -> None:
    """The part of the run that is on the surface."""
    low, high = np.array(view.window).T
    points = np.where(((view.z >= low) & (view.z <= high)).all(-1)[:, None], view.z, np.nan)
    heights = np.where(np.isfinite(points[:, 0]), values(view.game, view.z), np.nan)
    axes.plot(*points.T, heights, **PATH)
    for point, look in (*kinds(view.game, view.equilibria), (view.z[:1], START), (view.z[-1:], END)):
        if not (look is END and view.leaves):
            axes.plot(*point.T, values(view.game, point), **look)
