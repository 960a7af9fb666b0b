"""``predict --out FILE``, killed at any moment, interrupted, or out of space: ``--resume`` goes on to the same file."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from bounded import no_larger_files

import portable_nn as pnn
from portable_nn.cli import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no signals, and no limits of files")

ROWS = 30000
X = np.random.default_rng(5).normal(size=(ROWS, 12)).astype(np.float32)
X[[7, 2345]] = np.nan
"""Two echoes are no numbers: they have errors in their rows."""

TEXTS = ["csv", "jsonl", "json"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of echoes, some of them in chunks, and models: of heights, and of three classes."""
    folder = tmp_path_factory.mktemp("echoes")
    with h5py.File(folder / "echoes.h5", "w") as file:
        file.create_dataset("waveforms", data=X, chunks=(1000, 12))
        file["whole"] = np.nan_to_num(X)
    with np.errstate(all="ignore"):
        good = {"w": np.nan_to_num(X[:500]), "swh": np.nan_to_num(X[:500, 0])}
    trained = pnn.train_arrays("12-4-1", good, inputs="w", targets="swh", units={"swh": "m"}, epochs=1, progress=False)
    trained.network.save(folder / "swh.safetensors")
    kinds = {**good, "kind": (good["swh"] > 0).astype(int) + (good["swh"] > 1)}
    classes = pnn.train_arrays("12-4-3", kinds, inputs="w", targets="kind", epochs=1, progress=False)
    classes.network.save(folder / "kind.safetensors")
    return folder


@pytest.fixture
def every(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The journal is written after each batch, and not waited for: no power fails here."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("portable_nn.core.partial.EVERY", 0.0)


class Run:
    """A command line in a forked process, which is the cheapest that can be killed."""

    def __init__(self, *arguments: str, before: Callable[[], Any] = lambda: None) -> None:
        self.errors = Path("errors.txt").absolute()
        self.process = os.fork()
        if not self.process:
            code = 99
            try:
                os.dup2(os.open(self.errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
                sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
                signal.signal(signal.SIGINT, signal.default_int_handler)  # A job in the background ignores it.
                before()
                code = main(["predict", *arguments])
            except KeyboardInterrupt:
                code = 130
            finally:
                os._exit(code)

    def send(self, sign: int) -> None:
        os.kill(self.process, sign)

    def end(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])

    def has_ended(self) -> bool:
        return os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def done(*arguments: str, before: Callable[[], Any] = lambda: None) -> tuple[int, str]:
    run = Run(*arguments, before=before)
    return run.end(), run.errors.read_text()


def rows_in(path: Path) -> int:
    """How many rows the journal of a file counts."""
    try:
        state = json.loads(Path(f"{path}.part.json").read_text())["state"]
    except FileNotFoundError:
        return 0
    return int(state.get("done", {}).get("made", 0))


def killed(out: str, *arguments: str, sign: int = signal.SIGKILL, rows: int = 1, after: float = 0.0) -> int:
    """Start a run, and kill it when it has counted so many rows more than before; the code it ended with."""
    before, run = rows_in(Path(out)), Run(*arguments, "--out", out)
    while rows_in(Path(out)) < before + rows and not run.has_ended():
        time.sleep(0.001)
    time.sleep(after)
    run.send(sign)
    return run.end()


def run_of(model: str = "swh.safetensors", dataset: str = "waveforms") -> tuple[str, ...]:
    return (model, "echoes.h5", "--inputs", dataset, "--batch-size", "40", "--engine", "numpy", "-q")


@pytest.mark.long
@pytest.mark.usefixtures("every")
@pytest.mark.parametrize("name", [*TEXTS, "npy", "npz", "h5", "parquet"])
def test_killed_at_random_it_goes_on_to_the_same_bytes(folder, name):
    arguments = run_of()
    code, err = done(*arguments, "--out", f"whole.{name}", "--force")
    assert code == 3, err  # Two echoes have errors.
    rng = random.Random(name)
    for _ in range(3):
        end = killed(f"a.{name}", *arguments, "--resume", rows=rng.randint(1, ROWS // 4), after=rng.uniform(0, 0.02))
        assert end == -signal.SIGKILL
        assert not (folder / f"a.{name}").exists()
    assert done(*arguments, "--out", f"a.{name}", "--resume") == (code, err)
    assert (folder / f"a.{name}").read_bytes() == (folder / f"whole.{name}").read_bytes()
    assert not list(folder.glob("a.*.part*"))


@pytest.mark.long
@pytest.mark.usefixtures("every")
def test_what_is_written_is_what_the_network_gives(folder):
    wanted = pnn.load(folder / "swh.safetensors").predict(np.nan_to_num(X))
    for name in ("npy", "npz", "h5", "parquet", "hdf5"):
        code, err = done(*run_of(dataset="whole"), "--out", f"all.{name}", "--force")
        assert code == 0, err
    np.testing.assert_allclose(np.load(folder / "all.npy"), wanted, rtol=1e-5, atol=1e-6)
    [found] = np.load(folder / "all.npz").values()
    np.testing.assert_array_equal(found, np.load(folder / "all.npy"))
    with h5py.File(folder / "all.h5") as file:
        [entry] = file.values()
        np.testing.assert_array_equal(entry[:], found)
        assert {key: list(entry.attrs[key]) for key in ("labels", "units")} == {"labels": ["swh"], "units": ["m"]}
        assert (entry.attrs["kind"], file.attrs["model"]) == ("values", "swh.safetensors")
    parquet = pytest.importorskip("pyarrow.parquet").read_table(folder / "all.parquet")
    assert parquet.column_names == ["input", "swh [m]", "error"]
    assert parquet["error"].null_count == ROWS
    assert parquet["input"].to_pylist()[::999] == [f"echoes.h5:{place}" for place in range(0, ROWS, 999)]
    np.testing.assert_allclose(parquet["swh [m]"].to_numpy(), wanted[:, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.long
@pytest.mark.usefixtures("every")
def test_classes_in_parquet(folder):
    code, err = done(*run_of("kind.safetensors"), "--top", "3", "--out", "kinds.parquet", "--force")
    assert code == 3, err
    table = pytest.importorskip("pyarrow.parquet").read_table(folder / "kinds.parquet")
    names = ["input", "label", "probability", "2nd", "2nd probability", "3rd", "3rd probability", "error"]
    assert table.column_names == names
    assert [place for place, text in enumerate(table["error"].to_pylist()) if text] == [7, 2345]
    assert table["label"].null_count == table["probability"].null_count == 2
    shares = sum(table[name].fill_null(1 / 3).to_numpy() for name in names if name.endswith("probability"))
    np.testing.assert_allclose(shares, 1, atol=1e-6)


@pytest.mark.long
@pytest.mark.usefixtures("every")
def test_ctrl_c_keeps_what_there_is(folder):
    slow = ("--batch-size", "10")  # Otherwise it may end before the signal comes.
    for _ in range(5):
        if killed("c.csv", *run_of(), *slow, sign=signal.SIGINT) == 130 and rows_in(Path("c.csv")):
            break  # Neither before the first batch nor after the last one.
        for each in Path().glob("c.csv*"):
            each.unlink()
    assert rows_in(Path("c.csv")) > 0
    assert not (folder / "c.csv").exists()
    code, err = done(*run_of()[:-1], *slow, "--out", "c.csv", "--resume")
    assert code == 3
    assert "going on with" in err
    assert (folder / "c.csv").read_text().count("\n") == ROWS + 1


@pytest.mark.long
@pytest.mark.usefixtures("every")
def test_a_full_disk(folder):
    done(*run_of(), "--out", "w.csv", "--force")
    size = (folder / "w.csv").stat().st_size

    code, err = done(*run_of(), "--out", "d.csv", before=lambda: no_larger_files(size // 2))
    assert code == 3
    assert "d.csv: cannot be written: File too large" in err
    assert "d.csv.part has what was written, for a run that resumes it" in err
    assert done(*run_of(), "--out", "d.csv", "--resume")[0] == 3
    assert (folder / "d.csv").read_bytes() == (folder / "w.csv").read_bytes()


@pytest.mark.long
@pytest.mark.usefixtures("every")
def test_what_was_begun_is_not_overwritten_unasked_nor_mixed(folder):
    assert killed("e.csv", *run_of()) == -signal.SIGKILL
    begun = (folder / "e.csv.part").read_bytes()
    code, err = done(*run_of(), "--out", "e.csv")
    assert (code, "e.csv.part was left by an interrupted run: --resume goes on with it, and --force" in err) == (
        2,
        True,
    )
    code, err = done(*run_of("kind.safetensors"), "--out", "e.csv", "--resume")
    assert code == 2
    assert "the model was swh.safetensors with the SHA-256" in err
    assert ", and is kind.safetensors with the SHA-256" in err
    code, err = done(*run_of(), "--out", "e.csv", "--resume", "--top", "2")
    assert (code, "top was 1, and is 2" in err) == (2, True)
    before = (folder / "echoes.h5").stat()
    os.utime(folder / "echoes.h5", ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    code, err = done(*run_of(), "--out", "e.csv", "--resume")
    os.utime(folder / "echoes.h5", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (code, f"the data echoes.h5 was {before.st_size:,} bytes of " in err) == (2, True)
    assert (folder / "e.csv.part").read_bytes() == begun
    assert done(*run_of(), "--out", "e.csv", "--force")[0] == 3
    assert not list(folder.glob("e.csv.*"))


@pytest.mark.long
@pytest.mark.usefixtures("every")
def test_a_file_that_only_has_the_name_is_left_alone(folder):
    (folder / "f.csv.part").write_text("mine")
    code, err = done(*run_of(), "--out", "f.csv")
    assert (code, "f.csv.part exists already, without the journal of a run" in err) == (2, True)
    assert (folder / "f.csv.part").read_text() == "mine"
    (folder / "f.csv.part.json").write_text("{")
    for option in ("--force", "--resume"):
        code, err = done(*run_of(), "--out", "f.csv", option)
        assert (code, "f.csv.part.json is no journal of this program" in err) == (2, True)


@pytest.mark.long
@pytest.mark.usefixtures("every")
def test_two_at_once(folder):
    run = Run(*run_of(), "--out", "g.csv")
    while not rows_in(Path("g.csv")):
        time.sleep(0.001)
    run.send(signal.SIGSTOP)
    code, err = done(*run_of(), "--out", "g.csv", "--resume")
    run.send(signal.SIGCONT)
    assert (code, "g.csv.part is being written by another process" in err) == (2, True)
    assert run.end() == 3
    assert (folder / "g.csv").read_text().count("\n") == ROWS + 1


@pytest.mark.long
@pytest.mark.usefixtures("every")
def test_what_cannot_be_continued(folder):
    for arguments in (
        ("--out", "h.txt"),
        (),
        ("--out", "h.csv", "--io", "io.npz"),
        ("--out", "h.csv", "--stream"),
    ):
        code, err = done(*run_of(), *arguments, "--resume")
        assert (code, "--resume is for --out" in err) == (2, True)


@pytest.mark.long
@pytest.mark.usefixtures("every")
@pytest.mark.parametrize("options", [(), ("--resume",)])
def test_one_killed_before_it_wrote_a_byte_is_no_obstacle(folder, options):
    (folder / "g.csv").unlink(missing_ok=True)
    (folder / "g.csv.part").touch()
    assert done(*run_of(), "--out", "g.csv", *options)[0] == 3
    assert (folder / "g.csv").exists()
    assert not list(folder.glob("g.csv.*"))


@pytest.mark.long
@pytest.mark.usefixtures("every")
def test_a_disk_without_room_for_the_journal_leaves_nothing(folder, monkeypatch):
    def full(path, data, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("portable_nn.core.partial.write_whole", full)
        code, err = done(*run_of(), "--out", "h.csv")
    assert (code, "No space left on device" in err) == (3, True)
    assert not list(folder.glob("h.csv*"))
    assert done(*run_of(), "--out", "h.csv", "--resume")[0] == 3
    assert (folder / "h.csv").exists()
