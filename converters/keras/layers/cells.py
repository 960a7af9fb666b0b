"""The cells of recurrent layers as the standard's nodes RNN, GRU and LSTM: orders of gates, activations, biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.converters.keras.layers.activations import function_name
from portable_nn.converters.keras.spec import Spec
from portable_nn.converters.layers.gates import Recurrent, reordered
from portable_nn.core.tensors import Array
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol, constant, emit, emit_all, integers
from portable_nn.operators.recurrent.functions import Function, explicit
from portable_nn.operators.recurrent.uses import KINDS

FUNCTIONS: Final[Mapping[str, tuple[str, float, float]]] = {
    "tanh": ("Tanh", 0, 0),
    "sigmoid": ("Sigmoid", 0, 0),
    "relu": ("Relu", 0, 0),
    "softsign": ("Softsign", 0, 0),
    "softplus": ("Softplus", 0, 0),
    "elu": ("Elu", 1, 0),
    "leaky_relu": ("LeakyRelu", 0.2, 0),
    "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5),
    "linear": ("Affine", 1, 0),
}
"""The activations that the standard has for recurrent operators, and their numbers."""


class Cell(NamedTuple):
    """One direction of a recurrent layer: the weights of the standard, and its options."""

    kind: Recurrent
    units: int
    functions: tuple[str, ...]
    reset_after: bool
    weight: Array
    recurrent: Array
    bias: Array | None

    def goes_with(self, other: Cell) -> bool:
        """True if both can be the directions of one node."""
        return self[:4] == other[:4] and self.weight.shape == other.weight.shape and _has(self) == _has(other)


def _has(cell: Cell) -> bool:
    return cell.bias is not None


def read_cell(spec: Spec, kind: Recurrent, inputs: int) -> Cell:
    """The cell whose options and weights a layer has."""
    units, bias = spec.whole("units"), spec.flag("use_bias", True)
    outer = function_name(spec.get("activation", "tanh"))
    inner = function_name(spec.get("recurrent_activation", "sigmoid")) if kind.operator != "RNN" else ""
    functions = {1: (outer,), 3: (inner, outer), 4: (inner, outer, outer)}[len(kind.gates)]
    if other := [each for each in functions if each not in FUNCTIONS]:
        spec.refuse(f"its activation {other[0]} is none that a recurrent operator can have")
    for unused in ("unit_forget_bias", "implementation", "seed"):
        spec.get(unused)
    after = kind.operator == "GRU" and spec.flag("reset_after", True)
    if spec.number("recurrent_dropout"):
        spec.differs("recurrent_dropout ")
    rows = len(kind.gates) * units
    weight, recurrent = spec.weight(inputs, rows, index=0), spec.weight(units, rows, index=1)
    shift = None
    if bias:
        shift = spec.weight(2, rows, index=2) if after else spec.weight(rows, index=2).reshape(1, rows)
        shift = np.concatenate([reordered(each, kind.keras, kind.gates) for each in shift])
    turned = [reordered(each.T, kind.keras, kind.gates) for each in (weight, recurrent)]
    return Cell(kind, units, functions, after, turned[0], turned[1], shift)


class RecurrentLayer(Layer):
    """A node RNN, GRU or LSTM of one direction or two.

    Args:
        name: the name of the layer.
        cells: one for each direction.
    """

    def __init__(self, name: str, cells: Sequence[Cell]) -> None:
        super().__init__(name)
        self.cells = cells

    def __call__(self, x: Symbol) -> Symbol:
        """(steps, batch, in) → (steps, directions, batch, units)."""
        return self.run(x, None, ())[0]

    def run(self, x: Symbol, lengths: Symbol | None, states: Sequence[Symbol]) -> tuple[Symbol, ...]:
        """The states of all steps, (steps, directions, batch, units), and the last ones, (directions, batch, units)."""
        cell = self.cells[0]
        w, r, *biases = (
            self.parameter(f"{role}_l0", (len(both), *both[0].shape), x.dtype, np.stack(both))
            for role in ("weight", "recurrent", *(["bias"] if _has(cell) else []))
            if (both := [getattr(each, role) for each in self.cells])
        )
        b: Symbol | None = biases[0] if biases else None
        if b is not None and not cell.reset_after:  # Keras adds one number where the standard adds two.
            sizes = [size for size in b.shape if isinstance(size, int)]
            b = emit("Concat", b, emit("Expand", constant(0, x.dtype), integers(sizes)), axis=1)
        attributes: dict[str, Any] = {"hidden_size": cell.units}
        attributes |= {"direction": "bidirectional"} if len(self.cells) > 1 else {}
        attributes |= {"linear_before_reset": 1} if cell.reset_after else {}
        found = [Function(*FUNCTIONS[name]) for name in cell.functions]
        if [each.name for each in found] != [*KINDS[cell.kind.operator].functions]:
            found = found * len(self.cells)
            attributes |= {"activations": [each.name for each in found], **explicit(found)}
        self._uses += 1
        name = self.name if self._uses == 1 else f"{self.name}_{self._uses}"
        made = emit_all(
            cell.kind.operator, x, w, r, b, lengths, *states, outputs=cell.kind.states + 1, name=name, **attributes
        )
        for leaf in self._parameters.values():
            leaf.owner = leaf.owner or made[0]
        return made
