"""``portable-nn simulate sweep``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.conventions import Plot, Printer
from portable_nn.cli.simulate import answer
from portable_nn.cli.simulate.options import (
    GameName,
    GameSet,
    MethodNames,
    Noise,
    Seed,
    SetEach,
    Start,
    Steps,
    numbers,
    read_each,
    read_game,
    read_methods,
    read_start,
)
from portable_nn.core.errors import UsageError
from portable_nn.core.text import table

if TYPE_CHECKING:
    from portable_nn.adversarial import Sweep

ROWS = True
EXAMPLES = (
    "simulate sweep",
    "simulate sweep --method all --rates 0.01:4:80 --plot rates.png",
    "simulate sweep --game dirac-gan --game-set gamma=1 --rates 0.1,0.5,1,2 --out rates.csv",
)

MOST_RATES = 10_000


def command(
    printer: Printer,
    game: GameName = "bilinear",
    game_set: GameSet = None,
    method: MethodNames = None,
    set_: SetEach = None,
    rates: Annotated[
        str | None,
        typer.Option(
            metavar="RATES", help="Learning rates: from:to:count at equal ratios, 0.01:4:40, or a list, 0.1,0.5,1."
        ),
    ] = None,
    start: Start = None,
    steps: Steps = 400,
    noise: Noise = 0.0,
    seed: Seed = 0,
    plot: Plot = None,
) -> None:
    """Find the learning rates at which each method converges.

    Each method is run at every rate; the factor of the distance per step is measured, and computed from the eigenvalues
    of the update. The stability limit, up to which the distance does not grow, is from theory alone. By default, eight
    methods are run at 40 rates from 0.01 to 4. CSV has a row for each method and rate.
    """
    from portable_nn.adversarial import sweep

    methods = read_methods(method)
    with answer.bar(printer, "methods") as progress:
        found = sweep(
            read_game(game, game_set),
            methods,
            _rates(rates),
            read_start(start),
            steps,
            noise=noise,
            seed=seed,
            options=read_each(set_, methods),
            progress=progress,
        )

    answer.give(
        printer,
        _as_text(found),
        _as_data(found),
        lambda: _rows(found),
        plot=plot,
        figure=lambda pictures: pictures.sweep(found),
    )


def _rates(written: str | None) -> Any:
    """``0.01:4:40`` or ``0.1,0.5`` as rates. Raises ``UsageError``."""
    if written is None or ":" not in written:
        return None if written is None else numbers("--rates", written)
    import numpy as np

    try:
        low, high, count = (kind(part) for kind, part in zip((float, float, int), written.split(":"), strict=True))
    except ValueError:
        low, high, count = 0.0, 0.0, 0
    if not (0 < low < high < np.inf and 2 <= count <= MOST_RATES):
        raise UsageError(
            f"--rates must be from, to and how many (2 to {MOST_RATES:,}), as 0.01:4:40, or a list as 0.1,0.5,1, "
            f"not '{written}'"
        )
    return np.geomspace(low, high, count)


def _rows(found: Sweep) -> Iterator[list[Any]]:
    yield ["method", "rate", "measured", "spectral_radius", "measured_per_gradient", "status"]
    grids = (found.measured, found.spectral_radius, found.per_evaluation, found.status)
    for place, name in enumerate(found.names):
        for values in zip(found.rates.tolist(), *(grid[place].tolist() for grid in grids), strict=True):
            yield [name, *values]


def _as_text(found: Sweep) -> str:
    low, high = found.rates[0], found.rates[-1]
    head = (
        f"{answer.title(found.game)}\n"
        f"from {answer.point(found.start)}, {len(found.rates):,} rates from {low:g} to {high:g}, "
        f"{found.steps:,} steps each\n\n"
    )
    headings = ["method", ">stable up to", "seen to converge at", ">best rate", ">factor there", ">a gradient"]
    rows = []
    for place, name in enumerate(found.names):
        best = found.best[place]
        rows.append(
            [
                name,
                answer.limit(found.limits[place]),
                _ranges(found, place),
                f"{found.rates[best]:.4g}",
                answer.factor(found.measured[place, best]),
                answer.factor(found.per_evaluation[place, best]),
            ]
        )
    if not found.game.linear:
        return head + table(headings, rows) + "\nWhat is stable is so near the equilibrium."
    apart = [_difference(found, place) for place in range(len(rows))]
    rows = [[*row, difference] for row, difference in zip(rows, apart, strict=True)]
    return head + table([*headings, ">off the eigenvalues by"], rows)


def _ranges(found: Sweep, place: int) -> str:
    """The rates at which a method was seen to converge, as ranges of neighbours."""
    good = [bool(status <= 1) for status in found.status[place]]
    ends = [i for i in range(len(good)) if good[i] and (i == 0 or not good[i - 1])]
    ranges = []
    for begin in ends:
        end = begin
        while end + 1 < len(good) and good[end + 1]:
            end += 1
        low, high = found.rates[begin], found.rates[end]
        ranges.append(f"{low:.4g}" if begin == end else f"{low:.4g} to {high:.4g}")
    return "none" if not ranges else ", ".join(ranges) if len(ranges) < 4 else f"{sum(good)} of {len(good)}"


def _difference(found: Sweep, place: int) -> str:
    """The largest difference of what was measured and what the eigenvalues say."""
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
