"""The weight file of this package, in any of its carriers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Final

from portable_nn.analysis.report import Finding
from portable_nn.analysis.survey import Surveyor, survey_graph
from portable_nn.core.graph import Parameter
from portable_nn.format import CARRIERS, Manifest, load, save
from portable_nn.format.reading import opened
from portable_nn.inspection import Inspection, inspect_manifest
from portable_nn.network import Network
from portable_nn.network import load as load_network
from portable_nn.opening.carried import ConvertOptions, ReadNetwork, WrittenNetwork
from portable_nn.opening.model_file import WritableFile
from portable_nn.operators.opaque.nodes import opaque_notes

LARGE: Final = 2**26
"""The bytes of a file above which its weights are mapped, and take no memory of their own."""


class WeightFile(WritableFile):
    """A weight file."""

    suffixes = CARRIERS.keys()
    holds_training = True

    @cached_property
    def network(self) -> Network:
        large = self.path.is_file() and self.path.stat().st_size > LARGE
        return load_network(self.path, lazy=large, digest=self.digest)

    def inspection(self) -> Inspection:
        contents = load(self.path, lazy=True)
        # By SHA-256: a digest is shown only after every tensor was compared with it.
        contents = load(self.path, lazy=True, verify="eager", digest=contents.digest)
        found = inspect_manifest(contents.manifest)
        return replace(found, digest=contents.digest, notes=(*contents.notes, *found.notes))

    def survey(self) -> Surveyor:
        contents = load(self.path, lazy=True, verify="eager", allow_nonfinite=True)
        return partial(survey_graph, contents.manifest.graph, contents.tensors)

    def standard_findings(self) -> Iterable[Finding]:
        found = load(self.path, lazy=True, verify="off")
        notes = found.notes or ("the file is to the byte as portable-nn writes it",)
        return [Finding("note", "", note) for note in (*notes, *opaque_notes(found.manifest.graph.nodes))]

    def parameters(self) -> tuple[Parameter, ...]:
        return load(self.path, lazy=True, verify="off").manifest.graph.parameters

    def manifest_text(self) -> str:
        load(self.path, lazy=True, verify="eager")
        with opened(self.path) as (_, head):  # The file may be of an older version.
            return head.text.data.decode()

    def source(self, options: ConvertOptions) -> ReadNetwork:
        contents = load(self.path, lazy=True)
        return ReadNetwork(self.path, contents.manifest, contents.tensors, contents.digest, notes=contents.notes)

    @classmethod
    def write(cls, path: Path, source: ReadNetwork, options: ConvertOptions) -> WrittenNetwork:
        return WrittenNetwork((path,), save(path, source.manifest, source.tensors))

    @classmethod
    def read_back(cls, written: WrittenNetwork) -> Manifest:
        # With the digest that it must have, tensors are checked by their SHA-256.
        return load(written.files[0], lazy=True, verify="eager", digest=written.digest).manifest
