"""The npz carrier: a weight file that ``numpy.load`` opens, one array a tensor, stored so that it can be mapped.

An ``.npz`` file is a zip archive of ``.npy`` files. The first two hold the manifest and its SHA-256, as bytes; the
tensors follow under their own names. All bytes around the tensors follow from the manifest and from the CRC-32 of each
member. They are packed here, as SPEC.md specifies them, and not by ``zipfile``, whose output depends on the version of
Python and which ignores data between members.

Formats: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT (6.3) and numpy.lib.format (1.0).
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from io import FileIO
from typing import Final, NamedTuple, cast

import numpy as np

from portable_nn.core.errors import FormatError, NoManifestError, UsageError
from portable_nn.core.files import kind_fault, read_exactly
from portable_nn.core.graph import Value
from portable_nn.core.tensors import ITEM_SIZES
from portable_nn.format.layout import ALIGNMENT, Crcs, Frame, Piece, Span, padding, piece_fault, places
from portable_nn.format.manifest import MAX_BYTES, Manifest, Text, checked

SINCE: Final = 2

MANIFEST: Final = "portable_nn"
DIGEST: Final = "portable_nn.sha256"
"""The names of the first two arrays, both of bytes: the manifest's text, and its SHA-256 in hexadecimal digits."""

WIDE: Final = 2**32 - 1
"""Larger numbers, and this one, are stored in extra fields of 64 bits, with all ones in the field of 32 bits."""

_NPY: Final = ".npy"
_MAX_NAME: Final = 2**16 - 1
_DAY: Final = 0x0021
"""The first of January 1980, the earliest date that the format can store."""

_UTF_8: Final = 0x0800
_STORED: Final = 0
_PLAIN, _ZIP_64 = 20, 45
"""The versions of the format that a reader must support."""

_UNIX: Final = 3 << 8
_FILE_MODE: Final = 0o100644 << 16
_SIZES_64: Final = 0x0001
_PADDING: Final = 0xD935
"""The extra field for alignment, as Android's zipalign writes it."""


class _Record:
    """A record of a zip archive: its packing, and the names and sizes of its fields, for messages."""

    def __init__(self, signature: bytes, code: str, fields: str) -> None:
        self._signature, self._struct = b"PK" + signature, struct.Struct(f"<4s{code}")
        names = ["signature", *fields.split(", ")]
        self.fields = [(name, struct.calcsize(f"<{each}")) for name, each in zip(names, ["4s", *code], strict=True)]
        self.size = self._struct.size

    def pack(self, *values: int) -> bytes:
        return self._struct.pack(self._signature, *values)


_SIZES: Final = "flags, compression method, time, date, CRC-32, compressed size, size, length of the name"
_LOCAL: Final = _Record(b"\3\4", "HHHHHIIIHH", f"version needed, {_SIZES}, length of the extra field")
_CENTRAL: Final = _Record(
    b"\1\2",
    "HHHHHHIIIHHHHHII",
    f"version made by, version needed, {_SIZES}, length of the extra field, "
    "length of the comment, disk, internal attributes, external attributes, offset of the local header",
)
_TABLE: Final = "entries on this disk, entries, size of the central directory, offset of the central directory"
_END: Final = _Record(b"\5\6", "HHHHIIH", f"disk, disk of the central directory, {_TABLE}, length of the comment")
_END_64: Final = _Record(
    b"\6\6", "QHHIIQQQQ", f"size, version made by, version needed, disk, disk of the central directory, {_TABLE}"
)
_LOCATOR: Final = _Record(b"\6\7", "IQI", "disk of the end record, offset of the end record, disks")

_CRC_AT: Final = 14
_SIZE_AT: Final = 22
"""The offsets in a local header of the CRC-32 and of the size."""


class _Member(NamedTuple):
    """An ``.npy`` file in the archive: its name, its own header, the size of its data, its offset in the file."""

    name: str
    header: bytes
    length: int
    start: int

    @property
    def size(self) -> int:
        """The bytes of header and data."""
        return len(self.header) + self.length

    @property
    def path(self) -> bytes:
        """The name in the archive."""
        return f"{self.name}{_NPY}".encode()

    @property
    def data(self) -> int:
        """The offset of the data in the file."""
        return self.start + len(_local(self, 0)) + len(self.header)

    @property
    def stop(self) -> int:
        """The offset of the next member."""
        return self.data + self.length


def _npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The header of an array of little-endian numbers in C order; a multiple of 64 bytes."""
    code = np.dtype(dtype).newbyteorder("<").str
    text = f"{{'descr': '{code}', 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    text += b" " * padding(10 + len(text) + 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _field(number: int) -> int:
    """A number as a field of 32 bits stores it."""
    return number if number < WIDE else 2**32 - 1


def _local(member: _Member, crc: int) -> bytes:
    """The local header of a member, with the padding that puts its array at a multiple of ``ALIGNMENT``."""
    name, size = member.path, member.size
    extra = struct.pack("<2H2Q", _SIZES_64, 16, size, size) if size >= WIDE else b""
    gap = padding(member.start + _LOCAL.size + len(name) + len(extra) + 6)
    extra += struct.pack("<3H", _PADDING, 2 + gap, ALIGNMENT) + bytes(gap)
    needed, size = (_ZIP_64 if size >= WIDE else _PLAIN), _field(size)
    return _LOCAL.pack(needed, _UTF_8, _STORED, 0, _DAY, crc, size, size, len(name), len(extra)) + name + extra


def _central(member: _Member, crc: int) -> bytes:
    """The entry of a member in the central directory."""
    name, size = member.path, _field(member.size)
    wide = [*([member.size] * 2 if member.size >= WIDE else []), *([member.start] if member.start >= WIDE else [])]
    extra = struct.pack(f"<2H{len(wide)}Q", _SIZES_64, 8 * len(wide), *wide) if wide else b""
    needed = _ZIP_64 if wide else _PLAIN
    return (
        _CENTRAL.pack(
            _UNIX | needed,
            needed,
            _UTF_8,
            _STORED,
            0,
            _DAY,
            crc,
            size,
            size,
            len(name),
            len(extra),
            0,
            0,
            0,
            _FILE_MODE,
            _field(member.start),
        )
        + name
        + extra
    )


def _end(start: int, length: int, count: int) -> Iterator[Piece]:
    """The records after a central directory of ``count`` entries and ``length`` bytes that begins at ``start``."""
    if start >= WIDE or length >= WIDE:
        table = (_UNIX | _ZIP_64, _ZIP_64, 0, 0, count, count, length, start)
        yield Piece("the end record of 64 bits", _END_64.pack(_END_64.size - 12, *table), _END_64.fields)
        yield Piece("the locator of the end record", _LOCATOR.pack(0, start + length, 1), _LOCATOR.fields)
    end = _END.pack(0, 0, count, count, _field(length), _field(start), 0)
    yield Piece("the end record", end, _END.fields)


def _own(length: int) -> list[_Member]:
    """The first two members, for a manifest's text of ``length`` bytes."""
    manifest = _Member(MANIFEST, _npy_header("uint8", (length,)), length, 0)
    return [manifest, _Member(DIGEST, _npy_header("uint8", (64,)), 64, manifest.stop)]


def _members(values: Sequence[Value], length: int) -> list[_Member]:
    """All members of the archive, in order. Raises ``UsageError`` for a name that is too long."""
    members = _own(length)
    for value in values:
        shape = cast("tuple[int, ...]", value.shape)
        size = ITEM_SIZES[value.dtype] * math.prod(shape)
        members.append(_Member(array_name(value.name), _npy_header(value.dtype, shape), size, members[-1].stop))
        if (count := len(members[-1].path)) > _MAX_NAME:
            name = f"{value.name[:32]}…"
            raise UsageError(f"the name '{name}' has {count} bytes with its suffix; at most {_MAX_NAME} are possible")
    return members


def array_name(tensor: str) -> str:
    """The name of the array that holds a tensor: the tensor's, or ``%name%`` where that has a special meaning."""
    taken = tensor in {MANIFEST, DIGEST} or tensor.startswith("%") or tensor.lower().endswith(_NPY)
    return f"%{tensor}%" if taken else tensor


def _pieces(members: Sequence[_Member], text: Text, crcs: Crcs) -> list[list[Piece]]:
    """The bytes before the first tensor, and those after each tensor."""
    own = dict(zip((MANIFEST, DIGEST), (text.data, text.digest.encode()), strict=True))
    crcs = {array_name(name): crc for name, crc in crcs.items()}
    crcs |= {each.name: zlib.crc32(own[each.name], zlib.crc32(each.header)) for each in members[:2]}
    found: list[list[Piece]] = [[]]
    for each in members:
        local = _local(each, crcs.get(each.name, 0)) + each.header
        found[-1].append(Piece(f"the header of '{each.name}{_NPY}'", local, _LOCAL.fields))
        if each.name in own:
            found[-1].append(Piece(f"the array '{each.name}'", own[each.name]))
        else:
            found.append([])
    central = [_central(each, crcs.get(each.name, 0)) for each in members]
    for each, entry in zip(members, central, strict=True):
        found[-1].append(Piece(f"the entry of '{each.name}{_NPY}' in the central directory", entry, _CENTRAL.fields))
    found[-1] += _end(members[-1].stop, sum(map(len, central)), len(members))
    return found


# -- the carrier


def frame(values: Sequence[Value], length: int) -> Frame:
    """The layout of an archive, with the tensors in the order of ``values``, each at a multiple of ``ALIGNMENT``.

    Raises ``UsageError`` for a name of a tensor that is too long.
    """
    members = _members(values, length)
    start = members[2].data if values else members[1].stop
    spans = [
        Span(value.name, value.dtype, cast("tuple[int, ...]", value.shape), each.data - start, each.stop - start)
        for value, each in zip(values, members[2:], strict=True)
    ]

    def around(text: Text, crcs: Crcs) -> list[bytes]:
        return [b"".join(piece.data for piece in pieces) for pieces in _pieces(members, text, crcs)]

    def stored_crcs(found: Sequence[bytes]) -> Crcs:
        offsets = [members[1].stop, *[0] * len(values)]
        fields = [data[at + _CRC_AT : at + _CRC_AT + 4] for data, at in zip(found, offsets, strict=False)]
        return {span.name: int.from_bytes(crc, "little") for span, crc in zip(spans, fields, strict=False)}

    seeds = {span.name: zlib.crc32(each.header) for span, each in zip(spans, members[2:], strict=True)}
    return Frame(spans, around, seeds, stored_crcs)


def preamble(file: FileIO, size: int, where: str) -> bytes:
    """The first two members in a file of ``size`` bytes.

    Raises ``NoManifestError`` for an archive that begins otherwise than these do, ``FormatError`` for any other file.
    """
    start = file.read(_own(0)[0].data)
    if start != _first(start):
        raise _no_manifest(start, where)
    length = _text_length(start)
    if length > MAX_BYTES:
        raise FormatError(where, f"should have a manifest of {length} bytes; at most {MAX_BYTES} are allowed")
    stop = _own(length)[1].stop
    if stop > size:
        raise FormatError(where, f"is {size} bytes long, but its manifest would end at byte {stop}: it is truncated")
    return start + read_exactly(file, stop - len(start), where)


def _text_length(start: bytes) -> int:
    """The length of the manifest, from the size of the first member in its local header."""
    return int.from_bytes(start[_SIZE_AT : _SIZE_AT + 4], "little") - len(_npy_header("uint8", (0,)))


def _first(start: bytes) -> bytes:
    """The bytes before a manifest with the size and the CRC-32 in ``start``."""
    manifest = _own(max(_text_length(start), 0))[0]
    return _local(manifest, int.from_bytes(start[_CRC_AT : _CRC_AT + 4], "little")) + manifest.header


def _no_manifest(start: bytes, where: str) -> FormatError:
    """The error for a file that does not begin with a manifest."""
    if not start.startswith(b"PK\x03\x04"):
        return FormatError(where, kind_fault(start, f"begins with {start[:4]!r}, not as an .npz file does"))
    return NoManifestError(where, "is an .npz file without a portable-nn manifest: it holds arrays, not a network")


def manifest_text(start: bytes, where: str) -> Text:
    """The text of the manifest in a ``preamble``, verified by its digest. Raises ``FormatError``."""
    manifest, digest = _own(_text_length(start))
    text, expected = start[manifest.data : manifest.stop], start[digest.data : digest.stop]
    return checked(text, expected.decode("ascii", "replace"), where)


def faults(text: Text, manifest: Manifest, found: Sequence[bytes]) -> list[str]:
    """The first difference between the ``found`` bytes and those that follow from ``manifest`` with its ``text``."""
    spans, around, _, crcs = frame(manifest.stored, len(text.data))
    members = _members(manifest.stored, len(text.data))
    pieces, starts = _pieces(members, text, crcs(found)), places(around(text, {}), spans)
    return next((fault for each in zip(pieces, found, starts, strict=False) if (fault := piece_fault(*each))), [])
