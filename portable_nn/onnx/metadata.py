"""The keys of a model's metadata that have a meaning here, and the manifest among them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from portable_nn.format.manifest import Manifest, decode

MANIFEST: Final = "portable_nn"
DIGEST: Final = "portable_nn.sha256"
LABELS: Final = "labels"
DOC: Final = "doc_string"
"""The keys; the last stands for the model's own field of that name."""


def manifest_in(
    metadata: Mapping[str, str], inputs: Sequence[str], outputs: Sequence[str], where: str
) -> Manifest | None:
    """The manifest in the metadata of a model, if there is one and it names the inputs and outputs that the model has.

    A tool that optimised or quantised the graph has not changed what goes in and comes out: other than for an import,
    the graph may be another one.

    Raises:
        FormatError: the manifest is whole, but not one that this version reads.
    """
    text = metadata.get(MANIFEST, "").encode()
    if not text or hashlib.sha256(text).hexdigest() != metadata.get(DIGEST):
        return None
    manifest = decode(text, where)
    named = [info.name for info in manifest.inputs], [info.name for info in manifest.outputs]
    return manifest if named == (list(inputs), list(outputs)) else None
