"""The safetensors carrier: a weight file that every safetensors reader can open.

The bytes before the data are a function of the manifest alone (``frame``). Writing applies that function and appends
the tensors' bytes; reading takes the manifest from the header, applies the function, and requires equal bytes.

Format: https://github.com/huggingface/safetensors#format, and SPEC.md for what this package requires beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import FileIO
from typing import Final

import msgspec

from portable_nn.core.errors import FormatError, NoManifestError, UsageError
from portable_nn.core.files import kind_fault, read_exactly
from portable_nn.core.graph import Value
from portable_nn.core.jsons import typed_json
from portable_nn.format import canonical
from portable_nn.format.layout import Crcs, Frame, Span, layout, padding
from portable_nn.format.manifest import Manifest, Text, checked
from portable_nn.format.validate import agreement_faults
from portable_nn.plain.safetensors import DTYPES, LENGTH, METADATA, framing_fault

SINCE: Final = 1

MAX_HEADER: Final = 32 * 2**20
"""The longest header, in bytes; the safetensors format itself allows 100 million."""

MANIFEST: Final = "portable_nn"
"""The key of the manifest in ``__metadata__``."""

DIGEST: Final = "portable_nn.sha256"
"""The key of its SHA-256 there."""

_KEY: Final = f'"{METADATA}":0'.encode()
"""The placeholder of the metadata. Quotes in names are escaped, so it is unique."""

_CODES: Final = {dtype: code for code, dtype in DTYPES.items()}


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The header's entry of a tensor; the offsets count from the start of the data."""

    data_offsets: tuple[int, int]
    dtype: str
    shape: tuple[int, ...]


class _Probe(msgspec.Struct):
    """The only part of a header that is parsed before the header is verified."""

    metadata: dict[str, str] = msgspec.field(name=METADATA, default_factory=dict)


def frame(values: Sequence[Value], length: int) -> Frame:
    """The layout of a file: the header's length and the padded header, then the tensors.

    Its ``around`` raises ``UsageError`` where the header is longer than ``MAX_HEADER``.
    """
    spans = layout(values)
    header: dict[str, object] = {s.name: _Entry((s.start, s.stop), _CODES[s.dtype], s.shape) for s in spans}
    header[METADATA] = 0
    before, key, after = canonical.dumps_without_floats(header).partition(_KEY)

    def around(manifest: Text, crcs: Crcs) -> list[bytes]:
        metadata = {MANIFEST: manifest.data.decode(), DIGEST: manifest.digest}
        data = b"".join([before, key[:-1], canonical.dumps_without_floats(metadata), after])
        data += b" " * padding(LENGTH + len(data))
        if len(data) > MAX_HEADER:
            raise UsageError(f"the header would be {len(data)} bytes long; at most {MAX_HEADER} are allowed")
        return [len(data).to_bytes(LENGTH, "little") + data]

    return Frame(spans, around)


def preamble(file: FileIO, size: int, where: str) -> bytes:
    """The header of a file of ``size`` bytes, with the length before it and its padding.

    Raises ``FormatError`` where the file has none.
    """
    start = file.read(64)
    fault = framing_fault(start, size, MAX_HEADER)
    if not fault and not start.startswith(b"{", LENGTH):
        fault = f"has a header that begins with {start[LENGTH : 2 * LENGTH]!r} instead of '{{'"
    if fault:
        raise FormatError(where, kind_fault(start, fault))
    file.seek(0)
    return read_exactly(file, LENGTH + int.from_bytes(start[:LENGTH], "little"), where)


def manifest_text(start: bytes, where: str) -> Text:
    """The text of the manifest in a ``preamble``, verified by its digest. Raises ``FormatError``."""
    try:
        metadata = typed_json(memoryview(start)[LENGTH:], _Probe).metadata
    except ValueError as error:
        kind = FormatError if f'"{MANIFEST}":'.encode() in start else NoManifestError
        raise kind(where, f"the header is malformed: {error}") from error
    if MANIFEST not in metadata:
        reason = "is a safetensors file without a portable-nn manifest: it holds arrays, not a network"
        raise NoManifestError(where, reason)
    return checked(metadata[MANIFEST].encode(), metadata.get(DIGEST), where)


def faults(text: Text, manifest: Manifest, found: Sequence[bytes]) -> list[str]:
    """The differences between ``found`` and the bytes that follow from ``manifest``, by tensors where possible."""
    header = found[0][LENGTH:]
    try:
        entries = _entries(header)
    except ValueError as error:
        return [f"the header is malformed: {error}"]
    signatures = {name: (DTYPES.get(entry.dtype, entry.dtype), entry.shape) for name, entry in entries.items()}
    spans, around, *_ = frame(manifest.stored, len(text.data))
    wrong = agreement_faults(manifest, signatures, "in the safetensors header", manifest.stored)
    wrong += _offset_faults(spans, entries)
    expected = around(text, {})[0][LENGTH:]
    return wrong or [f"the header is not canonical JSON: {canonical.difference(expected, header)}"]


def _entries(header: bytes) -> dict[str, _Entry]:
    raw = typed_json(header, dict[str, msgspec.Raw])
    return {name: typed_json(bytes(text), _Entry, f"tensor {name!r}") for name, text in raw.items() if name != METADATA}


def _offset_faults(spans: Sequence[Span], entries: Mapping[str, _Entry]) -> list[str]:
    """Overlaps, gaps, and any order other than that of ``layout``."""
    return [
        f"tensor {span.name!r} should lie at bytes {span.start} to {span.stop} of the data, "
        f"but the header puts it at {start} to {stop}"
        for span in spans
        if span.name in entries
        for start, stop in [entries[span.name].data_offsets]
        if (start, stop) != (span.start, span.stop)
    ]
