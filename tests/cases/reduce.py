"""Reductions."""

from __future__ import annotations

import numpy as np

from cases.case import Case, ints, positive, real, truth, whole


def _reductions() -> list[Case]:
    rows = []
    of_any_sign = ("ReduceSum", "ReduceMean", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL1")
    for name in (*of_any_sign, "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"):
        draw = positive if name == "ReduceLogSum" else real
        for axes, keepdims in (((0,), 1), ((0,), 0), ((-1,), 0), ((1, 2), 1), ((-1, 0), 0)):
            inputs = (draw(2, 3, 4), ints(*axes))
            rows.append(Case(name, inputs, {"keepdims": keepdims}, wrt=(0,), constants=(1,), batched=(0,)))
        rows += [
            Case(name, (draw(3, 4), ints(0)), {"keepdims": 0}, wrt=(0,), constants=(1,), batched=(0,)),
            Case(name, (draw(3, 4),), {"keepdims": 0}, wrt=(0,), batched=(0,)),
            Case(name, (draw(3, 4),), wrt=(0,), batched=(0,)),
            Case(name, (draw(3, 4),), {"noop_with_empty_axes": 1}, wrt=(0,), batched=(0,)),
            Case(name, (draw(3, 4), ints()), wrt=(0,), constants=(1,)),
        ]
    zeros = real(3, 4)
    zeros[0, 1] = zeros[1, 0] = zeros[1, 3] = 0
    rows.append(Case("ReduceProd", (zeros, ints(1)), {"keepdims": 0}, wrt=(0,), constants=(1,)))
    rows += [Case(name, (whole(3, 4), ints(1)), constants=(1,)) for name in ("ReduceSum", "ReduceProd", "ReduceMax")]
    rows += [Case(name, (truth(3, 4), ints(1)), constants=(1,)) for name in ("ReduceMax", "ReduceMin")]
    for name in ("ArgMax", "ArgMin"):
        tied = np.array([[1.0, 3, 3, 1], [2, 2, 2, 2], [4, 0, 0, 4]])
        rows += [
            Case(name, (real(3, 4),), batched=(0,)),
            Case(name, (real(2, 3, 4),), {"axis": -1, "keepdims": 0}, batched=(0,)),
            Case(name, (tied,), {"axis": 1}),
            Case(name, (tied,), {"axis": 1, "select_last_index": 1}),
            Case(name, (tied,), {"axis": 0, "keepdims": 0, "select_last_index": 1}),
        ]
    return rows


CASES = [*_reductions()]
