"""The fate of every weight in a conversion, found by comparing bytes and not by asking the converter.

Both sides are read anew: the model from its bytes (see ``stored``), the network from the arrays of its parameters and
the constants in its graph. What has the same name must have the same type, shape and bytes; a type that the caller
asked for is recomputed from the original array by one call of numpy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from onnx import GraphProto

from portable_nn.core.errors import VerificationError, listed
from portable_nn.core.graph import Graph
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.core.text import quantity
from portable_nn.engines.ranges import literals
from portable_nn.onnx.opsets.support import captured
from portable_nn.onnx.verification.differences import Pair, same_type
from portable_nn.onnx.verification.proof import Fate, Kind
from portable_nn.onnx.verification.stored import Stored
from portable_nn.operators import DTYPE_CODES

SHOWN: Final = 5
"""The most tensors in a message."""


def fates(
    graph: Graph,
    parameters: NamedArrays,
    tensors: Iterable[Stored],
    model: GraphProto,
    where: str,
    originals: NamedArrays | None = None,
) -> tuple[Fate, ...]:
    """The fate of every tensor of a model and of every parameter of a network.

    Args:
        graph: the network's graph.
        parameters: the values of its parameters.
        tensors: the constant tensors of the model.
        model: its graph, which tells which tensors are read.
        where: its name in messages.
        originals: the parameters before an option of the export converted their type; by default ``parameters``.

    Raises:
        VerificationError: tensors of one name differ; all of them are listed.
    """
    read, packed = dict(_readers(model)), {each.name for each in graph.parameters if each.packed}
    constants = {name: np.array(x.data, x.dtype).reshape(x.shape) for name, x in literals(graph).items()}
    made = {name for node in model.node for name in node.output}
    known = {*graph.values()}
    found, faults = list[Fate](), list[str]()
    for name, array, initializer in tensors:
        ours = parameters.get(name)
        kind: Kind = "kept" if ours is not None else "constant"
        ours = constants.get(name) if ours is None else ours
        if ours is not None and array.dtype.name not in DTYPE_CODES:
            faults += _fault(name, ours, array.astype(ours.dtype))
            as_held = Fate(name, "transformed", f"{array.dtype.name} as {ours.dtype.name}")
            found.append(Fate(name, "kept") if name in packed else as_held)
        elif ours is not None:
            faults += _fault(name, ours, array)
            found.append(_original(name, array, originals, faults) or Fate(name, kind))
        elif initializer or name in read:
            found.append(_elsewhere(name, read.get(name, ()), known))
    placed = {fate.name for fate in found}
    for value in graph.parameters:
        if value.name not in placed:
            found.append(Fate(value.name, "computed" if value.name in made else "added"))
    if faults:
        shown = faults[:SHOWN] + [f"and {len(faults) - SHOWN} more"] * (len(faults) > SHOWN)
        raise VerificationError(listed(shown, f"{where}: weights differ between the two sides"))
    return tuple(found)


def _readers(graph: GraphProto) -> Iterator[tuple[str, list[str]]]:
    """For each value that a node reads, also in a subgraph, the outputs of these nodes."""
    found: dict[str, list[str]] = {value.name: [value.name] for value in graph.output}
    for node in graph.node:
        for name in (*node.input, *captured(node)):
            found.setdefault(name, []).extend(node.output)
    yield from found.items()


def _elsewhere(name: str, readers: Iterable[str], known: set[str]) -> Fate:
    """The fate of a tensor that the network does not have under its name."""
    values = [f"'{value}'" for value in readers if value]
    if not values:
        return Fate(name, "unused")
    inside = any(value in known for value in readers)
    return Fate(name, "folded" if inside else "added", f"read for {', '.join(values)}")


def _original(name: str, array: Array, originals: NamedArrays | None, faults: list[str]) -> Fate | None:
    """The fate of a parameter, against the array before the options of an export; adds to ``faults``."""
    if originals is None:
        return None
    if name not in originals:
        return Fate(name, "added")
    before = originals[name]
    if before.dtype == array.dtype:
        faults += _fault(name, before, array) if before is not array else []
        return None
    with np.errstate(over="ignore", under="ignore"):
        faults += _fault(name, before.astype(array.dtype), array)
    return Fate(name, "transformed", f"rounded from {before.dtype.name} to {array.dtype.name}")


def _fault(name: str, ours: Array, theirs: Array) -> list[str]:
    """The differences of two arrays in type, shape or bytes; none where they are the same."""
    pair, sides = Pair(name, ours, theirs), ("the network", "the file")
    if not same_type(ours, theirs):
        return [pair.said(*sides)]
    different = _bits(ours) != _bits(theirs)
    if not different.any():
        return []
    count, first = int(np.count_nonzero(different)), pair.said(*sides, int(different.argmax()))
    return [f"'{name}' differs in {count:,} of {quantity(ours.size, 'element')}: {first}"]


def _bits(array: Array) -> Array:
    """The elements as whole numbers of their bytes: NaN equals itself, and -0 is not 0."""
    flat = np.ascontiguousarray(array)
    return flat.view(f"u{flat.dtype.itemsize}").ravel() if flat.size else flat.ravel()
