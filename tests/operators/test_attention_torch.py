"""Attention against PyTorch and a plain loop over queries, and uses that do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from misfits import Row, assert_refused, f, row_id
from torch_side import assert_same, ours, theirs

from portable_nn.operators import Leaf
from portable_nn.operators.registry import Array

RNG = np.random.default_rng(0)


def heads(queries: int, keys: int, *, shared: int = 1, dtype: str = "float64") -> list[Array]:
    shapes = (2, 2 * shared, queries, 4), (2, 2, keys, 4), (2, 2, keys, 3)
    return [RNG.normal(size=shape).astype(dtype) for shape in shapes]


def scaled_dot(**options: Any) -> Any:
    return lambda torch, *x: torch.nn.functional.scaled_dot_product_attention(*x, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [None, 0.7])
@pytest.mark.parametrize(("shared", "queries", "keys"), [(1, 5, 7), (3, 4, 6), (1, 1, 8)])
def test_is_torchs_attention(shared: int, queries: int, keys: int, scale: float | None, dtype: str) -> None:
    arrays = heads(queries, keys, shared=shared, dtype=dtype)
    options = {} if scale is None else {"scale": scale}
    found = ours("Attention", arrays, [0, 1, 2], **options)
    # The attribute is a float32, and PyTorch's argument is not.
    exact = {} if scale is None else {"scale": float(str(np.float32(scale)))}
    assert_same(found, theirs(scaled_dot(enable_gqa=shared > 1, **exact), arrays, [0, 1, 2]))


@pytest.mark.parametrize("shared", [1, 2])
def test_is_torchs_causal_attention(shared: int) -> None:
    arrays = heads(5, 5, shared=shared)
    found = ours("Attention", arrays, [0, 1, 2], is_causal=1)
    assert_same(found, theirs(scaled_dot(is_causal=True, enable_gqa=shared > 1), arrays, [0, 1, 2]))


@pytest.mark.parametrize("shape", [(5, 7), (2, 1, 5, 7), (1, 2, 1, 7), (2, 2, 5, 7)])
def test_masks_are_torchs(shape: tuple[int, ...]) -> None:
    numbers, truth = RNG.normal(size=shape), RNG.random(shape) < 0.6
    truth[..., 2] = True
    for mask, wrt in ((numbers, [0, 1, 2, 3]), (truth, [0, 1, 2])):
        arrays = [*heads(5, 7), mask]
        found = ours("Attention", arrays, wrt)
        assert_same(found, theirs(scaled_dot(), arrays, wrt))
        assert_same(ours("Attention", arrays, known=[3]), found[:1])


def test_flat_rows_are_heads_side_by_side() -> None:
    arrays = heads(3, 5, shared=2)
    flat = [np.ascontiguousarray(x.transpose(0, 2, 1, 3)).reshape(2, x.shape[2], -1) for x in arrays]
    [found] = ours("Attention", flat, q_num_heads=4, kv_num_heads=2)
    [wanted] = ours("Attention", arrays)
    assert_same([found], [wanted.transpose(0, 2, 1, 3).reshape(2, 3, -1)])


def by_hand(
    arrays: Sequence[Array], allowed: Array, *, cap: float = 0, added: Array | None = None
) -> tuple[Array, Array]:
    """One query after the other; what it may see is in ``allowed``, of (batch, heads, queries, keys)."""
    q, k, v = arrays
    out, weights = np.zeros((*q.shape[:3], v.shape[3])), np.zeros((*q.shape[:3], k.shape[2]))
    for place in np.ndindex(q.shape[:3]):
        batch, head = place[0], place[1] // (q.shape[1] // k.shape[1])
        scores = k[batch, head] @ q[place] / np.sqrt(q.shape[3])
        scores = cap * np.tanh(scores / cap) if cap else scores
        seen = np.flatnonzero(allowed[place])
        if len(seen):
            chosen = scores[seen] + (0 if added is None else added[place][seen])
            shares = np.exp(chosen) / np.exp(chosen).sum()
            weights[place][seen], out[place] = shares, shares @ v[batch, head][seen]
    return out, weights


def positions(queries: int, keys: int, offset: Any = 0) -> tuple[Array, Array]:
    return np.arange(queries)[:, np.newaxis] + offset, np.arange(keys)


@pytest.mark.parametrize(("left", "right"), [(1, -1), (-1, 0), (2, 1), (0, 0)])
@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("queries", [4, 9])
def test_window(left: int, right: int, causal: int, queries: int) -> None:
    arrays = heads(queries, 6, shared=2)
    rows, columns = positions(queries, 6)
    seen = (left < 0) | (columns >= rows - left)
    seen = seen & ((right < 0) | (columns <= rows + right)) & (not causal or columns <= rows)
    allowed = np.broadcast_to(seen, (2, 4, queries, 6))
    options = {"left_window_size": left, "right_window_size": right, "is_causal": causal}
    found = ours("Attention", arrays, qk_matmul_output_mode=3, outputs=4, **options)
    assert_same([found[0], found[3]], by_hand(arrays, allowed))


def test_past() -> None:
    arrays, past = heads(3, 8, shared=2), 5
    q, k, v = arrays
    rows, columns = positions(3, 8, past)
    allowed = np.broadcast_to(columns <= rows, (2, 4, 3, 8))
    inputs = [q, k[:, :, past:], v[:, :, past:], None, k[:, :, :past], v[:, :, :past]]
    found = ours("Attention", inputs, is_causal=1, softcap=1.5, outputs=3)
    assert_same(found, [by_hand(arrays, allowed, cap=1.5)[0], k, v])


@pytest.mark.parametrize("causal", [0, 1])
def test_padded_keys(causal: int) -> None:
    """Where there are fewer keys than queries, the first of these see nothing."""
    arrays, lengths = heads(4, 6), np.array([6, 2])
    rows, columns = positions(4, 6, (lengths - 4)[:, np.newaxis, np.newaxis, np.newaxis])
    seen = (columns < lengths[:, np.newaxis, np.newaxis, np.newaxis]) & (not causal or columns <= rows)
    inputs = [*arrays, None, None, None, lengths]
    found = ours("Attention", inputs, is_causal=causal)
    allowed = np.broadcast_to(seen, (2, 2, 4, 6))
    assert_same(found, by_hand(arrays, allowed)[:1])
    assert causal == int(not allowed.any(-1).all())


def test_a_short_mask_hides_what_is_behind_its_end() -> None:
    arrays, mask = heads(4, 6), RNG.normal(size=(2, 1, 4, 3))
    allowed = np.broadcast_to(np.arange(6) < 3, (2, 2, 4, 6))
    added = np.broadcast_to(np.concatenate([mask, np.zeros((2, 1, 4, 3))], 3), (2, 2, 4, 6))
    assert_same(ours("Attention", [*arrays, mask]), by_hand(arrays, allowed, added=added)[:1])


def test_nothing_flows_through_a_query_that_sees_nothing() -> None:
    """What is no number there stays there."""
    q, k, v = heads(3, 4)
    mask = np.ones((3, 4), np.bool_)
    mask[1] = False
    found = ours("Attention", [q, k, v, mask], [0, 1, 2])
    assert all(np.isfinite(array).all() for array in found)
    np.testing.assert_array_equal(found[0][:, :, 1], 0)
    np.testing.assert_array_equal(found[1][:, :, 1], 0)
    q[:, :, 1] = np.nan
    poisoned = ours("Attention", [q, k, v, mask])
    assert_same(poisoned, found[:1])


@pytest.mark.parametrize("precision", [None, 1, 10, 11])
def test_half_precision(precision: int | None) -> None:
    arrays = [array.astype("float16") for array in heads(5, 7)]
    options = {} if precision is None else {"softmax_precision": precision}
    found = ours("Attention", arrays, is_causal=1, **options)
    wide = ours("Attention", [array.astype("float64") for array in arrays], is_causal=1)
    assert [array.dtype.name for array in found] == ["float16"]
    np.testing.assert_allclose(found[0], wide[0], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(("precision", "error"), [(10, 1e-3), (1, 1e-7)])
def test_softmax_in_a_lower_precision_is_as_coarse_as_that(precision: int, error: float) -> None:
    arrays = heads(5, 7)
    [exact], [found] = ours("Attention", arrays), ours("Attention", arrays, softmax_precision=precision)
    assert error / 50 < np.abs(found - exact).max() < error * 5


def test_no_keys_make_nothing() -> None:
    [found] = ours("Attention", heads(3, 0), is_causal=1)
    np.testing.assert_array_equal(found, np.zeros((2, 2, 3, 3)))


Q, K, V = f(2, 4, 3, 8), f(2, 2, 5, 8), f(2, 2, 5, 6)
PAST = [None, f(2, 2, 4, 8), f(2, 2, 4, 6)]
ROWS: list[tuple[list[Any], dict[str, Any], str]] = [
    ([f(2, 3), K, V], {},
     "Q must be (batch, heads, positions, features) or (batch, positions, features of all heads), not (2, 3)"),
    ([f(2, 3, 8), f(2, 5, 8), f(2, 5, 8)], {}, "a Q of 3 dimensions needs q_num_heads, 1 or more, not None"),
    ([f(2, 3, 8), f(2, 5, 8), f(2, 5, 8)], {"q_num_heads": 3}, "q_num_heads must divide the 8 features of Q, not be 3"),
    ([Q, K, V], {"q_num_heads": 2}, "q_num_heads is 2, but Q (2, 4, 3, 8) has 4 heads"),
    ([Q, f(2, "h", 5, 8), V], {},
     "Q (2, 4, 3, 8), K (2, h, 5, 8) and V (2, 2, 5, 6) need known numbers of heads and features"),
    ([Q, f(2, 2, 5, 7), V], {},
     "K must have the batch and the features of Q (2, 4, 3, 8): (2, 2, 5, 8) by heads, not (2, 2, 5, 7)"),
    ([Q, K, f(2, 2, 4, 6)], {}, "V must have the batch, heads and positions of K, (2, 2, 5) by heads, not (2, 2, 4)"),
    ([f(2, 3, 3, 8), K, V], {}, "3 heads of queries cannot share 2 of keys evenly"),
    ([Q, K, V, None, PAST[1]], {}, "past_key and past_value go together, and only one of them is given"),
    ([Q, K, V, *PAST, Leaf(None, "int64", (2,))], {},
     "nonpad_kv_seqlen goes with keys that hold the past already, not with past_key and past_value"),
    ([Q, K, V, None, PAST[1], f(2, 2, 3, 6)], {},
     "past_value must be float32 (2, 2, 4, 6), not float32 (2, 2, 3, 6)"),
    ([Q, K, Leaf(None, "float64", (2, 2, 5, 6))], {},
     "Q, K and V have different element types: float32, float32, float64"),
    ([Q, K, V], {"qk_matmul_output_mode": 4}, "qk_matmul_output_mode must be 0 to 3, not 4"),
    ([Q, K, V], {"softmax_precision": 16},
     "softmax_precision must be 1, 10 or 11 (float32, float16, float64), not 16"),
    ([Q, K, V], {"softcap": -1.0}, "softcap must be 0 or more, not -1.0"),
    ([Q, K, V], {"left_window_size": -2}, "left_window_size must be -1 (no limit), 0 or more, not -2"),
    ([Q, K, V, f(4, 5)], {}, "attn_mask must be bool or float32 that broadcasts to (2, 4, 3, 5), not float32 (4, 5)"),
    ([Q, K, V, f(3, 6)], {}, "attn_mask must be bool or float32 that broadcasts to (2, 4, 3, 5), not float32 (3, 6)"),
    ([Q, K, V, None, None, None, Leaf(None, "int64", (3,))], {},
     "nonpad_kv_seqlen must be int64 (2,), not int64 (3,)"),
]  # fmt: skip
MISFITS: list[Row] = [("Attention", *row) for row in ROWS]


@pytest.mark.parametrize("row", MISFITS, ids=row_id)
def test_node_that_does_not_fit(row: Row) -> None:
    assert_refused(row)
