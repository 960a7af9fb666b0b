"""The inputs and outputs of two models: which belong together, and the numbers that both are given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any, TypeAlias

import numpy as np

from portable_nn.comparison.side import AXES, Side
from portable_nn.core.graph import Shape, Value, format_shape
from portable_nn.core.tensors import Array
from portable_nn.core.text import quantity, some
from portable_nn.engines.feeds import fitted
from portable_nn.network import Network
from portable_nn.onnx.opsets.support import reads
from portable_nn.runtimes.subject import Feeds, Subject
from portable_nn.runtimes.task import Port

Words: TypeAlias = dict[str, list[tuple[str, Sequence[str]]]]
"""What has words, and these, by the name of an input or output: columns with their categories, or classes."""


def with_read_inputs(subject: Subject) -> Subject:
    """A model without the inputs that no node reads, where it has others: exporters leave them out, or keep them."""
    read = {name for node in subject.model.graph.node for name in reads(node)}
    kept = tuple(port for port in subject.inputs if port.name in read.union(each.name for each in subject.outputs))
    if len(kept) == len(subject.inputs) or read.isdisjoint(port.name for port in kept):
        return subject
    model = type(subject.model)()
    model.CopyFrom(subject.model)
    del model.graph.input[:]
    model.graph.input.extend(each for each in subject.model.graph.input if each.name in {port.name for port in kept})
    return replace(subject, model=model, inputs=kept)


def unread_inputs(whole: Sequence[Subject], read: Sequence[Subject]) -> Iterator[str]:
    """The note on inputs that are left out."""
    left = [
        f"'{port.name}' of {letter}"
        for letter, each, kept in zip("AB", whole, read, strict=True)
        for port in each.inputs
        if port not in kept.inputs
    ]
    if left:
        yield f"inputs that no node reads are left out: {some(left)}"


def pair_outputs(one: Side, other: Side) -> tuple[str, ...]:
    """Let both have the same outputs in one order; a note on those left out."""
    pairs = _same_outputs(one, other)
    left = [*(f"'{name}' of A" for name in one.outputs if name not in pairs)]
    left += [f"'{name}' of B" for name in other.outputs if name not in pairs.values()]
    if pairs:
        one.outputs, other.outputs = tuple(pairs), tuple(pairs.values())
    return (f"outputs that one model has alone are left out: {some(left)}",) if left and pairs else ()


def _same_outputs(one: Side, other: Side) -> dict[str, str]:
    """The outputs of the second model by those of the first.

    They are paired by name, and the others in order, or where one model has more of them, by type and shape.
    """
    pairs = {name: name for name in one.outputs if name in other.outputs}
    as_many = len(one.outputs) == len(other.outputs)
    for ours in one.subject.outputs:
        free = (each for each in other.subject.outputs if each.name not in pairs.values())
        theirs = next((each for each in free if as_many or _are_alike(ours, each)), None)
        if ours.name not in pairs and theirs:
            pairs[ours.name] = theirs.name
    return pairs


def unlike_ends(one: Side, other: Side) -> str:
    """The difference of the ends of two models that makes them two functions of other things; empty where none."""
    if len(one.inputs) != len(other.inputs) or len(one.outputs) != len(other.outputs):
        ends = (
            f"{quantity(len(each.inputs), 'input')}, {quantity(len(each.outputs), 'output')}" for each in (one, other)
        )
        return "A has {} and B {}".format(*ends)
    entries = _entries(one, other)
    other.inputs = tuple(theirs.name for _, theirs, _ in entries)
    for ours, theirs, order in entries:
        if order is None:
            shapes = f"{format_shape(ours.shape)} and {format_shape(theirs.shape)}"
            return f"input '{ours.name}' of A and '{theirs.name}' of B have the shapes {shapes}"
    deciding = (text for text, decides in _other_words(one, other) if decides)
    return next(deciding, "")


def _other_words(one: Side, other: Side) -> Iterator[tuple[str, bool]]:
    """The differences of the categories and classes that numbers stand for, and whether each makes another function.

    Other categories do, and the same classes in another order; a class may have another name.
    """
    ours, theirs = _words(one), _words(other)
    pairs = [(mine.name, its.name) for mine, its, _ in _entries(one, other)]
    for a, b in (*pairs, *zip(one.outputs, other.outputs, strict=False)):
        for (what, mine), (_, its) in zip(ours.get(a, ()), theirs.get(b, ()), strict=False):
            if mine and its and mine != its:
                text = f"{what} has {some(mine)} in A, and {some(its)} in B"
                yield text, a in one.inputs or sorted(mine) == sorted(its)


def _words(side: Side) -> Words:
    """The words of a model; none where it is no network here."""
    network, found = side.subject.network, Words()
    if isinstance(network, Network):
        for info in network.inputs:
            found[info.name] = [(f"column '{column.name}'", column.categories) for column in info.columns]
        for output in network.outputs:
            found[output.name] = [(f"output '{output.name}'", output.labels)]
    return found


def other_ends(one: Side, other: Side) -> Iterator[str]:
    """Notes on inputs of other names, and whose axes have another order, and on outputs of another size or words."""
    yield from (text for text, decides in _other_words(one, other) if not decides)
    named = [
        f"'{ours.name}' and '{theirs.name}'" for ours, theirs, _ in _entries(one, other) if ours.name != theirs.name
    ]
    if len(one.inputs) > 1 and named:
        yield f"by their order and shapes, these inputs of A and B are taken for the same: {some(named)}"
    for ours, theirs, order in _entries(one, other):
        if order and order != tuple(sorted(order)):
            shapes = f"{format_shape(theirs.shape)}, and A as {format_shape(ours.shape)}"
            yield f"B takes input '{theirs.name}' as {shapes}: both get the same numbers, each in its order of axes"
    ends = [{port.name: port.shape for port in side.subject.outputs} for side in (one, other)]
    for mine, its in zip(one.outputs, other.outputs, strict=False):
        x, y = ends[0][mine], ends[1][its]
        if not _fit(x, y):
            yield f"output '{mine}' has the shape {format_shape(x)} in A, and {format_shape(y)} in B"


def _entries(one: Side, other: Side) -> list[tuple[Port, Port, tuple[int, ...] | None]]:
    """Each input of the first model, that of the second in its place, and the order of axes in which that takes it.

    They are paired by name, where all have the same names, or else in the first order in which all fit.
    """
    ours, theirs = one.subject.inputs, other.subject.inputs
    named = {port.name: port for port in theirs}
    orders = permutations(theirs) if len(theirs) <= AXES else iter([theirs])
    fitting = (each for each in orders if all(map(_are_alike, ours, each)))
    same_names = named.keys() == {port.name for port in ours}
    inputs = [named[port.name] for port in ours] if same_names else next(fitting, theirs)
    return [(mine, its, _order(mine.shape, its.shape)) for mine, its in zip(ours, inputs, strict=False)]


def _order(one: Shape, other: Shape) -> tuple[int, ...] | None:
    """The order of the axes of an input of A in which B takes it, the batch first; None where no order fits."""
    places = tuple(range(len(one)))
    if _fit(one, other):
        return places
    orders = permutations(places[1:]) if len(one) == len(other) and len(one) <= AXES else ()
    return next(((0, *rest) for rest in orders if [one[place] for place in rest] == list(other[1:])), None)


def _are_alike(one: Port, other: Port) -> bool:
    """True if two inputs take numbers of one kind, in shapes that fit."""
    return one.dtype.strip("1234568") == other.dtype.strip("1234568") and _order(one.shape, other.shape) is not None


def _fit(one: Shape, other: Shape) -> bool:
    """True if two shapes have as many axes, and the sizes that are numbers in both are the same."""
    sizes = zip(one, other, strict=False)
    return len(one) == len(other) and all(x == y for x, y in sizes if isinstance(x, int) and isinstance(y, int))


def given_inputs(side: Side, arrays: Mapping[str, Any], called: str) -> Feeds:
    """The inputs among ``arrays``: a file of examples may have what is right for them as well."""
    ports = [Value(*port) for port in side.subject.inputs]
    if len(ports) == 1 and (arrays.keys() == {""} or called.endswith(".npy")):
        arrays = dict(zip([ports[0].name], arrays.values(), strict=True))
    known = {port.name: arrays[port.name] for port in ports if port.name in arrays}
    return fitted(ports, known if len(known) == len(ports) else arrays, f"{called}, for {side.name}")


def rounds_of(one: Side, other: Side, inputs: Feeds | None, seed: int) -> tuple[Sequence[Feeds], Sequence[Feeds]]:
    """Inputs on which both run, by the names of each."""
    entries = [(ours.name, theirs, order or ()) for ours, theirs, order in _entries(one, other)]

    def turned(rounds: Sequence[Feeds]) -> list[dict[str, Array]]:
        return [{its.name: feeds[name].transpose(order) for name, its, order in entries} for feeds in rounds]

    rounds: Sequence[Feeds] = one.subject.feeds(seed) if inputs is None else [inputs]
    shapes = [(feeds[its.name].shape, its.shape) for feeds in turned(rounds) for _, its, _ in entries]
    if inputs is None and not all(_fit(*pair) for pair in shapes):
        rounds = [
            {name: feeds[its.name].transpose(np.argsort(order)) for name, its, order in entries}
            for feeds in other.subject.feeds(seed)
        ]
    return rounds, [
        {name: x.astype(other.input_types[name], order="C", copy=False) for name, x in feeds.items()}
        for feeds in turned(rounds)
    ]
