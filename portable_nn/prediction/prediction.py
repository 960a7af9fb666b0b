"""The prediction for one example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from portable_nn.core.html import Cell, Share, html_table
from portable_nn.core.text import grouped
from portable_nn.preprocessing.sheets import Box

__all__ = ["Prediction"]


@dataclass(frozen=True)
class Prediction:
    """The prediction for one example.

    Args:
        input: the source of the example: ``photo.png``, ``table.csv:12`` (line of the file, from 1) or ``array.npy:0``
            (index, from 0).
        label: the most likely class; ``"?"`` where it is less likely than the model's threshold asks: it is unsure;
            so it is where the standard deviation of the first quantity is above the threshold.
        index: the number of that class; None where the model is unsure.
        probability: the probability of the most likely class, whether or not the model is unsure.
        top: as many classes as were asked for with their probabilities, the most likely first.
        guess: the most likely class where the model is unsure, otherwise None.
        expected: the class in the data, if there is one.
        values: the outputs of a model that predicts quantities; the other fields but ``input``, and a
            ``label`` of ``"?"``, are then unset. Of normal distributions they are the means, which are NaN where the
            model is unsure, and then as many standard deviations.
        error: why there is no prediction for this input; the other fields but ``input`` are then unset. The name is
            that of the file alone where none of its (other) examples can be read.
        box: where a picture may have several drawings, that of this one: left, top, right and bottom in pixels. They
            are then named ``photo.png#1`` and so on.
    """

    input: str
    label: str | None = None
    index: int | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    guess: str | None = None
    expected: str | None = None
    values: tuple[float, ...] = ()
    error: str | None = None
    box: Box | None = None

    def __repr__(self) -> str:
        found = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if value not in (None, ()))
        return f"Prediction({found})"

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows: the most likely classes, or the values."""
        if self.error is not None or not self.top:
            headings, rows = prediction_rows([self])
            return html_table(self.input, headings[1:], [row[1:] for row in rows])
        unsure = f"; unsure, perhaps {self.guess}" if self.guess is not None else ""
        title = f"{self.input}: {self.label}{unsure}"
        return html_table(title, ("class", "probability"), [(name, Share(share)) for name, share in self.top])


def prediction_rows(
    predictions: Sequence[Prediction], quantities: Sequence[str] = ()
) -> tuple[list[str], list[list[Cell]]]:
    """The headings and cells of a table of predictions, with the columns that some of them have."""
    count = max((len(each.values) for each in predictions), default=0)
    names = [*quantities, *(f"value {place}" for place in range(len(quantities), count))][:count]
    headings = ["input", "label", "guess", "probability", "expected", *(f">{name}" for name in names), "error"]
    rows = [
        [*map(vars(each).get, headings[:5]), *each.values, *[None] * (count - len(each.values)), each.error]
        for each in predictions
    ]
    shown = [place for place in range(len(headings)) if not place or any(row[place] not in (None, "") for row in rows)]
    cells = [[_cell(headings[place], row[place]) for place in shown] for row in rows]
    return [headings[place] for place in shown], cells


def _cell(name: str, value: Any) -> Cell:
    if value is None or isinstance(value, str):
        return value or ""
    if value != value:
        return "?"
    return Share(value) if name == "probability" else grouped(value)
