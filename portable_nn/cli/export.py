"""``portable-nn export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.conventions import Model, Printer
from portable_nn.cli.proof import (
    Dims,
    ProofOptions,
    bytes_in,
    differences_as_json,
    differences_as_text,
    sizes_in,
)
from portable_nn.core.errors import UsageError
from portable_nn.core.names import FloatType
from portable_nn.core.text import fields, size

if TYPE_CHECKING:
    from portable_nn.converters.onnx import ExportReport

EXAMPLES = (
    "export digits digits.onnx",
    "export mine.safetensors mine.onnx --opset 13",
    "export mine.safetensors mine.onnx --batch 1 --float16",
    "export calibrated.safetensors mine.onnx --probabilities",
    "export tagger.safetensors stream.onnx --stateful",
    "export mine.h5 mine.onnx --io theirs.npz --atol 1e-4",
)


def command(
    printer: Printer,
    model: Model,
    out: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="The file to write.", writable=True)],
    opset: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Version of the standard operators, 13 to 25.  [default: the lowest from 17 that can hold it]",
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Fix the batch size at N.")] = None,
    dim: Dims = None,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="Make a fixed batch size symbolic, where the nodes allow it.")
    ] = False,
    dtype: Annotated[
        FloatType | None,
        typer.Option(
            help="Type of what is float64: float32 makes it that, float64 keeps it.  "
            "[default: as it is; float32 where a book's arrays were imported]",
        ),
    ] = None,
    float16: Annotated[
        bool, typer.Option("--float16", help="Store matrices and kernels as float16, and print the effect.")
    ] = False,
    probabilities: Annotated[
        bool,
        typer.Option("--probabilities", help="Let the model give probabilities, by its calibration, and no logits."),
    ] = False,
    stateful: Annotated[
        bool,
        typer.Option("--stateful", help="Make the states of recurrent layers inputs and outputs, for streams."),
    ] = False,
    external_data: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Weights of more than SIZE in total, such as 100MB, go to a second file (default 2GB)."
        ),
    ] = None,
    *,
    proof: ProofOptions,
) -> None:
    """Write a model as an ONNX file, and verify it against onnxruntime.

    Before anything is written, numpy runs the network and onnxruntime the ONNX model on the same inputs, at two batch
    sizes. The largest difference in each output is printed. If it exceeds the tolerances, the first node that differs
    is named, nothing is written and the exit code is 1.
    """
    from portable_nn.converters.onnx import export_onnx
    from portable_nn.model_files import open_model
    from portable_nn.model_files.onnx_file import OnnxFile

    if not OnnxFile.recognises(out):
        raise UsageError(f"{out}: the name of the file to write must end in {OnnxFile.suffixes[0]}")
    options = proof.options()
    limit = None if external_data is None else bytes_in(external_data, "--external-data") or True
    report = export_onnx(
        open_model(model).proved_network(**options),
        out,
        opset=opset,
        external_data=limit,
        batch=batch,
        sizes=sizes_in(dim),
        dynamic=dynamic,
        dtype=dtype,
        float16=float16,
        probabilities=probabilities,
        stateful=stateful,
        **options,
    )
    printer.notes(report.notes)
    printer.result(_as_text(report, proof.io, float16), {"model": model, **_as_json(report, not proof.no_verify)})


def _as_text(report: ExportReport, io: Path | None, float16: bool) -> str:
    written = f"{report.path} ({size(report.bytes)}, opset {report.opset}, IR version {report.ir_version})"
    beside = f"{report.data} ({size(report.data.stat().st_size)})" if report.data else ""
    return (
        differences_as_text(report.outputs)
        + differences_as_text(report.outputs.recorded, f"as in {io}")
        + differences_as_text(report.rounding, "by float16 weights" if float16 else "by float32")
        + fields([*report.outputs.in_words(), ("written", written), ("data", beside)])
    )


def _as_json(report: ExportReport, verified: bool) -> dict[str, Any]:
    return {
        "path": str(report.path),
        "bytes": report.bytes,
        "opset": report.opset,
        "ir_version": report.ir_version,
        "verified": verified,
        "outputs": differences_as_json(report.outputs),
        "batches": list(report.outputs.batches),
        **report.outputs.as_json(),
        "recorded": differences_as_json(report.outputs.recorded),
        "rounding": differences_as_json(report.rounding),
        "data": str(report.data) if report.data else None,
        "notes": list(report.notes),
    }
