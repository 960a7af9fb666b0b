"""Operators that pick elements by their index, put them back, and cut an array into parts."""

from __future__ import annotations

import numpy as np

from cases.case import Array, Case, ints, real, scalar, whole


def places(*shape: int, size: int) -> Array:
    """Indices into an axis, from either of its ends, no two of them alike along axis 1."""
    order = np.argsort(real(shape[0], size, *shape[2:]), axis=1)[:, : shape[1]]
    return np.where(whole(*shape, low=0, high=2), order, order - size)


def _gathers() -> list[Case]:
    return [
        Case("Gather", (real(5, 3), ints(4, 0, -1, 0)), wrt=(0,)),
        Case("Gather", (real(5, 3), ints(4, 0, -1, 0)), wrt=(0,), constants=(1,)),
        Case("Gather", (real(5, 3), scalar(2, "int32")), {"axis": 0}, wrt=(0,)),
        Case("Gather", (real(2, 5, 3), scalar(-2, "int64")), {"axis": 1}, wrt=(0,), batched=(0,)),
        Case("Gather", (real(2, 5, 3), whole(2, 4, low=-5, high=5)), {"axis": 1}, wrt=(0,)),
        Case("Gather", (real(2, 3, 4), ints(3, 3, -1)), {"axis": -1}, wrt=(0,), batched=(0,)),
        Case("Gather", (real(7, 3), whole(2, 4, low=-7, high=7, dtype="int32")), wrt=(0,), batched=(1,)),
        Case("Gather", (whole(4), ints(1, -1)), {"axis": 0}),
        Case("Gather", (real(0, 3), whole(2, 0)), {"axis": 0}),
        Case("GatherElements", (real(2, 5), places(2, 3, size=5)), {"axis": 1}, wrt=(0,), batched=(0, 1)),
        Case("GatherElements", (real(2, 5), ints(0, 1, 1, 0, 1).reshape(1, 5)), wrt=(0,)),
        Case("GatherElements", (real(2, 5), ints(0, 0, 0, -1, -1, -1).reshape(2, 3)), {"axis": -1}, wrt=(0,)),
        Case("GatherElements", (real(3, 5, 2), places(2, 4, 1, size=5).astype("int32")), {"axis": 1}, wrt=(0,)),
        Case("GatherElements", (real(3, 2), ints().reshape(0, 2)), wrt=(0,)),
    ]


def _scatters() -> list[Case]:
    rows = [
        Case(
            "ScatterElements",
            (real(2, 5), places(2, 3, size=5), real(2, 3)),
            {"axis": 1},
            wrt=(0, 2),
            batched=(0, 1, 2),
        ),
        Case(
            "ScatterElements",
            (real(3, 5, 2), places(2, 4, 1, size=5), real(2, 4, 1)),
            {"axis": 1, "reduction": "none"},
            wrt=(0, 2),
        ),
        Case("ScatterElements", (real(3, 4), ints(2, 0, -2, -1).reshape(1, 4), real(1, 4)), wrt=(0, 2)),
        Case(
            "ScatterElements",
            (real(3, 4), ints(2, 0, -1, 2, 2, 0).reshape(2, 3), real(2, 3)),
            {"reduction": "add"},
            wrt=(0, 2),
        ),
        Case(
            "ScatterElements",
            (real(2, 3), ints().reshape(2, 0), real(2, 0)),
            {"axis": 1, "reduction": "add"},
            wrt=(0, 2),
        ),
    ]
    rows += [
        Case(
            "ScatterElements",
            (real(2, 4), ints(1, 0, -3, 1, 2, 2).reshape(2, 3), real(2, 3)),
            {"axis": -1, "reduction": reduction},
        )
        for reduction in ("mul", "max", "min")
    ]
    return [*rows, Case("ScatterElements", (whole(4), ints(1, 1), whole(2)), {"reduction": "add"})]


def _splits() -> list[Case]:
    return [
        Case("Split", (real(2, 6),), {"axis": 1, "num_outputs": 3}, wrt=(0,), batched=(0,), outputs=3),
        Case("Split", (real(7, 2),), {"num_outputs": 4}, wrt=(0,), outputs=4),
        Case("Split", (real(2, 5, 3), ints(1, 0, 4)), {"axis": -2}, wrt=(0,), constants=(1,), batched=(0,), outputs=3),
        Case("Split", (real(4), ints(4)), wrt=(0,), constants=(1,)),
        Case("Split", (whole(5), ints(2, 3)), constants=(1,), outputs=2),
    ]


CASES = [*_gathers(), *_scatters(), *_splits()]
