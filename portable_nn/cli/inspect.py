"""``portable-nn inspect``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.drawing import draw, written
from portable_nn.cli.options import written_file
from portable_nn.cli.printing import DASH, Printer
from portable_nn.core.errors import UsageError
from portable_nn.core.plotting import FORMATS, check_picture
from portable_nn.core.text import some

if TYPE_CHECKING:
    from portable_nn.inspection import Inspection
    from portable_nn.opening.signatures import Verified

DOT = ".dot"
"""The suffix of graphs for Graphviz."""

LARGEST = 1 << 20
"""The bytes of a file of a key that are looked at for a certificate."""

EXAMPLES = (
    "inspect digits",
    "inspect somebody.onnx --out nodes.json",
    "inspect mine.safetensors --manifest",
    "inspect theirs.h5 --against digits-mlp",
    "inspect somebody.onnx --plot somebody.png",
    "inspect somebody.onnx --plot somebody.dot",
    "inspect mine.safetensors --verify-signature mine.safetensors.sig --signer key.pub",
)


def command(
    printer: Printer,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A shipped model's name, a weight file, any ONNX file, or any .safetensors, .pt, .h5, .npz or .npy "
            "file.",
        ),
    ],
    manifest: Annotated[
        bool, typer.Option("--manifest", help="Print the manifest of the file: canonical JSON.")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Report which tensors fit this model, and which may have been renamed."),
    ] = None,
    plot: Annotated[
        Path | None,
        written_file(
            "--plot",
            "FILE",
            f"Write a picture: {', '.join(FORMATS)} (needs matplotlib); or the graph for Graphviz, {DOT}; - prints it.",
            lambda path: str(path) == DASH or check_picture(path, DOT),
        ),
    ] = None,
    verify_signature: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.sig",
            help="Verify this signature of the file, made by model-signing, and show the model only if it is valid.",
        ),
    ] = None,
    signer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|NAME=ISSUER",
            help="The signer: a file with the public key, or with a certificate in the signer's chain (repeatable); "
            "or, with Sigstore, an e-mail address or a workflow's URL, and its identity provider: "
            "me@example.com=https://accounts.google.com.",
            hidden=True,
        ),
    ] = None,
) -> None:
    """Show a model's nodes, shapes, parameters, inputs and outputs.

    The SHA-256 of the file is printed, and for a weight file the digest of the network, which is the same in every
    format. ONNX files are shown even if import would refuse their operators. For a file of arrays, names, types and
    shapes are shown.

    With --verify-signature and --signer, the model is shown only if the signature is valid; otherwise the exit code is
    3. Without these options, a signature beside the file is named, but not verified.

    With --against, the exit code is 1 if a tensor of that model is missing or has another shape. A picture omits
    constants and says how many; the text for Graphviz has all nodes.
    """
    _check_options({"--manifest": manifest, "--against": against, "--plot": plot})
    is_text = plot is not None and (str(plot) == DASH or plot.suffix.lower() == DOT)
    with _signed(model, verify_signature, signer or ()) as signed:
        copy = signed.path if signed else model
        if signed and (manifest or against is not None):
            printer.note(str(signed))
        if manifest:
            _print_manifest(printer, copy)
        elif against is not None:
            _compare(printer, model, copy, against)
        else:
            _show(printer, model, signed, *((None, plot) if is_text else (plot, None)))


def _show(printer: Printer, model: str, signed: Verified | None, plot: Path | None, dot: Path | None) -> None:
    """Print what is in a model, and write its pictures."""
    from portable_nn.inspection import as_json, as_text
    from portable_nn.opening.kinds import path_of
    from portable_nn.outputs.reports import inspect

    if str(dot) == DASH and printer.out is not None:
        raise UsageError("--plot - prints the graph alone: leave out --out")
    found, heading = inspect(signed.path if signed else model), ""
    data: dict[str, Any] = {"signed": None, "unsigned": []}
    if signed:  # What is said of it already is not said to be unverified.
        assert found.file
        found = replace(found, file=replace(found.file, path=str(path_of(model)), signature=None))
        data = {"signed": signed.signed, "unsigned": list(signed.unsigned)}
        heading = f"signature  {signed.signed}\n" + f"unsigned   {some(signed.unsigned)}\n" * bool(signed.unsigned)
    files = _draw(printer, found, plot, dot)
    if str(dot) != DASH:
        text = as_text(found).rstrip("\n") + ("\n\n" + written(files) if files else "")
        printer.result(heading + text, as_json(found) | {"files": [str(path) for _, path in files], **data})


@contextmanager
def _signed(model: str, signature: Path | None, signers: Sequence[str]) -> Iterator[Verified | None]:
    """The copy of the file that was verified; ``None`` where nobody asks. Raises as ``verified_copy`` does."""
    if signature is None:
        if signers:
            raise UsageError("--signer needs --verify-signature FILE.sig")
        yield None
        return
    from portable_nn.opening.signatures import verified_copy

    with verified_copy(model, signature, **_trusted(signers)) as found:
        yield found


def _trusted(signers: Sequence[str]) -> dict[str, Any]:
    """The arguments of the library. Raises ``UsageError`` for several of a kind of which there can be one."""
    from portable_nn.core.files import open_regular

    found: dict[str, Any] = {"certificates": []}
    for text in signers:
        name, sign, issuer = text.partition("=")
        if sign and not Path(text).exists():
            given = {"identity": name, "issuer": issuer}
        else:
            with open_regular(text) as file:
                is_certificate = b"BEGIN CERTIFICATE" in file.read(LARGEST)
            found["certificates"] += [text] * is_certificate
            given = {} if is_certificate else {"public_key": text}
        if found.keys() & given:
            raise UsageError(f"--signer {text}: there is one already of this kind")
        found |= given
    return found


def _check_options(given: Mapping[str, object]) -> None:
    if len(names := [name for name, value in given.items() if value not in {None, False}]) > 1:
        raise UsageError(f"{' and '.join(names)} cannot be used together: they show different things")


def _print_manifest(printer: Printer, model: str | Path) -> None:
    """The manifest, byte by byte as it is in the file."""
    from portable_nn.outputs.reports import manifest_text

    with printer.output() as file:
        file.write(manifest_text(model) + "\n")


def _draw(printer: Printer, found: Inspection, plot: Path | None, dot: Path | None) -> list[tuple[str, Path]]:
    """Write the pictures that are asked for; return them as ``draw`` does."""
    from portable_nn import diagram

    files = draw(plot, lambda: diagram.draw(diagram.diagram(found)))
    if dot is None:
        return files
    with printer.to(dot) as file:
        file.write(diagram.as_dot(diagram.diagram(found, constants=True)))
    return files if str(dot) == DASH else [*files, ("written", dot)]


def _compare(printer: Printer, file: str, copy: str | Path, model: str) -> None:
    from portable_nn.outputs.reports import against
    from portable_nn.plain.matching import as_json, as_text

    found = against(copy, model)
    printer.result(as_text(found), {"file": file, "model": model, **as_json(found)})
    if not found.fits:
        raise typer.Exit(1)
