"""``portable-nn models``: a group of commands."""

from __future__ import annotations

from typing import Final

COMMANDS: Final = {
    "list": "List the models that come with the package.",
    "show": "Show the card of a shipped model.",
    "build": "Train a shipped model anew, by its recipe.",
}

ALONE: Final = "list"
"""The command that the name of the group alone stands for."""


def command() -> None:
    """List the shipped models, show their cards, or train them anew.

    Without a command it lists them. Other commands take a shipped model by its name, where they take a file.
    """
