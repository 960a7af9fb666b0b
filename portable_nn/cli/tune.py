"""``portable-nn tune``."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer

from portable_nn.cli.losses import LossOptions
from portable_nn.cli.options import Model, listed
from portable_nn.cli.printing import Printer
from portable_nn.cli.steps import StepOptions
from portable_nn.cli.tables import ArrayNames, DialectOptions
from portable_nn.cli.training import CheckpointFlags, Data, Out, TrainingOptions, finish
from portable_nn.core.errors import UsageError

EXAMPLES = (
    "tune digits mine.csv --out mine.safetensors",
    "tune theirs.onnx photos/ --out mine.safetensors --plot worst.png",
    "tune theirs.onnx mine.npz --until -1 --freeze '*' -o mine.safetensors",
    "tune theirs.onnx mine.npz --until pool --freeze '*' -o mine.safetensors",
    "tune mine.safetensors more.csv --schedule cosine:warm_up=1 --group 'hidden.*:learning_rate=1e-4' -o m.safetensors",
    "tune digits mine.csv --loss 'cross_entropy(label_smoothing=0.1)' --metric f1,recall -o mine.safetensors",
    "tune swh.safetensors echoes.h5 --inputs waveforms --target swh -o better.safetensors",
    "tune mine.safetensors more.csv --epochs 3 --rate 1e-4 -o better.safetensors",
)


def command(
    printer: Printer,
    model: Model,
    data: Data,
    *,
    out: Out,
    arrays: ArrayNames,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Replace all nodes after this node or value by a new layer for DATA's classes; -1 replaces the last "
            "linear layer.",
        ),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN,…", help="Do not train parameters that match, such as 'features.*'.", hidden=True
        ),
    ] = None,
    dialect: DialectOptions,
    training: TrainingOptions,
    losses: LossOptions,
    steps: StepOptions,
    checkpoints: CheckpointFlags,
) -> None:
    """Fine-tune a model on your data.

    A folder of pictures has a subfolder for each class, named after it. If the model lacks one of these classes, its
    last linear layer is replaced by a new one. --plot draws the worst of the held-out pictures (those of --test, if
    given).

    With --inputs and --target, DATA is a file with named arrays of any size, as for train; the network may then also
    predict numbers.

    The data are preprocessed as for predict (the columns of a table are found by name). They have the classes of the
    model, or with --until any others. Frozen parameters keep every bit. Ctrl-C stops the training and saves the network
    with the weights of the best epoch so far (no validation: the last). With --checkpoint, an interrupted command goes
    on with --resume, and ends with the same bytes as without the interruption.
    """
    from portable_nn.converters.onnx.adapting import with_any_batch
    from portable_nn.core.dims import static
    from portable_nn.data.dataset import Dataset, read_dataset
    from portable_nn.opening import open_network
    from portable_nn.prediction.evaluating import with_target
    from portable_nn.prediction.options import ModelOptions
    from portable_nn.recipes.pictures import tune_pictures
    from portable_nn.recipes.tuning import class_count, table_examples, tune_classifier

    named, is_folder = arrays.options(), training.is_folder(data, arrays, training.preprocess)
    options, source = (
        training.options(printer, losses, steps, checkpoints),
        training.source(data, bool(named["inputs"])),
    )
    network, notes = with_any_batch(open_network(model))
    printer.notes(notes)
    if is_folder:
        del options["preprocess"], options["labels"]
        pictures, unseen = training.pictures_apart(data)
        tuned = tune_pictures(network, pictures, until=until, freeze=listed(freeze), **options)
        printer.notes([*tuned.pictures.notes, *_other_output(network, tuned[0])])
        finish(printer, *tuned[:2], out, checkpoints, None, training.picture, source, unseen, tuned.pictures)
        return
    if named["inputs"]:
        from portable_nn.recipes.arrays import tune_arrays

        if options.pop("preprocess"):
            raise UsageError("--preprocess is not for --inputs: its arrays go to the network unchanged")
        rest, tested = training.arrays_apart(data, named["inputs"], named["targets"])
        trained = tune_arrays(network, rest, until=until, freeze=listed(freeze), **named, **options)
        finish(printer, *trained, out, checkpoints, plot=training.picture, source=source, tested=tested)
        return
    shape = static(network.graph.inputs[0].shape[1:])
    if network.inputs[0].columns:
        examples = table_examples(network, str(data), dialect.given(), arrays.column)
    elif arrays.column:
        examples = Dataset(*with_target(network, data, None, arrays.column, ModelOptions(dialect=dialect.given())))
    else:
        examples = read_dataset(
            data, arrays.file, width=None if shape is None else math.prod(shape), dialect=dialect.given()
        )
    examples, tested = training.apart(examples, data)
    width = static(network.types[network.graph.outputs[0]].shape[-1:])
    if not until and width and 0 < (count := class_count(examples.y)) < width[0]:
        printer.note(f"the data have {count} of the model's {width[0]} classes; --until -1 gives a new layer for them")
    trained = tune_classifier(network, examples, until=until, freeze=listed(freeze), **options)
    printer.notes(_other_output(network, trained[0]))
    finish(printer, *trained, out, checkpoints, plot=training.picture, source=source, tested=tested)


def _other_output(network: Any, tuned: Any) -> list[str]:
    """A note where logits take the place of probabilities, and of what else a file has beside them."""
    return [
        "the output is logits, where the model gave probabilities: export --probabilities adds a softmax; labels are "
        "in the network, and no output of it"
    ] * ((network.outputs[0].kind, tuned.outputs[0].kind) == ("probabilities", "logits"))
