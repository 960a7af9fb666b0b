"""Graphs in the making: a ``Symbol`` is a value that knows its type and the operator it comes from.

Symbols are what layers, losses and gradient rules are written in: ``dy * (1 - y * y)`` makes three nodes. ``trace``
turns those that lead to the wanted outputs into a ``Graph``; ``replay`` turns a graph into symbols again.
"""

from __future__ import annotations

import itertools
import marshal
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from portable_nn.core.errors import Fault, GraphError
from portable_nn.core.graph import Attribute, Dim, Graph, Node, Parameter, Shape, Tensor, Value
from portable_nn.operators.elements import with_content
from portable_nn.operators.registry import DTYPE_CODES, Attr, Misfit, Operator, Type, Use, lookup

Scalar: TypeAlias = int | float
_clock = itertools.count()


class Origin:
    """Where symbols come from: a node in the making, an input, or a parameter."""

    def __init__(
        self,
        operator: Operator | None,
        inputs: Sequence[Symbol | None],
        attributes: Mapping[str, Attribute],
        name: str | None,
        wish: str,
    ) -> None:
        self.operator, self.inputs, self.attributes = operator, tuple(inputs), dict(attributes)
        self.name, self.wish = name, wish
        self.time = next(_clock)
        self.outputs: tuple[Symbol, ...] = ()

    @property
    def label(self) -> str:
        """The node as messages name it."""
        kind = self.operator.name if self.operator else "input"
        return f"'{self.name}' ({kind})" if self.name else f"'{self.wish}' ({kind})"


class Symbol:
    """A value in the making; arithmetic on it makes nodes."""

    __array_priority__ = 1000.0

    def __init__(self, type: Type, origin: Origin, index: int = 0, name: str | None = None) -> None:
        self.type, self.origin, self.index, self.name = type, origin, index, name

    @property
    def shape(self) -> Shape:
        """The shape, with symbolic sizes as names."""
        return self.type.shape

    @property
    def dtype(self) -> str:
        """The element type, as numpy writes it."""
        return self.type.dtype

    def __repr__(self) -> str:
        return f"<{self.name or self.origin.label}: {self.type}>"

    def __add__(self, other: Symbol | Scalar) -> Symbol:
        return emit("Add", self, like(other, self))

    def __radd__(self, other: Scalar) -> Symbol:
        return emit("Add", like(other, self), self)

    def __sub__(self, other: Symbol | Scalar) -> Symbol:
        return emit("Sub", self, like(other, self))

    def __rsub__(self, other: Scalar) -> Symbol:
        return emit("Sub", like(other, self), self)

    def __mul__(self, other: Symbol | Scalar) -> Symbol:
        return emit("Mul", self, like(other, self))

    def __rmul__(self, other: Scalar) -> Symbol:
        return emit("Mul", like(other, self), self)

    def __truediv__(self, other: Symbol | Scalar) -> Symbol:
        return emit("Div", self, like(other, self))

    def __rtruediv__(self, other: Scalar) -> Symbol:
        return emit("Div", like(other, self), self)

    def __pow__(self, other: Symbol | Scalar) -> Symbol:
        return emit("Pow", self, like(other, self))

    def __matmul__(self, other: Symbol) -> Symbol:
        return emit("MatMul", self, other)

    def __neg__(self) -> Symbol:
        return emit("Neg", self)


class Leaf(Symbol):
    """A symbol that no node makes: an input, or a parameter with what its first values are drawn from."""

    def __init__(
        self,
        name: str | None,
        dtype: str,
        shape: Shape,
        *,
        wish: str = "input",
        parameter: bool = False,
        trainable: bool = True,
        initial: Any = None,
    ) -> None:
        super().__init__(Type(dtype, shape), Origin(None, (), {}, name, wish), 0, name)
        self.origin.outputs = (self,)
        self.parameter, self.trainable, self.initial = parameter, trainable, initial
        self.owner: Symbol | None = None
        """What a parameter is named after; where it is ``None``, the first node that takes it."""


def plain_float(value: float) -> float:
    """A float attribute as ONNX has it (binary32), written as the shortest decimal that means it."""
    return float(str(np.float32(value)))


def plain(operator: Operator, attributes: Mapping[str, Any]) -> dict[str, Attribute]:
    """Attributes as the graph holds them: tuples for lists, Python numbers, floats in the precision of ONNX."""
    result: dict[str, Attribute] = {}
    for name, value in attributes.items():
        if value is None:
            continue
        if isinstance(value, (list, tuple, np.ndarray)):
            items = [item.item() if isinstance(item, np.generic) else item for item in value]
            value = tuple(plain_float(item) if isinstance(item, float) else item for item in items)
        elif operator.attributes.get(name, Attr(int)).kind is float:
            value = plain_float(value)
        elif isinstance(value, (bool, np.integer, np.bool_)):
            value = int(value)
        result[name] = value
    return result


def emit_all(
    operator: str,
    *inputs: Symbol | None,
    outputs: int = 1,
    name: str | None = None,
    wish: str | None = None,
    domain: str = "",
    **attributes: Any,
) -> tuple[Symbol, ...]:
    """Make a node; the symbols of its outputs.

    ``name`` is its exact name, ``wish`` the stem of a numbered one. Raises ``GraphError`` where the inputs do not fit.
    """
    try:
        found = lookup(operator, domain)
        given = plain(found, attributes)
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        types = infer_node(found, [v.type if v is not None else None for v in inputs], given, outputs)
    except Misfit as misfit:
        stem = f"'{name or wish}' ({operator})" if name or wish else operator
        raise GraphError([Fault(stem, str(misfit))]) from None
    origin = Origin(found, inputs, given, name, wish or operator.lower())
    origin.outputs = tuple(Symbol(type, origin, index) for index, type in enumerate(types))
    return origin.outputs


def emit(operator: str, *inputs: Symbol | None, **attributes: Any) -> Symbol:
    """Make a node; the symbol of its first output.

    Args:
        operator: an ONNX operator.
        inputs: its inputs; ``None`` for an optional one that is left out.
        attributes: its attributes by the names that ONNX gives them, and what ``emit_all`` takes: ``name``, the exact
            name of the node, or ``wish``, the stem of a numbered one, and ``domain``.

    Raises ``GraphError`` where the inputs do not fit the operator.

    >>> import portable_nn as pnn
    >>> pnn.emit("Softmax", pnn.Input(10), axis=-1)
    <'softmax' (Softmax): float32 (batch, 10)>
    """
    return emit_all(operator, *inputs, **attributes)[0]


def constant(value: Any, dtype: str) -> Symbol:
    """A small array as a Constant node."""
    array = np.asarray(value, dtype=dtype)
    shortest: Callable[[Any], Any] = plain_float if dtype == "float32" else lambda item: item
    data = tuple(int(item) if dtype == "bool" else shortest(item) for item in array.ravel().tolist())
    return emit("Constant", value=Tensor(dtype, array.shape, data))


def integers(values: Iterable[int]) -> Symbol:
    """A 1-D int64 constant: shapes, axes, pads."""
    return constant(list(values), "int64")


def like(value: Symbol | Scalar, other: Symbol) -> Symbol:
    """A Python number as a constant of the type of ``other``; a symbol as it is."""
    return value if isinstance(value, Symbol) else constant(value, other.dtype)


def cast(value: Symbol, dtype: str) -> Symbol:
    """``value`` as ``dtype``; itself where it is that already."""
    return value if value.dtype == dtype else emit("Cast", value, to=DTYPE_CODES[dtype])


def sizes(value: Symbol, axes: Sequence[int] | None = None) -> Symbol:
    """The shape of ``value`` (or its sizes along ``axes``) as a 1-D int64 symbol; a constant where it is known."""
    dims: list[Dim] = [value.shape[axis] for axis in (range(len(value.shape)) if axes is None else axes)]
    numbers = [dim for dim in dims if isinstance(dim, int)]
    if len(numbers) == len(dims):
        return integers(numbers)
    if axes is None:
        return emit("Shape", value)
    return emit("Concat", *(emit("Shape", value, start=axis, end=axis + 1) for axis in axes), axis=0)


def infer_node(
    operator: Operator, types: Sequence[Type | None], attributes: Mapping[str, Attribute], outputs: int
) -> tuple[Type, ...]:
    """The types of one node's outputs; raises ``Misfit``."""
    operator.check(attributes, types, outputs)
    use = Use(operator, types, attributes, outputs)
    found = operator.infer(use)
    return with_content(use, (found,)[:outputs] if isinstance(found, Type) else found[:outputs])


class _Uses:
    """What the nodes of one graph came to. Layers repeat: a rule is asked once for nodes that it cannot tell apart."""

    def __init__(self) -> None:
        self._types: dict[tuple[str, Shape], Type] = {}
        self._found: dict[tuple[object, ...], tuple[Type, ...]] = {}

    def one(self, type: Type) -> Type:
        """The same object for all types alike, unless their elements are known."""
        return type if type.content is not None else self._types.setdefault((type.dtype, tuple(type.shape)), type)

    def outputs(self, node: Node, inputs: Sequence[Type | None]) -> tuple[Type, ...]:
        """As ``infer_node``, of types that stay as long as this does, since they are known by their identity."""
        try:  # Unlike ``==``, it tells 1, 1.0 and True apart.
            attributes = marshal.dumps(node.attributes, 2)
        except ValueError:  # An attribute that is a tensor.
            return self._infer(node, inputs)
        key = (node.operator, node.domain, attributes, len(node.outputs), *map(id, inputs))
        if (found := self._found.get(key)) is None:
            found = self._found[key] = self._infer(node, inputs)
        return found

    def _infer(self, node: Node, inputs: Sequence[Type | None]) -> tuple[Type, ...]:
        operator = lookup(node.operator, node.domain)
        return tuple(map(self.one, infer_node(operator, inputs, node.attributes, len(node.outputs))))


class Inference(NamedTuple):
    """The type of every value of a graph, by name."""

    types: dict[str, Type]


def infer(graph: Graph, shapes: Mapping[str, Shape] | None = None) -> Inference:
    """Find the type of every value of ``graph``, with ``shapes`` in place of the declared ones of its inputs.

    Raises ``GraphError`` with every fault that one pass finds: what follows from a fault is not reported again.
    """
    types: dict[str, Type] = {}
    unknown: set[str] = set()
    faults: list[Fault] = []
    made_by: dict[str, str | Node] = {}
    uses = _Uses()

    def add(name: str, type: Type | None, by: str | Node) -> None:
        if name in made_by:
            faults.append(Fault(_label(by), f"the name '{name}' is taken by {_label(made_by[name])}"))
        made_by[name] = by
        if type is None:
            unknown.add(name)
        else:
            types[name] = type

    for value in graph.inputs:
        add(value.name, uses.one(Type(value.dtype, (shapes or {}).get(value.name, value.shape))), "the inputs")
    for value in graph.parameters:
        add(value.name, uses.one(Type(value.dtype, value.shape)), "the parameters")
    seen: set[str] = set()
    for node in graph.nodes:
        if node.name in seen:
            faults.append(Fault(_label(node), "another node has this name"))
        seen.add(node.name)
        found: Sequence[Type | None] = [None] * len(node.outputs)
        if absent := [name for name in node.inputs if name and name not in made_by]:
            faults.extend(Fault(_label(node), f"reads '{name}', which nothing before it makes") for name in absent)
        elif unknown.isdisjoint(node.inputs):
            try:
                found = uses.outputs(node, [types[name] if name else None for name in node.inputs])
            except Misfit as misfit:
                faults.append(Fault(_label(node), str(misfit)))
        for name, type in itertools.zip_longest(node.outputs, found):
            if name:
                add(name, type, node)
    faults.extend(Fault("", f"output '{name}' is made by no node") for name in graph.outputs if name not in made_by)
    if faults:
        raise GraphError(faults)
    return Inference(types)


def _label(by: str | Node) -> str:
    return by if isinstance(by, str) else f"'{by.name}' ({by.operator})"


class Traced(NamedTuple):
    """A graph made from symbols, and the name that each symbol got."""

    graph: Graph
    names: dict[Symbol, str]


def trace(inputs: Sequence[Leaf], outputs: Sequence[Symbol], name: str = "network") -> Traced:
    """The graph that computes ``outputs`` from ``inputs``; what leads to no output is left out.

    Raises ``GraphError`` where an input is missing or two nodes were given one name.
    """
    origins = reachable([*inputs, *outputs])
    symbols = [symbol for origin in origins for symbol in origin.outputs]
    names = _Names(
        [origin.name for origin in origins if origin.operator],
        [symbol.name or (None if symbol.index else symbol.origin.name) for symbol in symbols],
    )
    leaves = {id(leaf.origin): leaf for origin in origins for leaf in origin.outputs if isinstance(leaf, Leaf)}
    strangers = [leaf for leaf in leaves.values() if not leaf.parameter and leaf not in inputs]
    if strangers:
        raise GraphError([Fault("", f"the outputs need {leaf!r}, which is not among the inputs") for leaf in strangers])
    known: dict[Symbol, str] = {leaf: leaf.name or names.number(leaf.origin.wish, bare=True) for leaf in inputs}
    nodes: list[Node] = []
    constants: dict[tuple[object, ...], Symbol] = {}
    parameters: list[Parameter] = []
    for origin in origins:
        if origin.operator is None:
            continue
        literal = origin.attributes.get("value") if origin.operator.name == "Constant" else None
        if isinstance(literal, Tensor) and origin.name is None:
            exact = literal.dtype, literal.shape, marshal.dumps(literal.data, 2)  # 0.0 is not -0.0.
            twin = constants.setdefault(exact, origin.outputs[0])
            if twin in known:
                known[origin.outputs[0]] = known[twin]
                continue
        node_name = names.node(origin)
        for leaf in origin.inputs:
            if isinstance(leaf, Leaf) and leaf.parameter and leaf not in known:
                owner = names.node(leaf.owner.origin if leaf.owner else origin)
                known[leaf] = leaf.name or names.exact(f"{owner}.{leaf.origin.wish}")
                parameters.append(Parameter(known[leaf], leaf.dtype, leaf.shape, leaf.trainable))
        for symbol in origin.outputs:
            further = f"{node_name}.{origin.operator.output_name(symbol.index)}"
            known[symbol] = symbol.name or (names.exact(further) if symbol.index else node_name)
        nodes.append(
            Node(
                node_name,
                origin.operator.name,
                tuple(known[symbol] if symbol is not None else "" for symbol in origin.inputs),
                tuple(known[symbol] for symbol in origin.outputs),
                origin.attributes,
                origin.operator.domain,
            )
        )
    for symbol in outputs:
        if isinstance(symbol, Leaf) and symbol.parameter and symbol not in known:
            known[symbol] = symbol.name or names.number(symbol.origin.wish)
            parameters.append(Parameter(known[symbol], symbol.dtype, symbol.shape, symbol.trainable))
    values = tuple(Value(known[leaf], leaf.dtype, leaf.shape) for leaf in inputs)
    graph = Graph(values, tuple(known[symbol] for symbol in outputs), tuple(parameters), tuple(nodes), name)
    return Traced(graph, known)


def reachable(outputs: Sequence[Symbol]) -> list[Origin]:
    """All origins that ``outputs`` need, in the order in which they were made."""
    found: dict[int, Origin] = {}
    open_ends = [symbol.origin for symbol in outputs]
    while open_ends:
        origin = open_ends.pop()
        if origin.time not in found:
            found[origin.time] = origin
            open_ends.extend(symbol.origin for symbol in origin.inputs if symbol is not None)
    return [found[time] for time in sorted(found)]


class _Names:
    """Names that are still free: ``dense_1``, ``dense_2``, …"""

    def __init__(self, nodes: Iterable[str | None], values: Iterable[str | None]) -> None:
        uses = [Counter(name for name in given if name) for given in (nodes, values)]
        if twice := sorted({name for used in uses for name, times in used.items() if times > 1}):
            raise GraphError([Fault("", f"the name '{name}' was given twice") for name in twice])
        self.taken = {name for used in uses for name in used}
        self.counts: dict[str, int] = {}
        self.nodes: dict[Origin, str] = {}

    def node(self, origin: Origin) -> str:
        """The name of a node: its own, or the next free number of its stem."""
        if origin not in self.nodes:
            self.nodes[origin] = origin.name or self.number(origin.wish)
        return self.nodes[origin]

    def exact(self, name: str) -> str:
        """``name`` itself, numbered only if it is taken."""
        return self.number(name, bare=True)

    def number(self, stem: str, *, bare: bool = False) -> str:
        """The next free ``stem_1``, ``stem_2``, …; with ``bare`` the first is ``stem`` alone."""
        while True:
            self.counts[stem] = self.counts.get(stem, 0) + 1
            number = self.counts[stem]
            name = stem if bare and number == 1 else f"{stem}_{number}"
            if name not in self.taken:
                self.taken.add(name)
                return name


def replay(graph: Graph, *, training: bool = False) -> dict[str, Symbol]:
    """Every value of ``graph`` as a symbol; with ``training``, nodes stand in their training form.

    A parameter that is the state of such a node stands, from there on, for what the node makes of it.
    """
    infer(graph)
    symbols: dict[str, Symbol] = {}
    parameters = {value.name for value in graph.parameters}
    for value in graph.inputs:
        symbols[value.name] = Leaf(value.name, value.dtype, value.shape)
    for value in graph.parameters:
        symbols[value.name] = Leaf(value.name, value.dtype, value.shape, parameter=True, trainable=value.trainable)
    for node in graph.nodes:
        operator = lookup(node.operator, node.domain)
        inputs = [symbols[name] if name else None for name in node.inputs]
        made: Sequence[Symbol]
        if training and operator.training:
            made = operator.training(inputs, node.attributes, node.name)
            for output, index in operator.state.items():
                if output < len(made) and node.inputs[index] in parameters:
                    symbols[node.inputs[index]] = made[output]
        else:
            origin = Origin(operator, inputs, node.attributes, node.name, node.operator.lower())
            known = [symbol.type if symbol is not None else None for symbol in inputs]
            types = infer_node(operator, known, node.attributes, len(node.outputs))
            made = origin.outputs = tuple(
                Symbol(type, origin, index, name or None)
                for index, (name, type) in enumerate(zip(node.outputs, types, strict=True))
            )
        symbols.update((name, symbol) for name, symbol in zip(node.outputs, made, strict=False) if name)
    return symbols
