"""``portable-nn convert``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.conventions import Printer
from portable_nn.cli.proof import (
    Atol,
    Io,
    Rtol,
    Seed,
    check_proof,
    differences_as_json,
    differences_as_text,
    recorded_as_text,
    tolerances,
)
from portable_nn.core.errors import FileError, UsageError
from portable_nn.core.text import fields, printable, size

if TYPE_CHECKING:
    from portable_nn.model_files.convert import Conversion

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
        typer.Argument(metavar="A", help="A weight file, ONNX file or file of arrays, or a shipped model's name."),
    ],
    target: Annotated[Path, typer.Argument(metavar="B", help="The file to write; its suffix chooses the kind.")],
    force: Annotated[bool, typer.Option("--force", help="Replace B if it is there.")] = False,
    opset: Annotated[
        int | None,
        typer.Option(metavar="N", help="The version of the operators in B.onnx, 13 to 25. If not given, it is 17."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Where A holds arrays only: the model whose tensors they are."),
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="What MODEL calls a tensor of A; OLD= leaves it out. Any number of them."),
    ] = None,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Do not read B back and compare it; run no engine.")
    ] = False,
    atol: Atol = None,
    rtol: Rtol = None,
    seed: Seed = 0,
    io: Io = None,
) -> None:
    """Write a network as a file of another kind, read that back, and compare every tensor.

    B holds the same network: each tensor has the same SHA-256, and labels, preprocessing and everything else come
    along. What B does not hold of A is listed. ONNX files are run in numpy and in onnxruntime as well, as export and
    import do, and with --io every network is run on what is recorded. If anything differs, B is removed and the exit
    code is 1.

    Arrays of another project have no graph: --against takes it from a model, whose tensors must have the same names,
    shapes and types.
    """
    from portable_nn.model_files.convert import convert

    _check_target(target, force)
    check_proof(no_verify, io)
    found = convert(
        source,
        target,
        against=against,
        rename=_pairs(rename or []),
        opset=opset,
        verify=not no_verify,
        seed=seed,
        io=io,
        **tolerances(atol, rtol),
    )
    printer.notes(found.notes)
    printer.result(_as_text(found, io), _as_json(found))


def _check_target(path: Path, force: bool) -> None:
    """Find out before the work, and not after it, that its result could not be written."""
    if path.exists() and not force:
        raise UsageError(f"{path} is there already: --force replaces it")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FileError(path, f"cannot be written: there is no folder '{folder}'")
    if not os.access(folder, os.W_OK):
        raise FileError(path, "cannot be written: its folder is read-only")


def _pairs(renames: list[str]) -> dict[str, str]:
    found = dict[str, str]()
    for text in renames:
        old, sign, new = text.partition("=")
        if not (old and sign):
            raise UsageError(f"--rename needs OLD=NEW, not '{text}'")
        if old in found:
            raise UsageError(f"--rename: '{old}' is renamed twice")
        found[old] = new
    return found


def _as_text(found: Conversion, io: Path | None) -> str:
    details = [size(found.bytes), *([f"opset {found.opset}", f"IR version {found.ir_version}"] if found.opset else [])]
    compared = f", all as in {found.source}" if found.verified else ""
    same = {None: "", True: f", as in {found.source}", False: f", not as in {found.source}"}
    text = (
        differences_as_text(found.outputs)
        + recorded_as_text(found.recorded, io)
        + fields(
            [
                ("written", f"{', '.join(map(str, found.files))} ({', '.join(details)})"),
                ("tensors", f"{found.tensors:,} ({size(found.tensor_bytes)}){compared}"),
                ("digest", found.digest + same[found.same_digest]),
            ]
        )
    )
    if found.left_behind:
        text += f"\n{printable(str(found.target))} does not hold\n"
        text += "".join(f"  {printable(line)}\n" for line in found.left_behind)
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
        "recorded": differences_as_json(found.recorded),
        "left_behind": list(found.left_behind),
        "notes": list(found.notes),
    }
