"""External data: tensors of a model in a separate file beside it, read defensively.

The name of the file comes from the model and may be malicious: only a regular file in the model's own folder is read,
never through a link, and only as many bytes as the tensor's type and shape need (see CVE-2022-25882, CVE-2024-27318,
CVE-2024-5187 and CVE-2025-51480).
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from portable_nn.core.errors import FileError, FormatError, UnsupportedError, listed
from portable_nn.core.files import open_regular, read_at, read_exactly, stored_bytes
from portable_nn.core.graph import Value
from portable_nn.core.limits import UNPACKED, excess
from portable_nn.core.memory import aligned
from portable_nn.core.tensors import ITEM_SIZES, Array, from_bytes
from portable_nn.format.packed import element_code, stored
from portable_nn.operators.narrow import NARROW
from portable_nn.operators.registry import ONNX_DTYPES

SMALL: Final = 1024
"""Tensors of fewer bytes stay in the model itself, where shape inference can read them."""

PAGE: Final = 4096
"""Tensors begin at multiples of this in the file, so that runtimes can map them into memory."""

IN_PLACE: Final = "."
"""The text in the place of a file's name: the elements are in the model itself once it is written (see
``files.write_model``)."""

KEYS: Final = frozenset({"location", "offset", "length", "checksum"})
"""The allowed keys of ``external_data``. Others have been used to set attributes in the reading program."""


class Region(NamedTuple):
    """The bytes of a tensor in the file."""

    offset: int
    length: int


def regions(values: Iterable[Value]) -> dict[str, Region]:
    """The regions of all tensors that do not stay in the model, by name, in order."""
    found, offset = {}, 0
    for value in map(stored, values):
        length = ITEM_SIZES[value.dtype] * math.prod(map(int, value.shape))
        if length >= SMALL:
            found[value.name] = Region(offset, length)
            offset += length + -length % PAGE
    return found


def reference(value: Value, location: str, region: Region) -> TensorProto:
    """The tensor of a parameter whose elements are in the file ``location``."""
    tensor = TensorProto(name=value.name, dims=map(int, value.shape), data_type=element_code(value))
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", str(region.offset)), ("length", str(region.length))):
        tensor.external_data.add(key=key, value=text)
    return tensor


def external_tensors(model: ModelProto) -> list[TensorProto]:
    """The tensors whose elements are in other files: initializers and constants, also of subgraphs and functions."""
    graphs = [model.graph, *(graph for each in model.training_info for graph in (each.initialization, each.algorithm))]
    found = [tensor for graph in graphs for tensor in _tensors(graph)]
    found += [tensor for function in model.functions for tensor in _constants(function.node)]
    return [tensor for tensor in found if tensor.data_location == TensorProto.EXTERNAL]


def _tensors(graph: GraphProto, without: Collection[str] = ()) -> Iterator[TensorProto]:
    """All tensors of a graph, but for the initializers ``without``."""
    yield from (tensor for tensor in graph.initializer if tensor.name not in without)
    yield from (part for each in graph.sparse_initializer for part in (each.values, each.indices))
    yield from _constants(graph.node)


def _constants(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    """All tensors in the attributes of nodes."""
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)
            if attribute.HasField("sparse_tensor"):
                yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
            yield from attribute.tensors
            yield from (tensor for each in attribute.sparse_tensors for tensor in (each.values, each.indices))
            yield from (tensor for graph in attribute.graphs for tensor in _tensors(graph))


def refuse_outside(model: ModelProto, path: Path, own: str) -> None:
    """Raise ``FormatError`` that lists all tensors of the model at ``path`` whose file is not in its folder.

    ``own`` is the name by which it refers to itself, if it does.
    """
    faults = list[str]()
    for tensor in external_tensors(model):
        try:
            if not own or _location(tensor) != own:
                _plain(tensor, path, _location(tensor))
        except FormatError as error:
            faults.append(error.reason)
    if faults:
        raise FormatError(path, listed(faults), faults)


def locations(model: ModelProto) -> set[str]:
    """The names of the external data files of a model."""
    return {_location(tensor) for tensor in external_tensors(model)}


def _location(tensor: TensorProto) -> str:
    return next((entry.value for entry in reversed(tensor.external_data) if entry.key == "location"), "")


class Opened(NamedTuple):
    """A model file that is open, in which references to ``location`` mean the file itself (see ``wire``)."""

    path: Path
    file: FileIO
    location: str


opened_model: Final = ContextVar[Opened | None]("opened_model", default=None)
"""The file whose tensors are read when they are needed."""


@contextmanager
def reading(path: str | Path) -> Iterator[Opened]:
    """The file of a model, open: within the block ``from_tensor`` reads the tensors that it refers to.

    Raises ``FileError`` where it cannot be read.
    """
    if (open_already := opened_model.get()) and open_already.path == Path(path):
        yield open_already
        return
    with open_regular(path) as file:
        opened = Opened(Path(path), file, f"./{Path(path).resolve().name}")
        token = opened_model.set(opened)
        try:
            yield opened
        finally:
            opened_model.reset(token)


def check_external(tensors: Iterable[TensorProto], opened: Opened) -> None:
    """Check the references of tensors before any is read: the files, the regions, and the memory that they claim.

    Raises ``FormatError``.
    """
    claimed, files = 0, set[Path]()
    for tensor in tensors:
        region, location = _region(tensor, opened.path)
        claimed += region.length
        with _opened(tensor, location, opened.path, opened) as file:
            _check_end(tensor, region, location, file, opened.path)
            files.add(opened.path if file is opened.file else opened.path.parent / location)
    if excess(claimed, 0, UNPACKED):
        stored = 0
        for path in files:
            with open_regular(path) as file:
                stored += stored_bytes(file)
        if fault := excess(claimed, stored, UNPACKED):
            raise FormatError(opened.path, f"the whole of its tensors {fault}")


def read_external(tensor: TensorProto, opened: Opened) -> Array:
    """The elements of a tensor, in memory of their own. Raises ``FormatError``, and ``UnsupportedError`` by type."""
    if tensor.data_type not in ONNX_DTYPES:
        raise UnsupportedError(opened.path, f"tensor '{tensor.name}' has elements of a type that is not supported")
    region, location = _region(tensor, opened.path)
    memory = aligned(region.length)
    with _opened(tensor, location, opened.path, opened) as file:
        _check_end(tensor, region, location, file, opened.path)
        read_at(file, [memory], region.offset, str(opened.path))
    return from_bytes(memory, ONNX_DTYPES[tensor.data_type], tuple(tensor.dims))


def with_data(model: ModelProto, without: Collection[str]) -> ModelProto:
    """``model`` with the elements of all tensors that are in the open file, but for the initializers ``without``."""
    opened, found = opened_model.get(), ModelProto()
    if opened is None:
        return model
    found.CopyFrom(model)
    for tensor in _tensors(found.graph, without):
        if any(entry.value == opened.location for entry in tensor.external_data):
            load_external(tensor, opened.path)
    return found


def load_external(tensor: TensorProto, path: Path) -> None:
    """Put the elements of ``tensor`` of the model at ``path`` into it. Raises ``FormatError``."""
    tensor.raw_data = external_bytes(tensor, path)
    tensor.ClearField("data_location")
    tensor.ClearField("external_data")


def external_bytes(tensor: TensorProto, path: Path) -> bytes:
    """The bytes of the elements of ``tensor`` of the model at ``path``. Raises ``FormatError``."""
    region, location = _region(tensor, path)
    own = opened_model.get()
    with _opened(tensor, location, path, own if own and own.path == path else None) as file:
        _check_end(tensor, region, location, file, path)
        if excess(region.length, 0, UNPACKED) and (fault := excess(region.length, stored_bytes(file), UNPACKED)):
            raise _fault(tensor, path, fault)
        file.seek(region.offset)
        return read_exactly(file, region.length, str(path))


def _region(tensor: TensorProto, path: Path) -> tuple[Region, str]:
    """The bytes that a tensor's type and shape need, and the name of the file that they are in."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if unknown := sorted(entries.keys() - KEYS):
        raise _fault(tensor, path, f"has the unknown key '{unknown[0]}' in its reference to the file")
    location = _location(tensor)
    offset, length = (_number(tensor, path, key, entries) for key in ("offset", "length"))
    needed = _needed(tensor, path)
    if length not in (0, needed):
        raise _fault(tensor, path, f"has {length} bytes in '{location}', but its type and shape need {needed}")
    return Region(offset, needed), location


@contextmanager
def _opened(tensor: TensorProto, location: str, path: Path, own: Opened | None = None) -> Iterator[FileIO]:
    """The open file that a tensor of the model at ``path`` refers to, which may be its ``own``."""
    if own is not None and location == own.location:
        yield own.file
        return
    try:
        with open_regular(_plain(tensor, path, location)) as file:
            yield file
    except FileError as error:
        if isinstance(error, FormatError):
            raise
        raise _fault(tensor, path, f"cannot be read from '{location}': {error.reason}") from error


def _check_end(tensor: TensorProto, region: Region, location: str, file: FileIO, path: Path) -> None:
    size, end = os.fstat(file.fileno()).st_size, region.offset + region.length
    if end > size:
        reason = f"it needs bytes {region.offset} to {end}, and the file has {size}"
        raise _fault(tensor, path, f"cannot be read from '{location}': {reason}")


def _number(tensor: TensorProto, path: Path, key: str, entries: Mapping[str, str]) -> int:
    text = entries.get(key, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise _fault(tensor, path, f"has the {key} {text!r}, which is not a number of bytes")
    return int(text)


def _needed(tensor: TensorProto, path: Path) -> int:
    """The number of bytes that the type and shape of the tensor need."""
    bits = 8 * ITEM_SIZES.get(ONNX_DTYPES.get(tensor.data_type, ""), 0) or _OTHER_BITS.get(tensor.data_type)
    if not bits or any(dim < 0 for dim in tensor.dims):
        raise _fault(tensor, path, "is damaged: its type or shape is invalid")
    return -(-bits * math.prod(map(int, tensor.dims)) // 8)


_OTHER_BITS: Final = {14: 64, 15: 128, **{code: each.bits for code, each in NARROW.items()}}
"""The bits of an element of a type that numpy lacks, or of complex numbers, by the number that ONNX gives it."""


def _plain(tensor: TensorProto, path: Path, location: str) -> Path:
    """The named file, which need not exist. Raises ``FormatError`` where it is not in the model's folder.

    Another name of the same file (a hard link) is no fault: package managers store files that way.
    """
    parts = PurePosixPath(location).parts
    if not parts or ".." in parts or PurePosixPath(location).is_absolute() or not {"\\", "\0"}.isdisjoint(location):
        raise _fault(tensor, path, f"names a file outside the model's folder: {location!r}")
    file = path.parent.resolve()
    for part in parts:
        file /= part
        if file.is_symlink():
            raise _fault(tensor, path, f"names a file outside the model's folder: {location!r} leads over a link")
    return file


def _fault(tensor: TensorProto, path: Path, message: str) -> FormatError:
    what = f"tensor '{tensor.name}'" if tensor.name else "a constant"
    return FormatError(path, f"{what} {message}")
