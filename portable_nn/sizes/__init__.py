"""Sizes of convolutions, transposed convolutions and pools: forwards, backwards, and explained.

>>> from portable_nn.sizes import conv, solve
>>> conv(5, stride=2, padding=2).output_size((28, 32))
(14, 16)
>>> solve("convt", 14, 28, limit=1)[0] == convt(2, stride=2)
True
"""

from portable_nn.sizes.cautions import Caution, cautions
from portable_nn.sizes.chains import chain
from portable_nn.sizes.coverage import Coverage, axis_name, coverage
from portable_nn.sizes.explain import Line, explain, explain_text
from portable_nn.sizes.fixes import Fix, fixes
from portable_nn.sizes.notation import node_operation, onnx_text, torch_text
from portable_nn.sizes.operation import Operation, Window, check_channels, conv, convt, input_sizes, pool, size_text
from portable_nn.sizes.receptive import INPUT, Field, combine, receptive_field, through
from portable_nn.sizes.solve import Bounds, solve

__all__ = [
    "INPUT",
    "Bounds",
    "Caution",
    "Coverage",
    "Field",
    "Fix",
    "Line",
    "Operation",
    "Window",
    "axis_name",
    "cautions",
    "chain",
    "check_channels",
    "combine",
    "conv",
    "convt",
    "coverage",
    "explain",
    "explain_text",
    "fixes",
    "input_sizes",
    "node_operation",
    "onnx_text",
    "pool",
    "receptive_field",
    "size_text",
    "solve",
    "through",
    "torch_text",
]
