"""``portable-nn inspect``."""

from __future__ import annotations

from typing import Annotated

import typer

from portable_nn.cli.conventions import Printer
from portable_nn.errors import UsageError

EXAMPLES = (
    "inspect digits",
    "inspect somebody.onnx --format json",
    "inspect mine.safetensors --manifest",
    "inspect theirs.h5 --against digits-mlp",
)


def command(
    printer: Printer,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A shipped model's name, a weight file, any ONNX file, or any .safetensors, .h5, .hdf5, .npz or .npy "
            "file of arrays.",
        ),
    ],
    manifest: Annotated[
        bool, typer.Option("--manifest", help="Print the manifest in the file, as it is: JSON.")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Tell which tensors would fit this model, and which were perhaps renamed."),
    ] = None,
) -> None:
    """Show what is in a model: nodes, shapes, parameters, what goes in and out.

    The file's SHA-256 is printed as well, and of a weight file the digest of the network in it, which is the same in
    every kind of file. An ONNX file is shown as it is, also where import would refuse it because of operators that this
    package does not have. Of a file of arrays, the names, types and shapes of the arrays are shown.

    With --against, the exit code is 1 where a tensor of that model is missing or has another shape.
    """
    from portable_nn.inspection import as_json, as_text, inspect, manifest_text

    if manifest and against is not None:
        raise UsageError("--manifest and --against cannot be used at once: they print different things")
    if manifest:
        print(manifest_text(model))
    elif against is None:
        found = inspect(model)
        printer.result(as_text(found), as_json(found))
    else:
        _compare(printer, model, against)


def _compare(printer: Printer, file: str, model: str) -> None:
    from portable_nn.inspection import against
    from portable_nn.plain.matching import as_json, as_text

    found = against(file, model)
    printer.result(as_text(found), {"file": file, "model": model, **as_json(found)})
    if not found.fits:
        raise typer.Exit(1)
