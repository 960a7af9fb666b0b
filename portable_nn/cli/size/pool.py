"""``portable-nn size pool``."""

from __future__ import annotations

from typing import Annotated

import typer

from portable_nn.cli.conventions import Printer
from portable_nn.cli.size.answer import answer
from portable_nn.cli.size.options import (
    AutoPad,
    Axes,
    Dilation,
    Gif,
    In,
    Kernel,
    Mode,
    Most,
    Out,
    Padding,
    Plot,
    PoolStride,
)

EXAMPLES = (
    "size pool --in 6 --kernel 2",
    "size pool --in 7 --kernel 2 --ceil --plot pool.png",
    "size pool --in 112 --out 56 --kernel 3",
)


def command(
    printer: Printer,
    size: In,
    kernel: Kernel = None,
    stride: PoolStride = None,
    padding: Padding = None,
    dilation: Dilation = None,
    ceil: Annotated[bool, typer.Option("--ceil", help="Let the last window stand over the edge.")] = False,
    mode: Annotated[Mode, typer.Option(help="What it makes of what it reads.")] = Mode.MAX,
    count_include_pad: Annotated[
        bool, typer.Option("--count-include-pad", help="Let an average count the padding as cells.")
    ] = False,
    auto_pad: AutoPad = None,
    axes: Axes = None,
    out: Out = None,
    most: Most = 10,
    plot: Plot = None,
    gif: Gif = None,
) -> None:
    """Tell what size a pool gives, or which pool gives a size.

    The formula is worked out step by step. Cells of the input that no window reads are named, with changes that would
    read them. With --out, the options that are not given are found.
    """
    answer(
        printer,
        "pool",
        size,
        out,
        {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation},
        ceil=ceil,
        mode=mode.value,
        count_include_pad=count_include_pad,
        auto_pad=auto_pad,
        axes=axes,
        most=most,
        plot=plot,
        gif=gif,
    )
