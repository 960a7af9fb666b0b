"""``portable-nn export``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from portable_nn.cli.options import Model, choice, class_names, listed, names_option
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
from portable_nn.core.text import either, fields, size

if TYPE_CHECKING:
    from portable_nn.converters.conversion import Written
    from portable_nn.converters.registry import Converter

EXAMPLES = (
    "export digits digits.onnx",
    "export digits digits.py --code numpy",
    "export digits digits_torch.py --code torch",
    "export digits digits.c",
    "export mine.safetensors mine.onnx --opset 13",
    "export mine.safetensors mine.onnx --batch-size 1 --dtype float16",
    "export calibrated.safetensors mine.onnx --probabilities",
    "export tagger.safetensors stream.onnx --stream",
    "export mine.h5 mine.onnx --io theirs.npz --tolerance 1e-4",
    "export digits --html digits.html --runtime node_modules/",
    "export mobilenet.onnx --html page.html --preprocess imagenet --runtime node_modules/",
)


@dataclass(frozen=True)
class Page:
    """A page that runs the model in a browser."""

    SUBJECT = "Pages"

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
            metavar="DIR|fetch",
            help="Folder dist of the npm package onnxruntime-web, which goes into the page; or fetch, which gets it "
            "once from npm.",
        ),
    ] = None
    samples: Annotated[
        list[str] | None,
        typer.Option(
            "--inputs",
            metavar="FILE,…",
            help="Sample pictures or arrays for the page.",
            hidden=True,
        ),
    ] = None
    labels: Annotated[str | None, names_option(hidden=True)] = None


FETCH: Final = "fetch"
"""The word that gets the runtime of pages from npm, into the user's cache."""

PYTHON: Final = ".py"
"""The ending of a file of Python code."""

UP_TO: Final = "=.."
"""Stands in --dim before the largest number of a size that stays open."""

ANY: Final = "any"
"""A batch size that is symbolic."""

CODES: Final = ("numpy", "torch")
"""The converters that write Python code."""

STATE_DICTS: Final = (".pt", ".pth", ".bin")
"""Endings that people try, of files that the library alone writes."""

FLAGS: Final = {
    "batch": "--batch-size",
    "dynamic": "--batch-size any",
    "embedded": "--external-data none",
    "float16": "--dtype float16",
    "sizes": "--dim",
    "stateful": "--stream",
    "up_to": "--dim",
    "prove_training": "--verify training",
    "verify": "--verify",
}
"""The options of arguments of the library that have other names."""


def command(
    printer: Printer,
    model: Model,
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="[OUT]",
            help="The file to write; its ending sets the form: .onnx, .keras, .c or .py.",
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
    code: Annotated[
        str | None,
        choice(
            "--code", names=CODES, help="Code in OUT.py: numpy alone, or PyTorch with the weights in a second file."
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option("--batch-size", metavar="N|any", help="Fix the batch size, or make a fixed one symbolic."),
    ] = None,
    dim: Dims = None,
    dtype: Annotated[
        Literal["float32", "float64", "float16"] | None,
        typer.Option(
            help="Element type of float64 weights in the file: float32 converts them, float64 keeps them; float16 "
            "stores all matrices and kernels as float16, and prints the effect.  [default: unchanged; float32 "
            "for a book's network]",
        ),
    ] = None,
    probabilities: Annotated[
        bool,
        typer.Option("--probabilities", help="Output calibrated probabilities instead of logits."),
    ] = False,
    stateful: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Make the states of recurrent layers inputs and outputs of the file, for streams.",
            hidden=True,
        ),
    ] = False,
    columns: Annotated[
        bool | None,
        typer.Option(
            "--columns/--one-input",
            help="One input for each column of a table, with words as strings; or one input for the table, with "
            "words as numbers.  [default: columns, if some hold words]",
            hidden=True,
        ),
    ] = None,
    external_data: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Write weights of more than SIZE in total, such as 100MB, to a second file (default 2GB); none "
            "keeps those of PyTorch code in OUT.py.",
            hidden=True,
        ),
    ] = None,
    *,
    page: Page,
    preparation: PreparationOptions,
    proof: ConversionProof,
) -> None:
    """Write a model as an ONNX file, or for another code base, and verify it.

    Before anything is written, numpy runs the network and onnxruntime the ONNX model on the same inputs, at two batch
    sizes. The largest difference in each output is printed. If it exceeds the tolerances, the first node that differs
    is named, nothing is written and the exit code is 1.

    The ending of OUT selects another code base: .keras; .c for C99 that needs only math.h; .py with --code numpy or
    --code torch. The code runs, and its outputs are compared, before it is written. With --html, the model goes into a
    page, which compares its own numbers with Python's each time it is opened. The options of pictures change how the
    page prepares pictures.
    """
    is_embedded, limits = external_data == "none", [text for text in listed(dim) if UP_TO in text]
    given = {
        "opset": opset,
        "batch": None if batch in (None, ANY) else _number(batch),
        "sizes": sizes_in([text for text in listed(dim) if text not in limits]),
        "up_to": sizes_in([text.replace(UP_TO, "=") for text in limits]),
        "dynamic": batch == ANY,
        "dtype": None if dtype == "float16" else dtype,
        "float16": dtype == "float16",
        "probabilities": probabilities,
        "stateful": stateful,
        "embedded": is_embedded,
    }
    given = {name: value for name, value in given.items() if value not in (None, False, {})} | proof.given()
    if columns is not None:
        given["columns"] = columns
    if external_data is not None and not is_embedded:
        given["external_data"] = bytes_in(external_data, "--external-data") or True
    if page.html is not None:
        _write_page(printer, model, out, page, preparation, given)
    elif unused := _given(page, preparation):
        raise UsageError(f"{unused[0]} is for a page: --html FILE.html says where it goes")
    else:
        _write_file(printer, model, out, code, proof, given)


def _write_file(
    printer: Printer, model: str, out: Path | None, code: str | None, proof: ProofOptions, given: dict[str, Any]
) -> None:
    """Write a file for ONNX or another code base, with the options ``given``, and print how far both sides differ."""
    from portable_nn.analysis.rules import notes_on_nan
    from portable_nn.converters.onnx import ExportReport
    from portable_nn.converters.registry import check_options
    from portable_nn.opening import open_model

    converter, path, write = _target(out, code, is_embedded="embedded" in given, force=printer.force)
    check_options(write, converter.title, given, FLAGS)
    network = open_model(model).proved_network(**ProofOptions.options(proof))
    report = write(network, path, **given)
    printer.notes([*report.notes, *notes_on_nan(network.parameters.arrays)])
    text, data = proof_as_text(report.outputs, proof.io), _as_json(report)
    if isinstance(report, ExportReport):
        text += differences_as_text(report.rounding, "by float16 weights" if "float16" in given else "by float32")
        data |= {
            "opset": report.opset,
            "ir_version": report.ir_version,
            "rounding": differences_as_json(report.rounding),
            "data": str(report.data) if report.data else None,
        }
    printer.result(text + _written(report), {"model": model, **data})


def _given(page: Page, preparation: PreparationOptions) -> list[str]:
    """The options that say something of a page."""
    said: dict[str, Any] = {"--runtime": page.runtime, "--inputs": page.samples, "--labels": page.labels}
    return [flag for flag, value in said.items() if value] + preparation.flags()


def _write_page(
    printer: Printer,
    model: str,
    out: Path | None,
    page: Page,
    preparation: PreparationOptions,
    given: dict[str, Any],
) -> None:
    from portable_nn.pages.model import KINDS, to_html
    from portable_nn.pages.runtime import fetch_runtime

    assert page.html is not None
    if page.html.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--html {page.html}: the name of the file to write must end in .html")
    if out is not None:
        raise UsageError("--html writes a page alone: leave OUT out")
    dtype = given.pop("dtype", None)
    if given:
        name = next(iter(given))
        raise UsageError(
            f"{FLAGS.get(name, '--' + name.replace('_', '-'))} is for ONNX files and programs, not for --html"
        )
    if str(page.runtime) == FETCH:
        fetch_runtime()
    report = to_html(
        model,
        page.html,
        runtime=None if str(page.runtime) == FETCH else page.runtime,
        preprocess=preparation.given(),
        samples=listed(page.samples) or None,
        labels=class_names(page.labels),
        dtype=dtype,
    )
    printer.notes(report.notes)
    shown = [("shows", KINDS[report.kind]), ("runs on", f"onnxruntime-web {report.runtime}")]
    written = [("written", f"{report.path} ({size(report.bytes)})")]
    text = differences_as_text(report.outputs) + fields([*report.outputs.in_words(), *shown, *written])
    data = {"path": str(report.path), "bytes": report.bytes, "kind": report.kind, "runtime": report.runtime}
    printer.result(text, {"model": model, **data, "outputs": differences_as_json(report.outputs)})


def _number(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"--batch-size must be a whole number, or {ANY}, not '{text}'")
    return int(text)


def _target(
    out: Path | None, code: str | None, *, is_embedded: bool, force: bool
) -> tuple[Converter, Path, Callable[..., Written]]:
    """The file to write, what writes it, and the converter that this is of."""
    from portable_nn.converters.registry import converter, endings, writer_of

    if out is None:
        raise UsageError("expected a file to write: OUT, or --html FILE.html")
    if (suffix := out.suffix.lower()) == PYTHON and code is None:
        codes = either(f"--code {name}" for name in CODES)
        raise UsageError(f"{out}: {PYTHON} files are of several kinds: {codes} says which")
    if code is not None and suffix != PYTHON:
        raise UsageError(f"--code {code}: the name of the file to write must end in {PYTHON}, not {out}")
    if code is not None:
        known = converter(code), converter(code).writes[PYTHON]
    elif (found := writer_of(out)) is not None:
        known = found
    else:
        hint = "; converters.torch.write_state writes a state dict" if suffix in STATE_DICTS else ""
        hint = f"; for a page, put --html before it: --html {out}" if suffix in (".html", ".htm") else hint
        raise UsageError(f"{out}: the name of the file to write must end in {either(endings(written=True))}{hint}")
    second = known[0].beside.get(suffix)
    if second and not is_embedded:
        check_target(out.with_suffix(second), force)
    return known[0], out, known[1]


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
