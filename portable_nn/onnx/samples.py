"""Random inputs to compare two engines on, each in a range that the graph can use.

Most inputs are normally distributed. Indices must be within the table that they index, masks are zeros and ones,
logarithms need positive numbers: such ranges are propagated from the nodes back to the inputs. The ``samples`` of an
operator's registration are the ranges of its inputs; the range of an output holds for the inputs that it ``passes`` on.
Sizes are chosen before: so that formulas hold, and that positions computed of sizes are within tables and masks.
Where an input is described, it gets what it is meant for: rows of its table, or numbers of its range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np

from portable_nn.core.dims import evaluated, is_at_least, names_in, solved, substituted
from portable_nn.core.errors import GraphError
from portable_nn.core.graph import Dim, Graph, Node, Value
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.engines.claims import check_claims
from portable_nn.engines.ranges import Range, literals, ranges
from portable_nn.format.meaning import Column, InputInfo
from portable_nn.operators import (
    INTEGERS,
    Family,
    Interval,
    Types,
    infer,
    sizes_for_indices,
    use_of,
)
from portable_nn.operators.elements import below

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
    found = {name: Meant(partial(_usual, each), is_stated=False) for name, each in ranges(graph, parameters).items()}
    known = {value.name: value for value in graph.inputs}
    for info in infos:
        if info.name in known and info.columns and known[info.name].shape[1:] == (len(info.columns),):
            found[info.name] = Meant(partial(rows_of, info.columns), is_stated=True)
        elif info.name in known and info.range:
            low, high = map(np.asarray, info.range)
            found[info.name] = Meant(partial(_in_range, low, high), is_stated=True)
    return found


def _in_range(low: Array, high: Array, noise: Array, rng: np.random.Generator) -> Array:
    """Brings each example to the numbers from ``low`` to ``high``."""
    axes = tuple(range(1, noise.ndim))
    least, most = noise.min(axes, keepdims=True), noise.max(axes, keepdims=True)
    wide = np.where(most > least, most - least, 1)
    found: Array = low + (high - low) * np.where(most > least, (noise - least) / wide, rng.random(noise.shape))
    return found


def _usual(usual: Range, noise: Array, rng: np.random.Generator) -> Array:
    """Brings examples to a range, unless noise does not miss it by far."""
    fault = usual.fault(np.asarray(rng.standard_normal(noise.shape)))
    return _in_range(usual.low, usual.high, noise, rng) if fault else noise


def rows_of(columns: Sequence[Column], noise: Array, rng: np.random.Generator) -> Array:
    """Makes rows: of numbers with the mean and the deviation of those in training, and of all kinds of categories."""
    cells = [_cells(column, noise[:, place], rng) for place, column in enumerate(columns)]
    return np.stack(cells, axis=1)


def _cells(column: Column, noise: Array, rng: np.random.Generator) -> Array:
    cells = noise.astype(np.float64)
    if column.categories:
        least = -1 if column.unknown == "other" else 0
        cells = np.asarray(rng.integers(least, len(column.categories), noise.shape), np.float64)
    elif known := column.statistics:
        cells = np.asarray(np.clip(known.mean + known.std * cells, known.minimum, known.maximum))
    return cells if column.missing == "refuse" else np.where(rng.random(noise.shape) < ABSENT, np.nan, cells)


BATCHES: Final = (1, 3)
"""The values of an unknown first size: one example is a special case, and so is an odd number."""

SEVERAL: Final = (2, 3)
"""The same, where one example alone cannot be computed."""

SIZES: Final[tuple[int, ...]] = (16, 33, 32, 64, 128, 224, 256, 8, 4, 2, 1, 1024, 4096)
"""The values that are tried for any other unknown size, such as the length of a sequence or, the last, of a sound; the
first that fits."""


class NoInputsError(Exception):
    """No inputs are found that fit a graph; never leaves the package."""


Pattern: TypeAlias = Literal["noise", "faint", "loud", "shapes", "waves"]
"""A kind of example: noise of deviation 1, 0.05 and 8; blobs and edges; gratings and a checkerboard."""

_TRUTH: Final = Interval(0, 1)


_RECKONING: Final[frozenset[Family]] = frozenset({"linear", "activation", "reduction", "arithmetic"})
"""The families of operators that integers of any size may go into."""


def spans(graph: Graph, types: Types, *, any_whole: bool = False) -> dict[str, Interval]:
    """The ranges of values, as far as the nodes that read them have limits.

    Integers that arithmetic alone reads are small, or any if ``any_whole``.
    """
    found: dict[str, Interval] = {}
    for node in reversed(graph.nodes):
        after = next((found[name] for name in node.outputs if name in found), None)
        whole = any(types[name].dtype in INTEGERS for name in node.outputs if name in found)
        for place, name in enumerate(node.inputs):
            span = _limit(node, place, types, after, whole, any_whole=any_whole) if name else None
            if span:
                found[name] = span.within(found.get(name))
    return found


def _limit(
    node: Node, place: int, types: Types, after: Interval | None, whole: bool, *, any_whole: bool
) -> Interval | None:
    """The limit of a node's input at ``place``; ``after`` is that of its output, which is of integers if ``whole``."""
    use = use_of(node, types)
    operator, own = use.operator, use.operator.samples.get(place)
    if callable(own):
        own = own(use)
    elif place in operator.indexes:
        own = below(min((size for size in operator.indexes[place](use) if isinstance(size, int)), default=1))
    if after and place in operator.passes:
        return after.within(own)
    if after and whole and own is None:  # Sums and products of indices are valid indices only if they are small.
        return _TRUTH
    dtype = types[next(filter(None, node.inputs))].dtype
    if own or any_whole or operator.family not in _RECKONING or dtype not in INTEGERS:
        return own
    return Interval(0, 9) if dtype.startswith("u") else Interval(-9, 9)


def varied(
    graph: Graph,
    rng: np.random.Generator,
    made_for: Mapping[str, Meant] = MappingProxyType({}),
    sizes: Sequence[int] = SIZES,
    batches: tuple[int, int] = BATCHES,
) -> list[dict[str, Array]]:
    """Inputs that make a difference: of one example, and twice of several, in which each is of another kind.

    These two have the same shapes, so that the spread of every value over the inputs can be measured. Where sizes other
    than the batch are symbolic, a fourth follows; they are other numbers in the first, in these two and in the fourth,
    and different from each other, as far as such numbers fit. Among the examples are noise of three scales and, for
    inputs with two axes or more beside the batch, pictures.

    Args:
        graph: the graph.
        rng: what they are drawn from.
        made_for: what brings examples to what an input is meant for, by name (see ``meant``); the first ones
            only where that is stated.
        sizes: the values that are tried for sizes other than the batch.
        batches: the values of an unknown first size.

    Raises:
        NoInputsError: no values are found for the unknown sizes.
        GraphError: inputs or values of these sizes would take too much memory.
    """
    first, types = _bound(graph, batches[0], sizes=sizes)
    symbolic = any(isinstance(dim, str) for value in graph.inputs for dim in value.shape)
    several, more = _bound(graph, batches[1], (first,), sizes) if symbolic else (first, types)
    bound = [(first, types), (several, more), (several, more)]
    if open_sizes(graph):
        bound.append(_bound(graph, batches[1], (first, several), sizes))
    found = []
    for number, (shapes, known) in enumerate(bound):
        check_claims(graph, known)
        limits = spans(graph, known)
        chosen = {name: each for name, each in made_for.items() if number or each.is_stated}
        found.append(_inputs(graph, shapes, limits, rng, MIXTURES[min(number, 2)], chosen))
    return found


def redrawn(
    graph: Graph,
    feeds: NamedArrays,
    rng: np.random.Generator,
    made_for: Mapping[str, Meant],
    kinds: Iterable[Pattern] = ("noise", "waves"),
) -> list[dict[str, Array]]:
    """Other inputs of the shapes of ``feeds``, one of each of ``kinds``; ``made_for`` is that of ``varied``."""
    limits = spans(graph, infer(graph, {name: array.shape for name, array in feeds.items()}).types)
    shapes = {name: array.shape for name, array in feeds.items()}
    return [_inputs(graph, shapes, limits, rng, (kind,), made_for) for kind in kinds]


def _inputs(
    graph: Graph,
    shapes: Mapping[str, tuple[int, ...]],
    limits: Mapping[str, Interval],
    rng: np.random.Generator,
    kinds: Sequence[Pattern],
    made_for: Mapping[str, Meant],
) -> dict[str, Array]:
    """Inputs of the given ``kinds``, or what is made of them where an input has no other limits."""
    found, met = dict[str, Array](), compared(graph)
    for value in graph.inputs:
        array = drawn(value, shapes[value.name], limits.get(value.name), rng, kinds)
        is_made = value.name in made_for and array.size and array.dtype.kind == "f" and value.name not in limits
        array = made_for[value.name].make(array, rng).astype(array.dtype) if is_made else array
        if value.name in met and array.ndim > 1:
            for row in range(1, len(array)):
                array[row, len(array[row]) - len(array[row]) * row // len(array) :] = met[value.name]
        found[value.name] = array
    return found


def compared(graph: Graph) -> dict[str, float]:
    """The numbers that inputs are tested to be equal to, by input, such as what pads short sequences.

    Random numbers would never be equal to them, so such an input has them at the ends of all examples but the first;
    so have the indices of an embedding, which code bases pad with 0.
    """
    inputs = {value.name for value in graph.inputs}
    numbers = literals(graph)
    cast = {node.outputs[0]: node.inputs[0] for node in graph.nodes if node.operator == "Cast"}
    weights = {value.name for value in graph.parameters}
    found = dict[str, float]()
    for node in graph.nodes:
        if node.operator == "Gather" and node.inputs[0] in weights:
            index = cast.get(node.inputs[1], node.inputs[1])
            found |= dict.fromkeys(inputs & {index}, 0)
        number = numbers.get(node.inputs[-1]) if node.operator == "Equal" and node.inputs[0] in inputs else None
        if number and len(number.data) == 1 and number.dtype != "bool":
            found[node.inputs[0]] = number.data[0]
    return found


MIXTURES: Final[tuple[tuple[Pattern, ...], ...]] = (
    ("noise",),
    ("noise", "faint", "shapes"),
    ("waves", "noise", "loud"),
)
"""The kinds of the examples in each of the inputs of ``varied``; where there is one example, it has the first kind."""


def has_batch(graph: Graph) -> bool:
    """True if a first size is symbolic."""
    return any(isinstance(dim, str) for value in graph.inputs for dim in value.shape[:1])


def open_sizes(graph: Graph) -> list[str]:
    """The names of symbolic sizes that are not the batch."""
    leading = names_in(dim for value in graph.inputs for dim in value.shape[:1])
    return sorted(names_in(dim for value in graph.inputs for dim in value.shape) - leading)


def _bound(
    graph: Graph,
    batch: int,
    after: Sequence[Mapping[str, tuple[int, ...]]] = (),
    sizes: Sequence[int] = SIZES,
) -> tuple[dict[str, tuple[int, ...]], Types]:
    """Shapes of the inputs without unknown sizes, and the types of all values for these.

    Sizes that are not the batch are others than those in ``after``, and differ from each other, if such fit.
    """
    others, reason = open_sizes(graph), None
    batches = dict.fromkeys(names_in(dim for value in graph.inputs for dim in value.shape).difference(others), batch)
    taken = {
        (dim, shapes[value.name][axis])
        for shapes in after
        for value in graph.inputs
        for axis, dim in enumerate(value.shape)
    }
    limits = _limits(graph, others, batches)
    trials = [_within(limits, chosen) for chosen in _assignments(sizes, others)]
    for chosen in sorted(trials, key=lambda chosen: (_excess(limits, chosen), not taken.isdisjoint(chosen.items()))):
        known = {**batches, **chosen}
        shapes = {value.name: tuple(_number(dim, known, batch) for dim in value.shape) for value in graph.inputs}
        try:
            return shapes, infer(graph, shapes).types
        except GraphError as error:
            reason = reason or error
    assert reason is not None
    if not others:
        raise reason
    named = " and ".join(f"'{dim}'" for dim in others)
    raise NoInputsError(
        f"none of the sizes {', '.join(map(str, sorted(sizes)))} that are tried for {named} fits the nodes"
    ) from reason


def _number(dim: Dim, known: Mapping[str, int], otherwise: int) -> int:
    found = evaluated(dim, known)
    return otherwise if found is None else found


_Limits: TypeAlias = Sequence[tuple[Dim, Dim, tuple[str, Dim] | None]]
"""Sizes of axes, how large they should be, and the size of a name with which they are exactly so large."""


def _limits(graph: Graph, names: Sequence[str], batches: Mapping[str, int]) -> _Limits:
    """The limits that the indices which the graph computes set to sizes with these ``names``."""
    shapes = {value.name: substituted(value.shape, batches) for value in graph.inputs}
    try:
        found = set(sizes_for_indices(graph, infer(graph, shapes).types)) if names else set()
    except GraphError:  # It fits numbers alone.
        return ()
    wanted = sorted((pair for pair in found if not is_at_least(*pair)), key=str)
    return [(size, least, solved(size, least, names)) for size, least in wanted]


def _excess(limits: _Limits, chosen: Mapping[str, int]) -> int:
    """The number of ``limits`` that the ``chosen`` sizes exceed."""
    pairs = ((evaluated(size, chosen), evaluated(least, chosen)) for size, least, _ in limits)
    return sum(size is not None and least is not None and size < least for size, least in pairs)


def _within(limits: _Limits, chosen: dict[str, int]) -> dict[str, int]:
    """The ``chosen`` sizes, with others for those that follow from the rest where they exceed ``limits``."""
    for limit in limits:
        if limit[2] and _excess([limit], chosen):
            name, size = limit[2]
            chosen = {**chosen, name: max(1, evaluated(size, chosen) or 1)}
    return chosen


def _assignments(sizes: Sequence[int], names: Sequence[str]) -> Iterator[dict[str, int]]:
    """Sizes for all ``names``, by turns different ones and one for all."""
    for first in range(len(sizes)):
        several = [sizes[(first + place) % len(sizes)] for place in range(len(names))]
        for each in (several, [sizes[first]] * len(names))[: len(names)]:
            yield dict(zip(names, each, strict=True))
    if not names:
        yield {}


def drawn(
    value: Value,
    shape: tuple[int, ...],
    span: Interval | None,
    rng: np.random.Generator,
    kinds: Sequence[Pattern] = ("noise",),
) -> Array:
    """An input whose examples along the first axis are of the given ``kinds`` in turn, if it has no ``span``.

    A single number, which has no axis, is noise.
    """
    if np.dtype(value.dtype).kind != "f" or span or not shape:
        return _draw(value, shape, span, rng)
    parts = max(1, len(kinds)) if shape and shape[0] >= len(kinds) else 1
    found = np.empty(shape)
    for part, kind in enumerate(kinds[:parts]):
        place = np.s_[part::parts] if parts > 1 else ...
        found[place] = PATTERNS[kind](found[place].shape, rng)
    return found.astype(value.dtype)


def _shapes(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Blobs and edges along the last two axes, 0 to 1, of another place and size in each picture."""
    at = [np.linspace(0, 1, size) for size in shape[-2:]]
    rows, columns = at[0][:, None] if len(at) > 1 else 0.5, at[-1]
    low, high, radius, angle, edge = (rng.uniform(a, b, (*shape[:-2], 1, 1)) for a, b in _SHAPES)
    blob = np.exp(-(((rows - low) ** 2 + (columns - high) ** 2) / radius**2))
    return (blob / 2 + ((rows * np.cos(angle) + columns * np.sin(angle)) > edge) / 2).reshape(shape)


_SHAPES: Final = ((0.2, 0.8), (0.2, 0.8), (0.1, 0.4), (-1.5, 1.5), (0, 0.6))
"""The ranges of the place and the radius of a blob, and of the angle and the distance of an edge."""


def _waves(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Gratings along the last two axes, of other frequencies in each picture, and a checkerboard over them."""
    places = [np.arange(size) for size in shape[-2:]]
    rows, columns = places[0][:, None] if len(places) > 1 else np.zeros((1, 1)), places[-1]
    one, other, phase = (rng.uniform(0, most, (*shape[:-2], 1, 1)) for most in (3, 3, 6))
    return (np.sin(one * rows + other * columns + phase) + ((rows + columns) % 2 - 0.5) / 2).reshape(shape)


def _noise(scale: float) -> Callable[[tuple[int, ...], np.random.Generator], Array]:
    return lambda shape, rng: scale * rng.standard_normal(shape)


PATTERNS: Final[Mapping[Pattern, Callable[[tuple[int, ...], np.random.Generator], Array]]] = {
    "noise": _noise(1),
    "faint": _noise(0.05),
    "loud": _noise(8),
    "shapes": _shapes,
    "waves": _waves,
}
"""The function that makes the examples of each kind, for a shape."""


def _draw(value: Value, shape: tuple[int, ...], span: Interval | None, rng: np.random.Generator) -> Array:
    """Normally distributed, or uniform in ``span``; integers without one are zeros and ones, which mostly fit."""
    if np.dtype(value.dtype).kind == "f":
        drawn = rng.uniform(*span, shape) if span else rng.standard_normal(shape)
        return drawn.astype(value.dtype)
    low, high = span if span and value.dtype != "bool" else _TRUTH
    most = 1 if value.dtype == "bool" else np.iinfo(value.dtype).max
    return rng.integers(math.ceil(low), min(math.floor(high), most), shape, endpoint=True).astype(value.dtype)
