"""``portable-nn doctor``."""

from __future__ import annotations

import typer

from portable_nn.cli.printing import Printer

EXAMPLES = ("doctor", "doctor --format json")


def command(printer: Printer) -> None:
    """Say what this installation has, lacks and computes.

    Versions, both engines (each computes something whose result is known), what onnxruntime can run on, the threads of
    BLAS, and memory. The exit code is 1 where a package that is always needed is missing or too old, an engine does not
    compute what it must, or a setting is wrong. A command that needs an extra or a provider which is missing says how
    to install it.
    """
    from portable_nn.doctor.report import examine

    found = examine()
    printer.result(found.as_text(), found.as_json())
    if found.faults:
        raise typer.Exit(1)
