"""The graph of a GAN: both networks applied to symbols, their losses, and the gradients of these."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal, TypeAlias

from portable_nn.adversarial.gan.objectives import GanObjective, gradient_penalty, r1_penalty
from portable_nn.core.dims import broadcast
from portable_nn.core.errors import ShapeError, UsageError, listed
from portable_nn.core.graph import Dim, Graph, format_shape
from portable_nn.operators import Leaf, Symbol, constant, reachable, replay, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.tracing import Traced

Role: TypeAlias = Literal["generator", "discriminator"]
Shapes: TypeAlias = dict[str, tuple[Dim, ...]]

ROLES: Final[tuple[Role, Role]] = ("generator", "discriminator")
REAL, NOISE, CONDITION, SCALAR = "real/", "noise/", "condition/", "scalar/"
"""Prefixes of the names of the graph's inputs."""
R1, PENALTY, MIX = SCALAR + "r1", SCALAR + "penalty", "mix"


class GanGraph:
    """The symbols of both losses, over leaves for the parameters, the noise and the real examples.

    The outputs of the generator, in order, are the inputs of the discriminator except for the conditions, which both
    networks have. The discriminator has one output, its score: (batch,) or (batch, 1).

    Args:
        generator, discriminator: their graphs.
        loss: the objective.
        conditions: names of inputs that both have.
        r1, penalty: whether the discriminator's loss has an R1 penalty, a gradient penalty.
        training: whether operators such as dropout have their training form.

    Raises ``ShapeError`` or ``UsageError`` where the two do not fit together.
    """

    def __init__(
        self,
        generator: Graph,
        discriminator: Graph,
        loss: GanObjective,
        *,
        conditions: Sequence[str] = (),
        r1: bool = False,
        penalty: bool = False,
        training: bool = True,
    ) -> None:
        graphs = dict(zip(ROLES, (generator, discriminator), strict=True))
        for role, graph in graphs.items():
            if missing := sorted({*conditions}.difference(_names(graph))):
                raise UsageError(f"the {role} has no input '{missing[0]}' for a condition: {', '.join(_names(graph))}")
        self.parameters = {role: _parameters(graph, role) for role, graph in graphs.items()}
        self.conditions = _inputs(discriminator, CONDITION, conditions)
        self.noise = _inputs(generator, NOISE, {*_names(generator)}.difference(conditions))
        self.real = _inputs(discriminator, REAL, {*_names(discriminator)}.difference(conditions))
        self._training = training
        made = self._outputs(generator, "generator", {**self.noise, **self.conditions}, "generated")
        check_fit(generator.outputs, made, self.real)
        fake = dict(zip(self.real, made, strict=True))
        self._discriminator = discriminator
        self.fake_score = self._score(fake, "fake")
        self.real_score = self._score(self.real, "real")
        self.scalars: list[Leaf] = []
        self.mix: Leaf | None = None
        self.losses = {
            "generator": loss.generator_loss(self.fake_score),
            "discriminator": loss.discriminator_loss(self.real_score, self.fake_score),
        }
        if r1:
            self.losses["discriminator"] += r1_penalty(self.real_score, [*self.real.values()], self._scalar(R1))
        if penalty:
            self.losses["discriminator"] += self._gradient_penalty(fake)

    def flows(self, role: Role) -> dict[Leaf, Symbol]:
        """The gradient of a player's loss for each of its weights. Raises ``UsageError`` where there is none."""
        loss = self.losses[role]
        weights = [leaf for leaf in self.parameters[role].values() if leaf.trainable]
        found = zip(weights, gradients([loss], [constant(1, loss.dtype)], weights), strict=True)
        flowing = {weight: flow for weight, flow in found if flow is not None}
        if not flowing:
            raise UsageError(f"the {role} cannot be trained: no gradient of its loss reaches a trainable parameter")
        return flowing

    def leaves(self) -> list[Leaf]:
        """All inputs of graphs of these symbols."""
        examples = [*self.real.values(), *self.conditions.values(), *self.noise.values()]
        return [*examples, *self.scalars, *([self.mix] if self.mix else [])]

    def traced(self, outputs: Sequence[Symbol], more: Sequence[Leaf], size: int, name: str) -> tuple[Traced, Shapes]:
        """A graph of outputs, over the leaves that they need and ``more`` of them; its shapes for batches of a size."""
        needed = {id(origin) for origin in reachable(outputs)}
        own = [leaf for leaf in self.leaves() if id(leaf.origin) in needed]
        shapes = {str(leaf.name): (size, *leaf.shape[1:]) if leaf.shape else () for leaf in own}
        return trace([*own, *more], outputs, name), shapes | {str(leaf.name): leaf.shape for leaf in more}

    def _outputs(self, graph: Graph, role: Role, inputs: Mapping[str, Symbol], use: str) -> list[Symbol]:
        known = {**inputs, **self.parameters[role]}
        symbols = replay(graph, training=self._training, known=known, suffix=f"/{use}")
        return [symbols[name] for name in graph.outputs]

    def _score(self, examples: Mapping[str, Symbol], use: str) -> Symbol:
        """The score of examples for the ``use`` of the discriminator with that name."""
        scores = self._outputs(self._discriminator, "discriminator", {**examples, **self.conditions}, use)
        if len(scores) != 1 or scores[0].shape[1:] not in {(), (1,)} or not scores[0].shape:
            found = " and ".join(format_shape(score.shape) for score in scores)
            raise ShapeError(f"the discriminator must have one output, its score (batch,) or (batch, 1), not {found}")
        return scores[0]

    def _scalar(self, name: str) -> Leaf:
        self.scalars.append(Leaf(name, self.fake_score.dtype, ()))
        return self.scalars[-1]

    def _gradient_penalty(self, fake: Mapping[str, Symbol]) -> Symbol:
        """At a random point between each real example and a generated one."""
        batch = self.fake_score.shape[0]
        rank = max(len(leaf.shape) for leaf in self.real.values())
        if any(len(leaf.shape) != rank for leaf in self.real.values()):
            raise UsageError("the gradient penalty needs discriminator inputs of one rank")
        self.mix = Leaf(MIX, self.fake_score.dtype, (batch, *[1] * (rank - 1)))
        between = {name: leaf * self.mix + fake[name] * (1 - self.mix) for name, leaf in self.real.items()}
        return gradient_penalty(self._score(between, MIX), [*between.values()], self._scalar(PENALTY))


def _names(graph: Graph) -> list[str]:
    return [value.name for value in graph.inputs]


def _inputs(graph: Graph, prefix: str, names: Collection[str]) -> dict[str, Leaf]:
    """A leaf for each of the inputs ``names``."""
    return {
        value.name: Leaf(prefix + value.name, value.dtype, value.shape) for value in graph.inputs if value.name in names
    }


def check_fit(outputs: Sequence[str], made: Sequence[Symbol], real: Mapping[str, Leaf]) -> None:
    """Raise ``ShapeError`` where the outputs of the generator do not fit the inputs of the discriminator."""
    if len(made) != len(real):
        raise ShapeError(
            f"the generator makes {', '.join(outputs)}, but the discriminator takes {', '.join(real) or 'nothing'}"
        )
    faults = [
        f"the generator's output '{output}' is {symbol.type}, but the discriminator's input '{name}' {leaf.type}"
        for output, symbol, (name, leaf) in zip(outputs, made, real.items(), strict=True)
        if symbol.dtype != leaf.dtype
        or broadcast(symbol.shape[1:], leaf.shape[1:]) != leaf.shape[1:]
        or len(symbol.shape) != len(leaf.shape)
    ]
    if faults:
        raise ShapeError(listed(faults, "the two networks do not fit together"))


def _parameters(graph: Graph, prefix: str) -> dict[str, Leaf]:
    """A leaf for each parameter of ``graph``, named ``prefix/name``."""
    return {
        value.name: Leaf(f"{prefix}/{value.name}", value.dtype, value.shape, parameter=True, trainable=value.trainable)
        for value in graph.parameters
    }
