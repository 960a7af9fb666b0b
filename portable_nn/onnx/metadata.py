"""The entries that this package adds to a model's metadata, and the manifest in them.

The labels are a JSON list that every tool can read; the manifest of a weight file and its SHA-256 let a network come
back from an ONNX file exactly as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from portable_nn.format.manifest import Manifest, decode

if TYPE_CHECKING:
    from onnx import ModelProto

MANIFEST: Final = "portable_nn"
DIGEST: Final = "portable_nn.sha256"
LABELS: Final = "labels"
DOC: Final = "doc_string"
"""The key under which a network keeps the model's own ``doc_string``, which is a field and not an entry there."""


def metadata_of(model: ModelProto) -> dict[str, str]:
    """The metadata of a model, by key; of several entries with one key the last."""
    return {entry.key: entry.value for entry in model.metadata_props}


def is_whole(metadata: Mapping[str, str]) -> bool:
    """Whether the manifest in the metadata has the SHA-256 that stands beside it."""
    return hashlib.sha256(metadata.get(MANIFEST, "").encode()).hexdigest() == metadata.get(DIGEST)


def manifest_in(
    metadata: Mapping[str, str], inputs: Sequence[str], outputs: Sequence[str], where: str
) -> Manifest | None:
    """The manifest in the metadata of a model, if it is whole and names the model's inputs and outputs.

    A tool that optimised or quantised the graph has not changed what goes in and comes out: unlike for an import, the
    rest of the graph may differ.

    Raises:
        FormatError: the manifest is whole, but this version cannot read it.
    """
    if not metadata.get(MANIFEST) or not is_whole(metadata):
        return None
    manifest = decode(metadata[MANIFEST].encode(), where)
    named = [info.name for info in manifest.inputs], [info.name for info in manifest.outputs]
    return manifest if named == (list(inputs), list(outputs)) else None
