"""A network as one file of C99 that needs no library but that of mathematics."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

import numpy as np

from portable_nn.converters.conversion import Written, compare_sides
from portable_nn.converters.formulas import TOLERANCES
from portable_nn.converters.onnx.adapting import network_of, program_of
from portable_nn.converters.source.c_compiling import compiler, side_of
from portable_nn.converters.source.c_kernels import KERNELS, kernels_in, name_of
from portable_nn.converters.source.c_operators import ROWS, missing
from portable_nn.converters.source.c_operators.use import C_TYPES, FLOATS, FORMS, CUse, literal
from portable_nn.converters.source.c_words import RESERVED, TAKEN
from portable_nn.converters.source.lowered import Use, in_known_operators, uses
from portable_nn.converters.source.words import Identifiers, listed_texts, plain_text, shape_text
from portable_nn.core.atomic import atomic_write
from portable_nn.core.dims import evaluated, names_in, product, spelled
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Dim, Graph, Node, Shape
from portable_nn.core.kinds import check_kinds
from portable_nn.core.text import size as in_bytes
from portable_nn.core.version import __version__
from portable_nn.network import Network
from portable_nn.onnx.samples import SIZES
from portable_nn.onnx.verify import Proof, Tolerance, run_numpy
from portable_nn.operators import Array, infer, infer_node
from portable_nn.rewrites import REWRITES
from portable_nn.rewrites.sizes import fixed_sizes

WIDTH: Final = 110
LARGEST: Final = 16_000_000
"""The most bytes of weights: compilers take long for such files, and nobody reads them."""


@check_kinds
def write_c(
    network: Network,
    path: str | Path,
    *,
    sizes: Mapping[str, int] = MappingProxyType({}),
    up_to: Mapping[str, int] = MappingProxyType({}),
    dtype: Literal["float32"] | None = None,
    verify: bool = True,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
) -> Written:
    """Write a network as one file of C99 that needs ``math.h`` alone, and compare it with the network.

    The file has one function, named after the file, that computes one example: ``net(image, digit)`` takes pointers to
    the inputs and outputs, and returns 0. There is no malloc: weights are constants, and intermediate values share one
    static array whose bytes the file states. With ``-DNET_MAIN`` it is a program that reads numbers and prints the
    outputs. The first size of the inputs, if it is symbolic, is the batch: the function takes one example.

    Args:
        network: the network.
        path: the file to write, which ends in ``.c``.
        sizes: numbers for symbolic sizes, by name.
        up_to: the largest numbers that symbolic sizes may have, such as ``{"steps": 100}``: each is then an argument
            of the function, and memory is reserved for the largest.
        dtype: ``float32`` computes in that what is float64 in the network.
        verify: whether the file is compiled, if there is a C compiler, and run on the same inputs as the network.
        atol, rtol: how far an output may differ; by default what ``TOLERANCES`` has for the element type.
        seed: that of the inputs.

    Raises:
        UsageError: the name does not end in ``.c``, a symbolic size has neither a number nor a largest one, or the
            weights are too large.
        UnsupportedError: some nodes have no form in C; all of them are listed.
        VerificationError: the program computes something else.
        FileError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".c":
        raise UsageError(f"{path}: the name of a C file must end in .c")
    network = _in_sizes(network, sizes, up_to, dtype)
    source = source_of(network, path, up_to)
    proof, notes = Proof(), list[str]()
    if verify:
        found = compiler()
        if found is None:
            notes.append("nothing was compared: there is no C compiler (cc, gcc or clang) to compile the file with")
        else:
            standard = TOLERANCES[_widest(network)]
            tolerance = Tolerance(standard if atol is None else atol, standard if rtol is None else rtol)
            most = [each for each in SIZES if each <= min(up_to.values(), default=max(SIZES))] or [1]
            with side_of(source, network, list(up_to), found) as side:
                proof = compare_sides(network, side, "the C file", tolerance=tolerance, seed=seed, sizes=most)
    notes += [
        f"not in the file, to be done before: {'; '.join(map(str, info.preprocessing))}"
        for info in network.inputs
        if info.preprocessing
    ]
    data = source.encode()
    with atomic_write(path) as file:
        file.write(data)
    return Written(path, len(data), proof, tuple(notes))


def _widest(network: Network) -> str:
    return "float32" if any(type.dtype == "float32" for type in network.types.values()) else "float64"


def _in_sizes(network: Network, sizes: Mapping[str, int], up_to: Mapping[str, int], dtype: str | None) -> Network:
    """The network with its sizes: only the batch and those of ``up_to`` are symbolic."""
    if low := [name for name, most in up_to.items() if most < 1]:
        raise UsageError(f"up_to: the largest '{low[0]}' must be 1 or more, not {up_to[low[0]]}")
    if both := sorted(sizes.keys() & up_to.keys()):
        raise UsageError(f"the size '{both[0]}' has a number in sizes and in up_to: leave one of them out")
    program = fixed_sizes(program_of(network), sizes)
    if dtype == "float32":
        program = REWRITES["float32"].rewrite(program)
    found = network_of(program, network)
    batch = batch_of(found.graph)
    names = {name for value in found.graph.inputs for name in names_in(dim for dim in value.shape if dim != batch)}
    if unknown := sorted(up_to.keys() - names - {batch}):
        raise UsageError(f"no size is called '{unknown[0]}': the inputs have {', '.join(sorted(names)) or 'none'}")
    if open_sizes := sorted(names - up_to.keys()):
        listed = ", ".join(f"'{name}'" for name in open_sizes)
        raise UsageError(
            f"C needs to know how large {listed} may be: --up-to {open_sizes[0]}=100 makes it an argument of the "
            f"function, and --dim {open_sizes[0]}=100 fixes it"
        )
    stored = sum(each.nbytes for each in found.parameters.values())
    if stored > LARGEST:
        raise UsageError(f"{in_bytes(stored)} of weights are too many for C source, at most {in_bytes(LARGEST)} are")
    return found


def batch_of(graph: Graph) -> str | None:
    """The name of the batch: the first size of all inputs, if that is the same name."""
    first = {value.shape[:1] for value in graph.inputs}
    [found] = first if len(first) == 1 else [()]
    return found[0] if found and isinstance(found[0], str) else None


def source_of(network: Network, path: Path, up_to: Mapping[str, int]) -> str:
    """The text of the file. Raises ``UnsupportedError`` as ``write_c`` does."""
    batch = batch_of(network.graph)
    kept = batch is None or batch in up_to
    single = network if kept else network_of(fixed_sizes(program_of(network), {str(batch): 1}), network)
    names = {name: name for name in up_to}
    graph = in_known_operators(single.graph, lambda use: _lacks(use, names), str(path), "as C source")
    return _File(single, graph, path, up_to).text()


def _lacks(use: Use, names: Mapping[str, str]) -> str | None:
    """What of a use cannot be written; sizes of values are known without a node."""
    if _is_known(use) or use.is_constant:
        return None
    row = ROWS.get(use.node.operator)
    count = len(use.context.operator.outputs) if row and row.all_outputs else len(use.node.outputs)
    return missing(CUse(use, [name or "0" for name in use.node.inputs], ["y"] * count, names, {}))


def _is_known(use: Use) -> bool:
    """Whether the results are numbers, or sizes of the inputs."""
    return all(result.constant is not None for result in use.results) and use.results[0].dtype in ("int64", "int32")


class Place(NamedTuple):
    """A value in the shared memory of its type: how many numbers it has, and the first and last node that needs it."""

    dtype: str
    numbers: Dim
    first: int
    last: int


@dataclass
class _File:
    """The parts of the file of one network, whose batch is 1."""

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
        self.types = infer(self.graph).types
        helpers = {name_of(name, dtype) for name in KERNELS for dtype in FLOATS}
        self.clash = self.path.stem if self.path.stem in helpers else ""  # The file's own name comes first.
        self.names = Identifiers([*TAKEN, *(helpers - {self.clash})], RESERVED)
        self.function = self.names.of(self.path.stem, "function")
        self.inputs = {value.name: self.names.of(value.name) for value in self.graph.inputs}
        self.sizes = {name: self.names.of(name, "size") for name in self.up_to}
        self.outputs = {name: self.names.of(name, "output") for name in self.graph.outputs}
        self.used = {use.node.name: use for use in uses(self.graph)}
        self.arrays = self._constants()

    def _constants(self) -> dict[str, Array]:
        """All values that are the same in every run, by name."""
        arrays: dict[str, Array] = {value.name: self.network.parameters[value.name] for value in self.graph.parameters}
        nodes = tuple(use.node for use in self.used.values() if use.is_constant)
        names = tuple(name for node in nodes for name in node.outputs if name)
        return arrays | run_numpy(Graph((), names, self.graph.parameters, nodes), arrays, {}) if nodes else arrays

    # -- the function

    def text(self) -> str:
        nodes = [use.node for use in self.used.values() if not use.is_constant]
        for step, node in enumerate(nodes):
            self._write(step, node)
        for name in dict.fromkeys(self.graph.outputs):
            if self.roots.get(name, name) != name or name in self.arrays or name in self.inputs:
                self._copy(len(nodes), name)
        body = "\n".join(self.lines)
        helpers = "\n\n".join(kernels_in({each for each in self.kernels if re.search(rf"\b{name_of(*each)}\(", body)}))
        if self.clash:
            call, other = re.compile(rf"\b{self.clash}\("), f"{self.names.new(f'{self.clash}_layer')}("
            helpers, self.lines = call.sub(other, helpers), [call.sub(other, line) for line in self.lines]
        offsets, totals = self._arranged()
        weights = [name for name in self.arrays if re.search(rf"\b{self.names.of(name)}\b", body)]
        parts = [
            "\n".join(self._heading(weights, totals)),
            "#include <math.h>\n#include <stddef.h>\n#include <stdint.h>",
            "\n\n".join(self._weight(name) for name in weights),
            "\n".join(self._memory(totals)),
            helpers,
            "\n".join(self._function(offsets)),
            "\n".join(self._main()),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _write(self, step: int, node: Node) -> None:
        use = self.used[node.name]
        if _is_known(use):
            self._known(step, use)
            return
        row = ROWS[node.operator]
        if row.all_outputs:
            full = infer_node(
                use.context.operator, use.context.types, node.attributes, len(use.context.operator.outputs)
            )
            use = use._replace(results=full)
        inputs = [self._variable(name, step) if name else "0" for name in node.inputs]
        results = [*node.outputs, *[""] * (len(use.results) - len(node.outputs))]
        outputs = list[str]()
        for place, (name, type) in enumerate(zip(results, use.results, strict=True)):
            name = name or (f"\0unread\0{node.name}\0{place}" if row.all_outputs else "")
            outputs.append(self._result(step, name, type.dtype, product(type.shape)) if name else "")
        constants = {place: self.arrays[name] for place, name in enumerate(node.inputs) if name in self.arrays}
        made = CUse(use, inputs, outputs, self.sizes, constants)
        row.write(made)
        if made.aliases:
            self._alias(node)
            return
        if made.scratch:
            name = f"\0scratch\0{node.name}"
            self.places[name] = Place(made.float_type(), made.scratch[1], step, step)
            made.lines = [re.sub(r"\bscratch\b", self.names.of(name), line) for line in made.lines]
        self.kernels |= made.kernels
        shapes = ", ".join(shape_text(self.types[name].shape) for name in node.outputs if name)
        self.lines += ["", f"/* {plain_text(node.name)} ({node.operator}) {shapes}: {row.says}. */", *made.lines]

    def _variable(self, name: str, step: int) -> str:
        root = self.roots.get(name, name)
        if root in self.places:
            self.places[root] = self.places[root]._replace(last=step)
        if root in self.inputs:
            return self.inputs[root]
        return self.outputs[root] if root in self.outputs and root not in self.arrays else self.names.of(root)

    def _result(self, step: int, name: str, dtype: str, count: Dim) -> str:
        """The variable of a new value: an output of the function, or a place in the shared memory."""
        self.roots[name] = name
        if name in self.outputs:
            return self.outputs[name]
        self.places[name] = Place(dtype, count, step, step)
        return self.names.of(name)

    def _alias(self, node: Node) -> None:
        """A value that is another one under another name."""
        name, source = node.outputs[0], node.inputs[0]
        self.places.pop(name, None)
        self.roots[name] = self.roots.get(source, source)

    def _known(self, step: int, use: Use) -> None:
        """A value that holds sizes: it is written where a node reads it as data."""
        for name, result in zip(use.node.outputs, use.results, strict=True):
            if not name:
                continue
            variable = self._result(step, name, result.dtype, product(result.shape))
            made = CUse(use, [], [], self.sizes, {})
            readers = [node for node in self.graph.nodes if name in node.inputs]
            is_option = all(_is_known(self.used[node.name]) or self._only_sets(node, name) for node in readers)
            if not is_option or name in self.outputs:
                for place, each in enumerate(result.constant or ()):
                    self.lines.append(
                        f"{variable}[{place}] = {made.size(each) if not isinstance(each, float) else int(each)};"
                    )
            else:
                self.places.pop(name, None)

    def _only_sets(self, node: Node, name: str) -> bool:
        """Whether a node reads a value as an option alone."""
        settings = self.used[node.name].context.operator.settings
        return all(place in settings for place, each in enumerate(node.inputs) if each == name)

    def _copy(self, step: int, name: str) -> None:
        """Copy what an output is, where it is not computed in its place."""
        count = self._count(self.types[name].shape)
        source = self.names.of(name) if name in self.arrays else self._variable(self.roots.get(name, name), step)
        self.lines += ["", f"for (int i = 0; i < {count}; ++i)", f"    {self.outputs[name]}[i] = {source}[i];"]

    def _count(self, shape: Shape) -> str:
        """How many elements a shape has, as an expression."""
        return spelled(product(shape), self.sizes, FORMS)

    # -- memory

    def _most(self, count: Dim) -> int:
        """The largest value of a size, for all numbers that the symbolic ones may be."""
        if isinstance(count, int):
            return count
        names = sorted(names_in([count]))
        ends = [sorted({1, 2, 3, self.up_to[name] - 1, self.up_to[name]} - {0}) for name in names]
        found = [evaluated(count, dict(zip(names, values, strict=True))) for values in _combinations(ends)]
        return max(each or 0 for each in found)

    def _arranged(self) -> tuple[dict[str, int], dict[str, int]]:
        """The place of each value in the memory of its type, first fit by size; and the sizes of these memories."""
        offsets, totals = dict[str, int](), dict[str, int]()
        order = sorted(self.places, key=lambda name: -self._most(self.places[name].numbers))
        done = list[tuple[Place, int, int]]()
        for name in order:
            place, count = self.places[name], self._most(self.places[name].numbers)
            busy = sorted((start, end) for other, start, end in done if _meet(other, place))
            offset = 0
            for start, end in busy:
                if offset + count <= start:
                    break
                offset = max(offset, end)
            offsets[name] = offset
            done.append((place, offset, offset + count))
            totals[place.dtype] = max(totals.get(place.dtype, 0), offset + count)
        return offsets, totals

    def _memory(self, totals: Mapping[str, int]) -> Iterator[str]:
        if not totals:
            return
        yield "/* Where intermediate values are. Define NET_STORAGE to put them elsewhere, or for each thread. */"
        yield "#ifndef NET_STORAGE"
        yield "#define NET_STORAGE static"
        yield "#endif"
        for dtype, count in totals.items():
            yield f"NET_STORAGE {C_TYPES[dtype]} {_work(dtype)}[{max(1, count)}];"

    # -- what is around the function

    def _heading(self, weights: Sequence[str], totals: Mapping[str, int]) -> Iterator[str]:
        network = self.network
        stored = sum(self.arrays[name].nbytes for name in weights)
        work = sum(np.dtype(dtype).itemsize * count for dtype, count in totals.items())
        title = plain_text(network.metadata.get("name", "") or self.graph.name)[:80]
        lines = [f"{title}: a network in C99, which needs math.h alone.", "", f"    {self._signature()};", ""]
        for info, value in zip(network.inputs, self.graph.inputs, strict=True):
            lines.append(
                f"{self.inputs[value.name]}: input {plain_text(value.name)}, {value.dtype} {shape_text(value.shape)}."
            )
            lines += [f"    before: {plain_text(str(step))}" for step in info.preprocessing]
            if info.columns:
                columns = [each.name + (f" ({each.unit})" if each.unit else "") for each in info.columns]
                lines.append(f"    columns: {listed_texts(columns)}")
        for name, variable in self.sizes.items():
            lines.append(f"{variable}: the size {plain_text(name)}, from 1 to {self.up_to[name]}.")
        for output in network.outputs:
            type = self.types[output.name]
            kind = "" if output.kind == "values" else f", {output.kind}"
            unit = f", in {plain_text(output.unit)}" if output.unit else ""
            shape = f"{type.dtype} {shape_text(type.shape)}"
            lines.append(f"{self.outputs[output.name]}: output {plain_text(output.name)}, {shape}{kind}{unit}.")
            if output.labels:
                lines.append(f"    labels: {listed_texts(output.labels)}")
        lines += [
            "",
            "All arrays are row-major. It returns 0; 1 where a size is none of those above, 2 where an index is not.",
            f"Memory: {stored:,} bytes of constants and {work:,} bytes of static memory, by which it is not reentrant.",
            f"As a program, which reads numbers, prints outputs: cc -O2 -DNET_MAIN {plain_text(self.path.name)} -lm",
            f"Written by portable-nn {__version__}.",
        ]
        yield "/*"
        for line in lines:
            indent = " " * (len(line) - len(line.lstrip()))
            for each in textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_long_words=False) or [""]:
                yield f" * {each}".rstrip()
        yield " */"

    def _signature(self) -> str:
        inputs = [f"const {C_TYPES[value.dtype]} *{self.inputs[value.name]}" for value in self.graph.inputs]
        sizes = [f"int {variable}" for variable in self.sizes.values()]
        outputs = [f"{C_TYPES[self.types[name].dtype]} *{variable}" for name, variable in self.outputs.items()]
        return f"int {self.function}({', '.join([*inputs, *sizes, *outputs])})"

    def _weight(self, name: str) -> str:
        array = self.arrays[name]
        # C has no array of no numbers.
        numbers = [literal(each, array.dtype.name) for each in array.ravel().tolist()] or ["0"]
        lines = textwrap.wrap(", ".join(numbers), WIDTH, break_long_words=False, break_on_hyphens=False)
        inner = "\n".join(f"    {line}" for line in lines)
        head = f"static const {C_TYPES[array.dtype.name]} {self.names.of(name)}[{len(numbers)}] = {{"
        return f"/* {plain_text(name)} {shape_text(array.shape)} */\n{head}\n{inner}\n}};"

    def _function(self, offsets: Mapping[str, int]) -> Iterator[str]:
        body = "\n".join(self.lines)
        yield self._signature()
        yield "{"
        for name, offset in sorted(offsets.items(), key=lambda each: self.places[each[0]].first):
            place, variable = self.places[name], self.names.of(name)
            if re.search(rf"\b{variable}\b", body):
                yield f"    {C_TYPES[place.dtype]} *const {variable} = {_work(place.dtype)} + {offset};"
        if self.sizes:
            checks = [f"{variable} < 1 || {variable} > {self.up_to[name]}" for name, variable in self.sizes.items()]
            yield ""
            yield f"    if ({' || '.join(checks)})"
            yield "        return 1;"
        for line in self.lines:
            yield from _folded(f"    {line}") if line else [""]
        unread = [
            each for each in (*self.inputs.values(), *self.outputs.values()) if not re.search(rf"\b{each}\b", body)
        ]
        yield from (f"    (void){each};" for each in unread)
        yield "    return 0;"
        yield "}"

    def _main(self) -> Iterator[str]:
        yield "#ifdef NET_MAIN"
        yield "#include <stdio.h>"
        if self.sizes:
            yield "#include <stdlib.h>"
        yield ""
        yield "/*"
        if self.inputs:
            yield f" * Reads the numbers of one example after another, {', '.join(self.inputs.values())},"
            yield f" * and prints its outputs, {', '.join(self.outputs.values())}, one number a line."
        else:
            yield f" * Prints its outputs, {', '.join(self.outputs.values())}, one number a line."
        if self.sizes:
            yield f" * Its arguments are the sizes: {', '.join(self.sizes.values())}."
        yield " */"
        yield f"int main({'int argc, char **argv' if self.sizes else 'void'})"
        yield "{"
        for value in self.graph.inputs:
            most = max(1, self._most(product(value.shape)))
            yield f"    static {C_TYPES[value.dtype]} {self.inputs[value.name]}[{most}];"
        for name, variable in self.outputs.items():
            type = self.types[name]
            yield f"    static {C_TYPES[type.dtype]} {variable}[{max(1, self._most(product(type.shape)))}];"
        for place, (name, variable) in enumerate(self.sizes.items(), 1):
            yield f"    const int {variable} = argc > {place} ? atoi(argv[{place}]) : {self.up_to[name]};"
        if self.sizes:
            checks = [f"{variable} < 1 || {variable} > {self.up_to[name]}" for name, variable in self.sizes.items()]
            yield f"    if ({' || '.join(checks)})"
            yield "        return 1;"
        read = [value for value in self.graph.inputs if self._most(product(value.shape))]
        yield "    for (;;) {" if read else "    {"
        for place, value in enumerate(read):
            is_float = value.dtype in FLOATS
            yield f"        for (int i = 0; i < {self._count(value.shape)}; ++i) {{"
            yield f"            {'double' if is_float else 'long long'} number;"
            yield f'            if (scanf("{"%lf" if is_float else "%lld"}", &number) != 1)'
            yield f"                return {'i ? 3 : 0' if place == 0 else '3'};"
            yield f"            {self.inputs[value.name]}[i] = ({C_TYPES[value.dtype]})number;"
            yield "        }"
        arguments = [*self.inputs.values(), *self.sizes.values(), *self.outputs.values()]
        yield f"        const int failed = {self.function}({', '.join(arguments)});"
        yield "        if (failed)"
        yield "            return failed;"
        for name, variable in self.outputs.items():
            dtype = self.types[name].dtype
            form = {"float32": "%.9g", "float64": "%.17g"}.get(dtype, "%lld")
            kind = "double" if dtype in FLOATS else "long long"
            yield f"        for (int i = 0; i < {self._count(self.types[name].shape)}; ++i)"
            yield f'            printf("{form}\\n", ({kind}){variable}[i]);'
        yield "    }" if read else "        return 0;\n    }"
        yield "}"
        yield "#endif"


def _folded(line: str) -> list[str]:
    """A line in several, if it is long."""
    indent = line[: len(line) - len(line.lstrip())] + "    "
    return textwrap.wrap(line, WIDTH + 8, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _work(dtype: str) -> str:
    return "net_work" if dtype == "float32" else f"net_work_{dtype}"


def _meet(one: Place, other: Place) -> bool:
    """Whether both are needed at one time, in one memory."""
    return one.dtype == other.dtype and one.first <= other.last and other.first <= one.last


def _combinations(ends: Sequence[Sequence[int]]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*ends)
