"""Normalisations."""

from __future__ import annotations

from cases.case import Case, positive, real
from portable_nn.core.graph import INTERNAL

SHAPES = ((4, 3), (3, 3, 4), (2, 3, 3, 2), (2, 3, 2, 2, 2))
"""From no axis behind the channels to three."""


def _batch() -> list[Case]:
    rows = []
    for shape in SHAPES:
        channels = shape[1]
        x, scale, bias = real(*shape), positive(channels), real(channels)
        inputs = (x, scale, bias, real(channels), positive(channels))
        rows += [
            Case("BatchNormalization", inputs, wrt=(0, 1, 2, 3, 4), batched=(0,)),
            Case("BatchNormalization", inputs, {"epsilon": 0.1}, wrt=(0, 1, 2, 3, 4), batched=(0,)),
        ]
        rows += [
            Case("BatchNormalization", inputs, {"training_mode": 1, **options}, (0, 1, 2), batched=(0,), outputs=3)
            for options in ({}, {"momentum": 0.25, "epsilon": 0.1}, {"momentum": 1.0}, {"momentum": 0.0})
        ]
        grad = (real(*shape), x, scale)
        rows.append(Case("BatchNormalizationGrad", grad, wrt=(0, 1, 2), batched=(0, 1), outputs=3, domain=INTERNAL))
    return rows


def _last_axes() -> list[Case]:
    rows = []
    for axis, shape in ((-1, (4,)), (2, (3, 4)), (-3, (3, 3, 4)), (2, (4,)), (-2, (3, 1)), (-1, (3, 3, 1)), (3, ())):
        x, scale, bias = real(2, 3, 3, 4), positive(*shape), real(*shape)
        rows += [
            Case("LayerNormalization", (x, scale, bias), {"axis": axis}, (0, 1, 2), batched=(0,), outputs=outputs)
            for outputs in (1, 2, 3)
        ]
        grad = (real(2, 3, 3, 4), x, scale)
        for name in ("LayerNormalization", "RMSNormalization"):
            options = {"axis": axis, "epsilon": 0.1}
            rows += [
                Case(name, (x, scale), options, (0, 1), batched=(0,)),
                Case(f"{name}Grad", grad, options, (0, 1, 2), batched=(0, 1), outputs=2, domain=INTERNAL),
            ]
    rows += [
        Case("LayerNormalization", (real(5, 4), positive(4), real(4)), wrt=(0, 1, 2), batched=(0,)),
        Case("LayerNormalization", (real(3, 4), positive(3, 4), real(3, 1)), {"axis": 0}, wrt=(0, 1, 2)),
        Case("RMSNormalization", (real(5, 4), positive(4)), wrt=(0, 1), batched=(0,)),
        Case("RMSNormalization", (real(3, 4), positive(3, 4)), {"axis": 0}, wrt=(0, 1)),
    ]
    return rows


def _groups() -> list[Case]:
    rows = []
    for shape in ((3, 6), (2, 6, 3), (2, 6, 2, 3), (2, 4, 2, 2, 2)):
        channels = shape[1]
        inputs = (real(*shape), positive(channels), real(channels))
        for groups in (1, 2) if len(shape) == 2 else (1, 2, channels):
            options = {"num_groups": groups, "epsilon": 0.01}
            grad = (real(*shape), *inputs[:2])
            rows += [
                Case("GroupNormalization", inputs, options, (0, 1, 2), batched=(0,)),
                Case("GroupNormalizationGrad", grad, options, (0, 1, 2), batched=(0, 1), outputs=2, domain=INTERNAL),
            ]
        if len(shape) > 2:
            rows += [
                Case("InstanceNormalization", inputs, options, (0, 1, 2), batched=(0,))
                for options in ({}, {"epsilon": 0.1})
            ]
    return rows


def _others() -> list[Case]:
    """LRN with as many examples as channels, and an odd size: onnx's reference and onnxruntime know no other."""
    rows = [
        Case("LRN", (real(4, 4, 2, 3),), {"size": size, **options}, wrt=(0,), batched=(0,))
        for size in (1, 3, 5, 9)
        for options in ({}, {"alpha": 0.5, "beta": 0.6, "bias": 2.0})
    ]
    rows += [
        Case("LpNormalization", (real(2, 3, 4),), {"p": p, "axis": axis}, wrt=(0,), batched=(0,))
        for p in (1, 2)
        for axis in (0, 1, -1)
    ]
    name = "MeanVarianceNormalization"
    return [
        *rows,
        Case(name, (real(2, 3, 2, 4),), {"axes": (0, 2, 3)}, wrt=(0,), batched=(0,)),
        Case(name, (real(2, 3, 4),), {"axes": (-1, 1)}, wrt=(0,), batched=(0,)),
        Case(name, (real(5, 3),), {"axes": (0,)}, wrt=(0,), batched=(0,)),
    ]


CASES = [*_batch(), *_last_axes(), *_groups(), *_others()]
