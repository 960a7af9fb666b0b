"""Scores of one output of a model, whatever it is about, from its numbers and the labels in the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np

from portable_nn.core.errors import UsageError
from portable_nn.core.text import either, quantity, shortened, some
from portable_nn.evaluation.classes import ClassScores
from portable_nn.evaluation.intervals import LEAST, Interval, known, of_mean, reach, reasons
from portable_nn.evaluation.probabilities import log_probabilities, quantities
from portable_nn.evaluation.results import ClassEvaluation, NumberEvaluation, NumberFigures
from portable_nn.evaluation.targets import ClassFinder
from portable_nn.evaluation.worst import POINTS, Sample, Worst, WorstOf
from portable_nn.format.meaning import OutputInfo
from portable_nn.operators.registry import Array

LEVELS: Final[dict[float, float]] = {
    0.5: 0.6744897501960817,
    0.8: 1.2815515655446004,
    0.9: 1.6448536269514722,
    0.95: 1.959963984540054,
    0.99: 2.5758293035489004,
}
"""Shares of a normal distribution, and in how many deviations from its mean they lie."""


class NumberScores:
    """Sums over examples, from which the figures follow; their intervals follow from a sample.

    Args:
        names: what the numbers are; or empty.
        units: their units; or empty.
        worst: how many of the worst examples are kept.
    """

    def __init__(self, names: Sequence[str] = (), units: Sequence[str] = (), worst: int = 0) -> None:
        self.names, self.units = tuple(names), tuple(units)
        self.count = 0
        self.origin, self.scale = np.empty(0), np.empty(0)
        """The mean and deviation of the first targets, from which sums are taken, so that they keep their digits."""
        self.sums: Array = np.zeros(0)
        self.inside: Array = np.zeros(0)
        self.losses = 0.0
        self.sample, self.worst = Sample(), WorstOf(worst)

    def update(
        self,
        predicted: Array,
        targets: Array,
        inputs: Sequence[str] = (),
        x: Array | None = None,
        logvars: Array | None = None,
    ) -> None:
        """Add examples.

        Args:
            predicted: the numbers of the model, ``(n, numbers)``.
            targets: those of the data.
            inputs: the names of the examples; needed for the worst.
            x: what the network got, ``(n, …)``.
            logvars: the logarithms of the variances that the model predicts, if it does.
        """
        predicted, targets = predicted.astype(np.float64), targets.astype(np.float64)
        if not self.count:
            self.origin, spread = targets.mean(axis=0), targets.std(axis=0)
            self.scale = np.where(spread > 0, spread, 1.0)
        errors, offsets = predicted - targets, targets - self.origin
        squares = errors**2
        sums = np.stack([term.sum(axis=0) for term in (errors, np.abs(errors), squares, offsets, offsets**2)])
        self.sums = self.sums + sums if self.count else sums
        self.count += len(errors)
        losses = squares.mean(axis=1)
        if logvars is not None:
            losses = (0.5 * (logvars + squares * np.exp(-logvars) + math.log(2 * math.pi))).mean(axis=1)
            distances = np.abs(errors) * np.exp(-logvars / 2)
            inside = np.stack([(distances <= reach).sum(axis=0) for reach in LEVELS.values()])
            self.inside = self.inside + inside if self.inside.size else inside
        self.losses += float(losses.sum())
        self.sample.update(np.concatenate([predicted, targets, losses[:, np.newaxis]], axis=1))
        scores = np.abs(errors / self.scale).max(axis=1)
        self.worst.update(
            [
                Worst(
                    inputs[place],
                    tuple(targets[place].tolist()),
                    tuple(predicted[place].tolist()),
                    float(scores[place]),
                    x=None if x is None else x[place].copy(),
                )
                for place in self.worst.places(scores)
            ]
        )

    def result(self, notes: Sequence[str] = (), left_out: int = 0) -> NumberEvaluation:
        """The figures of all examples so far, of which there is at least one."""
        loss, width = self.losses / self.count, self.sums.shape[1]
        rows = self.sample.rows()
        is_likelihood = bool(self.inside.size)  # Which may be negative.
        interval = of_mean(loss, rows[:, -1], self.count, LEAST["loss"], positive=not is_likelihood)
        return NumberEvaluation(
            self.count,
            loss,
            known(interval),
            tuple(self._figures(place, rows[:, place], rows[:, width + place]) for place in range(width)),
            self.sample.rows(POINTS)[:, :-1].reshape(-1, 2, width),
            tuple(self.worst.found),
            list(notes),
            left_out,
            reasons({"loss": interval}),
        )

    def _figures(self, place: int, predicted: Array, targets: Array) -> NumberFigures:
        """The figures of one number; ``predicted`` and ``targets`` are those of the sample."""
        e, absolute, e2, d, d2 = (float(each) for each in self.sums[:, place] / self.count)
        variance = max(d2 - d**2, 0.0)
        is_constant = variance <= (np.finfo(np.float64).eps * max(abs(self.origin[place]), 1e-300)) ** 2
        errors = predicted - targets
        mse = of_mean(e2, errors**2, self.count, LEAST["rmse"], positive=True)
        r2 = None if is_constant else 1 - e2 / variance
        intervals = {
            "rmse": mse if isinstance(mse, str) else (math.sqrt(mse[0]), math.sqrt(mse[1])),
            "mae": of_mean(absolute, np.abs(errors), self.count, LEAST["mae"], positive=True),
            "r2": None if r2 is None else _interval_of_r2(r2, mse, errors, targets, self.count),
            "bias": of_mean(e, errors, self.count, LEAST["bias"]),
        }
        return NumberFigures(
            self.names[place] if place < len(self.names) else "",
            self.units[place] if place < len(self.units) else "",
            math.sqrt(e2),
            absolute,
            r2,
            e,
            float(self.origin[place]) + d,
            math.sqrt(variance),
            **{f"{name}_interval": known(each) for name, each in intervals.items()},
            coverage=dict(zip(LEVELS, (self.inside[:, place] / self.count).tolist(), strict=True))
            if self.inside.size
            else {},
            too_few=reasons(intervals),
        )


def _interval_of_r2(r2: float, mse: Interval | str, errors: Array, targets: Array, count: int) -> Interval | str:
    """The interval of R², by the logarithm of 1 - R², which is that of one mean square less that of another.

    It has one where the first of them, ``mse``, has.
    """
    squares, spreads = errors**2, (targets - targets.mean()) ** 2
    parts = [each / (each.mean() or 1.0) - 1 for each in (squares, spreads)]
    ends = reach([parts[0], -parts[1]], count, LEAST["r2"])
    if isinstance(ends, str) or isinstance(mse, str):
        return ends if isinstance(ends, str) else mse
    return 1 - (1 - r2) * math.exp(ends[1]), 1 - (1 - r2) * math.exp(-ends[0])


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
    "the targets are 0 and 1 alone, and the model does not say that it tells classes apart: if it does, "
    "--task classes (task='classes') says so"
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
                faults[place] = f"the model predicts {quantity(width, 'number')}, and the data have {len(row)}" + (
                    "; if these are scores of classes, --task classes (task='classes') says so" * (len(row) == 1)
                )
            elif not all(abs(each) <= LARGEST for each in row):
                faults[place] = f"expected a number up to {LARGEST:g} to compare with, found {shortened(label)}"
            else:
                found[place] = row
        return found, faults
