"""``portable-nn export``."""

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
    bytes_in,
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
    from portable_nn.network import Network

EXAMPLES = (
    "export digits digits.onnx",
    "export mine.safetensors mine.onnx --opset 13",
    "export mine.safetensors mine.onnx --batch 1 --float16",
    "export digits bytes.onnx --with-preprocess",
    "export mine.h5 mine.onnx --io theirs.npz --atol 1e-4",
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
    batch: Annotated[
        int | None, typer.Option(metavar="N", help="Fix the batch, the first size of the inputs, at N.")
    ] = None,
    dim: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SIZE", help="Fix another size of the inputs that has a name. Any number of them."),
    ] = None,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="Let a batch that is fixed be of any size, where the nodes allow it.")
    ] = False,
    with_preprocess: Annotated[
        bool,
        typer.Option("--with-preprocess", help="Put the arithmetic of the preprocessing inside: bytes, 0-255, go in."),
    ] = False,
    float16: Annotated[
        bool, typer.Option("--float16", help="Store matrices and kernels as float16, and print what that changes.")
    ] = False,
    external_data: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Keep weights of more than SIZE together, such as 100MB, in a file beside OUT.onnx (2 GB).",
        ),
    ] = None,
    no_verify: NoVerify = False,
    atol: Atol = None,
    rtol: Rtol = None,
    seed: Seed = 0,
    io: Io = None,
) -> None:
    """Write a model as an ONNX file, and prove that it computes the same.

    Before anything is written, numpy runs the network and onnxruntime the ONNX model on the same inputs, at two batch
    sizes. The largest difference in each output is printed; where it is too large, the first node that differs is
    named, nothing is written and the exit code is 1.
    """
    from portable_nn.converters.onnx import export_onnx
    from portable_nn.model_files.resolve import ONNX

    if out.suffix.lower() != ONNX:
        raise UsageError(f"{out}: the name of the file to write must end in {ONNX}")
    check_proof(no_verify, io)
    limits = tolerances(atol, rtol)
    limit = None if external_data is None else bytes_in(external_data, "--external-data") or True
    network = _opened(model, verify=not no_verify, seed=seed, **limits)
    report = export_onnx(
        network,
        out,
        opset=opset,
        verify=not no_verify,
        seed=seed,
        external_data=limit,
        io=io,
        batch=batch,
        sizes=sizes_in(dim or [], "--dim"),
        dynamic=dynamic,
        with_preprocess=with_preprocess,
        float16=float16,
        **limits,
    )
    printer.notes(report.notes)
    written = f"{report.path} ({size(report.bytes)}, opset {report.opset}, IR version {report.ir_version})"
    beside = f"{report.data} ({size(report.data.stat().st_size)})" if report.data else ""
    printer.result(
        differences_as_text(report.outputs)
        + recorded_as_text(report.outputs.recorded, io)
        + differences_as_text(report.rounding, "by float16 weights")
        + fields([("written", written), ("weights", beside)]),
        {
            "model": model,
            "path": str(report.path),
            "bytes": report.bytes,
            "opset": report.opset,
            "ir_version": report.ir_version,
            "verified": not no_verify,
            "outputs": differences_as_json(report.outputs),
            "batches": list(report.outputs.batches),
            "recorded": differences_as_json(report.outputs.recorded),
            "float16": differences_as_json(report.rounding),
            "data": str(report.data) if report.data else None,
            "notes": list(report.notes),
        },
    )


def _opened(model: str, *, verify: bool, seed: int, **limits: Any) -> Network:
    """The network to write; what is said of ONNX files holds for reading them as well."""
    from portable_nn.model_files.resolve import is_onnx, open_network, resolve

    path = resolve(model)
    if not is_onnx(path):
        return open_network(model)
    from portable_nn.converters.onnx import import_onnx

    return import_onnx(path, verify=verify, seed=seed, **limits)
