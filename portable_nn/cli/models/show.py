"""``portable-nn models show``."""

from __future__ import annotations

from typing import Annotated

import typer

from portable_nn.cli.printing import Printer

EXAMPLES = ("models show digits", "models show digits-gan --out card.txt")


def command(printer: Printer, name: Annotated[str, typer.Argument(metavar="MODEL", help="A shipped model.")]) -> None:
    """Show the card of a shipped model.

    A card says how the model was trained and on which data, how accurate it is, and where it fails.
    """
    from portable_nn.catalog import find_model

    model = find_model(name)
    printer.result(model.card, {"name": model.name, "card": model.card})
