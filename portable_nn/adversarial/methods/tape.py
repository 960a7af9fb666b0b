"""Long runs of one point of a game of two numbers: a step is recorded once and replayed on plain floats.

For two numbers nearly all time of a numpy call is overhead. Here the method takes one step over ``Number``, which
records each operation on a tape; a run replays the tape, a list of calls of Python's own arithmetic. A replayed
operation takes some 50 ns, the interpreter's loop, which is the limit of this design: ten times less than a numpy call.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from portable_nn.adversarial.games.derivatives import Derivation
from portable_nn.adversarial.games.game import Game
from portable_nn.adversarial.methods.oracle import Oracle
from portable_nn.adversarial.methods.steps import StepContext
from portable_nn.adversarial.methods.table import Method, MethodOptions
from portable_nn.core.graph import Tensor
from portable_nn.operators import SCALARS, Symbol, reachable

Scalar: TypeAlias = "Number | float"
Square: TypeAlias = tuple[Scalar, Scalar, Scalar, Scalar]
"""A matrix (2, 2), row by row."""

NEUTRAL: Final[Mapping[Any, float]] = {operator.add: 0.0, operator.sub: 0.0, operator.mul: 1.0, operator.truediv: 1.0}
"""The second operand that changes nothing."""


class Number:
    """A float of which only the register on the tape is known while a step is recorded."""

    def __init__(self, tape: Tape, register: int) -> None:
        self.tape, self.register = tape, register

    def __add__(self, other: Any) -> Any:
        return self.tape.record(operator.add, self, other)

    def __sub__(self, other: Any) -> Any:
        return self.tape.record(operator.sub, self, other)

    def __mul__(self, other: Any) -> Any:
        return self.tape.record(operator.mul, self, other)

    def __truediv__(self, other: Any) -> Any:
        return self.tape.record(operator.truediv, self, other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Any) -> Any:
        return self.tape.record(operator.sub, other, self)

    def __rtruediv__(self, other: Any) -> Any:
        return self.tape.record(operator.truediv, other, self)


class Tape:
    """Registers of floats, the first of which are ``variables``, and the operations on them in order."""

    def __init__(self, variables: int) -> None:
        self.registers = [0.0] * variables
        self.variables = [Number(self, register) for register in range(variables)]
        self.operations: list[tuple[Callable[[float, float], float], int, int, int]] = []
        self.negated: dict[int, Scalar] = {}

    def register(self, value: Scalar) -> int:
        """Where a value is kept; a constant gets a register of its own."""
        if isinstance(value, Number):
            return value.register
        self.registers.append(value)
        return len(self.registers) - 1

    def record(self, function: Callable[..., float], *inputs: Scalar) -> Scalar:
        """Append an operation, unless it is one of constants or changes nothing."""
        if not any(isinstance(value, Number) for value in inputs):
            return function(*inputs)
        first, last = inputs[0], inputs[-1]
        if function is operator.neg:
            return self.record(operator.mul, first, -1.0)
        if function in {operator.add, operator.mul} and not isinstance(first, Number):
            first, last = last, first
        if function is operator.mul and last == 0.0:
            return 0.0
        if last == NEUTRAL.get(function):
            return first
        place = self.register(first)
        if function is operator.mul and isinstance(last, float) and place in self.negated:
            return self.record(operator.mul, self.negated[place], -last)
        called = function if len(inputs) == 2 else partial(_first_only, function)
        result = Number(self, self.register(0.0))
        self.operations.append((called, place, self.register(last), result.register))
        if function is operator.mul and last == -1.0:
            self.negated[result.register] = first
        return result

    def prune(self, outputs: Sequence[int]) -> None:
        """Drop the operations that no output depends on."""
        needed, kept = set(outputs), []
        for operation in reversed(self.operations):
            if operation[3] in needed:
                needed.update(operation[1:3])
                kept.append(operation)
        self.operations = kept[::-1]


def _first_only(function: Callable[[float], float], first: float, _: float) -> float:
    return function(first)


class Vector:
    """One number of x and one of y, element by element."""

    def __init__(self, x: Scalar, y: Scalar) -> None:
        self.x, self.y = x, y

    def _with(self, other: Any, apply: Callable[[Any, Any], Any]) -> Vector:
        x, y = (other.x, other.y) if isinstance(other, Vector) else (other, other)
        return Vector(apply(self.x, x), apply(self.y, y))

    def __add__(self, other: Any) -> Vector:
        return self._with(other, operator.add)

    def __sub__(self, other: Any) -> Vector:
        return self._with(other, operator.sub)

    def __mul__(self, other: Any) -> Vector:
        return self._with(other, operator.mul)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Vector:
        return self._with(other, operator.truediv)


class RecordingOracle(Oracle[Vector, Square]):
    """Records the queries of a method to a game of two numbers on a tape.

    ``noise`` is added to F, a vector for each of the ``calls``. ``LookupError`` is raised for what cannot be recorded:
    an operator without a scalar form, a loop until convergence.
    """

    def __init__(self, game: Game, tape: Tape, noise: Sequence[Vector] = ()) -> None:
        super().__init__()
        assert game.function is not None
        self.linear, self.tape = game.linear, tape
        self.noise, self.calls = noise, 0
        self.derivation = Derivation(game.function, game.players, ())

    def _at(self, z: Vector, outputs: Sequence[Symbol]) -> list[Scalar]:
        """The values of symbols over the derivation's leaves."""
        known: dict[Symbol, Scalar] = dict(zip(self.derivation.leaves, (z.x, z.y), strict=True))
        for origin in reachable(outputs):
            if origin.operator is None:
                continue
            literal = origin.attributes.get("value")
            if isinstance(literal, Tensor):
                known[origin.outputs[0]] = float(literal.data[0])
            else:
                inputs = [known[value] for value in origin.inputs if value is not None]
                known[origin.outputs[0]] = self.tape.record(SCALARS[origin.operator.name], *inputs)
        return [known[output] for output in outputs]

    def field(self, z: Vector, share: float = 1.0) -> Vector:
        """F, and its noise."""
        self.nfev += share
        self.calls += 1
        found = Vector(*self._at(z, self.derivation.field))
        return found + self.noise[self.calls - 1] if self.noise else found

    def jacobian(self, z: Vector) -> Square:
        """J."""
        self.njev += 1
        a, b, c, d = self._at(z, [entry for row in self.derivation.jacobian for entry in row])
        return a, b, c, d

    def join(self, first: Vector, second: Vector) -> Vector:
        """x of the first, y of the second."""
        return Vector(first.x, second.y)

    def root(self, v: Vector) -> Vector:
        """√v."""
        return Vector(*(self.tape.record(SCALARS["Sqrt"], part) for part in (v.x, v.y)))

    def apply(self, matrix: Square, v: Vector) -> Vector:
        """Matrix times vector."""
        a, b, c, d = matrix
        return Vector(a * v.x + b * v.y, c * v.x + d * v.y)

    def transposed(self, matrix: Square) -> Square:
        """The transpose."""
        a, b, c, d = matrix
        return a, c, b, d

    def coupling(self, matrix: Square) -> Square:
        """Zeros on the diagonal."""
        return 0.0, matrix[1], matrix[2], 0.0

    def own(self, matrix: Square, player: int) -> Square:
        """One number of the diagonal, and 1."""
        return (matrix[0], 0.0, 0.0, 1.0) if player == 0 else (1.0, 0.0, 0.0, matrix[3])

    def solve(self, matrix: Square, v: Vector) -> Vector:
        """By Cramer's rule."""
        a, b, c, d = matrix
        determinant = a * d - b * c
        return Vector((d * v.x - b * v.y) / determinant, (a * v.y - c * v.x) / determinant)

    def shifted(self, rate: Vector, matrix: Square) -> Square:
        """1 + rate · matrix."""
        a, b, c, d = matrix
        return rate.x * a + 1.0, rate.x * b, rate.y * c, rate.y * d + 1.0

    def implicit(self, z: Vector, rate: Vector) -> Vector:
        """One Newton iteration, which is exact for a linear game; ``LookupError`` for others."""
        if not self.linear:
            raise LookupError("an implicit step of a game that is not linear")
        return z - self.solve(self.shifted(rate, self.jacobian(z)), rate * self.field(z))


class Recording(NamedTuple):
    """One step on a tape, and how many gradients and Jacobians it evaluates; ``calls`` of F have noise of their own.

    The first registers are the state, x and y of each vector; those after them are filled anew at each step.
    """

    tape: Tape
    state: int
    outputs: tuple[int, ...]
    evaluations: float
    jacobians: float
    calls: int

    @property
    def size(self) -> int:
        """The number of operations."""
        return len(self.tape.operations)

    def run(self, state: Sequence[float], inputs: Iterable[Sequence[float]], every: int) -> tuple[list[Any], list[Any]]:
        """The x and the y after every ``every`` steps and after the last.

        ``inputs`` has for each step what fills the registers after the state. Raises ``ArithmeticError`` or
        ``ValueError`` where an operation has no finite result.
        """
        values, operations, size = [*self.tape.registers], self.tape.operations, self.state
        values[:size] = state
        after, variables = operator.itemgetter(*self.outputs), len(self.tape.variables)
        xs, ys, step = [values[0]], [values[1]], 0
        for step, given in enumerate(inputs, start=1):
            if given:
                values[size:variables] = given
            for function, first, second, result in operations:
                values[result] = function(values[first], values[second])
            values[:size] = after(values)
            if not step % every:
                xs.append(values[0])
                ys.append(values[1])
        if step % every:
            xs.append(values[0])
            ys.append(values[1])
        return xs, ys


def record_step(
    game: Game,
    method: Method,
    options: MethodOptions,
    vectors: int,
    rate: tuple[float, float] | None,
    noisy: bool = False,
) -> Recording | None:
    """A step of a method whose state has so many ``vectors``, on a game of two numbers that is made from a function.

    ``None`` where it cannot be recorded.

    A constant ``rate`` of x and y becomes part of the tape. Otherwise the inputs of a step begin with both rates; the
    numbers of the method's clock follow, and then, where it is ``noisy``, the noise of each call of F.
    """
    calls = 0
    if noisy:  # How many calls there are is known after a recording.
        trial = record_step(game, method, options, vectors, rate)
        if trial is None:
            return None
        calls = trial.calls
    ticks = len(method.ticks(0, options))
    tape = Tape(2 * vectors + (0 if rate else 2) + ticks + 2 * calls)
    state = [Vector(*tape.variables[2 * place : 2 * place + 2]) for place in range(vectors)]
    rest = tape.variables[2 * vectors :]
    rates, rest = (Vector(*rate), rest) if rate else (Vector(*rest[:2]), rest[2:])
    clock, drawn = rest[:ticks], rest[ticks:]
    oracle = RecordingOracle(game, tape, [Vector(*drawn[2 * call : 2 * call + 2]) for call in range(calls)])
    try:
        after = method.step(StepContext(oracle, rates, tuple(clock), options), tuple(state))
    except (LookupError, ArithmeticError, ValueError):
        return None
    outputs = tuple(tape.register(value) for vector in after for value in (vector.x, vector.y))
    tape.prune(outputs)
    return Recording(tape, 2 * vectors, outputs, oracle.nfev, oracle.njev, oracle.calls)
