"""Whole numbers of few bits in place of real ones: y = (x - zero point) · scale."""

from typing import Final

QUANTISED: Final = frozenset({"DequantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv"})
"""The operators that read weights of whole numbers."""

FLOATS_TRAIN: Final = "its weights are quantised: tune the file of floats, or the network that dequantize() returns"
"""What to do where nothing in a network with such operators can be trained."""
