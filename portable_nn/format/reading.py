"""Reading a weight file of any carrier; the manifest and all bytes around the tensors are verified first."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from io import FileIO
from itertools import accumulate
from pathlib import Path
from typing import Final, TypeVar

import xxhash
from msgspec import structs

from portable_nn.core.errors import FormatError, NoManifestError, UsageError
from portable_nn.core.files import open_regular, read_at, read_exactly, refuse, stored_bytes
from portable_nn.core.graph import bodies
from portable_nn.core.limits import UNPACKED, excess
from portable_nn.core.memory import CHUNK, Bytes, aligned, borrowed
from portable_nn.core.tensors import Array, from_bytes, to_bytes, value_fault
from portable_nn.format import reframed
from portable_nn.format.carriers import Carrier, carrier_of
from portable_nn.format.hashes import HASHES
from portable_nn.format.layout import WORTH_THREADS, Crcs, Frame, Span, groups, padding, places, value_faults
from portable_nn.format.manifest import Manifest, Text, decode
from portable_nn.format.packed import padding_fault, unpack
from portable_nn.format.validate import expected_hashes, hash_fault, manifest_faults
from portable_nn.plain import open_tensors

Work = TypeVar("Work")


# -- the head


@dataclass(frozen=True)
class VerifiedHead:
    """The verified contents of a file apart from its tensors; see ``Frame`` for the fields.

    Of a file that another program has written, spans have their offsets in the file, and ``packed`` reads the tensors
    whose places are negative: they do not lie in it as they are.
    """

    manifest: Manifest
    text: Text
    frame: Frame
    around: Sequence[bytes]
    crcs: Crcs
    packed: Callable[[str], Array] | None = None

    @property
    def start(self) -> int:
        """The offset in the file at which the data begin."""
        return len(self.around[0])

    @property
    def size(self) -> int:
        """The number of bytes of the whole file."""
        return self.start + self.frame.data + sum(map(len, self.around[1:][-1:]))


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[FileIO, VerifiedHead]]:
    """The open file at ``path`` and its head, after everything but the tensors has been verified.

    Raises:
        UsageError: an unknown suffix.
        FileError: the file cannot be read.
        FormatError: the head is neither the one that this package writes, nor another legal one with such a manifest.
    """
    carrier = carrier_of(path)
    with open_regular(path) as file:
        yield file, _head(file, carrier, Path(path))


def _head(file: FileIO, carrier: Carrier, path: Path) -> VerifiedHead:
    size, start, where = os.fstat(file.fileno()).st_size, None, str(path)
    try:
        start = carrier.preamble(file, size, where)
        remembered = _known(carrier, start)
        text = remembered.text if remembered else carrier.manifest_text(start, where)
    except FormatError as error:
        if start is None and not isinstance(error, NoManifestError):
            raise
        return _reframed(path, carrier, error)
    known = remembered or _understand(carrier, text, where)
    try:
        found = _as_written(file, size, carrier, start, known, where)
    except FormatError as error:
        return _reframed(path, carrier, error)
    if remembered is None:
        _remember(carrier, start, known)
    return found


def _as_written(
    file: FileIO, size: int, carrier: Carrier, start: bytes, known: VerifiedHead, where: str
) -> VerifiedHead:
    """The head of a file that is to the byte as this package writes it. Raises ``FormatError`` for any other."""
    found, around = known, _around(file, size, start, known, where)
    if known.frame.seeds:
        crcs = known.frame.crcs(around)
        found = replace(known, crcs=crcs, around=known.frame.around(known.text, crcs))
    if any(there != expected for there, expected in zip(around, found.around, strict=False)):
        refuse(where, carrier.faults(found.text, found.manifest, around))
    _check_size(size, found, where)
    return found


def _reframed(path: Path, carrier: Carrier, canonical: FormatError) -> VerifiedHead:
    """The head of a file that another program has written.

    Where it has none either, the error that says more is raised: that of this reading, unless the file begins as this
    package writes it and the reader of its kind only says that it is damaged; the ``canonical`` one names the byte.
    """
    if not reframed.is_kept(path):
        raise canonical
    try:
        found = open_tensors(path)
        text = reframed.manifest_text(found)
        manifest = _checked_manifest(carrier, text, str(path))
        spans, names = reframed.placed(found, manifest)
    except NoManifestError:
        raise canonical from None
    except FormatError as error:
        raise error if error.faults or isinstance(canonical, NoManifestError) else canonical from None
    frame = Frame(spans, lambda text, crcs: [b""])
    return VerifiedHead(manifest, text, frame, [b""], {}, lambda name: found[names[name]])


def _checked_manifest(carrier: Carrier, text: Text, where: str) -> Manifest:
    manifest = decode(text.data, where, since=carrier.SINCE)
    refuse(where, manifest_faults(manifest))
    return manifest


def _understand(carrier: Carrier, text: Text, where: str) -> VerifiedHead:
    manifest = _checked_manifest(carrier, text, where)
    try:
        frame = carrier.frame(manifest.stored, len(text.data))
        return VerifiedHead(manifest, text, frame, frame.around(text, {}), {})
    except UsageError as error:
        raise FormatError(where, str(error)) from error


def _around(file: FileIO, size: int, start: bytes, known: VerifiedHead, where: str) -> list[bytes]:
    """The pieces around the tensors in a file that begins with ``start``, as far as the file is long enough."""
    found = [start]
    if len(start) < known.start <= size:
        file.seek(len(start))
        found = [start + read_exactly(file, known.start - len(start), where)]
    for at, piece in zip(places(known.around, known.frame.spans)[1:], known.around[1:], strict=True):
        if at + len(piece) <= size:
            file.seek(at)
            found.append(read_exactly(file, len(piece), where))
    return found


_REMEMBERED: Final = 8
_LONGEST: Final = 4 * CHUNK
HEADS: dict[tuple[Carrier, str], tuple[bytes, VerifiedHead]] = {}
"""A cache of the last heads by their bytes: opening a file again needs no parsing."""


def _known(carrier: Carrier, start: bytes) -> VerifiedHead | None:
    before, found = HEADS.get((carrier, xxhash.xxh3_128_hexdigest(start)), (None, None))
    return replace(found, manifest=_copy(found.manifest)) if found and before == start else None


def _remember(carrier: Carrier, start: bytes, found: VerifiedHead) -> None:
    if sum(map(len, found.around)) > _LONGEST:
        return
    HEADS[carrier, xxhash.xxh3_128_hexdigest(start)] = start, replace(found, manifest=_copy(found.manifest))
    for oldest in list(HEADS)[:-_REMEMBERED]:
        HEADS.pop(oldest, None)


def _copy(manifest: Manifest) -> Manifest:
    """A copy of a manifest: the caller, who has the other one, may change it."""
    nodes = tuple(
        structs.replace(n, attributes=deepcopy(n.attributes) if any(bodies(n)) else dict(n.attributes))
        if n.attributes
        else n
        for n in manifest.graph.nodes
    )
    return structs.replace(
        manifest,
        graph=structs.replace(manifest.graph, nodes=nodes),
        metadata=dict(manifest.metadata),
        digests=dict(manifest.digests),
        checksums=dict(manifest.checksums),
        training=deepcopy(manifest.training),
        documentation=deepcopy(manifest.documentation),
    )


def _check_size(size: int, found: VerifiedHead, where: str) -> None:
    """Raise ``FormatError`` unless the file has exactly the bytes that its head describes."""
    if extra := size - found.size:
        what = f"{-extra} missing: it is truncated" if extra < 0 else f"{extra} too many at the end"
        raise FormatError(where, f"is {size} bytes long, but its header describes {found.size}: {what}")


# -- the tensors


@dataclass(frozen=True)
class Checks:
    """The checks of tensors.

    Attributes:
        hash: the kind of hash that must agree.
        allow_nonfinite: whether trainable parameters may have NaN and infinities.
        off: whether nothing is checked.
    """

    hash: str
    allow_nonfinite: bool
    off: bool


class Reader:
    """The tensors of an open weight file whose head was verified."""

    def __init__(self, file: FileIO, where: str, head: VerifiedHead, checks: Checks) -> None:
        self.file, self.where, self.checks = file, where, checks
        self.manifest, self.spans, self.start = head.manifest, head.frame.spans, head.start
        self._seeds, self._crcs, self._packed = head.frame.seeds, head.crcs, head.packed
        self.values = {value.name: value for value in self.manifest.tensors}
        self._expected = expected_hashes(self.manifest, checks.hash)
        self._numbers = set() if checks.allow_nonfinite else self.manifest.numbers

    def read(self) -> dict[str, Array]:
        """All tensors, verified, each in aligned memory. Raises ``FormatError`` that lists all damaged ones."""
        *places, total = accumulate((span.size + padding(span.size) for span in self.spans), initial=0)
        if excess(total, 0, UNPACKED) and (fault := excess(total, stored_bytes(self.file), UNPACKED)):
            raise FormatError(self.where, fault)
        memory = aligned(total)
        pieces = [memory[at : at + span.size] for at, span in zip(places, self.spans, strict=True)]
        arrays = dict[str, Array]()

        def fill(group: range) -> list[str]:
            first, last = group[0], group[-1]
            spans, parts = self.spans[first : last + 1], pieces[first : last + 1]
            whole = memory[places[first] : places[last] + len(parts[-1])]
            faults = self.faults(spans[0], whole) if first == last else self._fill(spans, parts, whole)
            for span, part in zip(spans, parts, strict=True):
                arrays[span.name] = unpack(self.values[span.name], from_bytes(part, span.dtype, span.shape))
            return faults

        refuse(self.where, _each(list(groups(self.spans)), fill, total))
        return {name: arrays[name] for name in self.values}

    def verify(self) -> None:
        """Verify all tensors without keeping them. Raises as ``read`` does."""
        refuse(self.where, _each(self.spans, self.faults, self.spans[-1].stop if self.spans else 0))

    def faults(self, span: Span, into: Bytes | None = None) -> list[str]:
        """Read a tensor, ``into`` memory if given, and return its faults.

        Raises ``FormatError`` where the file was truncated meanwhile; with mapped memory that would end the process.
        """
        found, crc, faults = HASHES[self.checks.hash](), self._seeds.get(span.name), list[str]()
        whole, chunk = to_bytes(self._packed(span.name)) if self._packed and span.start < 0 else None, aligned(0)
        with borrowed(CHUNK) as memory:
            for at in range(0, span.size, CHUNK):
                count = min(CHUNK, span.size - at)
                chunk = into[at : at + count] if into is not None else memory[:count]
                if whole is None:
                    read_at(self.file, [chunk], self.start + span.start + at, self.where)
                else:
                    chunk[...] = whole[at : at + count]
                if not self.checks.off:
                    found.update(chunk.data)
                    crc = None if crc is None else zlib.crc32(chunk.data, crc)
                    faults = faults or value_faults(span, chunk, self._numbers)
            faults += [] if self.checks.off else self._whole_faults(span, found.hexdigest(), chunk)
        said = self._crcs.get(span.name)
        if crc != said and not self.checks.off and not faults:
            faults.append(f"tensor {span.name!r} has the CRC-32 {crc:08x}, but the file says {said:08x}")
        return faults

    def _fill(self, spans: Sequence[Span], pieces: Sequence[Bytes], whole: Bytes) -> list[str]:
        """Read small contiguous tensors of one type at once."""
        whole[...] = 0  # The gaps between them.
        read_at(self.file, pieces, self.start + spans[0].start, self.where)
        if self.checks.off:
            return []
        faults = list[str]()
        odd = value_fault(from_bytes(whole, spans[0].dtype, (-1,)), allow_nonfinite=self.checks.allow_nonfinite)
        for span, piece in zip(spans, pieces, strict=True):
            faults += value_faults(span, piece, self._numbers) if odd else []
            faults += self._whole_faults(span, HASHES[self.checks.hash](piece.data).hexdigest(), piece)
        return faults

    def _whole_faults(self, span: Span, found: str, end: Bytes) -> list[str]:
        """The faults of a tensor of the hash ``found`` that ends with the bytes ``end``."""
        if found != (expected := self._expected.get(span.name, "")):
            return [hash_fault(span.name, self.checks.hash, expected, found)]
        return list(filter(None, [padding_fault(self.values[span.name], end)]))


def _each(items: Iterable[Work], work: Callable[[Work], list[str]], total: int) -> list[str]:
    """The concatenated results of ``work`` for all items, in threads where ``total`` bytes are worth it."""
    if total < WORTH_THREADS:
        return [fault for item in items for fault in work(item)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [fault for faults in pool.map(work, items) for fault in faults]
