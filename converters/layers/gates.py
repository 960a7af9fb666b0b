"""Recurrent layers in other code bases: the class, the states and the order of gates of each operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.core.tensors import Array


class Recurrent(NamedTuple):
    """A recurrent operator and the layers that it is.

    Gates are one letter each, in the order of the blocks of rows: i, f and o are the input, forget and output gates, g
    is the new memory; z and r are the update and reset gates, n is the new state.

    Attributes:
        operator: its name in the standard.
        gates: the standard's order of gates.
        torch: PyTorch's.
        keras: Keras's.
        flax: flax's, where one dense layer has them all; the letters are also the ends of the names of its dense
            layers, such as ``hi``.
        keras_class: the class in Keras.
        flax_classes: the classes of cells in flax.
        states: how many states there are.
    """

    operator: str
    gates: str
    torch: str
    keras: str
    flax: str
    keras_class: str
    flax_classes: tuple[str, ...]
    states: int = 1

    def places(self, there: str, here: str | None = None) -> tuple[int, ...]:
        """The place among the gates ``there`` of each gate ``here``, by default of the standard."""
        return tuple(map(there.index, here or self.gates))


def reordered(rows: Array, before: str, after: str) -> Array:
    """The rows of all gates in another order of gates."""
    blocks = dict(zip(before, np.split(rows, len(before)), strict=True))
    return np.concatenate([blocks[gate] for gate in after])


OPERATORS: Final[Mapping[str, Recurrent]] = {
    row.operator: row
    for row in (
        Recurrent("RNN", " ", " ", " ", " ", "SimpleRNN", ("SimpleCell",)),
        Recurrent("GRU", "zrn", "rzn", "zrn", "rzn", "GRU", ("GRUCell",)),
        Recurrent("LSTM", "iofg", "ifgo", "ifgo", "ifgo", "LSTM", ("LSTMCell", "OptimizedLSTMCell"), 2),
    )
}
"""The recurrent operators, by name."""

TORCH: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "lstm": ("LSTM", {}),
    "gru": ("GRU", {"linear_before_reset": 1}),
    "rnn_tanh": ("RNN", {}),
    "rnn_relu": ("RNN", {"activations": ["Relu"]}),
}
"""The same, by PyTorch's function, with the attributes that it has."""

KERAS: Final[Mapping[str, Recurrent]] = {row.keras_class: row for row in OPERATORS.values()}
"""The recurrent operators, by the class in Keras."""
