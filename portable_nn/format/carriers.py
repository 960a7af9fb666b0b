"""The carriers: a row for each file format that can hold a network.

A carrier is a module that knows the bytes of a file before its data, and nothing else: how they follow from a
manifest's text, how the text is found in them, and what to say where they differ. All else is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Final, Protocol

from portable_nn.core.errors import UsageError
from portable_nn.format import hdf5, safetensors
from portable_nn.format.layout import Span
from portable_nn.format.manifest import Manifest, Text


class Carrier(Protocol):
    """What a module must have to be one. Faults are raised as ``FormatError``; ``where`` names the file in them."""

    SINCE: int
    """The version of the format that the carrier came with."""

    def frame(self, spans: Sequence[Span], length: int) -> Callable[[Text], bytes]:
        """What makes the bytes before the data from the text of a manifest of that ``length``.

        Texts that differ in their hashes alone give equally many. Raises ``UsageError`` where they cannot be made, as
        does the function.
        """

    def preamble(self, file: FileIO, size: int, where: str) -> bytes:
        """The first bytes of a file of ``size`` bytes, in which ``manifest_text`` finds what it looks for."""

    def manifest_text(self, start: bytes, where: str) -> Text:
        """The manifest's text in a ``preamble``, whole."""

    def faults(self, text: Text, manifest: Manifest, spans: Sequence[Span], found: bytes) -> list[str]:
        """In words, how the ``found`` bytes differ from those that the ``frame`` makes of the manifest's text."""


CARRIERS: Final[Mapping[str, Carrier]] = {".safetensors": safetensors, ".h5": hdf5}
"""The carriers by the suffix of their files."""


def carrier_of(path: str | Path) -> Carrier:
    """The carrier of the file at ``path``, by its name. Raises ``UsageError``."""
    suffix = Path(path).suffix.lower()
    if suffix not in CARRIERS:
        raise UsageError(f"{path}: the name of a weight file ends in {' or '.join(CARRIERS)}, not in {suffix!r}")
    return CARRIERS[suffix]
