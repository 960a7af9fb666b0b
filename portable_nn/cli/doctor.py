"""``portable-nn doctor``."""

from __future__ import annotations

import typer

from portable_nn.cli.printing import Printer

EXAMPLES = ("doctor", "doctor --format json")


def command(printer: Printer) -> None:
    """Check this installation: packages, engines, threads and memory.

    Each engine computes something with a known result, and the providers of onnxruntime are listed. The exit code is 1
    if a required package is missing or too old, an engine computes a wrong result, or a setting is wrong. Optional
    packages are not checked: a command that lacks one names the command that installs it.
    """
    from portable_nn.doctor.report import examine

    found = examine()
    printer.result(found.as_text(), found.as_json())
    if found.faults:
        raise typer.Exit(1)
