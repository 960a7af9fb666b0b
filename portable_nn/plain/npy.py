"""Single arrays of numpy: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html."""

from __future__ import annotations

import io
import math
import warnings
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.core.errors import FormatError
from portable_nn.core.files import read_at, recognise
from portable_nn.core.graph import format_shape
from portable_nn.core.memory import Bytes, aligned
from portable_nn.format.tensors import Array
from portable_nn.plain.tensors import NUMBERS, Entry, Listing, Opened, Place, shape_fault

MAGIC: Final = b"\x93NUMPY"

HEAD: Final = 10_240
"""The longest header: numpy itself reads up to 10,000 characters."""


class Header(NamedTuple):
    """The header of an array: its type, its shape, whether it is in Fortran order, and the header's length."""

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
        """As the listing has it."""
        return Entry(self.dtype.name, self.shape, math.prod(self.shape) * self.dtype.itemsize)


def header(head: bytes) -> Header | None:
    """The header at the beginning of ``head``, or ``None``."""
    file = io.BytesIO(head)
    try:
        with warnings.catch_warnings(action="ignore"):  # Python 2 wrote headers that numpy warns of.
            version = np.lib.format.read_magic(file)
            # Version 3 differs from 2 in its encoding alone, which matters for names of fields, which are refused.
            shape, fortran_order, dtype = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )(file)
    except Exception:  # numpy uses Python's parser, which raises errors of many types.
        return None
    return Header(dtype, shape, fortran_order, file.tell())


def header_fault(found: Header, size: int) -> str | None:
    """The fault of a header, where header and numbers have ``size`` bytes, or ``None``."""
    if fault := shape_fault(found.shape, found.dtype.itemsize):
        return fault
    needed, there = math.prod(found.shape) * found.dtype.itemsize, size - found.length
    if needed == there:
        return None
    return f"is {found.dtype} {format_shape(found.shape)}, which takes {needed} bytes, but {there} follow the header"


def array(memory: Bytes, found: Header) -> Array:
    """The array whose numbers are in ``memory``, which is changed where they are of the other byte order."""
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
        raise FormatError(where, _what_is(head))
    if reason := found.unreadable(opened.text):
        return Listing({}, _none, {name: reason})
    if fault := header_fault(found, opened.size):
        raise FormatError(where, f"the array {fault}")
    length, size = found.length, found.entry.bytes

    def read(_: str) -> Array:
        memory = aligned(size)
        read_at(opened.file, [memory], length, where)
        return array(memory, found)

    place = Place(opened.file, length, found.dtype, "F" if found.fortran_order else "C")
    return Listing({name: found.entry}, read, places={name: place})


def _none(name: str) -> Array:
    raise KeyError(name)


def _what_is(head: bytes) -> str:
    if head.startswith(MAGIC):
        return "has a damaged header: it is not one that numpy writes"
    return recognise(head) or (f"begins with {head[:6]!r}, not as an .npy file does" if head else "is empty")
