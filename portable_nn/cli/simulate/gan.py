"""``portable-nn simulate gan``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.conventions import INTERRUPTED
from portable_nn.cli.options import Plot
from portable_nn.cli.printing import Printer
from portable_nn.cli.simulate import answer
from portable_nn.cli.simulate.options import Seed
from portable_nn.core.errors import UsageError
from portable_nn.core.names import GanExample, GanLoss, GanMethod, GanRecipe
from portable_nn.core.text import fields, percent, table

if TYPE_CHECKING:
    from portable_nn.adversarial.gan.examples import Demonstration

ROWS = True
EXAMPLES = (
    "simulate gan",
    "simulate gan pattern --method simultaneous --recipe plain --plot pattern.png",
    "simulate gan ring --plot ring.png --out ring.csv",
    "simulate gan ring --recipe plain --seed 3",
)

ROUNDED = 1e-9
"""Real parts this much smaller than the largest eigenvalue are rounding errors."""

WORDS = {
    "quality": "high-quality samples",
    "captured": "modes captured",
    "strict": "modes with 1 %",
    "kl": "reverse KL",
    "spread": "spread within modes",
    "error": "error of the mean",
    "deviation": "standard deviation",
}
"""The words for the figures."""


def command(
    printer: Printer,
    example: Annotated[
        GanExample,
        typer.Argument(metavar="[EXAMPLE]", help="pattern: 1010 with noise; ring: eight Gaussians on a ring."),
    ] = "pattern",
    method: Annotated[GanMethod, typer.Option(help="Update scheme of the two networks.")] = "alternating",
    loss: Annotated[GanLoss, typer.Option(help="Loss functions of the two networks.")] = "non_saturating",
    recipe: Annotated[
        GanRecipe, typer.Option(help="With an R1 penalty and averaged weights, or with neither.")
    ] = "regularised",
    steps: Annotated[
        str | None,
        typer.Option(
            metavar="N[:M]",
            help="Training steps; by default 2,000 for pattern, 30,000 for ring. With M, eigenvalues of the Jacobian "
            "of pattern after every M steps; by default ten times.",
        ),
    ] = None,
    seed: Seed = 0,
    plot: Plot = None,
) -> None:
    """Train a small generative adversarial network, and measure how it converges.

    The verdict comes first: covered, collapsed, cycled, diverged, or undecided where the samples do not prove it. The
    pattern takes seconds, the ring minutes. A plain GAN suffers mode collapse on the ring; how many modes it loses
    depends on the seed. The metrics are those of 2,500 samples. An eigenvalue of the Jacobian of the game
    with a negative real part is unstable, an imaginary part is a rotation. CSV has the history of the training.
    """
    from portable_nn.adversarial.gan.examples import demonstrate

    count, every = _steps(steps)
    found = demonstrate(
        example,
        recipe=recipe,
        method=method,
        loss=loss,
        seed=seed,
        steps=count,
        eigenvalues=every,
        progress=False if printer.quiet else None,
    )

    answer.give(
        printer,
        _as_text(found),
        _as_data(found),
        lambda: _rows(found),
        plot=plot,
        figure=lambda pictures: pictures.gan(found.result, found.target, seed, found.title),
    )
    if found.result.stopped == "interrupted":
        printer.note("stopped by Ctrl-C; the figures are of the networks at that step")
        raise typer.Exit(INTERRUPTED)


def _steps(text: str | None) -> tuple[int | None, int | None]:
    """``2000:200`` as numbers. Raises ``UsageError``."""
    if text is None:
        return None, None
    if not re.fullmatch(r"-?\d{1,9}(:-?\d{1,9})?", text, re.ASCII):
        raise UsageError(f"--steps must be such as 2000, or 2000:200, not '{text}'")
    count, _, every = text.partition(":")
    return int(count), int(every) if every else None


def _rows(found: Demonstration) -> Iterator[list[Any]]:
    """The history."""
    rows = found.result.history
    yield list(rows[0]) if rows else ["step"]
    yield from (list(row.values()) for row in rows)


def _as_text(found: Demonstration) -> str:
    last = found.result.history[-1] if found.result.history else {}
    pairs = [("verdict", found.verdict)]
    pairs += [(WORDS[name], _figure(found, name, value)) for name, value in found.figures.items()]
    if last:
        losses = f"generator {last['generator_loss']:.4g}, discriminator {last['discriminator_loss']:.4g}"
        pairs.append(("losses", losses))
    pairs.append(("time", f"{found.seconds:.1f} s"))
    return f"{found.title}\n\n{fields(pairs)}{_eigenvalues(found)}"


def _figure(found: Demonstration, name: str, value: float) -> str:
    """A figure, with its target."""
    from portable_nn.adversarial.gan.modes import FULL

    target: Any = found.target
    if name == "quality":
        return f"{percent(value)}, within 3 standard deviations of a mode"
    if name in {"captured", "strict"}:
        return f"{value:.0f} of {target.modes}" + (" have at least 1 % of the samples" if name == "strict" else "")
    if name == "spread":
        own = "-" if math.isnan(value) else f"{value:.4g}"
        return f"{own} standard deviations; the data have {FULL:.4g}"
    if name == "deviation":
        return f"{value:.4g}, of the data {target.noise:g}"
    return f"{value:.4g}" + (", the largest of the four components" if name == "error" else "")


def _eigenvalues(found: Demonstration) -> str:
    if not found.result.eigenvalues:
        return ""
    headings = (">step", ">smallest real part", ">largest real part", ">largest imaginary part", ">unstable")
    rows = [
        (
            f"{step:,}",
            f"{values.real.min():.4f}",
            f"{values.real.max():.4f}",
            f"{abs(values.imag).max():.4f}",
            f"{int((values.real < -ROUNDED * abs(values).max()).sum())} of {len(values)}",
        )
        for step, values in found.result.eigenvalues
    ]
    return "\nEigenvalues of the Jacobian of the game during training:\n" + table(headings, rows)


def _as_data(found: Demonstration) -> dict[str, Any]:
    return {
        "example": found.example,
        "recipe": found.recipe,
        "method": found.method,
        "loss": found.loss,
        "seed": found.seed,
        "stopped": found.result.stopped,
        "verdict": found.verdict,
        "figures": dict(found.figures),
        "seconds": found.seconds,
        "history": found.result.history,
        "eigenvalues": [{"step": step, "values": values} for step, values in found.result.eigenvalues],
    }
