"""A run: its trajectory in the plane, and the iterates and their distance to the equilibrium over the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from portable_nn.adversarial.pictures.paper import (
    END,
    MEASURED,
    PATH,
    START,
    THEORY,
    X_COLOUR,
    Y_COLOUR,
    distance_in_words,
    drawable,
    heading,
    legend_below,
    mark_equilibria,
    plane,
    powers,
    sheet,
)
from portable_nn.adversarial.pictures.view import View, plane_view, view_of
from portable_nn.adversarial.runs.result import Result
from portable_nn.adversarial.runs.verdict import factor_text
from portable_nn.adversarial.theory.updates import spectral_radius
from portable_nn.core.plotting import BLUE, GREEN, PURPLE, SKY, VERMILLION, style
from portable_nn.operators.registry import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW: Final = 80
"""Up to so many points, each is marked."""

MOST: Final = 3
"""The largest number of variables of each player that are drawn."""
COLOURS: Final = ((X_COLOUR, SKY, GREEN), (Y_COLOUR, VERMILLION, PURPLE))
MANY: Final = 100_000
"""From so many steps on there are fewer ticks, as their numbers are long."""
DASHES: Final = ("solid", (0, (4, 1.5)))
SUBSCRIPTS: Final = "₀₁₂₃₄₅₆₇₈₉"


@style()
def orbit(result: Result) -> Figure:
    """The trajectory of a run in the plane, its start and end, and the equilibria.

    Raises ``UsageError`` for many runs at once, and for a game that is not played in a plane.
    """
    view = plane_view(result)
    paper = sheet(6.2, 6.8, heading(result))
    orbit_on(paper.add_subplot(), view)
    return paper


def orbit_on(axes: Axes, view: View, title: str = "trajectory") -> None:
    """Draw that on axes."""
    path_on(axes, view)
    mark_equilibria(axes, view.game, view.equilibria)
    axes.plot(*view.z[0], **START)
    if not view.leaves:
        axes.plot(*view.z[-1], **END)
    plane(axes, view.window)
    axes.set_title("\n".join(filter(None, [title, view.words])), fontsize=10)
    axes.grid(color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)
    legend_below(axes, columns=5)


def path_on(axes: Axes, view: View) -> None:
    """Draw the trajectory alone."""
    dots = {"marker": ".", "markersize": 4} if len(view.z) <= FEW else {}
    axes.plot(view.z[:, 0], view.z[:, 1], **{**PATH, **dots})


@style()
def coordinates(result: Result) -> Figure:
    """The variables of x and y over the steps; the first three of each player.

    Raises ``UsageError`` for many runs at once.
    """
    view = view_of(result)
    paper = sheet(8, 4.8, heading(result))
    coordinates_on(paper.add_subplot(), view)
    return paper


def coordinates_on(axes: Axes, view: View) -> None:
    """Draw that on axes."""
    players = view.game.players
    for player, (name, count) in enumerate(zip("xy", players, strict=True)):
        for place in range(min(count, MOST)):
            label = name if count == 1 else name + SUBSCRIPTS[place]
            column = view.z[:, place + player * players[0]]
            axes.plot(
                view.t, column, color=COLOURS[player][place], linestyle=DASHES[player], linewidth=1.4, label=label
            )
    axes.axhline(0, color="#C8C8C8", linewidth=0.7, zorder=0)
    axes.set(xlabel="step", ylabel="x, y")
    steps_axis(axes, view.t)
    if view.leaves:
        reach = np.abs(view.z[:-1] if len(view.z) > 1 else view.z).max() * 1.3
        axes.set_ylim(-reach, reach)
    shown = (
        f"{min(count, MOST)} of the {count} variables of {name}" for name, count in zip("xy", players, strict=True)
    )
    what = "x and y" if max(players) <= MOST else " and ".join(shown)
    axes.set_title("\n".join(filter(None, [f"{what} over the steps", view.words])), fontsize=10)
    legend_below(axes, columns=6)


def distance_on(axes: Axes, view: View) -> None:
    """The distance to the nearest equilibrium over all steps, on a logarithmic scale; ‖F‖ where none is known."""
    result = view.result
    known = len(view.game.equilibria) > 0
    lengths = result.lengths.reshape(-1)
    drawn = drawable(lengths)
    axes.plot(result.t, drawn, color=BLUE, label="measured", **MEASURED)
    powers(axes, drawn)
    usable = bool(np.isfinite(drawn).any())
    if known and usable:
        theory_on(axes, result, lengths)
    axes.set(xlabel="step", ylabel=distance_in_words(view.game))
    steps_axis(axes, result.t)
    what = distance_in_words(view.game).replace("nearest ", "") if known else "norm of the vector field"
    axes.set_title(what if usable else f"{what}: 0 at every step", fontsize=10)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    legend_below(axes, columns=2)


def theory_on(axes: Axes, result: Result, lengths: Array) -> None:
    """The line of the spectral radius of the update, from the start, where it is exact from the first step on."""
    row, rates = result.method, result.rates
    if not (result.game.linear and row.linear and row.period is not None and len(rates.factors) == 1):
        return
    rate = tuple(float(base * factor) for base, factor in zip(rates.base, rates.factors[0], strict=True))
    options: dict[str, Any] = {name: value for name, value in result.options.items() if value is not None}
    factor = spectral_radius(row, result.game, (rate[0], rate[1]), **options)
    with np.errstate(all="ignore"):
        line = lengths[0] * factor ** result.t.astype(float)
    low, high = axes.get_ylim()
    axes.plot(result.t, drawable(line), label=f"theory: {factor_text(factor)} per step", **THEORY)
    axes.set_ylim(low, high)


def steps_axis(axes: Axes, steps: Array) -> None:
    """From the first step to the last, in whole numbers with commas."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    last = max(float(steps[-1]), 1.0)
    axes.set_xlim(-0.01 * last, 1.01 * last)
    axes.xaxis.set_major_locator(MaxNLocator(6 if last < MANY else 4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}".replace("-", "\N{MINUS SIGN}")))
