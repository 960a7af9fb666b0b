"""Single precision: float64 becomes float32 in inputs, weights, constants and casts, and the model computes in it.

A program that trains in plain numpy computes in float64 without having asked for it. Few runtimes beside a CPU compute
in it: not those of browsers' graphics, phones and most accelerators.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from msgspec.structs import replace

from portable_nn.core.errors import UsageError, listed
from portable_nn.core.graph import Node, Tensor, all_nodes
from portable_nn.core.text import quantity
from portable_nn.operators.registry import Array, NamedArrays
from portable_nn.rewrites.program import Program, checked
from portable_nn.rewrites.retyping import retyped

DOUBLE: Final = "float64"
SINGLE: Final = "float32"
HALF: Final = "float16"
LARGEST: Final = float(np.finfo(np.float32).max)


def float32_numbers(program: Program) -> Program:
    """``program`` with float32 in place of float64; itself where it has none.

    Raises ``UsageError`` that lists what is beyond the range of float32.
    """
    graph, arrays = retyped(program.graph, {DOUBLE: SINGLE}), dict(program.parameters)
    if graph == program.graph:
        return program
    wide = [value.name for value in program.graph.parameters if value.dtype == DOUBLE]
    if faults := [*_faults(all_nodes(program.graph)), *_weight_faults(wide, arrays)]:
        raise UsageError(listed(faults, "float32 cannot hold the numbers of this network"))
    vanished = 0
    for name in wide:
        single = np.asarray(arrays[name]).astype(np.float32)
        vanished += int(np.count_nonzero((single == 0) & (arrays[name] != 0)))
        arrays[name] = single
    lost = f"; {quantity(vanished, 'number')} too small for it became 0" if vanished else ""
    note = f"float32 in place of float64, in which the network is trained{lost}"
    inputs = tuple(replace(info, exported="same") for info in program.inputs)
    return checked(
        program._replace(graph=graph, parameters=arrays, inputs=inputs, notes=(*program.notes, note)), program
    )


def widened(program: Program) -> Program:
    """``program`` with float32 in place of float16, which loses nothing; itself where it has none.

    For languages that have no half precision. Results are nearer to what is meant than those in float16.
    """
    graph = retyped(program.graph, {HALF: SINGLE})
    if graph == program.graph:
        return program
    half = {value.name for value in program.graph.parameters if value.dtype == HALF}
    arrays = {name: array.astype(SINGLE) if name in half else array for name, array in program.parameters.items()}
    note = "float32 in place of float16: inputs, weights and outputs have this type, and no step is rounded to half"
    return checked(program._replace(graph=graph, parameters=arrays, notes=(*program.notes, note)), program)


def _faults(nodes: Iterable[Node]) -> Iterator[str]:
    for node in nodes:
        for value in node.attributes.values():
            if isinstance(value, Tensor) and value.dtype == DOUBLE:
                yield from _too_large(f"a constant of node '{node.name}'", np.asarray(value.data))


def _weight_faults(names: list[str], arrays: NamedArrays) -> Iterator[str]:
    for name in names:
        yield from _too_large(f"tensor '{name}'", np.asarray(arrays[name]))


def _too_large(what: str, array: Array) -> Iterator[str]:
    size = np.abs(array[np.isfinite(array)])
    if size.size and size.max() > LARGEST:
        yield f"{what} reaches {size.max():.6g}, and float32 ends at {LARGEST:.6g}"
