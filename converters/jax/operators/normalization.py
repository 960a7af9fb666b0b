"""Normalizations, Dropout and losses."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from portable_nn.converters.jax.operators.elementwise import absolute
from portable_nn.converters.jax.operators.table import Use, named, row

SCALE_AND_BIAS = {1: "scale", 2: "bias"}
named("LayerNormalization", SCALE_AND_BIAS)
named("GroupNormalization", SCALE_AND_BIAS)
named("RMSNormalization", SCALE_AND_BIAS)


def _by_channel(x: Any, rank: int) -> Any:
    return x.reshape(-1, *(1,) * (rank - 2))


def _wide(x: Any) -> Any:
    """Statistics are never computed in half precision."""
    return x.astype(jnp.float32) if x.dtype == jnp.float16 else x


@row("BatchNormalization", names={**SCALE_AND_BIAS, 3: "mean", 4: "var"})
def _batch_normalization(use: Use, x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Any:
    """In training with the statistics of the batch, and the new running ones behind the output."""
    trains, running = use.int("training_mode"), (mean, variance)
    if trains:
        axes = tuple(axis for axis in range(x.ndim) if axis != 1)
        mean, variance = jnp.mean(_wide(x), axes), jnp.var(_wide(x), axes)
    factor = _wide(scale) / jnp.sqrt(_wide(variance) + use.float("epsilon"))
    mean, factor, shift = (_by_channel(_wide(each), x.ndim) for each in (mean, factor, bias))
    y = ((_wide(x) - mean) * factor + shift).astype(x.dtype)
    if not trains:
        return y
    keep, now = use.float("momentum"), (mean.reshape(-1), variance)
    return y, *(
        jax.lax.stop_gradient(old * keep + new * (1 - keep)).astype(old.dtype)
        for old, new in zip(running, now, strict=True)
    )


@row("InstanceNormalization", names=SCALE_AND_BIAS)
def _instance_normalization(use: Use, x: Any, scale: Any, bias: Any) -> Any:
    axes, wide = tuple(range(2, x.ndim)), _wide(x)
    mean, variance = (find(wide, axes, keepdims=True) for find in (jnp.mean, jnp.var))
    found = (wide - mean) / jnp.sqrt(variance + use.float("epsilon"))
    return (found * _by_channel(_wide(scale), x.ndim) + _by_channel(_wide(bias), x.ndim)).astype(x.dtype)


@row("LRN")
def _response(use: Use, x: Any) -> Any:
    size = use.int("size")
    window = (1, size, *(1,) * (x.ndim - 2))
    pads = [(0, 0), ((size - 1) // 2, size // 2), *[(0, 0)] * (x.ndim - 2)]
    squares = jax.lax.reduce_window(x * x, np.zeros((), x.dtype)[()], jax.lax.add, window, (1,) * x.ndim, pads)
    return x * (use.float("bias") + use.float("alpha") / size * squares) ** -use.float("beta")


@row("LpNormalization")
def _norm(use: Use, x: Any) -> Any:
    axis = use.attribute_axis()
    if use.int("p") == 1:
        norm = jnp.sum(absolute(x), axis, keepdims=True)
    else:
        squares = jnp.sum(x * x, axis, keepdims=True)
        norm = jnp.where(squares == 0, 0, jnp.sqrt(jnp.where(squares == 0, 1, squares)))
    return jnp.where(norm == 0, 0, x / jnp.where(norm == 0, 1, norm))


@row("Dropout")
def _dropout(use: Use, x: Any, ratio: Any = None, training: Any = None) -> Any:
    known = use.types[2].constant if use.has(2) and use.types[2] else None
    if not (known and known[0]):
        return x, jnp.ones(x.shape, bool)
    ratio = jnp.asarray(0.5 if ratio is None else ratio, x.dtype).reshape(())
    mask = jax.random.uniform(use.key(), x.shape, jnp.float32) >= ratio
    return jnp.where(mask, x / (1 - ratio), 0), mask


@row("SoftmaxCrossEntropyLoss")
def _cross_entropy(use: Use, scores: Any, labels: Any, weights: Any = None) -> Any:
    logarithms = jax.nn.log_softmax(scores, 1)
    return _likelihood(use, logarithms, labels, weights), logarithms


@row("NegativeLogLikelihoodLoss")
def _likelihood(use: Use, scores: Any, labels: Any, weights: Any = None) -> Any:
    ignored = use.attributes.get("ignore_index")
    counts = jnp.ones(labels.shape, bool) if ignored is None else labels != ignored
    classes = jnp.where(counts, labels, 0)
    each = -jnp.take_along_axis(scores, classes[:, jnp.newaxis], 1)[:, 0]
    share = (jnp.ones((), scores.dtype) if weights is None else weights[classes]) * counts
    found, how = jnp.where(counts, each * share, 0), use.string("reduction")
    if how == "none":
        return found
    return found.sum() if how == "sum" else found.sum() / jnp.broadcast_to(share, (*labels.shape,)).sum()
