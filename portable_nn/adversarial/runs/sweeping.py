"""Methods over a grid of learning rates: where each converges, measured and by theory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.adversarial.games.game import Game
from portable_nn.adversarial.games.options import finite_array
from portable_nn.adversarial.games.table import game as find_game
from portable_nn.adversarial.methods.table import Method, Methods, PerMethod, find_method, read_methods
from portable_nn.adversarial.runs.simulation import simulate
from portable_nn.adversarial.theory.forecast import forecast, local_radius, near_equilibrium
from portable_nn.core.errors import UsageError
from portable_nn.operators import Array
from portable_nn.scale.cluster import check_processes, processes

STEPS: Final = 400
"""The default number of steps of each run."""

RATES: Final = (0.01, 4.0, 40)
"""The default grid: from, to, and how many, geometrically spaced."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """Methods (m) by learning rates (r).

    Attributes:
        game, start, steps: each run is of so many steps, from ``start`` (d,).
        methods, rates: the axes.
        measured, spectral_radius: convergence factors per step, (m, r); nan where unknown.
        status: as in ``Result``, (m, r).
        limits: stability limits, (m,); nan where unknown.
        costs: gradient evaluations per step, (m,).
    """

    game: Game
    start: Array
    methods: tuple[Method, ...]
    rates: Array
    steps: int
    measured: Array
    spectral_radius: Array
    status: Array
    limits: Array
    costs: Array

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the methods."""
        return tuple(row.name for row in self.methods)

    @property
    def per_evaluation(self) -> Array:
        """The measured convergence factor for each gradient evaluation: (m, r)."""
        return np.asarray(self.measured ** (1 / self.costs[:, None]))

    @property
    def best(self) -> Array:
        """The index in ``rates`` of the smallest measured factor of each method: (m,)."""
        return np.asarray(np.argmin(np.where(np.isnan(self.measured), np.inf, self.measured), axis=1))


def sweep(
    game: Any = "bilinear",
    methods: Methods = None,
    rates: object = None,
    start: object = None,
    steps: int = STEPS,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    game_options: Mapping[str, Any] | None = None,
    noise: float = 0.0,
    seed: int = 0,
    options: PerMethod = None,
    progress: Callable[[int, int], object] | None = None,
) -> Sweep:
    """Run each method at all learning rates.

    Args:
        game, start, steps, noise, seed: as in ``simulate``, with one start.
        methods, options: as in ``compare``.
        rates: positive numbers (r,), in any order; by default those of ``RATES``.
        workers: compute methods side by side in so many processes of this machine; the numbers are the same. ``game``
            is then a name or a formula.
        scheduler: the address of a Dask scheduler whose workers compute instead.
        game_options: the options of a game that is a name.
        progress: is called after each method with the number of methods that are done, and of all.

    Raises:
        UsageError: arguments that are not valid, with those that are.
        MissingPackageError: dask.distributed is missing.
        FileError: the scheduler does not answer.

    >>> sweep(methods=["optimistic", "extragradient"]).limits
    array([0.57735027, 1.        ])
    """
    workers = 0 if workers is None and scheduler is None else workers
    check_processes(workers, scheduler)
    how = dict(game_options or {})
    figures = list[Figures]()
    found, plan, values = find_game(game, **how), read_methods(methods, options), _rates(rates)
    others = (values, start, steps, noise, seed)
    with processes(workers, scheduler) as computing:
        pending = [
            computing.submit(_figures, *((found, {}, row) if workers == 0 else (game, how, row.name)), filled, *others)
            for row, filled in plan
        ]
        for each in pending:
            figures.append(each.result())
            if progress:
                progress(len(figures), len(plan))
    return Sweep(
        game=found,
        start=figures[-1].start,
        methods=tuple(row for row, _ in plan),
        rates=values,
        steps=steps,
        measured=np.array([each.measured for each in figures]),
        spectral_radius=np.array([each.spectral_radius for each in figures], dtype=float),
        status=np.array([each.status for each in figures]),
        limits=np.array([each.limit for each in figures], dtype=float),
        costs=np.array([row.cost for row, _ in plan]),
    )


class Figures(NamedTuple):
    """The results of a sweep for one method: as in ``Sweep``, without the axis of the methods."""

    start: Array
    measured: Array
    spectral_radius: Sequence[Any]
    status: Array
    limit: float | None


def _figures(
    game: str | Game,
    how: Mapping[str, Any],
    method: str | Method,
    filled: Mapping[str, Any],
    rates: Array,
    start: object,
    steps: int,
    noise: float,
    seed: int,
) -> Figures:
    """The figures of a method on a game: both by their names where another process is given them."""
    game, row = find_game(game, **how), find_method(method)
    result = simulate(game, row, start, [*map(float, rates)], steps, noise=noise, seed=seed, **filled)
    if result.z.ndim != 3:
        raise UsageError(f"rates are swept from one start: start must be {game.size} numbers")
    linear = near_equilibrium(game) if row.has_operator else None
    radii = [linear and local_radius(row, linear, float(rate), filled) for rate in rates]
    limit = forecast(game, row, None, **filled).stability_limit
    return Figures(result.z[0, 0], result.rate, radii, result.status, limit)


def _rates(given: object) -> Array:
    if given is None:
        return np.geomspace(*RATES)
    wanted = "a list of numbers above 0"
    found = finite_array("rates", given, wanted)
    if found.ndim != 1 or not found.size or (found <= 0).any():
        raise UsageError(f"rates must be {wanted}, not {given!r}")
    return np.unique(found)
