"""Whole numbers of few bits in place of real ones: y = (x - zero point) · scale."""

from typing import Final

QUANTISED: Final = frozenset({"DequantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv"})
"""The operators that read weights of whole numbers."""
