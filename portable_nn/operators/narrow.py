"""Element types that numpy lacks: bfloat16, and those of 8 bits and fewer. Their numbers are held in a wider type.

A value of such a type has the element type that holds it. A cast to it, or a quantisation, rounds to the numbers that
the narrow type has; everything else computes in the type that holds it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from portable_nn.core.graph import Node
from portable_nn.operators.registry import ONNX_DTYPES, Array


class Narrow(NamedTuple):
    """An element type that numpy lacks.

    Attributes:
        name: its name in the standard.
        bits: the bits of an element.
        held: the element type that holds its numbers here.
        since: the first opset that has it.
        fraction: of floats, the bits of a number after its first.
        least: the exponent of the smallest float that has all of them.
        largest: the largest float.
        beyond: what a larger one becomes where it does not saturate.
    """

    name: str
    bits: int
    held: str
    since: int
    fraction: int = 0
    least: int = 0
    largest: float = 0.0
    beyond: float = math.nan

    @property
    def is_float(self) -> bool:
        """True if it is a type of floats."""
        return self.held == "float32"

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest of its whole numbers."""
        low = 0 if self.held == "uint8" else -(2 ** (self.bits - 1))
        return low, low + 2**self.bits - 1


E8M0: Final = 24
"""The type of scales that are powers of two: it has no sign, and no zero."""

FLOAT4: Final = 23
"""The type of floats of 4 bits: it has neither infinity nor NaN, for which it has 0."""

NARROW: Final[Mapping[int, Narrow]] = {
    16: Narrow("bfloat16", 16, "float32", 13, 7, -126, (2 - 2**-7) * 2.0**127, math.inf),
    17: Narrow("float8e4m3fn", 8, "float32", 19, 3, -6, 448.0),
    18: Narrow("float8e4m3fnuz", 8, "float32", 19, 3, -7, 240.0),
    19: Narrow("float8e5m2", 8, "float32", 19, 2, -14, 57344.0, math.inf),
    20: Narrow("float8e5m2fnuz", 8, "float32", 19, 2, -15, 57344.0),
    21: Narrow("uint4", 4, "uint8", 21),
    22: Narrow("int4", 4, "int8", 21),
    FLOAT4: Narrow("float4e2m1", 4, "float32", 23, 1, 0, 6.0, 6.0),
    E8M0: Narrow("float8e8m0", 8, "float32", 24, 0, -127, 2.0**127),
    25: Narrow("uint2", 2, "uint8", 25),
    26: Narrow("int2", 2, "int8", 25),
}
"""The types by the numbers that ONNX gives them."""

HELD_DTYPES: Final[Mapping[int, str]] = {**ONNX_DTYPES, **{code: each.held for code, each in NARROW.items()}}
"""The element types that values have here, by the numbers of those that files have."""

NARROW_SINCE: Final = 4
"""The version of the weight format since which nodes may round to these types."""


def narrow_type(node: Node) -> int:
    """The number of the narrow type that a node rounds to; 0 where it does not."""
    name = {"Cast": "to", "QuantizeLinear": "output_dtype"}.get(node.operator)
    code = node.attributes.get(name) if name else 0
    return code if isinstance(code, int) and code in NARROW else 0


_ROUND: Final = {"up": np.ceil, "down": np.floor, "nearest": np.rint}
_EXPONENT: Final = np.uint64(0x7FF0 << 48)


def rounded(x: Array, code: int, *, saturate: bool = True, mode: str = "nearest") -> Array:
    """Numbers at those of a narrow type: floats at the nearest, the even one of two; whole numbers lose high bits.

    Floats beyond the largest become that, or, without ``saturate``, infinity or NaN, as the type has it.
    """
    narrow = NARROW[code]
    with np.errstate(all="ignore"):
        if not narrow.is_float:
            low, high = narrow.limits
            return (((x.astype(np.int64) - low) & (high - low)) + low).astype(narrow.held)
        found = _to_grid(x.astype(np.float64), narrow, mode)
        beyond = narrow.largest if saturate and narrow.bits <= 8 else narrow.beyond
        np.copyto(found, np.copysign(beyond, found), where=np.abs(found) > narrow.largest)
        if code == E8M0:
            found[found < 2.0**narrow.least] = 2.0**narrow.least if saturate else math.nan
        if narrow.name.endswith("fnuz"):
            found += 0.0  # It has no negative zero.
        elif code == FLOAT4:
            found[np.isnan(found)] = 0
        return found.astype(narrow.held)


def _to_grid(x: Array, narrow: Narrow, mode: str) -> Array:
    """``x`` in float64 at the multiples of the power of two that the last bit of each number stands for."""
    x = np.clip(x, -4 * narrow.largest, 4 * narrow.largest)
    power = (x.view(np.uint64) & _EXPONENT).view(np.float64)  # The largest that is not larger.
    step = np.maximum(power, 2.0**narrow.least) * 2.0**-narrow.fraction
    return np.asarray(_ROUND[mode](x / step) * step)
