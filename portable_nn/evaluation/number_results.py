"""The evaluation of a model that predicts numbers, and its text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from portable_nn.core.html import html_of
from portable_nn.core.text import fields, grouped, percent
from portable_nn.evaluation.intervals import Interval
from portable_nn.evaluation.text import UNKNOWN, cells, ends, plain, with_ends, worst_json, worst_table
from portable_nn.evaluation.worst import Worst
from portable_nn.operators.registry import Array

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
class NumberEvaluation:
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

    def __repr__(self) -> str:
        return "\n".join([self.text(), *([""] if self.notes else []), *self.notes])

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        return html_of(self.__repr__)

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
