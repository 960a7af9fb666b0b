"""Learning-rate schedules: closed forms, and that ``fit`` follows them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from steps import draw, mlp

import portable_nn as pnn
from portable_nn.core.errors import UsageError

FORMS: list[tuple[Any, dict[float, float]]] = [
    (pnn.StepDecay(2, 0.5), {0: 1, 1.99: 1, 2: 0.5, 3.9: 0.5, 4: 0.25, 9: 0.0625}),
    (pnn.StepDecay(3), {2: 1, 3: 0.1, 6: 0.01}),
    (pnn.ExponentialDecay(0.9), {0: 1, 0.5: math.sqrt(0.9), 2: 0.81, 10: 0.9**10}),
    (pnn.CosineDecay(), {0: 1, 2.5: (1 + math.sqrt(0.5)) / 2, 5: 0.5, 10: 0, 11: 0}),
    (pnn.CosineDecay(0.2), {0: 1, 5: 0.6, 10: 0.2}),
    (pnn.Warmup(4), {0: 0, 1: 0.25, 3.5: 0.875, 4: 1, 9: 1}),
    (pnn.Warmup(2, pnn.CosineDecay()), {0: 0, 1: 0.5, 2: 1, 6: 0.5, 10: 0}),
    (pnn.Warmup(0.5, pnn.CosineDecay()), {0.25: 0.5, 0.5: 1, 5.25: 0.5, 10: 0}),
    (pnn.Warmup(2, pnn.StepDecay(3, 0.5)), {2: 1, 4.9: 1, 5: 0.5, 8: 0.25}),
    (pnn.Warmup(20, pnn.CosineDecay()), {10: 0.5}),
]


@pytest.mark.parametrize(("schedule", "points"), FORMS, ids=lambda part: repr(part) if callable(part) else "")
def test_closed_forms(schedule: Any, points: dict[float, float]) -> None:
    """At these moments of ten epochs."""
    for epoch, factor in points.items():
        assert schedule(epoch, 10) == pytest.approx(factor, abs=1e-15), epoch


def test_fit_applies_the_schedule_at_every_step() -> None:
    """Four batches an epoch; the history tells the rate of the last one."""
    moments: list[tuple[float, float]] = []

    def schedule(epoch: float, epochs: float) -> float:
        moments.append((epoch, epochs))
        return 1 / (1 + epoch)

    history = mlp().fit(
        draw(14, 5),
        draw(14, 3),
        loss="mean_squared_error",
        optimizer=pnn.SGD(0.1),
        schedule=schedule,
        epochs=3,
        batch_size=4,
    )
    assert moments == [(quarter / 4, 3) for quarter in range(12)]
    assert history["learning_rate"] == [pytest.approx(0.1 / (1 + epoch)) for epoch in (0.75, 1.75, 2.75)]


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in FORMS], ids=repr)
def test_the_history_tells_the_rate(schedule: Any) -> None:
    history = mlp().fit(
        draw(8, 5),
        draw(8, 3),
        loss="mean_squared_error",
        optimizer=pnn.Adam(0.01),
        schedule=schedule,
        epochs=5,
        batch_size=8,
    )
    assert history["learning_rate"] == [pytest.approx(0.01 * schedule(epoch, 5)) for epoch in range(5)]


def test_wrong_arguments() -> None:
    with pytest.raises(UsageError, match=r"^every must be at least 1 epoch, not 0$"):
        pnn.StepDecay(0)
    with pytest.raises(UsageError, match=r"^length must be more than 0 epochs, not 0$"):
        pnn.Warmup(0)
