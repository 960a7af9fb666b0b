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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from itertools import accumulate
from operator import attrgetter, mul
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

import numpy as np

from portable_nn.core.errors import FormatError, UnsupportedError
from portable_nn.core.files import MAX_BYTES, kind_fault, read_at, refuse, stored_bytes
from portable_nn.core.limits import UNPACKED, claims
from portable_nn.core.memory import CHUNK, aligned
from portable_nn.core.tensors import Array
from portable_nn.core.text import LONGEST, shortened
from portable_nn.plain.npz import ERRORS, member_faults, open_archive, unpacked
from portable_nn.plain.pickles import TEXT, Made, Named, Persistent, read_pickle
from portable_nn.plain.tensors import (
    MAX_RANK,
    NUMBERS,
    Entry,
    Listing,
    Opened,
    count_fault,
    damage_reported,
    shape_fault,
    widened,
)

Order: TypeAlias = Literal["<", ">"]

_ZIP: Final = b"PK\x03\x04"

_HEAD: Final = struct.Struct("<26x2H")
"""The header before a member of an archive: at its end the lengths of the name and of what follows the name."""

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

_OTHERS: Final = {
    "UntypedStorage": 1,
    "QInt32Storage": 4,
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
}
"""The bytes of an element of storages that are passed over."""

_REBUILD: Final = Named("torch._utils", "_rebuild_tensor_v2")
_REBUILD_TYPED: Final = Named("torch._utils", "_rebuild_tensor_v3")
"""Functions that make a tensor of a storage, its place there, shape and strides; v3 has the element type as well."""

_PARAMETERS: Final = tuple(Named("torch._utils", f"_rebuild_parameter{more}") for more in ("", "_with_state"))
"""Functions that make a parameter of a tensor."""

_PARTS: Final = ("_parameters", "_buffers", "_modules")
"""Attributes of a module that was saved whole."""

_DEEPEST: Final = 100

_AGAIN: Final = 2**15
"""The number of times that one container may be inside of others: lists of one list twice, and so on, claim any
time."""

_SEEN: Final = 2**23
"""The number of parts that all containers may have, those counted again that are inside of several: twice a pickle's
steps."""

_LONGEST: Final = 1000
"""A name has fewer characters."""

_ENTRY: Final = 2**8
"""The bytes of memory that an entry of a listing takes, without its text."""

_VALUES: Final = (int, float, str, bytes, bytearray)
"""The types of values that are saved beside tensors, and passed over."""


class _Tensor(NamedTuple):
    """A view of the storage that has a key."""

    key: str
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
    """The tensors of a file, after the place of each has been checked, and the memory that they take claimed."""
    head, where = opened.file.read(64), str(opened.path)
    opened.file.seek(0)
    claim = claims(where, stored_bytes(opened.file), UNPACKED)
    form = _archive if head.startswith(_ZIP) else partial(_legacy, head)
    value, load, sizes, order = form(opened, claim)
    tensors, others = _listed(value, claim, where)
    faults = [(name, _fault(each, sizes)) for name, each in tensors.items()]
    refuse(where, [f"tensor {name!r} {fault}" for name, fault in faults if fault])
    uses = Counter(each.key for each in tensors.values())
    storage = _once(load, uses)

    def read(name: str) -> Array:
        each = tensors[name]
        if each.dtype not in _ITEMS:
            raise UnsupportedError(where, f"tensor {name!r} is {each.dtype}, which numpy does not have")
        return _array(each, storage(each.key), order, alone=uses[each.key] == 1)

    entries = {name: _entry(each) for name, each in tensors.items()}
    wide = ["bfloat16 is read as float32, which loses nothing"]
    notes = wide if any(each.dtype == "bfloat16" for each in tensors.values()) else []
    return Listing(entries, read, skipped=others, notes=notes)


# -- the two forms of a file


def _archive(opened: Opened, claim: Callable[[int], None]) -> _Contents:
    archive, members = open_archive(opened)
    ends = ((i.filename, i.header_offset + _HEAD.size + i.compress_size) for i in members)
    beyond = (f"{name!r} lies beyond the end of the file" for name, end in ends if end > opened.size)
    refuse(str(opened.path), [*member_faults(members, attrgetter("filename")), *beyond])
    by_name = {info.filename.partition("/")[2]: info for info in members}
    if len(by_name) < len(members):
        raise FormatError(opened.path, "has members of the same name")
    if "data.pkl" not in by_name:
        raise FormatError(opened.path, "is a zip archive without the member data.pkl, as torch.save writes it")
    size = by_name["data.pkl"].file_size
    claim(sum(info.file_size for info in members) + TEXT * size)

    def storage(key: str) -> Array:
        info = by_name[f"data/{key}"]
        with _damage_reported(opened, f"{info.filename!r} in the archive"):
            if info.compress_type != zipfile.ZIP_STORED:
                return unpacked(archive, info)
            head, memory = aligned(_HEAD.size), aligned(info.file_size)
            read_at(opened.file, [head], info.header_offset, str(opened.path))
            lengths = _HEAD.unpack(head.tobytes())
            read_at(opened.file, [memory], info.header_offset + _HEAD.size + sum(lengths), str(opened.path))
            if zlib.crc32(memory.data) != info.CRC:
                raise zipfile.BadZipFile("Bad CRC-32")
        return memory

    with _damage_reported(opened, "its pickle"), archive.open(by_name["data.pkl"]) as file:
        buffered = io.BufferedReader(cast("io.RawIOBase", file), CHUNK)
        value = read_pickle(buffered, size, claim)
        while buffered.read(CHUNK):  # The checksum is compared at the end.
            pass
    order: Order = "<"
    if "byteorder" in by_name:
        with _damage_reported(opened, "its byte order"), archive.open(by_name["byteorder"]) as file:
            order = ">" if file.read(CHUNK).strip() == b"big" else "<"
    sizes = {name.removeprefix("data/"): info.file_size for name, info in by_name.items() if name.startswith("data/")}
    return _Contents(value, storage, sizes, order)


def _legacy(head: bytes, opened: Opened, claim: Callable[[int], None]) -> _Contents:
    where, items = str(opened.path), dict[str, int | None]()

    def persistent(identification: Any) -> Any:
        match identification:
            case ("module", Named() as kind, *_):
                return kind
            case ("storage", Named(_, kind), str(key), *_):  # Their numbers are counted in elements of the first type.
                items.setdefault(key, _ITEMS.get(_STORAGES.get(kind, kind), _OTHERS.get(kind)))
        return Persistent(identification)

    file = io.BufferedReader(opened.file, CHUNK)
    read_next = partial(read_pickle, file, opened.size, claim, persistent)
    claim(TEXT * opened.size)
    try:
        is_one = read_next() == _MAGIC
    except ERRORS:
        is_one = False
    if not is_one:
        raise FormatError(where, kind_fault(head, "is no file that torch.save wrote"))
    with _damage_reported(opened, "its pickle"):
        read_next()  # The version of the protocol.
        system = read_next()
        value, keys = read_next(), read_next()
    places = _places(keys if isinstance(keys, list) else [], items, opened, file.tell())
    file.detach()

    def read(key: str) -> Array:
        place, size = places[key]
        memory = aligned(size)
        read_at(opened.file, [memory], place, where)
        return memory

    order: Order = ">" if isinstance(system, dict) and system.get("little_endian") is False else "<"
    return _Contents(value, read, {key: size for key, (_, size) in places.items()}, order)


def _places(keys: list[Any], items: Mapping[str, int | None], opened: Opened, at: int) -> dict[str, tuple[int, int]]:
    """The place where each storage of a file begins, and its bytes: they follow each other, each behind a count of
    elements."""
    places = dict[str, tuple[int, int]]()
    for key in keys:
        if not isinstance(key, str) or (item := items.get(key)) is None:
            raise FormatError(opened.path, "has a storage of an unknown kind: what follows it cannot be found")
        count = aligned(8)
        if at + 8 <= opened.size:
            read_at(opened.file, [count], at, str(opened.path))
        size = int.from_bytes(count.tobytes(), "little", signed=True) * item
        if not 0 <= size <= opened.size - at - 8:
            raise FormatError(opened.path, f"ends before the numbers of storage {shortened(key)} do: it is truncated")
        places[key] = at + 8, size
        at += 8 + size
    return places


def _once(load: Callable[[str], Array], uses: Mapping[str, int]) -> Callable[[str], Array]:
    """As ``load``, but what has several uses is kept for all of them: tensors may be views of two storages in turn."""
    kept, left = dict[str, Array](), dict[str, int]()

    def storage(key: str) -> Array:
        found = kept.pop(key) if key in kept else load(key)
        left[key] = (left.get(key) or uses[key]) - 1
        if left[key]:
            kept[key] = found
        return found

    return storage


def _damage_reported(opened: Opened, what: str) -> AbstractContextManager[None]:
    return damage_reported(opened.path, f"{what} is damaged", ERRORS)


# -- what was saved


def _listed(value: Any, claim: Callable[[int], None], where: str) -> tuple[dict[str, _Tensor], dict[str, str]]:
    """The tensors in ``value``, and what the other objects in it are, by name."""
    tensors, others, known = dict[str, _Tensor](), dict[str, str](), dict[int, _Tensor | str]()
    for name, each in _leaves(value, where):
        found = known[id(each)] = known.get(id(each)) or _tensor(each)
        claim(_ENTRY + 4 * (len(name) + len(found)))
        if isinstance(found, str):
            others[name] = found
        elif name in tensors or len(name) >= _LONGEST:
            wrong = "two tensors of the name" if name in tensors else f"a name of {_LONGEST} characters or more:"
            raise FormatError(where, f"has {wrong} {shortened(name)}")
        else:
            tensors[name] = found
        if fault := count_fault(len(tensors)):
            raise FormatError(where, fault)
    return tensors, others


def _leaves(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """The tensors and other objects in ``value``, by their names with dots."""
    levels, seen, again, known = [("", iter([("", value)]))], 0, 0, set[int]()
    while levels:
        above, parts = levels[-1]
        for key, each in parts:
            seen += 1
            if not each or isinstance(each, _VALUES):
                continue
            name, inside = _joined(above, str(key)), _inside(each)
            if inside is None:
                yield name or "(the file)", each
                continue
            levels.append((name, iter(inside)))
            again += id(each) in known
            known.add(id(each))
            break
        else:
            levels.pop()
        if len(levels) > _DEEPEST or seen > _SEEN or again > _AGAIN:
            raise FormatError(where, "is nested too deeply, or in itself")


def _joined(above: str, key: str) -> str:
    """The name of a part; its beginning alone where it is long, as a long one that is shared makes many."""
    key = key[:_LONGEST]
    return (f"{above}.{key}" if above and key else above or key)[:_LONGEST]


def _inside(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """The keys and the parts of a container; ``None`` for anything else."""
    if isinstance(value, Made):
        state = value.state
        if isinstance(state, dict) and state.keys() >= set(_PARTS):
            return [("", state[part]) for part in _PARTS]
        value = value.items
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else None


def _tensor(value: Any) -> _Tensor | str:
    """The tensor that an object is, or what else it is."""
    if isinstance(value, Made) and value.maker in _PARAMETERS and value.arguments:
        value = value.arguments[0]
    if isinstance(value, Made) and value.maker in (_REBUILD, _REBUILD_TYPED):
        return _rebuilt(value) or "is a tensor of a kind that is not known"
    kind = value.maker if isinstance(value, Made) else value
    return f"is an object{f' of {kind}' if isinstance(kind, Named) else ''}, and no tensor"


def _rebuilt(value: Made) -> _Tensor | None:
    match value.arguments:
        case (Persistent() as held, offset, tuple() as shape, tuple() as strides, _, _, *more) if (
            len(shape) == len(strides) <= MAX_RANK
        ):
            key, dtype = _storage(held)
        case _:
            return None
    if value.maker == _REBUILD_TYPED:
        dtype = more.pop(0).name[:LONGEST] if more and isinstance(more[0], Named) else ""
    if not (key and dtype) or any(
        more
    ):  # The last argument says that it is the conjugate or the negative of what is stored.
        return None
    if any(type(each) is not int or not 0 <= each <= MAX_BYTES for each in (offset, *shape, *strides)):
        return None
    return _Tensor(key, dtype, offset, shape, strides)


def _storage(held: Persistent) -> tuple[str, str]:
    """The key and the element type of a storage, which is "" for bytes and for what is none.

    Its persistent identification has its type, key, device and count, and in old files a view.
    """
    match held.identification:
        case ("storage", Named(_, kind), str(key), _, int(), *view) if view in ([], [None]) and len(key) <= LONGEST:
            return key, _STORAGES.get(kind, "")
    return "", ""


# -- tensors


def _fault(each: _Tensor, sizes: Mapping[str, int]) -> str | None:
    item = _ITEMS.get(each.dtype, 1)
    if fault := shape_fault(each.shape, item):
        return fault
    if each.key not in sizes:
        return f"is in storage {each.key!r}, which is missing"
    if each.end * item > (size := sizes[each.key]):
        return f"ends at byte {each.end * item} of storage {each.key!r}, which has {size}"
    return None


def _entry(each: _Tensor) -> Entry:
    dtype = "float32" if each.dtype == "bfloat16" else each.dtype
    return Entry(dtype, each.shape, math.prod(each.shape) * _ITEMS.get(dtype, 1))


def _in_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of an array whose elements lie one after the other."""
    return tuple(accumulate(shape[:0:-1], mul, initial=1))[::-1][: len(shape)]


def _array(each: _Tensor, storage: Array, order: Order, *, alone: bool) -> Array:
    """The tensor in memory of its own, which that of its storage is where no other tensor has the same."""
    if 0 in each.shape:
        return np.zeros(each.shape, _entry(each).dtype)
    item, is_wide = _ITEMS[each.dtype], each.dtype == "bfloat16"
    dtype = np.dtype("u2" if is_wide else each.dtype)
    found = storage[each.offset * item : each.end * item].view(dtype.newbyteorder(order))
    in_order = found.size == math.prod(each.shape) and each.strides == _in_order(each.shape)
    if in_order:
        found = found.reshape(each.shape)
    else:
        steps = [step * item if size > 1 else 0 for size, step in zip(each.shape, each.strides, strict=True)]
        found = np.lib.stride_tricks.as_strided(found, each.shape, steps, writeable=False)
    if is_wide:
        memory = widened(found.astype("<u2", order="C").reshape(-1).view(np.uint8))
        return memory.view("<f4").reshape(each.shape).astype(np.float32, copy=False)
    return found.astype(dtype, order="C", copy=not (in_order and alone and each.offset == 0))
