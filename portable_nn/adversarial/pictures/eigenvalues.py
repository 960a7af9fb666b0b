"""Eigenvalues of update operators and the unit circle, inside which a method converges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from portable_nn.adversarial.pictures.paper import few_ticks, sheet
from portable_nn.adversarial.runs.verdict import factor_text
from portable_nn.core.errors import UsageError
from portable_nn.core.plotting import BLACK, PALETTE, style, tint
from portable_nn.operators.registry import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKS: Final = "osD^vP*X"
MOST: Final = 24
"""The largest number of spectra in a picture."""
CIRCLE: Final[dict[str, Any]] = {"fill": False, "edgecolor": BLACK, "linewidth": 1.1, "zorder": 2}
INSIDE: Final[dict[str, Any]] = {"facecolor": "#F0F0F0", "edgecolor": "none", "zorder": 0}
REACH: Final = (1.15, 3.0)
"""The smallest and the largest extent of the plane."""


@style()
def spectrum(spectra: Mapping[tuple[str, float], Array], title: str = "") -> Figure:
    """Eigenvalues and the unit circle: the whole plane, and the neighbourhood of the largest.

    ``spectra`` has the result of ``spectrum`` for each method and learning rate. Each method has its own colour and
    marker, darker for larger learning rates. Raises ``UsageError`` for none, and for more than ``MOST``.
    """
    if not 1 <= len(spectra) <= MOST:
        raise UsageError(f"a picture has room for 1 to {MOST} sets of eigenvalues, not {len(spectra)}")
    paper = sheet(11, 5.4 + 0.2 * max(0, len(spectra) - 4) / 2, [title] if title else [])
    whole, near = paper.subplots(1, 2)
    for axes in (whole, near):
        _circle(axes)
        for (method, rate), found in spectra.items():
            axes.plot(found.real, found.imag, **_look(spectra, method, rate))
    every = np.concatenate([*spectra.values()])
    reach = float(np.clip(1.06 * np.abs(every).max(), *REACH))
    beyond = int((np.maximum(np.abs(every.real), np.abs(every.imag)) > reach).sum())
    words = f"; {beyond} beyond the axes" if beyond else ""
    _frame(whole, (-reach, reach), (-reach, reach), f"eigenvalues: converges inside the unit circle{words}")
    chosen = _alike(spectra)
    rates = {rate for _, rate in chosen}
    which = f" at η = {min(rates):g}" if len(chosen) < len(spectra) else ""
    _frame(near, *_close([*chosen.values()]), f"largest eigenvalues{which}, upper half-plane")
    handles, labels = whole.get_legend_handles_labels()
    paper.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9, handletextpad=0.5)
    return paper


def _circle(axes: Axes) -> None:
    from matplotlib.patches import Circle

    axes.add_patch(Circle((0, 0), 1, gid="inside", **INSIDE))
    axes.add_patch(Circle((0, 0), 1, gid="unit circle", **CIRCLE))
    axes.axhline(0, color="#D0D0D0", linewidth=0.7, zorder=1)
    axes.axvline(0, color="#D0D0D0", linewidth=0.7, zorder=1)


def _look(spectra: Mapping[tuple[str, float], Array], method: str, rate: float) -> dict[str, Any]:
    """The marker and label of the eigenvalues of a method at a learning rate."""
    names = [*dict.fromkeys(name for name, _ in spectra)]
    place = names.index(method)
    rates = sorted({at for name, at in spectra if name == method})
    share = 1.0 if len(rates) == 1 else 0.25 + 0.75 * rates.index(rate) / (len(rates) - 1)
    largest = float(np.abs(spectra[method, rate]).max())
    colour = PALETTE[place % len(PALETTE)]
    return {
        "linestyle": "none",
        "marker": MARKS[place % len(MARKS)],
        "markersize": min(7.5 + 2.6 * (len(names) - 1 - place), 14),  # What lies below is larger, and is seen.
        "markerfacecolor": tint(colour, share),
        "markeredgecolor": BLACK,
        "markeredgewidth": 0.7,
        "zorder": 4,
        "label": f"{method}, η = {rate:g}: largest |λ| = {factor_text(largest)}",
    }


def _alike(spectra: Mapping[tuple[str, float], Array]) -> Mapping[tuple[str, float], Array]:
    """The spectra that are closest together: of several methods, those at the smallest shared rate; else all."""
    rates = [rate for _, rate in spectra]
    shared = sorted(rate for rate in set(rates) if rates.count(rate) > 1)
    return {key: found for key, found in spectra.items() if key[1] == shared[0]} if shared else spectra


def _close(parts: list[Array]) -> tuple[tuple[float, float], tuple[float, float]]:
    """A square around the largest eigenvalue of each in the upper half of the plane, with a part of the circle."""
    largest = [part[np.argmax(np.abs(part))] for part in parts]
    points = np.array([complex(one.real, abs(one.imag)) for one in largest])
    on_circle = points / np.where(np.abs(points) > 0, np.abs(points), 1)
    both = np.concatenate([points, on_circle])
    low, high = np.array([both.real.min(), both.imag.min()]), np.array([both.real.max(), both.imag.max()])
    half = max(0.02, 0.62 * float((high - low).max()))
    middle = (low + high) / 2
    return (middle[0] - half, middle[0] + half), (middle[1] - half, middle[1] + half)


def _frame(axes: Axes, x: tuple[float, float], y: tuple[float, float], title: str) -> None:
    axes.set(xlim=x, ylim=y, aspect="equal", xlabel="Re λ", ylabel="Im λ")
    axes.set_title(title, fontsize=10)
    few_ticks(axes.xaxis, axes.yaxis)
