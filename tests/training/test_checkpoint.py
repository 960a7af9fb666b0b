"""Stopping at any batch and going on gives the same bytes, rows and figures as never stopping."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import TRAININGS, TRAP, Run, Stopped, Training, dense, hill, in_a_process, shake

import portable_nn as pnn
from portable_nn import format
from portable_nn.core.errors import TrainingError

BATCHES = 12
"""Of all epochs together."""

EVERYTHING = TRAININGS["everything"]


@pytest.fixture(autouse=True)
def _ctrl_c() -> Iterator[None]:
    """SIGINT as it is at a terminal, also where the tests run in the background; and no trap left open."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    TRAP.set(0, "error")
    yield
    TRAP.set(0, "error")
    signal.signal(signal.SIGINT, before)


def stop(training: Training, at: int, how: str = "error", **options: Any) -> Run | None:
    """A training that is stopped at a batch; what it gave, if it gave anything."""
    TRAP.set(at, how)
    try:
        return training.run(**options)
    except Stopped:
        return None
    finally:
        TRAP.set(0, "error")


@cache
def never_stopped(name: str, folder: Path) -> tuple[tuple[bytes, str], bytes]:
    """What a training gives that nothing stops, and that keeps no checkpoints; and its rows in a file."""
    run = TRAININGS[name].run(metrics_csv=folder / "rows.csv")
    return run.outcome(folder), (folder / "rows.csv").read_bytes()


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("never-stopped")


@pytest.mark.long
@pytest.mark.parametrize(("how", "every"), list(product(["error", "ctrl-c"], [None, 1, 5])))
def test_stopping_at_any_batch_changes_nothing(
    tmp_path: Path, module_folder: Path, how: str, every: int | None
) -> None:
    """The weights, the statistics, the optimizer, the generator, the best weights, the history and the rows."""
    for at in range(1, BATCHES + 1):
        folder, rows = tmp_path / f"run-{at}", tmp_path / f"{at}.csv"
        stopped = stop(EVERYTHING, at, how, checkpoint=folder, every=every, metrics_csv=rows)
        assert (stopped is None) == (how == "error")
        run = EVERYTHING.run(seed=99, checkpoint=folder, every=every, resume=True, metrics_csv=rows)
        assert (run.outcome(tmp_path), rows.read_bytes()) == never_stopped("everything", module_folder)


def test_the_best_epoch_of_that_training_is_not_its_last(tmp_path: Path) -> None:
    """So that the test above is one of the best weights, too."""
    history = EVERYTHING.run().history
    assert (len(history.rows), history.best_epoch) == (3, 2)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in TRAININGS if name != "everything"])
def test_every_optimizer_and_kind_of_data(tmp_path: Path, module_folder: Path, name: str) -> None:
    for at in (1, 2, 6, 11):
        folder, rows = tmp_path / f"run-{at}", tmp_path / f"{at}.csv"
        stop(TRAININGS[name], at, checkpoint=folder, every=2, metrics_csv=rows)
        run = TRAININGS[name].run(seed=99, checkpoint=folder, every=2, resume=True, metrics_csv=rows)
        assert (run.outcome(tmp_path), rows.read_bytes()) == never_stopped(name, module_folder)


def test_stopping_again_and_again(tmp_path: Path, module_folder: Path) -> None:
    """Each run does two batches more, until one ends by itself."""
    stop(EVERYTHING, 3, checkpoint=tmp_path / "run", every=1)
    for _ in range(BATCHES):
        run = stop(EVERYTHING, 3, seed=99, checkpoint=tmp_path / "run", every=1, resume=True)
        if run:
            break
    assert run
    assert run.outcome(tmp_path) == never_stopped("everything", module_folder)[0]


def test_the_same_network_can_go_on(tmp_path: Path, module_folder: Path) -> None:
    """After an error in a notebook, say: its plans hold the arrays, which must stay the same ones."""
    network = EVERYTHING.network(1)
    arrays, rng = dict(network.parameters), network.rng
    options: dict[str, Any] = {**EVERYTHING.options, "epochs": 3, "batch_size": 12, "checkpoint": tmp_path / "run"}
    before = network.predict(EVERYTHING.x)
    TRAP.set(7, "error")
    with pytest.raises(Stopped):
        network.fit(EVERYTHING.x, EVERYTHING.y, **options, augment=shake)
    history = network.fit(EVERYTHING.x, EVERYTHING.y, **options, augment=shake, resume=True)
    assert Run(network, history).outcome(tmp_path) == never_stopped("everything", module_folder)[0]
    assert all(network.parameters[name] is array for name, array in arrays.items())
    assert network.rng is rng
    assert (network.predict(EVERYTHING.x) != before).any()


def test_checkpoints_change_nothing_by_themselves(tmp_path: Path, module_folder: Path) -> None:
    run = EVERYTHING.run(checkpoint=tmp_path / "run", every=1)
    assert run.outcome(tmp_path) == never_stopped("everything", module_folder)[0]


# -- processes of their own


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(("name", "every", "stops"), [("everything", 0, (6, 7)), ("halves", 1, (3,))])
def test_kill_9(tmp_path: Path, name: str, every: int, stops: tuple[int, ...]) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    wanted = in_a_process(name, whole)
    assert (wanted.returncode, wanted.stderr) == (0, "")
    for number, at in enumerate(stops):
        killed = in_a_process(name, parts, folder="run", every=every, at=at, resume=number > 0)
        assert (killed.returncode, killed.stdout, killed.stderr) == (-signal.SIGKILL, "", "")
    found = in_a_process(name, parts, folder="run", every=every, resume=True)
    assert (found.returncode, found.stdout) == (0, wanted.stdout)
    for file in ("result.safetensors", "rows.csv"):
        assert (parts / file).read_bytes() == (whole / file).read_bytes()


KILL_AT_FSYNC = """
import os
real, calls = os.fsync, 0
def fsync(descriptor):
    global calls
    calls += 1
    if calls == {at}:
        os.kill(os.getpid(), 9)
    real(descriptor)
os.fsync = fsync
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("at", [3, 4])
def test_kill_9_while_a_checkpoint_is_written(tmp_path: Path, module_folder: Path, at: int) -> None:
    """Before the bytes of the second one are on the disk; and before its name is."""
    killed = in_a_process("everything", tmp_path, folder="run", every=1, before=KILL_AT_FSYNC.format(at=at))
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "run").glob("checkpoint-*")) + list((tmp_path / "run").glob(".checkpoint-*"))) == 2
    run = EVERYTHING.run(seed=99, checkpoint=tmp_path / "run", every=1, resume=True)
    assert run.outcome(tmp_path) == never_stopped("everything", module_folder)[0]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        f"checkpoint-{number:08}.safetensors" for number in (8, 10, 11, 12)
    ]


# -- trainings that had ended


def test_what_had_finished_is_there_at_once(tmp_path: Path) -> None:
    folder, rows = tmp_path / "run", tmp_path / "rows.csv"
    first = EVERYTHING.run(checkpoint=folder, metrics_csv=rows)
    wanted, written = first.outcome(tmp_path), rows.read_bytes()
    rows.unlink()
    TRAP.set(1, "error")
    again = EVERYTHING.run(seed=99, checkpoint=folder, resume=True, metrics_csv=rows)
    assert again.outcome(tmp_path) == wanted
    assert rows.read_bytes() == written
    assert again.history.stopped == "finished"
    assert again.network.rng.bit_generator.state == first.network.rng.bit_generator.state


def test_what_had_stopped_early_is_there_at_once(tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 9, "early_stopping": pnn.EarlyStopping(1), "checkpoint": tmp_path / "run"}
    first = EVERYTHING.run(**options)
    assert first.history.stopped == "early"
    TRAP.set(1, "error")
    again = EVERYTHING.run(seed=99, resume=True, **options)
    assert again.outcome(tmp_path) == first.outcome(tmp_path)


@pytest.mark.parametrize("stopping", [None, 0])
@pytest.mark.parametrize("at", [None, 6])
def test_more_epochs_give_what_a_longer_training_gives(tmp_path: Path, at: int | None, stopping: int | None) -> None:
    options: dict[str, Any] = {"schedule": None, "early_stopping": stopping}
    wanted = EVERYTHING.run(epochs=5, **options).outcome(tmp_path)
    stop(EVERYTHING, at or 0, epochs=3, checkpoint=tmp_path / "run", **options)
    longer = EVERYTHING.run(seed=99, epochs=5, checkpoint=tmp_path / "run", resume=True, **options)
    assert longer.outcome(tmp_path) == wanted


def test_more_epochs_do_not_wake_a_training_that_stopped_early(tmp_path: Path) -> None:
    options: dict[str, Any] = {"optimizer": pnn.SGD(0.0), "schedule": None, "early_stopping": pnn.EarlyStopping(1)}
    wanted = EVERYTHING.run(epochs=5, **options)
    assert (wanted.history.stopped, len(wanted.history.rows)) == ("early", 2)
    EVERYTHING.run(epochs=3, checkpoint=tmp_path / "run", **options)
    longer = EVERYTHING.run(seed=99, epochs=5, checkpoint=tmp_path / "run", resume=True, **options)
    assert longer.outcome(tmp_path) == wanted.outcome(tmp_path)


def test_ctrl_c_says_so_and_leaves_a_checkpoint_of_the_batch_it_came_in(tmp_path: Path) -> None:
    run = stop(EVERYTHING, 6, "ctrl-c", checkpoint=tmp_path / "run")
    assert run
    assert (run.history.stopped, len(run.history.rows)) == ("interrupted", 1)
    assert sorted(path.name for path in (tmp_path / "run").iterdir())[-1] == "checkpoint-00000006.safetensors"


# -- numbers that are none


def test_a_figure_that_is_no_number(tmp_path: Path) -> None:
    """The validation overflows; the training does not."""
    x = np.full((12, 5), 1e30, "float32")
    training = Training(
        dense,
        EVERYTHING.x,
        EVERYTHING.x[:, :3],
        {
            "loss": "mean_squared_error",
            "validation": (x, np.full((12, 3), 3e38, "float32")),
            "batch_size": 15,
        },
    )
    wanted = training.run(metrics_csv=tmp_path / "a.csv")
    assert wanted.history["val_loss"] == [np.inf] * 3
    stop(training, 10, checkpoint=tmp_path / "run")
    found = training.run(seed=99, checkpoint=tmp_path / "run", resume=True, metrics_csv=tmp_path / "b.csv")
    assert found.outcome(tmp_path) == wanted.outcome(tmp_path)
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()


def test_a_state_that_is_no_number(tmp_path: Path) -> None:
    """The squares of large gradients overflow; Adam then stands still, but does not fail."""
    training = Training(
        lambda seed: pnn.Sequential(pnn.Input(5), pnn.Dense(3), seed=seed),
        EVERYTHING.x * 100,
        EVERYTHING.x[:, :3] * np.float32(1e18),
        {"loss": "mean_squared_error", "optimizer": "adam", "batch_size": 15},
    )
    wanted = training.run()
    stop(training, 7, checkpoint=tmp_path / "run", every=1)
    newest = format.load(tmp_path / "run" / "checkpoint-00000006.safetensors", allow_nonfinite=True)
    assert np.isinf(newest.tensors["training/state/dense_1.weight/second"]).any()
    found = training.run(seed=99, checkpoint=tmp_path / "run", resume=True)
    assert found.outcome(tmp_path) == wanted.outcome(tmp_path)


@pytest.mark.parametrize("every", [None, 1])
def test_a_loss_that_is_no_number_is_so_again(tmp_path: Path, every: int | None) -> None:
    training = Training(
        dense,
        EVERYTHING.x,
        EVERYTHING.x[:, :3],
        {
            "loss": "mean_squared_error",
            "optimizer": pnn.SGD(1e30),
            "checkpoint": tmp_path / "run",
            "every": every,
        },
    )
    message = r"^the loss is (nan|inf) in epoch 1: a smaller learning rate than 1e\+30 may help"
    for resume in (False, True):
        with pytest.raises(TrainingError, match=message):
            training.run(resume=resume)


# -- what a checkpoint is to others


def test_a_checkpoint_opens_as_a_network(tmp_path: Path) -> None:
    """That of the last epoch is the network that came out, with its labels."""
    run = EVERYTHING.run(checkpoint=tmp_path / "run", early_stopping=0)
    loaded = pnn.load(tmp_path / "run" / "checkpoint-00000012.safetensors")
    np.testing.assert_array_equal(loaded.predict(EVERYTHING.x), run.network.predict(EVERYTHING.x))
    assert loaded.outputs == run.network.outputs
    assert (loaded.outputs[0].kind, loaded.labels) == ("logits", ("a", "b", "c"))
    loaded.save(tmp_path / "alone.safetensors")
    assert (tmp_path / "alone.safetensors").read_bytes() == run.outcome(tmp_path)[0]


def test_a_checkpoint_has_the_averages(tmp_path: Path) -> None:
    """Beside them, the latest weights, with which the training goes on."""
    run = TRAININGS["averages"].run(checkpoint=tmp_path / "run", early_stopping=0)
    last = sorted((tmp_path / "run").glob("checkpoint-*"))[-1]
    loaded = pnn.load(last)
    np.testing.assert_array_equal(loaded.predict(EVERYTHING.x), run.network.predict(EVERYTHING.x))
    latest = format.load(last).tensors["training/state/dense_1.weight/latest"]
    assert (latest != loaded.parameters["dense_1.weight"]).all()


def test_safetensors_reads_what_the_best_weights_and_the_optimizer_are(tmp_path: Path) -> None:
    load_file = pytest.importorskip("safetensors.numpy").load_file
    run = EVERYTHING.run(checkpoint=tmp_path / "run", schedule=hill)
    tensors = load_file(tmp_path / "run" / "checkpoint-00000012.safetensors")
    for name, array in run.network.parameters.items():  # The best weights are back in the network.
        np.testing.assert_array_equal(tensors[f"training/best/{name}"], array)
        assert (tensors[name] != array).any()
    roles = {name.rpartition("/")[2] for name in tensors if name.startswith("training/state/dense_1.weight/")}
    assert roles == {"first", "second"}


def test_a_bar_goes_on_where_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stop(EVERYTHING, 9, checkpoint=tmp_path / "run", progress=False)
    assert len(EVERYTHING.run(checkpoint=tmp_path / "run", resume=True, progress=True).history.rows) == 3
    shown = capfd.readouterr().err
    assert "12/12" in shown
    assert "epoch 3 of 3" in shown
    assert "epoch 1 of 3" not in shown
