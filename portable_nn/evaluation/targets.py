"""The targets of examples in data, as scores take them: the number of a class, or numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from portable_nn.core.arrays import as_array
from portable_nn.operators.registry import Array


def labels_in(y: Any) -> Array:
    """Labels that are given in memory: words as an array of objects, numbers of any kind as theirs.

    Raises ``UsageError`` for what is neither.
    """
    found = np.asarray(y) if isinstance(y, list | tuple) or hasattr(y, "__array__") else None
    if found is not None and found.dtype.kind in "UO" and all(isinstance(each, str) for each in found.ravel().tolist()):
        return found.astype(object)
    return as_array(y, "y")


class ClassFinder:
    """Finds the class that a label means: its name, its number, or a number for each class.

    A whole number is the number of a class, from 0, unless classes are named by numbers: then it is a name, or, with
    ``by_number``, it is not.
    """

    def __init__(self, classes: Sequence[str], *, by_number: bool = False) -> None:
        self.classes, self.by_number = tuple(classes), by_number
        self.known: dict[Any, int] = {name: place for place, name in enumerate(self.classes)}
        self.numbered = not by_number and any(name.lstrip("+-").isdecimal() for name in self.classes)

    def __call__(self, label: Any) -> int | None:
        """The number of the class; None where the label is none of the classes."""
        if isinstance(label, list):
            return self._of_row(label)
        found = self.known.get(label)
        return self._of_word(label) if found is None else found

    def of(self, labels: Iterable[Any]) -> Array:
        """The numbers of the classes of many labels; -1 for those that are none."""
        return np.array([-1 if found is None else found for found in map(self, labels)], np.int64)

    def _of_row(self, row: list[Any]) -> int | None:
        if len(row) == 1:
            return self(row[0])
        if len(row) != len(self.classes) or row.count(max(row)) > 1:  # Of several classes at once, none is right.
            return None
        return row.index(max(row))

    def _of_word(self, label: Any) -> int | None:
        if isinstance(label, bool):
            label = int(label)
        if isinstance(label, float) and label.is_integer():
            label = int(label)
        if str(label) in self.known and not (self.by_number and isinstance(label, int)):
            return self.known[str(label)]
        if isinstance(label, int) and not self.numbered and 0 <= label < len(self.classes):
            return label
        return None
