"""Arithmetic, comparison, logic and the first activations, element by element."""

from __future__ import annotations

import numpy as np

from cases.case import Case, floats, positive, real, scalar, truth, whole
from portable_nn.operators.registry import DTYPE_CODES


def _unary() -> list[Case]:
    anywhere = ("Neg", "Abs", "Exp", "Reciprocal", "Sin", "Cos", "Relu", "Sigmoid", "Tanh", "Softplus", "LeakyRelu")
    flat = ("Sign", "Floor", "Ceil", "Round", "IsNaN")
    return [
        *(Case(name, (real(3, 4),), wrt=(0,), batched=(0,)) for name in (*anywhere, "Identity")),
        *(Case(name, (positive(3, 4),), wrt=(0,), batched=(0,)) for name in ("Log", "Sqrt")),
        *(Case(name, (real(3, 4) * 3,), batched=(0,)) for name in flat),
        *(Case(name, (real(),), wrt=(0,)) for name in ("Tanh", "Softplus")),
        *(Case(name, (whole(2, 5, dtype="int32"),)) for name in ("Neg", "Abs", "Sign")),
        Case("LeakyRelu", (real(2, 3, 4),), {"alpha": 0.3}, wrt=(0,), batched=(0,)),
        Case("Round", (floats(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5),)),
        Case("IsNaN", (floats(0, np.nan, np.inf),)),
        Case("Not", (truth(3, 4),), batched=(0,)),
        *(
            Case("IsInf", (floats(0, np.nan, np.inf, -np.inf),), {"detect_negative": a, "detect_positive": b})
            for a in (0, 1)
            for b in (0, 1)
        ),
    ]


BROADCASTS = (
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((4,), (3, 4)),
    ((3, 1), (1, 4)),
    ((1, 4), (3, 1)),
    ((2, 3, 4), (3, 1)),
    ((1,), (2, 1, 3)),
    ((3, 4), ()),
    ((), (3, 4)),
    ((), ()),
)


def _binary() -> list[Case]:
    rows = [
        Case(name, (real(*a), positive(*b) if name == "Div" else real(*b)), wrt=(0, 1))
        for name in ("Add", "Sub", "Mul", "Div")
        for a, b in BROADCASTS
    ]
    rows += [Case(name, (real(3, 4), positive(4)), wrt=(0, 1), batched=(0,)) for name in ("Add", "Sub", "Mul", "Div")]
    rows += [Case(name, (real(3, 4), positive(3, 4)), wrt=(0, 1), batched=(0, 1)) for name in ("Mul", "Div")]
    for name in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
        rows.append(Case(name, (whole(3, 4, low=0, high=3), whole(4, low=0, high=3)), batched=(0,)))
        rows.append(Case(name, (real(3, 1), real(1, 4))))
    for name in ("And", "Or", "Xor"):
        rows.append(Case(name, (truth(3, 4), truth(3, 4)), batched=(0, 1)))
        rows.append(Case(name, (truth(4), truth(3, 1))))
    rows.append(Case("Equal", (truth(3, 4), truth(4))))
    rows.append(Case("Mul", (whole(3, 4), whole(4))))
    for dtype in ("int32", "int64"):
        divisors = np.array([-7, -3, -2, -1, 1, 2, 3, 7], dtype)
        rows.append(Case("Div", (whole(5, 8, low=-40, high=40, dtype=dtype), divisors)))
    return rows


def _variadic() -> list[Case]:
    rows = []
    for name in ("Sum", "Mean", "Max", "Min"):
        apart = real(2, 3, 4)
        rows += [
            Case(name, (real(3, 4),), wrt=(0,), batched=(0,)),
            Case(name, (apart, real(3, 1) + 0.017), wrt=(0, 1), batched=(0,)),
            Case(name, (real(3, 1), real(1), apart), wrt=(0, 1, 2)),
            Case(name, (real(3, 4), real(3, 4), real(4)), wrt=(0, 1, 2), batched=(0, 1)),
        ]
    return rows


def _others_by_element() -> list[Case]:
    return [
        Case("Pow", (positive(3, 4), real(3, 4)), wrt=(0, 1), batched=(0, 1)),
        Case("Pow", (positive(3, 4), real(4)), wrt=(0, 1), batched=(0,)),
        Case("Pow", (positive(4), real(3, 1)), wrt=(0, 1)),
        Case("Pow", (real(3, 4), scalar(2.0)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Pow", (real(3, 4), scalar(3, "int64")), wrt=(0,), constants=(1,)),
        Case("Pow", (whole(3, 4), scalar(2, "int64"))),
        Case("Where", (truth(3, 4), real(3, 4), real(3, 4)), wrt=(1, 2), batched=(0, 1, 2)),
        Case("Where", (truth(3, 1), real(4), real(2, 1, 1)), wrt=(1, 2)),
        Case("Where", (truth(4), real(3, 4), scalar(0.5)), wrt=(1, 2)),
        Case("Where", (truth(4), whole(4), whole(3, 1))),
        Case("Cast", (real(3, 4),), {"to": DTYPE_CODES["float64"]}, wrt=(0,), batched=(0,)),
        Case("Cast", (real(3, 4) * 5,), {"to": DTYPE_CODES["int64"]}, batched=(0,)),
        Case("Cast", (floats(0.0, -0.0, 0.5, -3.0),), {"to": DTYPE_CODES["bool"]}),
        Case("Cast", (truth(3, 4),), {"to": DTYPE_CODES["float32"]}),
        Case("Cast", (whole(3, 4),), {"to": DTYPE_CODES["int64"]}),
        *(Case("Cast", (real(3, 40) * 99,), {"to": code, "saturate": 0}) for code in (17, 18, 19, 20)),
        Case("Cast", (real(3, 40) * 99,), {"to": 16}),
        *(Case("Cast", (whole(3, 40, low=-40, high=40),), {"to": code}) for code in (21, 22, 25, 26)),
        Case("Cast", (positive(3, 40) * 99,), {"to": 24, "round_mode": "nearest"}),
        Case("CastLike", (real(3, 4), np.zeros(1)), wrt=(0,), batched=(0,)),
        Case("CastLike", (real(3, 4) * 5, whole(2)), batched=(0,)),
        Case("CastLike", (whole(3, 4), np.zeros(1)), batched=(0,)),
        Case("Mod", (real(3, 4) * 7, real(4)), {"fmod": 1}, wrt=(0, 1), batched=(0,)),
        Case("Mod", (real(3, 1) * 7, real(4)), {"fmod": 1}, wrt=(0, 1)),
        *(
            Case("Mod", (whole(5, 8, low=low, high=40, dtype=dtype), np.array(by, dtype)), {"fmod": fmod})
            for dtype, low, by in (
                ("int32", -40, (-7, -3, -2, -1, 1, 2, 3, 7)),
                ("int64", -40, (-7, -3, -2, -1, 1, 2, 3, 7)),
                ("int8", -40, (-7, -3, -2, -1, 1, 2, 3, 7)),
                ("uint8", 0, (1, 2, 3, 5, 7, 11, 13, 200)),
            )
            for fmod in (0, 1)
        ),
    ]


CASES = [*_unary(), *_binary(), *_variadic(), *_others_by_element()]
