"""``portable-nn check``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from portable_nn.cli.conventions import InputSizes, Model, Printer

if TYPE_CHECKING:
    from portable_nn.runtimes.report import RuntimeReport

EXAMPLES = (
    "check digits-mlp",
    "check somebody.onnx --strict",
    "check somebody.onnx --in N,3,224,224 --out faults.json",
    "check digits-mlp --runtimes onnxruntime,reference",
)


def command(
    printer: Printer,
    model: Model,
    sizes: InputSizes = None,
    strict: Annotated[bool, typer.Option("--strict", help="Count warnings as errors.")] = False,
    runtimes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Also run the model in other runtimes, and compare: all, or some, such as openvino,tract.",
        ),
    ] = None,
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
    found = _in_runtimes(model, runtimes)
    text, data = as_text(report, printer.width), as_json(report)
    if found:
        from portable_nn.runtimes import report as ran

        text, data = f"{text}\n{ran.as_text(found)}", {**data, "runtimes": ran.as_json(found)}
    printer.result(text, data)
    if not report.passes(strict=strict) or (found and not found.passes()):
        raise typer.Exit(1)


def _in_runtimes(model: str, runtimes: str | None) -> RuntimeReport | None:
    from portable_nn.runtimes.checking import check_runtimes

    return None if runtimes is None else check_runtimes(model, runtimes=runtimes)
