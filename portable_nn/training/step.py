"""One training step as a graph: forward, loss, backward and updates; and the plans that run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from portable_nn.engines.plan import Plan
from portable_nn.engines.rewrites import pool_first
from portable_nn.errors import UsageError
from portable_nn.graph import Graph
from portable_nn.memory import aligned_copy
from portable_nn.network import Network
from portable_nn.operators import Leaf, Symbol, constant, replay, trace
from portable_nn.operators.registry import Array
from portable_nn.operators.symbols import reachable
from portable_nn.training.gradient import gradients
from portable_nn.training.losses import Loss
from portable_nn.training.optimizers import Optimizer

Targets: TypeAlias = Mapping[str, Array]

TARGET, WEIGHT, SCALAR = "train/target/", "train/sample_weight", "train/scalar/"
"""Names of what a training graph has beside the network's own values."""


class TrainingStep:
    """The graph of one step for a network, and the state that its optimizer keeps.

    ``losses`` has a loss for each output that is trained, ``targets`` an array for each, from which the type of the
    graph's target input is taken. Raises ``UsageError`` where no gradient reaches any parameter.
    """

    def __init__(
        self, network: Network, losses: Mapping[str, Loss], targets: Targets, optimizer: Optimizer, *, weighted: bool
    ) -> None:
        self.network, self.optimizer = network, optimizer
        symbols = replay(pool_first(network.graph, network.graph.outputs), training=True)
        self.state: dict[str, Array] = {}
        inputs = [symbols[value.name] for value in network.graph.inputs]
        loss, extra = total_loss(symbols, losses, targets, weighted)
        scalars = {name: Leaf(SCALAR + name, loss.dtype, ()) for name in optimizer.scalars(1, 1.0)}
        updates = self._updates(symbols, loss, scalars) | new_states(loss)
        leaves = [leaf for leaf in inputs if isinstance(leaf, Leaf)] + extra + list(scalars.values())
        traced = trace(leaves, [loss, *updates.values()], "training step")
        self.graph: Graph = traced.graph
        self.loss = traced.names[loss]
        self.updates = {traced.names[old]: traced.names[new] for old, new in updates.items()}
        self.scalars = tuple(scalars)
        self._plans: dict[int, Plan] = {}

    def _updates(
        self, symbols: Mapping[str, Symbol], loss: Symbol, scalars: Mapping[str, Leaf]
    ) -> dict[Symbol, Symbol]:
        weights = {value.name: symbols[value.name] for value in self.network.graph.parameters if value.trainable}
        seed = scalars["rate"] if self.optimizer.scales_seed else constant(1, loss.dtype)
        flowing = gradients([loss], [seed], list(weights.values()))
        if not any(flowing):
            raise UsageError("nothing can be trained: no gradient reaches a trainable parameter")
        updates: dict[Symbol, Symbol] = {}
        for (name, weight), gradient in zip(weights.items(), flowing, strict=True):
            if gradient is not None:
                states = {role: self._make_state(f"{name}/{role}", weight) for role in self.optimizer.states}
                updates.update(self.optimizer.update(weight, gradient, scalars, states))
        return updates

    def _make_state(self, name: str, weight: Symbol) -> Leaf:
        shape = tuple(int(dim) for dim in weight.shape)
        self.state[name] = aligned_copy(np.zeros(shape), weight.dtype)
        return Leaf(name, weight.dtype, shape, parameter=True, trainable=False)

    def plan(self, size: int) -> Plan:
        """The plan for a batch of ``size`` examples."""
        if size not in self._plans:
            shapes = {value.name: (size, *value.shape[1:]) if value.shape else () for value in self.graph.inputs}
            parameters = {**self.network.parameters, **self.state}
            self._plans[size] = Plan(
                self.graph, shapes, parameters, outputs=[self.loss], updates=self.updates, rng=self.network.rng
            )  # fmt: skip
        return self._plans[size]


def new_states(loss: Symbol) -> dict[Symbol, Symbol]:
    """What nodes on the way to ``loss`` put in the place of parameters that are their state: running statistics."""
    new: dict[Symbol, Symbol] = {}
    for origin in reachable([loss]):
        state = origin.operator.state if origin.operator else {}
        for output, index in state.items():
            if output < len(origin.outputs):
                old = origin.inputs[index]
                # Where two nodes share a state, the second goes on from what the first has made of it.
                parameter = next((parameter for parameter, value in new.items() if value is old), old)
                if isinstance(parameter, Leaf) and parameter.parameter:
                    new[parameter] = origin.outputs[output]
    return new


def total_loss(
    symbols: Mapping[str, Symbol], losses: Mapping[str, Loss], targets: Targets, weighted: bool
) -> tuple[Symbol, list[Leaf]]:
    """The sum of the losses of all trained outputs, and the inputs that it adds to the graph."""
    leaves: list[Leaf] = []
    parts: list[Symbol] = []
    weight: Leaf | None = None
    for name, loss in losses.items():
        output = symbols[name]
        if weighted and weight is None:
            weight = Leaf(WEIGHT, output.dtype, output.shape[:1])
            leaves.append(weight)
        target = Leaf(TARGET + name, str(targets[name].dtype), (output.shape[0], *targets[name].shape[1:]))
        leaves.append(target)
        parts.append(loss.build(output, target, weight))
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return result, leaves


def loss_graph(network: Network, losses: Mapping[str, Loss], targets: Targets) -> Graph:
    """The graph that computes the weighted loss and then the outputs, without training."""
    symbols = replay(network.graph)
    loss, extra = total_loss(symbols, losses, targets, weighted=True)
    inputs = [leaf for value in network.graph.inputs if isinstance(leaf := symbols[value.name], Leaf)]
    return trace([*inputs, *extra], [loss, *(symbols[name] for name in network.graph.outputs)], "evaluation").graph
