"""The weights of one model in another of the same architecture, whatever code base and names either has."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, permutations
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from msgspec.structs import replace

from portable_nn.converters.conversion import KEPT, Imported, Side, compare_sides
from portable_nn.converters.mapping import parsed, read_map, write_map
from portable_nn.converters.pairing import Pair, Sides, ways
from portable_nn.converters.slots import Slot, slots_of, unpacked
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UsageError, VerificationError, listed
from portable_nn.core.graph import Shape, format_shape
from portable_nn.core.memory import aligned_array
from portable_nn.core.text import either
from portable_nn.core.tolerances import ATOL, RTOL
from portable_nn.engines.once import run_numpy
from portable_nn.network import Network, remade
from portable_nn.onnx.verify import Proof, Tolerance
from portable_nn.operators import Array, NamedArrays, Type, infer
from portable_nn.plain.matching import target

__all__ = ["import_weights"]

TRIES: Final = 100
"""The most ways that are tried."""


@check_kinds
def import_weights(
    model: Network,
    *,
    into: Network,
    rename: Mapping[str, str] = MappingProxyType({}),
    map: str | Path | None = None,
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: int = 0,
) -> Imported:
    """The network ``into`` with the weights of another of the same architecture, such as one of another code base.

    Weights are found by what reads them, and what is before and after that; layouts and orders of gates follow from
    both graphs. Names decide only between those that the graphs do not tell apart. Then both networks run on the same
    inputs.

    Args:
        model: the network whose weights are taken: ``from_torch``, ``from_keras`` and ``from_jax`` make one.
        into: the network whose graph, names of parameters, labels and preprocessing are kept.
        rename: what is known already: names there → names here; an empty name leaves a tensor out.
        map: a JSON file of such names. Where there is none, all names are written there once both sides agree.
        verify: whether both must compute the same. Otherwise the map is written unproved.
        atol, rtol, seed: the tolerances of that, and the seed of the inputs.

    Raises:
        UsageError: tensors have no counterpart, or several: all of them, with the option that decides.
        VerificationError: both do not compute the same with the same weights.
    """
    meant = _meant(model, {**(read_map(map) if map and Path(map).exists() else {}), **rename})
    sized, every = _sized(into, model), (slots_of(into), slots_of(model))
    here, there = unpacked(*every), unpacked(*every[::-1])
    there = [slot for slot in there if not slot.names or any(meant.get(name) != {""} for name in slot.names)]
    faults = list[str]()
    for pairs, doubtful in islice(ways((here, there), list(_known(here, there, meant))), TRIES):
        _check_all(into, here, there, pairs)
        made, proof, doubts = _filled(into, pairs), Proof(), list(_doubts(doubtful))
        try:
            if verify:
                ours, run = remade(sized, made.parameters.arrays), _side(made, model)
                proof = compare_sides(ours, run, "the other model", tolerance=Tolerance(atol, rtol), seed=seed)
        except VerificationError as error:
            doubts = [f"{each}: --rename decides" for each in doubts]
            faults = faults or [str(error), *doubts, *_left_over(model, _mapping(pairs, into, model))]
            continue
        if map is not None:
            write_map(map, _mapping(pairs, into, model))
        found = "proved by the outputs" if verify else "taken by their names or order, and not proved"
        return Imported(made, proof, (*(f"{each}: {found}" for each in doubts), KEPT))
    raise VerificationError(listed(faults, "no map is proved, and none is written"))


def _meant(model: Network, given: Mapping[str, str]) -> dict[str, set[str]]:
    """The names here of each tensor there, as far as they are given."""
    if unknown := [f"there is no tensor '{name}' to rename" for name in given if name not in model.parameters]:
        raise UsageError(listed(unknown, "the other model"))
    return {
        name: {parsed(each, model.parameters[name].ndim).name for each in text.split(", ")}
        for name, text in given.items()
    }


def _known(here: Sequence[Slot], there: Sequence[Slot], meant: Mapping[str, set[str]]) -> Iterator[Pair]:
    """The pairs that the given names say."""
    left = list(here)
    for theirs in there:
        wanted = set[str]().union(*(meant.get(name, ()) for name in theirs.names))
        kind = theirs.role, theirs.values.shape
        for ours in [each for each in left if kind == (each.role, each.values.shape) and wanted & {*each.names}][:1]:
            left.remove(ours)
            yield ours, theirs


def _filled(into: Network, pairs: Sequence[Pair]) -> Network:
    """The network with the weights of the other."""
    arrays = into.parameters
    every = np.concatenate([np.ravel(array) for array in arrays.values()])
    for ours, theirs in pairs:
        mine, values = ours.places >= 0, theirs.values
        if ours.role.startswith("bias of") and values.ndim == 2:  # For inputs, and for states: their sum counts.
            pair, has = values.reshape(len(values), 2, -1), mine.reshape(len(values), 2, -1)
            values = (pair + np.where(has[:, ::-1], 0, pair[:, ::-1])).reshape(values.shape)
        every[ours.places[mine]] = values[mine]
    parts = np.split(every, np.cumsum([array.size for array in arrays.values()])[:-1])
    cut = zip(into.graph.parameters, parts, strict=True)
    return remade(into, {each.name: aligned_array(part.reshape(each.shape), each.dtype) for each, part in cut})


def _mapping(pairs: Sequence[Pair], into: Network, model: Network) -> dict[str, str]:
    """The names here by those there, in the order of those, with the transposition where that is all."""
    found: dict[str, dict[str, None]] = {name: {} for name in model.parameters}
    for ours, theirs in pairs:
        names = [name for name in ours.names if name in into.parameters]
        for name in model.parameters.keys() & {*theirs.names}:
            turned = _turned(ours, theirs, into.parameters[names[0]].shape, model.parameters[name].shape)
            found[name] |= dict.fromkeys(target(each, turned) for each in names)
    return {name: ", ".join(here) for name, here in found.items() if here}


def _left_over(model: Network, taken: Mapping[str, str]) -> list[str]:
    """A text on each tensor of a model that has no name here."""
    return [f"nothing here takes '{name}' of the other model" for name in model.parameters if name not in taken]


def _turned(ours: Slot, theirs: Slot, here: tuple[int, ...], there: tuple[int, ...]) -> tuple[int, ...]:
    """The axes by which a tensor there is the one here; empty where it is as it is, or more than that was done."""
    if not ours.places.size == theirs.places.size == math.prod(here) == math.prod(there):
        return ()
    places = (ours.places - ours.places.min()).ravel(), (theirs.places - theirs.places.min()).ravel()
    sources, numbers = np.empty(math.prod(here), int), np.arange(math.prod(there)).reshape(there)
    sources[places[0]] = places[1]
    _, *others = permutations(range(len(there)))
    fitting = (axes for axes in others if np.array_equal(numbers.transpose(axes), sources.reshape(here)))
    return () if np.array_equal(numbers, sources.reshape(here)) else next(fitting, ())


def _check_all(into: Network, here: Sequence[Slot], there: Sequence[Slot], pairs: Sequence[Pair]) -> None:
    """Raise ``UsageError`` with what could be said of each parameter that has no counterpart."""
    done = {slot for pair in pairs for slot in pair}
    filled = {name for slot in done for name in slot.names}
    faults = list[str]()
    for value in into.graph.parameters:
        shapes = {slot.values.shape for slot in here if value.name in slot.names}
        near = [slot.names[0] for slot in there if slot not in done and slot.values.shape in shapes]
        how = f": --rename '{near[0]}={value.name}' if it is {either(near)}" if near else " has no counterpart"
        faults += [f"'{value.name}' {format_shape(value.shape)}{how}"] * (value.name not in filled and bool(shapes))
    if faults:
        raise UsageError(listed(faults, "not all weights are found in the other model"))


def _doubts(doubtful: Sequence[Sides]) -> Iterator[str]:
    """The parameters that the graphs do not tell apart."""
    for sides in doubtful:
        here, there = (", ".join(slot.names[0] for slot in side if slot.names) for side in sides)
        yield f"the graphs do not tell which of {there} is which of {here}"


def _sized(ours: Network, theirs: Network) -> Network:
    """The network with inputs of the sizes that the other one has. Raises ``UsageError`` where it has not as many."""
    graph, other = ours.graph, theirs.graph
    if (len(graph.inputs), len(graph.outputs)) != (len(other.inputs), len(other.outputs)):
        there, here = (f"{len(each.inputs)} inputs and {len(each.outputs)} outputs" for each in (other, graph))
        raise UsageError(f"the other model has {there}, and the network {here}")
    inputs = []
    for value, kind in zip(graph.inputs, other.inputs, strict=True):
        sizes = [kind.shape[axis] for axis in _axes(kind.shape, value.shape)]
        pairs = zip(value.shape, sizes, strict=False)
        inputs.append(replace(value, shape=tuple(own if isinstance(own, int) else size for own, size in pairs)))
    graph = replace(graph, inputs=tuple(inputs))
    return Network.from_graph(graph, ours.parameters.arrays, inputs=ours.inputs, outputs=ours.outputs, copy=False)


def _side(ours: Network, theirs: Network) -> Side:
    """The other network, with the inputs and outputs of this one in their order: channels may be first or last."""
    kinds, others = (infer(network.graph).types for network in (ours, theirs))

    inputs = [[value.name for value in network.graph.inputs] for network in (ours, theirs)]

    def moved(array: Array, kind: Type, other: Type) -> Array:
        return array.transpose(_axes(kind.shape, other.shape)).astype(other.dtype)

    def run(feeds: NamedArrays) -> dict[str, Array]:
        given = {name: moved(feeds[each], kinds[each], others[name]) for each, name in zip(*inputs, strict=True)}
        made = run_numpy(theirs.graph, theirs.parameters, given)
        outputs = zip(ours.graph.outputs, theirs.graph.outputs, strict=True)
        return {each: moved(made[name], others[name], kinds[each]) for each, name in outputs}

    return run


def _axes(shape: Shape, other: Shape) -> tuple[int, ...]:
    """The order of axes in which most sizes are those of the other."""
    straight = tuple(range(len(shape)))
    ways = straight, (*straight[:1], *straight[2:], *straight[1:2]), (*straight[:1], *straight[-1:], *straight[1:-1])

    def fitting(way: tuple[int, ...]) -> int:
        return sum(shape[axis] == size for axis, size in zip(way, other, strict=False))

    return max(ways, key=fitting)
