"""Small valid files of Arrow, Feather, Parquet and zarr, and how they are changed where it matters."""

from __future__ import annotations

import io
import json
import random
import struct
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet
from file_changes import change_tree, scrambled

SIZES: Final = (0, 1, 2, 3, 7, 8, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**64 - 1)
"""Numbers that are put in place of offsets, counts, sizes and codes."""

NAMES: Final = ("a", "b", "c", "d")
"""The columns of numbers that a network of four inputs takes."""


# Tables


def numbers(rows: int = 12) -> pa.Table:
    """What ``train`` and ``predict`` take."""
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {name: rng.normal(size=rows).astype(np.float32) for name in NAMES}
    columns["kind"] = [("red", "green", "blue")[place % 3] for place in range(rows)]
    columns["x"] = pa.FixedSizeListArray.from_arrays(pa.array(rng.normal(size=4 * rows), pa.float32()), 4)
    columns["y"] = np.arange(rows) % 3
    return pa.table(columns)


def kinds() -> pa.Table:
    """A column of every type."""
    rng = np.random.default_rng(1)
    words = ["some", None, "words", "", "a longer word than that", "some"] * 2
    columns = {
        "float": pa.array(rng.normal(size=12)),
        "nulls": pa.array([1.5, None] * 6, pa.float32()),
        "int": pa.array(range(12), pa.int16()),
        "large": pa.array([2**64 - 1, None] * 6, pa.uint64()),
        "bool": pa.array([True, None, False] * 4),
        "half": pa.array(np.arange(12, dtype=np.float16)),
        "words": pa.array(words),
        "large words": pa.array(words, pa.large_string()),
        "bytes": pa.array([None if word is None else word.encode() for word in words]),
        "fixed": pa.array([b"abcd"] * 12, pa.binary(4)),
        "category": pa.array(words).dictionary_encode(),
        "codes": pa.array([5, 6, None] * 4).dictionary_encode(),
        "day": pa.array([0, 1, None] * 4, pa.date32()),
        "time": pa.array([0, 1, None] * 4, pa.timestamp("ns", "Europe/Berlin")),
        "price": pa.array([Decimal("1.50"), None] * 6),
        "lists": pa.array([[1.0, 2.0], [3.0, 4.0]] * 6, pa.list_(pa.float32())),
        "ragged": pa.array([[1], [], None, [2, 3]] * 3),
        "fixed lists": pa.array([[1, 2], [3, 4]] * 6, pa.list_(pa.int32(), 2)),
        "deep": pa.array([[[1.0, 2.0]], [[3.0, 4.0]]] * 6),
        "struct": pa.array([{"p": 1, "q": "x"}, None] * 6),
        "null": pa.nulls(12),
    }
    return pa.table(columns)


def views() -> pa.Table:
    """Types that Parquet has not."""
    words = ["some", None, "words that are longer than twelve bytes", ""] * 3
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([5, 12], pa.int32()), pa.array([1.5, 2.5]))
    union = pa.UnionArray.from_sparse(pa.array([0, 1] * 6, pa.int8()), [pa.array(range(12)), pa.array(words)])
    lists = pa.array([[1, 2], None, []] * 4, pa.list_view(pa.int32()))
    columns = {"view": pa.array(words, pa.string_view()), "runs": runs, "union": union, "list view": lists}
    columns["map"] = pa.array([[("k", 1)], []] * 6, pa.map_(pa.string(), pa.int32()))
    return pa.table(columns)


def _written(write: Callable[[Any], object]) -> bytes:
    target = io.BytesIO()
    write(target)
    return target.getvalue()


def of_parquet(table: pa.Table | None = None) -> Iterator[bytes]:
    """Files with each compression, version of pages and encoding; of a table, or of two with all types."""
    ways: list[dict[str, Any]] = [{"compression": name} for name in ("none", "snappy", "gzip", "brotli", "lz4", "zstd")]
    if table is not None:
        yield from (_written(lambda target, way=way: parquet.write_table(table, target, **way)) for way in ways)
        return
    ways += [
        {"data_page_version": "2.0", "row_group_size": 5},
        {"use_dictionary": False, "write_page_checksum": True, "data_page_size": 16},
        {"use_dictionary": False, "use_byte_stream_split": ["float"], "write_statistics": False},
        {"use_dictionary": False, "column_encoding": {"int": "DELTA_BINARY_PACKED", "words": "DELTA_BYTE_ARRAY"}},
        {"write_page_index": True, "store_schema": False, "use_compliant_nested_type": False},
    ]
    for way in ways:
        yield _written(lambda target, way=way: parquet.write_table(kinds(), target, **way))
    yield _written(lambda target: parquet.write_table(numbers(), target, row_group_size=5))


def of_arrow(table: pa.Table | None = None) -> Iterator[bytes]:
    """Files with each compression, of a table or of three; and one of the first version of Feather."""
    for each in (numbers(), kinds(), views()) if table is None else (table,):
        for compression in ("uncompressed", "lz4", "zstd"):
            yield _written(
                lambda target, each=each, compression=compression: feather.write_feather(
                    each, target, compression, chunksize=5
                )
            )
    simple = numbers().select([*NAMES, "kind"])
    with warnings.catch_warnings(action="ignore"):
        yield _written(lambda target: feather.write_feather(simple, target, version=1))


def of_zarr() -> dict[str, dict[str, bytes]]:
    """Folders, as their files by name: with each version of the format, and codecs of both."""
    import numcodecs
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec

    x, y = np.arange(48, dtype=np.float32).reshape(12, 4) / 8, np.arange(12) % 3
    found = {}
    ways: dict[str, dict[str, Any]] = {
        "v3": {"zarr_format": 3},
        "v3 plain": {"zarr_format": 3, "compressors": None},
        "v3 checked": {"zarr_format": 3, "compressors": [GzipCodec(), Crc32cCodec()]},
        "v3 blosc": {"zarr_format": 3, "compressors": [BloscCodec()]},
        "v3 shards": {"zarr_format": 3, "shards": (6,), "compressors": [ZstdCodec(checksum=True)]},
        "v3 turned": {"zarr_format": 3, "filters": [TransposeCodec(order=(0,))]},
        "v2": {"zarr_format": 2},
        "v2 plain": {"zarr_format": 2, "compressors": None, "order": "F"},
        **{
            f"v2 {codec.codec_id}": {"zarr_format": 2, "compressors": codec}
            for codec in (numcodecs.Zlib(), numcodecs.BZ2(), numcodecs.LZMA(), numcodecs.LZ4(), numcodecs.Zstd())
        },
        "v2 filters": {"zarr_format": 2, "filters": [numcodecs.Delta("<i8"), numcodecs.Shuffle(8)]},
    }
    for way, options in ways.items():
        with tempfile.TemporaryDirectory() as name, warnings.catch_warnings(action="ignore"):
            folder = Path(name) / "a.zarr"
            group = zarr.open_group(folder, mode="w", zarr_format=options.pop("zarr_format"))
            of_y = options.pop("filters", None)
            group.create_array("y", data=y, chunks=(3,), **options, **({"filters": of_y} if of_y else {}))
            if "shards" in options:
                options["shards"] = (6, 4)
            group.create_array("x", data=x, chunks=(3, 2), attributes={"note": "text"}, **options)
            files = (each for each in folder.rglob("*") if each.is_file())
            found[way] = {f"a.zarr/{each.relative_to(folder).as_posix()}": each.read_bytes() for each in sorted(files)}
    return found


# Changes


def truncated(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data))]


def swapped(data: bytes, dice: random.Random) -> bytes:
    """Two stretches of the same length, such as pages, in each other's place."""
    size = dice.choice((1, 4, 8, 16, 64, 256))
    first, second = sorted(dice.randrange(max(1, len(data) - size)) for _ in range(2))
    if second < first + size:
        return data
    made = bytearray(data)
    made[first : first + size], made[second : second + size] = data[second : second + size], data[first : first + size]
    return bytes(made)


def words(data: bytes, dice: random.Random) -> bytes:
    """Other sizes and offsets: Arrow's are at multiples of four or eight bytes."""
    made = bytearray(data)
    for _ in range(dice.randint(1, 3)):
        form = dice.choice(("<Q", "<I", "<H", "<B"))
        width = struct.calcsize(form)
        if len(made) >= width:
            place = dice.randrange(len(made) // width) * width
            (old,) = struct.unpack_from(form, made, place)
            struct.pack_into(form, made, place, _other(old, dice) % 2 ** (8 * width))
    return bytes(made)


def footer(data: bytes, dice: random.Random) -> bytes:
    """Other numbers in the footer of a Parquet file, whose length is right: counts, offsets, sizes, codecs, types."""
    length = int.from_bytes(data[-8:-4], "little")
    begin = len(data) - 8 - length
    if begin < 4 or data[-4:] != b"PAR1":
        return scrambled(data, dice)
    made = _varints(data[begin:-8], dice)
    return data[:begin] + made + struct.pack("<I", len(made)) + data[-4:]


def page(data: bytes, dice: random.Random) -> bytes:
    """Other numbers among the pages of a Parquet file, most of which are in their headers, at the same length."""
    length = int.from_bytes(data[-8:-4], "little")
    begin = max(4, len(data) - 8 - length)
    made = _varints(data[4:begin], dice, keep=True)
    return data[:4] + made + data[begin:]


def _varints(data: bytes, dice: random.Random, *, keep: bool = False) -> bytes:
    """``data`` with one to three other numbers in the variable length of Thrift."""
    for _ in range(dice.randint(1, 3)):
        if not data:
            break
        start = dice.randrange(len(data))
        stop = start + 1
        while data[stop - 1] & 0x80 and stop < min(len(data), start + 10):
            stop += 1
        old = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data[start:stop]))
        new, made = _other(old, dice), bytearray()
        while True:
            made.append(new & 0x7F | (0x80 if new > 0x7F else 0))
            new >>= 7
            if not new:
                break
        data = data[:start] + bytes(made) + data[start + len(made) if keep else stop :]
    return data


def _other(old: int, dice: random.Random) -> int:
    return max(0, dice.choice((*SIZES, old + 1, old - 1, 2 * old, old // 2, old ^ 1 << dice.randrange(40), 1000 * old)))


def description(data: bytes, dice: random.Random) -> bytes:
    """Other JSON in the description of an array of zarr."""
    try:
        tree = json.loads(data)
        for _ in range(dice.randint(1, 2)):
            change_tree(tree, dice)
        return json.dumps(tree).encode()
    except (ValueError, IndexError, KeyError, TypeError, RecursionError):
        return scrambled(data, dice)


ARROW: Final = (scrambled, truncated, swapped, words, words)
PARQUET: Final = (scrambled, truncated, swapped, words, footer, footer, page)


def changed_folder(files: Mapping[str, bytes], dice: random.Random) -> dict[str, bytes]:
    """A folder of zarr with a change in one of its files, or with two files in each other's place."""
    made = dict(files)
    name = dice.choice(list(made))
    if dice.randrange(8) == 0:
        other = dice.choice(list(made))
        made[name], made[other] = made[other], made[name]
    elif Path(name).name in ("zarr.json", ".zarray", ".zgroup", ".zattrs"):
        made[name] = dice.choice((description, description, description, scrambled))(made[name], dice)
    elif made[name]:
        made[name] = dice.choice((scrambled, truncated, words))(made[name], dice)
    return made


def packed(files: Mapping[str, bytes]) -> bytes:
    """A folder as one file, for a fuzzer."""
    return json.dumps({name: data.hex() for name, data in files.items()}).encode()


def unpacked(data: bytes) -> dict[str, bytes]:
    """The folder that ``packed`` made a file of; an empty one of anything else."""
    with suppress(ValueError, TypeError, AttributeError, RecursionError):
        return {name: bytes.fromhex(text) for name, text in json.loads(data).items() if ".." not in name}
    return {}


def laid_out(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files by name below a folder."""
    for name, data in files.items():
        with suppress(OSError, ValueError):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
