"""The objects that a pass through examples hands over: batches, inputs that cannot be used, the place, and what a model
takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from portable_nn.core.errors import DataError
from portable_nn.format.meaning import Column
from portable_nn.preprocessing.applying import lay_out
from portable_nn.preprocessing.sheets import Box
from portable_nn.preprocessing.steps import Preprocessing, Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Some examples, ready for a network.

    ``names`` are the origins of the examples: ``photo.png``, ``table.csv:12`` (line of the file, from 1) or
    ``array.npy:0`` (index, from 0). ``x`` is ``(n, *example_shape)``; ``labels`` has n entries, or is None; so has
    ``boxes``: left, top, right and bottom of each example in its picture, where it is not the whole.
    """

    names: list[str]
    x: Tensor
    labels: list[Any] | None = None
    boxes: list[Box | None] | None = None


@dataclass(frozen=True)
class Bad:
    """An input that cannot be used: its name, as in a batch or that of a whole file, and the reason."""

    name: str
    reason: str


@dataclass
class Place:
    """The place of a pass through examples.

    Args:
        skip: how many examples, from the first, are not wanted; of stored ones, most of these are not even read.
        total: how many there are, where that is known.
        before: how many before the first that is wanted are needed all the same.
    """

    skip: int = 0
    total: int | None = None
    before: int = 0

    def passed(self, found: Iterable[T], count: Callable[[T], int]) -> Iterator[T]:
        """Those of some parts of examples that are wanted; ``count`` says how many examples are in each."""
        for each in found:
            if self.skip > 0:
                self.skip -= count(each)
            else:
                yield each


@dataclass(frozen=True)
class Taken:
    """The inputs that a model takes.

    Args:
        shape: the shape of one example, without the batch axis; empty where pictures of any size make examples.
        steps: the steps of its preprocessing.
        kind: the kind of its input, as in a manifest.
        largest: the largest number that it says it is made for, if it does.
        columns: the columns of its tables, if they have names.
        targets: the names of the columns that it predicts; empty where they have none.
        numbers: whether these are numbers, and not classes.
        labelled: whether a row of a table may have a label.
        dtype: the type of the input.
    """

    shape: tuple[int, ...]
    steps: Preprocessing = ()
    kind: str = "tensor"
    largest: float | None = None
    columns: tuple[Column, ...] = ()
    targets: tuple[str, ...] = ()
    numbers: bool = False
    labelled: bool = True
    dtype: str = "float32"

    @property
    def precision(self) -> str:
        """The type in which numbers come to the model with all of their digits: ``float32``, or ``float64``."""
        return "float32" if np.can_cast(self.dtype, np.float32) else "float64"

    def laid_out(self, examples: Tensor, file: str | Path) -> Tensor:
        """Examples ``(n, …)`` in the shape of those of the model. Raises ``DataError`` about ``file``."""
        if not self.shape:
            return examples
        try:
            return lay_out(examples, self.shape)
        except ValueError as error:
            raise DataError(file, f"{error}; the model determines what is expected") from None


def bad(error: DataError, strict: bool) -> Bad:
    """The record in the place of an input that cannot be used. Raises ``error`` with ``strict``."""
    if strict:
        raise error
    return Bad(error.path, error.reason)
