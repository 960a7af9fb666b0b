"""The manifest: all that a weight file says of its network except the numbers themselves."""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal

import msgspec

from portable_nn import __version__
from portable_nn.data.preprocessing import Preprocessing
from portable_nn.errors import FormatError, UsageError
from portable_nn.format import canonical
from portable_nn.format.migrations import migrate
from portable_nn.format.training import Training
from portable_nn.graph import OPSET, Graph, Value

FORMAT: Final = "portable-nn"
VERSION: Final = 2
PRODUCER: Final = f"{FORMAT} {__version__}"

MAX_BYTES: Final = 16 * 2**20
"""The longest manifest. A network of a thousand nodes needs a few hundredths of it."""


class InputInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a graph input is, and the steps that make it from an image or a table as people keep them."""

    name: str
    kind: Literal["tensor", "image", "table"] = "tensor"
    preprocessing: Preprocessing = ()


class OutputInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a graph output means: one label for each entry of its last dimension, or none; a unit, or ``""``."""

    name: str
    kind: Literal["values", "logits", "binary_logits", "probabilities"] = "values"
    labels: tuple[str, ...] = ()
    unit: str = ""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The description of one network. The fields are explained in SPEC.md, section "The manifest".

    ``digests`` gives for each tensor the SHA-256 of its little-endian, row-major bytes, ``checksums`` their XXH3-128,
    both in hexadecimal. Whoever makes a manifest leaves them empty; saving fills them in.
    """

    graph: Graph
    inputs: tuple[InputInfo, ...]
    outputs: tuple[OutputInfo, ...]
    metadata: dict[str, str] = {}
    digests: dict[str, str] = {}
    checksums: dict[str, str] = {}
    training: Training | None = None
    producer: str = PRODUCER
    opset: int = OPSET
    format: str = FORMAT
    version: int = VERSION

    @property
    def tensors(self) -> tuple[Value, ...]:
        """All that the carrier holds: the graph's parameters, then the state of an unfinished training."""
        return self.graph.parameters + (self.training.tensors if self.training else ())


class _Envelope(msgspec.Struct):
    """The two fields that every version of the format has. Other fields are passed over."""

    format: str | None = None
    version: int | float | str | bool | None = None


def normalised(manifest: Manifest) -> Manifest:
    """``manifest`` as a reader will get it: a whole number in a float field becomes a float, a list a tuple.

    Raises:
        UsageError: a field holds what its type does not allow.
    """
    try:
        return msgspec.convert(msgspec.to_builtins(manifest), Manifest)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the manifest cannot be saved: {error}") from error


def encode(manifest: Manifest) -> bytes:
    """The canonical JSON text of ``manifest``.

    Raises:
        UsageError: it has a number or a text that JSON cannot hold, or is longer than ``MAX_BYTES``.
    """
    try:
        data = canonical.dumps(manifest)
    except ValueError as error:
        raise UsageError(f"the manifest cannot be written as JSON: {error}") from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"the manifest is {len(data)} bytes long; at most {MAX_BYTES} are allowed")
    return data


def decode(data: bytes, where: str) -> Manifest:
    """The manifest whose canonical text is ``data``; ``where`` names the file in messages.

    Raises:
        FormatError: another format or version, a field that is missing, unknown or of another type, or a text that
            is not the canonical one.
    """
    if len(data) > MAX_BYTES:
        raise FormatError(where, f"the manifest is {len(data)} bytes long; at most {MAX_BYTES} are allowed")
    try:
        version = _check_version(canonical.loads(data, _Envelope), where)
        current = data if version == VERSION else _migrated(data, version)
        manifest = canonical.loads(current, Manifest)
        text = canonical.dumps(manifest)
    except ValueError as error:
        raise FormatError(where, f"the manifest is malformed: {error}") from error
    if text != current:
        raise FormatError(where, f"the manifest is not canonical JSON: {canonical.difference(text, current)}")
    return manifest


def _migrated(data: bytes, version: int) -> bytes:
    """The text of an older manifest as one of the present version; raises ``ValueError`` where it is not canonical."""
    fields = canonical.loads(data, dict[str, Any])
    if (text := canonical.dumps(fields)) != data:
        raise ValueError(f"it is not canonical JSON: {canonical.difference(text, data)}")
    return canonical.dumps(migrate(fields, version, VERSION))


def check_manifest(text: bytes, digest: str | None, where: str) -> None:
    """Raise ``FormatError`` where the text of a manifest does not have the ``digest`` that stands beside it."""
    found = hashlib.sha256(text).hexdigest()
    if digest != found:
        said = canonical.printable(digest[: len(found)]) if digest else digest
        raise FormatError(where, f"the manifest is damaged: its SHA-256 is {found}, but the header says {said}")


def _check_version(envelope: _Envelope, where: str) -> int:
    """First of all checks: the fields of another version may mean other things."""
    if envelope.format != FORMAT:
        found = canonical.printable(repr(envelope.format))
        raise FormatError(where, f"the manifest's format is {found}, not {FORMAT!r}")
    version = envelope.version
    if type(version) is not int or version < 1:
        said = canonical.printable(repr(version))
        raise FormatError(where, f"the format version must be a whole number from 1, not {said}")
    if version > VERSION:
        raise FormatError(
            where,
            f"the file has version {version} of the format, and this portable-nn reads up to version {VERSION}: "
            "pip install --upgrade portable-nn",
        )
    return version
