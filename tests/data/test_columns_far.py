"""Columns in another unit are named, and numbers of the kind that a network was trained on never are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable_nn.data.columns import far_fault, statistics_of
from portable_nn.format.meaning import Column

KINDS: dict[str, Any] = {
    "normal": lambda rng, n: rng.normal(rng.uniform(-8, 8), 1, n),
    "narrow": lambda rng, n: rng.uniform(20, 30, n),
    "lognormal": lambda rng, n: rng.lognormal(0, 3, n),
    "Pareto": lambda rng, n: rng.pareto(1, n) + 1,
    "Cauchy": lambda rng, n: rng.standard_cauchy(n) + 3,
    "negative": lambda rng, n: -5 - rng.gamma(2, 1, n),
    "rare ones": lambda rng, n: (np.arange(n) % 40 == 0) * 1.0,
    "many zeros": lambda rng, n: (rng.random(n) < 0.3) * rng.lognormal(3, 1, n),
    "counted": lambda rng, n: np.arange(n) * 1.0,
}


def fault(train: Any, found: Any) -> str | None:
    """What is said of the column ``m`` that holds ``found``."""
    return far_fault(np.asarray(found)[:, None], [Column("m", statistics=statistics_of(train))])


@given(st.sampled_from(sorted(KINDS)), st.integers(0, 2**32 - 1), st.sampled_from([50, 1000]), st.integers(1, 300))
def test_no_part_of_the_training_data_is_far(kind: str, seed: int, count: int, taken: int) -> None:
    rng = np.random.default_rng(seed)
    train = KINDS[kind](rng, count)
    for part in (rng.choice(train, taken), np.sort(train)[:taken], np.sort(train)[-taken:]):
        assert fault(train, part) is None
        assert fault(train, np.append(part, np.nan)) is None


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "counted"])
def test_new_numbers_of_a_kind_are_not_far(kind: str) -> None:
    for seed in range(100):
        drawn = KINDS[kind](np.random.default_rng(seed), 500)
        assert fault(drawn[:200], drawn[200:]) is None


@given(st.floats(3, 1e4), st.floats(0.01, 0.2), st.sampled_from([1000, 0.001, 0.01, 60]), st.integers(1, 300))
def test_another_unit_is_named_with_both_ranges(mean: float, spread: float, factor: float, count: int) -> None:
    drawn = mean * np.random.default_rng(count).uniform(1 - spread, 1 + spread, 300)
    for sign in (1, -1):
        train, found = sign * drawn, sign * drawn[:count] * factor
        text = fault(train, found) or ""
        held = f"{found.min():g}" if count == 1 else f"{found.min():g} to {found.max():g}"
        assert text.startswith(f"column 'm' holds {held}, and training had {train.min():g} to {train.max():g}: ")


def test_prices_in_thousands_are_named_although_their_least_is_near_0() -> None:
    prices = np.random.default_rng(0).lognormal(7.8, 1, 1000).clip(326, 19_000)
    assert "holds 0.326 to " in (fault(prices, np.sort(prices)[:200] / 1000) or "")
    assert fault(prices, np.sort(prices)[:3] / 1000) is None  # Of three numbers nobody knows.


def test_an_outlier_is_no_other_unit_and_a_tenth_of_the_numbers_is() -> None:
    train = np.random.default_rng(0).normal(20, 3, 200)
    assert fault(train, [*train[:19], 9999]) is None
    assert "9999" in (fault(train, [*train[:7], 9999]) or "")
