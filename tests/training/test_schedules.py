"""Learning-rate schedules: closed forms, and that ``fit`` follows them."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from steps import draw, mlp

import portable_nn as pnn
from portable_nn.core.errors import UsageError
from portable_nn.training.schedules import settled

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
    (pnn.Warmup(4, start=0.2), {0: 0.2, 1: 0.4, 4: 1, 9: 1}),
    (pnn.OneCycle(0.2, 0.5, 0.1), {0: 0.2, 2.5: 0.6, 5: 1, 7.5: 0.55, 10: 0.1}),
]


@pytest.mark.parametrize(("schedule", "points"), FORMS, ids=lambda part: repr(part) if callable(part) else "")
def test_closed_forms(schedule: Any, points: dict[float, float]) -> None:
    """At these moments of ten epochs."""
    for epoch, factor in points.items():
        assert schedule(epoch, 10) == pytest.approx(factor, abs=1e-15), epoch


def test_a_schedule_stays_as_it_was_made() -> None:
    for schedule, _ in FORMS:
        with pytest.raises(FrozenInstanceError):
            setattr(schedule, fields(schedule)[0].name, 1.0)


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


@pytest.mark.parametrize("total", [10, 37, 100])
def test_one_cycle_is_that_of_torch(total: int) -> None:
    """PyTorch counts the steps before the top and before the end, of which this is one less than there are."""
    torch = pytest.importorskip("torch")
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(theirs, 1.0, total_steps=total, cycle_momentum=False)
    ours = pnn.OneCycle(rise=(0.3 * total - 1) / (total - 1))
    for step in range(total):
        assert ours(step, total - 1) == pytest.approx(cycle.get_last_lr()[0], abs=1e-12), step
        theirs.step()
        if step < total - 1:
            cycle.step()


def test_a_warm_up_that_does_not_begin_at_zero_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    linear = torch.optim.lr_scheduler.LinearLR(theirs, start_factor=0.1, total_iters=4)
    for epoch in range(8):
        assert pnn.Warmup(4, start=0.1)(epoch, 8) == pytest.approx(linear.get_last_lr()[0], abs=1e-15)
        theirs.step()
        linear.step()


VALUES = [5, 4, 4.5, 4.2, 4.1, 3.9, 3.95, 3.99, 4, 4, 4, 4, 4, 1, 1, 1, 0.99, 1, 1, 1, 1]


@pytest.mark.parametrize("cooldown", [0, 2])
@pytest.mark.parametrize("patience", [1, 2, 4])
@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_a_plateau_is_that_of_torch(patience: int, cooldown: int, monitor: str) -> None:
    """PyTorch waits for one epoch more than its patience."""
    torch = pytest.importorskip("torch")
    sign = 1 if monitor == "val_loss" else -1
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        theirs, "min" if sign == 1 else "max", 0.5, patience - 1, 0.05, "abs", cooldown, 0.01, eps=0
    )
    ours = pnn.ReduceOnPlateau(patience, 0.5, monitor, 0.05, cooldown, 0.01)
    rows: list[dict[str, float]] = []
    for value in VALUES:
        rows.append({monitor: sign * value})
        plateau.step(sign * value)
        assert ours.after(rows) == pytest.approx(theirs.param_groups[0]["lr"], abs=1e-15), rows


def test_any_improvement_counts_by_default() -> None:
    rows = [{"loss": 1 - place / 1000} for place in range(9)]
    assert pnn.ReduceOnPlateau(1, 0.5, "loss").after(rows) == 1
    assert pnn.ReduceOnPlateau(1, 0.5, "loss").after([*rows, rows[-1]]) == 0.5


def test_fit_reduces_the_rate_where_nothing_improves() -> None:
    rule = pnn.ReduceOnPlateau(2, 0.5, "loss")
    x, y = draw(14, 5), draw(14, 3)
    options: dict[str, Any] = {"loss": "mean_squared_error", "epochs": 6, "schedule": rule}
    history = mlp().fit(x, y, optimizer=pnn.SGD(0.0), **options)
    assert history["learning_rate"] == [0] * 6
    history = mlp().fit(x * 0, y, optimizer=pnn.SGD(3.0), **options)
    wanted = [3.0 * rule.after(history.rows[:epoch]) for epoch in range(6)]
    assert history["learning_rate"] == wanted
    assert min(wanted) < 3
    with pytest.raises(UsageError, match=r"^ReduceOnPlateau watches 'val_loss', but there is loss; more with"):
        mlp().fit(x, y, **{**options, "schedule": pnn.ReduceOnPlateau()})


@pytest.mark.parametrize(("length", "patience", "cooldown"), [(3, 2, 0), (2.5, 1, 0), (4, 2, 2), (30, 1, 0)])
def test_a_plateau_after_a_warm_up_is_that_of_torch(length: float, patience: int, cooldown: int) -> None:
    """In PyTorch: a linear rise, and then a plateau that is told of the epochs that begin after it."""
    torch = pytest.importorskip("torch")
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    make, modes = torch.optim.lr_scheduler.ReduceLROnPlateau, ("min", 0.5, patience - 1, 0.05, "abs", cooldown, 0.01)
    plateau = make(theirs, *modes, eps=0)
    ours = pnn.Warmup(length, pnn.ReduceOnPlateau(patience, 0.5, "loss", 0.05, cooldown, 0.01), start=0.1)
    rows: list[dict[str, float]] = []
    for epoch, value in enumerate(VALUES):
        rise = min(1.0, 0.1 + 0.9 * epoch / length)
        wanted = theirs.param_groups[0]["lr"] * rise
        schedule = settled(ours, rows)
        assert schedule is not None
        assert schedule(epoch, len(VALUES)) == pytest.approx(wanted, abs=1e-15), epoch
        rows.append({"loss": value})
        if epoch >= length:
            plateau.step(value)


def test_fit_warms_up_and_then_watches() -> None:
    rule = pnn.ReduceOnPlateau(1, 0.5, "loss", 1e9)
    x, y = draw(14, 5), draw(14, 3)
    options: dict[str, Any] = {"loss": "mean_squared_error", "epochs": 6, "optimizer": pnn.SGD(0.1), "batch_size": 14}
    history = mlp().fit(x, y, **options, schedule=pnn.Warmup(2, rule, start=0.5))
    # The first epoch after the rise is an improvement on nothing; none is after it.
    assert history["learning_rate"] == pytest.approx([0.05, 0.075, 0.1, 0.1, 0.05, 0.025])
    with pytest.raises(UsageError, match=r"^ReduceOnPlateau watches 'val_loss', but there is loss; more with"):
        mlp().fit(x, y, **options, schedule=pnn.Warmup(2, pnn.ReduceOnPlateau()))
    with pytest.raises(UsageError, match=r"^a warm-up before ReduceOnPlateau has factors in fit alone"):
        pnn.Warmup(2, rule)(3, 6)


def test_wrong_arguments() -> None:
    for make, message in (
        (lambda: pnn.Warmup(1, start=2), "start must be a number from 0 to 1, not 2"),
        (lambda: pnn.OneCycle(rise=1), "rise must be a number above 0 and below 1, not 1"),
        (lambda: pnn.OneCycle(start=-1), "start must be a finite number from 0, not -1"),
        (lambda: pnn.ReduceOnPlateau(0), "patience must be a whole number from 1, not 0"),
        (lambda: pnn.ReduceOnPlateau(factor=1), "factor must be a number above 0 and below 1, not 1"),
        (lambda: pnn.ReduceOnPlateau(cooldown=-1), "cooldown must be a whole number from 0, not -1"),
    ):
        with pytest.raises(UsageError, match=f"^{message}$"):
            make()
    with pytest.raises(UsageError, match=r"^every must be a whole number from 1, not 0$"):
        pnn.StepDecay(0)
    with pytest.raises(UsageError, match=r"^length must be a finite number above 0, not 0$"):
        pnn.Warmup(0)
