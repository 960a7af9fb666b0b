"""The largest and the smallest elements."""

from __future__ import annotations

import numpy as np

from cases.case import Case, ints, real, whole

CASES = [
    Case("TopK", (real(2, 7), ints(3)), wrt=(0,), constants=(1,), batched=(0,), outputs=2),
    Case("TopK", (real(2, 7), ints(3)), {"largest": 0}, wrt=(0,), constants=(1,), batched=(0,), outputs=2),
    Case("TopK", (real(2, 5, 3), ints(5)), {"axis": 1}, wrt=(0,), constants=(1,), batched=(0,), outputs=2),
    Case("TopK", (real(4, 3), ints(2)), {"axis": -2, "largest": 0}, wrt=(0,), constants=(1,), outputs=2),
    Case("TopK", (real(3, 80), ints(4)), wrt=(0,), constants=(1,), batched=(0,), outputs=2),
    Case("TopK", (whole(3, 90, low=0, high=4), ints(5)), constants=(1,), batched=(0,), outputs=2),
    Case("TopK", (whole(3, 90, low=0, high=4, dtype="int32"), ints(5)), {"largest": 0}, constants=(1,), outputs=2),
    Case("TopK", (np.array([[2.0, 5, 2, 5, 5, 2]]), ints(4)), constants=(1,), outputs=2),
    Case("TopK", (real(2, 3), ints(0)), {"axis": 0}, constants=(1,), outputs=2),
]
