"""``portable-nn models``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.conventions import Printer
from portable_nn.core.text import percent, size, table

if TYPE_CHECKING:
    from portable_nn.catalog import Shipped

EXAMPLES = ("models", "models digits", "models --format json")


def command(
    printer: Printer,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show the card of this model.")] = None,
) -> None:
    """List the models that come with the package, or show the card of one.

    A card tells what a model was made from and how, how well it does, and where it fails.
    """
    from portable_nn.catalog import SHIPPED, find_model

    if name is not None:
        model = find_model(name)
        printer.result(model.card, {"name": model.name, "card": model.card})
        return
    rows = [_row(model) for model in SHIPPED.values()]
    headings = ("name", "alias", ">accuracy", ">size", "what it does", "weight file")
    printer.result(table(headings, map(_cells, rows)), {"models": rows})


def _row(model: Shipped) -> dict[str, Any]:
    from portable_nn.format import load

    told = load(model.weights).manifest.metadata.get("test_accuracy")
    return {
        "name": model.name,
        "aliases": list(model.aliases),
        "summary": model.summary,
        "accuracy": float(told.split()[0]) if told else None,
        "bytes": model.weights.stat().st_size,
        "path": str(model.weights),
        "onnx": str(model.onnx),
        "samples": str(model.samples),
    }


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    accuracy = "" if row["accuracy"] is None else percent(row["accuracy"])
    return row["name"], ", ".join(row["aliases"]), accuracy, size(row["bytes"]), row["summary"], row["path"]
