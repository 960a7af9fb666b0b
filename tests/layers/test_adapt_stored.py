"""``Normalization.adapt`` on data that stay in their file: the mean and std of numpy, and memory that stays small."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import UsageError
from portable_nn.data import statistics, stored

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("axis", [1, -1, None])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_parts_have_the_statistics_of_the_whole(
    axis: int | None, offset: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "WHOLE", 0)
    monkeypatch.setattr(statistics, "READ", 1000)
    x = RNG.normal(size=(2000, 3, 4)) * [1, 10, 0.1, 3] + offset
    with h5py.File("x", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset("x", data=x, chunks=(7, 3, 4))
        found = pnn.Normalization(axis).adapt(dataset)._found
    others = {1: (0, 2), -1: (0, 1), None: (0, 1, 2)}[axis]
    assert found is not None
    np.testing.assert_allclose(found[0], x.mean(axis=others), rtol=1e-12)
    np.testing.assert_allclose(found[1], x.std(axis=others), rtol=1e-12 if not offset else 1e-10)


@pytest.mark.long
def test_the_whole_is_never_in_memory(tmp_path: Path) -> None:
    """240 MB in chunks of 80 kB, of which 16 MiB are read at once, and become 32 in float64, a few times."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = file.create_dataset("x", (3_000_000, 20), "f4", chunks=(1000, 20), fillvalue=3)
        tracemalloc.start()
        try:
            layer = pnn.Normalization().adapt(dataset)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert layer._found is not None
    np.testing.assert_array_equal(layer._found, [[3] * 20, [0] * 20])
    assert peak < 150e6


def test_what_is_no_number_is_refused(tmp_path: Path) -> None:
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (17_000_000, 1))
    x[16_999_999] = np.nan
    with pytest.raises(UsageError, match="adapt needs finite numbers"):
        pnn.Normalization().adapt(x)
