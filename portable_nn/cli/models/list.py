"""``portable-nn models list``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from portable_nn.cli.printing import Printer
from portable_nn.core.text import percent, size, table

if TYPE_CHECKING:
    from portable_nn.catalog import Shipped

EXAMPLES = ("models list", "models list --format json")
ROWS = True


def command(printer: Printer) -> None:
    """List the models that come with the package.

    The accuracy is that on test data which training never saw.
    """
    from portable_nn.catalog import SHIPPED

    rows = [_row(model) for model in SHIPPED.values()]
    headings = ("name", "alias", ">accuracy", ">size", "what it does", "weight file")
    printer.result(
        table(headings, map(_cells, rows)),
        {"models": rows},
        lambda: [list(rows[0]), *([*{**row, "aliases": " ".join(row["aliases"])}.values()] for row in rows)],
    )


def _row(model: Shipped) -> dict[str, Any]:
    from portable_nn.format import load

    accuracy = load(model.weights).manifest.metadata.get("test_accuracy")
    return {
        "name": model.name,
        "aliases": list(model.aliases),
        "summary": model.summary,
        "accuracy": float(accuracy.split()[0]) if accuracy else None,
        "bytes": model.weights.stat().st_size,
        "path": str(model.weights),
        "onnx": str(model.onnx),
        "samples": str(model.samples),
    }


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    accuracy = "" if row["accuracy"] is None else percent(row["accuracy"])
    return row["name"], ", ".join(row["aliases"]), accuracy, size(row["bytes"]), row["summary"], row["path"]
