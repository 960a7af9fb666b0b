"""What a model gives for examples, batch by batch, and which classes or numbers that is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from portable_nn.core.errors import DataError, DataWarning, FormatError, UsageError, warn
from portable_nn.data.columns import far_fault
from portable_nn.data.sources import Bad, Batch
from portable_nn.model_files.labels import read_labels
from portable_nn.model_files.runners import UNKNOWN, Runner
from portable_nn.operators.registry import Array

SUM_TOLERANCE = 1e-3
"""The largest deviation of their sum from 1 for numbers of an unknown kind to be taken for probabilities."""

NOT_FINITE = "the model gives NaN or infinity"

GUESSES = {
    "probabilities": "they are taken for probabilities",
    "logits": "softmax makes probabilities of them",
    "binary_logits": "the logistic function makes a probability of it",
    "values": "it is taken for a quantity",
}
"""The note on numbers of an unknown kind, by the kind that they are taken for."""


class Answer(NamedTuple):
    """A batch, the outputs ``(n, width)`` as float64, and for which examples they are finite; 0 stands for others."""

    batch: Batch
    numbers: Array
    finite: Array


@dataclass
class Answers:
    """The answers of a model; iterated over once.

    Args:
        runner: the model.
        batches: the examples.
        given: names of the classes, or a file of them, instead of those of the model.
        strict: raise for the first output that is not finite.
        notes: a list to which is appended what was assumed.
    """

    runner: Runner
    batches: Iterator[Batch | Bad]
    given: Sequence[str] | str | Path | None
    strict: bool
    notes: list[str]

    def __post_init__(self) -> None:
        given = self.given
        self._names = read_labels(given) if isinstance(given, str | Path) else tuple(given or self.runner.labels)
        self.kind = self.runner.kind
        """The kind of the output; of one that the model does not describe, after the first answer the one guessed."""
        self.classes = tuple[str, ...]()
        """The names of the classes, after the first answer; empty where the model predicts quantities."""
        self._warned = False

    @property
    def is_of_numbers(self) -> bool:
        """Whether the model predicts quantities, and no classes."""
        return self.kind in ("values", "gaussian")

    def __iter__(self) -> Iterator[Answer | Bad]:
        for batch in self.batches:
            if isinstance(batch, Bad):
                yield batch
                continue
            self._warn_of_range(batch.x)
            numbers = self.runner(batch.x).astype(np.float64)
            finite = np.logical_and.reduce(np.isfinite(numbers), axis=1)
            if self.strict and not finite.all():
                name = batch.names[int(finite.argmin())]
                raise FormatError(self.runner.where, f"{NOT_FINITE} for {name}")
            numbers[~finite] = 0
            if finite.any():
                self._understand(numbers[finite])
            yield Answer(batch, numbers, finite)

    def _understand(self, numbers: Array) -> None:
        """Find out which kind and which classes the outputs have, by the first of them."""
        if self.kind == UNKNOWN:
            self.kind = self._guess(numbers)
        if not self.classes and not self.is_of_numbers:
            width = numbers.shape[1]
            self.classes = self._classes(max(width, 2), alone=width == 1)

    def _warn_of_range(self, x: Array) -> None:
        """Warn once of examples that miss by far what the model is made for."""
        if not self._warned and (fault := far_fault(x, self.runner.columns)):
            self._warned = True
            warn(f"{self.runner.where}: {fault}", DataWarning)
        made_for = None if self._warned else self.runner.range
        if made_for and (fault := made_for.fault(x)):
            self._warned = True
            where = f"{self.runner.where} is made for numbers {made_for}, which '{made_for.node}' scales"
            warn(f"the examples {fault}, but {where}", DataWarning)

    def _guess(self, numbers: Array) -> str:
        """The kind of outputs that the model does not describe, guessed from the first batch."""
        within = bool(((numbers >= 0) & (numbers <= 1)).all())
        if numbers.shape[1] == 1:
            kind = ("probabilities" if within else "binary_logits") if self._names else "values"
        else:
            are_shares = within and np.allclose(numbers.sum(axis=1), 1, rtol=0, atol=SUM_TOLERANCE)
            kind = "probabilities" if are_shares else "logits"
        self.notes.append(f"the model does not say what its numbers are; {GUESSES[kind]}")
        return kind

    def _classes(self, count: int, *, alone: bool) -> tuple[str, ...]:
        """The names of the classes; ``alone`` where one number is for two classes."""
        names = self._names
        if alone and len(names) == 1:
            return f"not {names[0]}", names[0]
        if names and len(names) != count:
            found = f"{len(names)} labels, but {self.runner.where} has {count} classes"
            if isinstance(self.given, str | Path):
                raise DataError(self.given, f"has {found}")
            if self.given is not None:
                raise UsageError(f"there are {found}")
            self.notes.append(f"the labels in the model are not used: there are {found}")
        return names if len(names) == count else tuple(map(str, range(count)))
