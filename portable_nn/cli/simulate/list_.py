"""``portable-nn simulate list``."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.conventions import Printer
from portable_nn.cli.simulate import answer
from portable_nn.core.text import table

if TYPE_CHECKING:
    from portable_nn.adversarial.choices import Option

EXAMPLES = ("simulate list", "simulate list games", "simulate list methods --format json")


class What(StrEnum):
    """What there is to list."""

    GAMES = "games"
    METHODS = "methods"


def command(
    printer: Printer,
    what: Annotated[What | None, typer.Argument(metavar="[WHAT]", help="games or methods; if not given, both.")] = None,
) -> None:
    """List the games and the methods, with their options.

    --game-set gives a game its options, --set a method. cost: gradients a step; a product of the Jacobian and a vector
    counts as one.
    """
    from portable_nn.adversarial import GAMES, METHODS

    text: list[str] = []
    data: dict[str, Any] = {}
    if what is not What.METHODS:
        rows = [(row.name, row.title, _options(row.options, row.arrays)) for row in GAMES.values()]
        text.append(table(("game", "f", "options"), rows))
        data["games"] = [
            {"name": row.name, "f": row.title, "source": row.source, "options": _data(row.options, row.arrays)}
            for row in GAMES.values()
        ]
    if what is not What.GAMES:
        cells = [
            (row.name, row.title, f"{row.evaluations + row.jacobians}", _options(row.options))
            for row in METHODS.values()
        ]
        text.append(table(("method", "what it does", ">cost", "options"), cells))
        data["methods"] = [
            {
                "name": row.name,
                "title": row.title,
                "source": row.source,
                "scheme": row.scheme,
                "gradients_per_step": row.evaluations + row.jacobians,
                "options": _data(row.options),
            }
            for row in METHODS.values()
        ]
    printer.result("\n".join(text), answer.clean(data))


def _options(options: dict[str, Option], arrays: dict[str, str] | None = None) -> str:
    told = [name if option.default is None else f"{name}={option.default:g}" for name, option in options.items()]
    return " ".join([*(arrays or {}), *told])


def _data(options: dict[str, Option], arrays: dict[str, str] | None = None) -> list[dict[str, Any]]:
    return [
        *({"name": name, "meaning": meaning, "default": None} for name, meaning in (arrays or {}).items()),
        *(
            {"name": name, "meaning": option.meaning, "default": option.default, "limits": option.limits()}
            for name, option in options.items()
        ),
    ]
