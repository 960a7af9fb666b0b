"""The function of a C file: each node as statements, and where the values are that it reads and makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from portable_nn.converters.array import ROWS as ARRAY
from portable_nn.converters.source.c_kernels import KERNELS, name_of
from portable_nn.converters.source.c_memory import Place
from portable_nn.converters.source.c_operators import ALL_OUTPUTS, ROWS
from portable_nn.converters.source.c_operators.use import FLOATS, FORMS, CUse, loops
from portable_nn.converters.source.lowered import Use, uses
from portable_nn.converters.source.words import Identifiers, plain_text, shape_text
from portable_nn.core.dims import product, spelled
from portable_nn.core.graph import Graph, Node, Shape, own_inputs
from portable_nn.engines.once import run_numpy
from portable_nn.network import Network
from portable_nn.operators import Array, Type, infer, infer_node

_TAKEN: Final = """
auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm fortran
bool true false nullptr constexpr alignas alignof static_assert thread_local typeof typeof_unqual and or not xor
class new delete this template typename namespace using try catch throw public private protected virtual friend
operator explicit export mutable linux unix main argc argv number failed errno EOF NULL NAN INFINITY HUGE_VAL assert
signal printf scanf fprintf sscanf sprintf puts gets getc putc exit abort abs labs div rand srand time clock free malloc
calloc realloc qsort bsearch system getenv remove rename tmpfile fopen fclose fread fwrite stdin stdout stderr atoi atof
acos asin atan atan2 acosh asinh atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs fdim floor fma fmax
fmin fmod frexp hypot ilogb ldexp lgamma llrint llround log log10 log1p log2 logb lrint lround modf nan nearbyint
nextafter nexttoward pow remainder remquo rint round scalbln scalbn sin sinh sqrt tan tanh tgamma trunc gamma y0 y1
yn jn index rindex signgam i n o k row sum scratch net_work NET_MAIN NET_STORAGE
"""

_FLOATS: Final = re.findall(r"\w+", _TAKEN[_TAKEN.index("acos") : _TAKEN.index("gamma y0")])

TAKEN: Final = [*_TAKEN.split(), *(f"{name}{kind}" for name in _FLOATS for kind in "fl")]
"""Keywords, names of the library for each of its float types, and those that every file has."""

RESERVED: Final = re.compile(r"(is|to|str|mem|wcs|net_work)[a-z_]|E[0-9A-Z]|u?int\w*_t|size_t|[ij]\d")
"""Names that the standard keeps for itself, memories, and the variables of loops."""


def is_known(use: Use) -> bool:
    """True if the results are numbers, or sizes of the inputs."""
    return all(result.constant is not None for result in use.results) and use.results[0].dtype in ("int64", "int32")


@dataclass
class Function:
    """The function of one network, whose batch is 1: its statements, and the names and places of its values."""

    network: Network
    graph: Graph
    path: Path
    up_to: Mapping[str, int]
    lines: list[str] = field(default_factory=list)
    kernels: set[tuple[str, str]] = field(default_factory=set)
    places: dict[str, Place] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    """The value whose memory a value is; itself, if it has its own."""

    def __post_init__(self) -> None:
        self.uses = uses(self.graph)
        self.every = [*_every(self.uses)]
        bodies = [inner for use in self.every for inner in use.inner.values()]
        self.types = {**infer(self.graph).types, **dict(each for inner in bodies for each in inner.types.items())}
        self.ends = {*self.graph.outputs}.union(*(inner.graph.outputs for inner in bodies))
        self.step = 0
        helpers = {name_of(name, dtype) for name in KERNELS for dtype in FLOATS}
        self.clash = self.path.stem if self.path.stem in helpers else ""  # The file's own name comes first.
        self.names = Identifiers([*TAKEN, *(helpers - {self.clash})], RESERVED)
        self.name = self.names.of(self.path.stem, "function")
        self.inputs = {value.name: self.names.of(value.name) for value in self.graph.inputs}
        self.sizes = {name: self.names.of(name, "size") for name in self.up_to}
        self.outputs = {name: self.names.of(name, "output") for name in self.graph.outputs}
        self.arrays = self._constants()

    def _constants(self) -> dict[str, Array]:
        """All values that are the same in every run, by name."""
        arrays = {value.name: self.network.parameters[value.name] for value in self.graph.parameters}
        nodes = tuple(use.node for use in self.every if use.is_constant)
        names = tuple(name for node in nodes for name in node.outputs if name)
        return arrays | run_numpy(Graph((), names, self.graph.parameters, nodes), arrays, {}) if nodes else arrays

    def write(self, nested: Callable[[Function, Use], list[str]]) -> None:
        """Write the statements of all nodes, in order; those with bodies are ``nested``."""
        self.nested = nested
        self._run(self.uses)
        for name in dict.fromkeys(self.graph.outputs):
            if self.roots.get(name, name) != name or name in self.arrays or name in self.inputs:
                source = self.names.of(name) if name in self.arrays else self.variable(name)
                self.lines += ["", *self.copy(self.outputs[name], source, self.types[name].shape)]

    def _run(self, found: Sequence[Use]) -> None:
        for use in found:
            if not use.is_constant:
                self._write(use)
                self.step += 1

    def block(self, found: Sequence[Use]) -> list[str]:
        """The statements of nodes in a body."""
        around, self.lines = self.lines, []
        self._run(found)
        made, self.lines = self.lines, around
        return made

    def _write(self, use: Use) -> None:
        node = use.node
        if is_known(use):
            self._known(use)
            return
        if use.inner:
            self.lines += ["", self._comment(use), *self.nested(self, use)]
            return
        whole = node.operator in ALL_OUTPUTS
        if whole:
            full = infer_node(
                use.context.operator, use.context.types, node.attributes, len(use.context.operator.outputs)
            )
            use = use._replace(results=full)
        inputs = [self.variable(name) if name else "0" for name in node.inputs]
        results = [*node.outputs, *[""] * (len(use.results) - len(node.outputs))]
        outputs = list[str]()
        for place, (name, type) in enumerate(zip(results, use.results, strict=True)):
            name = name or (f"\0unread\0{self.step}\0{place}" if whole else "")
            outputs.append(self.result(name, type) if name else "")
        constants = {place: self.arrays[name] for place, name in enumerate(node.inputs) if name in self.arrays}
        made = CUse(use, inputs, outputs, self.sizes, constants)
        ROWS[node.operator](made)
        if made.aliases:
            self._alias(node)
            return
        if made.scratch:
            name = f"\0scratch\0{self.step}"
            self.places[name] = Place(made.float_type(), made.scratch[1], self.step, self.step)
            made.lines = [re.sub(r"\bscratch\b", self.names.of(name), line) for line in made.lines]
        self.kernels |= made.kernels
        self.lines += ["", self._comment(use), *made.lines]

    def _comment(self, use: Use) -> str:
        shapes = ", ".join(shape_text(self.types[name].shape) for name in use.node.outputs if name)
        says = plain_text(ARRAY[use.node.operator].words(CUse(use, [], [], self.sizes, {}).array))
        return f"/* {plain_text(use.node.name)} ({use.node.operator}) {shapes}: {says}. */"

    def variable(self, name: str) -> str:
        """The variable of a value, which is needed up to here."""
        root = self.roots.get(name, name)
        if root in self.places:
            self.places[root] = self.places[root]._replace(last=self.step)
        if root in self.inputs:
            return self.inputs[root]
        return self.outputs[root] if root in self.outputs and root not in self.arrays else self.names.of(root)

    def result(self, name: str, type: Type) -> str:
        """The variable of a new value: an output of the function, or a place in the shared memory."""
        self.roots[name] = name
        if name in self.outputs:
            return self.outputs[name]
        self.places[name] = Place(type.dtype, product(type.shape), self.step, self.step)
        return self.names.of(name)

    def _alias(self, node: Node) -> None:
        """A value that is another one under another name."""
        name, source = node.outputs[0], node.inputs[0]
        self.places.pop(name, None)
        self.roots[name] = self.roots.get(source, source)

    def _known(self, use: Use) -> None:
        """A value that holds sizes: it is written where a node reads it as data."""
        for name, result in zip(use.node.outputs, use.results, strict=True):
            if not name:
                continue
            variable = self.result(name, result)
            made = CUse(use, [], [], self.sizes, {})
            readers = [each for each in self.every if name in own_inputs(each.node)]
            is_option = all(is_known(each) or _only_sets(each, name) for each in readers)
            if not is_option or name in self.ends:
                for place, each in enumerate(result.constant or ()):
                    self.lines.append(
                        f"{variable}[{place}] = {made.size(each) if not isinstance(each, float) else int(each)};"
                    )
            else:
                self.places.pop(name, None)

    def copy(self, target: str, source: str, shape: Shape) -> list[str]:
        """The statements that copy an array."""
        return loops([("i", self.count(shape))], f"{target}[i] = {source}[i];")

    def count(self, shape: Shape) -> str:
        """The number of elements of a shape, as an expression."""
        return spelled(product(shape), self.sizes, FORMS)


def _only_sets(use: Use, name: str) -> bool:
    """True if a node reads a value as an option alone."""
    settings = use.context.operator.settings
    return all(place in settings for place, each in enumerate(use.node.inputs) if each == name)


def _every(found: Sequence[Use]) -> Iterator[Use]:
    """All nodes, each before those of its bodies."""
    for use in found:
        yield use
        for inner in use.inner.values():
            yield from _every(inner.uses)
