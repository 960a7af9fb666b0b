"""Damaged and hostile files of Arrow, Feather, Parquet and zarr: an error of one line, in bounded time and memory."""

from __future__ import annotations

import faulthandler
import json
import os
import pickle
import random
import shutil
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portable_nn.core import isolated
from portable_nn.core.errors import DataError, PortableNNError
from portable_nn.data import stored
from portable_nn.data.frames import read_frame
from portable_nn.data.stored_files import FILES, open_stored

pa, zarr = pytest.importorskip("pyarrow"), pytest.importorskip("zarr")
feather, parquet = pytest.importorskip("pyarrow.feather"), pytest.importorskip("pyarrow.parquet")
table_files = pytest.importorskip("table_files")

MEMORY = 2**26
"""The bytes that a file may claim in the cases at random."""

ROOM = 2**28
"""More than the interpreter and the libraries have before they read anything."""

SECONDS = 100
"""After so many on the clock, a file of a few kilobytes is taken to wait for ever: its processor time is limited."""

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
unix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFO here")


# Files at random


def tried(read: Callable[[], object]) -> bool:
    """Whether something can be read; the error is the package's own, in one line."""
    try:
        read()
    except PortableNNError as error:
        message = str(error)
    else:
        return True
    assert "\n" not in message
    return False


def read_all(path: Path) -> bool:
    """Read everything in a file, by each reader that takes it; whether all of it could be."""
    found = list[bool]()
    if path.suffix != ".zarr":
        found.append(tried(lambda: read_frame(path)))
    names = list[str]()
    if path.suffix in FILES:
        found.append(tried(lambda: names.extend(FILES[path.suffix](path).names[:40])))
    for name in names:
        found.append(tried(lambda name=name: some_rows(open_stored(path, [name]))))
    return all(found)


def some_rows(rows: stored.Stored) -> None:
    for start in range(0, min(len(rows), 40), 7):
        assert rows[start : start + 7].shape[1:] == rows.shape[1:]


def cases(first: int, count: int, folder: Path) -> Iterator[tuple[int, Path]]:
    """Changed files, of all kinds in turn; that of a number is always the same."""
    seeds: dict[str, list[Any]] = {
        ".parquet": list(table_files.of_parquet()),
        ".arrow": list(table_files.of_arrow()),
        ".feather": list(table_files.of_arrow()),
        ".zarr": list(table_files.of_zarr().values()),
    }
    for number in range(first, first + count):
        dice = random.Random(number)
        suffix = list(seeds)[number % len(seeds)]
        seed, path = dice.choice(seeds[suffix]), folder / str(number) / f"a{suffix}"
        if suffix == ".zarr":
            files = table_files.changed_folder(seed, dice)
        else:
            change = dice.choice(table_files.PARQUET if suffix == ".parquet" else table_files.ARROW)
            files = {path.name: change(seed, dice)}
        table_files.laid_out(files, path.parent)
        yield number, path
        shutil.rmtree(path.parent)


def peak_of(number: int) -> int:
    """The most memory that a process has had, in bytes."""
    lines = Path(f"/proc/{number}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def run(first: int, count: int, folder: Path) -> Counter[bool]:
    """Read changed files. Every error but the package's own fails, and what takes too long or too much memory."""
    outcomes = Counter[bool]()
    for number, path in cases(first, count, folder):
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        outcomes[read_all(path)] += 1
        faulthandler.cancel_dump_traceback_later()
        for side in isolated._sides.values():
            if sys.platform == "linux" and side.process is not None:
                peak = peak_of(side.process.pid)
                assert peak < ROOM + isolated.SPARE + isolated.COPIES * MEMORY, f"case {number} took {peak} bytes"
    return outcomes


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTABLE_NN_MEMORY", str(MEMORY))


@pytest.mark.usefixtures("little")
def test_changed_files_are_refused_or_read(tmp_path: Path) -> None:
    outcomes = run(0, 24, tmp_path)
    assert min(outcomes[True], outcomes[False]) > 2


@pytest.mark.long
@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("first", range(1000, 1600, 300))
def test_more_changed_files_are(tmp_path: Path, first: int) -> None:
    run(first, 300, tmp_path)


@pytest.mark.sweep
@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("first", range(0, 100_000, 10_000))
def test_so_are_a_hundred_thousand(tmp_path: Path, first: int) -> None:
    run(first, 10_000, tmp_path)


# What is right

NAN = float("nan")
CELLS: dict[str, list[Any]] = {
    "nulls": [1.5, NAN] * 6,
    "int": list(range(12)),
    "large": [float(2**64 - 1), NAN] * 6,
    "bool": [1, NAN, 0] * 4,
    "half": list(range(12)),
    **dict.fromkeys(("words", "large words", "bytes", "category"),
                    ["some", None, "words", None, "a longer word than that", "some"] * 2),
    "fixed": ["abcd"] * 12,
    "codes": [5, 6, NAN] * 4,
    **dict.fromkeys(("day", "time"), ["1970-01-01T00:00:00"] * 12),
    "price": [1.5, NAN] * 6,
    "lists": ["[1.0, 2.0]", "[3.0, 4.0]"] * 6,
    "ragged": ["[1]", "[]", None, "[2, 3]"] * 3,
    "struct": ["{'p': 1, 'q': 'x'}", None] * 6,
    "null": [NAN] * 12,
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_every_type_is_read(tmp_path: Path, suffix: str) -> None:
    """In files, and in memory."""
    path, table = tmp_path / f"a{suffix}", table_files.kinds()
    frames = [read_frame(table)]
    for seed in table_files.of_parquet() if suffix == ".parquet" else table_files.of_arrow():
        path.write_bytes(seed)
        frames.append(read_frame(path))
    checked = 0
    for frame in frames:
        for name in CELLS.keys() & frame.columns.keys():
            found = frame.columns[name].tolist()
            assert list(map(repr, found)) == [
                repr(float(each) if isinstance(each, int) else each) for each in CELLS[name]
            ], name
            checked += 1
    assert checked > 3 * len(CELLS)


@pytest.mark.parametrize("names", [("a.b", "a"), ("a", "a.b")])
def test_a_name_that_begins_another_is_its_own_column(tmp_path: Path, names: tuple[str, str]) -> None:
    table = pa.table([np.arange(3.0), np.arange(3.0) + 10], names=names)
    parquet.write_table(table, tmp_path / "a.parquet")
    for name in names:
        wanted = table[name].to_pylist()
        assert open_stored(tmp_path / "a.parquet", [name])[:].tolist() == wanted
        assert read_frame(tmp_path / "a.parquet").columns[name].tolist() == wanted


# Bombs


def of(column: Any, path: Path, **options: Any) -> Path:
    """A file with one column, ``x``."""
    table = pa.table({"x": column})
    if path.suffix == ".parquet":
        parquet.write_table(table, path, **options)
    else:
        feather.write_feather(table, path, "uncompressed", chunksize=min(2**30, len(column)))
    return path


@linux
def test_a_long_word_in_many_rows_takes_the_memory_of_one(tmp_path: Path) -> None:
    """846 bytes were 2 GB."""
    count, word = 2_000_000, "x" * 1000
    places = pa.array(np.zeros(count, np.int8))
    for name in ("a.parquet", "a.arrow"):
        path = of(pa.DictionaryArray.from_arrays(places, pa.array([word])), tmp_path / name)
        frame = read_frame(path)
        assert (len(frame), set(frame.columns["x"])) == (count, {word})
        assert peak_of(side_of("arrow_side").process.pid) < 2**30


def side_of(module: str) -> Any:
    return isolated._sides[f"portable_nn.data.{module}"]


COUNT = 2**31 - 1
BOMBS: dict[str, tuple[Callable[[], Any], str]] = {
    "no values": (lambda: pa.nulls(COUNT), "has 2,147,483,647 rows, whose table takes 17 GB of memory"),
    "one run": (
        lambda: pa.RunEndEncodedArray.from_arrays(pa.array([2**40], pa.int64()), pa.array([1.0])),
        "has 1,099,511,627,776 rows, whose table takes 8.8 TB of memory",
    ),
    "a list of nothing": (
        lambda: pa.ListArray.from_arrays(pa.array([0, COUNT], pa.int32()), pa.nulls(COUNT)),
        "it takes more than|it took more than|process",
    ),
    "lists of nothing": (
        lambda: pa.FixedSizeListArray.from_arrays(pa.nulls(2**30), 2**29),
        "it takes more than|it took more than|process",
    ),
}  # fmt: skip


@linux
@pytest.mark.long
@pytest.mark.parametrize("name", BOMBS)
def test_rows_that_take_no_bytes_are_claims(tmp_path: Path, name: str) -> None:
    make, reason = BOMBS[name]
    path = of(make(), tmp_path / "a.arrow")
    assert path.stat().st_size < 300_000
    with pytest.raises(DataError, match=reason):
        read_frame(path)
    if (side := side_of("arrow_side").process) is not None:
        assert peak_of(side.pid) < 2**31


@linux
def test_equal_numbers_are_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "10M")
    path = of(np.zeros(2_000_000), tmp_path / "a.parquet", row_group_size=2_000_000)
    assert path.stat().st_size < 10_000
    for read in (read_frame, lambda path: open_stored(path, ["x"])):
        with pytest.raises(DataError, match=r"takes 16 MB of memory, with .* stored; at most 10 MB unless"):
            read(path)
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "20M")
    assert len(read_frame(path)) == len(open_stored(path, ["x"])) == 2_000_000


def test_holes_are_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that a sparse file has not got."""
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "1M")
    path = of(np.zeros(4_000_000), tmp_path / "a.arrow")
    whole = path.read_bytes()
    with path.open("wb") as file:
        for start in range(0, len(whole), 4096):
            block = whole[start : start + 4096]
            file.write(block) if any(block) else file.seek(start + len(block))
    assert path.read_bytes() == whole
    with pytest.raises(DataError, match="takes 32 MB of memory"):
        read_frame(path)


def test_a_file_that_is_replaced_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "WHOLE", 0)
    path = of(np.arange(1000.0), tmp_path / "a.parquet", row_group_size=100)
    rows = open_stored(path, ["x"])
    assert rows[500:502].tolist() == [500, 501]
    of(np.arange(1000.0) + 1, tmp_path / "b.parquet", row_group_size=100).replace(path)
    with pytest.raises(DataError, match=r"a\.parquet: x: was replaced or written to since it was opened"):
        rows[700:702]
    assert open_stored(path, ["x"])[700:702].tolist() == [701, 702]


@pytest.mark.parametrize("suffix", [".parquet", ".zarr"])
def test_a_relative_path_is_that_of_the_folder_in_which_it_was_opened(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "WHOLE", 0)
    monkeypatch.chdir(tmp_path)
    given = Path(f"a{suffix}")
    (tmp_path / "other").mkdir()
    for folder, add in ((tmp_path, 0), (tmp_path / "other", 1)):
        if suffix == ".zarr":
            array(folder)
        else:
            of(np.arange(1000.0) + add, folder / given, row_group_size=100)
    rows = open_stored(given, ["x"])
    monkeypatch.chdir(tmp_path / "other")
    np.testing.assert_array_equal(rows[:5], X[:5] if suffix == ".zarr" else np.arange(5))
    with pytest.raises(DataError, match=rf"^a\{suffix}: has no 'z'"):
        open_stored(given, ["z"])
    with pytest.raises(DataError, match=rf"^no\{suffix}: "):
        open_stored(f"no{suffix}", ["z"])


@unix
@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather", ".zarr"])
def test_what_is_no_file_or_folder_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    os.mkfifo(path)
    device = tmp_path / f"b{suffix}"
    device.symlink_to("/dev/zero")
    for each in (path, device, tmp_path / f"missing{suffix}"):
        for read in [open_stored] * (suffix in FILES) + [read_frame] * (suffix != ".zarr"):
            with pytest.raises(DataError):
                read(each)


# zarr


def array(folder: Path, **options: Any) -> Path:
    """A folder with one array, ``x``, of six chunks."""
    path = folder / "a.zarr"
    group = zarr.open_group(str(path), mode="w", zarr_format=options.pop("version", 3))
    group.create_array("x", data=X, chunks=(2, 4), **options)
    return path


X = np.arange(48, dtype=np.float32).reshape(12, 4)
VERSIONS = pytest.mark.parametrize("version", [2, 3])


def chunks(path: Path) -> list[Path]:
    """The files of the chunks, in order."""
    found = [each for each in (path / "x").rglob("*") if not each.is_dir() and each.suffix != ".json"]
    return sorted(each for each in found if not each.name.startswith("."))


def told(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what describes the array."""
    file = next(each for each in (path / "x/zarr.json", path / "x/.zarray") if each.exists())
    said = json.loads(file.read_text())
    change(said)
    file.write_text(json.dumps(said))


def refused(path: Path, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        open_stored(path, ["x"])[:]


@unix
@VERSIONS
def test_no_link_is_followed_out_of_the_folder_or_in_it(tmp_path: Path, version: int) -> None:
    secret = tmp_path / "secret"
    path = array(tmp_path, version=version)
    whole = shutil.copytree(path, tmp_path / "whole")
    chunk = chunks(path)[1]
    shutil.copy(chunk, secret)
    for target in (secret, Path("/dev/zero"), chunks(path)[2], tmp_path / "nowhere"):
        chunk.unlink()
        chunk.symlink_to(target)
        refused(path, r"is a symbolic link")
        shutil.rmtree(path)
        shutil.copytree(whole, path)
    folder = path / "x" / "c" if version == 3 else path / "x"
    shutil.move(folder, tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    refused(path, r"is a symbolic link")
    shutil.rmtree(path)
    shutil.move(whole, tmp_path / "b.zarr")
    path.symlink_to(tmp_path / "b.zarr")  # What the user names may be a link.
    np.testing.assert_array_equal(open_stored(path, ["x"])[:], X)


@unix
@VERSIONS
@pytest.mark.parametrize("which", ["chunk", "description"])
def test_nothing_waits_for_a_fifo(tmp_path: Path, version: int, which: str) -> None:
    path = array(tmp_path, version=version)
    file = chunks(path)[0] if which == "chunk" else path / "x" / ("zarr.json" if version == 3 else ".zarray")
    file.unlink()
    os.mkfifo(file)
    refused(path, "is a FIFO, not a regular file")


@VERSIONS
def test_a_shape_is_a_claim(tmp_path: Path, version: int) -> None:
    path = array(tmp_path, version=version)
    for shape in ([2**40, 4], [2**62, 4], [12, 2**30]):
        told(path, lambda said, shape=shape: said.update(shape=shape))
        refused(path, r"a\.zarr: x: of shape \(.*\) takes .*B of memory, with .* stored; at most 1.1 GB unless")
    for shape in ([-1, 4], [1.5, 4], [True, 4], ["12", 4], 12, None, [12], [12, 4, 1], [10**400, 4]):
        told(path, lambda said, shape=shape: said.update(shape=shape))
        refused(path, r"is damaged|takes .* of memory")


@pytest.mark.quick("2")
@VERSIONS
def test_what_was_never_written_is_as_large_as_a_file_may_claim(tmp_path: Path, version: int) -> None:
    path = array(tmp_path, version=version)
    told(path, lambda said: said.update(shape=[10_000, 4]))
    rows = open_stored(path, ["x"])
    np.testing.assert_array_equal(rows[:12], X)
    assert not rows[12:].any()
    told(path, lambda said: said.update(shape=[1_000_000, 4]))
    refused(path, r"of 500,000 chunks, which count 33 kB each, takes 16 GB of memory, with .* stored; at most 1.1 GB")


class Runs:
    """What a pickle makes a file of."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@VERSIONS
def test_no_codec_runs_code(tmp_path: Path, version: int) -> None:
    """numcodecs has one that unpickles."""
    path, mark = array(tmp_path, version=version, compressors=None), tmp_path / "ran"
    for each in chunks(path):
        each.write_bytes(pickle.dumps(Runs(mark)))
    codec = {"name": "numcodecs.pickle", "configuration": {}}
    inner = {"chunk_shape": [2, 4], "codecs": [codec], "index_codecs": [{"name": "bytes"}]}
    told(
        path,
        (lambda said: said.update(codecs=[{"name": "sharding_indexed", "configuration": inner}]))
        if version == 3
        else (lambda said: said.update(filters=[{"id": "pickle"}])),
    )
    refused(path, "needs the codec 'pickle'")
    told(path, lambda said: said.update(codecs=[codec], compressor={"id": "pickle"}, filters=None))
    refused(path, "needs the codec 'pickle'")
    assert not mark.exists()


@pytest.mark.long
@linux
@VERSIONS
@pytest.mark.usefixtures("little")
def test_a_chunk_unpacks_to_no_more_than_it_may(tmp_path: Path, version: int) -> None:
    import numcodecs
    from zarr.codecs import GzipCodec

    codec = GzipCodec() if version == 3 else numcodecs.Zlib()
    path = array(tmp_path, version=version, compressors=codec)
    packer = zlib.compressobj(9, wbits=31 if version == 3 else 15)
    data = b"".join(packer.compress(bytes(2**20)) for _ in range(512)) + packer.flush()
    chunks(path)[0].write_bytes(data)
    assert len(data) < 2**20
    refused(path, r"it takes more than .* of memory")
    assert peak_of(side_of("zarr_side").process.pid) < 2**29


@linux
def test_holes_of_a_chunk_are_not_stored(tmp_path: Path) -> None:
    path = array(tmp_path, compressors=None)
    with chunks(path)[0].open("wb") as file:
        file.truncate(2**36)
    refused(path, r"takes 69 GB of memory")


@VERSIONS
def test_groups_are_found_and_links_in_them_are_not_followed(tmp_path: Path, version: int) -> None:
    path = array(tmp_path, version=version)
    root = zarr.open_group(str(path), mode="r+")
    root.create_group("inner").create_group("deep").create_array("y", data=X[:, 0])
    assert open_stored(path, ["inner/deep/y"])[:].tolist() == X[:, 0].tolist()
    (path / "other").symlink_to(tmp_path)
    refused(path, "'other' is a symbolic link: links are not followed")


@pytest.mark.parametrize("dtype", [">f4", "<f2", "|b1", "<u8", "<i2", ">i8"])
@VERSIONS
def test_every_type_of_numbers_is_read(tmp_path: Path, version: int, dtype: str) -> None:
    path = tmp_path / "a.zarr"
    wanted = (X % 2).astype(dtype)
    zarr.create_array(str(path), data=wanted, chunks=(5, 3), zarr_format=version)
    found = open_stored(path)  # The folder is the array itself.
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(found[:], wanted)
    np.testing.assert_array_equal(found[3:9], wanted[3:9])


@pytest.mark.filterwarnings("ignore:The data type:FutureWarning")
@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@VERSIONS
def test_what_are_no_numbers_is_named(tmp_path: Path, version: int) -> None:
    path = array(tmp_path, version=version)
    root = zarr.open_group(str(path), mode="r+")
    for name, dtype in (("word", "<U4"), ("complex", "<c8"), ("day", "<M8[D]")):
        root.create_array(name, shape=(3,), dtype=dtype)
        with pytest.raises(DataError, match=rf"a\.zarr: {name}: expected real numbers, found "):
            open_stored(path, [name])
    np.testing.assert_array_equal(open_stored(path, ["x"])[:], X)
