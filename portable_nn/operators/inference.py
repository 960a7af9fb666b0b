"""Type inference: the element type and shape of every value of a graph."""

from __future__ import annotations

import itertools
import marshal
import weakref
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from portable_nn.core.dims import LONGEST, TooLongError, is_open, opened_by
from portable_nn.core.errors import Fault, GraphError
from portable_nn.core.graph import Attribute, Graph, Node, Shape, Value
from portable_nn.operators.elements import with_constant
from portable_nn.operators.registry import (
    DataDependentShape,
    InvalidNode,
    Operator,
    OperatorContext,
    Type,
    Types,
    operator_of,
    types_read,
)


def infer_node(
    operator: Operator, types: Sequence[Type | None], attributes: Mapping[str, Attribute], outputs: int
) -> tuple[Type, ...]:
    """The types of one node's outputs; raises ``InvalidNode``."""
    operator.check(attributes, types, outputs)
    use = OperatorContext(operator, types, attributes, outputs)
    try:
        found = operator.infer(use)
    except DataDependentShape:
        if operator.unsized is None:
            raise
        found = operator.unsized(use)
    except TooLongError:
        raise InvalidNode(f"its sizes are formulas of more than {LONGEST:,} characters") from None
    return with_constant(use, (found,)[:outputs] if isinstance(found, Type) else found[:outputs])


def has_open(types: Iterable[Type]) -> bool:
    """True if a size among ``types`` is data-dependent."""
    return any(is_open(dim) for type in types for dim in type.shape)


def named(types: tuple[Type, ...], node: str) -> tuple[Type, ...]:
    """``types`` with the name of the ``node`` that makes them in its data-dependent sizes."""
    return tuple(type._replace(shape=opened_by(type.shape, node)) for type in types) if has_open(types) else types


def types_made(node: Node, types: Sequence[Type | None]) -> tuple[Type, ...]:
    """The types of the outputs of a node whose inputs have ``types``; raises ``InvalidNode``."""
    return named(infer_node(operator_of(node), types, node.attributes, len(node.outputs)), node.name)


def add_types(node: Node, types: MutableMapping[str, Type]) -> None:
    """Add the types of the outputs of ``node`` to ``types``, if it is valid and those of its inputs are known."""
    if all(name in types for name in node.inputs if name):
        with suppress(InvalidNode):
            found = types_made(node, types_read(node, types))
            types.update((name, type) for name, type in zip(node.outputs, found, strict=True) if name)


class _Cache:
    """The types of the nodes of one graph. Layers repeat: a rule is called once for nodes that are alike to it."""

    def __init__(self) -> None:
        self._types: dict[tuple[str, Shape], Type] = {}
        self._found: dict[tuple[object, ...], tuple[Type, ...]] = {}

    def one(self, type: Type) -> Type:
        """The same object for all equal types, unless they have a constant value."""
        return type if type.constant is not None else self._types.setdefault((type.dtype, tuple(type.shape)), type)

    def outputs(self, node: Node, inputs: Sequence[Type | None]) -> tuple[Type, ...]:
        """As ``infer_node``, for types that live as long as the cache, whose keys are their identities."""
        try:  # Unlike ``==``, it distinguishes 1, 1.0 and True.
            attributes = marshal.dumps(node.attributes, 2)
        except ValueError:  # An attribute that is a tensor or a graph.
            return self._infer(node, inputs)
        key = (node.operator, node.domain, attributes, len(node.outputs), *map(id, inputs))
        if (found := self._found.get(key)) is None:
            found = self._infer(node, inputs)
            if not has_open(found):  # Such sizes have the name of their node.
                self._found[key] = found
        return found

    def _infer(self, node: Node, inputs: Sequence[Type | None]) -> tuple[Type, ...]:
        return tuple(map(self.one, types_made(node, inputs)))


class Inference(NamedTuple):
    """The type of every value of a graph, by name."""

    types: Types


_INFERRED: Final[dict[int, tuple[weakref.ref[Graph], Inference]]] = {}
"""The results for the graphs that are alive, by identity: comparing graphs by value would take as long as inferring."""


def infer(graph: Graph, shapes: Mapping[str, Shape | Type] | None = None) -> Inference:
    """Find the type of every value of ``graph``, with ``shapes`` in place of the declared ones of its inputs.

    A ``Type`` there says the element type as well, and of a body what it reads from outside, which it does not declare.

    Without ``shapes`` this is computed once for each graph.

    Raises ``GraphError`` with every fault that one pass finds: what follows from a fault is not reported again.
    """
    if shapes is not None:
        return _infer(graph, shapes)
    key = id(graph)
    if key not in _INFERRED:
        found = _infer(graph, {})
        _INFERRED[key] = weakref.ref(graph, lambda _: _INFERRED.pop(key, None)), found
    return _INFERRED[key][1]


def type_of(value: Value, shapes: Mapping[str, Shape | Type]) -> Type:
    """The type of an input or parameter of a graph, where it may have another than it declares."""
    found = shapes.get(value.name, value.shape)
    return found if isinstance(found, Type) else Type(value.dtype, found)


def _infer(graph: Graph, shapes: Mapping[str, Shape | Type]) -> Inference:
    types: dict[str, Type] = {}
    unknown: set[str] = set()
    faults: list[Fault] = []
    made_by: dict[str, str | Node] = {}
    cache = _Cache()

    def add(name: str, type: Type | None, by: str | Node) -> None:
        if name in made_by:
            faults.append(Fault(str(by), f"the name '{name}' is taken by {made_by[name]}"))
        made_by[name] = by
        if type is None:
            unknown.add(name)
        else:
            types[name] = type

    for value in graph.inputs:
        add(value.name, cache.one(type_of(value, shapes)), "the inputs")
    for value in graph.parameters:
        add(value.name, cache.one(type_of(value, shapes)), "the parameters")
    seen: set[str] = set()
    for node in graph.nodes:
        if node.name in seen:
            faults.append(Fault(str(node), "another node has this name"))
        seen.add(node.name)
        found: Sequence[Type | None] = [None] * len(node.outputs)
        if absent := [name for name in node.inputs if name and name not in made_by]:
            faults.extend(Fault(str(node), f"reads '{name}', which nothing before it makes") for name in absent)
        elif unknown.isdisjoint(node.inputs):
            try:
                found = cache.outputs(node, types_read(node, types))
            except InvalidNode as invalid:
                faults.append(Fault(str(node), str(invalid)))
        for name, type in itertools.zip_longest(node.outputs, found):
            if name:
                add(name, type, node)
    faults.extend(Fault("", f"output '{name}' is made by no node") for name in graph.outputs if name not in made_by)
    if faults:
        raise GraphError(faults)
    return Inference(types)
