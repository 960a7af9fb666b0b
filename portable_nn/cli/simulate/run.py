"""``portable-nn simulate run``."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from portable_nn.cli.options import Html, Moving, choice
from portable_nn.cli.printing import Printer
from portable_nn.cli.simulate import answer
from portable_nn.cli.simulate.options import (
    GameChoice,
    MethodChoice,
    NoiseChoice,
    RateChoice,
    Start,
    Steps,
    read_rate,
    read_start,
)
from portable_nn.core.text import fields, quantity, some, table

if TYPE_CHECKING:
    from portable_nn.adversarial import Result, RunReport

PICTURES: Final = {"overview": "run", "saddle": "saddle", "circle": "circle_and_spiral"}
"""The pictures of a run, and the functions that draw them."""

ROWS = NUMBERS = True
EXAMPLES = (
    "simulate run",
    "simulate run --picture saddle --plot saddle.png",
    "simulate run --method extragradient --steps 2000 --plot run.gif",
    "simulate run --top 5",
    "simulate run --html lesson.html",
    "simulate run --game dirac-gan --set game.gamma=1 --start 1,1",
    "simulate run --game 'x*y-0.1*x**2' --rate '0.1/sqrt(t)' --out run.csv",
)


def command(
    printer: Printer,
    game: MethodChoice,
    rate: RateChoice,
    noise: NoiseChoice,
    start: Start = None,
    steps: Steps = 499,
    plot: Moving = None,
    picture: Annotated[
        str, choice("--picture", names=PICTURES, help="Picture that --plot draws; circle is the limit of small steps.")
    ] = "overview",
    html: Html = None,
    top: Annotated[
        int, typer.Option(metavar="N", min=0, help="List the N fastest methods that converge at this learning rate.")
    ] = 0,
) -> None:
    """Simulate a method on a game, and say whether it converges, and why.

    By default gradient descent-ascent on f = x·y, from (0.6, 0.7), for 499 steps. The convergence factor, by which a
    step multiplies the distance to the equilibrium, is given three times: by the closed form in the literature, by the
    spectral radius of the update, and as measured. --top N lists the methods that converge there. The verdict says
    what it rests on: proved, by a theorem; local, by the eigenvalues at the point to which the run comes; or seen in
    these steps, which says nothing of later ones: --steps makes it longer. If a step of the method is not defined, the
    exit code is 1. CSV has the iterates. --html makes a page with the surface of the
    game: turn it, drag the start, choose the method, its learning rates, decay, options and noise, and race methods. It
    takes games of up to eight numbers, of which it shows two at a time, and mixed strategies in a triangle.
    """
    from portable_nn.adversarial import report

    arguments = {**game.how(), **rate.read(), **noise.read()}
    found = report(game.read(), start=read_start(start), steps=steps, **arguments)
    answer.give(
        printer,
        _as_text(found, rate, game, top),
        _as_data(found, rate.first, game.options()),
        lambda: _rows(found),
        plot=plot,
        figure=lambda pictures: getattr(pictures, PICTURES[picture])(found.result),
        frames=lambda pictures: pictures.animation(found.result),
        html=html,
        page=lambda: _page(found.result, game, rate, noise),
    )
    if found.result.failures or _is_undefined(found):
        raise typer.Exit(1)


def _page(result: Result, game: GameChoice, rate: RateChoice, noise: NoiseChoice) -> bytes:
    """The run as a page. Raises ``UsageError`` for what a page does not show."""
    from portable_nn.lessons import game_page

    start, steps = result.z[0].tolist(), int(result.t[-1])
    given = {"decay": rate.decay, "called": game.called(), **noise.read(), **result.options}
    return game_page(result.game, result.method, start, read_rate(rate.first), steps, **given)


def _rows(found: RunReport) -> Iterator[list[Any]]:
    """The iterates."""
    from portable_nn.adversarial.games.derivatives import names

    result = found.result
    yield ["t", *names(result.game.players), "distance", "residual"]
    columns = (result.t, result.z, result.distance, result.residual)
    for t, z, distance, residual in zip(*(column.tolist() for column in columns), strict=True):
        yield [t, *z, distance, residual]


def _as_text(found: RunReport, rate: RateChoice, game: GameChoice, top: int) -> str:
    result = found.result
    known = "distance" if len(result.game.equilibria) else "‖F‖"
    pairs = [
        ("options", answer.options(result.options)),
        ("verdict", found.verdict.message),
        (known, _change(found)),
        _tenfold(found, known),
        ("convergence factor", _factors(found)),
        ("stability limit", answer.limit_in_words(found.forecast.stability_limit)),
        ("rotation", f"one turn in {found.turn:,.2f} steps" if found.turn else ""),
        ("average iterate", f"at distance {answer.number(found.averaged)}" if isfinite(found.averaged) else ""),
        ("gradients", f"{result.nfev:,}" + (f", and {quantity(result.njev, 'Jacobian')}" if result.njev else "")),
    ]
    head = (
        f"{answer.title(result.game)}{game.in_words()}\n{result.method.name} from {answer.point(result.z[0])}, {rate}"
    )
    return head + "\n\n" + fields(pairs) + _remedies(found, top)


def _change(found: RunReport) -> str:
    first, length, last = found.lengths[0], found.lengths[-1], int(found.result.t[-1])
    if found.result.failures:
        return f"{answer.number(first)} at the start"
    if _is_undefined(found):
        last, length = _before(found)
    end = answer.number(length) if isfinite(length) else "beyond the largest number"
    return f"{answer.number(first)} at the start, {end} after {quantity(last, 'step')}"


def _is_undefined(found: RunReport) -> bool:
    """True if the run itself comes to a step that is not defined."""
    from portable_nn.adversarial.runs.verdict import FAILED

    return found.verdict.status == FAILED and not isfinite(found.lengths[-1])


def _before(found: RunReport) -> tuple[int, float]:
    """The last step before that, and the distance there."""
    both = zip(found.result.t.tolist(), found.lengths.tolist(), strict=True)
    return [(t, length) for t, length in both if isfinite(length)][-1]


def _tenfold(found: RunReport, known: str) -> tuple[str, str]:
    """Steps until the distance is ten times as large or small."""
    if found.tenfold is None:
        return "", ""
    name = f"a tenth of that {known}" if found.result.success else f"ten times that {known}"
    return name, f"after {quantity(found.tenfold, 'step')}" + ("" if found.is_reached else " (extrapolated)")


def _factors(found: RunReport) -> str:
    forecast, verdict = found.forecast, found.verdict
    factors = [
        (forecast.closed_form, "closed form"),
        (forecast.spectral_radius, "spectral radius"),
        (verdict.factor, "measured" if verdict.exact else "measured, approximate"),
    ]
    return ", ".join(
        f"{answer.factor(value)} ({how})" for value, how in factors if value is not None and value == value
    )


def _remedies(found: RunReport, top: int) -> str:
    """The methods that converge: the first names, or the ``top`` with their factors."""
    if not found.remedies:
        why = "no method is known to converge to an equilibrium at this learning rate"
        why = why if found.result.rates.constant else "methods are listed for a learning rate that stays the same"
        return f"\n--top {top}: {why}\n" if top else ""
    rows = [
        (
            row.method.name,
            answer.options(row.options),
            answer.factor(row.factor),
            f"{row.cost}",
            answer.factor(row.per_evaluation),
            "not if small" if row.stability_limit == 0 else answer.limit(row.stability_limit),
        )
        for row in found.remedies
    ]
    near = "" if found.result.game.linear else " near the equilibrium"
    headings = (
        "method",
        "options",
        ">factor per step",
        ">gradients per step",
        ">factor per gradient",
        ">stability limit",
    )
    said = f"\nMethods that converge{near} at this learning rate, the fastest per gradient first:"
    names = some(row.method.name for row in found.remedies)
    return (
        f"{said}\n{table(headings, rows[:top])}"
        if top
        else f"{said} {names} (--top N lists factors; simulate compare --method all runs them)\n"
    )


def _as_data(found: RunReport, rate: str, options: dict[str, Any]) -> dict[str, Any]:
    result, verdict = found.result, found.verdict
    return {
        "game": result.game.name,
        "game_options": options,
        "rate": rate,
        "start": result.z[0],
        "steps": int(result.t[-1]),
        "end": result.z[-1],
        **answer.predicted(found.forecast),
        **answer.judged(verdict),
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
