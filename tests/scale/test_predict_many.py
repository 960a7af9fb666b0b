"""Predictions of several processes are those of one, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.cli import main
from portable_nn.core.errors import DataError, DataWarning, FileError, FormatError, PortableNNError, UsageError
from portable_nn.prediction.prediction import Prediction
from portable_nn.scale import predict_many
from portable_nn.scale import run as runs
from portable_nn.scale.cluster import LostError, Processes

NAMES = ["1 one.png", "2\nlines.png", "3 日本.png", "4#2.png", "5:3.png", "6.png", "7.png"]


def digits(folder: Path, names: list[str], seed: int = 0) -> Path:
    """Pictures like digits in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for name in names:
        pixels = np.zeros((28, 28), np.uint8)
        pixels[5:23, 12:16] = rng.integers(100, 255, (18, 4))
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = digits(tmp_path / "in here", NAMES)
    (found / "4 broken.png").write_bytes(b"no picture at all")
    return found


def many(*args: Any, **options: Any) -> list[Prediction]:
    return [*predict_many("digits", *args, **{"workers": 0, "shard_size": 3, "batch_size": 3, **options})]


def serial(inputs: Any, **options: Any) -> list[Prediction]:
    return [*pnn.predict("digits", inputs, **{"strict": False, "batch_size": 3, **options})]


def alike(found: list[Prediction], wanted: list[Prediction]) -> bool:
    """Whether predictions are the same but for the last digits, which depend on what is computed together."""
    return len(found) == len(wanted) and all(
        (a.input, a.label, a.error, a.expected, a.box) == (b.input, b.label, b.error, b.expected, b.box)
        and (a.probability is None or abs(a.probability - (b.probability or 0)) < 1e-5)
        for a, b in zip(found, wanted, strict=True)
    )


def names(shards: Path) -> set[str]:
    return {path.name for path in shards.glob("*.npz")}


def test_pictures_in_a_folder(folder: Path, tmp_path: Path) -> None:
    wanted = serial([folder, tmp_path / "missing.png"])
    assert [each.error is None for each in wanted].count(False) == 2
    assert alike(many([folder, tmp_path / "missing.png"], tmp_path / "shards"), wanted)
    assert alike(many([folder, tmp_path / "missing.png"]), wanted)


def test_folders_that_are_classes(tmp_path: Path) -> None:
    for label in ("1", "7"):
        digits(tmp_path / "classes" / label, ["a.png", "b.png"], seed=int(label))
    found = many(tmp_path / "classes", tmp_path / "shards")
    assert [each.expected for each in found] == ["1", "1", "7", "7"]
    assert alike(found, serial(tmp_path / "classes"))


@pytest.mark.parametrize("rows", [2, 3, 20, 28])
def test_rows_of_an_array_are_cut(tmp_path: Path, rows: int) -> None:
    x = np.random.default_rng(0).integers(0, 255, (rows, 28, 28), np.uint8)
    np.save(tmp_path / "x.npy", x)
    found = many(tmp_path / "x.npy", tmp_path / "shards")
    assert [each.input for each in found] == [f"{tmp_path / 'x.npy'}:{place}" for place in range(rows)]
    assert alike(found, serial(tmp_path / "x.npy"))
    assert len(names(tmp_path / "shards")) == -(-rows // 3)


def test_one_example_without_a_batch_is_not_cut(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros((28, 28), np.uint8))
    assert alike(many(tmp_path / "one.npy"), serial(tmp_path / "one.npy"))


def test_arrays_that_are_read_by_name(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    x = np.random.default_rng(0).integers(0, 255, (10, 28, 28), np.uint8)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("scans", data=x, chunks=(4, 28, 28))
    found = many(tmp_path / "x.h5", tmp_path / "shards", dataset="scans")
    assert alike(found, serial(tmp_path / "x.h5", dataset="scans"))
    assert len(names(tmp_path / "shards")) == 3  # Four rows each: no chunk is read twice.


def test_a_link_that_leads_nowhere_is_the_error_that_it_is_to_one_process(folder: Path, tmp_path: Path) -> None:
    (folder / "link.png").symlink_to("nowhere")
    assert alike(many(folder, tmp_path / "shards"), serial(folder))


def test_tables_are_a_shard_each(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a.csv", "b.csv"):
        np.savetxt(tmp_path / name, rng.integers(0, 255, (7, 784)), "%d", ",")
    inputs = [tmp_path / "a.csv", tmp_path / "b.csv"]
    assert alike(many(inputs, tmp_path / "shards"), serial(inputs))
    assert len(names(tmp_path / "shards")) == 2


def test_what_processes_warn_of_is_said_once_here(tmp_path: Path) -> None:
    np.save(tmp_path / "scaled.npy", np.random.default_rng(0).uniform(0, 1, (9, 1, 28, 28)).astype(np.float32))
    with pytest.warns(pnn.DataWarning) as wanted:
        list(pnn.predict("digits", tmp_path / "scaled.npy", raw=True))
    for _ in range(2):
        with pytest.warns(pnn.DataWarning) as found:
            many(tmp_path / "scaled.npy", tmp_path / "shards", raw=True)
        assert len(found) == len(wanted) == 1
        assert str(found[0].message).partition("but")[2] == str(wanted[0].message).partition("but")[2]


def test_nothing_is_computed_twice(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = many(folder, tmp_path / "shards")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").iterdir()}
    monkeypatch.setattr(runs, "processes", lambda *_: pytest.fail("there is nothing to compute"))
    assert many(folder, tmp_path / "shards") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").iterdir()} == times


@pytest.mark.parametrize("gone", ["npz", "json", "short", "row", "manifest"])
def test_what_is_missing_or_cut_short_is_computed_again(folder: Path, tmp_path: Path, gone: str) -> None:
    shards = tmp_path / "shards"
    first = many(folder, shards)
    (shards / "manifest.jsonl").unlink()
    victim = sorted(shards.glob("*.npz"))[1]
    row = victim.with_suffix(".json")
    if gone == "npz":
        victim.unlink()
    elif gone == "json":
        row.unlink()
    elif gone == "short":
        victim.write_bytes(victim.read_bytes()[:-1])
    elif gone == "row":
        row.write_bytes(row.read_bytes()[:-20])
    predictions = predict_many("digits", folder, shards, workers=0, shard_size=3, batch_size=3)
    assert list(predictions) == first
    computed = 0 if gone == "manifest" else 1
    assert (f"{3 - computed} of which were there" in " ".join(predictions.tally.lines())) == bool(computed)
    rows = [json.loads(line) for line in (shards / "manifest.jsonl").read_text().splitlines()]
    assert [each["examples"] for each in rows] == [3, 3, 2]
    assert {each["shard"] for each in rows} == names(shards)


def test_a_shard_that_was_edited_is_computed_again(folder: Path, tmp_path: Path) -> None:
    """A job that a scheduler begins again and again comes to its end."""
    many(folder, tmp_path / "shards")
    victim = min((tmp_path / "shards").glob("*.npz"))
    data = bytearray(victim.read_bytes())
    data[100] ^= 1
    victim.write_bytes(data)
    with pytest.warns(DataWarning, match=rf"{victim.name} is not as it was written, and is computed again"):
        assert alike(many(folder, tmp_path / "shards"), serial(folder))
    with warnings.catch_warnings(action="error"):
        assert alike(many(folder, tmp_path / "shards"), serial(folder))


def test_more_inputs_go_on_with_what_is_there(folder: Path, tmp_path: Path) -> None:
    shards, more = tmp_path / "shards", tmp_path / "more"
    more.mkdir()
    digits(more, ["a.png", "b.png"], seed=9)
    many(folder, shards)
    before = names(shards)
    assert alike(many([folder, more], shards), serial([folder, more]))
    assert len(names(shards) & before) == 2  # Of three, as the last one was not full.
    with pytest.raises(UsageError, match=f"the data had {folder}, and have not"):
        many(more, shards)


def test_the_same_names_sizes_and_times_elsewhere_are_other_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Archives give files of other folders the same times, and one that is written over may get its own time back."""
    shards = tmp_path / "shards"
    for place, folder in enumerate(("one", "two")):
        Path(tmp_path, folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        np.save("x.npy", np.random.default_rng(place).uniform(0.01, 1, (5, 28, 28)).astype(np.float32))
        os.utime("x.npy", ns=(1, 1))
        assert alike(many("x.npy", shards / folder), serial("x.npy"))
    shutil.copytree(shards / "one", shards / "three")
    with pytest.raises(UsageError, match=r"the data had .*one.x\.npy, and have not"):
        many("x.npy", shards / "three")
    np.save("x.npy", np.random.default_rng(2).uniform(0.01, 1, (5, 28, 28)).astype(np.float32))
    os.utime("x.npy", ns=(1, 1))
    assert alike(many("x.npy", shards / "two"), serial("x.npy"))


def test_an_input_that_has_changed_is_computed_again(folder: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    many(folder, shards)
    before = names(shards)
    digits(folder, ["7.png"], seed=5)
    digits(folder, ["8.png"], seed=6)
    os.utime(folder / "7.png", ns=(1, 1))
    assert alike(many(folder, shards), serial(folder))
    assert len(names(shards) & before) == 2
    assert len(names(shards)) == 3  # The shard of what is gone was removed.


@pytest.mark.parametrize(
    ("options", "what"),
    [({"shard_size": 4}, "shard_size was 3, and is 4"), ({"batch_size": 4}, "batch_size was 3, and is 4"),
     ({"polarity": "dark"}, "polarity was None, and is dark")],
)  # fmt: skip
def test_shards_of_other_options_are_not_mixed(
    folder: Path, tmp_path: Path, options: dict[str, Any], what: str
) -> None:
    many(folder, tmp_path / "shards")
    before = names(tmp_path / "shards")
    with pytest.raises(UsageError, match=f"has shards of something else: {what}. Name another folder"):
        many(folder, tmp_path / "shards", **options)
    assert names(tmp_path / "shards") == before
    assert alike(many(folder, tmp_path / "shards", force=True, **options), serial(folder, **{"batch_size": 3, **{
        name: value for name, value in options.items() if name != "shard_size"}}))  # fmt: skip
    assert not names(tmp_path / "shards") & before


def test_shards_of_another_model_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    shutil.copy(find_model("digits-mlp").weights, model)
    options: dict[str, Any] = {"workers": 0, "shard_size": 3}
    list(predict_many(model, folder, tmp_path / "shards", **options))
    shutil.copy(find_model("digits-cnn").weights, model)
    with pytest.raises(UsageError, match="has shards of something else: the model was the SHA-256 "):
        list(predict_many(model, folder, tmp_path / "shards", **options))


def test_a_model_that_changes_meanwhile_is_refused(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    shutil.copy(find_model("digits-mlp").weights, model)
    predictions = predict_many(model, folder, tmp_path / "shards", workers=0, shard_size=3)
    shutil.copy(find_model("digits-cnn").weights, model)
    with pytest.raises(FormatError, match="has changed since the run began"):
        list(predictions)


def test_a_folder_of_something_else_is_left_alone(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds other files than shards, such as 1 one.png: name a new folder"):
        many(folder, folder)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileError, match="expected a folder for shards"):
        many(folder, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_said_to_be_so(folder: Path) -> None:
    with pytest.raises(FileError, match="/dev/null/shards: "):
        many(folder, "/dev/null/shards")


def test_an_empty_folder_and_nothing_at_all(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert alike(many(tmp_path / "empty"), serial(tmp_path / "empty"))
    with pytest.raises(DataError, match="the folder has no images"):
        many(tmp_path / "empty", strict=True)
    with pytest.raises(UsageError, match="no input"):
        many([])


def test_strict_raises_at_the_first_that_is_bad(folder: Path) -> None:
    with pytest.raises(DataError, match=r"4 broken.png"):
        many(folder, strict=True)


def full(nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk be full when the ``nth`` file is written."""
    from portable_nn.scale import storage

    write, count = storage._Folder.write, [0]

    def limited(self: Any, name: str, data: bytes) -> None:
        count[0] += 1
        if count[0] == nth:
            raise FileError(f"{self.where}/{name}", "cannot be written: No space left on device")
        write(self, name, data)

    monkeypatch.setattr(storage._Folder, "write", limited)


@pytest.mark.parametrize("nth", range(1, 9))
def test_a_full_disk_loses_and_doubles_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    wanted = serial(folder)
    with monkeypatch.context() as patched:
        full(nth, patched)
        with pytest.raises(FileError, match="No space left on device"):
            many(folder, tmp_path / "shards")
    assert alike(many(folder, tmp_path / "shards"), wanted)
    assert len(names(tmp_path / "shards")) == 3


def failing(what: Callable[[str], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes be lost that compute tasks of some inputs."""
    from contextlib import contextmanager

    from portable_nn.scale.computing import compute

    class Here:
        def __init__(self, function: Any, job: Any, task: Any) -> None:
            self.job, self.task = job, task

        def result(self) -> dict[str, Any]:
            if any(what(path) for path, _ in self.task.inputs):
                raise LostError("it ended every process that computed it")
            return compute(self.job, self.task)

        def cancel(self) -> None: ...

    @contextmanager
    def made(*_: Any) -> Any:
        yield Processes(Here, lambda: 1)

    monkeypatch.setattr(runs, "processes", made)


def test_inputs_that_end_processes_are_listed_and_tried_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = serial(folder)
    with monkeypatch.context() as patched:
        failing(lambda path: path.endswith("5:3.png"), patched)
        predictions = predict_many("digits", folder, tmp_path / "shards", workers=0, shard_size=3)
        found = list(predictions)
    assert [each.input for each in found] == [each.input for each in wanted]
    assert [each.error for each in found[3:6]] == ["it ended every process that computed it"] * 3
    assert predictions.tally.lines()[-1].startswith("failed, and left to the next run: ")
    assert alike(many(folder, tmp_path / "shards", batch_size=256), wanted)


def test_a_run_that_fails_from_the_first_on_is_given_up(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(lambda path: True, monkeypatch)
    with pytest.raises(PortableNNError, match="it ended every process"):
        many(folder, tmp_path / "shards", shard_size=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": None}, "either workers or scheduler says which processes compute"),
        ({"scheduler": "tcp://x:1"}, "either workers or scheduler says which processes compute"),
        ({"workers": -1}, "workers must be a whole number from 0, for this process alone, to 1,024, not -1"),
        ({"workers": 1.5}, "workers must be a whole number from 0, for this process alone, to 1,024, not 1.5"),
        ({"shard_size": 0}, "shard_size must be at least 1, not 0"),
        ({"workers": None, "scheduler": "tcp://x:1"}, "shards is needed with scheduler"),
        ({"top": 0}, "top must be a whole number from 1, not 0"),
    ],
)
def test_wrong_arguments(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        many(folder, **options)


def test_what_is_in_memory_is_for_one_process(folder: Path) -> None:
    with pytest.raises(UsageError, match="several processes read their inputs from files, and this is ndarray"):
        many(np.zeros((3, 28, 28)))
    with pytest.raises(UsageError, match="standard input is for one process"):
        many("-")


def test_a_bucket(folder: Path, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="buckets are those of fsspec")
    url = f"memory://{tmp_path.name}"
    files = fsspec.filesystem("memory")
    for path in folder.iterdir():
        files.pipe_file(f"/{tmp_path.name}/in/{path.name}", path.read_bytes())
    files.pipe_file(f"/{tmp_path.name}/model.safetensors", find_model("digits-cnn").weights.read_bytes())
    options: dict[str, Any] = {"workers": 0, "shard_size": 3, "batch_size": 3}
    found = list(predict_many(f"{url}/model.safetensors", f"{url}/in", f"{url}/shards", **options))
    wanted = serial(folder)
    assert [each.label for each in found] == [each.label for each in wanted]
    assert [each.input for each in found] == [
        f"memory:///{tmp_path.name}/in/{Path(each.input).name}" for each in wanted
    ]
    assert len([each for each in files.ls(f"/{tmp_path.name}/shards", detail=False) if each.endswith(".npz")]) == 3
    again = predict_many(f"{url}/model.safetensors", f"{url}/in", f"{url}/shards", **options)
    assert list(again) == found
    assert again.tally.lines()[-1] == "8 examples in 3 shards, all of which were there"


@pytest.mark.long
def test_an_error_in_the_middle_ends_a_script(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="several processes are those of Dask")
    script = tmp_path / "script.py"
    script.write_text(
        "from portable_nn.scale import predict_many\n"
        "if __name__ == '__main__':\n"
        f"    for each in predict_many('digits', {str(folder)!r}, workers=1, shard_size=1):\n"
        "        raise RuntimeError('in the middle')\n"
    )
    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=240)
    assert (found.returncode, found.stderr.splitlines()[-1]) == (1, "RuntimeError: in the middle")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are Unicode there")
def test_names_that_are_no_unicode_are_written_alike(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet", reason="Parquet is written by pyarrow")
    scans = digits(tmp_path / "scans", [os.fsdecode(b"\xff.png")])
    assert main(["predict", "digits", str(scans), "--workers", "0", "--out", str(tmp_path / "a.parquet")]) == 0
    assert main(["predict", "digits", str(scans), "--out", str(tmp_path / "a.csv")]) == 0
    [name] = pq.read_table(tmp_path / "a.parquet")["input"].to_pylist()
    assert name == f"{scans}/\\udcff.png"
    assert (tmp_path / "a.csv").read_text().splitlines()[1].startswith(name)
