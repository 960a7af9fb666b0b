"""``portable-nn simulate list``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from portable_nn.cli.printing import Printer
from portable_nn.cli.simulate import answer
from portable_nn.core.text import table

if TYPE_CHECKING:
    from portable_nn.adversarial.games.options import Option

EXAMPLES = ("simulate list", "simulate list games", "simulate list methods --format json")


def command(
    printer: Printer,
    what: Annotated[
        Literal["games", "methods"] | None, typer.Argument(metavar="[WHAT]", help="games or methods; by default both.")
    ] = None,
) -> None:
    """List the games and the methods, with their options.

    Options of a game are set with --set game.NAME=X, those of a method with --set NAME=X. cost: gradient evaluations
    per step; a Jacobian-vector product counts as one.
    """
    from portable_nn.adversarial import GAMES, METHODS

    text: list[str] = []
    data: dict[str, Any] = {}
    if what != "methods":
        rows = [(row.name, row.title, _options(row.options, row.arrays)) for row in GAMES.values()]
        text.append(table(("game", "f", "options"), rows))
        data["games"] = [
            {"name": row.name, "f": row.title, "source": row.source, "options": _data(row.options, row.arrays)}
            for row in GAMES.values()
        ]
    if what != "games":
        cells = [(row.name, row.title, f"{row.cost}", _options(row.options)) for row in METHODS.values()]
        text.append(table(("method", "update", ">cost", "options"), cells))
        data["methods"] = [
            {
                "name": row.name,
                "title": row.title,
                "source": row.source,
                "scheme": row.scheme,
                "gradients_per_step": row.cost,
                "options": _data(row.options),
            }
            for row in METHODS.values()
        ]
    printer.result("\n".join(text), answer.clean(data))


def _options(options: dict[str, Option], arrays: dict[str, str] | None = None) -> str:
    defaults = {name: option.default for name, option in options.items()}
    return " ".join(filter(None, [*(arrays or {}), answer.options(defaults)]))


def _data(options: dict[str, Option], arrays: dict[str, str] | None = None) -> list[dict[str, Any]]:
    return [
        *({"name": name, "meaning": meaning, "default": None} for name, meaning in (arrays or {}).items()),
        *(
            {"name": name, "meaning": option.meaning, "default": option.default, "limits": option.limits()}
            for name, option in options.items()
        ),
    ]
