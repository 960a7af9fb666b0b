"""Weights that ``torch.save`` wrote, ``.pt``, ``.pth`` and ``.bin``, read without PyTorch; nothing in them is run.

The structure of such a file is a pickle, which can name any program. It is read as data (``pickles``): of the calls
that it names only those that rebuild a tensor are understood. Dicts of dicts, such as the checkpoint of a training, are
flattened, with a dot between names; of a whole module that was saved, its parameters and buffers are read.

The format: ``torch/serialization.py`` and ``torch/_utils.py`` of PyTorch; since version 1.6 an archive with one member
for each storage, before that one file in which the storages follow the pickles.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from portable_nn.core.errors import FormatError, UnsupportedError
from portable_nn.core.files import kind_fault, read_at
from portable_nn.core.memory import aligned
from portable_nn.format.tensors import Array
from portable_nn.format.validate import refuse
from portable_nn.plain.npz import ERRORS, member_fault
from portable_nn.plain.pickles import Made, Named, Persistent, read_pickle
from portable_nn.plain.tensors import (
    MAX_TENSORS,
    NUMBERS,
    Entry,
    Listing,
    Opened,
    damage_reported,
    overlaps,
    shape_fault,
    widened,
)

Order: TypeAlias = Literal["<", ">"]

_ZIP: Final = b"PK\x03\x04"

_HEAD: Final = struct.Struct("<26x2H")
"""What stands before a member of an archive: at its end the lengths of the name and of what follows the name."""

_AT_ONCE: Final = 16 << 20
"""The most bytes of a pickle that is read as a whole."""

_MAGIC: Final = 0x1950A86A20F9469CFC6C
"""The first pickle of a file of before version 1.6."""

_STORAGES: Final[Mapping[str, str]] = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
"""The element types of PyTorch's typed storages."""

_ITEMS: Final = {**NUMBERS, "bfloat16": 2}

_REBUILD: Final = Named("torch._utils", "_rebuild_tensor_v2")
_REBUILD_TYPED: Final = Named("torch._utils", "_rebuild_tensor_v3")
_PARAMETER: Final = Named("torch._utils", "_rebuild_parameter")
"""Functions that make a tensor of a storage, its place there, shape and strides; v3 has the element type as well."""

_PARTS: Final = ("_parameters", "_buffers", "_modules")
"""Attributes of a module that was saved whole."""

_DEEPEST: Final = 100

_AGAIN: Final = 2**15
"""How often one container may be inside of others: lists of one list twice, and so on, claim any time."""


class _Storage(NamedTuple):
    """Numbers in a file: the key of the storage, and its element type; that of bytes is ""."""

    key: str
    dtype: str


class _Tensor(NamedTuple):
    """A view of a storage."""

    storage: _Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def end(self) -> int:
        """The place behind its last number in the storage."""
        if 0 in self.shape:
            return self.offset
        return self.offset + 1 + sum((size - 1) * step for size, step in zip(self.shape, self.strides, strict=True))


class _Contents(NamedTuple):
    """The value that was saved, what reads the bytes of a storage, how many it has, and their order."""

    value: Any
    read: Callable[[str], Array]
    sizes: Mapping[str, int]
    order: Order = "<"


def open_file(opened: Opened) -> Listing:
    """The tensors of a file, after the place of each has been checked."""
    head = opened.file.read(64)
    opened.file.seek(0)
    contents = _archive(opened) if head.startswith(_ZIP) else _legacy(opened, head)
    where = str(opened.path)
    tensors, others = dict[str, _Tensor](), dict[str, str]()
    for name, value in _leaves(contents.value, where):
        found = _tensor(value)
        if isinstance(found, _Tensor):
            tensors[name] = found
        elif found:
            others[name] = found
        if len(tensors) > MAX_TENSORS:
            raise FormatError(where, f"holds more than {MAX_TENSORS} tensors, the most that are allowed")
    faults = [(name, _fault(each, contents.sizes)) for name, each in tensors.items()]
    refuse(where, [f"tensor {name!r} {fault}" for name, fault in faults if fault])

    uses = Counter(each.storage.key for each in tensors.values())

    def read(name: str) -> Array:
        each = tensors[name]
        if each.dtype not in _ITEMS:
            raise UnsupportedError(where, f"tensor {name!r} is {each.dtype}, which numpy does not have")
        key = each.storage.key
        return _array(each, contents.read(key), contents.order, alone=uses[key] == 1)

    entries = {name: _entry(each) for name, each in tensors.items()}
    wide = ["bfloat16 is read as float32, which loses nothing"]
    notes = wide if any(each.dtype == "bfloat16" for each in tensors.values()) else []
    return Listing(entries, read, skipped=others, notes=notes)


# -- the two forms of a file


def _archive(opened: Opened) -> _Contents:
    with _damage_reported(opened, "the archive"):
        archive = opened.stack.enter_context(zipfile.ZipFile(opened.file))
    members = [info for info in archive.infolist() if not info.filename.endswith("/")]
    spans = [(i.filename, i.header_offset, i.header_offset + 30 + i.compress_size) for i in members]
    found = [(info.filename, member_fault(info)) for info in members]
    refuse(str(opened.path), [*overlaps(spans), *(f"{name!r} {fault}" for name, fault in found if fault)])
    by_name = {info.filename.partition("/")[2]: info for info in members}
    if len(by_name) < len(members):
        raise FormatError(opened.path, "has members of the same name")
    if "data.pkl" not in by_name:
        raise FormatError(opened.path, "is a zip archive without the member data.pkl, as torch.save writes it")

    def member(name: str) -> bytes:
        with _damage_reported(opened, f"{name!r} in the archive"), archive.open(by_name[name]) as file:
            return file.read()

    def storage(key: str) -> Array:
        info = by_name[f"data/{key}"]
        if info.compress_type != zipfile.ZIP_STORED:
            return np.frombuffer(member(f"data/{key}"), np.uint8)
        head, memory = aligned(_HEAD.size), aligned(info.file_size)
        read_at(opened.file, [head], info.header_offset, str(opened.path))
        lengths = _HEAD.unpack(head.tobytes())
        read_at(opened.file, [memory], info.header_offset + _HEAD.size + sum(lengths), str(opened.path))
        with _damage_reported(opened, f"{info.filename!r} in the archive"):
            if zlib.crc32(memory.data) != info.CRC:
                raise zipfile.BadZipFile("Bad CRC-32")
        return memory

    with _damage_reported(opened, "its pickle"), archive.open(by_name["data.pkl"]) as file:
        whole = by_name["data.pkl"].file_size <= _AT_ONCE
        value = read_pickle(io.BytesIO(file.read()) if whole else file)
    order: Order = ">" if "byteorder" in by_name and member("byteorder").strip() == b"big" else "<"
    sizes = {name.removeprefix("data/"): info.file_size for name, info in by_name.items() if name.startswith("data/")}
    return _Contents(value, _once(storage), sizes, order)


def _legacy(opened: Opened, head: bytes) -> _Contents:
    where = str(opened.path)
    with _damage_reported(opened, "its pickle"):
        if not head.startswith(b"\x80") or read_pickle(opened.file) != _MAGIC:
            raise FormatError(where, kind_fault(head, "is no file that torch.save wrote"))
        read_pickle(opened.file)  # The version of the protocol.
        system = read_pickle(opened.file)
        value, keys = read_pickle(opened.file), read_pickle(opened.file)
    order: Order = ">" if isinstance(system, dict) and system.get("little_endian") is False else "<"
    items = {each.key: _ITEMS.get(each.dtype, 1) for each in _storages(value, where)}
    at, places = opened.file.tell(), dict[str, tuple[int, int]]()
    for key in keys if isinstance(keys, list) else []:
        memory = aligned(8)
        read_at(opened.file, [memory], at, where)
        size = int.from_bytes(memory.tobytes(), "little", signed=True) * items.get(str(key), 1)
        if not 0 <= size <= opened.size - at - 8:
            raise FormatError(where, f"ends before the numbers of storage {key!r} do: it is truncated")
        places[str(key)] = at + 8, size
        at += 8 + size

    def read(key: str) -> Array:
        place, size = places[key]
        memory = aligned(size)
        read_at(opened.file, [memory], place, where)
        return memory

    return _Contents(value, _once(read), {key: size for key, (_, size) in places.items()}, order)


def _once(read: Callable[[str], Array]) -> Callable[[str], Array]:
    """As ``read``, but the last one is kept: many tensors may be views of one storage."""
    last: list[tuple[str, Array]] = []

    def kept(key: str) -> Array:
        if not last or last[0][0] != key:
            last[:] = [(key, read(key))]
        return last[0][1]

    return kept


def _damage_reported(opened: Opened, what: str) -> AbstractContextManager[None]:
    return damage_reported(opened.path, f"{what} is damaged", ERRORS)


# -- what was saved


def _leaves(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """What is neither dict nor list in ``value``, by its name with dots."""
    waiting, seen, again, known = [("", value, 0)], 0, 0, set[int]()
    while waiting:
        name, each, depth = waiting.pop()
        inside = _inside(each)
        seen += 1
        again += inside is not None and id(each) in known
        known.add(id(each))
        if depth > _DEEPEST or seen > 16 * MAX_TENSORS or again > _AGAIN:
            raise FormatError(where, "is nested too deeply, or in itself")
        if inside is None:
            yield name or "(the file)", each
        else:
            waiting += [(f"{name}.{key}" if name and key else name or key, part, depth + 1) for key, part in inside]


def _inside(value: Any) -> list[tuple[str, Any]] | None:
    """What is in a container, the last first; ``None`` for anything else."""
    if isinstance(value, Made) and isinstance(value.state, dict) and value.state.keys() >= set(_PARTS):
        return [("", value.state[part]) for part in reversed(_PARTS)]
    if isinstance(value, Made) and value.items:
        value = value.items
    if isinstance(value, dict):
        return [(str(key), part) for key, part in reversed(value.items())]
    if isinstance(value, list | tuple):
        return [(str(key), part) for key, part in reversed(list(enumerate(value)))]
    return None


def _tensor(value: Any) -> _Tensor | str:
    """The tensor that a value is, or what else it is; "" where that is nothing to speak of."""
    if value is None or isinstance(value, bool | int | float | str | bytes | set):
        return ""
    if isinstance(value, Made) and value.maker == _PARAMETER and value.arguments:
        return _tensor(value.arguments[0])
    if isinstance(value, Made) and value.maker in (_REBUILD, _REBUILD_TYPED):
        found = _rebuilt(value)
        return found or "is a tensor of a kind that is not known"
    return f"is an object of {value.maker if isinstance(value, Made) else value}, and no tensor"


def _rebuilt(value: Made) -> _Tensor | None:
    if len(value.arguments) < 4 or not isinstance(value.arguments[0], Persistent):
        return None
    held, offset, shape, strides = value.arguments[:4]
    storage = _storage(held)
    dtype = storage.dtype if storage else ""
    if value.maker == _REBUILD_TYPED and len(value.arguments) > 6 and isinstance(value.arguments[6], Named):
        dtype = value.arguments[6].name
    if not (isinstance(shape, tuple) and isinstance(strides, tuple)):
        return None
    numbers = (offset, *shape, *strides)
    if storage is None or len(shape) != len(strides) or any(type(each) is not int or each < 0 for each in numbers):
        return None
    return _Tensor(storage, dtype, offset, shape, strides)


def _storage(held: Persistent) -> _Storage | None:
    """The storage of a persistent identification: its type, key, device and count, and in old files a view."""
    match held.identification:
        case ("storage", Named(_, kind), str(key), _, int(), *view) if view in ([], [None]):
            return _Storage(key, _STORAGES.get(kind, ""))
    return None


def _storages(value: Any, where: str) -> Iterator[_Storage]:
    for _, each in _leaves(value, where):
        found = _tensor(each)
        if isinstance(found, _Tensor):
            yield found.storage


# -- tensors


def _fault(each: _Tensor, sizes: Mapping[str, int]) -> str | None:
    item = _ITEMS.get(each.dtype, 1)
    if fault := shape_fault(each.shape, item):
        return fault
    if each.storage.key not in sizes:
        return f"is in storage {each.storage.key!r}, which is missing"
    if each.end * item > (size := sizes[each.storage.key]):
        return f"ends at byte {each.end * item} of storage {each.storage.key!r}, which has {size}"
    return None


def _entry(each: _Tensor) -> Entry:
    dtype = "float32" if each.dtype == "bfloat16" else each.dtype
    return Entry(dtype, each.shape, math.prod(each.shape) * _ITEMS.get(dtype, 1))


def _in_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of an array whose elements lie one after the other."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _array(each: _Tensor, storage: Array, order: Order, *, alone: bool) -> Array:
    """The tensor in memory of its own, which that of its storage is where no other tensor has the same."""
    item = _ITEMS[each.dtype]
    stored, dtype = storage[each.offset * item : each.end * item], each.dtype
    if dtype == "bfloat16":
        stored = stored.view(f"{order}u2").astype("<u2").view(np.uint8)
        stored, dtype, item, order = widened(stored), "float32", 4, "<"
    flat = stored.view(np.dtype(dtype).newbyteorder(order))
    if flat.size == math.prod(each.shape) and each.strides == _in_order(each.shape):
        whole = alone and each.offset == 0 and flat.flags.writeable
        return flat.reshape(each.shape).astype(np.dtype(dtype), copy=not whole)
    steps = tuple(step * item for step in each.strides)
    found = np.lib.stride_tricks.as_strided(flat, each.shape, steps, writeable=False)
    return found.astype(np.dtype(dtype), order="C", copy=True)
