"""``portable-nn inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portable_nn.cli.conventions import Printer
from portable_nn.core.errors import UsageError

if TYPE_CHECKING:
    from portable_nn.inspection import Inspection

EXAMPLES = (
    "inspect digits",
    "inspect somebody.onnx --format json",
    "inspect mine.safetensors --manifest",
    "inspect theirs.h5 --against digits-mlp",
    "inspect somebody.onnx --plot somebody.png",
    "inspect somebody.onnx --dot somebody.dot",
)


def command(
    printer: Printer,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A shipped model's name, a weight file, any ONNX file, or any file of arrays, such as theirs.npz.",
        ),
    ],
    manifest: Annotated[
        bool, typer.Option("--manifest", help="Print the manifest in the file, as it is: JSON.")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Tell which tensors would fit this model, and which were perhaps renamed."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw nodes, shapes and parameters: .png, .svg or .pdf (needs matplotlib)."),
    ] = None,
    dot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the drawing as text for Graphviz; - for stdout, and nothing else."),
    ] = None,
) -> None:
    """Show what is in a model: nodes, shapes, parameters, what goes in and out.

    The file's SHA-256 is printed as well, and of a weight file the digest of the network in it, which is the same in
    every kind of file. An ONNX file is shown as it is, also where import would refuse it because of operators that this
    package does not have. Of a file of arrays, the names, types and shapes of the arrays are shown.

    With --against, the exit code is 1 where a tensor of that model is missing or has another shape. A picture leaves
    constants out, and says how many; text for Graphviz has everything.
    """
    from portable_nn.inspection import as_json, as_text, inspect, manifest_text

    if manifest and against is not None:
        raise UsageError("--manifest and --against cannot be used at once: they print different things")
    for name, given in (("--plot", plot), ("--dot", dot)):
        if given is not None and (manifest or against is not None):
            raise UsageError(f"{name} draws the whole model: leave out {'--manifest' if manifest else '--against'}")
    if manifest:
        print(manifest_text(model))
    elif against is None:
        found = inspect(model)
        _draw(printer, found, plot, dot)
        if str(dot) != "-":
            printer.result(as_text(found), as_json(found))
    else:
        _compare(printer, model, against)


def _draw(printer: Printer, found: Inspection, plot: Path | None, dot: Path | None) -> None:
    """Write the pictures that are asked for."""
    if plot is not None:
        from portable_nn.core.plotting import check_picture, save
        from portable_nn.diagram import diagram, draw

        check_picture(plot)
        save(draw(diagram(found)), plot)
    if dot is not None:
        from portable_nn.diagram import as_dot, diagram

        with printer.to(dot) as file:
            file.write(as_dot(diagram(found, constants=True)))


def _compare(printer: Printer, file: str, model: str) -> None:
    from portable_nn.inspection import against
    from portable_nn.plain.matching import as_json, as_text

    found = against(file, model)
    printer.result(as_text(found), {"file": file, "model": model, **as_json(found)})
    if not found.fits:
        raise typer.Exit(1)
