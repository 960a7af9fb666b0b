"""The losses of classifiers."""

from __future__ import annotations

import numpy as np

from cases.case import Case, positive, real, whole


def _losses(name: str, outputs: int, *shapes: tuple[int, ...]) -> list[Case]:
    rows = []
    for shape in shapes:
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
                    rows.append(Case(name, inputs, options, (0,), batched=(0, 1), outputs=outputs))
    inputs = (real(4, 5), whole(4, low=0, high=5, dtype="int32"))
    return [*rows, Case(name, inputs, wrt=(0,), outputs=outputs)]


CASES = [
    *_losses("SoftmaxCrossEntropyLoss", 2, (4, 5), (2, 5, 3), (2, 5, 2, 3)),
    Case("SoftmaxCrossEntropyLoss", (real(4, 5), whole(4, low=0, high=5)), {"reduction": "mean"}, (0,), batched=(0, 1)),
    *_losses("NegativeLogLikelihoodLoss", 1, (2, 5, 3)),
    Case("NegativeLogLikelihoodLoss", (real(2, 5, 2, 3), whole(2, 2, 3, low=0, high=5), positive(5)), wrt=(0,)),
]
