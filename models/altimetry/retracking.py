"""The reading of echoes without a network: least squares, and maximum likelihood, echo by echo.

``MLE3`` and ``MLE4`` are the names that the users of altimeters know: unweighted least squares with three unknowns, the
height, the epoch and the amplitude, or with a fourth, s = sin² ξ of the angle off nadir. Least squares are not the
maximum of the likelihood of speckle, whose noise is in proportion to the power: that is the minimum of
L·Σ (P/S + log S) over the gates, for the powers P and the mean echo S.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from portable_nn.core.errors import MissingPackageError, UsageError
from portable_nn.models.altimetry.echoes import JASON, Sea, derivatives, mean_echoes
from portable_nn.operators import Array

Method: TypeAlias = Literal["mle3", "mle4", "likelihood"]
METHODS: Final = ("mle3", "mle4", "likelihood")

LEAST: Final = 1e-6
"""Mean powers count as no less than so much of the amplitude: a step too far may make them negative."""


def retrack(
    waveforms: Array,
    known: Sea,
    method: Method = "likelihood",
    *,
    unknowns: int = 3,
) -> Array:
    """Fit each of the echoes (n, gates): heights and epochs in metres, amplitudes, and s = sin² ξ, (n, 4).

    Args:
        waveforms: the powers of the echoes.
        known: what is known of each place: noise, skewness 0, and, where s is none of the unknowns, the angle.
        method: ``mle3`` or ``mle4``, or the gamma ``likelihood``.
        unknowns: 3, or 4 with s; for ``likelihood``.

    Raises ``UsageError`` for an unknown method, ``MissingPackageError`` without scipy.
    """
    if method not in METHODS:
        raise UsageError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    count = {"mle3": 3, "mle4": 4}.get(method, unknowns)
    if count not in (3, 4):
        raise UsageError(f"unknowns must be 3 or 4, not {unknowns}")
    solve = _likeliest if method == "likelihood" else _least_squares
    found = np.empty((len(waveforms), 4))
    for place, waveform in enumerate(waveforms.astype(np.float64)):
        here = known[place : place + 1] if len(known) > 1 else known
        found[place] = _begin(waveform, here)
        found[place, :count] = solve(waveform, here, found[place, :count])
    found[:, 0] = np.abs(found[:, 0])
    return found


def _begin(waveform: Array, known: Sea) -> Array:
    """The start of a fit: the epoch at half of the power of the plateau."""
    noise = float(known.column("noise")[0, 0])
    smooth = np.convolve(waveform, np.full(5, 0.2), "same")
    plateau = float(smooth.max()) - noise
    gate = int(np.argmax(smooth > noise + plateau / 2))
    epoch = (gate - JASON.nominal) * JASON.metres
    return np.array([3.0, epoch, plateau, known.sine_squared[0, 0]])


def _sea(values: Array, known: Sea) -> Sea:
    """``known`` with the unknowns as they are now."""
    found = dict(zip(("height", "epoch", "amplitude"), values, strict=False))
    if len(values) > 3:
        found["off_nadir"] = np.degrees(np.copysign(np.arcsin(np.sqrt(min(abs(values[3]), 1.0))), values[3]))
    return replace(known, **found)


def _least_squares(waveform: Array, known: Sea, begin: Array) -> Array:
    """The unknowns of the least squares of the differences, in every gate alike."""

    def misfit(values: Array) -> Array:
        return np.asarray(mean_echoes(_sea(values, known))[0] - waveform)

    def slopes(values: Array) -> Array:
        return derivatives(_sea(values, known))[0, :, : len(values)]

    found = _optimizer().least_squares(misfit, begin, jac=slopes, method="lm", x_scale=_scales(begin))
    return np.asarray(found.x)


def _likeliest(waveform: Array, known: Sea, begin: Array) -> Array:
    """The unknowns of the largest likelihood of speckle, from those of the least squares on."""
    scales = _scales(begin)

    def misfit(steps: Array) -> tuple[float, Array]:
        here = _sea(steps * scales, known)
        mean = np.maximum(mean_echoes(here)[0], LEAST * begin[2])
        slopes = derivatives(here)[0, :, : len(steps)]
        ratio = waveform / mean
        return float((ratio + np.log(mean)).sum()), ((1 - ratio) / mean) @ slopes * scales

    start = _least_squares(waveform, known, begin)
    start[0] = max(abs(start[0]), 0.3)
    found = _optimizer().minimize(misfit, start / scales, jac=True, method="BFGS", options={"gtol": 1e-4})
    return np.asarray(found.x * scales)


def _scales(begin: Array) -> Array:
    """The magnitude of a step in each unknown."""
    return np.array([1.0, 0.3, 0.1 * begin[2], 1e-5])[: len(begin)]


def _optimizer() -> Any:
    try:
        from scipy import optimize
    except ImportError:
        raise MissingPackageError("scipy", "fits of echoes", "recipes") from None
    return optimize
