"""``portable-nn train``."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from portable_nn.cli.conventions import Printer
from portable_nn.core.errors import FileError, UsageError
from portable_nn.core.text import fields, percent, size

if TYPE_CHECKING:
    from portable_nn.network import Network
    from portable_nn.training.checkpoint import CheckpointOptions
    from portable_nn.training.history import History
    from portable_nn.training.optimizers import Optimizer

EXAMPLES = (
    "train 784-200-10 mnist_train.csv --out mine.safetensors",
    "train 784-512-10 train-images-idx3-ubyte.gz --activation relu -o m.safetensors",
    "train 4-16-3 iris.csv --standardise --class-labels A,B,C -o iris.safetensors",
    "train digits --out digits.safetensors",
    "train digits --checkpoint run --resume",
    "train --from digits mine.csv --out mine.safetensors",
    "train --from theirs.onnx mine.npz --until pool --freeze '*' -o mine.safetensors",
)

INTERRUPTED = 130

STOPPED = {"finished": "", "early": ", stopped early", "interrupted": ", interrupted"}
"""What is said of the way in which training ended."""

FOR_RECIPES = {
    "--out",
    "--force",
    "--seed",
    "--epochs",
    "--checkpoint",
    "--every",
    "--resume",
    "--format",
    "--quiet",
    "--debug",
}
"""The options that make sense for a recipe."""

FOR_MODELS = {"--freeze", "--until"}
"""Those that need a trained model."""

FOR_LAYERS = {"--activation", "--standardise"}
"""Those that say how a network is made."""


class Activation(StrEnum):
    """What stands between the layers."""

    SIGMOID = "sigmoid"
    TANH = "tanh"
    RELU = "relu"


class Loss(StrEnum):
    """What training makes small."""

    CROSS_ENTROPY = "cross_entropy"
    BINARY_CROSS_ENTROPY = "binary_cross_entropy"
    MEAN_SQUARED_ERROR = "mean_squared_error"


class Method(StrEnum):
    """How training makes it small."""

    SGD = "sgd"
    RMSPROP = "rmsprop"
    ADAM = "adam"
    ADAMW = "adamw"


def command(
    printer: Printer,
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="LAYERS",
            help="Sizes from input to classes (784-200-10), or a shipped model's name; left out with --from.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DATA]", help="CSV with the label first, npz, IDX, npy or HDF5; a shipped model has its own."
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="MODEL", help="Train this model further: shipped, a weight file or ONNX."),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", help="Keep these parameters of MODEL as they are: 'features.*'. May be repeated."
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Cut MODEL after this node or value, and put a new layer for DATA's classes on."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Where to save it, such as net.safetensors."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    labels_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The label of each example, where DATA do not have them.")
    ] = None,
    class_labels: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Names of the classes: a,b,c or 0123456789 or a file with one in a line."),
    ] = None,
    activation: Annotated[Activation, typer.Option(help="What stands between the layers.")] = Activation.SIGMOID,
    loss: Annotated[Loss, typer.Option(help="What training makes small.")] = Loss.CROSS_ENTROPY,
    optimizer: Annotated[Method, typer.Option(help="How it is made small.")] = Method.ADAM,
    learning_rate: Annotated[
        float | None, typer.Option(metavar="X", help="The size of a step. If not given, it is 0.001, for sgd 0.01.")
    ] = None,
    momentum: Annotated[
        float | None, typer.Option(metavar="X", help="What part of a step is added to the next; for sgd.")
    ] = None,
    epochs: Annotated[
        int, typer.Option(metavar="N", help="How often every example is seen. A recipe has its own number.")
    ] = 10,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Examples a step.")] = 32,
    validation: Annotated[
        float, typer.Option(metavar="SHARE", help="What share of DATA is held out to measure by.")
    ] = 0.1,
    early_stopping: Annotated[
        int | None,
        typer.Option(metavar="N", help="Stop after N epochs that brought nothing, and keep the best weights."),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Take the numbers as they are. Otherwise 784 in a row are pixels from 0 to 255."),
    ] = False,
    standardise: Annotated[
        bool, typer.Option("--standardise", help="Bring each column to mean 0 and deviation 1, as part of the model.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="What everything random is drawn from.")] = 0,
    metrics_csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a row of figures for each epoch.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Keep there, after each epoch, what it takes to go on: the last 3 and the best."
        ),
    ] = None,
    every: Annotated[int | None, typer.Option(metavar="N", help="Do so after every N batches, too.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint in FOLDER, as if nothing had stopped it.")
    ] = False,
) -> None:
    """Train a network on your data, or a shipped model anew.

    784-200-10 is a network of 784 inputs, one hidden layer of 200 units and 10 classes. What is done to the data
    before training becomes a part of the model, so that predict does the same. With --from, a trained model learns more
    of the same, or, with --until, other classes from what it has learned. Ctrl-C stops and saves what was learned. With
    --checkpoint, the same command and --resume goes on, whatever stopped it, to the very same model.
    """
    given = _given(context)
    if source is not None:
        what, data = _only_data(what, data, given)
    elif extra := sorted(given & FOR_MODELS):
        raise UsageError(f"{', '.join(extra)} tells what to do with a trained model: --from MODEL says with which")
    is_recipe = source is None and not what[:1].isdigit()
    checkpoints = _checkpoints(checkpoint, every, resume)
    target = _check_target(out or (Path(f"{what}.safetensors") if is_recipe else None), force)
    progress = False if printer.quiet else None
    if checkpoint and resume:
        printer.note(_where(checkpoint, None if is_recipe and "--epochs" not in given else epochs))
    if is_recipe:
        outcome = _by_recipe(what, given, epochs=epochs, seed=seed, progress=progress, **checkpoints)
    elif source is not None:
        outcome = _further(
            source,
            data,
            labels_file,
            until=until,
            freeze=freeze or (),
            loss=loss.value,
            optimizer=_optimizer(optimizer, learning_rate, momentum),
            epochs=epochs,
            batch_size=batch_size,
            validation=validation,
            patience=early_stopping,
            labels=_class_labels(class_labels),
            raw=raw,
            seed=seed,
            metrics_csv=metrics_csv,
            progress=progress,
            **checkpoints,
        )
    else:
        outcome = _on_data(
            what,
            data,
            labels_file,
            activation=activation.value,
            loss=loss.value,
            optimizer=_optimizer(optimizer, learning_rate, momentum),
            epochs=epochs,
            batch_size=batch_size,
            validation=validation,
            patience=early_stopping,
            labels=_class_labels(class_labels),
            raw=raw,
            standardise=standardise,
            seed=seed,
            metrics_csv=metrics_csv,
            progress=progress,
            **checkpoints,
        )
    outcome.network.save(target)
    printer.result(_as_text(outcome, target), _as_json(outcome, target))
    if outcome.history.stopped == "interrupted":
        onwards = f"; --resume --force goes on from {checkpoint}" if checkpoint else ""
        printer.note(f"stopped by Ctrl-C; what was learned is saved{onwards}")
        raise typer.Exit(INTERRUPTED)


class _Outcome(NamedTuple):
    network: Network
    history: History
    figures: Mapping[str, float]


def _by_recipe(name: str, given: set[str], **options: Any) -> _Outcome:
    from portable_nn.catalog import CALLED

    if name not in CALLED:
        raise UsageError(f"expected sizes such as 784-200-10, or a shipped model ({', '.join(CALLED)}), not '{name}'")
    if extra := sorted(given - FOR_RECIPES):
        raise UsageError(f"{name} has a recipe of its own, with its own data: leave out {', '.join(extra)}")
    if "--epochs" not in given:
        del options["epochs"]
    trained = CALLED[name].recipe(**options)
    return _Outcome(trained.network, trained.history, trained.figures)


def _on_data(layers: str, data: Path | None, labels_file: Path | None, **options: Any) -> _Outcome:
    from portable_nn.data.dataset import read_dataset
    from portable_nn.recipes.classifier import parse_layers, train_classifier

    sizes = parse_layers(layers)
    if data is None:
        raise UsageError(f"train {layers} needs data: a CSV file with the label first, npz, IDX, npy or HDF5")
    return _outcome(*train_classifier(sizes, read_dataset(data, labels_file, width=sizes[0]), **options))


def _only_data(what: str, data: Path | None, given: set[str]) -> tuple[str, Path]:
    """With ``--from``, the one argument is DATA."""
    if data is not None:
        raise UsageError(f"with --from, the layers are those of the model: give DATA alone, not '{what}' as well")
    if extra := sorted(given & FOR_LAYERS):
        raise UsageError(f"with --from, the model has that already: leave out {', '.join(extra)}")
    return what, Path(what)


def _further(model: str, data: Path | None, labels_file: Path | None, **options: Any) -> _Outcome:
    from portable_nn.core.dims import static
    from portable_nn.data.dataset import read_dataset
    from portable_nn.model_files.resolve import open_network
    from portable_nn.recipes.tuning import tune_classifier

    assert data is not None
    network = open_network(model)
    shape = static(network.graph.inputs[0].shape[1:])
    width = math.prod(shape) if shape is not None else None
    return _outcome(*tune_classifier(network, read_dataset(data, labels_file, width=width), **options))


def _outcome(network: Network, history: History) -> _Outcome:
    kept = history.rows[(history.best_epoch or 0) - 1] if history.rows else {}
    return _Outcome(
        network, history, {name: kept[name] for name in ("loss", "val_loss", "val_accuracy") if name in kept}
    )


def _given(context: typer.Context) -> set[str]:
    """The names of what stands on the command line, as it is written there."""
    found = [name for name in context.params if name != "what"]
    found = [name for name in found if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    return {"DATA" if name == "data" else "--" + name.replace("_", "-") for name in found}


def _checkpoints(folder: Path | None, every: int | None, resume: bool) -> CheckpointOptions:
    """The options of ``fit``, none where there are to be no checkpoints."""
    if folder is None:
        for name, given in (("--every", every is not None), ("--resume", resume)):
            if given:
                raise UsageError(f"{name} is about checkpoints: --checkpoint FOLDER says where they are")
        return {}
    return {"checkpoint": folder, "every": every, "resume": resume}


def _where(folder: Path, epochs: int | None) -> str:
    """Where training goes on, of so many ``epochs``, or as many as it was to have."""
    from portable_nn.training.checkpoint import standing

    found = standing(folder)
    of = epochs or found.epochs
    place = f"epoch {found.epoch} of {of}, batch {found.batch}" if found.epoch <= of else f"all {of} epochs are done"
    return f"resuming {found.path}: {place}"


def _optimizer(method: Method, rate: float | None, momentum: float | None) -> Optimizer:
    from portable_nn.training.optimizers import OPTIMIZERS

    if momentum is not None and method is not Method.SGD:
        raise UsageError("momentum is an option of sgd: --optimizer sgd --momentum 0.9")
    options = {"learning_rate": rate, "momentum": momentum}
    return OPTIMIZERS[method](**{name: value for name, value in options.items() if value is not None})


def _class_labels(text: str | None) -> Sequence[str]:
    if not text:
        return ()
    if Path(text).is_file():
        from portable_nn.model_files.predictions import read_labels

        return read_labels(text)
    return [label.strip() for label in text.split(",")] if "," in text else list(text)


def _check_target(path: Path | None, force: bool) -> Path:
    """Find out before the training, and not after it, that its result could not be saved."""
    from portable_nn.format.carriers import SUFFIXES, carrier_of

    if path is None:
        raise UsageError(f"--out is missing: where to save the network, a file whose name ends in {SUFFIXES}")
    carrier_of(path)
    if path.exists() and not force:
        raise UsageError(f"{path} is there already: --force replaces it")
    if not path.absolute().parent.is_dir():
        raise FileError(path, f"cannot be written: there is no folder '{path.absolute().parent}'")
    if not os.access(path.absolute().parent, os.W_OK):
        raise FileError(path, "cannot be written: its folder is read-only")
    return path


def _as_text(outcome: _Outcome, target: Path) -> str:
    epochs = f"{len(outcome.history.rows)}{STOPPED[outcome.history.stopped]}"
    if outcome.history.best_epoch:
        epochs += f", kept: {outcome.history.best_epoch}"
    figures = [
        (name.replace("val_", "validation ").replace("_", " "), _figure(name, value))
        for name, value in outcome.figures.items()
    ]
    saved = f"{target} ({size(target.stat().st_size)})"
    return fields([("epochs", epochs), *figures, ("saved", saved)])


def _figure(name: str, value: float) -> str:
    if name.endswith("accuracy"):
        return percent(value)
    return f"{value:,.0f}" if value.is_integer() else f"{value:.4g}"


def _as_json(outcome: _Outcome, target: Path) -> dict[str, Any]:
    history = outcome.history
    return {
        "model": str(target),
        "epochs": len(history.rows),
        "stopped": history.stopped,
        "best_epoch": history.best_epoch,
        "figures": dict(outcome.figures),
        "history": history.rows,
    }
