"""Single arrays of numpy: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html."""

from __future__ import annotations

import io
import math
import warnings
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.core.errors import FormatError
from portable_nn.core.files import kind_fault, read_at
from portable_nn.core.graph import format_shape
from portable_nn.core.memory import Bytes, aligned
from portable_nn.core.tensors import Array
from portable_nn.plain.tensors import NUMBERS, ArrayPlace, Entry, Listing, Opened, shape_fault

MAGIC: Final = b"\x93NUMPY"

HEAD: Final = 10_240
"""The longest header: numpy itself reads up to 10,000 characters."""


class Header(NamedTuple):
    """The header of an array: its dtype, its shape, whether it is in Fortran order, and the header's size in bytes."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    length: int

    def unreadable(self, text: bool) -> str | None:
        """Why the array cannot be read: it holds neither numbers nor, where that is allowed, ``text``."""
        if self.dtype.hasobject:
            return "holds Python objects (a pickle), which can run code and are never loaded"
        known = self.dtype.name in NUMBERS or (text and self.dtype.kind == "U")
        return None if known else f"holds {self.dtype}, not numbers"

    @property
    def entry(self) -> Entry:
        """The array's entry in a listing."""
        return Entry(self.dtype.name, self.shape, math.prod(self.shape) * self.dtype.itemsize)


def header(head: bytes) -> Header | None:
    """The header at the beginning of ``head``, or ``None``."""
    file = io.BytesIO(head)
    try:
        with warnings.catch_warnings(action="ignore"):  # numpy warns of headers that Python 2 wrote.
            version = np.lib.format.read_magic(file)
            # Version 3 differs from 2 only in the encoding, which matters for names of fields, which are refused.
            shape, fortran_order, dtype = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )(file)
    except Exception:  # numpy uses Python's parser, which raises errors of many types.
        return None
    return Header(dtype, shape, fortran_order, file.tell())


def header_fault(found: Header, size: int) -> str | None:
    """The fault of the header of an array that has ``size`` bytes with its header, or ``None``."""
    if fault := shape_fault(found.shape, found.dtype.itemsize):
        return fault
    needed, there = math.prod(found.shape) * found.dtype.itemsize, size - found.length
    if needed == there:
        return None
    return f"is {found.dtype} {format_shape(found.shape)}, which takes {needed} bytes, but {there} follow the header"


def array(memory: Bytes, found: Header) -> Array:
    """The array whose data are in ``memory``, in native byte order; others are swapped in place."""
    numbers = memory.view(found.dtype)
    if not found.dtype.isnative:
        numbers = numbers.byteswap(inplace=True).view(found.dtype.newbyteorder("="))
    return numbers.reshape(found.shape[::-1]).T if found.fortran_order else numbers.reshape(found.shape)


def open_file(opened: Opened) -> Listing:
    """The one array of an ``.npy`` file, by the name of the file without its suffix."""
    where, name = str(opened.path), opened.path.stem
    head = opened.file.read(HEAD)
    found = header(head)
    if found is None:
        if head.startswith(MAGIC):
            raise FormatError(where, "has a damaged header: it is not one that numpy writes")
        raise FormatError(where, kind_fault(head, f"begins with {head[:6]!r}, not as an .npy file does"))
    if reason := found.unreadable(opened.text):
        return Listing({}, dict[str, Array]().__getitem__, {name: reason})
    if fault := header_fault(found, opened.size):
        raise FormatError(where, f"the array {fault}")
    length, size = found.length, found.entry.bytes

    def read(_: str) -> Array:
        memory = aligned(size)
        read_at(opened.file, [memory], length, where)
        return array(memory, found)

    place = ArrayPlace(opened.file, length, found.dtype, "F" if found.fortran_order else "C")
    return Listing({name: found.entry}, read, places={name: place})
