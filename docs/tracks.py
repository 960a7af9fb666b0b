"""What networks read along tracks: ``python docs/tracks.py lag``, ``peaks``, or ``calibration``."""

from __future__ import annotations

import sys

import numpy as np

from portable_nn.models.altimetry.along import Regime, judge_peaks, lag, open_track, posterior, readings
from portable_nn.models.altimetry.echoes import mean_echoes, speckled
from portable_nn.models.altimetry_surface.recipe import FAR, along
from portable_nn.opening import load_model

SEA = Regime(mean=3.0, deviation=0.8, length=20.0)
"""Waves that change within 20 km, one minute of which are enough to see a lag."""

ECHOES = 12_000
WINDOW = 41
"""Echoes that are averaged: two seconds."""


def lags() -> str:
    """A row for each way: the root mean squared error, and by how many echoes the series is late."""
    rng = np.random.default_rng(2_026)
    sea = open_track(SEA, ECHOES, rng)
    echoes = speckled(mean_echoes(sea, dtype=np.float32), rng)
    reads = readings(load_model("altimetry-track"))
    single = reads["single"](echoes)[:, 0]
    sums = np.cumsum(np.insert(single, 0, 0.0))
    means = (sums[WINDOW:] - sums[:-WINDOW]) / WINDOW
    late, centred = np.full((2, ECHOES), np.nan)
    late[WINDOW - 1 :] = means
    centred[WINDOW // 2 : WINDOW // 2 + len(means)] = means
    ways = {
        "each echo by itself: `altimetry-swh`": single,
        f"the mean of it and of the {WINDOW - 1} before it": late,
        f"the mean of the {WINDOW} around it": centred,
        "with its neighbours on both sides: `altimetry-track`": reads["track"](echoes)[:, 0],
    }
    inside = slice(WINDOW, -WINDOW)
    lines = ["| how an echo's height is read | error | late by |", "|---|---|---|"]
    for name, found in ways.items():
        error = np.sqrt(np.mean((found - sea.height)[inside] ** 2))
        lines.append(f"| {name} | {error:.3f} m | {_shown(lag(found[None, inside], sea.height[None, inside]))} |")
    bound = np.sqrt(posterior(sea, SEA)[inside, 0].mean())
    lines.append(f"| no one reads it better: the smoother that knows this sea | {bound:.3f} m | 0.0 echoes |")
    return "\n".join(lines)


def _shown(late: float) -> str:
    return f"{round(late, 1) + 0.0:.1f} echoes"


def peaks() -> str:
    """The root mean squared errors where a bright target stands out from the sea."""
    found = judge_peaks(readings(load_model("altimetry-track")), tracks=2)
    lines = ["| how an echo with several peaks is read | error |", "|---|---|"]
    lines.append(f"| by itself: `altimetry-swh` | {found['single']:.2f} m |")
    lines.append(f"| with its neighbours: `altimetry-track` | {found['track']:.2f} m |")
    return "\n".join(lines)


def calibration() -> str:
    """The expected calibration error of surfaces, on echoes of many tracks, which hardly depend on each other."""
    echoes, surfaces = along(10_800, np.random.default_rng(2_027), FAR)
    found = load_model("altimetry-surface").evaluate(echoes, surfaces).reliability
    lines = ["| 10,800 echoes of 36 tracks | calibration error | by chance |", "|---|---|---|"]
    lines.append(f"| `altimetry-surface` | {found.ece:.1%} | {found.by_chance:.1%} |")
    return "\n".join(lines).replace("%", " %")


if __name__ == "__main__":
    print({"lag": lags, "peaks": peaks, "calibration": calibration}[sys.argv[1]]())
