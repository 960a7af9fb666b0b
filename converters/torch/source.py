"""A network as the source of a module of PyTorch: one class of ordinary layers, which needs PyTorch alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from portable_nn.converters.torch.facts import not_saved_in, tied_in
from portable_nn.converters.torch.source_class import Members, class_of, is_short
from portable_nn.converters.torch.source_names import Path, path_of, paths, plain
from portable_nn.converters.torch.source_scene import Entry
from portable_nn.converters.torch.source_writing import Body, Writing
from portable_nn.converters.torch.words import helpers
from portable_nn.core.errors import UsageError, listed
from portable_nn.core.graph import Graph, format_shape
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
        tied: the further names of tensors of the state dict.
        notes: what differs from the network.
    """

    text: str
    entries: tuple[Entry, ...]
    constants: Mapping[str, Array]
    tied: Mapping[str, str]
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
    return Source(text, tuple(entries), constants, names, tuple(_notes(network, entries, body)))


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


def _notes(network: Network, entries: Sequence[Entry], body: Body) -> Iterator[str]:
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
    yield '"""'
    yield ""
    yield "from pathlib import Path"
    yield ""
    yield "import torch"
    yield "import torch.nn.functional as F"
    yield "from torch import Tensor, nn"


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
