"""Floats that train in place of what a network computes of stored weights of few bits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial, reduce
from itertools import permutations
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from portable_nn.core.errors import DataWarning, UsageError, warn
from portable_nn.core.graph import Graph, Node, Tensor, all_nodes, bodies, own_inputs
from portable_nn.core.text import some
from portable_nn.engines.once import run_numpy
from portable_nn.operators import (
    DTYPE_CODES,
    FLOATS,
    Array,
    Leaf,
    NamedArrays,
    OperatorContext,
    Symbol,
    emit,
    infer,
    operator_of,
    replay,
    replayed,
    trace,
)
from portable_nn.operators.control.bodies import Outside, bodies_of, emit_node, leaf
from portable_nn.operators.opaque.nodes import is_opaque
from portable_nn.operators.quantised import QUANTISED
from portable_nn.rewrites.program import Names

_SMALL: Final = frozenset({"int8", "uint8", "int16", "uint16"})
"""The element types of stored weights that no DequantizeLinear reads, but a product."""

_ENDINGS: Final = re.compile(r"_(DequantizeLinear_Output|quantized|(DQ_)?Q[48](_output)?)$")
"""What onnxruntime's quantiser writes behind the names of weights."""


def dequantized(graph: Graph, arrays: NamedArrays) -> tuple[Graph, dict[str, Array]]:
    """``graph`` with trainable parameters in place of floats that follow from stored whole numbers, and their values.

    Warns with ``DataWarning`` of stored whole numbers that are left, and raises ``UsageError`` where all are.
    """
    floats = _Floats(graph)
    symbols = replay(graph, form=floats.form, known=floats.parameters)
    outputs = [floats.rows(symbols[name]) for name in graph.outputs]
    entries = [each for value in graph.inputs if isinstance(each := symbols[value.name], Leaf)]
    made = trace(entries, outputs, graph.name).graph
    left = "; ".join(_left(made))
    if not floats.weights:
        raise UsageError("dequantize: no weights are quantised so that they could be floats" + (left and f": {left}"))
    if left:
        warn(f"dequantize leaves whole numbers, which do not train: {left}", DataWarning)
    stored = trace((), list(floats.weights))
    found = run_numpy(stored.graph, arrays, {})
    weights = {str(each.name): found[stored.names[value]] for value, each in floats.weights.items()}
    kept = {each.name: arrays[each.name] for each in made.parameters if each.name not in weights}
    return made, kept | weights


def _left(graph: Graph) -> Iterator[str]:
    """The nodes that read matrices of whole numbers, and why no floats take their place, in words."""
    types, fixed = infer(graph).types, {value.name for value in graph.parameters}
    for node in graph.nodes:
        if fixed.issuperset(filter(None, node.inputs)):
            fixed.update(node.outputs)
            continue
        read = fixed.intersection(node.inputs)
        whole = [name for name in node.inputs if name in read and types[name].dtype in _SMALL]
        if matrices := [name for name in whole if len(types[name].shape) > 1]:
            along = "row or column" if node.operator == "Gather" else "column or filter"
            why = f"no scale of one number, or for each {along}, is found behind it"
            yield f"{some(matrices)} of {node}, as {'onnxruntime runs it as in the file' if is_opaque(node) else why}"


class _Rows(NamedTuple):
    """Numbers taken from a table: at which places, along which axis, and what moves it from there."""

    table: Symbol
    places: Symbol
    axis: int
    moves: tuple[tuple[Node, tuple[Symbol, ...]], ...] = ()


class _Floats:
    """Makes other forms of nodes that read whole numbers, and parameters of the floats that these stand for.

    Of the values that depend on no input (``fixed``), ``few`` depend on numbers of few bits, and ``scaled`` on a
    DequantizeLinear. Within a body, they are values outside of it.
    """

    def __init__(self, graph: Graph) -> None:
        self.names, self._outputs = Names.beside(graph), frozenset(graph.outputs)
        self.parameters = dict[str, Symbol]()
        for value in graph.parameters:
            found = Leaf(value.name, value.dtype, value.shape, parameter=True, trainable=value.trainable)
            found.packed, self.parameters[value.name] = value.packed, found
        self.fixed, self.scaled = set(self.parameters.values()), set[Symbol]()
        self.few = {each for each in self.fixed if each.dtype in _SMALL}
        self.weights, self._taken = dict[Symbol, Leaf](), dict[Symbol, _Rows]()
        self._known, self._moved = dict[tuple[object, ...], Symbol](), dict[Symbol, Symbol]()
        self._outside, self._outer = list[Outside](), dict[Symbol, Symbol]()

    def form(self, node: Node, inputs: Sequence[Any]) -> Sequence[Symbol]:
        """The outputs of a node."""
        if self.fixed.issuperset(filter(None, inputs)):
            return self._followed(node, inputs)
        if found := self._rows(node, inputs) or self._rounded(node, inputs) or self._product(node, inputs):
            found.origin.name = node.name
            return [found]
        read = [each and self._read(each, is_linear=operator_of(node).family == "linear") for each in inputs]
        quantised = (each.operator in QUANTISED for _, body in bodies(node) for each in all_nodes(body))
        return self._entered(node, inputs, read) if any(quantised) else replayed(node, read)

    def _followed(self, node: Node, inputs: Sequence[Any]) -> Sequence[Symbol]:
        """The outputs of a node that depend on no input."""
        given = set(filter(None, inputs))
        made = replayed(_nameless(node) if self._outside and given else node, inputs)
        self.fixed.update(made)
        self.few.update(each for each in made if each.dtype in _SMALL or given & self.few)
        self.scaled.update(made if node.operator == "DequantizeLinear" or given & self.scaled else ())
        return made

    def _emit(self, operator: str, *inputs: Symbol | None, **attributes: Any) -> Symbol:
        """The output of a new node, or of one before it that made the same of what depends on no input."""
        key = operator, str(attributes), inputs
        if key not in self._known:
            [made] = self.form(Node("", operator, ("",) * len(inputs), ("",), attributes), inputs)
            if made not in self.fixed:
                return made
            self._known[key] = made
        return self._known[key]

    def _weight(self, value: Symbol) -> Leaf:
        """The parameter in place of a value that follows from stored whole numbers."""
        if value not in self.weights:
            root: Any = value
            while root.origin.inputs and not (root.name and self._inputs(root, "DequantizeLinear")):
                root = next(filter(None, root.origin.inputs))
            wish = _ENDINGS.sub("", root.name or "weight")
            name = wish if wish == value.name else self.names.fresh(wish)
            value.name, self.weights[value] = None, Leaf(name, value.dtype, value.shape, parameter=True)
            self.fixed.add(self.weights[value])
        return self.weights[value]

    def _read(self, value: Symbol, *, is_linear: bool = False) -> Symbol:
        """``value`` as a node reads it that depends on inputs."""
        is_weight = value.dtype in FLOATS and (value in self.scaled or (is_linear and value in self.few))
        found = self._weight(value) if is_weight and value.name not in self._outputs else self.rows(value)
        if self._outside and value in self.fixed and (value.origin.inputs or isinstance(value, Leaf)):
            found = self._outside[-1].leaf(found)
            self._outer[found] = value
        return found

    def rows(self, value: Symbol) -> Symbol:
        """``value``, taken from a table of floats if it is taken from one of whole numbers that stand for these."""
        taken = self._taken.get(value)
        if taken is None or value.dtype not in FLOATS or taken.table not in self.few:
            return value
        if value not in self._moved:
            made = emit("Gather", self._weight(taken.table), taken.places, axis=taken.axis)
            for node, others in taken.moves:
                [made] = replayed(node, [made, *others])
            made.name, value.name, self._moved[value] = value.name, None, made
        return self._moved[value]

    def _rows(self, node: Node, inputs: Sequence[Any]) -> Symbol | None:
        """A value that is taken from a table, or computed of that as it could be of all of the table."""
        use = OperatorContext(operator_of(node), [each and each.type for each in inputs], node.attributes)
        found = None if self._taken.keys().isdisjoint(inputs) else self._of_all(use, node, inputs)
        if node.operator == "Gather" and not self._outside and inputs[0] in self.fixed - self.scaled:
            found = _Rows(inputs[0], inputs[1], use.attribute_axis())
        if found is None:
            return None
        [made] = replayed(node, inputs)
        self._taken[made] = found
        return made

    def _of_all(self, use: OperatorContext, node: Node, inputs: Sequence[Any]) -> _Rows | None:
        """The rows of what a node makes of a table, if that is the same as what it makes of rows."""
        taken = [self._taken[each] for each in inputs if each in self._taken]
        others, first = [each for each in inputs if each and each not in self._taken], taken[0]
        if not self.fixed.issuperset(others) or any(each[1:] != first[1:] for each in taken):
            return None
        if use.operator.rearranges and len(node.outputs) == 1:
            return first._replace(moves=(*first.moves, (_nameless(node), tuple(others))))
        attributes = _along(use, first, others, is_single=len(taken) == 1)
        if attributes is None or first.table in self.scaled:
            return None
        whole = (self._taken[each].table if each in self._taken else each for each in inputs)
        return first._replace(table=self._emit(node.operator, *whole, **attributes))

    def _times(self, number: Symbol, scale: Symbol) -> Symbol:
        """Whole numbers and a scale, multiplied."""
        made = self._emit("Mul", self._emit("Cast", number, to=DTYPE_CODES[scale.dtype]), scale)
        if made in self.fixed:
            self.scaled.add(made)
        return made

    def _real(self, x: Symbol, scale: Symbol, point: Symbol | None, behind: int) -> Symbol:
        """The floats that whole numbers are, whose scales are along the axis with ``behind`` axes behind it."""
        if not self.fixed.issuperset(filter(None, (x, scale, point))):
            return self._emit("DequantizeLinear", x, scale, point, axis=-1 - behind)
        shape = (-1, *[1] * min(behind, len(x.shape) - 1))
        layout = self._emit("Constant", value=Tensor("int64", (len(shape),), shape))
        if point:
            x, zero = (self._emit("Cast", each, to=DTYPE_CODES[scale.dtype]) for each in (x, point))
            x = self._emit("Sub", x, self._emit("Reshape", zero, layout))
        return self._times(x, self._emit("Reshape", scale, layout))

    def _rounded(self, node: Node, inputs: Sequence[Any]) -> Symbol | None:
        """A product of floats between nodes that round as a product of whole numbers does which rounds its result."""
        if not node.operator.startswith("QLinear"):
            return None
        x, x_scale, x_point, w, w_scale, w_point, y_scale, y_point, *bias = inputs
        kind = node.operator.removeprefix("QLinear")
        behind = len(w.shape) - 1 if kind == "Conv" else 0
        floats = [self._real(x, x_scale, x_point, 1), self._real(w, w_scale, w_point, behind)]
        floats += [self._times(each, self._emit("Mul", x_scale, w_scale)) for each in bias]
        return self._emit("QuantizeLinear", self._emit(kind, *floats, **node.attributes), y_scale, y_point)

    def _product(self, node: Node, inputs: Sequence[Any]) -> Symbol | None:
        """A product of floats in place of one of whole numbers whose sums, and maybe a bias, are scaled."""
        found = (
            self._unscaled(product, bias, scale)
            for sums, scale in (permutations(inputs, 2) if node.operator == "Mul" else ())
            for whole in self._inputs(sums, "Cast")
            for product, bias in ((whole, None), *permutations(self._inputs(whole, "Add"), 2))
        )
        return next(filter(None, found), None)

    def _unscaled(self, product: Symbol, bias: Symbol | None, scale: Symbol) -> Symbol | None:
        """A product of (x - zero)·scale and of the weights, if one of two factors is weights, and scales are theirs."""
        kind = "Conv" if self._inputs(product, "ConvInteger") else "MatMul"
        factors, rank = (*self._inputs(product, f"{kind}Integer"), None, None), len(product.shape)
        place = int(factors[1] in self.fixed)
        if factors[place] not in self.fixed:
            return None
        x, w, x_point, w_point = (factors[each] for each in (1 - place, place, 3 - place, 2 + place))
        own, scales = self._shared(scale, x)
        behind = rank - 2 if kind == "Conv" else 1 - place
        if any(each is not None and each.shape not in {(), (1,)} for each in (own, x_point)):
            return None
        if not self.fixed.issuperset(scales) or any(_is_beside(each, behind, rank) for each in scales):
            return None
        rest = reduce(partial(self._emit, "Mul"), scales)
        floats = [self._real(x, own, x_point, 0), self._real(w, rest, w_point, behind + (kind == "Conv"))]
        made = self._emit(kind, *floats[:: place or -1], **product.origin.attributes)
        return made if bias is None else self._emit("Add", made, self._times(bias, scale))

    def _shared(self, scale: Symbol, x: Symbol) -> tuple[Symbol, list[Symbol]]:
        """The scale of ``x``, and the others whose product with it ``scale`` is."""
        scales = self._multiplied(scale)
        measured = [each for each in scales if each not in self.fixed] or self._inputs(x, "QuantizeLinear")[1:2]
        own = [*measured, *scales][0]
        if own in scales:
            scales.remove(own)
        else:
            scales = [self._emit("Div", scale, own)]
        return own, scales or [self._emit("Constant", value=Tensor(own.dtype, (), (1.0,)))]

    def _inputs(self, value: Symbol, operator: str) -> tuple[Any, ...]:
        """The inputs of the node that makes a value, if it is of an operator, as they are outside of bodies."""
        made, read = value.origin.operator, value.origin.inputs
        return tuple(each and self._outer.get(each, each) for each in read if made and made.name == operator)

    def _multiplied(self, scale: Symbol) -> list[Symbol]:
        """The scales whose product a scale is."""
        return [part for each in self._inputs(scale, "Mul") for part in self._multiplied(each)] or [scale]

    def _entered(self, node: Node, inputs: Sequence[Any], read: Sequence[Any]) -> Sequence[Symbol]:
        """The outputs of a node with other forms of the nodes in its bodies, and what these read of ``inputs``."""
        use = OperatorContext(
            operator_of(node), [each and each.type for each in read], node.attributes, len(node.outputs)
        )
        made = dict[str, tuple[Graph, list[Symbol]]]()
        for name, body in bodies_of(use).items():
            types = use.operator.entries(use) if use.operator.entries else ()
            entries = [leaf(value.name, type) for value, type in zip(body.graph.inputs, types, strict=True)]
            self._outside.append(outside := Outside())
            symbols: dict[str, Any] = {str(each.name): each for each in entries}
            for value, place in zip(body.graph.parameters, body.places, strict=True):
                symbols[value.name] = inputs[place] if inputs[place] in self.fixed else outside.leaf(read[place])
            for each in body.graph.nodes:
                found = self.form(each, [symbols.get(name) for name in each.inputs])
                symbols.update(zip(each.outputs, found, strict=True))
            outputs = [self._read(symbols[output]) for output in body.graph.outputs]
            self._outside.pop()
            graph, captured = outside.body(body.graph.name, entries, outputs)
            made[name] = graph, [self._read(each) for each in captured]
        attributes = {name: value for name, value in node.attributes.items() if name not in made}
        return emit_node(node.operator, read[: len(own_inputs(node))], made, len(node.outputs), **attributes)


def _along(use: OperatorContext, rows: _Rows, others: Sequence[Symbol], *, is_single: bool) -> dict[str, Any] | None:
    """The attributes for the whole table of a node that takes rows apart, or scales them; ``None`` of another node."""
    operator, rank = use.operator, len(rows.table.shape)
    is_scale = operator.affine or operator.moves or use.type().dtype in _SMALL
    if not (operator.elementwise and is_scale) and operator.name not in {"DequantizeLinear", "Gather"}:
        return None
    attributes: dict[str, Any] = {**use.attributes}
    lengths = [len(each.shape) for each in others if operator.name == "Gather" or each.shape not in {(), (1,)}]
    if is_single and not lengths:  # One number for all of them, wherever they are.
        return attributes
    if "axis" in operator.attributes:
        attributes["axis"] = use.attribute_axis() - len(use.type().shape)
        lengths += [-attributes["axis"]] * len(lengths)
    return None if rows.moves or rows.axis or max(lengths, default=0) >= rank else attributes


def _is_beside(scale: Symbol, behind: int, rank: int) -> bool:
    """True if a scale differs along another axis than the one of ``rank`` with ``behind`` axes behind it."""
    return len(scale.shape) > rank or any(dim != 1 and at != behind for at, dim in enumerate(reversed(scale.shape)))


def _nameless(node: Node) -> Node:
    """``node`` without its name and those of what it makes."""
    return replace(node, name="", outputs=("",) * len(node.outputs))
