"""The part of a network that training uses."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from portable_nn.core.graph import Graph
from portable_nn.format.manifest import Manifest
from portable_nn.format.meaning import InputInfo, OutputInfo
from portable_nn.operators.registry import NamedArrays


class Trainable(Protocol):
    """A graph with parameters that can be written to, and a random generator.

    ``outputs`` say what each output means; ``fit`` sets the kinds that follow from the losses. ``rng`` draws the order
    of the examples and the masks of dropout.
    """

    graph: Graph
    inputs: tuple[InputInfo, ...]
    outputs: tuple[OutputInfo, ...]
    rng: np.random.Generator

    @property
    def parameters(self) -> NamedArrays:
        """Arrays by name, which an optimizer updates in place."""

    def own_weights(self) -> None:
        """Make the parameters writable: copy those that are mapped from a file into memory."""

    def manifest(self, *, hashed: bool = True) -> Manifest:
        """The manifest of a weight file, with the hashes of the tensors if ``hashed``."""
