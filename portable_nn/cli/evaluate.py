"""``portable-nn evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from portable_nn.cli.drawing import draw, written
from portable_nn.cli.options import Model, Plot, ReadingOptions
from portable_nn.cli.pictures import PreparationOptions
from portable_nn.cli.printing import Printer
from portable_nn.cli.scaling import ScaleOptions
from portable_nn.cli.tables import ArrayNames, DialectOptions
from portable_nn.core.errors import PortableNNError, UsageError
from portable_nn.core.text import quantity

EXAMPLES = (
    "evaluate digits mnist_test.csv",
    "evaluate mine.safetensors test.csv --plot sheet.png --top 20",
    "evaluate swh.safetensors echoes.h5 --inputs waveforms --target swh",
    "evaluate theirs.onnx photos/ --preprocess imagenet --labels classes.txt --task classes --out figures.json",
    "evaluate tabular.onnx wine.csv --target kind --task classes",
)
ROWS = NUMBERS = True

Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="Labelled data: CSV (label first, or named columns), npz, HDF5, netCDF, IDX, or a folder with a "
        "subfolder of pictures for each class.",
    ),
]


def command(
    printer: Printer,
    model: Model,
    data: Data,
    *,
    given: ReadingOptions,
    arrays: ArrayNames,
    dialect: DialectOptions,
    preparation: PreparationOptions,
    scaling: ScaleOptions,
    worst: Annotated[
        int, typer.Option("--top", metavar="N", min=0, help="List the N worst examples; pictures are drawn.")
    ] = 0,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Stop at the first example that cannot be used, instead of at the end.", hidden=True
        ),
    ] = False,
    test: Annotated[
        bool, typer.Option("--test", help="Evaluate only on the rows of DATA that train --test held out.")
    ] = False,
    plot: Plot = None,
) -> None:
    """Measure a model on labelled data: accuracy or error, by class, with intervals and calibration.

    For classes: accuracy, loss, precision, recall and F1 by class, the confusion matrix, and the calibration: of the
    answers with a probability of 80 %, 80 % should be right. For numbers: RMSE, MAE, R² and bias, in their units.
    Brackets hold 95 % intervals, or the reason why there is none.

    Examples that cannot be used, such as those with a label that the model lacks, are left out, and the exit code is
    then 3. --plot draws one sheet: the confusion matrix or the scatter, the calibration, and the worst pictures.

    --workers N computes the same figures in N processes; the worst pictures are then named, and not drawn. A table with
    --target is read into memory by one process.
    """
    from portable_nn.evaluation.picture import sheet
    from portable_nn.prediction.evaluating import evaluated
    from portable_nn.prediction.options import ModelOptions

    named, target = arrays.options(), arrays.column
    options = ModelOptions(
        **given.options(),
        dataset=named["inputs"],
        targets=named["targets"],
        strict=strict,
        dialect=dialect.given(),
        preprocess=preparation.given(),
    )
    if test and (scaling.wanted or target or len(data) > 1):
        raise UsageError("--test is for one file, in one process, without --target")
    if scaling.wanted:
        found = scaling.evaluate(printer, model, data, worst, options, target)
    else:
        found = evaluated(model, data[0] if test else data, None, options, target=target, worst=worst, test=test)
    printer.notes(found.notes[:-1] if found.left_out else found.notes)
    title = f"{Path(model).name} on {', '.join(Path(each).name or each for each in data)}"
    drawn = draw(plot, lambda: sheet(found, title))
    tail = f"\n\n{written(drawn)}" if drawn else ""
    printer.result(found.text() + tail, {"model": model, "data": data, **found.as_json()}, found.rows)
    if found.left_out:
        raise PortableNNError(f"of {quantity(found.left_out + found.examples, 'example')} {found.notes[-1]}")
