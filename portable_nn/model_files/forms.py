"""The kinds of files that hold whole networks, each with the same four functions: what ``convert`` is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from msgspec.structs import replace

from portable_nn.converters import npz
from portable_nn.core.errors import FormatError
from portable_nn.format import CARRIERS, has_manifest, load, save
from portable_nn.format.manifest import Manifest, decode
from portable_nn.format.tensors import DIGEST, ITEM_SIZES, Array, hashes
from portable_nn.model_files.resolve import ONNX
from portable_nn.network import Network

if TYPE_CHECKING:
    from onnx import ModelProto

    from portable_nn.onnx.verify import Difference

OPSET: Final = 17
"""The version of the operators that ONNX files are written with where nothing else is asked for."""

_NOTHING: Final[Mapping[str, Difference]] = MappingProxyType({})


class Source(NamedTuple):
    """A network that was read from a file.

    Args:
        path: the file.
        manifest: what is said of the network; without hashes where the file has none.
        tensors: the arrays of ``manifest.tensors``, each read when it is asked for where the file allows that.
        digest: that of the network in the file; empty where the file has none.
        outputs: how far apart two engines are on it, where they were compared.
        recorded: how far they are from what another program has recorded.
        opset: of an ONNX file, the version of its operators.
        left_behind: what else the file holds, in words.
        notes: what was read otherwise than it is written.
    """

    path: Path
    manifest: Manifest
    tensors: Mapping[str, Array]
    digest: str = ""
    outputs: Mapping[str, Difference] = _NOTHING
    recorded: Mapping[str, Difference] = _NOTHING
    opset: int | None = None
    left_behind: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The bytes of all tensors."""
        return sum(ITEM_SIZES[value.dtype] * math.prod(map(int, value.shape)) for value in self.manifest.tensors)


class Written(NamedTuple):
    """What was written: the files, the network's digest, how far apart two engines are on it, and what else to know."""

    files: tuple[Path, ...]
    digest: str
    outputs: Mapping[str, Difference] = _NOTHING
    recorded: Mapping[str, Difference] = _NOTHING
    opset: int | None = None
    ir_version: int | None = None
    notes: tuple[str, ...] = ()


class Options(NamedTuple):
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


class Form(Protocol):
    """What a kind of file must have to be one."""

    holds_training: bool

    def is_own(self, path: Path) -> bool:
        """Whether the file holds a network, or begins as those do that hold one. Raises ``FileError``."""

    def read(self, path: Path, options: Options) -> Source:
        """The network in the file. Raises ``FileError``, ``FormatError``, and of ONNX whatever ``read_onnx`` raises."""

    def write(self, path: Path, source: Source, options: Options) -> Written:
        """Write the network; raises ``FileError``, ``UsageError``, and of ONNX whatever ``export_onnx`` raises."""

    def read_back(self, written: Written) -> Manifest:
        """What the file says, with the digests of the bytes that are in it. Raises ``FormatError``."""


class _WeightFile:
    """The carriers of the weight file."""

    holds_training = True

    def is_own(self, path: Path) -> bool:
        return has_manifest(path)

    def read(self, path: Path, options: Options) -> Source:
        contents = load(path, lazy=True)
        return Source(path, contents.manifest, contents.tensors, contents.digest)

    def write(self, path: Path, source: Source, options: Options) -> Written:
        return Written((path,), save(path, source.manifest, source.tensors))

    def read_back(self, written: Written) -> Manifest:
        # With the digest that it must have, tensors are checked by their SHA-256.
        return load(written.files[0], lazy=True, verify="eager", digest=written.digest).manifest


class _Npz:
    """Archives of arrays that begin with a manifest."""

    holds_training = False

    def is_own(self, path: Path) -> bool:
        return npz.has_manifest(path)

    def read(self, path: Path, options: Options) -> Source:
        contents = npz.read_contents(path, lazy=True)
        return Source(path, contents.manifest, contents.tensors, contents.digest)

    def write(self, path: Path, source: Source, options: Options) -> Written:
        return Written((path,), npz.write_contents(path, source.manifest, source.tensors))

    def read_back(self, written: Written) -> Manifest:
        return npz.read_contents(written.files[0], lazy=True).manifest


class _Onnx:
    """ONNX files, of this package and of others."""

    holds_training = False

    def is_own(self, path: Path) -> bool:
        return True

    def read(self, path: Path, options: Options) -> Source:
        from portable_nn.converters.onnx import read_onnx
        from portable_nn.onnx.files import read_alone
        from portable_nn.onnx.support import opset_of

        network, outputs, notes = read_onnx(path, **options.proof)
        model = read_alone(path)
        _, digest = _stored(model)
        if notes:  # Then the manifest in it, if there is one, is not believed.
            digest = ""
        opset = opset_of(model, str(path))
        return Source(path, network.manifest(), network.parameters, digest, outputs, outputs.recorded, opset, (), notes)

    def write(self, path: Path, source: Source, options: Options) -> Written:
        from portable_nn.converters.onnx import export_onnx
        from portable_nn.onnx.files import read_alone

        manifest = source.manifest
        network = Network.from_graph(
            manifest.graph,
            source.tensors,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            metadata=manifest.metadata,
            documentation=manifest.documentation,
            copy=False,
        )
        report = export_onnx(network, path, opset=options.opset, **options.proof)
        _, digest = _stored(read_alone(path))
        files = (path, report.data) if report.data else (path,)
        notes = report.notes if options.verify else ()  # Then ``convert`` itself says that nothing was verified.
        proof = report.outputs
        return Written(files, digest, proof, proof.recorded, report.opset, report.ir_version, notes)

    def read_back(self, written: Written) -> Manifest:
        from portable_nn.converters.onnx import read_onnx

        if len(written.files) > 1:
            return _one_by_one(written.files[0])
        network, _, notes = read_onnx(written.files[0], verify=False)
        if notes:
            raise FormatError(written.files[0], notes[0])
        return network.manifest()


def _stored(model: ModelProto) -> tuple[str, str]:
    """The manifest's text and its digest in the metadata of a model; empty where there are none."""
    from portable_nn.onnx.metadata import DIGEST, MANIFEST, metadata_of

    metadata = metadata_of(model)
    return metadata.get(MANIFEST, ""), metadata.get(DIGEST, "")


def _one_by_one(path: Path) -> Manifest:
    """The manifest in a model, with the digests of its initializers, of which no more than one is in memory."""
    from onnx import TensorProto

    from portable_nn.onnx.external import load_external
    from portable_nn.onnx.files import read_alone
    from portable_nn.onnx.tensors import from_tensor

    model, found = read_alone(path), dict[str, str]()
    for stored in model.graph.initializer:
        tensor = TensorProto()
        tensor.CopyFrom(stored)
        if tensor.data_location == TensorProto.EXTERNAL:
            load_external(tensor, path)
        found |= hashes({stored.name: from_tensor(tensor, str(path))})[DIGEST]
    text, _ = _stored(model)
    return replace(decode(text.encode(), str(path)), digests=found)


FORMS: Final[Mapping[str, Form]] = {
    **dict.fromkeys(CARRIERS, _WeightFile()),
    npz.SUFFIX: _Npz(),
    ONNX: _Onnx(),
}
"""The kinds by the suffix of their files."""
