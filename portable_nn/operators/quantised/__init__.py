"""Whole numbers of few bits in place of real ones: y = (x - zero point) · scale."""

from typing import Final

QUANTISED: Final = frozenset({"DequantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv"})
"""The operators that read weights of whole numbers."""

FLOATS_TRAIN: Final = (
    "the network's weights are quantised: tune the file of floats, or what Python makes of this one, "
    "pnn.import_onnx(FILE).dequantize().save(OTHER)"
)
"""What to do where nothing in a network with such operators can be trained."""
