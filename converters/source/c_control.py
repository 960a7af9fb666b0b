"""Branches and loops in C: blocks of the function around the statements of their bodies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from portable_nn.converters.source.c_function import Function
from portable_nn.converters.source.c_operators.use import CUse
from portable_nn.converters.source.lowered import Use
from portable_nn.core.graph import Shape, own_inputs
from portable_nn.operators.control.branches import taken
from portable_nn.operators.control.loops import loop_of, scan_of


def nested(function: Function, use: Use) -> list[str]:
    """The statements of a node with bodies."""
    if use.node.operator == "If":
        return _branch(function, use)
    return (_loop if use.node.operator == "Loop" else _scan)(function, use)


def _branch(function: Function, use: Use) -> list[str]:
    """The branch that is known, or both."""
    outputs, made = _outputs(function, use), dict[str, list[str]]()
    for name, (graph, _, nodes) in use.inner.items():
        made[name] = [*function.block(nodes), ""]
        for output, result, type in zip(outputs, graph.outputs, use.results, strict=True):
            made[name] += function.copy(function.variable(output), function.variable(result), type.shape)
    if one := taken(use.context):
        return _block("", made[one])
    condition = function.variable(use.node.inputs[0])
    return [*_block(f"if ({condition}[0])", made["then_branch"]), *_block("else", made["else_branch"])]


def _block(head: str, lines: Sequence[str]) -> list[str]:
    """Statements in braces, without an empty line before them."""
    inside = lines[1:] if lines[:1] == [""] else lines
    return [f"{head} {{".lstrip(), *(f"    {line}" if line else "" for line in inside), "}"]


def _outputs(function: Function, use: Use) -> list[str]:
    """The values that a node makes, which have places from here on; those that nothing reads as well."""
    names = [name or f"\0unread\0{function.step}\0{place}" for place, name in enumerate(use.node.outputs)]
    for name, type in zip(names, use.results, strict=True):
        function.result(name, type)
    return names


def _loop(function: Function, use: Use) -> list[str]:
    """The turns whose number is known, or those until a condition is false."""
    loop, (graph, _, nodes) = loop_of(use.context), use.inner["body"]
    outputs, begin = _started(function, use, loop.states, 2)
    turn, going = function.names.new("turn"), function.names.new("going")
    most, start = (function.variable(name) if name else "" for name in (*own_inputs(use.node), "", "")[:2])
    enter = dict[str, list[str]]()
    for value, type, now in zip(graph.inputs, loop.entries, (turn, "1"), strict=False):
        variable = function.result(value.name, type)
        enter[variable] = [f"{variable}[0] = {now};"]
    body, after = function.block(nodes), list[str]()
    for name, output, type in list(zip(graph.outputs[1:], outputs, use.results, strict=True))[loop.states :]:
        after += _moved(function, use, function.variable(output), type.shape, 0, turn, function.variable(name))
    if loop.turns is not None:
        test = f"{turn} < {CUse(use, [], [], function.sizes, {}).size(loop.turns)}"
    else:
        test = f"{going} && {turn} < {most}[0]" if most else going
        begin.append(f"int {going} = {f'{start}[0]' if start else 1};")
        after.append(f"{going} = {function.variable(graph.outputs[0])}[0];")
    after += _carried(function, use, outputs[: loop.states], graph.outputs[1:])
    return [*begin, *_repeated(function, use, f"{turn} = 0; {test}; ++{turn}", enter, body, after)]


def _scan(function: Function, use: Use) -> list[str]:
    """A turn for each step of the inputs."""
    scan, (graph, _, nodes) = scan_of(use.context), use.inner["body"]
    outputs, begin = _started(function, use, scan.states, 0)
    turn, steps = function.names.new("turn"), CUse(use, [], [], function.sizes, {}).size(scan.steps)
    places, enter = (turn, f"{steps} - 1 - {turn}"), dict[str, list[str]]()
    for place, (axis, backwards) in enumerate(zip(scan.axes, scan.backwards, strict=True), scan.states):
        variable = function.result(graph.inputs[place].name, scan.entries[place])
        source, shape = function.variable(use.node.inputs[place]), use.context.type(place).shape
        enter[variable] = _moved(function, use, source, shape, axis, places[backwards], variable, is_read=True)
    body, after = function.block(nodes), list[str]()
    for place, (axis, backwards) in enumerate(zip(scan.out_axes, scan.out_backwards, strict=True), scan.states):
        shape, source = use.results[place].shape, function.variable(graph.outputs[place])
        target, along = function.variable(outputs[place]), use.context.axis(axis, len(shape))
        after += _moved(function, use, target, shape, along, places[backwards], source)
    after += _carried(function, use, outputs[: scan.states], graph.outputs)
    return [*begin, *_repeated(function, use, f"{turn} = 0; {turn} < {steps}; ++{turn}", enter, body, after)]


def _started(function: Function, use: Use, states: int, skipped: int) -> tuple[list[str], list[str]]:
    """The outputs of a loop, and what copies its states to where they become outputs; some inputs are ``skipped``."""
    outputs, lines = _outputs(function, use), list[str]()
    for place in range(states):
        name, entry = use.node.inputs[skipped + place], use.inner["body"].graph.inputs[skipped + place].name
        lines += function.copy(function.variable(outputs[place]), function.variable(name), use.results[place].shape)
        function.roots[entry] = outputs[place]
    return outputs, lines


def _moved(
    function: Function, use: Use, whole: str, shape: Shape, axis: int, at: str, part: str, *, is_read: bool = False
) -> list[str]:
    """The statements that copy a part to a place along an axis of an array of a shape, or from there."""
    made, rest = CUse(use, [], [], function.sizes, {}), (*shape[:axis], *shape[axis + 1 :])

    def statement(i: Sequence[str]) -> str:
        ends = f"{whole}[{made.place(shape, [*i[:axis], at, *i[axis:]])}]", f"{part}[{made.place(rest, i)}]"
        return " = ".join(ends[::-1] if is_read else ends) + ";"

    made.over(rest, statement)
    return made.lines


def _carried(function: Function, use: Use, states: Sequence[str], made: Sequence[str]) -> list[str]:
    """The states of the next turn are what the body has made: where that is another state, a copy of it."""
    kept, lines = list[str](), list[str]()
    for state, name, type in zip(states, made, use.results, strict=False):
        source, root = function.variable(name), function.roots.get(name, name)
        if root in states and root != state:
            copy = function.result(f"\0kept\0{function.step}\0{state}", type)
            kept += function.copy(copy, source, type.shape)
            source = copy
        lines += function.copy(function.variable(state), source, type.shape) if root != state else []
    return [*kept, *lines]


def _repeated(
    function: Function,
    use: Use,
    head: str,
    enter: Mapping[str, Sequence[str]],
    body: Sequence[str],
    after: Sequence[str],
) -> list[str]:
    """A loop, in which all that it reads is needed to its end; what nothing reads is not entered."""
    inner = use.inner["body"].graph.inputs
    for name in filter(None, (*use.node.inputs, *use.node.outputs, *(value.name for value in inner))):
        function.variable(name)
    read = "\n".join([*body, *after])
    entered = [line for name, lines in enter.items() if re.search(rf"\b{name}\b", read) for line in lines]
    return _block(f"for (int64_t {head})", [*entered, *body, "", *after])
