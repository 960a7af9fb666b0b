"""Writing a weight file: the tensors in any order, then the head, when their hashes are known."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TypeAlias

import numpy as np
from msgspec.structs import replace

from portable_nn.core.arrays import as_array
from portable_nn.core.atomic import atomic_write
from portable_nn.core.errors import UsageError, listed
from portable_nn.core.files import write_at
from portable_nn.core.memory import CHUNK, borrowed
from portable_nn.core.tensors import Array, NamedArrays, from_bytes, signature, to_bytes, value_fault
from portable_nn.format.carriers import Carrier
from portable_nn.format.hashes import CHECKSUM, DIGEST, DIGITS, HASHES, SMALL
from portable_nn.format.layout import WORTH_THREADS, Frame, Span, groups, places, value_faults
from portable_nn.format.manifest import Manifest, Text, encode, hashes_text
from portable_nn.format.packed import pack
from portable_nn.format.training import Signature
from portable_nn.format.validate import agreement_faults

Tensors: TypeAlias = NamedArrays | Iterable[tuple[str, Array]]
"""Arrays by name, or an iterable of pairs in any order."""


def blank(manifest: Manifest) -> Manifest:
    """``manifest`` with zeros for all hashes: its text has the same length as with the real ones."""
    names = [value.name for value in manifest.tensors]
    zeros = {kind: dict.fromkeys(names, "0" * DIGITS[kind]) for kind in HASHES}
    return replace(manifest, digests=zeros[DIGEST], checksums=zeros[CHECKSUM])


class Prepared(NamedTuple):
    """A manifest without faults, ready to be written: its text with blank hashes, and the layout of the file.

    ``rest`` is the text without its hashes, ``start`` the offset of the data, ``groups`` are indices of ``spans``.
    """

    manifest: Manifest
    text: bytes
    rest: bytes
    frame: Frame
    start: int
    groups: Sequence[range]
    signatures: Mapping[str, Signature]


def prepare(carrier: Carrier, manifest: Manifest) -> Prepared:
    """Prepare ``manifest`` for ``write``. Raises ``UsageError`` where the carrier cannot hold it."""
    manifest = blank(manifest)
    text = encode(manifest)
    hashes = hashes_text(manifest.checksums, manifest.digests)
    assert text.startswith(hashes)
    frame = carrier.frame(manifest.stored, len(text))
    start = len(frame.around(Text.of(text), {})[0])
    signatures = {value.name: (value.dtype, value.shape) for value in manifest.tensors}
    return Prepared(manifest, text, text[len(hashes) :], frame, start, list(groups(frame.spans)), signatures)


def write(path: str | Path, ready: Prepared, tensors: Tensors, *, allow_nonfinite: bool = False) -> str:
    """Write a weight file.

    Args:
        path: the file to make or replace (see ``atomic_write``).
        ready: the result of ``prepare`` for the manifest and the carrier.
        tensors: an array for each of the manifest's tensors. Of pairs, no more than one is kept at a time.
        allow_nonfinite: whether trainable parameters may have NaN and infinities, too.

    Returns:
        The digest of the network: SHA-256 of the manifest's text.

    Raises:
        UsageError: a tensor is missing, unexpected, of another type, or of numbers that its packed type does not have.
        FileError: the file cannot be written; the old one is unchanged.
    """
    manifest = ready.manifest
    if isinstance(tensors, dict):  # Mismatches are reported before anything is written.
        tensors = {name: as_array(array, f"tensor '{name}'") for name, array in tensors.items()}
        found = {name: signature(array) for name, array in tensors.items()}
        if found != ready.signatures:
            _refuse(path, agreement_faults(manifest, found, _GIVEN))
    with (
        atomic_write(path) as file,
        ThreadPoolExecutor(WRITERS + 1) as pool,
        ThreadPoolExecutor(WRITERS) as writers,
    ):
        writer = _Writer(file, ready, pool, () if allow_nonfinite else manifest.numbers)
        if isinstance(tensors, dict):
            _write_all(writer, ready, tensors, writers)
        else:
            for name, array in tensors.items() if isinstance(tensors, Mapping) else tensors:
                writer.write(name, as_array(array, f"tensor '{name}'"))
            writer.faults[:0] = agreement_faults(manifest, writer.found, _GIVEN)
        _refuse(path, writer.faults)
        text = Text.of(hashes_text(writer.hashes[CHECKSUM], writer.hashes[DIGEST]) + ready.rest)
        around = ready.frame.around(text, writer.crcs)
        for at, piece in zip(places(around, ready.frame.spans), around, strict=True):
            file.seek(at)
            file.write(piece)
    return text.digest


def _write_all(writer: _Writer, ready: Prepared, tensors: NamedArrays, writers: Executor) -> None:
    """Write tensors that are all in memory: groups of small ones at once, large ones in parallel."""
    pending, spans = [], ready.frame.spans
    for group in ready.groups:
        several = [(spans[place], tensors[spans[place].name]) for place in group]
        if len(group) > 1 or several[0][0].size <= SMALL:
            writer.write_small(several)
        elif spans[-1].stop < WORTH_THREADS:
            writer.write_one(*several[0])
        else:
            pending.append(writers.submit(writer.write_one, *several[0]))
    for each in pending:
        each.result()


_GIVEN: Final = "in the given arrays"

WRITERS: Final = 2
"""The number of large tensors that are written in parallel, each with another thread for its digest."""


def _refuse(path: str | Path, faults: Sequence[str]) -> None:
    if faults:
        raise UsageError(listed(faults, f"cannot save {path}"))


class _Writer:
    """Writes tensors at their places in the file, and collects ``faults``."""

    def __init__(self, file: BinaryIO, ready: Prepared, pool: Executor, numbers: Collection[str]) -> None:
        """``numbers`` are the names of tensors in which NaN and infinities are faults."""
        self._file, self._start, self._pool, self._numbers = file, ready.start, pool, numbers
        spans, self._seeds, self._signatures = ready.frame.spans, ready.frame.seeds, ready.signatures
        self._values = {value.name: value for value in ready.manifest.tensors}
        self._spans = {span.name: span for span in spans}
        self._threads = bool(spans) and spans[-1].stop >= WORTH_THREADS
        self.found: dict[str, Signature] = {}
        self.hashes: dict[str, dict[str, str]] = {kind: {} for kind in HASHES}
        self.crcs: dict[str, int] = {}
        self.faults: list[str] = []

    def write(self, name: str, array: Array) -> None:
        """Write the tensor of that name, if the manifest has it with this dtype and shape."""
        if name in self.found:
            self.faults.append(f"tensor {name!r} is given twice")
            return
        span, self.found[name] = self._spans.get(name), signature(array)
        if span and self.found[name] == self._signatures[name]:
            self.write_one(span, array)

    def write_one(self, span: Span, array: Array) -> None:
        """Write a tensor in chunks."""
        data, made = to_bytes(pack(self._values[span.name], array)), {kind: make() for kind, make in HASHES.items()}
        faults, pending, crc = list[str](), None, self._seeds.get(span.name)
        threads = self._threads and span.size > SMALL  # A digest takes longer than all the rest.
        with borrowed(CHUNK) as copy, borrowed(CHUNK) as other:
            for start in range(0, len(data), CHUNK):
                part = data[start : start + CHUNK]
                copy, other = other, copy  # The other one may still be hashed.
                chunk = copy[: len(part)]
                chunk[...] = part  # The hashed bytes are written, even if another thread changes the array.
                faults = faults or value_faults(span, chunk, self._numbers)
                if pending:
                    pending.result()
                pending = self._pool.submit(made[DIGEST].update, chunk.data) if threads else None
                write_at(self._file, chunk, self._start + span.start + start)
                made[CHECKSUM].update(chunk.data)
                crc = None if crc is None else zlib.crc32(chunk.data, crc)
                if pending is None:
                    made[DIGEST].update(chunk.data)
            if pending:
                pending.result()
        self.faults.extend(faults)
        if crc is not None:
            self.crcs[span.name] = crc
        for kind, each in made.items():
            self.hashes[kind][span.name] = each.hexdigest()

    def write_small(self, several: Sequence[tuple[Span, Array]]) -> None:
        """Write contiguous tensors of one dtype, together at most a ``CHUNK``, at once."""
        spans = [span for span, _ in several]
        start, stop, dtype = spans[0].start, spans[-1].stop, spans[0].dtype
        with borrowed(stop - start) as whole:
            stored = whole.view(np.dtype(dtype).newbyteorder("<"))
            np.concatenate([pack(self._values[span.name], array).ravel() for span, array in several], out=stored)
            pieces = {span.name: whole[span.start - start : span.stop - start] for span in spans}
            if value_fault(from_bytes(whole, dtype, (-1,)), allow_nonfinite=False):
                for span in spans:
                    self.faults += value_faults(span, pieces[span.name], self._numbers)
            write_at(self._file, whole, self._start + start)
            for kind, make in HASHES.items():
                self.hashes[kind] |= {name: make(piece.data).hexdigest() for name, piece in pieces.items()}
            if self._seeds:
                self.crcs |= {name: zlib.crc32(piece.data, self._seeds[name]) for name, piece in pieces.items()}
