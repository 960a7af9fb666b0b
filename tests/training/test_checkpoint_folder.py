"""Which checkpoints are in the folder, and when: the last ones, the best one, and nothing else is touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import MSE, TRAININGS, TRAP, Run, Stopped, Training, X, Y, dense

import portable_nn as pnn
from portable_nn import format
from portable_nn.core.errors import FileError
from portable_nn.training import checkpoint
from portable_nn.training.checkpoint import Checkpoints, Standing, newest, standing

EVERYTHING = TRAININGS["everything"]


@pytest.fixture(autouse=True)
def _no_trap() -> Iterator[None]:
    yield
    TRAP.set(0, "error")


def numbers(folder: Path) -> list[int]:
    """Of the checkpoints; and there is nothing else."""
    names = sorted(path.name for path in folder.iterdir())
    assert all(name.startswith("checkpoint-") and name.endswith(".safetensors") for name in names)
    return [int(name[11:19]) for name in names]


def growing(**options: Any) -> Training:
    """The loss grows, so that the first epoch is the best one."""
    return Training(dense, X, Y, {**MSE, "optimizer": pnn.SGD(0.01), "schedule": lambda epoch, epochs: -1, **options})


SHRINKING = Training(dense, X, Y, {**MSE, "optimizer": pnn.SGD(0.01), "augment": None})


@pytest.mark.parametrize(
    ("training", "options", "wanted"),
    [
        (SHRINKING, {}, [4, 8, 12]),
        (SHRINKING, {"every": 2}, [8, 10, 12]),
        (SHRINKING, {"every": 5}, [8, 10, 12]),
        (SHRINKING, {"every": 1, "keep": 1}, [12]),
        (SHRINKING, {"every": 100, "keep": 9}, [0, 4, 8, 12]),
        (growing(), {"keep": 1}, [4, 12]),
        (growing(), {"every": 1}, [4, 10, 11, 12]),
        (growing(), {"every": 1, "keep": 20}, list(range(13))),
    ],
)
def test_the_last_and_the_best_stay(
    tmp_path: Path, training: Training, options: dict[str, Any], wanted: list[int]
) -> None:
    training.run(checkpoint=tmp_path / "run", **options)
    assert numbers(tmp_path / "run") == wanted


def test_the_best_is_that_of_the_validation_where_there_is_one(tmp_path: Path) -> None:
    """The training loss grows, and the validation loss falls: what it wants lies on the other side."""
    start = dense(1).predict(X)
    history = growing(validation=(X, start + 10 * (start - Y))).run(checkpoint=tmp_path / "run", keep=1).history
    assert history["loss"] == sorted(history["loss"])
    assert history["val_loss"] == sorted(history["val_loss"], reverse=True)
    assert numbers(tmp_path / "run") == [12]


@pytest.mark.parametrize(
    ("monitor", "best"), [("val_loss", np.argmin), ("val_accuracy", np.argmax), ("loss", np.argmin)]
)
def test_the_best_is_what_early_stopping_says(tmp_path: Path, monitor: str, best: Any) -> None:
    rule = pnn.EarlyStopping(20, monitor)
    history = EVERYTHING.run(epochs=9, early_stopping=rule, checkpoint=tmp_path / "run", keep=1).history
    place = 4 * (1 + int(best(history[monitor])))
    assert history.best_epoch == place / 4
    assert numbers(tmp_path / "run") == sorted({place, 36})


def test_the_kept_best_is_the_network_of_that_epoch(tmp_path: Path) -> None:
    run = EVERYTHING.run(checkpoint=tmp_path / "run", keep=1)
    assert run.history.best_epoch == 2
    best = pnn.load(tmp_path / "run" / "checkpoint-00000008.safetensors")
    np.testing.assert_array_equal(best.predict(EVERYTHING.x), run.network.predict(EVERYTHING.x))


def test_who_resumes_is_told_so_once_it_is_certain(tmp_path: Path) -> None:
    told = list[int]()
    with pytest.raises(FileError, match="holds no checkpoint to resume from"):
        SHRINKING.run(checkpoint=tmp_path / "run", resume=lambda: told.append(0))
    SHRINKING.run(checkpoint=tmp_path / "run", epochs=1)
    SHRINKING.run(checkpoint=tmp_path / "run", resume=lambda: told.append(standing(tmp_path / "run").epoch))
    assert told == [2]


def test_there_is_one_before_the_first_batch(tmp_path: Path) -> None:
    """Of the untrained network; killed at once, a training can go on."""
    TRAP.set(1, "error")
    with pytest.raises(Stopped):
        EVERYTHING.run(checkpoint=tmp_path / "run")
    assert numbers(tmp_path / "run") == [0]
    first = pnn.load(newest(tmp_path / "run"))
    np.testing.assert_array_equal(first.predict(EVERYTHING.x), EVERYTHING.network(1).predict(EVERYTHING.x))


def test_none_is_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where an interval ends with an epoch, nor where training goes on."""
    written: list[str] = []

    def noted(path: Path, *arguments: Any, **options: Any) -> None:
        written.append(path.name[11:19])
        format.save(path, *arguments, **options)

    monkeypatch.setattr(checkpoint, "save_file", noted)
    SHRINKING.run(checkpoint=tmp_path / "run", every=2)
    assert written == [f"{number:08}" for number in range(0, 13, 2)]
    SHRINKING.run(checkpoint=tmp_path / "run", every=2, resume=True)
    assert len(written) == 7


def test_what_is_no_checkpoint_stays(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    others = [
        "notes.txt",
        "checkpoint-1.safetensors",
        "checkpoint-0000000a.safetensors",
        "checkpoint-00000001.h5",
        "my-checkpoint-00000001.safetensors",
        "checkpoint-00000001.safetensors.bak",
    ]
    for name in others:
        (folder / name).write_text("precious")
    SHRINKING.run(checkpoint=folder, every=1, keep=1)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*others, "checkpoint-00000012.safetensors"])
    assert all((folder / name).read_text() == "precious" for name in others)


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """Whatever number it has: with another ``every``, no checkpoint of the same name may come again."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".checkpoint-00000003.safetensors.0123abcd.pnn-tmp").write_bytes(b"half of one")
    (folder / ".other.safetensors.0123abcd.pnn-tmp").write_bytes(b"not ours")
    SHRINKING.run(checkpoint=folder, keep=1)
    names = [".other.safetensors.0123abcd.pnn-tmp", "checkpoint-00000012.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == names


def test_old_ones_go_when_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is removed after the bytes and the name of the new one are on the disk."""
    calls: list[str] = []
    fsync, unlink = os.fsync, Path.unlink

    def noted_fsync(descriptor: int) -> None:
        calls.append("sync")
        fsync(descriptor)

    def noted_unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name.startswith("checkpoint-"):
            calls.append(f"remove {int(path.name[11:19])}")
        unlink(path, missing_ok)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "unlink", noted_unlink)
    SHRINKING.run(checkpoint=tmp_path / "run", keep=1)
    synced = ["sync", "sync"]  # The file, and the folder that has its name.
    assert calls == [*synced, *synced, "remove 0", *synced, "remove 4", *synced, "remove 8"]


def test_stopped_before_the_old_ones_were_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next checkpoint takes them with it."""
    wanted = EVERYTHING.run().outcome(tmp_path)

    def never(checkpoints: Checkpoints) -> None:
        if checkpoints.state.done == 7:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "_prune", never)
        with pytest.raises(Stopped):
            EVERYTHING.run(checkpoint=tmp_path / "run", every=1)
    assert numbers(tmp_path / "run") == list(range(8))
    run = EVERYTHING.run(seed=9, checkpoint=tmp_path / "run", every=1, resume=True)
    assert run.outcome(tmp_path) == wanted
    assert numbers(tmp_path / "run") == [8, 10, 11, 12]


def test_one_that_somebody_has_open_does_not_end_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows; it goes with a later one."""
    unlink = Path.unlink
    refusals: list[Path] = []

    def refusing(path: Path, missing_ok: bool = False) -> None:
        if path.name == "checkpoint-00000000.safetensors" and not refusals:
            refusals.append(path)
            raise PermissionError(13, "in use")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refusing)
    SHRINKING.run(checkpoint=tmp_path / "run", keep=1)
    assert len(refusals) == 1
    assert numbers(tmp_path / "run") == [12]


def test_batches_that_weigh_nothing_have_their_numbers(tmp_path: Path) -> None:
    """No step is taken in them, but they are passed."""
    TRAININGS["sample weights"].run(checkpoint=tmp_path / "run", every=1, keep=20)
    assert numbers(tmp_path / "run") == list(range(13))


def test_where_training_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for at, wanted in ((1, (1, 1)), (3, (1, 3)), (5, (2, 1)), (8, (2, 4))):
        folder = tmp_path / str(at)
        TRAP.set(at, "error")
        with pytest.raises(Stopped):
            EVERYTHING.run(checkpoint=folder, every=1)
        assert standing(folder) == Standing(folder / f"checkpoint-{at - 1:08}.safetensors", *wanted, 3)


def test_a_disk_that_is_full_ends_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the file's error; when there is room again, it goes on from the one before."""

    def full(descriptor: int) -> None:
        if (tmp_path / "run" / "checkpoint-00000004.safetensors").exists():
            raise OSError(28, "No space left on device")

    network = EVERYTHING.network(1)
    options = {**EVERYTHING.options, "epochs": 3, "batch_size": 12, "checkpoint": tmp_path / "run"}
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(FileError, match=r"checkpoint-00000008\.safetensors: cannot be written: No space left"):
            network.fit(EVERYTHING.x, EVERYTHING.y, **options)
    assert numbers(tmp_path / "run") == [0, 4]
    history = network.fit(EVERYTHING.x, EVERYTHING.y, **options, resume=True)
    wanted = EVERYTHING.run(augment=None)
    assert Run(network, history).outcome(tmp_path) == wanted.outcome(tmp_path)
