"""The training of a generator against a discriminator."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from portable_nn.adversarial.gan.batches import Draws, draws, normal
from portable_nn.adversarial.gan.graph import MIX, NOISE, PENALTY, R1, ROLES, GanGraph, Role
from portable_nn.adversarial.gan.jacobian import GameJacobian
from portable_nn.adversarial.gan.objectives import find_gan_loss
from portable_nn.adversarial.gan.schedules import value_at
from portable_nn.adversarial.gan.stages import (
    AVERAGE,
    CONSENSUS,
    Average,
    Player,
    Running,
    find_gan_method,
    made_optimistic,
)
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import TrainingError, UsageError
from portable_nn.core.numbers import BelowOne, Count, NonNegative
from portable_nn.network import Network
from portable_nn.operators import Array, NamedArrays
from portable_nn.training.history import Stopped
from portable_nn.training.optimizers import Adam, Optimizer, find_optimizer
from portable_nn.training.progress import Bar, progress_bar
from portable_nn.training.schedules import Schedule
from portable_nn.training.surroundings import interruptible

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


DEFAULT = Adam(0.001, beta1=0.0, beta2=0.99)
"""The default optimizer, without a first moment: Mescheder et al., arXiv:1801.04406."""


@dataclass(frozen=True)
class GanResult:
    """The result of training a GAN.

    Attributes:
        generator, discriminator: the trained networks, the same objects as the arguments.
        averaged: the generator with the moving average of its weights, from which samples should be drawn.
        history: a row for every ``every`` steps: ``step``, ``generator_loss`` and ``discriminator_loss`` (means since
            the last row), ``rate`` (the factor of the learning rates), and the metrics.
        eigenvalues: pairs of a step and the eigenvalues of the Jacobian of the game there.
        snapshots: pairs of a step and what ``snapshot`` returned there, with each row of the history.
        stopped: ``finished`` or ``interrupted``.
    """

    generator: Network
    discriminator: Network
    averaged: Network
    history: list[HistoryRow] = field(default_factory=list)
    eigenvalues: Eigenvalues = field(default_factory=list)
    snapshots: list[tuple[int, Array]] = field(default_factory=list)
    stopped: Stopped = "finished"

    def __getitem__(self, name: str) -> list[float]:
        """One column of the history."""
        return [row[name] for row in self.history]


@check_kinds
def train_gan(
    generator: Network,
    discriminator: Network,
    data: Any,
    *,
    method: str = "alternating",
    loss: str = "non_saturating",
    optimizers: tuple[Optimizer | str, Optimizer | str] | Optimizer | str = DEFAULT,
    r1: NonNegative | Schedule | None = None,
    penalty: NonNegative | Schedule = 10.0,
    consensus: NonNegative | Schedule = 0.1,
    rate: Schedule | None = None,
    steps: Count = 1000,
    batch_size: Count = 64,
    discriminator_steps: Count = 1,
    average: BelowOne = 0.9995,
    noise: Any = None,
    conditions: Sequence[str] = (),
    every: Count = 100,
    metrics: Metrics | None = None,
    snapshot: Snapshot | None = None,
    callback: Callable[[HistoryRow], object] | None = None,
    eigenvalues: Count | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> GanResult:
    """Train a generator against a discriminator, both in place.

    Args:
        generator: a network from noise (batch, …) to examples.
        discriminator: a network from examples to logits, (batch,) or (batch, 1), which are high for real ones.
        data: examples (n, …), drawn with replacement; or a function ``(count, generator) → examples``. With several
            inputs, a dict by the discriminator's input names, of arrays or as the function's result.
        method: ``alternating``, ``simultaneous``, ``extragradient``, ``optimistic_adam`` or ``consensus``.
        loss: ``saturating``, ``non_saturating``, ``wasserstein_gp`` or ``hinge``.
        optimizers: the generator's and the discriminator's, or one for both; by default Adam(0.001, β₁ 0, β₂ 0.99).
        r1: weight of the R1 penalty r1 / 2 · E‖∇ₓD(x)‖² at real examples: a number, or a schedule of ``(step, steps)``;
            ``None`` for no penalty.
        penalty: weight of the gradient penalty of ``wasserstein_gp``.
        consensus: weight of ½‖F‖² in the method ``consensus``.
        rate: a schedule of ``(step, steps)`` for the factor of both learning rates.
        steps: updates of the generator.
        batch_size: real examples, and generated ones, per gradient.
        discriminator_steps: updates of the discriminator for each of the generator, with ``alternating``.
        average: decay of the averaged weights, a time constant of about 1 / (1 - average) steps; at the start it is
            (step + 1) / (step + 10), if that is less.
        noise: a function like ``data`` for the other inputs of the generator; by default N(0, 1).
        conditions: names of inputs that both networks have, such as a class; ``data`` has them as well.
        every: steps from one row of the history to the next.
        metrics: a function of the averaged generator that returns metrics for the row.
        snapshot: a function of the averaged generator whose result is kept with the row, such as samples.
        callback: is called with each row.
        eigenvalues: compute those of the Jacobian of the game every so many steps, at one batch: for small networks.
        seed: of examples and noise. The same seed, machine and initial weights give the same bytes.
        progress: show a progress bar on stderr; by default if that is a terminal.

    Ctrl-C stops after the current step: ``result.stopped`` is ``"interrupted"``.

    >>> from portable_nn.adversarial.gan import Pattern, pattern_networks, sample, train_gan
    >>> generator, discriminator = pattern_networks()
    >>> result = train_gan(generator, discriminator, Pattern(), r1=1.0, steps=2000)
    >>> sample(result.averaged, 3).shape
    (3, 4)

    Raises:
        ShapeError, UsageError: networks that do not fit together, or arguments that do not fit them.
        TrainingError: a loss is not finite.
    """
    build, chosen = find_gan_method(method), _optimizers(optimizers, method)
    if discriminator_steps > 1 and method != "alternating":
        raise UsageError(f"discriminator_steps={discriminator_steps} is for method 'alternating', not {method!r}")
    gan_loss = find_gan_loss(loss)
    pair = GanGraph(
        generator.graph,
        discriminator.graph,
        gan_loss,
        conditions=conditions,
        r1=r1 is not None,
        penalty=gan_loss.penalised,
    )
    networks: dict[Role, Network] = {"generator": generator, "discriminator": discriminator}
    players = {role: Player(role, networks[role], chosen[role], pair.parameters[role]) for role in ROLES}
    mean, rng = Average(generator), np.random.default_rng(seed)
    built = build(pair, players, discriminator_steps)
    mean.add_to(built[-1], players["generator"])
    arrays = {**players["generator"].arrays, **players["discriminator"].arrays, **mean.arrays}
    compiled = {id(stage): stage.compile(pair, arrays, batch_size, rng) for stage in built}
    stages = [compiled[id(stage)] for stage in built]  # One that comes several times is compiled once.
    loop = TrainingLoop(
        stages,
        steps,
        batch_size,
        rng,
        examples=draws(data, {**pair.real, **pair.conditions}, "data"),
        noise=draws(noise, pair.noise, "noise") if noise is not None else normal(pair.noise),
        scalars={R1: r1, PENALTY: penalty, CONSENSUS: consensus},
        rate=rate,
        average=average,
    )
    shares = {name.removeprefix("average/"): array for name, array in mean.arrays.items()}
    averaged = _with(generator, shares, copy=False)
    watch = None
    if eigenvalues is not None:
        other = np.random.default_rng([seed, 1])  # The eigenvalues must not change the random numbers of the training.
        batch, weight = (loop.examples(batch_size, other), loop.noise(batch_size, other)), None if r1 is None else 0.0
        jacobian = GameJacobian(generator, discriminator, batch, loss=loss, r1=weight, conditions=conditions)
        watch = SpectrumMonitor(jacobian, eigenvalues)
    with progress_bar(progress, math.ceil(steps / every), every, lines=False) as bar, interruptible() as stop:
        reports = Monitor(averaged, every, metrics, snapshot, callback, watch, bar)
        stopped = run(loop, reports, stop)
    return GanResult(
        generator=generator,
        discriminator=discriminator,
        averaged=_with(averaged, averaged.parameters),
        history=reports.rows,
        eigenvalues=watch.found if watch else [],
        snapshots=reports.snapshots,
        stopped=stopped,
    )


def _optimizers(given: Any, method: str) -> dict[Role, Optimizer]:
    both: Sequence[Any] = given if isinstance(given, (tuple, list)) else (given, given)
    if len(both) != 2:
        raise UsageError(f"optimizers must be two, the generator's and the discriminator's, or one, not {len(both)}")
    chosen = {role: find_optimizer(one) for role, one in zip(ROLES, both, strict=True)}
    if method == "optimistic_adam":
        return {role: made_optimistic(optimizer, role) for role, optimizer in chosen.items()}
    return chosen


def _with(network: Network, parameters: NamedArrays, *, copy: bool = True) -> Network:
    """``network`` with other parameters: copies of the arrays, or the arrays themselves."""
    return Network.from_graph(
        network.graph, parameters, inputs=network.inputs, outputs=network.outputs, metadata=network.metadata, copy=copy
    )
