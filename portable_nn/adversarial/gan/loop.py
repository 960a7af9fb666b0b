"""The training loop of a GAN: batches, losses, and the rows of the history."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from portable_nn.adversarial.gan.batches import Draws
from portable_nn.adversarial.gan.graph import MIX, NOISE, PENALTY, R1, ROLES, Role
from portable_nn.adversarial.gan.jacobian import GameJacobian
from portable_nn.adversarial.gan.schedules import value_at
from portable_nn.adversarial.gan.stages import AVERAGE, Running
from portable_nn.core.errors import TrainingError
from portable_nn.network import Network
from portable_nn.operators import Array
from portable_nn.training.history import Stopped
from portable_nn.training.progress import Bar
from portable_nn.training.schedules import Schedule

Metrics: TypeAlias = "Callable[[Network], Mapping[str, float]]"
HistoryRow: TypeAlias = dict[str, float]
Eigenvalues: TypeAlias = list[tuple[int, Array]]
Snapshot: TypeAlias = "Callable[[Network], Array]"


@dataclass
class TrainingLoop:
    """The steps of one training run.

    Attributes:
        stages: the parts of a step.
        steps, size: number of steps, and the batch size.
        rng: of examples and noise.
        examples, noise: draw batches.
        scalars: weights of penalties, by the names of the plans' inputs.
        rate: factor of the learning rates.
        average: decay of the averaged weights.
    """

    stages: Sequence[Running]
    steps: int
    size: int
    rng: np.random.Generator
    examples: Draws
    noise: Draws
    scalars: Mapping[str, float | Schedule | None]
    rate: Schedule | None
    average: float

    def __post_init__(self) -> None:
        self._shown: dict[str, Array] = {}
        self._begin_row()

    def _begin_row(self) -> None:
        self._totals: dict[Role, list[float]] = {role: [0.0, 0.0] for role in ROLES}

    def step(self, number: int) -> None:
        """One step, counted from 0."""
        values = {**self.scalars_at(number), AVERAGE: 1 - min(self.average, (number + 1) / (number + 10))}
        for stage in self.stages:
            self._fill(stage, values, self.rate_at(number))
            stage.plan.run()
            for role, name in stage.losses.items():
                self._totals[role][0] += float(stage.plan.outputs[name])
                self._totals[role][1] += 1

    def scalars_at(self, number: int) -> dict[str, float]:
        """The weights of the penalties."""
        return {name: value_at(value, number, self.steps) for name, value in self.scalars.items()}

    def rate_at(self, number: int) -> float:
        """The factor of the learning rates."""
        return 1.0 if self.rate is None else value_at(self.rate, number, self.steps)

    def _fill(self, stage: Running, values: Mapping[str, float], rate: float) -> None:
        inputs = stage.plan.inputs
        if stage.is_shown or (stage.examples and not self._shown):
            self._shown = self.examples(self.size, self.rng)
        # A stage without real examples has the conditions of the last ones.
        for name, target in stage.examples.items():
            inputs[target][...] = self._shown[name]
        for name, array in self.noise(self.size, self.rng).items():
            if NOISE + name in inputs:
                inputs[NOISE + name][...] = array
        if MIX in inputs:
            inputs[MIX][...] = self.rng.random(inputs[MIX].shape)
        moves = [player.next_scalars(rate) for player in stage.players]
        for scalars in (values, *moves):
            for name, value in scalars.items():
                if name in inputs:
                    inputs[name][()] = value

    def losses(self, number: int) -> HistoryRow:
        """The mean losses since the last call. Raises ``TrainingError`` where one is not finite."""
        means = {f"{role}_loss": total / max(count, 1) for role, (total, count) in self._totals.items()}
        self._begin_row()
        for name, value in means.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"the {name.replace('_', ' ')} is {value} after {number} steps: smaller learning rates or a "
                    "penalty such as r1=1 may help"
                )
        return means


@dataclass
class SpectrumMonitor:
    """Computes the eigenvalues of the Jacobian of the game before the first step and after every ``every`` steps."""

    jacobian: GameJacobian
    every: int
    found: Eigenvalues = field(default_factory=list)

    def look(self, loop: TrainingLoop, number: int) -> None:
        """Compute them after ``number`` steps, if they are due."""
        if number % self.every == 0:
            scalars = loop.scalars_at(number)
            self.jacobian.penalise(r1=scalars[R1], penalty=scalars[PENALTY])
            self.found.append((number, self.jacobian.eigenvalues()))


@dataclass
class Monitor:
    """The history: a row, and what ``snapshot`` returns, after every ``every`` steps and after the last."""

    averaged: Network
    every: int
    metrics: Metrics | None
    snapshot: Snapshot | None
    callback: Callable[[HistoryRow], object] | None
    watch: SpectrumMonitor | None
    bar: Bar
    rows: list[HistoryRow] = field(default_factory=list)
    snapshots: list[tuple[int, Array]] = field(default_factory=list)

    def after(self, loop: TrainingLoop, number: int) -> None:
        """Append a row after ``number`` steps, if it is due."""
        if self.watch:
            self.watch.look(loop, number)
        if number % self.every == 0 or number == loop.steps:
            row: HistoryRow = {"step": number, **loop.losses(number), "rate": loop.rate_at(number - 1)}
            row |= self.metrics(self.averaged) if self.metrics else {}
            self.rows.append(row)
            if self.snapshot:
                self.snapshots.append((number, self.snapshot(self.averaged)))
            self.bar.epoch({**row, "epoch": len(self.rows)})
            if self.callback:
                self.callback(row)


def run(loop: TrainingLoop, reports: Monitor, stop: threading.Event) -> Stopped:
    """All steps, or those until ``stop`` is set."""
    if reports.watch:
        reports.watch.look(loop, 0)
    for number in range(loop.steps):
        if stop.is_set():
            return "interrupted"
        loop.step(number)
        reports.bar.step()
        reports.after(loop, number + 1)
    return "finished"
