"""``portable-nn export``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from portable_nn.cli.options import ClassNames, Model
from portable_nn.cli.pictures import PreparationOptions
from portable_nn.cli.printing import Printer
from portable_nn.cli.proof import (
    ConversionProof,
    Dims,
    ProofOptions,
    bytes_in,
    differences_as_json,
    differences_as_text,
    proof_as_json,
    proof_as_text,
    proof_fields,
    sizes_in,
)
from portable_nn.cli.targets import check_target
from portable_nn.core.errors import UsageError
from portable_nn.core.names import FloatType
from portable_nn.core.text import either, fields, size

if TYPE_CHECKING:
    from portable_nn.converters.conversion import Written
    from portable_nn.converters.onnx import ExportReport
    from portable_nn.converters.registry import Converter

EXAMPLES = (
    "export digits digits.onnx",
    "export digits --numpy digits.py",
    "export digits --source digits_torch.py",
    "export digits --c digits.c",
    "export mine.safetensors mine.onnx --opset 13",
    "export mine.safetensors mine.onnx --batch 1 --float16",
    "export calibrated.safetensors mine.onnx --probabilities",
    "export tagger.safetensors stream.onnx --stateful",
    "export mine.h5 mine.onnx --io theirs.npz --atol 1e-4",
    "export digits --html digits.html --runtime node_modules/",
    "export mobilenet.onnx --html page.html --preprocess imagenet --runtime node_modules/",
)


@dataclass(frozen=True)
class Sources:
    """Files that are a network as a program, which needs no file of a model."""

    numpy: Annotated[
        Path | None,
        typer.Option("--numpy", metavar="FILE.py", writable=True, help="Write a module that needs numpy alone."),
    ] = None
    c: Annotated[
        Path | None,
        typer.Option("--c", metavar="FILE.c", writable=True, help="Write a C99 file that needs math.h alone."),
    ] = None
    up_to: Annotated[
        list[str] | None,
        typer.Option("--up-to", metavar="NAME=SIZE", help="Largest number of an open size in a C file. Repeatable."),
    ] = None
    source: Annotated[
        Path | None,
        typer.Option(
            "--source", metavar="FILE.py", writable=True, help="Write a PyTorch module, with its weights beside it."
        ),
    ] = None
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Put the weights into the module, not into a file beside it.")
    ] = False


@dataclass(frozen=True)
class Page:
    """A page that runs the model in a browser."""

    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE.html",
            writable=True,
            help="Write one page that runs the model in any browser, offline.",
        ),
    ] = None
    runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder dist of the npm package onnxruntime-web, which the page carries, if not fetched.",
        ),
    ] = None
    fetch_runtime: Annotated[
        bool, typer.Option("--fetch-runtime", help="Get that package's files once from npm, into the user's cache.")
    ] = False
    samples: Annotated[
        list[Path] | None,
        typer.Option(
            "--sample", metavar="FILE", help="Picture or array that the page offers to begin with. Repeatable."
        ),
    ] = None
    labels: ClassNames = None


SOURCES: Final = {"numpy": ("numpy", ".py"), "c": ("c", ".c"), "source": ("torch", ".py")}
"""The programs, by the name of their option: the converter that writes each, and how the name of its file ends."""

STATE_DICTS: Final = (".pt", ".pth", ".bin")
"""Endings that people try, of files that the library alone writes."""

FLAGS: Final = {"sizes": "--dim", "verify": "--no-verify", "portable": "--no-portable"}
"""The options of arguments of the library that have other names."""


def command(
    printer: Printer,
    model: Model,
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="[OUT]",
            help="The file to write. The ending of its name says for whom: .onnx, .keras, .c.",
            writable=True,
        ),
    ] = None,
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
    portable: Annotated[
        bool,
        typer.Option(
            "--portable/--no-portable",
            help="Write what another runtime lacks in operators that all of them have, or as it is.",
        ),
    ] = True,
    stateful: Annotated[
        bool,
        typer.Option("--stateful", help="Make the states of recurrent layers inputs and outputs, for streams."),
    ] = False,
    columns: Annotated[
        bool | None,
        typer.Option(
            "--columns/--one-input",
            help="Make each column of a table an input, words as strings, or the table one input, words as numbers.  "
            "[default: columns, where some are of words]",
        ),
    ] = None,
    external_data: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Weights of more than SIZE in total, such as 100MB, go to a second file (default 2GB)."
        ),
    ] = None,
    *,
    sources: Sources,
    page: Page,
    preparation: PreparationOptions,
    proof: ConversionProof,
) -> None:
    """Write a model as an ONNX file, or for another code base, and verify it.

    Before anything is written, numpy runs the network and onnxruntime the ONNX model on the same inputs, at two batch
    sizes. The largest difference in each output is printed. If it exceeds the tolerances, the first node that differs
    is named, nothing is written and the exit code is 1.

    For another code base, OUT ends as its files do, or --numpy, --c or --source names a program to write
    instead. It runs before it is written, and its outputs are compared. With --html, the ONNX model goes into a page
    that compares its own numbers with Python's whenever it is opened, and prepares pictures as the model says, or as
    --preprocess and the like do.
    """
    given = {
        "opset": opset,
        "batch": batch,
        "sizes": sizes_in(dim),
        "dynamic": dynamic,
        "dtype": dtype,
        "float16": float16,
        "probabilities": probabilities,
        "stateful": stateful,
        "embedded": sources.embedded,
        "up_to": sizes_in(sources.up_to),
    }
    given = {name: value for name, value in given.items() if value not in (None, False, {})} | proof.given()
    if not portable:
        given["portable"] = False
    if columns is not None:
        given["columns"] = columns
    if external_data is not None:
        given["external_data"] = bytes_in(external_data, "--external-data") or True
    if page.html is not None:
        _write_page(printer, model, out, sources, page, preparation, given)
    elif unused := _given(page, preparation):
        raise UsageError(f"{unused[0]} is for a page: --html FILE.html says where it goes")
    else:
        _write_file(printer, model, out, sources, proof, given)


def _write_file(
    printer: Printer, model: str, out: Path | None, sources: Sources, proof: ProofOptions, given: dict[str, Any]
) -> None:
    """Write a file for ONNX or another code base, with the options ``given``, and print how far both sides differ."""
    from portable_nn.analysis.rules import notes_on_nan
    from portable_nn.converters.onnx import ExportReport
    from portable_nn.converters.registry import check_options
    from portable_nn.opening import open_model

    converter, path, write = _target(out, sources, printer.force)
    check_options(write, converter.title, given, FLAGS)
    network = open_model(model).proved_network(**ProofOptions.options(proof))
    report = write(network, path, **given)
    printer.notes([*report.notes, *notes_on_nan(network.parameters.arrays)])
    text, data = proof_as_text(report.outputs, proof.io), _as_json(report)
    if isinstance(report, ExportReport):
        text += differences_as_text(report.rounding, "by float16 weights" if "float16" in given else "by float32")
        data |= _json_of_onnx(report)
    printer.result(text + _written(report), {"model": model, **data})


def _given(page: Page, preparation: PreparationOptions) -> list[str]:
    """The options that say something of a page."""
    said = {"--runtime": page.runtime, "--fetch-runtime": page.fetch_runtime, "--sample": page.samples}
    said["--labels"] = page.labels
    return [flag for flag, value in said.items() if value] + preparation.flags()


def _write_page(
    printer: Printer,
    model: str,
    out: Path | None,
    sources: Sources,
    page: Page,
    preparation: PreparationOptions,
    given: dict[str, Any],
) -> None:
    from portable_nn.pages.model import KINDS, to_html
    from portable_nn.pages.runtime import fetch_runtime

    assert page.html is not None
    if page.html.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--html {page.html}: the name of the file to write must end in .html")
    others = [f"--{option}" for option in SOURCES if getattr(sources, option) is not None] + ["OUT"] * (out is not None)
    if others:
        raise UsageError(f"--html writes a page alone: leave {others[0]} out")
    if given:
        name = next(iter(given))
        raise UsageError(
            f"{FLAGS.get(name, '--' + name.replace('_', '-'))} is for ONNX files and programs, not for --html"
        )
    if page.fetch_runtime:
        fetch_runtime()
    report = to_html(
        model,
        page.html,
        runtime=page.runtime,
        preprocess=preparation.given(),
        samples=page.samples,
        labels=page.labels,
    )
    printer.notes(report.notes)
    shown = [("shows", KINDS[report.kind]), ("runs on", f"onnxruntime-web {report.runtime}")]
    written = [("written", f"{report.path} ({size(report.bytes)})")]
    text = differences_as_text(report.outputs) + fields([*report.outputs.in_words(), *shown, *written])
    data = {"path": str(report.path), "bytes": report.bytes, "kind": report.kind, "runtime": report.runtime}
    printer.result(text, {"model": model, **data, "outputs": differences_as_json(report.outputs)})


def _target(out: Path | None, sources: Sources, force: bool) -> tuple[Converter, Path, Callable[..., Written]]:
    """The one file to write, what writes it, and the converter that this is of."""
    from portable_nn.converters.registry import converter, endings, writer_of

    named = {option: getattr(sources, option) for option in SOURCES if getattr(sources, option) is not None}
    if len(named) + (out is not None) != 1:
        options = (f"--{option} FILE{ending}" for option, (_, ending) in SOURCES.items())
        raise UsageError(f"expected one file to write: {either(['OUT', *options])}")
    for option, path in named.items():
        name, ending = SOURCES[option]
        if path.suffix.lower() != ending:
            raise UsageError(f"--{option} {path}: the name of the file to write must end in {ending}")
        found = converter(name), path, converter(name).writes[ending]
    if out is not None:
        _check_one_kind(out)
        known = writer_of(out)
        if known is None:
            states = "; converters.torch.write_state writes a state dict" if out.suffix.lower() in STATE_DICTS else ""
            raise UsageError(
                f"{out}: the name of the file to write must end in {either(endings(written=True))}{states}"
            )
        found = known[0], out, known[1]
    second = found[0].beside.get(found[1].suffix.lower())
    if second and not sources.embedded:
        check_target(found[1].with_suffix(second), force)
    return found


def _check_one_kind(out: Path) -> None:
    """Raise ``UsageError`` for an ending that several programs have, with their options."""
    programs = [option for option, (_, ending) in SOURCES.items() if out.suffix.lower() == ending]
    if len(programs) > 1:
        options = either(f"--{option} {out}" for option in programs)
        raise UsageError(f"{out}: {out.suffix} files are of several kinds: give {options} instead of OUT")


def _written(report: Written) -> str:
    from portable_nn.converters.onnx import ExportReport

    version = ""
    if isinstance(report, ExportReport):
        version = f", opset {report.opset}, IR version {report.ir_version}"
    beside = [("data", f"{path} ({size(path.stat().st_size)})") for path in report.beside]
    written = ("written", f"{report.path} ({size(report.bytes)}{version})")
    return fields([*proof_fields(report.outputs), written, *beside])


def _as_json(report: Written) -> dict[str, Any]:
    return {
        "path": str(report.path),
        "bytes": report.bytes,
        **proof_as_json(report.outputs),
        "beside": [str(path) for path in report.beside],
        "notes": list(report.notes),
    }


def _json_of_onnx(report: ExportReport) -> dict[str, Any]:
    return {
        "opset": report.opset,
        "ir_version": report.ir_version,
        "rounding": differences_as_json(report.rounding),
        "data": str(report.data) if report.data else None,
    }
