"""The loop of a training: batches in, losses out, and rows of figures on the way."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from portable_nn.adversarial.gan.jacobian import GameJacobian
from portable_nn.adversarial.gan.pair import MIX, NOISE, PENALTY, R1, ROLES, Role
from portable_nn.adversarial.gan.schedules import value_at
from portable_nn.adversarial.gan.stages import AVERAGE, Running
from portable_nn.core.errors import TrainingError
from portable_nn.network import Network
from portable_nn.operators.registry import Array
from portable_nn.training.history import Stopped
from portable_nn.training.schedules import Schedule
from portable_nn.training.surroundings import Bar

Draws: TypeAlias = "Callable[[int, np.random.Generator], dict[str, Array]]"
Metrics: TypeAlias = "Callable[[Network], Mapping[str, float]]"
Row: TypeAlias = dict[str, float]
Eigenvalues: TypeAlias = list[tuple[int, Array]]


@dataclass
class Loop:
    """The steps of one training.

    ``stages`` make up a step, on ``size`` examples each; ``scalars`` are by the names of the inputs that take them.
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
        """One step, the first of which is 0."""
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
        for name, target in stage.examples.items():  # Conditions alone are those of the examples shown last.
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

    def losses(self, number: int) -> Row:
        """The mean losses since this was last asked. Raises ``TrainingError`` where one is no number."""
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
class Watch:
    """Finds the eigenvalues of the game's Jacobian after each ``every`` steps, and before the first."""

    jacobian: GameJacobian
    every: int
    found: Eigenvalues = field(default_factory=list)

    def look(self, loop: Loop, number: int) -> None:
        """Note them after ``number`` steps, where it is time."""
        if number % self.every == 0:
            scalars = loop.scalars_at(number)
            self.jacobian.penalise(r1=scalars[R1], penalty=scalars[PENALTY])
            self.found.append((number, self.jacobian.eigenvalues()))


@dataclass
class Reports:
    """What is told on the way: a row after each ``every`` steps and after the last."""

    averaged: Network
    every: int
    metrics: Metrics | None
    callback: Callable[[Row], object] | None
    watch: Watch | None
    bar: Bar
    rows: list[Row] = field(default_factory=list)

    def after(self, loop: Loop, number: int) -> None:
        """Tell what is to be told after ``number`` steps."""
        if self.watch:
            self.watch.look(loop, number)
        if number % self.every == 0 or number == loop.steps:
            row: Row = {"step": number, **loop.losses(number), "rate": loop.rate_at(number - 1)}
            row |= self.metrics(self.averaged) if self.metrics else {}
            self.rows.append(row)
            self.bar.epoch({**row, "epoch": len(self.rows)})
            if self.callback:
                self.callback(row)


def run(loop: Loop, reports: Reports, stop: threading.Event) -> Stopped:
    """All steps, or those before ``stop`` was set."""
    if reports.watch:
        reports.watch.look(loop, 0)
    for number in range(loop.steps):
        if stop.is_set():
            return "interrupted"
        loop.step(number)
        reports.bar.step()
        reports.after(loop, number + 1)
    return "finished"
