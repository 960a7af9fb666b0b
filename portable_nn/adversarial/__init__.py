"""Two-player zero-sum games: the dynamics of gradient methods, theory and simulation, and GANs.

x maximises f, y minimises it; gradient descent-ascent moves z = (x, y) along -F, where F = (-∂f/∂x, ∂f/∂y).

Folders, each importing only from those before it: ``games`` (payoffs and derivatives), ``methods`` (updates),
``theory`` (convergence factors without a run), ``runs`` (simulation), ``gan`` (networks as players), ``pictures``.

>>> from portable_nn.adversarial import simulate
>>> simulate("bilinear").message
'diverges (proved by the eigenvalues): the distance is multiplied by 1.004988 per step'
>>> simulate("x*y", "extragradient", steps=2000).success
True
"""

from __future__ import annotations

from portable_nn.adversarial.games.expressions import FUNCTIONS
from portable_nn.adversarial.games.game import Game, linear_game
from portable_nn.adversarial.games.table import GAMES, game
from portable_nn.adversarial.methods.table import METHODS, SCHEMES, Method, find_method
from portable_nn.adversarial.runs.comparison import Compared, Comparison, compare
from portable_nn.adversarial.runs.portrait import Portrait, portrait
from portable_nn.adversarial.runs.rates import DECAYS
from portable_nn.adversarial.runs.report import RunReport, report
from portable_nn.adversarial.runs.result import Result
from portable_nn.adversarial.runs.simulation import simulate
from portable_nn.adversarial.runs.sweeping import Sweep, sweep
from portable_nn.adversarial.theory.analysis import Analysis, analyse
from portable_nn.adversarial.theory.forecast import Forecast, converging, forecast
from portable_nn.adversarial.theory.updates import (
    exact_factor,
    invariant,
    spectral_radius,
    spectrum,
    stability_limit,
    update_operator,
)

__all__ = [
    "DECAYS",
    "FUNCTIONS",
    "GAMES",
    "METHODS",
    "SCHEMES",
    "Analysis",
    "Compared",
    "Comparison",
    "Forecast",
    "Game",
    "Method",
    "Portrait",
    "Result",
    "RunReport",
    "Sweep",
    "analyse",
    "compare",
    "converging",
    "exact_factor",
    "find_method",
    "forecast",
    "game",
    "invariant",
    "linear_game",
    "portrait",
    "report",
    "simulate",
    "spectral_radius",
    "spectrum",
    "stability_limit",
    "sweep",
    "update_operator",
]
