"""The options that the commands of ``simulate`` share, and how their values are parsed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from portable_nn.core.errors import UsageError
from portable_nn.core.names import Scheme

if TYPE_CHECKING:
    from portable_nn.adversarial import Game

GameName: TypeAlias = Annotated[
    str,
    typer.Option(
        "--game", metavar="GAME", help="Game: a name (see simulate list), or f as a formula: 'x*y - 0.1*x**2'."
    ),
]
GameSet: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--game-set", metavar="NAME=X", help="Option of the game: gamma=1; a matrix is matrix=1,2/3,4. Repeatable."
    ),
]
MethodName: TypeAlias = Annotated[
    str, typer.Option("--method", metavar="METHOD", help="Method: a name (see simulate list).")
]
MethodNames: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--method", metavar="METHOD", help="Methods: one, several (a,b,c), or all."),
]
SchemeName: TypeAlias = Annotated[
    Scheme | None, typer.Option("--scheme", help="Variant of the method in which the players move in this order.")
]
Set: TypeAlias = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=X", help="Option of the method: gamma=0.5. Repeatable.")
]
SetEach: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=X", help="Option of all methods that have it: k=10; of one: lookahead.k=10. Repeatable."
    ),
]
Start: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="X,Y", help="Start: all numbers of x, then those of y. By default 0.6,0.7."),
]
Rate: TypeAlias = Annotated[
    str,
    typer.Option(metavar="RATE", help="Learning rate: a number; x's and y's, 0.1,0.05; a formula of the step t."),
]
Steps: TypeAlias = Annotated[int, typer.Option(metavar="N", help="Steps of the simulation.")]
Decay: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="DECAY", help="Decay of the learning rate: 1/sqrt(t), 1/t, 1/t^2 or log."),
]
Noise: TypeAlias = Annotated[
    float, typer.Option(metavar="X", help="Standard deviation of Gaussian noise added to each gradient.")
]
Seed: TypeAlias = Annotated[int, typer.Option(metavar="N", help="Seed of the random generator.")]


def read_game(name: str, written: Sequence[str] | None) -> Game:
    """The game with its numbers. Raises ``UsageError`` with those that there are."""
    from portable_nn.adversarial import GAMES, game

    tables = GAMES[name].arrays if name in GAMES else {"equilibria": "points"}
    given = pairs("--game-set", written)
    return game(name, **{key: _rows(value) if key in tables else value for key, value in given.items()})


def _rows(value: Any) -> Any:
    """A number or a row of numbers as rows."""
    row = value if isinstance(value, list) else [value]
    return row if isinstance(row[0], list) else [row]


def pairs(option: str, written: Iterable[str] | None) -> dict[str, Any]:
    """``NAME=X`` as names and numbers, or arrays of numbers. Raises ``UsageError``."""
    found: dict[str, Any] = {}
    for text in written or ():
        name, sign, value = text.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise UsageError(f"{option} must be such as gamma=0.5, not '{text}'")
        if name.strip() in found:
            raise UsageError(f"{option} {name.strip()} is given twice")
        found[name.strip()] = _value(f"{option} {name.strip()}", value)
    return found


def _value(what: str, written: str) -> Any:
    """A number; ``1,2`` as a list, and ``1,2/3,4`` as a list of rows."""
    rows = [numbers(what, row) for row in re.split("[;/]", written)]
    if len({len(row) for row in rows}) > 1:
        raise UsageError(f"{what} has rows of {' and '.join(str(len(row)) for row in rows)} numbers: give as many")
    if len(rows) > 1:
        return rows
    return rows[0][0] if len(rows[0]) == 1 else rows[0]


def numbers(what: str, written: str) -> list[float]:
    """``1,2`` as numbers. Raises ``UsageError``."""
    try:
        return [float(part) for part in written.split(",")]
    except ValueError:
        raise UsageError(f"{what} must be a number, or several such as 1,2, not '{written}'") from None


def read_start(written: str | None) -> list[float] | None:
    """``0.6,0.7`` as numbers. Raises ``UsageError``."""
    return None if written is None else numbers("--start", written)


def read_rate(written: str) -> Any:
    """A learning rate as ``simulate`` takes it. Raises ``UsageError`` that says what it may be."""
    from portable_nn.adversarial import DECAYS
    from portable_nn.adversarial.expressions import parse

    try:
        found = [float(part) for part in written.split(",")]
    except ValueError:
        found = []
    if len(found) in {1, 2} and all(0 <= rate < math.inf for rate in found):
        return found[0] if len(found) == 1 else (found[0], found[1])
    if written in DECAYS:
        return written
    try:
        if found:
            raise UsageError("not rates")
        parse(written, "t")
    except UsageError:
        raise UsageError(
            "--rate must be a number of at least 0, two (x's and y's) such as 0.1,0.05, or a formula of the step t "
            f"such as '0.1/sqrt(t)' or '0.1/t**2', not '{written}'"
        ) from None
    return written


def read_linear_rate(written: str) -> Any:
    """A number, or two. Raises ``UsageError``."""
    rate = read_rate(written)
    if isinstance(rate, str):
        raise UsageError(f"--rate must be a number, or two (x's and y's) such as 0.1,0.05, not '{written}'")
    return rate


def read_methods(written: Sequence[str] | None) -> str | list[str] | None:
    """Names of methods as ``compare`` takes them. Raises ``UsageError`` where one beside ``all`` is none."""
    from portable_nn.adversarial import find_method
    from portable_nn.adversarial.forecast import EVERY

    names = [name.strip() for text in written or () for name in text.split(",")]
    if EVERY not in names:
        return names or None
    for name in names:
        if name != EVERY:
            find_method(name)
    return EVERY


def read_each(written: Sequence[str] | None, methods: str | list[str] | None) -> dict[str, dict[str, object]]:
    """The numbers of each method. Raises ``UsageError`` for one that no method has."""
    from portable_nn.adversarial.forecast import read_methods as rows_of

    given = pairs("--set", written)
    rows = [row for row, _ in rows_of(methods, None)]
    found: dict[str, dict[str, object]] = {}
    for name, value in given.items():
        method, _, option = name.rpartition(".")
        owners = [row.name for row in rows if (row.name == method if method else option in row.options)]
        if not owners:
            among = ", ".join(row.name for row in rows)
            what = f"'{method}' is not among the methods" if method else f"no method has the option '{option}', among"
            raise UsageError(f"--set {name}: {what} {among}")
        for owner in owners:
            found.setdefault(owner, {})[option] = value
    return found
