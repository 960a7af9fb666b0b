"""A network as the source of a module of PyTorch: one class of ordinary layers, which needs PyTorch alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path as File
from typing import Any

from portable_nn.converters.torch.source_names import Path, expression, is_attribute, paths
from portable_nn.converters.torch.source_scene import Entry
from portable_nn.converters.torch.source_use import literal, torch_dtype
from portable_nn.converters.torch.source_writing import Body, Writing
from portable_nn.core.errors import UsageError, listed
from portable_nn.core.graph import Graph, Parameter, format_shape
from portable_nn.core.version import __version__
from portable_nn.network import Network
from portable_nn.operators import Array, infer


@dataclass(frozen=True)
class Source:
    """The source of a module, and where its tensors come from.

    Attributes:
        text: the source in Python: the class ``Network``, and ``load``, which makes one with its weights.
        entries: the tensors of its state dict.
        constants: its other tensors, by the names of their buffers.
        notes: what differs from the network.
    """

    text: str
    entries: tuple[Entry, ...]
    constants: Mapping[str, Array]
    notes: tuple[str, ...] = ()

    def state(self, parameters: Mapping[str, Array]) -> dict[str, Array]:
        """The state dict, of arrays, from the parameters of the network."""
        return {entry.key: entry.of(parameters[entry.parameter]) for entry in self.entries}

    def parameters(self, state: Mapping[str, Array], network: Network) -> dict[str, Array]:
        """The parameters of the network from a state dict of arrays."""
        found = {name: array.copy() for name, array in network.parameters.arrays.items()}
        for entry in self.entries:
            found[entry.parameter][entry.index or ...] = state[entry.key]
        return found


@cache
def _forbidden() -> frozenset[str]:
    """The attributes that every module has."""
    from torch import nn

    return frozenset(dir(nn.Module()))


def source_of(network: Network) -> Source:
    """The source of the module that computes what a network does.

    Raises ``UsageError`` that lists every node that PyTorch cannot express.
    """
    graph = network.graph
    writing = Writing(graph, paths((value.name for value in graph.parameters), _forbidden()), _forbidden())
    body = writing.run()
    if body.faults:
        raise UsageError(listed(body.faults, "PyTorch cannot express this network"))
    owned = {entry.parameter for layer in body.layers.values() for entry in layer.entries}
    entries = [
        Entry(".".join((*path, *entry.key.removeprefix(f"{layer.place}.").split("."))), entry.parameter, entry.index)
        for path, layer in body.layers.items()
        for entry in layer.entries
    ]
    single = {value.name: writing.paths[value.name] for value in graph.parameters if value.name not in owned}
    entries += [Entry(".".join(path), name) for name, path in single.items()]
    order = {value.name: place for place, value in enumerate(graph.parameters)}
    entries.sort(key=lambda entry: order[entry.parameter])
    text = "\n".join([*_head(network), *_helpers(body), *_part(body, single), *_class(network, body, single), *_tail()])
    return Source(text, tuple(entries), body.constants, tuple(_notes(network, entries, body)))


def _notes(network: Network, entries: Sequence[Entry], body: Body) -> Iterator[str]:
    """What differs from the network."""
    renamed = [entry for entry in entries if entry.key != entry.parameter]
    if renamed:
        some = ", ".join(f"{entry.parameter} → {entry.key}" for entry in renamed[:3])
        more = ", …" if len(renamed) > 3 else ""
        yield f"{len(renamed)} tensors have the names and layouts of PyTorch's layers: {some}{more}"
    if any(
        "nn.BatchNorm" in layer.made and "track_running_stats=False" not in layer.made for layer in body.layers.values()
    ):
        yield "trained further in PyTorch, running variances follow n / (n - 1) times those that this package takes"


def _head(network: Network) -> Iterator[str]:
    types = infer(network.graph).types
    yield f'"""{_plain(network.graph.name)}: a network of portable-nn {__version__}, as a module of PyTorch.'
    yield ""
    yield "Inputs:"
    for value in network.graph.inputs:
        yield f"    {_plain(value.name)}: {value.dtype} {_plain(format_shape(value.shape))}"
    yield ""
    yield "Outputs:"
    for name in network.graph.outputs:
        yield f"    {_plain(name)}: {types[name].dtype} {_plain(format_shape(types[name].shape))}"
    yield '"""'
    yield ""
    yield "from pathlib import Path"
    yield ""
    yield "import torch"
    yield "import torch.nn.functional as F"
    yield "from torch import nn"


def _plain(text: str) -> str:
    """A text of a file, in a docstring or comment."""
    return "".join(char if char.isprintable() and char not in '\\"' else "?" for char in text)


@cache
def _functions() -> Mapping[str, tuple[str, frozenset[str]]]:
    """The text of each function of ``source_helpers``, and the others that it calls."""
    text = File(__file__).with_name("source_helpers.py").read_text(encoding="utf-8")
    nodes = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    names = {node.name for node in nodes}
    return {
        node.name: (
            ast.get_source_segment(text, node) or "",
            frozenset(each.id for each in ast.walk(node) if isinstance(each, ast.Name) and each.id in names)
            - {node.name},
        )
        for node in nodes
    }


def _helpers(body: Body) -> Iterator[str]:
    functions, needed = _functions(), set(body.helpers)
    used = {name for name in needed if any(f"{name}(" in each.expression for each in body.statements)}
    used |= {name for name in needed if any(f"{name}(" in each for each in body.results)}
    while more := {other for name in used for other in functions[name][1]} - used:
        used |= more
    for name in functions:
        if name in used:
            yield f"\n\n{functions[name][0]}"


def _part(body: Body, single: Mapping[str, Path]) -> Iterator[str]:
    """The class of what holds layers, where any has a name of several parts."""
    if not _needs_parts(body, single):
        return
    yield '''

class Part(nn.Module):
    """Layers and parameters by their names."""

    def __getitem__(self, name: str):
        return getattr(self, name)

    def __setitem__(self, name: str, value) -> None:
        setattr(self, name, value)'''


def _needs_parts(body: Body, single: Mapping[str, Path]) -> bool:
    every = [*body.layers, *single.values()]
    return any(len(path) > 1 or not is_attribute(path[0]) for path in every)


def _class(network: Network, body: Body, single: Mapping[str, Path]) -> Iterator[str]:
    graph = network.graph
    base = "Part" if _needs_parts(body, single) else "nn.Module"
    count = sum(array.size for array in network.parameters.arrays.values())
    yield f'\n\nclass Network({base}):\n    """{len(body.layers)} layers, {count:,} numbers."""\n'
    yield "    def __init__(self) -> None:\n        super().__init__()"
    for line in _members(graph, body, single):
        yield f"        {line}"
    arguments = ", ".join(["self", *(f"{name}: torch.Tensor" for name in body.arguments)])
    result = "torch.Tensor" if len(body.results) == 1 else f"tuple[{', '.join(['torch.Tensor'] * len(body.results))}]"
    yield f"\n    def forward({arguments}) -> {result}:"
    for each in body.statements:
        line = f"        {', '.join(each.targets)} = {each.expression}"
        yield f"{line}  # {_plain(each.comment)}" if each.comment else line
    yield f"        return {', '.join(body.results)}"


def _members(graph: Graph, body: Body, single: Mapping[str, Path]) -> Iterator[str]:
    """The lines that make layers, parameters and buffers, in the order of the network's parameters."""
    parts, order = set[Path](), {value.name: place for place, value in enumerate(graph.parameters)}
    parameters = {value.name: value for value in graph.parameters}
    members: list[tuple[int, Path, str]] = []
    for path, layer in body.layers.items():
        place = min((order[entry.parameter] for entry in layer.entries), default=len(order))
        members.append((place, path, layer.made))
    members += [(order[name], path, _parameter(parameters[name])) for name, path in single.items()]
    for _, path, made in sorted(members, key=lambda each: each[0]):
        for depth in range(1, len(path)):
            if path[:depth] not in parts:
                parts.add(path[:depth])
                yield f"{expression(path[:depth])} = Part()"
        if made.startswith("buffer:"):
            yield f"{expression(path[:-1])}.register_buffer({path[-1]!r}, {made.removeprefix('buffer:')})"
        else:
            yield f"{expression(path)} = {made}"
    for path, layer in body.layers.items():
        frozen = [e for e in layer.entries if not parameters[e.parameter].trainable and "running_" not in e.key]
        trained = [e for e in layer.entries if parameters[e.parameter].trainable]
        if frozen and not trained:
            yield f"{expression(path)}.requires_grad_(False)"
        for entry in frozen if trained else ():
            key = entry.key.removeprefix(f"{layer.place}.").split(".")
            yield f"{expression((*path, *key))}.requires_grad_(False)"
    for name, value in body.constants.items():
        yield f'self.register_buffer("{name}", {_tensor(value)}, persistent=False)'


def _parameter(value: Parameter) -> str:
    """What makes a parameter, or a buffer where it holds no numbers that could be trained."""
    shape = tuple(int(dim) for dim in value.shape)
    dtype = "" if value.dtype == "float32" else f", dtype={torch_dtype(value.dtype)}"
    made = f"torch.zeros({shape}{dtype})"
    if not value.dtype.startswith("float"):
        return f"buffer:{made}"
    return f"nn.Parameter({made}{'' if value.trainable else ', requires_grad=False'})"


def _tensor(value: Array) -> str:
    dtype = torch_dtype(value.dtype.name)
    if value.size > 8 and (value == value.flat[0]).all():
        return f"torch.full({value.shape}, {literal(value.flat[0].item(), value.dtype.name)}, dtype={dtype})"
    return (
        f"torch.tensor({_nested(value.tolist(), value.dtype.name)}, dtype={dtype}).reshape({value.shape})"
        if not value.size
        else f"torch.tensor({_nested(value.tolist(), value.dtype.name)}, dtype={dtype})"
    )


def _nested(items: Any, dtype: str) -> str:
    if isinstance(items, list):
        return f"[{', '.join(_nested(each, dtype) for each in items)}]"
    return literal(items, dtype)


def _tail() -> Iterator[str]:
    yield '''

def load(path: str | Path | None = None) -> Network:
    """The network with its weights, by default those in the .safetensors file beside this one."""
    from safetensors.torch import load_file

    network = Network()
    weights = load_file(path or Path(__file__).with_suffix(".safetensors"))
    missing, unknown = network.load_state_dict(weights, strict=False)
    if unknown or any(not name.endswith("num_batches_tracked") for name in missing):
        raise ValueError(f"other weights: {missing} are missing, {unknown} are unknown")
    return network.eval()


if __name__ == "__main__":
    print(load())
'''
