"""``portable-nn doctor``."""

from __future__ import annotations

import typer

from portable_nn.cli.printing import Printer

EXAMPLES = ("doctor", "doctor --format json")


def command(printer: Printer) -> None:
    """Say what this installation has, lacks and computes.

    Versions, both engines (each computes something whose result is known), what onnxruntime can run on, the threads of
    BLAS, memory, and for each extra the one command that brings what is missing. The exit code is 1 where a package
    that is always needed is missing or too old, an engine does not compute what it must, or a setting is wrong; a
    missing extra or provider is no fault.
    """
    from portable_nn.doctor.report import examine

    found = examine()
    printer.result(found.as_text(), found.as_json())
    if found.faults:
        raise typer.Exit(1)
