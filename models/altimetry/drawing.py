"""A picture of a file of simulated tracks: ``portable-nn models build altimetry-data --plot FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from portable_nn.core.plotting import BLACK, BLUE, ORANGE, PURPLE, SKY, figure, style
from portable_nn.models.altimetry.echoes import JASON
from portable_nn.models.altimetry.surfaces import SURFACES
from portable_nn.operators import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = dict(zip(SURFACES, (BLUE, ORANGE, SKY, PURPLE), strict=True))

EXAMPLES: Final = 3
"""Echoes that are drawn of each class."""

LONGEST: Final = 12_000
"""Echoes of which the track is drawn, from the first one on: ten minutes."""

FAINTEST: Final = 0.01
"""Powers below it have the colour of no power."""


@style()
def sheet(path: str | Path) -> Figure:
    """Echoes of each class of surfaces, and the track with its echoes side by side, its classes and its waves.

    Args:
        path: a file that ``files.write`` has written. No more than its first ``LONGEST`` echoes are read.

    Raises:
        MissingPackageError: matplotlib is missing.
    """
    import h5py

    with h5py.File(path) as file:
        found = {name: file[name][:LONGEST] for name in ("waveforms", "time", "surface", "swh")}
        count = len(file["time"])
    shown = len(found["time"])
    present = [name for place, name in enumerate(SURFACES) if place in found["surface"]]
    page = figure(11.0, 8.2)
    sides = {"left": 0.07, "right": 0.93}
    above = page.add_gridspec(1, len(present), top=0.87, bottom=0.7, **sides)
    below = page.add_gridspec(3, 1, height_ratios=(1.6, 0.1, 0.8), hspace=0.4, top=0.59, bottom=0.07, **sides)
    page.text(0.03, 0.955, f"Simulated echoes of {Path(path).name}", fontsize=14, fontweight="bold")
    some = "" if shown == count else f"; the first {shown:,} are drawn"
    page.text(0.03, 0.925, f"{count:,} echoes, 20 a second{some}", color="#5A5A5A")
    for place, name in enumerate(present):
        _echoes(page.add_subplot(above[place]), name, found["waveforms"][found["surface"] == SURFACES.index(name)])
    track = page.add_subplot(below[0])
    _radargram(track, found)
    _classes(page.add_subplot(below[1], sharex=track), found, present)
    _waves(page.add_subplot(below[2], sharex=track), found)
    return page


def _echoes(axes: Axes, name: str, waveforms: Array) -> None:
    """Some echoes of a class, spread over the track."""
    places = np.unique(np.linspace(0, len(waveforms) - 1, EXAMPLES + 2)[1:-1].round().astype(int))
    for place, alpha in zip(places, (1.0, 0.65, 0.4), strict=False):
        axes.plot(waveforms[place], color=COLOURS[name], linewidth=0.9, alpha=alpha)
    axes.set_title(f"{name} ({len(waveforms):,} echoes)", fontsize=10, loc="left")
    axes.set_xlim(0, JASON.gates - 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("gate", fontsize=9)
    if name == SURFACES[0]:
        axes.set_ylabel("power")


def _radargram(axes: Axes, found: dict[str, Array]) -> None:
    """The echoes side by side: a column for each, its first gate at the top."""
    image = np.log10(np.maximum(found["waveforms"].T, FAINTEST))
    begin, end = _span(found)
    drawn = axes.imshow(
        image,
        aspect="auto",
        extent=(begin, end, JASON.gates - 0.5, -0.5),
        cmap="viridis",
        interpolation="antialiased",
        vmin=np.log10(FAINTEST),
        vmax=np.log10(4.0),
    )
    axes.set_title("All echoes side by side, each a column", fontsize=10, loc="left")
    axes.set_ylabel("gate")
    axes.tick_params(labelbottom=False)
    box = axes.get_position()
    bar = axes.figure.add_axes((box.x1 + 0.01, box.y0, 0.01, box.height))
    axes.figure.colorbar(drawn, cax=bar, extend="both")
    powers = (0.01, 0.1, 1.0, 4.0)
    bar.set_yticks(np.log10(powers), [f"{power:g}" for power in powers])
    bar.set_title("power", fontsize=9, loc="left")


def _classes(axes: Axes, found: dict[str, Array], present: list[str]) -> None:
    """A strip with the class of each echo."""
    from matplotlib.colors import ListedColormap

    begin, end = _span(found)
    colours = ListedColormap([COLOURS[name] for name in SURFACES])
    axes.imshow(
        found["surface"][np.newaxis],
        aspect="auto",
        extent=(begin, end, 0, 1),
        cmap=colours,
        vmin=-0.5,
        vmax=len(SURFACES) - 0.5,
        interpolation="nearest",
    )
    axes.set_yticks([])
    axes.tick_params(labelbottom=False)
    for side in axes.spines.values():
        side.set_visible(False)
    handles = [axes.scatter([], [], marker="s", s=40, color=COLOURS[name], label=name) for name in present]
    axes.legend(
        handles=handles, ncols=len(present), loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9
    )


def _waves(axes: Axes, found: dict[str, Array]) -> None:
    axes.plot(found["time"], found["swh"], color=BLACK, linewidth=1.0)
    axes.set_ylim(bottom=0)
    axes.set_xlim(*_span(found))
    axes.set_title("True significant wave height", fontsize=10, loc="left")
    axes.set_ylabel("metres")
    axes.set_xlabel("time along the track, in seconds")


def _span(found: dict[str, Array]) -> tuple[float, float]:
    times = found["time"]
    half = (times[-1] - times[0]) / max(2 * (len(times) - 1), 1) or 0.025
    return float(times[0] - half), float(times[-1] + half)
