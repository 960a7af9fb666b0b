"""Pictures of a run: its overview, trajectory, iterates and distance, and the continuous flow beside its steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from portable_nn.adversarial.pictures.paper import (
    MEASURED,
    START,
    THEORY,
    X_COLOUR,
    Y_COLOUR,
    Axes,
    Figure,
    Look,
    distance_in_words,
    drawable,
    frame,
    heading,
    is_article,
    legend_below,
    mark_equilibria,
    parts_of,
    path_on,
    plane,
    powers,
    sheet,
)
from portable_nn.adversarial.pictures.payoffs import above_on
from portable_nn.adversarial.pictures.view import View, has_value, plane_view, view_of, within
from portable_nn.adversarial.runs.result import Result
from portable_nn.adversarial.runs.simulation import simulate
from portable_nn.adversarial.runs.verdict import factor_text
from portable_nn.adversarial.theory.updates import spectral_radius
from portable_nn.core.plotting import BLUE, GREEN, PURPLE, SKY, VERMILLION, style
from portable_nn.operators import Array

MOST: Final = 3
"""The largest number of variables of each player that are drawn."""
COLOURS: Final = ((X_COLOUR, SKY, GREEN), (Y_COLOUR, VERMILLION, PURPLE))
MANY: Final = 10_000
"""From so many steps on there are fewer ticks, as their numbers are long."""
DASHES: Final = ("solid", (0, (4, 1.5)))
SUBSCRIPTS: Final = "₀₁₂₃₄₅₆₇₈₉"

FLOW: Final[Look] = {"color": BLUE, "linewidth": 1.8, "label": "continuous flow", "zorder": 4}
FINER: Final = 10
"""Steps of the numerical flow per step of the run."""
LONGEST: Final = 20_000
"""The largest number of steps of the numerical flow: a longer one is truncated."""


@style()
def run(result: Result) -> Figure:
    """A run with its verdict: the payoff, the trajectory, and the iterates and the distance over the steps.

    A game of more than two variables has only the latter two; a game without a payoff all but the first.

    Raises ``UsageError`` for many runs at once.
    """
    view = view_of(result)
    if view.game.players != (1, 1):
        paper = sheet(11, 4.9, heading(result))
        parts = parts_of(paper, 1, 2)
    else:
        paper = sheet(11, 10.4, heading(result))
        first, second, *parts = parts_of(paper, 2, 2, height_ratios=(1.35, 1), width_ratios=(1.12, 1))
        orbit_on(second.add_subplot(), view)
        if has_value(view.game):
            above_on(first.add_subplot(), view)
    coordinates_on(parts[0].add_subplot(), view)
    distance_on(parts[1].add_subplot(), view)
    return paper


def orbit_on(axes: Axes, view: View, title: str = "trajectory") -> None:
    """The trajectory of a run in the plane, its start and end, and the equilibria."""
    path_on(axes, view, "\n".join(filter(None, [title, view.words])), grid="both")
    legend_below(axes, columns=5)


def coordinates_on(axes: Axes, view: View) -> None:
    """The variables of x and y over the steps; the first three of each player."""
    players = view.game.players
    for player, (name, count) in enumerate(zip("xy", players, strict=True)):
        for place in range(min(count, MOST)):
            label = name if count == 1 else name + SUBSCRIPTS[place]
            column = view.z[:, place + player * players[0]]
            axes.plot(
                view.t, column, color=COLOURS[player][place], linestyle=DASHES[player], linewidth=1.4, label=label
            )
    axes.axhline(0, color="#C8C8C8", linewidth=0.7, zorder=0)
    steps_axis(axes, view.t)
    if view.leaves:
        reach = np.abs(view.z[:-1] if len(view.z) > 1 else view.z).max() * 1.3
        axes.set_ylim(-reach, reach)
    shown = (
        f"{min(count, MOST)} of the {count} variables of {name}" for name, count in zip("xy", players, strict=True)
    )
    what = "x and y" if max(players) <= MOST else " and ".join(shown)
    frame(axes, "\n".join(filter(None, [f"{what} over the steps", view.words])), "step", "x, y")
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
    steps_axis(axes, result.t)
    what = distance_in_words(view.game).replace("nearest ", "") if known else "norm of the vector field"
    title = what if usable else f"{what}: 0 at every step"
    frame(axes, title, "step", distance_in_words(view.game), grid="y")
    legend_below(axes, columns=2)


def theory_on(axes: Axes, result: Result, lengths: Array) -> None:
    """The line of the spectral radius of the update, from the start, where it is exact from the first step on."""
    row, rates = result.method, result.rates
    if not (result.game.linear and row.linear and row.period is not None and len(rates.factors) == 1):
        return
    rate = tuple(float(base * factor) for base, factor in zip(rates.base, rates.factors[0], strict=True))
    options = {name: value for name, value in result.options.items() if value is not None}
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


@style()
def circle_and_spiral(result: Result) -> Figure:
    """The continuous flow dz/dt = -F beside the steps of a run, from the same start and for the same time.

    The flow of f = x·y is x = x₀ cos T + y₀ sin T, y = y₀ cos T - x₀ sin T; others are computed by Runge-Kutta's method
    in steps a tenth as long. A step of rate η takes the time η.

    Raises ``UsageError`` for many runs at once, and for a game that is not played in a plane.
    """
    view = plane_view(result)
    time, flow = flow_of(result)
    smooth = view_of(replace(result, t=np.arange(len(flow)), z=flow))
    paper = sheet(11, 6.5, heading(result))
    left, right = [part.add_subplot() for part in parts_of(paper, 1, 2)]
    left.plot(smooth.z[:, 0], smooth.z[:, 1], **FLOW)
    mark_equilibria(left, smooth.game, smooth.equilibria)
    left.plot(*view.z[0], **START)
    until = "until it leaves the axes" if smooth.leaves else f"for the time T = {time:.4g}"
    plane(left, smooth.window, f"continuous: dz/dt = \N{MINUS SIGN}F, {until}", grid="both")
    legend_below(left, columns=3)
    flow = within(flow, view.window)
    right.plot(flow[:, 0], flow[:, 1], **{**FLOW, "linestyle": (0, (3, 2)), "linewidth": 1.2})
    orbit_on(right, view, f"discrete: {result.t[-1]:,} steps")
    return paper


def flow_of(result: Result) -> tuple[float, Array]:
    """The time span of the flow of a run, and its points (n, 2)."""
    steps, factors = int(result.t[-1]), result.rates.factors.mean(axis=1)
    rates = [float(base) for base in result.rates.base]
    passed = float(factors.sum()) * (steps if len(factors) == 1 else 1)  # In units of the constant part of the rate.
    if is_article(result.game) and rates[0] == rates[1]:
        time = passed * rates[0]
        at = np.linspace(0, time, min(LONGEST, max(200, int(60 * time))))[:, None]
        x, y = result.z[0]
        return time, np.hstack([x * np.cos(at) + y * np.sin(at), y * np.cos(at) - x * np.sin(at)])
    count = int(np.clip(round(FINER * passed), 1, LONGEST))
    fine = passed / max(count, round(FINER * passed))
    run = simulate(result.game, "runge-kutta", result.z[0], (rates[0] * fine, rates[1] * fine), count)
    return fine * count * sum(rates) / 2, run.z
