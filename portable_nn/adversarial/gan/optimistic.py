"""Optimistic Adam: twice the step of Adam minus the last one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from portable_nn.core.errors import UsageError
from portable_nn.operators import Leaf, Symbol, emit
from portable_nn.training.optimizers import Adam, Optimizer


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
