"""One training step as a graph: forward, loss, backward and updates; and the plans that run it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Dim, Graph
from portable_nn.core.memory import aligned_copy
from portable_nn.engines.apart import has_convolution, keeps_examples_apart
from portable_nn.engines.batching import Feeds
from portable_nn.engines.plan import Plan
from portable_nn.engines.split import SplitPlan
from portable_nn.operators import Array, Leaf, Symbol, constant, reachable, replay, trace
from portable_nn.operators.linear.blas import has_threads_to_set
from portable_nn.rewrites import DEFAULT, Program, rewritten
from portable_nn.training.gradient import gradients
from portable_nn.training.halves import SMALLEST, Halves
from portable_nn.training.losses import Built, Loss
from portable_nn.training.optimizers import Optimizer
from portable_nn.training.trainable import Trainable

TARGET, WEIGHT, SCALAR = "train/target/", "train/sample_weight", "train/scalar/"
"""Names of the inputs of a training graph beside the network's own."""


class TrainingStep:
    """The graph of one step for a network, and the state of its optimizer.

    Args:
        network: the network.
        losses: the loss of each output that is trained.
        examples: arrays by input, whose shapes without the batch are those of the graph's inputs.
        targets: arrays by trained output, whose types and shapes are those of the graph's targets.
        optimizer: the optimizer.
        weighted: whether each example has a weight.
        rewrites: the names of the graph rewrites that run before the gradient is taken.

    Raises ``UsageError`` where no gradient reaches a trainable parameter.
    """

    def __init__(
        self,
        network: Trainable,
        losses: Mapping[str, Loss],
        examples: Feeds,
        targets: Feeds,
        optimizer: Optimizer,
        *,
        weighted: bool,
        rewrites: Collection[str] = DEFAULT,
    ) -> None:
        network.own_weights()
        self.network, self.optimizer = network, optimizer
        graph = sized(network.graph, examples)
        symbols = replay(rewritten(Program(graph, network.parameters), rewrites).graph, training=True)
        self.state: dict[str, Array] = {}
        inputs = [symbols[value.name] for value in network.graph.inputs]
        parts, extra = build_losses(symbols, losses, targets, weighted)
        loss = total_loss(losses, parts)
        self._scalars = {name: Leaf(SCALAR + name, loss.dtype, ()) for name in optimizer.scalars(1, 1.0)}
        self._examples = [leaf for leaf in inputs if isinstance(leaf, Leaf)] + extra
        self._flowing = self._gradients(symbols, loss)
        self._states = {
            weight: {role: self._make_state(f"{weight.name}/{role}", weight) for role in optimizer.states}
            for weight in self._flowing
        }
        self._loss = loss
        self._convolves = has_threads_to_set() and has_convolution(graph)
        apart = not weighted and all(each.is_apart for each in losses.values())
        self._in_halves = apart and self._convolves and keeps_examples_apart(graph, training=True)
        updates = self._updates(self._flowing) | new_states(loss)
        traced = trace([*self._examples, *self._scalars.values()], [loss, *updates.values()], "training step")
        self.graph: Graph = traced.graph
        self.loss = traced.names[loss]
        self.updates = {traced.names[old]: traced.names[new] for old, new in updates.items()}
        self._plans: dict[int, Plan | Halves] = {}

    def _gradients(self, symbols: Mapping[str, Symbol], loss: Symbol) -> dict[Symbol, Symbol]:
        """The gradient of each trainable parameter that the loss depends on."""
        weights = [symbols[value.name] for value in self.network.graph.parameters if value.trainable]
        seed = self._scalars["rate"] if self.optimizer.scales_seed else constant(1, loss.dtype)
        flowing = zip(weights, gradients([loss], [seed], weights), strict=True)
        found = {weight: gradient for weight, gradient in flowing if gradient is not None}
        if not found:
            raise UsageError("nothing can be trained: no gradient reaches a trainable parameter")
        return found

    def _updates(self, gradients: Mapping[Symbol, Symbol]) -> dict[Symbol, Symbol]:
        """The new value of each parameter and of the optimizer's state."""
        updates: dict[Symbol, Symbol] = {}
        for weight, gradient in gradients.items():
            updates.update(self.optimizer.update(weight, gradient, self._scalars, self._states[weight]))
        return updates

    def _make_state(self, name: str, weight: Symbol) -> Leaf:
        shape = tuple(int(dim) for dim in weight.shape)
        self.state[name] = aligned_copy(np.zeros(shape), weight.dtype)
        return Leaf(name, weight.dtype, shape, parameter=True, trainable=False)

    def plan(self, size: int) -> Plan | Halves:
        """The plan for a batch of ``size`` examples."""
        if size not in self._plans:
            in_halves = self._in_halves and size >= SMALLEST and size % 2 == 0
            self._plans[size] = self._halves(size) if in_halves else self._whole(size)
        return self._plans[size]

    def _whole(self, size: int) -> Plan:
        parameters = {**self.network.parameters, **self.state}
        kind = SplitPlan if self._convolves else Plan
        return kind(
            self.graph,
            _shapes(self.graph, size),
            parameters,
            outputs=[self.loss],
            updates=self.updates,
            rng=self.network.rng,
        )

    def _halves(self, size: int) -> Halves:
        traced = trace([*self._examples, *self._scalars.values()], [self._loss, *self._flowing.values()], "half a step")
        parameters = {**self.network.parameters, **self.state}
        plans = [Plan(traced.graph, _shapes(traced.graph, size // 2), parameters) for _ in range(2)]
        means: dict[Symbol, Symbol] = {}
        for weight, flow in self._flowing.items():
            name = traced.names[flow]
            one, two = (Leaf(f"{name}/{which}", flow.dtype, flow.shape, parameter=True) for which in range(2))
            means[weight] = (one + two) * 0.5
            parameters |= {f"{name}/{which}": plan.outputs[name] for which, plan in enumerate(plans)}
        updates = self._updates(means)
        step = trace(list(self._scalars.values()), list(updates.values()), "the other half")
        named = {step.names[old]: step.names[new] for old, new in updates.items()}
        return Halves(plans, Plan(step.graph, {}, parameters, outputs=[], updates=named), traced.names[self._loss])


def sized(graph: Graph, examples: Feeds) -> Graph:
    """``graph`` with the sizes of the ``examples`` apart from the batch: rules of gradients need them."""
    inputs = (replace(each, shape=(*each.shape[:1], *examples[each.name].shape[1:])) for each in graph.inputs)
    return replace(graph, inputs=tuple(inputs))


def _shapes(graph: Graph, size: int) -> dict[str, tuple[Dim, ...]]:
    """The shapes of a graph's inputs for ``size`` examples."""
    return {value.name: (size, *value.shape[1:]) if value.shape else () for value in graph.inputs}


def new_states(loss: Symbol) -> dict[Symbol, Symbol]:
    """The new values of the parameters that are the state of nodes ``loss`` depends on: running statistics."""
    new: dict[Symbol, Symbol] = {}
    for origin in reachable([loss]):
        state = origin.operator.state if origin.operator else {}
        for output, index in state.items():
            if output < len(origin.outputs):
                old = origin.inputs[index]
                # Where two nodes share a state, the second updates the result of the first.
                parameter = next((parameter for parameter, value in new.items() if value is old), old)
                if isinstance(parameter, Leaf) and parameter.parameter:
                    new[parameter] = origin.outputs[output]
    return new


def build_losses(
    symbols: Mapping[str, Symbol], losses: Mapping[str, Loss], targets: Feeds, weighted: bool
) -> tuple[dict[str, Built], list[Leaf]]:
    """The loss of each trained output, and the inputs that they need: targets and weights."""
    leaves: list[Leaf] = []
    parts: dict[str, Built] = {}
    weight: Leaf | None = None
    for name, loss in losses.items():
        output = symbols[name]
        if weighted and weight is None:
            weight = Leaf(WEIGHT, output.dtype, output.shape[:1])
            leaves.append(weight)
        target = Leaf(TARGET + name, str(targets[name].dtype), (output.shape[0], *targets[name].shape[1:]))
        leaves.append(target)
        parts[name] = loss.build(output, target, weight)
    return parts, leaves


def total_loss(losses: Mapping[str, Loss], parts: Mapping[str, Built]) -> Symbol:
    """The sum of the losses, each times its weight."""
    weights = {name: losses[name].weight for name in parts}
    return reduce(
        add, [part.value if weights[name] == 1 else part.value * weights[name] for name, part in parts.items()]
    )


class LossGraph(NamedTuple):
    """The graph that computes weighted losses and the outputs, without training; and the names of what it gives.

    ``losses`` has by output the value and the norm (see ``Built``); without norms, the sum of all losses alone.
    """

    graph: Graph
    losses: Mapping[str, tuple[str, str | None]]


def loss_graph(
    network: Trainable, losses: Mapping[str, Loss], examples: Feeds, targets: Feeds, *, weighted: bool = True
) -> LossGraph:
    """The graph of the losses: see ``LossGraph``."""
    symbols = replay(sized(network.graph, examples))
    parts, extra = build_losses(symbols, losses, targets, weighted)
    if not any(part.norm is not None for part in parts.values()):
        parts = {"": Built(total_loss(losses, parts))}
    inputs = [leaf for value in network.graph.inputs if isinstance(leaf := symbols[value.name], Leaf)]
    made = [each for part in parts.values() for each in part if each is not None]
    traced = trace([*inputs, *extra], [*made, *(symbols[name] for name in network.graph.outputs)], "evaluation")
    named = {
        name: (traced.names[part.value], None if part.norm is None else traced.names[part.norm])
        for name, part in parts.items()
    }
    return LossGraph(traced.graph, named)
