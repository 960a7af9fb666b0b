"""Phase portraits: streamlines of the vector field, and trajectories from several starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from portable_nn.adversarial.games.game import Game
from portable_nn.adversarial.games.table import game as find_game
from portable_nn.adversarial.pictures.paper import (
    END,
    PALE,
    PATH,
    START,
    Axes,
    Figure,
    game_in_words,
    legend_below,
    legend_line,
    mark_equilibria,
    method_in_words,
    plane,
    rate_in_words,
    sheet,
)
from portable_nn.adversarial.pictures.payoffs import grid
from portable_nn.adversarial.pictures.view import Limits, View, check_plane, inside, views_of, window_of, within
from portable_nn.adversarial.runs.result import Result
from portable_nn.core.errors import UsageError
from portable_nn.core.plotting import BLACK, PALETTE, style

FINE: Final = 61
"""Points along a side at which the field is computed."""
EMPTY: Final = 2.0
"""The margin around the equilibria where there are no runs."""
MOST: Final = 60
"""The largest number of runs in a picture."""


@style()
def field(game: str | Game, results: Result | Iterable[Result] = (), reach: float | None = None) -> Figure:
    """Streamlines of -F, equilibria, and trajectories, with a colour for each method and learning rate.

    A result may hold many runs. The window has all of them in it and, with ``reach``, all from -reach to reach, so that
    pictures of several methods can be compared. Raises ``UsageError`` for a game that is not played in a plane, for
    results of another game, and for more than ``MOST`` runs.
    """
    found = find_game(game)
    check_plane(found)
    given = [results] if isinstance(results, Result) else list(results)
    for result in given:
        if result.game is not found and result.game.name != found.name:
            raise UsageError(f"the results are of the game '{result.game.name}', and the field of '{found.name}'")
    sets: dict[str, list[View]] = {}
    for result in given:
        label = f"{method_in_words(result)}, {rate_in_words(result).removeprefix('learning rate ')}"
        sets.setdefault(label, []).extend(views_of(result))
    if (runs := sum(map(len, sets.values()))) > MOST:
        raise UsageError(f"a picture has room for {MOST} runs, not {runs:,}")
    window = _window(found, [view for views in sets.values() for view in views], reach)
    paper = sheet(7, 7.6, [game_in_words(found)])
    axes = paper.add_subplot()
    streams(axes, found, window)
    for place, views in enumerate(sets.values()):
        _paths(axes, views, window, PALETTE[place % len(PALETTE)])
    mark_equilibria(axes, found, inside(found.equilibria, window))
    plane(axes, window, "phase portrait: x ascends f, y descends it")
    _legend(axes, sets)
    return paper


def _window(game: Game, views: list[View], reach: float | None) -> Limits:
    """The square that has all runs in it, as far as they are shown, and the equilibria among them."""
    least = [] if reach is None else [np.array([[-reach, -reach], [reach, reach]])]
    if views or least:
        return window_of([*least, *(np.array(view.window).T for view in views)], margin=0.0)
    middle = game.equilibria if len(game.equilibria) else np.zeros((1, 2))
    return window_of([middle - EMPTY, middle + EMPTY])


def streams(axes: Axes, game: Game, window: Limits) -> None:
    """Streamlines of -F."""
    points = grid(window, FINE)
    with np.errstate(all="ignore"):
        forward = -game.field(points)
    # Equal lengths: streamlines need directions alone, and steep corners would stop all others.
    with np.errstate(all="ignore"):
        forward = forward / np.hypot(forward[..., :1], forward[..., 1:])
    u, v = np.ma.masked_invalid(forward[..., 0]), np.ma.masked_invalid(forward[..., 1])
    axes.streamplot(
        points[0, :, 0], points[:, 0, 1], u, v, color=PALE, linewidth=0.8, arrowsize=0.9, density=1.3, zorder=1
    )


def _paths(axes: Axes, views: list[View], window: Limits, colour: str) -> None:
    for view in views:
        points = within(view.whole, window)
        axes.plot(points[:, 0], points[:, 1], **{**PATH, "color": colour, "linewidth": 1.3, "label": ""})
    for view in views:
        axes.plot(*view.z[0], **{**START, "markersize": 5.5, "markeredgecolor": colour, "label": ""})
        if not view.leaves:
            axes.plot(*view.z[-1], **{**END, "markersize": 4.5, "markerfacecolor": colour, "zorder": 9, "label": ""})


def _legend(axes: Axes, labels: Iterable[str]) -> None:
    named = [legend_line(color=PALE, linewidth=1.2, label="direction of the players")]
    for place, label in enumerate(labels):
        named.append(legend_line(**{**PATH, "color": PALETTE[place % len(PALETTE)], "label": label}))
    if len(named) > 1:
        named += [legend_line(**START), legend_line(**{**END, "markerfacecolor": BLACK})]
    handles, _ = axes.get_legend_handles_labels()
    legend_below(axes, columns=3, handles=[*named, *handles])
