"""``portable-nn calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from portable_nn.cli.evaluate import Data
from portable_nn.cli.options import Model, ReadingOptions
from portable_nn.cli.pictures import PreparationOptions
from portable_nn.cli.printing import Printer
from portable_nn.cli.tables import DialectOptions
from portable_nn.core.text import fields, percent, rounded

EXAMPLES = (
    "calibrate mine.safetensors validation.csv --out calibrated.safetensors",
    "calibrate theirs.onnx validation.npz --task classes --out calibrated.onnx",
)
NUMBERS = True


def command(
    printer: Printer,
    model: Model,
    data: Data,
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FILE", help="The calibrated model: a weight file or .onnx.", writable=True
        ),
    ],
    given: ReadingOptions,
    target: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Column of a table with the right answers: its name, first or last."),
    ] = None,
    dialect: DialectOptions,
    preparation: PreparationOptions,
) -> None:
    """Calibrate a model's probabilities on data that it was not trained on.

    Logits are divided by a temperature, which is fitted to the data and stored with the model. The likeliest class
    stays the same, and its probability changes. predict and files of export --probabilities use the temperature.
    Measure the effect with evaluate, on a third set of data.

    A network that reads digits in photographs also gets a threshold: it answers "?" where its probability is lower than
    for 98 % of the digits. A book's network, whose outputs are not logits, gets the threshold alone.
    """
    from portable_nn.prediction.evaluating import calibrate
    from portable_nn.prediction.keeping import save_network
    from portable_nn.recipes.digits import UNSURE

    how = {"dialect": dialect.given(), "preprocess": preparation.given(), **given.options()}
    network, found = calibrate(model, data, target=target, **how)
    save_network(network, out)
    pairs = {"before": found.before, "after": found.after} if found else {}
    rows = [
        (name, f"loss {rounded(each.loss)}, calibration error {percent(each.reliability.ece)}")
        for name, each in pairs.items()
    ]
    temperature = [("temperature", rounded(found.temperature))] if found else []
    unsure = {UNSURE: network.metadata[UNSURE]} if UNSURE in network.metadata else {}
    text = fields([*temperature, *rows, *unsure.items(), ("written", str(out))])
    figures = {
        name: {"loss": each.loss, "ece": each.reliability.ece, "accuracy": each.accuracy}
        for name, each in pairs.items()
    }
    scored = {"examples": found.after.examples, "temperature": found.temperature} if found else {}
    printer.result(text, {"model": model, "data": data, **scored, **figures, **unsure, "path": str(out)})
