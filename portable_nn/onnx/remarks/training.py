"""Remarks for a training: nodes in training mode, which drop elements at random, and quantised weights."""

from __future__ import annotations

from collections.abc import Iterator

from portable_nn.core.graph import Graph
from portable_nn.core.text import quantity, some
from portable_nn.operators import FLOATS, infer, operator_of, use_of
from portable_nn.operators.quantised import QUANTISED
from portable_nn.operators.training.dropout import TRAINING


def training_mode(graph: Graph) -> Iterator[str]:
    """A note that lists the nodes in training mode; nothing where there are none."""
    types = infer(graph).types
    limited = (node for node in graph.nodes if TRAINING in operator_of(node).portability.limits)
    if found := [str(node) for node in limited if TRAINING.applies(use_of(node, types), None)]:
        yield f"{some(found)}: {TRAINING.problem}; {TRAINING.hint}"


def quantised(graph: Graph) -> Iterator[str]:
    """A note where weights are quantised; nothing where none are."""
    whole = {each.name for each in graph.parameters if each.dtype not in FLOATS}
    stored = whole | {each.name for each in graph.parameters if not each.trainable}
    several = QUANTISED - {"DequantizeLinear"}
    read = {name for node in graph.nodes if node.operator in several for name in node.inputs if name in whole}
    constants = {node.outputs[0] for node in graph.nodes if node.operator == "Constant"}
    read |= {node.inputs[0] for node in graph.nodes if node.operator == "DequantizeLinear"} & (stored | constants)
    if read:
        verb = "is" if len(read) == 1 else "are"
        yield (
            f"{quantity(len(read), 'tensor')} of weights {verb} quantised: the network runs as it is, and training "
            "leaves these weights unchanged; dequantize() turns those that it can into floats, which train"
        )
