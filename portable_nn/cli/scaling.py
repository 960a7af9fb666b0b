"""Options of the commands that several processes or machines can compute."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portable_nn.core.errors import UsageError

if TYPE_CHECKING:
    from portable_nn.cli.printing import Printer
    from portable_nn.evaluation.scoring import Evaluation
    from portable_nn.prediction.arrays import OutputRows
    from portable_nn.prediction.options import ModelOptions
    from portable_nn.prediction.predictions import Predictions
    from portable_nn.scale.many import Scale
    from portable_nn.scale.run import Run

SUFFIX = ".shards"
"""The suffix of the folder of shards beside the file of ``--out``."""


@dataclass(frozen=True)
class ProcessOptions:
    """Who computes."""

    SUBJECT = "Many processes"

    workers: Annotated[
        str | None,
        typer.Option(
            metavar="N|ADDRESS",
            help="Compute in N processes of one thread (0: in this one), or on the workers of a Dask scheduler: "
            "tcp://10.0.0.1:8786, or its scheduler file F.json.",
        ),
    ] = None

    @property
    def processes(self) -> int | None:
        """The number of processes that compute on this machine."""
        return int(self.workers) if self.workers and self.workers.isdecimal() else None

    @property
    def scheduler(self) -> str | None:
        """The scheduler whose workers compute. Raises ``UsageError`` for a number of processes that cannot be."""
        if self.workers and re.fullmatch(r"[-+\d.]*", self.workers) and not self.workers.isdecimal():
            raise UsageError(f"--workers must be a whole number from 0, or an address, not {self.workers}")
        return None if self.processes is not None else self.workers

    @property
    def wanted(self) -> bool:
        """True if other processes than this one compute."""
        return self.workers is not None


@dataclass(frozen=True)
class ScaleOptions(ProcessOptions):
    """Who computes, and where shards are kept."""

    SUBJECT = "Many processes"

    shards: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder, or URL such as s3://bucket/run, that keeps the finished shards; by default FILE.shards "
            "beside the FILE of --out, until that is complete.",
            hidden=True,
        ),
    ] = None
    shard_size: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Examples per shard.  [default: 1024]", hidden=True)
    ] = None

    @property
    def wanted(self) -> bool:
        """True if shards are computed. Raises ``UsageError`` for options that say how without."""
        is_wanted = super().wanted
        others = {"--shards": self.shards, "--shard-size": self.shard_size}
        given = [flag for flag, value in others.items() if value is not None]
        if given and not is_wanted:
            raise UsageError(f"{given[0]} is for --workers N or ADDRESS, which compute the shards")
        return is_wanted

    def scale(self, printer: Printer) -> Scale:
        """As the library takes it."""
        from portable_nn.scale.many import Scale
        from portable_nn.scale.work import SHARD

        shards = self.shards or self._beside(printer)
        return Scale(shards, self.processes, self.scheduler, self.shard_size or SHARD, printer.force)

    def predict(
        self, printer: Printer, model: str, inputs: list[str], options: ModelOptions, top: int
    ) -> tuple[Predictions, Run]:
        """The predictions, and what computes their shards."""
        from portable_nn.prediction.predictions import Predictions
        from portable_nn.scale.many import many

        found = many(model, inputs, self.scale(printer), options, [])
        return Predictions(found.answers, top), found.run

    def outputs(
        self, printer: Printer, model: str, inputs: list[str], notes: list[str], options: ModelOptions
    ) -> tuple[OutputRows, Run]:
        """All outputs, and what computes their shards."""
        from portable_nn.scale.many import many_outputs

        return many_outputs(model, inputs, self.scale(printer), options, notes)

    def evaluate(
        self, printer: Printer, model: str, data: list[str], worst: int, options: ModelOptions, target: str | None
    ) -> Evaluation:
        """The evaluation of a model, as ``evaluate`` gives it."""
        from portable_nn.core.progress import counting
        from portable_nn.prediction.evaluating import evaluation_of, with_labels
        from portable_nn.scale.many import many

        if target is not None:
            raise UsageError("--target reads one table into memory, for one process: leave --workers out")
        found = many(model, data, self.scale(printer), with_labels(options))
        with counting("examples", shown=not printer.quiet) as show:
            found.run.watch = lambda tally: show(tally.examples, found.answers.place.total)
            result = evaluation_of(found.answers, None, options.strict, worst)
        self.finish(printer, found.run)
        return result

    def compute(self, printer: Printer, run: Run, total: int | None) -> None:
        """Compute the shards, and print nothing of what is in them."""
        from portable_nn.core.progress import counting

        with counting("examples", shown=not printer.quiet) as show:
            run.watch = lambda tally: show(tally.examples, total)
            for _ in run.rows():
                pass
        self.finish(printer, run)

    def finish(self, printer: Printer, run: Run) -> None:
        """Print what the run was like; and remove its shards where they are only for the file that is complete now."""
        printer.notes(run.tally.lines())
        if self.shards is None and not run.tally.failed:
            run.discard()

    def _beside(self, printer: Printer) -> Path | None:
        out = printer.out
        return None if out is None or str(out) == "-" else out.with_name(out.name + SUFFIX)
