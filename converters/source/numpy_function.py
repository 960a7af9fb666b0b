"""The function of a numpy module: each operator as a line of code with a comment."""

from __future__ import annotations

import keyword
import textwrap
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from portable_nn.converters.array import ROWS
from portable_nn.converters.array.code import WIDTH, folded, names_read
from portable_nn.converters.array.helpers import sources, words_of_python
from portable_nn.converters.array.indexing import constant_of
from portable_nn.converters.array.use import ArrayUse, number
from portable_nn.converters.source import lowered
from portable_nn.converters.source.lowered import Use, uses
from portable_nn.converters.source.words import Identifiers, shape_text
from portable_nn.core.dims import names_in
from portable_nn.core.graph import Graph, Node, Tensor
from portable_nn.network import Network
from portable_nn.operators import Types, infer

_OWN_WORDS: Final = (
    *("np", "sys", "math", "base64", "Path", "weights", "unpacked", "predict", "main", "sizes", "INPUTS"),
    *("rows_of", "number_of", "CELLS", "ABSENT"),
)


class Line(NamedTuple):
    """A line of the function: the variables that it makes and reads, its code and its comment; functions before it."""

    makes: Collection[str]
    reads: Collection[str]
    code: str
    says: str
    functions: Sequence[str] = ()


class Function:
    """The function of one network: its lines, and the names of its values."""

    def __init__(
        self, network: Network, graph: Graph, types: Types | None = None, found: Sequence[Use] | None = None
    ) -> None:
        self.network, self.graph = network, graph
        self.types = infer(graph).types if types is None else types
        self.uses = uses(graph, self.types) if found is None else found
        made = [use for use in self.uses if use.node.operator == "Constant"]
        self.constants: Mapping[str, Tensor] = {use.node.outputs[0]: constant_of(use.context) for use in made}
        self.names = Identifiers([*keyword.kwlist, *keyword.softkwlist, *_OWN_WORDS, *sources(), *words_of_python()])
        self.makers = graph.makers()
        self.reads = Counter(name for node in graph.nodes for name in node.inputs)
        self.made = dict[str, tuple[str, str]]()
        self.inputs = [self.names.of(value.name) for value in graph.inputs]
        self.parameters = {value.name: self.names.of(value.name) for value in graph.parameters}
        self.sizes = {
            name: self.names.of(name, "size") for value in graph.inputs for name in sorted(names_in(value.shape))
        }

    def lines(self) -> list[Line]:
        """The lines of all operators that an output depends on."""
        return self._needed([self._line(use) for use in self.uses])

    def _line(self, use: Use) -> Line:
        node = use.node
        inputs = [self._operand(use, name) if name else None for name in node.inputs]
        inner = {name: Inner(self, f"{node.name}_{name}", found) for name, found in use.inner.items()}
        functions = {name: found.name for name, found in inner.items()}
        made, row = ArrayUse(use.context, use.results, inputs, self.sizes, functions), ROWS[node.operator]
        code, says = row.expression(made), row.words(made)
        makes = [self.names.of(name) if name else "_" for name in node.outputs]
        if len(makes) == 1 and (inside := self._inside(use, inputs)):
            says = f"{inside}, plus a bias"
        self.made[node.outputs[0]] = code, says
        target = ", ".join(makes) + ("," if len(makes) == 1 and node.operator == "Split" else "")
        shapes = ", ".join(shape_text(self.types[name].shape) for name in node.outputs if name)
        before = [text for found in inner.values() for text in found.text()]
        reads = names_read("\n".join([*before, code]))
        return Line(makes, reads, f"{target} = {code}", f"{shapes}: {says}", before)

    def _operand(self, use: Use, name: str) -> str:
        """An input: the variable, or what it is, if that is as simple.

        That is a number of the type of another operand, a transposed parameter, or the product that a bias is added to.
        """
        found, operator = self.constants.get(name), use.context.operator
        if found is not None and found.shape == () and operator.elementwise:
            others = [self.types[each] for each in use.node.inputs if each and each not in self.constants]
            if any(each.dtype == found.dtype for each in others):
                return number(array_value(found))
        maker = self.makers.get(name)
        if maker is not None and name not in self.graph.outputs and name in self.made:
            is_turned = maker.operator == "Transpose" and len(self.types[name].shape) == 2
            if is_turned and maker.inputs[0] in self.parameters:
                return f"{self.names.of(maker.inputs[0])}.T"
            if self._is_biased(use, name, maker):
                return self.made[name][0]
        return self.names.of(name)

    def _is_biased(self, use: Use, name: str, maker: Node) -> bool:
        """True if a value is a product that is read here alone, and a parameter is added to it."""
        alone = self.reads[name] == 1 and maker.operator == "MatMul" and use.node.operator == "Add"
        return alone and any(each in self.parameters for each in use.node.inputs)

    def _inside(self, use: Use, inputs: Sequence[str | None]) -> str:
        """The words of the product that is written inside this sum, if one is."""
        found = [name for name, text in zip(use.node.inputs, inputs, strict=True) if text and " @ " in text]
        return self.made[found[0]][1] if found and use.node.operator == "Add" else ""

    def _needed(self, lines: Sequence[Line]) -> list[Line]:
        """Those that an output depends on: not constants that are written as numbers."""
        wanted = {self.names.of(name) for name in self.graph.outputs}
        kept = list[Line]()
        for line in reversed(lines):
            if wanted.intersection(line.makes):
                wanted.update(line.reads)
                kept.append(line)
        return kept[::-1]

    def parameters_in(self, lines: Sequence[Line]) -> list[str]:
        """The parameters that lines read, or that are outputs."""
        read = {name for line in lines for name in line.reads} | {self.names.of(name) for name in self.graph.outputs}
        return [name for name, identifier in self.parameters.items() if identifier in read]


class Inner(Function):
    """The function of a body, which reads the variables of those around it."""

    def __init__(self, outer: Function, wish: str, body: lowered.Inner) -> None:
        super().__init__(outer.network, replace(body.graph, inputs=(), parameters=()), body.types, body.uses)
        self.graph, self.sizes, self.names = body.graph, outer.sizes, outer.names
        self.name = self.names.new(wish)
        self.inputs, self.parameters = [self.names.of(value.name) for value in self.graph.inputs], {}

    def text(self) -> Iterator[str]:
        """Its lines."""
        yield f"def {self.name}({', '.join(self.inputs)}):"
        yield from written(self.lines(), "    ")
        yield f"    return {', '.join(map(self.names.of, self.graph.outputs))}"
        yield ""


def written(lines: Iterable[Line], margin: str) -> Iterator[str]:
    """Lines as they stand in the source, with the functions that they call before them."""
    for line in lines:
        yield from (f"{margin}{each}".rstrip() for each in line.functions)
        code, comment = f"{margin}{line.code}", f"  # {line.says}"
        if len(code) + len(comment) <= WIDTH:
            yield code + comment
        else:
            yield from (f"{margin}# {each}" for each in textwrap.wrap(line.says, WIDTH - 2 - len(margin)))
            yield from folded(code)


def array_value(value: Tensor) -> float:
    """The number of a constant without axes."""
    [found] = value.data
    return bool(found) if value.dtype == "bool" else found
