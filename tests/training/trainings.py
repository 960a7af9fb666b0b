"""Trainings that can be stopped at any batch and gone on with, in this process or in one of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from steps import classes, draw

import portable_nn as pnn
from portable_nn.operators.registry import Array
from portable_nn.training.history import History


class Stopped(Exception):  # noqa: N818 - nothing is wrong
    """What stops a training in this process."""


def raise_stopped() -> None:
    raise Stopped


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


WAYS: Mapping[str, Callable[[], None]] = {"error": raise_stopped, "ctrl-c": press_ctrl_c, "kill": kill}


class Trap:
    """Stops a training in the way ``how`` when the batch number ``at`` of this run is about to begin."""

    def __init__(self) -> None:
        self.count, self.at, self.how = 0, 0, "error"

    def set(self, at: int, how: str) -> None:
        self.count, self.at, self.how = 0, at, how

    def step(self) -> None:
        self.count += 1
        if self.count == self.at:
            WAYS[self.how]()


TRAP = Trap()


def shake(batch: Array, rng: np.random.Generator) -> Array:
    """An ``augment``: draws from the generator, and is where a training is stopped."""
    TRAP.step()
    return batch + np.asarray(rng.normal(scale=0.1, size=batch.shape), batch.dtype)


def hill(epoch: float, epochs: float) -> float:
    """A schedule: down for two thirds of the way, then up, so that the best epoch lies before the last."""
    return 1 - 0.1 * epoch if epoch < epochs * 2 / 3 else -4.0


@dataclass(frozen=True)
class Training:
    """A network (for a seed), what it learns from, and the options of ``fit``: 3 epochs of 4 batches."""

    network: Callable[[int], pnn.Network]
    x: Any
    y: Any
    options: Mapping[str, Any] = field(default_factory=dict)

    def run(self, *, seed: int = 1, **options: Any) -> Run:
        """Train a fresh network; another ``seed`` gives other weights, which a checkpoint must put right."""
        network = self.network(seed)
        history = network.fit(
            self.x, self.y, **{"epochs": 3, "batch_size": 12, "augment": shake, **self.options, **options}
        )
        return Run(network, history)


class Run(NamedTuple):
    network: pnn.Network
    history: History

    def outcome(self, folder: Path) -> tuple[bytes, str]:
        """What must not depend on whether the training was stopped: the bytes of the saved file, and the history."""
        path = folder / "outcome.safetensors"
        self.network.save(path)
        return path.read_bytes(), repr(vars(self.history))


def everything(seed: int) -> pnn.Network:
    """All that has a state: running statistics, dropout, weights."""
    layers = (
        pnn.Dense(16),
        pnn.BatchNorm1d(),
        pnn.ReLU(),
        pnn.Dropout(0.3),
        pnn.Dense(3),
    )
    return pnn.Sequential(pnn.Input(5), *layers, labels="abc", seed=seed)


def dense(seed: int) -> pnn.Network:
    return pnn.Sequential(pnn.Input(5), pnn.Dense(7), pnn.Tanh(), pnn.Dense(3), seed=seed)


def convolutions(seed: int) -> pnn.Network:
    layers = pnn.Conv2d(4, 3, padding=1), pnn.ReLU(), pnn.MaxPool2d(2), pnn.Conv2d(6, 3), pnn.Flatten(), pnn.Dense(3)
    return pnn.Sequential(pnn.Input(2, 8, 8), *layers, seed=seed)


def two_heads(seed: int) -> pnn.Network:
    a, b = pnn.Input(5, name="a"), pnn.Input(4, name="b")
    h = pnn.Tanh()(pnn.Dense(6)(a) + pnn.Dense(6)(b))
    return pnn.Network([a, b], [pnn.Dense(3, name="kind")(h), pnn.Dense(2, name="size")(h)], seed=seed)


X, Y, CLASSES = draw(48, 5, seed=1).astype("float32"), draw(48, 3, seed=2).astype("float32"), classes(48, 3)
WEIGHTS = np.r_[np.zeros(12), np.random.default_rng(3).uniform(0, 2, 36)]
"""Without shuffling, the first batch of an epoch weighs nothing."""

MSE = {"loss": "mean_squared_error"}


def most_sure(outputs: Array, targets: Array) -> float:
    """A metric of one's own."""
    return float(outputs.max())


def cubes(output: pnn.Symbol, target: pnn.Symbol) -> pnn.Symbol:
    """A loss of one's own."""
    return pnn.emit("Abs", output - target) ** 3


class Shuffled:
    """Batches in another order each time: a process that goes on has to draw the first ones again."""

    def __init__(self, x: Array, y: Array, size: int) -> None:
        self.x, self.y, self.size = x, y, size

    def __len__(self) -> int:
        return len(self.x) // self.size

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        order = np.random.default_rng(7)
        for _ in range(3):
            places = order.permutation(len(self.x))
            for start in range(0, len(self.x), self.size):
                part = places[start : start + self.size]
                yield self.x[part], self.y[part]


TRAININGS: Mapping[str, Training] = {
    "everything": Training(
        everything, draw(60, 5, seed=4).astype("float32"), classes(60, 3), {
            "optimizer": pnn.Adam(0.03), "schedule": hill, "validation": 0.2, "metrics": "accuracy",
            "early_stopping": pnn.EarlyStopping(2),
        },
    ),
    "momentum": Training(dense, X, Y, {**MSE, "optimizer": pnn.SGD(0.05, momentum=0.9, nesterov=True)}),
    "plain descent in order": Training(dense, X, CLASSES, {"shuffle": False}),
    "rmsprop": Training(dense, X, CLASSES, {"optimizer": pnn.RMSProp(0.01), "validation": (X[::2] + 1, CLASSES[::2])}),
    "adamw": Training(dense, X, Y, {**MSE, "optimizer": pnn.AdamW(0.01), "schedule": pnn.CosineDecay()}),
    "halves": Training(
        convolutions, draw(144, 2, 8, 8, seed=5).astype("float32"), classes(144, 3), {
            "optimizer": "adam", "batch_size": 40, "validation": 0.1,
        },
    ),
    "sample weights": Training(dense, X, Y, {**MSE, "optimizer": "adam", "sample_weight": WEIGHTS, "shuffle": False}),
    "two heads": Training(
        two_heads, {"a": X, "b": X[:, 1:]}, {"kind": CLASSES, "size": Y[:, :2]}, {
            "loss": {"kind": "cross_entropy", "size": "mean_squared_error"}, "optimizer": "adam", "validation": 0.25,
            "batch_size": 9,
        },
    ),
    "groups": Training(
        dense, X, CLASSES, {
            "optimizer": pnn.AMSGrad(0.02), "groups": {"dense_1": {"learning_rate": 0.1}, "*.bias": {"beta1": 0.5}},
            "clip_norm": 0.5, "loss": pnn.CrossEntropy("balanced", 0.1), "schedule": pnn.OneCycle(),
        },
    ),
    "averages": Training(
        everything, X, CLASSES, {
            "optimizer": pnn.Lion(0.01, weight_decay=0.1), "average": 0.8, "validation": 0.25, "batch_size": 9,
            "early_stopping": pnn.EarlyStopping(2), "metrics": ["f1", most_sure], "train_metrics": True,
        },
    ),
    "several batches a step": Training(
        everything, X, CLASSES, {"optimizer": pnn.SGD(0.05, momentum=0.9), "accumulate": 3, "average": 0.5},
    ),
    "halves of several batches": Training(
        convolutions, draw(480, 2, 8, 8, seed=5).astype("float32"), classes(480, 3), {
            "optimizer": "sgd", "batch_size": 40, "epochs": 1, "accumulate": 2, "clip_norm": 0.1,
        },
    ),
    "plateau": Training(
        dense, X, Y, {
            "loss": cubes, "optimizer": pnn.SGD(0.5), "schedule": pnn.ReduceOnPlateau(1, 0.5, "loss"), "epochs": 3,
        },
    ),
    "batches": Training(dense, Shuffled(X, CLASSES, 12), None, {"optimizer": "adam", "augment": shake}),
}  # fmt: skip


def main() -> None:
    """``TRAINING RESULT CSV FOLDER EVERY RESUME AT HOW``: what a process of its own does."""
    name, result, csv, folder, every, resume, at, how = sys.argv[1:]
    TRAP.set(int(at), how)
    run = TRAININGS[name].run(
        seed=7 if int(resume) else 1,
        checkpoint=folder or None,
        every=int(every) or None,
        resume=bool(int(resume)),
        metrics_csv=csv,
        progress=False,
    )
    run.network.save(result)
    print(repr(vars(run.history)))


def in_a_process(
    name: str,
    where: Path,
    *,
    folder: str = "",
    every: int = 0,
    resume: bool = False,
    at: int = 0,
    how: str = "kill",
    before: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run one of ``TRAININGS`` in a new process, which may not end well; ``before`` is what it executes first."""
    arguments = [name, "result.safetensors", "rows.csv", folder, str(every), str(int(resume)), str(at), how]
    ctrl_c = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{ctrl_c}\nimport trainings\n{before}\ntrainings.main()"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        cwd=where,
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )
