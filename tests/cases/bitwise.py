"""Operators on the bits of integers."""

from __future__ import annotations

import numpy as np

from cases.case import Array, Case, ints, scalar, truth, whole

SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")


def any_of(dtype: str, *shape: int) -> Array:
    """Numbers from all over an element type, with both ends of it."""
    limits = np.iinfo(dtype)
    inner = np.where(truth(*shape), whole(*shape, low=0, high=2**62), whole(*shape, low=-(2**62), high=0)).astype(dtype)
    inner.flat[:2] = limits.min, limits.max
    return inner


def _rows() -> list[Case]:
    rows = [
        Case(f"Bitwise{name}", (any_of(dtype, 3, 4), any_of(dtype, 4)))
        for name, dtypes in (("And", SIGNED), ("Or", UNSIGNED), ("Xor", ("int8", "int64", "uint8", "uint64")))
        for dtype in dtypes
    ]
    rows += [Case("BitwiseNot", (any_of(dtype, 3, 4),)) for dtype in (*SIGNED, *UNSIGNED)]
    rows += [
        Case(
            "BitShift",
            (any_of(dtype, 3, 4), np.array([0, 1, 5, 7], dtype)),
            {"direction": direction},
        )
        for direction in ("LEFT", "RIGHT")
        for dtype in UNSIGNED
    ]
    return [
        *rows,
        Case("BitwiseOr", (whole(3, 4), whole(3, 4)), batched=(0, 1)),
        Case("BitwiseOr", (ints(5, -1), scalar(6, "int64"))),
        Case("BitwiseXor", (whole(3, 1), whole(1, 4))),
    ]


CASES = _rows()
