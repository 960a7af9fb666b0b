"""Matrix products."""

from __future__ import annotations

from cases.case import Case, ints, real, scalar, whole


def _linear() -> list[Case]:
    rows = []
    for trans_a in (0, 1):
        for trans_b in (0, 1):
            a, b = real(*((4, 3) if trans_a else (3, 4))), real(*((5, 4) if trans_b else (4, 5)))
            batched = () if trans_a else (0,)
            flags = {"transA": trans_a, "transB": trans_b}
            rows.append(Case("Gemm", (a, b), flags, wrt=(0, 1), batched=batched))
            rows.append(Case("Gemm", (a, b, real(5)), flags | {"alpha": 0.5, "beta": 2.0}, (0, 1, 2), batched=batched))
    for shape in ((), (1,), (1, 5), (3, 1), (3, 5)):
        rows.append(Case("Gemm", (real(3, 4), real(4, 5), real(*shape)), wrt=(0, 1, 2)))
        rows.append(Case("Gemm", (real(3, 4), real(4, 5), real(*shape)), {"beta": -1.5}, wrt=(0, 1, 2)))
    for a, b in (
        ((4,), (4,)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (4,)),
        ((4,), (2, 4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (3, 4, 2)),
        ((2, 3, 3, 4), (2, 3, 4, 2)),
    ):
        rows.append(Case("MatMul", (real(*a), real(*b)), wrt=(0, 1)))
    rows += [
        Case("Gemm", (whole(3, 4, dtype="int32"), whole(4, 2, dtype="int32"))),
        Case("MatMul", (real(3, 4), real(4, 5)), wrt=(0, 1), batched=(0,)),
        Case("MatMul", (real(2, 3, 4), real(4, 5)), wrt=(0, 1), batched=(0,)),
        Case("MatMul", (real(2, 3, 4), real(2, 4, 2)), wrt=(0, 1), batched=(0, 1)),
        Case("MatMul", (real(2, 3, 3, 4), real(4, 2)), wrt=(0, 1), batched=(0,)),
        Case("MatMul", (whole(3, 4), whole(4, 2))),
    ]
    return rows


def _fourier() -> list[Case]:
    """Along the axis before the last, and others; longer and shorter signals; lengths of all kinds; half spectra."""
    rows = [Case("DFT", (real(2, 5, 2),), {"inverse": inverse}, wrt=(0,), batched=(0,)) for inverse in (0, 1)]
    for place, size, length in ((1, 5, 4), (0, 3, 6), (-2, 5, 3)):
        axis, count, odd = (scalar(each, "int64") for each in (place, length, 2 * size - 1))
        rows += [
            Case("DFT", (real(3, 5, 2), count, axis), {"inverse": inverse}, wrt=(0,), constants=(1, 2))
            for inverse in (0, 1)
        ]
        rows += [
            Case("DFT", (real(3, 5, 1), None, axis), {"onesided": onesided}, wrt=(0,), constants=(2,))
            for onesided in (0, 1)
        ]
        half = {"inverse": 1, "onesided": 1}
        rows += [Case("DFT", (real(3, 5, 2), each, axis), half, wrt=(0,), constants=(1, 2)) for each in (None, odd)]
    return [
        *rows,
        Case("DFT", (real(2, 8, 1),), wrt=(0,), batched=(0,)),
        Case("DFT", (real(7, 1), scalar(8, "int32")), {"onesided": 1}, wrt=(0,), constants=(1,)),
        Case("DFT", (real(2, 5, 2), scalar(6, "int64"), scalar(1, "int64"))),
        Case(
            "STFT",
            (real(2, 9, 1), scalar(2, "int64"), real(4)),
            {"onesided": 1},
            wrt=(0, 2),
            constants=(1,),
            batched=(0,),
        ),
        Case("STFT", (real(2, 9, 1), scalar(3, "int64"), None, scalar(5, "int64")), {"onesided": 1}, (0,), (1, 3)),
        Case("STFT", (real(1, 9, 2), ints(4).reshape(()), real(5)), {"onesided": 0}, wrt=(0, 2), constants=(1,)),
        Case("STFT", (real(1, 9, 1), scalar(2, "int64"), None, scalar(4, "int64")), {"onesided": 1}),
    ]


CASES = [*_linear(), *_fourier()]
