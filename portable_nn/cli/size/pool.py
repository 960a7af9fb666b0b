"""``portable-nn size pool``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from portable_nn.cli.options import Html
from portable_nn.cli.printing import Printer
from portable_nn.cli.size.answer import answer
from portable_nn.cli.size.options import PoolOptions, ResultOptions

EXAMPLES = (
    "size pool --in 6 --kernel 2",
    "size pool --in 7 --kernel 2 --ceil --plot pool.png",
    "size pool --in 6 --kernel 3 --padding 1 --mode average --html pool.html",
    "size pool --in 112 --to 56 --kernel 3",
)


def command(
    printer: Printer,
    windows: PoolOptions,
    ceil: Annotated[
        bool, typer.Option("--ceil", help="Round the output size up: the last window may exceed the edge.")
    ] = False,
    mode: Annotated[
        Literal["max", "average", "average-padded", "lp"],
        typer.Option(help="Kind of pool; average-padded counts the padding in averages.", hidden=True),
    ] = "max",
    *,
    wanted: ResultOptions,
    html: Html = None,
) -> None:
    """Compute the output size of a pool, or find a pool with that size.

    The formula is evaluated step by step. Cells of the input that no window reads are named, with options that would
    read them. With --to, options that are not given are found. --html makes a page in which the window moves over the
    cells, and every option can be changed; of one or two axes, of at most 100 cells each.
    """
    is_padded = mode == "average-padded"
    kind: dict[str, Any] = {"mode": "average" if is_padded else mode, "count_include_pad": is_padded}
    answer(printer, "pool", windows, wanted, html=html, ceil=ceil, **kind)
