"""Short tracks of many seas, from which a network learns what neighbouring echoes say of each other.

Each has its own sea state: how high the waves are, how much they change and how fast, whether the swell is in groups.
Some pass bright targets, a coast, ice or rain. Where there is no water in the footprint, heights and epochs are drawn
at random: no echo says anything of them, and all that can be learned is how uncertain they are.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from portable_nn.models.altimetry.chance import SPACING, Chance, wandering
from portable_nn.models.altimetry.echoes import JASON, Generator, Sea, erf, mean_echoes, speckled
from portable_nn.models.altimetry.networks import odd_means
from portable_nn.models.altimetry.surfaces import REACH, Facets, ice, land, rain
from portable_nn.models.altimetry.tracks import FOOTPRINT, SEEN, passing
from portable_nn.operators import Array

SHARES: Final = {"open": 0.49, "targets": 0.27, "coast": 0.11, "ice": 0.05, "rain": 0.05, "odd": 0.03}
"""The shares of the tracks that are over the open sea alone, pass bright targets, a coast, ice or rain, or have odd
echoes."""

DRY: Final = 0.02
"""With less water in the footprint, an echo says nothing of the sea."""

UNKNOWN: Final = (3.0, 5.0)
"""Mean of the heights, and deviation of heights and epochs, that are drawn where there is no water, in metres."""


class Tracks(NamedTuple):
    """Echoes (tracks, echoes, gates), and their heights and epochs in metres, (tracks, echoes, 2); float32."""

    waveforms: Array
    truth: Array


def heights(count: int, rng: Generator, tallest: float = 12.0) -> Array:
    """Significant wave heights (count,) to learn from, in metres, up to the ``tallest``.

    They are drawn in proportion to h·exp(-h/4.5 m) up to 1.5 m, and to exp(-h/4.5 m) beyond. With this density the mean
    of the heights that an echo leaves likely is the true one, on average: with a flat one it is a centimetre above the
    truth, as errors grow with the height, and below it near 0, where no height is negative.
    """
    found = np.empty(0)
    while len(found) < count:
        drawn = rng.uniform(0, tallest, 4 * count)
        kept = rng.uniform(size=4 * count) < np.clip(drawn / 1.5, 0.2, 1) * np.exp(-drawn / 4.5)
        found = np.concatenate([found, drawn[kept]])
    return found[:count]


def seas(tracks: int, steps: int, rng: Generator) -> Sea:
    """Seas along ``tracks`` tracks of so many ``steps``, one track after the other: (tracks·steps,) in each field."""

    def uniform(low: float, high: float) -> Array:
        return rng.uniform(low, high, (tracks, 1))

    def magnitude(low: float, high: float) -> Array:
        return np.exp(uniform(math.log(low), math.log(high)))

    def wander(shortest: float, longest: float) -> Array:
        return wandering(magnitude(shortest, longest)[:, 0] / SPACING, steps, rng)

    middle = heights(tracks, rng)[:, np.newaxis]
    height = np.abs(middle + np.minimum(magnitude(0.03, 1.5), middle / 2) * wander(5.0, 400.0))
    height *= 1 + np.maximum(uniform(-0.08, 0.08), 0) * wander(2.0, 8.0)
    epoch = (uniform(-REACH, REACH) + magnitude(0.02, 2.0) * wander(3.0, 300.0)).clip(-REACH, REACH)
    amplitude = uniform(0.6, 1.4) * np.exp(0.1 * wander(20.0, 100.0))
    angle = np.abs(uniform(0.0, 0.173) + 0.01 * wander(100.0, 1000.0))
    noise = amplitude * magnitude(0.01, 0.04)
    return Sea(*(each.reshape(-1) for each in (height, epoch, amplitude, angle, noise)))


def draw(tracks: int, steps: int, rng: Generator) -> Tracks:
    """``tracks`` simulated tracks of so many ``steps``, of all kinds in ``SHARES``."""
    sea = seas(tracks, steps, rng)
    ends = np.cumsum([0, *rng.multinomial(tracks, list(SHARES.values()))]) * steps
    places = {kind: slice(low, high) for kind, low, high in zip(SHARES, ends[:-1], ends[1:], strict=True) if high > low}
    noise = sea.column("noise", np.float32)
    power = mean_echoes(sea, dtype=np.float32) - noise
    truth = np.stack([sea.height, sea.epoch], axis=1)
    if here := places.get("rain"):
        power[here] *= rain(Chance(here.stop - here.start, rng, along=True))
    mirrors = bool(rng.integers(2))
    for kind, others in (("coast", land), ("ice", partial(ice, specular=mirrors))):
        if here := places.get(kind):
            _mix(power[here], truth[here], steps, others(Chance(here.stop - here.start, rng, along=True)), rng)
    if here := places.get("odd"):
        count = here.stop - here.start
        power[here] = odd_means(count, rng)[rng.integers(4)]
        truth[here] = _unknown(count, rng)
    for kind, share in (("targets", 1.0), ("coast", 0.5)):
        if here := places.get(kind):
            power[here] += _targets(sea.epoch[here], steps, share, rng)
    shape = (tracks, steps, -1)
    order = rng.permutation(tracks)
    waveforms = speckled(power + noise, rng).reshape(shape)[order]
    return Tracks(waveforms, truth.astype(np.float32).reshape(shape)[order])


def _mix(power: Array, truth: Array, steps: int, others: Facets, rng: Generator) -> None:
    """Lay land or ice over a part of each track, through the footprint; both arrays are changed."""
    tracks = len(power) // steps
    border = rng.uniform(-10, steps + 10, (tracks, 1))
    along = (np.arange(steps) - border) * rng.choice([-1.0, 1.0], (tracks, 1)) * SPACING
    water = (0.5 + 0.5 * erf(along / FOOTPRINT * math.sqrt(0.5))).reshape(-1, 1)
    power *= water.astype(np.float32)
    power += (1 - water).astype(np.float32) * others.echoes()
    dry = water[:, 0] < DRY
    truth[dry] = _unknown(int(dry.sum()), rng)


def _unknown(count: int, rng: Generator) -> Array:
    return rng.normal((UNKNOWN[0], 0.0), UNKNOWN[1], (count, 2))


def _targets(epoch: Array, steps: int, share: float, rng: Generator) -> Array:
    """The echoes of one to four bright targets beside each of a ``share`` of the tracks."""
    power = np.zeros((len(epoch), JASON.gates), np.float32)
    for start in range(0, len(epoch), steps):
        if rng.uniform() > share:
            continue
        here = slice(start, start + steps)
        for _ in range(1 + min(3, rng.poisson(0.7))):
            along = (np.arange(steps) - rng.uniform(-10, steps + 10)) * SPACING
            near = np.abs(along) < SEEN
            strength, decay = np.exp(rng.uniform(np.log((0.3, 0.3)), np.log((5.0, 1.5))))
            power[here][near] += passing(along[near], rng.uniform(0, SEEN), epoch[here][near], strength, decay)
    return power
