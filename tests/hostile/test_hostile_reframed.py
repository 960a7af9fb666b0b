"""Files that another program has re-saved, and that are then damaged: refused, or read as what was saved."""

from __future__ import annotations

import random
from pathlib import Path

import forge_hdf5
import h5py
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
@pytest.mark.parametrize(
    "seed",
    [0, *(pytest.param(seed, marks=pytest.mark.long if seed < 10 else pytest.mark.sweep) for seed in range(1, 40))],
)
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


def bomb(path: Path) -> None:
    """Zeros that deflate packs a thousand times, as numpy and h5py write them."""
    zeros = np.zeros(2**22, np.float32)
    forged = Forge().only("w", "float32", [2**22], zeros.tobytes())
    text, digest = forged.text, sha256(forged.text).encode()
    if path.suffix == ".npz":
        own = {"portable_nn": np.frombuffer(text, np.uint8), "portable_nn.sha256": np.frombuffer(digest, np.uint8)}
        np.savez_compressed(path, w=zeros, **own)  # type: ignore[arg-type]
        return
    with h5py.File(path, "w") as file:
        file["portable_nn"] = np.bytes_(text)
        file["portable_nn"].attrs["sha256"] = np.bytes_(digest)
        file.create_dataset("w", data=zeros, compression=9)


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"net{suffix}"
    bomb(path)
    assert load(path).tensors["w"].shape == (2**22,)
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "1M")
    for lazy in (False, True):
        with pytest.raises(FormatError, match=r"of memory, with .* stored; at most .* unless PORTABLE_NN_MEMORY="):
            load(path, lazy=lazy)
