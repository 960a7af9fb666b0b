"""``portable-nn simulate compare``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.options import Plot
from portable_nn.cli.printing import Printer
from portable_nn.cli.simulate import answer
from portable_nn.cli.simulate.options import GameChoice, MethodsChoice, NoiseChoice, RateChoice, Start, read_start
from portable_nn.core.text import table

if TYPE_CHECKING:
    from portable_nn.adversarial import Comparison

ROWS = NUMBERS = True
EXAMPLES = (
    "simulate compare",
    "simulate compare --method all --rate 0.3 --plot methods.png",
    "simulate compare --game forsaken --method extragradient,consensus --steps 5000",
    "simulate compare --method consensus,extragradient,optimistic --set strength=rate",
    "simulate compare --method lookahead,consensus --set lookahead.k=10 --set gamma=2 --out curves.csv",
)


def command(
    printer: Printer,
    game: MethodsChoice,
    rate: RateChoice,
    noise: NoiseChoice,
    start: Start = None,
    evaluations: Annotated[
        int,
        typer.Option(
            "--steps", metavar="N", help="Gradient evaluations of each method; a Jacobian-vector product counts as one."
        ),
    ] = 1000,
    plot: Plot = None,
) -> None:
    """Compare methods at equal numbers of gradient evaluations.

    A step of one method costs one gradient and of another four, so that equal numbers of steps would not be fair. The
    method that ends nearest to the equilibrium comes first; that depends on the strengths of the methods that have one,
    such as gamma of consensus, which --set strength=rate makes the same. By default, eight methods are compared. CSV
    has the distance and the number of gradients after each step of each method.
    """
    from portable_nn.adversarial import compare

    arguments = {**game.how(), **rate.read(), **noise.read()}
    found = compare(
        game.read(), start=read_start(start), evaluations=evaluations, equal_strength=game.is_equal, **arguments
    )
    answer.give(
        printer,
        _as_text(found, rate, game),
        _as_data(found, rate.first, game.options()),
        lambda: _rows(found),
        plot=plot,
        figure=lambda pictures: pictures.comparison(found),
    )


def _rows(found: Comparison) -> Iterator[list[Any]]:
    """The curve of each method."""
    yield ["method", "step", "gradients", "distance", "residual"]
    for entry in found.entries:
        result = entry.result
        columns = (result.t, entry.evaluations, result.distance, result.residual)
        for values in zip(*(column.tolist() for column in columns), strict=True):
            yield [entry.name, *values]


def _as_text(found: Comparison, rate: RateChoice, game: GameChoice) -> str:
    from portable_nn.adversarial.runs.verdict import SEEN, WORDS

    start = answer.point(found.entries[0].result.z[0])
    head = f"{answer.title(found.game)}{game.in_words()}\n"
    head += f"from {start}, {rate}, {found.evaluations:,} gradient evaluations each\n\n"
    rows = [
        (
            entry.name,
            f"{WORDS[entry.verdict.status]} ({entry.verdict.basis})",
            answer.number(entry.end),
            f"{int(entry.result.t[-1]):,}",
            answer.factor(entry.forecast.closed_form),
            answer.factor(entry.forecast.spectral_radius),
            answer.factor(entry.measured),
            answer.factor(entry.per_evaluation),
            answer.limit(entry.forecast.stability_limit),
        )
        for entry in found.ranked
    ]
    end = ">last distance" if len(found.game.equilibria) else ">last ‖F‖"
    factors = (">closed form", ">spectral radius", ">measured", ">per gradient")
    near = "" if found.game.linear else " Closed form, spectral radius and stability limit hold near the equilibrium."
    note = f"\nConvergence factors per step; the measured one also per gradient evaluation.{near}{_strengths(found)}"
    if any(entry.verdict.basis == SEEN for entry in found.entries):
        note += "\nSeen: by these steps alone, of which --steps takes more. Went round: nearer and farther by turns."
    note += _options(found) + "".join(f"\n{name} {message}." for name, message in found.reasons.items())
    return head + table(("method", "verdict", end, ">steps", *factors, ">stability limit"), rows) + note


def _options(found: Comparison) -> str:
    """The options of the methods that have some."""
    names: dict[str, list[str]] = {}
    for entry in found.entries:
        names.setdefault(answer.options(entry.result.options), []).append(entry.name)
    words = "; ".join(f"{written} of {' and '.join(own)}" for written, own in names.items() if written)
    return f"\nOptions: {words}." if words else ""


def _strengths(found: Comparison) -> str:
    """On what the ranking depends."""
    own = {entry.name: entry for entry in found.entries if entry.strength is not None}
    if not own or len(found.entries) < 2:
        return ""
    if found.equal_strength:
        return "\nThe strengths of all methods are the learning rate."
    words = ", ".join(f"{entry.result.method.strength} of {name} is {entry.strength:g}" for name, entry in own.items())
    return f"\nThe ranking depends on the strengths: {words}. --set strength=rate makes them the same."


def _as_data(found: Comparison, rate: str, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "game": found.game.name,
        "game_options": options,
        "rate": rate,
        "start": found.entries[0].result.z[0],
        "evaluations": found.evaluations,
        "equal_strength": found.equal_strength,
        "methods": [
            {
                **answer.predicted(entry.forecast),
                "steps": int(entry.result.t[-1]),
                "nfev": entry.result.nfev,
                "njev": entry.result.njev,
                "gradients": entry.spent,
                "measured": entry.measured,
                "measured_per_gradient": entry.per_evaluation,
                "distance": entry.end,
                "strength": entry.strength,
                **answer.judged(entry.verdict),
            }
            for entry in found.ranked
        ],
    }
