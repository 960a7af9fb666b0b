"""The judgement of heights that are read along tracks, beside the smoother that knows how the sea changes, and single
echoes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from portable_nn.models.altimetry.bounds import cramer_rao
from portable_nn.models.altimetry.chance import SPACING, autoregressive
from portable_nn.models.altimetry.echoes import Sea, mean_echoes, speckled
from portable_nn.models.altimetry.smoothing import smooth, stationary
from portable_nn.models.altimetry.tracks import SEEN, passing
from portable_nn.network import Network
from portable_nn.opening import load_model
from portable_nn.operators import Array

Reading: TypeAlias = Callable[[Array], Array]
"""Echoes of a track (n, gates) → means of height and epoch in metres, and logarithms of their variances, (n, 4)."""

SEED: Final = 50_001
"""That of the tracks on which networks are judged; no training has it."""

SAMPLE: Final = 50_002
"""That of the track that comes with the model."""

OUTSTANDING: Final = 0.15
"""An echo has several peaks where a target's power is more than this, by the amplitude of the sea."""

FARTHEST: Final = 60
"""The largest lag that is looked for, in echoes."""


class Regime(NamedTuple):
    """A sea: heights and epochs are Gaussian, in metres, with correlations exp(-distance/length), in kilometres."""

    mean: float
    deviation: float
    length: float
    epoch: float = 0.3
    epoch_length: float = 30.0


REGIMES: Final = (Regime(1.5, 0.25, 40.0), Regime(2.5, 0.5, 60.0), Regime(4.0, 0.8, 100.0), Regime(6.0, 1.0, 150.0))
"""From a calm sea to a rough one; in training, no heights are Gaussian, and no two tracks have the same statistics."""


def open_track(regime: Regime, count: int, rng: np.random.Generator) -> Sea:
    """A track of ``count`` places over the open sea."""
    amplitude = rng.lognormal(0.0, 0.2)
    height = regime.mean + regime.deviation * autoregressive(count, regime.length / SPACING, rng)
    return Sea(
        np.maximum(height, 0.1),
        regime.epoch * autoregressive(count, regime.epoch_length / SPACING, rng),
        amplitude * np.exp(0.05 * autoregressive(count, 50.0 / SPACING, rng)),
        abs(rng.normal(0.1, 0.02)),
        amplitude * rng.normal(0.02, 0.002),
    )


def posterior(sea: Sea, regime: Regime) -> Array:
    """The least mean squared errors of heights and epochs (n, 2) of one who knows the regime: those of the smoother.

    Its measurements are as good as the bound of Cramér and Rao lets them be.
    """
    lengths = np.array([regime.length, regime.epoch_length]) / SPACING
    motion = stationary(np.array([regime.mean, 0.0]), np.array([regime.deviation, regime.epoch]), lengths)
    bound = cramer_rao(sea)[:, :2, :2]
    found = smooth(np.zeros((len(bound), 2)), bound, motion).covariance
    return np.stack([found[:, 0, 0], found[:, 1, 1]], axis=1)


@dataclass(frozen=True)
class OpenRow:
    """Errors of heights on tracks over the open sea of one regime.

    Attributes:
        regime: the regime.
        bound: the root of the mean squared error of the smoother, in metres.
        error: that of the network.
        epoch: the network's of the epoch, by the smoother's.
        single: the bound of single echoes, in metres.
        bias: the mean error, in metres.
        covered: the share of heights within one predicted standard deviation.
        lag: by how many echoes the series of heights is late.
    """

    regime: Regime
    bound: float
    error: float
    epoch: float
    single: float
    bias: float
    covered: float
    lag: float


def judge_open(read: Reading, regime: Regime, tracks: int, seed: int = SEED) -> OpenRow:
    """Judge what reads a track on ``tracks`` of 4,000 echoes each."""
    rng = np.random.default_rng([seed, round(10 * regime.mean)])
    errors, found, truth, bounds, singles, deviations = [], [], [], [], [], []
    for _ in range(tracks):
        sea = open_track(regime, 4_000, rng)
        values = read(speckled(mean_echoes(sea, dtype=np.float32), rng))
        true = np.stack([sea.height, sea.epoch], axis=1)
        errors.append(values[:, :2] - true)
        found.append(values[:, 0])
        truth.append(sea.height)
        deviations.append(np.exp(values[:, 2] / 2))
        bounds.append(posterior(sea, regime))
        singles.append(cramer_rao(sea)[:, 0, 0])
    error, bound = (
        np.sqrt(np.mean(np.concatenate(errors) ** 2, axis=0)),
        np.sqrt(np.mean(np.concatenate(bounds), axis=0)),
    )
    heights = np.concatenate(errors)[:, 0]
    return OpenRow(
        regime,
        float(bound[0]),
        float(error[0]),
        float(error[1] / bound[1]),
        float(np.sqrt(np.mean(singles))),
        float(heights.mean()),
        float((np.abs(heights) < np.concatenate(deviations)).mean()),
        lag(np.stack(found), np.stack(truth)),
    )


def lag(found: Array, truth: Array) -> float:
    """By how many places the series ``found`` (tracks, n) come after those of the ``truth``.

    It is where the mean squared difference of shifted series is least: the vertex of a parabola through three of them.
    """
    reach = FARTHEST + 1
    still = truth[:, reach:-reach]
    size = still.shape[1]
    differences = [
        float(np.mean((found[:, reach + shift : reach + shift + size] - still) ** 2))
        for shift in range(-reach, reach + 1)
    ]
    place = int(np.argmin(differences[1:-1])) + 1
    before, here, after = differences[place - 1 : place + 2]
    return place - reach + (before - after) / (2 * (before - 2 * here + after))


class Peaked(NamedTuple):
    """A track past bright targets: echoes (n, gates), the sea, and whether a peak stands out, (n,)."""

    waveforms: Array
    sea: Sea
    peaks: Array


def peaked_track(count: int, rng: np.random.Generator) -> Peaked:
    """A track over the sea with a bright target each 20 km, whose strengths and decays no training has."""
    sea = open_track(Regime(float(rng.normal(3.0, 0.8)), 0.4, 60.0), count, rng)
    power = np.zeros((count, mean_echoes(sea[:1]).shape[1]), np.float32)
    for middle in rng.uniform(0, count, max(1, rng.poisson(count * SPACING / 20))):
        along = (np.arange(count) - middle) * SPACING
        near = np.abs(along) < SEEN
        strength, decay = rng.lognormal(0.0, 0.7), rng.lognormal(-0.4, 0.4)
        power[near] += passing(along[near], abs(rng.normal(0, 4.0)), sea.epoch[near], strength, decay)
    echoes = speckled(mean_echoes(sea, dtype=np.float32) + power, rng)
    return Peaked(echoes, sea, power.max(axis=1) > OUTSTANDING * sea.column("amplitude")[:, 0])


def judge_peaks(reads: dict[str, Reading], tracks: int, seed: int = SEED) -> dict[str, float]:
    """The root mean squared errors of heights where several peaks stand in an echo, in metres, by what reads it.

    And, as ``covered``, the share within one predicted standard deviation of the first of ``reads``.
    """
    rng = np.random.default_rng([seed, 1])
    squares: dict[str, list[Array]] = {name: [] for name in reads}
    covered = []
    for _ in range(tracks):
        track = peaked_track(4_000, rng)
        for place, (name, read) in enumerate(reads.items()):
            values = read(track.waveforms)[track.peaks]
            error = values[:, 0] - track.sea.height[track.peaks]
            squares[name].append(error**2)
            if not place:
                covered.append(np.abs(error) < np.exp(values[:, 2] / 2))
    found = {name: float(np.sqrt(np.mean(np.concatenate(each)))) for name, each in squares.items()}
    return {**found, "covered": float(np.mean(np.concatenate(covered)))}


def readings(network: Network) -> dict[str, Reading]:
    """The readers of tracks: the ``network``, and ``altimetry-swh``, echo by echo."""
    single = load_model("altimetry-swh")
    return {"track": lambda echoes: np.asarray(network.predict(echoes[np.newaxis])[0]), "single": single.predict}


def judge_tracks(network: Network, tracks: int) -> dict[str, float]:
    """The worst and the mean of it all, by name, of a network that reads tracks."""
    reads = readings(network)
    rows = [judge_open(reads["track"], regime, tracks) for regime in REGIMES]
    peaks = judge_peaks(reads, tracks)
    return {
        "error_by_bound": float(np.mean([row.error / row.bound for row in rows])),
        "epoch_error_by_bound": float(np.mean([row.epoch for row in rows])),
        "covered": float(np.mean([row.covered for row in rows])),
        "largest_bias": max((row.bias for row in rows), key=abs),
        "largest_lag": max((row.lag for row in rows), key=abs),
        "error_of_peaks": peaks["track"],
        "less_than_single_echoes": 1 - peaks["track"] / peaks["single"],
        "covered_of_peaks": peaks["covered"],
    }


def table(network: Network, tracks: int = 10) -> str:
    """The same as text, for each regime, with the errors of ``altimetry-swh`` beside those of the ``network``."""
    reads = readings(network)
    lines = ["height        bound    network  × bound  epoch × bound  bias     covered  lag     single echoes"]
    for regime in REGIMES:
        row, single = (judge_open(reads[name], regime, tracks) for name in ("track", "single"))
        lines.append(
            f"{regime.mean:3.1f} ± {regime.deviation:4.2f} m  {row.bound:.3f} m  {row.error:.3f} m  "
            f"{row.error / row.bound:5.3f}    {row.epoch:5.3f}          {row.bias:+.4f}  {row.covered:6.1%}   "
            f"{row.lag:+.3f}  {single.error:.3f} m, {single.lag:+.3f}"
        )
    peaks = judge_peaks(reads, tracks)
    less = 1 - peaks["track"] / peaks["single"]
    lines.append(
        f"several peaks: {peaks['track']:.3f} m, {peaks['covered']:.1%} within one σ; "
        f"single echoes {peaks['single']:.3f} m: {less:.0%} less"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(load_model("altimetry-track")))
