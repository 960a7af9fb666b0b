"""The options that the commands of ``simulate`` share, as groups, and how their values are parsed."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from portable_nn.cli.options import pairs_in
from portable_nn.cli.simulate import answer
from portable_nn.core.errors import UsageError

if TYPE_CHECKING:
    from portable_nn.adversarial import Game

Start: TypeAlias = Annotated[
    str | None, typer.Option(metavar="X,Y", help="Start: all numbers of x, then those of y. By default 0.6,0.7.")
]
Steps: TypeAlias = Annotated[int, typer.Option(metavar="N", help="Number of steps.")]
Seed: TypeAlias = Annotated[int, typer.Option(metavar="N", help="Seed of everything random.", hidden=True)]


EQUAL: Final = "strength=rate"
"""The value of --set that makes the strengths of all methods the learning rate."""

GAME: Final = "game."
"""Stands in --set before an option of the game."""


@dataclass(frozen=True)
class GameChoice:
    """The game."""

    SUBJECT = "Game"

    game: Annotated[
        str, typer.Option(metavar="GAME", help="Game: a name (see simulate list), or f as a formula: 'x*y - 0.1*x**2'.")
    ] = "bilinear"
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=X",
            help="Option of the method: gamma=0.5; of several, of all that have it, or of one: lookahead.k=10. Option "
            "of the game: game.gamma=1; a matrix is game.matrix=1,2/3,4. Repeatable.",
        ),
    ] = None

    def read(self) -> Game:
        """The game with its options. Raises ``UsageError`` for unknown ones, and lists those that the game has."""
        from portable_nn.adversarial import game

        return game(self.game, **self.given())

    def given(self) -> dict[str, Any]:
        """The options that were given."""
        from portable_nn.adversarial import GAMES

        arrays = GAMES[self.game].arrays if self.game in GAMES else {"equilibria": "points"}
        return {key: _rows(value) if key in arrays else value for key, value in self._set().items()}

    def options(self) -> dict[str, Any]:
        """All options of the game: those given, and defaults."""
        from portable_nn.adversarial import GAMES

        known = GAMES[self.game].options if self.game in GAMES else {}
        return {name: option.default for name, option in known.items()} | self._set()

    def _set(self) -> dict[str, Any]:
        """The options that --set names as the game's."""
        given = pairs("--set", self._texts(of_game=True))
        return {name.removeprefix(GAME): value for name, value in given.items()}

    def _texts(self, *, of_game: bool) -> list[str]:
        """The values of --set for the game, or for methods."""
        texts = (text for text in self.set_ or () if text != EQUAL)
        return [text for text in texts if text.strip().startswith(GAME) == of_game]

    def called(self) -> str:
        """The options of the command line that choose it."""
        return shlex.join(
            [*(["--game", self.game] if self.game != "bilinear" else [])]
            + [word for text in self._texts(of_game=True) for word in ("--set", text)]
        )

    def in_words(self) -> str:
        """The options, to be printed after the game; empty if it has none."""
        return f", {answer.options(self.options())}" if self.options() else ""


@dataclass(frozen=True)
class MethodChoice(GameChoice):
    """The game, and one method."""

    SUBJECT = "Game and method"

    method: Annotated[str, typer.Option(metavar="METHOD", help="Method: a name (see simulate list).")] = "simultaneous"

    def how(self) -> dict[str, Any]:
        """The arguments of ``simulate``. Raises ``UsageError``."""
        return {"method": self.method, **pairs("--set", self._texts(of_game=False))}


@dataclass(frozen=True)
class MethodsChoice(GameChoice):
    """The game, and several methods."""

    SUBJECT = "Game and methods"

    method: Annotated[
        list[str] | None, typer.Option(metavar="METHOD", help="Methods: one, several (a,b,c), or all.")
    ] = None

    @property
    def is_equal(self) -> bool:
        """True if the corrections of all methods get the weight of the learning rate."""
        return EQUAL in (self.set_ or ())

    def how(self, default: str | None = None) -> dict[str, Any]:
        """The arguments ``methods`` and ``options`` of ``compare``. Raises ``UsageError``."""
        methods = read_methods(self.method or ([default] if default else None))
        return {"methods": methods, "options": read_each(self._texts(of_game=False), methods)}


@dataclass(frozen=True)
class RateChoice:
    """The learning rate."""

    SUBJECT = "Method"

    rate: Annotated[
        str,
        typer.Option(
            metavar="RATE",
            help="Learning rate: a number; x's and y's, 0.1,0.05; a formula of the step t; or with a decay, "
            "0.1:1/sqrt(t), which may be 1/t, 1/t^2 or log too.",
        ),
    ] = "0.1"

    @property
    def first(self) -> str:
        """The learning rate, of which ``decay`` is a factor."""
        return self.rate.partition(":")[0]

    @property
    def decay(self) -> str | None:
        """The decay of the learning rate."""
        return self.rate.partition(":")[2] or None

    def read(self) -> dict[str, Any]:
        """The arguments of ``simulate``. Raises ``UsageError``."""
        return {"learning_rate": read_rate(self.first), "decay": self.decay}

    def __str__(self) -> str:
        return f"learning rate {self.first}" + (f", decay {self.decay}" if self.decay else "")


@dataclass(frozen=True)
class NoiseChoice:
    """The noise."""

    SUBJECT = "Run"

    noise: Annotated[
        float,
        typer.Option(metavar="X", help="Standard deviation of Gaussian noise added to each gradient.", hidden=True),
    ] = 0.0
    seed: Seed = 0

    def read(self) -> dict[str, Any]:
        """The arguments of ``simulate``."""
        return {"noise": self.noise, "seed": self.seed}


def _rows(value: Any) -> Any:
    """A number or a row of numbers as rows."""
    row = value if isinstance(value, list) else [value]
    return row if isinstance(row[0], list) else [row]


def pairs(option: str, written: Iterable[str] | None) -> dict[str, Any]:
    """``NAME=X`` as names with numbers or arrays of numbers. Raises ``UsageError``."""
    texts = ("=".join(map(str.strip, text.split("="))) for text in written or ())
    found = pairs_in(option, texts, "a name and a number, such as gamma=0.5")
    return {name: _value(f"{option} {name}", value) for name, value in found.items()}


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
    """A learning rate as ``simulate`` takes it. Raises ``UsageError`` that says what it can be."""
    from portable_nn.adversarial import DECAYS
    from portable_nn.adversarial.games.expressions import parse

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
    """Names of methods as ``compare`` takes them. Raises ``UsageError`` for unknown names beside ``all``."""
    from portable_nn.adversarial import find_method
    from portable_nn.adversarial.methods.table import EVERY

    names = [name.strip() for text in written or () for name in text.split(",")]
    if EVERY not in names:
        return names or None
    for name in names:
        if name != EVERY:
            find_method(name)
    return EVERY


def read_each(written: Sequence[str] | None, methods: str | list[str] | None) -> dict[str, dict[str, object]]:
    """The options of each method. Raises ``UsageError`` for one that no method has."""
    from portable_nn.adversarial.methods.table import read_methods as rows_of

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
