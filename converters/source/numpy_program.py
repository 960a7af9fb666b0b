"""A numpy module around its function: what it says of itself, helpers, weights, and the program that it can be."""

from __future__ import annotations

import base64
import re
import textwrap
from collections.abc import Iterator, Sequence

import numpy as np

from portable_nn.converters.array.code import WIDTH
from portable_nn.converters.array.helpers import called_in
from portable_nn.converters.array.use import in_quotes
from portable_nn.converters.source.numpy_function import Function, Line, written
from portable_nn.converters.source.tables import in_numpy, listed_columns
from portable_nn.converters.source.words import listed_texts, plain_text, shape_text
from portable_nn.core.version import __version__


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
    yield "def unpacked(text, dtype, shape):"
    yield '    """An array whose bytes are written as text: exact to the last bit."""'
    yield "    return np.frombuffer(base64.b64decode(text), np.dtype(dtype)).reshape(shape)"
    yield ""
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


def _main(function: Function, file: str) -> Iterator[str]:
    yield f"INPUTS = [{', '.join(in_quotes(value.name) for value in function.graph.inputs)}]"
    yield f"OUTPUTS = [{', '.join(map(in_quotes, function.graph.outputs))}]"
    labels = function.network.labels
    if labels:
        yield f"LABELS = [{', '.join(map(in_quotes, labels))}]"
    yield ""
    yield ""
    yield "def main(files):"
    yield '    """Compute the outputs for the arrays in .npy files, one for each input; print or save them."""'
    yield "    if len(files) not in (len(INPUTS), len(INPUTS) + len(OUTPUTS)):"
    usage = " ".join(f"{each}.npy" for each in function.inputs)
    yield f"        sys.exit({in_quotes(f'usage: python {plain_text(file)} {usage} [output.npy]')})"
    yield "    results = predict(*(np.load(file) for file in files[: len(INPUTS)]))"
    yield "    results = results if len(OUTPUTS) > 1 else (results,)"
    yield "    for name, result in zip(OUTPUTS, results):"
    yield '        print(f"{name} {result.shape}:")'
    yield "        print(result)"
    classes = function.network.outputs[0].kind in {"logits", "probabilities"}
    if labels and classes and function.types[function.graph.outputs[0]].shape[-1:] == (len(labels),):
        yield '    print("largest:", [LABELS[place] for place in results[0].argmax(axis=-1).ravel()])'
    yield "    for file, result in zip(files[len(INPUTS) :], results):"
    yield "        np.save(file, result)"
    yield ""
    yield ""
    yield 'if __name__ == "__main__":'
    yield "    main(sys.argv[1:])"
