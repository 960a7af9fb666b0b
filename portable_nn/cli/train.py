"""``portable-nn train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.losses import LossOptions
from portable_nn.cli.options import choice
from portable_nn.cli.printing import Printer
from portable_nn.cli.steps import StepOptions
from portable_nn.cli.tables import ArrayNames, DialectOptions, TableOptions
from portable_nn.cli.training import CheckpointFlags, Data, Out, TrainingOptions, finish
from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.names import ACTIVATIONS

if TYPE_CHECKING:
    from portable_nn.cli.training import Tested

EXAMPLES = (
    "train 784-200-10 mnist_train.csv --out mine.safetensors",
    "train cnn photos/ --out mine.safetensors --plot worst.png",
    "train 3072-100-auto photos/ --epochs 20 -o mine.safetensors",
    "train cnn train-images-idx3-ubyte.gz -o mine.safetensors",
    "train 784-512-10 train-images-idx3-ubyte.gz --activation relu -o m.safetensors",
    "train auto-32-auto penguins.csv --target species --missing indicator -o penguins.safetensors",
    "train auto-64-32-1 houses.csv --target price --unit price=€ --drop address -o price.safetensors",
    "train auto-32-auto penguins.csv --target species --missing indicator --test 0.2 -o penguins.safetensors",
    "train 4-16-3 iris.csv --standardise --labels A,B,C -o iris.safetensors",
    "train auto-32-auto penguins.csv --target species --missing drop --class-weight Gentoo=2 --metric f1 -o p.h5",
    "train 784-200-10 mnist_train.csv --schedule one-cycle:rise=0.2 --optimizer adam:clip_norm=1 -o mine.safetensors",
    "train 104-64-32-1 echoes.h5 --inputs waveforms --target swh --unit swh=m -o swh.safetensors",
    "train 784-200-10 mnist_train.csv -o mine.h5 --checkpoint run --resume",
)


def command(
    printer: Printer,
    layers: Annotated[
        str,
        typer.Argument(
            metavar="LAYERS",
            help="Sizes of the layers from the input to the classes: 784-200-10, or auto-32-auto; cnn for pictures.",
        ),
    ],
    data: Data,
    *,
    out: Out,
    arrays: ArrayNames,
    table: TableOptions,
    dialect: DialectOptions,
    activation: Annotated[
        str | None,
        choice(
            "--activation",
            names=ACTIVATIONS,
            help="Activation of the hidden layers.  [default: sigmoid; relu with --target, and for pictures]",
            hidden=True,
        ),
    ] = None,
    standardise: Annotated[
        bool,
        typer.Option(
            "--standardise",
            help="Scale each column to mean 0 and standard deviation 1, as part of the model.",
            hidden=True,
        ),
    ] = False,
    training: TrainingOptions,
    losses: LossOptions,
    steps: StepOptions,
    checkpoints: CheckpointFlags,
) -> None:
    """Train a new network on your data.

    With --target, DATA is a table with named columns of numbers and words: CSV, Parquet, Arrow or JSON. One column, of
    classes or numbers, is predicted from the others. auto counts the columns and the classes. Numbers are scaled, and
    words become categories. The model stores the scaling, the categories and the names of the columns, by which predict
    finds them.

    With --inputs as well, DATA is a file with named arrays of any size, which is read and shuffled in pieces. A target
    of whole numbers is a class, any other a number; units and labels come from the file, or from --unit swh=m and
    --labels. --validation holds out random blocks of rows.

    Without these options, 784-200-10 has 784 inputs, one hidden layer of 200 units and 10 classes. Rows of 784 numbers
    are pixels, unless none is above 1 or --preprocess none is given. The preprocessing is stored with the model, and
    predict repeats it. If the pixels look like digits, predict finds digits in photographs, and answers "?" where the
    probability is lower than for 98 % of the held-out digits.

    A folder of pictures has a subfolder for each class, named after it. 784-200-3 scales the pictures to 28x28 in grey,
    3072 to 32x32 in colour, and auto-200-auto finds a size. cnn is a convolutional network for a folder or arrays of
    pictures, which are varied each time; 784-cnn-10 sets their size. In folders 0 to 9, pictures for 784 inputs,
    or in grey where no size is given, are digits: each is cropped and centred, and predict finds digits in photographs.
    With a folder, --plot draws the worst of the held-out pictures (those of --test, if given) instead of the curves.

    Ctrl-C stops the training and saves the network with the weights of the best epoch so far (cnn, or no validation:
    the last). With --checkpoint, an interrupted command goes on with --resume, and ends with the same bytes as without
    the interruption.
    """
    if Path(layers).is_file():
        raise UsageError(f"LAYERS stands before DATA: portable-nn train {data} {layers}")
    named, is_folder = arrays.options(), training.is_folder(data, arrays)
    is_cnn = "cnn" in layers.split("-")
    options, source = training.options(printer, losses, steps, checkpoints), training.source(data, bool(arrays.inputs))
    trained: Any
    if named["inputs"] and not is_cnn:
        trained, tested = _on_arrays(layers, data, table, activation, training, {**options, **named})
    elif arrays.columns:
        options["target"] = arrays.columns[0] if len(arrays.columns) == 1 else arrays.columns
        trained, tested = _on_table(layers, data, table, dialect, activation, standardise, training, options)
    elif is_folder or is_cnn:
        table.check_unused()
        if standardise:
            raise UsageError("--standardise is for rows of numbers, and these are pictures")
        trained, tested = _on_pictures(layers, data, arrays, dialect, activation, training, options)
    else:
        table.check_unused()
        trained, tested = _on_examples(layers, data, arrays.file, dialect, activation, standardise, training, options)
    pictures, figures = getattr(trained, "pictures", None), getattr(trained, "figures", None)
    printer.notes(getattr(pictures or trained, "notes", ()))
    finish(
        printer, trained.network, trained.history, out, checkpoints, figures, training.picture, source, tested, pictures
    )


def _on_pictures(
    layers: str,
    data: Path,
    arrays: ArrayNames,
    dialect: DialectOptions,
    activation: str | None,
    training: TrainingOptions,
    options: dict[str, Any],
) -> tuple[Any, Tested]:
    """Train on a folder of pictures, or on arrays of them."""
    from portable_nn.data.dataset import Dataset, read_dataset
    from portable_nn.data.expanding import is_folder
    from portable_nn.recipes.arrays import named_arrays
    from portable_nn.recipes.pictures import train_pictures

    pictures: Any
    found: Any
    if is_folder(data):
        pictures, tested = training.pictures_apart(data)
    elif arrays.inputs:
        names = [each or () for each in arrays.options().values()]
        rest, tested = training.arrays_apart(data, *names)
        found = [named_arrays(rest, each) for each in names]
        pictures = Dataset(found[0], found[1][:])
    else:
        first = layers.split("-")[0]
        examples = read_dataset(
            data, arrays.file, width=int(first) if first.isdecimal() else None, dialect=dialect.given()
        )
        pictures, tested = training.apart(examples, data)
    return train_pictures(layers, pictures, activation=activation or "relu", **options), tested


def _on_examples(
    layers: str,
    data: Path,
    labels: Path | None,
    dialect: DialectOptions,
    activation: str | None,
    standardise: bool,
    training: TrainingOptions,
    options: dict[str, Any],
) -> tuple[Any, Tested]:
    """Train on rows of numbers, each with its label."""
    from portable_nn.data.dataset import kind_of, read_dataset
    from portable_nn.recipes.classifier import parse_layers, train_classifier

    if "auto" in layers:
        raise UsageError(
            f"--target NAME is missing: LAYERS {layers} counts the columns of a table, and NAME is the one to predict; "
            "arrays of a file need --inputs NAMES as well"
        )
    sizes = parse_layers(layers)
    try:
        examples = read_dataset(data, labels, width=sizes[0], dialect=dialect.given())
    except DataError as error:
        if kind_of(data) != "csv":
            raise
        hint = "of a table with named columns, --target NAME says which one is predicted"
        raise DataError(error.path, f"{error.reason}; {hint}") from None
    examples, tested = training.apart(examples, data)
    trained = train_classifier(sizes, examples, activation=activation or "sigmoid", standardise=standardise, **options)
    return trained, tested


def _on_arrays(
    layers: str,
    data: Path,
    table: TableOptions,
    activation: str | None,
    training: TrainingOptions,
    options: dict[str, Any],
) -> tuple[Any, Tested]:
    """Train on named arrays of a file."""
    from portable_nn.recipes.arrays import train_arrays

    table.check_unused("task", "unit")
    options |= {"task": table.task, "units": table.units(), "standardise": _standardised(options)}
    rest, tested = training.arrays_apart(data, options["inputs"], options["targets"])
    return train_arrays(layers, rest, activation=activation or "relu", **options), tested


def _on_table(
    layers: str,
    data: Path,
    table: TableOptions,
    dialect: DialectOptions,
    activation: str | None,
    standardise: bool,
    training: TrainingOptions,
    options: dict[str, Any],
) -> tuple[Any, Tested]:
    """Train on a table with named columns."""
    from portable_nn.data.frames import read_frame
    from portable_nn.recipes.table import complete, train_table

    if training.labels is not None:
        raise UsageError("--labels is not for --target: the classes have the names that stand in the table")
    if standardise:
        raise UsageError("--target standardises without --standardise; --preprocess none turns it off")
    del options["labels"]
    options |= {**table.options(), "standardise": _standardised(options)}
    whole = read_frame(str(data), **vars(dialect.given()))
    frame, tested = training.apart(whole, data)
    asked = options["target"], options["drop"], options["missing"]
    (_, dropped), (frame, _) = (complete(each, *asked) for each in (whole, frame))
    trained = train_table(layers, frame, activation=activation or "relu", **options)
    return trained._replace(notes=[*dropped, *trained.notes]), tested  # The note is on all rows, also those held out.


def _standardised(options: dict[str, Any]) -> bool:
    """True unless --preprocess none was given, which is taken out of ``options``."""
    if (given := options.pop("preprocess")) == "digits":
        raise UsageError("--preprocess digits is for rows of 784 pixels, and not for --target or --inputs")
    return given is None
