"""Advice on the symbolic sizes of a model's inputs, where its nodes do not fit without."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Final

from portable_nn.core.dims import put
from portable_nn.core.errors import GraphError
from portable_nn.core.graph import Dim, Graph, Node, Value
from portable_nn.onnx.opsets.translation import translated
from portable_nn.operators import Type, Types, infer
from portable_nn.rewrites.program import Names

NUMBERS: Final = (64, 5040, 7, 1, 256, 512)
"""The numbers that are tried for a size, the last for a window of sound."""
MOST: Final = 6
"""The most names that are tried one by one."""


def advice(
    nodes: Sequence[Node], types: Types, inputs: Sequence[str], opset: int, outputs: Sequence[str]
) -> str | None:
    """The symbolic sizes of the inputs that make faulty ``nodes`` fit as numbers; ``None`` where none are known.

    Args:
        nodes: those of a model at ``opset``, in an order in which they can run.
        types: the types of the values that no node makes.
        inputs: those of these values whose sizes can be set.
        opset: their version.
        outputs: the values that are read after the last node.
    """
    names = list(dict.fromkeys(dim for name in inputs for dim in types[name].shape if isinstance(dim, str)))
    read = {dim for name in inputs for dim in types[name].shape if isinstance(dim, int) and dim > 1}
    for several in [*([name] for name in names[:MOST]), names] if names else []:
        for number in (*NUMBERS, *sorted(read)):
            if _fits(nodes, _put(types, inputs, dict.fromkeys(several, number)), opset, outputs):
                return _in_words(several, number)
    return None


def _in_words(names: Sequence[str], number: int) -> str:
    options = " ".join(f"--dim {name}=SIZE" for name in names)
    sizes = ", ".join(f"'{name}': SIZE" for name in names)
    which = f"{' and '.join(names)} {'is a number' if len(names) == 1 else 'are numbers'}"
    return f"it fits where {which}, such as {number}: portable-nn import {options}, in Python sizes={{{sizes}}}"


def _put(types: Types, inputs: Sequence[str], known: Mapping[str, Dim]) -> dict[str, Type]:
    shapes = {name: tuple(put(dim, known) for dim in types[name].shape) for name in inputs}
    return {**types, **{name: types[name]._replace(shape=shape) for name, shape in shapes.items()}}


def _fits(nodes: Sequence[Node], types: Types, opset: int, outputs: Sequence[str]) -> bool:
    names = Names([*types, *itertools.chain.from_iterable((node.name, *node.outputs) for node in nodes)])
    made = translated(nodes, types, opset, names, outputs)
    values = tuple(Value(name, type.dtype, type.shape) for name, type in types.items())
    try:
        infer(Graph(values, tuple(outputs), (), tuple(made.nodes), "trial"))
    except GraphError:
        return False
    return not made.faults
