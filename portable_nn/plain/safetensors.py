"""Plain safetensors files: https://github.com/huggingface/safetensors#format.

They need not be in the canonical form that this package writes, but everything that the format requires is checked,
and an ambiguous header is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, TypeAlias

import msgspec
import numpy as np

from portable_nn.core.errors import FormatError, UnsupportedError
from portable_nn.core.files import kind_fault, read_at, refuse
from portable_nn.core.graph import format_shape
from portable_nn.core.jsons import JsonError, Pairs, once, parsed_json, typed
from portable_nn.core.memory import Bytes, aligned
from portable_nn.core.tensors import Array, from_bytes
from portable_nn.plain.tensors import MAX_TENSORS, ArrayPlace, Entry, Listing, Opened, count_fault, shape_fault, widened

MAX_HEADER: Final = 100_000_000
"""The longest header that the format allows, in bytes."""

LENGTH: Final = 8
"""The bytes of the header's length."""

METADATA: Final = "__metadata__"
"""The key of the metadata in the header, and thus the only name that a tensor cannot have."""

DTYPES: Final = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BOOL": "bool",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
}  # fmt: skip
"""Numpy's names of the element types that a weight file may hold, by their codes in the header."""

_DTYPES: Final = {**DTYPES, "C64": "complex64"}

BFLOAT16: Final = "BF16"
"""The element type bfloat16: the upper half of a float32."""

_BITS: Final = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32,
    "F16": 16, "I16": 16, "U16": 16, BFLOAT16: 16, "I8": 8, "U8": 8, "BOOL": 8,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""The element types of the format, and their sizes in bits."""

_Size: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class _TensorHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The header's entry of a tensor; the offsets count from the start of the data."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[_Size, _Size]

    @property
    def size(self) -> int:
        start, stop = self.data_offsets
        return stop - start


def open_file(opened: Opened) -> Listing:
    """The tensors of a file, after its header has been checked whole."""
    header, where = _header(opened), str(opened.path)
    if fault := count_fault(header.count(b'"data_offsets"')):  # Counting takes a hundredth of the time of parsing.
        raise FormatError(where, fault)
    try:
        tensors, metadata = _parsed(header)
    except JsonError as error:
        raise FormatError(where, f"the header is malformed: {error}") from error
    start = LENGTH + len(header)
    faults = [fault for name, tensor in tensors.items() for fault in _tensor_faults(name, tensor)]
    refuse(where, faults + list(_layout_faults(tensors, opened.size - start)))

    def read(name: str) -> Array:
        tensor = tensors[name]
        if tensor.dtype not in {*_DTYPES, BFLOAT16}:
            raise UnsupportedError(where, f"tensor {name!r} is {tensor.dtype}, which numpy does not have")
        memory = aligned(tensor.size)
        read_at(opened.file, [memory], start + tensor.data_offsets[0], where)
        return _array(memory, tensor)

    entries = {
        name: Entry(_DTYPES.get(tensor.dtype, tensor.dtype), tensor.shape, tensor.size)
        for name, tensor in tensors.items()
    }
    places = {
        name: ArrayPlace(opened.file, start + tensor.data_offsets[0], np.dtype(_DTYPES[tensor.dtype]).newbyteorder("<"))
        for name, tensor in tensors.items()
        if tensor.dtype in _DTYPES
    }
    return Listing(entries, read, notes=list(_notes(tensors)), metadata=metadata, places=places)


def _header(opened: Opened) -> bytes:
    start = opened.file.read(64)
    if fault := framing_fault(start, opened.size, MAX_HEADER):
        raise FormatError(opened.path, kind_fault(start, fault))
    memory = aligned(int.from_bytes(start[:LENGTH], "little"))
    read_at(opened.file, [memory], LENGTH, str(opened.path))
    return memory.tobytes()


def framing_fault(start: bytes, size: int, longest: int) -> str | None:
    """The fault of a file of ``size`` bytes that begins with ``start``, by the length of its header alone.

    ``longest`` is the longest header that is allowed, in bytes.
    """
    length = int.from_bytes(start[:LENGTH], "little")
    if size < LENGTH:
        return f"is only {size} bytes long: it does not even hold the {LENGTH} bytes of the header's length"
    if length > longest:
        return f"begins with a header length of {length} bytes; at most {longest} are allowed"
    if length > size - LENGTH:
        return f"should have a header of {length} bytes, but only {size - LENGTH} follow: it is truncated"
    return None if length else "has a header of 0 bytes"


def _parsed(header: bytes) -> tuple[dict[str, _TensorHeader], dict[str, str]]:
    """The tensors and the metadata; raises ``JsonError`` for invalid or ambiguous JSON."""
    found = parsed_json(header, objects=_Objects())
    if type(found) is not dict:
        raise JsonError("it is not a JSON object")
    metadata = typed(found.pop(METADATA, {}), dict[str, str], METADATA)
    try:
        "".join((*found, *metadata, *metadata.values())).encode()
    except UnicodeEncodeError:
        raise JsonError("a name or a text has half of a surrogate pair") from None
    return {name: typed(fields, _TensorHeader, f"tensor {name!r}") for name, fields in found.items()}, metadata


class _Objects:
    """Makes the objects of a header one by one: each name stands once, and too many are refused before all are read."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, pairs: Pairs) -> dict[str, Any]:
        self.count += 1
        if self.count > MAX_TENSORS + 2:  # The metadata and the header itself are objects as well.
            raise JsonError(f"it holds more than {MAX_TENSORS} tensors, the most that are allowed")
        return once(pairs)


def _tensor_faults(name: str, tensor: _TensorHeader) -> Iterator[str]:
    bits = _BITS.get(tensor.dtype)
    if bits is None:
        yield f"tensor {name!r} has the unknown dtype {tensor.dtype!r}"
        return
    if fault := shape_fault(tensor.shape, bits / 8):
        yield f"tensor {name!r} {fault}"
        return
    whole, rest = divmod(math.prod(tensor.shape) * bits, 8)
    if rest:
        yield f"tensor {name!r} is {tensor.dtype} {format_shape(tensor.shape)}, which is not a whole number of bytes"
    elif tensor.size != whole:
        what = f"{tensor.dtype} {format_shape(tensor.shape)} takes {whole}"
        yield f"tensor {name!r} has {tensor.size} bytes of data, but {what}"


def _layout_faults(tensors: Mapping[str, _TensorHeader], size: int) -> Iterator[str]:
    """The overlaps and gaps of the tensors in ``size`` bytes of data."""
    if fault := count_fault(len(tensors)):
        yield fault
    before, end = "", 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        start, stop = tensor.data_offsets
        if start < end:
            yield f"tensor {name!r} begins at byte {start} of the data, where tensor {before!r} is, up to {end}"
        elif start > end:
            yield f"bytes {end} to {start} of the data, before tensor {name!r}, belong to no tensor"
        if stop > end:
            before, end = name, stop
    if end != size:
        what = "it is truncated" if size < end else f"{size - end} belong to no tensor"
        yield f"should have {end} bytes of data, but {size} follow the header: {what}"


def _notes(tensors: Mapping[str, _TensorHeader]) -> Iterator[str]:
    found = {tensor.dtype for tensor in tensors.values()}
    if BFLOAT16 in found:
        yield f"{BFLOAT16} is read as float32, which loses nothing"
    if lacking := sorted(found - {*_DTYPES, BFLOAT16}):
        yield f"{', '.join(lacking)}: numpy has no such type, so these tensors are listed and cannot be read"


def _array(memory: Bytes, tensor: _TensorHeader) -> Array:
    if tensor.dtype != BFLOAT16:
        return from_bytes(memory, _DTYPES[tensor.dtype], tensor.shape)
    return from_bytes(widened(memory), "float32", tensor.shape)
