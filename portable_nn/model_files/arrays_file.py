"""Files of other projects that hold arrays and no network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from portable_nn.analysis.survey import Surveyor
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Parameter
from portable_nn.core.names import Engine
from portable_nn.format import has_manifest
from portable_nn.inspection import Inspection
from portable_nn.inspection.rows import TensorRow
from portable_nn.model_files.kind import ModelFile, no_manifest
from portable_nn.model_files.runners import Runner
from portable_nn.network import Network
from portable_nn.plain import KINDS, Entry, open_tensors


class ArraysFile(ModelFile):
    """A file of arrays: it can be inspected and compared, and a model can take its weights from it."""

    suffixes = KINDS.keys()

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return super().recognises(path) and not has_manifest(path)

    @cached_property
    def network(self) -> Network:
        raise self._refusal()

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

    def runner(self, name: str, engine: Engine) -> Runner:
        raise self._refusal()

    def survey(self) -> Surveyor:
        raise self._refusal()

    def entries(self) -> Mapping[str, Entry]:
        with open_tensors(self.path) as found:
            return dict(found.entries)

    def parameters(self) -> tuple[Parameter, ...]:
        raise self._refusal()

    def manifest_text(self) -> str:
        raise self._refusal()

    def _refusal(self) -> UsageError:
        with open_tensors(self.path):  # A file that is no file of arrays either is refused as such.
            return no_manifest(self.path, "it holds arrays, not a network that portable-nn wrote")
