"""A run beside the predictions of theory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.games.table import game as find_game
from portable_nn.adversarial.methods.table import Method
from portable_nn.adversarial.runs.rates import LearningRate
from portable_nn.adversarial.runs.result import Result
from portable_nn.adversarial.runs.simulation import simulate
from portable_nn.adversarial.runs.verdict import FALLING, GROWING, Verdict
from portable_nn.adversarial.theory.analysis import steps_for_a_turn
from portable_nn.adversarial.theory.forecast import Forecast, converging, forecast
from portable_nn.core.errors import UsageError
from portable_nn.operators import Array

TENFOLD: Final = 10.0


@dataclass(frozen=True, eq=False)
class RunReport:
    """One run beside the predictions of theory.

    Attributes:
        result: the run.
        forecast: its convergence factor and stability limit by theory.
        remedies: the methods that converge on this game at this learning rate, the fastest first.
        turn: steps for one rotation about the equilibrium, by the eigenvalues; ``None`` without rotation.
    """

    result: Result
    forecast: Forecast
    remedies: tuple[Forecast, ...]
    turn: float | None

    @property
    def verdict(self) -> Verdict:
        """The verdict on the run."""
        return self.result.verdicts[0]

    @property
    def lengths(self) -> Array:
        """The distance to the nearest equilibrium at each recorded point; ‖F‖ where none is known: (n,)."""
        return self.result.lengths

    @property
    def tenfold(self) -> int | None:
        """Steps until the distance is ten times the first, or a tenth of it if the run converges or fell.

        If the run ends before, it is extrapolated with the measured factor if that is exact; ``None`` if it is not, and
        if the run does neither.
        """
        if self.verdict.status not in FALLING | GROWING or not self.lengths[0] > 0:
            return None
        with np.errstate(over="ignore"):
            ratios = self.lengths / self.lengths[0]
        grows = self.verdict.status in GROWING
        reached = ratios >= TENFOLD if grows else ratios <= 1 / TENFOLD
        if reached.any():
            return int(self.result.t[np.argmax(reached)])
        if not (self.verdict.exact and self.result.rates.constant):
            return None
        log = abs(float(np.log(self.verdict.factor))) if self.verdict.factor > 0 else 0.0
        return int(np.ceil(np.log(TENFOLD) / log)) if np.isfinite(log) and log > 0 else None

    @property
    def is_reached(self) -> bool:
        """True if ``tenfold`` is within the run."""
        return self.tenfold is not None and self.tenfold <= int(self.result.t[-1])

    @property
    def averaged(self) -> float:
        """The distance of the average iterate to the nearest equilibrium; nan where none is known."""
        return float(self.result.game.distance(self.result.average[-1]))


def report(
    game: Any = "bilinear", method: str | Method = "simultaneous", learning_rate: LearningRate = 0.1, **arguments: Any
) -> RunReport:
    """One run beside the predictions of theory; arguments as in ``simulate``, with one start and one learning rate.

    Raises ``UsageError`` for arguments that are not valid, with those that are.
    """
    found = find_game(game)
    result = simulate(found, method, learning_rate=learning_rate, **arguments)
    if result.z.ndim != 2:
        raise UsageError("a report is on one run: give one start and one rate")
    known: Any = None if arguments.get("decay") is not None else learning_rate
    theory = forecast(found, result.method, known, **dict[str, Any](result.options))
    remedies = converging(found, known) if isinstance(known, (int, float, tuple)) else []
    turn = steps_for_a_turn(found, theory, known) if theory.spectral_radius is not None else None
    return RunReport(result, theory, tuple(remedies), turn)
