"""How often 95 % intervals hold the true value: on samples of known distributions, whose figures have closed forms.

``python tests/evaluation/test_intervals.py 2000`` prints the table of docs/sweeps.md, from so many samples a case.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from portable_nn.evaluation.classes import ClassScores
from portable_nn.evaluation.probabilities import log_probabilities
from portable_nn.evaluation.scoring import NumberScores

SEEN = 0.05
"""Cases in which fewer samples have an interval do not count: those samples are none of their kind."""

NUMBERS = ("bias", "mae", "rmse", "r2")
SHARES = ("accuracy", "precision", "recall", "class f1")
TITLES = {
    "accuracy": "accuracy",
    "precision": "precision of a class",
    "recall": "recall of a class",
    "class f1": "F1 of a class",
    "f1": "mean F1",
    "auc": "ROC AUC",
    "loss": "cross entropy",
    "bias": "bias",
    "mae": "MAE",
    "rmse": "RMSE, mean squared error",
    "r2": "R²",
}
NEEDS = {
    **dict.fromkeys(SHARES, "1 example"),
    **dict.fromkeys(("f1", "auc"), "10 examples of each class"),
    "bias": "20 examples",
    "mae": "60 examples",
    **dict.fromkeys(("loss", "rmse"), "100 examples"),
    "r2": "150 examples",
}


def phi(x: Any) -> Any:
    return 0.5 * (1 + np.vectorize(math.erf)(np.asarray(x) / math.sqrt(2)))


class Errors(NamedTuple):
    """A distribution of errors: what draws them, their mean, mean absolute value and mean square."""

    draw: Callable[[np.random.Generator, int], np.ndarray]
    bias: float
    mae: float
    square: float


def student(freedom: int) -> Errors:
    gammas = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2)
    mae = 2 * math.sqrt(freedom / math.pi) * gammas / (freedom - 1)
    square = freedom / (freedom - 2) if freedom > 2 else math.inf
    return Errors(lambda rng, n: rng.standard_t(freedom, n), 0, mae, square)


def lognormal(sigma: float) -> Errors:
    mean = math.exp(sigma**2 / 2)
    mae = mean * (4 * float(phi(sigma / 2)) - 2)
    return Errors(lambda rng, n: rng.lognormal(0, sigma, n) - mean, 0, mae, mean**2 * (mean**2 - 1))


ROOT = math.sqrt(2 / math.pi)
ERRORS = {
    "normal": Errors(lambda rng, n: rng.normal(size=n), 0, ROOT, 1),
    "biased": Errors(lambda rng, n: rng.normal(1, 1, n), 1, ROOT * math.exp(-0.5) + 1 - 2 * float(phi(-1)), 2),
    "uniform": Errors(lambda rng, n: rng.uniform(-1, 1, n), 0, 0.5, 1 / 3),
    "exponential": Errors(lambda rng, n: rng.exponential(size=n) - 1, 0, 2 / math.e, 1),
    "positive": Errors(lambda rng, n: rng.exponential(size=n), 1, 1, 2),
    "gamma": Errors(lambda rng, n: rng.gamma(4, size=n) - 4, 0, 2 * 4**4 * math.exp(-4) / 6, 4),
    "lognormal ½": lognormal(0.5),
    "lognormal 1": lognormal(1.0),
    "Laplace": Errors(lambda rng, n: rng.laplace(size=n), 0, 1, 2),
    "t with 5": student(5),
    "t with 3": student(3),
    "t with 2": student(2),
}


class Found(NamedTuple):
    """An interval of one sample, or None, and the true value."""

    figure: str
    case: str
    interval: tuple[float, float] | None
    true: float


def of_numbers(count: int, name: str, samples: int, rng: np.random.Generator) -> Iterator[Found]:
    law = ERRORS[name]
    truth = {"bias": law.bias, "mae": law.mae, "rmse": math.sqrt(law.square), "r2": 1 - law.square / 9}
    for _ in range(samples):
        targets, scores = rng.normal(0, 3, (count, 1)), NumberScores()
        scores.update(targets + law.draw(rng, count)[:, np.newaxis], targets)
        found = scores.result().numbers[0]
        for figure, true in truth.items():
            if math.isfinite(true):
                yield Found(figure, f"{name}, {count} examples", getattr(found, f"{figure}_interval"), true)


def of_two(count: int, rare: float, apart: float, samples: int, rng: np.random.Generator) -> Iterator[Found]:
    """Two classes, whose logits are normal: the second is ``rare``, and so many deviations ``apart``."""
    hit, alarm = rare * float(phi(apart / 2)), (1 - rare) * float(phi(-apart / 2))
    grid = np.linspace(-10, 10, 4001)
    bell = np.exp(-0.5 * grid**2) / math.sqrt(2 * math.pi) * (grid[1] - grid[0])
    losses = [float((np.logaddexp(0, side * grid - apart / 2) * bell).sum()) for side in (1, -1)]
    right = float(phi(apart / 2))
    truth = {
        "accuracy": right,
        "precision": hit / (hit + alarm),
        "recall": right,
        "class f1": 2 * hit / (hit + alarm + rare),
        "f1": hit / (hit + alarm + rare) + right * (1 - rare) / (2 - rare - hit - alarm),
        "auc": float(phi(apart / math.sqrt(2))),
        "loss": rare * losses[1] + (1 - rare) * losses[0],
    }
    for _ in range(samples):
        classes = (rng.random(count) < rare).astype(np.int64)
        logits = rng.normal(size=count) + apart * (classes - 0.5)
        yield from _of_classes(
            logits[:, np.newaxis], classes, truth, f"classes {apart} apart, one {rare:.0%} of {count}"
        )


def of_several(count: int, joint: np.ndarray, name: str, samples: int, rng: np.random.Generator) -> Iterator[Found]:
    """Several classes: ``joint`` has the probability of each class with each answer."""
    each = 2 * np.diag(joint) / (joint.sum(0) + joint.sum(1))
    last = joint[-1, -1]
    truth = {
        "accuracy": float(np.trace(joint)),
        "precision": last / joint[:, -1].sum(),
        "recall": last / joint[-1].sum(),
        "class f1": float(each[-1]),
        "f1": float(each.mean()),
    }
    case = f"{name} of {count} right"
    for _ in range(samples):
        cells = rng.choice(joint.size, count, p=joint.ravel())
        yield from _of_classes(np.eye(len(joint))[cells % len(joint)], cells // len(joint), truth, case)


def _of_classes(logits: np.ndarray, classes: np.ndarray, truth: dict[str, float], case: str) -> Iterator[Found]:
    kind = "logits" if logits.shape[1] > 1 else "binary_logits"
    scores = ClassScores([str(place) for place in range(max(2, logits.shape[1]))])
    scores.update(log_probabilities(logits, kind), classes)
    found = scores.result()
    last = found.classes[-1]
    for figure, true in truth.items():
        owner = last if figure in SHARES[1:] else found
        yield Found(figure, case, getattr(owner, f"{figure.removeprefix('class ')}_interval"), true)


def joint(shares: list[float], recall: float, *, near: bool) -> np.ndarray:
    """Classes with these shares and this recall; what is wrong is taken for the next class, or for any."""
    size = len(shares)
    wrong = np.roll(np.eye(size), 1, axis=1) if near else (1 - np.eye(size)) / (size - 1)
    return np.array(shares)[:, np.newaxis] * (recall * np.eye(size) + (1 - recall) * wrong)


def every(samples: int, counts: tuple[int, ...], seed: int = 0) -> Iterator[Found]:
    """What is found in all cases."""
    rng = np.random.default_rng(seed)
    for count in counts:
        for name in ERRORS:
            yield from of_numbers(count, name, samples, rng)
        for rare in (0.5, 0.2, 0.05):
            for apart in (0.0, 1.0, 2.5, 4.0):
                yield from of_two(count, rare, apart, samples, rng)
        for recall in (0.6, 0.9, 0.99):
            for shares, near in (([0.5, 0.3, 0.2], True), ([0.3, *[0.1] * 6, *[1 / 30] * 3], False)):
                name = f"{len(shares)} classes, {recall:.0%}"
                yield from of_several(count, joint(shares, recall, near=near), name, samples, rng)


class Row(NamedTuple):
    """How often the intervals of a figure hold: in the worst case, and in the mean of all."""

    least: float
    case: str
    mean: float
    shown: float
    wide: bool


def rows(found: Iterator[Found]) -> dict[str, Row]:
    """The coverage by figure, over the cases in which samples do have intervals."""
    counted: dict[tuple[str, str], list[float]] = {}
    for figure, case, interval, true in found:
        sums = counted.setdefault((figure, case), [0, 0, 0, 1])
        sums[0] += 1
        if interval is not None:
            sums[1] += 1
            sums[2] += interval[0] <= true <= interval[1]
            sums[3] = min(sums[3], interval[1] - interval[0])
    result = {}
    for figure in TITLES:
        cases = {case: sums for (name, case), sums in counted.items() if name == figure and sums[1] > SEEN * sums[0]}
        if cases:
            held = {case: sums[2] / sums[1] for case, sums in cases.items()}
            worst = min(held, key=lambda case: held[case])
            shown = np.mean([sums[1] / sums[0] for sums in cases.values()])
            wide = all(sums[3] > 0 for sums in cases.values())
            result[figure] = Row(held[worst], worst, float(np.mean([*held.values()])), float(shown), wide)
    return result


COUNTS = (20, 60, 100, 150, 300, 1000)


def table(found: dict[str, Row]) -> str:
    """The table of the documentation."""
    lines = ["| figure | has an interval from | holds, on average | in the worst case |", "|---|---|---|---|"]
    for figure, row in found.items():
        lines.append(f"| {TITLES[figure]} | {NEEDS[figure]} | {row.mean:.1%} | {row.least:.1%} ({row.case}) |")
    return "\n".join(lines).replace("%", " %")


def holds(found: dict[str, Row], slack: float = 0.0) -> None:
    assert set(found) == set(TITLES)
    for figure, row in found.items():
        assert row.wide, figure
        assert row.least >= 0.93 - slack, (figure, row)
        assert 0.94 - slack <= row.mean <= (0.99 if figure in SHARES else 0.975), (figure, row)


def test_intervals_begin_where_the_documentation_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text(encoding="utf-8")
    assert all(f"| {TITLES[figure]} | {needs} | " in page for figure, needs in NEEDS.items())
    rng = np.random.default_rng(2)
    for figure, least in ((name, int(NEEDS[name].split()[0])) for name in (*NUMBERS, "loss")):
        for count in (least - 1, least):
            cases = of_two(count, 0.5, 1.0, 1, rng) if figure == "loss" else of_numbers(count, "normal", 1, rng)
            [found] = [each for each in cases if each.figure == figure]
            assert (found.interval is None) == (count < least), (figure, count)
    for rare, least in ((9, False), (10, True)):
        classes = np.repeat([0, 1], [30, rare])
        cases = _of_classes(rng.normal(size=(30 + rare, 1)), classes, dict.fromkeys(("f1", "auc"), 0.5), "")
        assert {each.figure for each in cases if each.interval} == ({"f1", "auc"} if least else set())


@pytest.mark.sweep
def test_intervals_hold_in_every_case() -> None:
    """Within two deviations of the share of two thousand samples."""
    found = rows(every(2000, COUNTS))
    print(table(found))
    holds(found, 2 * math.sqrt(0.93 * 0.07 / 2000))


@pytest.mark.long
def test_intervals_hold_in_most_samples() -> None:
    """Within four deviations of the share of two hundred samples, of which the worst of many cases is off by three."""
    holds(rows(every(200, (20, 100, 400), seed=1)), 4 * math.sqrt(0.93 * 0.07 / 200))


if __name__ == "__main__":
    print(table(rows(every(int(sys.argv[1]), COUNTS))))
