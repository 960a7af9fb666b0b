"""``BitCast`` in the vocabulary: the bits of numbers as those of another type of the same size, by arithmetic.

A float is a whole number times a power of two, and its bits hold both. Double precision has all of these exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Final

import numpy as np

from portable_nn.core.tensors import ITEM_SIZES
from portable_nn.operators import ONNX_DTYPES, InvalidNode, Symbol, cast, constant, emit

_FORMS: Final[Mapping[str, tuple[int, int, str]]] = {
    "float16": (10, 15, "int16"),
    "float32": (23, 127, "int32"),
    "float64": (52, 1023, "int64"),
}
"""Of each type of floats, the bits of the fraction, the bias of the exponent, and the integers of its size."""

_where, _whole, _double = partial(emit, "Where"), partial(constant, dtype="int64"), partial(constant, dtype="float64")


def bit_cast(x: Symbol, *, to: int) -> Symbol:
    """The bits of ``x`` as those of another type. Those of NaN are those of a quiet NaN without a sign."""
    dtype = ONNX_DTYPES.get(to, f"element type {to}")
    if ITEM_SIZES.get(dtype) != ITEM_SIZES[x.dtype]:
        raise InvalidNode(
            f"it takes bits of one type of numpy for those of another of its size, not {x.dtype} for {dtype}"
        )
    if dtype != x.dtype:
        x = _bits(x) if x.dtype in _FORMS else _floats(x, dtype) if dtype in _FORMS else x
    return cast(x, dtype)


def _bits(x: Symbol) -> Symbol:
    """The bits of floats as integers of their size."""
    fraction, bias, dtype = _FORMS[x.dtype]
    wide, none, one, low = cast(x, "float64"), _double(0.0), _double(1.0), _double(1.0 - bias)
    size, unknown, two = emit("Abs", wide), emit("IsNaN", wide), _double(2.0)
    unit, last = 2**fraction, (2 * bias + 1) * 2**fraction
    infinite = emit("Greater", size, _double((2.0 - 1 / unit) * 2.0**bias))
    size = _where(emit("Or", unknown, infinite), one, size)
    exponent = emit("Clip", emit("Floor", emit("Log", size) / math.log(2)), low, _double(float(bias)))
    ratio = size * emit("Pow", two, -exponent)  # The logarithm may be rounded to the next whole number.
    less = emit("And", emit("Less", ratio, one), emit("Greater", exponent, low))
    exponent = exponent + cast(emit("GreaterOrEqual", ratio, two), "float64") - cast(less, "float64")
    ratio = size * emit("Pow", two, -exponent)
    subnormal = emit("Less", ratio, one)
    place = cast(_where(subnormal, none, exponent + float(bias)), "int64")
    found = place * unit + cast((ratio - _where(subnormal, none, one)) * float(unit), "int64")
    found = _where(unknown, _whole(last + unit // 2), _where(infinite, _whole(last), found))
    sign = _where(emit("Equal", wide, none), one / wide, wide)  # Zero may have one.
    return cast(_where(emit("Less", sign, none), found + _whole(np.iinfo(dtype).min), found), dtype)


def _floats(bits: Symbol, dtype: str) -> Symbol:
    """The floats of the ``bits`` of integers, in double precision."""
    fraction, bias, whole = _FORMS[dtype]
    wide, none, unit = cast(cast(bits, whole), "int64"), _whole(0), _whole(2**fraction)
    negative = emit("Less", wide, none)
    wide = _where(negative, wide - _whole(np.iinfo(whole).min), wide)
    exponent, rest = wide / unit, emit("Mod", wide, unit)
    power = cast(emit("Max", exponent, _whole(1)), "float64") - float(bias + fraction)
    size = cast(_where(emit("Equal", exponent, none), rest, rest + unit), "float64") * emit("Pow", _double(2.0), power)
    special = -emit("Log", _where(emit("Equal", rest, none), _double(0.0), _double(-1.0)))  # Infinity, or NaN.
    size = _where(emit("Equal", exponent, _whole(2 * bias + 1)), special, size)
    return _where(negative, -size, size)
