"""One training step as a graph: forward, loss, backward and updates; and the plans that run it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
from portable_nn.training.trainable import Trainable
from portable_nn.training.updating import LATEST, Updates, Updating

TARGET, WEIGHT = "train/target/", "train/sample_weight"
"""Names of the inputs of a training graph beside the network's own."""


class TrainingStep:
    """The graph of one step for a network, and the state of its optimizer.

    Args:
        network: the network.
        losses: the loss of each output that is trained.
        examples: arrays by input, whose shapes without the batch are those of the graph's inputs.
        targets: arrays by trained output, whose types and shapes are those of the graph's targets.
        updating: the optimizer, and what surrounds it.
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
        updating: Updating,
        *,
        weighted: bool,
        rewrites: Collection[str] = DEFAULT,
    ) -> None:
        network.own_weights()
        self.network, self.updating = network, updating
        graph = sized(network.graph, examples)
        symbols = replay(rewritten(Program(graph, network.parameters), rewrites).graph, training=True)
        inputs = [symbols[value.name] for value in network.graph.inputs]
        parts, extra = build_losses(symbols, losses, targets, weighted)
        self._loss = total_loss(losses, parts)
        self.updates = Updates(updating, network.graph, self._loss.dtype)
        self._scalars = list(self.updates.scalars.values())
        self._inputs = [*(leaf for leaf in inputs if isinstance(leaf, Leaf)), *extra, *self._scalars]
        self._flowing = self._gradients(symbols)
        self.state, self.gathered = dict[str, Array](), dict[str, Array]()
        self._states = {
            weight: {role: _kept(self.state, weight, role) for role in self.updates.roles(str(weight.name))}
            for weight in self._flowing
        }
        self._sums = {
            weight: _kept(self.gathered, weight, "sum") for weight in self._flowing if updating.accumulate > 1
        }
        self.averages = {} if updating.average is None else self._begin_averages()
        self._convolves = has_threads_to_set() and has_convolution(graph)
        apart = not weighted and all(each.is_apart for each in losses.values())
        self._in_halves = apart and self._convolves and keeps_examples_apart(graph, training=True)
        self._whole_step = self._traced(self._flowing, self._inputs, self._loss, last=True)
        self.graph, self.loss = self._whole_step.graph, self._whole_step.loss
        self._plans: dict[tuple[int, bool], Plan | Halves] = {}

    def _gradients(self, symbols: Mapping[str, Symbol]) -> dict[Symbol, Symbol]:
        """The gradient of each trainable parameter that the loss depends on."""
        weights = [symbols[value.name] for value in self.network.graph.parameters if value.trainable]
        seed = self.updates.seed
        seeds = [constant(1, self._loss.dtype) if seed is None else seed]
        flowing = zip(weights, gradients([self._loss], seeds, weights), strict=True)
        found = {weight: gradient for weight, gradient in flowing if gradient is not None}
        if not found:
            raise UsageError("nothing can be trained: no gradient reaches a trainable parameter")
        return found

    def _begin_averages(self) -> dict[str, Array]:
        """The averages of the parameters by name, which begin as the weights are."""
        found = {str(weight.name): self.state[f"{weight.name}/{LATEST}"] for weight in self._flowing}
        for name, array in found.items():
            array[...] = self.network.parameters[name]
        return found

    def swap(self) -> None:
        """Put the averages into the network and the latest weights in their place, or both back."""
        for name, array in self.averages.items():
            latest = self.network.parameters[name].copy()
            self.network.parameters[name][...] = array
            array[...] = latest

    def end_step(self) -> None:
        """Forget the gradients that were gathered for a step."""
        for array in self.gathered.values():
            array.fill(0)

    def plan(self, size: int, last: bool = True) -> Plan | Halves:
        """The plan for a batch of ``size`` examples, the ``last`` one of a step or one whose gradient is gathered."""
        plan = self._plans.get((size, last))
        if plan is None:
            in_halves = self._in_halves and size >= SMALLEST and size % 2 == 0
            plan = self._plans[size, last] = self._halves(size, last) if in_halves else self._whole(size, last)
        return plan

    def _traced(
        self, flows: Mapping[Symbol, Symbol], inputs: Sequence[Leaf], loss: Symbol | None, *, last: bool
    ) -> _Traced:
        """The graph that makes a step of gradients, or gathers them; and of ``loss``, its value and running states."""
        sums = {weight: self._sums[weight] + flow for weight, flow in flows.items()} if self._sums else flows
        updates = self.updates.build(sums, self._states) if last else {self._sums[each]: sums[each] for each in sums}
        if loss is not None:
            updates |= new_states(loss)
        traced = trace(inputs, [*([] if loss is None else [loss]), *updates.values()], "training step")
        named = {traced.names[old]: traced.names[new] for old, new in updates.items()}
        return _Traced(traced.graph, named, "" if loss is None else traced.names[loss])

    @property
    def _parameters(self) -> dict[str, Array]:
        return {**self.network.parameters, **self.state, **self.gathered}

    def _whole(self, size: int, last: bool) -> Plan:
        made = self._whole_step if last else self._traced(self._flowing, self._inputs, self._loss, last=False)
        kind = SplitPlan if self._convolves else Plan
        return kind(
            made.graph,
            _shapes(made.graph, size),
            self._parameters,
            outputs=[made.loss],
            updates=made.updates,
            rng=self.network.rng,
        )

    def _halves(self, size: int, last: bool) -> Halves:
        traced = trace(self._inputs, [self._loss, *self._flowing.values()], "half a step")
        parameters = self._parameters
        plans = [Plan(traced.graph, _shapes(traced.graph, size // 2), parameters) for _ in range(2)]
        means: dict[Symbol, Symbol] = {}
        for weight, flow in self._flowing.items():
            name = traced.names[flow]
            one, two = (Leaf(f"{name}/{which}", flow.dtype, flow.shape, parameter=True) for which in range(2))
            means[weight] = (one + two) * 0.5
            parameters |= {f"{name}/{which}": plan.outputs[name] for which, plan in enumerate(plans)}
        made = self._traced(means, self._scalars, None, last=last)
        update = Plan(made.graph, {}, parameters, outputs=[], updates=made.updates)
        return Halves(plans, update, traced.names[self._loss])


class _Traced(NamedTuple):
    """A graph, the values that replace its parameters, and its loss."""

    graph: Graph
    updates: dict[str, str]
    loss: str


def _kept(arrays: dict[str, Array], weight: Symbol, role: str) -> Leaf:
    """What is kept for a parameter: zeros among ``arrays``, and their symbol."""
    name, shape = f"{weight.name}/{role}", tuple(int(dim) for dim in weight.shape)
    arrays[name] = aligned_copy(np.zeros(shape), weight.dtype)
    return Leaf(name, weight.dtype, shape, parameter=True, trainable=False)


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
