"""The interface of each kind of model file."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

from portable_nn.analysis.report import Finding, Level, Report
from portable_nn.analysis.survey import Surveyor, survey_graph
from portable_nn.core.binding import Sizes
from portable_nn.core.errors import FormatError, UsageError
from portable_nn.core.files import open_regular
from portable_nn.core.graph import Parameter
from portable_nn.core.names import Engine
from portable_nn.format import as_digest
from portable_nn.format.manifest import Manifest
from portable_nn.inspection import Inspection, inspect_manifest
from portable_nn.inspection.rows import bytes_of, sizes_of
from portable_nn.network import Network
from portable_nn.opening.carried import ConvertOptions, ReadNetwork, WrittenNetwork
from portable_nn.opening.runners import Runnable, network_runnable
from portable_nn.plain import Entry


class ModelFile(ABC):
    """A model file, opened: read and parsed once, when something of it is first asked for.

    Args:
        path: the file.
        digest: the digest that a weight file must have, or the SHA-256 of an ONNX file; any other is refused.
        edited: whether an ONNX file of this package may have been changed, as ``read_onnx`` has it.
    """

    suffixes: ClassVar[Collection[str]]
    """The suffixes of such files, in lower case."""

    def __init__(self, path: Path, *, digest: str | None = None, edited: bool = False) -> None:
        self.path, self.digest, self.edited = path, digest, edited

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """True if a file is of this kind. Raises ``FileError`` where its contents decide and cannot be read."""
        return path.suffix.lower() in cls.suffixes

    @abstractmethod
    def inspection(self) -> Inspection:
        """The contents of the file. Raises ``FileError`` or ``FormatError``."""

    @abstractmethod
    def entries(self) -> Mapping[str, Entry]:
        """The tensors in the file by name, without those of a training."""

    @abstractmethod
    def manifest_text(self) -> str:
        """The text of the manifest in the file. Raises ``UsageError`` where there is none."""


class NetworkFile(ModelFile):
    """A file that holds a network: a subclass says which, and what is faster or better known for its kind."""

    nonfinite: ClassVar[Level] = "error"
    """The level of findings of weights with NaN or infinities."""

    @cached_property
    @abstractmethod
    def network(self) -> Network:
        """The network. Raises ``FileError``, ``FormatError``, and ``UnsupportedError`` for unknown operators."""

    def proved_network(self, **proof: Any) -> Network:
        """The network, after both engines have agreed on it where another program wrote the file.

        ``proof`` are options of ``read_onnx``: ``verify``, ``atol``, ``rtol``, ``seed``.
        """
        return self.network

    def inspection(self) -> Inspection:
        """The rows of its graph and parameters."""
        return inspect_manifest(self.network.manifest(hashed=False))

    def runnable(self, name: str, engine: Engine) -> Runnable:
        """The model ready to run, with all of its inputs and outputs."""
        return network_runnable(self.network, name, engine)

    def survey(self) -> Surveyor:
        """The model ready to be analysed. Raises ``FormatError`` with ``faults`` where it contradicts itself."""
        return partial(survey_graph, self.network.graph, self.network.parameters)

    def standard_findings(self) -> Iterable[Finding]:
        """The findings of the format's own checker, if there is one."""
        return ()

    def agreed(self, report: Report, inputs: Sizes) -> Report:
        """``report`` on inputs of these sizes, as far as what else reads the file agrees."""
        return report

    def entries(self) -> Mapping[str, Entry]:
        """Its parameters by name."""
        return {each.name: Entry(each.dtype, sizes_of(each), bytes_of(each)) for each in self.parameters()}

    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters of its graph."""
        return self.network.graph.parameters

    def manifest_text(self) -> str:
        """The text of the manifest in the file. Raises ``UsageError`` where there is none."""
        raise UsageError(f"{self.path}: has no manifest: another program wrote it")

    def source(self, options: ConvertOptions) -> ReadNetwork:
        """The network in the file. Raises ``FileError``, ``FormatError``, and of ONNX what ``read_onnx`` raises."""
        return ReadNetwork(self.path, self.network.manifest(), self.network.parameters.arrays)


class WritableFile(NetworkFile):
    """A file that ``convert`` can write as well."""

    holds_training: ClassVar[bool]
    """True if a file of this kind can hold the state of a training."""

    @classmethod
    @abstractmethod
    def write(cls, path: Path, source: ReadNetwork, options: ConvertOptions) -> WrittenNetwork:
        """Write a network. Raises ``FileError``, ``UsageError``, and of ONNX what ``export_onnx`` raises."""

    @classmethod
    @abstractmethod
    def read_back(cls, written: WrittenNetwork) -> Manifest:
        """The manifest in a written file, with the digests of the bytes in it. Raises ``FormatError``."""


def expected_bytes(path: Path, digest: str) -> bytes:
    """The bytes of a file whose SHA-256 is ``digest``.

    Raises:
        UsageError: the digest cannot be one.
        FileError: the file cannot be read.
        FormatError: its bytes have another SHA-256.
    """
    expected = as_digest(digest)
    with open_regular(path) as file:
        data = file.read()
    if (found := hashlib.sha256(data).hexdigest()) != expected:
        raise FormatError(path, f"is another model: its SHA-256 is {found}, and {expected} was expected")
    return data
