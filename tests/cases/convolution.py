"""Convolutions and transposed convolutions. A large batch is laid by rows, a small one in planes."""

from __future__ import annotations

from typing import Any

from cases.case import Case, real
from portable_nn.core.graph import INTERNAL

SIZES = {1: (9,), 2: (6, 5), 3: (4, 3, 5)}
KERNELS = {1: (3,), 2: (3, 2), 3: (2, 2, 3)}
UNEVEN = {1: (0, 1), 2: (0, 1, 2, 1), 3: (0, 1, 2, 1, 0, 1)}

Options = dict[str, Any]


def _options(rank: int) -> list[Options]:
    """Attributes that cross strides, dilations, pads and groups."""
    return [
        {},
        {"strides": (2,) * rank},
        {"dilations": (2,) + (1,) * (rank - 1), "pads": (1,) * (2 * rank)},
        {"dilations": (1,) * (rank - 1) + (2,), "pads": (1,) * (2 * rank), "strides": (1,) * (rank - 1) + (2,)},
        {"pads": UNEVEN[rank], "kernel_shape": KERNELS[rank]},
        {"group": 2, "strides": (2,) + (1,) * (rank - 1), "pads": (1,) * (2 * rank)},
    ]


def _conv() -> list[Case]:
    rows = []
    for rank, size in SIZES.items():
        for batch, options in ((2, o) for o in _options(rank)):
            groups = options.get("group", 1)
            inputs = (real(batch, 4, *size), real(6, 4 // groups, *KERNELS[rank]), real(6))
            rows.append(Case("Conv", inputs, options, (0, 1, 2), batched=(0,)))
    many = (real(32, 2, 5, 4), real(4, 2, 3, 2))
    deep = (real(32, 2, 3, 4, 4), real(2, 2, 2, 2, 3))
    depthwise = (real(32, 3, 4, 4), real(3, 1, 3, 3), real(3))
    wide = (real(20, 8, 4, 4), real(4, 8, 3, 3), real(4))
    rows += [
        Case("Conv", many, {}, (0, 1), batched=(0,)),
        Case("Conv", many, {"pads": (1, 1, 1, 0)}, (0, 1), batched=(0,)),
        Case("Conv", many, {"pads": (3, 0, 0, 0)}, (0, 1), batched=(0,)),
        Case("Conv", many, {"strides": (2, 1), "pads": (0, 1, 1, 1)}, (0, 1), batched=(0,)),
        Case("Conv", deep, {"pads": (1, 1, 1, 0, 1, 1)}, (0, 1), batched=(0,)),
        Case("Conv", depthwise, {"group": 3, "pads": (1, 1, 1, 1)}, (0, 1, 2), batched=(0,)),
        Case("Conv", wide, {"pads": (1, 1, 1, 1)}, (0, 1, 2), batched=(0,)),
        Case("Conv", (real(2, 3, 4, 4), real(5, 3, 1, 1)), {}, (0, 1), batched=(0,)),
        Case("Conv", (real(32, 3, 4, 4), real(5, 3, 1, 1)), {}, (0, 1), batched=(0,)),
    ]
    same = (real(2, 2, 6, 7), real(3, 2, 3, 2))
    rows += [
        Case("Conv", same, {"auto_pad": mode, "strides": (stride, 2)}, (0, 1), batched=(0,))
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for stride in (1, 3)
    ]
    return rows


def _conv_transpose() -> list[Case]:
    rows = []
    for rank, size in SIZES.items():
        size = tuple(n - 1 for n in size)
        for options in _options(rank):
            groups = options.get("group", 1)
            inputs = (real(2, 4, *size), real(4, 6 // groups, *KERNELS[rank]), real(6))
            rows.append(Case("ConvTranspose", inputs, options, (0, 1, 2), batched=(0,)))
    many = (real(32, 2, 3, 4), real(2, 3, 3, 2), real(3))
    rows += [
        Case("ConvTranspose", many, options, (0, 1, 2), batched=(0,))
        for options in (
            {},
            {"pads": (1, 0, 2, 1)},
            {"strides": (2, 2), "output_padding": (1, 1), "pads": (1, 0, 1, 1)},
            {"strides": (3, 2), "output_padding": (2, 0)},
            {"dilations": (1, 2), "pads": (0, 1, 1, 0)},
        )
    ]
    return rows


def _weight_gradients() -> list[Case]:
    several: list[tuple[Options, tuple[int, ...]]] = [
        ({}, (4, 3)),
        ({"strides": (2, 3), "pads": (0, 1, 1, 1)}, (3, 2)),
        ({"dilations": (2, 1), "pads": (1, 0, 1, 0)}, (4, 3)),
    ]
    rows = [
        Case(
            "ConvWeightGrad",
            (real(batch, 3, *positions), real(batch, 2, 6, 5)),
            {"kernel_shape": (3, 3), **options},
            (0, 1),
            batched=(0, 1),
            domain=INTERNAL,
        )
        for batch in (2, 24)
        for options, positions in several
    ]
    grouped = {"kernel_shape": (3,), "group": 2}
    inputs = (real(2, 6, 5), real(2, 4, 7))
    return [*rows, Case("ConvWeightGrad", inputs, grouped, (0, 1), batched=(0, 1), domain=INTERNAL)]


def _deformed() -> list[Case]:
    grouped = (real(2, 4, 5, 4), real(4, 2, 2, 3), real(2, 24, 4, 2), real(4), real(2, 12, 4, 2))
    options = {"strides": (2, 1), "pads": (1, 0, 1, 2), "dilations": (1, 2)}
    return [
        Case("DeformConv", grouped, {"group": 2, "offset_group": 2}, (0, 1, 2, 3, 4), batched=(0, 2, 4)),
        Case("DeformConv", (real(1, 2, 4, 5), real(3, 2, 2, 2), real(1, 8, 3, 5)), options, (0, 1, 2), batched=(0, 2)),
        Case("DeformConv", (real(2, 1, 3, 3), real(1, 1, 2, 2), real(2, 8, 2, 2), None, real(2, 4, 2, 2)), {}, (0, 4)),
    ]


CASES = [*_conv(), *_conv_transpose(), *_weight_gradients(), *_deformed()]
