"""``portable-nn size``: a group of commands."""

from __future__ import annotations

from typing import Final

COMMANDS: Final = {
    "conv": "Compute the output size of a convolution, or find a convolution with that size.",
    "convt": "Compute the output size of a transposed convolution (deconvolution), or find one with that size.",
    "pool": "Compute the output size of a pool, or find a pool with that size.",
    "net": "Show the shapes, options, receptive fields and costs of every node of a model.",
}


def command() -> None:
    """Compute output sizes of convolutions and pools, or find options that give a size.

    conv, convt and pool explain one layer step by step, name cells that it never reads and options that would read
    them, and draw it. With --to they find the options that give a size. net shows every layer of a model.
    """
