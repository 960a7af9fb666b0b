"""ONNX files, of this package and of others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from portable_nn.analysis.report import Finding, Report
from portable_nn.analysis.survey import Surveyor
from portable_nn.core.binding import Sizes, bind
from portable_nn.core.errors import FormatError, PortableNNError, UsageError
from portable_nn.core.files import open_regular
from portable_nn.core.graph import Value
from portable_nn.core.names import Engine, provider_of
from portable_nn.core.text import some
from portable_nn.engines.batching import Run
from portable_nn.engines.ranges import Range, preparing, ranges
from portable_nn.format.hashes import DIGEST as SHA256
from portable_nn.format.hashes import hashes
from portable_nn.format.manifest import Manifest, decode
from portable_nn.inspection import Inspection
from portable_nn.network import Network, remade
from portable_nn.opening.carried import ConvertOptions, ReadNetwork, WrittenNetwork
from portable_nn.opening.model_file import WritableFile, expected_bytes
from portable_nn.opening.onnx_limit import FileLimit
from portable_nn.opening.runners import Runnable, described_by, output_values
from portable_nn.plain import Entry

if TYPE_CHECKING:
    from onnx import ModelProto

    from portable_nn.converters.onnx import Imported
    from portable_nn.onnx.origin import Origin

UNPROVED: Final = (
    "numpy was not compared with onnxruntime on this model: portable-nn import does that, and check looks at it"
)
"""The note where the numpy engine runs a model that another program wrote."""


METADATA: Final = 2**25
"""The bytes at the end of a file of this package in which its metadata are: a manifest has at most half of it."""


class OnnxFile(WritableFile):
    """An ONNX file, whether or not this package has its operators."""

    suffixes = (".onnx",)
    holds_training = False
    nonfinite = "warning"  # In a weight file they are an error; here they may be intended, and import takes them.

    @cached_property
    def model(self) -> ModelProto:
        """The parsed model, whose large tensors are left in their files; of columns that are inputs, the row."""
        from portable_nn.onnx.columns import as_row

        return as_row(self._light)

    @cached_property
    def _light(self) -> ModelProto:
        """The same as it is in the file."""
        from portable_nn.onnx.storage.files import parsed, read_light

        return read_light(self.path) if self.digest is None else parsed(self._expected, self.path)

    def whole(self) -> ModelProto:
        """The parsed model, with all of its tensors."""
        from portable_nn.onnx.columns import as_row
        from portable_nn.onnx.storage.external import external_tensors
        from portable_nn.onnx.storage.files import read_model

        return as_row(read_model(self.path)) if external_tensors(self.model) else self.model

    def alone(self) -> ModelProto:
        """The same without the tensors of its external data files, read anew."""
        from portable_nn.onnx.columns import as_row
        from portable_nn.onnx.storage.files import parsed, read_alone

        return as_row(read_alone(self.path) if self.digest is None else parsed(self._expected, self.path))

    @property
    def _expected(self) -> bytes:
        """The bytes of the file. Raises as ``expected_bytes`` does, and for weights that its SHA-256 does not cover."""
        from portable_nn.onnx.storage.external import locations
        from portable_nn.onnx.storage.files import parsed

        data = expected_bytes(self.path, self.digest or "")
        if files := locations(parsed(data, self.path)):
            names = ", ".join(sorted(files))
            raise FormatError(self.path, f"has weights in other files ({names}), which its SHA-256 does not cover")
        return data

    @cached_property
    def network(self) -> Network:
        return self.proved_network(verify=False)

    @cached_property
    def _origin(self) -> Origin:
        """Who wrote the model, and whether it is as it was written. Raises ``FormatError`` where it is damaged."""
        from portable_nn.onnx.origin import origin_of

        found = origin_of(self.model, str(self.path), self.path)
        if not self.edited:
            found.refuse_damage(self.path)
        return found

    @cached_property
    def _noted_origin(self) -> Origin:
        """``_origin``, after a warning where another program has changed the model: for whatever computes with it."""
        from portable_nn.onnx.origin import warn_of_edit

        if not self.edited:
            warn_of_edit(self._origin.notes, self.path)
        return self._origin

    @property
    def is_own(self) -> bool:
        """True if this package wrote the file, and nobody changed it."""
        return self._origin.state == "own"

    def proved_network(self, **proof: Any) -> Network:
        found = self._imported(**proof).network
        _ = self._noted_origin
        return found

    def _imported(self, **proof: Any) -> Imported:
        from portable_nn.converters.onnx import read_onnx
        from portable_nn.onnx.storage.external import external_tensors

        source = self.path if external_tensors(self.model) else self.model
        return read_onnx(source, where=str(self.path), edited=self.edited, origin=self._origin, **proof)

    def inspection(self) -> Inspection:
        from portable_nn.inspection.onnx import inspect_onnx

        found, columns = inspect_onnx(self.model, str(self.path)), [value.name for value in self._light.graph.input]
        note = [f"in the file each column is an input of its own: {some(columns)}"] * (self.model is not self._light)
        return replace(found, notes=(*found.notes, *note))

    def runnable(self, name: str, engine: Engine) -> Runnable:
        if engine == "numpy":
            network = self.network
            run, outputs = partial(network.compute, engine), output_values(network)
            numbers = ranges(network.graph, network.parameters)
            found = self._runnable(name, network.graph.inputs, outputs, self._metadata, run, numbers)
            notes = () if self._origin.state == "own" else (UNPROVED,)
            return replace(found, notes=notes)
        from portable_nn.onnx.origin import is_ours
        from portable_nn.onnx.session import Session

        source, labels = self._source()
        folder = self.path.parent if isinstance(source, bytes) else None
        where, provider = str(self.path), provider_of(engine)
        session = Session(source, where=where, provider=provider, folder=folder, limit=self.limit)
        if is_ours(session.metadata, session.producer):
            _ = self._noted_origin
        made_for = self._ranges(session.metadata)
        return self._runnable(name, session.inputs, session.outputs, session.metadata, session.run, made_for, labels)

    def _source(self) -> tuple[bytes | Path, tuple[str, ...]]:
        """The model that onnxruntime runs, and the labels that a model of ``ai.onnx.ml`` has.

        It is the file; of a table of this package, whose columns may be inputs, the model for rows; and of a classifier
        the model with arrays in the place of maps and words.
        """
        from portable_nn.onnx.classical.model import DOMAIN, answering
        from portable_nn.onnx.storage.external import locations
        from portable_nn.onnx.storage.metadata import COLUMNS

        with open_regular(self.path) as file:
            size = os.fstat(file.fileno()).st_size
            with mmap(file.fileno(), 0, access=ACCESS_READ) if size else nullcontext(b"") as data:
                is_classical = data.find(DOMAIN.encode()) >= 0
                is_table = data.find(f'"{COLUMNS}":['.encode(), max(0, size - METADATA)) >= 0
        if is_classical or is_table:
            model = self.alone()
            if not locations(model) and (found := answering(model, str(self.path))) is not None:
                return found.model.SerializeToString(), found.labels
            if is_table:
                return model.SerializeToString(), ()
        return self.path if self.digest is None else self._expected, ()

    @cached_property
    def limit(self) -> FileLimit:
        """The time that onnxruntime may compute the model."""
        return FileLimit(self.path, lambda: self.network)

    def _runnable(
        self,
        name: str,
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        metadata: Mapping[str, str],
        run: Run,
        made_for: Mapping[str, Range],
        labels: tuple[str, ...] = (),
    ) -> Runnable:
        description = described_by(metadata, inputs, outputs, str(self.path), labels)
        return Runnable(name, inputs, outputs, description, run, made_for)

    def _ranges(self, metadata: Mapping[str, str]) -> Mapping[str, Range]:
        """The ranges of the inputs by the first nodes of a file of this package; its weights are not read for that."""
        from portable_nn.onnx.storage.metadata import MANIFEST, is_whole
        from portable_nn.onnx.storage.tensors import from_tensor

        if MANIFEST not in metadata or not is_whole(metadata):
            return {}
        graph = decode(metadata[MANIFEST].encode(), str(self.path)).graph
        wanted = preparing(graph)
        if not wanted:
            return {}
        stored = (each for each in self.alone().graph.initializer if each.name in wanted)
        arrays = {each.name: from_tensor(each, str(self.path)) for each in stored if not each.external_data}
        return ranges(graph, arrays) if arrays.keys() == wanted else {}

    @property
    def _metadata(self) -> Mapping[str, str]:
        from portable_nn.onnx.storage.metadata import metadata_of

        return metadata_of(self.model)

    def survey(self) -> Surveyor:
        from portable_nn.analysis.onnx import onnx_surveyor

        return onnx_surveyor(self.path)

    def standard_findings(self) -> Iterable[Finding]:
        from portable_nn.analysis.onnx import check_by_standard, check_origin

        return chain(check_origin(self.path), check_by_standard(self.path))

    def agreed(self, report: Report, inputs: Sizes) -> Report:
        """``report``, with an error where import refuses the file for another reason than those in it."""
        if report.count("error"):
            return report
        try:
            self._check_importable(inputs)
        except PortableNNError as error:
            reason = str(error).removeprefix(f"{self.path}: ")
            found = Finding("error", "", f"import refuses it: {reason}", "; ".join(getattr(error, "__notes__", ())))
            return replace(report, findings=(found, *report.findings))
        return report

    def _check_importable(self, inputs: Sizes) -> None:
        """Raise what import raises before an engine runs, for inputs of these sizes."""
        from numpy.random import default_rng

        from portable_nn.onnx.library.inference import input_shapes
        from portable_nn.onnx.samples import NoInputsError, varied
        from portable_nn.onnx.verify import check_verifiable

        stated = input_shapes(self.model.graph)
        shapes, _ = bind(stated, inputs)
        pairs = (pair for name, shape in shapes.items() for pair in zip(stated[name] or shape, shape, strict=True))
        sizes = {dim: size for dim, size in pairs if isinstance(dim, str) and dim != size}
        graph = self._imported(verify=False, sizes=sizes, lazy=True).network.graph
        check_verifiable(graph, str(self.path))
        try:
            varied(graph, default_rng(0))
        except NoInputsError as error:
            raise UsageError(f"{error}; --dim fixes sizes, --io FILE.npz gives inputs that it can run on") from None

    def entries(self) -> Mapping[str, Entry]:
        stored = self.alone().graph.initializer
        return {tensor.name: Entry("", tuple(tensor.dims), 0) for tensor in stored}

    def manifest_text(self) -> str:
        from portable_nn.onnx.storage.metadata import MANIFEST

        if MANIFEST not in self._metadata:
            raise UsageError(f"{self.path}: has no manifest: ONNX files have one if portable-nn wrote them")
        return self._metadata[MANIFEST]

    def source(self, options: ConvertOptions) -> ReadNetwork:
        from portable_nn.onnx.opsets.support import opset_of
        from portable_nn.onnx.storage.metadata import DIGEST

        network, proof, notes = self._imported(**options.proof, lazy=True)
        digest = self._metadata[DIGEST] if self._origin.state == "own" else ""
        opset = opset_of(self.model, str(self.path))
        manifest, arrays = network.manifest(), network.parameters.arrays
        return ReadNetwork(self.path, manifest, arrays, digest, proof, proof.recorded, opset, (), notes)

    @classmethod
    def write(cls, path: Path, source: ReadNetwork, options: ConvertOptions) -> WrittenNetwork:
        from portable_nn.converters.onnx.adapting import outside
        from portable_nn.converters.onnx.exporting import write_onnx
        from portable_nn.onnx.storage.files import read_alone
        from portable_nn.onnx.storage.metadata import DIGEST, metadata_of
        from portable_nn.onnx.verify import Tolerance

        network = remade(source.manifest, source.tensors)
        # As it is: what is read back must be the same network.
        tolerance = Tolerance(options.atol, options.rtol)
        report = write_onnx(
            network,
            path,
            opset=options.opset,
            verify=options.verify,
            tolerance=tolerance,
            seed=options.seed,
            io=options.io,
        )
        files = (path, report.data) if report.data else (path,)
        notes = report.notes if options.verify else outside(network)  # Then ``convert`` says that nothing was verified.
        proof, digest = report.outputs, metadata_of(read_alone(path))[DIGEST]
        return WrittenNetwork(files, digest, proof, proof.recorded, report.opset, report.ir_version, notes)

    @classmethod
    def read_back(cls, written: WrittenNetwork) -> Manifest:
        from portable_nn.converters.onnx import read_onnx

        if len(written.files) > 1:
            return _one_by_one(written.files[0])
        network, _, notes = read_onnx(written.files[0], verify=False)
        if notes:
            raise FormatError(written.files[0], notes[0])
        return network.manifest()


def _one_by_one(path: Path) -> Manifest:
    """The manifest in a model, with the digests of its initializers, of which no more than one is in memory."""
    from onnx import TensorProto

    from portable_nn.onnx.storage.external import load_external
    from portable_nn.onnx.storage.files import read_alone
    from portable_nn.onnx.storage.metadata import MANIFEST, metadata_of
    from portable_nn.onnx.storage.tensors import from_tensor

    found, model = dict[str, str](), read_alone(path)
    manifest = decode(metadata_of(model)[MANIFEST].encode(), str(path))
    known = {value.name: value for value in manifest.tensors}
    for stored in model.graph.initializer:
        tensor = deepcopy(stored)
        if tensor.data_location == TensorProto.EXTERNAL:
            load_external(tensor, path)
        value = known.get(stored.name, Value(stored.name, "", ()))
        found |= hashes({stored.name: from_tensor(tensor, str(path))}, [value])[SHA256]
    return msgspec.structs.replace(manifest, digests=found)
