"""``portable-nn size convt``."""

from __future__ import annotations

from portable_nn.cli.conventions import Gif, Plot, Printer
from portable_nn.cli.size.answer import answer
from portable_nn.cli.size.options import (
    AutoPad,
    Axes,
    CroppedPadding,
    Dilation,
    Groups,
    In,
    InChannels,
    Kernel,
    Most,
    OutChannels,
    OutputPadding,
    Stride,
    To,
)

EXAMPLES = (
    "size convt --in 3 --kernel 2 --stride 2 --padding 1",
    "size convt --in 4 --kernel 3 --stride 2 --plot checkerboard.png",
    "size convt --in 7 --to 14",
)


def command(
    printer: Printer,
    size: In,
    kernel: Kernel = None,
    stride: Stride = None,
    padding: CroppedPadding = None,
    output_padding: OutputPadding = None,
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
    """Compute the output size of a transposed convolution, or find one with that size.

    The formula is evaluated step by step: zeros between the cells, padding added and cropped, a kernel with stride 1.
    Uneven overlap, which risks checkerboard artefacts, is named, with options that avoid it. With --to, options that
    are not given are found.
    """
    answer(
        printer,
        "convt",
        size,
        to,
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
