"""The largest and smallest elements against PyTorch and a plain sort, and uses that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from misfits import Row, assert_refused, f, row_id
from torch_side import assert_same, ours, theirs

from portable_nn.core.errors import GraphError
from portable_nn.engines.plan import Plan
from portable_nn.operators import constant, emit_all, integers, trace
from portable_nn.operators.registry import Array


def expected(x: Array, count: int, *, largest: bool) -> tuple[Array, Array]:
    """By a sort of pairs of an element and its index."""
    sign = -1 if largest else 1
    rows = [sorted(range(len(row)), key=lambda i, row=row: (sign * int(row[i]), i))[:count] for row in x]
    places = np.array(rows, np.int64).reshape(len(x), count)
    return np.take_along_axis(x, places, 1), places


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16"])
@pytest.mark.parametrize("count", [1, 3, 64])
def test_of_equal_elements_the_first_ones_are_taken(dtype: str, largest: int, count: int) -> None:
    x = np.random.default_rng(0).integers(0, 6, (4, 64)).astype(dtype)
    found = ours("TopK", [x, np.array([count])], known=[1], largest=largest, outputs=2)
    assert_same(found, expected(x, count, largest=bool(largest)))


@pytest.mark.parametrize("limits", ["int64", "uint64"])
def test_limits_of_whole_numbers(limits: str) -> None:
    low, high = np.iinfo(limits).min, np.iinfo(limits).max
    x = np.array([[0, high, low, high - 1, 1, high]], limits)
    values, places = ours("TopK", [x, np.array([3])], known=[1], outputs=2)
    np.testing.assert_array_equal(values, [[high, high, high - 1]])
    np.testing.assert_array_equal(places, [[1, 5, 3]])


@pytest.mark.parametrize(("axis", "count"), [(-1, 3), (0, 2), (1, 40)])
@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_is_torchs_topk(axis: int, count: int, largest: int, dtype: str) -> None:
    x = np.random.default_rng(1).normal(size=(3, 90, 5)).astype(dtype)
    found = ours("TopK", [x, np.array([count])], [0], known=[1], axis=axis, largest=largest, sorted=0, outputs=2)
    assert_same(found, theirs(lambda torch, x: tuple(torch.topk(x, count, axis, bool(largest))), [x], [0]))


@pytest.mark.parametrize(("largest", "count", "wanted"), [(1, 2, [7, 1]), (0, 2, [3, 0]), (1, 9, None)])
def test_what_is_no_number_is_larger_than_all_others(largest: int, count: int, wanted: list[int] | None) -> None:
    x = np.arange(80.0) % 10 + 1
    x[[3, 7]] = -1, np.nan
    x[1] = 99
    _, places = ours("TopK", [x, np.array([count])], known=[1], largest=largest, outputs=2)
    assert places[0] == (7 if largest else 3)
    if wanted:
        np.testing.assert_array_equal(places, wanted)


MISFITS: list[Row] = [
    ("TopK", [f(2, 3), integers([4])], {"outputs": 2}, "K must be 0 to 3, the size of axis 1, not 4"),
    ("TopK", [f(2, "n"), integers([-1])], {"outputs": 2}, "K must be 0 to n, the size of axis 1, not -1"),
    ("TopK", [f(2, 3), integers([1, 2])], {"outputs": 2}, "K must be one number, not int64 (2,)"),
    ("TopK", [f(2, 3), integers([1])], {}, "it has two outputs, Values and Indices, not 1"),
    ("TopK", [f(2, 3), integers([1])], {"axis": 2, "outputs": 2}, "axis 2 is outside an input of 2 dimensions"),
    ("TopK", [constant([True], "bool"), integers([1])], {"outputs": 2}, "it is not defined for bool"),
]  # fmt: skip


@pytest.mark.parametrize("row", MISFITS, ids=row_id)
def test_node_that_does_not_fit(row: Row) -> None:
    assert_refused(row)


def test_more_than_there_are_raises_an_error_when_the_plan_is_made() -> None:
    x = f("n", 2)
    graph = trace([x], emit_all("TopK", x, integers([3]), axis=0, outputs=2, name="here")).graph
    Plan(graph, {graph.inputs[0].name: (3, 2)}, {})
    with pytest.raises(GraphError, match=r"^'here' \(TopK\): K must be 0 to 2, the size of axis 0, not 3$"):
        Plan(graph, {graph.inputs[0].name: (2, 2)}, {})
