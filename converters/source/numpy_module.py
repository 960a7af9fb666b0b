"""A network as one readable module that needs numpy alone."""

from __future__ import annotations

import ast
import base64
import builtins
import inspect
import keyword
import re
import textwrap
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.converters.conversion import Side, Written, compare_sides
from portable_nn.converters.formulas import TOLERANCES
from portable_nn.converters.source import numpy_helpers
from portable_nn.converters.source.lowered import Use, in_known_operators, uses
from portable_nn.converters.source.numpy_operators import ROWS, bound, missing
from portable_nn.converters.source.numpy_operators.indexing import constant_of
from portable_nn.converters.source.numpy_operators.use import in_quotes, number
from portable_nn.converters.source.words import Identifiers, listed_texts, plain_text, shape_text
from portable_nn.core.atomic import atomic_write, put_back
from portable_nn.core.dims import names_in
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Graph, Node, Tensor
from portable_nn.core.kinds import check_kinds
from portable_nn.core.text import size
from portable_nn.core.version import __version__
from portable_nn.network import Network
from portable_nn.onnx.verify import Proof, Tolerance
from portable_nn.operators import infer

WIDTH: Final = 118
LARGEST: Final = 16_000_000
"""The most bytes of weights that are embedded: editors open such files."""

_OWN_WORDS: Final = ("np", "sys", "math", "base64", "Path", "weights", "unpacked", "predict", "main", "sizes", "INPUTS")


class Line(NamedTuple):
    """A line of the function: the variables that it makes and reads, its code and its comment."""

    makes: Collection[str]
    reads: Collection[str]
    code: str
    says: str


@check_kinds
def write_numpy(
    network: Network,
    path: str | Path,
    *,
    embedded: bool = False,
    verify: bool = True,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
) -> Written:
    """Write a network as one readable module that needs numpy alone, and compare it with the network.

    The module has a function ``predict``, in which each operator is a line with a comment, and the helpers that these
    lines call; ``python net.py input.npy`` prints the outputs. Symbolic sizes stay open. Preprocessing of pictures that
    is no part of the graph is said in words.

    Args:
        network: the network.
        path: the file to write, which ends in ``.py``.
        embedded: whether the weights are in the module, as base64 of their bytes. By default they are in a file beside
            it, ``net.npz``, which is a weight file of this package as well.
        verify: whether the module is run on the same inputs as the network, at several sizes, before it is written.
        atol, rtol: how far an output may differ; by default what ``TOLERANCES`` has for the element type.
        seed: that of the inputs.

    Raises:
        UsageError: the name does not end in ``.py``, or the weights are too large to be embedded.
        UnsupportedError: some nodes have no form in numpy; all of them are listed.
        VerificationError: the module computes something else.
        FileError: a file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".py" or path.stem != path.stem.strip():
        raise UsageError(f"{path}: the name of a Python module must end in .py")
    stored = sum(each.nbytes for each in network.parameters.values())
    if embedded and stored > LARGEST:
        raise UsageError(
            f"{path}: {size(stored)} of weights are too many to be embedded, at most {size(LARGEST)} are: leave "
            "embedded=True (--embedded) out, and they are in a file beside the module"
        )
    beside = None if embedded else path.with_suffix(".npz")
    source = source_of(network, str(path), None if beside is None else beside.name)
    proof = Proof()
    if verify:
        dtype = _widest(network)
        tolerance = Tolerance(TOLERANCES[dtype] if atol is None else atol, TOLERANCES[dtype] if rtol is None else rtol)
        proof = compare_sides(network, _side(source, network), "the numpy module", tolerance=tolerance, seed=seed)
    notes = tuple(
        f"not in the file, to be done before: {'; '.join(map(str, info.preprocessing))}"
        for info in network.inputs
        if info.preprocessing
    )
    data = source.encode()
    if beside is None:
        _write(path, data)
        return Written(path, len(data), proof, notes)
    with put_back(beside):
        network.save(beside)
        _write(path, data)
    return Written(path, len(data), proof, notes, (beside,))


def _write(path: Path, data: bytes) -> None:
    with atomic_write(path) as file:
        file.write(data)


def _widest(network: Network) -> str:
    """The least exact float type of its values."""
    found = {type.dtype for type in network.types.values()}
    return next((dtype for dtype in ("float16", "float32") if dtype in found), "float64")


def _side(source: str, network: Network) -> Side:
    """Runs the module in a namespace of its own, with the weights of the network."""
    space: dict[str, Any] = {"__name__": "network", "__file__": "", "weights": network.parameters}
    exec(compile(re.sub(r"(?m)^weights = .*$", "", source, count=1), "<network>", "exec"), space)

    def run(feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        with np.errstate(all="ignore"):
            found = space["predict"](*(feeds[value.name] for value in network.graph.inputs))
        several = found if len(network.graph.outputs) > 1 else (found,)
        return dict(zip(network.graph.outputs, several, strict=True))

    return run


def source_of(network: Network, where: str, beside: str | None) -> str:
    """The text of the module, whose weights are in the file ``beside``, or in itself.

    Raises ``UnsupportedError`` as ``write_numpy`` does.
    """
    sizes = {name: name for value in network.graph.inputs for name in names_in(value.shape)}

    def lacks(use: Use) -> str | None:
        return missing(bound(use, [name or None for name in use.node.inputs], sizes))

    graph = in_known_operators(network.graph, lacks, where, "as numpy source")
    return _Module(network, graph, Path(where).name, beside).text()


class _Module:
    """The parts of the module of one network."""

    def __init__(self, network: Network, graph: Graph, file: str, beside: str | None) -> None:
        self.network, self.graph, self.file, self.beside = network, graph, file, beside
        self.types = infer(graph).types
        made = [use for use in uses(graph) if use.node.operator == "Constant"]
        self.constants: Mapping[str, Tensor] = {use.node.outputs[0]: constant_of(use.context) for use in made}
        self.names = Identifiers([*keyword.kwlist, *keyword.softkwlist, *_OWN_WORDS, *_helpers(), *_builtins()])
        self.makers = {name: node for node in graph.nodes for name in node.outputs}
        self.reads = Counter(name for node in graph.nodes for name in node.inputs)
        self.made = dict[str, tuple[str, str]]()
        self.inputs = [self.names.of(value.name) for value in graph.inputs]
        self.parameters = {value.name: self.names.of(value.name) for value in graph.parameters}
        self.sizes = {
            name: self.names.of(name, "size") for value in graph.inputs for name in sorted(names_in(value.shape))
        }

    def text(self) -> str:
        lines = self._needed([self._line(use) for use in uses(self.graph)])
        body = list(self._body(lines))
        used = self._parameters_in(lines)
        weights = list(self._weights(used))
        main = list(self._main())
        helpers = _helpers_in([*body, *weights, *main])
        code = "\n".join([*helpers, *body, *weights])
        imports = [
            *(["import base64"] if self.beside is None and used else []),
            *(["import math"] if re.search(r"\bmath\.", code) else []),
            "import sys",
            *(["from pathlib import Path"] if self.beside else []),
        ]
        parts = ["\n".join(self._heading()), "\n".join([*imports, "", "import numpy as np"])]
        if self.beside and weights:
            parts.append("\n".join(weights))
        functions = [*helpers, "\n".join(body)]
        if not self.beside and weights:
            functions.append("\n".join(weights))
        return "\n\n".join(parts) + "\n\n\n" + "\n\n\n".join([*functions, "\n".join(main)]) + "\n"

    # -- the docstring

    def _heading(self) -> Iterator[str]:
        def wrapped(text: str) -> list[str]:
            return textwrap.wrap(text, WIDTH, subsequent_indent="    ", break_long_words=False) or [""]

        network = self.network
        title = network.metadata.get("name", "") or self.graph.name
        yield f'"""{plain_text(title)[:80]}: what the network computes, in numpy alone.'
        yield ""
        inputs = " ".join(f"{each}.npy" for each in self.inputs)
        yield f"    python {plain_text(self.file)} {inputs}     prints the outputs; further names of files save them"
        yield ""
        for info, value in zip(network.inputs, self.graph.inputs, strict=True):
            yield from wrapped(f"Input {plain_text(value.name)}: {value.dtype} {shape_text(value.shape)}.")
            if info.preprocessing:
                yield "  Before, by the reader of pictures of portable-nn (pnn.prepare), which is not in this file:"
                for place, step in enumerate(info.preprocessing, 1):
                    yield from (f"  {line}" for line in wrapped(f"{place}. {plain_text(str(step))}"))
            if info.columns:
                columns = [each.name + (f" ({each.unit})" if each.unit else "") for each in info.columns]
                yield from (f"  {line}" for line in wrapped(f"columns: {listed_texts(columns)}"))
        for output in network.outputs:
            type = self.types[output.name]
            what = {"values": "", "logits": ", logits: softmax makes probabilities of them"}
            says = what.get(output.kind, f", {output.kind}")
            unit = f", in {plain_text(output.unit)}" if output.unit else ""
            yield from wrapped(f"Output {plain_text(output.name)}: {type.dtype} {shape_text(type.shape)}{says}{unit}.")
            if output.labels:
                yield from (f"  {line}" for line in wrapped(f"labels: {listed_texts(output.labels)}"))
        yield ""
        yield f"Written by portable-nn {__version__}. A line of predict() is one operator of the network."
        yield '"""'

    # -- the function

    def _line(self, use: Use) -> Line:
        node = use.node
        inputs = [self._operand(use, name) if name else None for name in node.inputs]
        made, row = bound(use, inputs, self.sizes), ROWS[node.operator]
        code, says = row.expression(made), row.words(made)
        makes = [self.names.of(name) if name else "_" for name in node.outputs]
        if len(makes) == 1 and (inside := self._inside(use, inputs)):
            says = f"{inside}, plus a bias"
        self.made[node.outputs[0]] = code, says
        target = ", ".join(makes) + ("," if len(makes) == 1 and node.operator == "Split" else "")
        shapes = ", ".join(shape_text(self.types[name].shape) for name in node.outputs if name)
        return Line(makes, names_read(code), f"{target} = {code}", f"{shapes}: {says}")

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
        """Whether a value is a product that is read here alone, and a parameter is added to it."""
        alone = self.reads[name] == 1 and maker.operator == "MatMul" and use.node.operator == "Add"
        return alone and any(each in self.parameters for each in use.node.inputs)

    def _inside(self, use: Use, inputs: Sequence[str | None]) -> str:
        """What the product says that is written inside this sum, if one is."""
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

    def _parameters_in(self, lines: Sequence[Line]) -> list[str]:
        read = {name for line in lines for name in line.reads} | {self.names.of(name) for name in self.graph.outputs}
        return [name for name, identifier in self.parameters.items() if identifier in read]

    def _body(self, lines: Sequence[Line]) -> Iterator[str]:
        read = {name for line in lines for name in line.reads}
        yield f"def predict({', '.join(self.inputs)}):"
        yield '    """The outputs of the network for examples, whose number, the first size, may be any."""'
        yield "    sizes = {}"
        for value, identifier in zip(self.graph.inputs, self.inputs, strict=True):
            shape = ", ".join(in_quotes(dim) if isinstance(dim, str) else str(dim) for dim in value.shape) + (
                "," if len(value.shape) == 1 else ""
            )
            yield f'    {identifier} = checked("{identifier}", {identifier}, "{value.dtype}", ({shape}), sizes)'
        for name, identifier in self.sizes.items():
            if identifier in read:
                yield f"    {identifier} = sizes[{in_quotes(name)}]"
        yield ""
        for line in lines:
            code, comment = f"    {line.code}", f"  # {line.says}"
            if len(code) + len(comment) <= WIDTH:
                yield code + comment
            else:
                yield from (f"    # {each}" for each in textwrap.wrap(line.says, WIDTH - 6))
                yield from folded(code)
        yield f"    return {', '.join(self.names.of(name) for name in self.graph.outputs)}"

    # -- the weights

    def _weights(self, names: Sequence[str]) -> Iterator[str]:
        if not names:
            return
        if self.beside:
            yield f"weights = np.load(Path(__file__).with_name({in_quotes(self.beside)}))"
            for name in names:
                shape = shape_text(self.types[name].shape)
                yield f"{self.parameters[name]} = weights[{in_quotes(name)}]  # {shape}"
            return
        yield "def unpacked(text, dtype, shape):"
        yield '    """An array whose bytes are written as text: exact to the last bit."""'
        yield "    return np.frombuffer(base64.b64decode(text), np.dtype(dtype)).reshape(shape)"
        yield ""
        for name in names:
            yield ""
            values = np.ascontiguousarray(self.network.parameters[name])
            dtype = values.dtype.newbyteorder("<").str
            text = base64.b64encode(values.astype(dtype).tobytes()).decode()
            yield f"# {plain_text(name)}: {shape_text(values.shape)}"
            yield f"{self.parameters[name]} = unpacked("
            yield '    """'
            yield from (f"    {text[start : start + 112]}" for start in range(0, len(text), 112))
            yield '    """,'
            yield f"    {dtype!r},"
            yield f"    {values.shape},"
            yield ")"

    # -- the program

    def _main(self) -> Iterator[str]:
        yield f"INPUTS = [{', '.join(in_quotes(value.name) for value in self.graph.inputs)}]"
        yield f"OUTPUTS = [{', '.join(map(in_quotes, self.graph.outputs))}]"
        labels = self.network.labels
        if labels:
            yield f"LABELS = [{', '.join(map(in_quotes, labels))}]"
        yield ""
        yield ""
        yield "def main(files):"
        yield '    """Compute the outputs for the arrays in .npy files, one for each input; print or save them."""'
        yield "    if len(files) not in (len(INPUTS), len(INPUTS) + len(OUTPUTS)):"
        usage = " ".join(f"{each}.npy" for each in self.inputs)
        yield f"        sys.exit({in_quotes(f'usage: python {plain_text(self.file)} {usage} [output.npy]')})"
        yield "    results = predict(*(np.load(file) for file in files[: len(INPUTS)]))"
        yield "    results = results if len(OUTPUTS) > 1 else (results,)"
        yield "    for name, result in zip(OUTPUTS, results):"
        yield '        print(f"{name} {result.shape}:")'
        yield "        print(result)"
        classes = self.network.outputs[0].kind in {"logits", "probabilities"}
        if labels and classes and self.types[self.graph.outputs[0]].shape[-1:] == (len(labels),):
            yield '    print("largest:", [LABELS[place] for place in results[0].argmax(axis=-1).ravel()])'
        yield "    for file, result in zip(files[len(INPUTS) :], results):"
        yield "        np.save(file, result)"
        yield ""
        yield ""
        yield 'if __name__ == "__main__":'
        yield "    main(sys.argv[1:])"


def array_value(value: Tensor) -> float:
    """The number of a constant without axes."""
    [found] = value.data
    return bool(found) if value.dtype == "bool" else found


def folded(code: str) -> Iterator[str]:
    """A statement in lines that are not too long: broken between the arguments of its last call."""
    if len(code) <= WIDTH or not code.endswith(")"):
        yield code
        return
    tree = ast.parse(code.strip()).body[0]
    call = tree.value if isinstance(tree, ast.Assign) else None
    if not isinstance(call, ast.Call):
        yield code
        return
    margin = code[: len(code) - len(code.lstrip())]
    parts = [ast.get_source_segment(code.strip(), each) or "" for each in call.args]
    named = [(each.arg, ast.get_source_segment(code.strip(), each.value)) for each in call.keywords]
    parts += [f"{name}={value}" for name, value in named]
    yield code[: len(margin) + call.func.end_col_offset] + "("  # type: ignore[operator]
    yield from (f"{margin}    {part}," for part in parts)
    yield f"{margin})"


def names_read(code: str) -> set[str]:
    """The variables and functions that Python code reads."""
    return {node.id for node in ast.walk(ast.parse(textwrap.dedent(code))) if isinstance(node, ast.Name)}


# -- helpers


@cache
def _helpers() -> Mapping[str, str]:
    """The source of each helper by its name, in their order."""
    members = inspect.getmembers(numpy_helpers, inspect.isfunction)
    return {
        name: inspect.getsource(function).rstrip()
        for name, function in sorted(members, key=lambda each: each[1].__code__.co_firstlineno)
    }


@cache
def _builtins() -> set[str]:
    """The words of Python that the helpers and the program read: no variable may have their names."""
    read = {name for source in _helpers().values() for name in names_read(source)}
    return (read | {"len", "zip", "print", "int", "min", "max", "bool"}) & set(dir(builtins))


def _helpers_in(lines: Sequence[str]) -> list[str]:
    """The helpers that lines call, and those that these call."""
    wanted, known = set[str](), _helpers()
    new = names_read("\n".join(lines)) & known.keys()
    while new:
        wanted |= new
        new = {other for name in new for other in _calls(name)} - wanted
    return [source for name, source in known.items() if name in wanted]


@cache
def _calls(name: str) -> set[str]:
    """The helpers that a helper calls."""
    return names_read(_helpers()[name]) & _helpers().keys()
