"""Tensors of elements of 4 and 2 bits: a file has several in each byte, as ONNX stores them.

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
from portable_nn.core.memory import CHUNK, Bytes
from portable_nn.core.tensors import Array
from portable_nn.operators.narrow import NARROW, rounded

PACKED: Final = {narrow.name: code for code, narrow in NARROW.items() if narrow.bits < 8}
"""The element types that a file packs, and the numbers that ONNX gives them."""


@cache
def _numbers(packed: str) -> Array:
    """The number that each code stands for."""
    code = PACKED[packed]
    found = rounded(np.arange(2 ** NARROW[code].bits), code)
    half = np.unique(rounded(np.arange(len(found)) / 2, code))  # Of floats, the highest bit is the sign.
    return np.concatenate([half, -half]) if NARROW[code].is_float else found


def packed_type(value: Value) -> str | UnsetType:
    """The element type that a file packs ``value`` in, if any."""
    return value.packed if isinstance(value, Parameter) else UNSET


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
    flat, numbers = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(-1), _numbers(packed)
    own, bits = numbers.view(f"u{numbers.itemsize}"), NARROW[PACKED[packed]].bits
    lowest, codes = max(8 * own.itemsize - 12, 0), np.zeros(2**12, np.uint8)  # Bits below it are 0 in all numbers.
    codes[own >> lowest] = np.arange(len(own))
    found: Array = np.zeros(-(-_size(value, packed) // 8), np.uint8)
    for start in range(0, flat.size, CHUNK):
        part = flat[start : start + CHUNK].view(own.dtype)
        made = codes[part >> lowest]
        if (wrong := np.flatnonzero(own[made] != part)).size:
            at = np.unravel_index(start + wrong[0], array.shape)
            text = f"tensor {value.name!r} has {array[at]:g} at {[*map(int, at)]}, which is no {packed}"
            known = ", ".join(map("{:g}".format, np.unique(numbers)))
            raise UsageError(f"{text}: these are {known}; round it, or dequantize()")
        for low in range(0, 8, bits):
            some = made[low // bits :: 8 // bits]
            found[start * bits // 8 :][: len(some)] |= some << low
    return found


def unpack(value: Value, data: Array) -> Array:
    """The array whose bytes in a file are ``data``; the same where it is not packed."""
    if not (packed := packed_type(value)):
        return data
    numbers, shape = _numbers(packed), cast("tuple[int, ...]", value.shape)
    codes = np.arange(256)[:, None] >> np.arange(0, 8, NARROW[PACKED[packed]].bits)
    found: Array = numbers[codes % len(numbers)][data].reshape(-1)[: math.prod(shape)].reshape(shape)
    found.flags.writeable = data.flags.writeable
    return found


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
