"""Weight files that another program has re-saved: the same manifest and tensors in any legal file of the carrier.

The readers in ``plain`` know the framing, and find the manifest where the carrier keeps it. Here is what is left: where
that is, and which array holds which tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from portable_nn.core.errors import NoManifestError
from portable_nn.core.files import refuse
from portable_nn.core.graph import Value
from portable_nn.format import hdf5, npz, safetensors
from portable_nn.format.layout import Span, layout
from portable_nn.format.manifest import MAX_BYTES, Manifest, Text, checked
from portable_nn.format.validate import agreement_faults
from portable_nn.plain import PlainTensors

NOTE: Final = (
    "another program has re-saved this file: its manifest and tensors are verified as usual, and 'portable-nn convert' "
    "writes it as portable-nn does"
)
"""The note on a file that is read so."""

Found = tuple[bytes, str | None] | None


class _Kept(NamedTuple):
    """The places where a carrier keeps its parts.

    Args:
        text: the manifest's text and the digest beside it, which may both be wrong; ``None`` where there is no text.
        names: the names of the arrays that hold tensors, in their order.
        where: the place of the arrays, in words.
    """

    text: Callable[[PlainTensors], Found]
    names: Callable[[Sequence[Value]], Mapping[str, str]]
    where: str


def _in_metadata(found: PlainTensors) -> Found:
    text = found.metadata.get(safetensors.MANIFEST)
    return None if text is None else (text.encode(), found.metadata.get(safetensors.DIGEST))


def _in_arrays(found: PlainTensors) -> Found:
    if (text := _bytes_of(found, npz.MANIFEST, MAX_BYTES)) is None:
        return None
    digest = _bytes_of(found, npz.DIGEST, 64)
    return text, None if digest is None else digest.decode("ascii", "replace")


def _bytes_of(found: PlainTensors, name: str, most: int) -> bytes | None:
    entry = found.entries.get(name)
    fits = entry and entry.dtype == "uint8" and len(entry.shape) == 1 and entry.bytes <= most
    return found[name].tobytes() if fits else None


_KEPT: Final[Mapping[str, _Kept]] = {
    ".safetensors": _Kept(
        _in_metadata, lambda values: {value.name: value.name for value in values}, "in the safetensors header"
    ),
    ".h5": _Kept(
        _in_metadata,
        lambda values: {
            name: "/".join(path) for name, path in hdf5.paths([span.name for span in layout(values)]).items()
        },
        "in the HDF5 file",
    ),
    ".npz": _Kept(
        _in_arrays, lambda values: {value.name: npz.array_name(value.name) for value in values}, "in the archive"
    ),
}
"""By the suffix of files: the carriers that other programs write as well."""


def is_kept(path: Path) -> bool:
    """True if files of this name can be written by other programs at all."""
    return path.suffix.lower() in _KEPT


def has_text(found: PlainTensors) -> bool:
    """True if a file holds the text of a manifest, even a damaged one."""
    return is_kept(found.path) and _KEPT[found.path.suffix.lower()].text(found) is not None


def manifest_text(found: PlainTensors) -> Text:
    """The text of the manifest, verified by the digest beside it. Raises ``NoManifestError`` or ``FormatError``."""
    text = _KEPT[found.path.suffix.lower()].text(found)
    if text is None and f"/{hdf5.MANIFEST}" in found.skipped:
        refuse(str(found.path), [f"'/{hdf5.MANIFEST}' is no single text of a fixed length, as a manifest is"])
    if text is None:
        raise NoManifestError(found.path, "has no portable-nn manifest: it holds arrays, and not a network")
    return checked(*text, str(found.path))


class Placed(NamedTuple):
    """The tensors of a file.

    Args:
        spans: those that lie in the file as they are, in its order, at their offsets in it; before them, with negative
            places, those that are compressed, in pieces, or in another order of bytes or axes.
        names: the names of the arrays that hold them.
    """

    spans: Sequence[Span]
    names: Mapping[str, str]


def placed(found: PlainTensors, manifest: Manifest) -> Placed:
    """The tensors of ``manifest`` in a file. Raises ``FormatError`` where it holds others, or another thing."""
    kept, where = _KEPT[found.path.suffix.lower()], str(found.path)
    names = kept.names(manifest.stored)
    tensors = {name: tensor for tensor, name in names.items()}
    own = {npz.MANIFEST, npz.DIGEST} if kept.text is _in_arrays else set()
    faults = [f"{name!r} {reason}: it is no tensor of the network" for name, reason in found.skipped.items()]
    more = found.entries.keys() - own - tensors.keys()
    faults += [f"tensor {name!r} is {kept.where}, but not in the graph" for name in sorted(more)]
    entries = {tensor: found.entries[name] for name, tensor in tensors.items() if name in found.entries}
    signatures = {tensor: (entry.dtype, entry.shape) for tensor, entry in entries.items()}
    refuse(where, faults + agreement_faults(manifest, signatures, kept.where, manifest.stored))
    found.check_claim()
    return Placed(sorted(_spans(found, manifest, names), key=lambda span: span.start), names)


def _spans(found: PlainTensors, manifest: Manifest, names: Mapping[str, str]) -> Iterator[Span]:
    end = 0
    for span in layout(manifest.stored):
        start = found.place(names[span.name])
        if start is None:
            end = start = end - span.size - 1  # Never next to another one, so that none are read together.
        yield span._replace(start=start, stop=start + span.size)
