"""Weights in half precision: half the bytes, the same graph around them.

Matrices and kernels are stored as float16, and a Cast beside each converts it back to the type it had, in which
everything is computed. So the model runs wherever the float32 one does (few runtimes compute in float16 on a CPU),
nothing overflows, inputs and outputs keep their types, and the only error is the rounding of the weights. A runtime
folds the Cast when it loads the model. Vectors stay as they are: biases, scales and running statistics have few bytes,
and a variance may be too small for float16.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace

from portable_nn.core.errors import UsageError, listed
from portable_nn.core.graph import Node, Parameter
from portable_nn.core.text import quantity
from portable_nn.operators.registry import DTYPE_CODES, Array
from portable_nn.rewrites.program import Names, Program, checked

HALF: Final = "float16"
LARGEST: Final = float(np.finfo(np.float16).max)


def float16_weights(program: Program) -> Program:
    """``program`` with its matrices and kernels in float16.

    Raises ``UsageError`` where it has none, or for every one that holds a number beyond the range of float16.
    """
    graph, arrays = program.graph, dict(program.parameters)
    chosen = [each for each in graph.parameters if each.dtype in ("float32", "float64") and len(each.shape) > 1]
    if not chosen:
        raise UsageError(
            "there are no weights to store as float16: no parameter of two or more axes is float32 or float64"
        )
    if faults := list(_faults(chosen, arrays)):
        raise UsageError(listed(faults, "weights cannot be stored as float16"))
    names, vanished = Names.beside(graph), 0
    full = {value.name: names.fresh(f"{value.name}.{value.dtype}") for value in chosen}
    for value in chosen:
        half = np.asarray(arrays[value.name]).astype(np.float16)
        vanished += int(np.count_nonzero((half == 0) & (arrays[value.name] != 0)))
        arrays[value.name] = half
    casts = [
        Node(full[value.name], "Cast", (value.name,), (full[value.name],), {"to": DTYPE_CODES[value.dtype]})
        for value in chosen
    ]
    nodes = [replace(node, inputs=tuple(full.get(name, name) for name in node.inputs)) for node in graph.nodes]
    halved = (replace(each, dtype=HALF, packed=UNSET) if each.name in full else each for each in graph.parameters)
    graph = replace(graph, parameters=tuple(halved), nodes=(*casts, *nodes))
    lost = f"; {quantity(vanished, 'number')} too small for it became 0" if vanished else ""
    note = f"{quantity(len(chosen), 'tensor')} of weights in float16, computed with in float32{lost}"
    return checked(program._replace(graph=graph, parameters=arrays, notes=(*program.notes, note)), program)


def _faults(chosen: list[Parameter], arrays: dict[str, Array]) -> Iterator[str]:
    for value in chosen:
        largest = float(np.abs(arrays[value.name]).max(initial=0))
        if np.isfinite(largest) and largest > LARGEST:
            yield f"tensor '{value.name}' reaches {largest:.6g}, and float16 ends at {LARGEST:.0f}"
