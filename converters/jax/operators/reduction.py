"""Sums, means and extremes along axes, and what is ordered along one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from portable_nn.converters.jax.operators.elementwise import absolute
from portable_nn.converters.jax.operators.table import ROWS, Row, Use, row
from portable_nn.operators.reduction.reduce import reduced_axes


def _reduction(operator: str, function: Callable[..., Any]) -> None:
    """A row: ``function`` of the array, the axes and whether they are kept."""

    def compute(use: Use, x: Any, axes: Any = None) -> Any:
        return function(x, reduced_axes(use), bool(use.int("keepdims"))).astype(x.dtype)

    ROWS[operator] = Row(compute)


def _max(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    least = False if x.dtype == bool else -jnp.inf if x.dtype.kind == "f" else jnp.iinfo(x.dtype).min
    return jnp.max(x, axes, keepdims=keep, initial=least)


def _min(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    most = True if x.dtype == bool else jnp.inf if x.dtype.kind == "f" else jnp.iinfo(x.dtype).max
    return jnp.min(x, axes, keepdims=keep, initial=most)


def _length(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    """Its slope where all is 0 is 0."""
    squares = jnp.sum(x * x, axes, keepdims=keep)
    return jnp.where(squares == 0, 0, jnp.sqrt(jnp.where(squares == 0, 1, squares))).astype(squares.dtype)


_reduction("ReduceSum", lambda x, axes, keep: jnp.sum(x, axes, keepdims=keep))
_reduction("ReduceMean", lambda x, axes, keep: jnp.mean(x, axes, keepdims=keep))
_reduction("ReduceProd", lambda x, axes, keep: jnp.prod(x, axes, keepdims=keep))
_reduction("ReduceMax", _max)
_reduction("ReduceMin", _min)
_reduction("ReduceL1", lambda x, axes, keep: jnp.sum(absolute(x), axes, keepdims=keep))
_reduction("ReduceL2", _length)
_reduction("ReduceSumSquare", lambda x, axes, keep: jnp.sum(x * x, axes, keepdims=keep))
_reduction("ReduceLogSum", lambda x, axes, keep: jnp.log(jnp.sum(x, axes, keepdims=keep)))
_reduction("ReduceLogSumExp", lambda x, axes, keep: jax.scipy.special.logsumexp(x, axes, keepdims=keep))


@row("ArgMax", "ArgMin")
def _arg(use: Use, x: Any) -> Any:
    find = jnp.argmax if use.operator.name == "ArgMax" else jnp.argmin
    axis, keep = use.attribute_axis(), bool(use.int("keepdims"))
    if use.int("select_last_index"):
        return x.shape[axis] - 1 - find(jnp.flip(x, axis), axis, keepdims=keep)
    return find(x, axis, keepdims=keep)


@row("CumSum")
def _cumulative_sum(use: Use, x: Any, axis: Any) -> Any:
    place = use.axis(use.numbers(1, {"int32", "int64"})[0], x.ndim)
    backwards = bool(use.int("reverse"))
    found = jnp.cumsum(jnp.flip(x, place) if backwards else x, place, dtype=x.dtype)
    if use.int("exclusive"):
        pads = [(int(each == place), 0) for each in range(x.ndim)]
        found = jax.lax.slice_in_dim(jnp.pad(found, pads), 0, x.shape[place], axis=place)
    return jnp.flip(found, place) if backwards else found


@row("TopK")
def _top(use: Use, x: Any, k: Any) -> Any:
    axis, count = use.attribute_axis(), use.shape[use.attribute_axis()]
    order = jnp.argsort(jax.lax.stop_gradient(x), axis, stable=True, descending=bool(use.int("largest")))
    places = jax.lax.slice_in_dim(order, 0, count, axis=axis)
    return jnp.take_along_axis(x, places, axis), places


@row("Softmax")
def _softmax(use: Use, x: Any) -> Any:
    return jax.nn.softmax(x, use.attribute_axis())


@row("LogSoftmax")
def _log_softmax(use: Use, x: Any) -> Any:
    return jax.nn.log_softmax(x, use.attribute_axis())


@row("Hardmax")
def _hardmax(use: Use, x: Any) -> Any:
    axis = use.attribute_axis()
    return jax.nn.one_hot(jnp.argmax(x, axis), x.shape[axis], dtype=x.dtype, axis=axis)
