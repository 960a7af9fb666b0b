"""Options of ``predict`` for samples of a generator."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from portable_nn.cli.arrays import write_arrays
from portable_nn.core.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from portable_nn.cli.printing import Printer
    from portable_nn.core.names import Engine


@dataclass(frozen=True)
class SampleOptions:
    """The number, the class and the seed of samples."""

    SUBJECT = "Samples"

    samples: Annotated[
        str | None,
        typer.Option(
            metavar="N[:DIGIT]",
            help="Draw N samples from a generator, instead of reading INPUT; 25:7 draws sevens.",
            hidden=True,
        ),
    ] = None
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Seed of the noise of --samples.  [default: 0]", hidden=True)
    ] = None

    def wanted(self, inputs: object) -> bool:
        """True if samples are drawn. Raises ``UsageError`` for options that do not go together."""
        if self.samples is None and self.seed is not None:
            raise UsageError("--seed is for --samples N: give it too, or leave it out")
        if self.samples is not None and inputs:
            raise UsageError("--samples draws the inputs from noise: leave out INPUT, --inputs, --stream and --workers")
        return self.samples is not None

    def draw(self, printer: Printer, model: str, plot: Path | None, engine: Engine, digest: str | None) -> None:
        """Draw samples, write them as arrays, and their picture to ``plot``."""
        from portable_nn.adversarial.gan.noise import source_of
        from portable_nn.adversarial.gan.sampling import sample, save_sheet
        from portable_nn.opening import open_network

        network = open_network(model, digest=digest)
        count, digit = _count(self.samples or "1")
        made = sample(network, count, self.seed or 0, digit=digit, engine=engine)
        if digit is not None:
            printer.note(source_of(network).how(digit))
        if plot:
            save_sheet(made, plot)
            printer.note(f"drawn {plot}")
        write_arrays(printer, model, {network.graph.outputs[0]: made})


def _count(text: str) -> tuple[int, int | None]:
    """``25`` or ``25:7`` as how many samples, and of which digit. Raises ``UsageError``."""
    found = re.fullmatch(r"([1-9]\d{0,17})(?::(\d{1,3}))?", text, re.ASCII)
    if not found:
        raise UsageError(f"--samples must be a number from 1, such as 25, or 25:7 for sevens, not '{text}'")
    return int(found[1]), int(found[2]) if found[2] else None
