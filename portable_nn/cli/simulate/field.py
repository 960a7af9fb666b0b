"""``portable-nn simulate field``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.options import Plot
from portable_nn.cli.printing import Printer
from portable_nn.cli.simulate import answer
from portable_nn.cli.simulate.options import GameChoice, MethodChoice, NoiseChoice, RateChoice, Steps, numbers
from portable_nn.core.errors import UsageError
from portable_nn.core.text import table

if TYPE_CHECKING:
    from portable_nn.adversarial import Portrait

ROWS = NUMBERS = True
EXAMPLES = (
    "simulate field --plot field.png",
    "simulate field --game forsaken --method extragradient --start 0.5,0.5 --start 0.1,0.4 --steps 3000",
    "simulate field --grid 5 --out field.csv",
)


def command(
    printer: Printer,
    game: MethodChoice,
    rate: RateChoice,
    noise: NoiseChoice,
    start: Annotated[
        list[str] | None, typer.Option(metavar="X,Y", help="Start of a run. Repeatable; three by default.")
    ] = None,
    steps: Steps = 200,
    grid: Annotated[
        str,
        typer.Option(
            metavar="N[:X]",
            help="Grid points along each axis, and how far it reaches: 21:2 is from -2 to 2 in x and y.",
        ),
    ] = "21",
    plot: Plot = None,
) -> None:
    """Show the phase portrait of a game of two variables: its vector field, and runs from several starts.

    CSV has, at each point of a grid, f, the direction of the players (x ascends f, y descends it), and the gradient of
    f, which is another direction.
    """
    from portable_nn.adversarial import portrait

    points, reach = _grid(grid)
    arguments = {**game.how(), **rate.read(), **noise.read()}
    found = portrait(game.read(), starts=_starts(start), steps=steps, grid=points, reach=reach, **arguments)
    answer.give(
        printer,
        _as_text(found, rate, game),
        _as_data(found, rate.first),
        lambda: _rows(found),
        plot=plot,
        figure=lambda pictures: pictures.field(found.game, found.results, reach),
    )


def _grid(text: str) -> tuple[int, float]:
    """``21:2`` as the points along each axis, and how far they reach. Raises ``UsageError``."""
    points, _, reach = text.partition(":")
    try:
        return int(points), float(reach or 2)
    except ValueError:
        raise UsageError(f"--grid must be such as 21, or 21:2, not '{text}'") from None


def _starts(written: Sequence[str] | None) -> list[list[float]] | None:
    found = [numbers("--start", text) for text in written or ()]
    for text, start in zip(written or (), found, strict=True):
        if len(start) != 2:
            raise UsageError(f"--start must be two numbers, x and y, such as 0.6,0.7, not '{text}'")
    return found or None


def _rows(found: Portrait) -> Iterator[list[Any]]:
    yield ["x", "y", "f", "players_x", "players_y", "ascent_x", "ascent_y"]
    grids = (found.x, found.y, found.value, *(part[..., i] for part in (found.flow, found.ascent) for i in (0, 1)))
    yield from (list(row) for row in zip(*(grid.ravel().tolist() for grid in grids), strict=True))


def _as_text(found: Portrait, rate: RateChoice, game: GameChoice) -> str:
    result = found.results[0]
    method = answer.with_options(result.method.name, result.options)
    head = f"{answer.title(found.game)}{game.in_words()}\n{method}, {rate}, {int(result.t[-1]):,} steps\n\n"
    rows = [(answer.point(one.z[0]), answer.point(one.z[-1]), one.message) for one in found.results]
    return head + table(("start", "last iterate", "verdict"), rows) + f"\npoints with F = 0: {_points(found)}"


def _points(found: Portrait) -> str:
    """The points with F = 0 on the grid, and how many there are beyond it."""
    reach = float(found.x.max())
    near = sorted(point for point in found.game.equilibria.tolist() if max(map(abs, point)) <= reach)
    beyond = len(found.game.equilibria) - len(near)
    parts = [_with_kind(found, point) for point in near] + [f"{beyond:,} beyond ±{reach:g}"] * bool(beyond)
    return ", ".join(parts) or "not known"


def _with_kind(found: Portrait, point: Any) -> str:
    """A point with F = 0, and what it is by the second-order tests of both players."""
    from portable_nn.adversarial.games.kinds import kind_of

    return f"{answer.point(point)}, {kind_of(found.game, point)}"


def _as_data(found: Portrait, rate: str) -> dict[str, Any]:
    result = found.results[0]
    return {
        "game": found.game.name,
        "method": result.method.name,
        "options": dict(result.options),
        "rate": rate,
        "steps": int(result.t[-1]),
        "equilibria": found.game.equilibria,
        "runs": [
            {"start": one.z[0], "end": one.z[-1], **answer.judged(one.verdicts[0]), "measured": one.rate}
            for one in found.results
        ],
        "grid": {"x": found.x[0], "y": found.y[:, 0], "f": found.value, "players": found.flow, "ascent": found.ascent},
    }
