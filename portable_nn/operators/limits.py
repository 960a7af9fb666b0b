"""The faults of runtimes that were measured, and that no option of an operator decides: docs/conformance.md, and
one-node models.

``check`` keeps those of the level ``known`` to itself until a runtime has failed (``check --runtimes``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from portable_nn.core.graph import Shape
from portable_nn.operators.registry import Limit, OperatorContext


def _known(
    option: str, problem: str, applies: Callable[[OperatorContext, Shape | None], bool] = lambda use, shape: True
) -> Limit:
    return Limit(option, applies, problem, "", "known")


AS_SOFTPLUS: Final = Limit(
    "input",
    lambda use, shape: True,
    "OpenCV 5.0 takes log(exp(x) + y) for softplus(x), whatever y is",
    "write an Identity after the Exp, as export does",
    "note",
    after=("Add", "Exp"),
)
TANH: Final = _known("input", "OpenCV 5.0 gives NaN for most numbers above 44")
SOFTPLUS: Final = _known("X", "OpenCV 5.0 gives infinity above 88")
POOL: Final = _known(
    "kernel_shape",
    "MNN 3.6 crashes or gives other numbers in three dimensions",
    lambda use, shape: len(use.type().shape) == 5,
)
CONV: Final = _known(
    "kernel_shape",
    "MNN 3.6 adds an axis to the output, if that is one of the model",
    lambda use, shape: len(use.type().shape) == 3,
)
GROUPED: Final = _known("group", "onnx.reference 1.23 fails on several groups", lambda use, _: use.int("group") > 1)
IS_NAN: Final = _known("X", "MNN 3.6 lacks it")
ROUNDING: Final = _known("size", "onnx.reference 1.23 is 3e-4 off")
RECURRENT: Final = {
    "GRU": _known("direction", "tract 0.23 and OpenCV 5.0 need numbers for all sizes"),
    "LSTM": _known("direction", "tract 0.23 needs numbers for all sizes"),
    "RNN": _known("direction", "OpenCV 5.0 lacks it; tract 0.23 needs numbers for all sizes"),
}
