"""The parts of a loss in a graph: what each trained output adds to it, what of that is measured, and the mean of many.

Where losses are divided by something else than the weight of the examples, such as the weights of their classes, each
part is measured by itself, with what it was divided by: only so do batches add up to the loss of all examples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from portable_nn.core.dims import substituted
from portable_nn.core.graph import Dim, Graph, Shape
from portable_nn.operators import Leaf, NamedArrays, Symbol, replay, trace
from portable_nn.training.losses import Built, Loss
from portable_nn.training.losses.base import logits_of
from portable_nn.training.trainable import Trainable

TARGET, WEIGHT = "train/target/", "train/sample_weight"
"""Names of the inputs of a training graph beside the network's own."""

Parts: TypeAlias = Mapping[str, tuple[str, str | None]]
"""Parts of a loss by output: the names of a value and of its norm (see ``Built``); without norms ``""``, the sum."""

Measured: TypeAlias = tuple[float, float]
"""The value of a part of the loss in a batch, and what it counts there: the weight of the examples, or the norm."""


def sized(graph: Graph, examples: NamedArrays) -> Graph:
    """``graph`` with the sizes of the ``examples`` apart from the batch: rules of gradients need them.

    The batch has one name, as each input has the same examples; a file may have one for each input.
    """
    named = [dim for each in graph.inputs for dim in each.shape[:1] if isinstance(dim, str)]
    batch = dict.fromkeys(named, named[0]) if named else {}
    inputs = (
        replace(each, shape=(*substituted(each.shape[:1], batch), *examples[each.name].shape[1:]))
        for each in graph.inputs
    )
    return replace(graph, inputs=tuple(inputs))


def shapes_for(graph: Graph, size: int) -> dict[str, tuple[Dim, ...]]:
    """The shapes of a graph's inputs for ``size`` examples."""
    return {
        value.name: (size, *(size if is_batch(dim, value.shape) else dim for dim in value.shape[1:]))
        if value.shape
        else ()
        for value in graph.inputs
    }


def is_batch(dim: Dim, shape: Shape) -> bool:
    """True if a size behind the first is that of the batch, as in the similarities of all pairs of examples."""
    return isinstance(dim, str) and dim == shape[0]


def build_losses(
    network: Trainable,
    symbols: Mapping[str, Symbol],
    losses: Mapping[str, Loss],
    targets: NamedArrays,
    weighted: Shape | None,
) -> tuple[dict[str, Built], list[Leaf]]:
    """The loss of each trained output, and the inputs that they need: targets and weights.

    A loss of logits is that of the logits of an output of probabilities.

    ``weighted`` are the sizes of the weights beside the batch: none for a weight of each example.
    """
    leaves: list[Leaf] = []
    given = {info.name for info in network.outputs if info.kind == "probabilities"}
    parts: dict[str, Built] = {}
    weight: Leaf | None = None
    for name, loss in losses.items():
        output = symbols[name]
        if weighted is not None and weight is None:
            weight = Leaf(WEIGHT, output.dtype, (*output.shape[:1], *weighted))
            leaves.append(weight)
        shape = list(targets[name].shape)
        for axis, dim in enumerate(output.shape[: len(shape)]):
            if not axis or is_batch(dim, output.shape):
                shape[axis] = dim
        target = Leaf(TARGET + name, str(targets[name].dtype), tuple(shape))
        leaves.append(target)
        output = loss.first(logits_of(output, loss) if name in given else output)
        parts[name] = loss.build(output, loss.first(target) if len(shape) == len(output.shape) else target, weight)
    return parts, leaves


def total_loss(losses: Mapping[str, Loss], parts: Mapping[str, Built]) -> Symbol:
    """The sum of the losses, each times its weight."""
    weights = {name: losses[name].weight for name in parts}
    return reduce(add, [times(part.value, weights[name]) for name, part in parts.items()])


def parts_of(losses: Mapping[str, Loss], parts: Mapping[str, Built]) -> dict[str, Built]:
    """The parts of the losses of each batch, by output, for the loss of many; without norms, only the sum."""
    has_norms = any(part.norm is not None for part in parts.values())
    return dict(parts) if has_norms else {"": Built(total_loss(losses, parts))}


def factor_of(losses: Mapping[str, Loss], part: str) -> float:
    """The factor of a part of the loss in the sum."""
    return losses[part].weight if part else 1.0


def mean_loss(losses: Mapping[str, Loss], names: Iterable[str], sums: Iterable[Sequence[float]]) -> float:
    """The loss of many batches, from two sums of each part: of its values times what they count, and of the latter.

    NaN where nothing counts.
    """
    counted = [(factor_of(losses, name), *each) for name, each in zip(names, sums, strict=True) if each[1]]
    return sum(factor * total / count for factor, total, count in counted) if counted else math.nan


def named_parts(parts: Mapping[str, Built], names: Mapping[Symbol, str]) -> Parts:
    """The parts by the names of their values."""
    return {key: (names[part.value], None if part.norm is None else names[part.norm]) for key, part in parts.items()}


def symbols_of(parts: Mapping[str, Built]) -> list[Symbol]:
    """Their values and norms."""
    return [each for part in parts.values() for each in part if each is not None]


def times(symbol: Symbol, factor: float) -> Symbol:
    """The product, without a node for a factor of 1."""
    return symbol if factor == 1 else symbol * factor


class LossGraph(NamedTuple):
    """The graph that computes weighted losses and the outputs, without training; and the parts of the loss."""

    graph: Graph
    parts: Parts


def loss_graph(
    network: Trainable,
    losses: Mapping[str, Loss],
    examples: NamedArrays,
    targets: NamedArrays,
    *,
    weighted: Shape | None,
) -> LossGraph:
    """The graph of the losses: see ``LossGraph``."""
    symbols = replay(sized(network.graph, examples))
    parts, extra = build_losses(network, symbols, losses, targets, weighted)
    found = parts_of(losses, parts)
    inputs = [leaf for value in network.graph.inputs if isinstance(leaf := symbols[value.name], Leaf)]
    outputs = [symbols[name] for name in network.graph.outputs]
    traced = trace([*inputs, *extra], [*symbols_of(found), *outputs], "evaluation")
    return LossGraph(traced.graph, named_parts(found, traced.names))
