"""A network as one readable module that needs numpy alone."""

from __future__ import annotations

import base64
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from portable_nn.converters.array import missing
from portable_nn.converters.array.code import WIDTH
from portable_nn.converters.array.helpers import called_in
from portable_nn.converters.array.use import ArrayUse, in_quotes
from portable_nn.converters.conversion import Side, Written, compare_sides, written_tolerance
from portable_nn.converters.onnx.adapting import outside
from portable_nn.converters.source.lowered import Use, in_known_operators
from portable_nn.converters.source.numpy_function import Function, Line, written
from portable_nn.converters.source.tables import in_numpy, listed_columns
from portable_nn.converters.source.words import listed_texts, plain_text, shape_text
from portable_nn.core.arguments import check_kinds
from portable_nn.core.atomic import all_or_none, write_whole
from portable_nn.core.dims import names_in
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import bodies
from portable_nn.core.text import size
from portable_nn.core.version import __version__
from portable_nn.network import Network
from portable_nn.onnx.verify import Proof


def text_of(function: Function, file: str, beside: str | None) -> str:
    """The text of the module, whose weights are in the file ``beside``, or in itself."""
    lines = function.lines()
    body = list(_body(function, lines))
    used = function.parameters_in(lines)
    tables = list(in_numpy(function.graph, function.network.inputs))
    weights = list(_weights(function, used, beside))
    main = list(_main(function, file))
    helpers = called_in([*body, *weights, *main])
    code = "\n".join([*helpers, *body, *weights])
    imports = [
        *(["import base64"] if beside is None and used else []),
        *(["import math"] if re.search(r"\bmath\.", code) else []),
        "import sys",
        *(["from pathlib import Path"] if beside else []),
    ]
    parts = ["\n".join(_heading(function, file)), "\n".join([*imports, "", "import numpy as np"])]
    if beside and weights:
        parts.append("\n".join(weights))
    functions = [*helpers, "\n".join(body), *(["\n".join(tables)] if tables else [])]
    if not beside and weights:
        functions.append("\n".join(weights))
    return "\n\n".join(parts) + "\n\n\n" + "\n\n\n".join([*functions, "\n".join(main)]) + "\n"


def _heading(function: Function, file: str) -> Iterator[str]:
    def wrapped(text: str) -> list[str]:
        return textwrap.wrap(text, WIDTH, subsequent_indent="    ", break_long_words=False) or [""]

    network = function.network
    title = network.metadata.get("name", "") or function.graph.name
    yield f'"""{plain_text(title)[:80]}: what the network computes, in numpy alone.'
    yield ""
    inputs = " ".join(f"{each}.npy" for each in function.inputs)
    yield f"    python {plain_text(file)} {inputs}     prints the outputs; further names of files save them"
    yield ""
    for info, value in zip(network.inputs, function.graph.inputs, strict=True):
        yield from wrapped(f"Input {plain_text(value.name)}: {value.dtype} {shape_text(value.shape)}.")
        if info.preprocessing:
            yield "  Before, by the reader of pictures of portable-nn (pnn.prepare), which is not in this file:"
            for place, step in enumerate(info.preprocessing, 1):
                yield from (f"  {line}" for line in wrapped(f"{place}. {plain_text(str(step))}"))
        for text in listed_columns(
            network.inputs, info.columns, "predict(rows_of(lines)), with those of csv.DictReader"
        ):
            yield from (f"  {line}" for line in wrapped(text))
    for output in network.outputs:
        type = function.types[output.name]
        what = {"values": "", "logits": ", logits: softmax makes probabilities of them"}
        says = what.get(output.kind, f", {output.kind}")
        unit = f", in {plain_text(output.unit)}" if output.unit else ""
        yield from wrapped(f"Output {plain_text(output.name)}: {type.dtype} {shape_text(type.shape)}{says}{unit}.")
        if output.labels:
            yield from (f"  {line}" for line in wrapped(f"labels: {listed_texts(output.labels)}"))
    yield ""
    yield f"Written by portable-nn {__version__}. A line of predict() is one operator of the network."
    yield '"""'


def _body(function: Function, lines: Sequence[Line]) -> Iterator[str]:
    read = {name for line in lines for name in line.reads}
    yield f"def predict({', '.join(function.inputs)}):"
    yield '    """The outputs of the network for examples, whose number, the first size, may be any."""'
    yield "    sizes = {}"
    for value, identifier in zip(function.graph.inputs, function.inputs, strict=True):
        shape = ", ".join(in_quotes(dim) if isinstance(dim, str) else str(dim) for dim in value.shape) + (
            "," if len(value.shape) == 1 else ""
        )
        yield f'    {identifier} = checked("{identifier}", {identifier}, "{value.dtype}", ({shape}), sizes)'
    for name, identifier in function.sizes.items():
        if identifier in read:
            yield f"    {identifier} = sizes[{in_quotes(name)}]"
    yield ""
    yield from written(lines, "    ")
    yield f"    return {', '.join(function.names.of(name) for name in function.graph.outputs)}"


def _weights(function: Function, names: Sequence[str], beside: str | None) -> Iterator[str]:
    if not names:
        return
    if beside:
        yield f"weights = np.load(Path(__file__).with_name({in_quotes(beside)}))"
        for name in names:
            shape = shape_text(function.types[name].shape)
            yield f"{function.parameters[name]} = weights[{in_quotes(name)}]  # {shape}"
        return
    yield _UNPACKED
    for name in names:
        yield ""
        values = np.ascontiguousarray(function.network.parameters[name])
        dtype = values.dtype.newbyteorder("<").str
        text = base64.b64encode(values.astype(dtype).tobytes()).decode()
        yield f"# {plain_text(name)}: {shape_text(values.shape)}"
        yield f"{function.parameters[name]} = unpacked("
        yield '    """'
        yield from (f"    {text[start : start + 112]}" for start in range(0, len(text), 112))
        yield '    """,'
        yield f"    {dtype!r},"
        yield f"    {values.shape},"
        yield ")"


_UNPACKED: Final = '''\
def unpacked(text, dtype, shape):
    """An array whose bytes are written as text: exact to the last bit."""
    return np.frombuffer(base64.b64decode(text), np.dtype(dtype)).reshape(shape)
'''


def _main(function: Function, file: str) -> Iterator[str]:
    yield f"INPUTS = [{', '.join(in_quotes(value.name) for value in function.graph.inputs)}]"
    yield f"OUTPUTS = [{', '.join(map(in_quotes, function.graph.outputs))}]"
    labels = function.network.labels
    if labels:
        yield f"LABELS = [{', '.join(map(in_quotes, labels))}]"
    usage = " ".join(f"{each}.npy" for each in function.inputs)
    yield _COMPUTE.format(usage=in_quotes(f"usage: python {plain_text(file)} {usage} [output.npy]"))
    named = labels and function.types[function.graph.outputs[0]].shape[-1:] == (len(labels),)
    is_of_classes = named and function.network.outputs[0].kind in {"logits", "probabilities"}
    yield _LARGEST if is_of_classes else "        print(result)"
    yield _SAVE


_COMPUTE: Final = '''

def main(files):
    """Compute the outputs for the arrays in .npy files, one for each input; print or save them."""
    if len(files) not in (len(INPUTS), len(INPUTS) + len(OUTPUTS)):
        sys.exit({usage})
    results = predict(*(np.load(file) for file in files[: len(INPUTS)]))
    results = results if len(OUTPUTS) > 1 else (results,)
    for name, result in zip(OUTPUTS, results):
        print(f"{{name}} {{result.shape}}:")'''

_LARGEST: Final = """\
        if name != OUTPUTS[0]:
            print(result)
            continue
        for scores in result.reshape(-1, len(LABELS)):
            best = np.argsort(-scores, kind="stable")[:5]
            print(", ".join(f"{LABELS[place]} {scores[place]:.4g}" for place in best))"""

_SAVE: Final = """\
    for file, result in zip(files[len(INPUTS) :], results):
        np.save(file, result)


if __name__ == "__main__":
    main(sys.argv[1:])"""

LARGEST: Final = 16_000_000
"""The most bytes of weights that are embedded: editors open such files."""


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
        atol, rtol: how far an output may differ; by default what ``core.tolerances.WRITTEN`` has for the element type.
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
            "embedded=True (--external-data none) out, and they are in a file beside the module"
        )
    beside = None if embedded else path.with_suffix(".npz")
    source = source_of(network, str(path), None if beside is None else beside.name)
    what, limits = "the numpy module", written_tolerance(network, atol, rtol)
    proof = compare_sides(network, _side(source, network), what, tolerance=limits, seed=seed) if verify else Proof()
    data = source.encode()
    with all_or_none():
        if beside is not None:
            network.save(beside)
        write_whole(path, data)
    return Written(path, len(data), proof, outside(network), (beside,) if beside else ())


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
        functions = {name: name for name, _ in bodies(use.node)}
        return missing(ArrayUse(use.context, use.results, [name or None for name in use.node.inputs], sizes, functions))

    graph = in_known_operators(network.graph, lacks, where, "as numpy source")
    return text_of(Function(network, graph), Path(where).name, beside)
