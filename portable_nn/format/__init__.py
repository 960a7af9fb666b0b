"""The weight file: the tensors of a network, its graph, inputs and outputs, in one file that is verified completely.

The format is specified in SPEC.md. ``manifest`` has the metadata, ``layout`` the positions of the tensors, ``carriers``
the file formats that hold both, ``validate`` the checks; ``writing``, ``reading`` and ``mapped`` access files.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias

from msgspec.structs import replace

from portable_nn.core.errors import (
    EditedWarning,
    FormatError,
    NoManifestError,
    UnsupportedError,
    UsageError,
    listed,
    warn,
)
from portable_nn.core.files import open_regular
from portable_nn.core.tensors import NamedArrays
from portable_nn.format.carriers import CARRIERS, Carrier, carrier_of
from portable_nn.format.documentation import Documentation, ModelOrigin, Remark, ValueRemark
from portable_nn.format.hashes import CHECKSUM, DIGEST
from portable_nn.format.manifest import Manifest, encode, normalised
from portable_nn.format.mapped import MappedTensors
from portable_nn.format.meaning import InputInfo, OutputInfo
from portable_nn.format.reading import Checks, Reader, opened
from portable_nn.format.reframed import NOTE, has_text, is_kept
from portable_nn.format.validate import manifest_faults, tensor_faults
from portable_nn.format.writing import Prepared, Tensors, blank, prepare, write
from portable_nn.operators.opaque.nodes import check_opaque, opaque_notes
from portable_nn.plain import PlainTensors, open_tensors
from portable_nn.plain.tensors import Listing, entry

__all__ = [
    "CARRIERS",
    "Carrier",
    "Contents",
    "Documentation",
    "InputInfo",
    "Manifest",
    "MappedTensors",
    "ModelOrigin",
    "OutputInfo",
    "Remark",
    "Tensors",
    "ValueRemark",
    "Verify",
    "has_manifest",
    "load",
    "open_arrays",
    "save",
]

Verify: TypeAlias = Literal["eager", "lazy", "off"]

WAYS: Final = ("eager", "lazy", "off")


@dataclass(frozen=True)
class Contents:
    """The contents of a weight file: its manifest, its tensors by name, and its digest.

    The ``digest`` is the SHA-256 of the manifest's text, which contains that of each tensor: it identifies the network,
    whatever carrier it is in. ``notes`` say so where another program has re-saved the file.
    """

    manifest: Manifest
    tensors: NamedArrays
    digest: str
    notes: tuple[str, ...] = ()

    def noted(self, path: str | Path) -> Contents:
        """Itself, after an ``EditedWarning`` for each of the notes on the file at ``path``."""
        for note in self.notes:
            warn(f"{path}: {note}", EditedWarning)
        return self


def save(path: str | Path, manifest: Manifest, tensors: Tensors, *, allow_nonfinite: bool = False) -> str:
    """Write a weight file; an existing one at ``path`` is replaced when the new one is complete and on the disk.

    The same network gives the same bytes. Hashes in ``manifest`` are computed anew.

    Args:
        path: the file to write; its suffix selects the carrier.
        manifest: the description of the network.
        tensors: for each of ``manifest.tensors`` an array of its dtype and shape, in any layout and byte order: by
            name, or as pairs of name and array in any order, of which no more than one is kept in memory.
        allow_nonfinite: whether trainable parameters, too, may have NaN and infinities; ``load`` needs the same option
            then.

    Returns:
        The digest of the network, which ``load`` accepts.

    Raises:
        UsageError: an unknown suffix, or contents that ``load`` would refuse: all faults are listed.
        FileError: the file cannot be written.
    """
    carrier, manifest = carrier_of(path), replace(blank(manifest), version=0)
    ready = _remembered(carrier, manifest)
    if ready is None:
        manifest = normalised(manifest)
        if faults := manifest_faults(manifest):
            if isinstance(tensors, dict):
                faults += tensor_faults(manifest, tensors, allow_nonfinite=allow_nonfinite)
            raise UsageError(listed(faults, f"cannot save {path}"))
        ready = prepare(carrier, manifest)
        if len(ready.text) <= LONGEST:
            _prepared.append((carrier, ready))
    return write(path, ready, tensors, allow_nonfinite=allow_nonfinite)


LONGEST: Final = 2**21
"""The longest manifest that is cached, in bytes."""

_prepared: Final[deque[tuple[Carrier, Prepared]]] = deque(maxlen=4)
"""A cache of the last valid manifests: training saves the same network repeatedly."""


def _remembered(carrier: Carrier, manifest: Manifest) -> Prepared | None:
    """The cached preparation of the same text, if any."""
    try:
        text = encode(manifest)
    except (UsageError, TypeError):  # ``save`` reports what is wrong with it.
        return None
    return next((ready for other, ready in tuple(_prepared) if other is carrier and ready.text == text), None)


def load(
    path: str | Path,
    *,
    lazy: bool = False,
    verify: Verify | None = None,
    digest: str | None = None,
    allow_nonfinite: bool = False,
    opaque: bool = True,
) -> Contents:
    """The contents of a weight file; its head is always verified, its tensors as ``verify`` says.

    Args:
        path: the file; its suffix selects the carrier.
        lazy: memory-map the tensors instead of reading them: read-only arrays that are loaded when they are used.
        verify: when the tensors are verified: all now (``"eager"``), each at its first access (``"lazy"``, which is
            the default with ``lazy`` and needs it), or never (``"off"``).
        digest: the digest that the network must have, from a source that is trusted more than the file. Tensors are
            then verified by their SHA-256, otherwise by the faster checksum, which detects damage but no forgery.
        allow_nonfinite: whether trainable parameters, too, may have NaN and infinities.
        opaque: whether the network may have nodes that onnxruntime runs.

    Raises:
        UsageError: an unknown suffix or way to verify.
        FileError: the file cannot be read.
        FormatError: the file is damaged, hostile, of another format or a newer version, contradicts itself, or has
            another digest.
        UnsupportedError: the network has nodes that onnxruntime runs, without ``opaque``.
    """
    verify = verify or ("lazy" if lazy else "eager")
    if verify not in WAYS:
        raise UsageError(f"verify must be one of {', '.join(WAYS)}, not {verify!r}")
    if verify == "lazy" and not lazy:
        raise UsageError(
            "verify='lazy' checks tensors of a mapped file when they are first asked for: it needs lazy=True"
        )
    expected = None if digest is None else as_digest(digest)
    with opened(path) as (file, head):
        if expected not in (None, head.text.digest):
            raise FormatError(
                path, f"is another network: its digest is {head.text.digest}, and {expected} was expected"
            )
        for note in () if opaque else opaque_notes(head.manifest.graph.nodes):
            raise UnsupportedError(path, f"{note}: that is refused (opaque=False)")
        check_opaque(head.manifest.graph, str(path))
        # Files of version 1 have no checksums.
        kind = DIGEST if expected or not head.manifest.checksums else CHECKSUM
        checks = Checks(kind, allow_nonfinite, verify == "off")
        found = partial(Contents, head.manifest, digest=head.text.digest, notes=(NOTE,) if head.packed else ())
        if not lazy:
            return found(Reader(file, str(path), head, checks).read())
        mapped = MappedTensors(file, str(path), head, checks)
        if verify == "eager":
            mapped.verify()
        return found(mapped)


def has_manifest(path: str | Path) -> bool:
    """True if a file holds a manifest of this package, even a damaged one.

    Raises ``FileError`` where it cannot be read.
    """
    if _begins_with_manifest(path):
        return True
    if is_kept(Path(path)):
        with suppress(FormatError), open_tensors(path) as found:
            return has_text(found)
    return False


def _begins_with_manifest(path: str | Path) -> bool:
    """True if a file begins as this package writes it, which is known after a look at its first bytes."""
    if Path(path).suffix.lower() not in CARRIERS:
        return False
    carrier, where = carrier_of(path), str(path)
    with open_regular(path) as file:
        start = None
        try:
            start = carrier.preamble(file, os.fstat(file.fileno()).st_size, where)
            carrier.manifest_text(start, where)
        except FormatError as error:
            return start is not None and not isinstance(error, NoManifestError)
    return True


def open_arrays(path: str | Path, *, text: bool = False, in_pieces: bool = False) -> PlainTensors:
    """The arrays in any file, as ``open_tensors`` reads them.

    In a weight file of this package they have the names of the network's tensors, and are verified as in ``load``.
    """
    if not _begins_with_manifest(path):
        arrays = open_tensors(path, text=text, in_pieces=in_pieces)
        if not has_text(arrays):
            return arrays
        arrays.close()
    found = load(path, lazy=True)
    entries = {value.name: entry(value.dtype, tuple(map(int, value.shape))) for value in found.manifest.tensors}
    listing = Listing(entries, found.tensors.__getitem__, notes=found.notes, metadata=found.manifest.metadata)
    return PlainTensors(path, listing, ExitStack())


def as_digest(text: str) -> str:
    """A digest in lower case, without white space and the prefix ``sha256:``. Raises ``UsageError`` for other text."""
    digest = text.strip().lower().removeprefix("sha256:")
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise UsageError(f"a digest is the 64 hexadecimal digits that 'portable-nn inspect' prints, not {text!r}")
    return digest
