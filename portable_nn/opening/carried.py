"""The data that ``convert`` passes from the kind of file that it reads to the one that it writes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from portable_nn.core.tensors import ITEM_SIZES, NamedArrays
from portable_nn.core.tolerances import ATOL, RTOL
from portable_nn.format.manifest import Manifest
from portable_nn.onnx.verification.differences import Difference
from portable_nn.onnx.verification.proof import Proof

OPSET: Final = 17
"""The opset of ONNX files by default, unless a network needs a later one."""

_NOTHING: Final[Mapping[str, Difference]] = MappingProxyType({})


class ReadNetwork(NamedTuple):
    """A network that was read from a file.

    Args:
        path: the file.
        manifest: its description; without hashes where the file has none.
        tensors: the arrays of ``manifest.tensors``, each read when it is first used where the file allows that.
        digest: the digest of the network in the file; empty where the file has none.
        outputs: how the two engines were compared; empty where they were not.
        recorded: their differences from a recording of another program.
        opset: the opset of an ONNX file.
        dropped: what else the file holds, as text.
        notes: what was changed in reading.
    """

    path: Path
    manifest: Manifest
    tensors: NamedArrays
    digest: str = ""
    outputs: Proof = Proof()
    recorded: Mapping[str, Difference] = _NOTHING
    opset: int | None = None
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The bytes of all tensors."""
        return sum(ITEM_SIZES[value.dtype] * math.prod(map(int, value.shape)) for value in self.manifest.tensors)


class WrittenNetwork(NamedTuple):
    """A network that was written: its files and digest; the other fields are as in ``ReadNetwork``."""

    files: tuple[Path, ...]
    digest: str
    outputs: Proof = Proof()
    recorded: Mapping[str, Difference] = _NOTHING
    opset: int | None = None
    ir_version: int | None = None
    notes: tuple[str, ...] = ()


class ConvertOptions(NamedTuple):
    """The options for reading and writing ONNX files: see ``export_onnx`` for the fields."""

    verify: bool = True
    opset: int | None = None
    atol: float = ATOL
    rtol: float = RTOL
    seed: int = 0
    io: Path | None = None

    @property
    def proof(self) -> dict[str, Any]:
        """The options of ``export_onnx`` and ``read_onnx`` that are about the comparison of both engines."""
        return {"verify": self.verify, "atol": self.atol, "rtol": self.rtol, "seed": self.seed, "io": self.io}
