"""``portable-nn size convt``."""

from __future__ import annotations

from portable_nn.cli.conventions import Printer
from portable_nn.cli.size.answer import answer
from portable_nn.cli.size.options import (
    AutoPad,
    Axes,
    Dilation,
    Gif,
    Groups,
    In,
    InChannels,
    Kernel,
    Most,
    Out,
    OutChannels,
    OutputPadding,
    Plot,
    Stride,
    TakenPadding,
)

EXAMPLES = (
    "size convt --in 3 --kernel 2 --stride 2 --padding 1",
    "size convt --in 4 --kernel 3 --stride 2 --plot checkerboard.png",
    "size convt --in 7 --out 14",
)


def command(
    printer: Printer,
    size: In,
    kernel: Kernel = None,
    stride: Stride = None,
    padding: TakenPadding = None,
    output_padding: OutputPadding = None,
    dilation: Dilation = None,
    groups: Groups = 1,
    in_channels: InChannels = None,
    out_channels: OutChannels = None,
    auto_pad: AutoPad = None,
    axes: Axes = None,
    out: Out = None,
    most: Most = 10,
    plot: Plot = None,
    gif: Gif = None,
) -> None:
    """Tell what size a transposed convolution gives, or which one gives a size.

    It is worked out step by step: the grid with zeros between the cells, the rings added and taken away, the kernel
    that moves by one. Overlap that is uneven, which risks a checkerboard pattern, is named, with changes that would
    mend it. With --out, the options that are not given are found.
    """
    answer(
        printer,
        "convt",
        size,
        out,
        {
            "kernel": kernel,
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "dilation": dilation,
        },
        groups=groups,
        channels=(in_channels or groups, out_channels or groups),
        auto_pad=auto_pad,
        axes=axes,
        most=most,
        plot=plot,
        gif=gif,
    )
