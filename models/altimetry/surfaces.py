"""The kinds of surfaces below an altimeter, and the mean echoes of each.

Surfaces that are no open sea return power from a few bright places rather than from all of the footprint. The return of
each is that of a flat surface whose backscatter falls off faster with the angle, so that it decays more steeply (the
quasi-specular case of Brown, 1977): a·G(t - t₀) with its own place t₀, width σ and decay α, as in ``echoes``.

``water``: the open sea, seas in rain, lakes. Rain attenuates the rings of the footprint in which it falls (Tournadre,
J. Atmos. Oceanic Technol. 15, 1998): the sea's part of a gate is multiplied by exp(-a), where a is a bell in time.
``ice``: smooth ice and water among floes, one return, which is specular where it decays within a few gates.
``land``: several returns from different heights. ``mixed``: sea and land in one footprint, or sea and bright targets
such as ships and rocks, whose distance shows as a late peak.

The magnitudes are chosen to span what published waveforms look like; they are no statistics of any region.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from portable_nn.models.altimetry.chance import Chance
from portable_nn.models.altimetry.echoes import BLOCK, JASON, POINT, Sea, mean_echoes, response
from portable_nn.operators import Array

SURFACES: Final = ("water", "land", "ice", "mixed")
"""The classes of surfaces; their codes are their places."""

REACH: Final = 3.5
"""Epochs are up to so many metres from the nominal gate: the tracker keeps the echo in its window."""


@dataclass(frozen=True)
class Facets:
    """Bright places, k for each echo: arrays (n, k) of their gate from the first one on, width, decay and power.

    Widths are in gates, decays per gate, powers in the unit of the echo.
    """

    gate: Array
    width: Array
    decay: Array
    power: Array

    def __getitem__(self, places: Array | slice) -> Facets:
        """Those of some of the echoes."""
        return Facets(*(value[places] for value in vars(self).values()))

    def echoes(self) -> Array:
        """Their mean echoes, without thermal noise: (n, gates), float32."""
        parts = [self[start : start + BLOCK]._sum() for start in range(0, len(self.gate), BLOCK)]
        return np.concatenate(parts)

    def _sum(self) -> Array:
        gates = np.arange(JASON.gates, dtype=np.float32)
        total = np.zeros((len(self.gate), JASON.gates), np.float32)
        columns = [value.astype(np.float32) for value in vars(self).values()]
        for place in range(self.gate.shape[1]):
            gate, width, decay, power = (column[:, place : place + 1] for column in columns)
            total += power * response(gates - gate, width, decay)
        return total


class Echoes(NamedTuple):
    """Mean echoes (n, gates), float32, and what they are of; ``sea`` is that in the footprint, if there is any."""

    mean: Array
    sea: Sea


def sea(chance: Chance, low: float = 0.0, high: float = 12.0) -> Sea:
    """An open sea: heights from ``low`` to ``high``, all as likely; changing over 100 km, and in groups of swell."""
    height = chance.uniform(low, high, 100.0)
    if chance.along:
        height *= 1 + 0.06 * chance.normal(4.0)
    return Sea(
        height,
        chance.uniform(-REACH, REACH, 15.0),
        chance.uniform(0.6, 1.4, 30.0),
        chance.uniform(0.0, 0.173, 2_000.0),
        chance.magnitude(0.01, 0.04, 5_000.0),
        chance.uniform(0.0, 0.1, 500.0),
    )


def rain(chance: Chance) -> Array:
    """By what rain multiplies the gates of a sea's echo: (n, gates)."""
    gates = np.arange(JASON.gates)
    middle = JASON.nominal + chance.uniform(0, 70, 8.0)[:, np.newaxis]
    width = chance.uniform(8, 40, 8.0)[:, np.newaxis]
    deepest = chance.uniform(0.2, 1.2, 8.0)[:, np.newaxis]
    return np.asarray(np.exp(-deepest * np.exp(-0.5 * ((gates - middle) / width) ** 2)), np.float32)


def _columns(*rows: list[Array]) -> Facets:
    return Facets(*(np.stack(row, axis=1) for row in rows))


def ice(chance: Chance, *, specular: bool = False) -> Facets:
    """Smooth ice: one return near the nominal gate; ``specular`` as from the water between floes."""
    low, high, power = (0.25, 1.5, (2.0, 60.0)) if specular else (0.025, 0.25, (0.5, 8.0))
    gate = JASON.nominal + chance.uniform(-REACH, REACH, 10.0) / JASON.metres
    rough = chance.uniform(0.0, 0.1 if specular else 0.4, 5.0) / JASON.metres
    width = np.sqrt(POINT**2 + rough**2)
    return _columns([gate], [width], [chance.magnitude(low, high, 3.0)], [chance.magnitude(*power, 3.0)])


def land(chance: Chance, count: int = 4) -> Facets:
    """Land: ``count`` returns from heights up to some metres apart, of different roughness and power."""
    first = JASON.nominal + chance.normal(10.0) * 8
    gates, each = [first], range(count)
    for _ in each[1:]:
        gates.append(gates[-1] + chance.uniform(4, 18, 2.0))
    widths = [chance.magnitude(0.6, 5.0, 2.0) for _ in each]
    decays = [chance.magnitude(0.05, 0.5, 1.0) for _ in each]
    return _columns(gates, widths, decays, [chance.magnitude(0.15, 4.0, 1.0) for _ in each])


def targets(chance: Chance, count: int = 3) -> Facets:
    """Bright targets beside the track, whose peaks come up to 60 gates after the nominal gate."""
    each = range(count)
    gates = [JASON.nominal + chance.uniform(2, 60, 2.0) for _ in each]
    decays = [chance.magnitude(0.3, 1.5, 2.0) for _ in each]
    present = [place == 0 or chance.normal(5.0) > 0 for place in each]
    powers = [chance.magnitude(0.3, 5.0, 2.0) * shown for shown in present]
    return _columns(gates, [np.full(chance.count, POINT) for _ in each], decays, powers)


def _noise(some: Sea) -> Array:
    return some.column("noise", np.float32)


def _water(some: Sea) -> Array:
    return mean_echoes(some, dtype=np.float32)


def _no_sea(facets: Facets, chance: Chance) -> Echoes:
    nothing = Sea(np.full(chance.count, np.nan), np.nan, 0.0, 0.0, chance.magnitude(0.01, 0.04, 5_000.0))
    return Echoes(facets.echoes() + _noise(nothing), nothing)


def _ocean(chance: Chance) -> Echoes:
    some = sea(chance)
    return Echoes(_water(some), some)


def _rain(chance: Chance) -> Echoes:
    some = sea(chance)
    wet = (_water(some) - _noise(some)) * rain(chance) + _noise(some)
    return Echoes(wet, some)


def _lake(chance: Chance) -> Echoes:
    some = sea(chance, 0.0, 0.8)
    return Echoes(_water(some), some)


def _peaks(chance: Chance) -> Echoes:
    some = sea(chance)
    return Echoes(_water(some) + targets(chance).echoes(), some)


def _coast(chance: Chance) -> Echoes:
    some = sea(chance)
    share = chance.uniform(0.1, 0.9, 3.0)[:, np.newaxis].astype(np.float32)
    wet = (_water(some) - _noise(some)) * (1 - share)
    return Echoes(wet + share * land(chance).echoes() + _noise(some), some)


class Kind(NamedTuple):
    """A kind of echoes: its surface, and what makes mean echoes of it."""

    surface: str
    make: Callable[[Chance], Echoes]


KINDS: Final[Mapping[str, Kind]] = {
    "ocean": Kind("water", _ocean),
    "rain": Kind("water", _rain),
    "lake": Kind("water", _lake),
    "land": Kind("land", lambda chance: _no_sea(land(chance), chance)),
    "ice": Kind("ice", lambda chance: _no_sea(ice(chance), chance)),
    "specular": Kind("ice", lambda chance: _no_sea(ice(chance, specular=True), chance)),
    "peaks": Kind("mixed", _peaks),
    "coast": Kind("mixed", _coast),
}
"""All kinds by name; their codes are their places."""


def surface_code(kind: str) -> int:
    """The place of the kind's surface in ``SURFACES``."""
    return SURFACES.index(KINDS[kind].surface)
