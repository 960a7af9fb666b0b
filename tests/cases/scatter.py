"""Slices that are taken and put by tuples of indices, and what is chosen by constants."""

from __future__ import annotations

import numpy as np

from cases.case import Array, Case, ints, real, truth, whole


def tuples(*rows: tuple[int, ...]) -> Array:
    return np.array(rows, np.int64)


def _gathers() -> list[Case]:
    return [
        Case("GatherND", (real(2, 3), tuples((0, 2), (1, -1), (0, 2))), wrt=(0,)),
        Case("GatherND", (real(2, 3, 4), tuples((1,), (-2,))), wrt=(0,)),
        Case("GatherND", (real(2, 3, 4), tuples((1, 0), (-1, 2)).reshape(2, 1, 2)), wrt=(0,)),
        Case("GatherND", (real(3), tuples((2,), (0,))), wrt=(0,), constants=(1,)),
        Case("GatherND", (real(2, 3, 4), tuples((1,), (-1,))), {"batch_dims": 1}, wrt=(0,), batched=(0, 1)),
        Case(
            "GatherND",
            (real(2, 3, 4, 2), whole(2, 3, 2, 1, low=-4, high=4)),
            {"batch_dims": 2},
            wrt=(0,),
            batched=(0, 1),
        ),
        Case("GatherND", (real(2, 3, 4), whole(2, 5, 2, low=-3, high=3)), {"batch_dims": 1}, wrt=(0,), batched=(0, 1)),
        Case("GatherND", (whole(2, 3), ints().reshape(0, 1))),
        Case("GatherND", (truth(2, 3), tuples((0, 2), (1, -1)))),
        Case("GatherND", (real(5, 3), tuples((1,), (-2,), (0,))), wrt=(0,), batched=(1,)),
    ]


def _scatters() -> list[Case]:
    pairs = tuples((0, 2), (1, -1), (0, 0))
    rows = [
        Case("ScatterND", (real(2, 3), pairs, real(3)), wrt=(0, 2)),
        Case("ScatterND", (real(4, 3), tuples((3,), (-4,)), real(2, 3)), wrt=(0, 2)),
        Case("ScatterND", (real(2, 3, 2), pairs.reshape(3, 1, 2), real(3, 1, 2)), {"reduction": "none"}, wrt=(0, 2)),
        Case("ScatterND", (real(4, 3), tuples((3,), (3,), (-4,)), real(3, 3)), {"reduction": "add"}, wrt=(0, 2)),
        Case("ScatterND", (real(4), tuples((3,), (-1,)), real(2)), {"reduction": "add"}, wrt=(0, 2), constants=(1,)),
        Case("ScatterND", (real(2, 3), ints().reshape(0, 2), real(0)), wrt=(0, 2)),
        Case("ScatterND", (real(4, 3), tuples((3,), (1,)), real(2, 3)), wrt=(0, 2)),
    ]
    rows += [
        Case("ScatterND", (real(2, 3), tuples((0, 2), (1, 0), (0, 2)), real(3)), {"reduction": reduction})
        for reduction in ("mul", "max", "min")
    ]
    return [*rows, Case("ScatterND", (whole(4), tuples((1,), (1,)), whole(2)), {"reduction": "add"})]


def _selections() -> list[Case]:
    mask = np.array([True, False, True])
    return [
        Case("NonZero", (ints(0, 3, 0, -1),), constants=(0,)),
        Case("NonZero", (np.array([0.5, 0.0], "float32"),), constants=(0,)),
        Case("NonZero", (mask,), constants=(0,)),
        Case("NonZero", (ints(),), constants=(0,)),
        Case("Compress", (real(2, 3), mask), {"axis": 1}, wrt=(0,), constants=(1,), batched=(0,)),
        Case("Compress", (real(4, 2), mask), {"axis": -2}, wrt=(0,), constants=(1,)),
        Case("Compress", (real(2, 2), mask), wrt=(0,), constants=(1,)),
        Case("Compress", (real(2, 2), np.zeros(2, bool)), {"axis": 0}, constants=(1,)),
        Case("Compress", (whole(3), mask), constants=(1,)),
    ]


CASES = [*_gathers(), *_scatters(), *_selections()]
