"""The trajectory of a run in the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portable_nn.adversarial.pictures.paper import (
    END,
    PATH,
    START,
    heading,
    legend_below,
    mark_equilibria,
    plane,
    sheet,
)
from portable_nn.adversarial.pictures.view import View, plane_view
from portable_nn.adversarial.runs.result import Result
from portable_nn.core.plotting import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW: Final = 80
"""Up to so many points, each is marked."""


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
    mark_equilibria(axes, view.equilibria)
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
