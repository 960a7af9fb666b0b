"""The graph of a GAN: both networks applied to symbols, their losses, and the gradients of these."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from msgspec.structs import replace

from portable_nn.adversarial.gan.objectives import GanObjective, gradient_penalty, r1_penalty
from portable_nn.core.dims import broadcast
from portable_nn.core.errors import ShapeError, UsageError, listed
from portable_nn.core.graph import Dim, Graph, Node, Tensor, format_shape
from portable_nn.operators import Leaf, Symbol, constant, emit_all, lookup, reachable, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.tracing import Traced

Role: TypeAlias = Literal["generator", "discriminator"]
Shapes: TypeAlias = dict[str, tuple[Dim, ...]]

ROLES: Final[tuple[Role, Role]] = ("generator", "discriminator")
REAL, NOISE, CONDITION, SCALAR = "real/", "noise/", "condition/", "scalar/"
"""Prefixes of the names of the graph's inputs."""
R1, PENALTY, MIX = SCALAR + "r1", SCALAR + "penalty", "mix"
_uses = itertools.count(1)


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
        dtype: the type of all floats, if it is another than the networks'.

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
        dtype: str | None = None,
    ) -> None:
        shared = set(conditions)
        graphs = dict(zip(ROLES, (generator, discriminator), strict=True))
        for role, graph in graphs.items():
            if missing := sorted(shared.difference(_names(graph))):
                raise UsageError(f"the {role} has no input '{missing[0]}' for a condition: {', '.join(_names(graph))}")
        self.parameters = {role: leaves(graph, role, dtype) for role, graph in graphs.items()}
        self.conditions = _inputs(discriminator, CONDITION, dtype, [n for n in _names(discriminator) if n in shared])
        self.noise = _inputs(generator, NOISE, dtype, [n for n in _names(generator) if n not in shared])
        self.real = _inputs(discriminator, REAL, dtype, [n for n in _names(discriminator) if n not in shared])
        self._options: dict[str, Any] = {"training": training, "dtype": dtype}
        made = apply(generator, {**self.noise, **self.conditions}, self.parameters["generator"], **self._options)
        check_fit(generator.outputs, made, self.real)
        fake = dict(zip(self.real, made, strict=True))
        self._discriminator = discriminator
        self.fake_score = self._score(fake)
        self.real_score = self._score(self.real)
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

    def _score(self, examples: Mapping[str, Symbol]) -> Symbol:
        parameters = self.parameters["discriminator"]
        scores = apply(self._discriminator, {**examples, **self.conditions}, parameters, **self._options)
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
        return gradient_penalty(self._score(between), [*between.values()], self._scalar(PENALTY))


def _names(graph: Graph) -> list[str]:
    return [value.name for value in graph.inputs]


def _inputs(graph: Graph, prefix: str, dtype: str | None, names: Sequence[str]) -> dict[str, Leaf]:
    """A leaf for each of the inputs ``names``."""
    return {
        value.name: Leaf(prefix + value.name, _float(value.dtype, dtype), value.shape)
        for value in graph.inputs
        if value.name in names
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


def leaves(graph: Graph, prefix: str, dtype: str | None = None) -> dict[str, Leaf]:
    """A leaf for each parameter of ``graph``, named ``prefix/name``; floats are of type ``dtype``, if it is given."""
    return {
        value.name: Leaf(
            f"{prefix}/{value.name}", _float(value.dtype, dtype), value.shape, parameter=True, trainable=value.trainable
        )
        for value in graph.parameters
    }


def apply(
    graph: Graph,
    inputs: Mapping[str, Symbol],
    parameters: Mapping[str, Symbol],
    *,
    training: bool = True,
    dtype: str | None = None,
) -> list[Symbol]:
    """The outputs of ``graph`` for ``inputs``, by name.

    Args:
        graph: the graph of a network.
        inputs, parameters: symbols by the names of the graph's inputs and parameters.
        training: use the training form of operators such as dropout.
        dtype: the type of all floats, if it is another than the graph's.

    Raises ``GraphError`` where the inputs do not fit.
    """
    symbols: dict[str, Symbol] = {**inputs, **parameters}
    use = next(_uses)
    for node in graph.nodes:
        given = [symbols[name] if name else None for name in node.inputs]
        made = _emit(node, given, _attributes(node, dtype), use, training=training)
        symbols.update((name, symbol) for name, symbol in zip(node.outputs, made, strict=False) if name)
    return [symbols[name] for name in graph.outputs]


def _emit(
    node: Node, given: Sequence[Symbol | None], attributes: Mapping[str, Any], use: int, *, training: bool
) -> Sequence[Symbol]:
    operator = lookup(node.operator, node.domain)
    if training and operator.training:
        return operator.training(given, attributes, f"{node.name}/use {use}")
    count = len(node.outputs)
    return emit_all(node.operator, *given, outputs=count, stem=node.name, domain=node.domain, **attributes)


def _attributes(node: Node, dtype: str | None) -> Mapping[str, Any]:
    """The attributes of a node; those of a constant in ``dtype``."""
    literal = node.attributes.get("value")
    if isinstance(literal, Tensor):
        return {**node.attributes, "value": replace(literal, dtype=_float(literal.dtype, dtype))}
    return node.attributes


def _float(dtype: str, wanted: str | None) -> str:
    return wanted if wanted and dtype.startswith("float") else dtype
