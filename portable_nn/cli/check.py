"""``portable-nn check``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.options import InputSizes, Model
from portable_nn.cli.printing import Printer
from portable_nn.cli.proof import Tolerances, bytes_in, tolerances_in
from portable_nn.core.errors import UsageError

if TYPE_CHECKING:
    from portable_nn.runtimes.report import RuntimeReport

EXAMPLES = (
    "check digits-mlp",
    "check somebody.onnx --strict",
    "check somebody.onnx --in N,3,224,224 --out faults.json",
    "check digits-mlp --runtimes onnxruntime,reference",
    "check digits-mlp --runtimes numpy --limits 60,2GiB --tolerance 1e-5",
)


@dataclass(frozen=True)
class RuntimeOptions:
    """In which runtimes and code bases a model also runs, and within which limits."""

    SUBJECT = "Runtimes"

    runtimes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Also run the model in other runtimes, and compare: all, or some, such as openvino,tract,torch,c.",
        ),
    ] = None
    tolerance: Tolerances = None
    limits: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS[,SIZE]",
            help="Time limit of each runtime, and its memory limit. By default 300,8GiB.",
            hidden=True,
        ),
    ] = None

    def report(self, model: str) -> RuntimeReport | None:
        """The results of the runtimes, or ``None`` where none is asked for. Raises ``UsageError`` for limits without
        runtimes."""
        from portable_nn.comparison.checking import check_runtimes

        seconds, _, memory = (self.limits or "").partition(",")
        limits: dict[str, Any] = {
            **tolerances_in(self.tolerance),
            "timeout": _seconds(seconds) if seconds else None,
            "memory": bytes_in(memory, "--limits") if memory else None,
        }
        given = {name: value for name, value in limits.items() if value is not None}
        if self.runtimes is None:
            if given:
                raise UsageError("--tolerance and --limits need --runtimes, which is missing")
            return None
        return check_runtimes(model, runtimes=self.runtimes, **given)


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--limits needs SECONDS[,SIZE], such as 60,2GiB, not '{text}'") from None


def command(
    printer: Printer,
    model: Model,
    ran: RuntimeOptions,
    sizes: InputSizes = None,
    strict: Annotated[bool, typer.Option("--strict", help="Count warnings as errors.")] = False,
) -> None:
    """Report every fault of a model in one pass.

    Faults are shapes and types that do not fit, unsupported operators, undefined values, options on which runtimes
    disagree, cells of an input that no kernel reads, unused nodes and weights, and weights with NaN or infinity. The
    exit code is 1 if there are errors.
    """
    from portable_nn.analysis import as_json, as_text
    from portable_nn.core.binding import parse_sizes
    from portable_nn.outputs.reports import check

    report = check(model, inputs=parse_sizes(sizes or ()))
    found = ran.report(model)
    text, data = as_text(report, printer.width), as_json(report)
    if found:
        from portable_nn.runtimes import report as reports

        text, data = f"{text}\n{reports.as_text(found)}", {**data, "runtimes": reports.as_json(found)}
    printer.result(text, data)
    if not report.passes(strict=strict) or (found and not found.passes()):
        raise typer.Exit(1)
