"""Recordings: the inputs and outputs of a network by name, as arrays in an ``.npz`` file.

A recording is the reference by which a conversion between code bases is checked. ``numpy.savez("io.npz", x=x,
logits=y)`` writes one, and so does ``portable-nn predict --io``. It may hold intermediate values too; they show
which node is the first to compute something else.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from portable_nn.core.atomic import atomic_write
from portable_nn.core.errors import DataError, GraphError, ShapeError, UsageError, listed
from portable_nn.core.graph import Graph, format_shape
from portable_nn.engines.batching import Run
from portable_nn.engines.feeds import fitted
from portable_nn.operators import Array, NamedArrays, infer

SUFFIX: Final = ".npz"


class Recorded(NamedTuple):
    """The contents of the file at ``path``: the inputs, and the values computed from them, outputs and others."""

    path: Path
    inputs: dict[str, Array]
    values: dict[str, Array]


def read_recorded(path: str | Path, graph: Graph) -> Recorded:
    """The recording in an ``.npz`` file, which must have every input and every output of ``graph``.

    Raises:
        FileError: the file cannot be read.
        FormatError: it is not an archive of arrays, or is damaged.
        DataError: arrays are missing, are not values of the graph, or have another shape or type; all are listed.
    """
    from portable_nn.plain import open_tensors

    with open_tensors(check_name(path)) as tensors:
        arrays = {name: tensors[name] for name in tensors}
    names = [value.name for value in graph.inputs]
    inputs = {name: array for name, array in arrays.items() if name in names}
    values = {name: array for name, array in arrays.items() if name not in names}
    faults = list(_faults(graph, inputs, values))
    if faults:
        raise DataError(path, listed(faults, "does not hold the inputs and outputs of the network"))
    typed = {value.name: inputs[value.name].astype(value.dtype, copy=False) for value in graph.inputs}
    return Recorded(Path(path), typed, values)


def check_name(path: str | Path) -> Path:
    """``path``, which must have the suffix of a recording. Raises ``UsageError``."""
    if Path(path).suffix.lower() != SUFFIX:
        raise UsageError(f"{path}: the name of a file of inputs and outputs ends in {SUFFIX}")
    return Path(path)


def _faults(graph: Graph, inputs: NamedArrays, values: NamedArrays) -> Iterator[str]:
    """Why arrays cannot be the inputs and values of ``graph``."""
    made = {name for node in graph.nodes for name in node.outputs}
    yield from (f"output '{name}' is missing" for name in graph.outputs if name not in values and name in made)
    for name in values:
        if name not in made:
            yield (
                f"'{name}' is no value of the network: its inputs are {_some(value.name for value in graph.inputs)}, "
                f"its outputs {_some(graph.outputs)}"
            )
    try:
        fitted(graph.inputs, inputs)
        types = infer(graph, {name: array.shape for name, array in inputs.items()}).types
    except ShapeError as error:
        first, *more = str(error).split("\n  ")
        yield from more or [first]
        return
    except GraphError as error:
        yield from map(str, error.faults)
        return
    for name, array in values.items():
        if name not in made:
            continue
        kind, type = "output" if name in graph.outputs else "value", types[name]
        if array.shape != type.shape:
            wanted = format_shape(type.shape)
            yield f"{kind} '{name}' has shape {format_shape(array.shape)}, but the inputs give {wanted}"
        if not np.can_cast(array.dtype, type.dtype, "same_kind"):
            yield f"{kind} '{name}' is {array.dtype}, but the network makes {type.dtype}"


def _some(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def save_recorded(path: str | Path, arrays: NamedArrays) -> None:
    """Write ``arrays`` by name as an ``.npz`` file, whole or not at all; the same arrays give the same bytes.

    Raises ``FileError``, and ``UsageError`` where ``path`` has another suffix.
    """
    # numpy.savez would do it but for arrays with the names of its own parameters, such as "file".
    with atomic_write(check_name(path)) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


class Recorder:
    """Keeps the inputs and outputs of a model's runs, to be written at the end."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.summary = ""
        self._runs: list[dict[str, Array]] = []

    def watched(self, run: Run, feeds: NamedArrays) -> NamedArrays:
        """The outputs of ``run``; they are kept with its inputs."""
        outputs = run(feeds)
        self._runs.append({name: np.array(array) for name, array in (*feeds.items(), *outputs.items())})
        return outputs

    def save(self, path: str | Path) -> None:
        """Write the runs, concatenated if the first axis of every array is that of the examples, else the first.

        ``summary`` then describes what was written, and ``notes`` what was not.

        Raises as ``save_recorded`` does, and ``UsageError`` where nothing was computed.
        """
        if not self._runs:
            raise UsageError(f"{path}: nothing was computed, so there is nothing to record")
        arrays = self._joined()
        save_recorded(path, arrays)
        self.summary = ", ".join(f"{name} {format_shape(array.shape)}" for name, array in arrays.items())

    def _joined(self) -> dict[str, Array]:
        first, *others = self._runs
        if not others:
            return first
        if not all(_counts_examples(run) for run in self._runs):
            self.notes.append(f"of {len(self._runs)} runs the first is recorded: not every array counts examples")
            return first
        return {name: np.concatenate([run[name] for run in self._runs]) for name in first}


def _counts_examples(arrays: NamedArrays) -> bool:
    """True if the first axis of every array is as long as that of all others."""
    return all(array.ndim for array in arrays.values()) and len({len(array) for array in arrays.values()}) == 1
