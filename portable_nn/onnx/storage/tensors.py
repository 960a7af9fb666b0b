"""Conversion of tensors and attributes between ONNX and the graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec import UNSET
from onnx import AttributeProto, TensorProto, numpy_helper

from portable_nn.core.errors import FormatError, UnsupportedError
from portable_nn.core.graph import Attribute, Parameter, Tensor, format_shape
from portable_nn.core.memory import Bytes
from portable_nn.core.tensors import ITEM_SIZES, Array, to_bytes
from portable_nn.core.text import said
from portable_nn.format.packed import PACKED, pack
from portable_nn.onnx.storage.external import external_bytes, opened_model, read_external, reading
from portable_nn.operators import DTYPE_CODES, plain_float
from portable_nn.operators.narrow import HELD_DTYPES, NARROW


def to_tensor(name: str, array: Array, code: int = 0) -> TensorProto:
    """``array`` under ``name``; ``code`` is the number of an element type that numpy lacks, if it has such elements."""
    proto = TensorProto(name=name, dims=array.shape, data_type=code or DTYPE_CODES[array.dtype.name])
    proto.raw_data = data_of(proto, array).tobytes()
    return proto


def data_of(proto: TensorProto, array: Array) -> Bytes:
    """The elements of a tensor, which are those of ``array``: little-endian, in row-major order, packed by its type."""
    packed = NARROW[proto.data_type].name if proto.data_type in NARROW else UNSET
    return to_bytes(pack(Parameter(proto.name, array.dtype.name, array.shape, packed=packed), array))


def from_tensor(proto: TensorProto, where: str, what: str = "") -> Array:
    """The array that ``proto`` holds, in whichever of its fields.

    Messages call it ``what``, or by its name.

    Raises:
        FormatError: its elements do not fit its shape and type.
        UnsupportedError: they are in another file, which is only found if the model is read by its path.
    """
    what = what or f"tensor '{proto.name}'"
    if proto.data_location == TensorProto.EXTERNAL:  # to_array would open whatever path the model names.
        if not (opened := opened_model.get()):
            raise UnsupportedError(where, f"{what} lies in another file: import the model by its path")
        if proto.data_type not in NARROW:
            return read_external(proto, opened)
        data = external_bytes(proto, opened.path)
        proto = TensorProto(name=proto.name, dims=proto.dims, data_type=proto.data_type, raw_data=data)
    if any(dim < 0 for dim in proto.dims):
        raise FormatError(where, f"{what} is damaged: its shape is {format_shape(tuple(proto.dims))}")
    try:
        array = numpy_helper.to_array(proto)
        return array.astype(NARROW[proto.data_type].held) if proto.data_type in NARROW else array
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise FormatError(where, f"{what} is damaged {said(error)}") from error


def tensor_bytes(proto: TensorProto) -> int:
    """The bytes of the elements of a tensor."""
    return ITEM_SIZES.get(HELD_DTYPES.get(proto.data_type, ""), 8) * math.prod(map(int, proto.dims))


class Unread(Mapping[str, Array]):
    """Arrays by name, of which the tensors of a model are read whenever they are asked for.

    Args:
        arrays: arrays, and tensors in their place.
        where: the name of the model in messages.
        path: its file, which is opened for each tensor; by default the one that is open now, if any (see ``reading``).
    """

    def __init__(self, arrays: Mapping[str, Array | TensorProto], where: str, path: Path | None = None) -> None:
        opened = opened_model.get()
        self._arrays, self._where, self._path = arrays, where, path or (opened.path if opened else None)

    def __getitem__(self, name: str) -> Array:
        found = self._arrays[name]
        if not isinstance(found, TensorProto):
            return found
        with reading(self._path) if self._path else nullcontext():
            return from_tensor(found, self._where)

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def literal(array: Array) -> Tensor:
    """``array`` as an attribute of the graph; a float32 becomes the shortest decimal that rounds to it."""
    items, written = array.ravel().tolist(), _WRITTEN.get(array.dtype.name)
    return Tensor(array.dtype.name, array.shape, tuple(map(written, items) if written else items))


_WRITTEN: Final[Mapping[str, Callable[[Any], int | float]]] = {"float32": plain_float, "bool": int}
"""The stored form of an element in a graph, for types where it is not the number itself."""


_FIELDS: Final[Mapping[int, str]] = {
    AttributeProto.INT: "i",
    AttributeProto.FLOAT: "f",
    AttributeProto.STRING: "s",
    AttributeProto.TENSOR: "t",
    AttributeProto.INTS: "ints",
    AttributeProto.FLOATS: "floats",
    AttributeProto.STRINGS: "strings",
}
"""The field of an ``AttributeProto`` for each supported type of attribute."""


def to_attribute(name: str, value: Attribute, kind: int) -> AttributeProto:
    """``value`` as the attribute ``name``, of the type ``kind`` (a number of ``AttributeProto.AttributeType``)."""
    proto = AttributeProto(name=name, type=kind)  # type: ignore[arg-type]
    if isinstance(value, Tensor):
        code = PACKED.get(value.dtype, 0)
        array = np.array(value.data, HELD_DTYPES.get(code, value.dtype))
        proto.t.CopyFrom(to_tensor("", array.reshape(value.shape), code))
    elif isinstance(value, tuple):
        getattr(proto, _FIELDS[kind]).extend(item.encode() if isinstance(item, str) else item for item in value)
    else:
        setattr(proto, _FIELDS[kind], value.encode() if isinstance(value, str) else value)
    return proto


def is_attribute(proto: AttributeProto) -> bool:
    """True if the type of the attribute is supported."""
    return proto.type in _FIELDS


def from_attribute(proto: AttributeProto, where: str) -> Attribute:
    """The value of ``proto``, for which ``is_attribute`` holds; raises as ``from_tensor`` does."""
    value = getattr(proto, _FIELDS[proto.type])
    match proto.type:
        case AttributeProto.STRING:
            return _text(value, proto.name, where)
        case AttributeProto.STRINGS:
            return tuple(_text(item, proto.name, where) for item in value)
        case AttributeProto.TENSOR:
            return literal(from_tensor(value, where, f"attribute '{proto.name}'"))
        case AttributeProto.FLOAT:
            return plain_float(value)
        case AttributeProto.FLOATS:
            return tuple(plain_float(item) for item in value)
        case AttributeProto.INTS:
            return tuple(value)
        case _:
            return int(value)


def _text(value: bytes, name: str, where: str) -> str:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        raise FormatError(where, f"attribute '{name}' is not text in UTF-8: {value[:20]!r}") from None
