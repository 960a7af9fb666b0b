"""RNN, GRU and LSTM in PyTorch: one layer, or several that follow one another, with its weights and gate orders."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from portable_nn.converters.layers.gates import OPERATORS
from portable_nn.converters.torch.source_scene import Entry, Found, Layer, Scene, module
from portable_nn.converters.torch.source_use import Made, Use
from portable_nn.core.graph import Node, Parameter, Tensor
from portable_nn.engines.once import run_numpy
from portable_nn.operators import INTEGERS
from portable_nn.operators.recurrent.uses import KINDS
from portable_nn.operators.registry import find as find_operator
from portable_nn.rewrites.scope import given

X, W, R, B, LENGTHS, STATES = range(6)

_NUMBERED: Final = re.compile(r"(.+)\.weight_(?:ih_)?l(0|[1-9]\d*)")


class Stack(NamedTuple):
    """Layers that follow one another, and the dropout between them."""

    place: str
    nodes: tuple[Node, ...]
    dropout: float


def _moves(node: Node) -> bool:
    """True if a node moves elements, and computes nothing."""
    operator = find_operator(node.operator, node.domain)
    return operator is not None and operator.family == "layout" and bool(operator.passes)


def _order(kind: str) -> tuple[int, ...]:
    """The places of PyTorch's gates among those of the standard."""
    return OPERATORS[kind].places(OPERATORS[kind].gates, OPERATORS[kind].torch)


def is_recurrent(node: Node) -> bool:
    """True if a node is one of the three operators."""
    return node.operator in KINDS and not node.domain


def stacks(scene: Scene) -> dict[str, Stack]:
    """For each recurrent node the stack that it is in, by the node's name."""
    found = dict[str, Stack]()
    numbered = dict[str, dict[int, list[Node]]]()
    for node in scene.graph.nodes:
        if is_recurrent(node):
            name = _numbered(scene, node)
            if name:
                numbered.setdefault(name[1], {}).setdefault(int(name[2]), []).append(node)
    for place, layers in numbered.items():
        stack = _stack(scene, place, layers)
        if stack:
            found.update((node.name, stack) for node in stack.nodes)
    for node in scene.graph.nodes:
        if is_recurrent(node) and node.name not in found:
            name = _numbered(scene, node)
            alone = name and len(numbered[name[1]]) == 1
            found[node.name] = Stack(name[1] if name and alone else _place(scene, node), (node,), 0.0)
    return found


def _numbered(scene: Scene, node: Node) -> re.Match[str] | None:
    """The name of the layer of which a node is one, and the number of it."""
    found = originals(scene, node.inputs[W], node.operator)
    return _NUMBERED.fullmatch(found[0]) if found else None


def originals(scene: Scene, name: str, kind: str) -> list[str]:
    """The parameters that are joined to a weight here, each with its gates moved from PyTorch's order; else none.

    However an exporter moves them, numbers of elements that go the same way say where each element comes from.
    """
    if name in scene.parameters:
        return [name]
    found = _moved(scene, name)
    if found is None:
        return []
    nodes, values = found
    shapes = [scene.sizes(value.name) for value in values]
    starts = [0, *accumulate(map(prod, shapes))]
    numbers = {
        value.name: np.arange(start, start + prod(shape)).reshape(shape)
        for value, start, shape in zip(values, starts, shapes, strict=False)
    }
    parameters = tuple(Parameter(each, "int64", array.shape) for each, array in numbers.items())
    graph = replace(scene.graph, inputs=(), outputs=(name,), nodes=nodes, parameters=parameters)
    left, names = run_numpy(graph, numbers, {})[name].ravel(), list[str]()
    order = np.argsort(_order(kind))
    while left.size:
        value = values[bisect_right(starts, left[0]) - 1]
        moved = numbers[value.name].reshape(len(order), -1)[order].ravel()
        if not np.array_equal(left[: moved.size], moved):
            return []
        names.append(value.name)
        left = left[moved.size :]
    return names


def _moved(scene: Scene, name: str) -> tuple[tuple[Node, ...], list[Parameter]] | None:
    """The nodes by which a value comes from parameters, and the parameters; known values are constants.

    ``None`` where they compute more than where elements go.
    """
    nodes, constants, values, wanted = dict[str, Node](), dict[str, Node](), dict[str, Parameter](), [name]
    while wanted:
        each = wanted.pop()
        constant, node = scene.constant(each), scene.makers.get(each)
        if each in scene.parameters:
            values[each] = scene.parameters[each]
        elif constant is not None and not any(isinstance(dim, str) for dim in constant):
            if scene.types[each].dtype not in INTEGERS:
                return None
            held = Tensor(scene.types[each].dtype, scene.sizes(each), constant)
            constants[each] = Node(f"constant {each}", "Constant", (), (each,), {"value": held})
        elif node is None or not _moves(node):
            return None
        else:
            nodes[node.name] = node
            wanted += [name for name in node.inputs if name]
    ordered = sorted(nodes.values(), key=lambda node: scene.order[node.name])
    return (*constants.values(), *ordered), list(values.values())


def _place(scene: Scene, node: Node) -> str:
    """The name of a layer whose parameters have names of another kind: what is before their last dot."""
    fronts = {name.rpartition(".")[0] for name in node.inputs[W : B + 1] if name}
    [front] = fronts if len(fronts) == 1 else [""]
    mine = {name for name in node.inputs[W : B + 1] if name}
    return front if front and scene.children(front) == mine else node.name.replace(".", "_")


def _stack(scene: Scene, place: str, layers: Mapping[int, Sequence[Node]]) -> Stack | None:
    """The layers, if each has one node, which reads the one before."""
    if sorted(layers) != list(range(len(layers))) or any(len(nodes) != 1 for nodes in layers.values()):
        return None
    nodes = [layers[number][0] for number in range(len(layers))]
    ratios = [_between(scene, *pair) for pair in pairwise(nodes)]
    alike = {
        (
            node.operator,
            tuple(sorted(node.attributes.items())),
            given(node, LENGTHS),
            bool(given(node, STATES)),
            bool(given(node, B)),
        )
        for node in nodes
    }
    if any(ratio is None for ratio in ratios) or len(set(ratios)) > 1 or len(alike) > 1:
        return None
    last = scene.order[nodes[-1].name]
    states = [name for node in nodes[:-1] for name in node.outputs[1:] if name]
    if any(scene.order[reader.name] < last for name in states for reader in scene.readers.get(name, ())):
        return None
    return Stack(place, tuple(nodes), (ratios or [0.0])[0] or 0.0)


def _between(scene: Scene, before: Node, after: Node) -> float | None:
    """The dropout between two layers; ``None`` where one does not read the other's sequence."""
    name, ratio = after.inputs[X], 0.0
    drop = scene.maker(name, "Dropout")
    if drop:
        known = scene.constant(given(drop, 1)) or (0.5,)
        name, ratio = drop.inputs[0], float(f"{known[0]:.7g}")
    return (
        ratio if sequence_of(scene, name) == before.outputs[0] and len(scene.readers[before.outputs[0]]) == 1 else None
    )


def sequence_of(scene: Scene, name: str) -> str | None:
    """The output Y, (steps, directions, batch, units), of which a value is the (steps, batch, directions · units)."""
    squeezed = scene.maker(name, "Squeeze")
    if squeezed and scene.constant(given(squeezed, 1)) == (1,):
        return _made_by_recurrent(scene, squeezed.inputs[0])
    reshaped = scene.maker(name, "Reshape")
    turned = scene.maker(reshaped.inputs[0], "Transpose") if reshaped else None
    if turned is None or turned.attributes.get("perm") != (0, 2, 1, 3):
        return None
    steps, batch, directions, units = scene.types[turned.outputs[0]].shape
    whole = (
        isinstance(directions, int)
        and isinstance(units, int)
        and scene.types[name].shape == (steps, batch, directions * units)
    )
    return _made_by_recurrent(scene, turned.inputs[0]) if whole else None


def _made_by_recurrent(scene: Scene, name: str) -> str | None:
    node = scene.makers.get(name)
    is_sequence = (
        node is not None and is_recurrent(node) and node.outputs[0] == name and not node.attributes.get("layout")
    )
    return name if is_sequence else None


def find(scene: Scene, use: Use, stack: Stack) -> Found | None:
    """The layer that a stack is."""
    node, kind = use.node, use.operator.name
    hidden, features = scene.types[node.inputs[R]].shape[2], scene.types[stack.nodes[0].inputs[W]].shape[2]
    function = _checked(use)
    directions = 2 if use.string("direction") == "bidirectional" else 1
    as_there = _entries_as_there(scene, stack, directions)
    if not as_there and any(
        name not in scene.parameters for each in stack.nodes for name in each.inputs[W : B + 1] if name
    ):
        use.refuse("weights that are computed, and are no parameters")
    names = {each.name for each in stack.nodes}
    weights = {name for each in stack.nodes for name in each.inputs[W : B + 1] if name}
    if not as_there and any(reader.name not in names for name in weights for reader in scene.readers[name]):
        use.refuse("weights that another node reads as well")
    count = len(stack.nodes)
    options: dict[str, Any] = {"input_size": features, "hidden_size": hidden, "num_layers": count}
    options |= {"nonlinearity": function} if kind == "RNN" else {}
    options |= {"bias": use.has(B), "batch_first": bool(use.int("layout"))}
    options |= {"dropout": stack.dropout, "bidirectional": directions == 2}
    made = module(kind, scene.types[node.inputs[W]].dtype, **options)
    entries = as_there or tuple(
        entry
        for number, each in enumerate(stack.nodes)
        for entry in _entries(stack.place, number, each, _order(kind), int(hidden), directions)
    )
    return Found(Layer(stack.place, made, entries), lambda use, module: _call(use, module, stack, directions))


def _keys(place: str, number: int, directions: int) -> list[list[str]]:
    """The names of the weights and biases of a layer in PyTorch: W_ih, W_hh, b_ih and b_hh of each direction."""
    ends = [f"l{number}{end}" for end in ("", "_reverse")[:directions]]
    return [[f"{place}.{role}_{end}" for role in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")] for end in ends]


def _entries_as_there(scene: Scene, stack: Stack, directions: int) -> tuple[Entry, ...]:
    """The entries of a stack whose parameters are those of PyTorch's layer itself; else none."""
    found: list[Entry] = []
    for number, node in enumerate(stack.nodes):
        keys = _keys(stack.place, number, directions)
        wanted = {W: [w for w, *_ in keys], R: [r for _, r, *_ in keys]}
        wanted |= {B: [bias for _, _, *biases in keys for bias in biases]} if given(node, B) else {}
        for place, names in wanted.items():
            if originals(scene, node.inputs[place], node.operator) != names:
                return ()
            found += [Entry(name, name) for name in names]
    return tuple(found)


def _checked(use: Use) -> str:
    """The activation of an RNN. Raises ``RefusalError`` for what PyTorch's layers have not."""
    kind, faults = use.operator.name, []
    activations = [str(each) for each in use._attribute("activations") or ()]
    usual = list(KINDS[kind].functions)
    size = len(usual)
    parts = [activations[i : i + size] for i in range(0, len(activations), size)] or [usual]
    relu = kind == "RNN" and all(part == ["Relu"] for part in parts)
    if not relu and any(part != usual for part in parts):
        faults.append("activations other than its own")
    if use._attribute("clip") is not None:
        faults.append("a clip")
    if kind == "GRU" and not use.int("linear_before_reset"):
        faults.append("a reset gate before the product with R (linear_before_reset 0)")
    if kind == "LSTM" and (use.int("input_forget") or use.has(7)):
        faults.append("peepholes or a joint input and forget gate")
    if use.has(LENGTHS) and (use.string("direction") == "reverse" or use.int("layout")):
        faults.append("lengths with the direction reverse, or with the batch first")
    if faults:
        use.refuse(", ".join(faults))
    return "relu" if relu else "tanh"


def _entries(place: str, number: int, node: Node, order: Sequence[int], hidden: int, directions: int) -> list[Entry]:
    """PyTorch's weights of one layer, with where they are in the parameters of the network."""
    rows = np.concatenate([np.arange(gate * hidden, (gate + 1) * hidden) for gate in order])
    inputs, starts = (W, R, B, B), (0, 0, 0, len(order) * hidden)
    return [
        Entry(key, node.inputs[each], (direction, rows + start))
        for direction, keys in enumerate(_keys(place, number, directions))
        for key, each, start in zip(keys, inputs, starts, strict=True)
        if given(node, each)
    ]


def _call(use: Use, module: str, stack: Stack, directions: int) -> list[str]:
    """The outputs of the last node of a stack; the states of the others are written along with them."""
    first, writer, batch_first = stack.nodes[0], use.writer, bool(use.int("layout"))
    count = use.output_count - 1
    x = writer.tensor(first.inputs[X])
    backwards = use.string("direction") == "reverse"
    axis = 1 if batch_first else 0
    x = f"{x}.flip({axis})" if backwards else x
    states = _states(use, stack, batch_first)
    lengths = given(use.node, LENGTHS)
    if lengths:
        made = use.call("run_padded", module, x, writer.tensor(lengths), states or "None")
    else:
        made = f"{module}({x}{f', {states}' if states else ''})"
    both = writer.statement(f"{stack.place}_made", made)
    sequence = f"{both}[0]" + (f".flip({axis})" if backwards else "")
    writer.note_sequence(use.node.outputs[0], sequence)
    last = len(stack.nodes) - 1
    is_lstm = use.operator.name == "LSTM"
    for number, node in enumerate(stack.nodes):
        for place, name in enumerate(node.outputs[1:]):
            if name and number < last:
                writer.assign(name, _state(both, place, is_lstm, number, directions, len(stack.nodes), batch_first))
    split = f"{sequence}.unflatten(2, ({directions}, -1))"
    found = [split if batch_first else f"{split}.transpose(1, 2)"]
    return found + [
        _state(both, place, is_lstm, last, directions, len(stack.nodes), batch_first) for place in range(count)
    ]


def _state(both: str, place: int, is_lstm: bool, number: int, directions: int, layers: int, batch_first: bool) -> str:
    """The states of one layer after the last step."""
    found = f"{both}[1][{place}]" if is_lstm else f"{both}[1]"
    if layers > 1:
        found += f"[{number * directions}:{(number + 1) * directions}]"
    return f"{found}.transpose(0, 1)" if batch_first else found


def _states(use: Use, stack: Stack, batch_first: bool) -> str:
    """The states before the first step, or nothing."""
    names = [
        [given(node, STATES + place) for node in stack.nodes]
        for place in range(2 if use.operator.name == "LSTM" else 1)
    ]
    if not any(any(each) for each in names):
        return ""
    if not all(all(each) for each in names):
        use.refuse("one of two initial states")
    turn = ".transpose(0, 1).contiguous()" if batch_first else ""
    parts = []
    for each in names:
        texts = [f"{use.writer.tensor(name)}{turn}" for name in each]
        parts.append(texts[0] if len(texts) == 1 else f"torch.cat(({', '.join(texts)}))")
    return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"


def functional(use: Use) -> Made:
    """A layer that has no parameters of its own, since its weights are computed, as those of a projected LSTM are."""
    function, writer, layout = _checked(use), use.writer, bool(use.int("layout"))
    kind = f"rnn_{function}" if use.operator.name == "RNN" else use.operator.name.lower()
    given = [use.x(place) if use.has(place) else "None" for place in (X, W, R, B, LENGTHS)]
    turned = use.string("direction") == "reverse"
    given[X] += (".transpose(0, 1)" if layout else "") + (".flip(0)" if turned else "")
    states = _states(use, Stack("", (use.node,), 0.0), layout) or "None"
    both = writer.statement(f"{kind}_made", use.call("run_recurrent", repr(kind), *given, states))
    sequence = f"{both}[0]" + (".flip(0)" if turned else "")
    ways = use.type(R).shape[0]
    y = f"{sequence}.unflatten(2, ({ways}, -1))" + (".permute(1, 0, 2, 3)" if layout else ".transpose(1, 2)")
    last = [f"{both}[{place + 1}]" + (".transpose(0, 1)" if layout else "") for place in range(use.output_count - 1)]
    return [y, *last]
