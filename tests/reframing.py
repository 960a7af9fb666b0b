"""Weight files that other programs write again: the same manifest and arrays, and any other legal bytes around them.

Nothing of this package is used: arrays and manifest are taken from a file and put into another one by json,
safetensors, h5py, numpy and zipfile. Each function takes the old file, the new one and dice.
"""

from __future__ import annotations

import json
import random
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import safetensors.numpy
from h5py import h5d, h5p, h5s, h5t

Reframe = Callable[[Path, Path, random.Random], None]


def shuffled(items: Any, dice: random.Random) -> list[Any]:
    found = list(items)
    dice.shuffle(found)
    return found


# safetensors


def by_json(old: Path, new: Path, dice: random.Random) -> None:
    """Another order of tensors and keys, other white space, other escapes, other metadata beside the manifest."""
    content = old.read_bytes()
    stop = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:stop])
    metadata = header.pop("__metadata__")
    entries, data = {"__metadata__": metadata}, b""
    if dice.randrange(2):
        metadata["format"] = "pt"
    for name, entry in shuffled(header.items(), dice):
        start, end = entry["data_offsets"]
        piece = content[stop + start : stop + end]
        fields = {**entry, "data_offsets": [len(data), len(data) + len(piece)]}
        entries[name] = dict(shuffled(fields.items(), dice))
        data += piece
    entries["__metadata__"] = dict(shuffled(metadata.items(), dice))
    entries = dict(shuffled(entries.items(), dice))
    text = json.dumps(
        entries,
        ensure_ascii=bool(dice.randrange(2)),
        indent=dice.choice((None, None, 0, 1, "\t")),
        separators=dice.choice((None, (",", ":"), (" ,\t", "\r\n: "))),
    )
    if dice.randrange(2):
        text = text.replace("o", "\\u006f").replace("/", "\\/")
    packed = text.encode() + b" " * dice.choice((0, 1, 7, 64, 1000))
    new.write_bytes(struct.pack("<Q", len(packed)) + packed + data)


def by_safetensors(old: Path, new: Path, dice: random.Random) -> None:
    """As its own package writes them."""
    with safetensors.safe_open(old, "numpy") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in shuffled(file.keys(), dice)}
    safetensors.numpy.save_file(tensors, new, metadata=dict(shuffled(metadata.items(), dice)))


# HDF5


def by_copy(old: Path, new: Path, dice: random.Random) -> None:
    """Objects copied by the HDF5 library, as h5copy and h5repack do."""
    with h5py.File(old) as given, h5py.File(new, "w", **_file_options(dice)) as made:
        for name in shuffled(given, dice):
            given.copy(name, made, expand_soft=True)


def by_h5py(old: Path, new: Path, dice: random.Random) -> None:
    """Datasets written anew: other chunks, filters, orders of bytes and of objects, remarks."""
    with h5py.File(old) as given, h5py.File(new, "w", **_file_options(dice)) as made:
        found: list[tuple[str, h5py.Dataset]] = []
        given.visititems(lambda name, each: found.append((name, each)) if isinstance(each, h5py.Dataset) else None)
        for name, each in shuffled(found, dice):
            _write(made, name, each, dice)
        if dice.randrange(2):
            made.attrs["by"] = "somebody"


def by_appending(old: Path, new: Path, dice: random.Random) -> None:
    """The file itself, in which a program has left a remark."""
    new.write_bytes(old.read_bytes())
    with h5py.File(new, "a") as file:
        file.attrs["seen"] = dice.randrange(1000)


def _file_options(dice: random.Random) -> dict[str, Any]:
    return {
        "libver": dice.choice(("earliest", "v108", "v110", "latest")),
        "userblock_size": dice.choice((0, 512, 2048)),
        "track_order": bool(dice.randrange(2)),
    }


def _write(made: h5py.File, name: str, each: h5py.Dataset, dice: random.Random) -> None:
    array, way = each[()], dice.randrange(4)
    if array.ndim and array.size and way == 0:
        made.create_dataset(
            name,
            data=array,
            chunks=tuple(dice.randint(1, size) for size in array.shape),
            compression=dice.choice((None, "gzip", "lzf", 9)),
            shuffle=bool(dice.randrange(2)),
            fletcher32=bool(dice.randrange(2)),
        )
    elif array.dtype.kind in "fiu" and way == 1:
        made.create_dataset(name, data=array, dtype=array.dtype.newbyteorder(">"))
    elif array.dtype.kind in "fiu" and array.size and array.nbytes < 60_000 and way == 2:
        properties, links = h5p.create(h5p.DATASET_CREATE), h5p.create(h5p.LINK_CREATE)
        properties.set_layout(h5d.COMPACT)
        links.set_create_intermediate_group(True)
        space = h5s.create_simple(array.shape) if array.ndim else h5s.create(h5s.SCALAR)
        dataset = h5d.create(made.id, name.encode(), h5t.py_create(array.dtype), space, properties, links)
        dataset.write(h5s.ALL, h5s.ALL, np.ascontiguousarray(array))
    else:
        made[name] = array
    for key, value in each.attrs.items():
        made[name].attrs[key] = value
    if dice.randrange(4) == 0:
        made[name].attrs["unit"] = "mV"


# npz


def by_numpy(old: Path, new: Path, dice: random.Random) -> None:
    """``np.savez(new, **np.load(old))``, in another order."""
    with np.load(old) as file:
        arrays = dict(shuffled(file.items(), dice))
    dice.choice((np.savez, np.savez_compressed))(new, **arrays)


class _Pipe(BytesIO):
    """Where ``zipfile`` cannot go back, it writes sizes behind the data."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise OSError

    tell = seek


def by_zipfile(old: Path, new: Path, dice: random.Random) -> None:
    """Other dates, compression, sizes of 64 bits, data descriptors, extra fields, comments, headers of arrays."""
    target = _Pipe() if dice.randrange(3) == 0 else BytesIO()
    with zipfile.ZipFile(old) as given, zipfile.ZipFile(target, "w", strict_timestamps=False) as made:
        for info in shuffled(given.infolist(), dice):
            member = zipfile.ZipInfo(info.filename, (dice.randint(1980, 2107), 12, 31, 23, 59, 58))
            member.compress_type = dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
            member.extra = dice.choice(
                (b"", struct.pack("<HHB", 0x5455, 1, 0), struct.pack("<HH4s", 0xCAFE, 4, b"abcd"))
            )
            member.comment = dice.choice((b"", b"hello"))
            member.create_system, member.external_attr = dice.choice(((3, 0o100600 << 16), (0, 0x20)))
            with made.open(member, "w", force_zip64=bool(dice.randrange(2))) as file:
                file.write(_array_again(given.read(info), dice))
        made.comment = dice.choice((b"", b"made again"))
    new.write_bytes(target.getvalue())


def _array_again(content: bytes, dice: random.Random) -> bytes:
    array = np.load(BytesIO(content))
    if array.dtype.kind in "fiu" and array.dtype.itemsize > 1 and dice.randrange(4) == 0:
        array = array.astype(array.dtype.newbyteorder(">"))
    if dice.randrange(4) == 0:
        array = np.asarray(array, order="F")
    file = BytesIO()
    np.lib.format.write_array(file, array, version=dice.choice(((1, 0), (2, 0), (3, 0))))
    return file.getvalue()


REFRAMES: dict[str, tuple[Reframe, ...]] = {
    ".safetensors": (by_json, by_safetensors),
    ".h5": (by_copy, by_h5py, by_appending),
    ".npz": (by_numpy, by_zipfile),
}
"""What writes a file again, by its suffix."""


def reframed(old: Path, new: Path, dice: random.Random) -> None:
    """Write a file again in one of the ways."""
    dice.choice(REFRAMES[old.suffix])(old, new, dice)
