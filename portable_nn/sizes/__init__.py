"""Sizes of convolutions, transposed convolutions and pools: forwards, backwards, and explained.

>>> from portable_nn.sizes import conv, solve
>>> conv(5, stride=2, padding=2).output_size((28, 32))
(14, 16)
>>> solve("convt", 14, 28, limit=1)[0] == convt(2, stride=2)
True
"""

from __future__ import annotations

from portable_nn.sizes.cautions import Caution as Caution
from portable_nn.sizes.cautions import cautions as cautions
from portable_nn.sizes.coverage import Coverage as Coverage
from portable_nn.sizes.coverage import axis_name as axis_name
from portable_nn.sizes.coverage import coverage as coverage
from portable_nn.sizes.explain import Line as Line
from portable_nn.sizes.explain import explain as explain
from portable_nn.sizes.explain import explain_text as explain_text
from portable_nn.sizes.fixes import Fix as Fix
from portable_nn.sizes.fixes import fixes as fixes
from portable_nn.sizes.operation import Operation as Operation
from portable_nn.sizes.operation import Window as Window
from portable_nn.sizes.operation import check_channels as check_channels
from portable_nn.sizes.operation import conv as conv
from portable_nn.sizes.operation import convt as convt
from portable_nn.sizes.operation import input_sizes as input_sizes
from portable_nn.sizes.operation import pool as pool
from portable_nn.sizes.operation import size_text as size_text
from portable_nn.sizes.receptive import INPUT as INPUT
from portable_nn.sizes.receptive import Field as Field
from portable_nn.sizes.receptive import combine as combine
from portable_nn.sizes.receptive import receptive_field as receptive_field
from portable_nn.sizes.receptive import through as through
from portable_nn.sizes.solve import Bounds as Bounds
from portable_nn.sizes.solve import solve as solve
from portable_nn.sizes.spelling import node_operation as node_operation
from portable_nn.sizes.spelling import onnx_text as onnx_text
from portable_nn.sizes.spelling import torch_text as torch_text
