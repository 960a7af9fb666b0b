"""The evaluations of a classifier and of a model that predicts numbers, and their texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from portable_nn.core.html import html_of
from portable_nn.core.text import fields, grouped, percent, rounded, table
from portable_nn.evaluation.intervals import Interval
from portable_nn.evaluation.reliability import Reliability
from portable_nn.evaluation.worst import Worst
from portable_nn.operators.registry import Array

UNKNOWN: Final = "-"
"""The text for a figure that is not known."""


def ends(interval: Interval | None, reason: str | None = None) -> str:
    """An interval in brackets, after the figure that it is of; or why there is none."""
    if interval is None:
        return f" ({reason})" if reason else ""
    return f" ({grouped(interval[0], 4)} to {grouped(interval[1], 4)})"


def plain(figures: object) -> dict[str, Any]:
    """Figures as data that JSON can hold, without what is empty."""
    return {name: value for name, value in vars(figures).items() if value != {}}


def with_ends(name: str) -> tuple[str, str, str]:
    """The headings of a figure and its interval."""
    return name, f"{name}_low", f"{name}_high"


def cells(figures: object, names: Iterable[str]) -> Iterator[float | str]:
    """Figures, each with its interval."""
    for name in names:
        low, high = getattr(figures, f"{name}_interval") or ("", "")
        value = getattr(figures, name)
        yield from ("" if value is None else value, low, high)


def worst_table(worst: Sequence[Worst]) -> str:
    """The worst examples; empty where there are none."""
    if not worst:
        return ""
    if worst[0].probability is not None:
        rows = ((each.input, each.expected, each.predicted, percent(each.probability or 0)) for each in worst)
        return table(("worst", "class", "taken for", ">probability"), rows)
    numbers = ((each.input, _listed(each.expected), _listed(each.predicted)) for each in worst)
    return table(("worst", ">target", ">predicted"), numbers)


def worst_json(worst: Sequence[Worst]) -> list[dict[str, Any]]:
    """The worst examples as data."""
    return [
        {name: value for name, value in each._asdict().items() if name != "x" and value is not None} for each in worst
    ]


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(map(rounded, numbers))


SHOWN: Final = 20
"""Classes that a table shows: of more, those with the lowest F1."""

CELLS: Final = 10
"""Classes of which a table shows the whole confusion matrix; of more, the pairs that are confused most."""

SHARES: Final = ("precision", "recall", "f1")


@dataclass(frozen=True)
class ClassFigures:
    """The scores of one class.

    Attributes:
        name: the class.
        precision: the share of the examples taken for it that are of it; None where none is taken for it.
        recall: the share of its examples that are taken for it; None where the data have none.
        f1: their harmonic mean, 2·tp / (2·tp + fp + fn); None where neither of them is known.
        support: the number of its examples.
        predicted: the number of examples that are taken for it.
        precision_interval, recall_interval, f1_interval: 95 % intervals those of shares; that of F1 is that of
            the share tp / (tp + fp + fn), of which F1 is a function.
    """

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    predicted: int
    precision_interval: Interval | None
    recall_interval: Interval | None
    f1_interval: Interval | None


class _Printed:
    """An evaluation that is shown by its text and its notes."""

    notes: list[str]

    def __repr__(self) -> str:
        return "\n".join([self.text(), *([""] if self.notes else []), *self.notes])

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        return html_of(self.__repr__)

    def text(self) -> str:
        """The figures as tables."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class ClassEvaluation(_Printed):
    """The evaluation of a classifier. ``print`` shows it as a table; see ``evaluate``.

    Attributes:
        examples: the number of examples.
        accuracy: the share of them whose most likely class is the right one.
        accuracy_interval: its 95 % interval.
        loss: the mean of -log p of the right class (cross entropy, natural logarithm). Where the probabilities of an
            example do not add up to 1, they are divided by their sum.
        loss_interval: its 95 % interval, or None: ``too_few`` says why.
        baseline: the share of the most frequent class: the accuracy of an answer that is always the same.
        classes: figures by class.
        precision, recall, f1: the means over the classes that are in the data or in an answer; what is not known
            counts as 0. Where a class is in neither, it is left out of the means.
        f1_interval: the 95 % interval of ``f1`` over all classes; None where one of them is rare or missing.
        confusion: ``(classes, classes)``: how many examples of the class of the row are taken for that of the column.
        reliability: whether the probabilities of the most likely classes are what they say; ``reliability.ece`` is the
            expected calibration error.
        auc: the area under the ROC curve: of two classes that of the second, of more the mean of each class against the
            others (macro, one-vs-rest). None where the data lack one of the classes, or of more than two classes where
            there are too many examples to keep their probabilities (2 million numbers).
        auc_interval: of two classes, its 95 % interval; None where one of them is rare.
        unsure: the number of examples in which no class reaches the model's threshold, so that ``predict`` says ``?``.
        accuracy_of_sure: the accuracy in all others; None where there are none.
        worst: the examples with the largest loss.
        notes: what was assumed and done, and the first examples that were left out.
        left_out: how many examples could not be used.
        too_few: by the figure that has no interval (``loss``, ``f1``, ``auc``), why there is none.
    """

    examples: int
    accuracy: float
    accuracy_interval: Interval
    loss: float
    loss_interval: Interval | None
    baseline: float
    classes: tuple[ClassFigures, ...]
    precision: float
    recall: float
    f1: float
    f1_interval: Interval | None
    confusion: Array
    reliability: Reliability
    auc: float | None = None
    auc_interval: Interval | None = None
    unsure: int = 0
    accuracy_of_sure: float | None = None
    worst: tuple[Worst, ...] = ()
    notes: list[str] = field(default_factory=list)
    left_out: int = 0
    too_few: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """The figures as tables."""
        parts = (self._summary(), self._class_table(), self._confusion_table(), worst_table(self.worst))
        return "\n".join(filter(None, parts)).rstrip("\n")

    def as_json(self) -> dict[str, Any]:
        """The figures as data that JSON can hold."""
        return {
            "task": "classes",
            **vars(self),
            "classes": [plain(each) for each in self.classes],
            "confusion": self.confusion.tolist(),
            "reliability": {**vars(self.reliability), "bins": [vars(each) for each in self.reliability.bins]},
            "worst": worst_json(self.worst),
        }

    def rows(self) -> Iterator[Sequence[Any]]:
        """A row for each class with its row of the confusion matrix, the headings first."""
        taken = [f"taken for {each.name}" for each in self.classes]
        yield ["class", *(name for each in SHARES for name in with_ends(each)), "support", "predicted", *taken]
        for each, row in zip(self.classes, self.confusion.tolist(), strict=True):
            yield [each.name, *cells(each, SHARES), each.support, each.predicted, *row]

    def _summary(self) -> str:
        unsure = ""
        if self.unsure:
            right = "" if self.accuracy_of_sure is None else f"; of the others {percent(self.accuracy_of_sure)} right"
            unsure = f"{self.unsure:,} ({percent(self.unsure / self.examples)}){right}"
        low, high = self.accuracy_interval
        rest = ", the mean of each class against the others" if len(self.classes) > 2 else ""
        always = f"{percent(self.baseline)} by the most frequent class alone"
        chance = f"about {percent(self.reliability.by_chance)} by chance if perfectly calibrated"
        return fields(
            [
                ("examples", f"{self.examples:,}"),
                ("accuracy", f"{percent(self.accuracy)} ({percent(low)} to {percent(high)}); {always}"),
                ("unsure", unsure),
                ("loss", f"{rounded(self.loss)}{self._ends('loss')}, cross entropy"),
                ("mean F1", f"{rounded(self.f1)}{self._ends('f1')}"),
                ("ROC AUC", "" if self.auc is None else f"{rounded(self.auc)}{self._ends('auc')}{rest}"),
                ("calibration error", f"{percent(self.reliability.ece)}; {chance}"),
            ]
        )

    def _ends(self, name: str) -> str:
        return ends(getattr(self, f"{name}_interval"), self.too_few.get(name))

    def _class_table(self) -> str:
        shown: Sequence[ClassFigures] = self.classes
        more = ""
        if len(shown) > SHOWN:
            known = [each for each in shown if each.f1 is not None]
            shown = sorted(known, key=lambda each: each.f1 or 0.0)[:SHOWN]
            more = f"of {len(self.classes):,} classes, those with the lowest F1 (all of them: CSV or JSON)\n"
        rows = (
            (
                each.name,
                *(_share(getattr(each, name), getattr(each, f"{name}_interval")) for name in SHARES),
                f"{each.support:,}",
            )
            for each in shown
        )
        return table(("class", ">precision", ">recall", ">F1", ">support"), rows) + more

    def _confusion_table(self) -> str:
        names = [each.name for each in self.classes]
        if len(names) <= CELLS:
            counted = zip(names, self.confusion.tolist(), strict=True)
            rows = ([name, *(f"{count:,}" if count else "." for count in row)] for name, row in counted)
            return table(("class \\ taken for", *(f">{name}" for name in names)), rows)
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:CELLS].tolist()
        pairs = [(place // len(names), place % len(names)) for place in order]
        found = [(names[a], names[b], f"{wrong[a, b]:,}") for a, b in pairs if wrong[a, b]]
        return table(("class", "taken for", ">times"), found) if found else ""


def _share(value: float | None, interval: Interval | None) -> str:
    if value is None or interval is None:
        return UNKNOWN
    return f"{value:.3f} ({interval[0]:.2f} to {interval[1]:.2f})"


FIGURES: Final = ("rmse", "mae", "r2", "bias")


@dataclass(frozen=True)
class NumberFigures:
    """The scores of one predicted number, in its unit; errors are prediction - target.

    Attributes:
        name: what is predicted, or ``""``.
        unit: its unit, or ``""``.
        rmse: the root of the mean squared error.
        mae: the mean absolute error.
        r2: 1 - mean squared error / variance of the targets; None where these are all the same.
        bias: the mean error.
        mean, std: those of the targets: ``std`` is the ``rmse`` of an answer that is always their mean.
        rmse_interval, mae_interval, r2_interval, bias_interval: 95 % intervals, or None: ``too_few`` says why.
        coverage: of a model that predicts normal distributions: by the share that an interval of these should hold,
            the share of targets that it does hold.
        too_few: by the figure that has no interval (``rmse``, ``mae``, ``r2``, ``bias``), why there is none.
    """

    name: str
    unit: str
    rmse: float
    mae: float
    r2: float | None
    bias: float
    mean: float
    std: float
    rmse_interval: Interval | None
    mae_interval: Interval | None
    r2_interval: Interval | None
    bias_interval: Interval | None
    coverage: dict[float, float] = field(default_factory=dict)
    too_few: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class NumberEvaluation(_Printed):
    """The evaluation of a model that predicts numbers. ``print`` shows it as a table; see ``evaluate``.

    Attributes:
        examples: the number of examples.
        loss: the mean squared error over all numbers; of a model that predicts normal distributions, the mean negative
            log-likelihood, with its constant ½·log 2π.
        loss_interval: its 95 % interval, or None: ``too_few`` says why, as in ``numbers``.
        numbers: figures by number.
        worst: the examples with the largest errors; of several numbers, in proportion to the spread of each.
        sample: predictions and targets of some examples, drawn at random, ``(n, 2, numbers)``.
        notes: what was assumed and done, and the first examples that were left out.
        left_out: how many examples could not be used.
    """

    examples: int
    loss: float
    loss_interval: Interval | None
    numbers: tuple[NumberFigures, ...]
    sample: Array
    worst: tuple[Worst, ...] = ()
    notes: list[str] = field(default_factory=list)
    left_out: int = 0
    too_few: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """The figures as tables."""
        loss = "mean squared error" if not self.numbers[0].coverage else "negative log-likelihood"
        head = [
            ("examples", f"{self.examples:,}"),
            ("loss", f"{grouped(self.loss)}{ends(self.loss_interval, self.too_few.get('loss'))}, {loss}"),
        ]
        parts = [fields(head), *map(_number_text, self.numbers), worst_table(self.worst)]
        return "\n".join(filter(None, parts)).rstrip("\n")

    def as_json(self) -> dict[str, Any]:
        """The figures as data that JSON can hold; the sample is left out."""
        kept = {name: value for name, value in vars(self).items() if name != "sample"}
        numbers = [plain(each) for each in self.numbers]
        return {"task": "numbers", **kept, "numbers": numbers, "worst": worst_json(self.worst)}

    def rows(self) -> Iterator[Sequence[Any]]:
        """A row for each number, the headings first."""
        yield ["name", "unit", *(name for each in FIGURES for name in with_ends(each)), "mean", "std"]
        for number in self.numbers:
            yield [number.name, number.unit, *cells(number, FIGURES), number.mean, number.std]


def _number_text(number: NumberFigures) -> str:
    unit = f" {number.unit}" if number.unit else ""
    tail = {name: ends(getattr(number, f"{name}_interval"), number.too_few.get(name)) for name in FIGURES}
    return fields(
        [
            (
                number.name or "numbers",
                f"mean {grouped(number.mean)}{unit}, standard deviation {grouped(number.std)}{unit}",
            ),
            ("RMSE", f"{grouped(number.rmse)}{unit}{tail['rmse']}"),
            ("MAE", f"{grouped(number.mae)}{unit}{tail['mae']}"),
            ("R²", UNKNOWN if number.r2 is None else f"{grouped(number.r2)}{tail['r2']}"),
            ("bias", f"{'+' * (number.bias >= 0)}{grouped(number.bias)}{unit}{tail['bias']}"),
            ("coverage", ", ".join(f"{percent(b)} of {percent(a)}" for a, b in number.coverage.items())),
        ]
    )
