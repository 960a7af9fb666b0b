"""The questions to zarr about folders of arrays, in a process of its own: see ``core.isolated``.

The library decodes chunks, and opens no file: it gets the description of an array after that was checked, and the bytes
of chunks from regular files to which no link leads.
"""

from __future__ import annotations

import json
import math
import os
from base64 import b64decode
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from stat import S_ISDIR, S_ISLNK
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.arrays import NUMBERS
from portable_nn.core.errors import FileError, FormatError
from portable_nn.core.files import open_inside, read_exactly, stored_bytes
from portable_nn.core.jsons import parsed_json
from portable_nn.core.limits import UNPACKED, excess
from portable_nn.core.text import shortened, some
from portable_nn.core.text import size as size_of
from portable_nn.plain.packing import ATTRIBUTES, Meaning, Packing, meaning_of, packing_of

Array: TypeAlias = NDArray[Any]

ARRAYS: Final = ("zarr.json", ".zarray")
"""The files that describe an array, in versions 3 and 2 of the format ..."""

GROUPS: Final = ("zarr.json", ".zgroup")
"""... and those that describe a group."""

DIMENSIONS: Final = "_ARRAY_DIMENSIONS"
"""The attribute by which xarray names the axes of an array in version 2."""

_DESCRIPTIONS: Final = frozenset({*ARRAYS, *GROUPS, ".zattrs", ".zmetadata"})

LONGEST: Final = 2**24
"""The longest description in bytes."""

CODECS: Final = frozenset({
    "adler32", "astype", "bitround", "blosc", "bytes", "bz2", "crc32", "crc32c", "delta", "endian", "fixedscaleoffset",
    "fletcher32", "gzip", "jenkins_lookup3", "lz4", "lzma", "packbits", "pcodec", "quantize", "sharding_indexed",
    "shuffle", "transpose", "zfpy", "zlib", "zstd",
})  # fmt: skip
"""The codecs that may decode a chunk: those for numbers. Others run code (pickle), or come from anywhere."""

THREADS: Final = 4
"""The threads of the library: each has a stack of its own."""

CHUNK: Final = 2**15
"""The bytes that a chunk counts at least, as it takes time though it is missing."""

KEPT: Final = 16
"""The arrays that are kept open."""


class About(NamedTuple):
    """The description of an array.

    Args:
        file: the name of the file that does.
        text: its text, as the library gets it.
        shape, dtype: those of the array.
        chunks: the shape of what is stored together.
        packing: its packing, where it is packed.
        unread: the names of the attributes that are not read.
        meaning: what its numbers mean.
    """

    file: str
    text: bytes
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    packing: Packing | None
    unread: list[str]
    meaning: Meaning


def prepare() -> None:
    """Import the library."""
    import zarr

    zarr.config.set({"threading.max_workers": THREADS})


def array_names(*, path: str) -> tuple[list[str], list[Array]]:
    """The paths of the arrays in a folder; ``""`` where it is one itself."""
    return list(_names(path)), []


def array_layout(*, path: str, name: str) -> tuple[list[Any], list[Array]]:
    """The shape and type of an array, how many rows are stored together, and how many bytes are, as far as it matters.

    Raises ``FormatError`` where it, or a chunk of it, claims too much (see ``core.limits``).
    """
    _arrays.pop((path, name), None)
    about, where = _described(path, name), f"{path}: {name}"
    chunk, whole = (math.prod(shape) * about.dtype.itemsize for shape in (about.chunks, about.shape))
    chunk = max(chunk, math.prod(about.chunks) * 8 * bool(about.packing))
    chunks = math.prod(-(-size // part) for size, part in zip(about.shape, about.chunks, strict=True))
    if fault := excess(chunk, 0, UNPACKED):
        raise FormatError(where, f"has chunks of which one {fault}")
    stored = files = 0
    for size in _sizes(Path(path, name)):
        stored, files = stored + size, files + 1
        if stored * UNPACKED >= whole and files * UNPACKED >= chunks:
            break
    if fault := excess(whole, stored, UNPACKED):
        raise FormatError(where, f"of shape {about.shape} {fault}")
    if fault := excess(chunks * CHUNK, files * CHUNK, UNPACKED):
        raise FormatError(where, f"of {chunks:,} chunks, which count {size_of(CHUNK)} each, {fault}")
    # As much time as what it claims may take.
    stored = max(stored, whole // UNPACKED, chunks * CHUNK // UNPACKED)
    dtype = about.packing.dtype if about.packing else about.dtype
    return [about.shape, dtype.str, max((1, *about.chunks[:1])), stored, about.unread, about.meaning], []


def array_rows(*, path: str, name: str, start: int, stop: int) -> tuple[None, list[Array]]:
    """Some rows of an array."""
    packing, array = _opened(path, name)
    found = np.asarray(array[start:stop])
    found = packing.unpacked(found, f"{path}: {name}") if packing else found
    return None, [found.astype(found.dtype.newbyteorder("="), copy=False)]


TASKS: Final = (array_names, array_layout, array_rows)
"""All that may be asked."""


# -- folders


def _names(root: str) -> Iterator[str]:
    """The paths of arrays: those in a group after those beside it."""
    waiting = [""]
    while waiting:
        name = waiting.pop(0)
        if _description(root, name, ARRAYS, "array"):
            yield name
        elif _description(root, name, GROUPS, "group"):
            folders = (each.name for each in _entries(Path(root, name), root) if S_ISDIR(_mode(each)))
            waiting += (f"{name}/{folder}" if name else folder for folder in sorted(folders))
        elif not name:
            raise FormatError(root, f"cannot be read as zarr: it holds none of {some((*ARRAYS, *GROUPS))}")


def _sizes(folder: Path) -> Iterator[int]:
    """The sizes of the files in the folder of an array."""
    waiting = [folder]
    while waiting:
        for each in _entries(waiting.pop(), folder):
            if S_ISDIR(_mode(each)):
                waiting.append(Path(each.path))
            else:
                yield each.stat(follow_symlinks=False).st_size


def _entries(folder: Path, root: Path | str) -> list[os.DirEntry[str]]:
    """The entries of a folder. Raises ``FormatError`` where a link is."""
    with os.scandir(folder) as entries:
        found = list(entries)
    for each in found:
        if S_ISLNK(_mode(each)):
            raise FormatError(root, f"'{Path(each.path).relative_to(root)}' is a symbolic link: links are not followed")
    return found


def _mode(entry: os.DirEntry[str]) -> int:
    return entry.stat(follow_symlinks=False).st_mode


def _description(root: str, name: str, files: tuple[str, ...], node: str) -> tuple[str, dict[str, Any]] | None:
    """The file that describes an array or a group, and what it says; ``None`` where there is none."""
    for file in files:
        with suppress(FileNotFoundError), open_inside(root, f"{name}/{file}".lstrip("/")) as opened:
            try:
                said = parsed_json(opened.read(LONGEST), nan=True)
            except ValueError as error:
                raise FormatError(Path(root, name), f"cannot be read as zarr: {file} is damaged: {error}") from None
            if not isinstance(said, dict):
                raise FormatError(Path(root, name), f"cannot be read as zarr: {file} is no object of JSON")
            if file != "zarr.json" or said.get("node_type") == node:
                return file, said
    return None


# -- arrays


def _described(root: str, name: str) -> About:
    """The description of an array. Raises ``FormatError`` where it is damaged, or the array is not one of numbers."""
    where = f"{root}: {name}"
    if (found := _description(root, name, ARRAYS, "array")) is None:
        raise FormatError(where, "is missing")
    file, said = found
    beside = _description(root, name, (".zattrs",), "")  # As damaged as the array, where it is.
    try:
        named, chunks, codecs = _third(said) if file == "zarr.json" else _second(said)
        shape = said["shape"]
        if not (_are_sizes(shape, 0) and _are_sizes(chunks, 1) and len(shape) == len(chunks)):
            raise FormatError(where, f"is damaged: its shape is {shortened(shape)}, in chunks of {shortened(chunks)}")
        if unknown := [codec for codec in codecs if codec not in CODECS]:
            needed, allowed = some(map(shortened, unknown)), ", ".join(sorted(CODECS))
            raise FormatError(where, f"needs the codec {needed}; allowed are {allowed}")
    except (KeyError, TypeError, AttributeError):
        raise FormatError(where, f"is damaged: its {file} does not describe an array") from None
    if (dtype := _type_of(named)) is None:
        raise FormatError(where, f"expected real numbers, found {shortened(named)}")
    # They may say what they like: nobody asks for them.
    left_out: dict[str, Any] = {"attributes": {}, "consolidated_metadata": None}
    text = json.dumps({key: left_out.get(key, value) for key, value in said.items()})
    attributes = said.get("attributes") if file == "zarr.json" or beside is None else beside[1]
    by_attributes = _packing(attributes if isinstance(attributes, dict) else {}, said.get("fill_value"), dtype, where)
    return About(file, text.encode(), tuple(shape), dtype, tuple(chunks), *by_attributes)


def _packing(
    attributes: Mapping[str, Any], fill: Any, dtype: np.dtype[Any], where: str
) -> tuple[Packing | None, list[str], Meaning]:
    """The packing of an array, by attributes as xarray writes them; those that are not read; and what it means.

    In version 2 of the format, ``_FillValue`` is the value of chunks that were never written; in version 3, that of
    floats is the bytes of a double in base64.
    """
    found = {key: attributes[key] for key in ATTRIBUTES if key in attributes}
    if DIMENSIONS in attributes and fill is not None:
        found.setdefault("_FillValue", fill)
    with suppress(ValueError, KeyError, TypeError):
        fill = found["_FillValue"]
        if dtype.kind == "f" and isinstance(fill, str):
            in_words = fill in ("NaN", "Infinity", "-Infinity")
            found["_FillValue"] = float(fill) if in_words else np.frombuffer(b64decode(fill, validate=True), "<f8")
    packing, meaning = packing_of(dtype, found, where), meaning_of(attributes)
    own = (*ATTRIBUTES, *meaning.read, DIMENSIONS)
    return packing, [key for key in attributes if key not in own] if packing else [], meaning


def _second(said: Mapping[str, Any]) -> tuple[Any, Any, list[Any]]:
    """The type, the shape of a chunk and the codecs of an array in version 2 of the format."""
    codecs = [*(said["filters"] or ()), said["compressor"]]
    return said["dtype"], said["chunks"], [each["id"] for each in codecs if each is not None]


def _third(said: Mapping[str, Any]) -> tuple[Any, Any, list[Any]]:
    """The same in version 3."""
    return said["data_type"], said["chunk_grid"]["configuration"]["chunk_shape"], list(_named(said["codecs"]))


def _named(codecs: Any) -> Iterator[Any]:
    """The names of codecs, and of those inside of them."""
    for each in codecs:
        codec: Any = {"name": each} if isinstance(each, str) else each
        yield codec["name"].removeprefix("numcodecs.")
        for inner in ("codecs", "index_codecs"):
            yield from _named(codec.get("configuration", {}).get(inner, ()))


def _are_sizes(shape: Any, least: int) -> bool:
    return isinstance(shape, list) and all(type(size) is int and least <= size < 2**63 for size in shape)


def _type_of(name: object) -> np.dtype[Any] | None:
    """The type of numbers with a name, if it is one."""
    with suppress(TypeError, ValueError, SyntaxError):
        dtype = np.dtype(name) if isinstance(name, str) else None
        return dtype if dtype is not None and dtype.kind in NUMBERS else None
    return None


_arrays: Final = dict[tuple[str, str], tuple[Packing | None, Any]]()


def _opened(root: str, name: str) -> tuple[Packing | None, Any]:
    """The packing of an array, and the array as the library opens it."""
    from zarr import open_array
    from zarr.storage import MemoryStore

    if (root, name) not in _arrays:
        if len(_arrays) >= KEPT:
            _arrays.clear()
        files = _Files(root, name, about := _described(root, name))
        _arrays[root, name] = about.packing, open_array(store=MemoryStore(files, read_only=True), mode="r")
    return _arrays[root, name]


class _Files(MutableMapping[str, Any]):
    """The files of an array by their names: its description after it was checked, and others as they are asked for."""

    def __init__(self, root: str, name: str, about: About) -> None:
        self._root, self._name, self._about = root, name, about

    def __getitem__(self, name: str) -> Any:
        from zarr.core.buffer import default_buffer_prototype

        make = default_buffer_prototype().buffer.from_bytes
        if name == self._about.file:
            return make(self._about.text)
        if PurePosixPath(name).name in _DESCRIPTIONS:
            raise KeyError(name)
        where = f"{self._root}: {self._name}"
        try:
            with open_inside(self._root, f"{self._name}/{name}".lstrip("/")) as file:
                size = os.fstat(file.fileno()).st_size
                if fault := excess(size, stored_bytes(file), UNPACKED):
                    raise FormatError(where, f"'{name}' {fault}")
                return make(read_exactly(file, size, where))
        except FileNotFoundError:
            raise KeyError(name) from None
        except FormatError:
            raise
        except FileError as error:
            raise FormatError(where, f"'{Path(error.path).relative_to(self._root)}' {error.reason}") from None

    def __iter__(self) -> Iterator[str]:
        return iter([self._about.file])

    def __len__(self) -> int:
        return 1

    def __setitem__(self, name: str, value: object) -> None:
        raise KeyError(name)

    def __delitem__(self, name: str) -> None:
        raise KeyError(name)
