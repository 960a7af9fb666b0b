"""``portable-nn size conv``."""

from __future__ import annotations

from portable_nn.cli.conventions import Gif, Plot, Printer
from portable_nn.cli.size.answer import answer
from portable_nn.cli.size.options import (
    AutoPad,
    Axes,
    Dilation,
    Groups,
    In,
    InChannels,
    Kernel,
    Most,
    OutChannels,
    Padding,
    Stride,
    To,
)

EXAMPLES = (
    "size conv --in 28 --kernel 5 --stride 2 --padding 2",
    "size conv --in 28x32 --kernel 3x5 --padding 1x2 --plot conv.png",
    "size conv --in 16000 --axes 1 --kernel 400 --stride 160",
    "size conv --in 28 --to 14 --kernel 3",
)


def command(
    printer: Printer,
    size: In,
    kernel: Kernel = None,
    stride: Stride = None,
    padding: Padding = None,
    dilation: Dilation = None,
    groups: Groups = 1,
    in_channels: InChannels = None,
    out_channels: OutChannels = None,
    auto_pad: AutoPad = None,
    axes: Axes = None,
    to: To = None,
    most: Most = 10,
    plot: Plot = None,
    gif: Gif = None,
) -> None:
    """Compute the output size of a convolution, or find a convolution with that size.

    The formula is evaluated step by step. Cells of the input that the kernel never reads are named, with options that
    would read them. With --to, options that are not given are found.
    """
    answer(
        printer,
        "conv",
        size,
        to,
        {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation},
        groups=groups,
        channels=(in_channels or groups, out_channels or groups),
        auto_pad=auto_pad,
        axes=axes,
        most=most,
        plot=plot,
        gif=gif,
    )
