"""The carriers: a row for each file format that can hold a network.

A carrier is a module that defines the bytes around the tensors of a file: how they follow from a manifest's text, how
that text is extracted from them, and how differences are reported. Everything else is shared by all carriers. To add a
carrier, add its module and a row in ``CARRIERS``.
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
    """The interface of a carrier module. Faults are raised as ``FormatError``; ``where`` is the file's name in them."""

    SINCE: int
    """The version of the format that introduced the carrier."""

    def frame(self, values: Sequence[Value], length: int) -> Frame:
        """The layout of a file that holds the tensors ``values`` and a manifest's text of that ``length``.

        Texts that differ only in their hashes give the same number of bytes. Raises ``UsageError`` where the carrier
        cannot hold the tensors, as does the ``around`` of the frame.
        """

    def preamble(self, file: FileIO, size: int, where: str) -> bytes:
        """The first bytes of a file of ``size`` bytes, up to the end of the manifest."""

    def manifest_text(self, start: bytes, where: str) -> Text:
        """The manifest's text in a ``preamble``, verified by its digest."""

    def faults(self, text: Text, manifest: Manifest, found: Sequence[bytes]) -> list[str]:
        """The differences, in words, between the ``found`` bytes and those that ``frame`` puts around the tensors."""


CARRIERS: Final[Mapping[str, Carrier]] = {".safetensors": safetensors, ".h5": hdf5, ".npz": npz}
"""The carriers by the suffix of their files."""

SUFFIXES: Final = either(CARRIERS)
"""The suffixes, as messages and help texts list them: ``.safetensors, .h5 or .npz``."""


def carrier_of(path: str | Path) -> Carrier:
    """The carrier of the file at ``path``, by its name. Raises ``UsageError``."""
    suffix = Path(path).suffix.lower()
    if suffix not in CARRIERS:
        hint = "; pnn.import_onnx reads such a file, and pnn.export_onnx writes one" * (suffix == ".onnx")
        raise UsageError(f"{path}: the name of a weight file ends in {SUFFIXES}, not in {suffix!r}{hint}")
    return CARRIERS[suffix]
