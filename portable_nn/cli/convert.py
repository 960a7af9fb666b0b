"""``portable-nn convert``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.options import Edited
from portable_nn.cli.printing import Printer
from portable_nn.cli.proof import ProofOptions, differences_as_json, differences_as_text, renames_in
from portable_nn.core.text import fields, printable, size

if TYPE_CHECKING:
    from portable_nn.opening.convert import Conversion

EXAMPLES = (
    "convert mine.safetensors mine.h5",
    "convert digits digits.npz",
    "convert somebody.onnx theirs.safetensors",
    "convert theirs.npz mine.onnx --against digits-mlp --rename w1=hidden.weight",
)


def command(
    printer: Printer,
    source: Annotated[
        str,
        typer.Argument(metavar="A", help="A .safetensors, .h5, .npz or .onnx file, or a shipped model's name."),
    ],
    out: Annotated[
        Path,
        typer.Argument(metavar="B", help="The file to write; its suffix sets the format.", writable=True),
    ],
    opset: Annotated[
        int | None,
        typer.Option(metavar="N", help="Version of the standard operators in B.onnx, 13 to 25. By default 17."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The model whose tensors A holds, if A holds arrays without a graph."),
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="Name in MODEL of a tensor of A; OLD= drops it. Repeatable.", hidden=True),
    ] = None,
    edited: Edited = False,
    *,
    proof: ProofOptions,
) -> None:
    """Convert a network to another file format, and compare every tensor.

    B is read back, and must have the same SHA-256 for each tensor, and the same labels and preprocessing. Facts that
    the format cannot hold are listed. ONNX files are also verified as in export and import. With --io, the network is
    run on the recorded inputs. If anything differs, B is removed and the exit code is 1.

    Arrays of another project have no graph: --against takes it from a model, whose tensors must have the same names,
    shapes and types.
    """
    from portable_nn.opening.convert import convert

    renamed = renames_in(rename)
    found = convert(source, out, against=against, rename=renamed, opset=opset, edited=edited, **proof.options())
    printer.notes(found.notes)
    printer.result(_as_text(found, proof.io), _as_json(found))


def _as_text(found: Conversion, io: Path | None) -> str:
    details = [size(found.bytes), *([f"opset {found.opset}", f"IR version {found.ir_version}"] if found.opset else [])]
    compared = f", all as in {found.source}" if found.verified else ""
    same = {None: "", True: f", as in {found.source}", False: f", not as in {found.source}"}
    text = (
        differences_as_text(found.outputs)
        + differences_as_text(found.recorded, f"as in {io}")
        + fields(
            [
                *found.outputs.in_words(),
                ("written", f"{', '.join(map(str, found.files))} ({', '.join(details)})"),
                ("tensors", f"{found.tensors:,} ({size(found.tensor_bytes)}){compared}"),
                ("digest", found.digest + same[found.same_digest]),
            ]
        )
    )
    if found.dropped:
        text += f"\n{printable(str(found.target))} does not hold\n"
        text += "".join(f"  {printable(line)}\n" for line in found.dropped)
    return text


def _as_json(found: Conversion) -> dict[str, Any]:
    return {
        "model": str(found.source),
        "path": str(found.target),
        "files": [str(file) for file in found.files],
        "bytes": found.bytes,
        "tensors": found.tensors,
        "tensor_bytes": found.tensor_bytes,
        "verified": found.verified,
        "digest": found.digest,
        "same_digest": found.same_digest,
        "opset": found.opset,
        "ir_version": found.ir_version,
        "outputs": differences_as_json(found.outputs),
        **found.outputs.as_json(),
        "recorded": differences_as_json(found.recorded),
        "dropped": list(found.dropped),
        "notes": list(found.notes),
    }
