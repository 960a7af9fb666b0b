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
from portable_nn.data.batches import Taken
from portable_nn.data.trained import TRAINED_ON
from portable_nn.engines.batching import Run
from portable_nn.engines.ranges import Range, ranges
from portable_nn.format.meaning import InputInfo, OutputInfo
from portable_nn.network import Network
from portable_nn.operators.registry import Array
from portable_nn.preprocessing.applying import result_shape
from portable_nn.preprocessing.named import NAMED, Preparation, prepared
from portable_nn.preprocessing.steps import PictureStep, Preprocessing, describe, pictorial

UNKNOWN: Final = "unknown"
"""The kind of an output that the model does not describe."""


class Input(NamedTuple):
    """An input, its meaning with the steps that prepare it, and what people must know of them."""

    value: Value
    info: InputInfo
    warnings: tuple[str, ...]

    @property
    def taken(self) -> Taken:
        """The inputs that the model takes, for readers of examples; the shape is empty where pictures decide it."""
        return Taken(
            static(self.value.shape[1:]) or (),
            self.info.preprocessing,
            self.info.kind,
            columns=self.info.columns,
            dtype=self.value.dtype,
        )


def cast(x: Array, value: Value, where: str) -> Array:
    """``x`` in the type of an input. Raises ``DataError`` where that would make other numbers of whole ones."""
    cast = x.astype(value.dtype, copy=False)
    if np.dtype(value.dtype).kind != "f" and not np.array_equal(cast, x):
        taken = f"{value.dtype}, as input '{value.name}' takes"
        raise DataError(where, f"expected {taken}, found numbers that it cannot hold")
    return cast


@dataclass(frozen=True)
class Runner:
    """A model, its only input, and the output that answers are read from.

    Args:
        model: the model.
        input: the input; the first axis of its value is the batch.
        info: the meaning of the output.
        kind: the kind of the output, as in a manifest, or ``UNKNOWN``.
        notes: what was assumed, for people.
        range: the numbers that the first nodes are made for, if they say so.
        digits: how many significant digits an answer has.
    """

    model: Runnable
    input: Input
    info: OutputInfo
    kind: str
    notes: tuple[str, ...] = ()
    range: Range | None = None
    digits: int = 7

    def taken(self, labelled: bool = False) -> Taken:
        """The inputs that the model takes; with ``labelled``, tables have labels, also where it predicts numbers."""
        numbers, target, info = self.kind in ("values", "gaussian"), self.info.target, self.input.info
        return Taken(
            static(self.input.value.shape[1:]) or (),
            info.preprocessing,
            info.kind,
            float(self.range.high.max()) if self.range else None,
            info.columns,
            (self.info.labels if numbers and self.info.labels else (target,)) if target else (),
            numbers,
            labelled or not numbers,
            self.input.value.dtype,
        )

    def fault(self, x: Array) -> str | None:
        """The fault of examples that are far from what the model is made for; ``None`` where they are not."""
        if self.range and (fault := self.range.fault(x)):
            where = f"{self.model.where} is made for numbers {self.range}, which '{self.range.node}' scales"
            return f"the examples {fault}, but {where}"
        return None

    def __call__(self, x: Array) -> Array:
        """Examples ``(n, …)`` → answers ``(n, width)``.

        A model whose batch has a fixed size gets that many examples at once, the last ones filled up.
        """
        x = self._cast(x)
        fixed = self.input.value.shape[0]
        if not isinstance(fixed, int):
            return self._answers(x)
        filled = np.concatenate([x, np.repeat(x[-1:], -len(x) % fixed, axis=0)])
        parts = [self._answers(filled[start : start + fixed]) for start in range(0, len(filled), fixed)]
        return np.concatenate(parts)[: len(x)]

    def _cast(self, x: Array) -> Array:
        """``x`` in the type of the input, unless that would make other numbers of whole ones.

        Pictures are rounded where their preprocessing ends with levels of light, and these go in as bytes.
        """
        entry, steps = self.input.value, self.input.info.preprocessing
        if entry.dtype == "uint8" and steps and isinstance(steps[-1], PictureStep):
            return np.rint(x).clip(0, 255).astype(np.uint8)
        return cast(x, entry, self.model.where)

    def _answers(self, x: Array) -> Array:
        context, output = self.input.info.context, self.info.name
        found = np.asarray(self.model.run({self.input.value.name: x[np.newaxis] if context else x})[output])
        found = found[0] if context else found
        if found.shape[:1] != (len(x),) or math.prod(found.shape[2:]) != 1:
            shape = f"output '{output}' has shape {format_shape(found.shape)} for {len(x)} examples"
            hint = "--out FILE.npz (pnn.run) writes outputs as arrays, and --draw FILE.png draws boxes and masks"
            raise UsageError(f"{self.model.where}: {shape}; predict needs one row of numbers for each: {hint}")
        return found.reshape(len(x), -1)


class Description(NamedTuple):
    """The description of inputs and outputs that a model has; ``known`` where it has the kinds of the outputs.

    ``labels`` are those of a model that does not say of which output; ``trained_on`` are the files that it knows, as
    ``data.trained`` notes them.
    """

    inputs: Sequence[InputInfo]
    outputs: Sequence[OutputInfo]
    known: bool = True
    labels: tuple[str, ...] = ()
    trained_on: str = ""


def output_values(network: Network) -> list[Value]:
    """The outputs of a network, with their types and shapes."""
    return [Value(name, network.types[name].dtype, network.types[name].shape) for name in network.graph.outputs]


def described_by(
    metadata: Mapping[str, str],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    where: str,
    labels: tuple[str, ...],
) -> Description:
    """The description in the metadata of an ONNX model: the manifest of this package, or labels in a usual form.

    ``labels`` are those that nodes of the model have.
    """
    from portable_nn.onnx.storage.metadata import labels_of, manifest_in
    from portable_nn.onnx.storage.preparation import preparation_in

    names = [value.name for value in outputs]
    manifest = manifest_in(metadata, [value.name for value in inputs], names, where)
    if manifest:
        return Description(manifest.inputs, manifest.outputs, trained_on=manifest.metadata.get(TRAINED_ON, ""))
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
    """True if an output may have a number for each class."""
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
            hint = self.numbers() or " (--inputs NAME=FILE is for several)" * bool(self.inputs)
            hint = ": --stream (stream=True) keeps its states" if states else hint
            raise UsageError(
                f"{self.where}: predict takes models with one input; the inputs of this one are: {names}{hint}"
            )
        return self.inputs[0]

    def numbers(self) -> str:
        """The way out for inputs that are one number, such as a sampling rate; empty where none are."""
        return "".join(
            f"; {each.name} is one number: import --value {each.name}=NUMBER (values=) makes it a constant"
            for each in self.inputs
            if static(each.shape) in ((), (1,))
        )

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
        if preparation is not None:
            if info.columns or info.kind == "table":
                raise UsageError(f"{self.where}: input '{entry.name}' takes rows of a table, and no pictures")
            steps, warnings = _steps_for(entry, preparation, self.made_for.get(entry.name))
            if info.preprocessing:
                warnings = ("instead of the preparation that the model says, the one given is used", *warnings)
            info = replace(info, kind="image", preprocessing=steps)
        made = result_shape(info.preprocessing)
        entry = replace(entry, shape=(*entry.shape[:1], *_filled(entry.shape[1:], made)))
        return Input(entry, info, warnings)

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
        if found.info.context:
            entry = replace(entry, shape=entry.shape[1:])
        is_known = all(isinstance(size, int) for size in entry.shape[1:]) or pictorial(found.info.preprocessing)
        if len(entry.shape) < 2 or entry.shape[0] == 0 or not is_known:
            needed = "predict needs a batch of examples of one known shape"
            hint = "; for pictures, --preprocess (preprocess) says it" if len(entry.shape) == 4 else ""
            if len(entry.shape) in (2, 3) and entry.shape[0] != 0:  # A sequence of any length.
                hint = f"; of any other, --inputs {entry.name}=FILE.npy --out FILE.npz (pnn.run) gives the outputs"
            raise UsageError(
                f"{self.where}: input '{entry.name}' is {entry.dtype}{format_shape(entry.shape)}; {needed}{hint}"
            )
        if len(entry.shape) > len(self.inputs[0].shape):
            hint = "--out FILE.npz (pnn.run) and --draw FILE.png take it"
            raise UsageError(f"{self.where}: input '{entry.name}' is one picture, without a batch: {hint}")
        best, info, notes = self._answering(output)
        return Runner(
            self,
            found._replace(value=entry),
            info,
            info.kind if self.description.known else UNKNOWN,
            (*notes, *self.notes),
            None if preparation else self.made_for.get(entry.name),
            15 if best.dtype == "float64" else 7,
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


def _is_one_picture(value: Value) -> bool:
    """True if an input takes a picture in colour without a batch, as detectors of torchvision do."""
    return len(value.shape) == 3 and value.shape[0] == 3 and all(dim not in (1, 3) for dim in value.shape[1:])


def _steps_for(
    entry: Value, preparation: Preparation | Preprocessing, made_for: Range | None
) -> tuple[Preprocessing, tuple[str, ...]]:
    """The steps of a preparation for an input, and what people must know of them."""
    if not isinstance(preparation, Preparation):
        return preparation, ()
    steps, notes = prepared(preparation, entry, float(made_for.high.max()) if made_for else None)
    named = f"'{preparation.name}' ({NAMED[preparation.name].source})" if preparation.name else "said"
    return steps, (f"pictures are prepared as {named}: {'; '.join(describe(steps))}", *notes)


def _filled(shape: Shape, made: tuple[int, ...] | None) -> Shape:
    """``shape`` with the sizes that the steps make, in place of those that are not fixed."""
    if made and len(made) == len(shape) - 1 and 1 in shape:  # A picture in grey.
        made = (*made[: shape.index(1)], 1, *made[shape.index(1) :])
    if made is None or len(made) != len(shape):
        return shape
    return tuple(new if isinstance(size, str) else size for size, new in zip(shape, made, strict=True))


def network_runnable(network: Network, where: str, engine: Engine) -> Runnable:
    """A network, ready to run; messages call it ``where``."""
    description = Description(network.inputs, network.outputs, trained_on=network.metadata.get(TRAINED_ON, ""))
    found = ranges(network.graph, network.parameters)
    values = output_values(network)
    return Runnable(where, network.graph.inputs, values, description, partial(network.compute, engine), found)
