"""Remarks on what other exporters are known to write wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from onnx import ModelProto

from portable_nn.core.text import some
from portable_nn.onnx.opsets.support import STANDARD, label

RESET: Final = "linear_before_reset"


def resets_too_early(model: ModelProto) -> Iterator[str]:
    """A note on the GRUs of a file by PyTorch whose reset gate comes before the product, as in no GRU of PyTorch's.

    Its exporter wrote so with ``dynamo=True`` for some time (pytorch issue 189225).
    """
    if model.producer_name != "pytorch":
        return
    found = [
        f"'{label(node)}'"
        for node in model.graph.node
        if node.op_type == "GRU"
        and node.domain in STANDARD
        and not any(attribute.name == RESET and attribute.i for attribute in node.attribute)
    ]
    if found:
        yield (
            f"{some(found)} (GRU): {RESET} is 0, and PyTorch's GRU computes what 1 stands for. An exporter of PyTorch "
            "is known to write this wrongly with dynamo=True (pytorch issue 189225): compare with the network that was "
            "exported, or export it again with dynamo=False or a newer PyTorch"
        )
