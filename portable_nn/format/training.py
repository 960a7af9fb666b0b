"""The state of a training that is not finished, as a manifest holds it: all that going on exactly there takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from portable_nn.core.graph import Shape, Value, format_shape

STATE: Final = "training/state/"
"""How the names of the tensors begin that an optimizer keeps: ``training/state/hidden.weight/first``."""

BEST: Final = "training/best/"
"""How the names of the weights of the best epoch begin: ``training/best/hidden.weight``."""

Count: TypeAlias = Annotated[int, Meta(ge=0)]

Word128: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
"""A number of 128 bits as 32 hexadecimal digits: JSON readers have no such integers."""

Signature: TypeAlias = tuple[str, Shape]
"""A dtype and a shape."""

Figure: TypeAlias = int | float | Literal["nan", "inf", "-inf"]
"""A number of a row, or the name of what JSON has no number for."""


class GeneratorState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a random generator stands: M. O'Neill's PCG64 with numpy's half of a draw that is left over."""

    state: Word128
    increment: Word128
    has_uint32: Annotated[int, Meta(ge=0, le=1)]
    uinteger: Annotated[int, Meta(ge=0, lt=2**32)]
    name: Literal["PCG64"] = "PCG64"


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a training stands.

    ``settings`` are those that must be the same to go on, as words. ``epoch`` epochs are done and ``batch`` batches of
    the next one, whose losses, each times what its examples weigh, come to ``loss``, and whose examples weigh
    ``weight``; ``step`` steps were taken in all. The order of the examples in that epoch is drawn from
    ``epoch_generator``, and what is random next from ``generator``. ``rows`` are the figures of the epochs that are
    done, the first of which is 1.

    ``tensors`` are what there is beside the graph's parameters: what the optimizer keeps for a parameter
    (``STATE`` *parameter* ``/`` *role*), and where there is a ``best_epoch``, what all parameters were after it
    (``BEST`` *parameter*).
    """

    tensors: tuple[Value, ...]
    settings: dict[str, str]
    epoch: Count
    batch: Count
    step: Count
    loss: float
    weight: Annotated[float, Meta(ge=0)]
    generator: GeneratorState
    epoch_generator: GeneratorState
    rows: tuple[dict[str, Figure], ...]
    best_epoch: Annotated[int, Meta(ge=1)] | None


def training_faults(training: Training, parameters: Sequence[Value]) -> list[str]:
    """Where ``training`` contradicts itself, or the ``parameters`` of its graph."""
    signatures = {parameter.name: (parameter.dtype, parameter.shape) for parameter in parameters}
    return [*_row_faults(training), *_best_faults(training, signatures), *_state_faults(training, signatures)]


def _row_faults(training: Training) -> Iterator[str]:
    epochs = [row.get("epoch") for row in training.rows]
    if len(epochs) != training.epoch or epochs != list(range(1, training.epoch + 1)):
        yield f"{training.epoch} epochs of the training are done, but it has rows of the epochs {epochs}"
    if len({tuple(sorted(row)) for row in training.rows}) > 1:
        yield "the rows of the training do not have the same columns"


def _best_faults(training: Training, signatures: Mapping[str, Signature]) -> Iterator[str]:
    best = training.best_epoch
    if best is not None and best > training.epoch:
        yield f"the best epoch of the training is {best}, but {training.epoch} are done"
    found = _named(training, BEST)
    if found != ({} if best is None else signatures):
        needed = "there is no best epoch" if best is None else f"epoch {best} is the best"
        yield f"{needed}, but the tensors {BEST}… are {_listed(found)}; the parameters are {_listed(signatures)}"


def _state_faults(training: Training, signatures: Mapping[str, Signature]) -> Iterator[str]:
    for name, signature in _named(training, STATE).items():
        parameter = name.rpartition("/")[0]
        if signatures.get(parameter) != signature:
            yield f"the tensor '{STATE}{name}' belongs to no parameter of its dtype and shape"
    for value in training.tensors:
        if not value.name.startswith((STATE, BEST)):
            yield f"the tensor '{value.name}' of the training begins neither with {STATE} nor with {BEST}"


def _named(training: Training, prefix: str) -> dict[str, Signature]:
    """The tensors whose names begin with ``prefix``, by the rest of their names."""
    return {
        value.name.removeprefix(prefix): (value.dtype, value.shape)
        for value in training.tensors
        if value.name.startswith(prefix)
    }


def _listed(signatures: Mapping[str, Signature]) -> str:
    return ", ".join(f"{name} {dtype} {format_shape(shape)}" for name, (dtype, shape) in signatures.items()) or "none"
