"""The payoff f as a surface, from three angles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from portable_nn.adversarial.pictures.heights import grid, levels, values
from portable_nn.adversarial.pictures.paper import END, EQUILIBRIUM, PATH, START, diverging, heading, sheet
from portable_nn.adversarial.pictures.view import View, check_value, plane_view
from portable_nn.adversarial.runs.result import Result
from portable_nn.core.plotting import style
from portable_nn.operators.registry import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FINE: Final = 41
"""Points along a side of the surface."""

ANGLES: Final = ((28, 300), (10, 315), (45, 225))
"""Elevation and azimuth of the views, in degrees."""


@style()
def saddle(result: Result) -> Figure:
    """The payoff f as a surface with a run on it, from three angles.

    Raises ``UsageError`` for many runs at once, and for a game that is not played in a plane or has no f.
    """
    view = plane_view(result)
    check_value(view.game)
    paper = sheet(12, 5.2, heading(result))
    points = grid(view.window, FINE)
    found = values(view.game, points)
    engine: Any = paper.get_layout_engine()
    engine.set(wspace=0.14)
    for place, (high, around) in enumerate(ANGLES, start=1):
        axes: Any = paper.add_subplot(1, 3, place, projection="3d", computed_zorder=False)
        _surface(axes, points, found)
        _path(axes, view)
        axes.view_init(high, around)
        axes.zaxis.set_rotate_label(False)
        axes.set(xlabel="x", ylabel="y")
        axes.set_zlabel("f(x, y)", rotation=90)
        axes.set_title(f"elevation {high}°, azimuth {around}°", fontsize=10)
        axes.set_box_aspect((1, 1, 0.75), zoom=0.9)
        axes.tick_params(labelsize=8)
        for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
            axis.set_major_locator(_few())
    handles, labels = axes.get_legend_handles_labels()
    paper.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return paper


def _few() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5)


def _surface(axes: Any, points: Array, found: Array) -> None:
    borders = levels(found)
    axes.plot_surface(
        points[..., 0],
        points[..., 1],
        np.clip(found, borders[0], borders[-1]),
        cmap=diverging(),
        vmin=borders[0],
        vmax=borders[-1],
        rcount=FINE,
        ccount=FINE,
        linewidth=0.2,
        edgecolor="#00000018",
        alpha=0.85,
        zorder=1,
    )


def _path(axes: Any, view: View) -> None:
    """The part of the run that is on the surface."""
    low, high = np.array(view.window).T
    points = np.where(((view.z >= low) & (view.z <= high)).all(-1)[:, None], view.z, np.nan)
    heights = np.where(np.isfinite(points[:, 0]), values(view.game, view.z), np.nan)
    axes.plot(*points.T, heights, **PATH)
    for point, look in ((view.equilibria, EQUILIBRIUM), (view.z[:1], START), (view.z[-1:], END)):
        if len(point) and not (look is END and view.leaves):
            axes.plot(*point.T, values(view.game, point), **look)
