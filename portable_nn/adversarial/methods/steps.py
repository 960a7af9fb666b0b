"""The steps of all methods, each written once over an ``Oracle``.

A method keeps a state, a tuple of vectors of which the first is z, the others begin as ``KEPT`` says: a
``StepFunction`` makes the next one. In formulas F is the game's vector field, J its Jacobian and η the learning rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from portable_nn.adversarial.methods.oracle import Oracle

MethodState: TypeAlias = tuple[Any, ...]

TINY: Final = 1e-300
"""Added to a squared norm that is divided by, which is 0 where the step is."""


@dataclass
class StepContext:
    """The inputs of a step: the game, the learning rates, the numbers that depend on its place alone, and options."""

    oracle: Oracle
    rate: Any
    clock: tuple[Any, ...]
    options: Mapping[str, Any]


StepFunction: TypeAlias = Callable[[StepContext, MethodState], MethodState]


KEPT: Final[Mapping[str, Callable[[StepContext, Any], Any]]] = {
    "start": lambda context, z: z,
    "field": lambda context, z: context.oracle.field(z),  # In place of the F of a previous step.
    "zeros": lambda context, z: z * 0.0,
    "ones": lambda context, z: z * 0.0 + 1.0,
}
"""The vectors that methods keep besides z: what each is before the first step."""


def simultaneous(context: StepContext, state: MethodState) -> MethodState:
    """z - ηF(z)."""
    (z,) = state
    return (z - context.rate * context.oracle.field(z),)


def alternating(context: StepContext, state: MethodState) -> MethodState:
    """x - ηFₓ(x, y), then y - ηF_y with the new x."""
    (z,), oracle = state, context.oracle
    half = oracle.join(z - context.rate * oracle.field(z, 0.5), z)
    return (oracle.join(half, half - context.rate * oracle.field(half, 0.5)),)


def extragradient(context: StepContext, state: MethodState) -> MethodState:
    """z - ηF(z - gamma·F(z)); gamma = η if it is ``None``."""
    (z,), gamma = state, context.options["gamma"]
    ahead = z - (context.rate if gamma is None else gamma) * context.oracle.field(z)
    return (z - context.rate * context.oracle.field(ahead),)


def _optimistic(context: StepContext, field: Any, last: Any) -> Any:
    """ηF + gamma·(F - the last F); gamma = η if it is ``None``."""
    gamma = context.options["gamma"]
    if gamma is None:
        return context.rate * (field * 2.0 - last)
    return context.rate * field + (field - last) * gamma


def optimistic(context: StepContext, state: MethodState) -> MethodState:
    """z - ηF(z) - gamma·(F(z) - F(the last z)); gamma = η if it is ``None``."""
    z, last = state
    field = context.oracle.field(z)
    return z - _optimistic(context, field, last), field


def alternating_optimistic(context: StepContext, state: MethodState) -> MethodState:
    """As optimistic, x first, then y with the new x."""
    (z, last), oracle = state, context.oracle
    first = oracle.field(z, 0.5)
    half = oracle.join(z - _optimistic(context, first, last), z)
    second = oracle.field(half, 0.5)
    return oracle.join(half, half - _optimistic(context, second, last)), oracle.join(first, second)


def prediction(context: StepContext, state: MethodState) -> MethodState:
    """x - ηFₓ(x, y), then y - ηF_y at the new x plus its last move: the x of the next step, predicted."""
    (z,), oracle = state, context.oracle
    half = oracle.join(z - context.rate * oracle.field(z, 0.5), z)
    return (oracle.join(half, z - context.rate * oracle.field(half * 2.0 - z, 0.5)),)


def slingshot(context: StepContext, state: MethodState) -> MethodState:
    """z - ηF with η negative for y, then with η negative for x, in turn: ``context.clock`` has the sign."""
    (z,), (sign,) = state, context.clock
    move = context.rate * context.oracle.field(z) * sign
    return (context.oracle.join(z - move, z + move),)


def smoothed(context: StepContext, state: MethodState) -> MethodState:
    """y - η(F_y + pull·(y - s)), then x - ηFₓ with the new y; s, the smoothed y, moves by beta towards y."""
    (z, slow), oracle, options = state, context.oracle, context.options
    pulled = oracle.field(z, 0.5) + (z - slow) * options["pull"]
    half = oracle.join(z, z - context.rate * pulled)
    after = oracle.join(half - context.rate * oracle.field(half, 0.5), half)
    return after, oracle.join(after, slow + (after - slow) * options["beta"])  # Nothing of x is kept.


def proximal(context: StepContext, state: MethodState) -> MethodState:
    """The w with w = z - ηF(w)."""
    (z,) = state
    return (context.oracle.implicit(z, context.rate),)


def midpoint(context: StepContext, state: MethodState) -> MethodState:
    """The w with w = z - ηF((z + w)/2): an implicit half step, extrapolated."""
    (z,) = state
    return (context.oracle.implicit(z, context.rate * 0.5) * 2.0 - z,)


def competitive(context: StepContext, state: MethodState) -> MethodState:
    """z - (I + ηJ_off)⁻¹ηF: the Nash equilibrium of the local bilinear approximation."""
    (z,), oracle = state, context.oracle
    matrix = oracle.shifted(context.rate, oracle.coupling(oracle.jacobian(z)))
    return (z - oracle.solve(matrix, context.rate * oracle.field(z)),)


def looking_ahead(times: float, context: StepContext, state: MethodState) -> MethodState:
    """z - η(F - times·J_off ηF)."""
    (z,), oracle = state, context.oracle
    field = oracle.field(z)
    answer = oracle.apply(oracle.coupling(oracle.jacobian(z)), context.rate * field)
    return (z - context.rate * (field - answer * times),)


def consensus(context: StepContext, state: MethodState) -> MethodState:
    """z - η(F + gamma·JᵀF)."""
    (z,), oracle = state, context.oracle
    field = oracle.field(z)
    pull = oracle.apply(oracle.transposed(oracle.jacobian(z)), field)
    return (z - context.rate * (field + pull * context.options["gamma"]),)


def symplectic(context: StepContext, state: MethodState) -> MethodState:
    """z - η(F + λAᵀF), A = (J - Jᵀ)/2."""
    (z,), oracle = state, context.oracle
    field, matrix = oracle.field(z), oracle.jacobian(z)
    twice = oracle.apply(oracle.transposed(matrix), field) - oracle.apply(matrix, field)
    return (z - context.rate * (field + twice * (0.5 * context.options["lam"])),)


def hamiltonian(context: StepContext, state: MethodState) -> MethodState:
    """z - ηJᵀF: gradient descent on the Hamiltonian ½‖F‖²."""
    (z,), oracle = state, context.oracle
    return (z - context.rate * oracle.apply(oracle.transposed(oracle.jacobian(z)), oracle.field(z)),)


def ridge(context: StepContext, state: MethodState) -> MethodState:
    """z - ηF, corrected for the follower W by J_WW⁻¹ J_WL ηF_L, which keeps it on the ridge of its best responses."""
    (z,), oracle = state, context.oracle
    field, matrix = oracle.field(z), oracle.jacobian(z)
    coupled = oracle.apply(oracle.coupling(matrix), context.rate * field)
    follower = int(context.options["follower"])
    step = context.rate * field
    answer = step - oracle.solve(oracle.own(matrix, follower), coupled)
    return (z - (oracle.join(answer, step) if follower == 0 else oracle.join(step, answer)),)


def momentum(context: StepContext, state: MethodState) -> MethodState:
    """z - ηF + βv, where v is the last update."""
    z, velocity = state
    move = velocity * context.options["beta"] - context.rate * context.oracle.field(z)
    return z + move, move


def alternating_momentum(context: StepContext, state: MethodState) -> MethodState:
    """As momentum, x first, then y with the new x."""
    (z, velocity), oracle, beta = state, context.oracle, context.options["beta"]
    first = velocity * beta - context.rate * oracle.field(z, 0.5)
    half = oracle.join(z + first, z)
    second = velocity * beta - context.rate * oracle.field(half, 0.5)
    return oracle.join(half, half + second), oracle.join(first, second)


def lookahead(context: StepContext, state: MethodState) -> MethodState:
    """Simultaneous (fast) steps; after every k of them the slow weights move by alpha towards them, and both agree."""
    z, slow = state
    (whether,) = context.clock
    fast = z - context.rate * context.oracle.field(z)
    slow = slow + (fast - slow) * (context.options["alpha"] * whether)
    return fast + (slow - fast) * whether, slow


def anchored(context: StepContext, state: MethodState) -> MethodState:
    """An extragradient step, anchored at the start with weight 1/(k + 2)."""
    (z, start), (pull,) = state, context.clock
    anchor = z + (start - z) * pull
    half = anchor - context.rate * context.oracle.field(z)
    return anchor - context.rate * context.oracle.field(half), start


def varying_anchored(context: StepContext, state: MethodState) -> MethodState:
    """As anchored, with rates ηr that fall: with q = (ηrL)², r becomes r(1 - q/((k + 1)(k + 3)(1 - q)))."""
    (z, start, ratio), (pull, weight) = state, context.clock
    rate = context.rate * ratio
    anchor = z + (start - z) * pull
    half = anchor - rate * context.oracle.field(z)
    scaled = rate * context.options["lipschitz"]
    square = scaled * scaled
    falls = square * weight / (square * -1.0 + 1.0)
    return anchor - rate * context.oracle.field(half), start, ratio - ratio * falls


def fast(context: StepContext, state: MethodState) -> MethodState:
    """An extragradient step anchored at the start with weight b = 1/(k + 1), the extrapolation by (1 - b)η."""
    (z, start), (pull,) = state, context.clock
    anchor = z + (start - z) * pull
    half = anchor - context.rate * context.oracle.field(z) * (pull * -1.0 + 1.0)
    return anchor - context.rate * context.oracle.field(half), start


def anchored_popov(context: StepContext, state: MethodState) -> MethodState:
    """As anchored, with the last F of an extrapolated point in place of F(z)."""
    (z, start, last), (pull,) = state, context.clock
    anchor = z + (start - z) * pull
    field = context.oracle.field(anchor - context.rate * last)
    return anchor - context.rate * field, start, field


def adaptive_extragradient(context: StepContext, state: MethodState) -> MethodState:
    """z - relax·s·ηF(w), w = z - ηF(z), s = ⟨ηF(z), ηF(w)⟩/‖ηF(w)‖²: for relax = 1 a projection."""
    (z,), oracle = state, context.oracle
    move = context.rate * oracle.field(z)
    ahead = context.rate * oracle.field(z - move)
    total = oracle.inner(ahead, ahead) + TINY
    share = oracle.inner(move, ahead) / total + (total - total)  # Not 0, but nan, where the square has overflowed.
    return (z - ahead * (share * context.options["relax"]),)


def runge_kutta(context: StepContext, state: MethodState) -> MethodState:
    """The classical method of fourth order on dz/dt = -F."""
    (z,), oracle, rate = state, context.oracle, context.rate
    first = oracle.field(z)
    second = oracle.field(z - rate * first * 0.5)
    third = oracle.field(z - rate * second * 0.5)
    fourth = oracle.field(z - rate * third)
    return (z - rate * (first + (second + third) * 2.0 + fourth) * (1 / 6),)
