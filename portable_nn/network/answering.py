"""The probabilities of a network's classes as nodes, which every runtime computes."""

from __future__ import annotations

import math

from msgspec.structs import replace

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import format_shape
from portable_nn.format.meaning import OutputInfo
from portable_nn.network.network import Network
from portable_nn.network.preparing import rebuilt
from portable_nn.operators import Leaf, Symbol, emit


def probabilities_inside(network: Network) -> tuple[Network, tuple[str, ...]]:
    """``network`` with its outputs of classes as probabilities, and notes on what was added.

    Logits are divided by the temperature of their output, and softmax, or for ``binary_logits`` the logistic function,
    makes probabilities of them; the output is then of the kind ``probabilities``, with the temperature 1. It has as
    many numbers as before: a single one is the probability of the second of two classes. The weights are copied; a
    network that gives probabilities already is returned as it is.

    Raises ``UsageError`` where no output has classes, or where one has more than a row for each example.
    """
    infos = network.outputs
    if all(info.kind in ("values", "gaussian") for info in infos):
        raise UsageError(
            "probabilities are for classes, and no output of the network says that it has some: train it with "
            "cross-entropy, or give it labels"
        )
    if not any(map(_is_due, infos)):
        return network, ("probabilities: the outputs are probabilities already",)
    leaves = [Leaf(value.name, value.dtype, value.shape) for value in network.graph.inputs]
    found = network(*leaves)
    symbols = [found] if isinstance(found, Symbol) else list(found)
    outputs = [_answer(symbol, info) if _is_due(info) else symbol for symbol, info in zip(symbols, infos, strict=True)]
    made = rebuilt(network, leaves, outputs)
    made.inputs = network.inputs
    made.outputs = tuple(
        replace(info, name=name, kind="probabilities", temperature=1.0) if _is_due(info) else info
        for info, name in zip(infos, made.graph.outputs, strict=True)
    )
    renamed = zip(infos, made.outputs, strict=True)
    return made, tuple(_note(old, new) for old, new in renamed if _is_due(old))


def _is_due(info: OutputInfo) -> bool:
    return info.kind in ("logits", "binary_logits") or (info.kind == "probabilities" and info.temperature != 1)


def _answer(x: Symbol, info: OutputInfo) -> Symbol:
    if len(x.shape) < 2 or any(size != 1 for size in x.shape[2:]):
        raise UsageError(
            f"output '{info.name}' is {format_shape(x.shape)}: probabilities need one row of numbers for each example"
        )
    is_alone = x.shape[1] == 1
    if info.kind == "probabilities":
        x = emit("Log", x) - emit("Log", 1 - x) if is_alone else emit("Log", x)
    if info.temperature != 1:
        x = x / info.temperature
    is_binary = info.kind == "binary_logits" or (info.kind == "probabilities" and is_alone)
    return emit("Sigmoid", x) if is_binary else emit("Softmax", x, axis=1)


def _note(old: OutputInfo, new: OutputInfo) -> str:
    made = "" if math.isclose(old.temperature, 1) else f" divided by the temperature {old.temperature:.6g}, and"
    return f"probabilities: output '{new.name}' is '{old.name}'{made} made probabilities"
