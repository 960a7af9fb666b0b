"""Options of ``predict`` for what is written beside the predictions: recordings, boxes, plots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portable_nn.cli.drawing import draw
from portable_nn.cli.options import Plot
from portable_nn.core.errors import UsageError

if TYPE_CHECKING:
    from portable_nn.cli.predicted import Batches
    from portable_nn.cli.printing import Printer
    from portable_nn.engines.recording import Recorder
    from portable_nn.prediction.prediction import Prediction
    from portable_nn.prediction.predictions import Predictions


@dataclass(frozen=True)
class BesideOptions:
    """The files that are written when all predictions are made."""

    SUBJECT = "Inputs and outputs"

    save_io: Annotated[
        Path | None,
        typer.Option(
            "--io",
            metavar="FILE.npz",
            writable=True,
            help="Record the inputs and outputs of the network, for --io of export, import and convert.",
            hidden=True,
        ),
    ] = None
    draw: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            writable=True,
            help="Draw the detections: each digit in its box, or boxes, masks and areas.",
        ),
    ] = None
    plot: Plot = None

    @property
    def wanted(self) -> bool:
        """True if such a file is asked for: it needs all that was computed before, also by an interrupted run."""
        return bool(self.save_io or self.draw or self.plot)

    def check(self) -> None:
        """Raise ``UsageError`` for names of other kinds of files."""
        from portable_nn.engines.recording import check_name
        from portable_nn.training.curves import check_plot

        if self.draw and self.draw.suffix.lower() != ".png":
            raise UsageError(f"--draw {self.draw}: the name must end in .png")
        check_plot(self.plot)
        if self.save_io:
            check_name(self.save_io)

    def recorder(self) -> Recorder | None:
        """The recorder of the network for ``--io``."""
        from portable_nn.engines.recording import Recorder

        return Recorder() if self.save_io else None

    @contextmanager
    def written(
        self, printer: Printer, predictions: Predictions, batches: Batches, recorder: Recorder | None, title: str
    ) -> Iterator[Batches]:
        """The same batches; when the block that goes through them ends, the files are written."""
        from portable_nn.outputs.series import Series
        from portable_nn.outputs.series_picture import sheet

        kept: list[Prediction] = []
        series = Series(predictions) if self.plot else None
        batches = _keeping(batches, kept) if self.draw else batches
        yield series.watching(batches) if series else batches
        if recorder and self.save_io:
            recorder.save(self.save_io)
            printer.notes([*recorder.notes, f"recorded in {self.save_io}: {recorder.summary}"])
        if self.draw:
            _draw_boxes(self.draw, kept)
            printer.note(f"drawn {self.draw}")
        if series:
            [(_, drawn)] = draw(self.plot, lambda: sheet(series, title))
            printer.note(f"drawn {drawn}")


def _keeping(batches: Batches, kept: list[Prediction]) -> Batches:
    for batch in batches:
        kept += batch
        yield batch


def _draw_boxes(path: Path, kept: list[Prediction]) -> None:
    from portable_nn.core.atomic import atomic_write
    from portable_nn.outputs.boxes import draw_boxes

    picture = draw_boxes(kept)
    with atomic_write(path) as file:
        picture.save(file, "PNG")
