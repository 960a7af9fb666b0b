"""Files of other programs that hold arrays and no network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from portable_nn.core.errors import UsageError
from portable_nn.format import has_manifest
from portable_nn.inspection import Inspection
from portable_nn.inspection.rows import TensorRow
from portable_nn.opening.model_file import ModelFile
from portable_nn.plain import KINDS, Entry, open_tensors


class ArraysFile(ModelFile):
    """A file of arrays: it can be inspected and compared, and a model can take its weights from it."""

    suffixes = KINDS.keys()

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return super().recognises(path) and not has_manifest(path)

    def inspection(self) -> Inspection:
        with open_tensors(self.path) as found:
            rows = tuple(TensorRow(name, each.dtype, each.shape, each.bytes) for name, each in found.entries.items())
            return Inspection(
                name="",
                opset=0,
                producer="",
                nodes=(),
                inputs=(),
                outputs=(),
                parameters=sum(math.prod(row.shape) for row in rows),
                bytes=sum(row.bytes for row in rows),
                metadata=dict(found.metadata),
                tensors=rows,
                notes=found.notes,
            )

    def entries(self) -> Mapping[str, Entry]:
        with open_tensors(self.path) as found:
            return dict(found.entries)

    def manifest_text(self) -> str:
        with open_tensors(self.path):  # What is no file of arrays either has another error.
            raise UsageError(f"{self.path}: has no manifest: it holds arrays, not a network that portable-nn wrote")
