"""What a training tells, which epoch was its best, and when it stops before its end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from portable_nn.core.errors import UsageError
from portable_nn.operators.registry import Array
from portable_nn.training.trainable import Trainable

Stopped: TypeAlias = Literal["finished", "early", "interrupted"]


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when ``monitor`` has not improved by ``min_delta`` for ``patience`` epochs; keep the best weights.

    The best weights are put back however the training ends: by itself, by Ctrl-C, or by an error.
    """

    patience: int = 5
    monitor: str = "val_loss"
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise UsageError(f"patience must be at least 1 epoch, not {self.patience}")

    @property
    def sign(self) -> int:
        """1 where smaller is better, -1 where larger is."""
        return 1 if self.monitor.endswith(("loss", "error")) else -1


@dataclass
class History:
    """What each epoch gave: rows with ``epoch``, ``loss``, ``learning_rate`` and, with validation, ``val_…``.

    ``loss`` is the mean over the epoch's steps, ``learning_rate`` that of the last one. ``best_epoch`` is the one whose
    weights early stopping kept.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    stopped: Stopped = "finished"
    best_epoch: int | None = None

    def __getitem__(self, name: str) -> list[float]:
        """One column."""
        return [row[name] for row in self.rows]


class Watch:
    """Which epoch was the best so far by a rule, and how many have passed since."""

    def __init__(self, rule: EarlyStopping, rows: Iterable[Mapping[str, float]] = ()) -> None:
        self.rule = rule
        self.value, self.waited = math.inf, 0
        self.epoch: int | None = None
        for row in rows:
            self.improves(row)

    def improves(self, row: Mapping[str, float]) -> bool:
        """Note an epoch; whether it is better than all before."""
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
        """Whether patience has run out."""
        return self.watch is not None and self.watch.waited >= self.watch.rule.patience

    def note(self, row: Mapping[str, float]) -> None:
        """Keep the weights if the epoch that has just ended is the best."""
        if self.watch and self.watch.improves(row):
            self.weights = {name: array.copy() for name, array in self.network.parameters.items()}

    def resume(self, rows: Iterable[Mapping[str, float]], weights: Mapping[str, Array]) -> None:
        """Be as after the epochs that gave ``rows``, the best of which left ``weights``."""
        self.watch = Watch(self.rule, rows) if self.rule else None
        self.weights = dict(weights)

    def restore(self) -> None:
        """Put the best weights back."""
        for name, array in self.weights.items():
            self.network.parameters[name][...] = array
