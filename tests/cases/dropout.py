"""Dropout."""

from __future__ import annotations

from cases.case import Case, real, scalar


def _dropout() -> list[Case]:
    return [
        Case("Dropout", (real(3, 4),), wrt=(0,), batched=(0,)),
        Case("Dropout", (real(3, 4),), wrt=(0,), batched=(0,), outputs=2),
        Case("Dropout", (real(3, 4), scalar(0.3)), wrt=(0,), constants=(1,), batched=(0,), outputs=2),
        Case("Dropout", (real(3, 4), scalar(0.3), scalar(False, "bool")), {"seed": 3}, (0,), (1, 2), (0,), outputs=2),
    ]


CASES = [*_dropout()]
