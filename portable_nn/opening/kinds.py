"""Opening a model by the name of a shipped one or the path of a file, whatever its kind.

``KINDS`` is the only place that knows which files are models: a kind is a module with its class, and a row here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from portable_nn.catalog import CALLED, find_model
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import FileError, UsageError
from portable_nn.core.private import private_folder
from portable_nn.core.text import either, suggestion
from portable_nn.format import has_manifest
from portable_nn.inspection import Inspection
from portable_nn.inspection.rows import TensorRow
from portable_nn.network import Network
from portable_nn.opening.model_file import ModelFile, NetworkFile, WritableFile, expected_bytes
from portable_nn.opening.onnx_file import OnnxFile
from portable_nn.opening.weight_file import WeightFile
from portable_nn.plain import KINDS as ARRAYS
from portable_nn.plain import Entry, open_tensors

PROOF: Final = ("verify", "atol", "rtol", "seed")


class ForeignFile(NetworkFile):
    """A file that a converter reads as a whole network, such as ``.keras``; the table of converters says which."""

    suffixes = ()
    nonfinite = "warning"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        from portable_nn.converters.registry import reader_of

        return path.suffix.lower() not in {"", *ARRAYS} and reader_of(path) is not None

    @cached_property
    def network(self) -> Network:
        return self._read(verify=False)

    def proved_network(self, **proof: Any) -> Network:
        return self._read(**{name: value for name, value in proof.items() if name in PROOF})

    def _read(self, **options: Any) -> Network:
        from portable_nn.converters.registry import reader_of

        found = reader_of(self.path)
        assert found is not None
        if self.digest is None:
            return found[1](self.path, **options).network
        with private_folder(self.path.parent) as place:  # The bytes that have the digest are those that are read.
            copy = place / self.path.name
            copy.write_bytes(expected_bytes(self.path, self.digest))
            return found[1](copy, **options).network


class ArraysFile(ModelFile):
    """A file of arrays: it can be inspected and compared, and a model can take its weights from it."""

    suffixes = ARRAYS.keys()

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


__all__ = ["load_model"]

KINDS: Final[tuple[type[ModelFile], ...]] = (ArraysFile, WeightFile, OnnxFile, ForeignFile)
"""Every kind of model file. The first one that recognises a file opens it."""

NETWORKS: Final[Mapping[str, type[NetworkFile]]] = {
    suffix: kind for kind in KINDS if issubclass(kind, NetworkFile) for suffix in kind.suffixes
}
"""The kinds that hold networks, by the suffix of their files."""

WRITABLE: Final[Mapping[str, type[WritableFile]]] = {
    suffix: kind for suffix, kind in NETWORKS.items() if issubclass(kind, WritableFile)
}
"""Those of them that ``convert`` writes."""

_SUFFIXES: Final = frozenset(suffix for kind in KINDS for suffix in kind.suffixes)


def is_known(path: Path) -> bool:
    """True if a name ends as that of some kind of file does."""
    return path.suffix.lower() in _SUFFIXES or ForeignFile.recognises(path)


def resolve(model: str | Path) -> Path:
    """The file of a network: a weight file or an ONNX file. The name of a shipped model takes precedence.

    Raises:
        UsageError: no model has that name, or the file's name does not end as those of models do.
        FileError: there is no such file.
    """
    if model in CALLED:
        return CALLED[str(model)].weights
    path = Path(model)
    if _kind_of(path) is None:
        raise UsageError(_unknown(path))
    if not path.exists():
        raise FileError(path, "does not exist")
    return path


def open_model(model: str | Path, *, digest: str | None = None, edited: bool = False) -> NetworkFile:
    """A shipped model, a weight file or an ONNX file, opened.

    Args:
        model: its name or its path.
        digest: the digest that a weight file must have, or the SHA-256 of an ONNX file; any other is refused.
        edited: whether an ONNX file of this package may have been changed, as ``read_onnx`` has it.

    Raises ``UsageError`` and ``FileError`` as ``resolve`` does.
    """
    path = resolve(model)
    kind = _kind_of(path)
    assert kind is not None
    return kind(path, digest=digest, edited=edited)


def _kind_of(path: Path) -> type[NetworkFile] | None:
    """The kind of a file that holds a network, by its name."""
    known = NETWORKS.get(path.suffix.lower())
    return known or (ForeignFile if ForeignFile.recognises(path) else None)


def path_of(model: str | Path) -> Path:
    """The file of what ``open_any`` opens, of which nothing is read. Raises ``UsageError`` and ``FileError``."""
    path = Path(model)
    if model in CALLED or not is_known(path):
        path = resolve(model)
    if not path.exists():
        raise FileError(path, "does not exist")
    return path


def open_any(model: str | Path, *, edited: bool = False) -> ModelFile:
    """As ``open_model``, and files of arrays as well."""
    path = path_of(model)
    return next(kind for kind in KINDS if kind.recognises(path))(path, edited=edited)


def open_network(model: str | Path, *, digest: str | None = None) -> Network:
    """The network of a shipped model, a weight file or an ONNX file; of a foreign one, after both engines agree on it.

    Raises ``UsageError``, ``FileError``, ``FormatError``, and ``UnsupportedError`` where an ONNX file uses operators
    that this package does not have.
    """
    return open_model(model, digest=digest).proved_network()


@check_kinds
def load_model(name: str) -> Network:
    """The network of a shipped model: ``load_model("digits")``. Raises ``UsageError`` for an unknown name."""
    return WeightFile(find_model(name).weights).network


def _unknown(path: Path) -> str:
    """The message for a name that is neither that of a shipped model nor the path of a model file."""
    suffixes = either(NETWORKS)
    if path == Path():
        return f"a model is called by its name or that of its file, which ends in {suffixes}; none is given"
    if path.exists():
        how = "portable-nn import reads files of other programs"
        if path.suffix in (".pt", ".pth", ".bin"):
            how = 'of PyTorch, pnn.read_torch(module, example).network.save("mine.safetensors") writes one in Python'
        return f"{path}: expected a model, whose name ends in {suffixes}; {how}"
    meant = suggestion(str(path), CALLED) or f"shipped are {', '.join(CALLED)}; files end in {suffixes}"
    return f"no model is called '{path}': {meant}"
