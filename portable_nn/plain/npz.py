"""Archives that ``numpy.savez`` and ``savez_compressed`` write: zip files whose members are ``.npy`` files."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final

import numpy as np

from portable_nn.core.errors import FormatError
from portable_nn.core.files import kind_fault, not_regular, read_at, refuse
from portable_nn.core.limits import DEFLATE
from portable_nn.core.memory import CHUNK, Bytes, aligned
from portable_nn.core.tensors import Array
from portable_nn.plain import npy
from portable_nn.plain.tensors import Listing, Opened, count_fault, damage_reported, overlaps

_METHODS: Final = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: DEFLATE}
"""The compression methods that numpy writes, and the largest ratio of unpacked to packed size."""

_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")
"""The first bytes of a zip file, and of one without members."""

_UNIX: Final = 3
"""The system whose modes of files the directory has."""

_ENCRYPTED: Final = 1
_LATER: Final = 8
"""The flag of a member whose sizes and CRC-32 stand behind its data, and need not stand before them."""

_DESCRIPTOR: Final = 0x08074B50
"""The signature that may stand before them there."""

_AGREEING: Final = _ENCRYPTED | _LATER
"""The flags that say how a member is read."""

_WIDE: Final = 2**32 - 1
"""The number in the place of a size that an extra field has in 64 bits."""

_END: Final = struct.Struct("<4s4H2IH")
"""The end record, without its comment."""

_MANY: Final = 2**16 - 1
"""The number in the place of a number of members that a record of 64 bits has."""

_LOCAL: Final = struct.Struct("<4s5H3I2H")
"""The local header of a member, without its name."""

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
    archive, members = open_archive(opened)
    refuse(where, [*_frame_faults(opened, archive), *member_faults(members, _name)])
    by_name = {_name(info): info for info in members}
    refuse(where, [f"{name!r} {fault}" for name, info in by_name.items() if (fault := _local_fault(opened, info))])
    arrays, skipped = _headers(opened, archive, by_name)
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


def open_archive(opened: Opened) -> tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]:
    """An archive, and its members that are no folders."""
    with damage_reported(opened.path, "the archive is damaged", ERRORS):
        archive = opened.stack.enter_context(zipfile.ZipFile(opened.file))
    return archive, [info for info in archive.infolist() if not info.filename.endswith("/")]


def member_faults(members: Sequence[zipfile.ZipInfo], named: Callable[[zipfile.ZipInfo], str]) -> Iterator[str]:
    """The faults that the central directory shows: duplicate names, overlaps, encryption, decompression bombs."""
    if fault := count_fault(len(members)):
        yield fault
    yield from (f"{name!r} stands {n} times" for name, n in Counter(map(named, members)).items() if n > 1)
    yield from overlaps((named(i), i.header_offset, i.header_offset + _LOCAL.size + i.compress_size) for i in members)
    yield from (f"{named(info)!r} {fault}" for info in members if (fault := member_fault(info)))


def _headers(
    opened: Opened, archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]
) -> tuple[dict[str, npy.Header], dict[str, str]]:
    """The headers of the arrays that can be read, and why others cannot be."""
    found, skipped = dict[str, npy.Header](), dict[str, str]()
    for name, info in members.items():
        with _damage_reported(opened, info), archive.open(info) as member:
            header = npy.header(member.read(npy.HEAD))
        if reason := "is not an array of numpy" if header is None else header.unreadable(opened.text):
            skipped[name] = reason
        elif header:
            found[name] = header
    return found, skipped


def member_fault(info: zipfile.ZipInfo) -> str | None:
    """Why a member of an archive is not read: a link, encrypted, or a decompression bomb; ``None`` where it is."""
    mode = info.external_attr >> 16
    if info.create_system == _UNIX and stat.S_IFMT(mode) and (fault := not_regular(mode)):
        return fault
    if info.orig_filename.partition("\0")[1]:
        return "has a name that goes on after a NUL, where other programs end it"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    ratio = _METHODS.get(info.compress_type)
    if ratio is None:
        return f"is compressed by method {info.compress_type}; known are 0 (stored) and 8 (deflated)"
    if info.file_size > ratio * info.compress_size or (ratio == 1 and info.file_size != info.compress_size):
        limit = f"at most {ratio:,} times as much can be" if ratio > 1 else "they are stored as they are"
        return f"claims to unpack {info.compress_size} bytes to {info.file_size}; {limit}"
    return None


def _frame_faults(opened: Opened, archive: zipfile.ZipFile) -> Iterator[str]:
    """The faults of an archive that does not begin with a member, or end with a record that counts its members and its
    comment."""
    if start := min((info.header_offset for info in archive.infolist()), default=0):
        yield f"begins with {start} bytes that belong to no member, as where two archives are joined"
    length, count = len(archive.comment), len(archive.infolist())
    record = _bytes_at(opened, opened.size - _END.size - length, _END.size)
    magic, *_, counted, _, _, commented = _END.unpack(record)
    if magic != _MAGIC[1] or commented != length:
        yield "goes on after the end of the archive: other programs may take it for another one"
    elif counted not in (count, _MANY):
        yield f"holds {count} members, but its end record says {counted}"


def _local_fault(opened: Opened, info: zipfile.ZipInfo) -> str | None:
    """The contradiction of a member's local header to the central directory, which is read."""
    header = _bytes_at(opened, info.header_offset, _LOCAL.size)
    if len(header) < _LOCAL.size:
        return "begins after the end of the file"
    _, _, flags, method, _, _, crc, packed, size, name, extra = _LOCAL.unpack(header)
    stop = info.header_offset + _LOCAL.size + name + extra
    if _WIDE in (packed, size):
        packed, size = _wide(_bytes_at(opened, stop - extra, extra), packed, size)
    if flags & _LATER:
        crc, again = struct.unpack("<2I", _bytes_at(opened, stop + info.compress_size, 8).ljust(8, b"\0"))
        crc = again if crc == _DESCRIPTOR else crc
        packed, size = info.compress_size, info.file_size
    found = {
        "flags": (flags & _AGREEING, info.flag_bits & _AGREEING),
        "compression method": (method, info.compress_type),
        "CRC-32": (crc, info.CRC),
        "packed size": (packed, info.compress_size),
        "size": (size, info.file_size),
    }
    wrong = ((what, local, central) for what, (local, central) in found.items() if local != central)
    return next((f"has the {what} {a} beside its data, and {b} in the central directory" for what, a, b in wrong), None)


def _wide(extra: bytes, packed: int, size: int) -> tuple[int, int]:
    """The packed size and the size in the extra field of 64 bits, or those that are given where there is none."""
    at = 0
    while at + 20 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1 and length >= 16:
            size, packed = struct.unpack_from("<2Q", extra, at + 4)
            return packed, size
        at += 4 + length
    return packed, size


def _bytes_at(opened: Opened, start: int, count: int) -> bytes:
    """Some bytes of the file, as far as it has them."""
    memory = aligned(max(0, min(count, opened.size - start)))
    read_at(opened.file, [memory], start, str(opened.path))
    return memory.tobytes()


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


def _damage_reported(opened: Opened, info: zipfile.ZipInfo) -> AbstractContextManager[None]:
    return damage_reported(opened.path, f"{_name(info)!r} in the archive is damaged", ERRORS)
