"""``portable-nn check``."""

from __future__ import annotations

from typing import Annotated

import typer

from portable_nn.cli.conventions import Printer

EXAMPLES = (
    "check digits-mlp",
    "check somebody.onnx --strict",
    "check somebody.onnx --in N,3,224,224 --format json",
)


def command(
    printer: Printer,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A shipped model's name, a weight file, or any ONNX file.")
    ],
    sizes: Annotated[
        list[str] | None,
        typer.Option("--in", metavar="SIZES", help="Sizes of the input, N,3,224,224; of several, x=1,3,224,224 each."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Count warnings as errors.")] = False,
) -> None:
    """Find every fault of a model in one pass.

    Shapes and types that do not fit, operators that are not supported, values that nothing makes, options that runtimes
    read differently, cells that no kernel reads, what nothing needs, weights that are no numbers. The exit code is 1
    where there are errors.
    """
    from portable_nn.analysis import as_json, as_text
    from portable_nn.core.binding import parse_sizes
    from portable_nn.model_files.checking import check

    report = check(model, inputs=parse_sizes(sizes or ()))
    printer.result(as_text(report, printer.width), as_json(report))
    if not report.passes(strict=strict):
        raise typer.Exit(1)
