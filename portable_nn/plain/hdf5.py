"""Plain HDF5 files, such as Keras, PyTables, MATLAB and R write.

The HDF5 library follows external links, external storage and virtual datasets into other files, and loads filters as
plugins. So every object is inspected before its data are read: whatever refers to other files or plugins is refused,
and whatever is no array of numbers is skipped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from portable_nn.core.errors import FileError, FormatError
from portable_nn.core.files import recognise
from portable_nn.core.graph import format_shape
from portable_nn.core.memory import aligned
from portable_nn.core.text import quantity
from portable_nn.format.hdf5 import SIGNATURE
from portable_nn.format.tensors import Array
from portable_nn.format.validate import refuse
from portable_nn.plain.tensors import (
    NUMBERS,
    RATIO,
    Entry,
    Listing,
    Opened,
    Place,
    count_fault,
    entry,
    overlaps,
    shape_fault,
)

_BUILT_IN: Final = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
"""The lossless filters that are built into h5py; others would be loaded as plugins."""

MAX_TEXT: Final = 2**24
"""The longest text, in bytes, that is taken from an attribute."""

_ERRORS: Final = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, UnicodeError)
"""What h5py raises for damaged files and for what numpy does not have."""


@dataclass
class _Found:
    """The contents of a file, as far as the walk through it has come."""

    datasets: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    spans: list[tuple[str, int, int]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    filtered: list[set[str]] = field(default_factory=list)

    @property
    def all_notes(self) -> list[str]:
        """What is unusual, and whether something is compressed."""
        filters = ", ".join(sorted(set().union(*self.filtered)))
        return self.notes + ([f"{quantity(len(self.filtered), 'dataset')} filtered by {filters}"] if filters else [])


def open_file(opened: Opened) -> Listing:
    """The datasets of numbers by their paths, without the first ``/``, after all objects have been checked."""
    import h5py

    where = str(opened.path)
    if fault := _framing_fault(opened):
        raise FormatError(where, fault)
    with _errors(opened.path, "the file"):
        file = opened.stack.enter_context(h5py.File(opened.path, "r"))
        found = _walk(file, opened.size)
        refuse(where, found.faults + list(overlaps(found.spans)))
        metadata = _texts(file, found.notes)

    def read(name: str) -> Array:
        wanted = found.entries[name]
        memory = aligned(wanted.bytes)
        numbers: Array = memory.view(wanted.dtype).reshape(wanted.shape)
        with _errors(opened.path, f"'/{name}'"):
            found.datasets[name].id.read(h5py.h5s.ALL, h5py.h5s.ALL, numbers)
        return numbers

    offsets = {name: each.id.get_offset() for name, each in found.datasets.items()}
    places = {n: Place(opened.file, at, found.datasets[n].dtype) for n, at in offsets.items() if at is not None}
    return Listing(found.entries, read, found.skipped, found.all_notes, metadata, places)


def _framing_fault(opened: Opened) -> str | None:
    head = opened.file.read(512)
    if head.startswith(SIGNATURE):
        return None
    start = 512
    while start + len(SIGNATURE) <= opened.size:  # Where the format lets a file begin.
        opened.file.seek(start)
        if opened.file.read(len(SIGNATURE)) == SIGNATURE:
            return f"has a user block: the HDF5 data begin at byte {start}, after data of another kind"
        start *= 2
    return recognise(head) or (f"begins with {head[:8]!r}, not as an HDF5 file does" if head else "is empty")


def _walk(file: Any, size: int) -> _Found:
    """Every object that can be reached, each looked at before it is opened further."""
    import h5py

    found, seen = _Found(), {h5py.h5o.get_info(file.id).addr}
    waiting = [("", file)]
    while waiting:
        path, group = waiting.pop()
        inner = []
        for link in group:
            # h5py gives what is not UTF-8 as bytes.
            name = f"{path}/{link if isinstance(link, str) else link.decode(errors='backslashreplace')}"
            if fault := _link_fault(group, link):
                found.faults.append(f"{name!r} {fault}")
                continue
            each = group[link]
            if isinstance(each, h5py.Datatype):
                found.skipped[name] = "is a type, not an array"
            elif fault := _object_fault(each, seen):
                found.faults.append(f"{name!r} {fault}")
            elif isinstance(each, h5py.Group):
                inner.append((name, each))
            else:
                _look_at(name, each, size, found)
        waiting += reversed(inner)
        if fault := count_fault(len(seen)):
            found.faults.append(fault)
            return found
    return found


def _link_fault(group: Any, name: str | bytes) -> str | None:
    """The fault of a link, found without opening what it leads to."""
    import h5py

    if isinstance(name, bytes) or "/" in name or name in {"", "."}:
        return "has a name that is no part of a path"
    if group.get(name, getlink=True, getclass=True) is h5py.HardLink:
        return None
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        return f"is an external link to {link.path!r} in {link.filename!r}: external links are not followed"
    if isinstance(link, h5py.SoftLink):
        return f"is a soft link to {link.path!r}: soft links are not followed"
    return "cannot be found by its name: the group is damaged"


def _object_fault(each: Any, seen: set[int]) -> str | None:
    """The fault of an object with more than one name, also where its reference count is wrong."""
    import h5py

    info = h5py.h5o.get_info(each.id)
    if info.rc != 1 or info.addr in seen:
        return f"has {max(info.rc, 2)} names (hard links): objects with several names, and circles of them, are refused"
    seen.add(info.addr)
    return None


def _look_at(name: str, dataset: Any, size: int, found: _Found) -> None:
    """Sort one dataset into ``found``; nothing of its data is read."""
    fault = _place_fault(dataset)
    dtype, reason = (None, None) if fault else _dtype(dataset)
    if reason:
        found.skipped[name] = reason
    elif dtype:
        fault = shape_fault(dataset.shape, dtype.itemsize) or _storage_fault(dataset, dtype, size)
    if fault:
        found.faults.append(f"{name!r} {fault}")
    elif dtype:
        key = name.removeprefix("/")
        found.datasets[key], found.entries[key] = dataset, entry(dtype.name, dataset.shape)
        if (offset := dataset.id.get_offset()) is not None:
            found.spans.append((name, offset, offset + found.entries[key].bytes))
        if filters := _filters(dataset):
            found.filtered.append({_BUILT_IN[code] for code in filters})


def _place_fault(dataset: Any) -> str | None:
    """The fault of a dataset that refers to other files or needs a plugin."""
    import h5py

    properties = dataset.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        return "is a virtual dataset, whose numbers are those of others: they are not followed"
    if count := properties.get_external_count():
        name = properties.get_external(0)[0].decode(errors="replace")
        more = f" and {count - 1} others" if count > 1 else ""
        return f"has its numbers in another file, {name!r}{more}, which is not opened"
    if unknown := [code for code in _filters(dataset) if code not in _BUILT_IN]:
        known = ", ".join(_BUILT_IN.values())
        return f"needs the filter {unknown[0]}, which is not one of {known}: filters are not loaded"
    return None


def _filters(dataset: Any) -> list[int]:
    properties = dataset.id.get_create_plist()
    return [properties.get_filter(place)[0] for place in range(properties.get_nfilters())]


def _dtype(dataset: Any) -> tuple[np.dtype[Any] | None, str | None]:
    """The type of numbers that a dataset has; or why it has none."""
    import h5py

    stored = dataset.id.get_type()
    if stored.committed():
        return None, "has a type that is an object of its own"
    try:
        dtype = dataset.dtype
        exact = h5py.h5t.py_create(np.dtype(dtype.str)).equal(stored)
    except (TypeError, ValueError):
        return None, "has a type that numpy lacks"
    if dtype.name not in NUMBERS or not exact:
        return None, f"holds {_KINDS.get(stored.get_class(), 'another type')}, not numbers that numpy has"
    if dataset.shape is None:
        return None, "is empty and without a shape"
    return dtype.newbyteorder("="), None


_TEXT: Final = 3
_KINDS: Final = {
    0: "integers of an unusual width", 1: "floats of an unusual form", 2: "times", _TEXT: "text", 4: "bits",
    5: "opaque bytes", 6: "records (a compound type)", 7: "references", 8: "an enumeration",
    9: "rows of different lengths (vlen)", 10: "small arrays",
}  # fmt: skip
"""What the classes of HDF5's types hold."""


def _storage_fault(dataset: Any, dtype: np.dtype[Any], size: int) -> str | None:
    """The fault of a dataset that stores fewer bytes than its shape needs: fill values, or a decompression bomb."""
    needed, stored = math.prod(dataset.shape) * dtype.itemsize, dataset.id.get_storage_size()
    what = f"is {dtype} {format_shape(dataset.shape)}, which takes {needed} bytes"
    if not needed:
        return None
    if dataset.chunks is not None:
        return _chunk_fault(dataset, dtype, stored, what)
    if stored != needed:
        return f"{what}, but {stored} are stored"
    offset = dataset.id.get_offset()  # None for what is in the object's header
    if offset is not None and offset + needed > size:
        return f"{what}, but they would end at byte {offset + needed} of a file of {size}"
    return None


def _chunk_fault(dataset: Any, dtype: np.dtype[Any], stored: int, what: str) -> str | None:
    chunks = math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    unpacked = chunks * math.prod(dataset.chunks) * dtype.itemsize
    ratio = RATIO if _filters(dataset) else 1
    if unpacked > ratio * stored:
        limit = f", of which at most {ratio:,} times as much can be made" if ratio > 1 else ""
        return f"{what} (in whole chunks, {unpacked}), but {stored} are stored{limit}"
    there = dataset.id.get_num_chunks()
    return None if there == chunks else f"{what}, in {chunks} chunks, but {there} are stored"


def _texts(file: Any, notes: list[str]) -> dict[str, str]:
    """The attributes of the file that are single texts of a fixed length.

    For those of any length the library follows pointers, and may loop for ever in damaged files.
    """
    texts, left = {}, []
    for name in filter(_is_text, file.attrs):
        attribute = file.attrs.get_id(name)
        kind = attribute.get_type()
        if kind.get_class() != _TEXT or attribute.shape != ():
            continue
        if kind.is_variable_str():
            left.append(name)
        elif attribute.get_storage_size() <= MAX_TEXT:
            value = np.empty((), f"S{kind.get_size()}")
            attribute.read(value)
            texts[name] = value.tobytes().rstrip(b"\0").decode(errors="replace")
    if left:
        notes.append(f"the file says more about itself, in texts of variable length: {', '.join(left)}: skipped")
    return texts


def _is_text(name: object) -> bool:
    """Whether h5py could read a name as Unicode."""
    return isinstance(name, str) and name.isprintable()


@contextmanager
def _errors(path: Path, what: str) -> Iterator[None]:
    """Turns every error that the library raises for a file into one of this package."""
    try:
        yield
    except FileError:
        raise
    except _ERRORS as error:
        reason = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        raise FormatError(path, f"{what} is damaged, or HDF5 cannot read it: {reason}") from error
