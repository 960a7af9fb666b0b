"""Padding."""

from __future__ import annotations

import numpy as np

from cases.case import Case, ints, real, scalar, truth, whole
from portable_nn.core.graph import INTERNAL


def _constant() -> list[Case]:
    return [
        Case("Pad", (real(3, 4), ints(0, 1, 0, 2)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Pad", (real(3, 4), ints(1, 0, 2, 0)), {"mode": "constant"}, wrt=(0,), constants=(1,)),
        Case("Pad", (real(3, 4), ints(1, 2, 3, 0), scalar(0.7)), wrt=(0, 2), constants=(1,)),
        Case("Pad", (real(2, 3, 4), ints(1, 2), None, ints(-1)), wrt=(0,), constants=(1, 3), batched=(0,)),
        Case("Pad", (real(2, 3, 4), ints(1, 0, 0, 2), scalar(-1.0), ints(2, 1)), wrt=(0, 2), constants=(1, 3)),
        Case("Pad", (real(3, 4, 2), ints(0, -1, 2, 0, 3, -1)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Pad", (real(3, 4), ints(0, -1, 0, -2)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Pad", (real(3, 4), ints(-5, 6, 6, -5), scalar(0.7)), wrt=(0, 2), constants=(1,)),
        Case("Pad", (whole(3, 2), ints(1, 1, 1, 1)), constants=(1,)),
        Case("Pad", (truth(3, 2), ints(1, 1, 1, 1), scalar(True, "bool")), constants=(1,)),
    ]


def _copied() -> list[Case]:
    rows = []
    for mode in ("edge", "reflect", "wrap"):
        for shape, pads, axes in (
            ((2, 5), (0, 2, 0, 1), None),
            ((3, 4), (1, 3, 2, 2), None),
            ((2, 3, 4, 5), (0, 0, 1, 2, 0, 0, 2, 1), None),
            ((2, 3, 4, 5), (2, 1, 0, 2), ints(-1, 1)),
            ((2, 5), (0, -2, 0, 1), None),
            ((2, 5), (0, 2, 0, -1), None),
            ((5, 4), (-1, -1, -2, 0), None),
        ):
            data, places, attributes = real(*shape), ints(*pads), {"mode": mode}
            padded = np.array(shape)
            np.add.at(padded, range(len(shape)) if axes is None else axes, places.reshape(2, -1).sum(0))
            batched = (0,) if padded[0] == shape[0] else ()
            rows += [
                Case("Pad", (data, places, None, axes), attributes, (0,), (1, 3), batched),
                Case("PadGrad", (real(*padded), places, axes), attributes, (0,), (1, 2), batched, domain=INTERNAL),
            ]
        rows.append(Case("Pad", (whole(3, 4), ints(1, 2, 2, 3)), {"mode": mode}, constants=(1,)))
    rows.append(Case("Pad", (real(1, 4), ints(2, 0, 3, 0)), {"mode": "edge"}, wrt=(0,), constants=(1,)))
    rows.append(Case("Pad", (real(3), ints(7, 11)), {"mode": "wrap"}, wrt=(0,), constants=(1,)))
    return rows


CASES = [*_constant(), *_copied()]
