"""Steps whose size adapts to the gradients seen, Adam and RMSProp, in the four orders of play."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from portable_nn.adversarial.steps import Now, State

Scaled: TypeAlias = Callable[[Now, Any, State], tuple[Any, State]]
"""From F and what is kept, the direction in place of F, and what is kept next."""


def no_moments(now: Now, z: Any) -> State:
    """z, and two running means of 0."""
    return z, z * 0.0, z * 0.0


def no_move(now: Now, z: Any) -> State:
    """z, two running means of 0, and no last direction."""
    return z, z * 0.0, z * 0.0, z * 0.0


def adam(now: Now, field: Any, kept: State) -> tuple[Any, State]:
    """m̂/(√v̂ + ε): Kingma and Ba 2015; ``now.clock`` has 1 - β₁ᵗ and 1 - β₂ᵗ."""
    beta1, beta2 = now.number("beta1"), now.number("beta2")
    first = kept[0] * beta1 + field * (1 - beta1)
    second = kept[1] * beta2 + field * field * (1 - beta2)
    scale = now.oracle.root(second / now.clock[1]) + now.number("epsilon")
    return first / now.clock[0] / scale, (first, second)


def rmsprop(now: Now, field: Any, kept: State) -> tuple[Any, State]:
    """F/(√v + ε): Tieleman and Hinton 2012."""
    alpha = now.number("alpha")
    second = kept[1] * alpha + field * field * (1 - alpha)
    return field / (now.oracle.root(second) + now.number("epsilon")), (kept[0], second)


def simultaneous(scaled: Scaled) -> Callable[[Now, State], State]:
    """Both players at once."""

    def step(now: Now, state: State) -> State:
        z, *kept = state
        direction, after = scaled(now, now.oracle.field(z), tuple(kept))
        return (z - now.rate * direction, *after)

    return step


def alternating(scaled: Scaled) -> Callable[[Now, State], State]:
    """x first, then y with the new x; each player's means see its own slopes alone."""

    def step(now: Now, state: State) -> State:
        (z, *kept), oracle = state, now.oracle
        first, one = scaled(now, oracle.field(z, 0.5), tuple(kept))
        half = oracle.join(z - now.rate * first, z)
        second, other = scaled(now, oracle.field(half, 0.5), tuple(kept))
        means = (oracle.join(a, b) for a, b in zip(one, other, strict=True))
        return (oracle.join(half, half - now.rate * second), *means)

    return step


def optimistic(scaled: Scaled) -> Callable[[Now, State], State]:
    """z - η(2d - the last d), where d is the direction: Daskalakis et al. 2018, arXiv 1711.00141, algorithm 1."""

    def step(now: Now, state: State) -> State:
        z, *kept, last = state
        direction, after = scaled(now, now.oracle.field(z), tuple(kept))
        return (z - now.rate * (direction * 2.0 - last), *after, direction)

    return step


def extrapolating(scaled: Scaled) -> Callable[[Now, State], State]:
    """A step ahead, and the step from there; the means see both: Gidel et al. 2019, arXiv 1802.10551, algorithm 4."""

    def step(now: Now, state: State) -> State:
        (z, *kept), clock = state, now.clock
        now.clock = clock[:2]
        direction, after = scaled(now, now.oracle.field(z), tuple(kept))
        now.clock = clock[2:]
        direction, after = scaled(now, now.oracle.field(z - now.rate * direction), after)
        return (z - now.rate * direction, *after)

    return step
