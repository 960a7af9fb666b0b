"""``portable-nn import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from portable_nn.cli.conventions import Printer
from portable_nn.cli.export import differences_as_json, differences_as_text
from portable_nn.text import fields, size

EXAMPLES = (
    "import digits.onnx digits.safetensors",
    "import somebody.onnx theirs.safetensors --format json",
)


def command(
    printer: Printer,
    source: Annotated[Path, typer.Argument(metavar="IN.onnx", help="An ONNX file.")],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT.safetensors", help="The weight file to write. It is replaced as a whole, or not at all."
        ),
    ],
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not run both sides first.")] = False,
) -> None:
    """Read an ONNX file into a weight file, and prove that it computes the same.

    The network that was read is run in numpy, and the ONNX file in onnxruntime, on the same inputs at two batch sizes.
    The largest difference in each output is printed; where it is too large, nothing is written and the exit code is 1.
    A file that export wrote comes back as it was, with labels and preprocessing.
    """
    from portable_nn.converters.onnx import read_onnx

    network, outputs, notes = read_onnx(source, verify=not no_verify)
    network.save(out)
    for note in notes:
        printer.note(note)
    count = out.stat().st_size
    printer.result(
        differences_as_text(outputs) + fields([("written", f"{out} ({size(count)})")]),
        {
            "model": str(source), "path": str(out), "bytes": count, "verified": not no_verify,
            "outputs": differences_as_json(outputs), "notes": list(notes),
        },
    )  # fmt: skip
