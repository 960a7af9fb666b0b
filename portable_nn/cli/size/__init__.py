"""``portable-nn size``: a group of commands."""

from __future__ import annotations

from typing import Final

from portable_nn.cli import Row

COMMANDS: Final = {
    "conv": Row("conv", "Tell what size a convolution gives, or which convolution gives a size."),
    "convt": Row("convt", "Tell what size a transposed convolution gives, or which one gives a size."),
    "pool": Row("pool", "Tell what size a pool gives, or which pool gives a size."),
    "net": Row("net", "Walk through a whole network or ONNX file: the sizes, options and costs of every node."),
}


def command() -> None:
    """Work out sizes of convolutions and pools: forwards, backwards, with pictures.

    conv, convt and pool explain one layer step by step, say which cells it leaves out and what would mend that, and
    draw it. With --out instead of options they find the options. net does so for every layer of a model.
    """
