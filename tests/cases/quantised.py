"""Whole numbers of few bits in place of real ones, and their products."""

from __future__ import annotations

import numpy as np

from cases.case import Case, positive, real, scalar, whole
from portable_nn.operators.registry import Array


def _byte(*shape: int, dtype: str = "uint8") -> Array:
    limits = np.iinfo(dtype)
    return whole(*shape, low=limits.min, high=limits.max + 1, dtype=dtype)


def _scale(*shape: int) -> Array:
    """Scales that are powers of 2, so that nothing is rounded twice."""
    return np.asarray(2.0 ** -whole(*shape, low=3, high=7).astype(float), np.float32)


def _point(value: int, dtype: str = "uint8") -> Array:
    return scalar(value, dtype)


ONE = np.float32(0.0625)
CASES = [
    Case("QuantizeLinear", (real(2, 3, 4).astype("float32"), scalar(ONE, "float32"), _point(7)), batched=(0,)),
    Case("QuantizeLinear", (real(2, 3).astype("float32"), scalar(ONE, "float32"))),
    Case("QuantizeLinear", (50 * real(2, 3, 4).astype("float32"), _scale(3), whole(3, dtype="int8")), {"axis": 1}),
    Case("QuantizeLinear", (real(3, 4).astype("float32"), _scale(4), whole(4, dtype="int8")), {"axis": -1}),
    Case("QuantizeLinear", (real(3, 5).astype("float32"), _scale(3, 3), whole(3, 3, dtype="int8")), {"block_size": 2}),
    Case("DequantizeLinear", (_byte(2, 3, 4), scalar(ONE, "float32"), _point(7)), batched=(0,)),
    Case("DequantizeLinear", (_byte(2, 3, dtype="int8"), scalar(ONE, "float32"))),
    Case("DequantizeLinear", (whole(2, 3, dtype="int32"), scalar(ONE, "float32"))),
    Case("DequantizeLinear", (_byte(2, 3, 4, dtype="int8"), _scale(3), whole(3, dtype="int8")), {"axis": 1}),
    Case("DequantizeLinear", (_byte(3, 5), _scale(3, 3), _byte(3, 3)), {"axis": 1, "block_size": 2}),
    Case("DynamicQuantizeLinear", (real(3, 4).astype("float32"),), outputs=3),
    Case("DynamicQuantizeLinear", (positive(3, 4).astype("float32"),), outputs=3),
    Case("MatMulInteger", (_byte(2, 3, 4, dtype="int8"), _byte(2, 4, 2, dtype="int8"))),
    Case("MatMulInteger", (_byte(3, 4), _byte(4, 2), _point(7), _byte(1))),
    Case("MatMulInteger", (_byte(3, 4), _byte(4, 2, dtype="int8"), _point(7), whole(2, dtype="int8"))),
    Case("ConvInteger", (_byte(2, 3, 5, 5), _byte(4, 3, 3, 3), _point(7)), {"pads": (1, 1, 1, 1)}, batched=(0,)),
    Case("ConvInteger", (_byte(1, 2, 5), _byte(3, 2, 2), _point(9), _byte(3))),
    Case("ConvInteger", (_byte(2, 2, 5, 5), _byte(4, 1, 2, 2), _point(9), _point(3)), {"group": 2, "strides": (2, 2)}),
    Case(
        "QLinearMatMul",
        (_byte(3, 4), _scale(), _point(9), _byte(4, 2), _scale(), _point(200), scalar(2.0, "float32"), _point(90)),
    ),
    Case(
        "QLinearMatMul",
        (
            _byte(2, 3, 4), _scale(), _point(9), _byte(4, 5, dtype="int8"), _scale(5), whole(5, dtype="int8"),
            scalar(4.0, "float32"), _point(90),
        ),
    ),
    Case(
        "QLinearConv",
        (
            _byte(2, 3, 5, 5), _scale(), _point(9), _byte(4, 3, 3, 3, dtype="int8"), _scale(4), whole(4, dtype="int8"),
            scalar(8.0, "float32"), _point(90), whole(4, low=-999, high=999, dtype="int32"),
        ),
        {"pads": (1, 1, 1, 1)},
        batched=(0,),
    ),
    Case(
        "QLinearConv",
        (_byte(2, 3, 5), _scale(), _point(9), _byte(4, 3, 2), _scale(), _point(99), scalar(8.0, "float32"), _point(3)),
    ),
]  # fmt: skip
