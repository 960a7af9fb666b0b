"""However training ends, what was learned is kept, the best weights are back, and Ctrl-C means what it meant before."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from steps import copied, draw, mlp

import portable_nn as pnn
from portable_nn.core.errors import TrainingError, UsageError
from portable_nn.operators.registry import Array

X, Y = draw(40, 5, seed=1), draw(40, 3, seed=2)
MSE: dict[str, Any] = {"loss": "mean_squared_error"}


@pytest.fixture(autouse=True)
def _ctrl_c() -> Iterator[None]:
    """SIGINT as it is at a terminal, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


class Watch:
    """An ``augment`` that keeps the weights before each step, and does something before one of them."""

    def __init__(self, network: pnn.Network, at: int | None = None, action: Any = None) -> None:
        self.network, self.at, self.action = network, at, action
        self.before: list[dict[str, Array]] = []

    def __call__(self, batch: Array, rng: np.random.Generator) -> Array:
        self.before.append(copied(self.network))
        if len(self.before) == self.at:
            self.action()
        return batch


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def same(found: Any, wanted: Any) -> bool:
    return all((found[name] == array).all() for name, array in wanted.items())


def val_loss(network: pnn.Network) -> float:
    return float(np.mean((network.predict(X) - Y) ** 2))


GROWING: dict[str, Any] = {"schedule": lambda epoch, epochs: 1 if epoch < 3 else -1}
"""The loss falls for three epochs and then, uphill, rises."""
RULE: dict[str, Any] = {**MSE, "optimizer": pnn.SGD(0.05), "validation": (X, Y), **GROWING}


def test_early_stopping_keeps_the_best_when_the_training_ends() -> None:
    network = mlp()
    history = network.fit(X, Y, **RULE, epochs=5, early_stopping=pnn.EarlyStopping(patience=10))
    losses = history["val_loss"]
    assert history.stopped == "finished"
    assert len(losses) == 5
    assert history.best_epoch == 1 + int(np.argmin(losses)) == 3
    assert val_loss(network) == pytest.approx(min(losses), rel=1e-12)


def test_early_stopping_stops_when_patience_runs_out() -> None:
    network = mlp()
    history = network.fit(X, Y, **RULE, epochs=9, early_stopping=pnn.EarlyStopping(patience=2))
    losses = history["val_loss"]
    assert history.stopped == "early"
    assert history.best_epoch == 3
    assert len(losses) == 5
    assert val_loss(network) == pytest.approx(losses[2], rel=1e-12)


def test_by_default_the_best_weights_are_kept_and_what_follows_is_left_out() -> None:
    """The validation wants the opposite of what is trained: at last its loss rises."""
    options: dict[str, Any] = {**MSE, "optimizer": pnn.SGD(0.01), "validation": (X, -Y)}
    network, all_epochs, alone = mlp(), mlp(), mlp()
    losses = all_epochs.fit(X, Y, **options, epochs=200, early_stopping=0)["val_loss"]
    alone.fit(X, Y, **MSE, optimizer=pnn.SGD(0.01), epochs=200)
    assert same(all_epochs.parameters, alone.parameters)
    best = int(np.argmin(losses))
    history = network.fit(X, Y, **options, epochs=200)
    assert (history.stopped, history.best_epoch, len(history.rows)) == ("early", best + 1, best + 41)
    assert np.mean((network.predict(X) + Y) ** 2) == pytest.approx(losses[best], rel=1e-12)
    scheduled = mlp().fit(X, Y, **options, epochs=200, schedule=lambda epoch, epochs: 1.0)
    assert (len(scheduled.rows), scheduled.best_epoch) == (200, best + 1)


def test_an_improvement_below_min_delta_is_none() -> None:
    rule = pnn.EarlyStopping(patience=1, min_delta=10.0)
    history = mlp().fit(X, Y, **RULE, epochs=9, early_stopping=rule)
    assert history.stopped == "early"
    assert history.best_epoch == 1
    assert len(history.rows) == 2


def test_a_metric_that_should_grow_can_be_watched() -> None:
    network, y = mlp(), (X[:, 0] > 0).astype(int)
    rule = pnn.EarlyStopping(patience=30, monitor="val_accuracy")
    history = network.fit(
        X,
        y,
        optimizer=pnn.SGD(0.3),
        epochs=30,
        validation=(X, y),
        metrics="accuracy",
        early_stopping=rule,
        schedule=lambda epoch, epochs: 1 if epoch < 25 else 60,
    )
    accuracies = history["val_accuracy"]
    assert accuracies[-1] < max(accuracies)
    assert history.best_epoch == 1 + int(np.argmax(accuracies))
    assert np.mean(network.predict(X).argmax(1) == y) == pytest.approx(max(accuracies))


def test_the_training_loss_can_be_watched_without_validation() -> None:
    options = {name: option for name, option in RULE.items() if name != "validation"}
    history = mlp().fit(X, Y, **options, epochs=9, early_stopping=pnn.EarlyStopping(2, "loss"))
    assert history.stopped == "early"
    assert history.best_epoch == 1 + int(np.argmin(history["loss"]))


def test_ctrl_c_stops_after_the_step_and_keeps_what_was_learned() -> None:
    network = mlp()
    watch, twin = Watch(network, 7, press), Watch(mlp())
    history = network.fit(X, Y, **MSE, optimizer="adam", epochs=50, batch_size=8, augment=watch)
    assert history.stopped == "interrupted"
    assert len(history.rows) == 1
    assert len(watch.before) == 7
    twin.network.fit(X, Y, **MSE, optimizer="adam", epochs=2, batch_size=8, augment=twin)
    assert same(network.parameters, twin.before[7])


def test_ctrl_c_puts_the_best_weights_back() -> None:
    network = mlp()
    watch = Watch(network, 4 * 5 + 3, press)
    history = network.fit(
        X, Y, **RULE, epochs=9, batch_size=8, augment=watch, early_stopping=pnn.EarlyStopping(patience=10)
    )
    assert history.stopped == "interrupted"
    assert len(history.rows) == 4
    assert history.best_epoch == 3
    assert same(network.parameters, watch.before[15])
    assert val_loss(network) == pytest.approx(history["val_loss"][2], rel=1e-12)


def test_ctrl_c_in_the_first_epoch_keeps_what_was_learned_so_far() -> None:
    network = mlp()
    watch = Watch(network, 2, press)
    history = network.fit(X, Y, **RULE, epochs=9, batch_size=8, augment=watch, early_stopping=pnn.EarlyStopping())
    assert history.stopped == "interrupted"
    assert history.rows == []
    assert history.best_epoch is None
    assert not same(network.parameters, watch.before[1])


def test_ctrl_c_in_the_last_step_changes_nothing() -> None:
    network = mlp()
    history = network.fit(X, Y, **MSE, epochs=2, batch_size=8, augment=Watch(network, 10, press))
    assert history.stopped == "finished"
    assert len(history.rows) == 2


def test_a_second_ctrl_c_raises_as_usual_and_puts_the_best_weights_back() -> None:
    network = mlp()

    def twice() -> None:
        press()
        press()

    watch = Watch(network, 4 * 5 + 3, twice)
    with pytest.raises(KeyboardInterrupt):
        network.fit(X, Y, **RULE, epochs=9, batch_size=8, augment=watch, early_stopping=pnn.EarlyStopping(10))
    assert same(network.parameters, watch.before[15])


def test_where_ctrl_c_is_ignored_it_still_is() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    network = mlp()
    history = network.fit(X, Y, **MSE, epochs=2, augment=Watch(network, 1, press))
    assert history.stopped == "finished"
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_handler_of_the_users_own_is_back_afterwards() -> None:
    pressed: list[int] = []

    def own(number: int, frame: Any) -> None:
        pressed.append(number)

    signal.signal(signal.SIGINT, own)
    network = mlp()
    assert network.fit(X, Y, **MSE, epochs=2, batch_size=8, augment=Watch(network, 1, press)).stopped == "interrupted"
    assert signal.getsignal(signal.SIGINT) is own
    assert not pressed
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_an_error_in_the_middle_puts_the_best_weights_back() -> None:
    network = mlp()

    def fail() -> None:
        raise RuntimeError("the disk is gone")

    watch = Watch(network, 4 * 5 + 3, fail)
    with pytest.raises(RuntimeError, match=r"^the disk is gone$"):
        network.fit(X, Y, **RULE, epochs=9, batch_size=8, augment=watch, early_stopping=pnn.EarlyStopping(10))
    assert same(network.parameters, watch.before[15])


def test_a_loss_that_is_no_number_puts_the_best_weights_back() -> None:
    network = mlp()
    options = {**RULE, "schedule": lambda epoch, epochs: 1 if epoch < 3 else 1e300}
    watch = Watch(network)
    with pytest.raises(
        TrainingError, match=r"^the loss is (nan|inf) in epoch 4: a smaller learning rate than 0.05 may"
    ):
        network.fit(X, Y, **options, epochs=9, batch_size=8, augment=watch, early_stopping=pnn.EarlyStopping(10))
    assert same(network.parameters, watch.before[15])


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        (
            pnn.EarlyStopping(),
            {},
            "early stopping watches 'val_loss', but there is loss; more with validation=",
        ),
        (
            pnn.EarlyStopping(monitor="val_accuracy"),
            {"validation": 0.2, "metrics": "mean_absolute_error"},
            "early stopping watches 'val_accuracy', but there is loss, val_loss, val_mean_absolute_error",
        ),
    ],
)
def test_what_cannot_be_watched_is_known_at_once(rule: Any, options: dict[str, Any], message: str) -> None:
    network = mlp()
    before = copied(network)
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        network.fit(X, Y, **MSE, early_stopping=rule, **options)
    assert same(network.parameters, before)


def test_patience_is_one_epoch_at_least() -> None:
    with pytest.raises(UsageError, match=r"^patience must be a whole number from 1, not 0$"):
        pnn.EarlyStopping(patience=0)


# -- a process of its own

CHILD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np
import portable_nn as pnn

steps = 0
def augment(batch, rng):
    global steps
    steps += 1
    if steps == 3:
        print("ready", flush=True)
        sys.stdin.readline()
    return batch

rng = np.random.default_rng(0)
x, y = rng.normal(size=(800, 5)), rng.normal(size=(800, 3))
network = pnn.Sequential(pnn.Input(5), pnn.Dense(7), pnn.Tanh(), pnn.Dense(3), seed=1)
history = network.fit(
    x, y, loss="mean_squared_error", optimizer="adam", epochs=10**6, batch_size=8, shuffle=False, augment=augment
)
network.save(sys.argv[1])
print(history.stopped, steps, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


@pytest.mark.long
def test_ctrl_c_in_a_process_of_its_own(tmp_path: Path) -> None:
    """What it saves after Ctrl-C in the third step is what three steps teach."""
    path, wanted = tmp_path / "child.safetensors", tmp_path / "wanted.safetensors"
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        out, err = child.communicate("\n", timeout=60)
    assert (child.returncode, out, err) == (0, "interrupted 3 True\n", "")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(800, 5)), rng.normal(size=(800, 3))
    network = pnn.Sequential(pnn.Input(5), pnn.Dense(7), pnn.Tanh(), pnn.Dense(3), seed=1)
    network.fit(x[:24], y[:24], **MSE, optimizer="adam", epochs=1, batch_size=8, shuffle=False)
    network.save(wanted)
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(wanted.read_bytes()).digest()


# -- the progress bar


def test_a_line_an_epoch_where_stderr_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    history = mlp().fit(X, Y, **MSE, epochs=12, validation=0.2)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"epoch {row['epoch']:>2} of 12  loss {row['loss']:.4g}  val_loss {row['val_loss']:.4g}" for row in history.rows
    ]
    mlp().fit(X, Y, **MSE, epochs=2, progress=False)
    assert capfd.readouterr() == ("", "")


def test_a_bar_that_is_asked_for_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    history = mlp().fit(X, Y, **MSE, epochs=2, batch_size=2, validation=0.2, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch 2" in err
    assert f"val_loss {history['val_loss'][-1]:.4g}" in err
    assert "32/32" in err


@pytest.mark.parametrize(
    ("seconds", "line"), [(30.0, "32 steps, about 16 min\n"), (1.5, "32 steps, about 1 min\n"), (1.0, "")]
)
def test_a_long_training_says_how_long_it_takes(
    seconds: float, line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    clock = count()
    monkeypatch.setattr("time.monotonic", lambda: seconds * next(clock))
    mlp().fit(X, Y, **MSE, epochs=4, batch_size=5)
    shown = capfd.readouterr().err
    assert re.sub(r"epoch .*\n", "", shown) == line


ON_A_TERMINAL = """
import numpy as np
import portable_nn as pnn
network = pnn.Sequential(pnn.Input(2), pnn.Dense(2), seed=0)
for progress in (None, False):
    network.fit(np.ones((4, 2)), np.ones((4, 2)), loss="mean_squared_error", epochs=2, progress=progress)
    print("done")
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_bar_on_a_terminal_unless_it_is_not_wanted() -> None:
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
    ) as child:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:  # How Linux says that the other side has gone.
            pass
        finally:
            os.close(ours)
        out, _ = child.communicate(timeout=60)
    assert out == "done\ndone\n"
    assert shown.count(b"\x1b[?25h") == 1, "one bar hides the cursor and shows it again"
    assert b"epoch 2" in shown
