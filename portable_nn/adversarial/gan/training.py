"""The training of a generator against a discriminator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from portable_nn.adversarial.gan.batches import draws, normal
from portable_nn.adversarial.gan.graph import PENALTY, R1, ROLES, GanGraph, Role
from portable_nn.adversarial.gan.jacobian import GameJacobian
from portable_nn.adversarial.gan.loop import (
    Eigenvalues,
    HistoryRow,
    Metrics,
    Monitor,
    Snapshot,
    SpectrumMonitor,
    TrainingLoop,
    run,
)
from portable_nn.adversarial.gan.objectives import find_gan_loss
from portable_nn.adversarial.gan.stages import (
    CONSENSUS,
    Average,
    Player,
    Running,
    Stage,
    find_gan_method,
    made_optimistic,
)
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UsageError
from portable_nn.core.numbers import BelowOne, Count, NonNegative
from portable_nn.network import Network
from portable_nn.operators import Array
from portable_nn.training.history import Stopped
from portable_nn.training.optimizers import Adam, Optimizer, find_optimizer
from portable_nn.training.progress import progress_bar
from portable_nn.training.schedules import Schedule
from portable_nn.training.surroundings import interruptible

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
    stages = _compiled(build(pair, players, discriminator_steps), pair, players, mean, batch_size, rng)
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


def _compiled(
    stages: Sequence[Stage],
    pair: GanGraph,
    players: Mapping[Role, Player],
    mean: Average,
    batch_size: int,
    rng: np.random.Generator,
) -> list[Running]:
    """The stages of a step as plans, which write into the weights of the players, the last one into their ``mean``."""
    mean.add_to(stages[-1], players["generator"])
    arrays = {**players["generator"].arrays, **players["discriminator"].arrays, **mean.arrays}
    compiled = {id(stage): stage.compile(pair, arrays, batch_size, rng) for stage in stages}
    return [compiled[id(stage)] for stage in stages]  # One that comes several times is compiled once.


def _optimizers(given: Any, method: str) -> dict[Role, Optimizer]:
    both: Sequence[Any] = given if isinstance(given, (tuple, list)) else (given, given)
    if len(both) != 2:
        raise UsageError(f"optimizers must be two, the generator's and the discriminator's, or one, not {len(both)}")
    chosen = {role: find_optimizer(one) for role, one in zip(ROLES, both, strict=True)}
    if method == "optimistic_adam":
        return {role: made_optimistic(optimizer, role) for role, optimizer in chosen.items()}
    return chosen


def _with(network: Network, parameters: Mapping[str, Array], *, copy: bool = True) -> Network:
    """``network`` with other parameters: copies of the arrays, or the arrays themselves."""
    return Network.from_graph(
        network.graph,
        parameters,
        inputs=network.inputs,
        outputs=network.outputs,
        metadata=network.metadata,
        copy=copy,
    )
