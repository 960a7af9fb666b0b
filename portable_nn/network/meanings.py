"""The descriptions of the inputs and outputs, for the manifest, of networks that are made of symbols, or cut out of
others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from msgspec.structs import replace

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Graph
from portable_nn.format.meaning import InputInfo, OutputInfo
from portable_nn.operators import Operator, Symbol, operator_of
from portable_nn.preprocessing.steps import Preprocessing, arithmetic

Kind: TypeAlias = Literal["values", "probabilities"]


def inputs_of(graph: Graph, preprocessing: Preprocessing) -> list[InputInfo]:
    """The inputs of ``graph``, the first of which ``preprocessing`` makes from pictures.

    Raises ``UsageError`` for arithmetic in it.
    """
    infos = [InputInfo(value.name) for value in graph.inputs]
    if steps := arithmetic(preprocessing):
        raise UsageError(f"'{steps[0]}' is arithmetic: a layer such as Rescaling or Normalization makes it nodes")
    if preprocessing:
        infos[0] = InputInfo(infos[0].name, "image", tuple(preprocessing))
    return infos


def outputs_of(graph: Graph, symbols: Sequence[Symbol], labels: Sequence[str]) -> list[OutputInfo]:
    """The outputs of ``graph``, which are these ``symbols``; ``labels`` are those of the first."""
    infos = [OutputInfo(name, _kind(each.origin.operator)) for name, each in zip(graph.outputs, symbols, strict=True)]
    if labels:
        kind = infos[0].kind
        if kind == "values":
            kind = "binary_logits" if symbols[0].shape[-1:] == (1,) and len(labels) == 2 else "logits"
        infos[0] = OutputInfo(infos[0].name, kind, tuple(labels))
    return infos


def kept_inputs(graph: Graph, infos: Iterable[InputInfo]) -> list[InputInfo]:
    """Those of ``infos`` that are inputs of ``graph``, a part of the whole."""
    names = {value.name for value in graph.inputs}
    return [
        info if not info.state or info.state in graph.outputs else replace(info, state="")
        for info in infos
        if info.name in names
    ]


def kept_outputs(graph: Graph, infos: Iterable[OutputInfo]) -> list[OutputInfo]:
    """The outputs of ``graph``, a part of the whole, whose outputs ``infos`` are about."""
    kept = {info.name: info for info in infos}
    makers = {name: operator_of(node) for node in graph.nodes for name in node.outputs}
    return [kept.get(name) or OutputInfo(name, _kind(makers[name])) for name in graph.outputs]


def _kind(operator: Operator | None) -> Kind:
    """The kind of an output that this operator makes; ``None`` makes an input or a parameter."""
    return "probabilities" if operator and operator.probabilities else "values"
