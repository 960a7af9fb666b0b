"""ONNX files, of this package and of others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from portable_nn.analysis.report import Finding
from portable_nn.analysis.survey import Surveyor
from portable_nn.core.graph import Parameter
from portable_nn.core.names import Engine
from portable_nn.inspection import Inspection
from portable_nn.model_files.kind import ModelFile, expected_bytes, no_manifest
from portable_nn.model_files.runners import Runner, onnx_runner
from portable_nn.network import Network
from portable_nn.plain import Entry

if TYPE_CHECKING:
    from onnx import ModelProto

UNPROVED: Final = (
    "numpy was not compared with onnxruntime on this model: portable-nn import does that, and check looks at it"
)
"""The note of a model of another program that the numpy engine runs."""


class OnnxFile(ModelFile):
    """An ONNX file, whether or not this package has its operators."""

    suffixes = (".onnx",)
    infinite = "warning"  # A weight file with them is refused; here they may be meant.

    @cached_property
    def model(self) -> ModelProto:
        """The model as it was parsed, with the tensors that are stored beside it."""
        from portable_nn.onnx.files import parsed, read_model

        if self.digest is None:
            return read_model(self.path)
        return parsed(expected_bytes(self.path, self.digest), self.path)

    @cached_property
    def network(self) -> Network:
        return self.proved_network(verify=False)

    def proved_network(self, **proof: Any) -> Network:
        from portable_nn.converters.onnx import read_onnx

        return read_onnx(self.model, where=str(self.path), **proof).network

    def inspection(self) -> Inspection:
        from portable_nn.inspection.onnx import inspect_onnx

        return inspect_onnx(self.model, str(self.path))

    def runner(self, name: str, engine: Engine) -> Runner:
        from portable_nn.onnx.session import Session

        if engine == "numpy":
            network = self.network
            found = onnx_runner(
                name, network.graph.inputs, network.output_values, self._metadata, network.predict, str(self.path)
            )
            return found if found.described else replace(found, notes=(*found.notes, UNPROVED))
        bytes_ = None if self.digest is None else expected_bytes(self.path, self.digest)
        session = Session(self.path if bytes_ is None else bytes_, where=str(self.path))
        return onnx_runner(name, session.inputs, session.outputs, session.metadata, session.run, str(self.path))

    @property
    def _metadata(self) -> Mapping[str, str]:
        return {entry.key: entry.value for entry in self.model.metadata_props}

    def survey(self) -> Surveyor:
        from portable_nn.analysis.onnx import onnx_surveyor

        return onnx_surveyor(self.path)

    def standard_findings(self) -> Iterable[Finding]:
        from portable_nn.analysis.onnx import check_by_standard

        return check_by_standard(self.path)

    def entries(self) -> Mapping[str, Entry]:
        from portable_nn.onnx.files import read_alone

        stored = read_alone(self.path).graph.initializer
        return {tensor.name: Entry("", tuple(tensor.dims), 0) for tensor in stored}

    def parameters(self) -> tuple[Parameter, ...]:
        return self.network.graph.parameters

    def manifest_text(self) -> str:
        from portable_nn.onnx.metadata import MANIFEST

        if MANIFEST not in self._metadata:
            raise no_manifest(self.path, "those ONNX files have one that portable-nn wrote")
        return self._metadata[MANIFEST]
