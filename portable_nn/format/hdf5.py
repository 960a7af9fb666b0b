"""The HDF5 carrier: a weight file that h5py, MATLAB, Julia and R open, one group a layer and one dataset a tensor.

All bytes before the data follow from the manifest, as in the safetensors carrier, and are written and compared as
SPEC.md specifies them. They are packed here, without the HDF5 library: a hostile file never reaches it, the same
network gives the same bytes, and every dataset can be mapped. Only the simplest part of the format is used: a
superblock, object headers with their checksums, hard links, contiguous datasets.

Format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html, to which the message numbers below refer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from io import FileIO
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.core.errors import FormatError, NoManifestError, UsageError
from portable_nn.core.files import read_exactly
from portable_nn.core.graph import Value
from portable_nn.format.layout import Crcs, Frame, Piece, Span, layout, padding, piece_fault
from portable_nn.format.manifest import MAX_BYTES, Manifest, Text, checked
from portable_nn.plain.hdf5 import SIGNATURE, superblock

SINCE: Final = 2

MANIFEST: Final = "portable_nn"
"""The dataset that holds the manifest; its attribute ``DIGEST`` holds the SHA-256."""

DIGEST: Final = "sha256"

ESCAPED: Final = "%"
"""The group of the tensors whose names cannot be paths."""

MAX_PARTS: Final = 32
"""The most links in a path: readers that walk through a file recursively need no deeper stack."""

MAX_NAME: Final = 2**16 - 14
"""The longest name of a link, in bytes, which is what its message can hold."""

_NO_PARTS: Final = frozenset({"", ".", ".."})
_UNDEFINED: Final = 2**64 - 1
_SUPERBLOCK: Final = 48
_CHECKSUM: Final = 4

Tree: TypeAlias = dict[str, Any]
"""A group: the targets of its links by name, each a group or the ``Span`` of a dataset."""


# -- names and paths


def paths(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The path of each tensor, as the names of the links that lead to it.

    The tensor ``dense_1.weight`` is the dataset ``/dense_1/weight``: a name is split at its last ``.`` and at every
    ``/``. Where that gives an empty part, ``.`` or ``..``, more than ``MAX_PARTS`` parts, a path that is taken or leads
    through a dataset, or one that begins with a reserved name (``MANIFEST``, ``ESCAPED``), the tensor is in the group
    ``%`` under its whole name, with ``/`` written as ``%2F`` and ``%`` as ``%25``.
    """
    found: dict[str, tuple[str, ...]] = {}
    datasets: set[tuple[str, ...]] = set()
    groups: set[tuple[str, ...]] = set()
    for name in names:
        *outer, last = name.split("/")
        layer, dot, own = last.rpartition(".")
        path = (*outer, layer, own) if dot else (*outer, last)
        above = {path[:length] for length in range(1, min(len(path), MAX_PARTS))}
        if (
            len(path) > MAX_PARTS
            or not _NO_PARTS.isdisjoint(path)
            or path[0] in {MANIFEST, ESCAPED}
            or path in datasets
            or path in groups
            or not above.isdisjoint(datasets)
        ):
            path = (ESCAPED, name.replace("%", "%25").replace("/", "%2F"))
            above = {path[:1]}
        found[name] = path
        datasets.add(path)
        groups |= above
    return found


def _tree(spans: Sequence[Span]) -> Tree:
    tree: Tree = {}
    places = paths([span.name for span in spans])
    for span in spans:
        group = tree
        *outer, last = places[span.name]
        for part in outer:
            group = group.setdefault(part, {})
        group[last] = span
    return tree


# -- messages of object headers


def _message(kind: int, data: bytes) -> bytes:
    return struct.pack("<BHB", kind, len(data), 0) + data


def _dataspace(shape: tuple[int, ...]) -> bytes:
    """Message 0x0001, version 2: rank, no maximum, scalar or simple, the sizes."""
    return struct.pack(f"<BBBB{len(shape)}Q", 2, len(shape), 0, 1 if shape else 0, *shape)


def _text(length: int) -> bytes:
    """Message 0x0003: a string of ``length`` bytes of UTF-8, padded with NUL (here without padding)."""
    return struct.pack("<BBBBI", 0x13, 0x11, 0, 0, length)


def _integer(bits: int, signed: bool) -> bytes:
    return struct.pack("<BBBBIHH", 0x10, 0x08 if signed else 0, 0, 0, bits // 8, 0, bits)


def _float(bits: int, exponent: int, mantissa: int) -> bytes:
    """IEEE 754: the highest bit is the sign, the mantissa's first bit is implied."""
    head = struct.pack("<BBBBI", 0x11, 0x20, bits - 1, 0, bits // 8)
    return head + struct.pack("<HHBBBBI", 0, bits, mantissa, exponent, 0, mantissa, 2 ** (exponent - 1) - 1)


_DATATYPES: Final[Mapping[str, bytes]] = {
    "float64": _float(64, 11, 52), "float32": _float(32, 8, 23), "float16": _float(16, 5, 10),
    "int64": _integer(64, True), "int32": _integer(32, True), "int16": _integer(16, True), "int8": _integer(8, True),
    "uint64": _integer(64, False), "uint32": _integer(32, False), "uint16": _integer(16, False),
    "uint8": _integer(8, False),
    # An enumeration of int8, as h5py writes booleans and reads them.
    "bool": struct.pack("<BBBBI", 0x38, 2, 0, 0, 1) + _integer(8, True) + b"FALSE\0TRUE\0" + bytes([0, 1]),
}  # fmt: skip
"""Message 0x0003 of each element type."""

_FILL_VALUE: Final = bytes([3, 0b1010])
"""Message 0x0005, version 3: the library's default, which has no effect on complete data."""


def _contiguous(address: int, size: int) -> bytes:
    """Message 0x0008, version 3, class 1: the address of the data, undefined where there are none."""
    return struct.pack("<BBQQ", 3, 1, address if size else _UNDEFINED, size)


def _link(name: str, address: int) -> bytes:
    """Message 0x0006, version 1: a hard link with its name in UTF-8. Raises ``UsageError`` for too long a name."""
    text = name.encode()
    if len(text) > MAX_NAME:
        raise UsageError(f"the name '{name[:32]}…' has {len(text)} bytes; at most {MAX_NAME} are possible in HDF5")
    return struct.pack(f"<BBBH{len(text)}sQ", 1, 0x11, 1, len(text), text, address)


def _attribute(name: str, value: bytes) -> bytes:
    """Message 0x000C, version 3: one string."""
    text, datatype, dataspace = name.encode() + b"\0", _text(len(value)), _dataspace(())
    head = struct.pack("<BBHHHB", 3, 0, len(text), len(datatype), len(dataspace), 1)
    return head + text + datatype + dataspace + value


def _object(*messages: bytes) -> bytes:
    """A version 2 object header without its final checksum."""
    body = b"".join(messages)
    return b"OHDR" + struct.pack("<BBI", 2, 2, len(body)) + body


def _group(links: Mapping[str, int]) -> bytes:
    """Link info (0x0002) and group info (0x000A), both for compact storage, and the links."""
    info = struct.pack("<BBQQ", 0, 0, _UNDEFINED, _UNDEFINED)
    return _object(_message(2, info), _message(10, bytes(2)), *(_message(6, _link(*each)) for each in links.items()))


def _group_length(names: Iterable[str]) -> int:
    """The length of a group's header with links of these names."""
    return _EMPTY + sum(_LINK + len(name.encode()) for name in names)


_EMPTY: Final = len(_group({}))
_LINK: Final = len(_message(6, _link("", 0)))


def _dataset(span: Span, data: int) -> bytes:
    return _dataset_start(span.dtype, span.shape) + _contiguous(data + span.start, span.size)


@lru_cache(maxsize=256)
def _dataset_start(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The header without the layout message, which is last and of fixed size; cached, as many tensors are alike."""
    layout = _contiguous(0, 0)
    kinds = (1, _dataspace(shape)), (3, _DATATYPES[dtype]), (5, _FILL_VALUE), (8, layout)
    return _object(*(_message(*each) for each in kinds)).removesuffix(layout)


def _manifest_object(length: int, digest: bytes) -> bytes:
    """The header of the manifest's dataset; its size is fixed, and the text follows it directly."""
    layout = _contiguous(_SUPERBLOCK + _OBJECT, length)
    kinds = (1, _dataspace(())), (3, _text(length)), (5, _FILL_VALUE), (8, layout), (12, _attribute(DIGEST, digest))
    return _object(*(_message(*each) for each in kinds))


def _superblock(end: int, root: int) -> bytes:
    """Version 2: addresses and lengths of 8 bytes, no extension, the length of the file, the root's address."""
    return SIGNATURE + struct.pack("<BBBBQQQQ", 2, 8, 8, 0, 0, _UNDEFINED, end, root)


_OBJECT = 0
_OBJECT = len(_manifest_object(0, bytes(64))) + _CHECKSUM
"""The length of the manifest's header."""

_LENGTH_AT: Final = len(_object(_message(1, _dataspace(())))) + 8
"""The offset of the manifest's length in it."""


# -- checksums


def checksums(headers: Sequence[bytes]) -> list[bytes]:
    """Bob Jenkins's lookup3 (https://burtleburtle.net/bob/c/lookup3.c) of each header.

    Those of headers of the same length are computed as arrays.
    """
    sums: dict[int, int] = {}
    for length in {len(header) for header in headers}:
        places = [place for place, header in enumerate(headers) if len(header) == length]
        words = [np.frombuffer(headers[place] + bytes(-length % 12), "<u4").astype(np.uint32) for place in places]
        if len(places) < _WORTH_ARRAYS:
            sums |= {place: _lookup3(each.tolist(), length) for place, each in zip(places, words, strict=True)}
        else:
            columns = list(np.stack(words, axis=1))
            sums |= zip(places, _lookup3(columns, length).tolist(), strict=True)
    return [struct.pack("<I", sums[place]) for place in range(len(headers))]


_WORTH_ARRAYS: Final = 8
"""The number of headers from which numpy is faster than Python's integers."""


def _lookup3(words: Sequence[Any], length: int) -> Any:
    """The hash of ``length`` bytes, given as little-endian words of 32 bits, each an integer or an array of them."""
    a: Any = (0xDEADBEEF + length) % 2**32
    if words and isinstance(words[0], np.ndarray):
        a = np.full(len(words[0]), a, np.uint32)
    b = c = a
    for at in range(0, len(words), 3):
        a, b, c = (a + words[at]) & _M, (b + words[at + 1]) & _M, (c + words[at + 2]) & _M
        if at + 3 < len(words):
            for bits in (4, 6, 8, 16, 19, 4):  # mix
                a, c = ((a - c) ^ (c << bits | c >> 32 - bits)) & _M, (c + b) & _M
                a, b, c = b, c, a
    for bits in (14, 11, 25, 16, 4, 14, 24):  # final
        c = ((c ^ b) - (b << bits | b >> 32 - bits)) & _M
        a, b, c = b, c, a
    return b


_M: Final = 0xFFFFFFFF


# -- the carrier


def frame(values: Sequence[Value], length: int) -> Frame:
    """The layout of a file: the superblock, all object headers and the manifest, then the tensors.

    Raises ``UsageError`` where a name is too long.
    """
    spans = layout(values)
    superblock, *objects = _objects(spans, length)

    def around(manifest: Text, crcs: Crcs) -> list[bytes]:
        return [b"".join(piece.data for piece in (superblock, *_manifest(manifest), *objects))]

    return Frame(spans, around)


def _manifest(text: Text) -> tuple[Piece, Piece]:
    own = _manifest_object(len(text.data), text.digest.encode())
    return Piece(f"the header of '/{MANIFEST}'", own + checksums([own])[0]), Piece("the manifest", text.data)


def _objects(spans: Sequence[Span], length: int) -> list[Piece]:
    """All pieces but the manifest: the superblock, the headers of groups and datasets, depth first, the padding."""
    objects = list(_walk("", _tree(spans)))
    addresses, address = {"/" + MANIFEST: _SUPERBLOCK}, _SUPERBLOCK + _OBJECT + length
    for path, found in objects:
        addresses[path] = address
        address += len(_dataset(found, 0)) if isinstance(found, Span) else _group_length(_links(path, found))
        address += _CHECKSUM
    data = address + padding(address)
    headers = [_superblock(data + (spans[-1].stop if spans else 0), addresses[""])]
    for path, found in objects:
        if isinstance(found, Span):
            headers.append(_dataset(found, data))
        else:
            headers.append(_group({name: addresses[f"{path}/{name}"] for name in _links(path, found)}))
    names = ["the superblock", *(f"the header of '{path or '/'}'" for path, _ in objects)]
    whole = [text + sum for text, sum in zip(headers, checksums(headers), strict=True)]
    return [*map(Piece, names, whole), Piece("the padding before the data", bytes(data - address))]


def _walk(path: str, found: Tree | Span) -> Iterator[tuple[str, Tree | Span]]:
    yield path, found
    if not isinstance(found, Span):
        for name, each in found.items():
            yield from _walk(f"{path}/{name}", each)


def _links(path: str, group: Tree) -> list[str]:
    """The names of the links of a group; those of the root begin with the manifest."""
    return [*group] if path else [MANIFEST, *group]


def preamble(file: FileIO, size: int, where: str) -> bytes:
    """The first bytes of a file of ``size`` bytes, up to the end of the manifest.

    Raises ``NoManifestError`` for an HDF5 file that begins otherwise than these do, ``FormatError`` for any other.
    """
    start = file.read(_SUPERBLOCK + _OBJECT)
    if start[8:10] == b'{"':
        raise FormatError(where, "is a safetensors file: its name should end in .safetensors")
    after = superblock(file, size, where)
    if not after and len(start) < _SUPERBLOCK + _OBJECT:
        raise FormatError(where, f"is only {size} bytes long: it is truncated")
    expected = _manifest_object(*_stored(start))
    if after or start[_SUPERBLOCK:] != expected + checksums([expected])[0]:
        raise NoManifestError(where, "is an HDF5 file without a portable-nn manifest: it holds arrays, not a network")
    length, _ = _stored(start)
    if length > MAX_BYTES:
        raise FormatError(where, f"should have a manifest of {length} bytes; at most {MAX_BYTES} are allowed")
    if len(start) + length > size:
        raise FormatError(where, f"should have a manifest of {length} bytes, but ends before it: it is truncated")
    file.seek(len(start))
    return start + read_exactly(file, length, where)


def _stored(start: bytes) -> tuple[int, bytes]:
    """The stored length of the manifest, and its stored digest."""
    (length,) = struct.unpack_from("<I", start, _SUPERBLOCK + _LENGTH_AT)
    return length, start[-_CHECKSUM - 64 : -_CHECKSUM]


def manifest_text(start: bytes, where: str) -> Text:
    """The text of the manifest in a ``preamble``, verified by its digest. Raises ``FormatError``."""
    text, (_, expected) = start[_SUPERBLOCK + _OBJECT :], _stored(start[: _SUPERBLOCK + _OBJECT])
    return checked(text, expected.decode("ascii", "replace"), where)


def faults(text: Text, manifest: Manifest, found: Sequence[bytes]) -> list[str]:
    """The first difference between the ``found`` bytes and those that follow from ``manifest`` with its ``text``."""
    superblock, *objects = _objects(layout(manifest.stored), len(text.data))
    return piece_fault((superblock, *_manifest(text), *objects), found[0])
