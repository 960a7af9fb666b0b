"""Tensors of elements of 8 bits and fewer that numpy lacks: a file has one or several in each byte, as ONNX does.

In memory, an element type that numpy has holds their numbers (see ``operators.narrow``). In a file, the tensor is one
of bytes: the first element is in the lowest bits of the first byte, and the bits after the last one are 0.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final, cast

import numpy as np
from msgspec import UNSET, UnsetType

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Parameter, Value, format_shape
from portable_nn.core.memory import CHUNK, Bytes, aligned
from portable_nn.core.tensors import Array
from portable_nn.operators.narrow import E8M0, NARROW, rounded
from portable_nn.operators.registry import DTYPE_CODES

PACKED: Final = {narrow.name: code for code, narrow in NARROW.items() if narrow.bits <= 8}
"""The element types that a file packs, and the numbers that ONNX gives them."""

_STEP: Final = CHUNK // 16
"""Elements that are packed or unpacked at once: with their indices, they fit into the cache of a core."""


@cache
def _numbers(packed: str) -> Array:
    """The number that each code stands for; no two have the same bits."""
    code = PACKED[packed]
    narrow = NARROW[code]
    if not narrow.is_float:
        return rounded(np.arange(2**narrow.bits), code)
    x = (np.arange(2**11, dtype=np.uint32) << 20).view(np.float32)  # In order: 8 bits of exponent, 3 of fraction.
    half, signs = x[rounded(x, code, saturate=False) == x], code != E8M0
    nan = np.linspace(0x7F8, 0x800, 2 ** (narrow.bits - signs) - len(half) + 2, dtype=int)[1:-1]
    half = np.concatenate([half, x[nan]])  # The codes that are left, evenly among the NaNs of x.
    other = np.where((half == 0) & narrow.name.endswith("fnuz"), np.nan, half)  # Which have no negative zero.
    return np.concatenate([half, -other]) if signs else half


def packed_type(value: Value) -> str | UnsetType:
    """The element type that a file packs ``value`` in, if any."""
    return value.packed if isinstance(value, Parameter) else UNSET


def element_code(value: Value) -> int:
    """The number that ONNX gives to the element type of ``value`` in a file."""
    packed = packed_type(value)
    return PACKED[packed] if packed else DTYPE_CODES[value.dtype]


def _size(value: Value, packed: str) -> int:
    """The bits of all elements of a packed value."""
    return math.prod(cast("tuple[int, ...]", value.shape)) * NARROW[PACKED[packed]].bits


def stored(value: Value) -> Value:
    """``value`` as the carrier of a file has it: bytes where it is packed."""
    packed = packed_type(value)
    return Value(value.name, "uint8", (-(-_size(value, packed) // 8),)) if packed else value


def pack(value: Value, array: Array) -> Array:
    """``array`` as a file has it; the same where it is not packed.

    Raises ``UsageError`` for a number that its element type does not have.
    """
    if not (packed := packed_type(value)):
        return array
    flat = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(-1)
    numbers, bits = _numbers(packed), NARROW[PACKED[packed]].bits
    own, codes = numbers.view(f"u{numbers.itemsize}"), np.zeros(2**12, np.uint8)
    lowest = max(8 * own.itemsize - 12, 0)  # Bits below it are 0 in all numbers.
    codes[own >> lowest] = np.arange(len(own))
    made = np.zeros(flat.size + -flat.size % (8 // bits), np.uint8)
    for start in range(0, flat.size, _STEP):
        part = flat[start : start + _STEP].view(own.dtype)
        now = codes.take(part >> lowest, out=made[start : start + len(part)], mode="clip")
        if (wrong := np.flatnonzero(own.take(now, mode="clip") != part)).size:
            at = np.unravel_index(start + wrong[0], array.shape)
            near = min(numbers[np.isfinite(numbers)].tolist(), key=lambda each: abs(each - float(array[at])))
            text = f"tensor {value.name!r} has {array[at]:g} at {[*map(int, at)]}, which is no {packed}"
            raise UsageError(f"{text}: the nearest is {near:g}; round it, or dequantize()")
    return cast("Array", sum(made[low // bits :: 8 // bits] << low for low in range(0, 8, bits)))


def unpack(value: Value, data: Array) -> Array:
    """The array whose bytes in a file are ``data``; the same where it is not packed."""
    if not (packed := packed_type(value)):
        return data
    numbers, bits, shape = _numbers(packed), NARROW[PACKED[packed]].bits, cast("tuple[int, ...]", value.shape)
    table = numbers[(np.arange(256)[:, None] >> np.arange(0, 8, bits)) % len(numbers)]
    rows: Array = aligned(data.size * table[0].nbytes).view(table.dtype).reshape(-1, 8 // bits)
    for start in range(0, data.size, _STEP):
        table.take(data[start : start + _STEP], 0, rows[start : start + _STEP], "clip")  # The default would buffer it.
    rows.flags.writeable = data.flags.writeable
    return rows.reshape(-1)[: math.prod(shape)].reshape(shape)


def packed_fault(value: Value) -> str | None:
    """The fault of what a manifest says of a parameter that is packed."""
    if not isinstance(value, Parameter) or isinstance(packed := value.packed, UnsetType):
        return None
    if packed not in PACKED:
        return f"is packed as {packed!r}; a file can pack {', '.join(PACKED)}"
    if value.trainable:
        return f"is packed as {packed}, and must not be trainable: training gives numbers that are none of it"
    held = NARROW[PACKED[packed]].held
    return None if value.dtype == held else f"is packed as {packed}, whose dtype is {held}, but has dtype {value.dtype}"


def padding_fault(value: Value, data: Bytes) -> str | None:
    """The fault of the bits after the last element of a packed tensor, whose last bytes are ``data``."""
    packed = packed_type(value)
    if packed and (rest := _size(value, packed) % 8) and data[-1] >> rest:
        needed = f"{packed}{format_shape(value.shape)} ends at bit {rest} of its last byte"
        return f"tensor {value.name!r} has the last byte 0x{data[-1]:02x}, but {needed}: the bits after it must be 0"
    return None
