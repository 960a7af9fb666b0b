"""What training needs of a network, whatever it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from portable_nn.core.graph import Graph
from portable_nn.format.manifest import Manifest, OutputInfo
from portable_nn.operators.registry import Array


class Trainable(Protocol):
    """A graph with parameters that can be written to, and a random generator.

    ``outputs`` say what each output means; ``fit`` notes there what the loss has made of it. ``rng`` draws the order of
    the examples and the masks of dropout.
    """

    graph: Graph
    outputs: tuple[OutputInfo, ...]
    rng: np.random.Generator

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Arrays by name, which an optimizer updates in place."""

    def own_weights(self) -> None:
        """Make the parameters writable: copy those that are mapped from a file into memory."""

    def check_inputs(self, x: Any, *, cast: bool = True) -> dict[str, Array]:
        """``x`` as arrays by input name. Raises ``ShapeError`` or ``UsageError`` where it does not fit."""

    def at_once(self, feeds: Mapping[str, Array]) -> int:
        """The inference batch size for examples such as ``feeds``."""

    def description(self) -> Manifest:
        """The manifest of a weight file, without the hashes of the tensors."""
