"""The continuous-time flow beside the discrete steps of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from portable_nn.adversarial.pictures.paper import (
    START,
    heading,
    is_article,
    legend_below,
    mark_equilibria,
    parts_of,
    plane,
    sheet,
)
from portable_nn.adversarial.pictures.trajectories import orbit_on
from portable_nn.adversarial.pictures.view import plane_view, view_of, within
from portable_nn.adversarial.runs.result import Result
from portable_nn.adversarial.runs.simulation import simulate
from portable_nn.core.plotting import BLUE, style
from portable_nn.operators.registry import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLOW: Final[dict[str, Any]] = {"color": BLUE, "linewidth": 1.8, "label": "continuous flow", "zorder": 4}

FINER: Final = 10
"""Steps of the numerical flow per step of the run."""
MOST: Final = 20_000
"""The largest number of steps of the numerical flow: a longer one is truncated."""


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
    plane(left, smooth.window)
    left.grid(color="#E6E6E6", linewidth=0.6)
    left.set_axisbelow(True)
    until = "until it leaves the axes" if smooth.leaves else f"for the time T = {time:.4g}"
    left.set_title(f"continuous: dz/dt = \N{MINUS SIGN}F, {until}", fontsize=10)
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
        at = np.linspace(0, time, min(MOST, max(200, int(60 * time))))[:, None]
        x, y = result.z[0]
        return time, np.hstack([x * np.cos(at) + y * np.sin(at), y * np.cos(at) - x * np.sin(at)])
    count = int(np.clip(round(FINER * passed), 1, MOST))
    fine = passed / max(count, round(FINER * passed))
    run = simulate(result.game, "runge-kutta", result.z[0], (rates[0] * fine, rates[1] * fine), count)
    return fine * count * sum(rates) / 2, run.z
