"""``portable-nn size convt``."""

from __future__ import annotations

from portable_nn.cli.options import Html
from portable_nn.cli.printing import Printer
from portable_nn.cli.size.answer import answer
from portable_nn.cli.size.options import ChannelOptions, ResultOptions, TransposedOptions

EXAMPLES = (
    "size convt --in 3 --kernel 2 --stride 2 --padding 1",
    "size convt --in 4 --kernel 3 --stride 2 --plot checkerboard.png",
    "size convt --in 4 --kernel 3 --stride 2 --html convt.html",
    "size convt --in 7 --to 14",
)


def command(
    printer: Printer, windows: TransposedOptions, channels: ChannelOptions, wanted: ResultOptions, html: Html = None
) -> None:
    """Compute the output size of a transposed convolution (deconvolution), or find one with that size.

    The formula is evaluated step by step: zeros between the cells, padding added and cropped, a kernel with stride 1.
    Uneven overlap, which risks checkerboard artefacts, is named, with options that avoid it. With --to, options that
    are not given are found, in a chain of layers if need be. --html makes a page in which the kernel moves over the
    cells, and every option can be changed; of one or two axes, of at most 100 cells each.
    """
    answer(printer, "convt", windows, wanted, channels, html)
