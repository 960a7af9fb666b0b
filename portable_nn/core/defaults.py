"""The defaults that several functions and commands share.

This module imports nothing of the package, so that ``--help`` can show them without loading numpy.
"""

from __future__ import annotations

from typing import Final

OPTIMIZER: Final = "adam"
"""The optimizer of a training."""

BATCH_SIZE: Final = 256
"""The number of examples that are computed at once in prediction and evaluation of files and tables."""

MOST_AT_ONCE: Final = 512
"""The most examples that ``Network.predict`` computes at once of arrays, unless another number is asked for."""
