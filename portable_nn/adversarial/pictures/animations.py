"""A run as an animation, with the gradients of both players as arrows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from portable_nn.adversarial.games.game import norm
from portable_nn.adversarial.pictures.paper import (
    ARROW,
    PATH,
    START,
    X_COLOUR,
    Y_COLOUR,
    Axes,
    game_in_words,
    legend_below,
    legend_line,
    mark_equilibria,
    method_in_words,
    minus,
    plane,
    rate_in_words,
    sheet,
)
from portable_nn.adversarial.pictures.view import View, plane_view
from portable_nn.adversarial.runs.result import Result
from portable_nn.core.plotting import BLACK, put_on, style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from PIL.Image import Image

FRAMES: Final = 80
"""The largest number of frames."""
FRAME_DPI: Final = 90
LONGEST: Final = 0.35
"""The length of the longest arrow, relative to half the window."""
FLATTER: Final = 0.4
"""Lengths of arrows are drawn to this power."""


@style()
def animation(result: Result) -> list[Image]:
    """The frames of a run in the plane that is drawn: at each its path so far, and where each player goes next.

    The arrows are -F at the point, x's along x and y's along y, of a length for the eye; the first frame has the start
    alone, the last all that is shown. Raises ``UsageError`` for many runs at once, and for a game that is not played in
    a plane.
    """
    from PIL import Image

    view = plane_view(result)
    places = np.unique(np.linspace(0, len(view.t) - 1, min(FRAMES, len(view.t))).round().astype(int))
    paper = sheet(5.6, 6.2, [game_in_words(view.game), f"{method_in_words(result)}, {rate_in_words(result)}"])
    axes = paper.add_subplot()
    axes.plot(*view.z[0], **START)
    mark_equilibria(axes, view.game, view.equilibria)
    plane(axes, view.window)
    caption = axes.text(0.5, 1.02, " ", transform=axes.transAxes, ha="center", va="bottom", fontsize=9.5)
    _legend(axes)
    paper.set_dpi(FRAME_DPI)
    canvas: Any = paper.canvas
    canvas.draw()
    paper.set_layout_engine("none")
    caption.remove()
    arrows = _arrows(view)
    frames, before = [], 0
    for place in places:
        piece = axes.plot(view.z[before : place + 1, 0], view.z[before : place + 1, 1], **PATH)
        put_on(canvas, piece)
        before = place
        under = canvas.copy_from_bbox(paper.bbox)
        put_on(canvas, [*_moving(axes, view, place, arrows[place]), _caption(axes, view, place)])
        frames.append(Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB"))
        canvas.restore_region(under)
    return frames


def _arrows(view: View) -> Any:
    """-F at each point, with short vectors lengthened: (n, 2)."""
    with np.errstate(all="ignore"):
        forward = -view.game.field(view.z)
    forward = np.where(np.isfinite(forward).all(-1, keepdims=True), forward, 0.0)
    sizes = norm(forward)[:, None]
    longest = float(sizes.max()) or 1.0
    half = (view.window[0][1] - view.window[0][0]) / 2
    with np.errstate(all="ignore"):
        return np.where(sizes > 0, forward / sizes * (sizes / longest) ** FLATTER, 0.0) * LONGEST * half


def _moving(axes: Axes, view: View, place: int, arrow: Any) -> list[Artist]:
    """The current point, and the arrows of the players."""
    x, y = view.z[place]
    look = {"length_includes_head": True, "linewidth": 0, "zorder": 8}
    parts: list[Artist] = []
    half = (view.window[0][1] - view.window[0][0]) / 2
    for dx, dy, colour in ((arrow[0], 0.0, X_COLOUR), (0.0, arrow[1], Y_COLOUR)):
        length = abs(dx + dy)
        if length > 1e-3 * half:
            head = min(0.06 * half, length)
            parts.append(
                axes.arrow(
                    x, y, dx, dy, width=0.016 * half, head_width=0.06 * half, head_length=head, color=colour, **look
                )
            )
    parts += axes.plot(x, y, marker="o", markersize=6, color=BLACK, zorder=9)
    return parts


def _caption(axes: Axes, view: View, place: int) -> Artist:
    words = f"step {view.t[place]:,} of {view.result.t[-1]:,}"
    if len(view.game.equilibria):
        words += minus(f", distance {float(view.game.distance(view.z[place])):.4g}")
    return axes.text(0.5, 1.02, words, transform=axes.transAxes, ha="center", va="bottom", fontsize=9.5)


def _legend(axes: Axes) -> None:
    arrow = {**ARROW, "markersize": 14}
    handles, _ = axes.get_legend_handles_labels()
    named = [
        legend_line(color=X_COLOUR, label="x ascends f", **arrow),
        legend_line(color=Y_COLOUR, label="y descends f", **arrow),
        legend_line(**PATH),
    ]
    legend_below(axes, columns=3, handles=[*named, *handles])
