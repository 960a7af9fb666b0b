"""A C file around its function: what it says of itself, constants, memory, helpers, and the program that it can be."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from portable_nn.converters.source.c_control import nested
from portable_nn.converters.source.c_function import Function
from portable_nn.converters.source.c_kernels import kernels_in, name_of
from portable_nn.converters.source.c_memory import arranged, declared, most, work
from portable_nn.converters.source.c_operators.use import C_TYPES, literal
from portable_nn.converters.source.tables import in_c, listed_columns
from portable_nn.converters.source.tables import name_of as word_function
from portable_nn.converters.source.words import listed_texts, plain_text, shape_text
from portable_nn.core.dims import product
from portable_nn.core.version import __version__

WIDTH: Final = 110

_TEXTS: Final = {
    "float32": ("double", "%lf", "%.9g"),
    "float64": ("double", "%lf", "%.17g"),
    "uint64": ("unsigned long long", "%llu", "%llu"),
}
"""Numbers as text: the type that holds them, and how it is read and printed."""

_WHOLE: Final = ("long long", "%lld", "%lld")


def text_of(function: Function) -> str:
    """The text of the file."""
    function.write(nested)
    body = "\n".join(function.lines)
    helpers = "\n\n".join(kernels_in({each for each in function.kernels if re.search(rf"\b{name_of(*each)}\(", body)}))
    if function.clash:
        call, other = re.compile(rf"\b{function.clash}\("), f"{function.names.new(f'{function.clash}_layer')}("
        helpers = call.sub(other, helpers)
        function.lines = [call.sub(other, line) for line in function.lines]
    read = {*re.findall(r"\w+", body)}
    places = {name: place for name, place in function.places.items() if function.names.of(name) in read}
    offsets, totals = arranged(places, function.up_to)
    weights = [name for name in function.arrays if function.names.of(name) in read]
    parts = [
        "\n".join(_heading(function, weights, totals)),
        "#include <math.h>\n#include <stddef.h>\n#include <stdint.h>",
        "\n\n".join(_weight(function, name) for name in weights),
        "\n".join(declared(totals)),
        helpers,
        "\n".join(_function(function, offsets)),
        in_c(function),
        "\n".join(_main(function)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _heading(function: Function, weights: Sequence[str], totals: Mapping[str, int]) -> Iterator[str]:
    network = function.network
    stored = sum(function.arrays[name].nbytes for name in weights)
    work = sum(np.dtype(dtype).itemsize * count for dtype, count in totals.items())
    title = plain_text(network.metadata.get("name", "") or function.graph.name)[:80]
    lines = [f"{title}: a network in C99, which needs math.h alone.", "", f"    {_signature(function)};", ""]
    for info, value in zip(network.inputs, function.graph.inputs, strict=True):
        lines.append(
            f"{function.inputs[value.name]}: input {plain_text(value.name)}, {value.dtype} {shape_text(value.shape)}."
        )
        lines += [f"    before: {plain_text(str(step))}" for step in info.preprocessing]
        call = f"{word_function(function)}(column, word, {function.inputs[value.name]}) puts one in"
        lines += [f"    {line}" for line in listed_columns(network.inputs, info.columns, call)]
    for name, variable in function.sizes.items():
        lines.append(f"{variable}: the size {plain_text(name)}, from 1 to {function.up_to[name]}.")
    for output in network.outputs:
        type = function.types[output.name]
        kind = "" if output.kind == "values" else f", {output.kind}"
        unit = f", in {plain_text(output.unit)}" if output.unit else ""
        shape = f"{type.dtype} {shape_text(type.shape)}"
        lines.append(f"{function.outputs[output.name]}: output {plain_text(output.name)}, {shape}{kind}{unit}.")
        if output.labels:
            lines.append(f"    labels: {listed_texts(output.labels)}")
    lines += [
        "",
        "All arrays are row-major. It returns 0; 1 where a size is none of those above, 2 where an index is not.",
        f"Memory: {stored:,} bytes of constants and {work:,} bytes of static memory, by which it is not reentrant.",
        f"As a program, which reads numbers, prints outputs: cc -O2 -DNET_MAIN {plain_text(function.path.name)} -lm",
        f"Written by portable-nn {__version__}.",
    ]
    yield "/*"
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()))
        for each in textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_long_words=False) or [""]:
            yield f" * {each}".rstrip()
    yield " */"


def _signature(function: Function) -> str:
    inputs = [f"const {C_TYPES[value.dtype]} *{function.inputs[value.name]}" for value in function.graph.inputs]
    sizes = [f"int {variable}" for variable in function.sizes.values()]
    outputs = [f"{C_TYPES[function.types[name].dtype]} *{variable}" for name, variable in function.outputs.items()]
    return f"int {function.name}({', '.join([*inputs, *sizes, *outputs])})"


def _weight(function: Function, name: str) -> str:
    array = function.arrays[name]
    # C has no array of no numbers.
    numbers = [literal(each, array.dtype.name) for each in array.ravel().tolist()] or ["0"]
    lines = textwrap.wrap(", ".join(numbers), WIDTH, break_long_words=False, break_on_hyphens=False)
    inner = "\n".join(f"    {line}" for line in lines)
    head = f"static const {C_TYPES[array.dtype.name]} {function.names.of(name)}[{len(numbers)}] = {{"
    return f"/* {plain_text(name)} {shape_text(array.shape)} */\n{head}\n{inner}\n}};"


def _function(function: Function, offsets: Mapping[str, int]) -> Iterator[str]:
    body = "\n".join(function.lines)
    yield _signature(function)
    yield "{"
    for name, offset in sorted(offsets.items(), key=lambda each: function.places[each[0]].first):
        dtype = function.places[name].dtype
        yield f"    {C_TYPES[dtype]} *const {function.names.of(name)} = {work(dtype)} + {offset};"
    if function.sizes:
        checks = [f"{variable} < 1 || {variable} > {function.up_to[name]}" for name, variable in function.sizes.items()]
        yield ""
        yield f"    if ({' || '.join(checks)})"
        yield "        return 1;"
    for line in function.lines:
        yield from _folded(f"    {line}") if line else [""]
    unread = [
        each for each in (*function.inputs.values(), *function.outputs.values()) if not re.search(rf"\b{each}\b", body)
    ]
    yield from (f"    (void){each};" for each in unread)
    yield "    return 0;"
    yield "}"


def _main(function: Function) -> Iterator[str]:
    yield "#ifdef NET_MAIN"
    yield "#include <stdio.h>"
    if function.sizes:
        yield "#include <stdlib.h>"
    yield ""
    yield "/*"
    if function.inputs:
        yield f" * Reads the numbers of one example after another, {', '.join(function.inputs.values())},"
        yield f" * and prints its outputs, {', '.join(function.outputs.values())}, one number a line."
    else:
        yield f" * Prints its outputs, {', '.join(function.outputs.values())}, one number a line."
    if function.sizes:
        yield f" * Its arguments are the sizes: {', '.join(function.sizes.values())}."
    yield " */"
    yield f"int main({'int argc, char **argv' if function.sizes else 'void'})"
    yield "{"
    for value in function.graph.inputs:
        numbers = max(1, most(product(value.shape), function.up_to))
        yield f"    static {C_TYPES[value.dtype]} {function.inputs[value.name]}[{numbers}];"
    for name, variable in function.outputs.items():
        type = function.types[name]
        yield f"    static {C_TYPES[type.dtype]} {variable}[{max(1, most(product(type.shape), function.up_to))}];"
    for place, (name, variable) in enumerate(function.sizes.items(), 1):
        yield f"    const int {variable} = argc > {place} ? atoi(argv[{place}]) : {function.up_to[name]};"
    if function.sizes:
        checks = [f"{variable} < 1 || {variable} > {function.up_to[name]}" for name, variable in function.sizes.items()]
        yield f"    if ({' || '.join(checks)})"
        yield "        return 1;"
    read = [value for value in function.graph.inputs if most(product(value.shape), function.up_to)]
    yield "    for (;;) {" if read else "    {"
    for place, value in enumerate(read):
        kind, form, _ = _TEXTS.get(value.dtype, _WHOLE)
        yield f"        for (int i = 0; i < {function.count(value.shape)}; ++i) {{"
        yield f"            {kind} number;"
        yield f'            if (scanf("{form}", &number) != 1)'
        yield f"                return {'i ? 3 : 0' if place == 0 else '3'};"
        yield f"            {function.inputs[value.name]}[i] = ({C_TYPES[value.dtype]})number;"
        yield "        }"
    arguments = [*function.inputs.values(), *function.sizes.values(), *function.outputs.values()]
    yield f"        const int failed = {function.name}({', '.join(arguments)});"
    yield "        if (failed)"
    yield "            return failed;"
    for name, variable in function.outputs.items():
        kind, _, form = _TEXTS.get(function.types[name].dtype, _WHOLE)
        yield f"        for (int i = 0; i < {function.count(function.types[name].shape)}; ++i)"
        yield f'            printf("{form}\\n", ({kind}){variable}[i]);'
    yield "    }" if read else "        return 0;\n    }"
    yield "}"
    yield "#endif"


def _folded(line: str) -> list[str]:
    """A line in several, if it is long."""
    indent = line[: len(line) - len(line.lstrip())] + "    "
    return textwrap.wrap(line, WIDTH + 8, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
