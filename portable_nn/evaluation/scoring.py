"""Scores of one output of a model, whatever it is about, from its numbers and the labels in the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np

from portable_nn.core.errors import UsageError
from portable_nn.core.text import either, quantity, shortened, some
from portable_nn.evaluation.class_results import ClassEvaluation
from portable_nn.evaluation.classes import ClassScores
from portable_nn.evaluation.number_results import NumberEvaluation
from portable_nn.evaluation.numbers import NumberScores
from portable_nn.evaluation.probabilities import log_probabilities, quantities
from portable_nn.evaluation.targets import ClassFinder
from portable_nn.format.meaning import OutputInfo
from portable_nn.operators.registry import Array

Task: TypeAlias = Literal["classes", "numbers"]
"""The kind of prediction: the class of an example, or one or several numbers."""

Evaluation: TypeAlias = ClassEvaluation | NumberEvaluation

NOT_FINITE = "the model gives NaN or infinity"

LARGEST: Final = 1e75
"""The largest number that is compared with another: its fourth power is a float64, too."""

NO_LABEL = "there is no label to compare with"

MULTI_LABEL = (
    "the data name several classes of one example (multi-label), and evaluate is for one class each: give pnn.run's "
    "probabilities, such as pnn.run(model, x)[output] > 0.5, to sklearn.metrics.classification_report"
)

BINARY = (
    "the targets are 0 and 1 alone, and the model does not say that it tells classes apart: if it does, evaluate it "
    "with task classes"
)


def kind_for(task: Task | None, kind: str, width: int) -> str:
    """The kind of an output ``(n, width)`` that is wanted for a task, instead of its own. Raises ``UsageError``."""
    if task not in (None, *get_args(Task)):
        raise UsageError(f"task must be {either(get_args(Task))}, not {task!r}")
    is_of_numbers = kind in ("values", "gaussian")
    if task == "numbers" and not is_of_numbers:
        return "values"
    if task == "classes" and is_of_numbers:
        return "logits" if width > 1 else "binary_logits"
    return kind


def class_names(labels: Sequence[str], width: int) -> tuple[str, ...]:
    """The classes of an output ``(n, width)``; numbers where there are no fitting ``labels``.

    One number alone is about the second of two classes; a single label is that of this one.
    """
    if width == 1 and len(labels) == 1:
        return f"not {labels[0]}", labels[0]
    count = max(width, 2)
    return tuple(labels) if len(labels) == count else tuple(map(str, range(count)))


class Scoring:
    """Scores of an output.

    Args:
        info: its meaning.
        classes: its classes; empty where it has numbers.
        by_number: whether whole numbers are always those of classes, even where classes are named by numbers.
        worst: how many of the worst examples are kept.
    """

    def __init__(self, info: OutputInfo, classes: Sequence[str], *, by_number: bool = False, worst: int = 0) -> None:
        self.info, self.classes = info, tuple(classes)
        self.find = ClassFinder(self.classes, by_number=by_number)
        self.binary_targets = True
        units = info.units or (info.unit,) * len(info.labels or ("",))
        self.of_classes = ClassScores(self.classes, info.threshold, worst)
        self.of_numbers = NumberScores(info.labels, units, worst)

    @property
    def count(self) -> int:
        """The examples so far."""
        return self.of_classes.count if self.classes else self.of_numbers.count

    def update(self, numbers: Array, labels: Sequence[Any], inputs: Sequence[str], x: Array | None) -> dict[int, str]:
        """Add examples; gives for those that cannot be used the reason, by their place.

        Args:
            numbers: the outputs, ``(n, width)``, float64.
            labels: what the data say of each; None where it says nothing.
            inputs: the names of the examples.
            x: what the network got, if the worst are to keep it.
        """
        usable = np.isfinite(numbers) if self.classes else np.abs(numbers) <= LARGEST
        faults = dict.fromkeys(np.flatnonzero(~usable.all(axis=1)).tolist(), NOT_FINITE)
        targets, wrong = self._classes(labels) if self.classes else self._targets(numbers, labels)
        faults = wrong | faults
        if faults:
            kept = np.array([place for place in range(len(labels)) if place not in faults], np.int64)
            numbers, targets, inputs = numbers[kept], targets[kept], [inputs[place] for place in kept]
            x = None if x is None else x[kept]
        if not len(numbers):
            return faults
        kind = self.info.kind
        if self.classes:
            self.of_classes.update(log_probabilities(numbers, kind, self.info.temperature), targets, inputs, x)
            return faults
        means = quantities(numbers, kind)
        self.binary_targets = self.binary_targets and means.shape[1] == 1 and bool(np.isin(targets, (0, 1)).all())
        logvars = numbers[:, means.shape[1] :] if kind == "gaussian" else None
        self.of_numbers.update(means, targets, inputs, x, logvars)
        return faults

    def result(self, notes: Sequence[str] = (), left_out: int = 0) -> Evaluation:
        """The figures of all examples so far, of which there is at least one."""
        if self.classes:
            return self.of_classes.result(notes, left_out)
        return self.of_numbers.result([*notes, *([BINARY] if self.binary_targets else [])], left_out)

    def _classes(self, labels: Sequence[Any]) -> tuple[Array, dict[int, str]]:
        if any(isinstance(label, list) and label.count(1) > 1 and set(label) <= {0, 1} for label in labels):
            raise UsageError(MULTI_LABEL)
        found = self.find.of(labels)
        return found, {
            place: NO_LABEL
            if labels[place] is None
            else f"the label {shortened(labels[place])} is none of the model's classes: {some(self.classes)}"
            for place in np.flatnonzero(found < 0).tolist()
        }

    def _targets(self, numbers: Array, labels: Sequence[Any]) -> tuple[Array, dict[int, str]]:
        width = quantities(numbers, self.info.kind).shape[1]
        found, faults = np.zeros((len(labels), width)), dict[int, str]()
        for place, label in enumerate(labels):
            row = label if isinstance(label, list) else [label]
            if any(each is None or each != each for each in row):
                faults[place] = NO_LABEL
            elif not all(isinstance(each, int | float) for each in row):
                faults[place] = f"expected a number to compare with, found {shortened(label)}"
            elif len(row) != width:
                hint = "; if it tells classes apart, evaluate it with task classes" if len(row) == 1 else ""
                faults[place] = f"the model predicts {quantity(width, 'number')}, and the data have {len(row)}{hint}"
            elif not all(abs(each) <= LARGEST for each in row):
                faults[place] = f"expected a number up to {LARGEST:g} to compare with, found {shortened(label)}"
            else:
                found[place] = row
        return found, faults
