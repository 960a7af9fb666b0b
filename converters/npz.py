"""Networks as ``.npz`` files, of which plain ``numpy.load(path)["dense_1.weight"]`` reads every parameter.

An ``.npz`` file is a zip archive of ``.npy`` files. Here the first two are the manifest and its SHA-256, as bytes, and
the parameters follow under their own names, each stored as it is. As in a weight file, all bytes but those of the
parameters follow from the manifest, and from the checksums (CRC-32) that archives have: writing puts them around the
parameters, and reading demands them. So the same network gives the same bytes, and whatever changed them is found.

Each array begins at a multiple of 64 bytes, so it can be mapped. The state of an unfinished training has no place here.

Formats: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT (6.3) and numpy.lib.format (1.0).
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from portable_nn.core.atomic import atomic_write
from portable_nn.core.errors import FormatError, UsageError, listed
from portable_nn.core.files import open_regular, read_at, recognise
from portable_nn.core.memory import CHUNK, aligned
from portable_nn.format import Contents, MappedTensors, Tensors
from portable_nn.format.canonical import byte_difference
from portable_nn.format.layout import ALIGNMENT, Span, padding
from portable_nn.format.manifest import MAX_BYTES, VERSION, Manifest, checked, decode, encode, normalised
from portable_nn.format.reading import Checks, Reader, Understood
from portable_nn.format.tensors import (
    CHECKSUM,
    DIGEST,
    HASHES,
    ITEM_SIZES,
    Array,
    from_bytes,
    to_bytes,
    value_fault,
)
from portable_nn.format.validate import agreement_faults, manifest_faults, refuse
from portable_nn.format.writing import blank
from portable_nn.network import Network

SUFFIX: Final = ".npz"

SINCE: Final = 2
"""The version of the format that these archives came with."""

MANIFEST: Final = "portable_nn"
MANIFEST_DIGEST: Final = "portable_nn.sha256"
"""The names of the first two arrays, both of bytes: the manifest's text, and its SHA-256 in hexadecimal digits."""

WIDE: Final = 2**32 - 1
"""Numbers from here on do not go into the fields of a zip archive, and stand in extra fields of 64 bits."""

_NPY: Final = ".npy"
_MAX_NAME: Final = 2**16 - 1
_DAY: Final = 0x0021
"""The first of January 1980, as archives write it: the earliest day that there is."""

_UTF_8: Final = 0x0800
_STORED: Final = 0
_PLAIN, _ZIP_64 = 20, 45
"""The versions of the format that a reader must know."""

_UNIX: Final = 3 << 8
_FILE_MODE: Final = 0o100644 << 16

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_END_64: Final = struct.Struct("<4sQ2H2I4Q")
_LOCATOR: Final = struct.Struct("<4sIQI")
_SIZES_64: Final = 0x0001
_PADDING: Final = 0xD935
"""An extra field of zeros that moves what follows, as Android's zipalign writes it."""

_ELSEWHERE: Final = 2**32 - 1
"""Stands in a field for a number that is in an extra one."""

_CRC_AT: Final = 14
_SIZE_AT: Final = 22
"""Where in a local header the checksum and the size of an array stand."""


# -- the bytes around the arrays


class _Member(NamedTuple):
    """An ``.npy`` file in the archive: its name without the suffix, its header, and the length of the data that follow.

    ``start`` is the first byte of what the archive puts before it.
    """

    name: str
    header: bytes
    length: int
    start: int

    @property
    def size(self) -> int:
        """Bytes of header and data."""
        return len(self.header) + self.length

    @property
    def data(self) -> int:
        """Where in the file the data begin."""
        return self.start + len(_local(self, 0)) + len(self.header)

    @property
    def stop(self) -> int:
        """Where the next one begins."""
        return self.data + self.length


def _npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """What stands before the little-endian, row-major numbers of an array: a multiple of 64 bytes."""
    code = np.dtype(dtype).newbyteorder("<").str
    text = f"{{'descr': '{code}', 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    text += b" " * padding(10 + len(text) + 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _told(number: int) -> int:
    return number if number < WIDE else _ELSEWHERE


def _encoded(member: _Member) -> bytes:
    return (member.name + _NPY).encode()


def _local(member: _Member, crc: int) -> bytes:
    """The header of a member, as long as it takes for the array to begin at a multiple of ``ALIGNMENT``."""
    name, size = _encoded(member), member.size
    extra = struct.pack("<2H2Q", _SIZES_64, 16, size, size) if size >= WIDE else b""
    gap = padding(member.start + _LOCAL.size + len(name) + len(extra) + 6)
    extra += struct.pack("<3H", _PADDING, 2 + gap, ALIGNMENT) + bytes(gap)
    needed, told = (_ZIP_64 if size >= WIDE else _PLAIN), _told(size)
    head = _LOCAL.pack(b"PK\x03\x04", needed, _UTF_8, _STORED, 0, _DAY, crc, told, told, len(name), len(extra))
    return head + name + extra


def _central(member: _Member, crc: int) -> bytes:
    """The entry of a member in the table of contents at the end."""
    name, told = _encoded(member), _told(member.size)
    wide = [*([member.size] * 2 if member.size >= WIDE else []), *([member.start] if member.start >= WIDE else [])]
    extra = struct.pack(f"<2H{len(wide)}Q", _SIZES_64, 8 * len(wide), *wide) if wide else b""
    needed = _ZIP_64 if wide else _PLAIN
    head = _CENTRAL.pack(
        b"PK\x01\x02",
        _UNIX | needed,
        needed,
        _UTF_8,
        _STORED,
        0,
        _DAY,
        crc,
        told,
        told,
        len(name),
        len(extra),
        0,
        0,
        0,
        _FILE_MODE,
        _told(member.start),
    )
    return head + name + extra


def _tail(members: Sequence[_Member], crcs: Mapping[str, int]) -> bytes:
    """All that follows the last array: the table of contents, and where it is."""
    table = b"".join(_central(member, crcs[member.name]) for member in members)
    start, count = members[-1].stop, len(members)
    end = b""
    if start >= WIDE or len(table) >= WIDE:
        rest = _END_64.size - 12  # what follows the field itself
        end = _END_64.pack(b"PK\x06\x06", rest, _UNIX | _ZIP_64, _ZIP_64, 0, 0, count, count, len(table), start)
        end += _LOCATOR.pack(b"PK\x06\x07", 0, start + len(table), 1)
    return table + end + _END.pack(b"PK\x05\x06", 0, 0, count, count, _told(len(table)), _told(start), 0)


def _first_two(text_length: int) -> list[_Member]:
    manifest = _Member(MANIFEST, _npy_header("uint8", (text_length,)), text_length, 0)
    return [manifest, _Member(MANIFEST_DIGEST, _npy_header("uint8", (64,)), 64, manifest.stop)]


def _members(manifest: Manifest, text_length: int) -> list[_Member]:
    """All members of the archive, in their order: it follows from the manifest and the length of its text alone."""
    members = _first_two(text_length)
    for value in manifest.graph.parameters:
        shape = tuple(int(dim) for dim in value.shape)
        length = ITEM_SIZES[value.dtype] * math.prod(shape)
        members.append(_Member(value.name, _npy_header(value.dtype, shape), length, members[-1].stop))
    return members


def _own_crcs(members: Sequence[_Member], text: bytes, digest: str) -> dict[str, int]:
    """The checksums of the first two."""
    own = {MANIFEST: text, MANIFEST_DIGEST: digest.encode()}
    return {member.name: zlib.crc32(own[member.name], zlib.crc32(member.header)) for member in members[:2]}


def _npz_faults(manifest: Manifest) -> Iterator[str]:
    """What other carriers can hold and an archive cannot."""
    if manifest.training is not None:
        yield f"the state of an unfinished training has no place in an {SUFFIX} file: it holds a network only"
    for value in manifest.graph.parameters:
        if value.name in {MANIFEST, MANIFEST_DIGEST}:
            yield f"tensor {value.name!r} has a name that means something else in an {SUFFIX} file"
        if value.name.lower().endswith(_NPY):
            yield f"tensor {value.name!r} has a name that ends in {_NPY}, which numpy takes off"
        if len(value.name.encode()) + len(_NPY) > _MAX_NAME:
            yield f"tensor '{value.name[:40]}…' has a name longer than the {_MAX_NAME} bytes that an archive can hold"


# -- writing


def write_npz(network: Network, path: str | Path) -> str:
    """Write ``network`` as an ``.npz`` file, whole or not at all; the same network gives the same bytes.

    Returns its digest, which is that of a weight file of the same network.

    Raises ``UsageError`` where it cannot be written, ``FileError`` where the file cannot be.
    """
    return write_contents(path, network.description(), network.parameters)


def write_contents(path: str | Path, manifest: Manifest, tensors: Tensors) -> str:
    """As ``write_npz``, for a manifest, whose hashes are computed anew, and its tensors.

    Args:
        path: the file to make or replace (see ``atomic_write``).
        manifest: what to say of the network, without a training.
        tensors: an array for each parameter, by name or as pairs. Of pairs, no more than one is kept at a time.

    Raises:
        UsageError: contents that ``read_contents`` would refuse; all that is wrong with them is listed.
        FileError: the file cannot be written; the old one is as it was.
    """
    manifest = normalised(replace(blank(manifest), version=VERSION))
    _refuse_to_save(path, manifest_faults(manifest) + list(_npz_faults(manifest)))
    members = _members(manifest, len(encode(manifest)))
    with atomic_write(path) as file:
        writer = _Writer(file, manifest, members)
        for name, array in tensors.items() if isinstance(tensors, Mapping) else tensors:
            writer.write(name, np.asarray(array))
        found = writer.signatures
        _refuse_to_save(path, agreement_faults(manifest, found, "in the given arrays") + writer.faults)
        text = encode(replace(manifest, digests=writer.hashes[DIGEST], checksums=writer.hashes[CHECKSUM]))
        digest = hashlib.sha256(text).hexdigest()
        crcs = _own_crcs(members, text, digest) | writer.crcs
        own = {MANIFEST: text, MANIFEST_DIGEST: digest.encode()}
        for member in members:
            file.seek(member.start)
            file.write(_local(member, crcs[member.name]) + member.header + own.get(member.name, b""))
        file.seek(members[-1].stop)
        file.write(_tail(members, crcs))
    return digest


def _refuse_to_save(path: str | Path, faults: Sequence[str]) -> None:
    if faults:
        raise UsageError(listed(faults, f"cannot save {path}"))


class _Writer:
    """Puts the data of arrays at their places; what does not fit is noted and passed over."""

    def __init__(self, file: BinaryIO, manifest: Manifest, members: Sequence[_Member]) -> None:
        self._file = file
        self._needed = {value.name: (value.dtype, value.shape) for value in manifest.graph.parameters}
        self._numbers = manifest.numbers
        self._members = {member.name: member for member in members[2:]}
        self.signatures: dict[str, tuple[str, tuple[int, ...]]] = {}
        self.hashes: dict[str, dict[str, str]] = {kind: {} for kind in HASHES}
        self.crcs: dict[str, int] = {}
        self.faults: list[str] = []

    def write(self, name: str, array: Array) -> None:
        """Write one array and hash what is written."""
        if name in self.signatures:
            self.faults.append(f"tensor {name!r} is given twice")
            return
        self.signatures[name] = array.dtype.name, array.shape
        if self._needed.get(name) != self.signatures[name]:
            return
        member, made, fault = self._members[name], {kind: make() for kind, make in HASHES.items()}, None
        crc = zlib.crc32(member.header)
        self._file.seek(member.data)
        data = to_bytes(array)
        for start in range(0, len(data), CHUNK):
            chunk = data[start : start + CHUNK].tobytes()  # A copy: what is hashed is written, whoever has the array.
            crc = zlib.crc32(chunk, crc)
            for each in made.values():
                each.update(chunk)
            part = from_bytes(np.frombuffer(chunk, np.uint8), array.dtype.name, (-1,))
            fault = fault or value_fault(part, allow_nonfinite=name not in self._numbers)
            self._file.write(chunk)
        self.faults += [f"tensor {name!r} {fault}"] if fault else []
        self.crcs[name] = crc
        for kind, each in made.items():
            self.hashes[kind][name] = each.hexdigest()


# -- reading


def read_npz(path: str | Path) -> Network:
    """The network in an ``.npz`` file that ``write_npz`` wrote, as it was; raises as ``read_contents`` does."""
    contents = read_contents(path)
    manifest = contents.manifest
    return Network.from_graph(
        manifest.graph,
        contents.tensors,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        metadata=manifest.metadata,
        documentation=manifest.documentation,
        copy=False,
    )


def read_contents(path: str | Path, *, lazy: bool = False) -> Contents:
    """The contents of an ``.npz`` file that ``write_npz`` wrote, after every byte of it has been checked.

    Args:
        path: the file.
        lazy: map the arrays instead of keeping them: they are read to be checked, but do not stay in memory.

    Raises:
        FileError: the file cannot be read.
        FormatError: it is damaged, has no manifest, was changed by another program, or disagrees with itself.
    """
    where = str(path)
    with open_regular(path) as file:
        text, found, members = _understood(file, os.fstat(file.fileno()).st_size, where)
        reader = Reader(file, where, found, Checks(DIGEST, allow_nonfinite=False))
        arrays, crcs, faults = dict[str, Array](), _own_crcs(members, text, found.digest), list[str]()
        for span, member in zip(found.spans, members[2:], strict=True):
            memory = aligned(span.size)
            faults += reader.faults(span, memory)
            crcs[span.name] = zlib.crc32(memory.data, zlib.crc32(member.header))
            if not lazy:
                arrays[span.name] = from_bytes(memory, span.dtype, span.shape)
        refuse(where, faults)
        refuse(where, list(_frame_faults(file, members, crcs, where)))
        if not lazy:
            return Contents(found.manifest, arrays, found.digest)
        return Contents(found.manifest, MappedTensors(file, where, found, _CHECKED), found.digest)


_CHECKED: Final = Checks(DIGEST, allow_nonfinite=False, off=True)
"""For arrays that were checked a moment ago."""


def has_manifest(path: str | Path) -> bool:
    """Whether a file begins as those of ``write_npz`` do; it may still be damaged. Raises ``FileError``."""
    with open_regular(path) as file:
        start = file.read(_first_two(0)[0].data)
    return _text_length(start) is not None


def _text_length(start: bytes) -> int | None:
    """How long the manifest is, if these are the bytes before one."""
    if len(start) < _LOCAL.size:
        return None
    (size,) = struct.unpack_from("<I", start, _SIZE_AT)
    length = size - len(_npy_header("uint8", (0,)))
    if not 0 < length <= MAX_BYTES:
        return None
    [manifest, _] = _first_two(length)
    (crc,) = struct.unpack_from("<I", start, _CRC_AT)
    return length if start == _local(manifest, crc) + manifest.header else None


def _understood(file: FileIO, size: int, where: str) -> tuple[bytes, Understood, list[_Member]]:
    """The manifest's text, what it says, and the members that there must be; no memory is taken for arrays."""
    start = file.read(_first_two(0)[0].data)
    length = _text_length(start)
    if length is None:
        raise FormatError(where, _what_it_is(start))
    manifest, digest = _first_two(length)
    if digest.stop > size:
        raise FormatError(where, f"is {size} bytes long, and its manifest would end at {digest.stop}: it is truncated")
    text, told = (_piece(file, member.data, member.length, where) for member in (manifest, digest))
    checked(text, told.decode("ascii", "replace"), where)
    found = decode(text, where, since=SINCE)
    refuse(where, manifest_faults(found) + list(_npz_faults(found)))
    members = _members(found, length)
    needed = members[-1].stop + len(_tail(members, dict.fromkeys((each.name for each in members), 0)))
    if size != needed:
        what = f"{needed - size} missing: it is truncated" if size < needed else f"{size - needed} too many"
        raise FormatError(where, f"is {size} bytes long, but its manifest describes {needed}: {what}")
    spans = tuple(_spans(found, members))
    return text, Understood(found, hashlib.sha256(text).hexdigest(), spans, head=b""), members


def _spans(manifest: Manifest, members: Sequence[_Member]) -> Iterator[Span]:
    """Where the arrays are, counted from the first byte of the file."""
    for value, member in zip(manifest.graph.parameters, members[2:], strict=True):
        shape = tuple(int(dim) for dim in value.shape)
        yield Span(value.name, value.dtype, shape, member.data, member.stop)


def _piece(file: FileIO, start: int, count: int, where: str) -> bytes:
    memory = aligned(count)
    read_at(file, [memory], start, where)
    return memory.tobytes()


def _frame_faults(file: FileIO, members: Sequence[_Member], crcs: Mapping[str, int], where: str) -> Iterator[str]:
    """Where the bytes around the arrays are not those that follow from the manifest and the checksums ``crcs``."""
    pieces = [(f"the header of '{m.name}{_NPY}'", m.start, _local(m, crcs[m.name]) + m.header) for m in members]
    pieces.append(("the table of contents", members[-1].stop, _tail(members, crcs)))
    for what, start, expected in pieces:
        if (there := _piece(file, start, len(expected), where)) != expected:
            yield f"{what} is not what the manifest demands: {byte_difference(expected, there, start)}"


def _what_it_is(start: bytes) -> str:
    """What a file is that does not begin with a manifest."""
    if not start:
        return "is empty"
    if not start.startswith(b"PK\x03\x04"):
        return recognise(start) or f"begins with {start[:4]!r}, not as an {SUFFIX} file does"
    return (
        f"is an {SUFFIX} file that does not begin with a portable-nn manifest: it holds arrays and not a network, or "
        "another program has changed it"
    )
