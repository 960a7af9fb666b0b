"""Attention."""

import numpy as np


def attention(q, k, v, mask, scale):
    """For each query a mean of the values (batch, heads, keys, features): weighted by how well the keys fit it."""
    groups = q.shape[1] // k.shape[1]  # Several heads of queries may share one of keys and values.
    k, v = np.repeat(k, groups, axis=1), np.repeat(v, groups, axis=1)
    scores = q @ np.swapaxes(k, -1, -2) * scale
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    highest = scores.max(axis=-1, keepdims=True)
    powers = np.exp(scores - np.where(highest == -np.inf, 0, highest))
    totals = powers.sum(axis=-1, keepdims=True)
    return (powers / np.where(totals == 0, 1, totals)).astype(q.dtype) @ v  # Who may look at nothing gets zeros.


def by_heads(x, heads):
    """(batch, positions, heads * features) as (batch, heads, positions, features)."""
    return x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(0, 2, 1, 3)


def joined_heads(x):
    """(batch, heads, positions, features) as (batch, positions, heads * features)."""
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def causal(queries, keys):
    """A mask that lets each position look at itself and those before it."""
    return np.arange(keys) <= np.arange(queries)[:, np.newaxis]
