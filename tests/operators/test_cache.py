"""A cache of keys and values: what the standard's own loop puts into it, and what attention reads from it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from misfits import Row, assert_refused, f, i, row_id
from torch_side import ours

from portable_nn.core.errors import GraphError
from portable_nn.engines.once import run_numpy
from portable_nn.operators import Leaf, emit, trace
from portable_nn.operators.registry import Array

RNG = np.random.default_rng(0)


def written(cache: Array, update: Array, starts: Array, axis: int, mode: str) -> Array:
    """The loop in the standard's description."""
    present = cache.copy()
    for prefix in np.ndindex(cache.shape[:axis]):
        for step in range(update.shape[axis]):
            place = starts[prefix[0]] + step
            present[(*prefix, place % cache.shape[axis] if mode == "circular" else place)] = update[(*prefix, step)]
    return present


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_steps_are_put_where_the_standard_has_them(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    axis, mode = data.draw(st.integers(1, len(shape) - 1)), data.draw(st.sampled_from(["linear", "circular"]))
    size, length = shape[axis], data.draw(st.integers(0, shape[axis]))
    low, high = (0, size - length) if mode == "linear" else (-9, 9)
    starts = np.array(data.draw(st.lists(st.integers(low, high), min_size=shape[0], max_size=shape[0])))
    cache, update = RNG.normal(size=shape), RNG.normal(size=(*shape[:axis], length, *shape[axis + 1 :]))
    named = axis - data.draw(st.sampled_from([0, len(shape)]))
    [found] = ours("TensorScatter", [cache, update, starts], axis=named, mode=mode)
    np.testing.assert_array_equal(found, written(cache, update, starts, axis, mode))


def test_a_decoder_that_keeps_a_cache_attends_to_all_it_has_seen() -> None:
    """One step after another, where the two examples have begun with prompts of 2 and of 4 positions."""
    lengths, steps, x = np.array([2, 4]), 3, RNG.normal(size=(3, 2, 2, 7, 4)).astype("float32")
    keys, values = (np.zeros((2, 2, 8, 4), "float32") for _ in range(2))
    for example, length in enumerate(lengths):
        keys[example, :, :length], values[example, :, :length] = x[1:, example, :, :length]
    for _ in range(steps):
        at = (np.arange(2)[:, np.newaxis], np.arange(2), lengths[:, np.newaxis])
        query, key, value = (part[at][:, :, np.newaxis] for part in x)
        [keys] = ours("TensorScatter", [keys, key, lengths])
        [values] = ours("TensorScatter", [values, value, lengths])
        lengths = lengths + 1
        [found] = ours("Attention", [query, keys, values, None, None, None, lengths])
        for example, length in enumerate(lengths):
            scores = query[example] @ np.swapaxes(x[1, example, :, :length], 1, 2) / 2
            shares = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
            np.testing.assert_allclose(found[example], shares @ x[2, example, :, :length], rtol=1e-5, atol=1e-6)


CACHE, UPDATE = f(2, 3, 5, 4), f(2, 3, 2, 4)
MISFITS: list[Row] = [
    ("TensorScatter", inputs, options, message)
    for inputs, options, message in [
        ([CACHE, UPDATE], {"mode": "round"}, "mode must be linear or circular, not 'round'"),
        ([CACHE, UPDATE], {"axis": -4}, "axis must not be 0, which is the batch"),
        ([CACHE, UPDATE], {"axis": 4}, "axis 4 is outside an input of 4 dimensions"),
        ([CACHE, UPDATE], {"axis": 1},
         "update must be float32 (2, 3, 5, 4), as past_cache is, not float32 (2, 3, 2, 4)"),
        ([CACHE, f(2, 3)], {}, "update must be float32 (2, 3, 5, 4), as past_cache is, not float32 (2, 3)"),
        ([CACHE, f(2, 3, 6, 4)], {}, "update (2, 3, 6, 4) has more positions than past_cache (2, 3, 5, 4)"),
        ([CACHE, UPDATE, i(3)], {}, "write_indices must be int64 (2,), one for each example, not int64 (3,)"),
    ]
]  # fmt: skip


@pytest.mark.parametrize("row", MISFITS, ids=row_id)
def test_node_that_does_not_fit(row: Row) -> None:
    assert_refused(row)


@pytest.mark.parametrize("start", [-1, 4])
def test_a_place_that_is_not_there_raises_an_error_while_it_runs(start: int) -> None:
    leaves = [Leaf("cache", "float32", (2, 5)), Leaf("update", "float32", (2, 2)), Leaf("starts", "int64", (2,))]
    graph = trace(leaves, [emit("TensorScatter", *leaves, axis=1, name="here")]).graph
    message = f"'here' (TensorScatter): write_indices must be from 0 to 3, not {start}"
    feeds = {"cache": np.zeros((2, 5), "f"), "update": np.ones((2, 2), "f"), "starts": np.array([1, start])}
    with pytest.raises(GraphError, match="^" + re.escape(message) + "$"):
        run_numpy(graph, {}, feeds)
