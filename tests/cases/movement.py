"""Operators that change shapes, join and cut."""

from __future__ import annotations

import numpy as np

from cases.case import Case, ints, real, whole


def _shapes() -> list[Case]:
    rows = [
        Case("Reshape", (real(2, 3, 4), ints(*shape)), wrt=(0,), constants=(1,), batched=(0,))
        for shape in ((0, -1), (-1, 4), (0, 4, 3), (-1, 1, 12))
    ]
    rows += [
        Case("Reshape", (real(2, 3, 4), ints(24)), wrt=(0,), constants=(1,)),
        Case("Reshape", (real(1, 1), ints()), wrt=(0,), constants=(1,)),
        Case("Reshape", (real(0, 3), ints(3, 0)), {"allowzero": 1}, constants=(1,)),
        *(Case("Flatten", (real(2, 3, 4),), {"axis": axis}, wrt=(0,), batched=(0,)) for axis in (0, 1, 2, 3, -1)),
        Case("Flatten", (real(2, 3, 4),), wrt=(0,), batched=(0,)),
        Case("Squeeze", (real(3, 1, 4, 1),), wrt=(0,), batched=(0,)),
        Case("Squeeze", (real(3, 1, 4, 1), ints(-1)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Squeeze", (real(3, 1, 4, 1), ints(3, 1)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Unsqueeze", (real(3, 4), ints(1)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Unsqueeze", (real(3, 4), ints(0, -1)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Unsqueeze", (real(3, 4), ints(3, 1)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Transpose", (real(2, 3, 4),), wrt=(0,), batched=(0,)),
        Case("Transpose", (real(2, 3, 4),), {"perm": (1, 2, 0)}, wrt=(0,), batched=(0,)),
        Case("Transpose", (real(2, 3, 4),), {"perm": (0, 2, 1)}, wrt=(0,), batched=(0,)),
        Case("Expand", (real(3, 1), ints(2, 1, 4)), wrt=(0,), constants=(1,)),
        Case("Expand", (real(3, 4), ints(1)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Expand", (real(3, 1), ints(1, 4)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Expand", (real(), ints(2, 3)), wrt=(0,), constants=(1,)),
        Case("Shape", (real(2, 3, 4),)),
        *(Case("Shape", (real(2, 3, 4),), {"start": a, "end": b}) for a, b in ((1, 2), (-2, 9), (-9, -1), (2, 1))),
        Case("Size", (real(2, 3, 4),)),
        Case("Concat", (real(2, 3), real(2, 1)), {"axis": 1}, wrt=(0, 1), batched=(0, 1)),
        Case("Concat", (real(2, 3), real(1, 3), real(4, 3)), {"axis": 0}, wrt=(0, 1, 2)),
        Case("Concat", (real(2, 3, 2), real(2, 3, 5)), {"axis": -1}, wrt=(0, 1), batched=(0, 1)),
        Case("Concat", (real(2, 3),), {"axis": -2}, wrt=(0,)),
        Case("Concat", (whole(2), whole(3)), {"axis": 0}),
    ]
    return rows


def _slices() -> list[Case]:
    end, front = 2**31 - 1, -(2**31)
    rows = [
        Case("Slice", (real(5, 7), *map(np.array, parameters)), wrt=(0,), constants=(1, 2, 3, 4)[: len(parameters)])
        for parameters in (
            ([1], [3]),
            ([1, 2], [4, 6]),
            ([1, -5], [end, -1], [0, 1]),
            ([2], [5], [-1]),
            ([0], [end], [1], [2]),
            ([1, 0], [6, 5], [1, 0], [3, 2]),
            ([-1], [front], [1], [-1]),
            ([5], [0], [1], [-2]),
            ([-1, 6], [front, 1], [0, 1], [-1, -2]),
            ([-10], [-20], [1], [-1]),
            ([4], [1], [1], [1]),
            ([20], [30], [1], [1]),
            ([2], [3], [1], [4]),
            ([0], [4], [1], [-1]),
        )
    ]
    rows += [
        Case("Slice", (real(3, 7), ints(2), ints(5), ints(1)), wrt=(0,), constants=(1, 2, 3), batched=(0,)),
        Case(
            "Slice",
            (real(3, 7, 2), ints(6), ints(0), ints(1), ints(-2)),
            wrt=(0,),
            constants=(1, 2, 3, 4),
            batched=(0,),
        ),
        Case("Slice", (whole(6), ints(1), ints(4)), constants=(1, 2)),
    ]
    return rows


CASES = [*_shapes(), *_slices()]
