"""Functions that array code calls in JAX: these have the slope of the kernel, are compiled, or are faster."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from portable_nn.converters.array.evaluation import Dialect

Numbers = Sequence[int]
Pads = Sequence[tuple[int, int]]


def dtype_in_jax(dtype: str) -> Any:
    """The element type that JAX has for it: without ``jax_enable_x64``, the one of half the size."""
    return jax.dtypes.canonicalize_dtype(dtype)


class _Numpy:
    """``jax.numpy`` as array code uses numpy."""

    @staticmethod
    def abs(x: Any) -> Any:
        """|x|, whose slope at 0 is 0, as that of the kernel; that of JAX is 1."""
        return x * jnp.sign(x)

    @staticmethod
    def clip(x: Any, low: Any, high: Any) -> Any:
        """Clip, whose gradient is 0 where a limit is reached, as that of the kernel."""
        is_float = x.dtype.kind == "f"
        if low is not None:
            x = jnp.where(x > low, x, low) if is_float else jnp.maximum(x, low)
        if high is not None:
            x = jnp.where(x < high, x, high) if is_float else jnp.minimum(x, high)
        return x

    def __getattr__(self, name: str) -> Any:
        return dtype_in_jax(name) if name in {"int64", "uint64", "float64"} else getattr(jnp, name)


def _length(x: Any, axis: Any, keepdims: bool = False) -> Any:
    """Its slope where all is 0 is 0."""
    squares = jnp.sum(x * x, axis, keepdims=keepdims)
    return jnp.where(squares == 0, 0, jnp.sqrt(jnp.where(squares == 0, 1, squares)))


def _take(x: Any, indices: Any, axis: int) -> Any:
    if x.size == 0:
        return jnp.zeros((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype)
    return jnp.take(x, jnp.where(indices < 0, indices + x.shape[axis], indices), axis)


def _put(x: Any, places: tuple[Any, ...], updates: Any, combine: str) -> Any:
    return getattr(x.at[places], {"none": "set", "mul": "multiply"}.get(combine, combine))(updates)


def _top_k(x: Any, k: int, axis: int, largest: bool) -> Any:
    order = jnp.argsort(jax.lax.stop_gradient(x), axis, stable=True, descending=largest)
    places = jax.lax.slice_in_dim(order, 0, k, axis=axis)
    return jnp.take_along_axis(x, places, axis), places


def _with_bias(y: Any, bias: Any) -> Any:
    return y if bias is None else y + bias.reshape(-1, *(1,) * (y.ndim - 2))


def _conv(x: Any, weight: Any, bias: Any, strides: Numbers, dilations: Numbers, pads: Pads, groups: int = 1) -> Any:
    y = jax.lax.conv_general_dilated(x, weight, strides, pads, rhs_dilation=dilations, feature_group_count=groups)
    return _with_bias(y, bias)


def _conv_transpose(
    x: Any, weight: Any, bias: Any, strides: Numbers, dilations: Numbers, pads: Pads, more: Numbers, groups: int = 1
) -> Any:
    """The convolution with the taps in reverse order, of cells that are the stride apart."""
    parts = jnp.flip(weight, tuple(range(2, x.ndim))).reshape(groups, -1, *weight.shape[1:])
    kernel = jnp.swapaxes(parts, 1, 2).reshape(-1, weight.shape[0] // groups, *weight.shape[2:])
    reach = [d * (k - 1) for d, k in zip(dilations, weight.shape[2:], strict=True)]
    sides = [(r - b, r - a + m) for r, (b, a), m in zip(reach, pads, more, strict=True)]
    y = jax.lax.conv_general_dilated(
        x, kernel, [1] * len(pads), sides, lhs_dilation=strides, rhs_dilation=dilations, feature_group_count=groups
    )
    return _with_bias(y, bias)


def _windows(x: Any, kernel: Numbers, strides: Numbers, dilations: Numbers, pads: Pads, fill: Any = 0) -> Any:
    x = jax.lax.pad(x, jnp.asarray(fill, x.dtype), [(0, 0, 0), (0, 0, 0), *((b, a, 0) for b, a in pads)])
    ends = [n - d * (k - 1) for n, k, d in zip(x.shape[2:], kernel, dilations, strict=True)]
    parts = [
        x[(..., *(slice(t * d, t * d + e, s) for t, d, e, s in zip(taps, dilations, ends, strides, strict=True)))]
        for taps in itertools.product(*map(range, kernel))
    ]
    found = jnp.stack(parts, -1)
    return found.reshape(*found.shape[:-1], *kernel)


def _fold(x: Any, start: Any, combine: Any, kernel: Numbers, strides: Numbers, dilations: Numbers, pads: Pads) -> Any:
    start = np.asarray(start, x.dtype)[()]  # JAX knows the gradient where the start is a number.
    wide = [(0, 0), (0, 0), *pads]
    return jax.lax.reduce_window(
        x, start, combine, (1, 1, *kernel), (1, 1, *strides), wide, window_dilation=(1, 1, *dilations)
    )


def _max_pool(x: Any, kernel: Numbers, strides: Numbers, dilations: Numbers, pads: Pads) -> Any:
    """The first of the largest cells of each window: what flows back goes there."""
    if max(dilations, default=1) > 1:
        return DIALECT.names["max_pool_with_places"](x, kernel, strides, dilations, pads, False)[0]
    least = -jnp.inf if x.dtype.kind == "f" else jnp.iinfo(x.dtype).min
    return _fold(x, least, jax.lax.max, kernel, strides, dilations, pads)


def _average_pool(x: Any, kernel: Numbers, strides: Numbers, dilations: Numbers, pads: Pads, counted: Pads) -> Any:
    ones = np.pad(np.ones((1, 1, *x.shape[2:]), x.dtype), [(0, 0), (0, 0), *counted], constant_values=1)
    rest = [(b - c, a - d) for (b, a), (c, d) in zip(pads, counted, strict=True)]
    total = _fold(x, 0, jax.lax.add, kernel, strides, dilations, pads)
    return total / _fold(jnp.asarray(ones), 0, jax.lax.add, kernel, strides, dilations, rest)


def _lp_pool(x: Any, kernel: Numbers, strides: Numbers, dilations: Numbers, pads: Pads, p: int) -> Any:
    return _fold(_Numpy.abs(x) ** p, 0, jax.lax.add, kernel, strides, dilations, pads) ** (1 / p)


def _recurrence(step: Any, x: Any, w: Any, r: Any, states: Sequence[Any], direction: str, lengths: Any) -> Any:
    """A scan over the steps."""
    ways = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    zeros, every_h, last = jnp.zeros((len(ways), x.shape[1], r.shape[2]), x.dtype), [], []
    for way, is_backwards in enumerate(ways):

        def body(now: Any, at: Any, way: int = way) -> Any:
            t, of_x = at
            new = tuple(step(way, of_x, *now))
            if lengths is None:
                return new, new[0]
            runs = (t < lengths)[:, jnp.newaxis]
            kept = tuple(jnp.where(runs, after, before) for after, before in zip(new, now, strict=True))
            return kept, jnp.where(runs, new[0], 0)

        first = tuple((zeros if state is None else state)[way] for state in states)
        now, h = jax.lax.scan(body, first, (jnp.arange(x.shape[0]), x @ w[way].T), reverse=is_backwards)
        every_h.append(h)
        last.append(now)
    return jnp.stack(every_h, 1), *(jnp.stack(parts) for parts in zip(*last, strict=True))


def _batch_norm_of_batch(x: Any, *more: Any) -> Any:
    y, *running = DIALECT.helpers["batch_norm_of_batch"](x, *more)
    return y, *map(jax.lax.stop_gradient, running)


DIALECT: Final = Dialect(
    _Numpy(),
    {
        "relu": jax.nn.relu,
        "sigmoid": jax.nn.sigmoid,
        "softplus": lambda x: jnp.logaddexp(x, jnp.zeros((), x.dtype)),
        "erf": jax.scipy.special.erf,
        "softmax": jax.nn.softmax,
        "log_softmax": jax.nn.log_softmax,
        "log_sum_exp": jax.scipy.special.logsumexp,
        "divided": lambda a, b: jax.lax.div(*jnp.broadcast_arrays(a, b)),
        "length": _length,
        "take": _take,
        "put": _put,
        "top_k": _top_k,
        "conv": _conv,
        "conv_transpose": _conv_transpose,
        "windows": _windows,
        "max_pool": _max_pool,
        "average_pool": _average_pool,
        "lp_pool": _lp_pool,
        "recurrence": _recurrence,
        "batch_norm_of_batch": _batch_norm_of_batch,
    },
)


def _widely(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose statistics are not computed in half precision."""

    @wraps(function)
    def compute(x: Any, *more: Any) -> Any:
        if x.dtype != jnp.float16:
            return function(x, *more)
        wide = [each.astype(jnp.float32) if hasattr(each, "astype") else each for each in (x, *more)]
        return jax.tree.map(lambda each: each.astype(x.dtype), function(*wide))

    return compute


for _name in ("standardized", "root_mean_square", "batch_norm", "batch_norm_of_batch", "instance_norm", "group_norm"):
    DIALECT.names[_name] = _widely(DIALECT.names[_name])
