"""The options that ``size conv``, ``convt`` and ``pool`` share, and how their numbers are written."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from portable_nn.core.errors import UsageError
from portable_nn.sizes.operation import PADDING_WORDS

LARGEST: Final = 100_000
"""The greatest number that an option takes, and the longest side: every cell of a side is looked at."""


class Pads(StrEnum):
    """The words of ONNX for padding that depends on the size of the input, and for none."""

    SAME_UPPER = "SAME_UPPER"
    SAME_LOWER = "SAME_LOWER"
    VALID = "VALID"


class Mode(StrEnum):
    """What a pool makes of the cells that it reads."""

    MAX = "max"
    AVERAGE = "average"
    LP = "lp"


In: TypeAlias = Annotated[
    str, typer.Option("--in", metavar="N", help="Size of the input: 28 is 28x28 (see --axes); 28x32 for each axis.")
]
Out: TypeAlias = Annotated[
    str | None, typer.Option("--out", metavar="N", help="Find options that give this size; those that are given stay.")
]
Kernel: TypeAlias = Annotated[
    str | None, typer.Option(metavar="N", help="Size of the kernel: 3, or 3x5. Needed, unless --out is given.")
]
Stride: TypeAlias = Annotated[
    str | None, typer.Option(metavar="N", help="By how many cells it moves: 2, or 2x1. If not given, by 1.")
]
PoolStride: TypeAlias = Annotated[
    str | None, typer.Option(metavar="N", help="By how many cells it moves: 2, or 2x1. If not given, by the kernel.")
]
Padding: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="N", help="Cells added on both sides: 1, 1x2; begin:end as 0:1, 1:2x0:1; same; valid."),
]
TakenPadding: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="N", help="Cells taken away on both sides: 1, 1x2; begin:end as 0:1, 1:2x0:1; same; valid."),
]
OutputPadding: TypeAlias = Annotated[
    str | None, typer.Option(metavar="N", help="Cells added at the end of the output: 1, or 1x0.")
]
Dilation: TypeAlias = Annotated[
    str | None, typer.Option(metavar="N", help="How far apart the cells are that it reads: 2, or 2x1. If not given, 1.")
]
Groups: TypeAlias = Annotated[int, typer.Option(metavar="N", help="Parts of the channels that stay by themselves.")]
InChannels: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", help="Channels that go in, for the PyTorch spelling.")
]
OutChannels: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", help="Channels that come out, for the PyTorch spelling.")
]
AutoPad: TypeAlias = Annotated[
    Pads | None,
    typer.Option(metavar="WORD", help="Padding in ONNX's words: SAME_UPPER, SAME_LOWER or VALID."),
]
Axes: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="N", help="Spatial axes, 1 to 3. If not given, as there are numbers, or 2."),
]
Most: TypeAlias = Annotated[int, typer.Option(metavar="N", help="With --out: print the best N.")]
Plot: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE.png", help="Draw it, cell by cell; .svg and .pdf too. With --out, the best."),
]
Gif: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE.gif", help="Animate it: the kernel moves, the output fills.")
]


def numbers(option: str, written: str) -> tuple[int, ...]:
    """``28`` or ``28x32`` as numbers. Raises ``UsageError``."""
    if not re.fullmatch(r"\d+(x\d+)*", written, re.ASCII):
        raise UsageError(f"{option} must be a number, or several such as 28x32, not '{written}'")
    return tuple(_number(option, digits) for digits in written.split("x"))


def pads(option: str, written: str) -> str | tuple[tuple[int, int], ...]:
    """``1``, ``1x2``, ``0:1`` or ``1:2x0:1`` as pairs (begin, end); "same" and "valid" as they are."""
    if written in PADDING_WORDS:
        return written
    if not re.fullmatch(r"\d+(:\d+)?(x\d+(:\d+)?)*", written, re.ASCII):
        words = " or ".join(PADDING_WORDS)
        raise UsageError(f"{option} must be such as 1, 1x2, 0:1 or 1:2x0:1, or {words}, not '{written}'")
    axes = [[_number(option, digits) for digits in axis.split(":")] for axis in written.split("x")]
    return tuple((axis[0], axis[-1]) for axis in axes)


def _number(option: str, digits: str) -> int:
    if len(digits) > len(str(LARGEST)) or int(digits) > LARGEST:
        raise UsageError(f"{option} must be at most {LARGEST:,} along an axis, not {digits}")
    return int(digits)
