"""The safetensors carrier: a weight file that every safetensors reader can open.

The header is a function of the manifest alone (``_head``). Writing is therefore that function and the tensors' bytes;
reading takes the manifest out of the header, applies the function, and demands the very bytes that are there.

Format: https://github.com/huggingface/safetensors#format, and SPEC.md for what this package demands beyond it.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from portable_nn.errors import FormatError, UsageError
from portable_nn.format import canonical
from portable_nn.format.atomic import atomic_write
from portable_nn.format.files import open_regular, read_into, recognise
from portable_nn.format.manifest import Contents, Manifest, decode, encode
from portable_nn.format.tensors import BLANK_DIGEST, ITEM_SIZES, Array, from_bytes, to_bytes
from portable_nn.format.validate import agreement_faults, manifest_faults, refuse
from portable_nn.graph import Graph
from portable_nn.memory import aligned

MAX_HEADER: Final = 32 * 2**20
"""The longest header, in bytes; the safetensors format itself allows 100 million."""

ALIGNMENT: Final = 64
"""The data start at a multiple of this many bytes, so that a mapped file is aligned for every vector unit."""

_CHUNK: Final = 2**20
_LENGTH: Final = 8
_METADATA: Final = "__metadata__"
_MANIFEST: Final = "portable_nn"
_MANIFEST_DIGEST: Final = "portable_nn.sha256"

_CODES: Final = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bool": "BOOL",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8",
}  # fmt: skip
_DTYPES: Final = {code: dtype for dtype, code in _CODES.items()}


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the header says of one tensor; the offsets count from the start of the data."""

    data_offsets: tuple[int, int]
    dtype: str
    shape: tuple[int, ...]


class _Probe(msgspec.Struct):
    """The only part of a header that is looked at before it is known to be the canonical one."""

    metadata: dict[str, str] = msgspec.field(name=_METADATA, default_factory=dict)


class _Span(NamedTuple):
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def write(path: str | Path, manifest: Manifest, tensors: Mapping[str, Array]) -> None:
    """Write a file that ``read`` gives back; ``manifest.digests`` is replaced by those of the bytes written.

    The tensors are written one after the other, each copied only if it is not already little-endian and contiguous.
    Their digests stand before them in the file but are known after them, so the header is written last.

    Args:
        path: the file to make or replace (see ``atomic_write``).
        manifest: one that ``validate`` finds no fault with.
        tensors: the arrays that ``manifest.graph.parameters`` describes.

    Raises:
        UsageError: the header would be longer than ``MAX_HEADER``.
        FileError: the file cannot be written; the old one is as it was.
    """
    spans = _layout(manifest.graph)
    blank = {span.name: BLANK_DIGEST for span in spans}
    length = len(_head(encode(replace(manifest, digests=blank)), spans))
    if length > _LENGTH + MAX_HEADER:
        raise UsageError(f"the header would be {length - _LENGTH} bytes long; at most {MAX_HEADER} are allowed")
    with atomic_write(path) as file:
        file.seek(length)
        digests = {span.name: _write_tensor(file, tensors[span.name]) for span in spans}
        file.seek(0)
        file.write(_head(encode(replace(manifest, digests=digests)), spans))


def _write_tensor(file: BinaryIO, array: Array) -> str:
    """Append the bytes of ``array`` and return their digest."""
    data = to_bytes(array)
    digest = hashlib.sha256()
    for start in range(0, len(data), _CHUNK):
        chunk = data[start : start + _CHUNK].tobytes()  # a copy: what is hashed is written, whoever else has the array
        digest.update(chunk)
        file.write(chunk)
    return digest.hexdigest()


def read(path: str | Path) -> Contents:
    """What the file at ``path`` holds; framing, header, layout and manifest are checked before memory is taken.

    The tensors are views of one piece of memory. Their values are for the caller to check (``validate``).

    Raises:
        FileError: not a file that can be read.
        FormatError: not a file that ``write`` could have written.
    """
    where = str(path)
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        header = _read_header(file, size, where)
        text = _manifest_text(header, where)
        manifest = decode(text, where)
        refuse(where, manifest_faults(manifest))
        spans = _layout(manifest.graph)
        if header != (expected := _head(text, spans)[_LENGTH:]):
            refuse(where, _header_faults(expected, header, manifest.graph))
        memory = aligned(_check_size(size, len(header), spans, where))
        read_into(file, memory, where)
    views = {s.name: from_bytes(memory[s.start : s.stop], s.dtype, s.shape) for s in spans}
    return Contents(manifest, {parameter.name: views[parameter.name] for parameter in manifest.graph.parameters})


def _layout(graph: Graph) -> list[_Span]:
    """Where the data of each parameter lie: larger items first, then in the graph's order, without a gap."""
    spans, start = [], 0
    for parameter in sorted(graph.parameters, key=lambda parameter: -ITEM_SIZES[parameter.dtype]):
        shape = tuple(int(dim) for dim in parameter.shape)
        stop = start + ITEM_SIZES[parameter.dtype] * math.prod(shape)
        spans.append(_Span(parameter.name, parameter.dtype, shape, start, stop))
        start = stop
    return spans


def _head(manifest: bytes, spans: Sequence[_Span]) -> bytes:
    """The bytes of a file before its data: the header's length and the padded header, for a manifest's text."""
    header: dict[str, object] = {s.name: _Entry((s.start, s.stop), _CODES[s.dtype], s.shape) for s in spans}
    header[_METADATA] = {_MANIFEST: manifest.decode(), _MANIFEST_DIGEST: hashlib.sha256(manifest).hexdigest()}
    data = canonical.dumps(header)
    data += b" " * (-(_LENGTH + len(data)) % ALIGNMENT)
    return len(data).to_bytes(_LENGTH, "little") + data


def _read_header(file: FileIO, size: int, where: str) -> bytes:
    """The header of a file of ``size`` bytes, with its padding; the file is left at the start of the data."""
    head = file.read(64)
    if fault := _framing_fault(head, size):
        raise FormatError(where, recognise(head) or fault)
    file.seek(_LENGTH)
    header = aligned(int.from_bytes(head[:_LENGTH], "little"))
    read_into(file, header, where)
    return header.tobytes()


def _framing_fault(head: bytes, size: int) -> str | None:
    """What is wrong with a file of ``size`` bytes that begins with ``head``; nothing is read or allocated for it."""
    length = int.from_bytes(head[:_LENGTH], "little")
    if size == 0:
        return "is empty"
    if size < _LENGTH:
        return f"is only {size} bytes long: it does not even hold the {_LENGTH} bytes of the header's length"
    if length > MAX_HEADER:
        return f"begins with a header length of {length} bytes; at most {MAX_HEADER} are allowed"
    if length > size - _LENGTH:
        return f"should have a header of {length} bytes, but only {size - _LENGTH} follow: it is truncated"
    if length == 0:
        return "has a header of 0 bytes"
    if not head.startswith(b"{", _LENGTH):
        return f"has a header that begins with {head[_LENGTH : 2 * _LENGTH]!r} instead of '{{'"
    return None


def _manifest_text(header: bytes, where: str) -> bytes:
    """The text of the manifest inside ``header``, which is as it was when its digest was made."""
    try:
        metadata = canonical.loads(header, _Probe).metadata
    except ValueError as error:
        raise FormatError(where, f"the header is malformed: {error}") from error
    if _MANIFEST not in metadata:
        raise FormatError(where, "is a safetensors file without a portable-nn manifest: it holds arrays, not a network")
    text = metadata[_MANIFEST].encode()
    expected, found = metadata.get(_MANIFEST_DIGEST), hashlib.sha256(text).hexdigest()
    if expected != found:
        raise FormatError(where, f"the manifest is damaged: its SHA-256 is {found}, but the header says {expected}")
    return text


def _header_faults(expected: bytes, header: bytes, graph: Graph) -> list[str]:
    """How ``header`` differs from the ``expected`` one, told by tensors where that is possible."""
    try:
        entries = _entries(header)
    except ValueError as error:
        return [f"the header is malformed: {error}"]
    found = {name: (_DTYPES.get(entry.dtype, entry.dtype), entry.shape) for name, entry in entries.items()}
    faults = agreement_faults(graph, found, "in the safetensors header") + _offset_faults(_layout(graph), entries)
    return faults or [f"the header is not canonical JSON: {canonical.difference(expected, header)}"]


def _entries(header: bytes) -> dict[str, _Entry]:
    raw = canonical.loads(header, dict[str, msgspec.Raw])
    return {name: canonical.loads(bytes(text), _Entry) for name, text in raw.items() if name != _METADATA}


def _offset_faults(spans: Sequence[_Span], entries: Mapping[str, _Entry]) -> list[str]:
    """Overlaps, holes, and any order but the one of ``_layout``."""
    return [
        f"tensor {span.name!r} should lie at bytes {span.start} to {span.stop} of the data, "
        f"but the header puts it at {start} to {stop}"
        for span in spans
        if span.name in entries
        for start, stop in [entries[span.name].data_offsets]
        if (start, stop) != (span.start, span.stop)
    ]


def _check_size(size: int, header: int, spans: Sequence[_Span], where: str) -> int:
    """The number of bytes of data, if the file's ``size`` is exactly what header and data need."""
    data = spans[-1].stop if spans else 0
    excess = size - (_LENGTH + header + data)
    if excess:
        what = f"{-excess} missing: it is truncated" if excess < 0 else f"{excess} too many at the end"
        raise FormatError(where, f"is {size} bytes long, but its header describes {size - excess}: {what}")
    return data
