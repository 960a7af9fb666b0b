"""Opening what should be an ONNX file, and saying what it is when it is not one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import ModelProto

from portable_nn.core.errors import FormatError
from portable_nn.core.files import open_regular, recognise
from portable_nn.onnx.external import external_tensors, load_external

_ONNX: Final = recognise(b"\x08\x08\x12")
"""What ``recognise`` says of a file that begins as a model does."""


def read_model(path: str | Path) -> ModelProto:
    """The model in a file, with the tensors that it keeps in other files of its folder.

    Raises:
        FileError: the file cannot be read.
        FormatError: it is not an ONNX model, and what it is instead, or it is damaged.
    """
    model = read_alone(path)
    for tensor in external_tensors(model):
        load_external(tensor, Path(path))
    return model


def read_alone(path: str | Path) -> ModelProto:
    """The model in a file, without what it keeps in others; raises as ``read_model`` does."""
    with open_regular(path) as file:
        data = file.read()
    return parsed(data, path)


def parsed(data: bytes, path: str | Path) -> ModelProto:
    """The model that ``data``, the bytes of the file at ``path``, hold. Raises ``FormatError``."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise FormatError(path, what_it_is(data)) from None
    if not model.HasField("graph"):  # Few bytes of any kind parse as a message in which nothing is known.
        raise FormatError(path, what_it_is(data))
    if not all(isinstance(text, str) for text in _texts(model)):  # The parser gives the bytes of what is no text.
        raise FormatError(path, "has a name or another text that is not UTF-8: it is damaged")
    return model


def _texts(message: Message) -> Iterator[str | bytes]:
    """All texts in a message and in those that it is made of; numbers and raw bytes are not touched."""
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
    """What a file is that cannot be read as a model; ``data`` are at least its first bytes."""
    head = data[:512]
    known = recognise(head)
    if known and known != _ONNX:
        return known
    if not data:
        return "is empty"
    if head[8:10] == b'{"':
        return "is a safetensors file: load it with portable_nn.load"
    if head.isascii() and head.decode().replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
        return "is a text file, not an ONNX model"
    return "is not an ONNX model, or is damaged or cut off"
