"""Shared by losses: their options, their facts and their means.

A loss is a mean over the batch; with weights of the examples, or of the steps of each, it is the weighted mean,
Σ w·loss / Σ w.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar, NamedTuple

import numpy as np

from portable_nn.core import names
from portable_nn.core.graph import Shape
from portable_nn.core.numbers import NonNegative
from portable_nn.operators import Array, Symbol, constant, emit, integers


class Built(NamedTuple):
    """A loss in a graph: its value, and what it was divided by where that is not the weight of the examples."""

    value: Symbol
    norm: Symbol | None = None


@dataclass(frozen=True)
class Loss:
    """The base class of losses. A subclass has a loss for each entry or example (``each``), or all of it (``build``).

    Args:
        weight: its factor in the sum, where several outputs are trained.

    Raises ``UsageError`` for an option out of its range.
    """

    weight: NonNegative = field(default=1.0, kw_only=True)

    classes: ClassVar[bool] = False
    """True if targets may be class numbers."""
    one: ClassVar[bool] = False
    """True if a loss of classes takes a single output for two of them."""
    inside: ClassVar[str] = ""
    """The operator that the loss applies itself, so that an output must not be the result of one."""
    shares: ClassVar[bool] = False
    """True if other targets than class numbers are probabilities, from 0 to 1."""
    threshold: ClassVar[float] = 0.5
    """A single output above it is the positive class."""
    implied: ClassVar[str] = ""
    """The kind of an output that is trained with it, where it implies one."""

    @property
    def name(self) -> str:
        """Its name."""
        return next(name for name, kind in names.LOSSES.items() if kind == type(self).__name__)

    def __str__(self) -> str:
        """The loss as text, which ``find_loss`` reads: ``huber``, or ``huber(delta=2.0)``."""
        changed = {each.name: getattr(self, each.name) for each in fields(self)}
        options = [f"{each.name}={changed[each.name]!r}" for each in fields(self) if changed[each.name] != each.default]
        return f"{self.name}({', '.join(options)})" if options else self.name

    @property
    def is_apart(self) -> bool:
        """True if the loss of a batch is the mean of those of its halves."""
        return True

    def axis(self, rank: int) -> int:
        """The axis of the classes in an output with so many axes: the second, unless ``class_axis`` says otherwise."""
        found = getattr(self, "class_axis", None)
        return 1 if found is None or rank < 2 else int(found) % rank

    def in_order(self, shape: Shape) -> Shape:
        """The sizes of an output in the order in which all else of a loss has them: the classes are the second."""
        return tuple(shape[axis] for axis in self._order(len(shape)))

    def first(self, output: Symbol) -> Symbol:
        """An output, or a target like it, with the classes as the second axis."""
        rank = len(output.shape)
        return output if self.axis(rank) == 1 else emit("Transpose", output, perm=self._order(rank))

    def _order(self, rank: int) -> list[int]:
        axis = self.axis(rank)
        return [0, axis, *(other for other in range(1, rank) if other != axis)][:rank]

    def kind(self, shape: Shape) -> str:
        """The kind of an output of this shape that is trained with it; empty where it implies none."""
        return self.implied

    def operator_for(self, shape: Shape) -> str:
        """The operator that the loss applies itself to an output of this shape, without the batch; or empty."""
        return "Sigmoid" if self.one and self.inside and shape[:1] == (1,) else self.inside

    def wanted(self, shape: Shape) -> Shape:
        """The shape of the targets for an output of this shape, without the batch. Raises ``UsageError``."""
        return shape

    def places(self, shape: Shape, target: Array) -> Shape:
        """The sizes, beside the batch, for which an output of this shape has a loss of their own."""
        return shape[1:] if self.inside == "Softmax" and shape[:1] != (1,) else shape

    def resolved(self, labels: Sequence[str], shape: Shape, target: Array) -> Loss:
        """The loss with options that depend on the classes or the data as numbers; raises ``UsageError``."""
        return self

    def each(self, output: Symbol, target: Symbol) -> Symbol:
        """The loss of each example or entry: a symbol whose first axis is the batch."""
        raise NotImplementedError

    def build(self, output: Symbol, target: Symbol, weight: Symbol | None = None) -> Built:
        """The loss as a scalar; ``weight`` (n, …) is ``None`` without sample weights."""
        return Built(mean(self.each(output, target), weight))


def logits_of(output: Symbol, loss: Loss) -> Symbol:
    """The logits for a loss where ``output`` has probabilities: the input of the operator that made them.

    Probabilities that were made otherwise have their logarithms as logits: log p, or log p - log(1 - p) of single ones.
    """
    inside, origin = loss.operator_for(loss.in_order(output.shape)[1:]), output.origin
    if not inside:
        return output
    axis = origin.attributes.get("axis", -1)
    by_classes = inside == "Sigmoid" or (
        isinstance(axis, int) and axis % len(output.shape) == loss.axis(len(output.shape))
    )
    if origin.operator and origin.operator.name == inside and by_classes and origin.inputs[0] is not None:
        return origin.inputs[0]
    numbers = np.finfo(output.dtype)
    if inside == "Sigmoid":
        p = emit("Clip", output, *(constant(float(end), output.dtype) for end in (numbers.eps, 1 - numbers.eps)))
        return emit("Log", p) - emit("Log", 1 - p)
    return emit("Log", emit("Max", output, constant(float(numbers.tiny), output.dtype)))


def mean(values: Symbol, weight: Symbol | None) -> Symbol:
    """The mean over what has a weight, examples or their steps, of the mean over everything else."""
    if weight is None:
        return emit("ReduceMean", values, keepdims=0)
    rest = range(len(weight.shape), len(values.shape))
    each = emit("ReduceMean", values, integers(rest), keepdims=0) if len(rest) else values
    return emit("ReduceSum", each * weight, keepdims=0) / emit("ReduceSum", weight, keepdims=0)


def ratio(values: Symbol, counted: Symbol, weight: Symbol | None) -> Built:
    """Σ values / Σ counted, the weights of the places: 0 where nothing is counted."""
    found = []
    for part in (values, counted):
        rest = range(1 if weight is None else len(weight.shape), len(part.shape))
        each = emit("ReduceSum", part, integers(rest), keepdims=0) if len(rest) else part
        found.append(emit("ReduceSum", each if weight is None else each * weight, keepdims=0))
    total, norm = found
    return Built(total / emit("Max", norm, constant(float(np.finfo(norm.dtype).tiny), norm.dtype)), norm)
