"""Where boxes stand: arrows go down, nothing overlaps, and what can be straight is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portable_nn.diagram.layout import GAP, LANE, Layout, arrange, spread

CHAIN = [(0, 1), (1, 2), (2, 3), (3, 4)]


def things(layout: Layout) -> list[list[tuple[float, float]]]:
    """For each layer, the middle and half the width of what stands there or passes."""
    rows: list[list[tuple[float, float]]] = [[] for _ in range(layout.depth)]
    for layer, middle in zip(layout.layers, layout.middles, strict=True):
        rows[layer].append((middle, 0.5))
    for (source, _), way in layout.ways.items():
        for layer, middle in enumerate(way, layout.layers[source] + 1):
            rows[layer].append((middle, LANE / 2))
    return [sorted(row) for row in rows]


def check(layout: Layout, arrows: list[tuple[int, int]]) -> None:
    for source, target in arrows:
        assert layout.layers[source] < layout.layers[target]
        assert len(layout.ways[source, target]) == layout.layers[target] - layout.layers[source] - 1
    for row in things(layout):
        for (one, half), (other, other_half) in itertools.pairwise(row):
            assert other - one >= half + other_half + GAP - 1e-9


def test_a_chain_is_straight() -> None:
    layout = arrange(5, CHAIN)
    assert layout.layers == (0, 1, 2, 3, 4)
    assert len(set(layout.middles)) == 1


def test_a_chain_stays_straight_beside_what_skips_it() -> None:
    """As in a residual network: the arrow gives way."""
    arrows = [*CHAIN, (0, 4), (1, 3)]
    layout = arrange(5, arrows)
    check(layout, arrows)
    assert np.ptp(layout.middles) < 0.02
    assert abs(layout.ways[1, 3][0] - layout.middles[2]) > 0.5


def test_branches_stand_on_both_sides() -> None:
    arrows = [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)]
    layout = arrange(5, arrows)
    check(layout, arrows)
    assert layout.layers == (0, 1, 1, 1, 2)
    assert layout.middles[0] == pytest.approx(layout.middles[4]) == pytest.approx(np.mean(layout.middles[1:4]))


def test_branches_do_not_cross() -> None:
    """Two chains side by side, their boxes told in turn."""
    arrows = [(0, 3), (1, 2), (2, 4), (3, 5), (4, 6), (5, 6)]
    middles = arrange(7, arrows).middles
    assert (middles[3] < middles[2]) == (middles[5] < middles[4])


def test_what_nothing_leads_to_stands_just_above_its_reader() -> None:
    layout = arrange(6, [(0, 1), (1, 2), (2, 3), (3, 5), (4, 5)])
    assert layout.layers == (0, 1, 2, 3, 3, 4)


def test_nothing_and_boxes_without_arrows() -> None:
    assert arrange(0, []).depth == 0
    layout = arrange(3, [])
    assert layout.layers == (0, 0, 0)
    check(layout, [])


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    count = draw(st.integers(1, 12))
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda pair: pair[0] < pair[1])
    return count, draw(st.lists(pairs, unique=True, max_size=20)) if count > 1 else []


@given(graphs())
@settings(max_examples=60, deadline=None)
def test_any_graph(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, arrows = graph
    check(arrange(count, arrows), arrows)


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.sampled_from([0.01, 1.0, 100.0])), min_size=1, max_size=6),
)
@settings(max_examples=40, deadline=None)
def test_spread_is_the_best_there_is(rows: list[tuple[float, float]]) -> None:
    """By the conditions of the optimum: each group that touches stands at the weighted mean of what it wants."""
    wanted, weights = zip(*rows, strict=True)
    halves = [0.5] * len(rows)
    found = spread(wanted, halves, weights)
    steps = np.diff(found)
    assert (steps >= 1 + GAP - 1e-9).all()
    groups = np.split(np.arange(len(rows)), np.flatnonzero(steps > 1 + GAP + 1e-7) + 1)
    for group in groups:
        pulls = [weights[place] * (wanted[place] - found[place]) for place in group]
        sums = np.cumsum(pulls)
        assert sums[-1] == pytest.approx(0, abs=1e-6)
        assert (sums[:-1] >= -1e-6).all()  # The left part is pushed to the right part, never pulled from it.
