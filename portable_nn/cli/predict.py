"""``portable-nn predict``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from portable_nn.cli.conventions import SCHEMA, Printer
from portable_nn.core.errors import UsageError
from portable_nn.core.text import Table, percent

if TYPE_CHECKING:
    from portable_nn.model_files.predictions import Prediction, Predictions

EXAMPLES = (
    "predict digits photo.jpg",
    "predict digits scans/ --top 3",
    "predict digits scans/ --save-io io.npz",
    "predict mine.safetensors mnist_test.csv --format json -o answers.json",
    "predict mobilenet.onnx cat.jpg --labels imagenet.txt --verbose",
    "predict digits-gan --sample 25 --plot sheet.png",
)

ORDINALS = {2: "nd", 3: "rd"}

FOR_SAMPLES = {"--sample", "--plot", "--seed", "--engine", "--digest", "--format", "--quiet", "--debug"}
"""The options that make sense where samples are drawn."""

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
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A shipped model's name, a weight file, or any ONNX file.")
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...", help="Pictures, folders of them, CSV, npy, npz, IDX or HDF5 files; - for CSV on stdin."
        ),
    ] = None,
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
    digest: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="Refuse any model but the one that has this digest or SHA-256."),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(metavar="N", help="In place of INPUT, draw N samples of a generator.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The picture, such as a PNG, that shows the samples.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="What the samples are drawn from.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the results to FILE.")
    ] = None,
    save_io: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz", help="Record what goes into the network and comes out, for --io of export and import."
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell how inputs are prepared, and what was assumed.")
    ] = False,
) -> None:
    """Tell what pictures or rows of data show, with any model.

    Pictures are prepared as the model says: digits finds the digit in a photograph or drawing, dark on light or light
    on dark, by itself. Where the data hold the right answers as well, such as the label that comes first in a row of
    CSV, it is told how many were met.

    A generator such as digits-gan makes pictures out of noise: --sample says how many.
    """
    if sample is not None or plot is not None:
        _check_sampling(context, sample, plot)
        _sample(printer, model, sample or 0, plot or Path(), seed=seed, engine=engine.value, digest=digest)
        return
    if not inputs:
        raise UsageError("INPUT is missing: pictures, folders of them, or files of data; a generator takes --sample N")
    if "--seed" in _given(context):
        raise UsageError("--seed is about samples: --sample N draws some")
    from portable_nn.engines.recording import Recorder, check_name
    from portable_nn.model_files.predictions import predict

    recorder = None if save_io is None else Recorder()
    if save_io is not None:
        check_name(save_io)
    predictions = predict(
        model,
        inputs,
        engine=engine.value,
        labels=labels,
        top=top,
        batch_size=batch_size,
        polarity=polarity.value if polarity else None,
        raw=raw,
        digest=digest,
        recorder=recorder,
    )
    chunks = _chunks(predictions, printer, verbose)
    first = next(chunks, [])  # What is wrong with the model or its labels shows before anything is written.
    with printer.to(output) as file:
        if printer.is_json:
            _write_json(chain([first], chunks), file, printer, model)
        else:
            _write_table(chain([first], chunks), file)
    if recorder and save_io:
        recorder.save(save_io)
        printer.notes([*recorder.notes, f"recorded in {save_io}: {recorder.summary}"])
    if predictions.judged:
        share = percent(predictions.right / predictions.judged)
        printer.note(f"{predictions.right:,} of {predictions.judged:,} right ({share})")


def _given(context: typer.Context) -> set[str]:
    """The names of what stands on the command line beside the model."""
    found = [name for name in context.params if name != "model"]
    found = [name for name in found if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    return {"INPUT" if name == "inputs" else "--" + name.replace("_", "-") for name in found}


def _check_sampling(context: typer.Context, count: int | None, plot: Path | None) -> None:
    if count is None:
        raise UsageError("--plot shows samples of a generator: --sample N says how many")
    if plot is None:
        raise UsageError("--sample needs --plot FILE: the picture that shows the samples, such as samples.png")
    if count < 1:
        raise UsageError(f"--sample must be at least 1, not {count}")
    if extra := sorted(_given(context) - FOR_SAMPLES):
        raise UsageError(f"samples are made out of noise alone: leave out {', '.join(extra)}")


def _sample(
    printer: Printer, model: str, count: int, plot: Path, *, seed: int, engine: Any, digest: str | None
) -> None:
    """Draw samples, and show them in a picture."""
    from portable_nn.adversarial.gan.sampling import sample_sheet
    from portable_nn.model_files.resolve import open_network

    sample_sheet(open_network(model, digest=digest), plot, count, seed, engine=engine)
    text = f"{count:,} {'sample' if count == 1 else 'samples'} of {model}, seed {seed}: {plot}"
    printer.result(text, {"model": model, "samples": count, "seed": seed, "plot": str(plot)})


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
        "input": prediction.input,
        "label": prediction.label,
        "index": prediction.index,
        "probability": prediction.probability,
        "top": prediction.top,
    }
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
