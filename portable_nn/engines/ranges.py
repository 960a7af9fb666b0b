"""The range of numbers that a network is made for, and data that miss it by far.

It follows from the first nodes: arithmetic with frozen parameters, such as ``Normalization`` and ``Rescaling`` make it.
A mean and a standard deviation say where the data lie; a factor says what they are divided by. Nothing else is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, starmap
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.core.errors import DataWarning, warn
from portable_nn.core.graph import Graph, Node, Tensor, Value
from portable_nn.format.meaning import InputInfo
from portable_nn.operators import Array, NamedArrays, operator_of
from portable_nn.preprocessing.steps import NormaliseStep, PictureStep, Preprocessing, ScaleStep

WIDE: Final = 3.0
"""The standard deviations from the mean that count as in range."""

FAR: Final = 4.0
"""The multiple of the number that a factor brings to 1 which is too much."""

TINY: Final = 0.02
"""The share of the largest number that is meant which is too little."""

FEW: Final = 20
"""Fewer numbers of columns may all be near 0 by chance."""

LOOKED_AT: Final = 256
"""The number of examples that are looked at, and of elements of each."""


class Range(NamedTuple):
    """The numbers that an input is made for: from ``low`` to ``high``, each an array that fits one example.

    Args:
        node: the node that says so.
        low: the least that is usual.
        high: the most that is usual.
        least: what lies below this is far away.
        most: what lies above this is far away.
    """

    node: str
    low: Array
    high: Array
    least: Array
    most: Array

    def __str__(self) -> str:
        return f"from about {self.low.min():.3g} to {self.high.max():.3g}"

    def fault(self, x: Array) -> str:
        """The fault of examples ``x``, (n, …), that miss the range by far, in words; empty where they do not.

        Zeros say nothing, and the others decide by majority: an outlier is no mistake. What some of the numbers say is
        made sure of with all of them: a thin stroke may lie between those.
        """
        if not x.size or not self._fault(x, LOOKED_AT):
            return ""
        return self._fault(x, x[:1].size)

    def _fault(self, x: Array, numbers: int) -> str:
        """As ``fault``, by so many numbers of each example."""
        found = _some(x, numbers)
        low, high, least, most = (_some(np.broadcast_to(each, x.shape[1:])[np.newaxis], numbers) for each in self[1:])
        finite = np.isfinite(found)
        counted = finite & (found != 0)
        outside = counted & ((found < least) | (found > most))
        by_column = self.low.size > 1 and x.ndim == 2 and x.shape[1] == found.shape[1]
        if np.count_nonzero(outside) <= np.count_nonzero(counted) / 2:
            outside = counted & (np.abs(found) < TINY * np.maximum(np.abs(low), np.abs(high)))
            # A picture of 1, 2 and 3 is dark, and no picture of 0 to 1.
            whole = not by_column and found[finite].max(initial=0) > 1 and bool((found == np.rint(found))[finite].all())
            usual = (counted & ~outside).any() or (by_column and np.count_nonzero(counted) < FEW)
            if usual or whole:
                outside = counted & by_column & _in_another_unit(np.where(counted, np.abs(found), np.nan), low, high)
            if not outside.any():
                return ""
        text = f"hold numbers from {found[finite].min():.3g} to {found[finite].max():.3g}"
        if not by_column:
            return text
        row, column = np.argwhere(outside)[0]
        usual = f"{low[0, column]:.3g} to {high[0, column]:.3g}"
        return f"{text}, such as {found[row, column]:.3g} in column {column + 1}, where {usual} is usual"


def _in_another_unit(sizes: Array, low: Array, high: Array) -> Any:
    """The columns of ``sizes`` (n, columns) that hold only numbers much smaller or larger than usual; NaN is none.

    Much smaller is less than a tenth of the least that is usual, if that is far from 0: a column of zeros and few ones
    has a low end below 0, and what is smaller there is usual.
    """
    least, most = np.sort(np.abs([low, high]), axis=0)
    least = np.where((low * high > 0) & (least > most / 7), least, 0)
    return ~((sizes >= least / 10).any(axis=0) & (sizes <= 100 * most).any(axis=0))


class RangeCheck:
    """Warns of examples that miss by far what a network is made for.

    Those of the first call, of the second, the fourth and so on are looked at, and the first ones of each shape:
    looking takes longer than a small network does.

    Args:
        graph: the graph of the network.
        parameters: its parameters, which may change; ``preparing`` names those that are read.
    """

    def __init__(self, graph: Graph, parameters: NamedArrays) -> None:
        self._graph, self._parameters = graph, parameters
        self._seen = set[tuple[tuple[int, ...], ...]]()
        self._calls = 0

    @property
    def is_due(self) -> bool:
        """Count a call; whether its examples are to be looked at."""
        self._calls += 1
        return not self._calls & (self._calls - 1)

    def __call__(self, infos: Sequence[InputInfo], feeds: NamedArrays) -> None:
        """Look at arrays by input name, if it is time; ``infos`` are the descriptions of the inputs."""
        shapes = tuple(array.shape for array in feeds.values())
        if self.is_due or shapes not in self._seen:
            self._seen.add(shapes)
            self.look(infos, feeds)

    def look(self, infos: Sequence[InputInfo], feeds: NamedArrays) -> None:
        """Look at arrays by input name."""
        warn_of_range(self._graph, self._parameters, infos, feeds)


def warn_of_range(graph: Graph, parameters: NamedArrays, infos: Sequence[InputInfo], feeds: NamedArrays) -> None:
    """Warn of ``feeds``, arrays by input name, that miss by far what the network is made for."""
    for text in faults_of(graph, parameters, infos, feeds):
        warn(text, DataWarning)


def faults_of(graph: Graph, parameters: NamedArrays, infos: Sequence[InputInfo], feeds: NamedArrays) -> list[str]:
    """A sentence for each input whose array misses by far what the network is made for."""
    found = ranges(graph, parameters)
    reasons = {
        name: f"the network is made for numbers {each}, which '{each.node}' scales" for name, each in found.items()
    }
    for info in infos:
        if info.name not in found and (prepared := _of_steps(info.preprocessing)):
            found[info.name] = prepared
            reasons[info.name] = (
                f"the network takes numbers {prepared}: the steps of preprocessing that its file lists are not part of "
                "it, and pnn.predict applies them"
            )
    faults = {name: each.fault(feeds[name]) for name, each in found.items()}
    return [f"input '{name}': the examples {fault}, but {reasons[name]}" for name, fault in faults.items() if fault]


def ranges(graph: Graph, parameters: NamedArrays) -> dict[str, Range]:
    """The ranges of the inputs whose first nodes say what they are made for, by name."""
    found = {value.name: _range(graph, parameters, value) for value in graph.inputs if value.shape}
    return {name: each for name, each in found.items() if each}


def preparing(graph: Graph) -> frozenset[str]:
    """The frozen parameters of the first nodes, which prepare the inputs."""
    frozen = {value.name for value in graph.parameters if not value.trainable}
    read = {name for value in graph.inputs for node in _chain(graph, value.name) for name in node.inputs}
    return frozenset(read & frozen)


def _of_steps(steps: Preprocessing) -> Range | None:
    """The range of what the steps of an older file give: a normalisation 0 ± 1, a factor what it makes of a picture."""
    scaling = [step for step in steps if isinstance(step, ScaleStep | NormaliseStep)]
    if scaling and isinstance(scaling[-1], NormaliseStep):
        low, high = -WIDE, WIDE
    elif len(scaling) == 1 and isinstance(scaling[0], ScaleStep) and isinstance(steps[0], PictureStep):
        low, high = sorted((scaling[0].offset, scaling[0].offset + 255 * scaling[0].factor))
    else:
        return None
    away = (FAR - 1) * (high - low)
    return Range("", *map(np.array, (low, high, low - away, high + away)))


def _chain(graph: Graph, name: str) -> Iterator[Node]:
    """The nodes that follow one another from the input ``name`` on, and otherwise read the same for all data."""
    fixed = {value.name for value in graph.parameters if not value.trainable} | literals(graph).keys()
    while name not in graph.outputs:
        readers = [node for node in graph.nodes if name in node.inputs]
        others = [each for node in readers for each in node.inputs if each != name]
        if len(readers) != 1 or not fixed.issuperset(others):
            return
        [node] = readers
        if not (_moves(node) or (operator_of(node).affine and len(others) == 1)):
            return
        yield node
        name = node.outputs[0]


def _moves(node: Node) -> bool:
    """True if a node gives the elements of its first input, and no others."""
    passes = operator_of(node).passes  # As many as two thousand million.
    return len(passes) == 1 and passes[0] == 0


def literals(graph: Graph) -> dict[str, Tensor]:
    """The constants in a graph by the name of the value."""
    found = {node.outputs[0]: node.attributes.get("value") for node in graph.nodes if node.operator == "Constant"}
    return {name: literal for name, literal in found.items() if isinstance(literal, Tensor)}


def _range(graph: Graph, parameters: NamedArrays, value: Value) -> Range | None:
    """The range of an input: where its prepared form is about 0 ± 1, or from 0 to 1."""
    factor, offset, done = _preparation(graph, parameters, value.name)
    if not done or not np.isfinite(factor).all() or not np.all(factor):
        return None
    centred = ("Sub", "Div") in pairwise(node.operator for node in done)
    ends = [np.asarray(end) for end in (_around if centred else _from_zero)(factor, offset)]
    if not (ends[1] > ends[0]).all():  # An offset that says nothing of what goes in.
        return None
    made = [end for end in ends if end.ndim < len(value.shape) or len(end) == 1]
    made = [end[0] if end.ndim == len(value.shape) else end for end in made]
    return Range(done[-1].name, *made) if len(made) == 4 else None


def _preparation(graph: Graph, parameters: NamedArrays, read: str) -> tuple[Any, Any, list[Node]]:
    """The factor and the offset that an input is prepared with, and the nodes that do so; none where others do."""
    factor = np.float64(1)
    offset = np.float64(0)
    constants, done, moved = literals(graph), list[Node](), False
    for node in _chain(graph, read):
        operator = operator_of(node)
        if operator.affine:
            place = node.inputs.index(read)
            name = node.inputs[1 - place]
            literal = constants.get(name)
            found = np.reshape(literal.data, literal.shape) if literal else parameters[name]
            other = np.asarray(found, np.float64)
            other = other.reshape(()) if other.size == 1 else other
            if place not in operator.affine or not np.isfinite(other).all():  # 1 / x, or a mask.
                return factor, offset, []
            if (other.ndim and moved) or found.dtype.kind in "iu":
                break  # Its axes are not those of the input; or places are counted, which have no scale.
            # What a function of x · factor + offset and of another number is, from its values where x is 0 and 1.
            ends = [(x, other) if place == 0 else (other, x) for x in (offset, factor + offset)]
            offset, end = starmap(operator.affine[place], ends)
            factor = end - offset
            done.append(node)
        moved = moved or not operator.elementwise
        read = node.outputs[0]
    return factor, offset, done


def _around(factor: Any, offset: Any) -> tuple[Any, Any, Any, Any]:
    """The range mapped to mean 0 ± 3 standard deviations."""
    centre, spread = -offset / factor, WIDE / np.abs(factor)
    return centre - spread, centre + spread, centre - spread, centre + spread


def _from_zero(factor: Any, offset: Any) -> tuple[Any, Any, Any, Any]:
    """The range from 0 to what becomes 1, or 0 where the sign is turned."""
    high = (np.where(factor > 0, 1.0, 0.0) - offset) / factor
    return np.zeros_like(high), high, (1 - FAR) * np.abs(high), FAR * np.abs(high)


def _some(x: Array, numbers: int) -> Array:
    """At most ``LOOKED_AT`` examples, and so many numbers of each, evenly spread: (n, numbers)."""
    size = max(1, x[:1].size)
    rows = x[:: -(-len(x) // min(LOOKED_AT, max(1, LOOKED_AT**2 // size)))]
    return rows.reshape(len(rows), -1)[:, :: -(-size // numbers)]
