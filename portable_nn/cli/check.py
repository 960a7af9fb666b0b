"""``portable-nn check``."""

from __future__ import annotations

from typing import Annotated

import typer

from portable_nn.cli.conventions import InputSizes, Model, Printer

EXAMPLES = (
    "check digits-mlp",
    "check somebody.onnx --strict",
    "check somebody.onnx --in N,3,224,224 --out faults.json",
)


def command(
    printer: Printer,
    model: Model,
    sizes: InputSizes = None,
    strict: Annotated[bool, typer.Option("--strict", help="Count warnings as errors.")] = False,
) -> None:
    """Report every fault of a model in one pass.

    Shapes and types that do not fit, unsupported operators, undefined values, options on which runtimes disagree, cells
    of an input that no kernel reads, unused nodes and weights, and weights with NaN or infinity. The exit code is 1 if
    there are errors.
    """
    from portable_nn.analysis import as_json, as_text
    from portable_nn.core.binding import parse_sizes
    from portable_nn.model_files.reports import check

    report = check(model, inputs=parse_sizes(sizes or ()))
    printer.result(as_text(report, printer.width), as_json(report))
    if not report.passes(strict=strict):
        raise typer.Exit(1)
