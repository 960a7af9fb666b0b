"""Lists of numbers from their length, and what is done along an axis: running sums, tiles, reversal, the middle."""

from __future__ import annotations

from cases.case import Case, ints, real, scalar, truth, whole
from portable_nn.operators.registry import DTYPE_CODES


def _ranges() -> list[Case]:
    rows = [
        Case("Range", tuple(scalar(value, dtype) for value in bounds), constants=(0, 1, 2))
        for dtype, several in (
            ("int32", ((0, 5, 1), (10, 4, -2))),
            ("int64", ((1, 9, 3), (3, 3, 1), (5, 1, 1), (1, 5, 9))),
            ("float32", ((0, 5, 1), (10, 4, -2), (5, 1, 1))),
            ("float64", ((1, 9, 3), (1, 5, 9))),
        )
        for bounds in several
    ]
    rows += [
        Case("Range", (scalar(0.5), scalar(2.1), scalar(0.25)), constants=(0, 1, 2)),
        Case("Range", (scalar(2, "int16"), scalar(-2, "int16"), scalar(-1, "int16")), constants=(0, 1, 2)),
    ]
    rows += [
        Case(f"{name}Window", (scalar(size, dtype),), {"periodic": periodic}, constants=(0,))
        for name in ("Hann", "Hamming", "Blackman")
        for size, dtype, periodic in ((10, "int64", 1), (7, "int32", 0), (1, "int64", 1))
    ]
    return [
        *rows,
        Case("HannWindow", (scalar(4, "int32"),), {"output_datatype": DTYPE_CODES["float64"]}, constants=(0,)),
    ]


def _sums() -> list[Case]:
    rows = [
        Case(
            "CumSum",
            (real(3, 4, 2), scalar(axis, "int64")),
            {"exclusive": exclusive, "reverse": reverse},
            wrt=(0,),
            constants=(1,),
            batched=(0,),
        )
        for axis, exclusive, reverse in ((0, 0, 0), (1, 0, 0), (-1, 1, 0), (1, 0, 1), (0, 1, 1), (-1, 1, 1))
    ]
    return [
        *rows,
        Case("CumSum", (real(5), ints(0)), wrt=(0,), constants=(1,)),
        Case("CumSum", (real(1, 3), scalar(0, "int32")), {"exclusive": 1}, wrt=(0,), constants=(1,)),
        Case("CumSum", (real(0, 3), scalar(0, "int32")), {"exclusive": 1}, constants=(1,)),
        *(Case("CumSum", (whole(2, 5, dtype=d), scalar(1, "int64")), constants=(1,)) for d in ("int32", "int64")),
    ]


def _moves() -> list[Case]:
    lengths = ints(2, 4, 1)
    return [
        *(Case("Tile", (real(2, 3), ints(*repeats)), wrt=(0,), constants=(1,)) for repeats in ((1, 1), (2, 3), (3, 1))),
        Case("Tile", (real(2, 3, 2), ints(1, 4, 2)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Tile", (real(2, 3), ints(3, 2)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Tile", (real(2, 3), ints(1, 0)), constants=(1,)),
        Case("Tile", (real(), ints()), wrt=(0,), constants=(1,)),
        *(Case("Tile", (x, ints(2)), constants=(1,)) for x in (whole(3), truth(3), whole(3, dtype="int16"))),
        Case("ReverseSequence", (real(4, 3, 2), lengths), wrt=(0,)),
        Case("ReverseSequence", (real(3, 4), lengths), {"batch_axis": 0, "time_axis": 1}, wrt=(0,), batched=(0, 1)),
        Case("ReverseSequence", (whole(4, 3), lengths)),
        *(
            Case("CenterCropPad", (real(*shape), ints(*wanted)), wrt=(0,), constants=(1,))
            for shape, wanted in (((5, 4), (2, 4)), ((2, 3), (5, 6)), ((7, 2), (4, 5)), ((3, 3), (3, 3)))
        ),
        Case("CenterCropPad", (real(2, 7, 3), ints(2, 6)), {"axes": (1, -1)}, wrt=(0,), constants=(1,), batched=(0,)),
        Case("CenterCropPad", (real(4, 2), ints(5)), {"axes": (-2,)}, wrt=(0,), constants=(1,)),
        Case("CenterCropPad", (real(2, 3), ints(0, 4)), constants=(1,)),
        Case("CenterCropPad", (whole(5), ints(8)), constants=(1,)),
    ]


CASES = [*_ranges(), *_sums(), *_moves()]
