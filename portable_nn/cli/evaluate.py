"""``portable-nn evaluate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from portable_nn.cli.drawing import draw, written
from portable_nn.cli.options import Digest, Edited, EngineName, Model, Plot, ProviderName, engine_of
from portable_nn.cli.pictures import PreparationOptions
from portable_nn.cli.printing import Printer
from portable_nn.cli.scaling import ScaleOptions
from portable_nn.cli.tables import ArrayNames, DialectOptions
from portable_nn.core.errors import PortableNNError
from portable_nn.core.names import Found
from portable_nn.core.text import quantity

EXAMPLES = (
    "evaluate digits mnist_test.csv",
    "evaluate mine.safetensors test.csv --plot sheet.png --worst 20",
    "evaluate swh.safetensors echoes.h5 --inputs waveforms --targets swh",
    "evaluate theirs.onnx photos/ --preprocess imagenet --labels classes.txt --task classes --out figures.json",
    "evaluate tabular.onnx wine.csv --target kind --task classes",
)
ROWS = NUMBERS = True

Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="With labels: CSV (label first, or named columns), npz, HDF5, IDX, or a folder with one of pictures for "
        "each class.",
    ),
]


@dataclass(frozen=True)
class DataOptions:
    """The options for reading data with labels; also for ``calibrate``."""

    task: Annotated[
        Literal["classes", "numbers"] | None, typer.Option(help="What is predicted, if the model does not say it.")
    ] = None
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Column of a table with what is right, its name, first or last; the model gets the others in order.",
        ),
    ] = None
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Names of the classes: one per line, or a JSON list.")
    ] = None
    engine: EngineName = "onnxruntime"
    provider: ProviderName = None
    polarity: Annotated[
        Found | None,
        typer.Option(help="Ink of drawings: light on dark or dark on light. By default the model decides."),
    ] = None
    raw: Annotated[bool, typer.Option("--raw", help="Arrays hold what the graph takes: pass them on unchecked.")] = (
        False
    )
    batch_size: Annotated[int, typer.Option(metavar="N", help="Examples that are computed at once.")] = 256
    digest: Digest = None
    edited: Edited = False

    def options(self) -> dict[str, Any]:
        """The arguments of the library, but for ``target``."""
        others = {name: value for name, value in vars(self).items() if name not in {"engine", "provider", "target"}}
        return {"engine": engine_of(self.engine, self.provider), **others}


def command(
    printer: Printer,
    model: Model,
    data: Data,
    *,
    given: DataOptions,
    arrays: ArrayNames,
    dialect: DialectOptions,
    preparation: PreparationOptions,
    scaling: ScaleOptions,
    worst: Annotated[int, typer.Option(metavar="N", min=0, help="List the N worst examples; pictures are drawn.")] = 0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first example that cannot be used, instead of at the end.")
    ] = False,
    plot: Plot = None,
) -> None:
    """Say how good a model is on data: accuracy or error, by class, with intervals and calibration.

    Of classes: accuracy, loss, precision, recall and F1 by class, the confusion matrix, and the calibration: of answers
    given 80 %, 80 % should be right. Of numbers: RMSE, MAE, R² and bias, in their units. In brackets are 95 %
    intervals, or what there is too little of for one.

    An example that cannot be used, such as one whose label the model does not know, is left out, and the exit code is
    3. --plot draws one sheet: the confusion matrix or the scatter, the calibration, and the worst pictures.

    --workers N computes in N processes, and gives the same figures; the worst pictures are then named, and not drawn.
    --target reads one table into memory, which is for one process.
    """
    from portable_nn.evaluation.picture import sheet
    from portable_nn.prediction.evaluating import evaluated
    from portable_nn.prediction.options import ModelOptions

    named = arrays.options()
    options = ModelOptions(
        **given.options(),
        dataset=named["inputs"],
        targets=named["targets"],
        strict=strict,
        dialect=dialect.given(),
        preprocess=preparation.given(),
    )
    if scaling.wanted:
        found = scaling.evaluate(printer, model, data, worst, options, given.target)
    else:
        found = evaluated(model, data, None, options, target=given.target, worst=worst)
    printer.notes(found.notes[:-1] if found.left_out else found.notes)
    title = f"{Path(model).name} on {', '.join(Path(each).name or each for each in data)}"
    drawn = draw(plot, lambda: sheet(found, title))
    head = {"model": model, "data": data}
    tail = f"\n\n{written(drawn)}" if drawn else ""
    printer.result(found.text() + tail, head | found.as_json(), found.rows)
    if found.left_out:
        raise PortableNNError(f"of {quantity(found.left_out + found.examples, 'example')} {found.notes[-1]}")
