"""``portable-nn simulate run``."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from portable_nn.cli.conventions import Gif, Plot, Printer, choice
from portable_nn.cli.simulate import answer
from portable_nn.cli.simulate.options import (
    Decay,
    GameName,
    GameSet,
    MethodName,
    Noise,
    Rate,
    SchemeName,
    Seed,
    Set,
    Start,
    Steps,
    pairs,
    read_game,
    read_rate,
    read_start,
)
from portable_nn.core.text import fields, quantity, table

if TYPE_CHECKING:
    from portable_nn.adversarial import Report


PICTURES: Final = {
    "overview": "run",
    "saddle": "saddle",
    "above": "above",
    "coordinates": "coordinates",
    "orbit": "orbit",
    "circle": "circle_and_spiral",
}
"""What can be drawn of a run, and the functions that draw it."""

ROWS = True
EXAMPLES = (
    "simulate run",
    "simulate run --picture saddle --plot saddle.png",
    "simulate run --method extragradient --steps 2000 --plot run.png --gif run.gif",
    "simulate run --game dirac-gan --game-set gamma=1 --start 1,1",
    "simulate run --game 'x*y-0.1*x**2' --rate '0.1/sqrt(t)' --out run.csv",
)


def command(
    printer: Printer,
    game: GameName = "bilinear",
    game_set: GameSet = None,
    method: MethodName = "simultaneous",
    scheme: SchemeName = None,
    set_: Set = None,
    start: Start = None,
    rate: Rate = "0.1",
    decay: Decay = None,
    steps: Steps = 499,
    noise: Noise = 0.0,
    seed: Seed = 0,
    record: Annotated[int, typer.Option(metavar="N", help="Record the point after every N steps.")] = 1,
    plot: Plot = None,
    picture: Annotated[
        str, choice("--picture", names=PICTURES, help="What --plot draws; circle is the limit of small steps.")
    ] = "overview",
    gif: Gif = None,
) -> None:
    """Simulate a game of two players, and say whether they converge, and why.

    By default x·y is played by gradient descent, from (0.6, 0.7) at a rate of 0.1 for 499 steps. The factor by which a
    step multiplies the distance to the equilibrium is printed three times: by the formula of the literature, by the
    eigenvalues of the update, and as measured. Methods that converge at that rate follow. CSV has the points.
    """
    from portable_nn.adversarial import report

    found = report(
        read_game(game, game_set),
        method,
        read_rate(rate),
        scheme=scheme,
        start=read_start(start),
        steps=steps,
        decay=decay,
        noise=noise,
        seed=seed,
        record=record,
        **pairs("--set", set_),
    )

    answer.give(
        printer,
        _as_text(found, rate, decay),
        _as_data(found, rate),
        lambda: _rows(found),
        plot=plot,
        figure=lambda pictures: getattr(pictures, PICTURES[picture])(found.result),
        gif=gif,
        frames=lambda pictures: pictures.animation(found.result),
    )


def _rows(found: Report) -> Iterator[list[Any]]:
    """The points of the run."""
    result = found.result
    yield ["t", *answer.names(result.game), "distance", "residual"]
    columns = (result.t, result.z, result.distance, result.residual)
    for t, z, distance, residual in zip(*(column.tolist() for column in columns), strict=True):
        yield [t, *z, distance, residual]


def _as_text(found: Report, rate: str, decay: str | None) -> str:
    result, forecast = found.result, found.forecast
    falling = f", falling as {decay}" if decay else ""
    head = (
        f"{answer.title(result.game)}\n"
        f"{result.method.name} from {answer.point(result.z[0])} at a rate of {rate}{falling}\n\n"
    )
    known = "distance" if len(result.game.equilibria) else "‖F‖"
    pairs = [
        ("verdict", found.verdict.message),
        (known, _change(found)),
        (*_tenfold(found, known),),
        ("factor a step", _factors(found)),
        ("stable up to", answer.limit_in_words(forecast.stability_limit)),
        ("once around", f"in {found.turn:,.2f} steps" if found.turn else ""),
        ("average", f"of all points, {answer.number(found.averaged)} away" if isfinite(found.averaged) else ""),
        ("gradients", f"{result.nfev:,}" + (f", and {quantity(result.njev, 'Jacobian')}" if result.njev else "")),
    ]
    return head + fields((name, text) for name, text in pairs) + _remedies(found)


def _change(found: Report) -> str:
    lengths, last = found.lengths, int(found.result.t[-1])
    end = answer.number(lengths[-1]) if isfinite(lengths[-1]) else "beyond the largest number"
    return f"{answer.number(lengths[0])} at first, {end} after {quantity(last, 'step')}"


def _tenfold(found: Report, known: str) -> tuple[str, str]:
    """In how many steps the distance is ten times as large or small."""
    if found.tenfold is None:
        return "", ""
    grows = found.verdict.status > 2
    name = f"ten times that {known}" if grows else f"a tenth of that {known}"
    return name, f"after {quantity(found.tenfold, 'step')}" + ("" if found.is_reached else ", if it goes on so")


def _factors(found: Report) -> str:
    forecast, verdict = found.forecast, found.verdict
    factors = [
        (forecast.closed_form, "by the formula"),
        (forecast.spectral_radius, "by the eigenvalues"),
        (verdict.factor, "measured" if verdict.exact else "measured, about"),
    ]
    return ", ".join(f"{answer.factor(value)} {how}" for value, how in factors if value is not None and value == value)


def _remedies(found: Report) -> str:
    """The methods that would converge, with their factors."""
    if not found.remedies:
        return ""
    headings = ("method", ">factor a step", ">gradients a step", ">factor a gradient", ">stable up to")
    rows = [
        (
            row.method.name,
            answer.factor(row.factor),
            f"{row.cost}",
            answer.factor(row.per_evaluation),
            "not if small" if row.stability_limit == 0 else answer.limit(row.stability_limit),
        )
        for row in found.remedies
    ]
    near = "" if found.result.game.linear else ", near the equilibrium"
    return f"\nWhat converges at that rate{near}, best first:\n" + table(headings, rows)


def _as_data(found: Report, rate: str) -> dict[str, Any]:
    result, verdict = found.result, found.verdict
    return {
        "game": result.game.name,
        "rate": rate,
        "start": result.z[0],
        "steps": int(result.t[-1]),
        "end": result.z[-1],
        **answer.predicted(found.forecast),
        "verdict": verdict.message,
        "status": int(verdict.status),
        "success": bool(result.success),
        "measured": verdict.factor,
        "exact": bool(verdict.exact),
        "distance": [found.lengths[0], found.lengths[-1]],
        "steps_to_tenfold": found.tenfold,
        "steps_around": found.turn,
        "averaged_distance": found.averaged,
        "nfev": result.nfev,
        "njev": result.njev,
        "converging": [answer.predicted(row) for row in found.remedies],
    }
