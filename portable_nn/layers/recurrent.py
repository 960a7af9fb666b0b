"""Recurrent layers, with PyTorch's options: each is one or several nodes RNN, LSTM or GRU of the standard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.numbers import BelowOne, Count
from portable_nn.layers.initializers import Initial
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol, constant, emit, emit_all, integers

__all__ = ["GRU", "LSTM", "RNN"]


class _Recurrent(Layer):
    gates: ClassVar[int]
    states: ClassVar[int] = 1

    def __init__(
        self,
        units: Count,
        *,
        layers: Count = 1,
        bias: bool = True,
        batch_first: bool = True,
        dropout: BelowOne = 0.0,
        bidirectional: bool = False,
        last: bool = False,
        weight_initial: Initial | None = None,
        bias_initial: Initial | None = None,
        name: str | None = None,
    ) -> None:
        """Make the layer.

        Args:
            units: the size of a state, PyTorch's ``hidden_size``. The features of the input are read from it.
            layers: how many layers there are, each of which reads the states of the one before; PyTorch's
                ``num_layers``.
            bias: whether biases are added.
            batch_first: whether the input is (batch, steps, features); otherwise it is (steps, batch, features).
            dropout: the probability of zeros between the layers while training, from 0 to less than 1.
            bidirectional: whether a second set of units reads the steps from the last to the first. The states of both
                are next to each other: 2 · units features.
            last: whether only the states after the last step are returned, (batch, features), for a network that
                judges a sequence as a whole; of the backward direction, those after the first one.
            weight_initial: the first values of both weights: the name of an initializer, a number, an array, or a
                function of a random generator and the shape (see ``portable_nn.layers.initializers``). By default, as
                in PyTorch, numbers drawn evenly from ±1 / √units.
            bias_initial: the first values of the biases, likewise.
            name: the name of the last node.

        Raises ``UsageError`` for an option that makes no sense. Calling the layer raises ``GraphError`` where the input
        does not have three dimensions, or its features are not known.
        """
        super().__init__(name)
        kind = type(self).__name__
        self.units, self.layers = int(units), int(layers)
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.bidirectional, self.last = bidirectional, last
        self.options: dict[str, Any] = {"linear_before_reset": 1} if kind == "GRU" else {}
        self.weight_initial = self._drawn if weight_initial is None else weight_initial
        self.bias_initial = self._drawn if bias_initial is None else bias_initial

    def _drawn(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        bound = 1 / math.sqrt(self.units)
        return rng.uniform(-bound, bound, shape)

    def __call__(self, x: Symbol, lengths: Symbol | None = None, states: Sequence[Symbol] | None = None) -> Symbol:
        """(batch, steps, in) → (batch, steps, features), or (batch, features) of the last states.

        Args:
            x: the sequences.
            lengths: how many steps of each sequence are not padding, int32 (batch,): from there on, its states are 0,
                and do not change what comes last.
            states: those before the first step, (layers · directions, batch, units): h, and c of an LSTM; by default
                zeros.
        """
        return self.with_states(x, lengths, states)[0]

    def with_states(
        self, x: Symbol, lengths: Symbol | None = None, states: Sequence[Symbol] | None = None
    ) -> tuple[Symbol, tuple[Symbol, ...]]:
        """The output of the layer, and its states after the last step: (layers · directions, batch, units)."""
        if len(x.shape) != 3 or not isinstance(x.shape[2], int):
            axes = "(batch, steps, features)" if self.batch_first else "(steps, batch, features)"
            raise self.invalid(f"it needs {axes} with known features, not {format_shape(x.shape)}")
        if states is not None and len(states) != self.states:
            raise self.invalid(f"it needs {self.states} initial states, not {len(states)}")
        y = emit("Transpose", x, perm=[1, 0, 2]) if self.batch_first else x
        given = [_parts(state, self.layers) for state in states or ()]
        final: list[tuple[Symbol, ...]] = []
        for place in range(self.layers):
            if place and self.dropout:
                y = emit("Dropout", y, constant(self.dropout, "float32"))
            y, found = self._one(place, y, lengths, [state[place] for state in given])
            final.append(found)
        directions = 2 if self.bidirectional else 1
        if self.last:
            rows = emit("Transpose", final[-1][0], perm=[1, 0, 2])
            result = self.emit("Reshape", rows, integers([0, directions * self.units]))
        elif self.batch_first:
            result = self.emit("Transpose", y, perm=[1, 0, 2])
        else:
            result = self.emit("Identity", y)
        return result, tuple(
            each[0] if self.layers == 1 else emit("Concat", *each, axis=0) for each in zip(*final, strict=True)
        )

    def _one(
        self, place: int, x: Symbol, lengths: Symbol | None, states: Sequence[Symbol]
    ) -> tuple[Symbol, tuple[Symbol, ...]]:
        """One layer: (steps, batch, in) → (steps, batch, features), and its states after the last step."""
        directions, rows, features = 2 if self.bidirectional else 1, self.gates * self.units, x.shape[2]
        assert isinstance(features, int)

        def weights(role: str, *shape: int) -> Symbol:
            initial = self.bias_initial if role == "bias" else self.weight_initial
            return self.parameter(f"{role}_l{place}", (directions, *shape), x.dtype, initial)

        w, r = weights("weight", rows, features), weights("recurrent", rows, self.units)
        b = weights("bias", 2 * rows) if self.bias else None
        y, *final = emit_all(
            type(self).__name__, x, w, r, b, lengths, *states, outputs=self.states + 1, hidden_size=self.units,
            direction="bidirectional" if self.bidirectional else None, stem=f"{self.name or self.stem}_layer",
            **self.options,
        )  # fmt: skip
        if self.bidirectional:
            y = emit("Reshape", emit("Transpose", y, perm=[0, 2, 1, 3]), integers([0, 0, 2 * self.units]))
        else:
            y = emit("Squeeze", y, integers([1]))
        return y, tuple(final)


def _parts(state: Symbol, layers: int) -> Sequence[Symbol]:
    """The states of each layer."""
    return [state] if layers == 1 else emit_all("Split", state, outputs=layers, axis=0, num_outputs=layers)


class RNN(_Recurrent):
    """A recurrent layer: h ← f(x·Wᵀ + h·Rᵀ + b) in each step, where f is tanh or, as ``nonlinearity``, ReLU.

    (batch, steps, in) → (batch, steps, units). Parameters of each layer k, with one row of the first axis for each
    direction: ``weight_lk`` (directions, units, in), ``recurrent_lk`` (directions, units, units) and ``bias_lk``
    (directions, 2 · units), that of W and that of R. Source: Elman, Cognitive Science 14 (1990).
    """

    gates = 1

    def __init__(
        self,
        units: Count,
        *,
        layers: Count = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = True,
        dropout: BelowOne = 0.0,
        bidirectional: bool = False,
        last: bool = False,
        weight_initial: Initial | None = None,
        bias_initial: Initial | None = None,
        name: str | None = None,
    ) -> None:
        """Make the layer, with the options of ``GRU`` and one more.

        Args:
            units: as for ``GRU``.
            layers: as for ``GRU``.
            nonlinearity: ``tanh`` or ``relu``.
            bias: as for ``GRU``.
            batch_first: as for ``GRU``.
            dropout: as for ``GRU``.
            bidirectional: as for ``GRU``.
            last: as for ``GRU``.
            weight_initial: as for ``GRU``.
            bias_initial: as for ``GRU``.
            name: as for ``GRU``.

        Raises ``UsageError`` for an option that makes no sense, and what calling ``GRU`` raises.
        """
        super().__init__(
            units, layers=layers, bias=bias, batch_first=batch_first, dropout=dropout, bidirectional=bidirectional,
            last=last, weight_initial=weight_initial, bias_initial=bias_initial, name=name,
        )  # fmt: skip
        if nonlinearity not in ("tanh", "relu"):
            raise UsageError(f"RNN: nonlinearity must be tanh or relu, not {nonlinearity!r}")
        if nonlinearity == "relu":
            self.options = {"activations": ["Relu"] * (2 if self.bidirectional else 1)}


class GRU(_Recurrent):
    """A layer of gated recurrent units, with the reset gate after the product with R, as in PyTorch.

    (batch, steps, in) → (batch, steps, units). Parameters of each layer k, with one row of the first axis for each
    direction: ``weight_lk`` (directions, 3 · units, in), ``recurrent_lk`` (directions, 3 · units, units) and
    ``bias_lk`` (directions, 6 · units), those of W and of R; the gates are in the order z, r, h of the
    standard, which is not PyTorch's. Source: Cho et al., EMNLP 2014.
    """

    gates = 3


class LSTM(_Recurrent):
    """A layer of long short-term memory.

    (batch, steps, in) → (batch, steps, units). Parameters of each layer k, with one row of the first axis for each
    direction: ``weight_lk`` (directions, 4 · units, in), ``recurrent_lk`` (directions, 4 · units, units) and
    ``bias_lk`` (directions, 8 · units), those of W and of R; the gates are in the order i, o, f, c of
    the standard, which is not PyTorch's. Source: Hochreiter and Schmidhuber, Neural Computation 9 (1997).

    >>> import portable_nn as pnn
    >>> tagger = pnn.Sequential(pnn.Input("steps", 8), pnn.LSTM(16, bidirectional=True), pnn.Dense(3), seed=0)
    >>> tagger.graph.inputs[0].shape, tagger.parameters["lstm_1.weight_l0"].shape
    (('batch', 'steps', 8), (2, 64, 8))
    """

    gates = 4
    states = 2
