"""Opening what should be an ONNX file, and saying what it is when it is not one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto, checker
from onnx.external_data_helper import load_external_data_for_tensor

from portable_nn.errors import FormatError
from portable_nn.format.files import open_regular, recognise

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
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise FormatError(path, what_it_is(data)) from None
    if not model.HasField("graph"):  # Few bytes of any kind parse as a message in which nothing is known.
        raise FormatError(path, what_it_is(data))
    return model


def external_tensors(model: ModelProto) -> list[TensorProto]:
    """The tensors whose elements lie in other files."""
    return [tensor for tensor in model.graph.initializer if tensor.data_location == TensorProto.EXTERNAL]


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


def load_external(tensor: TensorProto, path: Path) -> None:
    """Bring the elements of ``tensor`` into it from the file that it names. Raises ``FormatError``."""
    folder = path.parent.resolve()
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    if not (folder / location).resolve().is_relative_to(folder):
        raise FormatError(path, f"tensor '{tensor.name}' names a file outside the model's folder: {location!r}")
    try:
        load_external_data_for_tensor(tensor, str(folder))
    except (OSError, ValueError, checker.ValidationError) as error:
        raise FormatError(path, f"tensor '{tensor.name}' cannot be read from '{location}': {error}") from error
    tensor.ClearField("data_location")
    tensor.ClearField("external_data")
