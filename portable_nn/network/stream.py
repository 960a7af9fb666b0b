"""A sequence that comes in parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np

from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.core.graph import Graph, Value
from portable_nn.core.names import Engine
from portable_nn.format.meaning import InputInfo
from portable_nn.operators.registry import Array, NamedArrays

__all__ = ["Stream"]


@runtime_checkable
class Stateful(Protocol):
    """A network with states."""

    graph: Graph
    inputs: tuple[InputInfo, ...]

    def predict(self, x: Any, *, engine: Engine = ..., batch_size: int | None = ...) -> Any:
        """As ``Network.predict``."""


class Stream:
    """A sequence, or a batch of them, that comes in parts: ``Network.stream`` makes it.

    Called with the next part, it gives the outputs for it and keeps the states of the layers for the part after it.
    ``map(stream, parts)`` does so for all. Several streams may share a network; one stream is for one thread.

    Attributes:
        states: the states after the last part by the names of the inputs that take them; empty before the first one,
            where they are zeros. A copy of them, put back, goes on from there.
    """

    def __init__(self, network: Stateful, engine: Engine = "numpy") -> None:
        if not isinstance(network, Stateful):
            raise UsageError(f"Stream: network must be a network, as network.stream() gives it, not {network!r:.60}")
        self.network, self.engine = network, engine
        self.states: NamedArrays = {}
        self._next: Final = {info.name: info.state for info in network.inputs if info.state}
        self._data = [value for value in network.graph.inputs if value.name not in self._next]
        self._kept = [value for value in network.graph.inputs if value.name in self._next]

    def __call__(self, x: Any) -> Any:
        """The outputs for the next part, without the states.

        Args:
            x: an array in the shape that the input has, with any number of steps, one among them; a dict of arrays by
                input name where there are several inputs.

        Returns an array where there is one output and ``x`` is an array, otherwise a dict by output name.

        Raises ``ShapeError`` and ``UsageError`` as ``Network.predict`` does, and where ``x`` has another number of
        sequences than the part before. The states then stay as they are.
        """
        if not isinstance(x, Mapping):
            if len(self._data) != 1:
                names = ", ".join(value.name for value in self._data)
                raise UsageError(f"the network has the inputs {names}: give a dict of arrays by name")
            given = {self._data[0].name: x}
        else:
            given = dict(x)
        if wrong := sorted(self._next.keys() & given.keys()):
            raise UsageError(f"'{wrong[0]}' is a state, which the stream keeps: set it in stream.states")
        states = self._states(given)
        found = self.network.predict({**given, **states}, engine=self.engine)
        self.states = {name: found[output] for name, output in self._next.items()}
        results = {name: array for name, array in found.items() if name not in self._next.values()}
        return next(iter(results.values())) if len(results) == 1 and not isinstance(x, Mapping) else results

    def reset(self) -> None:
        """Begin a new sequence: the states are zeros."""
        self.states = {}

    def _states(self, given: Mapping[str, Any]) -> NamedArrays:
        sizes = {
            dim: size
            for value in self._data
            if value.name in given
            for dim, size in zip(value.shape, np.shape(given[value.name]), strict=False)
        }
        wanted = {value.name: tuple(sizes.get(dim, dim) for dim in value.shape) for value in self._kept}
        if not self.states:
            return {value.name: _zeros(value, wanted[value.name]) for value in self._kept}
        for name, shape in wanted.items():
            if name in self.states and self.states[name].shape != shape:
                raise ShapeError(
                    f"the state '{name}' is {self.states[name].shape}, but this part needs {shape}: as many sequences "
                    "as the part before, or reset() begins anew"
                )
        return self.states

    def __repr__(self) -> str:
        return f"<Stream of {self.network.graph.name} in {self.engine}>"


def _zeros(value: Value, shape: tuple[int | str, ...]) -> Array:
    known = [size for size in shape if isinstance(size, int)]
    if len(known) < len(shape):
        raise UsageError(f"the state '{value.name}' is {value}, and no input says all of its sizes: set stream.states")
    return np.zeros(known, value.dtype)
