"""The carriers: a row for each file format that can hold a network.

A carrier is a module that knows the bytes of a file before its data, and nothing else: how they follow from a
manifest's text, how the text is found in them, and what to say where they differ. All else is the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Final, Protocol

from portable_nn.errors import UsageError
from portable_nn.format import hdf5, safetensors
from portable_nn.format.layout import Span
from portable_nn.format.manifest import Manifest


class Carrier(Protocol):
    """What a module must have to be one. Faults are raised as ``FormatError``; ``where`` names the file in them."""

    def head(self, manifest: bytes, spans: Sequence[Span]) -> bytes:
        """The bytes before the data, for a manifest's text. Their number depends on the length of the text alone."""

    def preamble(self, file: FileIO, size: int, where: str) -> bytes:
        """The first bytes of a file of ``size`` bytes, in which ``manifest_text`` finds what it looks for."""

    def manifest_text(self, start: bytes, where: str) -> bytes:
        """The manifest's text in a ``preamble``, whole."""

    def faults(self, text: bytes, manifest: Manifest, spans: Sequence[Span], found: bytes) -> list[str]:
        """In words, how the ``found`` bytes differ from the ``head`` of the manifest."""


CARRIERS: Final[Mapping[str, Carrier]] = {".safetensors": safetensors, ".h5": hdf5}
"""The carriers by the suffix of their files."""


def carrier_of(path: str | Path) -> Carrier:
    """The carrier of the file at ``path``, by its name. Raises ``UsageError``."""
    suffix = Path(path).suffix.lower()
    if suffix not in CARRIERS:
        raise UsageError(f"{path}: the name of a weight file ends in {' or '.join(CARRIERS)}, not in {suffix!r}")
    return CARRIERS[suffix]
