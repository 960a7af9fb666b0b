"""Loss functions. Each adds the nodes that compute it to the graph.

A loss is a mean over the batch; with sample weights it is the weighted mean, Σ w·loss / Σ w.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.core import names
from portable_nn.core.arrays import as_array, cast
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.core.graph import Shape, format_shape
from portable_nn.core.words import meant
from portable_nn.operators import Array, Symbol, emit, emit_all, integers

Build: TypeAlias = Callable[[Symbol, Symbol, "Symbol | None"], Symbol]


@dataclass(frozen=True)
class Loss:
    """A loss function.

    Args:
        name: its name.
        build: ``(output, target, weight)`` → the scalar; ``weight`` is ``None`` without sample weights.
        classes: whether targets may be class numbers.
        inside: the operator that the loss applies itself, so that an output must not be the result of one; targets of
            such a loss are probabilities.
        threshold: a single output above it is the positive class.
    """

    name: str
    build: Build
    classes: bool = False
    inside: str = ""
    threshold: float = 0.5


def _loss(**facts: Any) -> Callable[[Build], Loss]:
    """A decorator that makes a ``Loss`` of a ``build`` function; ``facts`` are its other fields."""
    return lambda build: Loss(build.__name__, build, **facts)


def _mean(values: Symbol, weight: Symbol | None) -> Symbol:
    """The mean over examples of the mean over everything else."""
    if weight is None:
        return emit("ReduceMean", values, keepdims=0)
    rest = range(1, len(values.shape))
    each = emit("ReduceMean", values, integers(rest), keepdims=0) if len(rest) else values
    return emit("ReduceSum", each * weight, keepdims=0) / emit("ReduceSum", weight, keepdims=0)


@_loss()
def mean_squared_error(output: Symbol, target: Symbol, weight: Symbol | None = None) -> Symbol:
    """The mean of (output - target)² over all elements."""
    difference = output - target
    return _mean(difference * difference, weight)


@_loss(classes=True, inside="Softmax")
def cross_entropy(logits: Symbol, target: Symbol, weight: Symbol | None = None) -> Symbol:
    """-log softmax(logits) at the class; ``target`` has class numbers (batch,) or probabilities like ``logits``."""
    if target.dtype == "int64":
        reduction = "mean" if weight is None else "none"
        loss, _ = emit_all("SoftmaxCrossEntropyLoss", logits, target, outputs=2, reduction=reduction)
        return loss if weight is None else _mean(loss, weight)
    products = target * emit("LogSoftmax", logits, axis=1)
    return _mean(-emit("ReduceSum", products, integers([1]), keepdims=0), weight)


@_loss(inside="Sigmoid", threshold=0.0)
def binary_cross_entropy(logits: Symbol, target: Symbol, weight: Symbol | None = None) -> Symbol:
    """softplus(x) - x·t, which is -t·log p - (1 - t)·log(1 - p) for p = sigmoid(x), without overflow."""
    return _mean(emit("Softplus", logits) - logits * target, weight)


LOSSES: Final[Mapping[str, Loss]] = {name: globals()[name] for name in names.LOSSES}
"""The loss functions by name. A new one is a function here and its name in ``names``."""


def find_loss(name: str) -> Loss:
    """The loss of that name. Raises ``UsageError`` that lists them."""
    if name not in LOSSES:
        raise UsageError(f"loss must be one of {', '.join(LOSSES)}, not {name!r}{meant('loss=', name)}")
    return LOSSES[name]


def find_losses(outputs: Sequence[str], loss: str | Mapping[str, str]) -> dict[str, Loss]:
    """The loss of each output that is trained: one name for all of ``outputs``, or a dict. Raises ``UsageError``."""
    if isinstance(loss, str):
        return {name: find_loss(loss) for name in outputs}
    if not isinstance(loss, Mapping) or not loss or not set(loss) <= set(outputs):
        names = ", ".join(outputs)
        raise UsageError(f"loss must be a name, or a dict of names for some of the outputs {names}, not {loss!r}")
    return {name: find_loss(kind) for name, kind in loss.items()}


def check_target(loss: Loss, output: Symbol, target: Array, name: str = "y") -> Array:
    """``target`` as the array that ``loss`` compares with ``output``, its first axis the examples.

    Raises ``ShapeError`` or ``UsageError`` that says what was expected.
    """
    target = as_array(target, name)
    wanted: Shape = output.shape[1:]
    maker = output.origin.operator.name if output.origin.operator else ""
    if loss.inside and maker == loss.inside:
        raise UsageError(
            f"loss '{loss.name}' has a {maker} inside and works on logits, but the output comes from {maker}: "
            f"leave the last {maker} out and apply it to what predict gives"
        )
    if loss.classes and wanted[:1] == (1,):
        raise UsageError(
            f"loss '{loss.name}' needs an output for each class, and this one has 1: loss='mean_squared_error' is for "
            "quantities, and loss='binary_cross_entropy' for two classes"
        )
    if loss.classes and target.dtype.kind in "iu" and target.ndim and wanted and target.shape[1:] == wanted[1:]:
        classes = wanted[0]
        if isinstance(classes, int) and target.size and not (target.min() >= 0 and target.max() < classes):
            raise UsageError(
                f"{name} holds classes from {target.min()} to {target.max()}, but the output has {classes}, from 0"
            )
        return target.astype(np.int64, copy=False)
    if target.ndim == 1 and wanted == (1,):
        target = target[:, np.newaxis]
    if not target.ndim or target.shape[1:] != wanted or target.dtype.kind not in "fiub":
        either = " or whole numbers (n,), the classes" if loss.classes else ""
        if not loss.classes and target.ndim == 1 and len(wanted) == 1 and target.dtype.kind in "iu":
            either = "; loss='cross_entropy' takes the numbers of classes (n,)"
        raise ShapeError(
            f"{name} is {target.dtype} {target.shape}; loss '{loss.name}' needs {format_shape(('n', *wanted))}{either}"
        )
    if loss.inside and target.size and not (target.min() >= 0 and target.max() <= 1):
        raise UsageError(
            f"{name} holds numbers from {target.min():g} to {target.max():g}, but loss '{loss.name}' needs "
            "probabilities, from 0 to 1; loss='mean_squared_error' is for quantities"
        )
    return cast(target, output.dtype, name)
