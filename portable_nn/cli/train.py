"""``portable-nn train``."""

from __future__ import annotations

from typing import Annotated

import typer

from portable_nn.cli.conventions import Printer, choice
from portable_nn.cli.training import CheckpointFlags, Data, Out, TrainingOptions, finish
from portable_nn.core.names import ACTIVATIONS

EXAMPLES = (
    "train 784-200-10 mnist_train.csv --out mine.safetensors",
    "train 784-512-10 train-images-idx3-ubyte.gz --activation relu -o m.safetensors",
    "train 4-16-3 iris.csv --standardise --class-labels A,B,C -o iris.safetensors",
    "train 784-200-10 mnist_train.csv -o mine.h5 --checkpoint run --resume",
)


def command(
    printer: Printer,
    layers: Annotated[
        str, typer.Argument(metavar="LAYERS", help="Sizes of the layers from the input to the classes: 784-200-10.")
    ],
    data: Data,
    *,
    out: Out,
    activation: Annotated[
        str, choice("--activation", names=ACTIVATIONS, help="Activation of the hidden layers.")
    ] = "sigmoid",
    standardise: Annotated[
        bool,
        typer.Option(
            "--standardise", help="Scale each column to mean 0 and standard deviation 1, as part of the model."
        ),
    ] = False,
    training: TrainingOptions,
    checkpoints: CheckpointFlags,
) -> None:
    """Train a new network of dense layers on your data.

    784-200-10 has 784 inputs, one hidden layer of 200 units and 10 classes. Rows of 784 numbers are the pixels of a
    digit, unless --raw is given. Preprocessing becomes part of the model, so that predict repeats it. Ctrl-C stops the
    training and saves the network; with --checkpoint, the same command with --resume goes on to the same bytes,
    whatever stopped it.
    """
    from portable_nn.recipes.classifier import parse_layers, train_classifier

    sizes = parse_layers(layers)
    options = training.options(printer, checkpoints)
    examples = training.dataset(data, sizes[0])
    trained = train_classifier(sizes, examples, activation=activation, standardise=standardise, **options)
    finish(printer, *trained, out, checkpoints)
