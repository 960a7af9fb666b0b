"""Long runs of one point of a small game: a step of its method is recorded once and compiled, see ``tape``."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.adversarial.games.game import Game, Linear, Samples
from portable_nn.adversarial.methods.oracle import EXACT, NEWTON, SOLVED, UNDERFLOW, Oracle
from portable_nn.adversarial.methods.steps import StepContext
from portable_nn.adversarial.methods.table import Method, MethodOptions
from portable_nn.adversarial.methods.tape import Compiled, Scalar, Tape
from portable_nn.core.graph import Tensor
from portable_nn.operators import SCALARS, Array, Symbol, reachable

MOST_NUMBERS: Final = 8
"""Games of more numbers are left to numpy, as are steps of more than ``MOST_OPERATIONS``."""

MOST_OPERATIONS: Final = 2000


def vector(numbers: Iterable[Scalar]) -> Array:
    """An array of numbers of a tape."""
    return np.array([*numbers], object)


class Newton:
    """Newton's method for an implicit step, as a function of the numbers of z, of the rate and of the noise.

    ``step`` and ``left`` are the Newton step and what is left of the equation, functions of w and the same numbers.
    """

    def __init__(self, numbers: int, step: Compiled, left: Compiled) -> None:
        self.numbers, self.step, self.left = numbers, step, left
        self.iterations = 0

    def __call__(self, *given: float) -> tuple[float, ...]:
        """The solution w. Raises ``ArithmeticError`` where it finds none."""
        w = z = given[: self.numbers]
        for _ in range(NEWTON):
            self.iterations += 1
            step = self.step.function(*w, *given)
            w = tuple(map(operator.sub, w, step))
            if not any(abs(change) > EXACT * abs(value) for change, value in zip(step, w, strict=True)):
                break
        most = SOLVED * (max(map(abs, z)) + max(map(abs, w))) + UNDERFLOW
        if not all(abs(rest) <= most for rest in self.left.function(*w, *given)):
            raise ArithmeticError("Newton's method does not find the end of the step")
        return w


class RecordingOracle(Oracle):
    """Records the queries of a method to a small game on a tape: its arrays, (d,) and (d, d), are of such numbers.

    Each of the ``calls`` of F takes further variables for what is random: the matrix of a sample, row by row, where it
    is ``sampled``, and the noise where it is ``noisy``. ``LookupError`` is raised for what cannot be recorded: an
    operator without a scalar form. ``newtons`` are the implicit steps of the tape.
    """

    def __init__(self, game: Game, tape: Tape, *, sampled: bool = False, noisy: bool = False) -> None:
        super().__init__(game)
        if game.derivation is None and not isinstance(game.functions, Linear):
            raise LookupError("a game that is made from arrays")
        self.tape, self.sampled, self.noisy, self.calls = tape, sampled, noisy, 0
        self.newtons: list[Newton] = []
        self.derivation = game.derivation

    def read(self, z: Iterable[Scalar], outputs: Sequence[Symbol]) -> Array:
        """The values at z of symbols of the game's derivation."""
        known: dict[Symbol, Scalar] = dict(zip(self.derivation.leaves if self.derivation else (), z, strict=True))
        for origin in reachable(outputs):
            if origin.operator is None:
                continue
            literal = origin.attributes.get("value")
            if isinstance(literal, Tensor):
                known[origin.outputs[0]] = float(literal.data[0])
            else:
                inputs = [known[value] for value in origin.inputs if value is not None]
                known[origin.outputs[0]] = self.tape.record(SCALARS[origin.operator.name], *inputs)
        return vector(known[output] for output in outputs)

    def _drawn(self, z: Array) -> Array:
        """Variables for the noise, if there is some."""
        return vector(self.tape.take(len(z))) if self.noisy else z * 0.0

    def _exact(self, z: Array) -> Array:
        """F without noise."""
        return self.apply(self._matrix(), z) if self.derivation is None else self.read(z, self.derivation.field)

    def _matrix(self) -> Array:
        """J of a game that has no payoff as a function."""
        assert isinstance(self.game.functions, Linear)
        return self.game.functions.matrix.astype(object)

    def field(self, z: Array, share: float = 1.0) -> Array:
        """F, that of a sample where there are several, and its noise."""
        self.nfev += share
        self.calls += 1
        sample = vector(self.tape.take(len(z) ** 2)).reshape(len(z), -1) if self.sampled else None
        noise = self._drawn(z)
        return np.asarray((self._exact(z) if sample is None else self.apply(sample, z)) + noise)

    def jacobian(self, z: Array) -> Array:
        """J."""
        self.njev += 1
        if self.derivation is None:
            return self._matrix()
        return self.read(z, [entry for row in self.derivation.jacobian for entry in row]).reshape(len(z), -1)

    def root(self, v: Array) -> Array:
        """The square root of each number."""
        return vector(self.tape.record(SCALARS["Sqrt"], part) for part in v)

    def solve(self, matrix: Array, v: Array) -> Array:
        """By Cramer's rule for two numbers, by Gaussian elimination for more."""
        if len(matrix) > 2:
            return vector(self.tape.record_call(pivoted, [*matrix.ravel(), *v], len(matrix)))
        ((a, b), (c, d)), (x, y) = matrix, v
        determinant = a * d - b * c
        return vector([(d * x - b * y) / determinant, (a * y - c * x) / determinant])

    def implicit(self, z: Array, rate: Array) -> Array:
        """A Newton iteration, which is exact for a linear game; as many as it needs for others."""
        if self.game.linear:
            return np.asarray(z - self.solve(self.shifted(rate, self.jacobian(z)), rate * self.field(z)))
        self.calls += 1
        newton = _newton(self.game)
        self.newtons.append(newton)
        return vector(self.tape.record_call(newton, [*z, *rate, *self._drawn(z)], len(z)))


def _newton(game: Game) -> Newton:
    """Newton's method for w = z - rate·(F(w) + noise)."""
    size = game.size
    tape = Tape()
    w, z, rate, added = (vector(tape.take(size)) for _ in range(4))
    oracle = RecordingOracle(game, tape)
    left = [*(w - z + rate * (oracle.field(w) + added))]
    # Without pivots: an error of a step makes no error of the solution.
    step = eliminated(oracle.shifted(rate, oracle.jacobian(w)).tolist(), left, pivots=False)
    return Newton(size, tape.compiled(step), tape.compiled(left))


def pivoted(*given: float) -> tuple[float, ...]:
    """The w with M·w = v by Gaussian elimination with pivoting; ``given`` are M, row by row, and v.

    Raises ``ZeroDivisionError`` where M is singular.
    """
    size = int((4 * len(given) + 1) ** 0.5 - 1) // 2
    rows = [list(given[row * size : (row + 1) * size]) for row in range(size)]
    return tuple(eliminated(rows, given[size * size :], pivots=True))


def eliminated(matrix: Sequence[Sequence[Any]], v: Sequence[Any], *, pivots: bool) -> list[Any]:
    """The same of floats or ``Number``s; pivots can be chosen of floats only."""
    size = len(v)
    rows = [[*row, value] for row, value in zip(matrix, v, strict=True)]
    for place in range(size):
        if pivots:
            sizes = [abs(row[place]) for row in rows[place:]]
            pivot = place + sizes.index(max(sizes))
            rows[place], rows[pivot] = rows[pivot], rows[place]
        top = rows[place]
        for row in rows[place + 1 :]:
            if row[place] != 0.0:
                share = row[place] / top[place]
                row[place + 1 :] = [
                    entry - share * above for entry, above in zip(row[place + 1 :], top[place + 1 :], strict=True)
                ]
    w: list[Any] = []
    for place in reversed(range(size)):
        row = rows[place]
        rest = row[size]
        for entry, known in zip(row[place + 1 : size], w[::-1], strict=True):
            rest = rest - entry * known
        w.append(rest / row[place])
    return w[::-1]


class Played(NamedTuple):
    """The points (n, d) of a run after every so many steps and the last, its last state, and its steps.

    The steps are fewer than were asked for where an operation had no finite result, or an equation no solution.
    """

    points: list[Sequence[float]]
    state: Sequence[float]
    steps: int


class Recording(NamedTuple):
    """One step as a function, and how many gradients and Jacobians it evaluates, besides the iterations of ``newtons``.

    The variables are the vectors of the state, then what is given anew at each step. What is random is drawn anew for
    each of the ``calls`` of F.
    """

    step: Compiled
    numbers: int
    evaluations: float
    jacobians: float
    calls: int
    newtons: Sequence[Newton]

    @property
    def iterations(self) -> int:
        """The number of iterations that Newton's method has taken."""
        return sum(newton.iterations for newton in self.newtons)

    def run(self, state: Sequence[float], inputs: Iterable[Sequence[float]], every: int) -> Played:
        """A run; ``inputs`` has for each step the numbers after the state."""
        function, numbers, step = self.step.function, self.numbers, 0
        points = [state[:numbers]]
        try:
            for step, given in enumerate(inputs, start=1):
                state = function(*state, *given)
                if not step % every:
                    points.append(state[:numbers])
        except (ArithmeticError, ValueError):
            return Played(points, state, step - 1)
        return Played(points if not step % every else [*points, state[:numbers]], state, step)


def record_step(
    game: Game, method: Method, options: MethodOptions, vectors: int, rate: Sequence[float] | None, noisy: bool
) -> Recording | None:
    """A step of a method whose state has so many ``vectors``; ``None`` where it cannot be recorded, or not with profit.

    A constant ``rate`` of each number becomes part of the step. Otherwise the inputs of a step begin with them; the
    numbers of the method's clock follow, and then, for each call of F, the matrix of a sample where the game has some,
    and the noise where it is ``noisy``.
    """
    size = game.size
    if size > MOST_NUMBERS or not isinstance(game.sampled, Samples | None):
        return None
    tape = Tape()
    state = tuple(vector(tape.take(size)) for _ in range(vectors))
    rates = vector(rate or tape.take(size))
    clock = tuple(tape.take(len(method.ticks(0, options))))
    try:
        oracle = RecordingOracle(game, tape, sampled=game.sampled is not None, noisy=noisy)
        after = method.step(StepContext(oracle, rates, clock, options), state)
        step = tape.compiled([*chain(*after)])
    except (LookupError, ArithmeticError, ValueError):
        return None
    recording = Recording(step, size, oracle.nfev, oracle.njev, oracle.calls, oracle.newtons)
    return recording if step.size <= MOST_OPERATIONS else None
