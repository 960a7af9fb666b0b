"""Models that are ready to run on examples, whatever the kind of file and the engine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.graph import Value, format_shape
from portable_nn.core.names import Engine
from portable_nn.engines.batching import Run
from portable_nn.engines.ranges import Range, ranges
from portable_nn.format.meaning import Column, InputInfo, OutputInfo
from portable_nn.network import Network
from portable_nn.operators.registry import Array
from portable_nn.preprocessing.steps import PictureStep, Preprocessing

UNKNOWN: Final = "unknown"
"""The kind of an output that the model does not describe."""


@dataclass(frozen=True)
class Runner:
    """A model, its only input, and the output that answers are read from.

    Args:
        where: the name of the model in messages.
        input: the input; its first axis is the batch.
        preprocessing: the steps that make the input.
        output: the name of the output.
        kind: the kind of the output, as in a manifest, or ``UNKNOWN``.
        labels: the names of the classes; empty where the model has none.
        run: computes the outputs by name from the inputs by name.
        described: whether the model describes its inputs and outputs.
        notes: what was assumed, for people.
        warnings: what people must know, asked or not.
        takes: the kind of the input, as in a manifest.
        range: the numbers that the first nodes are made for, if they say so.
        columns: the columns of the table that it takes, if they have names.
        target: the name of what is predicted, or ``""``.
        units: the units of the numbers of an answer, or empty.
        temperature: logits are divided by it.
        threshold: where no class has this probability, the model is unsure.
    """

    where: str
    input: Value
    preprocessing: Preprocessing
    output: str
    kind: str
    labels: tuple[str, ...]
    run: Run
    described: bool = True
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    takes: str = "tensor"
    range: Range | None = None
    columns: tuple[Column, ...] = ()
    target: str = ""
    units: tuple[str, ...] = ()
    temperature: float = 1.0
    threshold: float = 0.0

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return tuple(int(size) for size in self.input.shape[1:])

    def __call__(self, x: Array) -> Array:
        """Examples ``(n, *example_shape)`` → answers ``(n, width)``.

        A model whose batch has a fixed size gets that many examples at once, the last ones filled up.
        """
        x = self._cast(x)
        fixed = self.input.shape[0]
        if not isinstance(fixed, int):
            return self._answers(x)
        filled = np.concatenate([x, np.repeat(x[-1:], -len(x) % fixed, axis=0)])
        parts = [self._answers(filled[start : start + fixed]) for start in range(0, len(filled), fixed)]
        return np.concatenate(parts)[: len(x)]

    def _cast(self, x: Array) -> Array:
        """``x`` in the type of the input, unless that would make other numbers of whole ones.

        Pictures are rounded where their preprocessing ends with levels of light, and these go in as bytes.
        """
        if self.input.dtype == "uint8" and self.preprocessing and isinstance(self.preprocessing[-1], PictureStep):
            return np.rint(x).clip(0, 255).astype(np.uint8)
        cast = x.astype(self.input.dtype, copy=False)
        if np.dtype(self.input.dtype).kind != "f" and not np.array_equal(cast, x):
            taken = f"input '{self.input.name}' takes {self.input.dtype}"
            raise DataError(self.where, f"{taken}, but the examples, as prepared for it, hold other numbers")
        return cast

    def _answers(self, x: Array) -> Array:
        found = np.asarray(self.run({self.input.name: x})[self.output])
        if found.shape[:1] != (len(x),) or math.prod(found.shape[2:]) != 1:
            shape = f"output '{self.output}' has shape {format_shape(found.shape)} for {len(x)} examples"
            raise UsageError(f"{self.where}: {shape}; predict needs one row of numbers for each")
        return found.reshape(len(x), -1)


class Description(NamedTuple):
    """The description of inputs and outputs that a model has; ``known`` where it has the kinds of the outputs."""

    inputs: Sequence[InputInfo]
    outputs: Sequence[OutputInfo]
    known: bool = True


def output_values(network: Network) -> list[Value]:
    """The outputs of a network, with their types and shapes."""
    return [Value(name, network.types[name].dtype, network.types[name].shape) for name in network.graph.outputs]


def described_by(
    metadata: Mapping[str, str], inputs: Sequence[Value], outputs: Sequence[Value], where: str
) -> Description:
    """The description in the metadata of an ONNX model: the manifest of this package, or labels in a usual form."""
    from portable_nn.onnx.storage.metadata import labels_of, manifest_in

    names = [value.name for value in outputs]
    manifest = manifest_in(metadata, [value.name for value in inputs], names, where)
    if manifest:
        return Description(manifest.inputs, manifest.outputs)
    labels = labels_of(metadata)
    fitting = next((value.name for value in outputs if labels and _may_be(value, len(labels))), None)
    infos = [OutputInfo(name, labels=labels if name == fitting else ()) for name in names]
    return Description([InputInfo(value.name) for value in inputs], infos, known=False)


def _may_be(value: Value, classes: int) -> bool:
    """Whether an output may have a number for each class."""
    sizes = [size for size in value.shape[1:] if size != 1]
    return _is_float(value) and (sizes == [classes] or any(isinstance(size, str) for size in sizes))


def _is_float(value: Value) -> bool:
    return np.dtype(value.dtype).kind == "f"


def network_runner(network: Network, where: str, engine: Engine) -> Runner:
    """The runner of a network. Raises as ``runner_of`` does."""
    description = Description(network.inputs, network.outputs)
    found = ranges(network.graph, network.parameters)
    values = output_values(network)
    return runner_of(where, network.graph.inputs, values, description, partial(network.compute, engine), found)


def runner_of(
    where: str,
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    description: Description,
    run: Run,
    made_for: Mapping[str, Range] = MappingProxyType({}),
) -> Runner:
    """The runner of a model with these inputs and outputs, which ``run`` computes; messages call it ``where``.

    ``made_for`` has what the first nodes say of the inputs, by name.

    Raises ``UsageError`` where it has not exactly one input of a known shape, or no output.
    """
    if not outputs:
        raise UsageError(f"{where}: has no outputs, so there is nothing to predict")
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise UsageError(f"{where}: predict takes models with one input; the inputs of this one are: {names}")
    [entry] = inputs
    if len(entry.shape) < 2 or entry.shape[0] == 0 or any(isinstance(size, str) for size in entry.shape[1:]):
        needed = "predict needs a batch of examples of one known shape"
        raise UsageError(f"{where}: input '{entry.name}' is {entry.dtype}{format_shape(entry.shape)}; {needed}")
    # The best is an output with labels, then one with a row of numbers for each example.
    infos = dict(zip((value.name for value in outputs), description.outputs, strict=True))
    best = min(outputs, key=lambda v: (not infos[v.name].labels, not description.known and not _is_float(v)))
    info = infos[best.name]
    notes = (f"of the outputs {', '.join(infos)}, '{best.name}' is read",) if len(outputs) > 1 else ()
    kind = info.kind if description.known else UNKNOWN
    return Runner(
        where,
        entry,
        description.inputs[0].preprocessing,
        best.name,
        kind,
        info.labels,
        run,
        description.known,
        notes,
        takes=description.inputs[0].kind,
        columns=description.inputs[0].columns,
        target=info.target,
        units=info.units or ((info.unit,) * len(info.labels) if info.unit else ()),
        range=made_for.get(entry.name),
        temperature=info.temperature,
        threshold=info.threshold,
    )
