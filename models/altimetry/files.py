"""Simulated tracks as HDF5: ``portable-nn models build altimetry-data --hours N``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from portable_nn.core.atomic import atomic_write
from portable_nn.core.errors import UsageError
from portable_nn.core.version import __version__
from portable_nn.models.altimetry.echoes import JASON
from portable_nn.models.altimetry.surfaces import SURFACES
from portable_nn.models.altimetry.tracks import Track, fly
from portable_nn.operators import Array

RATE: Final = 20
"""Echoes a second."""

PASS: Final = 12_000
"""Echoes of one track, ten minutes: what is in memory at once."""

LONGEST: Final = 100_000.0
"""Hours: more than eleven years."""

COLUMNS: Final[dict[str, tuple[str, type, str, Callable[[Track], Any]]]] = {
    "swh": ("m", np.float32, "significant wave height; NaN without water", lambda track: track.sea.height),
    "epoch": ("m", np.float32, "range of the surface behind the nominal gate", lambda track: track.sea.epoch),
    "off_nadir": ("degree", np.float32, "angle between antenna and nadir", lambda track: track.sea.off_nadir),
    "noise": ("1", np.float32, "thermal noise, in the unit of the waveforms", lambda track: track.sea.noise),
    "surface": ("1", np.uint8, " ".join(f"{place}={name}" for place, name in enumerate(SURFACES)), lambda t: t.surface),
    "water": ("1", np.float32, "share of water in the footprint", lambda track: track.share),
    "peaks": ("1", np.uint8, "1 where a bright target stands out from the sea", lambda track: track.peaks),
    "rain": ("1", np.uint8, "1 where rain attenuates the echo", lambda track: track.rainy),
}
"""The datasets beside ``waveforms``, ``time`` and ``track``: unit, type, description, and where they come from."""


def write(path: str | Path, hours: float, seed: int = 0) -> int:
    """Write ``hours`` of simulated echoes, 72,000 an hour, as tracks of ten minutes; the number of echoes.

    The datasets, each with a unit and a description: ``waveforms`` (n, 104), ``time`` (n,) in seconds, ``track`` (n,),
    and those of ``COLUMNS``, (n,). The attributes of the file are the instrument, the seed and the version. The same
    seed gives the same tracks, and more hours give more of them. No more than one track is in memory.

    Raises:
        UsageError: ``hours`` is out of range.
        FileError: the file cannot be written.
    """
    if not 0 < hours <= LONGEST:
        raise UsageError(f"hours must be more than 0 and at most {LONGEST:,.0f}, not {hours:g}")
    import h5py

    count = max(1, round(hours * 3600 * RATE))
    with atomic_write(path) as file, h5py.File(file, "w") as store:
        store.attrs.update({f"instrument.{name}": value for name, value in vars(JASON).items()})
        store.attrs.update({"seed": seed, "echoes a second": RATE, "made by": f"portable-nn {__version__}"})
        store.attrs["simulated"] = "these echoes were simulated: no satellite has received them"
        _create(
            store, "waveforms", (count, JASON.gates), np.float32, "1", "power by gate, 1 for the amplitude of a sea"
        )
        _create(store, "time", (count,), np.float64, "s", "since the first echo")
        _create(store, "track", (count,), np.int32, "1", "number of the track")
        for name, (unit, dtype, text, _) in COLUMNS.items():
            _create(store, name, (count,), dtype, unit, text)
        for number, start in enumerate(range(0, count, PASS)):
            track = fly(PASS, np.random.default_rng([seed, number])).until(count - start)
            _fill(store, track, start, number)
    return count


def _create(store: Any, name: str, shape: tuple[int, ...], dtype: type, unit: str, text: str) -> None:
    chunks = (min(shape[0], PASS), *shape[1:]) if len(shape) == 1 else (min(shape[0], 512), *shape[1:])
    made = store.create_dataset(name, shape, dtype, chunks=chunks)
    made.attrs.update({"units": unit, "description": text})


def _fill(store: Any, track: Track, start: int, number: int) -> None:
    places = slice(start, start + len(track.waveforms))
    arrays: dict[str, Array] = {
        "waveforms": track.waveforms,
        "time": np.arange(places.start, places.stop) / RATE,
        "track": np.full(len(track.waveforms), number),
        **{name: source(track) for name, (_, _, _, source) in COLUMNS.items()},
    }
    for name, array in arrays.items():
        store[name][places] = array
