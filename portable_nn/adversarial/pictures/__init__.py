"""Pictures of games, runs, methods and GANs, each a matplotlib figure: ``plotting.save`` writes it.

>>> from portable_nn.adversarial import pictures, simulate
>>> from portable_nn.core.plotting import save
>>> save(pictures.run(simulate("bilinear")), "run.png")
"""

from __future__ import annotations

from portable_nn.adversarial.pictures.animations import animation as animation
from portable_nn.adversarial.pictures.comparisons import comparison as comparison
from portable_nn.adversarial.pictures.eigenvalues import spectrum as spectrum
from portable_nn.adversarial.pictures.gans import gan as gan
from portable_nn.adversarial.pictures.paper import game_in_words as game_in_words
from portable_nn.adversarial.pictures.payoffs import saddle as saddle
from portable_nn.adversarial.pictures.phases import field as field
from portable_nn.adversarial.pictures.sweeps import sweep as sweep
from portable_nn.adversarial.pictures.trajectories import circle_and_spiral as circle_and_spiral
from portable_nn.adversarial.pictures.trajectories import run as run
