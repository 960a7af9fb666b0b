"""Operators of the package's own domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cases.case import Case, positive, real, scalar
from portable_nn.core.graph import INTERNAL


def _internal() -> list[Case]:
    rate = scalar(0.1)
    shapes = ((3, 4), ())
    rows = [Case("StopGradient", (real(3, 4),), batched=(0,), domain=INTERNAL)]
    rows += [Case("ReluGrad", (real(3, 4), np.maximum(real(3, 4), 0)), wrt=(0,), batched=(0, 1), domain=INTERNAL)]
    for shape in shapes:
        weight, gradient, mean, square = real(*shape), real(*shape), real(*shape), positive(*shape)
        momenta: list[Mapping[str, Any]] = [{}, {"nesterov": 1}, {"momentum": 0.5}]
        rows += [
            Case("Momentum", (weight, gradient, mean, rate), options, outputs=2, domain=INTERNAL) for options in momenta
        ]
        rows += [
            Case("RMSProp", (weight, gradient, square, rate), outputs=2, domain=INTERNAL),
            Case(
                "RMSProp", (weight, gradient, square, rate), {"alpha": 0.5, "epsilon": 0.01}, outputs=2, domain=INTERNAL
            ),
        ]
        adam = (weight, gradient, mean, square, rate, scalar(1e-3))
        rows += [
            Case("Adam", adam, outputs=3, domain=INTERNAL),
            Case("Adam", (*adam, scalar(0.99)), {"beta1": 0.5, "beta2": 0.75}, outputs=3, domain=INTERNAL),
        ]
    return rows


CASES = [*_internal()]
