"""``portable-nn simulate compare``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.conventions import Plot, Printer
from portable_nn.cli.simulate import answer
from portable_nn.cli.simulate.options import (
    Decay,
    GameName,
    GameSet,
    MethodNames,
    Noise,
    Rate,
    Seed,
    SetEach,
    Start,
    read_each,
    read_game,
    read_methods,
    read_rate,
    read_start,
)
from portable_nn.core.text import table

if TYPE_CHECKING:
    from portable_nn.adversarial import Compared, Comparison

ROWS = True
EXAMPLES = (
    "simulate compare",
    "simulate compare --method all --rate 0.3 --plot methods.png",
    "simulate compare --game forsaken --method extragradient,consensus --evaluations 5000",
    "simulate compare --method lookahead,consensus --set lookahead.k=10 --set gamma=2 --out curves.csv",
)


def command(
    printer: Printer,
    game: GameName = "bilinear",
    game_set: GameSet = None,
    method: MethodNames = None,
    set_: SetEach = None,
    start: Start = None,
    rate: Rate = "0.1",
    decay: Decay = None,
    evaluations: Annotated[
        int,
        typer.Option(
            metavar="N", help="Gradients that each method may evaluate; a product with the Jacobian counts as one."
        ),
    ] = 1000,
    noise: Noise = 0.0,
    seed: Seed = 0,
    plot: Plot = None,
) -> None:
    """Compare methods at equal numbers of gradient evaluations.

    A step of one method costs one gradient and of another four, so that equal numbers of steps would not be fair. The
    method that ends nearest to the equilibrium comes first. By default, eight methods are compared. CSV has the
    distance and the number of gradients after each step of each method.
    """
    from portable_nn.adversarial import compare

    methods = read_methods(method)
    found = compare(
        read_game(game, game_set),
        methods,
        read_start(start),
        read_rate(rate),
        evaluations,
        decay=decay,
        noise=noise,
        seed=seed,
        options=read_each(set_, methods),
    )

    answer.give(
        printer,
        _as_text(found, rate, decay),
        _as_data(found, rate),
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


def _end(entry: Compared) -> float:
    result = entry.result
    return float((result.distance if len(result.game.equilibria) else result.residual)[-1])


def _as_text(found: Comparison, rate: str, decay: str | None) -> str:
    what = "distance at the end" if len(found.game.equilibria) else "‖F‖ at the end"
    first = found.entries[0].result
    head = (
        f"{answer.title(found.game)}\n"
        f"from {answer.point(first.z[0])} at a rate of {rate}{f', falling as {decay}' if decay else ''}; "
        f"{found.evaluations:,} gradients each\n\n"
    )
    headings = (
        "method",
        "verdict",
        f">{what}",
        ">steps",
        ">by formula",
        ">eigenvalues",
        ">measured",
        ">a gradient",
        ">stable up to",
    )
    rows = [
        (
            entry.name,
            entry.verdict.message.partition(":")[0],
            answer.number(_end(entry)),
            f"{int(entry.result.t[-1]):,}",
            answer.factor(entry.closed_form),
            answer.factor(entry.spectral_radius),
            answer.factor(entry.measured),
            answer.factor(entry.per_evaluation),
            answer.limit(entry.stability_limit),
        )
        for entry in found.ranked
    ]
    near = (
        ""
        if found.game.linear
        else "\nFormula, eigenvalues and the largest stable rate are those near the equilibrium."
    )
    note = "\nFactors are of the distance, a step; measured, also a gradient. - is not known."
    return head + table(headings, rows) + near + note


def _as_data(found: Comparison, rate: str) -> dict[str, Any]:
    return {
        "game": found.game.name,
        "rate": rate,
        "start": found.entries[0].result.z[0],
        "evaluations": found.evaluations,
        "methods": [
            {
                **answer.predicted(entry.forecast),
                "steps": int(entry.result.t[-1]),
                "nfev": entry.result.nfev,
                "njev": entry.result.njev,
                "gradients": entry.spent,
                "measured": entry.measured,
                "measured_per_gradient": entry.per_evaluation,
                "distance": _end(entry),
                "status": int(entry.verdict.status),
                "verdict": entry.verdict.message,
            }
            for entry in found.ranked
        ],
    }
