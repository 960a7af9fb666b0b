"""``portable-nn import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.conventions import Printer
from portable_nn.cli.proof import (
    Atol,
    Io,
    NoVerify,
    Rtol,
    Seed,
    check_proof,
    differences_as_json,
    differences_as_text,
    recorded_as_text,
    sizes_in,
    tolerances,
)
from portable_nn.core.errors import UsageError
from portable_nn.core.text import fields, size

if TYPE_CHECKING:
    from portable_nn.converters.onnx import Imported

EXAMPLES = (
    "import digits.onnx digits.safetensors",
    "import somebody.onnx theirs.safetensors --io theirs.npz",
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
            metavar="OUT", help="The weight file to write, such as net.safetensors: replaced as a whole, or not at all."
        ),
    ],
    dim: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SIZE", help="Fix a size of the inputs that has a name. Any number of them."),
    ] = None,
    no_verify: NoVerify = False,
    atol: Atol = None,
    rtol: Rtol = None,
    seed: Seed = 0,
    io: Io = None,
) -> None:
    """Read an ONNX file into a weight file, and prove that it computes the same.

    The network that was read is run in numpy, and the ONNX file in onnxruntime, on the same inputs at two batch sizes.
    The largest difference in each output is printed; where it is too large, the first node that differs is named,
    nothing is written and the exit code is 1.
    A file that export wrote comes back as it was, with labels and preprocessing.

    Two .npy files are taken for the network of T. Rashid's beginner's book: wih (hidden nodes, inputs), then who
    (outputs, hidden nodes). The other side is then the book's own formula. 784 inputs are taken for pictures of digits.
    """
    check_proof(no_verify, io)
    sizes = {"sizes": sizes_in(dim, "--dim")} if dim else {}
    network, outputs, notes = _read(sources, **sizes, verify=not no_verify, seed=seed, io=io, **tolerances(atol, rtol))
    network.save(out)
    printer.notes([*notes, *outputs.notes])
    count = out.stat().st_size
    printer.result(
        differences_as_text(outputs)
        + recorded_as_text(outputs.recorded, io)
        + fields([("written", f"{out} ({size(count)})")]),
        {
            "model": ", ".join(map(str, sources)),
            "path": str(out),
            "bytes": count,
            "verified": not no_verify,
            "outputs": differences_as_json(outputs),
            "batches": list(outputs.batches),
            "recorded": differences_as_json(outputs.recorded),
            "notes": [*notes, *outputs.notes],
        },
    )


def _read(sources: list[Path], **options: Any) -> Imported:
    """What there is to read: an ONNX file, unless it can only be the network of the book."""
    if len(sources) > 1 or sources[0].is_dir() or sources[0].suffix.lower() == NPY:
        from portable_nn.converters.book import import_book

        if "sizes" in options:
            raise UsageError("--dim is for ONNX files: the book's arrays have their sizes")
        return import_book(*sources, **options)
    from portable_nn.converters.onnx import read_onnx

    return read_onnx(sources[0], **options)
