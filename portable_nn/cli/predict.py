"""``portable-nn predict``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from portable_nn.cli.conventions import SCHEMA, Printer
from portable_nn.text import Table, percent

if TYPE_CHECKING:
    from portable_nn.predictions import Prediction, Predictions

EXAMPLES = (
    "predict digits photo.jpg",
    "predict digits scans/ --top 3",
    "predict mine.safetensors mnist_test.csv --format json -o answers.json",
    "predict mobilenet.onnx cat.jpg --labels imagenet.txt --verbose",
)

ORDINALS = {2: "nd", 3: "rd"}

CHUNK = 256
"""How many predictions are written at once."""


class Engine(StrEnum):
    """What computes."""

    ONNXRUNTIME = "onnxruntime"
    NUMPY = "numpy"


class Polarity(StrEnum):
    """What ink pictures have."""

    AUTO = "auto"
    LIGHT = "light"
    DARK = "dark"


def command(
    printer: Printer,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A shipped model's name, a weight file, or any ONNX file.")
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...", help="Pictures, folders of them, CSV, npy, npz, IDX or HDF5 files; - for CSV on stdin."
        ),
    ],
    top: Annotated[int, typer.Option(metavar="K", help="Print the K most likely classes.")] = 1,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Names of the classes: one in a line, or a JSON list.")
    ] = None,
    engine: Annotated[Engine, typer.Option(help="What runs the model.")] = Engine.ONNXRUNTIME,
    polarity: Annotated[
        Polarity | None, typer.Option(help="What ink the pictures have; by default the model decides.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Arrays hold what the network takes: leave the model's preprocessing out.")
    ] = False,
    batch_size: Annotated[int, typer.Option(metavar="N", help="How many examples to compute at once.")] = 256,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the results to FILE.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell how inputs are prepared, and what was assumed.")
    ] = False,
) -> None:
    """Tell what pictures or rows of data show, with any model.

    Pictures are prepared as the model says: digits finds the digit in a photograph or drawing, dark on light or light
    on dark, by itself. Where the data hold the right answers as well, such as the label that comes first in a row of
    CSV, it is told how many were met.
    """
    from portable_nn.predictions import predict

    predictions = predict(
        model, inputs, engine=engine.value, labels=labels, top=top, batch_size=batch_size,
        polarity=polarity.value if polarity else None, raw=raw,
    )  # fmt: skip
    chunks = _chunks(predictions, printer, verbose)
    first = next(chunks, [])  # What is wrong with the model or its labels shows before anything is written.
    with printer.to(output) as file:
        if printer.is_json:
            _write_json(chain([first], chunks), file, printer, model)
        else:
            _write_table(chain([first], chunks), file)
    if predictions.judged:
        share = percent(predictions.right / predictions.judged)
        printer.note(f"{predictions.right:,} of {predictions.judged:,} right ({share})")


def _chunks(predictions: Predictions, printer: Printer, verbose: bool) -> Iterator[list[Prediction]]:
    """The predictions in parts, and the notes that come with them."""
    while True:
        chunk = list(islice(predictions, CHUNK))
        if verbose:
            for note in predictions.notes:
                printer.note(note)
            predictions.notes.clear()
        if not chunk:
            return
        yield chunk


def _write_json(chunks: Iterable[list[Prediction]], file: TextIO, printer: Printer, model: str) -> None:
    """One object, a result in a line, which is whole even where an input turns out to be bad."""
    file.write(f'{{"schema": {SCHEMA}, "model": {printer.json(model, file=file)}, "results": [')
    separator = "\n"
    try:
        for prediction in chain.from_iterable(chunks):
            file.write(separator + printer.json(_as_json(prediction), file=file))
            separator = ",\n"
    finally:
        file.write("\n]}\n")


def _as_json(prediction: Prediction) -> dict[str, Any]:
    if prediction.values:
        return {"input": prediction.input, "values": prediction.values}
    result = {
        "input": prediction.input, "label": prediction.label, "index": prediction.index,
        "probability": prediction.probability, "top": prediction.top,
    }  # fmt: skip
    return result if prediction.expected is None else {**result, "expected": prediction.expected}


def _write_table(chunks: Iterable[list[Prediction]], file: TextIO) -> None:
    table = None
    for chunk in filter(None, chunks):
        table = table or Table(*_headings(chunk[0]))
        file.write(table.lines(_cells(prediction) for prediction in chunk))


def _headings(prediction: Prediction) -> list[str]:
    if prediction.values:
        count = len(prediction.values)
        return ["input", *([">value"] if count == 1 else (f">{place}" for place in range(count)))]
    more = (
        heading
        for place in range(2, len(prediction.top) + 1)
        for heading in (f"{place}{ORDINALS.get(place, 'th')}", ">probability")
    )
    expected = [] if prediction.expected is None else ["expected"]
    return ["input", "label", ">probability", *more, *expected]


def _cells(prediction: Prediction) -> list[str]:
    if prediction.values:
        return [prediction.input, *(f"{value:.6g}" for value in prediction.values)]
    ranking = (cell for label, probability in prediction.top for cell in (label, percent(probability)))
    expected = [] if prediction.expected is None else [prediction.expected]
    return [prediction.input, *ranking, *expected]
