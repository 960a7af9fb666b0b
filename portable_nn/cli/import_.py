"""``portable-nn import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portable_nn.cli.conventions import Printer
from portable_nn.cli.export import differences_as_json, differences_as_text
from portable_nn.text import fields, size

if TYPE_CHECKING:
    from portable_nn.converters.onnx import Imported

EXAMPLES = (
    "import digits.onnx digits.safetensors",
    "import somebody.onnx theirs.safetensors --format json",
    "import wih.npy who.npy mine.safetensors",
)

NPY = ".npy"


def command(
    printer: Printer,
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="IN...", help="An ONNX file; or the two files, wih.npy who.npy, or their folder."),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="The weight file to write, .safetensors or .h5: replaced as a whole, or not at all."
        ),
    ],
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not run both sides first.")] = False,
) -> None:
    """Read an ONNX file into a weight file, and prove that it computes the same.

    The network that was read is run in numpy, and the ONNX file in onnxruntime, on the same inputs at two batch sizes.
    The largest difference in each output is printed; where it is too large, nothing is written and the exit code is 1.
    A file that export wrote comes back as it was, with labels and preprocessing.

    Two .npy files are taken for the network of T. Rashid's beginner's book: wih (hidden nodes, inputs), then who
    (outputs, hidden nodes). The other side is then the book's own formula. 784 inputs are taken for pictures of digits.
    """
    network, outputs, notes = _read(sources, verify=not no_verify)
    network.save(out)
    for note in notes:
        printer.note(note)
    count = out.stat().st_size
    printer.result(
        differences_as_text(outputs) + fields([("written", f"{out} ({size(count)})")]),
        {
            "model": ", ".join(map(str, sources)), "path": str(out), "bytes": count, "verified": not no_verify,
            "outputs": differences_as_json(outputs), "notes": list(notes),
        },
    )  # fmt: skip


def _read(sources: list[Path], *, verify: bool) -> Imported:
    """What there is to read: an ONNX file, unless it can only be the network of the book."""
    if len(sources) > 1 or sources[0].is_dir() or sources[0].suffix.lower() == NPY:
        from portable_nn.converters.book import import_book

        return import_book(*sources, verify=verify)
    from portable_nn.converters.onnx import read_onnx

    return read_onnx(sources[0], verify=verify)
