"""Matrix products."""

from __future__ import annotations

from cases.case import Case, real, whole


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


CASES = [*_linear()]
