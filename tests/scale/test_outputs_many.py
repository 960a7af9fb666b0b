"""Arrays from shards, also of pictures: the bytes that one process writes, whatever is killed; and arrays of zarr."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ordeals import Ordeal, command
from PIL import Image

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.cli import main
from portable_nn.core.errors import FileError, UsageError
from portable_nn.outputs.records import save_arrays

FORMS = ["npy", "npz", "h5", "zarr"]


def bytes_in(path: Path) -> dict[str, bytes]:
    """The bytes of a file, or of those in a folder."""
    files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
    return {str(each.relative_to(path)): each.read_bytes() for each in files}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Rows for two models: pictures of digits, and plain numbers in a file with a name for them."""
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    np.save(tmp_path / "digits.npy", rng.integers(0, 255, (25, 28, 28), np.uint8))
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file.create_dataset("x", data=rng.normal(size=(25, 6)).astype(np.float32), chunks=(4, 6))
    x = pnn.Input(6, name="x")
    hidden = pnn.Dense(4, name="hidden")(x)
    pnn.Network(x, [hidden, pnn.Dense(3, name="last")(hidden)], seed=0).save(tmp_path / "two.safetensors")
    return tmp_path


@pytest.mark.parametrize("form", ["npy", "npz", *(pytest.param(form, marks=pytest.mark.long) for form in FORMS[2:])])
def test_the_bytes_of_one_process(data: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if form == "zarr":
        pytest.importorskip("zarr", reason="zarr is an extra")
    monkeypatch.chdir(data)
    digits = ["predict", "digits-mlp", "digits.npy", "--batch-size", "4"]
    rows = ["predict", "two.safetensors", "rows.h5", "--inputs", "x", "--batch-size", "4"]
    rows += ["--output", pnn.load("two.safetensors").outputs[0].name] if form == "npy" else []
    for place, line in enumerate((digits, rows)):
        one, many = Path(f"one{place}.{form}"), Path(f"many{place}.{form}")
        assert main([*line, "--out", str(one)]) == 0
        assert main([*line, "--out", str(many), "--workers", "0", "--shard-size", "8"]) == 0
        assert bytes_in(one) == bytes_in(many)
        kept = [*line, "--out", f"kept{place}.{form}", "--workers", "0", "--shard-size", "8", "--shards", f"s{place}"]
        assert main(kept) == 0
        assert len(list(Path(f"s{place}").glob("*.npz"))) == 4
    assert not list(data.glob("*.shards")) + list(data.glob("*.part*")) + list(data.glob(".*tmp"))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Pictures in the folders of their classes, a file of arrays, and a model that does not say how to prepare them."""
    rng = np.random.default_rng(0)
    for place in range(21):
        path = tmp_path / "scans" / str(place % 3) / f"{place:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((28, 28), np.uint8)
        pixels[5:23, 4 + place % 10 : 8 + place % 10] = 200 + place
        Image.fromarray(pixels).save(path)
    np.save(tmp_path / "more.npy", rng.integers(0, 255, (5, 28, 28), np.uint8))
    x = pnn.Input(1, 28, 28, name="x")
    hidden = pnn.Conv2d(2, 3, name="hidden")(x)
    pnn.Network(x, [hidden, pnn.Dense(3)(pnn.Flatten()(hidden))], seed=0).save(tmp_path / "plain.safetensors")
    return tmp_path


@pytest.mark.long
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("model", ["digits-mlp", "plain.safetensors"])
def test_pictures(scans: Path, form: str, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if form == "zarr":
        pytest.importorskip("zarr", reason="zarr is an extra")
    monkeypatch.chdir(scans)
    line = ["predict", model, "scans", "more.npy", "scans/0", "--batch-size", "4"]
    line += ["--output", pnn.load(find_model(model).weights if model == "digits-mlp" else model).outputs[-1].name]
    one, many = Path(f"one.{form}"), Path(f"many.{form}")
    assert main([*line, "--out", str(one)]) == 0
    assert main([*line, "--out", str(many), "--workers", "0", "--shard-size", "8"]) == 0
    assert bytes_in(one) == bytes_in(many)


def test_pictures_are_what_run_gives(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scans)
    line = ["predict", "plain.safetensors", "scans", "--out", "found.npz", "--batch-size", "4"]
    wanted = pnn.run("plain.safetensors", "scans")
    for more in ([], ["--workers", "0", "--shard-size", "8"]):
        assert main([*line, "--force", *more]) == 0
        with np.load("found.npz") as found:
            assert {name: found[name].shape for name in found} == {name: a.shape for name, a in wanted.items()}
            for name, array in wanted.items():
                np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("more", [[], ["--workers", "0"]])
def test_pictures_that_give_no_arrays(
    scans: Path, more: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(scans)
    line = ["predict", "digits-mlp", "scans/0", "--out", "found.npz", *more]
    assert main([*line, "--raw"]) == 2
    assert "raw (--raw) is for arrays" in capsys.readouterr().err
    Path("scans/0/07.png").write_bytes(b"no picture")
    assert main(line) == 3
    assert "07.png" in capsys.readouterr().err
    assert not list(scans.glob("*.npz")) + list(scans.glob("*.part*"))


def test_pictures_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    x = pnn.Input(3, "height", "width", name="x")
    pnn.Network(x, pnn.Conv2d(2, 3)(x), seed=0).save("filter.safetensors")
    (tmp_path / "scans").mkdir()
    for size in (8, 10):
        Image.fromarray(np.zeros((size, size), np.uint8)).save(tmp_path / "scans" / f"{size:02}.png")
    line = ["predict", "filter.safetensors", "scans", "--preprocess", "detection", "--out", "found.npz"]
    assert main(line) == 0
    with np.load("found.npz") as found:
        assert [found[name].shape for name in found] == [(1, 2, 6, 6), (1, 2, 8, 8)]
    assert main([*line, "--force", "--workers", "0"]) == 2
    assert "pictures of one size" in capsys.readouterr().err


def test_arrays_of_zarr(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5py, zarr = pytest.importorskip("h5py"), pytest.importorskip("zarr", reason="zarr is an extra")
    monkeypatch.chdir(data)
    line = ["predict", "two.safetensors", "rows.h5", "--inputs", "x"]
    assert main([*line, "--out", "found.zarr"]) == 0
    assert main([*line, "--out", "found.npz"]) == 0
    found, wanted = zarr.open_group("found.zarr", mode="r"), np.load("found.npz")
    assert sorted(name for name, _ in found.arrays()) == sorted(wanted)
    for name in wanted:
        np.testing.assert_array_equal(found[name][:], wanted[name])
    assert found.attrs["model"] == "two.safetensors"
    name = next(iter(wanted))
    np.save("again.npy", wanted[name])
    with h5py.File("rows.h5") as file:
        zarr.open_group("rows.zarr", mode="w").create_array("x", data=file["x"][:], chunks=(4, 6))
    line = ["predict", "two.safetensors", "rows.zarr", "--inputs", "x"]
    several = ["--workers", "0", "--shard-size", "8", "--shards", "shards"]
    assert main([*line, "--out", "of_zarr.npz", *several]) == 0
    assert bytes_in(Path("of_zarr.npz")) == bytes_in(Path("found.npz"))
    assert len(list(Path("shards").glob("*.npz"))) == 4
    line = ["predict", "two.safetensors", "rows.h5", "--inputs", "x"]
    assert main([*line, "--out", "found.zarr", "--force"]) == 2  # Folders are never replaced.
    with pytest.raises(FileError, match=r"what was made is in found-2\.zarr"):
        save_arrays(Path("found.zarr"), "two.safetensors", {"a": np.zeros(3)})
    np.testing.assert_array_equal(found[name][:], wanted[name])


def test_names_that_lead_out_of_the_folder(tmp_path: Path, data: Path) -> None:
    pytest.importorskip("zarr", reason="zarr is an extra")
    with pytest.raises(UsageError, match="cannot be an array of zarr"):
        save_arrays(tmp_path / "bad.zarr", str(data / "two.safetensors"), {"../outside": np.zeros(3)})
    assert not list(tmp_path.glob("*outside*")) + list(tmp_path.glob("*bad.zarr*"))


def test_what_is_for_one_process(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["predict", "digits-mlp", "--out", str(data / "x.npz"), "--workers", "0"]
    assert main([*line, "--inputs", f"image={data / 'digits.npy'}"]) == 2
    assert "leave out --inputs NAME=FILE" in capsys.readouterr().err
    assert not (data / "x.npz").exists()


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked for in /proc")
def test_a_killed_client(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="several processes are those of Dask")
    rows = tmp_path / "rows.npy"
    np.save(rows, np.random.default_rng(0).integers(0, 255, (6000, 28, 28), np.uint8))
    done = subprocess.run(command([rows], tmp_path / "one.npz"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ordeal = Ordeal([rows], tmp_path / "many.npz", 24, "--shard-size", "256")
    assert ordeal.run(ordeal.kill_client()) == -signal.SIGKILL
    assert not ordeal.out.exists()
    assert ordeal.run() == 0, ordeal.log
    assert "which were there" in ordeal.log
    one, many = (np.load(tmp_path / name) for name in ("one.npz", "many.npz"))
    assert one.files == many.files
    for name in one.files:  # With several threads, the last digit may be another.
        np.testing.assert_allclose(many[name], one[name], rtol=1e-5, atol=1e-5)
