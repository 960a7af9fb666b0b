"""Triangles, the unit matrix, the determinant."""

from __future__ import annotations

import numpy as np

from cases.case import Case, real, scalar, truth, whole
from portable_nn.operators.registry import DTYPE_CODES


def _triangles() -> list[Case]:
    diagonals = [scalar(k, "int64") for k in (0, 1, -2, 7, -7)]
    rows = [
        Case("Trilu", (real(2, 3, 4), k), {"upper": upper}, wrt=(0,), constants=(1,), batched=(0,))
        for k in diagonals
        for upper in (0, 1)
    ]
    return [
        *rows,
        Case("Trilu", (real(3, 3),), wrt=(0,), batched=(0,)),
        Case("Trilu", (real(4, 2), scalar(1, "int64")), {"upper": 0}, wrt=(0,)),
        Case("Trilu", (np.full((3, 3), np.nan),), {"upper": 0}),
        Case("Trilu", (whole(3, 5),), {"upper": 0}),
        Case("Trilu", (truth(3, 5),)),
        Case("Trilu", (real(0, 2),)),
    ]


def _others() -> list[Case]:
    codes = [DTYPE_CODES[dtype] for dtype in ("float32", "float64", "int32", "int64")]
    return [
        Case("EyeLike", (real(3, 4),), batched=(0,)),
        *(
            Case("EyeLike", (real(4, 3),), {"k": k, "dtype": code})
            for k, code in zip((1, -1, 3, -9), codes, strict=True)
        ),
        Case("EyeLike", (whole(2, 2, dtype="int32"),), {"k": 1}),
        Case("Det", (real(3, 3),), wrt=(0,)),
        Case("Det", (real(2, 4, 4),), wrt=(0,), batched=(0,)),
        Case("Det", (real(2, 3, 2, 2),), wrt=(0,), batched=(0,)),
        Case("Det", (real(2, 1, 1),), wrt=(0,), batched=(0,)),
        Case("Det", (np.arange(9.0).reshape(3, 3),), wrt=(0,)),
    ]


CASES = [*_triangles(), *_others()]
