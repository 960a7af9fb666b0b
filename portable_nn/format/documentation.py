"""Documentation of the parts of a network, for people and other tools: nothing that is computed depends on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from portable_nn.core.graph import Graph, Node, Shape, Tensor, format_shape

Int64: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class Remark(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The documentation of one thing: a text, and properties by name."""

    doc: str = ""
    properties: dict[str, str] = {}


class ValueRemark(Remark, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The documentation of a value, and names for those of its sizes that are no numbers.

    ``sizes`` is empty, or has an entry for each axis: ``""`` where the name that follows from the graph is the one.
    """

    sizes: tuple[str, ...] = ()


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The ONNX file that a network was read from: what wrote it, in which versions, and what its author called it."""

    producer: str = ""
    producer_version: str = ""
    domain: str = ""
    model_version: Int64 = 0
    ir_version: Int64 = 0
    opset: Int64 = 0


class Documentation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Remarks on a graph, on its nodes and on its values, each by its name, and where the network comes from.

    ``initializers`` are the values of Constant nodes that an ONNX file holds as initializers instead.
    """

    graph: Remark | None = None
    nodes: dict[str, Remark] = {}
    values: dict[str, ValueRemark] = {}
    initializers: tuple[str, ...] = ()
    origin: Origin | None = None

    def __bool__(self) -> bool:
        return self != Documentation()

    def within(self, graph: Graph) -> Documentation:
        """The part of it that documents parts of ``graph``."""
        nodes, values, constants = {node.name for node in graph.nodes}, set(graph.values()), constants_of(graph)
        return msgspec.structs.replace(
            self,
            nodes={name: remark for name, remark in self.nodes.items() if name in nodes},
            values={name: remark for name, remark in self.values.items() if name in values},
            initializers=tuple(name for name in self.initializers if name in constants),
        )


PARTS: Final = (Remark, ValueRemark, Origin)
"""What documentation is made of."""


def constants_of(graph: Graph) -> dict[str, Node]:
    """The Constant nodes that hold a tensor, by the values that they make."""
    nodes = (node for node in graph.nodes if node.operator == "Constant" and len(node.outputs) == 1)
    return {node.outputs[0]: node for node in nodes if isinstance(node.attributes.get("value"), Tensor)}


def documentation_faults(documentation: Documentation, graph: Graph) -> Iterator[str]:
    """Where ``documentation`` says nothing, or something of what ``graph`` does not have."""
    if not documentation:
        yield "the documentation is empty: it must be left out"
    if documentation.graph is not None and documentation.graph == Remark():
        yield "the documentation of the graph is empty: it must be left out"
    if documentation.origin is not None and documentation.origin == Origin():
        yield "the documentation of where the network comes from is empty: it must be left out"
    yield from _remark_faults("node", documentation.nodes, {node.name for node in graph.nodes})
    yield from _remark_faults("value", documentation.values, set(graph.values()))
    yield from _initializer_faults(documentation.initializers, constants_of(graph))


def _remark_faults(kind: str, remarks: Mapping[str, Remark], names: Collection[str]) -> Iterator[str]:
    for name, remark in remarks.items():
        if name not in names:
            yield f"the documentation has a {kind} {name!r}, which the graph does not have"
        if remark in (Remark(), ValueRemark()):
            yield f"the documentation of {kind} {name!r} is empty: it must be left out"


def _initializer_faults(names: tuple[str, ...], constants: Mapping[str, Node]) -> Iterator[str]:
    for name, count in Counter(names).items():
        if name not in constants:
            yield f"the documentation calls {name!r} an initializer, but no Constant node makes it"
        elif count > 1:
            yield f"the documentation calls {name!r} an initializer {count} times"


def size_faults(documentation: Documentation, shapes: Mapping[str, Shape]) -> Iterator[str]:
    """Where names are given to sizes that a value does not have, or that are numbers."""
    for name, remark in documentation.values.items():
        shape = shapes.get(name)
        if not remark.sizes or shape is None:
            continue
        named = [dim for dim, size in zip(shape, remark.sizes, strict=False) if size]
        if len(remark.sizes) != len(shape) or not all(isinstance(dim, str) for dim in named) or not named:
            yield (
                f"the documentation names the sizes of {name!r} {format_shape(remark.sizes)}, but its shape is "
                f"{format_shape(shape)}"
            )
