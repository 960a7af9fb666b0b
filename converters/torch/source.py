"""A network as the source of a module of PyTorch: one class of ordinary layers, which needs PyTorch alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.converters.torch.facts import not_saved_in, tied_in
from portable_nn.converters.torch.source_names import Path, expression, is_attribute, path_of, paths, plain
from portable_nn.converters.torch.source_scene import Entry
from portable_nn.converters.torch.source_use import literal, torch_dtype
from portable_nn.converters.torch.source_writing import Body, Writing
from portable_nn.converters.torch.words import helpers
from portable_nn.core.errors import UsageError, listed
from portable_nn.core.graph import Graph, Parameter, format_shape
from portable_nn.core.text import quantity
from portable_nn.core.version import __version__
from portable_nn.network import Network
from portable_nn.operators import Array, NamedArrays, infer


@dataclass(frozen=True)
class Source:
    """The source of a module, and where its tensors come from.

    Attributes:
        text: the source in Python: the class ``Network``, and ``load``, which makes one with its weights.
        entries: the tensors of its state dict.
        constants: its other tensors, by the names of their buffers.
        tied: the further names of tensors of the state dict.
        notes: what differs from the network.
    """

    text: str
    entries: tuple[Entry, ...]
    constants: NamedArrays
    tied: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def state(self, parameters: NamedArrays) -> dict[str, Array]:
        """The state dict, of arrays, from the parameters of the network."""
        return {entry.key: entry.of(parameters[entry.parameter]) for entry in self.entries}

    def parameters(self, state: NamedArrays, network: Network) -> dict[str, Array]:
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
    graph, aliases = network.graph, tied_in(network)
    writing = _written(graph, aliases)
    body = writing.body
    known = dict[str, Path]()
    entries = list[Entry]()
    for path, layer in body.layers.items():
        for entry, own in zip(layer.entries, layer.paths(path), strict=True):
            if writing.scene.is_tied(entry.key, entry.parameter):
                known[entry.key] = own
            else:
                entries.append(Entry(".".join(own), entry.parameter, entry.index))
    single = dict[str, Path]()
    hidden = dict[Path, Array]()
    owned = {entry.parameter for entry in entries}
    not_saved = not_saved_in(network)
    for name, array in network.parameters.arrays.items():
        if name not in owned and name in not_saved and is_short(array):
            hidden[writing.paths[name]] = array
        elif name not in owned:
            single[name] = writing.paths[name]
    entries += [Entry(".".join(path), name) for name, path in single.items()]
    order = {value.name: place for place, value in enumerate(graph.parameters)}
    entries.sort(key=lambda entry: order[entry.parameter])
    tied = _tied(aliases, known, entries)
    members = Members(single, hidden, tied)
    text = "\n".join([*_head(network), *helpers(body.helpers), *class_of(network, body, members), *_tail()])
    constants = {**body.constants, **{".".join(path): array for path, array in hidden.items()}}
    names = {".".join(path): ".".join(whose) for path, whose in tied.items()}
    return Source(text, tuple(entries), constants, names, tuple(_notes(entries, body)))


def _written(graph: Graph, aliases: Mapping[str, str]) -> Writing:
    """The statements of a graph, in which no variable hides a function that they call."""
    given = graph, paths((value.name for value in graph.parameters), _forbidden()), _forbidden(), aliases
    writing = Writing(*given)
    if clashes := writing.names.taken.intersection(writing.run().helpers):
        writing = Writing(*given, clashes)
        writing.run()
    if writing.body.faults:
        raise UsageError(listed(writing.body.faults, "PyTorch cannot express this network"))
    return writing


def _tied(aliases: Mapping[str, str], known: Mapping[str, Path], entries: Sequence[Entry]) -> dict[Path, Path]:
    """Of each further name of a parameter its path, and the path of the parameter."""
    whole = {entry.parameter: entry.key for entry in entries if not entry.index}
    taken = {entry.key for entry in entries}
    found = dict[Path, Path]()
    for alias, name in aliases.items():
        path = known.get(alias) or path_of(alias, _forbidden())
        if name in whole and not any(key == ".".join(path) or key.startswith(f"{'.'.join(path)}.") for key in taken):
            found[path] = tuple(whole[name].split("."))
    return found


def _notes(entries: Sequence[Entry], body: Body) -> Iterator[str]:
    """The differences from the network."""
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
    yield f'"""{plain(network.graph.name)}: a network of portable-nn {__version__}, as a module of PyTorch.'
    yield ""
    yield "Inputs:"
    for value in network.graph.inputs:
        yield f"    {plain(value.name)}: {value.dtype} {plain(format_shape(value.shape))}"
    yield ""
    yield "Outputs:"
    for name in network.graph.outputs:
        yield f"    {plain(name)}: {types[name].dtype} {plain(format_shape(types[name].shape))}"
    yield '''\
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn'''


def _tail() -> Iterator[str]:
    yield '''

def load(path: str | Path | None = None) -> Network:
    """The network with its weights, by default those in the .safetensors file beside this one."""
    from safetensors.torch import load_model

    network = Network()
    missing, unknown = load_model(network, path or Path(__file__).with_suffix(".safetensors"), strict=False)
    if unknown or any(not name.endswith("num_batches_tracked") for name in missing):
        raise ValueError(f"other weights: {missing} are missing, {unknown} are unknown")
    return network.eval()


if __name__ == "__main__":
    print(load())
'''


_WRITTEN: Final = 1024
"""The most numbers of a buffer that are written out."""


class Members(NamedTuple):
    """The members of a module beside its layers.

    Attributes:
        single: the parameters that are in no layer, and their paths.
        hidden: buffers that no state dict has.
        tied: the paths of further names, and what they are names of.
    """

    single: Mapping[str, Path]
    hidden: Mapping[Path, Array]
    tied: Mapping[Path, Path]


def _part(body: Body, members: Members) -> Iterator[str]:
    """The class of what holds layers, where any has a name of several parts."""
    if not _needs_parts(body, members):
        return
    yield '''

class Part(nn.Module):
    """Layers and parameters by their names."""

    def __getitem__(self, name: str):
        return getattr(self, name)

    def __setitem__(self, name: str, value) -> None:
        setattr(self, name, value)'''


def _needs_parts(body: Body, members: Members) -> bool:
    every = [*body.layers, *members.single.values(), *members.hidden, *members.tied]
    return any(len(path) > 1 or not is_attribute(path[0]) for path in every)


def class_of(network: Network, body: Body, members: Members) -> Iterator[str]:
    """The text of the class, and of the one that it needs."""
    yield from _part(body, members)
    graph = network.graph
    base = "Part" if _needs_parts(body, members) else "nn.Module"
    count = sum(array.size for array in network.parameters.arrays.values())
    yield f'\n\nclass Network({base}):\n    """{quantity(len(body.layers), "layer")}, {count:,} numbers."""\n'
    yield "    def __init__(self) -> None:\n        super().__init__()"
    for line in _members(graph, body, members):
        yield f"        {line}"
    arguments = ", ".join(["self", *(f"{name}: Tensor" for name in body.arguments)])
    result = "Tensor" if len(body.results) == 1 else f"tuple[{', '.join(['Tensor'] * len(body.results))}]"
    yield f"\n    def forward({arguments}) -> {result}:"
    yield from (f"        {line}" for each in body.statements for line in each.lines)
    yield f"        return {', '.join(body.results)}"


def _members(graph: Graph, body: Body, members: Members) -> Iterator[str]:
    """The lines that make layers, parameters and buffers, in the order of the network's parameters."""
    parts, parameters = set[Path](), {value.name: value for value in graph.parameters}
    for _, path, made in sorted(_made(parameters, body, members), key=lambda each: each[0]):
        for part in (path[:depth] for depth in range(1, len(path))):
            if part not in parts and part not in body.layers:
                parts.add(part)
                yield f"{expression(part)} = Part()"
        if made.startswith("buffer:"):
            yield f"{expression(path[:-1])}.register_buffer({path[-1]!r}, {made.removeprefix('buffer:')})"
        else:
            yield f"{expression(path)} = {made}"
    for path in _counted(graph, members):
        yield f'{expression(path)}.register_buffer("num_batches_tracked", torch.tensor(0))'
    for path in _frozen(parameters, body):
        yield f"{expression(path)}.requires_grad_(False)"
    for name, value in body.constants.items():
        yield f'self.register_buffer("{name}", {_tensor(value)}, persistent=False)'


def _made(parameters: Mapping[str, Parameter], body: Body, members: Members) -> Iterator[tuple[int, Path, str]]:
    """The place of each member among the others, its path, and the expression that makes it."""
    order = {name: place for place, name in enumerate(parameters)}
    last = len(order)
    for path, layer in body.layers.items():
        is_tied = not members.tied.keys().isdisjoint(layer.paths(path))
        yield last if is_tied else min((order[each] for each in layer.claims), default=last), path, layer.made
    yield from ((order[name], path, _parameter(parameters[name])) for name, path in members.single.items())
    yield from ((last, path, f"buffer:{_tensor(array)}, persistent=False") for path, array in members.hidden.items())
    yield from ((last + 1, path, _same(whose, parameters)) for path, whose in members.tied.items())


def _frozen(parameters: Mapping[str, Parameter], body: Body) -> Iterator[Path]:
    """The layers that no training changes, and the tensors of others; running statistics follow anyway."""
    for path, layer in body.layers.items():
        keys = {
            key: parameters[entry.parameter].trainable
            for key, entry in zip(layer.paths(path), layer.entries, strict=True)
            if "running_" not in entry.key
        }
        frozen = [key for key, is_trained in keys.items() if not is_trained]
        if any(keys.values()):
            yield from frozen
        elif frozen:
            yield path


def _counted(graph: Graph, members: Members) -> Iterator[Path]:
    """The places of batch normalizations that are kept from training: PyTorch counts the batches that they saw."""
    done = set[Path]()
    same_as = {node.outputs[0]: node.inputs[0] for node in graph.nodes if node.operator == "Identity"}
    for node in graph.nodes:
        if node.operator == "BatchNormalization" and not node.domain:
            mean, variance = (members.single.get(same_as.get(name, name), ()) for name in node.inputs[3:5])
            same = mean[:-1] == variance[:-1] and len(mean) > 1
            if same and (mean[-1], variance[-1]) == ("running_mean", "running_var") and mean[:-1] not in done:
                done.add(mean[:-1])
                yield mean[:-1]


def _same(whose: Path, parameters: Mapping[str, Parameter]) -> str:
    """The line that gives a parameter, or a buffer, a further name."""
    value = parameters.get(".".join(whose))
    return f"{'' if value is None or value.dtype.startswith('float') else 'buffer:'}{expression(whose)}"


def _parameter(value: Parameter) -> str:
    """The expression that makes a parameter, or a buffer where it holds no numbers that could be trained."""
    shape = tuple(int(dim) for dim in value.shape)
    dtype = "" if value.dtype == "float32" else f", dtype={torch_dtype(value.dtype)}"
    made = f"torch.zeros({shape}{dtype})"
    if not value.dtype.startswith("float"):
        return f"buffer:{made}"
    return f"nn.Parameter({made}{'' if value.trainable else ', requires_grad=False'})"


def is_short(value: Array) -> bool:
    """True if the numbers of a tensor can be written out."""
    return value.size <= _WRITTEN or _is_range(value) or bool((value == value.flat[0]).all())


def _is_range(value: Array) -> bool:
    """True if the array holds 0, 1, 2, …"""
    return value.dtype == np.int64 and np.array_equal(value.ravel(), np.arange(value.size))


def _tensor(value: Array) -> str:
    dtype = torch_dtype(value.dtype.name)
    if value.size > 8 and _is_range(value):
        return f"torch.arange({value.size}).reshape({value.shape})"
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
