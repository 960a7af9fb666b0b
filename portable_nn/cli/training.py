"""Shared by the commands that train: options, checkpoints, and the report of a training run."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, TypeVar

import typer

from portable_nn.cli.conventions import INTERRUPTED
from portable_nn.cli.losses import LossOptions
from portable_nn.cli.options import class_names, names_option, written_file
from portable_nn.cli.printing import Printer
from portable_nn.cli.steps import StepOptions
from portable_nn.cli.tables import ArrayNames
from portable_nn.core.errors import PortableNNError, UsageError
from portable_nn.core.names import Prepare
from portable_nn.core.plotting import FORMATS, check_picture
from portable_nn.core.text import fields, grouped, percent, quantity, size

if TYPE_CHECKING:
    from portable_nn.data.dataset import Dataset
    from portable_nn.data.frames import Frame
    from portable_nn.data.given import Examples, Labelled
    from portable_nn.data.stored import Stored
    from portable_nn.network import Network
    from portable_nn.recipes.pictures import Told
    from portable_nn.training.checkpoint import CheckpointOptions
    from portable_nn.training.history import History

    Tested: TypeAlias = Frame | Examples | list[Labelled] | None
    Apart = TypeVar("Apart", Frame, Dataset, dict[str, Stored])

EVERY: Final = re.compile(r",(\d{1,9})$", re.ASCII)
"""The number of batches between checkpoints, behind their folder."""

CSV: Final = ".csv"
"""The suffix of a table of epochs."""

STOPPED: Final = {
    "finished": "",
    "early": ", stopped early after {} without improvement",
    "callback": ", stopped by a callback",
    "interrupted": ", interrupted",
}
"""The text for each way in which training ends."""

WORST: Final = 20
"""The number of the worst pictures that are drawn."""

FALLING: Final = 0.01
"""The share of its whole fall by which a loss that is still falling has lately fallen."""

SEEN: Final = "the network had been trained on these data before: it may have seen the examples of the test"


def weight_file(parameter: typer.CallbackParam, path: Path | None) -> Path | None:
    """``path``, which must have the suffix of a weight file. Raises ``UsageError``."""
    from portable_nn.format import CARRIERS

    if path and path.suffix.lower() not in CARRIERS:
        name = parameter.opts[0] if "--out" in parameter.opts else parameter.metavar
        raise UsageError(f"{name} {path}: the name of a weight file ends in {' or '.join(CARRIERS)}")
    return path


OUT: Final = typer.Option(
    "--out",
    "-o",
    metavar="FILE",
    writable=True,
    callback=weight_file,
    help="Weight file to write; its suffix sets the format.",
)
Out: TypeAlias = Annotated[Path, OUT]
Data: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="CSV with the label first, npz, IDX, npy or HDF5 file, or a folder with a subfolder of pictures for "
        "each class.",
    ),
]
Seed: TypeAlias = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the random generator.", hidden=True)]


@dataclass(frozen=True)
class CheckpointFlags:
    """The folder where a training is saved while it runs, and whether the training resumes from there."""

    SUBJECT = "Checkpoints"

    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER[,N]",
            help="Save a checkpoint there after each epoch, and after every N batches; the last 3 and the best are "
            "kept.",
        ),
    ] = None
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Resume from the newest checkpoint; the result is the same as without the interruption."
        ),
    ] = False

    def __post_init__(self) -> None:
        if self.resume and self.checkpoint is None:  # Before a file is said to be in the way: it may be the result.
            raise UsageError("--resume needs --checkpoint FOLDER, where the checkpoints are")

    @property
    def folder(self) -> Path:
        """The folder of --checkpoint, without the number of batches."""
        return Path(EVERY.sub("", str(self.checkpoint)))

    def options(self, printer: Printer, epochs: int | None) -> CheckpointOptions:
        """The options of ``fit``, which prints where it resumes.

        Args:
            printer: where that is printed.
            epochs: of how many epochs; ``None`` for as many as the training had.
        """
        if self.checkpoint is None:
            return {}
        every = EVERY.search(str(self.checkpoint))
        resume = partial(announce, printer, self.folder, epochs) if self.resume else False
        return {"checkpoint": self.folder, "every": int(every[1]) if every else None, "resume": resume}

    def owns(self, path: Path) -> bool:
        """True if the training that resumes has written ``path``, and may replace it.

        Raises ``UsageError`` if it has, and is not to resume.
        """
        if not self.checkpoint:
            return False
        from portable_nn.training.checkpoint import is_outcome, is_record

        found = is_outcome(self.folder, path) or is_record(self.folder, path)
        if found and not self.resume:
            raise UsageError(f"{path} is what the training in {self.folder} saved: --resume goes on with it")
        return found

    def note(self, digest: str) -> None:
        """Note that the training has saved a network with this digest, for ``owns``."""
        if self.checkpoint:
            from portable_nn.training.checkpoint import note_outcome

            note_outcome(self.folder, digest)


def announce(printer: Printer, folder: Path, epochs: int | None) -> None:
    """Print where the training in ``folder`` resumes, of so many ``epochs``, or of as many as it had."""
    from portable_nn.training.checkpoint import standing

    found = standing(folder)
    of = epochs or found.epochs
    place = f"all {of} epochs are done" if found.epoch > of else f"epoch {found.epoch} of {of}, batch {found.batch}"
    printer.note(f"resuming {found.path}: {place}")


@dataclass(frozen=True)
class TrainingOptions:
    """The options of ``train`` and ``tune``: data and epochs."""

    SUBJECT = "Training"

    labels: Annotated[str | None, names_option(hidden=True)] = None
    preprocess: Annotated[
        Prepare | None,
        typer.Option(
            help="Find digits in photographs, or use numbers unchanged and only scale pictures.  [default: digits, if "
            "the data look like digits]",
        ),
    ] = None
    validation: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of the examples to hold out for validation.", hidden=True)
    ] = 0.1
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Passes over the training data.  [default: 10; train: more of few pictures, and 200 or what the table "
            "needs with --target]",
        ),
    ] = None
    batch_size: Annotated[int, typer.Option(metavar="N", help="Examples per step.", hidden=True)] = 32
    patience: Annotated[
        int | None,
        typer.Option(
            "--early-stopping",
            metavar="N",
            help="Stop after N epochs without a smaller validation loss, and keep the best weights; 0 keeps the last.  "
            "[default: a fifth of the epochs, at least 10; with --schedule, all; cnn: 0]",
            hidden=True,
        ),
    ] = None
    test: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Share of the examples to evaluate the network on at the end; training never sees them.",
        ),
    ] = 0.0
    seed: Seed = 0
    plot: Annotated[
        Path | None,
        written_file(
            "--plot",
            "FILE",
            f"Write a picture of the losses: {', '.join(FORMATS)} (needs matplotlib); or {CSV}, the figures of each "
            "epoch.",
            lambda path: check_picture(path, CSV),
        ),
    ] = None

    @property
    def picture(self) -> Path | None:
        """The picture of --plot."""
        return None if self._rows else self.plot

    @property
    def _rows(self) -> Path | None:
        """The CSV file of --plot."""
        return self.plot if self.plot and self.plot.suffix.lower() == CSV else None

    def is_folder(self, data: Path, arrays: ArrayNames, preprocess: Prepare | None = None) -> bool:
        """True if the data are a folder of pictures. Raises ``UsageError`` for options that do not go with that."""
        from portable_nn.data.expanding import is_folder

        found = is_folder(data)
        for flag, given in {**vars(arrays), "labels": self.labels, "preprocess": preprocess}.items():
            if found and given:
                why = "its folders name the classes, and how pictures are prepared is part of the model"
                raise UsageError(f"--{flag} is not for a folder of pictures: {why}")
        return found

    def pictures_apart(self, folder: Path) -> tuple[list[Labelled], Tested]:
        """As ``apart``, of the pictures in a folder."""
        from portable_nn.data.folders import divided, labelled_pictures

        rest, tested = divided(labelled_pictures(folder), self.test, self.seed, "test")
        return rest, tested or None

    def apart(self, data: Apart, path: Path, *names: Sequence[str]) -> tuple[Apart, Tested]:
        """The examples to train on, and those to evaluate the network on at the end."""
        from portable_nn.data.apart import apart, to_evaluate

        if not self.test:
            return data, None
        rest, tested = apart(data, self.test, self.seed)
        return rest, to_evaluate(tested, path, *names)

    def arrays_apart(self, path: Path, *names: Sequence[str]) -> tuple[Any, Tested]:
        """As ``apart``, of arrays of a file, which is what is trained on where nothing is held out."""
        from portable_nn.data.apart import by_name

        return self.apart(by_name(path, *names), path, *names) if self.test else (path, None)

    def source(self, data: Path, blocks: bool) -> str:
        """The entry of the metadata for the file of the examples."""
        from portable_nn.data.trained import training_file

        return training_file(data, self.validation, self.seed, self.test, blocks)

    def options(
        self, printer: Printer, losses: LossOptions, steps: StepOptions, checkpoints: CheckpointFlags
    ) -> dict[str, Any]:
        """The options of ``train_classifier`` and ``tune_classifier``. Raises ``UsageError``."""
        from portable_nn.training.curves import check_plot

        check_plot(self.picture)
        saving = checkpoints.options(printer, self.epochs)
        return {
            "preprocess": self.preprocess,
            "validation": self.validation,
            **({} if self.epochs is None else {"epochs": self.epochs}),
            "batch_size": self.batch_size,
            "patience": self.patience,
            "seed": self.seed,
            "labels": self._labels(),
            "metrics_csv": self._rows,
            "progress": progress(printer),
            **losses.options(),
            **steps.options(),
            **saving,
        }

    def _labels(self) -> Sequence[str]:
        found = class_names(self.labels)
        if not isinstance(found, Path):
            return found or ()
        if found.is_file() or found.suffix:
            from portable_nn.prediction.labels import read_labels

            return read_labels(found)
        return tuple(self.labels or "")  # 0123456789, a name each.


def progress(printer: Printer) -> bool | None:
    """The option of ``fit``: no progress bar with ``--quiet``, otherwise one if standard error is a terminal."""
    return False if printer.quiet else None


def finish(
    printer: Printer,
    network: Network,
    history: History,
    out: Path,
    checkpoints: CheckpointFlags,
    figures: Mapping[str, float] | None = None,
    plot: Path | None = None,
    source: str = "",
    tested: Tested = None,
    pictures: Told | None = None,
) -> None:
    """Save the network and print how the training went; exit as interrupted after Ctrl-C.

    ``figures`` are by default the losses and metrics of the epoch whose weights were kept; ``plot`` is the picture to
    draw, where there is an epoch to show: the curves, or how the network does on ``pictures`` that were held out, for
    the test if there is one;
    ``source`` is what ``TrainingOptions.source`` said of the file; ``tested`` are examples that training has not seen.

    Raises ``PortableNNError`` at the end where pictures could not be used.
    """
    from portable_nn.data.trained import known_before, note_trained
    from portable_nn.prediction.evaluating import evaluated
    from portable_nn.prediction.options import ModelOptions
    from portable_nn.recipes.digits import said

    note_trained(network.metadata, source)
    with printer.going_on():
        checkpoints.note(network.save(out))
    drawn = _drawn(
        printer, network, history, plot, tested if isinstance(tested, list) else pictures.held_out if pictures else ()
    )
    if drawn:
        checkpoints.note(hashlib.sha256(drawn.read_bytes()).hexdigest())
    out = printer.placed(out)
    figures = _figures(history) if figures is None else figures
    data = {
        "model": str(out),
        "epochs": len(history.rows),
        "stopped": history.stopped,
        "best_epoch": history.best_epoch,
        "figures": _plain(figures),
        "history": [_plain(row) for row in history.rows],
        **said(network),
        **({"plot": str(drawn)} if drawn else {}),
    }
    text = _as_text(history, figures, said(network), out, drawn)
    printer.notes(_guessing(figures.get("val_accuracy"), pictures.measured if pictures else ()))
    if tested is not None:
        found = evaluated(network, tested, None, ModelOptions(engine="numpy", strict=False))
        printer.notes([*found.notes, *[SEEN] * known_before(network.metadata, source)])
        text += f"\ntest, on examples that this training has not seen\n\n{found.text()}"
        data["test"] = found.as_json()
    printer.result(text, data)
    if history.stopped == "interrupted":
        saved = f"the best epoch so far, {history.best_epoch}" if history.best_epoch else "the last weights"
        resumed = checkpoints.checkpoint and f"--resume goes on from {checkpoints.folder}"
        printer.note(f"stopped by Ctrl-C; saved: {saved}; {resumed or 'without --checkpoint it cannot be resumed'}")
        raise typer.Exit(INTERRUPTED)
    if pictures and pictures.left_out:
        raise PortableNNError(pictures.left_out)


def _drawn(
    printer: Printer, network: Network, history: History, plot: Path | None, held_out: Sequence[Labelled]
) -> Path | None:
    """The picture, drawn: the curves, or how the network does on pictures that were held out; ``None`` without one."""
    from portable_nn.training.curves import draw_curves

    with printer.going_on():
        if plot and history.rows and held_out:
            draw_sheet(network, plot, held_out)
        else:
            draw_curves(history, plot)
    return printer.placed(plot) if plot and history.rows else None


def _figures(history: History) -> dict[str, float]:
    """The losses and metrics of the epoch whose weights were kept."""
    row = history.rows[(history.best_epoch or 0) - 1] if history.rows else {}
    return {name: value for name, value in row.items() if name not in ("epoch", "learning_rate")}


def draw_sheet(network: Network, path: Path, held_out: Sequence[Any]) -> None:
    """Draw how a network does on pictures that were held out, with the worst."""
    from portable_nn.core.plotting import save
    from portable_nn.evaluation.picture import sheet
    from portable_nn.prediction.evaluating import evaluated
    from portable_nn.prediction.options import ModelOptions

    found = evaluated(network, held_out, None, ModelOptions(strict=False), worst=WORST)
    save(sheet(found, f"{quantity(len(held_out), 'picture')} held out"), path)


def _as_text(
    history: History,
    figures: Mapping[str, float],
    more: Mapping[str, str],
    out: Path,
    drawn: Path | None,
) -> str:
    best = history.best_epoch
    epochs = f"{len(history.rows)}{STOPPED[history.stopped].format(len(history.rows) - (best or 0))}"
    if best:
        epochs += f", kept: {best} (smallest validation loss{_onwards(history)})"
    rows = [
        (name.replace("val_", "validation ").replace("_", " "), _figure(name, figures[name], history.held_out))
        for name in figures
    ]
    made = [("saved", out), *([("drawn", drawn)] if drawn else [])]
    files = [(done, f"{path} ({size(path.stat().st_size)})") for done, path in made]
    return fields([("epochs", epochs), *rows, *more.items(), *files])


def _onwards(history: History) -> str:
    """A hint where the validation loss was still falling: in the last tenth of the epochs by 1 % of its whole fall."""
    losses = history["val_loss"]
    is_best = history.stopped == "finished" and history.best_epoch == len(losses) > 1
    is_falling = is_best and min(losses[: -max(1, len(losses) // 10)]) - losses[-1] > FALLING * (losses[0] - losses[-1])
    return ", still falling: more --epochs may help" if is_falling else ""


def _guessing(accuracy: float | None, measured: Sequence[Any]) -> list[str]:
    """A note where the most frequent of the classes ``measured`` alone may be as often right."""
    if accuracy is None or not measured:
        return []
    count, most = len(measured), Counter(measured).most_common(1)[0][1]
    low, interval = _interval(accuracy, count)
    if low > most / count:
        return []
    return [
        f"this may be guessing: accuracy {interval} by {quantity(count, 'picture')}, {percent(most / count)} by the "
        "most frequent class alone"
    ]


def _interval(accuracy: float, count: int) -> tuple[float, str]:
    """The lower end of the interval of an accuracy, and both as ``evaluate`` has them."""
    from portable_nn.evaluation.intervals import share

    low, high = map(float, share(round(accuracy * count), count))
    return low, f"{percent(low)} to {percent(high)}"


def _plain(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Figures as JSON has them: without NaN, such as R² where all targets are the same."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def _figure(name: str, value: float, held_out: int) -> str:
    if name == "val_accuracy" and held_out:
        return f"{percent(value)} ({_interval(value, held_out)[1]}) of {held_out:,} held out"
    if name.endswith("accuracy"):
        return percent(value)
    return f"{value:,.0f}" if value.is_integer() else grouped(value, 4)
