"""Rotary embeddings: pairs of features are complex numbers, which are turned by multiplication."""

from __future__ import annotations

import re

import numpy as np
import pytest
from misfits import Row, assert_refused, f, i, row_id
from torch_side import assert_same, ours, theirs

from portable_nn.core.errors import GraphError
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, emit, trace
from portable_nn.operators.registry import Array

ANGLES = np.outer(np.arange(9), 0.7 ** np.arange(3)).astype("float32")
"""Of 9 positions and 3 pairs of features."""

PLACES = np.array([[0, 8, 3, 3], [5, 1, 7, 2]])


def turned(x: Array, angles: Array, *, interleaved: int, count: int) -> Array:
    """(batch, heads, positions, features) turned by angles (batch, positions, pairs)."""
    x = x.astype(np.complex128)
    first, second = (x[..., 0:count:2], x[..., 1:count:2]) if interleaved else np.split(x[..., :count], 2, -1)
    made = (first + 1j * second) * np.exp(1j * angles)[:, np.newaxis]
    out = x.real.copy()
    parts = np.stack([made.real, made.imag], -1 if interleaved else -2)
    out[..., :count] = parts.reshape(*x.shape[:-1], count)
    return out


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("features", [6, 8])
@pytest.mark.parametrize("looked_up", [True, False])
@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_pairs_are_turned(interleaved: int, features: int, looked_up: bool, flat: bool, dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 4, features)).astype(dtype)
    wanted = turned(x, ANGLES[PLACES], interleaved=interleaved, count=6)
    table = ANGLES if looked_up else ANGLES[PLACES]
    options = {"interleaved": interleaved} | ({"rotary_embedding_dim": 6} if features > 6 else {})
    if flat:
        options["num_heads"] = 5
        x, wanted = (np.ascontiguousarray(a.transpose(0, 2, 1, 3)).reshape(2, 4, -1) for a in (x, wanted))
    inputs = [x, np.cos(table).astype(dtype), np.sin(table).astype(dtype), PLACES if looked_up else None]
    assert_same(
        ours("RotaryEmbedding", inputs, **options), [wanted.astype(dtype)], 1e-6 if dtype == "float32" else 2e-3
    )


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("looked_up", [True, False])
def test_what_flows_back_is_what_torch_derives(interleaved: int, looked_up: bool) -> None:
    x = np.random.default_rng(1).normal(size=(2, 4, 40)).astype("float32")
    table = ANGLES if looked_up else ANGLES[PLACES]
    inputs = [x, np.cos(table), np.sin(table)]
    found = ours(
        "RotaryEmbedding",
        [*inputs, PLACES if looked_up else None],
        [0, 1, 2],
        interleaved=interleaved,
        rotary_embedding_dim=6,
        num_heads=5,
    )

    def function(torch: object, x: Array, cosine: Array, sine: Array) -> object:
        heads = x.reshape(2, 4, 5, 8)
        pick = (slice(0, 6, 2), slice(1, 6, 2)) if interleaved else (slice(0, 3), slice(3, 6))
        first, second = (heads[..., part] for part in pick)
        c, s = (value[PLACES] if looked_up else value for value in (cosine, sine))
        c, s = c[:, :, None], s[:, :, None]
        out = heads.clone()  # type: ignore[attr-defined]
        out[..., pick[0]], out[..., pick[1]] = first * c - second * s, first * s + second * c
        return out.reshape(2, 4, 40)

    assert_same(found, theirs(function, inputs, [0, 1, 2]))


X, CACHE = f(2, 4, 3, 6), f(9, 3)
MISFITS: list[Row] = [
    ("RotaryEmbedding", inputs, options, message)
    for inputs, options, message in [
        ([f(2, 6), CACHE, CACHE], {},
         "X must be (batch, heads, positions, features) or (batch, positions, features of all heads), not (2, 6)"),
        ([f(2, 3, 24), CACHE, CACHE, i(2, 3)], {}, "an X of 3 dimensions needs num_heads, 1 or more, not 0"),
        ([f(2, 3, 24), CACHE, CACHE, i(2, 3)], {"num_heads": 5},
         "num_heads must divide the 24 features of X, not be 5"),
        ([X, CACHE, CACHE, i(2, 3)], {"num_heads": 3}, "num_heads is 3, but X (2, 4, 3, 6) has 4 heads"),
        ([f(2, 4, 3, "n"), CACHE, CACHE, i(2, 3)], {}, "a head must have a known number of features, not n"),
        ([X, CACHE, CACHE, i(2, 3)], {"rotary_embedding_dim": 8},
         "the features to be turned must be an even number of at most 6, not 8"),
        ([X, CACHE, CACHE, i(2, 3)], {"rotary_embedding_dim": 3},
         "the features to be turned must be an even number of at most 6, not 3"),
        ([X, CACHE, f(9, 2), i(2, 3)], {}, "sin_cache must be float32 (9, 3), not float32 (9, 2)"),
        ([X, CACHE, CACHE], {}, "cos_cache must be float32 (2, 3, 3), not float32 (9, 3)"),
        ([X, CACHE, CACHE, i(3, 2)], {}, "position_ids must be int64 (2, 3), as X has its positions, not int64 (3, 2)"),
        ([Leaf(None, "float64", (2, 4, 3, 6)), CACHE, CACHE], {}, "it is not defined for float64"),
    ]
]  # fmt: skip


@pytest.mark.parametrize("row", MISFITS, ids=row_id)
def test_node_that_does_not_fit(row: Row) -> None:
    assert_refused(row)


@pytest.mark.parametrize("place", [9, -10])
def test_a_position_that_is_outside_raises_an_error_while_it_runs(place: int) -> None:
    leaves = [Leaf("x", "float32", (1, 1, 1, 6)), Leaf("c", "float32", (9, 3)), Leaf("p", "int64", (1, 1))]
    x, cache, places = leaves
    plan = Plan(trace(leaves, [emit("RotaryEmbedding", x, cache, cache, places, name="here")]).graph, {}, {})
    plan.run()
    plan.inputs["p"][...] = place
    message = f"'here' (RotaryEmbedding): position {place} is outside the 9 positions of cos_cache"
    with pytest.raises(GraphError, match="^" + re.escape(message) + "$"):
        plan.run()
