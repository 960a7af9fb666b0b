"""Weight files that other programs have re-saved are read with a note, whatever legal bytes those chose."""

from __future__ import annotations

import mmap
import random
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from reframing import REFRAMES, by_copy, by_numpy, by_safetensors, reframed
from weight_files import MANIFEST, TENSORS, identities

import portable_nn as pnn
from portable_nn.core.errors import EditedWarning, FormatError
from portable_nn.core.tensors import ITEM_SIZES, Array
from portable_nn.format import has_manifest, load, open_arrays, save
from portable_nn.format.reframed import NOTE
from portable_nn.opening.convert import convert
from portable_nn.outputs.reports import check, inspect

ANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PLAIN = {".safetensors": by_safetensors, ".h5": by_copy, ".npz": by_numpy}


@pytest.fixture(params=REFRAMES)
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def old(tmp_path: Path, suffix: str) -> Path:
    """A weight file as this package writes it."""
    path = tmp_path / f"old{suffix}"
    save(path, MANIFEST, TENSORS)
    return path


@pytest.fixture
def new(old: Path, suffix: str) -> Path:
    """The same after another program has loaded and saved it in the plainest way."""
    path = old.with_stem("new")
    PLAIN[suffix](old, path, random.Random(0))
    assert path.read_bytes() != old.read_bytes()
    return path


def assert_tensors(found: Any, expected: dict[str, Array]) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
        assert found[name].tobytes() == array.tobytes()  # also the sign of zeros


def test_it_is_read_whole_and_in_parts(old: Path, new: Path) -> None:
    there = load(old)
    assert there.notes == ()
    for options in ({}, {"lazy": True}, {"lazy": True, "verify": "eager"}, {"verify": "off"}, {"digest": there.digest}):
        found = load(new, **options)  # type: ignore[arg-type]
        assert found.notes == (NOTE,)
        assert (found.manifest, found.digest) == (there.manifest, there.digest)
        assert_tensors(found.tensors, TENSORS)
    assert has_manifest(new)
    with open_arrays(new) as entries:
        assert_tensors(entries, TENSORS)
        assert entries.entries["hidden.weight"].shape == (3, 2)
        assert entries.metadata == MANIFEST.metadata


def is_mapped(array: Array) -> bool:
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, memoryview | mmap.mmap)


@pytest.mark.parametrize(("suffix", "mapped"), [(".safetensors", True), (".npz", False)])
def test_what_lies_in_one_piece_is_mapped(new: Path, mapped: bool) -> None:
    """Arrays in archives are read as a whole when they are used: zip programs put them at any byte."""
    found = load(new, lazy=True).tensors
    assert {is_mapped(array) for array in found.values()} == {mapped}
    assert not any(array.flags.writeable for array in found.values())


def test_what_is_packed_or_at_an_odd_place_is_read_when_it_is_used(tmp_path: Path) -> None:
    """A processor reads numbers slowly that do not lie at a multiple of their size."""
    save(tmp_path / "old.h5", MANIFEST, TENSORS)
    with h5py.File(tmp_path / "old.h5") as given, h5py.File(tmp_path / "new.h5", "w") as made:
        given.copy("portable_nn", made)
        for name in ("hidden", "output"):
            made.create_dataset(f"{name}/weight", data=given[f"{name}/weight"][()], compression="gzip")
            given.copy(f"{name}/bias", made[name])
        places = {name: made[name.replace(".", "/")].id.get_offset() for name in TENSORS}
    found = load(tmp_path / "new.h5", lazy=True).tensors
    assert {name: is_mapped(array) for name, array in found.items()} == {
        name: at is not None and at % 4 == 0 for name, at in places.items()
    }
    assert not any(array.flags.writeable for array in found.values())
    assert_tensors(found, TENSORS)


def test_who_loads_a_network_is_warned(tmp_path: Path, suffix: str) -> None:
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(3), pnn.Tanh(), pnn.Dense(2), seed=0)
    old, new = tmp_path / f"old{suffix}", tmp_path / f"new{suffix}"
    digest = net.save(old)
    PLAIN[suffix](old, new, random.Random(0))
    for lazy in (False, True):
        with pytest.warns(EditedWarning, match=f"^{re.escape(str(new))}: another program has re-saved this file"):
            again = pnn.load(new, lazy=lazy, digest=digest)
        assert_tensors(dict(again.parameters), dict(net.parameters))
    other = pnn.Sequential(pnn.Input(2), pnn.Dense(3), pnn.Tanh(), pnn.Dense(2), seed=1)
    with pytest.warns(EditedWarning):
        other.load_weights(new)
    assert_tensors(dict(other.parameters), dict(net.parameters))


def test_check_and_inspect_say_which_of_the_two_it_is(old: Path, new: Path) -> None:
    for path, notes in ((old, []), (new, [NOTE])):
        assert [finding.message for finding in check(path).findings if "program" in finding.message] == notes
        assert list(inspect(path).notes) == notes
    assert inspect(new).digest == inspect(old).digest == load(old).digest


def test_convert_restores_the_bytes(old: Path, new: Path) -> None:
    found = convert(new, new.with_stem("restored"))
    assert found.same_digest
    assert found.notes == (NOTE,)
    assert found.target.read_bytes() == old.read_bytes()


@pytest.mark.parametrize("name", ["v1.safetensors", "v2.safetensors", "v2.h5", "v2.npz", "v3.safetensors"])
def test_files_of_every_version_may_be_re_saved(tmp_path: Path, name: str) -> None:
    old, new = Path(__file__).parents[1] / "golden" / name, tmp_path / name
    there = load(old, allow_nonfinite=True)
    for reframe in REFRAMES[old.suffix]:
        new.unlink(missing_ok=True)
        reframe(old, new, random.Random(0))
        found = load(new, allow_nonfinite=True)
        assert (found.notes, found.manifest, found.digest) == ((NOTE,), there.manifest, there.digest)
        assert_tensors(found.tensors, dict(there.tensors))


def rewritten(path: Path, name: str, change: Any) -> None:
    """Another program loads a file, changes one array, and saves all."""
    if path.suffix == ".safetensors":
        with safetensors.safe_open(path, "numpy") as file:
            metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        safetensors.numpy.save_file({**tensors, name: change(tensors[name])}, path, metadata)
    elif path.suffix == ".npz":
        with np.load(path) as file:
            tensors = dict(file)
        np.savez(path, **{**tensors, name: change(tensors[name])})
    else:
        with h5py.File(path, "a") as file:
            key = name.replace(".", "/")
            array = change(file[key][()])
            del file[key]
            file[key] = array


def test_another_number_is_damage_of_its_tensor(old: Path) -> None:
    rewritten(old, "hidden.bias", lambda array: array + np.float32(1))
    message = "tensor 'hidden.bias' is damaged or another network's: its (XXH3-128|SHA-256) is"
    with pytest.raises(FormatError, match=message):
        load(old)
    found = load(old, lazy=True).tensors
    np.testing.assert_array_equal(found["output.weight"], TENSORS["output.weight"])
    for _ in range(2):
        with pytest.raises(FormatError, match=message):
            found["hidden.bias"]
    with pytest.raises(FormatError, match=message):
        inspect(old)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda array: array.astype(np.float64), "tensor 'hidden.bias' has dtype float64 in the .*needs float32$"),
        (lambda array: array[:, None], r"tensor 'hidden.bias' has shape \(3, 1\) in the .* needs \(3,\)$"),
    ],
)
def test_another_type_or_shape_is_named(old: Path, change: Any, message: str) -> None:
    rewritten(old, "hidden.bias", change)
    with pytest.raises(FormatError, match=message):
        load(old, lazy=True)


def test_another_network_is_not_taken_for_the_expected_one(old: Path, new: Path) -> None:
    save(old, MANIFEST, {**TENSORS, "hidden.bias": TENSORS["hidden.bias"] + 1})
    with pytest.raises(FormatError, match="is another network: its digest is"):
        load(new, digest=load(old).digest)


def test_files_of_pytorch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    save(tmp_path / "old.safetensors", MANIFEST, TENSORS)
    with safetensors.safe_open(tmp_path / "old.safetensors", "pt") as file:
        metadata = file.metadata()
    tensors = load_file(tmp_path / "old.safetensors")
    save_file(tensors, tmp_path / "new.safetensors", metadata={**metadata, "format": "pt"})
    assert torch.equal(tensors["output.bias"], torch.tensor([-1.0, 1.0]))
    found = load(tmp_path / "new.safetensors")
    assert found.notes == (NOTE,)
    assert_tensors(found.tensors, TENSORS)


@pytest.mark.skipif(not (shutil.which("zip") and shutil.which("unzip")), reason="needs zip and unzip")
def test_an_archive_of_the_program_zip(tmp_path: Path) -> None:
    """It has members for folders as well."""
    tensors = {"encoder/0.weight": TENSORS["hidden.weight"], "b": TENSORS["output.bias"]}
    save(tmp_path / "old.npz", identities(tensors), tensors)
    subprocess.run(["unzip", "-q", "old.npz", "-d", "out"], cwd=tmp_path, check=True)
    subprocess.run(["zip", "-q", "-r", "../new.npz", "encoder", "."], cwd=tmp_path / "out", check=True)
    with zipfile.ZipFile(tmp_path / "new.npz") as made:
        assert made.namelist()[0] == "encoder/"
    assert_tensors(load(tmp_path / "new.npz").tensors, tensors)
    subprocess.run(["zip", "-q", "-d", "new.npz", "b.npy"], cwd=tmp_path, check=True)
    with pytest.raises(FormatError, match=r"tensor 'b' is missing in the archive: node 'node 1' \(Identity\) needs"):
        load(tmp_path / "new.npz")
    subprocess.run(["zip", "-q", "-0", "../new.npz", "b.npy"], cwd=tmp_path / "out", check=True)
    assert_tensors(load(tmp_path / "new.npz").tensors, tensors)


@pytest.mark.parametrize("variable", [False, True])
def test_a_manifest_that_moves_within_its_file(tmp_path: Path, variable: bool) -> None:
    """The HDF5 library follows pointers to texts of variable length, and in damaged files it may do so for ever."""
    save(tmp_path / "a.h5", MANIFEST, TENSORS)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        text, digest = file["portable_nn"][()], file["portable_nn"].attrs["sha256"]
        del file["portable_nn"]
        file["portable_nn"] = text.decode() if variable else text
        file["portable_nn"].attrs["sha256"] = digest
    if not variable:
        assert_tensors(load(tmp_path / "a.h5").tensors, TENSORS)
        return
    with pytest.raises(FormatError, match=r"'/portable_nn' is no single text of a fixed length, as a manifest is$"):
        load(tmp_path / "a.h5")


ODD = (
    "a",
    "a.b",
    "a/b",
    "a.b/c",
    "/",
    "a.",
    ".a",
    "%",
    "%2F",
    "portable_nn",
    "portable_nn.sha256",
    "a.npy",
    "ä",
    "日本.語",
)
tensor = st.sampled_from(list(ITEM_SIZES)).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)


def reads_as_written(folder: Path, suffix: str, tensors: dict[str, Array], dice: random.Random) -> None:
    old, new = folder / f"old{suffix}", folder / f"new{suffix}"
    manifest = identities(tensors)
    digest = save(old, manifest, tensors, allow_nonfinite=True)
    reframed(old, new, dice)
    for lazy in (False, True):
        found = load(new, lazy=lazy, digest=digest, allow_nonfinite=True)
        assert found.notes == (NOTE,)
        assert_tensors(found.tensors, tensors)
    save(old.with_stem("again"), found.manifest, found.tensors, allow_nonfinite=True)
    assert old.with_stem("again").read_bytes() == old.read_bytes()


@pytest.mark.long
@ANY
@given(
    tensors=st.dictionaries(st.sampled_from(ODD), tensor, min_size=1, max_size=5),
    dice=st.randoms(use_true_random=False),
)
def test_any_network_is_read_however_it_is_framed(
    tmp_path: Path, suffix: str, tensors: dict[str, Array], dice: random.Random
) -> None:
    reads_as_written(tmp_path, suffix, tensors, dice)


@pytest.mark.parametrize("seed", range(5))
def test_a_network_is_read_however_it_is_framed(tmp_path: Path, suffix: str, seed: int) -> None:
    dice = random.Random(seed)
    kinds = dice.sample(list(ITEM_SIZES), 4)
    shapes = [tuple(dice.randrange(5) for _ in range(dice.randrange(4))) for _ in kinds]
    numbers = np.random.default_rng(seed)
    tensors = {
        name: numbers.integers(0, 2, shape).astype(kind)
        for name, kind, shape in zip(dice.sample(ODD, 4), kinds, shapes, strict=True)
    }
    reads_as_written(tmp_path, suffix, tensors, dice)
