"""``portable-nn simulate spectrum``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.options import Plot
from portable_nn.cli.printing import Printer
from portable_nn.cli.simulate import answer
from portable_nn.cli.simulate.options import GameChoice, MethodsChoice, read_linear_rate
from portable_nn.core.errors import UsageError
from portable_nn.core.text import fields, rounded, table

if TYPE_CHECKING:
    from portable_nn.adversarial import Analysis

ROWS = NUMBERS = True
EXAMPLES = (
    "simulate spectrum",
    "simulate spectrum --method optimistic --rate 0.3 --rate 0.5 --rate 0.7 --plot eigenvalues.png",
    "simulate spectrum --game dirac-gan --set game.gamma=1 --method simultaneous,alternating",
    "simulate spectrum --set game.matrix=1,2/0,1 --method consensus --set gamma=0.5",
)

WIDEST = 8
"""The largest matrix that is printed."""

ROUNDED = 1e-12
"""Parts of eigenvalues this much smaller than the largest eigenvalue are rounding."""


def command(
    printer: Printer,
    game: MethodsChoice,
    rate: Annotated[
        list[str] | None,
        typer.Option(metavar="RATE", help="Learning rate: a number, or x's and y's, 0.1,0.05. Repeatable."),
    ] = None,
    plot: Plot = None,
) -> None:
    """Show the update of a method near an equilibrium as a matrix, with its eigenvalues.

    Near an equilibrium a step of most methods multiplies the state by one matrix, the update operator; the state is z
    and what else the method keeps. Its spectral radius is the asymptotic convergence factor: inside the unit circle
    the method converges. By default the method is simultaneous, at a learning rate of 0.1. CSV has the eigenvalues.
    """
    from portable_nn.adversarial import analyse

    rates = [read_linear_rate(text) for text in rate or ["0.1"]]
    if plot and any(isinstance(one, tuple) for one in rates):
        raise UsageError("--plot draws eigenvalues at rates of one number: leave it out for two, x's and y's")
    found = analyse(game.read(), learning_rates=rates, **game.how("simultaneous"))
    spectra: dict[Any, Any] = {(one.forecast.method.name, one.learning_rate): one.eigenvalues for one in found}
    answer.give(
        printer,
        "\n".join(_as_text(one, game) for one in found),
        {"game": found[0].game.name, "spectra": list(map(_as_data, found))},
        lambda: _rows(found),
        plot=plot,
        figure=lambda pictures: pictures.spectrum(spectra, pictures.game_in_words(found[0].game)),
    )


def _rows(found: Sequence[Analysis]) -> Iterator[list[Any]]:
    yield ["method", "rate_x", "rate_y", "real", "imaginary", "modulus"]
    for one in found:
        for value in map(complex, one.eigenvalues.tolist()):
            yield [one.forecast.method.name, *_both(one.learning_rate), value.real, value.imag, abs(value)]


def _both(rate: Any) -> tuple[float, float]:
    return rate if isinstance(rate, tuple) else (rate, rate)


def _as_text(found: Analysis, game: GameChoice) -> str:
    forecast, size = found.forecast, len(found.operator)
    both = ", the same for x and y" if isinstance(found.learning_rate, tuple) and forecast.stability_limit else ""
    pairs = [
        ("equilibrium", answer.point(found.equilibrium)),
        ("eigenvalues", _eigenvalues(found)),
        ("spectral radius", f"{answer.factor(forecast.spectral_radius)} per step{_verdict(forecast.spectral_radius)}"),
        ("closed form", f"{answer.factor(forecast.closed_form)} per step" if forecast.closed_form is not None else ""),
        ("stability limit", answer.limit_in_words(forecast.stability_limit) + both),
        ("rotation", f"one turn in {found.turn:,.2f} steps" if found.turn else ""),
        ("conserved", found.conserved or ""),
    ]
    method = answer.with_options(forecast.method.name, forecast.options)
    head = f"{answer.title(found.game)}{game.in_words()}\n{method}, learning rate {_rate(found.learning_rate)}\n\n"
    what = "Update operator" + (f" of {found.repeats:,} steps" if found.repeats > 1 else "")
    if size > WIDEST:
        return head + fields(pairs) + f"\n{what}: {size} x {size}, in --format json\n"
    rows = [[rounded(value) for value in row] for row in found.operator.tolist()]
    return head + fields(pairs) + f"\n{what}:\n" + table([">"] * size, rows)


def _rate(rate: Any) -> str:
    return f"{rate[0]:g} for x and {rate[1]:g} for y" if isinstance(rate, tuple) else f"{rate:g}"


def _verdict(radius: float | None) -> str:
    if radius is None:
        return ""
    if abs(radius - 1) < 1e-9:
        return ": neither converges nor diverges"
    return ": converges" if radius < 1 else ": diverges"


def _eigenvalues(found: Analysis) -> str:
    """Each once, a pair of conjugates as one."""
    texts = []
    least = ROUNDED * max(1.0, float(abs(found.eigenvalues[0])))
    for value in map(complex, found.eigenvalues[:WIDEST].tolist()):
        real, imaginary = (part if abs(part) > least else 0.0 for part in (value.real, abs(value.imag)))
        texts.append(rounded(real) + (f" ± {rounded(imaginary)}i" if imaginary else ""))
    more = f" and {len(found.eigenvalues) - WIDEST} smaller" if len(found.eigenvalues) > WIDEST else ""
    return ", ".join(dict.fromkeys(texts)) + more


def _as_data(found: Analysis) -> dict[str, Any]:
    return {
        "rate": _both(found.learning_rate),
        **answer.predicted(found.forecast),
        "equilibrium": found.equilibrium,
        "jacobian": found.jacobian,
        "operator": found.operator,
        "steps_per_operator": found.repeats,
        "eigenvalues": found.eigenvalues,
        "steps_around": found.turn,
        "conserved": found.conserved,
    }
