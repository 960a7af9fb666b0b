"""``portable-nn diff``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from portable_nn.cli.options import check_page, written_file
from portable_nn.cli.pictures import PreparationOptions
from portable_nn.cli.printing import Printer

EXAMPLES = (
    "diff mine.safetensors digits.onnx --format json",
    "diff theirs.onnx somebody.onnx --html diff.html",
    "diff mobilenet.onnx cat.jpg --inputs-b theirs.npz",
    "diff mobilenet.onnx cat.jpg --preprocess imagenet --answers-b theirs.npz",
)


def command(
    printer: Printer,
    a: Annotated[str, typer.Argument(metavar="A", help="A shipped model's name, or a model file of any kind.")],
    b: Annotated[
        str | None,
        typer.Argument(
            metavar="[B]", help="The model to compare with; with --inputs-b or --answers-b it may be left out."
        ),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Argument(
            metavar="[INPUTS]",
            help="A picture, or inputs for both models: an npy file, or an npz by the names of A's inputs; random by "
            "default.",
        ),
    ] = None,
    *,
    preparation: PreparationOptions,
    inputs_b: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="Explain the array that another program made of the picture."),
    ] = None,
    answers_b: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="Explain what came out of the network in another program."),
    ] = None,
    runtime_b: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The runtime that B runs in, and B may be A: tract, onnxruntime-basic, …."),
    ] = None,
    repro: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write the first nodes that differ to a new folder, as a case to report.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        written_file("--html", "FILE", "Write a page with the nodes of both models side by side.", check_page),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Seed of the random inputs that both run on.", hidden=True)
    ] = 0,
) -> None:
    """Compare two models, and name the nodes at which they differ.

    The verdict is one of: the same bytes; the same graph with other weights, which are named; the same function by
    another graph; or different from a node on, which is named, as its outputs differ by more than rounding explains
    although its inputs agree. If none of these can be shown, the verdict is undecided. The exit code is 0 if both
    models compute the same, and otherwise 1.

    With --inputs-b or --answers-b, it explains how another program prepares the picture for the same network.
    """
    from portable_nn.comparison.diff import diff
    from portable_nn.comparison.report import as_json, as_page, as_text
    from portable_nn.core.atomic import atomic_write

    if b is not None and inputs is None and (inputs_b or answers_b):
        inputs, b = Path(b), None
    found = diff(
        a,
        b,
        inputs=inputs,
        inputs_b=inputs_b,
        answers_b=answers_b,
        preprocess=preparation.given(),
        runtime_b=runtime_b,
        repro=repro,
        seed=seed,
    )
    if html is not None:
        with atomic_write(html) as file:
            file.write(as_page(found))
    printer.result(as_text(found), as_json(found))
    if not found.same:
        raise typer.Exit(1)
