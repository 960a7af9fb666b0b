"""The steps of all methods, each written once over an ``Oracle``.

A method keeps a state, a tuple of vectors of which the first is z. ``begin`` makes it from the start; ``step`` makes
the next one. A step sees ``Now``: the game, the learning rate (of each player), the numbers of the method's clock at
this step, and its options. In formulas F is the field, J its Jacobian and η the rate, as in ``game``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from portable_nn.adversarial.oracle import Oracle

State: TypeAlias = tuple[Any, ...]


@dataclass
class Now:
    """What a step is given."""

    oracle: Oracle[Any, Any]
    rate: Any
    clock: tuple[Any, ...]
    options: Mapping[str, float | None]

    def number(self, name: str) -> float:
        """An option that always has a value."""
        value = self.options[name]
        assert value is not None
        return value


Begin: TypeAlias = Callable[[Now, Any], State]
Step: TypeAlias = Callable[[Now, State], State]


def alone(now: Now, z: Any) -> State:
    """z is all that is kept."""
    return (z,)


def with_start(now: Now, z: Any) -> State:
    """z, and where it began."""
    return z, z


def with_field(now: Now, z: Any) -> State:
    """z, and F there, as if it had been the same a step before."""
    return z, now.oracle.field(z)


def with_rest(now: Now, z: Any) -> State:
    """z, and a velocity of 0."""
    return z, z * 0.0


def simultaneous(now: Now, state: State) -> State:
    """z - ηF(z)."""
    (z,) = state
    return (z - now.rate * now.oracle.field(z),)


def alternating(now: Now, state: State) -> State:
    """x - ηFₓ(x, y), then y - ηF_y with the new x."""
    (z,), oracle = state, now.oracle
    half = oracle.join(z - now.rate * oracle.field(z, 0.5), z)
    return (oracle.join(half, half - now.rate * oracle.field(half, 0.5)),)


def extragradient(now: Now, state: State) -> State:
    """z - ηF(z - gamma·F(z)), gamma = η where it is not given."""
    (z,), gamma = state, now.options["gamma"]
    ahead = z - (now.rate if gamma is None else gamma) * now.oracle.field(z)
    return (z - now.rate * now.oracle.field(ahead),)


def optimistic(now: Now, state: State) -> State:
    """z - η(2F(z) - the last F)."""
    z, last = state
    field = now.oracle.field(z)
    return z - now.rate * (field * 2.0 - last), field


def alternating_optimistic(now: Now, state: State) -> State:
    """As optimistic, x first, then y with the new x."""
    (z, last), oracle = state, now.oracle
    first = oracle.field(z, 0.5)
    half = oracle.join(z - now.rate * (first * 2.0 - last), z)
    second = oracle.field(half, 0.5)
    return oracle.join(half, half - now.rate * (second * 2.0 - last)), oracle.join(first, second)


def proximal(now: Now, state: State) -> State:
    """The w with w = z - ηF(w)."""
    (z,) = state
    return (now.oracle.implicit(z, now.rate),)


def midpoint(now: Now, state: State) -> State:
    """The w with w = z - ηF((z + w)/2): an implicit half step, then mirrored."""
    (z,) = state
    return (now.oracle.implicit(z, now.rate * 0.5) * 2.0 - z,)


def competitive(now: Now, state: State) -> State:
    """z - (1 + ηJ_off)⁻¹ηF: each player's best answer to the other's best answer, to second order."""
    (z,), oracle = state, now.oracle
    matrix = oracle.shifted(now.rate, oracle.coupling(oracle.jacobian(z)))
    return (z - oracle.solve(matrix, now.rate * oracle.field(z)),)


def looking_ahead(times: float) -> Step:
    """z - η(F - times·J_off ηF)."""

    def step(now: Now, state: State) -> State:
        (z,), oracle = state, now.oracle
        field = oracle.field(z)
        answer = oracle.apply(oracle.coupling(oracle.jacobian(z)), now.rate * field)
        return (z - now.rate * (field - answer * times),)

    return step


def consensus(now: Now, state: State) -> State:
    """z - η(F + gamma·JᵀF)."""
    (z,), oracle = state, now.oracle
    field = oracle.field(z)
    pull = oracle.apply(oracle.transposed(oracle.jacobian(z)), field)
    return (z - now.rate * (field + pull * now.number("gamma")),)


def symplectic(now: Now, state: State) -> State:
    """z - η(F + λAᵀF), A = (J - Jᵀ)/2."""
    (z,), oracle = state, now.oracle
    field, matrix = oracle.field(z), oracle.jacobian(z)
    twice = oracle.apply(oracle.transposed(matrix), field) - oracle.apply(matrix, field)
    return (z - now.rate * (field + twice * (0.5 * now.number("lam"))),)


def hamiltonian(now: Now, state: State) -> State:
    """z - ηJᵀF: down the slope of ½‖F‖²."""
    (z,), oracle = state, now.oracle
    return (z - now.rate * oracle.apply(oracle.transposed(oracle.jacobian(z)), oracle.field(z)),)


def ridge(now: Now, state: State) -> State:
    """z - ηF; the follower W also moves along the ridge of its best answers to the leader L, by J_WW⁻¹J_WL ηF_L."""
    (z,), oracle = state, now.oracle
    field, matrix = oracle.field(z), oracle.jacobian(z)
    coupled = oracle.apply(oracle.coupling(matrix), now.rate * field)
    follower = int(now.number("follower"))
    step = now.rate * field
    answer = step - oracle.solve(oracle.own(matrix, follower), coupled)
    return (z - (oracle.join(answer, step) if follower == 0 else oracle.join(step, answer)),)


def momentum(now: Now, state: State) -> State:
    """z - ηF + βv, where v is the last move."""
    z, velocity = state
    move = velocity * now.number("beta") - now.rate * now.oracle.field(z)
    return z + move, move


def alternating_momentum(now: Now, state: State) -> State:
    """As momentum, x first, then y with the new x."""
    (z, velocity), oracle, beta = state, now.oracle, now.number("beta")
    first = velocity * beta - now.rate * oracle.field(z, 0.5)
    half = oracle.join(z + first, z)
    second = velocity * beta - now.rate * oracle.field(half, 0.5)
    return oracle.join(half, half + second), oracle.join(first, second)


def lookahead(now: Now, state: State) -> State:
    """Simultaneous steps; after every k of them back to where they began, and from there alpha of the way."""
    z, slow = state
    (whether,) = now.clock
    fast = z - now.rate * now.oracle.field(z)
    slow = slow + (fast - slow) * (now.number("alpha") * whether)
    return fast + (slow - fast) * whether, slow


def anchored(now: Now, state: State) -> State:
    """An extragradient step that is drawn to the start by 1/(k + 2) of the way."""
    (z, start), (pull,) = state, now.clock
    anchor = z + (start - z) * pull
    half = anchor - now.rate * now.oracle.field(z)
    return anchor - now.rate * now.oracle.field(half), start


def runge_kutta(now: Now, state: State) -> State:
    """The classical method of fourth order on dz/dt = -F."""
    (z,), oracle, rate = state, now.oracle, now.rate
    first = oracle.field(z)
    second = oracle.field(z - rate * first * 0.5)
    third = oracle.field(z - rate * second * 0.5)
    fourth = oracle.field(z - rate * third)
    return (z - rate * (first + (second + third) * 2.0 + fourth) * (1 / 6),)
