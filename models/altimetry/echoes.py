"""Mean echoes of a pulse-limited radar altimeter over the sea, and their speckle.

The mean power W of an echo by the time t, from the nominal tracking gate on, is the convolution of the response of a
flat sea, of the density of the heights of the surface, and of the response to one point (Brown, IEEE Trans. Antennas
Propagat. 25, 1977). With Gaussian responses and heights, as completed by Hayne (IEEE Trans. Antennas Propagat. 28,
1980)::

    W(t) = A·K·(G(t - τ) + λ·σ_s³/6·G'''(t - τ)) + N
    G(t) = exp(-v)·(1 + erf u)/2
    u = (t - ασ²)/(√2·σ)    v = α·(t - ασ²/2)    σ² = σ_p² + σ_j² + σ_s²
    K = exp(-4s/γ)    α = δ·(1 - 2s - 4s·(1 - s)/γ)    s = sin² ξ
    δ = 4c/(γh)/(1 + h/R)    γ = (2/ln 2)·sin²(θ/2)    σ_s = H/(2c)    σ_p = 0.513·r

for the amplitude A, the epoch τ, the significant wave height H, the thermal noise N, the skewness λ of the heights, the
jitter σ_j of the tracking, the angle ξ off nadir, the altitude h, the beam width θ, the radius R of the earth, and the
length r of a gate. G is the solution of a heat equation in σ², so that all of its derivatives are made of G and of the
normal density. Speckle multiplies each gate by a gamma variable of mean 1 and shape L, the number of averaged looks.

Here times are in gates, and epochs in metres of range, c·τ/2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike

import portable_nn as pnn
from portable_nn.operators import Array, emit

Generator = np.random.Generator

LIGHT: Final = 299_792_458.0
"""The speed of light, m/s."""

BLOCK: Final = 512
"""Echoes that are computed at once: their arrays stay in the cache."""


@dataclass(frozen=True)
class Instrument:
    """An altimeter; by default one like those of the Jason satellites, in the band Ku.

    Attributes:
        altitude: in metres.
        beam_width: that of the antenna, at half of its power, in degrees.
        gate: the length of a gate, in seconds.
        gates: the number of gates of an echo.
        nominal: the tracking gate, on which the middle of the leading edge is at the epoch 0.
        looks: the number of echoes that are averaged: the shape of the speckle.
        earth: the radius of the earth, in metres.
    """

    altitude: float = 1_336_000.0
    beam_width: float = 1.28
    gate: float = 3.125e-9
    gates: int = 104
    nominal: float = 31.0
    looks: float = 90.0
    earth: float = 6_371_000.0

    @property
    def metres(self) -> float:
        """The range of a gate, in metres."""
        return LIGHT * self.gate / 2

    @property
    def gamma(self) -> float:
        """γ, the width of the antenna pattern."""
        return 2 / math.log(2) * math.sin(math.radians(self.beam_width) / 2) ** 2

    @property
    def decay(self) -> float:
        """δ, the decay of the trailing edge at nadir, per gate."""
        return 4 * LIGHT / (self.gamma * self.altitude) / (1 + self.altitude / self.earth) * self.gate


JASON: Final = Instrument()
POINT: Final = 0.513
"""σ_p, the width of the response to one point, in gates."""


STEEPEST: Final = 40.0
"""The largest argument of exp: where more is asked for, long before the leading edge, 1 + erf u is 0 anyway."""


@dataclass(frozen=True)
class Sea:
    """The sea that makes the mean echoes of n places: an array (n,) or one number for all of them in each field.

    Attributes:
        height: the significant wave height, in metres.
        epoch: the distance of the mean surface behind that of the nominal gate, in metres.
        amplitude: the power at nadir, in any unit, which is that of the echo.
        off_nadir: the angle ξ between antenna and nadir, in degrees; below 0 it stands for a sin² ξ below 0, which
            noise may make the best fit.
        noise: the thermal noise, in the unit of the amplitude.
        skewness: that of the heights of the surface; positive where crests are high and troughs flat.
        jitter: the standard deviation of the tracking within an echo, in metres.
    """

    height: Any
    epoch: Any = 0.0
    amplitude: Any = 1.0
    off_nadir: Any = 0.1
    noise: Any = 0.02
    skewness: Any = 0.0
    jitter: Any = 0.0

    def __len__(self) -> int:
        return max(np.size(value) for value in vars(self).values())

    def __getitem__(self, places: Any) -> Sea:
        """Some of the places."""
        values = {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}
        return Sea(**{name: value[places] if value.ndim else value for name, value in values.items()})

    @property
    def sine_squared(self) -> Array:
        """s = sin² ξ, with the sign of ξ: (n, 1) or (1, 1)."""
        sine = np.sin(np.radians(self.column("off_nadir")))
        return np.asarray(sine * np.abs(sine))

    def column(self, name: str, dtype: DTypeLike = np.float64) -> Array:
        """A field as (n, 1), or (1, 1) for all."""
        return np.asarray(getattr(self, name), dtype).reshape(-1, 1)


@cache
def _error_function(width: int, dtype: str) -> pnn.Network:
    x = pnn.Input(width, dtype=dtype)
    return pnn.Network(x, emit("Erf", x))


def erf(x: Array) -> Array:
    """The error function of an array (n, width) of floats, by the operator Erf."""
    return np.asarray(_error_function(x.shape[1], x.dtype.name).predict(x))


def density(t: Array, sigma: Array) -> Array:
    """The normal density with standard deviation ``sigma`` at ``t``."""
    return np.asarray(np.exp(-0.5 * (t / sigma) ** 2) / (math.sqrt(2 * math.pi) * sigma))


def response(t: Array, sigma: Array, slope: Array) -> Array:
    """G: a step that decays as exp(-slope·t), seen through a normal density of standard deviation ``sigma``.

    ``t`` is (n, gates), ``sigma`` and ``slope`` (n, 1), in gates and per gate.
    """
    lag = slope * sigma
    rise = 1 + erf((t / sigma - lag) * math.sqrt(0.5))
    return np.asarray(np.exp(np.minimum(slope * (lag * sigma * 0.5 - t), STEEPEST)) * rise * t.dtype.type(0.5))


def geometry(sea: Sea, instrument: Instrument, dtype: DTypeLike = np.float64) -> tuple[Array, Array, Array, Array]:
    """The times (n, gates) since the epoch, σ, α and K, each (n, 1) or (1, 1), in gates."""
    gates = np.arange(instrument.gates, dtype=dtype) - instrument.nominal
    t = gates - sea.column("epoch", dtype) / instrument.metres
    spread = (sea.column("height") / 4) ** 2 + sea.column("jitter") ** 2
    sigma = np.sqrt(POINT**2 + spread / instrument.metres**2)
    s = sea.sine_squared
    slope = instrument.decay * (1 - 2 * s - 4 * s * (1 - s) / instrument.gamma)
    gain = np.exp(-4 * s / instrument.gamma)
    return np.asarray(t, dtype), sigma.astype(dtype), slope.astype(dtype), gain.astype(dtype)


def mean_echoes(sea: Sea, instrument: Instrument = JASON, dtype: DTypeLike = np.float64) -> Array:
    """The mean echoes of ``sea``: (n, gates), in the unit of its amplitudes."""
    return np.concatenate([_mean(part, instrument, dtype) for part in _blocks(sea)])


def _blocks(sea: Sea) -> Iterator[Sea]:
    return (sea[start : start + BLOCK] for start in range(0, len(sea), BLOCK))


def _mean(sea: Sea, instrument: Instrument, dtype: DTypeLike) -> Array:
    t, sigma, slope, gain = geometry(sea, instrument, dtype)
    shape = response(t, sigma, slope)
    if np.any(sea.skewness):
        third = sea.column("skewness", dtype) * (sea.column("height", dtype) / 4 / instrument.metres) ** 3 / 6
        shape += third * third_derivative(t, sigma, slope, shape)
    return np.asarray(sea.column("amplitude", dtype) * gain * shape + sea.column("noise", dtype))


def third_derivative(t: Array, sigma: Array, slope: Array, shape: Array) -> Array:
    """G''', where ``shape`` is G: G' is the density less slope·G, and so on."""
    x = t / sigma
    return np.asarray(density(t, sigma) * ((x**2 - 1) / sigma**2 + slope * x / sigma + slope**2) - slope**3 * shape)


def derivatives(sea: Sea) -> Array:
    """The derivatives of the mean echoes: (n, gates, 4).

    By the height and the epoch, per metre, by the amplitude, and by s = sin² ξ of the angle off nadir, in which, other
    than in ξ, the echo is not stationary at 0. ``sea`` must have no skewness.
    """
    t, sigma, slope, gain = geometry(sea, JASON)
    scale = sea.column("amplitude") * gain
    shape, normal = response(t, sigma, slope), density(t, sigma)
    second = normal * (-t / sigma**2 - slope) + slope**2 * shape
    s = sea.sine_squared
    steeper = JASON.decay * (-2 - 4 * (1 - 2 * s) / JASON.gamma)
    by_slope = -(t - slope * sigma**2) * shape - sigma**2 * normal
    return np.stack(
        [
            scale * second / 2 * sea.column("height") / 8 / JASON.metres**2,
            -scale * (normal - slope * shape) / JASON.metres,
            gain * shape,
            scale * (by_slope * steeper - 4 / JASON.gamma * shape),
        ],
        axis=-1,
    )


def speckled(mean: Array, rng: Generator, looks: float = JASON.looks) -> Array:
    """Echoes with speckle: each gate of ``mean`` (n, gates) times its own gamma variable of mean 1."""
    dtype = np.float32 if mean.dtype == np.float32 else np.float64
    return np.asarray(mean * rng.standard_gamma(looks, mean.shape, dtype=dtype) * mean.dtype.type(1 / looks))
