"""Targets: what is given as ``y``, as the array that a loss compares with an output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from portable_nn.core.arrays import as_array, cast
from portable_nn.core.dims import may_be_equal
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.core.graph import Shape, format_shape
from portable_nn.core.text import some, suggestion
from portable_nn.operators import Array, Symbol
from portable_nn.training.losses import Loss, OwnLoss
from portable_nn.training.losses.classes import Hinge


def check_target(loss: Loss, output: Symbol, target: Array, name: str = "y", kind: str = "values") -> Array:
    """``target`` as the array that ``loss`` compares with ``output``, its first axis the examples.

    ``kind`` is what the output means: probabilities may come from the operator that the loss has inside.

    Raises ``ShapeError`` or ``UsageError`` that says what was expected.
    """
    target = as_array(target, name)
    if isinstance(loss, OwnLoss):
        return _for_function(output, target, name)
    wanted = loss.wanted(output.shape[1:])
    loss = on_axis(loss, output.shape, target, name)
    ordered = loss.in_order(output.shape)[1:]
    _check_output(loss, output, ordered, kind)
    numbers = target.dtype.kind in "iu" and target.ndim and ordered[:1] != (1,)
    if loss.classes and numbers and ordered and may_be_equal(target.shape[1:], ordered[1:]):
        return _class_numbers(loss, ordered[0], target, name)
    if target.ndim == 1 and wanted == (1,):
        target = target[:, np.newaxis]
    if not target.ndim or not may_be_equal(target.shape[1:], wanted) or target.dtype.kind not in "fiub":
        either = f" or whole numbers {_forms(loss, output.shape)}, the classes" if loss.classes else ""
        if not loss.classes and target.ndim == 1 and len(wanted) == 1 and target.dtype.kind in "iu":
            either = "; loss='cross_entropy' takes the numbers of classes (n,)"
        raise ShapeError(
            f"{name} is {target.dtype} {target.shape}; loss '{loss.name}' needs {format_shape(('n', *wanted))}{either}"
        )
    if isinstance(loss, Hinge):
        target = _truth(target, name)
    if loss.shares and target.size and not (target.min() >= 0 and target.max() <= 1):
        raise UsageError(
            f"{name} holds numbers from {target.min():g} to {target.max():g}, but loss '{loss.name}' needs "
            "probabilities, from 0 to 1; loss='mean_squared_error' is for quantities"
        )
    return cast(target, output.dtype, name)


def on_axis(loss: Loss, shape: Shape, target: Array, name: str = "y") -> Loss:
    """A loss that knows along which axis of an output of this shape, the batch included, the classes are.

    The shape of class numbers tells, and of probabilities which sums are 1. Raises ``UsageError`` where several axes
    may be meant, or that which is given is none.
    """
    rank, given = len(shape), getattr(loss, "class_axis", None)
    if not hasattr(loss, "class_axis") or (given is None and (rank < 3 or (loss.one and shape[1] == 1))):
        return loss
    if given is not None:
        if not -rank < given < rank or given % rank == 0:
            raise UsageError(f"class_axis must be 1 to {rank - 1} for an output {format_shape(shape)}, not {given}")
        return loss
    if target.ndim == rank - 1 and target.dtype.kind in "iu":
        found = [axis for axis in range(1, rank) if may_be_equal(target.shape[1:], _without(shape, axis)[1:])]
    elif target.ndim == rank and loss.inside == "Softmax" and target.size:
        found = [axis for axis in range(1, rank) if np.allclose(target.sum(axis, dtype=np.float64), 1, atol=1e-3)]
        found = found if found or target.dtype.kind != "f" else list(range(1, rank))
    else:
        found = []
    found = [axis for axis in found if isinstance(shape[axis], int)] or found  # The number of classes is no open size.
    if len(found) > 1:
        axes = " or ".join(f"axis {axis} ({shape[axis]})" for axis in found)
        raise UsageError(
            f"{name} is {target.dtype} {target.shape}, and the output {format_shape(shape)} may have the classes along "
            f"{axes}: class_axis= of the loss says which, as in loss=pnn.{type(loss).__name__}(class_axis=-1)"
        )
    return replace(loss, class_axis=found[0] - rank) if found and found[0] > 1 else loss  # type: ignore[call-arg]


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])


def _forms(loss: Loss, shape: Shape) -> str:
    """The shapes of class numbers for an output of this shape."""
    rank, given = len(shape), getattr(loss, "class_axis", None)
    axes = range(1, rank) if given is None else [given % rank]
    return " or ".join(dict.fromkeys(format_shape(("n", *_without(shape, axis)[1:])) for axis in axes))


def _check_output(loss: Loss, output: Symbol, ordered: Shape, kind: str) -> None:
    """Raise ``UsageError`` for an output, whose sizes are ``ordered``, that the loss cannot be used with."""
    maker = output.origin.operator.name if output.origin.operator else ""
    inside = loss.operator_for(ordered)
    if inside and maker == inside and kind != "probabilities":
        raise UsageError(
            f"loss '{loss.name}' has a {maker} inside and works on logits, but the output comes from {maker}: "
            f"leave the last {maker} out and apply it to what predict gives"
        )
    if (loss.classes or loss.inside == "Softmax") and not loss.one and ordered[:1] == (1,):
        raise UsageError(
            f"loss '{loss.name}' needs an output for each class, and this one has 1: loss='mean_squared_error' is for "
            "quantities, and loss='binary_cross_entropy' for two classes"
        )


def _class_numbers(loss: Loss, classes: int | str, target: Array, name: str) -> Array:
    ignored = getattr(loss, "ignore_index", None)
    counted = target if ignored is None else target[target != ignored]
    if target.size and not counted.size:
        raise UsageError(f"{name} holds nothing but the class {ignored}, which is ignored")
    if isinstance(classes, int) and counted.size and not (counted.min() >= 0 and counted.max() < classes):
        raise UsageError(
            f"{name} holds classes from {counted.min()} to {counted.max()}, but the output has {classes}, from 0"
        )
    return target.astype(np.int64, copy=False)


def _truth(target: Array, name: str) -> Array:
    """-1 and 1 as 0 and 1. Raises ``UsageError`` for anything else."""
    if target.dtype.kind != "b" and not np.isin(target, (0, 1)).all():
        if not np.isin(target, (-1, 1)).all():
            raise UsageError(
                f"{name} holds numbers from {target.min():g} to {target.max():g}, but loss 'hinge' needs 0 and 1, or "
                "-1 and 1"
            )
        return (target + 1) / 2
    return target


def _for_function(output: Symbol, target: Array, name: str) -> Array:
    """For a function of the user's own: whole numbers stay such, all else gets the type of the output."""
    if not target.ndim:
        raise ShapeError(f"{name} is {target.dtype} (); a loss needs targets (n, …), one for each example")
    if target.ndim == 1 and output.shape[1:] == (1,):
        target = target[:, np.newaxis]
    return target.astype(np.int64) if target.dtype.kind in "iu" else cast(target, output.dtype, name)


# -- words


def numbered(target: Any, labels: Sequence[str], loss: Loss, shape: Shape, name: str) -> Any:
    """Words as the numbers of the classes that the output's ``labels`` name; what holds no words as it is.

    ``shape`` is that of the output, without the batch. Raises ``UsageError`` for a word that is no label.
    """
    words = _words(target)
    if words is None or not labels:
        return target
    of_two = shape == (1,) and len(labels) == 2
    if not (isinstance(loss, OwnLoss) or of_two or (loss.classes and shape[:1] != (1,))):
        raise UsageError(
            f"{name} holds words such as '{words.flat[0]}', but loss '{loss.name}' needs numbers: "
            "loss='cross_entropy' takes the labels of classes"
        )
    found, places = np.unique(words, return_inverse=True)
    known = {label: number for number, label in enumerate(labels)}
    if unknown := [str(word) for word in found if str(word) not in known]:
        hint = suggestion(unknown[0], labels) or f"they are {some(labels)}"
        more = f" (nor are {some(unknown[1:])})" if len(unknown) > 1 else ""
        raise UsageError(f"{name} holds '{unknown[0]}', which is no label of the output{more}: {hint}")
    return np.array([known[str(word)] for word in found])[places].reshape(words.shape)


def _words(target: Any) -> Array | None:
    """The words that ``target`` holds, and nothing else; or ``None``."""
    if isinstance(target, list | tuple):
        if not target or not all(isinstance(each, str) for each in target):
            return None
        return np.array(target, np.str_)
    if not isinstance(target, np.ndarray):
        if not hasattr(target, "to_numpy") or hasattr(target, "columns"):
            return None
        target = target.to_numpy()
    if target.dtype.kind in "UT":
        return np.array(target.tolist(), np.str_) if target.size else None
    is_text = target.dtype.kind == "O" and target.size and all(isinstance(each, str) for each in target.flat)
    return target.astype(np.str_) if is_text else None
