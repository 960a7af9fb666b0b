"""Pools. Windows with pads, dilation, ceil_mode and auto_pad, which overlap or leave gaps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cases.case import Case, ints, real
from portable_nn.core.graph import INTERNAL
from portable_nn.operators.registry import Array

SIZES = {1: (9,), 2: (6, 7), 3: (4, 3, 5)}


def _options(rank: int) -> list[dict[str, Any]]:
    return [
        {"kernel_shape": (2,) * rank, "strides": (2,) * rank},
        {"kernel_shape": (3,) * rank, "pads": (1,) * (2 * rank)},
        {"kernel_shape": (2,) * rank, "strides": (3,) * rank},
        {"kernel_shape": (3,) + (2,) * (rank - 1), "strides": (2,) * rank, "pads": (1,) * rank + (0,) * rank},
        {"kernel_shape": (2,) * rank, "strides": (2,) * rank, "ceil_mode": 1},
        {"kernel_shape": (3,) * rank, "strides": (2,) * rank, "auto_pad": "SAME_UPPER"},
    ]


def _pools() -> list[Case]:
    rows = []
    for rank, size in SIZES.items():
        for options in _options(rank):
            rows += [
                Case("MaxPool", (real(2, 2, *size),), options, (0,), batched=(0,)),
                Case("AveragePool", (real(2, 2, *size),), options, (0,), batched=(0,)),
            ]
    two = (real(2, 3, 6, 7),)
    overlapping = {"kernel_shape": (3, 2), "strides": (2, 1), "pads": (1, 0, 1, 1)}
    rows += [
        Case("MaxPool", two, {"kernel_shape": (3, 2), "dilations": (2, 3), "pads": (1, 0, 1, 0)}, (0,), batched=(0,)),
        Case("MaxPool", two, {"kernel_shape": (1, 2)}, (0,), batched=(0,)),
        Case("MaxPool", two, {"kernel_shape": (1, 1)}, (0,), batched=(0,)),
        Case("AveragePool", two, {**overlapping, "count_include_pad": 1}, (0,), batched=(0,)),
        Case("AveragePool", two, {**overlapping, "count_include_pad": 0}, (0,), batched=(0,)),
        Case("AveragePool", two, {"kernel_shape": (2, 2), "dilations": (2, 1)}, (0,), batched=(0,)),
    ]
    rows += [Case("LpPool", two, {**overlapping, "p": p}, (0,), batched=(0,)) for p in (1, 2, 3)]
    return rows


def _indices() -> list[Case]:
    whole = np.random.default_rng(3).integers(-2, 3, (2, 2, 6, 5)).astype("float64")
    return [
        Case("MaxPool", (whole,), {"kernel_shape": (2, 2), "strides": (2, 2)}, outputs=2),
        Case("MaxPool", (whole,), {"kernel_shape": (3, 2), "pads": (1, 1, 1, 0)}, outputs=2),
        Case("MaxPool", (real(2, 2, 6, 5),), {"kernel_shape": (3, 3), "strides": (2, 2), "ceil_mode": 1}, outputs=2),
        Case("MaxPool", (real(2, 2, 6, 5),), {"kernel_shape": (2, 2), "storage_order": 1}, outputs=2),
        Case("MaxPool", (real(2, 2, 9),), {"kernel_shape": (3,), "dilations": (2,)}, outputs=2),
        Case("MaxPool", (whole.astype("int8"),), {"kernel_shape": (2, 2)}),
        Case("MaxPool", (whole.astype("uint8"),), {"kernel_shape": (2, 2), "pads": (1, 0, 0, 1)}),
    ]


def _global() -> list[Case]:
    names = ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
    rows = [Case(name, (real(2, 3, *size),), {}, (0,), batched=(0,)) for name in names for size in SIZES.values()]
    return [*rows, *(Case("GlobalLpPool", (real(2, 3, 4, 5),), {"p": p}, (0,), batched=(0,)) for p in (1, 3))]


def _unpools() -> list[Case]:
    """Indices that no two cells have in common, where onnxruntime and the standard count alike."""
    options = {"kernel_shape": (2, 2), "strides": (2, 2)}
    places = np.arange(96).reshape(2, 3, 4, 4)[..., ::2, 1::2]
    line = np.arange(12).reshape(1, 2, 6)[..., ::2]
    return [
        Case("MaxUnpool", (real(2, 3, 2, 2), places), options, wrt=(0,)),
        Case("MaxUnpool", (real(2, 3, 2, 2), places, ints(2, 3, 4, 4)), options, wrt=(0,), constants=(2,)),
        Case("MaxUnpool", (real(1, 2, 3), line), {"kernel_shape": (4,), "strides": (2,), "pads": (1, 1)}, wrt=(0,)),
        Case("MaxUnpool", (real(1, 2, 3), np.arange(6).reshape(1, 2, 3)[..., ::-1]), {"kernel_shape": (1,)}, wrt=(0,)),
    ]


def _columns() -> list[Case]:
    rows: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], Mapping[str, Any]]] = [
        ((2, 6, 4), (3, 4), (2, 3), {}),
        ((1, 6, 25), (5, 5), (2, 3), {"pads": (1, 0, 0, 2)}),
        ((1, 4, 6), (5, 7), (2, 2), {"strides": (3, 2)}),
        ((2, 8, 4), (4, 5), (2, 2), {"dilations": (2, 3)}),
        ((1, 3, 4), (9,), (3,), {"strides": (2,)}),
        ((1, 8, 4), (2, 3, 3), (2, 2, 2), {}),
    ]
    return [
        Case("Col2Im", (real(*shape), ints(*image), ints(*block)), options, wrt=(0,), constants=(1, 2), batched=(0,))
        for shape, image, block, options in rows
    ]


def _halved(x: Array) -> Array:
    """The largest of each 2x2 block."""
    a, b, height, width = x.shape
    return np.asarray(x.reshape(a, b, height // 2, 2, width // 2, 2).max(axis=(3, 5)))


def _gradients() -> list[Case]:
    options = {"kernel_shape": (2, 2), "strides": (2, 2)}
    x = real(2, 3, 4, 6)
    return [
        Case("MaxPoolGrad", (real(2, 3, 2, 3), x, _halved(x)), options, (0,), batched=(0, 1, 2), domain=INTERNAL),
        Case("PoolSpread", (real(2, 3, 2, 3), x), options, (0,), batched=(0, 1), domain=INTERNAL),
        Case(
            "PoolSpread",
            (real(2, 3, 4, 6), x),
            {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)},
            (0,),
            batched=(0, 1),
            domain=INTERNAL,
        ),
        Case(
            "PoolSpread",
            (real(2, 3, 2, 3), real(2, 3, 3, 5)),
            {**options, "ceil_mode": 1},
            (0,),
            batched=(0, 1),
            domain=INTERNAL,
        ),
    ]


CASES = [*_pools(), *_indices(), *_global(), *_gradients(), *_unpools(), *_columns()]
