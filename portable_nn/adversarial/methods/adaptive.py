"""Adam and RMSProp for games, in the four update schemes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from portable_nn.adversarial.methods.steps import MethodState, StepContext

Scaled: TypeAlias = Callable[[StepContext, Any, MethodState], tuple[Any, MethodState]]
"""From F and the running moments: the preconditioned direction, and the new moments."""


def adam(context: StepContext, field: Any, kept: MethodState) -> tuple[Any, MethodState]:
    """m̂/(√v̂ + ε): Kingma and Ba 2015; ``context.clock`` has 1 - β₁ᵗ and 1 - β₂ᵗ."""
    beta1, beta2 = context.options["beta1"], context.options["beta2"]
    first = kept[0] * beta1 + field * (1 - beta1)
    second = kept[1] * beta2 + field * field * (1 - beta2)
    scale = context.oracle.root(second / context.clock[1]) + context.options["epsilon"]
    return first / context.clock[0] / scale, (first, second)


def rmsprop(context: StepContext, field: Any, kept: MethodState) -> tuple[Any, MethodState]:
    """F/(√v + ε): Tieleman and Hinton 2012."""
    alpha = context.options["alpha"]
    second = kept[1] * alpha + field * field * (1 - alpha)
    return field / (context.oracle.root(second) + context.options["epsilon"]), (kept[0], second)


def simultaneous(scaled: Scaled, context: StepContext, state: MethodState) -> MethodState:
    """Both players at once."""
    z, *kept = state
    direction, after = scaled(context, context.oracle.field(z), tuple(kept))
    return (z - context.rate * direction, *after)


def alternating(scaled: Scaled, context: StepContext, state: MethodState) -> MethodState:
    """x first, then y with the new x; each player's moments see its own gradients only."""
    (z, *kept), oracle = state, context.oracle
    first, one = scaled(context, oracle.field(z, 0.5), tuple(kept))
    half = oracle.join(z - context.rate * first, z)
    second, other = scaled(context, oracle.field(half, 0.5), tuple(kept))
    means = (oracle.join(a, b) for a, b in zip(one, other, strict=True))
    return (oracle.join(half, half - context.rate * second), *means)


def optimistic(scaled: Scaled, context: StepContext, state: MethodState) -> MethodState:
    """z - η(2d - the last d), where d is the direction: Daskalakis et al. 2018, arXiv 1711.00141, algorithm 1."""
    z, *kept, last = state
    direction, after = scaled(context, context.oracle.field(z), tuple(kept))
    return (z - context.rate * (direction * 2.0 - last), *after, direction)


def extrapolating(scaled: Scaled, context: StepContext, state: MethodState) -> MethodState:
    """Extrapolation and update, both of which enter the moments: Gidel et al. 2019, arXiv 1802.10551, algorithm 4."""
    (z, *kept), clock = state, context.clock
    context.clock = clock[:2]
    direction, after = scaled(context, context.oracle.field(z), tuple(kept))
    context.clock = clock[2:]
    direction, after = scaled(context, context.oracle.field(z - context.rate * direction), after)
    return (z - context.rate * direction, *after)
