"""Plain HDF5 files, such as Keras, PyTables, MATLAB, R and netCDF-4 write.

The HDF5 library follows external links, external storage and virtual datasets into other files, and loads filters as
plugins. Therefore every object is inspected before its data are read: references to other files and plugins are
refused, and everything that is not an array of numbers is skipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from io import FileIO
from itertools import chain
from typing import Any, Final

import numpy as np

from portable_nn.core.errors import FormatError
from portable_nn.core.files import kind_fault, refuse
from portable_nn.core.graph import format_shape
from portable_nn.core.limits import DEFLATE, excess
from portable_nn.core.memory import aligned
from portable_nn.core.tensors import Array
from portable_nn.core.text import quantity, some
from portable_nn.plain.packing import ATTRIBUTES, MEANINGS, Meaning, Packing, meaning_of, packing_of
from portable_nn.plain.tensors import (
    NUMBERS,
    ArrayPlace,
    Listing,
    Opened,
    count_fault,
    damage_reported,
    entry,
    overlaps,
    shape_fault,
)

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"

NETCDF: Final = (".nc", ".nc4")
"""The suffixes of netCDF-4, which is HDF5 with attributes that say what the numbers are."""

_BUILT_IN: Final = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
"""The lossless filters that are built into h5py, by their codes; others would be loaded as plugins."""

MAX_TEXT: Final = 2**24
"""The longest text, in bytes, that is read from an attribute."""

_ERRORS: Final = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, UnicodeError)
"""The errors of h5py for damaged files and for types that numpy lacks."""


def open_file(opened: Opened) -> Listing:
    """The datasets of numbers by their paths without the leading ``/``, after all objects have been checked."""
    import h5py

    where, is_netcdf = str(opened.path), opened.path.suffix.lower() in NETCDF
    start = superblock(opened.file, opened.size, where)
    with _damage_reported(opened, "the file"):
        file = opened.stack.enter_context(h5py.File(opened.path, "r"))
        datasets, texts, skipped, faults = _walk(file, opened.size, opened.in_pieces)
        packings = _packings(datasets, skipped, where, is_netcdf)
        entries = {name: entry(packings.get(name, each).dtype.name, each.shape) for name, each in datasets.items()}
        both = {**datasets, **texts}
        offsets = {name: at for name, each in both.items() if (at := each.id.get_offset()) is not None}
        spans = ((f"/{name}", at, at + both[name].nbytes) for name, at in offsets.items())
        refuse(where, [*faults, *overlaps(spans)])
        metadata, notes = _metadata(file, texts)
        meanings = dict(zip(datasets, map(_meaning, datasets.values()), strict=True))
    if start:
        notes.append(f"the HDF5 data begin at byte {start}, after a user block, which is not read")

    notes += _remarks(datasets, packings)
    mapped = [name for name in entries if name in offsets and name not in packings]
    places = {name: ArrayPlace(opened.file, offsets[name], datasets[name].dtype) for name in mapped}
    chunks = {name: each.chunks[0] if each.chunks else 1 for name, each in datasets.items() if each.shape}
    read, rows = _readers(opened, datasets, packings)
    unread = {name: _unread(datasets[name], meanings[name]) for name in (datasets if is_netcdf else packings)}
    return Listing(entries, read, skipped, notes, metadata, places, rows, chunks, unread, meanings)


def _remarks(datasets: Mapping[str, Any], packings: Mapping[str, Packing]) -> Iterator[str]:
    """Notes on datasets that are packed, or filtered."""
    if packings:
        yield f"{quantity(len(packings), 'array')} unpacked by attributes: {some(packings)}"
    filtered = [filters for filters in map(_filters, datasets.values()) if filters]
    if filtered:
        names = ", ".join(sorted({_BUILT_IN[code] for code in chain.from_iterable(filtered)}))
        yield f"{quantity(len(filtered), 'dataset')} filtered by {names}"


def _readers(
    opened: Opened, datasets: Mapping[str, Any], packings: Mapping[str, Packing]
) -> tuple[Callable[[str], Array], Callable[[str, int, int], Array]]:
    """Two functions: one reads a dataset, the other some of its rows."""
    import h5py

    def read(name: str) -> Array:
        if name in packings:
            return part(name, ())
        dataset = datasets[name]
        memory = aligned(dataset.nbytes)
        numbers: Array = memory.view(dataset.dtype.newbyteorder("=")).reshape(dataset.shape)
        with _damage_reported(opened, f"'/{name}'"):
            dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, numbers)
        return numbers

    def part(name: str, place: slice | tuple[()]) -> Array:
        with _damage_reported(opened, f"'/{name}'"):
            found = np.asarray(datasets[name][place])
        return packings[name].unpacked(found, f"{opened.path}: {name}") if name in packings else found

    return read, lambda name, start, stop: part(name, slice(start, stop))


def superblock(file: FileIO, size: int, where: str) -> int:
    """The place where the HDF5 data begin in a file of ``size`` bytes: at 0, or at 512, 1024, 2048, … after a user
    block.

    Raises ``FormatError`` where they do not.
    """
    file.seek(0)
    head, start = file.read(512), 0
    while start + len(SIGNATURE) <= size:
        file.seek(start)
        if file.read(len(SIGNATURE)) == SIGNATURE:
            return start
        start = 2 * start or 512
    raise FormatError(where, kind_fault(head, f"begins with {head[:8]!r}, not as an HDF5 file does"))


def _walk(file: Any, size: int, in_pieces: bool) -> tuple[dict[str, Any], dict[str, Any], dict[str, str], list[str]]:
    """The datasets of numbers and of single texts by name, why others are skipped, and the faults of all objects.

    Each object is inspected before the objects in it; no data are read.
    """
    import h5py

    datasets, texts, skipped, faults = dict[str, Any](), dict[str, Any](), dict[str, str](), list[str]()
    seen, waiting = {h5py.h5g.get_objinfo(file.id).objno[0]}, [("", file)]
    while waiting:
        path, group = waiting.pop()
        inner = []
        for link in group:
            # h5py gives what is not UTF-8 as bytes.
            name = f"{path}/{link if isinstance(link, str) else link.decode(errors='backslashreplace')}"
            if fault := _link_fault(group, link):
                faults.append(f"{name!r} {fault}")
                continue
            # Not by the object: what libhdf5 tells of it includes sizes, for which damaged groups take gigabytes.
            address = group.id.links.get_info(link.encode()).u
            each = group[link]
            if isinstance(each, h5py.Datatype):
                skipped[name] = "is a type, not an array"
            elif fault := _object_fault(each, address, seen):
                faults.append(f"{name!r} {fault}")
            elif isinstance(each, h5py.Group):
                inner.append((name, each))
            elif _is_text(each, each.id.get_type()) and not _storage_fault(each, size):
                texts[name.removeprefix("/")] = each
            elif reason := _skip_reason(each):
                skipped[name] = reason
            elif fault := shape_fault(each.shape, each.dtype.itemsize) or (
                _piece_fault(each, size) if in_pieces else _storage_fault(each, size)
            ):
                faults.append(f"{name!r} {fault}")
            else:
                datasets[name.removeprefix("/")] = each
        waiting += reversed(inner)
        if fault := count_fault(len(seen)):
            return datasets, texts, skipped, [*faults, fault]
    return datasets, texts, skipped, faults


def _link_fault(group: Any, name: str | bytes) -> str | None:
    """The fault of a link, found without opening its target."""
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


def _object_fault(each: Any, address: int, seen: set[int]) -> str | None:
    """The fault of an object that has several names, refers to other files or needs a plugin.

    ``seen`` are the addresses of the objects so far, to which that of ``each`` is added.
    """
    import h5py

    if address in seen:
        return "has 2 names (hard links): objects with several names, and circles of them, are refused"
    seen.add(address)
    return _reference_fault(each) if isinstance(each, h5py.Dataset) else None


def _reference_fault(dataset: Any) -> str | None:
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


def _skip_reason(dataset: Any) -> str | None:
    """Why a dataset is not an array of numbers, or ``None`` where it is one."""
    import h5py

    stored = dataset.id.get_type()
    if stored.committed():
        return "has a type that is an object of its own"
    try:
        dtype = dataset.dtype
        exact = h5py.h5t.py_create(np.dtype(dtype.str)).equal(stored)
    except (TypeError, ValueError):
        return "has a type that numpy lacks"
    if dtype.name not in NUMBERS or not exact:
        return f"holds {_KINDS.get(stored.get_class(), 'another type')}, not numbers that numpy has"
    if str(_attribute(dataset, "NAME")).startswith(_NO_VARIABLE):
        return "is a dimension of netCDF, and has no numbers"
    return "is empty and without a shape" if dataset.shape is None else None


def _packings(datasets: dict[str, Any], skipped: dict[str, str], where: str, is_netcdf: bool) -> dict[str, Packing]:
    """The packings of packed datasets, by name. Datasets whose numbers are unclear become ``skipped``."""
    found = dict[str, Packing]()
    for name, dataset in list(datasets.items()):
        try:
            given = _attributes(dataset, ATTRIBUTES)
            if is_netcdf and dataset.dtype.kind == "f":
                given.setdefault("_FillValue", FILL)
            if packing := packing_of(dataset.dtype, given, where):
                chunk = math.prod(dataset.chunks or ()) * np.float64().itemsize
                if fault := excess(chunk, dataset.id.get_storage_size(), DEFLATE):
                    raise FormatError(where, f"has chunks of which one, unpacked, {fault}")
                found[name] = packing
        except FormatError as error:
            skipped[f"/{name}"] = error.reason
            del datasets[name]
    return found


def _meaning(dataset: Any) -> Meaning:
    given = _attributes(dataset, MEANINGS)
    unread = tuple(name for name, value in given.items() if isinstance(value, str) and value in _OTHER)
    return meaning_of({name: given[name] for name in given if name not in unread})._replace(unread=unread)


def _attributes(dataset: Any, names: Iterable[str]) -> dict[str, Any]:
    """The attributes among ``names`` that a dataset has."""
    return {name: value for name in names if (value := _attribute(dataset, name)) is not None}


def _attribute(dataset: Any, name: str) -> Any:
    """An attribute: numbers, or a text; a word for what is neither, or too long; ``None`` where there is none.

    The library is asked for no other kind (see ``_is_text``).
    """
    if name not in dataset.attrs:
        return None
    attribute = dataset.attrs.get_id(name)
    kind = attribute.get_type()
    if is_text := _is_text(attribute, kind):
        value = np.empty((), f"S{kind.get_size()}")
    elif kind.get_class() in (0, 1) and attribute.shape is not None and math.prod(attribute.shape) <= MAX_NUMBERS:
        value = np.empty(attribute.shape, attribute.dtype)
    else:
        return _OTHER[kind.get_class() != _TEXT]
    attribute.read(value, kind if is_text else None)
    return _decoded(value) if is_text else value


_OTHER: Final = ("text of variable length", "of another kind or length")
"""The words for attributes that are not read."""


def _unread(dataset: Any, meaning: Meaning) -> list[str]:
    """The names of the attributes that are not read, but for those of the library of netCDF."""
    own = {*ATTRIBUTES, *meaning.read, "CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST"}
    return [str(name) for name in dataset.attrs if name not in own and not str(name).startswith("_Netcdf4")]


_NO_VARIABLE: Final = "This is a netCDF dimension but not a netCDF variable"
"""The beginning of the attribute ``NAME`` of what stores no more than the length of a dimension."""

FILL: Final = 9.969209968386869e36
"""The number that netCDF stores where no float was written, unless ``_FillValue`` is another one."""

MAX_NUMBERS: Final = 1000
"""The most numbers that are read from an attribute."""

_TEXT: Final = 3
_KINDS: Final = {
    0: "integers of an unusual width", 1: "floats of an unusual form", 2: "times", _TEXT: "text", 4: "bits",
    5: "opaque bytes", 6: "records (a compound type)", 7: "references", 8: "an enumeration",
    9: "rows of different lengths (vlen)", 10: "small arrays",
}  # fmt: skip
"""The contents of HDF5's type classes, by their codes."""


def _storage_fault(dataset: Any, size: int) -> str | None:
    """The fault of a dataset that stores fewer bytes than its shape needs: fill values, or a decompression bomb."""
    needed, stored = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_storage_size()
    what = f"is {dataset.dtype.name} {format_shape(dataset.shape)}, which takes {needed} bytes"
    if not needed:
        return None
    if dataset.chunks is not None:
        return _chunk_fault(dataset, stored, size, what)
    if stored != needed:
        return f"{what}, but {stored} are stored"
    offset = dataset.id.get_offset()  # None for data in the object's header
    if offset is not None and offset + needed > size:
        return f"{what}, but they would end at byte {offset + needed} of a file of {size}"
    return None


def _piece_fault(dataset: Any, size: int) -> str | None:
    """The fault of a dataset that is read in pieces: its fill values take no memory, but a chunk is read as a whole."""
    stored, offset = dataset.id.get_storage_size(), dataset.id.get_offset()
    if stored > size or (offset is not None and offset + stored > size):
        return f"stores {stored} bytes, more than the file has after its place"
    chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    return f"has chunks of which one {fault}" if (fault := excess(chunk, min(stored, chunk), DEFLATE)) else None


def _chunk_fault(dataset: Any, stored: int, size: int, what: str) -> str | None:
    if stored > size:  # The sizes of chunks are claims as well.
        return f"{what}, in chunks of {stored} bytes together, more than the file has"
    chunks = math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    unpacked = chunks * math.prod(dataset.chunks) * dataset.dtype.itemsize
    ratio = DEFLATE if _filters(dataset) else 1
    if unpacked > ratio * stored:
        limit = f", which unpack to at most {ratio:,} times as much" if ratio > 1 else ""
        return f"{what} (in whole chunks, {unpacked}), but {stored} are stored{limit}"
    there = dataset.id.get_num_chunks()
    return None if there == chunks else f"{what}, in {chunks} chunks, but {there} are stored"


def _is_text(holder: Any, kind: Any) -> bool:
    """True if a dataset or an attribute of this type is a single text that is not too long.

    For texts of variable length the library follows pointers, and may loop for ever in damaged files.
    """
    return (
        holder.shape == ()
        and kind.get_class() == _TEXT
        and not kind.is_variable_str()
        and kind.get_size() <= MAX_TEXT
        and not kind.committed()
    )


def _metadata(file: Any, texts: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """The single texts in datasets and in attributes of the file and of these, and a note on those that are skipped."""
    import h5py

    found, skipped = dict[str, str](), list[str]()
    for name, dataset in {"": file, **texts}.items():
        if name:
            value = np.empty((), f"S{dataset.dtype.itemsize}")
            dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, value, dataset.id.get_type())
            found[name] = _decoded(value)
        for key in dataset.attrs:
            if not isinstance(key, str) or not key.isprintable():
                continue  # h5py cannot read such a name as Unicode.
            attribute, called = dataset.attrs.get_id(key), f"{name}.{key}".removeprefix(".")
            kind = attribute.get_type()
            if _is_text(attribute, kind):
                value = np.empty((), f"S{kind.get_size()}")
                attribute.read(value, kind)
                found[called] = _decoded(value)
            elif kind.get_class() == _TEXT and attribute.shape == () and kind.is_variable_str():
                skipped.append(called)
    note = f"the file has attributes with texts of variable length: {', '.join(skipped)}: skipped"
    return found, [note] if skipped else []


def _decoded(value: Array) -> str:
    return value.tobytes().rstrip(b"\0").decode(errors="replace")


def _damage_reported(opened: Opened, what: str) -> AbstractContextManager[None]:
    return damage_reported(opened.path, f"{what} is damaged, or HDF5 cannot read it", _ERRORS)
