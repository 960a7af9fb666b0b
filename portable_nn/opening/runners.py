"""Models that are ready to run on examples, whatever the kind of file and the engine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from portable_nn.core.dims import static
from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.graph import Shape, Value, format_shape
from portable_nn.core.names import Engine
from portable_nn.engines.batching import Run
from portable_nn.engines.ranges import Range, ranges
from portable_nn.format.meaning import Column, InputInfo, OutputInfo
from portable_nn.network import Network
from portable_nn.operators.registry import Array
from portable_nn.preprocessing.applying import result_shape
from portable_nn.preprocessing.named import NAMED, Preparation, prepared
from portable_nn.preprocessing.steps import PictureStep, Preprocessing, Step, describe

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
        context: above 0 where examples are consecutive rows: how many around each its answer takes into account.
        digits: how many significant digits an answer has.
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
    context: int = 0
    digits: int = 7

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The shape of one example; empty where pictures of any size make examples."""
        return static(self.input.shape[1:]) or ()

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
        found: Array = np.asarray(self.run({self.input.name: x[np.newaxis] if self.context else x})[self.output])
        found = found[0] if self.context else found
        if found.shape[:1] != (len(x),) or math.prod(found.shape[2:]) != 1:
            shape = f"output '{self.output}' has shape {format_shape(found.shape)} for {len(x)} examples"
            hint = "--out FILE.npz (pnn.run) writes outputs as arrays, and --draw FILE.png draws boxes and masks"
            raise UsageError(f"{self.where}: {shape}; predict needs one row of numbers for each: {hint}")
        return found.reshape(len(x), -1)


class Description(NamedTuple):
    """The description of inputs and outputs that a model has; ``known`` where it has the kinds of the outputs.

    ``labels`` are those of a model that does not say of which output.
    """

    inputs: Sequence[InputInfo]
    outputs: Sequence[OutputInfo]
    known: bool = True
    labels: tuple[str, ...] = ()


def output_values(network: Network) -> list[Value]:
    """The outputs of a network, with their types and shapes."""
    return [Value(name, network.types[name].dtype, network.types[name].shape) for name in network.graph.outputs]


def described_by(
    metadata: Mapping[str, str],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    where: str,
    labels: tuple[str, ...] = (),
) -> Description:
    """The description in the metadata of an ONNX model: the manifest of this package, or labels in a usual form.

    ``labels`` are those that nodes of the model have.
    """
    from portable_nn.onnx.storage.metadata import labels_of, manifest_in
    from portable_nn.onnx.storage.preparation import preparation_in

    names = [value.name for value in outputs]
    manifest = manifest_in(metadata, [value.name for value in inputs], names, where)
    if manifest:
        return Description(manifest.inputs, manifest.outputs)
    labels = labels_of(metadata) or labels
    fitting = next((value.name for value in outputs if labels and _may_be(value, len(labels))), None)
    infos = [OutputInfo(name, labels=labels if name == fitting else ()) for name in names]
    steps = preparation_in(metadata, where)
    entries = [
        InputInfo(value.name, "image", steps[value.name]) if value.name in steps else InputInfo(value.name)
        for value in inputs
    ]
    return Description(entries, infos, known=False, labels=labels)


def _may_be(value: Value, classes: int) -> bool:
    """Whether an output may have a number for each class."""
    sizes = [size for size in value.shape[1:] if size != 1]
    return _is_float(value) and (sizes == [classes] or any(isinstance(size, str) for size in sizes))


def _is_float(value: Value) -> bool:
    return np.dtype(value.dtype).kind == "f"


@dataclass(frozen=True)
class Runnable:
    """A model that is ready to run, with all of its inputs and outputs.

    Args:
        where: the name of the model in messages.
        inputs, outputs: their names, types and shapes.
        description: what the model says of them.
        run: computes the outputs by name from the inputs by name.
        made_for: what the first nodes say of the inputs, by name.
        notes: what was assumed, for people.
    """

    where: str
    inputs: Sequence[Value]
    outputs: Sequence[Value]
    description: Description
    run: Run
    made_for: Mapping[str, Range] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def only_input(self) -> Value:
        """The input. Raises ``UsageError`` where there are several, or none."""
        if len(self.inputs) != 1:
            names = ", ".join(value.name for value in self.inputs) or "none"
            states = any(info.state for info in self.description.inputs)
            hint = " (--input NAME=FILE is for several)" if self.inputs else ""
            hint = ": --stream (stream=True) keeps its states" if states else hint
            raise UsageError(
                f"{self.where}: predict takes models with one input; the inputs of this one are: {names}{hint}"
            )
        return self.inputs[0]

    def output_named(self, name: str) -> Value:
        """The output with this name. Raises ``UsageError`` where there is none."""
        for value in self.outputs:
            if value.name == name:
                return value
        names = ", ".join(repr(value.name) for value in self.outputs)
        raise UsageError(f"{self.where}: has no output '{name}': its outputs are {names}")

    def prepared(self, entry: Value, preparation: Preparation | Preprocessing | None) -> Input:
        """The input ``entry`` with the steps that prepare it: those given, or else the model's own.

        Raises ``UsageError`` where the steps do not make what it takes.
        """
        info = next(info for info in self.description.inputs if info.name == entry.name)
        if preparation is not None and _is_one_picture(entry):
            entry = replace(entry, shape=(1, *entry.shape))
        warnings = tuple[str, ...]()
        steps, kind = info.preprocessing, info.kind
        if preparation is not None:
            if info.columns or kind == "table":
                raise UsageError(f"{self.where}: input '{entry.name}' takes rows of a table, and no pictures")
            kind = "image"
            steps, warnings = _steps_for(entry, preparation)
            if info.preprocessing:
                warnings = ("instead of the preparation that the model says, the one given is used", *warnings)
        made = result_shape(steps)
        entry = replace(entry, shape=(*entry.shape[:1], *_filled(entry.shape[1:], made)))
        return Input(entry, steps, kind, warnings)

    def runner(self, preparation: Preparation | Preprocessing | None = None, output: str | None = None) -> Runner:
        """The model as one that gives an answer for each example.

        Args:
            preparation: how pictures are prepared, instead of as the model says.
            output: the name of the output that answers are read from; by default one with labels, or the first.

        Raises ``UsageError`` where it has not exactly one input of a known shape, or no output.
        """
        if not self.outputs:
            raise UsageError(f"{self.where}: has no outputs, so there is nothing to predict")
        found = self.prepared(self.only_input(), preparation)
        entry = found.value
        context = next(info.context for info in self.description.inputs if info.name == entry.name)
        if context:
            entry = replace(entry, shape=entry.shape[1:])
        is_known = all(isinstance(size, int) for size in entry.shape[1:]) or any(map(_is_pictorial, found.steps))
        if len(entry.shape) < 2 or entry.shape[0] == 0 or not is_known:
            needed = "predict needs a batch of examples of one known shape"
            hint = "; for pictures, --preprocess (preprocess) says it" if len(entry.shape) == 4 else ""
            if len(entry.shape) in (2, 3) and entry.shape[0] != 0:  # A sequence of any length.
                hint = f"; of any other, --input {entry.name}=FILE.npy --out FILE.npz (pnn.run) gives the outputs"
            raise UsageError(
                f"{self.where}: input '{entry.name}' is {entry.dtype}{format_shape(entry.shape)}; {needed}{hint}"
            )
        if len(entry.shape) > len(self.inputs[0].shape):
            hint = "--out FILE.npz (pnn.run) and --draw FILE.png take it"
            raise UsageError(f"{self.where}: input '{entry.name}' is one picture, without a batch: {hint}")
        best, info, notes = self._answering(output)
        return Runner(
            self.where,
            entry,
            found.steps,
            best.name,
            info.kind if self.description.known else UNKNOWN,
            info.labels,
            self.run,
            self.description.known,
            (*notes, *self.notes),
            found.warnings,
            takes=found.kind,
            columns=self.description.inputs[0].columns,
            target=info.target,
            units=info.units or ((info.unit,) * len(info.labels) if info.unit else ()),
            range=None if preparation else self.made_for.get(entry.name),
            temperature=info.temperature,
            threshold=info.threshold,
            context=context,
            digits=15 if best.dtype == "float64" else 7,
        )

    def _answering(self, output: str | None) -> tuple[Value, OutputInfo, tuple[str, ...]]:
        """The output that answers are read from: with labels, or else the first with floating-point numbers."""
        infos = dict(zip((value.name for value in self.outputs), self.description.outputs, strict=True))
        known = self.description.known
        if output is not None:
            return self.output_named(output), infos[output], ()
        best = min(self.outputs, key=lambda v: (not infos[v.name].labels, not known and not _is_float(v)))
        read = f"of the outputs {', '.join(infos)}, '{best.name}' is read"
        return best, infos[best.name], (read,) if len(self.outputs) > 1 else ()


class Input(NamedTuple):
    """An input, the steps that prepare it, its kind as in a manifest, and what people must know of them."""

    value: Value
    steps: Preprocessing
    kind: str
    warnings: tuple[str, ...]


def _is_one_picture(value: Value) -> bool:
    """Whether an input takes a picture in colour without a batch, as detectors of torchvision do."""
    return len(value.shape) == 3 and value.shape[0] == 3 and all(dim not in (1, 3) for dim in value.shape[1:])


def _steps_for(entry: Value, preparation: Preparation | Preprocessing) -> tuple[Preprocessing, tuple[str, ...]]:
    """The steps of a preparation for an input, and what people must know of them."""
    if not isinstance(preparation, Preparation):
        return preparation, ()
    steps, notes = prepared(preparation, entry)
    named = f"'{preparation.name}' ({NAMED[preparation.name].source})" if preparation.name else "said"
    return steps, (f"pictures are prepared as {named}: {'; '.join(describe(steps))}", *notes)


def _filled(shape: Shape, made: tuple[int, ...] | None) -> Shape:
    """``shape`` with the sizes that the steps make, in place of those that are not fixed."""
    if made and len(made) == len(shape) - 1 and 1 in shape:  # A picture in grey.
        made = (*made[: shape.index(1)], 1, *made[shape.index(1) :])
    if made is None or len(made) != len(shape):
        return shape
    return tuple(new if isinstance(size, str) else size for size, new in zip(shape, made, strict=True))


def _is_pictorial(step: Step) -> bool:
    return isinstance(step, PictureStep)


def network_runnable(network: Network, where: str, engine: Engine) -> Runnable:
    """A network, ready to run; messages call it ``where``."""
    description = Description(network.inputs, network.outputs)
    found = ranges(network.graph, network.parameters)
    values = output_values(network)
    return Runnable(where, network.graph.inputs, values, description, partial(network.compute, engine), found)
