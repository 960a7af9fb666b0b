"""Examples that an input is meant for: rows of its table, and numbers of its range."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from portable_nn.core.graph import Graph
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.engines.ranges import Range, ranges
from portable_nn.format.meaning import Column, InputInfo

Make: TypeAlias = Callable[[Array, np.random.Generator], Array]
"""Makes examples, (n, …), of as many random ones, as floats."""


class Meant(NamedTuple):
    """The maker of examples for an input, and whether no other numbers go in: the first nodes tell only the usual
    ones."""

    make: Make
    is_stated: bool


ABSENT: Final = 1 / 3
"""The share of missing numbers in a column that may have them."""


def meant(graph: Graph, parameters: NamedArrays, infos: Iterable[InputInfo]) -> dict[str, Meant]:
    """The makers of examples for the inputs whose columns or ranges are known, by name.

    Args:
        graph: the graph; its first nodes may say what range they are made for (see ``engines.ranges``).
        parameters: the values of its parameters.
        infos: descriptions of the inputs. A range that they state counts more than that of the first nodes.
    """
    found = {name: Meant(_usual(each), is_stated=False) for name, each in ranges(graph, parameters).items()}
    known = {value.name: value for value in graph.inputs}
    for info in infos:
        if info.name in known and info.columns and known[info.name].shape[1:] == (len(info.columns),):
            found[info.name] = Meant(rows_of(info.columns), is_stated=True)
        elif info.name in known and info.range:
            found[info.name] = Meant(_within(*map(np.asarray, info.range)), is_stated=True)
    return found


def _within(low: Array, high: Array) -> Make:
    """Brings each example to the numbers from ``low`` to ``high``."""

    def make(noise: Array, rng: np.random.Generator) -> Array:
        axes = tuple(range(1, noise.ndim))
        least, most = noise.min(axes, keepdims=True), noise.max(axes, keepdims=True)
        wide = np.where(most > least, most - least, 1)
        found: Array = low + (high - low) * np.where(most > least, (noise - least) / wide, rng.random(noise.shape))
        return found

    return make


def _usual(usual: Range) -> Make:
    """Brings examples to a range, unless noise does not miss it by far."""
    within = _within(usual.low, usual.high)

    def make(noise: Array, rng: np.random.Generator) -> Array:
        return within(noise, rng) if usual.fault(np.asarray(rng.standard_normal(noise.shape))) else noise

    return make


def rows_of(columns: Sequence[Column]) -> Make:
    """Makes rows: of numbers with the mean and the deviation of those in training, and of all kinds of categories."""

    def make(noise: Array, rng: np.random.Generator) -> Array:
        cells = [_cells(column, noise[:, place], rng) for place, column in enumerate(columns)]
        return np.stack(cells, axis=1)

    return make


def _cells(column: Column, noise: Array, rng: np.random.Generator) -> Array:
    cells: Array = noise.astype(np.float64)
    if column.categories:
        least = -1 if column.unknown == "other" else 0
        cells = np.asarray(rng.integers(least, len(column.categories), noise.shape), np.float64)
    elif known := column.statistics:
        cells = np.asarray(np.clip(known.mean + known.std * cells, known.minimum, known.maximum))
    return cells if column.missing == "refuse" else np.where(rng.random(noise.shape) < ABSENT, np.nan, cells)
