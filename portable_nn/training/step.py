"""One training step as a graph: forward, loss, backward and updates; and the plans that run it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Graph, Node, Shape
from portable_nn.core.memory import aligned_copy
from portable_nn.engines.apart import has_convolution, keeps_examples_apart
from portable_nn.engines.once import run_plan
from portable_nn.engines.plan import Plan
from portable_nn.engines.split import SplitPlan
from portable_nn.operators import Array, Leaf, NamedArrays, Symbol, constant, lookup, reachable, replay, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.linear.blas import has_threads_to_set
from portable_nn.operators.quantised import FLOATS_TRAIN, QUANTISED
from portable_nn.rewrites import DEFAULT, Program, rewritten
from portable_nn.training.halves import SMALLEST, Halves
from portable_nn.training.losses import Built, Loss
from portable_nn.training.parts import (
    Measured,
    Parts,
    build_losses,
    factor_of,
    mean_loss,
    named_parts,
    parts_of,
    shapes_for,
    sized,
    symbols_of,
    times,
    total_loss,
)
from portable_nn.training.sources import Batch, targets_of
from portable_nn.training.trainable import Trainable
from portable_nn.training.updating import LATEST, SHARE, Updates, Updating


class TrainingStep:
    """The graph of one step for a network, and the state of its optimizer.

    Args:
        network: the network.
        losses: the loss of each output that is trained.
        examples: arrays by input, whose shapes without the batch are those of the graph's inputs.
        targets: arrays by trained output, whose types and shapes are those of the graph's targets.
        updating: the optimizer, and what surrounds it.
        weighted: the sizes of the weights of the examples beside the batch, none for one weight each; ``None`` where
            there are no weights.
        rewrites: the names of the graph rewrites that run before the gradient is taken.
        truncate: the number of steps through which gradients flow back in recurrent layers; by default all.

    Raises ``UsageError`` where no gradient reaches a trainable parameter, or there is nothing to truncate.
    """

    def __init__(
        self,
        network: Trainable,
        losses: Mapping[str, Loss],
        examples: NamedArrays,
        targets: NamedArrays,
        updating: Updating,
        *,
        weighted: Shape | None,
        rewrites: Collection[str] = DEFAULT,
        truncate: int | None = None,
    ) -> None:
        network.own_weights()
        self.network, self.updating = network, updating
        graph = sized(network.graph, examples)
        form = None if truncate is None else partial(_truncated, truncate)
        if form and not any(lookup(node.operator, node.domain).truncated for node in graph.nodes):
            raise UsageError("truncate is for recurrent layers, RNN, GRU and LSTM, and the network has none")
        symbols = replay(rewritten(Program(graph, network.parameters), rewrites).graph, training=True, form=form)
        inputs = [symbols[value.name] for value in network.graph.inputs]
        parts, extra = build_losses(network, symbols, losses, targets, weighted)
        self.losses, self._loss, self._parts = losses, total_loss(losses, parts), parts_of(losses, parts)
        self.updates = Updates(updating, network.graph, self._loss.dtype, self._parts)
        self._scalars = list(self.updates.scalars.values())
        self.shares = Shares(self._parts, extra) if updating.accumulate > 1 else None
        self._inputs = [*(leaf for leaf in inputs if isinstance(leaf, Leaf)), *extra, *self._scalars]
        self._flowing = self._gradients(symbols)
        self.state, self.gathered = dict[str, Array](), dict[str, Array]()
        self._states = {
            weight: {
                role: kept_state(self.state, weight, f"{weight.name}/{role}")
                for role in self.updates.roles(str(weight.name))
            }
            for weight in self._flowing
        }
        self._sums = {
            weight: kept_state(self.gathered, weight, f"{weight.name}/sum")
            for weight in self._flowing
            if updating.accumulate > 1
        }
        self.averages = {} if updating.average is None else self._begin_averages()
        self._convolves = has_threads_to_set() and has_convolution(graph)
        apart = weighted is None and all(each.is_apart for each in losses.values())
        self._in_halves = apart and self._convolves and keeps_examples_apart(graph, training=True)
        self._whole_step = self._traced(self._flowing, self._inputs, self._parts, last=True)
        self.graph, self.parts = self._whole_step.graph, self._whole_step.parts
        self._plans: dict[tuple[int, bool], Plan | Halves] = {}

    @property
    def changed(self) -> dict[str, Array]:
        """The arrays that a step changes: weights, the optimizer's state and running statistics."""
        arrays = self._parameters
        return {name: arrays[name] for name in self._whole_step.updates}

    def _gradients(self, symbols: Mapping[str, Symbol]) -> dict[Symbol, Symbol]:
        """The gradient of each trainable parameter that the loss depends on."""
        weights = [symbols[value.name] for value in self.network.graph.parameters if value.trainable]
        scalars, outputs = self.updates.scalars, [self._loss]
        if self.updating.accumulate > 1:
            outputs = [part.value for part in self._parts.values()]
            seeds = [times(scalars[SHARE + name], factor_of(self.losses, name)) for name in self._parts]
        else:
            seeds = [scalars["rate"] if self.updating.is_linear else constant(1, self._loss.dtype)]
        flowing = zip(weights, gradients(outputs, seeds, weights), strict=True)
        found = {weight: gradient for weight, gradient in flowing if gradient is not None}
        if not found:
            hint = f"; {FLOATS_TRAIN}" if any(node.operator in QUANTISED for node in self.network.graph.nodes) else ""
            raise UsageError(f"nothing can be trained: no gradient reaches a trainable parameter{hint}")
        return found

    def measured(self, plan: Plan | Halves, weight: float) -> list[Measured]:
        """The value of each part of the loss in a batch whose examples have this weight, and what it counts there."""
        outputs = plan.outputs
        return [
            (float(outputs[value]), weight if norm is None else float(outputs[norm]))
            for value, norm in self.parts.values()
        ]

    def mean_loss(self, sums: Sequence[Sequence[float]]) -> float:
        """The loss of many batches: see the function of this name."""
        return mean_loss(self.losses, self.parts, sums)

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
        self, flows: Mapping[Symbol, Symbol], inputs: Sequence[Leaf], parts: Mapping[str, Built], *, last: bool
    ) -> _Traced:
        """The graph that makes a step of gradients, or gathers them; of ``parts``, also values and running states."""
        sums = {weight: self._sums[weight] + flow for weight, flow in flows.items()} if self._sums else flows
        updates = self.updates.build(sums, self._states) if last else {self._sums[each]: sums[each] for each in sums}
        if parts:
            updates |= new_states(self._loss)
        traced = trace(inputs, [*symbols_of(parts), *updates.values()], "training step")
        named = {traced.names[old]: traced.names[new] for old, new in updates.items()}
        return _Traced(traced.graph, named, named_parts(parts, traced.names))

    @property
    def _parameters(self) -> dict[str, Array]:
        return {**self.network.parameters, **self.state, **self.gathered}

    def _whole(self, size: int, last: bool) -> Plan:
        made = self._whole_step if last else self._traced(self._flowing, self._inputs, self._parts, last=False)
        kind = SplitPlan if self._convolves else Plan
        return kind(
            made.graph,
            shapes_for(made.graph, size),
            self._parameters,
            outputs=[name for names in made.parts.values() for name in names if name],
            updates=made.updates,
            rng=self.network.rng,
        )

    def _halves(self, size: int, last: bool) -> Halves:
        traced = trace(self._inputs, [self._loss, *self._flowing.values()], "half a step")
        parameters = self._parameters
        plans = [Plan(traced.graph, shapes_for(traced.graph, size // 2), parameters) for _ in range(2)]
        means: dict[Symbol, Symbol] = {}
        for weight, flow in self._flowing.items():
            name = traced.names[flow]
            one, two = (Leaf(f"{name}/{which}", flow.dtype, flow.shape, parameter=True) for which in range(2))
            means[weight] = (one + two) * 0.5
            parameters |= {f"{name}/{which}": plan.outputs[name] for which, plan in enumerate(plans)}
        made = self._traced(means, self._scalars, {}, last=last)
        update = Plan(made.graph, {}, parameters, outputs=[], updates=made.updates)
        return Halves(plans, update, traced.names[self._loss])


def _truncated(steps: int, node: Node, inputs: Sequence[Symbol | None]) -> Sequence[Symbol] | None:
    """The form of a recurrent node whose gradients flow back through so many steps."""
    make = lookup(node.operator, node.domain).truncated
    return make and make(inputs, node.attributes, node.name, truncation=steps)


class _Traced(NamedTuple):
    """A graph, the values that replace its parameters, and the parts of its loss."""

    graph: Graph
    updates: dict[str, str]
    parts: Parts


def kept_state(arrays: dict[str, Array], weight: Symbol, name: str) -> Leaf:
    """The state that is kept for a parameter: zeros among ``arrays``, and their symbol."""
    shape = tuple(int(dim) for dim in weight.shape)
    arrays[name] = aligned_copy(np.zeros(shape), weight.dtype)
    return Leaf(name, weight.dtype, shape, parameter=True, trainable=False)


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


class Shares:
    """The share of each batch in each part of the loss of a step: what the part counts in it, of what it counts in all.

    Args:
        parts: the parts of the loss.
        inputs: what they compare with: the targets, and the weights of the examples.
    """

    def __init__(self, parts: Mapping[str, Built], inputs: Sequence[Leaf]) -> None:
        self.names = [SHARE + name for name in parts]
        self.norms = [part.norm for part in parts.values()]
        computed = [norm for norm in self.norms if norm is not None]
        self.graph = trace(inputs, computed, "norms").graph if computed else None
        self._plans: dict[int, Plan] = {}

    def __call__(self, batches: Sequence[tuple[Batch, float]]) -> list[dict[str, float]]:
        """The scalars of each batch, which comes with the weight of its examples."""
        counts = [self._counts(*each) for each in batches]
        sums = [sum(column) or 1.0 for column in zip(*counts, strict=True)]  # Where nothing counts, no share does.
        return [{name: count / of for name, count, of in zip(self.names, each, sums, strict=True)} for each in counts]

    def _counts(self, batch: Batch, weight: float) -> list[float]:
        """The number of examples that each part of the loss counts in a batch."""
        found = iter(self._computed(self.graph, batch) if self.graph else ())
        return [weight if norm is None else next(found) for norm in self.norms]

    def _computed(self, graph: Graph, batch: Batch) -> list[float]:
        """The norms, which depend on the targets alone."""
        size, arrays = targets_of(batch)
        plan = self._plans.get(size)
        if plan is None:
            plan = self._plans[size] = Plan(graph, shapes_for(graph, size), {})
        made = run_plan(plan, arrays)
        return [float(made[name]) for name in graph.outputs]
