"""The constant tensors of an ONNX file, read from its bytes by a walk over the protocol buffer.

Nothing of the converter is used but what finds fields, and opens external data safely: fields are told by their
numbers in ``onnx.proto``, and elements are decoded by the ``onnx`` package. Of a file one tensor at a time is in
memory.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, numpy_helper

from portable_nn.core.errors import FormatError
from portable_nn.core.files import open_regular
from portable_nn.core.tensors import Array
from portable_nn.core.text import said
from portable_nn.onnx.storage.external import external_bytes
from portable_nn.onnx.storage.wire import LENGTH, Field, GroupError, Part, WireError, fields

_GRAPH: Final = 7
"""The field of the graph in a ``ModelProto``."""

_NODE: Final = 1
"""The field of the nodes in a ``GraphProto``."""

_INITIALIZER: Final = 5
"""The field of the initializers there."""

_RAW_DATA: Final = 9
"""The field of the elements as bytes in a ``TensorProto``."""

_PLAIN: Final[Mapping[int, str]] = {TensorProto.FLOAT: "<f4", TensorProto.DOUBLE: "<f8", TensorProto.FLOAT16: "<f2"}
"""The types of large tensors, and their bytes."""

_LARGE: Final = 2**20
"""The bytes above which a tensor is not parsed, which would copy its elements."""

Span: TypeAlias = tuple[int, int]


class Stored(NamedTuple):
    """A constant tensor of a model: the name of its value, its elements, and whether it is an initializer."""

    name: str
    array: Array
    initializer: bool


def stored(source: bytes | Path | ModelProto, where: str, folder: Path | None = None) -> Iterator[Stored]:
    """The initializers and the Constant nodes of a model: of its bytes, of a file, or of what was parsed.

    Tensors that are no numbers, such as strings, are left out.

    Args:
        source: the model.
        where: its name in messages.
        folder: where its external data files are.

    Raises:
        FormatError: it cannot be read.
    """
    if isinstance(source, ModelProto):
        yield from _initializers(source.graph.initializer, where, folder)
        yield from _constants(source.graph.node, where, folder)
    elif isinstance(source, Path):
        with open_regular(source) as file:
            size = os.fstat(file.fileno()).st_size
            yield from _stored_in(lambda start, stop: os.pread(file.fileno(), stop - start, start), size, where, folder)
    else:
        yield from _stored_in(lambda start, stop: source[start:stop], len(source), where, folder)


def _stored_in(read: Part, size: int, where: str, folder: Path | None) -> Iterator[Stored]:
    """The constant tensors of the model whose bytes from one place to another ``read`` gives."""
    for graph in _fields(read, (0, size), _GRAPH, where):
        for tensor in _fields(read, graph.span, _INITIALIZER, where):
            yield from _initializer(read, tensor.span, where, folder)
        nodes = (NodeProto.FromString(read(*node.span)) for node in _fields(read, graph.span, _NODE, where))
        yield from _constants(nodes, where, folder)


def _initializer(read: Part, span: Span, where: str, folder: Path | None) -> Iterator[Stored]:
    """The tensor at ``span``; of a large one, the elements are in memory once."""
    start, end = span
    raw = list(_fields(read, span, _RAW_DATA, where)) if end - start > _LARGE else []
    if len(raw) == 1:
        first, last = raw[0].span
        head = TensorProto.FromString(read(start, raw[0].begin) + read(last, end))
        dtype = np.dtype(_PLAIN.get(head.data_type, "V0"))
        if head.data_location != TensorProto.EXTERNAL and dtype.itemsize * math.prod(head.dims) == last - first:
            yield Stored(head.name, np.frombuffer(read(first, last), dtype).reshape(head.dims), True)
            return
    yield from _initializers([TensorProto.FromString(read(*span))], where, folder)


def _initializers(tensors: Iterable[TensorProto], where: str, folder: Path | None) -> Iterator[Stored]:
    for tensor in tensors:
        if (array := _array(tensor, where, folder)) is not None:
            yield Stored(tensor.name, array, True)


def _constants(nodes: Iterable[NodeProto], where: str, folder: Path | None) -> Iterator[Stored]:
    for node in nodes:
        if node.op_type != "Constant" or not (node.output and node.attribute):
            continue
        if (array := _attribute_array(node.attribute[0], where, folder)) is not None:
            yield Stored(node.output[0], array, False)


def _array(tensor: TensorProto, where: str, folder: Path | None) -> Array | None:
    """The elements of a tensor; ``None`` where they are no numbers."""
    if tensor.data_type in {TensorProto.UNDEFINED, TensorProto.STRING}:
        return None
    if tensor.data_location == TensorProto.EXTERNAL and folder:  # The onnx package refuses hard links.
        data = external_bytes(tensor, folder / Path(where).name)
        if tensor.data_type in _PLAIN:
            return np.frombuffer(data, np.dtype(_PLAIN[tensor.data_type])).reshape(tuple(tensor.dims))
        tensor = TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type, raw_data=data)
    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:  # The onnx package raises various ones for damaged tensors.
        raise FormatError(where, f"tensor '{tensor.name}' cannot be read {said(error)}") from error


def _attribute_array(attribute: AttributeProto, where: str, folder: Path | None) -> Array | None:
    match attribute.name:
        case "value":
            return _array(attribute.t, where, folder)
        case "value_float":
            return np.array(attribute.f, np.float32)
        case "value_floats":
            return np.array(attribute.floats, np.float32)
        case "value_int":
            return np.array(attribute.i, np.int64)
        case "value_ints":
            return np.array(attribute.ints, np.int64)
    return None


def _fields(read: Part, span: Span, wanted: int, where: str) -> Iterator[Field]:
    """The fields numbered ``wanted`` of the message at ``span``, which have a length."""
    try:
        yield from (each for each in fields(read, *span) if (each.number, each.type) == (wanted, LENGTH))
    except (WireError, GroupError):
        raise FormatError(where, "is not an ONNX model, or is damaged or cut off") from None
