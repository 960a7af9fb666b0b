"""Training methods: one step of training as one or two graphs that update the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np

from portable_nn.adversarial.games.options import find
from portable_nn.adversarial.gan.graph import CONDITION, REAL, ROLES, SCALAR, GanGraph, Role
from portable_nn.core.errors import UsageError
from portable_nn.core.memory import aligned_copy
from portable_nn.engines.plan import Plan
from portable_nn.network import Network
from portable_nn.operators import Array, Leaf, NamedArrays, Symbol, emit
from portable_nn.operators.differentiation import gradients
from portable_nn.training.optimizers import Adam, Optimizer
from portable_nn.training.step import kept_state, new_states

CONSENSUS, AVERAGE = SCALAR + "consensus", SCALAR + "average"


class Player:
    """The arrays of one player: its weights, the state of its optimizer, and the weights before an extrapolation."""

    def __init__(self, role: Role, network: Network, optimizer: Optimizer, parameters: Mapping[str, Leaf]) -> None:
        network.own_weights()
        self.role, self.optimizer, self.steps = role, optimizer, 0
        self.weights = list(parameters.values())
        self.arrays: dict[str, Array] = {f"{role}/{name}": array for name, array in network.parameters.items()}
        self.states: dict[Leaf, dict[str, Leaf]] = {}
        self.anchors: dict[Leaf, Leaf] = {}
        dtype = next((leaf.dtype for leaf in self.weights if leaf.trainable), "float32")
        self.scalars = {name: Leaf(f"{SCALAR}{role}/{name}", dtype, ()) for name in optimizer.scalars(1, 1.0)}

    def updates(self, flows: Mapping[Leaf, Symbol], *, anchored: bool = False) -> dict[Symbol, Symbol]:
        """The new value of each weight and state; ``anchored``: from the weights before the extrapolation."""
        result: dict[Symbol, Symbol] = {}
        for weight, flow in flows.items():
            start = self.anchor(weight) if anchored else weight
            step = flow * self.scalars["rate"] if self.optimizer.scales_seed else flow
            new = self.optimizer.update(start, step, self.scalars, self._states(weight))
            result.update((weight if old is start else old, value) for old, value in new.items())
        return result

    def anchor(self, weight: Leaf) -> Leaf:
        """A weight before the extrapolation."""
        if weight not in self.anchors:
            self.anchors[weight] = kept_state(self.arrays, weight, f"anchor/{weight.name}")
        return self.anchors[weight]

    def _states(self, weight: Leaf) -> dict[str, Leaf]:
        if weight not in self.states:
            self.states[weight] = {
                name: kept_state(self.arrays, weight, f"{name}/{weight.name}") for name in self.optimizer.states
            }
        return self.states[weight]

    def next_scalars(self, rate: float) -> dict[str, float]:
        """The scalars of the player's next step, by the names of the plan's inputs."""
        self.steps += 1
        factor = self.optimizer.learning_rate * rate
        return {SCALAR + f"{self.role}/{name}": v for name, v in self.optimizer.scalars(self.steps, factor).items()}


@dataclass
class Stage:
    """A simultaneous update: ``updates`` of the parameters of ``players``, and their ``losses``."""

    players: Sequence[Player]
    updates: dict[Symbol, Symbol]
    losses: Mapping[Role, Symbol]
    scalars: Sequence[Leaf] = field(default_factory=tuple)

    def compile(self, pair: GanGraph, arrays: NamedArrays, size: int, rng: np.random.Generator) -> Running:
        """The plan for batches of ``size``."""
        outputs = [*self.losses.values(), *self.updates.values()]
        scalars = [*self.scalars, *(leaf for player in self.players for leaf in player.scalars.values())]
        traced, shapes = pair.traced(outputs, scalars, size, "training of a pair")
        plan = Plan(
            traced.graph,
            shapes,
            arrays,
            outputs=[traced.names[loss] for loss in self.losses.values()],
            updates={str(old.name): traced.names[new] for old, new in self.updates.items()},
            rng=rng,
        )
        return Running(plan, self.players, {role: traced.names[loss] for role, loss in self.losses.items()})


@dataclass
class Running:
    """A compiled stage."""

    plan: Plan
    players: Sequence[Player]
    losses: Mapping[Role, str]

    @cached_property
    def examples(self) -> dict[str, str]:
        """The plan's inputs for real examples and conditions, by the names of the discriminator's inputs."""
        begins = (REAL, CONDITION)
        return {name.split("/", 1)[1]: name for name in self.plan.inputs if name.startswith(begins)}

    @cached_property
    def is_shown(self) -> bool:
        """True if the stage has real examples, not only their conditions."""
        return any(name.startswith(REAL) for name in self.plan.inputs)


Players: TypeAlias = Mapping[Role, Player]
StageBuilder: TypeAlias = "Callable[[GanGraph, Players, int], list[Stage]]"


def _stage(
    pair: GanGraph, players: Players, flows: Mapping[Role, Mapping[Leaf, Symbol]], *, anchored: bool = False
) -> Stage:
    updates: dict[Symbol, Symbol] = {}
    for role, flow in flows.items():
        updates |= players[role].updates(flow, anchored=anchored)
        own = players[role].weights
        states = new_states(pair.losses[role])
        updates |= {leaf: new for leaf, new in states.items() if leaf in own}
    return Stage([players[role] for role in flows], updates, {role: pair.losses[role] for role in flows})


def alternating(pair: GanGraph, players: Players, repeats: int) -> list[Stage]:
    """The discriminator is updated, ``repeats`` times; then the generator, against the new discriminator."""
    first = _stage(pair, players, {"discriminator": pair.flows("discriminator")})
    return [*[first] * repeats, _stage(pair, players, {"generator": pair.flows("generator")})]


def simultaneous(pair: GanGraph, players: Players, repeats: int) -> list[Stage]:
    """Both are updated at once."""
    return [_stage(pair, players, {role: pair.flows(role) for role in ROLES})]


def extragradient(pair: GanGraph, players: Players, repeats: int) -> list[Stage]:
    """An extrapolation, then an update from the weights before it with the gradients at the extrapolated point.

    Gidel et al., ICLR 2019, arXiv:1802.10551, algorithm 4: both change the states of the optimizers, and each has
    its own batch.
    """
    flows = {role: pair.flows(role) for role in ROLES}
    look, step = _stage(pair, players, flows), _stage(pair, players, flows, anchored=True)
    look.updates |= {players[role].anchor(weight): weight for role in ROLES for weight in flows[role]}
    return [look, step]


def consensus(pair: GanGraph, players: Players, repeats: int) -> list[Stage]:
    """Both are updated at once along F + gamma·JᵀF, where F is both gradients and J their Jacobian, exactly.

    gamma·JᵀF is the gradient of gamma / 2 · ‖F‖². Mescheder et al., NIPS 2017, arXiv:1705.10461.
    """
    flows = {role: pair.flows(role) for role in ROLES}
    gamma = Leaf(CONSENSUS, pair.fake_score.dtype, ())
    field = {weight: flow for role in ROLES for weight, flow in flows[role].items()}
    first, *others = (emit("ReduceSumSquare", flow, keepdims=0) for flow in field.values())
    found = gradients([sum(others, first) * 0.5], [gamma], [*field])
    more = {weight: pull for weight, pull in zip(field, found, strict=True) if pull is not None}
    changed = {
        role: {weight: flow + more[weight] if weight in more else flow for weight, flow in flows[role].items()}
        for role in ROLES
    }
    stage = _stage(pair, players, changed)
    stage.scalars = [gamma]
    return [stage]


GAN_METHODS: Final[Mapping[str, StageBuilder]] = {
    "alternating": alternating,
    "simultaneous": simultaneous,
    "extragradient": extragradient,
    "optimistic_adam": simultaneous,
    "consensus": consensus,
}
"""By name; ``optimistic_adam`` is simultaneous with ``OptimisticAdam``."""


def find_gan_method(name: str) -> StageBuilder:
    """The method of that name. Raises ``UsageError`` that lists them."""
    return find("method", name, GAN_METHODS)


@dataclass(frozen=True)
class OptimisticAdam(Adam):
    """w ← w - 2·δₜ + δₜ₋₁, where δ is Adam's step. Daskalakis et al., ICLR 2018, arXiv:1711.00141, algorithm 1."""

    states = ("first", "second", "previous")

    def update(
        self, weight: Symbol, gradient: Symbol, scalars: Mapping[str, Symbol], states: Mapping[str, Leaf]
    ) -> Mapping[Symbol, Symbol]:
        """One step."""
        first, second = self._sums(weight, gradient, states)
        step = first / (emit("Sqrt", second) + scalars["epsilon"]) * scalars["rate"]
        new = (weight - step * 2 + states["previous"], first, second, step)
        return dict(zip([weight, *(states[name] for name in self.states)], new, strict=True))


def made_optimistic(optimizer: Optimizer, player: str) -> OptimisticAdam:
    """``optimizer`` as optimistic Adam. Raises ``UsageError`` for any but Adam."""
    if isinstance(optimizer, OptimisticAdam):
        return optimizer
    if type(optimizer) is not Adam:
        raise UsageError(f"method 'optimistic_adam' needs Adam for both players, not {optimizer!r} for the {player}")
    return OptimisticAdam(**{field.name: getattr(optimizer, field.name) for field in fields(optimizer)})


class Average:
    """An exponential moving average of the generator's parameters: ā ← ā + (1 - a)·(w - ā), in the last stage.

    Karras et al., ICLR 2018, arXiv:1710.10196.
    """

    def __init__(self, network: Network) -> None:
        self.arrays = {f"average/{n}": aligned_copy(a, a.dtype.name) for n, a in network.parameters.items()}

    def add_to(self, stage: Stage, player: Player) -> None:
        """Average the player's parameters that the stage updates."""
        dtype = next(iter(player.scalars.values())).dtype
        share = Leaf(AVERAGE, dtype, ())
        changed = {leaf: stage.updates[leaf] for leaf in player.weights if leaf in stage.updates}
        for leaf, new in changed.items():
            name = "average/" + str(leaf.name).removeprefix("generator/")
            kept = Leaf(name, leaf.dtype, leaf.shape, parameter=True, trainable=False)
            stage.updates[kept] = kept + (new - kept) * share
        stage.scalars = [*stage.scalars, share]
