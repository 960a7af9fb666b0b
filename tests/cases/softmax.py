"""The softmax family."""

from __future__ import annotations

import numpy as np

from cases.case import Case, real


def _softmax() -> list[Case]:
    rows = []
    for name in ("Softmax", "LogSoftmax", "Hardmax"):
        wrt = () if name == "Hardmax" else (0,)
        rows.append(Case(name, (real(3, 5),), wrt=wrt, batched=(0,)))
        rows += [Case(name, (real(2, 3, 4),), {"axis": axis}, wrt=wrt, batched=(0,)) for axis in (0, 1, 2, -2)]
        rows.append(Case(name, (real(2, 3, 2, 3),), {"axis": 1}, wrt=wrt, batched=(0,)))
    rows.append(Case("Hardmax", (np.array([[2.0, 2, 1], [0, 3, 3]]),)))
    return rows


CASES = _softmax()
