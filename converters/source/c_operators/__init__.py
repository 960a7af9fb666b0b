"""The operators in C: a module for each family, with a row per operator that writes its lines."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from portable_nn.converters.array.elementwise import ROWS as FORMULAS
from portable_nn.converters.source.c_operators import (
    elementwise,
    layout,
    normalization,
    products,
    recurrent,
    reductions,
    windows,
)
from portable_nn.converters.source.c_operators.use import C_TYPES, CUse, Write
from portable_nn.core.errors import RefusalError
from portable_nn.operators import InvalidNode, has_open
from portable_nn.operators.recurrent.uses import KINDS

ROWS: Final[Mapping[str, Write]] = {
    "Gemm": products.gemm,
    "MatMul": products.matmul,
    "Conv": partial(windows.conv, "conv"),
    "ConvTranspose": partial(windows.conv, "conv_transpose"),
    "MaxPool": partial(windows.pool, "max_pool"),
    "MaxUnpool": windows.unpool,
    "RoiAlign": windows.roi_align,
    "AveragePool": partial(windows.pool, "average_pool"),
    **{name: partial(recurrent.recurrence_of, name.lower()) for name in KINDS},
    **dict.fromkeys(FORMULAS, elementwise.elements),
    "Softmax": partial(normalization.along, "softmax"),
    "LogSoftmax": partial(normalization.along, "log_softmax"),
    "BatchNormalization": normalization.batch_norm,
    "LayerNormalization": partial(normalization.layer_norm, "standardize"),
    "RMSNormalization": partial(normalization.layer_norm, "root_mean_square"),
    "GroupNormalization": normalization.group_norm,
    "InstanceNormalization": normalization.group_norm,
    "LRN": normalization.response_norm,
    "GlobalAveragePool": reductions.reduced("0", "{0} + {1}", "{0} / {1}"),
    "GlobalMaxPool": reductions.reduced("-INFINITY", "larger({0}, {1})"),
    "ReduceSum": reductions.reduced("0", "{0} + {1}"),
    "ReduceMean": reductions.reduced("0", "{0} + {1}", "{0} / {1}"),
    "ReduceProd": reductions.reduced("1", "{0} * {1}"),
    "ReduceMax": reductions.reduced("-INFINITY", "larger({0}, {1})"),
    "ReduceMin": reductions.reduced("INFINITY", "smaller({0}, {1})"),
    "ReduceSumSquare": reductions.reduced("0", "{0} + {1} * {1}"),
    "ReduceL1": reductions.reduced("0", "{0} + fabsf({1})"),
    "ReduceL2": reductions.reduced("0", "{0} + {1} * {1}", "sqrtf({0})"),
    "CumSum": reductions.cumulative,
    "TopK": reductions.top_k,
    "ArgMax": partial(reductions.arg, "1.0f"),
    "ArgMin": partial(reductions.arg, "-1.0f"),
    "Dropout": layout.dropout,
    "Identity": layout.same,
    "Reshape": layout.same,
    "Flatten": layout.same,
    "Squeeze": layout.same,
    "Unsqueeze": layout.same,
    "Transpose": layout.transpose,
    "Expand": layout.expand,
    "Concat": layout.concat,
    "Split": layout.split,
    "Slice": layout.slice,
    "Pad": layout.pad,
    "DepthToSpace": layout.blocks,
    "SpaceToDepth": layout.blocks,
    "Gather": layout.gather,
    "TensorScatter": layout.put_steps,
    "OneHot": layout.one_hot,
}
"""The operators that are written beside those with bodies; of others, those that have a lowering, as that."""

ALL_OUTPUTS: Final = frozenset({"TopK", *KINDS})
"""The operators that write all outputs, also those that nothing reads."""


def missing(use: CUse) -> str | None:
    """The reason why a use is not written, or ``None``."""
    row = ROWS.get(use.operator.name) if not use.operator.domain else None
    if row is None and use.operator.entries is None:
        return "is not written in C"
    if strange := [t.dtype for t in (*use.types, *use.results) if t is not None and t.dtype not in C_TYPES]:
        return f"{strange[0]} is no type of C"
    if has_open(use.results):
        return "data decide its size"
    try:
        if row:
            row(use)
    except (RefusalError, InvalidNode) as error:
        return str(error)
    return None
