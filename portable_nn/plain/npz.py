"""Archives that ``numpy.savez`` and ``savez_compressed`` write: zip files whose members are ``.npy`` files."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final

import numpy as np

from portable_nn.core.errors import FormatError
from portable_nn.core.files import kind_fault
from portable_nn.core.limits import DEFLATE
from portable_nn.core.memory import CHUNK, Bytes, aligned
from portable_nn.format.tensors import Array
from portable_nn.format.validate import refuse
from portable_nn.plain import npy
from portable_nn.plain.tensors import Listing, Opened, count_fault, damage_reported, overlaps

_METHODS: Final = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: DEFLATE}
"""The compression methods that numpy writes, and the largest ratio of unpacked to packed size."""

_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")
"""The first bytes of a zip file, and of one without members."""

_ENCRYPTED: Final = 1
_LOCAL_HEADER: Final = 30
"""The smallest size of a member's local header, in bytes."""

ERRORS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    IndexError,
    OSError,
)
"""The errors of zipfile for damaged archives."""


def open_file(opened: Opened) -> Listing:
    """The arrays of an archive, after its central directory and the header of each array have been checked."""
    where = str(opened.path)
    head = opened.file.read(npy.HEAD)
    if not head.startswith(_MAGIC):
        raise FormatError(where, kind_fault(head, "is not a zip archive, as .npz files are"))
    with _damage_reported(opened):
        archive = opened.stack.enter_context(zipfile.ZipFile(opened.file))
    members = [info for info in archive.infolist() if not info.filename.endswith("/")]
    refuse(where, list(_member_faults(members)))
    by_name = {_name(info): info for info in members}
    heads = {name: _head(archive, info, opened) for name, info in by_name.items()}
    found = {name: header for name, head in heads.items() if (header := npy.header(head))}
    skipped = {name: reason for name, header in found.items() if (reason := header.unreadable(opened.text))}
    skipped |= {name: "is not an array of numpy" for name in heads if name not in found}
    arrays = {name: header for name, header in found.items() if name not in skipped}
    faults = [(name, npy.header_fault(header, by_name[name].file_size)) for name, header in arrays.items()]
    refuse(where, [f"{name!r} {fault}" for name, fault in faults if fault])

    def read(name: str) -> Array:
        header, info = arrays[name], by_name[name]
        with _damage_reported(opened, info):
            memory = unpacked(archive, info, header.length)
        return npy.array(memory, header)

    return Listing({name: header.entry for name, header in arrays.items()}, read, skipped)


def _name(info: zipfile.ZipInfo) -> str:
    return info.filename.removesuffix(".npy")


def _member_faults(members: Sequence[zipfile.ZipInfo]) -> Iterator[str]:
    """The faults that the central directory shows: duplicate names, overlaps, encryption, decompression bombs."""
    if fault := count_fault(len(members)):
        yield fault
    yield from (f"{name!r} stands {n} times" for name, n in Counter(map(_name, members)).items() if n > 1)
    spans = [(_name(i), i.header_offset, i.header_offset + _LOCAL_HEADER + i.compress_size) for i in members]
    yield from overlaps(spans)
    for info in members:
        if fault := member_fault(info):
            yield f"{_name(info)!r} {fault}"


def member_fault(info: zipfile.ZipInfo) -> str | None:
    """Why a member of an archive is not read: it is encrypted, or a decompression bomb; ``None`` where it is."""
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    ratio = _METHODS.get(info.compress_type)
    if ratio is None:
        return f"is compressed by method {info.compress_type}; numpy writes 0 (stored) and 8 (deflated)"
    if info.file_size > ratio * info.compress_size:
        limit = f"at most {ratio:,} times as much can be" if ratio > 1 else "they are stored as they are"
        return f"claims to unpack {info.compress_size} bytes to {info.file_size}; {limit}"
    return None


def unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, start: int = 0) -> Bytes:
    """The bytes of a member from ``start`` on, in memory of their own. Raises one of ``ERRORS`` where it is damaged."""
    memory = aligned(info.file_size - start)
    with archive.open(info) as member:
        member.read(start)
        for at in range(0, len(memory), CHUNK):
            piece = memory[at : at + CHUNK]
            data = member.read(len(piece))
            if len(data) < len(piece):
                raise EOFError(f"it has only {start + at + len(data)} bytes")
            piece[...] = np.frombuffer(data, np.uint8)
    return memory


def _head(archive: zipfile.ZipFile, info: zipfile.ZipInfo, opened: Opened) -> bytes:
    with _damage_reported(opened, info), archive.open(info) as member:
        return member.read(npy.HEAD)


def _damage_reported(opened: Opened, info: zipfile.ZipInfo | None = None) -> AbstractContextManager[None]:
    what = f"{_name(info)!r} in the archive" if info else "the archive"
    return damage_reported(opened.path, f"{what} is damaged", ERRORS)
