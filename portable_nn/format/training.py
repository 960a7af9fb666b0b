"""The state of an unfinished training in a manifest: everything that is needed to continue it exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from portable_nn.core.graph import Shape, Value, format_shape

STATE: Final = "training/state/"
"""The prefix of the tensors of an optimizer's state: ``training/state/hidden.weight/first``."""

BEST: Final = "training/best/"
"""The prefix of the weights of the best epoch: ``training/best/hidden.weight``."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]

Weight: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]

Word128: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]
"""A number of 128 bits as 32 hexadecimal digits: many JSON readers have no such integers."""

Signature: TypeAlias = tuple[str, Shape]
"""A dtype and a shape."""

Figure: TypeAlias = int | float | Literal["nan", "inf", "-inf"]
"""A number of a row, or the name of a value that JSON has no number for."""


class GeneratorState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The state of a random generator: M. O'Neill's PCG64, with numpy's unused half of a 64-bit draw (``uinteger``)."""

    state: Word128
    increment: Word128
    has_uint32: Annotated[int, msgspec.Meta(ge=0, le=1)]
    uinteger: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    name: Literal["PCG64"] = "PCG64"


class TrainingRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The state of an unfinished training.

    Attributes:
        tensors: those beside the graph's parameters: the optimizer's state for a parameter (``STATE`` *parameter*
            ``/`` *role*), and if there is a ``best_epoch``, all parameters after it (``BEST`` *parameter*).
        settings: the settings that must be the same to continue, in words.
        epoch: the number of complete epochs.
        batch: the number of batches done in the next epoch.
        step: the number of optimizer steps in all.
        loss: the sum of the losses of those batches, each times the weight of its examples.
        weight: the sum of the weights of the examples in those batches.
        more: where several outputs are trained and a loss divides by the weights of classes: ``loss`` and ``weight``
            are of the first output, of what it was divided by, and here are those of the others; otherwise left out.
        generator: the state of the generator of all further random numbers.
        epoch_generator: the state from which the order of the examples in the unfinished epoch is drawn.
        rows: the figures of each complete epoch, from epoch 1 on.
        best_epoch: the epoch with the best figures, from 1, or None where it is not recorded.
    """

    tensors: tuple[Value, ...]
    settings: dict[str, str]
    epoch: Count
    batch: Count
    step: Count
    loss: float
    weight: Weight
    generator: GeneratorState
    epoch_generator: GeneratorState
    rows: tuple[dict[str, Figure], ...]
    best_epoch: Annotated[int, msgspec.Meta(ge=1)] | None
    more: tuple[tuple[float, Weight], ...] | msgspec.UnsetType = msgspec.UNSET


def training_faults(training: TrainingRecord, parameters: Sequence[Value]) -> list[str]:
    """The contradictions in ``training``, and between it and the ``parameters`` of the graph."""
    signatures = {parameter.name: (parameter.dtype, parameter.shape) for parameter in parameters}
    return [*_row_faults(training), *_best_faults(training, signatures), *_state_faults(training, signatures)]


def _row_faults(training: TrainingRecord) -> Iterator[str]:
    epochs = [row.get("epoch") for row in training.rows]
    if len(epochs) != training.epoch or epochs != list(range(1, training.epoch + 1)):
        yield f"{training.epoch} epochs of the training are done, but it has rows of the epochs {epochs}"
    if len({tuple(sorted(row)) for row in training.rows}) > 1:
        yield "the rows of the training do not have the same columns"


def _best_faults(training: TrainingRecord, signatures: Mapping[str, Signature]) -> Iterator[str]:
    best = training.best_epoch
    if best is not None and best > training.epoch:
        yield f"the best epoch of the training is {best}, but {training.epoch} are done"
    found = _named(training, BEST)
    if found != ({} if best is None else signatures):
        needed = "there is no best epoch" if best is None else f"epoch {best} is the best"
        yield f"{needed}, but the tensors {BEST}… are {_listed(found)}; the parameters are {_listed(signatures)}"


def _state_faults(training: TrainingRecord, signatures: Mapping[str, Signature]) -> Iterator[str]:
    for name, signature in _named(training, STATE).items():
        parameter = name.rpartition("/")[0]
        if signatures.get(parameter) != signature:
            yield f"the tensor '{STATE}{name}' belongs to no parameter of its dtype and shape"
    for value in training.tensors:
        if not value.name.startswith((STATE, BEST)):
            yield f"the tensor '{value.name}' of the training begins neither with {STATE} nor with {BEST}"


def _named(training: TrainingRecord, prefix: str) -> dict[str, Signature]:
    """The tensors whose names begin with ``prefix``, by the rest of their names."""
    return {
        value.name.removeprefix(prefix): (value.dtype, value.shape)
        for value in training.tensors
        if value.name.startswith(prefix)
    }


def _listed(signatures: Mapping[str, Signature]) -> str:
    return ", ".join(f"{name} {dtype} {format_shape(shape)}" for name, (dtype, shape) in signatures.items()) or "none"
