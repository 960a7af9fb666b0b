"""``portable-nn size net``."""

from __future__ import annotations

from typing import Annotated

import typer

from portable_nn.cli.conventions import Printer

EXAMPLES = (
    "size net digits-mlp",
    "size net somebody.onnx --in N,3,224,224",
    "size net somebody.onnx --in image=1,3,512,512 --in mask=1,1,512,512 --format json",
)


def command(
    printer: Printer,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A shipped model's name, a weight file, or any ONNX file.")
    ],
    sizes: Annotated[
        list[str] | None,
        typer.Option("--in", metavar="SIZES", help="Sizes of the input, N,3,224,224; of several, x=1,3,224,224 each."),
    ] = None,
) -> None:
    """Walk through a whole network or ONNX file: the sizes, options and costs of every node.

    options: kernel/stride, p padding, d dilation, o output padding, g groups. field: the receptive field, and how far
    the fields of two neighbours are apart; all, where the whole input is seen. Below a node stand the cells that it
    never reads or makes, and what may go wrong. Multiply-adds are those of Conv, ConvTranspose, Gemm and MatMul; memory
    is that of the outputs. Where the batch has no number, both are those of one example.
    """
    from portable_nn.analysis.sizes import as_json, as_text
    from portable_nn.core.binding import parse_sizes
    from portable_nn.model_files.sizing import size_net

    net = size_net(model, inputs=parse_sizes(sizes or ()))
    printer.result(as_text(net, printer.width), as_json(net))
