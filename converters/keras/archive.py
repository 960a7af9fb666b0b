"""A ``.keras`` archive: its two texts and its weights, read without Keras and without running anything.

Such a file is a zip archive of ``config.json``, ``metadata.json`` and ``model.weights.h5``. No member is unpacked under
a name that the archive gives; sizes are compared with what is stored before memory or disk is used.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple, TypeAlias

from portable_nn.core.errors import FileError, FormatError, UnsupportedError
from portable_nn.core.files import kind_fault, open_regular, refuse
from portable_nn.core.jsons import parsed_json
from portable_nn.core.limits import UNPACKED, excess
from portable_nn.core.tensors import NamedArrays
from portable_nn.core.text import said
from portable_nn.plain import open_tensors
from portable_nn.plain.npz import ERRORS, member_faults

Json: TypeAlias = dict[str, Any]

CONFIG: Final = "config.json"
METADATA: Final = "metadata.json"
WEIGHTS: Final = "model.weights.h5"

MAX_TEXT: Final = 2**26
"""The longest text, in bytes: about 50,000 layers."""

MAX_DEPTH: Final = 100
"""The depth to which objects and lists may be nested: a model in a model takes about ten."""

MAX_MEMBERS: Final = 1000

_ERRORS: Final = tuple(set(ERRORS) - {OSError})
"""The errors of zipfile for damaged archives; another one is of the disk to which weights are unpacked."""


class Archive(NamedTuple):
    """The contents of a ``.keras`` file.

    Attributes:
        config: the configuration of the model.
        version: the version of Keras that wrote it; empty where it is not said.
        weights: the file of its weights, which lasts as long as the block that opened the archive; ``None`` where there
            is none.
    """

    config: Json
    version: str
    weights: Path | None


@contextmanager
def opened(path: str | Path) -> Iterator[Archive]:
    """The archive at ``path``, after all of it has been checked but the contents of the weights.

    Raises:
        FileError: the file cannot be read.
        FormatError: it is damaged or hostile.
        UnsupportedError: it is one of another kind, such as a folder that TensorFlow saved.
    """
    if Path(path).is_dir():
        raise UnsupportedError(path, "is a folder, such as TensorFlow's SavedModel: save the model as a .keras file")
    with open_regular(path) as file, tempfile.TemporaryDirectory(prefix="portable-nn-") as folder:
        head = file.read(4)
        if head != b"PK\x03\x04":
            file.seek(0)
            head = file.read(512)
            if head.startswith(b"\x89HDF"):
                raise UnsupportedError(
                    path,
                    "is an HDF5 file, as Keras wrote models before version 3: load it in Keras, and save it as a "
                    ".keras file; read_keras_weights reads the weights of a .weights.h5 file",
                )
            raise FormatError(path, kind_fault(head, "is not a zip archive, as .keras files are"))
        try:
            archive = zipfile.ZipFile(file)
            members = archive.infolist()
            size = os.fstat(file.fileno()).st_size
            refuse(str(path), list(_faults(members, size)))
            config = parsed(_text(archive, CONFIG), path, CONFIG)
            metadata = parsed(_text(archive, METADATA), path, METADATA) if METADATA in archive.namelist() else {}
            weights = _unpacked(archive, Path(folder)) if WEIGHTS in archive.namelist() else None
        except _ERRORS as error:
            raise FormatError(path, f"the archive is damaged {said(error)}") from error
        version = metadata.get("keras_version")
        yield Archive(config, version if isinstance(version, str) else "", weights)


def _faults(members: Sequence[zipfile.ZipInfo], size: int) -> Iterator[str]:
    """The faults that the central directory shows: members that are missing, several times there, outside, too large,
    …"""
    names = {info.filename for info in members}
    if len(members) > MAX_MEMBERS:
        yield f"holds {len(members)} members; at most {MAX_MEMBERS} are allowed"
        return
    yield from (f"{info.filename!r} {fault}" for info in members if (fault := _fault(info, size)))
    yield from member_faults(members, lambda info: info.filename)
    if CONFIG not in names:
        yield f"it has no {CONFIG}: it is not a file that Keras 3 saved"
    if "model.weights.npz" in names and WEIGHTS not in names:
        yield f"its weights are in model.weights.npz; {WEIGHTS} is what model.save writes"


def _fault(info: zipfile.ZipInfo, size: int) -> str | None:
    place = PurePosixPath(info.filename.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or ":" in info.filename:
        return "names a place outside of the archive"
    if place.parts[:1] not in {(CONFIG,), (METADATA,), (WEIGHTS,), ("assets",), ("model.weights.npz",)}:
        return f"is none of {CONFIG}, {METADATA}, {WEIGHTS} and assets"
    if place.name != WEIGHTS and info.file_size > MAX_TEXT and place.parts[0] != "assets":
        return f"has {info.file_size} bytes; at most {MAX_TEXT} are allowed"
    if fault := excess(info.file_size, info.compress_size, UNPACKED):
        return fault
    return f"has {info.compress_size} bytes, more than the file" if info.compress_size > size else None


def _text(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as member:
        data = member.read(MAX_TEXT + 1)
    if len(data) != archive.getinfo(name).file_size:
        raise ValueError(f"{name} has another size than the archive says")
    return data


def _unpacked(archive: zipfile.ZipFile, folder: Path) -> Path:
    """The weights, as a file of their own, which the HDF5 library needs."""
    target, left = folder / WEIGHTS, archive.getinfo(WEIGHTS).file_size
    with archive.open(WEIGHTS) as member, target.open("wb") as file:
        shutil.copyfileobj(member, file)  # Ends where the member does: zipfile stops at the size that was checked.
        if file.tell() != left:
            raise ValueError(f"{WEIGHTS} has another size than the archive says")
    return target


def parsed(data: bytes, path: str | Path, name: str) -> Json:
    """The object that a text in JSON is. Raises ``FormatError``: names stand once, and nothing is nested too deeply."""
    try:
        found = parsed_json(data)
    except ValueError as error:
        raise FormatError(path, f"{name} is not valid: {error}") from None
    if not isinstance(found, dict):
        raise FormatError(path, f"{name} is not valid: it is not an object")
    level: list[Any] = [found]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return found
    raise FormatError(path, f"{name} is not valid: it is nested more than {MAX_DEPTH} levels deep")


def read_weights(weights: Path, path: str | Path) -> NamedArrays:
    """The arrays of an HDF5 file by their paths. Raises ``FormatError`` in the name of the file at ``path``."""
    inside = "" if Path(path) == weights else f"{WEIGHTS}: "
    try:
        with open_tensors(weights) as tensors:
            if tensors.skipped:
                raise FormatError(path, f"{inside}{'; '.join(f'{n!r} {why}' for n, why in tensors.skipped.items())}")
            return {name: tensors[name] for name in tensors}
    except FormatError as error:
        raise FormatError(path, f"{inside}{error.reason}", error.faults) from None
    except FileError as error:
        raise FileError(path, f"{inside}{error.reason}") from None
