"""The columns of a table that a model of another program reads, while it becomes a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portable_nn.format.meaning import Column, Missing, Statistics, Unknown

STRANGE = "\x00"
"""The word for one that is no category, where the original runs on numbers: no text that people read."""


@dataclass(eq=False)
class Raw:
    """A column of the table that goes in, as far as the steps that read it tell what it is.

    Attributes:
        name: its name.
        unit: its unit.
        words: its categories, and the number of each; empty for numbers.
        unknown: how other words are met.
        missing: how missing values are met.
        gap: what the original has in the place of a missing value.
        statistics: those of its numbers, if they are known.
        codes: the numbers that the original takes alone, where they are categories; or empty.
        place: where it is in the rows that the original takes.
        bare: whether a step takes its numbers as they are, and no missing one, even if others do.
    """

    name: str
    unit: str = ""
    words: dict[str, int] = field(default_factory=dict)
    unknown: Unknown = "other"
    missing: Missing = "refuse"
    gap: Any = float("nan")
    statistics: Statistics | None = None
    codes: tuple[float, ...] = ()
    place: int = 0
    bare: bool = False

    def code(self, word: str) -> float:
        """The number of a word, which is a category from now on."""
        return float(self.words.setdefault(word, len(self.words)))

    @property
    def column(self) -> Column:
        """As the manifest has it."""
        if self.words:
            return Column(self.name, categories=tuple(self.words), unknown=self.unknown, missing=self.missing)
        missing = "refuse" if self.bare else self.missing
        return Column(self.name, self.unit, missing=missing, statistics=self.statistics)

    def admitted(self, cells: NDArray[Any]) -> NDArray[Any]:
        """Drawn numbers, as far as need be replaced by such that the original takes."""
        if not self.codes or self.words:
            return cells
        known = np.array(self.codes, cells.dtype)
        return np.where(np.isnan(cells), cells, known[np.nan_to_num(np.abs(cells) * 1000).astype(int) % len(known)])

    def values(self, cells: NDArray[np.float64]) -> NDArray[Any]:
        """The cells that the original takes for the numbers that the network takes."""
        if not self.words:
            return cells
        known = dict(enumerate(self.words))
        return np.array([self.gap if np.isnan(each) else known.get(int(each), STRANGE) for each in cells], object)
