"""``portable-nn predict``."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portable_nn.cli.arrays import SUFFIXES, ArrayOptions, run_arrays
from portable_nn.cli.beside import BesideOptions
from portable_nn.cli.options import Model, ReadingOptions, engine_of
from portable_nn.cli.pictures import PreparationOptions
from portable_nn.cli.predicted import PARQUET, form_of, write
from portable_nn.cli.printing import Printer
from portable_nn.cli.sampling import SampleOptions
from portable_nn.cli.scaling import ScaleOptions
from portable_nn.cli.tables import DialectOptions
from portable_nn.core.errors import PortableNNError, UsageError
from portable_nn.core.text import percent, quantity

if TYPE_CHECKING:
    from portable_nn.cli.predicted import Batches
    from portable_nn.prediction.options import ModelOptions
    from portable_nn.prediction.predictions import Predictions

EXAMPLES = (
    "predict digits photo.jpg",
    "predict digits scans/ --top 3",
    "predict digits scans/ --io io.npz",
    "predict digits photo.jpg --draw boxes.png",
    "predict mine.safetensors mnist_test.csv --out answers.csv",
    "predict mobilenet.onnx cat.jpg --preprocess imagenet --labels imagenet.txt",
    "predict detector.onnx street.jpg --preprocess detection --draw found.png",
    "predict matching.onnx --inputs left=a.jpg,right=b.jpg --out features.npz",
    "predict swh.safetensors echoes.h5 --inputs waveforms --plot track.png --out heights.csv",
    "predict tagger.safetensors steps.csv --stream",
    "predict swh.safetensors echoes.h5 --inputs waveforms --out heights.parquet --resume",
    "predict digits-gan --samples 25:7 --plot sevens.png",
    "predict model.onnx cat.jpg --mean 127.5 --std 127.5 --layout bgr --size 224",
)
ROWS = LINES = NUMBERS = True
ARRAYS = SUFFIXES
TABLES = PARQUET


def command(
    printer: Printer,
    model: Model,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT...]",
            help="Images, folders of images, CSV, JSON, npy, npz, IDX, HDF5 or netCDF files; - for CSV or JSON on "
            "stdin; or a shipped model's name, for its samples.",
        ),
    ] = None,
    *,
    dialect: DialectOptions,
    preparation: PreparationOptions,
    arrays: ArrayOptions,
    scaling: ScaleOptions,
    top: Annotated[int, typer.Option(metavar="K", help="Print the K most likely classes.")] = 1,
    given: ReadingOptions,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Stop at the first input that cannot be used, instead of at the end.", hidden=True
        ),
    ] = False,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream", help="The rows of all inputs are the steps of one sequence: states are kept.", hidden=True
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with FILE.part, which an interrupted run of --out FILE left."),
    ] = False,
    beside: BesideOptions,
    sampling: SampleOptions,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            writable=True,
            help="Write a copy of the model that stores --preprocess and the other options.",
            hidden=True,
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Print how inputs are preprocessed, and what was assumed.", hidden=True),
    ] = False,
) -> None:
    """Predict classes or values for images, tables and arrays, with any model.

    The model stores how its images are preprocessed: digits finds the digits in a photograph or drawing. Each digit has
    a row: photo.jpg#1, photo.jpg#2 and so on. If the data have labels, such as the first column of a CSV file, the
    accuracy is printed as well.

    If a model does not say what its outputs mean, they are taken as classes when they sum to 1, when --labels or --task
    classes is given, or when a picture has 10, 100 or 1000 of them. Other numbers are printed unchanged. Each
    assumption is printed.

    If no class reaches the model's threshold, the label is ?, with the best guess beside it. If the model is not sure
    of a number, a ? stands in its place.

    With --stream, each row of a table or array is a step of one sequence, which continues from file to file. Recurrent
    layers and causal convolutions keep their states, and each step has a prediction.

    --plot draws the predictions of all rows: quantities with their uncertainty, or classes.

    --samples N draws N samples from a generator: --plot FILE.png shows them side by side, and --out FILE.npy has them.
    The noise has a standard normal distribution, and the first samples do not depend on N. --samples N:7 draws sevens:
    the digit is given to a generator that takes a class, or encoded in the noise (digits-gan); for any other generator,
    the samples that digits-cnn reads as 7 are kept.

    An input that cannot be used has an error in its row; so has a line of a table that is longer or shorter than the
    first. All others are predicted, and the exit code is then 3. Lines of CSV on standard input are answered one by
    one.

    --out writes FILE.part, which is renamed to FILE at the end. If a run was interrupted, killed or out of disk space,
    the same command with --resume goes on where it stopped.

    --workers N computes the same file in N processes. The inputs are cut into shards; after any interruption, finished
    shards are not computed again. --shards FOLDER keeps the shards, also without --out. Standard input, --inputs
    NAME=FILE, --draw, --stream and --io need a single process.
    """
    from portable_nn.prediction.options import ModelOptions

    if sampling.wanted(inputs or arrays.named() or stream or scaling.wanted):
        sampling.draw(printer, model, beside.plot, engine_of(given.engine), given.digest)
        return
    beside.check()
    files = inputs or []
    if keep is not None:
        _keep(model, keep, preparation, printer, given)
        if not inputs and not arrays.named():
            return
    options = ModelOptions(
        **given.options(),
        strict=strict or arrays.wanted(printer),
        preprocess=preparation.given(),
        dialect=dialect.given(),
        dataset=arrays.names(),
        output=arrays.output,
        stream=stream,
    )
    drawn = _drawn(beside.draw, model, files, options)
    if drawn or arrays.wanted(printer):
        options = replace(options, strict=True)
        if beside.plot:
            raise UsageError("--plot draws predictions row by row, and no arrays: leave out NAME=FILE, --draw and .npz")
        if stream:
            raise UsageError("--stream gives an answer for each step, as a table, CSV or JSON, and no arrays")
        run_arrays(printer, model, files, arrays, options, scaling, drawn=drawn, resume=resume)
        return
    _predict(printer, model, files, options, top, scaling, beside, resume=resume, verbose=verbose)


def _drawn(path: Path | None, model: str, files: list[str], options: ModelOptions) -> Path | None:
    """The file for boxes and areas; none where the model reads a picture part by part, as digits.

    Raises ``UsageError`` for a model or a file without pictures.
    """
    if path is None:
        return None
    from portable_nn.data.batches import Bad
    from portable_nn.data.expanding import expanded, is_picture, name_of
    from portable_nn.data.picture_batches import picture_steps
    from portable_nn.preprocessing.paper import DrawingsStep

    found = options.opened(model)
    try:
        steps = picture_steps(found.prepared(found.only_input(), options.preparation).taken, None)
    except UsageError as error:
        raise UsageError(f"--draw is for models of pictures: {error}") from None
    for each in chain.from_iterable(expanded(Path(file), False) for file in files):
        if not (isinstance(each, Bad) or is_picture(each)):
            raise UsageError(f"--draw is for files of pictures, and {name_of(each)} is none")
    return None if any(isinstance(step, DrawingsStep) for step in steps) else path


def _predict(
    printer: Printer,
    model: str,
    inputs: list[str],
    options: ModelOptions,
    top: int,
    scaling: ScaleOptions,
    beside: BesideOptions,
    *,
    resume: bool,
    verbose: bool,
) -> None:
    """Compute predictions, in this process or in several, and write them; of several without --out, shards alone."""
    from portable_nn.opening.origin import check_resumable, origin_of
    from portable_nn.outputs.forms import Layout
    from portable_nn.prediction.predictions import predictions_of

    goes_on = bool(form_of(printer)) and not (beside.wanted or options.stream)
    run = origin = None
    if goes_on:  # Shards are gone on with, and not the file: rows are written from them at once.
        origin = {} if scaling.wanted else origin_of(model, inputs, {**vars(options), "top": top})
    if resume:
        check_resumable(origin)
    recorder = beside.recorder()
    if scaling.wanted:
        if options.stream or recorder:
            raise UsageError("--stream and --io are for one process: leave --workers out")
        predictions, run = scaling.predict(printer, model, inputs, options, top)
        if scaling.shards and not printer.out:
            printer.notes(predictions.warnings)
            scaling.compute(printer, run, predictions.total)
            if run.tally.first_bad:
                raise _failure(run.tally.examples, run.tally.bad, *run.tally.first_bad)
            return
    else:
        predictions = predictions_of(model, inputs, options, top, recorder)
    batches, title = _batches(predictions, printer, verbose), f"{model}: {', '.join(inputs)}"
    layout = Layout(model, predictions.quantities, predictions.threshold > 0)
    with beside.written(printer, predictions, batches, recorder, title) as watched:
        write(predictions, watched, printer, layout, origin or None, resume)
    _note_right(printer, predictions)
    if run:
        scaling.finish(printer, run)
    if first := predictions.first_bad:
        raise _failure(predictions.made, predictions.bad, first.input, first.error)


def _note_right(printer: Printer, predictions: Predictions) -> None:
    """Say how many of the examples with a known class are right."""
    if predictions.judged:
        share = percent(predictions.right / predictions.judged)
        unsure = f"; {predictions.unsure:,} of {predictions.made:,} unsure" if predictions.threshold else ""
        printer.note(f"{predictions.right:,} of {predictions.judged:,} right ({share}){unsure}")


def _keep(model: str, path: Path, preparation: PreparationOptions, printer: Printer, reading: ReadingOptions) -> None:
    """Write a copy of the model that says how pictures are prepared."""
    from portable_nn.prediction.keeping import keep_preprocessing

    given = preparation.given()
    if given is None:
        raise UsageError("--keep writes a preparation in a copy of the model: --preprocess or --mean say which")
    steps = keep_preprocessing(model, path, given, digest=reading.digest, edited=reading.edited)
    printer.note(f"written to {path}, which says how pictures are prepared: {'; '.join(steps)}")


def _failure(made: int, bad: int, name: str, error: str | None) -> PortableNNError:
    """The error for inputs that could not be used, of which the first one has this name."""
    reason = f"{name}: {error}"
    if made == 1:
        return PortableNNError(reason)
    others = "; the other errors are in their rows" if bad > 1 else ""
    return PortableNNError(f"{bad:,} of {quantity(made, 'input')} cannot be used: {reason}{others}")


def _batches(predictions: Predictions, printer: Printer, verbose: bool) -> Batches:
    """The predictions in batches; their notes and warnings are printed on the way."""
    told = 0
    for batch in chain([[]], predictions.in_batches()):  # Before the first one as well.
        if more := predictions.warnings[told:]:
            printer.notes(more)
            told += len(more)
        while verbose and predictions.notes:
            printer.note(predictions.notes.pop(0))
        if batch:
            yield batch
