"""Array code that makes tensors of a Keras model: its functions where Keras has them, or where they must differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from portable_nn.converters.array.evaluation import Dialect
from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.symbolic import NUMPY, Along, Numbers, Open, Symbolic, expand, written
from portable_nn.converters.keras.rebuilding.values import Laid, last
from portable_nn.core.errors import RefusalError

Pads = Sequence[tuple[int, int]]


def _take(x: Any, indices: Any, axis: int) -> Any:
    if not isinstance(indices, np.ndarray):
        return NUMPY.take(x, indices, axis=axis)
    indices = indices if isinstance(x.shape[axis], Open) else indices % x.shape[axis]
    return NUMPY.take(x, indices, axis=axis) if indices.ndim else x[(*[slice(None)] * axis, int(indices))]


def _cut(x: Any, starts: Sequence[Any], ends: Sequence[Any], axes: Numbers, steps: Numbers) -> Any:
    """A slice along each axis: forwards as far as an open size, or backwards."""
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size, keys = x.shape[axis], [slice(None)] * axis
        if isinstance(end, Open):
            if step != 1 or isinstance(start, Open) or start < 0 or not isinstance(size, Open):
                raise RefusalError("where it begins or ends is computed")
            # No more than there are: the smaller of both sizes has no name.
            x = NUMPY.take(x, NUMPY.arange(start, end, dtype=np.int32), axis=axis)
        elif step > 0:
            x = x[(*keys, slice(int(start), None if end > 2**30 else int(end), step))]
        elif not isinstance(size, Open):
            x = NUMPY.take(x, np.arange(size)[int(start) : None if end < -size else int(end) : step], axis=axis)
        else:
            raise RefusalError("it counts backwards over a part of an axis")
    return x


def _padded(x: Any, pads: Sequence[int], mode: str, value: Any = 0) -> Any:
    """Cells of one number; or cells that repeat, mirror or continue what is there, along one axis after the other."""
    pairs = [(int(before), int(after)) for before, after in zip(pads[: x.ndim], pads[x.ndim :], strict=True)]
    if mode == "constant":
        x = x[tuple(slice(max(-before, 0), min(after, 0) or None) for before, after in pairs)]
        number = np.ravel(value)[0].astype(x.dtype)
        return NUMPY.pad(x, [(max(before, 0), max(after, 0)) for before, after in pairs], constant_values=number)
    for axis, (before, after) in enumerate(pairs):
        x = _bordered(x, axis, before, after, mode) if before or after else x
    return x


def _bordered(x: Any, axis: int, before: int, after: int, mode: str) -> Any:
    size = x.shape[axis]
    if not isinstance(size, Open):
        left = np.arange(max(-before, 0), size - max(-after, 0))
        return NUMPY.take(x, np.pad(left, (max(before, 0), max(after, 0)), mode), axis=axis)  # type: ignore[call-overload]
    if before < 0 or after < 0:
        raise RefusalError(f"it cuts cells off axis {axis}, whose size is open")
    first = {"edge": [0] * before, "reflect": range(before, 0, -1), "wrap": range(-before, 0)}[mode]
    rest = {"edge": [-1] * after, "reflect": range(-2, -after - 2, -1), "wrap": range(after)}[mode]

    def cell(place: int) -> Any:
        return x[(*[slice(None)] * axis, slice(place, place + 1 or None))]

    return NUMPY.concatenate([*map(cell, first), x, *map(cell, rest)], axis=axis)


def _put_elements(x: Any, indices: Any, updates: Any, axis: int, combine: str) -> Any:
    """Keras takes the coordinates of all elements in a list, those of the examples as well: sums of ones."""
    if combine != "none" or isinstance(x.shape[axis], Open):
        raise RefusalError("it combines entries, or counts along an axis of an open size")
    indices = indices.astype(np.int64)
    ones = NUMPY.ones_like(indices)
    places = [NUMPY.cumsum(ones, axis=each) - 1 for each in range(x.ndim)]
    places[axis] = NUMPY.where(indices < 0, indices + x.shape[axis], indices)
    listed = NUMPY.stack(places, axis=-1).reshape(-1, x.ndim)
    return NUMPY.scatter_update(x, listed, updates.reshape(-1))


def _top_k(x: Any, k: int, axis: int, largest: bool) -> Any:
    """Keras takes the largest along the last axis."""
    turned = x if axis == x.ndim - 1 else NUMPY.swapaxes(x, axis, -1)
    values, places = NUMPY.top_k(turned if largest else -turned, k, sorted=True)
    found = (values if largest else -values, places)
    return found if axis == x.ndim - 1 else [NUMPY.swapaxes(each, axis, -1) for each in found]


_CAUSAL: Final = "causal"
_HEADS: Final = (0, 2, 1, 3)
"""The places of the axes of (batch, heads, steps, features) in Keras."""


def _attention(q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
    """Several heads of queries may share one of keys and values."""
    ops, groups, is_causal = keras().ops, q.shape[1] // k.shape[1], mask is _CAUSAL
    query, key, value = (each.laid(_HEADS) for each in (q, k, v))
    if groups > 1:
        key, value = (ops.repeat(each, groups, axis=2) for each in (key, value))
    options = {"scale": scale, "is_causal": is_causal}
    if mask is not None and not is_causal:
        held = written(mask)
        for _ in range(4 - mask.ndim):  # A mask without heads, or without examples, holds for all of them.
            held = ops.expand_dims(held, 0)
        options["mask" if mask.dtype == bool else "bias"] = held
    made = Laid(ops.dot_product_attention(query, key, value, **options), _HEADS)
    return Symbolic(made, sizes=(*q.shape[:3], v.shape[3]))  # Keras takes the features of queries for its own.


# -- windows and channels, which Keras has last


def _windows(x: Any, kernel: Numbers, strides: Numbers, dilations: Numbers, pads: Pads, fill: Any = 0) -> Any:
    """Slices that lie behind each other, one for each cell of a window."""
    fill = max(fill, float(np.finfo(x.dtype).min)) if x.dtype.kind == "f" else fill
    x = NUMPY.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill) if any(map(any, pads)) else x

    def seen(*cells: int) -> Any:
        if len(cells) < len(kernel):
            return NUMPY.stack([seen(*cells, cell) for cell in range(kernel[len(cells)])], axis=x.ndim)
        starts = [cell * d for cell, d in zip(cells, dilations, strict=True)]
        ends = [start - d * (k - 1) or None for start, d, k in zip(starts, dilations, kernel, strict=True)]
        return x[(slice(None), slice(None), *map(slice, starts, ends, strides))]

    return seen()


def _ceil_pads(
    sizes: Sequence[Any], kernel: Numbers, strides: Numbers, dilations: Numbers, pads: Pads
) -> Sequence[tuple[int, int]]:
    """As many cells more at the end as a window may lack, where a size is open."""
    found = list[tuple[int, int]]()
    for size, k, s, d, (before, after) in zip(sizes, kernel, strides, dilations, pads, strict=True):
        if not isinstance(size, Open):
            found += HELPERS["ceil_pads"]([size], [k], [s], [d], [(before, after)])
        elif d * (k - 1) + 1 + after < s:
            raise RefusalError("where its last window ends is open")
        else:
            found.append((before, after + s - 1))
    return found


def _blocks(word: str, x: Any, block: int, order: str = "DCR") -> Any:
    """Cells in the order of Keras, which has the blocks before the channels, as DCR."""
    if block == 1:
        return x
    if not hasattr(keras().ops, word):
        return HELPERS[word](x, block, *[order][: word == "depth_to_space"])
    if order == "CRD":
        x = NUMPY.take(x, np.arange(x.shape[1]).reshape(-1, block * block).T.ravel(), axis=1)
    made = getattr(keras().ops, word)(x.laid(last(4)), block, data_format="channels_last")
    return Symbolic(Laid(made, last(4)))


OWN: Final[Mapping[str, Callable[..., Any]]] = {
    "len": lambda x: x.shape[0] if isinstance(x, Symbolic) else len(x),
    "relu": lambda x: NUMPY.relu(x),
    "sigmoid": lambda x: NUMPY.sigmoid(x),
    "softplus": lambda x: NUMPY.softplus(x),
    "erf": lambda x: NUMPY.erf(x),
    "gelu": lambda x: NUMPY.gelu(x, approximate=False),
    "gelu_tanh": lambda x: NUMPY.gelu(x, approximate=True),
    "softmax": lambda x, axis: NUMPY.softmax(x, axis=axis),
    "log_softmax": lambda x, axis: NUMPY.log_softmax(x, axis=-1 if axis == x.ndim - 1 else axis),
    "expand": expand,
    "take": _take,
    "cut": _cut,
    "padded": _padded,
    "put_elements": _put_elements,
    "top_k": _top_k,
    "length": lambda x, axis, keepdims=False: NUMPY.sum(x * x, axis=axis, keepdims=keepdims) ** 0.5,
    "attention": _attention,
    "causal": lambda queries, keys: _CAUSAL,
    "windows": _windows,
    "ceil_pads": _ceil_pads,
    "depth_to_space": partial(_blocks, "depth_to_space"),
    "space_to_depth": partial(_blocks, "space_to_depth"),
}
"""The functions that Keras has, or that must differ for it."""

HELPERS: Final = Dialect(NUMPY, OWN).helpers
"""The functions of array code over Keras, its own ones left out."""


def dialect(along: Along) -> Dialect:
    """Array code for a model, whose open sizes are numbers of ones."""
    return Dialect(NUMPY, {**OWN, "size": lambda dim: Open(dim, along)})
