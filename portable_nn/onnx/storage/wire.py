"""An ONNX file without the bytes of its tensors: what a model is can be read without reading its weights.

The wire format of protocol buffers (https://protobuf.dev/programming-guides/encoding) says how long each field is, so
that large ``raw_data`` are stepped over. In their place each tensor gets the reference to a region of a file that the
standard has for external data, here of the very file that it comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

from onnx import TensorProto

LARGE: Final = 4096
"""Tensors of fewer bytes stay in the model."""

Message: TypeAlias = str
Part: TypeAlias = Callable[[int, int], bytes]
"""The bytes of a file from one offset up to another."""

FUNCTIONS: Final = 25
"""The field of a model that holds a function."""

_INSIDE: Final[Mapping[Message, Mapping[int, Message]]] = {
    "model": {7: "graph", FUNCTIONS: "function"},
    "graph": {1: "node", 5: "tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
}
"""The messages that may hold tensors: the numbers of their fields, and what is in these (see ``onnx.proto``)."""

_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 13, 14
"""Fields of a tensor."""

_VARINT, LENGTH, _GROUPS = 0, 2, (3, 4)
_HEAD: Final = 20
"""The most bytes of a tag and a length."""

_FIXED: Final = {1: 8, 5: 4}
"""Types of fields, and the sizes of those of fixed size."""


class WireError(ValueError):
    """The bytes are no protocol buffer."""


class GroupError(ValueError):
    """The bytes hold a group, an old form of submessage, which is not stepped over here."""


class Field(NamedTuple):
    """A field: its number, its type, the offset of its tag, and the span of its contents."""

    number: int
    type: int
    begin: int
    start: int
    stop: int

    @property
    def span(self) -> tuple[int, int]:
        """The span of its contents."""
        return self.start, self.stop


def fields(part: Part, start: int, stop: int) -> Iterator[Field]:
    """The fields of a message. Raises ``WireError`` or ``GroupError``."""
    while start < stop:
        head = part(start, min(start + _HEAD, stop))
        tag, at = _varint(head, 0)
        number, kind = tag >> 3, tag & 7
        if kind == LENGTH:
            length, at = _varint(head, at)
        elif kind == _VARINT:
            length = _varint(head, at)[1] - at
        elif kind in _FIXED:
            length = _FIXED[kind]
        elif kind in _GROUPS:
            raise GroupError
        else:
            raise WireError
        if not number or start + at + length > stop:
            raise WireError
        yield Field(number, kind, start, start + at, start + at + length)
        start += at + length


def _varint(data: bytes, start: int) -> tuple[int, int]:
    """A number and the offset after it."""
    value = 0
    for place, byte in enumerate(data[start : start + 10]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, start + place + 1
    raise WireError


def without_data(part: Part, size: int, location: str) -> bytes:
    """A model of ``size`` bytes, with references to ``location`` in place of the large ``raw_data`` of tensors.

    Raises ``WireError`` or ``GroupError``.
    """
    return b"".join(_pieces(part, 0, size, "model", location))


def _pieces(part: Part, start: int, stop: int, message: Message, location: str) -> Iterator[bytes]:
    """The new contents of a message, which is not small."""
    kept = start  # All from here to the current field stays as it is.
    for field in fields(part, start, stop):
        inside = _INSIDE[message].get(field.number)
        if inside is None or field.type != LENGTH or field.stop - field.start < LARGE:
            continue
        yield part(kept, field.begin)
        kept = field.stop
        if inside == "tensor":
            contents = _tensor(part, field, location)
        else:
            contents = b"".join(_pieces(part, field.start, field.stop, inside, location))
        yield _as_varint(field.number << 3 | LENGTH) + _as_varint(len(contents)) + contents
    yield part(kept, stop)


def _tensor(part: Part, field: Field, location: str) -> bytes:
    """A tensor with a reference to its ``raw_data``; as it is where it has none, or something unusual."""
    found = list(fields(part, field.start, field.stop))
    raw = [each for each in found if each.number == _RAW_DATA]
    unusual = any(each.number in (_EXTERNAL_DATA, _DATA_LOCATION) for each in found)
    if len(raw) != 1 or raw[0].type != LENGTH or raw[0].stop - raw[0].start < LARGE or unusual:
        return part(field.start, field.stop)
    tensor = TensorProto(data_location=TensorProto.EXTERNAL)
    region = {"location": location, "offset": str(raw[0].start), "length": str(raw[0].stop - raw[0].start)}
    for key, text in region.items():
        tensor.external_data.add(key=key, value=text)
    before, after = part(field.start, raw[0].begin), part(raw[0].stop, field.stop)
    return before + after + bytes(tensor.SerializeToString())


class Hole(NamedTuple):
    """The place of the ``raw_data`` of a tensor in a model: its name, and how many bytes belong there."""

    name: str
    length: int


def length_of(pieces: Iterable[bytes | Hole]) -> int:
    """The number of bytes of all pieces."""
    return sum(piece.length if isinstance(piece, Hole) else len(piece) for piece in pieces)


def with_holes(data: bytes, location: str, message: Message = "model") -> list[bytes | Hole]:
    """The undoing of ``without_data``: the pieces of a model or graph whose initializers refer to ``location``."""
    pieces, wanted = list[bytes | Hole](), "graph" if message == "model" else "tensor"
    for field in fields(_part_of(data), 0, len(data)):
        inside, contents = _INSIDE[message].get(field.number), data[field.start : field.stop]
        if inside == wanted:
            is_graph = inside == "graph"
            filled = with_holes(contents, location, inside) if is_graph else _filled_tensor(contents, location)
            pieces += _message(field.number, filled)
        else:
            pieces.append(data[field.begin : field.stop])
    return pieces


def _filled_tensor(data: bytes, location: str) -> list[bytes | Hole]:
    tensor = TensorProto.FromString(data)
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if entries.get("location") != location:
        return [data]
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
    bare = bytes(tensor.SerializeToString(deterministic=True))
    after = [field.begin for field in fields(_part_of(bare), 0, len(bare)) if field.number > _RAW_DATA]
    place = min(after, default=len(bare))
    return [bare[:place], *_message(_RAW_DATA, [Hole(tensor.name, int(entries["length"]))]), bare[place:]]


def _message(number: int, pieces: list[bytes | Hole]) -> list[bytes | Hole]:
    """A field with these contents."""
    return [_as_varint(number << 3 | LENGTH) + _as_varint(length_of(pieces)), *pieces]


def _part_of(data: bytes) -> Part:
    return lambda start, stop: data[start:stop]


def _as_varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
