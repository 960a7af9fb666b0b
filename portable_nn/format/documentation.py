"""Documentation of the parts of a network, for people and other tools; it has no effect on results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, TypeAlias

import msgspec

from portable_nn.core.graph import Graph, Node, Shape, Tensor, format_shape

Int64: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Remark(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The documentation of a graph, a node or a value: a text, and properties by name."""

    doc: str = ""
    properties: dict[str, str] = {}


class ValueRemark(Remark, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The documentation of a value, and names for its symbolic dimensions.

    ``sizes`` is empty, or has an entry for each axis: ``""`` where the name that shape inference gives is kept.
    """

    sizes: tuple[str, ...] = ()


class ModelOrigin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The ONNX file that a network was read from: its producer, domain and versions (0 and ``""``: not given)."""

    producer: str = ""
    producer_version: str = ""
    domain: str = ""
    model_version: Int64 = 0
    ir_version: Int64 = 0
    opset: Int64 = 0


class Documentation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Remarks on a graph, on its nodes and values by name, and the origin of the network.

    ``initializers`` are the outputs of Constant nodes that an ONNX file has as initializers instead.
    """

    graph: Remark | None = None
    nodes: dict[str, Remark] = {}
    values: dict[str, ValueRemark] = {}
    initializers: tuple[str, ...] = ()
    origin: ModelOrigin | None = None

    def __bool__(self) -> bool:
        return self != Documentation()

    def within(self, graph: Graph) -> Documentation:
        """The part of it that is about ``graph``, its nodes and its values."""
        nodes, values, constants = {node.name for node in graph.nodes}, set(graph.values()), constants_of(graph)
        return msgspec.structs.replace(
            self,
            nodes={name: remark for name, remark in self.nodes.items() if name in nodes},
            values={name: remark for name, remark in self.values.items() if name in values},
            initializers=tuple(name for name in self.initializers if name in constants),
        )


def constants_of(graph: Graph) -> dict[str, Node]:
    """The Constant nodes that hold a tensor, by their outputs."""
    nodes = (node for node in graph.nodes if node.operator == "Constant" and len(node.outputs) == 1)
    return {node.outputs[0]: node for node in nodes if isinstance(node.attributes.get("value"), Tensor)}


def documentation_faults(documentation: Documentation, graph: Graph) -> Iterator[str]:
    """The parts of ``documentation`` that are empty, or about something that ``graph`` does not have."""
    parts = (
        ("documentation", documentation, Documentation()),
        ("documentation of the graph", documentation.graph, Remark()),
        ("documentation of where the network comes from", documentation.origin, ModelOrigin()),
    )
    yield from (f"the {what} is empty: it must be left out" for what, part, empty in parts if part == empty)
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
    """The values with names for dimensions that they do not have or that are numbers."""
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
