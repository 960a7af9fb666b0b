"""``portable-nn inspect``."""

from __future__ import annotations

from typing import Annotated

import typer

from portable_nn.cli.conventions import Printer

EXAMPLES = (
    "inspect digits",
    "inspect somebody.onnx --format json",
    "inspect mine.safetensors --manifest",
)


def command(
    printer: Printer,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A shipped model's name, a weight file, or any ONNX file.")
    ],
    manifest: Annotated[
        bool, typer.Option("--manifest", help="Print the manifest in the file, as it is: JSON.")
    ] = False,
) -> None:
    """Show what is in a model: nodes, shapes, parameters, what goes in and out.

    The file's SHA-256 is printed as well. An ONNX file is shown as it is, also where import would refuse it because
    of operators that this package does not have.
    """
    from portable_nn.inspection import as_json, as_text, inspect, manifest_text

    if manifest:
        print(manifest_text(model))
        return
    found = inspect(model)
    printer.result(as_text(found), as_json(found))
