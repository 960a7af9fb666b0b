"""``portable-nn predict``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TextIO

import typer

from portable_nn.cli.arrays import SUFFIXES, ArrayOptions, run_arrays
from portable_nn.cli.conventions import SCHEMA, Digest, Edited, EngineName, Model, Printer, ProviderName, engine_of
from portable_nn.cli.pictures import PreparationOptions
from portable_nn.cli.tables import DialectOptions, names_in
from portable_nn.core.errors import PortableNNError, UsageError
from portable_nn.core.names import Found
from portable_nn.core.text import Table, percent, rounded

if TYPE_CHECKING:
    from portable_nn.engines.recording import Recorder
    from portable_nn.model_files.predictions import Prediction, Predictions

EXAMPLES = (
    "predict digits photo.jpg",
    "predict digits scans/ --top 3",
    "predict digits scans/ --save-io io.npz",
    "predict digits photo.jpg --boxes boxes.png",
    "predict mine.safetensors mnist_test.csv --out answers.csv",
    "predict mobilenet.onnx cat.jpg --preprocess imagenet --labels imagenet.txt",
    "predict detector.onnx street.jpg --preprocess detection --draw found.png",
    "predict matching.onnx --input left=a.jpg --input right=b.jpg --out features.npz",
    "predict swh.safetensors echoes.h5 --dataset waveforms --out heights.csv",
    "predict tagger.safetensors steps.csv --stream",
    "predict model.onnx cat.jpg --mean 127.5 --std 127.5 --bgr --size 224",
)
ROWS = LINES = NUMBERS = True
ARRAYS = SUFFIXES

ORDINALS = {2: "nd", 3: "rd"}

CHUNK = 256
"""How many predictions are written at once."""


class Layout(NamedTuple):
    """The model's name, the names of the quantities that it predicts, and whether it may be unsure."""

    model: str
    names: Sequence[str]
    may_be_unsure: bool


def command(
    printer: Printer,
    model: Model,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT...]", help="Images, folders of images, CSV, npy, npz, IDX or HDF5 files; - is CSV on stdin."
        ),
    ] = None,
    *,
    dialect: DialectOptions,
    preparation: PreparationOptions,
    arrays: ArrayOptions,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Array that is read in an HDF5, npz, zarr or Parquet file, in pieces; a,b side by side.",
        ),
    ] = None,
    top: Annotated[int, typer.Option(metavar="K", help="Print the K most likely classes.")] = 1,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Names of the classes: one per line, or a JSON list.")
    ] = None,
    engine: EngineName = "onnxruntime",
    provider: ProviderName = None,
    polarity: Annotated[
        Found | None,
        typer.Option(help="Ink of drawings: light on dark or dark on light. By default the model decides."),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Arrays hold what the graph takes: pass them on unchecked.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first input that cannot be used, instead of at the end.")
    ] = False,
    stream: Annotated[
        bool,
        typer.Option("--stream", help="The rows of all inputs are the steps of one sequence: states are kept."),
    ] = False,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Examples that are computed at once.")] = 256,
    digest: Digest = None,
    edited: Edited = False,
    save_io: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            writable=True,
            help="Record the inputs and outputs of the network, for --io of export, import and convert.",
        ),
    ] = None,
    set: Annotated[
        Path | None,
        typer.Option(metavar="FILE", writable=True, help="Keep --preprocess and the like in a copy of the model."),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", writable=True, help="Draw what was found in a picture, each in its box."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print how inputs are preprocessed, and what was assumed.")
    ] = False,
) -> None:
    """Predict classes or values for images, tables and arrays, with any model.

    Images are preprocessed as the model says: digits finds the digits in a photograph or drawing by itself. If there
    are several, each has a row: photo.jpg#1, photo.jpg#2 and so on. Where the data have labels, such as the first
    column of a CSV file, the accuracy is printed as well.

    Where no class is as likely as the model's threshold asks, the label is ? and the best guess stands beside it.

    With --stream, a row of a table or an array is a step of a sequence, which goes on from file to file. Recurrent
    layers and causal convolutions keep their states, and each step has its answer.

    An input that cannot be used has an error in its row. The others are predicted, and the exit code is 3.
    """
    from portable_nn.model_files.predictions import predict

    if boxes and boxes.suffix.lower() != ".png":
        raise UsageError(f"--boxes writes a PNG file, named .png, not {boxes}")
    if set is not None:
        _keep(model, set, preparation, printer, digest=digest, edited=edited)
        if not inputs and not arrays.input:
            return
    if arrays.wanted(printer):
        if stream:
            raise UsageError("--stream gives an answer for each step, as a table, CSV or JSON, and no arrays")
        options = {
            "engine": engine_of(engine, provider),
            "preprocess": preparation.given(),
            "raw": raw,
            "digest": digest,
            "edited": edited,
        }
        run_arrays(printer, model, inputs or [], arrays, labels, **options)
        return
    recorder = _recorder(save_io)
    predictions = predict(
        model,
        inputs or [],
        engine=engine_of(engine, provider),
        labels=labels,
        top=top,
        batch_size=batch_size,
        polarity=polarity,
        raw=raw,
        strict=strict,
        digest=digest,
        edited=edited,
        recorder=recorder,
        dialect=dialect.given(),
        preprocess=preparation.given(),
        output=arrays.output,
        dataset=names_in(dataset),
        stream=stream,
    )
    printer.notes(predictions.warnings)
    chunks = _chunks(predictions, printer, verbose, min(batch_size, CHUNK) if stream else CHUNK)
    kept: list[Prediction] = []
    if boxes:
        chunks = _keeping(chunks, kept)
    first = next(chunks, [])  # A fault of the model or its labels is reported before anything is written.
    with printer.output() as file:
        layout = Layout(model, predictions.quantities, predictions.threshold > 0)
        WRITERS[printer.form](chain([first], chunks), file, printer, layout)
    if recorder and save_io:
        recorder.save(save_io)
        printer.notes([*recorder.notes, f"recorded in {save_io}: {recorder.summary}"])
    if boxes:
        from portable_nn.core.atomic import atomic_write
        from portable_nn.model_files.boxes import draw_boxes

        picture = draw_boxes(kept)
        with atomic_write(boxes) as picture_file:
            picture.save(picture_file, "PNG")
        printer.note(f"drawn {boxes}")
    if predictions.judged:
        share = percent(predictions.right / predictions.judged)
        unsure = f"; {predictions.unsure:,} of {predictions.made:,} unsure" if predictions.threshold else ""
        printer.note(f"{predictions.right:,} of {predictions.judged:,} right ({share}){unsure}")
    if predictions.first_bad:
        raise _failure(predictions, predictions.first_bad)


def _keep(
    model: str, path: Path, preparation: PreparationOptions, printer: Printer, *, digest: str | None, edited: bool
) -> None:
    """Write a copy of the model that says how pictures are prepared."""
    from portable_nn.model_files.keeping import keep_preprocessing

    given = preparation.given()
    if given is None:
        raise UsageError("--set keeps a preparation in a copy of the model: --preprocess or --mean say which")
    steps = keep_preprocessing(model, path, given, digest=digest, edited=edited)
    printer.note(f"written to {path}, which says how pictures are prepared: {'; '.join(steps)}")


def _failure(predictions: Predictions, first: Prediction) -> PortableNNError:
    """The error for inputs that could not be used."""
    reason = f"{first.input}: {first.error}"
    if predictions.made == 1:
        return PortableNNError(reason)
    others = "; the other errors are in their rows" if predictions.bad > 1 else ""
    return PortableNNError(f"{predictions.bad:,} of {predictions.made:,} inputs cannot be used: {reason}{others}")


def _recorder(path: Path | None) -> Recorder | None:
    if path is None:
        return None
    from portable_nn.engines.recording import Recorder, check_name

    check_name(path)
    return Recorder()


def _chunks(predictions: Predictions, printer: Printer, verbose: bool, size: int) -> Iterator[list[Prediction]]:
    """The predictions in chunks; their notes are printed on the way."""
    while True:
        chunk = list(islice(predictions, size))
        if verbose:
            for note in predictions.notes:
                printer.note(note)
            predictions.notes.clear()
        if not chunk:
            return
        yield chunk


def _keeping(chunks: Iterable[list[Prediction]], kept: list[Prediction]) -> Iterator[list[Prediction]]:
    """The same chunks, whose predictions are added to ``kept``."""
    for chunk in chunks:
        kept += chunk
        yield chunk


def _write_json(chunks: Iterable[list[Prediction]], file: TextIO, printer: Printer, layout: Layout) -> None:
    """One object with one result per line, which is complete even where an input turns out to be bad."""
    head = {"schema": SCHEMA, "model": layout.model, **({"quantities": layout.names} if layout.names else {})}
    file.write(printer.json(head, file=file).removesuffix("}") + ', "results": [')
    separator = "\n"
    try:
        for prediction in chain.from_iterable(chunks):
            file.write(separator + printer.json(_as_json(prediction), file=file))
            separator = ",\n"
    finally:
        file.write("\n]}\n")


def _write_lines(chunks: Iterable[list[Prediction]], file: TextIO, printer: Printer, layout: Layout) -> None:
    """One result per line, as in the list of ``_write_json``."""
    for prediction in chain.from_iterable(chunks):
        file.write(printer.json(_as_json(prediction), file=file) + "\n")


def _as_json(prediction: Prediction) -> dict[str, Any]:
    if prediction.error is not None:
        return {"input": prediction.input, "error": prediction.error}
    if prediction.values:
        return {"input": prediction.input, "values": prediction.values}
    result = {
        "input": prediction.input,
        "label": prediction.label,
        "index": prediction.index,
        "probability": prediction.probability,
        "top": prediction.top,
    }
    more = {"guess": prediction.guess, "expected": prediction.expected, "box": prediction.box}
    return result | {name: found for name, found in more.items() if found is not None}


def _write_table(chunks: Iterable[list[Prediction]], file: TextIO, printer: Printer, layout: Layout) -> None:
    table = None
    for chunk in filter(None, _begun(chunks)):
        table = table or Table(*_headings(chunk, layout))
        for bad, predictions in groupby(chunk, key=lambda prediction: prediction.error is not None):
            rows = (_cells(prediction, len(table.headings), layout) for prediction in predictions)
            file.write(table.loose_lines(rows) if bad else table.lines(rows))


def _begun(chunks: Iterable[list[Prediction]]) -> Iterator[list[Prediction]]:
    """The same in chunks of which the first has a prediction, if there is one: its columns are those of all."""
    first: list[Prediction] = []
    rest = iter(chunks)
    for chunk in rest:
        first += chunk
        if any(prediction.error is None for prediction in chunk):
            break
    return chain([first], rest)


def _write_csv(chunks: Iterable[list[Prediction]], file: TextIO, printer: Printer, layout: Layout) -> None:
    import csv

    writer = csv.writer(file, lineterminator="\n")
    columns = 0
    for chunk in filter(None, _begun(chunks)):
        if not columns:
            headings = _headings(chunk, layout)
            columns = len(headings)
            writer.writerow([*(heading.removeprefix(">") for heading in headings), "error"])
        for prediction in chunk:
            numbers: Iterable[object] = prediction.values or _answer(prediction, layout)
            cells = _fitted([prediction.input, *numbers], columns)
            writer.writerow([*cells, prediction.error or ""])


def _answer(prediction: Prediction, layout: Layout) -> Iterator[str | float]:
    """The classes with their probabilities, the guess where a model may be unsure, and the class in the data."""
    if prediction.top:
        yield from (str(prediction.label), prediction.top[0][1])
    for name, share in prediction.top[1:]:
        yield from (name, share)
    if layout.may_be_unsure:
        yield prediction.guess or ""
    if prediction.expected is not None:
        yield prediction.expected


def _headings(chunk: Sequence[Prediction], layout: Layout) -> list[str]:
    """The headings of predictions like the first one in ``chunk``; of errors alone, that of the input."""
    prediction = next((each for each in chunk if each.error is None), None)
    if prediction is None:
        return ["input"]
    if prediction.values:
        count = len(prediction.values)
        if len(layout.names) == count:
            return ["input", *(f">{name}" for name in layout.names)]
        return ["input", *([">value"] if count == 1 else (f">{place}" for place in range(count)))]
    more = (
        heading
        for place in range(2, len(prediction.top) + 1)
        for heading in (f"{place}{ORDINALS.get(place, 'th')}", ">probability")
    )
    guess = ["guess"] if layout.may_be_unsure else []
    expected = [] if prediction.expected is None else ["expected"]
    return ["input", "label", ">probability", *more, *guess, *expected]


def _fitted(cells: list[Any], columns: int) -> list[Any]:
    """As many cells as there are columns: other inputs may have no expected class, or may alone have one."""
    return (cells + [""] * columns)[:columns]


def _cells(prediction: Prediction, columns: int, layout: Layout) -> list[str]:
    if prediction.error is not None:
        return [prediction.input, f"error: {prediction.error}"]
    if prediction.values:
        return _fitted([prediction.input, *map(rounded, prediction.values)], columns)
    answer = (percent(cell) if isinstance(cell, float) else cell for cell in _answer(prediction, layout))
    return _fitted([prediction.input, *answer], columns)


WRITERS = {"table": _write_table, "json": _write_json, "jsonl": _write_lines, "csv": _write_csv}
"""What writes predictions as they come, by the form."""
