"""The manifest: everything in a weight file except the tensors' numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import force_setattr

from portable_nn.core.errors import FormatError, UsageError
from portable_nn.core.graph import OPSET, Graph, Tensor, Value, all_nodes
from portable_nn.core.jsons import LONGEST, JsonError, typed, typed_json
from portable_nn.core.text import printable, said
from portable_nn.core.version import __version__
from portable_nn.format import canonical
from portable_nn.format.documentation import Documentation
from portable_nn.format.meaning import InputInfo, OutputInfo, has_floats
from portable_nn.format.migrations import migrate
from portable_nn.format.packed import stored
from portable_nn.format.training import TrainingRecord
from portable_nn.operators import find
from portable_nn.operators.narrow import NARROW_SINCE, narrow_type

FORMAT: Final = "portable-nn"
VERSION: Final = 4
"""The newest version."""

OLDEST_WRITTEN: Final = 3
"""The oldest version that is written. From it on, manifests have the same fields."""

PRODUCER: Final = f"{FORMAT} {__version__}"

MAX_BYTES: Final = 16 * 2**20
"""The longest manifest, in bytes. A network of a thousand nodes needs a few hundredths of it."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The description of one network. The fields are explained in SPEC.md, section "The manifest".

    ``digests`` gives for each tensor the SHA-256 of its little-endian, row-major bytes, ``checksums`` their XXH3-128,
    both in hexadecimal. They may be empty in a manifest that is passed to ``save``, which computes them.
    ``documentation`` is omitted where it is empty. ``version`` is by default the one that is written.
    """

    graph: Graph
    inputs: tuple[InputInfo, ...]
    outputs: tuple[OutputInfo, ...]
    metadata: dict[str, str] = {}
    digests: dict[str, str] = {}
    checksums: dict[str, str] = {}
    training: TrainingRecord | None = None
    documentation: Documentation | msgspec.UnsetType = msgspec.UNSET
    producer: str = PRODUCER
    opset: int = OPSET
    format: str = FORMAT
    version: int = 0

    def __post_init__(self) -> None:
        """Set the version, unless it is that of a file."""
        if not self.version:
            force_setattr(self, "version", self.needed_version)

    @property
    def needed_version(self) -> int:
        """The lowest version that can hold this, of those that are written."""
        own = [find(node.operator, node.domain) for node in self.graph.nodes]
        few = any(map(narrow_type, self.graph.nodes)) or any(value.packed for value in self.graph.parameters)
        return max([NARROW_SINCE if few else OLDEST_WRITTEN, *(operator.stored for operator in own if operator)])

    @property
    def numbers(self) -> set[str]:
        """The names of the trainable parameters, which must be finite."""
        return {value.name for value in self.graph.parameters if value.trainable}

    @property
    def remarks(self) -> Documentation:
        """The documentation; an empty one where it is omitted."""
        return self.documentation if isinstance(self.documentation, Documentation) else Documentation()

    @property
    def tensors(self) -> tuple[Value, ...]:
        """All tensors of the file: the graph's parameters, then the state of an unfinished training."""
        return self.graph.parameters + (self.training.tensors if self.training else ())

    @property
    def stored(self) -> tuple[Value, ...]:
        """All tensors as a carrier has them: those that are packed are of bytes."""
        return tuple(map(stored, self.tensors))


class Text(NamedTuple):
    """The canonical text of a manifest, and its SHA-256 in hexadecimal: the digest of the network."""

    data: bytes
    digest: str

    @classmethod
    def of(cls, data: bytes) -> Text:
        """With its digest."""
        return cls(data, hashlib.sha256(data).hexdigest())


class _Envelope(msgspec.Struct):
    """The two fields that every version of the format has. Other fields are ignored."""

    format: str | None = None
    version: int | float | str | bool | None = None


def normalised(manifest: Manifest) -> Manifest:
    """``manifest`` as a reader gets it: an integer in a float field becomes a float, a list a tuple.

    Raises:
        UsageError: a field has a value of the wrong type.
    """
    try:
        return typed(msgspec.to_builtins(manifest), Manifest)
    except JsonError as error:
        raise UsageError(f"the manifest cannot be saved: {error}") from error
    except (TypeError, ValueError) as error:
        reason = f"it holds an object that JSON has no form for {said(error)}"
        raise UsageError(f"the manifest cannot be saved: {reason}") from error


def encode(manifest: Manifest) -> bytes:
    """The canonical JSON text of ``manifest``.

    Raises:
        UsageError: it contains a number or a text that JSON cannot represent, or is longer than ``MAX_BYTES``.
    """
    try:
        data = _dumps(manifest)
    except ValueError as error:
        raise UsageError(f"the manifest cannot be written as JSON in UTF-8 {said(error)}") from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"the manifest is {len(data)} bytes long; at most {MAX_BYTES} are allowed")
    return data


def hashes_text(checksums: Mapping[str, str], digests: Mapping[str, str]) -> bytes:
    """The beginning of the text of a manifest with these hashes, which are its first fields."""
    return canonical.dumps_without_floats({"checksums": checksums, "digests": digests})[:-1]


def _dumps(manifest: Manifest) -> bytes:
    """Its canonical text, in the faster way where it has no floats. Raises ``ValueError``."""
    if not _has_floats(manifest):
        with suppress(OverflowError):  # Integers beyond 64 bits.
            return canonical.dumps_without_floats(manifest)
    return canonical.dumps(manifest)


def _has_floats(manifest: Manifest) -> bool:
    """True if the manifest may have a float."""
    if manifest.training or has_floats(manifest.inputs, manifest.outputs):
        return True
    values = [value for node in all_nodes(manifest.graph) for value in node.attributes.values()]
    items = (value.data if isinstance(value, Tensor) else value for value in values)
    return any(type(item) is float or (isinstance(item, tuple) and float in map(type, item)) for item in items)


def decode(data: bytes, where: str, *, since: int = 1) -> Manifest:
    """The manifest whose canonical text is ``data``; ``where`` names the file in messages.

    ``since`` is the version of the format that introduced the carrier of the file.

    Raises:
        FormatError: another format or version, a field that is missing, unknown or of another type, or a text that
            is not canonical.
    """
    if len(data) > MAX_BYTES:
        raise FormatError(where, f"the manifest is {len(data)} bytes long; at most {MAX_BYTES} are allowed")
    try:
        version = _check_version(typed_json(data, _Envelope), where)
        current = data if version >= OLDEST_WRITTEN else _migrated(data, version)
        manifest = typed_json(current, Manifest)
        text = _dumps(manifest)
    except ValueError as error:
        raise FormatError(where, f"the manifest is malformed: {error}") from error
    if text != current:
        raise FormatError(where, f"the manifest is not canonical JSON: {canonical.difference(text, current)}")
    if version < since:
        raise FormatError(where, f"says that it has version {version} of the format, but such files came with {since}")
    return manifest


def _migrated(data: bytes, version: int) -> bytes:
    """The text of an older manifest in the current version; raises ``ValueError`` where it is not canonical."""
    fields = typed_json(data, dict[str, Any])
    if (text := canonical.dumps(fields)) != data:
        raise ValueError(f"it is not canonical JSON: {canonical.difference(text, data)}")
    return canonical.dumps(migrate(fields, version, OLDEST_WRITTEN))


def checked(data: bytes, digest: str | None, where: str) -> Text:
    """The text of a manifest. Raises ``FormatError`` where its SHA-256 is not the stored ``digest``."""
    text = Text.of(data)
    if digest != text.digest:
        said = printable(digest[: len(text.digest)]) if digest else digest
        raise FormatError(where, f"the manifest is damaged: its SHA-256 is {text.digest}, but the header says {said}")
    return text


def _check_version(envelope: _Envelope, where: str) -> int:
    """The first of all checks: in another version, the same fields may have other meanings."""
    if envelope.format != FORMAT:
        raise FormatError(
            where, f"the manifest's format is {printable(repr(envelope.format), LONGEST)}, not {FORMAT!r}"
        )
    version = envelope.version
    if type(version) is not int or version < 1:
        reason = f"the format version must be a whole number from 1, not {printable(repr(version), LONGEST)}"
        raise FormatError(where, reason)
    if version > VERSION:
        raise FormatError(
            where,
            f"the file has version {version} of the format, and this portable-nn reads up to version {VERSION}: "
            "pip install --upgrade portable-nn",
        )
    return version
