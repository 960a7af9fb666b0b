"""Floats that train in place of what a network computes of stored weights of few bits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
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
    Type,
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

_CELLWISE: Final = frozenset({"BitShift", "BitwiseAnd", "Cast", "DequantizeLinear", "Div", "Gather", "Mul", "Sub"})
"""The operators that make floats of the numbers of a table, and the same of rows of it."""

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
        whole = [name for name in node.inputs if name in fixed and types[name].dtype in _SMALL]
        if matrices := [name for name in whole if len(types[name].shape) > 1]:
            why = "no scale of one number, or for each column or filter, follows its sums"
            if is_opaque(node):
                why = "onnxruntime runs it as in the file"
            elif node.operator == "Gather":
                why = "no scale of one number, or for each row or column, follows it"
            elif node.operator not in QUANTISED and not any(bodies(node)):
                why = "it is no form of an operator of floats"
            yield f"{some(matrices)} of {node}, as {why}"


class _Rows(NamedTuple):
    """Rows of a table: their places, the axis along which they lie, and the nodes that move them from there."""

    table: Symbol
    places: Symbol
    axis: int
    moves: tuple[tuple[Node, tuple[Symbol | None, ...]], ...] = ()


class _Floats:
    """Makes other forms of nodes that read whole numbers, and parameters of the floats that these stand for.

    Of the values that depend on no input (``fixed``), ``stored`` depend on a parameter, ``few`` on numbers of few bits,
    and ``scaled`` on a DequantizeLinear.
    """

    def __init__(self, graph: Graph) -> None:
        self.names = Names.beside(graph)
        self.parameters = dict[str, Symbol]()
        for value in graph.parameters:
            found = Leaf(value.name, value.dtype, value.shape, parameter=True, trainable=value.trainable)
            found.packed, self.parameters[value.name] = value.packed, found
        self.fixed, self.stored = set(self.parameters.values()), set(self.parameters.values())
        self.few, self.scaled = {each for each in self.fixed if each.dtype in _SMALL}, set[Symbol]()
        self.weights = dict[Symbol, Leaf]()
        self._taken, self._moved = dict[Symbol, _Rows](), dict[Symbol, Symbol]()
        self._known, self._outside = dict[tuple[object, ...], Symbol](), list[Outside]()
        self._outer = dict[Symbol | None, Symbol]()

    def form(self, node: Node, inputs: Sequence[Symbol | None]) -> Sequence[Symbol]:
        """The outputs of a node."""
        given = {each for each in inputs if each is not None}
        if given <= self.fixed:
            made = replayed(_nameless(node) if self._outside and given else node, inputs)
            return [self._settled(each, given, is_scaled=node.operator == "DequantizeLinear") for each in made]
        if found := self._rows(node, inputs) or self._rounded(node, inputs) or self._product(node, inputs):
            found.origin.name = node.name
            return [found]
        read = [each and self._read(each, is_linear=operator_of(node).family == "linear") for each in inputs]
        quantised = (each.operator in QUANTISED for _, body in bodies(node) for each in all_nodes(body))
        return self._entered(node, inputs, read) if any(quantised) else replayed(node, read)

    def _emit(self, operator: str, *inputs: Symbol | None, **attributes: Any) -> Symbol:
        """The value of a new node, or of one before it that made the same of values that follow from no input."""
        key = operator, str(attributes), inputs
        if key not in self._known:
            [made] = self.form(Node("", operator, ("",) * len(inputs), ("",), attributes), inputs)
            if made not in self.fixed:
                return made
            self._known[key] = made
        return self._known[key]

    def _settled(self, value: Symbol, given: AbstractSet[Symbol], *, is_scaled: bool = False) -> Symbol:
        """``value``, which follows from ``given`` and from no input."""
        self.fixed.add(value)
        for group, belongs in ((self.stored, False), (self.few, value.dtype in _SMALL), (self.scaled, is_scaled)):
            if belongs or not given.isdisjoint(group):
                group.add(value)
        return value

    def _weight(self, value: Symbol) -> Leaf:
        """The parameter in place of a value that follows from stored whole numbers."""
        if value not in self.weights:
            root = value
            while root.origin.inputs and not (root.name and self._inputs(root, "DequantizeLinear")):
                root = next(each for each in root.origin.inputs if each is not None)
            wish = _ENDINGS.sub("", root.name or "weight")
            name = wish if wish == value.name else self.names.fresh(wish)
            made = self.weights[value] = Leaf(name, value.dtype, value.shape, parameter=True)
            self.stored.add(made)
            value.name = None
        return self.weights[value]

    def _read(self, value: Symbol, *, is_linear: bool = False) -> Symbol:
        """``value`` as a node reads it that depends on inputs."""
        is_weight = value in self.scaled or (is_linear and value in self.few)
        found = self._weight(value) if is_weight and value.dtype in FLOATS else self.rows(value)
        if self._outside and value in self.stored:
            self._outer[made := self._outside[-1].leaf(found)] = value
            return made
        return found

    def rows(self, value: Symbol) -> Symbol:
        """``value``, taken from a table of floats if it is taken from one of whole numbers that stand for these."""
        taken = self._taken.get(value)
        if taken is None or value.dtype not in FLOATS or taken.table not in self.few:
            return value
        if value not in self._moved:
            gather = Node("", "Gather", ("", ""), ("",), {"axis": taken.axis})
            [made] = replayed(gather, [self._weight(taken.table), taken.places])
            for node, others in taken.moves:
                [made] = replayed(node, [made, *others])
            made.name, value.name, self._moved[value] = value.name, None, made
        return self._moved[value]

    def _rows(self, node: Node, inputs: Sequence[Symbol | None]) -> Symbol | None:
        """Rows of a table, or a value that is computed of them as it could be of all of the table."""
        use = OperatorContext(operator_of(node), _types(inputs), node.attributes)
        first, found = inputs[0], None
        if node.operator == "Gather" and not self._outside and first in self.fixed - self.scaled:
            table, places = filter(None, inputs)
            found = _Rows(table, places, use.attribute_axis())
        elif (
            (use.operator.rearranges or node.operator == "Slice")
            and first in self._taken
            and self.fixed.issuperset(filter(None, inputs[1:]))
        ):
            found = self._taken[first]
            found = found._replace(moves=(*found.moves, (_nameless(node), tuple(inputs[1:]))))
        elif node.operator in _CELLWISE and (node.operator != "Gather" or first in self._taken):
            found = self._of_all(use, node, inputs)
        if found is None:
            return None
        [made] = replayed(node, inputs)
        self._taken[made] = found
        return made

    def _of_all(self, use: OperatorContext, node: Node, inputs: Sequence[Symbol | None]) -> _Rows | None:
        """The rows of what a node that computes of each number on its own makes of a table."""
        taken = [self._taken[each] for each in inputs if each in self._taken]
        others = [each for each in inputs if each is not None and each not in self._taken]
        first = next((each for each in taken if each.table in self.few - self.scaled), None)
        along = use.attribute_axis() - len(use.type().shape) if "axis" in use.operator.attributes else -1
        if first is None or not self.fixed.issuperset(others) or not _is_of_rows(first, taken, others, along):
            return None
        attributes = {**node.attributes, "axis": along} if "axis" in use.operator.attributes else node.attributes
        whole = [self._taken[each].table if each in self._taken else each for each in inputs]
        return first._replace(table=self._emit(node.operator, *whole, **attributes))

    def _real(self, x: Symbol | None, scale: Symbol | None, point: Symbol | None, behind: int) -> Symbol:
        """The floats that whole numbers are, whose scales are along the axis with ``behind`` axes behind it."""
        assert x is not None
        assert scale is not None
        if not self.fixed.issuperset(filter(None, (x, scale, point))):
            return self._emit("DequantizeLinear", x, scale, point, axis=-1 - behind)
        shape = (-1, *[1] * min(behind, len(x.shape) - 1))
        layout = self._emit("Constant", value=Tensor("int64", (len(shape),), shape))
        number, zero = (each and self._emit("Cast", each, to=DTYPE_CODES[scale.dtype]) for each in (x, point))
        if zero:
            number = self._emit("Sub", number, self._emit("Reshape", zero, layout))
        made = self._emit("Mul", number, self._emit("Reshape", scale, layout))
        self.scaled.add(made)
        return made

    def _rounded(self, node: Node, inputs: Sequence[Symbol | None]) -> Symbol | None:
        """A product of floats between nodes that round as a product of whole numbers does which rounds its result."""
        if not node.operator.startswith("QLinear"):
            return None
        x, x_scale, x_point, w, w_scale, w_point, y_scale, y_point, *bias = inputs
        kind = node.operator.removeprefix("QLinear")
        pair = [self._real(x, x_scale, x_point, 1), self._real(w, w_scale, w_point, _behind(kind, w))]
        pair += [self._real(each, self._emit("Mul", x_scale, w_scale), None, 0) for each in bias]
        return self._emit("QuantizeLinear", self._emit(kind, *pair, **node.attributes), y_scale, y_point)

    def _product(self, node: Node, inputs: Sequence[Symbol | None]) -> Symbol | None:
        """A product of floats in place of one of whole numbers whose sums, and maybe a bias, are scaled."""
        for sums, scale in permutations(inputs, 2) if node.operator == "Mul" else ():
            for whole in self._inputs(sums, "Cast"):
                for product, bias in ((whole, None), *permutations(self._inputs(whole, "Add"), 2)):
                    if (found := self._scaled(product, scale)) and bias is None:
                        return found
                    if found:
                        behind = len(found.shape) - 2 if self._inputs(found, "Conv") else 0
                        return self._emit("Add", found, self._real(bias, scale, None, behind))
        return None

    def _scaled(self, product: Symbol | None, scale: Symbol | None) -> Symbol | None:
        """A product of (x - zero)·scale and of the weights, if one of two factors is weights, and scales are theirs."""
        kind = "Conv" if self._inputs(product, "ConvInteger") else "MatMul"
        factors = self._inputs(product, f"{kind}Integer")
        place = 1 if factors[1:2] and factors[1] in self.fixed else 0
        if product is None or scale is None or not factors or factors[place] not in self.fixed:
            return None
        x, points, (own, scales) = factors[1 - place], [*factors[2:], None, None], self._own(factors[1 - place], scale)
        behind = _behind(kind, factors[place], place)
        axis = 1 if kind == "Conv" else len(product.shape) - 1 - behind
        is_one = all(each is None or each.shape in {(), (1,)} for each in (own, points[1 - place]))
        if not is_one or not self.fixed.issuperset(scales) or not _are_along(axis, scales, len(product.shape)):
            return None
        one = self._emit("Constant", value=Tensor(own.dtype, (), (1.0,)))
        pair = [self._real(x, own, points[1 - place], 0)]
        others = reduce(partial(self._emit, "Mul"), scales or [one])
        pair.insert(place, self._real(factors[place], others, points[place], behind))
        return self._emit(kind, *pair, **product.origin.attributes)

    def _own(self, x: Symbol | None, scale: Symbol) -> tuple[Symbol, list[Symbol]]:
        """The scale of a factor that depends on inputs, and the others whose product with it is ``scale``."""
        scales = self._multiplied(scale)
        moving = [each for each in scales if each not in self.fixed]
        own = next(filter(None, (*moving, *self._inputs(x, "QuantizeLinear")[1:2], *scales)))
        if own not in scales:
            return own, [self._emit("Div", scale, own)]
        scales.remove(own)
        return own, scales

    def _inputs(self, value: Symbol | None, operator: str) -> tuple[Symbol | None, ...]:
        """The inputs of the node that makes a value, if it is of an operator, as they are outside of bodies."""
        made = value and value.origin.operator
        read = value.origin.inputs if value and made and made.name == operator else ()
        return tuple(self._outer.get(each, each) for each in read)

    def _multiplied(self, scale: Symbol) -> list[Symbol]:
        """The scales whose product a scale is."""
        return [part for each in self._inputs(scale, "Mul") if each for part in self._multiplied(each)] or [scale]

    def _seen(self, given: Symbol | None, own: Symbol | None, outside: Outside) -> Symbol:
        """A value as the nodes of a body see it."""
        assert given is not None
        assert own is not None
        return given if given in self.fixed else outside.leaf(own)

    def _entered(self, node: Node, inputs: Sequence[Symbol | None], read: Sequence[Symbol | None]) -> Sequence[Symbol]:
        """The outputs of a node with other forms of the nodes in its bodies, and what these read of ``inputs``."""
        use = OperatorContext(operator_of(node), _types(read), node.attributes, len(node.outputs))
        made = dict[str, tuple[Graph, list[Symbol]]]()
        for name, body in bodies_of(use).items():
            types = use.operator.entries(use) if use.operator.entries else ()
            entries = [leaf(value.name, type) for value, type in zip(body.graph.inputs, types, strict=True)]
            outside, symbols = Outside(), dict[str, Symbol]({str(each.name): each for each in entries})
            for value, place in zip(body.graph.parameters, body.places, strict=True):
                symbols[value.name] = self._seen(inputs[place], read[place], outside)
            self._outside.append(outside)
            for each in body.graph.nodes:
                found = self.form(each, [symbols.get(name) for name in each.inputs])
                for output, symbol in zip(each.outputs, found, strict=True):
                    symbol.name = None if symbol in self.stored else output or None
                    symbols[output] = symbol
            outputs = [self._read(symbols[output]) for output in body.graph.outputs]
            self._outside.pop()
            graph, captured = outside.body(body.graph.name, entries, outputs)
            made[name] = graph, [self._read(each) for each in captured]
        attributes = {name: value for name, value in node.attributes.items() if name not in made}
        return emit_node(node.operator, read[: len(own_inputs(node))], made, len(node.outputs), **attributes)


def _is_of_rows(first: _Rows, taken: Sequence[_Rows], others: Sequence[Symbol], along: int) -> bool:
    """True if what is computed of rows is that of all of a table: others are one number, or lie within each row."""
    is_bare = not first.moves and first.axis == 0
    is_one = all(each.shape in {(), (1,)} for each in others)
    is_within = is_bare and max(-along, *(len(each.shape) for each in others), 0) < len(first.table.shape)
    return (is_one or is_within) and (len(taken) == 1 or is_bare) and all(each[1:] == first[1:] for each in taken)


def _are_along(axis: int, scales: Sequence[Symbol], rank: int) -> bool:
    """True if scales differ along one axis of a product at most."""
    shapes = [(1,) * (rank - len(each.shape)) + each.shape for each in scales]
    return all(len(shape) == rank and all(dim == 1 or at == axis for at, dim in enumerate(shape)) for shape in shapes)


def _behind(kind: str, weights: Symbol | None, place: int = 1) -> int:
    """The number of axes behind the one along which the scales of a factor may differ."""
    return len(weights.shape) - 1 if kind == "Conv" and weights else 1 - place


def _nameless(node: Node) -> Node:
    """``node`` without its name and those of what it makes."""
    return replace(node, name="", outputs=("",) * len(node.outputs))


def _types(values: Iterable[Symbol | None]) -> list[Type | None]:
    """The types of values, of which some may be left out."""
    return [None if each is None else each.type for each in values]
