"""The class of a module: its layers, parameters and buffers, and what ``forward`` does, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.converters.torch.source_names import Path, expression, is_attribute, plain
from portable_nn.converters.torch.source_use import literal, torch_dtype
from portable_nn.converters.torch.source_writing import Body
from portable_nn.core.graph import Graph, Parameter
from portable_nn.core.text import quantity
from portable_nn.network import Network
from portable_nn.operators import Array

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
    for each in body.statements:
        line = f"        {', '.join(each.targets)} = {each.expression}"
        yield f"{line}  # {plain(each.comment)}" if each.comment else line
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
