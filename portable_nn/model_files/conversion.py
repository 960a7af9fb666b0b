"""What ``convert`` hands from the kind of file that it reads to the one that it writes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from portable_nn.format.manifest import Manifest
from portable_nn.format.tensors import ITEM_SIZES, Array

if TYPE_CHECKING:
    from portable_nn.onnx.verify import Difference

OPSET: Final = 17
"""The version of the operators that ONNX files are written with where nothing else is asked for."""

_NOTHING: Final[Mapping[str, Difference]] = MappingProxyType({})


class ReadNetwork(NamedTuple):
    """A network that was read from a file.

    Args:
        path: the file.
        manifest: what is said of the network; without hashes where the file has none.
        tensors: the arrays of ``manifest.tensors``, each read when it is asked for where the file allows that.
        digest: that of the network in the file; empty where the file has none.
        outputs: how far apart two engines are on it, where they were compared.
        recorded: how far they are from what another program has recorded.
        opset: of an ONNX file, the version of its operators.
        dropped: what else the file holds, in words.
        notes: what was read otherwise than it is written.
    """

    path: Path
    manifest: Manifest
    tensors: Mapping[str, Array]
    digest: str = ""
    outputs: Mapping[str, Difference] = _NOTHING
    recorded: Mapping[str, Difference] = _NOTHING
    opset: int | None = None
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The bytes of all tensors."""
        return sum(ITEM_SIZES[value.dtype] * math.prod(map(int, value.shape)) for value in self.manifest.tensors)


class WrittenNetwork(NamedTuple):
    """What was written: the files, the network's digest, how far apart two engines are on it, and what else to know."""

    files: tuple[Path, ...]
    digest: str
    outputs: Mapping[str, Difference] = _NOTHING
    recorded: Mapping[str, Difference] = _NOTHING
    opset: int | None = None
    ir_version: int | None = None
    notes: tuple[str, ...] = ()


class ConvertOptions(NamedTuple):
    """How to read and write ONNX files: whether both engines are compared, how, and with which version of operators.

    ``io`` is a recording to compare with as well.
    """

    verify: bool = True
    opset: int = OPSET
    atol: float = 1e-5
    rtol: float = 1e-5
    seed: int = 0
    io: Path | None = None

    @property
    def proof(self) -> dict[str, Any]:
        """What ``export_onnx`` and ``read_onnx`` are told."""
        return {"verify": self.verify, "atol": self.atol, "rtol": self.rtol, "seed": self.seed, "io": self.io}
