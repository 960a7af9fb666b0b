"""``portable-nn export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.conventions import Printer
from portable_nn.errors import UsageError
from portable_nn.text import fields, size, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from portable_nn.converters.onnx.verify import Difference

EXAMPLES = (
    "export digits digits.onnx",
    "export mine.safetensors mine.onnx --opset 13",
)


def command(
    printer: Printer,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A shipped model's name, a weight file, or an ONNX file.")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT.onnx", help="The file to write. It is replaced as a whole, or not at all.")
    ],
    opset: Annotated[int, typer.Option(metavar="N", help="The version of the standard operators, 13 to 25.")] = 17,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not run both sides first.")] = False,
    atol: Annotated[float, typer.Option(metavar="X", help="How far apart two numbers may be,")] = 1e-5,
    rtol: Annotated[
        float, typer.Option(metavar="X", help="and in addition, as a part of the largest in the output.")
    ] = 1e-5,
    seed: Annotated[int, typer.Option(metavar="N", help="What the inputs that both sides run on are drawn from.")] = 0,
) -> None:
    """Write a model as an ONNX file, and prove that it computes the same.

    Before anything is written, numpy runs the network and onnxruntime the ONNX model on the same inputs, at two batch
    sizes. The largest difference in each output is printed; where it is too large, nothing is written and the exit
    code is 1.
    """
    from portable_nn.converters.onnx import export_onnx
    from portable_nn.resolve import ONNX, open_network

    if out.suffix.lower() != ONNX:
        raise UsageError(f"{out}: the name of the file to write must end in {ONNX}")
    report = export_onnx(
        open_network(model), out, opset=opset, verify=not no_verify, atol=atol, rtol=rtol, seed=seed
    )  # fmt: skip
    for note in report.notes:
        printer.note(note)
    written = f"{report.path} ({size(report.bytes)}, opset {report.opset}, IR version {report.ir_version})"
    printer.result(
        differences_as_text(report.outputs) + fields([("written", written)]),
        {
            "model": model, "path": str(report.path), "bytes": report.bytes, "opset": report.opset,
            "ir_version": report.ir_version, "verified": not no_verify, "outputs": differences_as_json(report.outputs),
        },
    )  # fmt: skip


def differences_as_text(outputs: Mapping[str, Difference]) -> str:
    """A table of how far apart numpy and onnxruntime are; empty where nothing was compared."""
    rows = [(name, f"{found.max_abs_error:.1e}", f"{found.max_rel_error:.1e}") for name, found in outputs.items()]
    return table(("output", ">largest error", ">relative"), rows) + "\n" if rows else ""


def differences_as_json(outputs: Mapping[str, Difference]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [{"output": name, **found._asdict()} for name, found in outputs.items()]
