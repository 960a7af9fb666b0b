"""``portable-nn size conv``."""

from __future__ import annotations

from portable_nn.cli.options import Html
from portable_nn.cli.printing import Printer
from portable_nn.cli.size.answer import answer
from portable_nn.cli.size.options import ChannelOptions, ResultOptions, WindowOptions

EXAMPLES = (
    "size conv --in 28 --kernel 5 --stride 2 --padding 2",
    "size conv --in 28x32 --kernel 3x5 --padding 1x2 --plot conv.png",
    "size conv --in 16000 --axes 1 --kernel 400 --stride 160",
    "size conv --in 7 --kernel 3 --stride 2 --html conv.html",
    "size conv --in 28 --to 14 --kernel 3",
)


def command(
    printer: Printer, windows: WindowOptions, channels: ChannelOptions, wanted: ResultOptions, html: Html = None
) -> None:
    """Compute the output size of a convolution, or find a convolution with that size.

    The formula is evaluated step by step. Cells of the input that the kernel never reads are named, with options that
    would read them. With --to, options that are not given are found, in a chain of layers if need be. --html makes a
    page in which the kernel moves over the cells, and every option can be changed; of one or two axes, of at most
    100 cells each.
    """
    answer(printer, "conv", windows, wanted, channels, html)
