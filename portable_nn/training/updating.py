"""The updates of weights by gradients: groups of parameters, limits of the gradient, several batches a step,
averages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from operator import add
from typing import Any, Final

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Graph
from portable_nn.core.words import meant
from portable_nn.operators import Leaf, Symbol, cast, constant, emit
from portable_nn.training.optimizers import Optimizer
from portable_nn.training.parameters import matching

SCALAR: Final = "train/scalar/"
"""The beginning of the names of scalars, inputs of a training graph."""

SHARE, KEPT = "share", "kept"
"""Scalars: the share of a batch in the loss of a step of several batches, and of an average that is kept."""

LATEST: Final = "latest"
"""The state of a parameter that is averaged: while steps are taken, its average; otherwise the latest weight."""

Groups = Mapping[str, Mapping[str, Any]]
"""Options of the optimizer for the parameters that match a pattern."""


@dataclass(frozen=True)
class Updating:
    """The optimizer, and what surrounds it.

    Args:
        optimizer: the optimizer.
        groups: options that differ, by patterns of parameters; later ones go before earlier ones.
        clip_norm: the largest norm of all gradients together.
        accumulate: the number of batches a step.
        average: the share β of w̄ ← β·w̄ + (1 - β)·w, an exponential moving average of the weights.
    """

    optimizer: Optimizer
    groups: Groups = field(default_factory=dict)
    clip_norm: float | None = None
    accumulate: int = 1
    average: float | None = None

    @property
    def is_linear(self) -> bool:
        """True if a step is the gradient of the batch times the learning rate, and nothing else."""
        alone = not self.groups and self.clip_norm is None and self.accumulate == 1
        return alone and self.optimizer.scales_seed

    def by_parameter(self, graph: Graph) -> dict[str, Optimizer]:
        """The optimizer of each parameter. Raises ``UsageError`` for a pattern or an option that there is not."""
        found = {value.name: self.optimizer for value in graph.parameters}
        known = [each.name for each in fields(self.optimizer)]
        for pattern, options in self.groups.items():
            for name in options:
                if name not in known:
                    said = meant("SGD(…), Adam(…)", name) or f": it has {', '.join(known)}"
                    raise UsageError(f"groups: {type(self.optimizer).__name__} has no option '{name}'{said}")
            for name in matching(graph, [pattern], "groups"):
                found[name] = replace(found[name], **options)
        return found


class Updates:
    """The nodes of a step behind the gradients, and their inputs.

    Args:
        updating: what is to be done.
        graph: the graph of the network.
        dtype: the element type of the loss.
        parts: the names of the parts of the loss, each of which a batch has a share in.
    """

    def __init__(self, updating: Updating, graph: Graph, dtype: str, parts: Iterable[str]) -> None:
        self.updating = updating
        self.by_parameter = updating.by_parameter(graph)
        self.optimizers: list[Optimizer] = list(dict.fromkeys([updating.optimizer, *self.by_parameter.values()]))
        names = [
            name for place, each in enumerate(self.optimizers) for name in self._named(place, each.scalars(1, 1.0))
        ]
        names += [SHARE + part for part in parts] if updating.accumulate > 1 else []
        names += [KEPT] if updating.average is not None else []
        self._is_alone = len(self.optimizers) == 1 and updating.average is None
        self.scalars = {name: Leaf(SCALAR + name, dtype, ()) for name in names}

    @staticmethod
    def _named(place: int, scalars: Mapping[str, Any]) -> dict[str, Any]:
        return {f"{place}/{name}" if place else name: value for name, value in scalars.items()}

    def roles(self, weight: str) -> tuple[str, ...]:
        """The names of the arrays that are kept for a parameter."""
        return (*self.by_parameter[weight].states, *((LATEST,) if self.updating.average is not None else ()))

    def values(self, step: int, factor: float) -> Mapping[str, float]:
        """The scalars of a step, from 1, whose learning rates are multiplied by ``factor``."""
        if self._is_alone:
            optimizer = self.updating.optimizer
            return optimizer.scalars(step, optimizer.learning_rate * factor)
        found: dict[str, float] = {}
        for place, each in enumerate(self.optimizers):
            found |= self._named(place, each.scalars(step, each.learning_rate * factor))
        if self.updating.average is not None:
            found[KEPT] = self.updating.average if step > 1 else 0.0
        return found

    def build(
        self, gradients: Mapping[Symbol, Symbol], states: Mapping[Symbol, Mapping[str, Leaf]]
    ) -> dict[Symbol, Symbol]:
        """The new value of each parameter and of what is kept for it, by the old one.

        Args:
            gradients: the gradient of each parameter; where batches are gathered, the sum over them.
            states: what is kept for each parameter by role.
        """
        if self.updating.clip_norm is not None:
            gradients = _clipped(gradients, self.updating.clip_norm)
        updates: dict[Symbol, Symbol] = {}
        for weight, gradient in gradients.items():
            optimizer = self.by_parameter[str(weight.name)]
            place = self.optimizers.index(optimizer)
            scalars = {name: self.scalars[key] for name, key in self._keys(place, optimizer).items()}
            if optimizer.scales_seed and not self.updating.is_linear:
                gradient = gradient * _as(scalars["rate"], gradient)
            kept = {role: states[weight][role] for role in optimizer.states}
            updates.update(optimizer.update(weight, gradient, scalars, kept))
            if self.updating.average is not None:
                mean, share = states[weight][LATEST], _as(self.scalars[KEPT], weight)
                updates[mean] = mean * share + updates[weight] * (1 - share)
        return updates

    def _keys(self, place: int, optimizer: Optimizer) -> dict[str, str]:
        names = optimizer.scalars(1, 1.0)
        return dict(zip(names, self._named(place, names), strict=True))


def _as(scalar: Symbol, like: Symbol) -> Symbol:
    return cast(scalar, like.dtype)


def _clipped(gradients: Mapping[Symbol, Symbol], largest: float) -> dict[Symbol, Symbol]:
    """The gradients times min(1, largest / norm), the norm that of all of them. Pascanu et al., ICML 2013."""
    first = next(iter(gradients.values()))
    squares = [_as(emit("ReduceSumSquare", each, keepdims=0), first) for each in gradients.values()]
    norm = emit("Sqrt", reduce(add, squares))
    factor = emit("Min", largest / (norm + 1e-6), constant(1, first.dtype))
    return {weight: each * _as(factor, each) for weight, each in gradients.items()}
