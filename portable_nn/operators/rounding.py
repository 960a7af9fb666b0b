"""The rounding of each operator that is not made of others: exact, a sum of products, or a function of a library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple


class Rounding(NamedTuple):
    """The errors of an operator's values.

    Attributes:
        kind: ``exact``: each is an element of an input, a comparison, or a whole number. ``sum``: a sum of products,
            also of one. ``scan``: such a sum of up to all elements. ``quotient``: of the first two inputs.
            ``function``: as far off as was measured.
        relative: units in the last place of a function's value.
        of_input: units in the last place of its input.
        absolute: units in the last place of 1.
    """

    kind: Literal["exact", "sum", "scan", "quotient", "function"]
    relative: float = 0.0
    of_input: float = 0.0
    absolute: float = 0.0


_EXACT: Final = (
    "Relu Abs Neg Max Min Sign Floor Ceil Round Not Equal Greater Less And Or Xor BitShift IsNaN IsInf Where Clip "
    "Trilu GreaterOrEqual LessOrEqual ReduceMax ReduceMin MaxPool GlobalMaxPool TopK ArgMax ArgMin Hardmax Shape Size "
    "OneHot ThresholdedRelu NonZero EyeLike ReverseSequence Range ConstantOfShape MaxUnpool Dropout BitwiseAnd "
    "BitwiseOr BitwiseXor BitwiseNot"
)
_SUMS: Final = (
    "MatMul Gemm Conv ConvTranspose Einsum Add Sub Mul Sum Mean ReduceSum ReduceMean AveragePool "
    "GlobalAveragePool ReduceL1 ReduceSumSquare"
)
_SCANS: Final = "CumSum ReduceProd Col2Im ScatterElements ScatterND"
_ONCE: Final = "Sqrt Cast CastLike LeakyRelu PRelu Mod Shrink"
_FUNCTIONS: Final = "Exp Log Tanh Erf Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Softsign Pow Reciprocal"
_NEAR_ZERO: Final = "Sigmoid Elu Selu Celu Softplus"
_PRODUCTS: Final = "Gelu Swish Mish HardSwish"

ROUNDING: Final[Mapping[str, Rounding]] = {
    **dict.fromkeys(_EXACT.split(), Rounding("exact")),
    **dict.fromkeys(_SUMS.split(), Rounding("sum")),
    **dict.fromkeys(_SCANS.split(), Rounding("scan")),
    **dict.fromkeys(_ONCE.split(), Rounding("function", 1, 0, 1e-4)),
    **dict.fromkeys(_FUNCTIONS.split(), Rounding("function", 4, 0, 0.01)),
    **dict.fromkeys(_NEAR_ZERO.split(), Rounding("function", 4, 0, 2)),
    **dict.fromkeys(_PRODUCTS.split(), Rounding("function", 4, 4, 0.01)),
    "HardSigmoid": Rounding("function", 1, 0, 1),
    "Div": Rounding("quotient"),
}
"""By operator. Functions: twice of what numpy 2.4 and onnxruntime 1.32 are off by, over all exponents of float32."""
