"""Methods over a grid of learning rates: where each converges, measured and by theory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.games.game import Game
from portable_nn.adversarial.games.options import finite_array
from portable_nn.adversarial.games.table import game as find_game
from portable_nn.adversarial.methods.table import Method, Methods, PerMethod, read_methods
from portable_nn.adversarial.runs.simulation import simulate
from portable_nn.adversarial.theory.forecast import forecast, local_radius, near_equilibrium
from portable_nn.core.errors import UsageError
from portable_nn.operators.registry import Array

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
        progress: is called after each method with the number of methods that are done, and of all.

    Raises ``UsageError`` for arguments that are not valid, with those that are.

    >>> sweep(methods=["optimistic"]).limits
    array([0.57735027])
    """
    found = find_game(game)
    plan, values = read_methods(methods, options), _rates(rates)
    local = near_equilibrium(found)
    measured, radii, status, limits = [], [], [], []
    for row, filled in plan:
        result = simulate(found, row, start, [*map(float, values)], steps, noise=noise, seed=seed, **filled)
        if result.z.ndim != 3:
            raise UsageError(f"rates are swept from one start: start must be {found.size} numbers")
        measured.append(result.rate)
        status.append(result.status)
        linear = local if row.has_operator else None
        radii.append([linear and local_radius(row, linear, float(rate), filled) for rate in values])
        limits.append(forecast(found, row, None, **filled).stability_limit)
        if progress:
            progress(len(limits), len(plan))
    return Sweep(
        game=found,
        start=result.z[0, 0],
        methods=tuple(row for row, _ in plan),
        rates=values,
        steps=steps,
        measured=np.array(measured),
        spectral_radius=np.array(radii, dtype=float),
        status=np.array(status),
        limits=np.array(limits, dtype=float),
        costs=np.array([row.cost for row, _ in plan]),
    )


def _rates(given: object) -> Array:
    if given is None:
        return np.geomspace(*RATES)
    wanted = "a list of numbers above 0"
    found = finite_array("rates", given, wanted)
    if found.ndim != 1 or not found.size or (found <= 0).any():
        raise UsageError(f"rates must be {wanted}, not {given!r}")
    return np.unique(found)
