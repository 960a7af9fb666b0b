"""Opening ONNX files, with an error that recognises other kinds of files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import ModelProto

from portable_nn.core.errors import FormatError
from portable_nn.core.files import open_regular, recognise
from portable_nn.onnx.storage.external import external_tensors, load_external

_ONNX: Final = recognise(b"\x08\x08\x12")
"""The message of ``recognise`` for an ONNX file."""


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
        data = file.read()
    return parsed(data, path)


def parsed(data: bytes, path: str | Path) -> ModelProto:
    """The model in ``data``, the bytes of the file at ``path``. Raises ``FormatError``."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise FormatError(path, what_it_is(data)) from None
    if not model.HasField("graph"):  # Short files of any kind may parse as an empty message.
        raise FormatError(path, what_it_is(data))
    if not all(isinstance(text, str) for text in _texts(model)):  # The parser gives bytes for invalid UTF-8.
        raise FormatError(path, "has a name or another text that is not UTF-8: it is damaged")
    return model


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
    """What a file is that cannot be read as a model, for messages; ``data`` has at least its first bytes."""
    head = data[:512]
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
