"""Methods over many learning rates: up to where each converges, by measurement and by theory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from portable_nn.adversarial.choices import finite_array
from portable_nn.adversarial.forecast import (
    Given,
    Methods,
    PerMethod,
    forecast,
    near_equilibrium,
    radius,
    read_methods,
)
from portable_nn.adversarial.game import Game
from portable_nn.adversarial.games import game as find_game
from portable_nn.adversarial.methods import Method
from portable_nn.adversarial.simulation import simulate
from portable_nn.core.errors import UsageError
from portable_nn.operators.registry import Array

STEPS: Final = 400
"""How many steps each run takes."""

RATES: Final = (0.01, 4.0, 40)
"""If no rates are given: from, to, and how many, with equal ratios between them."""

Progress: TypeAlias = Callable[[int, int], object]
"""Gets how many methods are done, and of how many."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """``methods`` (m) by ``rates`` (r).

    ``measured`` and ``spectral_radius`` (m, r) are factors of the distance a step, not a number where none is known;
    ``status`` (m, r) is that of ``Result``; ``limits`` (m,) are the rates up to which the distance does not grow, not a
    number where that is not known; ``costs`` (m,) gradient evaluations a step. Each run began at ``start`` (d,).
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
        """The measured factor for each gradient evaluation: (m, r)."""
        return np.asarray(self.measured ** (1 / self.costs[:, None]))

    @property
    def best(self) -> Array:
        """The place in ``rates`` of the smallest measured factor of each method: (m,)."""
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
    progress: Progress | None = None,
) -> Sweep:
    """Let each method play at all rates at once.

    Args:
        game, start, steps, noise, seed: as in ``simulate``, with one start.
        methods, options: as in ``compare``.
        rates: Numbers above 0 (r,), in any order; by default those of ``RATES``.
        progress: Is called after each method.

    Raises ``UsageError`` for what makes no sense, with the valid choices.
    """
    found = find_game(game)
    plan, values = read_methods(methods, options), _rates(rates)
    local = near_equilibrium(found)
    rows: list[_Row] = []
    for row, filled in plan:
        result = simulate(found, row, start, [*map(float, values)], steps, noise=noise, seed=seed, **filled)
        if result.z.ndim != 3:
            raise UsageError(f"rates are swept from one start: start must be {found.size} numbers")
        limit = forecast(found, row, None, **filled).stability_limit
        rows.append(
            _Row(
                result.z[0, 0],
                np.asarray(result.rate),
                np.asarray(result.status),
                _radii(local, row, values, filled),
                np.nan if limit is None else limit,
            )
        )
        if progress:
            progress(len(rows), len(plan))
    return Sweep(
        found,
        rows[0].start,
        tuple(row for row, _ in plan),
        values,
        steps,
        np.array([row.measured for row in rows]),
        np.array([row.radii for row in rows]),
        np.array([row.status for row in rows]),
        np.array([row.limit for row in rows]),
        np.array([row.evaluations + row.jacobians for row, _ in plan]),
    )


class _Row(NamedTuple):
    """What is kept of a method: not its runs, which may be large."""

    start: Array
    measured: Array
    status: Array
    radii: Array
    limit: float


def _rates(given: object) -> Array:
    if given is None:
        return np.geomspace(*RATES)
    wanted = "a list of numbers above 0"
    found = finite_array("rates", given, wanted)
    if found.ndim != 1 or not found.size or (found <= 0).any():
        raise UsageError(f"rates must be {wanted}, not {given!r}")
    return np.unique(found)


def _radii(local: Game | None, row: Method, rates: Array, options: Given) -> Array:
    if local is None or not row.linear or row.period is None:
        return np.full(len(rates), np.nan)
    found = [radius(row, local, (float(rate), float(rate)), options) for rate in rates]
    return np.array([np.nan if one is None else one for one in found])
