"""Games and methods as lists of operations on numbers, which any language can run: see ``tape``.

What a step or a payoff computes stays written once, in Python; pages run the same operations in the browser.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple

from portable_nn.adversarial.games.expressions import parse
from portable_nn.adversarial.games.game import Game, Linear, made_from
from portable_nn.adversarial.methods.recording import RecordingOracle, pivoted, vector
from portable_nn.adversarial.methods.steps import StepContext
from portable_nn.adversarial.methods.table import Method, MethodOptions
from portable_nn.adversarial.methods.tape import Program, Tape
from portable_nn.core.errors import UsageError
from portable_nn.operators import SCALARS, Array

NAMES: Final[dict[Callable[..., Any], str]] = {function: name for name, function in SCALARS.items()} | {
    pivoted: "Solve"
}
"""The names of the functions of a program."""


class MethodProgram(NamedTuple):
    """A method on one game.

    Attributes:
        begin: from the start z: the vectors of the state, of which the first is z.
        step: from the state, the learning rates of x and y, the numbers of the method's clock and its options, each in
            its order: the next state. An option that is by default the learning rate is given twice, for x and for y.
        vectors: how many the state has.
        ticks: how many numbers the clock has.
        calls: of F in ``begin`` and in ``step``, for each of which their inputs go on with what is random: the matrix
            of a sample, row by row, in a game that has some, and the noise.
    """

    begin: Program
    step: Program
    vectors: int
    ticks: int
    calls: tuple[int, int]


def payoff_program(game: Game) -> Program:
    """f of z. Raises ``UsageError`` for a game without f, or with one that has no form for single numbers."""
    tape = Tape(game.size)
    if game.derivation is None:
        if not isinstance(game.functions, Linear) or not game.functions.zero_sum:
            raise UsageError(
                f"the game '{game.name}' is made from arrays: only a payoff that is a formula can be written"
            )
        z, total = tape.variables, 0.0
        for row, one in zip(game.functions.hessian.tolist(), z, strict=True):
            for entry, other in zip(row, z, strict=True):
                total = one * other * (0.5 * entry) + total
        return tape.program([total], NAMES)
    oracle = RecordingOracle(game, tape)
    try:
        value = oracle.read(tape.variables, [game.derivation.value])
        return _finite(tape.program([*value], NAMES))
    except LookupError as error:
        raise UsageError(
            f"the payoff of the game '{game.name}' cannot be written: it has the operator {error}"
        ) from None


def schedule_program(formula: str) -> Program | None:
    """A factor of the learning rate as a program of the step t = 1, 2, …; ``None`` for a constant.

    Raises ``UsageError`` for what is no formula of t.
    """
    expression = parse(formula, "t")
    if not expression.names:
        return None
    # A game has programs: one whose payoff is the formula, with x for t.
    return payoff_program(made_from(lambda x, _: expression.evaluate({"t": x}), (1, 1), name="t", title=formula))


def method_program(
    game: Game, method: Method, given: Mapping[str, object] | None, *, random: bool = True
) -> MethodProgram | None:
    """A method on a game; ``None`` where its step cannot be written, as one that Newton's method has to find.

    Args:
        game: the game.
        method: the method.
        given: options of it. One that must be whole is part of the step, as far as it is not the clock that uses it.
        random: whether the programs have inputs for what is random.
    """
    options = method.fill(given or {})
    try:
        begin, first = _recorded(game, method, options, None, random)
        vectors = len(begin.outputs) // game.size
        step, calls = _recorded(game, method, options, vectors, random)
    except (LookupError, ArithmeticError, ValueError):
        return None
    return MethodProgram(begin, step, vectors, len(method.ticks(0, options)), (first, calls))


def _recorded(
    game: Game, method: Method, options: MethodOptions, vectors: int | None, random: bool
) -> tuple[Program, int]:
    """The beginning, or the step of so many vectors, and how many calls of F in it have inputs for what is random."""
    tape = Tape()
    first, second = game.players
    oracle = RecordingOracle(game, tape, sampled=random and game.sampled is not None, noisy=random)
    state = tuple(vector(tape.take(game.size)) for _ in range(vectors or 1))

    def per_player() -> Array:
        x, y = tape.take(2)
        return vector([x] * first + [y] * second)

    if vectors is None:
        after = method.begin(StepContext(oracle, None, (), options), state[0])
    else:
        rate, clock = per_player(), tuple(tape.take(len(method.ticks(0, options))))
        opened = {n: per_player() if row.default is None else tape.take(1)[0] for n, row in method.options.items()}
        fixed = {name: options[name] for name, option in method.options.items() if option.whole}
        after = method.step(StepContext(oracle, rate, clock, opened | fixed), state)
    program = tape.program([*chain(*after)], NAMES)
    return _finite(program), oracle.calls if random else 0


def _finite(program: Program) -> Program:
    """The program. Raises ``ValueError`` where a constant is not finite, as where a step divides by 0."""
    if not all(map(math.isfinite, program.constants)):
        raise ValueError("a constant that is not finite")
    return program
