"""``portable-nn simulate sweep``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.options import Plot
from portable_nn.cli.printing import Printer
from portable_nn.cli.scaling import ProcessOptions
from portable_nn.cli.simulate import answer
from portable_nn.cli.simulate.options import GameChoice, MethodsChoice, NoiseChoice, Start, Steps, numbers, read_start
from portable_nn.core.errors import UsageError
from portable_nn.core.text import quantity, rounded, table

if TYPE_CHECKING:
    from portable_nn.adversarial import Sweep

ROWS = NUMBERS = True
EXAMPLES = (
    "simulate sweep",
    "simulate sweep --method all --rate 0.01:4:80 --plot rates.png",
    "simulate sweep --game dirac-gan --set game.gamma=1 --rate 0.1,0.5,1,2 --out rates.csv",
)

MOST_RATES = 10_000


def command(
    printer: Printer,
    game: MethodsChoice,
    noise: NoiseChoice,
    computing: ProcessOptions,
    rates: Annotated[
        str | None,
        typer.Option(
            "--rate", metavar="RATES", help="Learning rates: from:to:count, geometric: 0.01:4:40; or a list: 0.1,0.5,1."
        ),
    ] = None,
    start: Start = None,
    steps: Steps = 400,
    plot: Plot = None,
) -> None:
    """Find the learning rates at which each method converges.

    Each method is run at every learning rate; its convergence factor is measured and compared with the spectral radius
    of the update. The stability limit is from theory alone. By default, eight methods are run at 40 learning rates from
    0.01 to 4. CSV has a row for each method and learning rate. --workers N runs methods side by side in N processes.
    """
    from portable_nn.adversarial import sweep
    from portable_nn.core.progress import counting

    with counting("methods", shown=not printer.quiet) as progress:
        arguments = {**game.how(), **noise.read(), "rates": _rates(rates), "start": read_start(start)}
        arguments |= {"steps": steps, "progress": progress}
        if computing.wanted:
            arguments |= {
                "game_options": game.given(),
                "workers": computing.processes,
                "scheduler": computing.scheduler,
            }
        found = sweep(game.game if computing.wanted else game.read(), **arguments)
    answer.give(
        printer,
        _as_text(found, game),
        _as_data(found),
        lambda: _rows(found),
        plot=plot,
        figure=lambda pictures: pictures.sweep(found),
    )


def _rates(written: str | None) -> Any:
    """``0.01:4:40`` or ``0.1,0.5`` as rates. Raises ``UsageError``."""
    if written is None or ":" not in written:
        return None if written is None else numbers("--rate", written)
    import numpy as np

    try:
        low, high, count = (kind(part) for kind, part in zip((float, float, int), written.split(":"), strict=True))
    except ValueError:
        low, high, count = 0.0, 0.0, 0
    if not (0 < low < high < np.inf and 2 <= count <= MOST_RATES):
        raise UsageError(
            f"--rate must be from, to and how many (2 to {MOST_RATES:,}), as 0.01:4:40, or a list as 0.1,0.5,1, "
            f"not '{written}'"
        )
    return np.geomspace(low, high, count)


def _rows(found: Sweep) -> Iterator[list[Any]]:
    yield ["method", "rate", "measured", "spectral_radius", "measured_per_gradient", "status"]
    grids = (found.measured, found.spectral_radius, found.per_evaluation, found.status)
    for place, name in enumerate(found.names):
        for values in zip(found.rates.tolist(), *(grid[place].tolist() for grid in grids), strict=True):
            yield [name, *values]


def _as_text(found: Sweep, game: GameChoice) -> str:
    low, high = found.rates[0], found.rates[-1]
    head = (
        f"{answer.title(found.game)}{game.in_words()}\n"
        f"from {answer.point(found.start)}, {len(found.rates):,} learning rates from {low:g} to {high:g}, "
        f"{quantity(found.steps, 'step')} each\n\n"
    )
    rows = [
        (
            name,
            answer.limit(found.limits[place]),
            _ranges(found, place),
            rounded(found.rates[best], 4),
            answer.factor(found.measured[place, best]),
            answer.factor(found.per_evaluation[place, best]),
            _difference(found, place),
        )
        for place, (name, best) in enumerate(zip(found.names, found.best, strict=True))
    ]
    headings = ("method", ">stability limit", "falls at", ">best rate", ">factor", ">per gradient")
    if found.game.linear:
        return head + table((*headings, ">error of theory"), rows)
    note = "\nThe stability limit holds near the equilibrium."
    return head + table(headings, [row[:-1] for row in rows]) + note


def _ranges(found: Sweep, place: int) -> str:
    """The learning rates at which the distance falls, as ranges of neighbours."""
    from portable_nn.adversarial.runs.verdict import FALLING

    good = [status in FALLING for status in found.status[place].tolist()]
    ranges = []
    for converges, group in groupby(range(len(good)), key=good.__getitem__):
        if converges:
            ends = [found.rates[index] for index in group]
            ranges.append(rounded(ends[0], 4) + (f" to {rounded(ends[-1], 4)}" if len(ends) > 1 else ""))
    return "none" if not ranges else ", ".join(ranges) if len(ranges) < 4 else f"{sum(good)} of {len(good)}"


def _difference(found: Sweep, place: int) -> str:
    """The largest relative difference of the measured factor from the spectral radius."""
    import numpy as np

    apart = np.abs(found.measured[place] - found.spectral_radius[place]) / found.spectral_radius[place]
    apart = apart[np.isfinite(apart)]
    return f"{apart.max():.1e}" if len(apart) else answer.DASH


def _as_data(found: Sweep) -> dict[str, Any]:
    return {
        "game": found.game.name,
        "steps": found.steps,
        "rates": found.rates,
        "methods": [
            {
                "method": name,
                "stability_limit": found.limits[place],
                "gradients_per_step": found.costs[place],
                "best_rate": found.rates[found.best[place]],
                "measured": found.measured[place],
                "spectral_radius": found.spectral_radius[place],
                "status": found.status[place],
            }
            for place, name in enumerate(found.names)
        ],
    }
