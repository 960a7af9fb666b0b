"""Opening ONNX files, with an error that recognises other kinds of files."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import AttributeProto, ModelProto, NodeProto

from portable_nn.core.atomic import atomic_write
from portable_nn.core.errors import FormatError
from portable_nn.core.files import open_regular, read_at, recognise
from portable_nn.core.memory import CHUNK
from portable_nn.core.tensors import NamedArrays
from portable_nn.core.text import shortened, size
from portable_nn.onnx.storage.external import (
    IN_PLACE,
    Opened,
    check_external,
    external_tensors,
    load_external,
    locations,
    reading,
    refuse_outside,
)
from portable_nn.onnx.storage.functions import check_functions, nested
from portable_nn.onnx.storage.tensors import data_of, tensor_bytes
from portable_nn.onnx.storage.wire import (
    FUNCTIONS,
    GroupError,
    Hole,
    WireError,
    fields,
    length_of,
    with_holes,
    without_data,
)
from portable_nn.operators.linear.einsum import TERM


def check_equations(model: ModelProto, where: str) -> None:
    """Raise ``FormatError`` where a term of an equation of Einsum is not of letters and one ellipsis.

    The shape inference of the onnx library (to 1.23, at least), which onnxruntime runs as well, looks for the next
    letter forever in an equation such as ``b.b``.
    """
    nodes = [*nested(chain(model.graph.node, *(each.node for each in model.functions)))]
    passed = _passed(nodes)
    for node in nodes:
        for given in node.attribute:
            if given.name in passed or (_is_einsum(node) and given.name == "equation"):
                _check(given, shortened(node.name or ", ".join(node.output)), where)
    for function in model.functions:
        for default in function.attribute_proto:
            if default.name in passed:
                _check(default, shortened(function.name), where)


def _passed(nodes: Sequence[NodeProto]) -> set[str]:
    """The attributes of functions that become equations, through any number of calls."""
    referring = [(node, each) for node in nodes for each in node.attribute if each.ref_attr_name]
    found = {each.ref_attr_name for node, each in referring if _is_einsum(node)}
    while more := {each.ref_attr_name for _, each in referring if each.name in found} - found:
        found |= more
    return found


def _check(attribute: AttributeProto, name: str, where: str) -> None:
    text = attribute.s.decode(errors="replace").replace(" ", "")
    left, _, right = text.partition("->")
    for term in [*left.split(","), right]:
        if not TERM.fullmatch(term):
            what = f"equation {shortened(text)} has the term {shortened(term)}"
            raise FormatError(where, f"{name} (Einsum): {what}, which is not letters and at most one ellipsis")


def _is_einsum(node: NodeProto) -> bool:
    return node.op_type == "Einsum" and node.domain in ("", "ai.onnx")


MAX_BYTES: Final = 2**31 - 1
"""The size limit of protocol buffers."""

LEFT: Final = 2**20
"""The bytes of a tensor above which it may be left in its file."""

_HEAD: Final = 512
"""The bytes by which kinds of files are recognised."""

_BLOCK: Final = 2**13
"""The bytes that are read at once: nodes are small, and of large tensors the head alone is needed."""

_ONNX: Final = recognise(b"\x08\x08\x12")
"""The message of ``recognise`` for an ONNX file."""


_LOCATION: Final = b"location"
"""The key of the name of an external file, which is in every model that has one."""

_EINSUM: Final = b"Einsum"


def read_model(path: str | Path) -> ModelProto:
    """The model in a file, with its external data.

    Raises:
        FileError: the file cannot be read.
        FormatError: it is damaged or not an ONNX model; the message says what it is instead.
    """
    model = read_alone(path)
    for tensor in external_tensors(model):
        load_external(tensor, Path(path))
    return model


def read_alone(path: str | Path) -> ModelProto:
    """The model in a file, without its external data; raises as ``read_model`` does."""
    with open_regular(path) as file:
        _check_size(file, path)
        data = file.read()
    return parsed(data, path)


def read_light(path: str | Path, faults: list[FormatError] | None = None) -> ModelProto:
    """The model in a file with its small tensors; large ones are references, which ``from_tensor`` follows.

    Args:
        path: the file.
        faults: takes the errors of references, of which nothing is left in the model; without it, the first is raised.

    Raises as ``opening_model`` does.
    """
    with reading(path) as opened:
        model = _without_data(opened)
        for tensor in external_tensors(model):
            try:
                check_external([tensor], opened)
                if tensor_bytes(tensor) <= LEFT:
                    load_external(tensor, opened.path)
            except FormatError as error:
                if faults is None:
                    raise
                faults.append(error)
                tensor.ClearField("external_data")
        return model


@contextmanager
def opening_model(path: str | Path) -> Iterator[ModelProto]:
    """The model in a file, whose large tensors ``from_tensor`` reads when they are needed, within the block.

    They are references to regions of the file itself, ``./`` and its name (links are followed), or of files beside it.

    Raises:
        FileError: the file cannot be read.
        FormatError: it is damaged or not an ONNX model, or the files do not have the regions that it refers to.
    """
    with reading(path) as opened:
        model = _without_data(opened)
        check_external(external_tensors(model), opened)
        yield model


def data_files(path: str | Path) -> list[str]:
    """The names of the other files in which a model keeps tensors. Raises as ``opening_model`` does."""
    with reading(path) as opened:
        return sorted(locations(_without_data(opened)) - {opened.location})


def write_model(model: ModelProto, arrays: NamedArrays, file: BinaryIO) -> int:
    """Write a model with ``arrays`` in place of the references to ``IN_PLACE``; the number of bytes.

    The bytes are those of the whole model, of which no more than the references need to be in memory.
    """
    pieces = with_holes(model.SerializeToString(deterministic=True), IN_PLACE)
    tensors = {each.name: each for each in model.graph.initializer}
    for piece in pieces:
        file.write(data_of(tensors[piece.name], arrays[piece.name]).data if isinstance(piece, Hole) else piece)
    return length_of(pieces)


def write_data(path: Path, model: ModelProto, arrays: NamedArrays) -> None:
    """Write the file with ``arrays`` that the initializers of ``model`` refer to; at most one of them is in memory.

    Raises ``FileError`` where it cannot be written; then no file exists.
    """
    with atomic_write(path) as file:
        for tensor in external_tensors(model):
            file.seek(int(next(each.value for each in tensor.external_data if each.key == "offset")))
            data = data_of(tensor, arrays[tensor.name])
            for start in range(0, len(data), CHUNK):
                file.write(data[start : start + CHUNK].data)


def _without_data(opened: Opened) -> ModelProto:
    """The model in a file with references in place of large tensors."""
    size, part = _check_size(opened.file, opened.path), _Parts(opened.file, str(opened.path))
    head = part(0, min(_HEAD, size))
    try:
        return parsed(without_data(part, size, opened.location), opened.path, head, opened.location)
    except WireError:
        raise FormatError(opened.path, what_it_is(head)) from None
    except GroupError:  # A field that ONNX does not have.
        return parsed(part(0, size), opened.path)


class _Parts:
    """The parts of a file. It is not mapped: a file that becomes shorter meanwhile would end the process."""

    def __init__(self, file: FileIO, where: str) -> None:
        self._file, self._where = file, where
        self._size = os.fstat(file.fileno()).st_size
        self._start, self._block = 0, b""

    def __call__(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` to ``stop``; small parts come from a block that is kept."""
        if stop - start > _BLOCK:
            return self._read(start, stop)
        if not self._start <= start <= stop <= self._start + len(self._block):
            self._start, self._block = start, self._read(start, min(start + _BLOCK, self._size))
        return self._block[start - self._start : stop - self._start]

    def _read(self, start: int, stop: int) -> bytes:
        memory = np.empty(stop - start, np.uint8)
        read_at(self._file, [memory], start, self._where)
        return memory.tobytes()


def _check_size(file: FileIO, path: str | Path) -> int:
    """The size of a file. Raises ``FormatError`` where no model has that."""
    if (found := os.fstat(file.fileno()).st_size) > MAX_BYTES:
        most = f"an ONNX file has at most {size(MAX_BYTES)}, as larger weights are in files beside it"
        raise FormatError(path, f"has {size(found)}: {most}")
    return found


def parsed(data: bytes, path: str | Path, head: bytes = b"", own: str = "") -> ModelProto:
    """The model in ``data``, the bytes of the file at ``path``, which begins with ``head``.

    Raises ``FormatError``, also where it has tensors in files outside its folder, of which ``own`` is none: all of them
    are listed.
    """
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise FormatError(path, what_it_is(head or data)) from None
    if not model.HasField("graph"):  # Short files of any kind may parse as an empty message.
        raise FormatError(path, what_it_is(head or data))
    if not all(isinstance(text, str) for text in _texts(model)):  # The parser gives bytes for invalid UTF-8.
        raise FormatError(path, "has a name or another text that is not UTF-8: it is damaged")
    if model.functions:
        check_functions(model, str(path))
    if _EINSUM in data:
        check_equations(model, str(path))
    if _LOCATION in data:
        refuse_outside(model, Path(path), own)
    return model


def check_unread(path: str | Path) -> None:
    """Raise ``FormatError`` where onnxruntime must not read a file.

    It would read files outside the folder of the model, or never end.
    """
    with reading(path) as opened:
        file = opened.file
        if not _check_size(file, path):
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = any(data.find(each) >= 0 for each in (_LOCATION, _EINSUM))
        if found or _has_functions(_Parts(file, str(path)), os.fstat(file.fileno()).st_size):
            _without_data(opened)


def _has_functions(part: _Parts, size: int) -> bool:
    """True if a model has functions of its own; true as well of what is no model."""
    try:
        return any(each.number == FUNCTIONS for each in fields(part, 0, size))
    except (WireError, GroupError):
        return True


def _texts(message: Message) -> Iterator[str | bytes]:
    """All strings in a message and its submessages."""
    for field in message.DESCRIPTOR.fields:
        if field.type == field.TYPE_STRING:
            value = getattr(message, field.name)
            yield from [value] if isinstance(value, str | bytes) else value
        elif field.type == field.TYPE_MESSAGE:
            value = getattr(message, field.name)
            if not isinstance(value, Message):
                for each in value:
                    yield from _texts(each)
            elif message.HasField(field.name):
                yield from _texts(value)


def what_it_is(data: bytes) -> str:
    """The kind of a file that cannot be read as a model, for messages; ``data`` has at least its first bytes."""
    head = data[:_HEAD]
    known = recognise(head)
    if known and known != _ONNX:
        return f"is {known}"
    if not data:
        return "is empty"
    if head[8:10] == b'{"':
        return "is a safetensors file: load it with portable_nn.load"
    if head.isascii() and head.decode().replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
        return "is a text file, not an ONNX model"
    return "is not an ONNX model, or is damaged or cut off"
