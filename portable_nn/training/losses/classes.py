"""Losses of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Shape
from portable_nn.core.numbers import BelowOne, InnerAxis, Integer, NonNegative, Positive
from portable_nn.operators import Array, Symbol, cast, constant, emit, emit_all, integers
from portable_nn.training.losses.base import Built, Loss, mean, ratio

__all__ = ["BinaryCrossEntropy", "CrossEntropy", "Focal", "Hinge", "KLDivergence"]

ClassWeight: TypeAlias = Sequence[float] | Mapping[str, float] | Mapping[int, float] | Literal["balanced"] | None
"""A weight for each class, or by its label or number (others have 1); ``balanced``: n / (classes · examples of it)."""


@dataclass(frozen=True)
class _ClassLoss(Loss):
    """A loss with a weight for each class."""

    class_weight: ClassWeight = None

    def __post_init__(self) -> None:
        given = self.class_weight
        if isinstance(given, str) and given != "balanced":
            raise UsageError(f"class_weight must be a number for each class, or 'balanced', not {given!r}")
        if given is None or isinstance(given, str):
            return
        weights = list(given.values()) if isinstance(given, Mapping) else [float(each) for each in given]
        if not all(np.isfinite(each) and each >= 0 for each in weights) or not any(weights):
            raise UsageError(f"class_weight must be numbers from 0, of which one is more, not {given!r}")
        if not isinstance(given, Mapping):
            object.__setattr__(self, "class_weight", tuple(weights))

    @property
    def is_apart(self) -> bool:
        """Not where classes have weights."""
        return self.class_weight is None

    def resolved(self, labels: Sequence[str], shape: Shape, target: Array) -> Loss:
        """With the weights of the classes as a tuple."""
        given = self.class_weight
        if given is None:
            return self
        count = max(2, int(shape[0])) if shape and isinstance(shape[0], int) else 0
        if isinstance(given, str):
            found = _balanced(target, count, self.ignored)
        elif isinstance(given, Mapping):
            found = _by_class(given, labels, count)
        else:
            found = tuple(given)
        if len(found) != count:
            raise UsageError(f"class_weight has {len(found)} numbers, but there are {count} classes")
        return replace(self, class_weight=found)

    @property
    def ignored(self) -> int | None:
        """The class number that does not count."""
        return None

    def _weights(self, dtype: str) -> Symbol | None:
        return None if self.class_weight is None else constant(self.class_weight, dtype)


def _balanced(target: Array, count: int, ignored: int | None) -> tuple[float, ...]:
    """n / (classes · examples of the class); 1 for a class without any."""
    if target.dtype.kind in "iu":
        flat = target.ravel()
        found = np.bincount(flat if ignored is None else flat[flat != ignored], minlength=count).astype(float)
    else:
        rows = np.moveaxis(target, 1, -1).reshape(-1, target.shape[1]).sum(0, dtype=float)
        found = np.array([target.size - rows[0], rows[0]]) if len(rows) == 1 else rows
    return tuple(float(found.sum() / (count * each)) if each else 1.0 for each in found)


def _by_class(given: Mapping[str, float] | Mapping[int, float], labels: Sequence[str], count: int) -> tuple[float, ...]:
    known: dict[str | int, int] = {label: place for place, label in enumerate(labels)}
    known |= {number: number for number in range(count)}
    weights = [1.0] * count
    for key, weight in given.items():
        if key not in known:
            classes = ", ".join(labels) or f"0 to {count - 1}"
            raise UsageError(f"class_weight names {key!r}, which is no class: they are {classes}")
        weights[known[key]] = float(weight)
    return tuple(weights)


@check_kinds
@dataclass(frozen=True)
class CrossEntropy(_ClassLoss):
    """-log softmax(output) at the class: for outputs with an entry (logit) for each class.

    Args:
        class_weight: a weight for each class: the mean is Σ w·loss / Σ w, as in PyTorch. By number or label in a dict,
            where others have 1, or ``"balanced"``: n / (classes · examples of the class).
        label_smoothing: the share of the target that is spread over all classes, from 0 to less than 1. Szegedy et al.,
            "Rethinking the Inception architecture", 2016.
        ignore_index: a class number that does not count, such as -1 or 255 in maps of pixels without a class.
        class_axis: the axis of the classes in the output, where it has more than two and the shape of the targets does
            not tell: -1 is the last, as language models have it, 1 the second, as maps of pixels.
        weight: its factor in the sum, where several outputs are trained.

    Targets are class numbers (n, …) or probabilities (n, classes, …).

    Raises ``UsageError`` for an option out of its range.
    """

    label_smoothing: BelowOne = 0.0
    ignore_index: Integer | None = None
    class_axis: InnerAxis | None = field(default=None, kw_only=True)

    classes, inside, shares, implied = True, "Softmax", True, "logits"

    @property
    def ignored(self) -> int | None:
        """The class number that does not count."""
        return self.ignore_index

    @property
    def is_apart(self) -> bool:
        """Not where classes have weights, or one is ignored."""
        return super().is_apart and self.ignore_index is None

    def build(self, output: Symbol, target: Symbol, weight: Symbol | None = None) -> Built:
        """By class numbers or by probabilities."""
        if target.dtype != "int64":
            return Built(mean(self._of_probabilities(output, target), weight))
        if self.is_apart and not self.label_smoothing:
            reduction = "mean" if weight is None else "none"
            loss, _ = emit_all("SoftmaxCrossEntropyLoss", output, target, outputs=2, reduction=reduction)
            return Built(loss if weight is None else mean(loss, weight))
        values = self._of_classes(output, target)
        if self.is_apart:
            return Built(mean(values, weight))
        return ratio(values, _counted(target, self._weights(output.dtype), self.ignore_index, output.dtype), weight)

    def _of_probabilities(self, output: Symbol, target: Symbol) -> Symbol:
        if smooth := self.label_smoothing:
            target = target * (1 - smooth) + smooth / int(output.shape[1])
        products = target * emit("LogSoftmax", output, axis=1)
        if (weights := self._weights(output.dtype)) is not None:
            products = products * _along_classes(weights, output)
        return -emit("ReduceSum", products, integers([1]), keepdims=0)

    def _of_classes(self, output: Symbol, target: Symbol) -> Symbol:
        """Times the weight of the class, 0 where it is ignored."""
        weights = self._weights(output.dtype)
        loss, log_p = emit_all(
            "SoftmaxCrossEntropyLoss", output, target, weights, outputs=2, reduction="none",
            ignore_index=self.ignore_index,
        )  # fmt: skip
        if not self.label_smoothing:
            return loss
        every = -log_p if weights is None else -log_p * _along_classes(weights, output)
        spread = emit("ReduceSum", every, integers([1]), keepdims=0)
        if self.ignore_index is not None:
            spread = spread * _counted(target, None, self.ignore_index, output.dtype)
        return loss * (1 - self.label_smoothing) + spread * (self.label_smoothing / int(output.shape[1]))


def _along_classes(weights: Symbol, output: Symbol) -> Symbol:
    """Weights of the classes in the shape of ``output``: along its second axis."""
    return emit("Reshape", weights, integers([1, -1] + [1] * (len(output.shape) - 2)))


def _counted(target: Symbol, weights: Symbol | None, ignored: int | None, dtype: str) -> Symbol:
    """The weight of each place by its class number, 0 where that is ignored."""
    same = None if ignored is None else emit("Equal", target, constant(ignored, "int64"))
    labels = target if same is None else emit("Where", same, constant(0, "int64"), target)
    counted = cast(target * 0 + 1, dtype) if weights is None else emit("Gather", weights, labels)
    return counted if same is None else counted * cast(emit("Not", same), dtype)


@check_kinds
@dataclass(frozen=True)
class Focal(_ClassLoss):
    """-(1 - p)ᵍ·log p of the class: examples that are already right count less. Lin et al., arXiv:1708.02002.

    Args:
        gamma: the power g, from 0; 0 is the cross-entropy.
        class_weight: the factor of each class, as ``CrossEntropy`` takes it; the mean is not divided by it.
        class_axis: as ``CrossEntropy`` takes it.
        weight: its factor in the sum, where several outputs are trained.

    The output has a logit for each class, and targets are class numbers (n, …) or probabilities; or it has a single
    logit, and targets are 0 and 1.

    Raises ``UsageError`` for an option out of its range.
    """

    gamma: NonNegative = 2.0
    class_axis: InnerAxis | None = field(default=None, kw_only=True)

    classes, one, inside, shares, threshold = True, True, "Softmax", True, 0.0

    @property
    def is_apart(self) -> bool:
        """True: the sum is not divided by the weights."""
        return True

    def kind(self, shape: Shape) -> str:
        """By whether there is a single output."""
        return "binary_logits" if shape[:1] == (1,) else "logits"

    def each(self, output: Symbol, target: Symbol) -> Symbol:
        """By example or place."""
        weights = self._weights(output.dtype)
        if output.shape[1] == 1:
            yes, no = emit("Softplus", -output), emit("Softplus", output)  # -log p and -log (1 - p)
            each = [target * emit("Exp", no * -self.gamma) * yes, (1 - target) * emit("Exp", yes * -self.gamma) * no]
            if isinstance(self.class_weight, tuple):
                each = [part * factor for part, factor in zip(each, reversed(self.class_weight), strict=True)]
            return each[0] + each[1]
        log_p = emit("LogSoftmax", output, axis=1)
        products = -log_p if weights is None else -log_p * _along_classes(weights, output)
        if self.gamma:
            # Where p is 1, a power below 1 has no slope: there the gradient is 0.
            rest = emit("Max", 1 - emit("Exp", log_p), constant(1e-8, output.dtype))
            products = products * rest**self.gamma
        if target.dtype == "int64":
            one_hot = emit("OneHot", target, integers([int(output.shape[1])]), integers([0, 1]), axis=1)
            target = cast(one_hot, output.dtype)
        return emit("ReduceSum", products * target, integers([1]), keepdims=0)


@check_kinds
@dataclass(frozen=True)
class BinaryCrossEntropy(_ClassLoss):
    """-t·log p - (1 - t)·log(1 - p) for p = sigmoid(output): for logits that are independent of each other.

    Args:
        class_weight: the weights of 0 and of 1: the mean is Σ w·loss / Σ w. Or ``"balanced"``.
        label_smoothing: ε, from 0 to less than 1: targets become t·(1 - ε) + ε/2.
        weight: its factor in the sum, where several outputs are trained.

    Raises ``UsageError`` for an option out of its range.
    """

    label_smoothing: BelowOne = 0.0

    inside, shares, threshold, implied = "Sigmoid", True, 0.0, "binary_logits"

    def resolved(self, labels: Sequence[str], shape: Shape, target: Array) -> Loss:
        """The classes are 0 and 1, for every entry: of several, none has a label."""
        return super().resolved(labels if shape[:1] == (1,) else (), (2,), target.reshape(-1, 1))

    def build(self, output: Symbol, target: Symbol, weight: Symbol | None = None) -> Built:
        """softplus(x) - x·t, without overflow."""
        true = target
        if smooth := self.label_smoothing:
            target = target * (1 - smooth) + smooth / 2
        values = emit("Softplus", output) - output * target
        if not isinstance(self.class_weight, tuple):
            return Built(mean(values, weight))
        no, yes = self.class_weight
        counted = true * (yes - no) + no
        return ratio(values * counted, counted, weight)


@check_kinds
@dataclass(frozen=True)
class KLDivergence(Loss):
    """Σ t·(log t - log softmax(output)) over the classes: 0 where the network gives the probabilities t.

    Args:
        class_axis: as ``CrossEntropy`` takes it.
        weight: its factor in the sum, where several outputs are trained.

    Targets are probabilities (n, classes, …), such as those of another network.
    """

    class_axis: InnerAxis | None = field(default=None, kw_only=True)

    inside, shares, implied = "Softmax", True, "logits"

    def each(self, output: Symbol, target: Symbol) -> Symbol:
        """By example or place."""
        known = emit("Log", emit("Max", target, constant(float(np.finfo(target.dtype).tiny), target.dtype)))
        products = target * (known - emit("LogSoftmax", output, axis=1))
        return emit("ReduceSum", products, integers([1]), keepdims=0)


@check_kinds
@dataclass(frozen=True)
class Hinge(Loss):
    """max(0, margin - output) for what is true, max(0, margin + output) for what is not: large margins, no more.

    Args:
        margin: the distance that is wanted, more than 0.
        squared: whether each term max(0, …) is squared: smooth where it begins, and harder on large errors.
        class_axis: as ``CrossEntropy`` takes it, for class numbers.
        weight: its factor in the sum, where several outputs are trained.

    Targets are 0 and 1, or -1 and 1, in the shape of the output. Or they are class numbers (n, …), and the loss is
    Σ max(0, margin - score of the class + score) / classes over the other classes: Weston and Watkins, 1999.

    Raises ``UsageError`` where ``margin`` is not more than 0.
    """

    margin: Positive = 1.0
    squared: bool = False
    class_axis: InnerAxis | None = field(default=None, kw_only=True)

    classes, one, shares, threshold = True, True, True, 0.0

    def places(self, shape: Shape, target: Array) -> Shape:
        """Of class numbers, without the axis of the classes."""
        return shape[1:] if target.dtype.kind in "iu" else shape

    def each(self, output: Symbol, target: Symbol) -> Symbol:
        """By entry; of class numbers, by example."""
        if target.dtype != "int64":
            return self._term(self.margin - (target * 2 - 1) * output)
        count = int(output.shape[1])
        one_hot = cast(emit("OneHot", target, integers([count]), integers([0, 1]), axis=1), output.dtype)
        own = emit("ReduceSum", output * one_hot, integers([1]), keepdims=1)
        others = self._term(output - own + self.margin) * (1 - one_hot)
        return emit("ReduceSum", others, integers([1]), keepdims=0) * (1 / count)

    def _term(self, x: Symbol) -> Symbol:
        found = emit("Relu", x)
        return found * found if self.squared else found
