"""Activation functions: those of one input, and those with a slope or bounds as inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cases.case import Case, floats, real, scalar, whole
from portable_nn.core.graph import INTERNAL

SMOOTH = ("Erf", "Gelu", "Swish", "Mish", "Softsign", "Elu", "Selu", "Celu")
PIECEWISE = ("HardSigmoid", "HardSwish", "ThresholdedRelu", "Shrink")
OPTIONS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "Elu": ({"alpha": 1.5}, {"alpha": -0.5}),
    "Selu": ({"alpha": 1.5, "gamma": 0.75},),
    "Celu": ({"alpha": 0.5}, {"alpha": 3.0}),
    "Gelu": ({"approximate": "none"}, {"approximate": "tanh"}),
    "Swish": ({"alpha": 1.75}, {"alpha": -0.5}),
    "HardSigmoid": ({"alpha": 0.75, "beta": 0.25}, {"alpha": -0.5}),
    "ThresholdedRelu": ({"alpha": 0.0}, {"alpha": -1.0}),
    "Shrink": ({"bias": 0.25}, {"bias": 0.75, "lambd": 0.75}, {"bias": -1.5, "lambd": -0.25}),
    "LeakyRelu": ({"alpha": 1.5}, {"alpha": -0.5}, {"alpha": 0.0}, {"alpha": 1.0}),
}


def _unary() -> list[Case]:
    return [
        *(Case(name, (real(3, 4),), wrt=(0,), batched=(0,)) for name in (*SMOOTH, *PIECEWISE)),
        *(Case(name, (real(2, 3, 2) * 4,), wrt=(0,), batched=(0,)) for name in (*SMOOTH, *PIECEWISE)),
        *(Case(name, (real(),), wrt=(0,)) for name in ("Erf", "Gelu", "Mish", "HardSwish")),
        *(
            Case(name, (real(3, 4) * 1.5,), attributes, wrt=(0,), batched=(0,))
            for name, options in OPTIONS.items()
            for attributes in options
        ),
    ]


def _slopes() -> list[Case]:
    return [
        *(
            Case("PRelu", (real(2, 3, 4), real(*shape)), wrt=(0, 1), batched=(0,))
            for shape in ((), (1,), (4,), (3, 1), (1, 3, 4))
        ),
        Case("PRelu", (real(2, 3, 4), real(2, 1, 4)), wrt=(0, 1), batched=(0, 1)),
        Case("PRelu", (real(3, 4), real(3, 4)), wrt=(0, 1), batched=(0, 1)),
        Case("PRelu", (whole(3, 4, dtype="int32"), whole(4, dtype="int32"))),
    ]


def _bounds() -> list[Case]:
    low, high = scalar(-0.8), scalar(0.9)
    return [
        *(
            Case("Clip", (real(3, 4), *bounds), wrt=(0,), constants=constants, batched=(0,))
            for bounds, constants in (
                ((), ()),
                ((low,), (1,)),
                ((None, high), (2,)),
                ((low, high), (1, 2)),
                ((high, low), (1, 2)),
            )
        ),
        Case("Clip", (real(3, 4), low, high), wrt=(0, 1, 2), batched=(0,)),
        Case("Clip", (real(), None, high), wrt=(0, 2)),
        Case("Clip", (real(3, 4), floats(-0.8), floats(0.9)), wrt=(0, 1, 2)),
        Case(
            "ClipGrad",
            (real(3, 4), np.clip(real(3, 4), -0.8, 0.9), scalar(-0.8), scalar(0.9)),
            wrt=(0,),
            domain=INTERNAL,
        ),
        *(
            Case("Clip", (whole(3, 4, dtype=dtype), scalar(-5, dtype), scalar(5, dtype)), constants=(1, 2))
            for dtype in ("int8", "int32", "int64")
        ),
        Case("Clip", (whole(3, 4, low=0, dtype="uint8"), scalar(2, "uint8"))),
    ]


CASES = [*_unary(), *_slopes(), *_bounds()]
