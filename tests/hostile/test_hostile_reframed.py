"""Files that another program has re-saved, and that are then damaged: refused, or read as what was saved."""

from __future__ import annotations

import random
from pathlib import Path

import forge_hdf5
import numpy as np
import pytest
from file_changes import scrambled
from forge import Forge, sha256
from reframing import REFRAMES, reframed
from rows import CARRIERS

from portable_nn.core.errors import FormatError
from portable_nn.format import has_manifest, load

TENSORS = {
    "a": np.arange(4.0),
    "b.c": np.ones((2, 3), np.int16),
    "d/e": np.array([True, False]),
    "%": np.array(3, "i1"),
}


def weight_file(path: Path) -> str:
    """Write these tensors, packed by hand; the digest."""
    forged = Forge().empty()
    for name, array in TENSORS.items():
        forged.give(name, array.dtype.name, list(array.shape), array.tobytes())
    path.write_bytes(CARRIERS[path.suffix](forged))
    return sha256(forged.text)


@pytest.mark.parametrize("suffix", REFRAMES)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 40))])
def test_damage_is_refused_or_changes_no_number(tmp_path: Path, suffix: str, seed: int) -> None:
    dice = random.Random(seed)
    old, new = tmp_path / f"old{suffix}", tmp_path / f"new{suffix}"
    digest = weight_file(old)
    reframed(old, new, dice)
    content = new.read_bytes()
    for _ in range(30 if seed == 0 else 300):
        changed = scrambled(content, dice)
        new.unlink()
        new.write_bytes(forge_hdf5.mend_checksums(changed) if suffix == ".h5" and dice.randrange(2) else changed)
        has_manifest(new)
        for lazy in (False, True):
            try:
                found = load(new, lazy=lazy)
                arrays = {name: np.array(array) for name, array in found.tensors.items()}
            except FormatError:
                continue
            assert found.digest == digest
            for name, array in TENSORS.items():
                np.testing.assert_array_equal(arrays[name], array, strict=True)
            del found
