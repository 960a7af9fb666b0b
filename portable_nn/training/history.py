"""The history of a training, its best epoch, and early stopping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from portable_nn.core.arguments import check_kinds
from portable_nn.core.html import html_table
from portable_nn.core.numbers import Count, Natural, NonNegative
from portable_nn.core.text import quantity, table
from portable_nn.core.words import attributes_of
from portable_nn.operators.registry import Array, NamedArrays
from portable_nn.training.history_columns import sign_of
from portable_nn.training.trainable import Trainable

__all__ = ["EarlyStopping", "History"]

SHOWN: Final = 10
"""The number of epochs, the last ones, that ``repr`` shows."""

LEAST: Final = 10
"""The least number of epochs without an improvement after which training stops by itself."""

Stopped: TypeAlias = Literal["finished", "early", "callback", "interrupted"]


@check_kinds
@dataclass(frozen=True)
class EarlyStopping:
    """Stop when ``monitor`` has not improved for ``patience`` epochs; keep the best weights.

    The best weights are restored however the training ends: by itself, by Ctrl-C, or by an error.

    Args:
        patience: after how many epochs without an improvement to stop.
        monitor: a column of the history: smaller is better where its name ends in ``loss`` or ``error``, larger
            otherwise.
        min_delta: by how much a value must be better to count as an improvement.

    Raises ``UsageError`` for an option out of its range.
    """

    patience: Count = 5
    monitor: str = "val_loss"
    min_delta: NonNegative = 0.0

    @property
    def sign(self) -> int:
        """1 where smaller is better, -1 where larger is."""
        return sign_of(self.monitor)


def stopping(
    given: EarlyStopping | Natural | None, epochs: int, *, is_watched: bool, is_scheduled: bool
) -> EarlyStopping | None:
    """The rule for what ``fit`` is given: itself, that of a patience, or the usual one where validation is watched.

    The usual patience is a fifth of the epochs, and at least ``LEAST``: less costs accuracy on small tables. A schedule
    is gone through to its end.
    """
    if given is None and is_watched:
        return EarlyStopping(epochs if is_scheduled else max(LEAST, epochs // 5))
    return EarlyStopping(given) if isinstance(given, int) and given else given or None


@dataclass
class History(Mapping[str, list[float]]):
    """The metrics of each epoch, by name: ``history["val_loss"]`` is one of them as a list.

    Args:
        rows: one dict an epoch: ``epoch`` (from 1), ``loss`` (the mean over the epoch's steps), ``learning_rate`` (of
            the last step), each metric of the training examples and, with validation, ``val_loss`` and ``val_…`` for
            each metric.
        stopped: why training stopped: ``"finished"``, ``"early"`` (early stopping), ``"callback"`` or
            ``"interrupted"`` (Ctrl-C).
        best_epoch: the epoch whose weights were kept; ``None`` where the last ones are.
        held_out: the number of validation examples; 0 without any, and where they come in batches.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    stopped: Stopped = "finished"
    best_epoch: int | None = None
    held_out: int = 0

    if not TYPE_CHECKING:
        __getattr__ = attributes_of("history")

    def __getitem__(self, name: str) -> list[float]:
        """One column."""
        return [row[name] for row in self.rows]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows[0] if self.rows else ())

    def __len__(self) -> int:
        return len(self.rows[0]) if self.rows else 0

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __repr__(self) -> str:
        return "\n".join([self._title(), table(*self._last())]).rstrip("\n")

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        return html_table(self._title(), *self._last())

    def _title(self) -> str:
        best = f", best epoch {self.best_epoch}" if self.best_epoch else ""
        shown = f" (the last {SHOWN} are shown)" if len(self.rows) > SHOWN else ""
        return f"History: {quantity(len(self.rows), 'epoch')}, {self.stopped}{best}{shown}"

    def _last(self) -> tuple[list[str], list[list[str]]]:
        """The headings and cells of the last few epochs."""
        rows = self.rows[-SHOWN:]
        return [f">{name}" for name in rows[0]] if rows else [], [
            [f"{each:.6g}" for each in row.values()] for row in rows
        ]


class Watch:
    """The best epoch so far by a rule, and the number of epochs since."""

    def __init__(self, rule: EarlyStopping, rows: Iterable[Mapping[str, float]] = ()) -> None:
        self.rule = rule
        self.value, self.waited = math.inf, 0
        self.epoch: int | None = None
        for row in rows:
            self.improves(row)

    def improves(self, row: Mapping[str, float]) -> bool:
        """Count an epoch; whether it is better than all before."""
        value = self.rule.sign * row[self.rule.monitor]
        if value < self.value - self.rule.min_delta:
            self.value, self.epoch, self.waited = value, int(row["epoch"]), 0
            return True
        self.waited += 1
        return False


class Best:
    """The weights of the best epoch so far, where early stopping asks for them."""

    def __init__(self, network: Trainable, rule: EarlyStopping | None) -> None:
        self.network, self.rule = network, rule
        self.watch = Watch(rule) if rule else None
        self.weights: dict[str, Array] = {}

    @property
    def epoch(self) -> int | None:
        """The best epoch."""
        return self.watch.epoch if self.watch else None

    @property
    def is_over(self) -> bool:
        """True if patience has run out."""
        return self.watch is not None and self.watch.waited >= self.watch.rule.patience

    def note(self, row: Mapping[str, float]) -> None:
        """Keep the weights if the epoch that has just ended is the best."""
        if self.watch and self.watch.improves(row):
            self.weights = {name: array.copy() for name, array in self.network.parameters.items()}

    def resume(self, rows: Iterable[Mapping[str, float]], weights: NamedArrays) -> None:
        """Restore the state after the epochs of ``rows``, the best of which had these ``weights``."""
        self.watch = Watch(self.rule, rows) if self.rule else None
        self.weights = dict(weights)

    def restore(self) -> None:
        """Put the best weights back."""
        for name, array in self.weights.items():
            self.network.parameters[name][...] = array
