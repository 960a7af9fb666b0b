"""The softmax family and its loss."""

from __future__ import annotations

import numpy as np

from cases.case import Case, positive, real, whole


def _softmax() -> list[Case]:
    rows = []
    for name in ("Softmax", "LogSoftmax", "Hardmax"):
        wrt = () if name == "Hardmax" else (0,)
        rows.append(Case(name, (real(3, 5),), wrt=wrt, batched=(0,)))
        rows += [Case(name, (real(2, 3, 4),), {"axis": axis}, wrt=wrt, batched=(0,)) for axis in (0, 1, 2, -2)]
        rows.append(Case(name, (real(2, 3, 2, 3),), {"axis": 1}, wrt=wrt, batched=(0,)))
    rows.append(Case("Hardmax", (np.array([[2.0, 2, 1], [0, 3, 3]]),)))
    return rows


def _losses() -> list[Case]:
    rows = []
    for shape in ((4, 5), (2, 5, 3), (2, 5, 2, 3)):
        labels = whole(shape[0], *shape[2:], low=0, high=5)
        for reduction in ("mean", "sum", "none"):
            for weights in (None, positive(5)):
                for ignored in (None, -1, 2):
                    hidden = (
                        labels
                        if ignored != -1
                        else np.where(np.arange(labels.size).reshape(labels.shape) % 3, labels, -1)
                    )
                    inputs = (real(*shape), hidden) if weights is None else (real(*shape), hidden, weights)
                    options = {"reduction": reduction} | ({} if ignored is None else {"ignore_index": ignored})
                    rows.append(Case("SoftmaxCrossEntropyLoss", inputs, options, (0,), batched=(0, 1), outputs=2))
    inputs = (real(4, 5), whole(4, low=0, high=5, dtype="int32"))
    return [*rows, Case("SoftmaxCrossEntropyLoss", inputs, wrt=(0,), outputs=2)]


CASES = [*_softmax(), *_losses()]
