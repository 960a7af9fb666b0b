"""Games of two players: why gradient descent fails on them, what works, and GANs that show it.

x maximises f, y minimises it; z = (x, y) moves along -F, where F = (-∂f/∂x, ∂f/∂y).

>>> from portable_nn.adversarial import simulate
>>> simulate("bilinear").message
'diverges: the distance grows by 1.004988 a step'
>>> simulate("x*y", "extragradient", steps=2000).success
True
"""

from __future__ import annotations

from portable_nn.adversarial.comparison import Compared as Compared
from portable_nn.adversarial.comparison import Comparison as Comparison
from portable_nn.adversarial.comparison import compare as compare
from portable_nn.adversarial.expressions import FUNCTIONS as FUNCTIONS
from portable_nn.adversarial.forecast import Forecast as Forecast
from portable_nn.adversarial.forecast import converging as converging
from portable_nn.adversarial.forecast import forecast as forecast
from portable_nn.adversarial.game import Game as Game
from portable_nn.adversarial.game import linear_game as linear_game
from portable_nn.adversarial.games import GAMES as GAMES
from portable_nn.adversarial.games import game as game
from portable_nn.adversarial.methods import METHODS as METHODS
from portable_nn.adversarial.methods import SCHEMES as SCHEMES
from portable_nn.adversarial.methods import Method as Method
from portable_nn.adversarial.methods import find_method as find_method
from portable_nn.adversarial.portrait import Portrait as Portrait
from portable_nn.adversarial.portrait import portrait as portrait
from portable_nn.adversarial.rates import DECAYS as DECAYS
from portable_nn.adversarial.report import Analysis as Analysis
from portable_nn.adversarial.report import Report as Report
from portable_nn.adversarial.report import analyse as analyse
from portable_nn.adversarial.report import report as report
from portable_nn.adversarial.result import Result as Result
from portable_nn.adversarial.simulation import simulate as simulate
from portable_nn.adversarial.sweeping import Sweep as Sweep
from portable_nn.adversarial.sweeping import sweep as sweep
from portable_nn.adversarial.theory import closed_form as closed_form
from portable_nn.adversarial.theory import exact_factor as exact_factor
from portable_nn.adversarial.theory import fitted_rate as fitted_rate
from portable_nn.adversarial.theory import invariant as invariant
from portable_nn.adversarial.theory import spectral_radius as spectral_radius
from portable_nn.adversarial.theory import spectrum as spectrum
from portable_nn.adversarial.theory import stability_limit as stability_limit
from portable_nn.adversarial.theory import update_operator as update_operator
