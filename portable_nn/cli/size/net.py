"""``portable-nn size net``."""

from __future__ import annotations

from portable_nn.cli.options import Html, InputSizes, Model
from portable_nn.cli.printing import Printer

EXAMPLES = (
    "size net digits-mlp",
    "size net somebody.onnx --in N,3,224,224",
    "size net digits-cnn --html sizes.html",
    "size net somebody.onnx --in image=1,3,512,512 --in mask=1,1,512,512 --format json",
)


def command(printer: Printer, model: Model, sizes: InputSizes = None, html: Html = None) -> None:
    """Show the shapes, options, receptive fields and costs of every node of a model.

    options: kernel/stride, p padding, d dilation, o output padding, g groups. field: the receptive field and its
    stride; all, where it is the whole input. Below a node are the cells that it never reads or writes, and warnings.
    Multiply-adds are those of convolutions, products of matrices and recurrent operators; memory is that of the
    outputs. If the batch size is symbolic, both are those of one example. --html writes all of it as a page.
    """
    from portable_nn.analysis.sizes import as_json, as_page, as_text
    from portable_nn.cli.drawing import draw, written
    from portable_nn.core.binding import parse_sizes
    from portable_nn.outputs.reports import size_net

    net = size_net(model, inputs=parse_sizes(sizes or ()))
    pages = written(draw(None, None, html=html, page=lambda: as_page(net)))
    printer.result("\n".join(filter(None, [as_text(net, printer.width), pages])), as_json(net))
