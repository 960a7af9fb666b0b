"""``portable-nn models``: a group of commands."""

from __future__ import annotations

from typing import Final

from portable_nn.cli import Row

COMMANDS: Final = {
    "list": Row("list_", "List the models that come with the package."),
    "show": Row("show", "Show the card of a shipped model."),
    "build": Row("build", "Train a shipped model anew, by its recipe."),
}


def command() -> None:
    """List the shipped models, show their cards, or train them anew.

    Other commands take a shipped model by its name, where they take a file.
    """
