"""Echoes along tracks, 20 a second: seas that change slowly, coasts, lakes, ice, rain, and ships.

A track is a row of stretches of sea, land, lakes and ice. The footprint blurs their borders: the shares of the
surfaces in an echo are those along the track, seen through a bell of 3.5 km. Each surface has parameters that change
along the track (see ``chance``), the sea also groups of swell some kilometres long. Bright targets stand at coasts and
at sea: one at the distance r from nadir comes c·t/2 = r²/(2h)·(1 + h/R) later than the sea, so that its peak moves
along a parabola from echo to echo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.models.altimetry.chance import SPACING, Chance
from portable_nn.models.altimetry.echoes import JASON, POINT, Generator, Sea, mean_echoes, speckled
from portable_nn.models.altimetry.surfaces import SURFACES, Facets, ice, land, rain, sea
from portable_nn.operators import Array

STRETCHES: Final = {"water": 700.0, "land": 150.0, "lake": 25.0, "ice": 150.0}
"""The mean lengths of stretches, in kilometres."""

FOLLOWED: Final = {
    "water": (("land", 0.7), ("ice", 0.3)),
    "land": (("water", 0.6), ("lake", 0.4)),
    "lake": (("land", 1.0),),
    "ice": (("water", 1.0),),
}
"""The kinds of stretches that may follow a stretch, and how often each does."""

FOOTPRINT: Final = 3.5
"""The standard deviation of the footprint along the track, in kilometres."""

PURE: Final = 0.98
"""From this share on, an echo is of one surface."""

CALM: Final = 0.12
"""The waves of lakes by those of the open sea."""

SEEN: Final = 9.0
"""The distance from the track, and from nadir along it, to which a target is seen, in kilometres."""

BEAM: Final = 5.0
"""The distance along the track from a target at which its power has fallen to 1/e, in kilometres."""


class Track(NamedTuple):
    """Echoes of one track, and the truth about each.

    Attributes:
        waveforms: powers (n, gates), float32.
        sea: the sea in the footprint; height and epoch are NaN where there is none.
        surface: the place of its class in ``SURFACES``, (n,).
        share: of the water in the footprint, (n,).
        peaks: whether a target stands out from the sea, (n,).
        rainy: whether it rains, (n,).
    """

    waveforms: Array
    sea: Sea
    surface: Array
    share: Array
    peaks: Array
    rainy: Array

    def until(self, count: int) -> Track:
        """The first ``count`` echoes."""
        return Track(**{name: part[:count] for name, part in self._asdict().items()})


def fly(count: int, rng: Generator) -> Track:
    """A track of ``count`` echoes, which begins over the sea."""
    chance = Chance(count, rng, along=True)
    stretch = _stretches(count, rng)
    shares = {name: _blurred(stretch == place) for place, name in enumerate(STRETCHES)}
    water = np.minimum(shares["water"] + shares["lake"], 1.0)
    some = sea(chance)
    some = Sea(**{**vars(some), "height": some.height * np.where(shares["lake"] > shares["water"], CALM, 1.0)})
    rainy = (chance.normal(20.0) > 1.8) & (stretch == 0)
    noise = some.column("noise", np.float32)
    power = np.tile(noise, (1, JASON.gates))
    parts: tuple[tuple[Array, Callable[[Array], Array]], ...] = (
        (water, lambda here: _sea(some[here], rain(chance)[here], rainy[here])),
        (shares["land"], lambda here: land(chance)[here].echoes()),
        (shares["ice"], lambda here: ice(chance)[here].echoes()),
    )
    for share, echoes in parts:
        here = np.flatnonzero(share > 1e-3)
        if len(here):
            power[here] += share[here, np.newaxis].astype(np.float32) * echoes(here)
    bright = _bright(stretch, water, some.epoch, rng)
    power += bright
    peaks = (bright.max(axis=1) > 0.15) & (water > 0.02)
    surface = np.full(count, SURFACES.index("mixed"))
    for name, share in (("water", water * ~peaks), ("land", shares["land"]), ("ice", shares["ice"])):
        surface[share > PURE] = SURFACES.index(name)
    dry = water < 0.02
    truth = Sea(**{**vars(some), **{key: np.where(dry, np.nan, getattr(some, key)) for key in ("height", "epoch")}})
    return Track(speckled(power, rng, JASON.looks), truth, surface, water, peaks, rainy)


def _stretches(count: int, rng: Generator) -> Array:
    """The place in ``STRETCHES`` of what is below each echo."""
    names, name, flown = list(STRETCHES), "water", 0
    found: list[Array] = []
    while flown < count:
        length = max(2, round(rng.exponential(STRETCHES[name]) / SPACING))
        found.append(np.full(length, names.index(name)))
        flown += length
        after = FOLLOWED[name]
        name = after[rng.choice(len(after), p=[share for _, share in after])][0]
    return np.concatenate(found)[:count]


def _blurred(present: Array) -> Array:
    """The share of a surface in each footprint."""
    width = FOOTPRINT / SPACING
    reach = round(4 * width)
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    padded = np.pad(present.astype(float), reach, mode="edge")
    return np.convolve(padded, bell / bell.sum(), "valid")


def _sea(some: Sea, wet: Array, rainy: Array) -> Array:
    """The echoes of the sea without thermal noise, through the rain where it falls."""
    dry = mean_echoes(some, dtype=np.float32) - some.column("noise", np.float32)
    return np.asarray(np.where(rainy[:, np.newaxis], wet, np.float32(1)) * dry)


def _bright(stretch: Array, water: Array, epoch: Array, rng: Generator) -> Array:
    """The power of bright targets, some at each coast and one in 150 km of sea: (n, gates)."""
    count = len(stretch)
    coasts = np.flatnonzero(np.diff(stretch == list(STRETCHES).index("land")))
    at_coasts = [coast + rng.normal(0, 4 / SPACING, rng.integers(1, 4)) for coast in coasts]
    at_sea = rng.uniform(0, count, rng.poisson(count * SPACING / 150))
    power = np.zeros((count, JASON.gates), np.float32)
    for middle in np.concatenate([*at_coasts, at_sea]):
        reach = round(SEEN / SPACING)
        here = np.arange(max(0, round(middle) - reach), min(count, round(middle) + reach))
        here = here[water[here] > 0.02]
        if not len(here):
            continue
        across = rng.uniform(0, SEEN)
        strength = np.exp(rng.uniform(np.log(0.3), np.log(5.0)))
        decay = np.exp(rng.uniform(np.log(0.3), np.log(1.5)))
        power[here] += passing((here - middle) * SPACING, across, epoch[here], strength, decay)
    return power


def passing(along: Array, across: Any, epoch: Array, strength: Any, decay: Any) -> Array:
    """The echoes of a bright target as the altimeter passes it: (n, gates), without the sea.

    ``along`` (n,) and ``across`` are its distances in kilometres, ``epoch`` (n,) is that of the sea in metres,
    ``strength`` its power at the nearest, ``decay`` that of its echo per gate; each a number or (n,).
    """
    distance = 1e6 * (along**2 + np.square(across))
    later = distance / (2 * JASON.altitude) * (1 + JASON.altitude / JASON.earth)
    gate = JASON.nominal + (epoch + later) / JASON.metres
    columns = (gate, POINT, decay, strength * np.exp(-((along / BEAM) ** 2)))
    return Facets(*(np.broadcast_to(column, gate.shape)[:, np.newaxis] for column in columns)).echoes()
