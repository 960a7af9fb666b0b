"""The order of stored rows: a permutation, the same for a seed, and near in the file what is near in time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portable_nn.data.shuffling import Order


def by_hand(count: int, piece: int, several: int, seed: int) -> list[int]:
    """The definition in the documentation, word by word."""
    rows = np.arange(count)
    cut = [rows[start : start + piece] for start in range(0, count, piece)]
    order = np.random.default_rng([seed, 0]).permutation(len(cut))
    found: list[int] = []
    for window, start in enumerate(range(0, len(cut), several)):
        inside = np.concatenate([cut[number] for number in order[start : start + several]])
        found += inside[np.random.default_rng([seed, window + 1]).permutation(len(inside))].tolist()
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**63 - 1))
def test_each_row_once_in_the_documented_order(count: int, piece: int, several: int, seed: int) -> None:
    order = Order(count, piece, several, seed)
    found = list(order)
    assert sorted(found) == list(range(count))
    assert found == by_hand(count, piece, several, seed) == list(Order(count, piece, several, seed))
    # Local: the rows of a window come from so many pieces at most, and no piece is in two windows.
    at, seen = 0, set[int]()
    for window in range(order.windows):
        size = len(order.places(window))
        pieces = {row // piece for row in found[at : at + size]}
        assert len(pieces) <= several
        assert not pieces & seen
        at, seen = at + size, seen | pieces


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(1, 30), st.integers(1, 5), st.data())
def test_a_row_is_found_again(count: int, piece: int, several: int, data: st.DataObject) -> None:
    order, row = Order(count, piece, several, 5), data.draw(st.integers(0, count - 1))
    window, place = order.from_row(row)
    rows = [each for start, stop in order.pieces(window) for each in range(start, stop)]
    assert rows[order.places(window)[place]] == list(order)[row]


def test_other_seeds_give_other_orders_and_none_that_of_the_file() -> None:
    assert list(Order(100, 8, 3, 1)) != list(Order(100, 8, 3, 2))
    assert list(Order(100, 8, 3, None)) == list(range(100))


def test_the_numbers_of_a_seed_are_the_same_on_every_machine() -> None:
    assert list(Order(12, 3, 2, 7)) == [6, 0, 2, 1, 7, 8, 5, 9, 3, 11, 4, 10]


@pytest.mark.parametrize("several", [1, 2, 50])
def test_all_places_are_equally_likely(several: int) -> None:
    firsts = [next(iter(Order(20, 4, several, seed))) for seed in range(2000)]
    counts = np.bincount(firsts, minlength=20)
    # The chi-squared statistic of 19 degrees of freedom; 43.8 is its 99.9 % quantile.
    assert ((counts - 100) ** 2 / 100).sum() < 43.8
