"""Rows 38, 59 and 60 of the list of hostile files, and what a refusal costs: what the operating system has to say."""

from __future__ import annotations

import mmap
import os
import re
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from forge import Forge
from rows import CARRIERS

from portable_nn.core.errors import FileError, FormatError
from portable_nn.core.files import open_regular, read_at, read_exactly
from portable_nn.format import has_manifest, load

MIB = 2**20


@pytest.fixture(params=CARRIERS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where a weight file may be, for each carrier."""
    return tmp_path / f"net{request.param}"


def written(path: Path, forged: Forge) -> None:
    path.write_bytes(CARRIERS[path.suffix](forged))


# What is no file


def refused(path: Path, reason: str) -> None:
    with pytest.raises(FileError, match=f"^{re.escape(str(path))}: {reason}$"):
        load(path)
    with pytest.raises(FileError, match=f"^{re.escape(str(path))}: {reason}$"):
        load(path, lazy=True)
    with pytest.raises(FileError, match=f"^{re.escape(str(path))}: {reason}$"):
        has_manifest(path)


def test_59_a_missing_file(path: Path) -> None:
    refused(path, "does not exist")


def test_59_a_folder(path: Path) -> None:
    path.mkdir()
    refused(path, "is a folder, not a regular file")


def test_59_a_fifo_without_a_writer(path: Path) -> None:
    os.mkfifo(path)
    refused(path, "is a FIFO, not a regular file")


def test_59_a_fifo_put_there_after_the_first_look(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    regular = Path(__file__).stat()
    os.mkfifo(path)
    monkeypatch.setattr(Path, "stat", lambda *_, **__: regular)
    refused(path, "is a FIFO, not a regular file")


def test_59_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")
    refused(path, "is a device, not a regular file")


def test_59_a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)
    refused(path, "cannot be read: Too many levels of symbolic links")


def test_59_a_file_that_may_not_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"")

    def deny(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", deny)  # the mode alone does not stop root, who may run this
    refused(path, "cannot be read: Permission denied")


# Files that change


def test_60_a_file_that_is_truncated_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "net"
    path.write_bytes(bytes(10))
    with open_regular(path) as file, pytest.raises(FormatError, match=r"net: became shorter .*: 6 bytes are missing$"):
        read_exactly(file, 16, "net")
    with open_regular(path) as file, pytest.raises(FormatError, match=r"net: became shorter .*: 6 bytes are missing$"):
        read_at(file, [np.empty(3, np.uint8), np.empty(10, np.uint8)], 3, "net")


@pytest.mark.parametrize("size", [0, 100, "the head", "a page", "all but one byte"])
@pytest.mark.parametrize("verify", ["lazy", "eager", "off"])
def test_60_a_file_that_is_truncated_after_it_was_mapped(path: Path, size: int | str, verify: str) -> None:
    """A tensor that was not asked for yet is an error then, and not the end of the process."""
    count = 3 * mmap.PAGESIZE
    written(path, Forge().only("a", "uint8", [count], bytes(count)).give("b", "uint8", [4], b"abcd"))
    full = path.read_bytes().rindex(b"abcd") + 4
    sizes = {"the head": full - count - 4, "a page": full - 2 * mmap.PAGESIZE, "all but one byte": full - 1}
    tensors = load(path, lazy=True, verify=verify).tensors
    os.truncate(path, sizes.get(size, size))
    with pytest.raises(FormatError, match=rf"{path.name}: became shorter while it was read: \d+ bytes are missing$"):
        tensors["b"]
    if size == "all but one byte":
        assert tensors["a"].sum() == 0
        return
    with pytest.raises(FormatError, match=rf"{path.name}: became shorter while it was read: \d+ bytes are missing$"):
        tensors["a"]


def test_60_a_file_that_is_truncated_before_it_is_mapped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(path, Forge())
    real = mmap.mmap

    def late(*arguments: object, **options: object) -> mmap.mmap:
        os.truncate(path, 0)
        return real(*arguments, **options)

    monkeypatch.setattr(mmap, "mmap", late)
    with pytest.raises(FormatError, match=rf"{path.name}: became shorter while it was read: \d+ bytes are missing$"):
        load(path, lazy=True)


def test_60_a_file_that_is_written_over_after_it_was_mapped(path: Path) -> None:
    """What is asked for first afterwards is checked afterwards."""
    written(path, Forge())
    tensors = load(path, lazy=True).tensors
    assert tensors["a.weight"][0, 0] == 1
    forged = Forge()
    forged.data = bytes(len(forged.data))
    written(path, forged)
    with pytest.raises(FormatError, match=r"tensor 'b.bias' is damaged or another network's: its XXH3-128 is "):
        tensors["b.bias"]


# Memory


@contextmanager
def memory(limit: int) -> Iterator[None]:
    """The block takes less memory than this."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [2**64 - 1, 2**30, 2**20])
def test_a_large_file_of_zeros_is_refused_without_being_read(path: Path, length: int) -> None:
    start = struct.pack("<Q", length) if path.suffix == ".safetensors" else CARRIERS[path.suffix](Forge())[:100]
    path.write_bytes(start)
    os.truncate(path, 2**31)  # It takes no space.
    with memory(MIB), pytest.raises(FormatError):
        load(path)
    with memory(MIB), pytest.raises(FormatError):
        load(path, lazy=True)


@pytest.mark.parametrize(
    ("shape", "data"), [([2**40], b""), ([2**32, 2**32], b""), ([0, 2**63], b""), ([2**62], b""), ([2**31, 2**31], b"")]
)
def test_38_a_shape_takes_no_memory(path: Path, shape: list[int], data: bytes) -> None:
    written(path, Forge().only("w", "uint8", shape, data))
    with memory(MIB), pytest.raises(FormatError):
        load(path)
    with memory(MIB), pytest.raises(FormatError):
        load(path, lazy=True)


@pytest.mark.long
@pytest.mark.parametrize("parts", [1, 64], ids=["one tensor", "many tensors"])
def test_a_refusal_takes_no_more_memory_than_the_file(path: Path, parts: int) -> None:
    """The last bit of 32 MiB is wrong."""
    size = 32 * MIB // parts // 4 * 4
    forged = Forge().empty()
    for number in range(parts):
        forged.give(f"w{number}", "float32", [size // 4], bytes(size))
    written(path, forged)
    end = path.stat().st_size
    if path.suffix == ".npz":  # The central directory follows.
        (end,) = struct.unpack("<I", path.read_bytes()[-6:-2])
    with path.open("r+b") as file:
        file.seek(end - 1)
        file.write(b"\1")
    message = f"tensor 'w{parts - 1}' is damaged"
    with memory(path.stat().st_size + 8 * MIB), pytest.raises(FormatError, match=message):
        load(path)
    with memory(12 * MIB), pytest.raises(FormatError, match=message):
        load(path, lazy=True, verify="eager")
    with memory(8 * MIB), pytest.raises(FormatError, match=message):
        load(path, lazy=True).tensors[f"w{parts - 1}"]
