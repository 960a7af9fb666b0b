"""Convolutions, pools and changes of size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from portable_nn.converters.jax.operators.elementwise import absolute
from portable_nn.converters.jax.operators.layout import dtype_in_jax, moved
from portable_nn.converters.jax.operators.table import Use, row
from portable_nn.core.graph import Attribute
from portable_nn.operators.spatial.convolution import conv_windows, transpose_windows
from portable_nn.operators.spatial.resize_taps import inside_of, matrix_of, moved_axes, sides_of, taps_of
from portable_nn.operators.spatial.window import per_axis, reaching, windows
from portable_nn.sizes.operation import Window

# -- convolutions


def _inputs_then_outputs(attributes: Mapping[str, Attribute], rank: int) -> tuple[int, ...]:
    """(*taps, inputs, outputs) of a weight (outputs, inputs, *taps)."""
    return (*range(2, rank), 1, 0)


def _outputs_last(attributes: Mapping[str, Attribute], rank: int) -> tuple[int, ...]:
    """(*taps, inputs, outputs) of a weight (inputs, outputs, *taps)."""
    return (*range(2, rank), 0, 1)


def _with_bias(y: Any, bias: Any) -> Any:
    return y if bias is None else y + bias.reshape(-1, *(1,) * (y.ndim - 2))


@row("Conv", names={1: "kernel", 2: "bias"}, layout=_inputs_then_outputs)
def _conv(use: Use, x: Any, weight: Any, bias: Any = None) -> Any:
    found = conv_windows(use)
    y = jax.lax.conv_general_dilated(
        x,
        weight,
        [w.stride for w in found],
        [w.pads for w in found],
        rhs_dilation=[w.dilation for w in found],
        feature_group_count=use.int("group"),
    )
    return _with_bias(y, bias)


@row("ConvTranspose", names={1: "kernel", 2: "bias"}, layout=_outputs_last, flips=True)
def _conv_transpose(use: Use, x: Any, weight: Any, bias: Any = None) -> Any:
    """The convolution with the taps in reverse order, of cells that are the stride apart."""
    found, groups = transpose_windows(use), use.int("group")
    taps = tuple(range(2, x.ndim))
    parts = jnp.flip(weight, taps).reshape(groups, -1, *weight.shape[1:])
    kernel = jnp.swapaxes(parts, 1, 2).reshape(-1, weight.shape[0] // groups, *weight.shape[2:])
    y = jax.lax.conv_general_dilated(
        x,
        kernel,
        [1] * len(found),
        [(w.extent - 1 - w.pad_begin, w.extent - 1 - w.pad_end + w.output_padding) for w in found],
        lhs_dilation=[w.stride for w in found],
        rhs_dilation=[w.dilation for w in found],
        feature_group_count=groups,
    )
    return _with_bias(y, bias)


# -- pools


def _pool_windows(use: Use) -> tuple[list[Window], list[Window]]:
    """The windows with the pads of the node, and with those that reach as far as ``ceil_mode`` says."""
    sizes = use.sizes()[2:]
    found = windows(use, per_axis(use, "kernel_shape", len(sizes)), sizes)
    if not use.int("ceil_mode"):
        return found, found
    return found, [reaching(w, size) for w, size in zip(found, sizes, strict=True)]


def _fold(x: Any, found: Sequence[Window], start: Any, combine: Any) -> Any:
    lead = (1, 1)
    return jax.lax.reduce_window(
        x,
        np.asarray(start, x.dtype)[()],  # JAX knows the gradient where the start is a number.
        combine,
        (*lead, *(w.kernel for w in found)),
        (*lead, *(w.stride for w in found)),
        [(0, 0), (0, 0), *(w.pads for w in found)],
        window_dilation=(*lead, *(w.dilation for w in found)),
    )


def _stacked(x: Any, found: Sequence[Window], shape: Sequence[int], neutral: Any) -> Any:
    """The cells that each window sees, (taps, *shape)."""
    pads = [(0, 0, 0), (0, 0, 0), *((w.pad_begin, max(w.pad_end, 0), 0) for w in found)]
    padded = jax.lax.pad(x, jnp.asarray(neutral, x.dtype), pads)
    parts = []
    for taps in itertools.product(*(range(w.kernel) for w in found)):
        begins = [tap * w.dilation for tap, w in zip(taps, found, strict=True)]
        ends = [b + (n - 1) * w.stride + 1 for b, n, w in zip(begins, shape[2:], found, strict=True)]
        cells = [slice(b, e, w.stride) for b, e, w in zip(begins, ends, found, strict=True)]
        parts.append(padded[(slice(None), slice(None), *cells)])
    return jnp.stack(parts)


@row("MaxPool")
def _max_pool(use: Use, x: Any) -> Any:
    """The first of the largest cells of each window: what flows back goes there."""
    _, found = _pool_windows(use)
    least = -jnp.inf if x.dtype.kind == "f" else jnp.iinfo(x.dtype).min
    dilates = any(w.dilation > 1 for w in found)
    if not dilates and use.output_count == 1:
        return _fold(x, found, least, jax.lax.max)
    stacked = _stacked(x, found, use.shape, least)
    best = jnp.argmax(stacked, 0)[jnp.newaxis]
    y = jnp.take_along_axis(stacked, best, 0)[0]
    planes, cells = math.prod(x.shape[:2]), np.arange(math.prod(x.shape[2:]))
    cells = cells.reshape(x.shape[:1:-1]).T if use.int("storage_order") else cells.reshape(x.shape[2:])
    numbers = np.arange(planes).reshape(*x.shape[:2], *(1,) * cells.ndim) * cells.size + cells
    places = jnp.take_along_axis(_stacked(jnp.asarray(numbers.astype(np.int32)), found, use.shape, 0), best, 0)[0]
    return y, places.astype(dtype_in_jax("int64"))


@row("AveragePool")
def _average_pool(use: Use, x: Any) -> Any:
    """Cells that ``ceil_mode`` adds behind the padding never count."""
    plain, found = _pool_windows(use)
    ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
    behind = found
    if use.int("count_include_pad"):
        ones = np.pad(ones, [(0, 0), (0, 0), *(w.pads for w in plain)], constant_values=1)
        behind = [
            Window(w.kernel, w.stride, w.dilation, 0, w.pad_end - p.pad_end) for w, p in zip(found, plain, strict=True)
        ]
    return _fold(x, found, 0, jax.lax.add) / _fold(jnp.asarray(ones), behind, 0, jax.lax.add)


@row("LpPool")
def _lp_pool(use: Use, x: Any) -> Any:
    p, (_, found) = use.int("p"), _pool_windows(use)
    return _fold(absolute(x) ** p, found, 0, jax.lax.add) ** (1 / p)


def _cells(x: Any) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


@row("GlobalAveragePool")
def _global_average(use: Use, x: Any) -> Any:
    return jnp.mean(x, _cells(x), keepdims=True)


@row("GlobalMaxPool")
def _global_max(use: Use, x: Any) -> Any:
    return jnp.max(x, _cells(x), keepdims=True)


@row("GlobalLpPool")
def _global_lp(use: Use, x: Any) -> Any:
    p = use.int("p")
    return jnp.sum(absolute(x) ** p, _cells(x), keepdims=True) ** (1 / p)


@row("MaxUnpool")
def _unpool(use: Use, x: Any, places: Any, shape: Any = None) -> Any:
    """The numbers in ``places`` count the cells of the output as the pads leave it, or of ``output_shape``."""
    kernel = use.ints("kernel_shape") or ()
    strides, pads = per_axis(use, "strides", len(kernel)), per_axis(use, "pads", 2 * len(kernel), 0, 0)
    sizes = [
        (size - 1) * s - pads[a] - pads[a + len(kernel)] + k
        for a, (size, k, s) in enumerate(zip(x.shape[2:], kernel, strides, strict=True))
    ]
    small = (*x.shape[:2], *sizes)
    flat = jnp.zeros(math.prod(small), x.dtype).at[places.reshape(-1)].set(x.reshape(-1)).reshape(small)
    return jax.lax.pad(
        flat, jnp.zeros((), x.dtype), [(0, to - size, 0) for to, size in zip(use.shape, small, strict=True)]
    )


# -- sizes


@row("Resize")
def _resize(use: Use, x: Any, *settings: Any) -> Any:
    if use.string("mode") == "nearest" and use.string("coordinate_transformation_mode") != "tf_crop_and_resize":
        return moved(use, x)
    sides = sides_of(use, use.type().shape)
    for axis in moved_axes(sides):
        side = sides[axis]
        assert isinstance(side.result, int)
        assert isinstance(side.size, int)
        matrix = jnp.asarray(matrix_of(taps_of(use, side), (side.result, side.size)), x.dtype)
        x = jnp.moveaxis(jnp.tensordot(matrix, x, (1, axis)), 0, axis)
        inside = inside_of(use, side).reshape(-1, *(1,) * (x.ndim - axis - 1))
        if not inside.all():
            x = jnp.where(inside, x, jnp.asarray(use.float("extrapolation_value"), x.dtype))
    return x
