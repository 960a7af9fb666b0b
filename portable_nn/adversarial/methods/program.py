"""Games and methods as lists of operations on numbers, which any language can run: see ``tape``.

What a step or a payoff computes stays written once, in Python; pages run the same operations in the browser.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from portable_nn.adversarial.games.expressions import parse
from portable_nn.adversarial.games.game import Game, made_from
from portable_nn.adversarial.methods.recording import RecordingOracle, Vector
from portable_nn.adversarial.methods.steps import StepContext
from portable_nn.adversarial.methods.table import Method
from portable_nn.adversarial.methods.tape import Program, Tape
from portable_nn.core.errors import UsageError
from portable_nn.operators import SCALARS

NAMES: Final = {function: name for name, function in SCALARS.items()}
"""The names of the functions of a program."""


class MethodProgram(NamedTuple):
    """A method on one game.

    Attributes:
        begin: from the start z: the vectors of the state, of which the first is z.
        step: from the state, the learning rate, the numbers of the method's clock and its options, each in its order:
            the next state. An option that is by default the learning rate is given as that.
        vectors: how many the state has.
        ticks: how many numbers the clock has.
    """

    begin: Program
    step: Program
    vectors: int
    ticks: int


def payoff_program(game: Game) -> Program:
    """f of z. Raises ``UsageError`` for a game without f, or with one that has no form for single numbers."""
    if game.derivation is None:
        raise UsageError(f"the game '{game.name}' is made from arrays: only a payoff that is a formula can be written")
    tape = Tape(game.size)
    oracle = RecordingOracle(game, tape)
    try:
        value = oracle.read(Vector(tape.variables), [game.derivation.value])
        return _finite(tape.program(value, NAMES))
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


def method_program(game: Game, method: Method) -> MethodProgram | None:
    """A method on a game; ``None`` where its step cannot be written, as one that Newton's method has to find.

    An option that must be whole has its default in the step, as far as it is not the clock that uses it.
    """
    size, options = game.size, method.fill({})
    try:
        start = Tape(size)
        context = StepContext(RecordingOracle(game, start), None, (), options)
        state = method.begin(context, Vector(start.variables))
        begin = _finite(start.program(_numbers(state), NAMES))
        vectors, ticks = len(state), len(method.ticks(0, options))
        tape = Tape(size * vectors + 1 + ticks + len(options))
        rest = iter(tape.variables)
        state = tuple(Vector([next(rest) for _ in range(size)]) for _ in range(vectors))
        rate = Vector([next(rest)] * size)
        clock = tuple(next(rest) for _ in range(ticks))
        given = dict(zip(options, rest, strict=True))
        fixed = {name: options[name] for name, option in method.options.items() if option.whole}
        context = StepContext(RecordingOracle(game, tape), rate, clock, given | fixed)
        step = _finite(tape.program(_numbers(method.step(context, state)), NAMES))
    except (LookupError, ArithmeticError, ValueError):
        return None
    return MethodProgram(begin, step, vectors, ticks)


def _numbers(state: tuple[Any, ...]) -> list[Any]:
    return [part for vector in state for part in vector.parts]


def _finite(program: Program) -> Program:
    """The program. Raises ``ValueError`` where a constant is not finite, as where a step divides by 0."""
    if not all(map(math.isfinite, program.constants)):
        raise ValueError("a constant that is not finite")
    return program
