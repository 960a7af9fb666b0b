"""The carriers: a row for each file format that can hold a network.

A carrier is a module that knows the bytes around the tensors of a file, and nothing else: how they follow from a
manifest's text, how the text is found in them, and what to report where they differ. All else is the same for all. A
carrier is added by its module and its row in ``CARRIERS``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Final, Protocol

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Value
from portable_nn.core.text import either
from portable_nn.format import hdf5, npz, safetensors
from portable_nn.format.layout import Frame
from portable_nn.format.manifest import Manifest, Text


class Carrier(Protocol):
    """The contents of such a module. Faults are raised as ``FormatError``; ``where`` names the file in them."""

    SINCE: int
    """The version of the format that the carrier came with."""

    def frame(self, values: Sequence[Value], length: int) -> Frame:
        """The layout of a file that holds the tensors ``values`` and a manifest's text of that ``length``.

        Texts that differ in their hashes alone give equally many bytes. Raises ``UsageError`` where the carrier cannot
        hold the tensors, as does the ``around`` of the frame.
        """

    def preamble(self, file: FileIO, size: int, where: str) -> bytes:
        """The first bytes of a file of ``size`` bytes, in which ``manifest_text`` finds what it looks for."""

    def manifest_text(self, start: bytes, where: str) -> Text:
        """The manifest's text in a ``preamble``, whole."""

    def faults(self, text: Text, manifest: Manifest, found: Sequence[bytes]) -> list[str]:
        """In words, how the ``found`` bytes differ from those that the ``frame`` puts around the tensors."""


CARRIERS: Final[Mapping[str, Carrier]] = {".safetensors": safetensors, ".h5": hdf5, ".npz": npz}
"""The carriers by the suffix of their files."""

SUFFIXES: Final = either(CARRIERS)
"""The suffixes, as messages and help texts list them: ``.safetensors, .h5 or .npz``."""


def carrier_of(path: str | Path) -> Carrier:
    """The carrier of the file at ``path``, by its name. Raises ``UsageError``."""
    suffix = Path(path).suffix.lower()
    if suffix not in CARRIERS:
        raise UsageError(f"{path}: the name of a weight file ends in {SUFFIXES}, not in {suffix!r}")
    return CARRIERS[suffix]
