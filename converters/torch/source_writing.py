"""The body of ``forward``: the nodes of a graph as statements of Python, and the layers that they use."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from msgspec.structs import replace

from portable_nn.converters.array.code import names_read
from portable_nn.converters.torch.source_layers import FINDERS
from portable_nn.converters.torch.source_names import Path, Variables, expression, path_of, plain
from portable_nn.converters.torch.source_recurrent import find, is_recurrent, sequence_of, stacks
from portable_nn.converters.torch.source_rows import written
from portable_nn.converters.torch.source_scene import Found, Layer, Scene
from portable_nn.converters.torch.source_use import OPERAND, Made, Use, torch_dtype
from portable_nn.converters.torch.words import called
from portable_nn.core.dims import PYTHON, is_name, spelled
from portable_nn.core.errors import RefusalError
from portable_nn.core.graph import Dim, Graph, Node, Parameter, Shape, bodies, format_shape
from portable_nn.operators import FLOATS, Array, InvalidNode
from portable_nn.operators.control.bodies import body_types
from portable_nn.operators.control.branches import running
from portable_nn.rewrites.distinct import distinct
from portable_nn.rewrites.lowering import lower
from portable_nn.rewrites.program import Names
from portable_nn.rewrites.scope import Scope

GONE = "None"
"""The text for a value that only the inside of a layer has; nothing that is left reads it."""


@dataclass
class Statement:
    """``targets = expression``, after the functions that it calls."""

    targets: tuple[str, ...]
    expression: str
    comment: str = ""
    functions: Sequence[str] = ()

    @property
    def lines(self) -> Iterator[str]:
        """Its lines."""
        yield from self.functions
        line = f"{', '.join(self.targets)} = {self.expression}"
        yield f"{line}  # {plain(self.comment)}" if self.comment else line

    @property
    def read(self) -> set[str]:
        """The variables that it reads."""
        return names_read("\n".join([*self.functions, self.expression]))


@dataclass
class Body:
    """The body of ``forward``.

    Attributes:
        arguments: the names of its arguments, in the order of the network's inputs.
        statements: what it computes, in order.
        results: the expressions of the outputs.
        layers: the layers by their paths.
        constants: tensors that are no parameters, by the names of their buffers.
    """

    arguments: list[str]
    statements: list[Statement]
    results: list[str]
    layers: dict[Path, Layer]
    constants: dict[str, Array]
    faults: list[str] = field(default_factory=list)

    @property
    def helpers(self) -> Collection[str]:
        """The helpers that it calls."""
        return called("\n".join([*(line for each in self.statements for line in each.lines), *self.results]))


class Writing:
    """The writing of one graph; it is the ``Writer`` of the rows.

    Args:
        graph: the graph.
        paths: the path of each parameter that is in no layer with names of its own.
        forbidden: names that a layer cannot have.
        tied: further names of parameters.
        taken: names that no variable may have.
    """

    def __init__(
        self,
        graph: Graph,
        paths: Mapping[str, Path],
        forbidden: Collection[str],
        tied: Mapping[str, str],
        taken: Collection[str] = (),
    ) -> None:
        names = Names.beside(graph)
        self.graph, self.forbidden = replace(graph, nodes=distinct(graph.nodes, names)), forbidden
        self.scope = Scope.of(self.graph)._replace(names=names)
        self.types = self.scope.types
        self.scene = Scene(self.graph, self.types, tied)
        self.paths = dict(paths)
        self.names = Variables({*forbidden, *taken})
        self.values = dict[str, str]()
        self.dims = dict[str, str]()
        self.sequences = dict[str, str]()
        self.body = Body([], [], [], {}, {})
        self.reasons = dict[str, str]()
        self._known = dict[tuple[object, ...], str]()

    def run(self) -> Body:
        """All of it."""
        for value in self.graph.inputs:
            name = self.names.fresh(value.name)
            self.values[value.name] = name
            self.body.arguments.append(name)
            self._bind(value.name, value.shape, first=True)
        self.stacks = stacks(self.scene)
        self.layers = self._accepted()
        self.body.faults += self._faults(self.graph.nodes)
        if not self.body.faults:
            self._finish()
        return self.body

    # -- what rows ask for

    @property
    def device(self) -> str:
        """The device of the first input, or parameter."""
        return f"{self.body.arguments[0]}.device" if self.body.arguments else "None"

    def tensor(self, name: str) -> str:
        """The expression of a value, a tensor."""
        constant = self.types[name].constant
        if name in self.scene.parameters:
            return expression(self.paths[name])
        if constant is not None:
            if not any(isinstance(each, str) for each in constant):
                return self.constant(
                    np.array(constant, self.types[name].dtype).reshape([int(dim) for dim in self.types[name].shape])
                )
            try:
                return self._size_tensor(name, constant)  # type: ignore[arg-type]
            except RefusalError:
                pass
        return self.values[name]

    def _size_tensor(self, name: str, sizes: Sequence[Dim]) -> str:
        if self.types[name].dtype in FLOATS and any("/" in str(size) for size in sizes):
            raise RefusalError("a quotient of sizes that is no whole number")
        made = f"size_tensor({', '.join(self.dim(size) for size in sizes)})"
        made += f".to({torch_dtype(self.types[name].dtype)})" if self.types[name].dtype != "int64" else ""
        return f"{made}.to({self.device})" if self.types[name].shape else f"{made}[0].to({self.device})"

    def dim(self, dim: Dim) -> str:
        """The expression of a size. Raises ``RefusalError`` where it is not known."""
        try:
            return spelled(dim, self.dims, PYTHON)
        except KeyError as missing:
            raise RefusalError(f"a size that is not known, {missing.args[0]}") from None

    def constant(self, value: Array) -> str:
        """A buffer for a constant tensor."""
        key = (value.dtype.name, value.shape, value.tobytes())
        if key not in self._known:
            name = f"constant_{len(self._known) + 1}"
            while name in self.forbidden or (name,) in self.paths.values():
                name += "_"
            self._known[key] = name
            self.body.constants[name] = value
        return f"self.{self._known[key]}"

    def statement(self, wish: str, expression: str) -> str:
        """A new variable for an expression."""
        name = self.names.fresh(wish)
        self.body.statements.append(Statement((name,), self._complete(expression)))
        return name

    def note_sequence(self, name: str, expression: str) -> None:
        """Note the (steps, batch, features) that an output Y of a recurrent layer is in PyTorch."""
        self.sequences[name] = expression

    def assign(self, name: str, expression: str) -> None:
        """Give the output of the node that the layer's last operator produces."""
        self.values[name] = self.names.fresh(name)
        comment = format_shape(self.types[name].shape)
        self.body.statements.append(Statement((self.values[name],), expression, comment))

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of a name, if it is one."""
        return self.scene.parameters.get(name)

    # -- layers

    def _accepted(self) -> dict[str, Found]:
        """The layers by the name of their last node: those whose places have no parameters but theirs."""
        found = dict[str, Found]()
        for node in self.graph.nodes:
            one = self._found(node)
            if one is not None:
                found[node.name] = one
        homes = dict[str, Layer]()
        clashes = set[str]()
        for each in found.values():
            layer = each.layer
            whole = layer.claims >= self.scene.children(layer.place) and layer.place not in self.scene.parameters
            if not whole or homes.setdefault(layer.place, layer) != layer or homes[layer.place].claims != layer.claims:
                clashes.add(f"{layer.place} {sorted(layer.claims)}" if not whole else layer.place)
        result = dict[str, Found]()
        for name, each in found.items():
            layer = each.layer
            if not {layer.place, f"{layer.place} {sorted(layer.claims)}"} & clashes:
                result[name] = each
        self._place(result)
        return result

    def _found(self, node: Node) -> Found | None:
        finder, stack = None if node.domain else FINDERS.get(node.operator), self.stacks.get(node.name)
        if stack and stack.nodes[-1] is node:
            finder = partial(find, stack=stack)
        try:
            return finder(self.scene, Use(node, self.types, self)) if finder else None
        except (RefusalError, InvalidNode) as reason:
            self.reasons[node.name] = str(reason)
            return None

    def _place(self, found: Mapping[str, Found]) -> None:
        """Give each layer its path, and the parameters in it theirs."""
        places = dict[str, Path]()
        for each in found.values():
            layer = each.layer
            if layer.place in places:
                continue
            if any(
                entry.parameter.startswith(f"{layer.place}.") or entry.key in self.scene.tied for entry in layer.entries
            ):
                path = path_of(layer.place, self.forbidden)
            else:
                path = (self._free(layer.place),)
            places[layer.place] = path
            self.body.layers[path] = layer
            for entry, own in zip(layer.entries, layer.paths(path), strict=True):
                if not self.scene.is_tied(entry.key, entry.parameter):
                    self.paths[entry.parameter] = own
        self.places = places

    def _free(self, wish: str) -> str:
        """A name for a layer that is not taken at the top."""
        taken = {path[0] for path in [*self.paths.values(), *self.body.layers]} | set(self.forbidden)
        return Variables(taken).fresh(wish)

    # -- nodes

    def _faults(self, nodes: Iterable[Node]) -> list[str]:
        """Write nodes; the faults of those that cannot be written."""
        return [fault for node in nodes for fault in lower(node, self.scope, self._node, enter=self._enter)]

    def _function(self, node: Node, name: str, graph: Graph) -> tuple[str, list[str]]:
        """The function that a body is: its name, and its lines. Raises ``RefusalError``."""
        self.types.update(body_types(self.scope.use(node), name))
        around, dims = self.body.statements, dict(self.dims)
        self.body.statements = []
        arguments = [self.names.fresh(value.name) for value in graph.inputs]
        self.values.update(zip((value.name for value in graph.inputs), arguments, strict=True))
        if node.operator == "Loop":  # What counts is on the CPU.
            self.values[graph.inputs[0].name] = self.statement(arguments[0], f"{arguments[0]}.to(device={self.device})")
        try:
            if faults := self._faults(graph.nodes):
                raise RefusalError(*faults)
            results = [self.tensor(each) for each in graph.outputs]
            kept = _needed(self.body.statements, results)
        finally:
            self.body.statements, self.dims = around, dims
        function = self.names.fresh(f"{node.name}_{name}")
        lines = [*(line for each in kept for line in each.lines), f"return {', '.join(results)}"]
        return function, [f"def {function}({', '.join(arguments)}):", *(f"    {line}" for line in lines)]

    def _node(self, node: Node) -> None:
        """Write a node. Raises ``RefusalError``."""
        self.values.update((name, GONE) for name in node.outputs if name)
        if is_recurrent(node) and node.name in self.stacks and self._is_inside(node):
            return
        try:
            inner = running(self.scope.use(node)) if any(bodies(node)) else {}
            found = {name: self._function(node, name, body.graph) for name, body in inner.items()}
            self.functions = [line for _, lines in found.values() for line in lines]
            self.use = Use(node, self.types, self, {name: function for name, (function, _) in found.items()})
            self._emit(node, self._made(node, self.use))
        except InvalidNode as fault:
            raise RefusalError(str(fault)) from None

    def _is_inside(self, node: Node) -> bool:
        stack = self.stacks[node.name]
        return stack.nodes[-1] is not node and stack.nodes[-1].name in self.layers

    def _made(self, node: Node, use: Use) -> Made:
        is_old = node.name in self.scene.order and node.operator != "Transpose"
        sequence = sequence_of(self.scene, node.outputs[0]) if is_old else None
        if sequence in self.sequences:
            return self.sequences[sequence]
        if node.name in self.layers:
            each = self.layers[node.name]
            return each.made(use, expression(self.places[each.layer.place]))
        return written(use)

    def _complete(self, text: str) -> str:
        """An expression with the operands of the node that is written."""
        return OPERAND.sub(lambda found: self._operand(int(found[1]), text), text)

    def _operand(self, index: int, text: str) -> str:
        """A constant scalar is a number, but for a function's first argument, and where all must be tensors."""
        is_tensor = f"(«{index}»" in text or text.startswith(("torch.maximum", "torch.minimum"))
        number = None if is_tensor else self.use.number(index)
        return number or self.tensor(self.use.node.inputs[index])

    def _enter(self, nodes: Sequence[Node]) -> None:
        """Note which nodes make the values of nodes that were made just now."""
        for node in nodes:
            for name in node.outputs:
                self.scene.makers.setdefault(name, node)

    def _emit(self, node: Node, made: Made) -> None:
        if isinstance(made, str):
            self._assign(node.outputs, self._complete(made))
            return
        for name, each in zip(node.outputs, made, strict=False):
            if name:
                self._assign([name], self._complete(each))
        missing = [name for name in node.outputs[len(made) :] if name and name in self.scope.read]
        if missing:
            raise RefusalError(f"its output {missing[0]}")

    def _assign(self, names: Sequence[str], made: str) -> None:
        if len(names) == 1 and made.isidentifier() and made != GONE:
            self.values[names[0]] = made  # Another name of the same.
            return
        targets = tuple(self.names.fresh(name) if name else "_" for name in names)
        comment = next(format_shape(self.types[name].shape) for name in names if name)
        self.body.statements.append(Statement(targets, made, comment, self.functions))
        for name, target in zip(names, targets, strict=True):
            if name:
                self.values[name] = target
                self._bind(name, self.types[name].shape)

    def _bind(self, name: str, shape: Shape, *, first: bool = False) -> None:
        """Note where symbolic sizes can be read that are not known yet."""
        for axis, dim in enumerate(shape):
            if dim not in self.dims and is_name(dim):
                source = f"{self.values[name]}.shape[{axis}]"
                if first:
                    variable = self.names.fresh(dim)
                    self.body.statements.append(Statement((variable,), source))
                    self.dims[dim] = variable
                else:
                    self.dims[dim] = source

    def _finish(self) -> None:
        """Find the outputs, and leave out what leads to none."""
        self.body.results = [self.tensor(name) for name in self.graph.outputs]
        self.body.statements = kept = _needed(self.body.statements, self.body.results)
        text = "\n".join([*(line for each in kept for line in each.lines), *self.body.results])
        read = set(re.findall(r"\bself\.(constant_\w+)", text))
        self.body.constants = {name: value for name, value in self.body.constants.items() if name in read}


def _needed(statements: Iterable[Statement], results: Sequence[str]) -> list[Statement]:
    """The statements that lead to results, whose other targets are ``_``."""
    needed, kept = names_read("\n".join(results)), list[Statement]()
    for each in reversed([*statements]):
        if needed.intersection(each.targets):
            needed |= each.read
            kept.append(each)
    for each in kept:
        each.targets = tuple(name if name in needed else "_" for name in each.targets)
    return kept[::-1]
