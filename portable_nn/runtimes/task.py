"""The task of a runtime: a model file, and the names and types at its ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

Feeds: TypeAlias = Mapping[str, Any]
"""Arrays by the name of the input."""

Run: TypeAlias = Callable[[Feeds], Mapping[str, Any] | Sequence[Any]]
"""The function that runs a loaded model: arrays by input name → arrays by output name, or in the order of outputs."""


class Port(NamedTuple):
    """An input or output of a model. Sizes that are open are names."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


def port_of(name: str, array: Any) -> Port:
    """The end of a model at which there is an array."""
    return Port(name, array.dtype.name, array.shape)


class Task(NamedTuple):
    """A model to be loaded.

    Args:
        path: the ONNX file, or for what takes networks the weight file.
        inputs: its inputs in order.
        outputs: its outputs in order.
        folder: a folder of its own, where the runtime may write what it makes of the file.
    """

    path: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    folder: Path


def names_of(ports: Sequence[Port]) -> list[str]:
    """The names of inputs or outputs, in order."""
    return [port.name for port in ports]


def given(task: Task, feeds: Feeds) -> list[Any]:
    """The arrays of the inputs, in order."""
    return [feeds[port.name] for port in task.inputs]
