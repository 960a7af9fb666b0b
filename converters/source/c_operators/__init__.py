"""The operators in C: a module for each family, with a row per operator that writes its lines."""

from __future__ import annotations

from collections.abc import Mapping
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
from portable_nn.converters.source.c_operators.use import C_TYPES, CUse, Row
from portable_nn.core.errors import RefusalError
from portable_nn.operators import InvalidNode
from portable_nn.operators.recurrent.uses import KINDS

ROWS: Final[Mapping[str, Row]] = {
    "Gemm": Row(products.gemm),
    "MatMul": Row(products.matmul),
    "Conv": Row(windows.conv("conv")),
    "ConvTranspose": Row(windows.conv("conv_transpose")),
    "MaxPool": Row(windows.pool("max_pool")),
    "MaxUnpool": Row(windows.unpool),
    "RoiAlign": Row(windows.roi_align),
    "AveragePool": Row(windows.pool("average_pool")),
    **{name: Row(recurrent.recurrence_of(name.lower()), all_outputs=True) for name in KINDS},
    **dict.fromkeys(FORMULAS, Row(elementwise.elements)),
    "Softmax": Row(normalization.along("softmax")),
    "LogSoftmax": Row(normalization.along("log_softmax")),
    "BatchNormalization": Row(normalization.batch_norm),
    "LayerNormalization": Row(normalization.layer_norm("standardize")),
    "RMSNormalization": Row(normalization.layer_norm("root_mean_square")),
    "GroupNormalization": Row(normalization.group_norm),
    "InstanceNormalization": Row(normalization.group_norm),
    "LRN": Row(normalization.response_norm),
    "GlobalAveragePool": Row(reductions.reduced("0", "{0} + {1}", "{0} / {1}")),
    "GlobalMaxPool": Row(reductions.reduced("-INFINITY", "larger({0}, {1})")),
    "ReduceSum": Row(reductions.reduced("0", "{0} + {1}")),
    "ReduceMean": Row(reductions.reduced("0", "{0} + {1}", "{0} / {1}")),
    "ReduceProd": Row(reductions.reduced("1", "{0} * {1}")),
    "ReduceMax": Row(reductions.reduced("-INFINITY", "larger({0}, {1})")),
    "ReduceMin": Row(reductions.reduced("INFINITY", "smaller({0}, {1})")),
    "ReduceSumSquare": Row(reductions.reduced("0", "{0} + {1} * {1}")),
    "ReduceL1": Row(reductions.reduced("0", "{0} + fabsf({1})")),
    "ReduceL2": Row(reductions.reduced("0", "{0} + {1} * {1}", "sqrtf({0})")),
    "CumSum": Row(reductions.cumulative),
    "TopK": Row(reductions.top_k, all_outputs=True),
    "ArgMax": Row(reductions.arg("1.0f")),
    "ArgMin": Row(reductions.arg("-1.0f")),
    "Dropout": Row(layout.dropout),
    "Identity": Row(layout.same),
    "Reshape": Row(layout.same),
    "Flatten": Row(layout.same),
    "Squeeze": Row(layout.same),
    "Unsqueeze": Row(layout.same),
    "Transpose": Row(layout.transpose),
    "Expand": Row(layout.expand),
    "Concat": Row(layout.concat),
    "Split": Row(layout.split),
    "Slice": Row(layout.slice),
    "Pad": Row(layout.pad),
    "DepthToSpace": Row(layout.blocks),
    "SpaceToDepth": Row(layout.blocks),
    "Gather": Row(layout.gather),
    "TensorScatter": Row(layout.put_steps),
    "OneHot": Row(layout.one_hot),
}
"""All operators that are written; of others, those that have a lowering are written as that."""


def missing(use: CUse) -> str | None:
    """The reason why a use is not written, or ``None``."""
    row = ROWS.get(use.operator.name) if not use.operator.domain else None
    if row is None:
        return "is not written in C"
    if strange := [t.dtype for t in (*use.types, *use.results) if t is not None and t.dtype not in C_TYPES]:
        return f"{strange[0]} is no type of C"
    try:
        row.write(use)
    except (RefusalError, InvalidNode) as error:
        return str(error)
    return None
