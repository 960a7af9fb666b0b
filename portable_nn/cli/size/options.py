"""The options that ``size conv``, ``convt`` and ``pool`` share, and how their values are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final, get_args

import typer

from portable_nn.cli.options import Moving
from portable_nn.core.errors import UsageError
from portable_nn.sizes import operation

LARGEST: Final = 100_000
"""The largest value of an option, and the longest axis: every cell along an axis is visited."""


@dataclass(frozen=True)
class WindowOptions:
    """The size of the input, and the options along each axis."""

    SUBJECT = "Window"

    size: Annotated[
        str,
        typer.Option("--in", metavar="N", help="Size of the input: 28 is 28x28 (see --axes); 28x32 sets each axis."),
    ]
    kernel: Annotated[
        str | None, typer.Option(metavar="N", help="Size of the kernel: 3, or 3x5. Required without --to.")
    ] = None
    stride: Annotated[str | None, typer.Option(metavar="N", help="Stride: 2, or 2x1. By default 1.")] = None
    padding: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Padding on both sides: 1, or 1x2; begin:end 0:1, or 1:2x0:1; same; valid; or a word of ONNX, "
            "SAME_LOWER.",
        ),
    ] = None
    dilation: Annotated[
        str | None, typer.Option(metavar="N", help="Dilation of the kernel: 2, or 2x1. By default 1.", hidden=True)
    ] = None


@dataclass(frozen=True)
class TransposedOptions(WindowOptions):
    """Those of a transposed convolution, whose padding is cropped."""

    padding: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Cropped from both sides: 1, or 1x2; begin:end 0:1, or 1:2x0:1; same; valid; or a word of ONNX, "
            "SAME_LOWER.",
        ),
    ] = None
    output_padding: Annotated[
        str | None, typer.Option(metavar="N", help="Cells added at the end of the output: 1, or 1x0.", hidden=True)
    ] = None


@dataclass(frozen=True)
class PoolOptions(WindowOptions):
    """Those of a pool, whose stride is by default its kernel."""

    stride: Annotated[
        str | None, typer.Option(metavar="N", help="Stride: 2, or 2x1. By default the size of the kernel.")
    ] = None


@dataclass(frozen=True)
class ChannelOptions:
    """The channels of a convolution."""

    SUBJECT = "Channels"

    channels: Annotated[
        str | None,
        typer.Option(
            metavar="IN:OUT[:GROUPS]",
            help="Channels of the PyTorch layer, 3:16, and the groups that are convolved separately, 8:8:4.",
            hidden=True,
        ),
    ] = None

    def layer(self) -> tuple[tuple[int, int], int]:
        """The input and output channels, by default the groups; and these. Raises ``UsageError``."""
        found = re.fullmatch(r"(\d{0,9}):(\d{0,9})(?::(\d{1,9}))?", self.channels or ":", re.ASCII)
        if not found:
            raise UsageError(f"--channels must be such as 3:16, 3: or 8:8:4, not '{self.channels}'")
        groups = int(found[3] or 1)
        return (int(found[1] or 0) or groups, int(found[2] or 0) or groups), groups


@dataclass(frozen=True)
class ResultOptions:
    """The axes, what is computed, and its pictures."""

    SUBJECT = "Result"

    axes: Annotated[
        int | None, typer.Option(metavar="N", help="Spatial axes, 1 to 3. By default as many as sizes are given, or 2.")
    ] = None
    to: Annotated[
        str | None, typer.Option(metavar="N", help="Find options that give this output size; given options are kept.")
    ] = None
    most: Annotated[int, typer.Option("--top", metavar="N", help="With --to: print the best N.")] = 10
    plot: Moving = None


def numbers(option: str, written: str) -> tuple[int, ...]:
    """``28`` or ``28x32`` as numbers. Raises ``UsageError``."""
    if not re.fullmatch(r"\d+(x\d+)*", written, re.ASCII):
        raise UsageError(f"{option} must be a number, or several such as 28x32, not '{written}'")
    return tuple(_number(option, digits) for digits in written.split("x"))


def pads(option: str, written: str) -> str | tuple[tuple[int, int], ...]:
    """``1``, ``1x2``, ``0:1`` or ``1:2x0:1`` as pairs (begin, end); words as they are."""
    if written in {*operation.PADDING_WORDS, *get_args(operation.AutoPad)}:
        return written
    if not re.fullmatch(r"\d+(:\d+)?(x\d+(:\d+)?)*", written, re.ASCII):
        words = " or ".join(operation.PADDING_WORDS)
        raise UsageError(f"{option} must be such as 1, 1x2, 0:1 or 1:2x0:1, or {words}, not '{written}'")
    axes = [[_number(option, digits) for digits in axis.split(":")] for axis in written.split("x")]
    return tuple((axis[0], axis[-1]) for axis in axes)


def _number(option: str, digits: str) -> int:
    if len(digits) > len(str(LARGEST)) or int(digits) > LARGEST:
        raise UsageError(f"{option} must be at most {LARGEST:,} along an axis, not {digits}")
    return int(digits)
