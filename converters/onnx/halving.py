"""Weights in half precision: half the bytes, with the same graph around them.

Matrices and kernels are stored as float16, and a Cast beside each makes float32 of it again, in which everything is
computed. So the file runs wherever the float32 one does (few runtimes compute in float16 on a processor), nothing
overflows on the way, what goes in and out keeps its type, and the one error there is comes from rounding the weights. A
runtime folds the Cast when it loads the model. Vectors stay as they are: biases, scales and running statistics have few
bytes, and a variance may be too small for float16.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from portable_nn.converters.onnx.sizing import rebuilt
from portable_nn.core.errors import UsageError, listed
from portable_nn.core.graph import Node, Parameter
from portable_nn.core.text import quantity
from portable_nn.format.tensors import Array
from portable_nn.network import Network
from portable_nn.onnx.scope import Names
from portable_nn.operators.registry import DTYPE_CODES

HALF: Final = "float16"
LARGEST: Final = float(np.finfo(np.float16).max)


class Halved(NamedTuple):
    """A network with weights in half precision, and how many tensors that are."""

    network: Network
    tensors: int
    vanished: int
    """How many numbers were too small and are 0 now."""

    @property
    def note(self) -> str:
        """What was done, in words."""
        lost = f"; {quantity(self.vanished, 'number')} too small for it became 0" if self.vanished else ""
        return f"{quantity(self.tensors, 'tensor')} of weights in float16, computed with in float32{lost}"


def in_float16(network: Network) -> Halved:
    """``network`` with its matrices and kernels in float16.

    Raises:
        UsageError: there are none, or some hold numbers that float16 has not: all of them.
    """
    chosen = [value for value in network.graph.parameters if _is_halved(value)]
    if not chosen:
        raise UsageError(
            "there are no weights to store as float16: no parameter of two or more axes is float32 or float64"
        )
    arrays = dict(network.parameters)
    if faults := list(_faults(chosen, arrays)):
        raise UsageError(listed(faults, "weights cannot be stored as float16"))
    names = Names([*network.graph.values(), *(node.name for node in network.graph.nodes)])
    full = {value.name: names.fresh(f"{value.name}.{value.dtype}") for value in chosen}
    casts = [
        Node(full[value.name], "Cast", (value.name,), (full[value.name],), {"to": DTYPE_CODES[value.dtype]})
        for value in chosen
    ]
    nodes = [replace(node, inputs=tuple(full.get(name, name) for name in node.inputs)) for node in network.graph.nodes]
    vanished = 0
    for value in chosen:
        half = np.asarray(arrays[value.name]).astype(np.float16)
        vanished += int(np.count_nonzero((half == 0) & (arrays[value.name] != 0)))
        arrays[value.name] = half
    parameters = tuple(
        Parameter(value.name, HALF, value.shape, value.trainable) if value.name in full else value
        for value in network.graph.parameters
    )
    graph = replace(network.graph, parameters=parameters, nodes=(*casts, *nodes))
    return Halved(rebuilt(network, graph, arrays), len(chosen), vanished)


def _is_halved(value: Parameter) -> bool:
    return value.dtype in ("float32", "float64") and len(value.shape) > 1


def _faults(chosen: list[Parameter], arrays: dict[str, Array]) -> Iterator[str]:
    for value in chosen:
        largest = float(np.abs(arrays[value.name]).max(initial=0))
        if np.isfinite(largest) and largest > LARGEST:
            yield f"tensor '{value.name}' reaches {largest:.6g}, and float16 ends at {LARGEST:.0f}"
