"""``portable-nn simulate gan``."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.conventions import Printer
from portable_nn.cli.simulate import answer
from portable_nn.cli.simulate.options import Csv, Plot, Seed
from portable_nn.core.text import fields, percent, table

if TYPE_CHECKING:
    from portable_nn.adversarial.gan.demonstration import Demonstration

EXAMPLES = (
    "simulate gan",
    "simulate gan pattern --method simultaneous --recipe plain --plot pattern.png",
    "simulate gan ring --plot ring.png --csv ring.csv",
    "simulate gan ring --recipe plain --seed 3",
)

INTERRUPTED = 130

ROUNDED = 1e-9
"""Real parts this much smaller than the largest eigenvalue are rounding."""

WORDS = {
    "quality": "high quality",
    "captured": "modes with a sample",
    "strict": "modes with 1 % of all",
    "kl": "reverse KL",
    "error": "error of the mean",
    "deviation": "deviation",
}
"""What the figures are called."""


class Example(StrEnum):
    """What the generator is to make."""

    PATTERN = "pattern"
    RING = "ring"


class Recipe(StrEnum):
    """How it is trained."""

    REGULARISED = "regularised"
    PLAIN = "plain"


class Method(StrEnum):
    """How the two play."""

    ALTERNATING = "alternating"
    SIMULTANEOUS = "simultaneous"
    EXTRAGRADIENT = "extragradient"
    OPTIMISTIC_ADAM = "optimistic_adam"
    CONSENSUS = "consensus"


class Loss(StrEnum):
    """What each makes small."""

    SATURATING = "saturating"
    NON_SATURATING = "non_saturating"
    WASSERSTEIN_GP = "wasserstein_gp"
    HINGE = "hinge"


def command(
    printer: Printer,
    example: Annotated[
        Example, typer.Argument(metavar="[EXAMPLE]", help="pattern: 1010 with noise; ring: eight Gaussians on a ring.")
    ] = Example.PATTERN,
    method: Annotated[Method, typer.Option(help="How the two play.")] = Method.ALTERNATING,
    loss: Annotated[Loss, typer.Option(help="What each makes small.")] = Loss.NON_SATURATING,
    recipe: Annotated[
        Recipe, typer.Option(help="With an R1 penalty and averaged weights, or with neither.")
    ] = Recipe.REGULARISED,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="If not given, 2,000 for the pattern and 30,000 for the ring.")
    ] = None,
    eigenvalues: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Find those of the Jacobian after each N steps; if not given, ten times. For the pattern."
        ),
    ] = None,
    seed: Seed = 0,
    plot: Plot = None,
    csv: Csv = None,
) -> None:
    """Train a generative adversarial network that shows the same.

    The pattern takes seconds. The ring takes a minute or two; a plain GAN forgets some of its modes, which ones and how
    many depends on the seed. Figures are those of 2,500 samples. An eigenvalue of the pair's Jacobian with a real part
    below 0 drives the two away, an imaginary part turns them. CSV has a row for every so many steps.
    """
    from portable_nn.adversarial.gan.demonstration import demonstrate

    answer.check(printer, plot=plot, table=csv)
    found = demonstrate(
        example.value,
        recipe=recipe.value,
        method=method.value,
        loss=loss.value,
        seed=seed,
        steps=steps,
        eigenvalues=eigenvalues,
        progress=False if printer.quiet else None,
    )

    def figure() -> Any:
        from portable_nn.adversarial import pictures

        return pictures.gan(found.result, found.target, seed)

    answer.give(
        printer, _as_text(found), _as_data(found), table=csv, rows=lambda: _rows(found), plot=plot, figure=figure
    )
    if found.result.stopped == "interrupted":
        printer.note("stopped by Ctrl-C; the figures are those of what was learned")
        raise typer.Exit(INTERRUPTED)


def _rows(found: Demonstration) -> Iterator[list[Any]]:
    """The history."""
    rows = found.result.history
    yield list(rows[0]) if rows else ["step"]
    yield from (list(row.values()) for row in rows)


def _as_text(found: Demonstration) -> str:
    result, last = found.result, found.result.history[-1] if found.result.history else {}
    stopped = ", interrupted" if result.stopped == "interrupted" else ""
    head = (
        f"{found.example}, {found.recipe}: {found.method}, {found.loss}, "
        f"{int(last.get('step', 0)):,} steps, seed {found.seed}{stopped}\n\n"
    )
    pairs = [(WORDS[name], _figure(found, name, value)) for name, value in found.figures.items()]
    if last:
        losses = f"generator {last['generator_loss']:.4g}, discriminator {last['discriminator_loss']:.4g}"
        pairs.append(("losses", losses))
    pairs.append(("time", f"{found.seconds:.1f} s"))
    return head + fields(pairs) + _eigenvalues(found)


def _figure(found: Demonstration, name: str, value: float) -> str:
    """A figure, with what it is to be."""
    target: Any = found.target
    if name == "quality":
        return f"{percent(value)} of the samples are within 3 deviations of a mode"
    if name in {"captured", "strict"}:
        return f"{value:.0f} of {target.modes}"
    if name == "deviation":
        return f"{value:.4g}, to be {target.noise:g}"
    return f"{value:.4g}" + (" in the worst of the four numbers" if name == "error" else "")


def _eigenvalues(found: Demonstration) -> str:
    if not found.result.eigenvalues:
        return ""
    headings = (">step", ">smallest real part", ">largest", ">largest imaginary part", ">that drive away")
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
    return "\nEigenvalues of the pair's Jacobian along training:\n" + table(headings, rows)


def _as_data(found: Demonstration) -> dict[str, Any]:
    return {
        "example": found.example,
        "recipe": found.recipe,
        "method": found.method,
        "loss": found.loss,
        "seed": found.seed,
        "stopped": found.result.stopped,
        "figures": dict(found.figures),
        "seconds": found.seconds,
        "history": found.result.history,
        "eigenvalues": [{"step": step, "values": values} for step, values in found.result.eigenvalues],
    }
