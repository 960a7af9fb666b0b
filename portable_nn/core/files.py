"""Opening files of unknown content, and recognising common other formats by their first bytes."""

from __future__ import annotations

import errno
import math
import mmap
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Final, Literal

import numpy as np

from portable_nn.core.errors import FileError, FormatError, listed
from portable_nn.core.jsons import LONGEST
from portable_nn.core.memory import Bytes
from portable_nn.core.text import printable, size

_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
}

_SIGNATURES: Final = (
    (rb"version https://git-lfs", "a Git LFS pointer, not the file itself: run 'git lfs pull'"),
    (rb"(?i)\s*<(!doctype|html|head)", "an HTML page: the download gave a page about the file, not the file"),
    (rb"\s*<svg", "an SVG drawing"),
    (rb"PK\x03\x04", "a zip archive, such as torch.save, Keras or numpy's savez write"),
    (rb"\x1f\x8b", "a gzip file"),
    (rb"\x80[\x02-\x05]", "a Python pickle: it can run any code when it is loaded, and is not read"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file: portable_nn.load, predict and train read such files by names in .h5"),
    (
        rb"CDF[\x01\x02\x05]",
        "a netCDF-3 file: nccopy -k nc4 OLD NEW, or xarray's to_netcdf(format='NETCDF4'), makes one of netCDF-4",
    ),
    (rb"\x93NUMPY", "a numpy .npy file"),
    (rb"GGUF", "a GGUF file"),
    (rb"\x89PNG", "a PNG picture"),
    (rb"\xff\xd8\xff", "a JPEG picture"),
    (rb"GIF8", "a GIF picture"),
    (rb"(?s).{4}ftyp(heic|heix|mif1)", "a HEIC photograph"),
    (rb"%PDF", "a PDF document"),
    # Protocol buffers have no signature: this is field 1 (ir_version), then a field that an ONNX model may have.
    (rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x32\x3a\x42\x72]", "an ONNX model: import it with import_onnx"),
)
"""The first bytes of common file formats, as patterns, and what messages call such a file."""


MAX_BYTES: Final = 2**63 - 1
"""The longest file that a file system can hold."""

MAX_LISTED: Final = 100
"""The most faults that one error lists."""

_NONBLOCK: Final = getattr(os, "O_NONBLOCK", 0)
"""The flag with which opening a FIFO returns at once."""

_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
"""The flag with which opening a symbolic link fails."""

_NO_NAME: Final = frozenset("\\:\0" if os.name == "nt" else "\0")
"""The characters that no name of a file has in it: with a backslash or colon, a name on Windows may lead anywhere."""

_BINARY: Final = getattr(os, "O_BINARY", 0)
"""The flag with which Windows leaves the bytes as they are."""


def recognise(head: bytes) -> str | None:
    """The kind of a file that begins with ``head`` (``"a zip archive, …"``), or ``None`` where that is unknown."""
    return next((text for pattern, text in _SIGNATURES if re.match(pattern, head)), None)


def kind_fault(head: bytes, otherwise: str) -> str:
    """The fault of a file of another kind that begins with ``head``: what it is, or ``otherwise`` if unknown."""
    found = recognise(head) if head else "empty"
    return f"is {found}" if found else otherwise


def refuse(where: str, faults: Sequence[str]) -> None:
    """Raise one ``FormatError`` that lists all ``faults``, or the first ``MAX_LISTED``, if there are any."""
    if faults:
        lines = [printable(fault, LONGEST) for fault in faults[:MAX_LISTED]]
        more = len(faults) - len(lines)
        message = listed(lines) if not more else "\n  ".join([f"{len(faults)} faults", *lines, f"… and {more} more"])
        raise FormatError(where, message, lines)


def not_regular(mode: int) -> str | None:
    """``None`` for the ``st_mode`` of a regular file, otherwise what is wrong with it."""
    if stat.S_ISREG(mode):
        return None
    return f"is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a regular file"


@contextmanager
def open_regular(path: str | Path, *, follow: bool = True) -> Iterator[FileIO]:
    """The regular file at ``path``, open for reading without a buffer; never waits for the writer of a FIFO.

    Args:
        path: the file.
        follow: whether it may be a symbolic link to one.

    Raises:
        FileError: the file is missing, is a folder, FIFO or device, or the system refuses to open or read it.
    """
    more = _NONBLOCK if follow else _NONBLOCK | _NOFOLLOW
    try:
        if fault := not_regular(Path(path).stat(follow_symlinks=follow).st_mode):
            raise FileError(path, fault)
        with open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | more)) as file:
            if fault := not_regular(os.fstat(file.fileno()).st_mode):  # It was replaced since the first check.
                raise FileError(path, fault)
            yield file
    except FileNotFoundError:
        raise FileError(path, "does not exist") from None
    except OSError as error:
        raise FileError(path, f"cannot be read: {error.strerror or error}") from error


@contextmanager
def open_inside(folder: str | Path, name: str) -> Iterator[FileIO]:
    """The regular file with a relative name in a folder, open as by ``open_regular``; no link on the way is followed.

    Args:
        folder: the folder, to which a link may lead.
        name: the name, with ``/`` between its parts.

    Raises:
        FileNotFoundError: there is none.
        FileError: it is something else, a link is on the way to it, or the system refuses to read it.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") or not _NO_NAME.isdisjoint(part) for part in parts):
        raise FileError(folder, f"{name!r} is no name of a file in it")
    where = Path(folder)
    with ExitStack() as stack:
        try:
            at = _folder(where, stack)
            for part in parts[:-1]:
                where /= part
                if not stat.S_ISDIR(mode := _state(where, at).st_mode):
                    raise FileError(where, f"is {_KINDS.get(stat.S_IFMT(mode), 'a file')}, not a folder")
                at = _folder(where, stack, at)
            where /= parts[-1]
            if fault := not_regular(_state(where, at).st_mode):
                raise FileError(where, fault)
            flags = os.O_RDONLY | _BINARY | _NONBLOCK | _NOFOLLOW
            file = stack.enter_context(FileIO(os.open(where if at is None else where.name, flags, dir_fd=at)))
            if fault := not_regular(os.fstat(file.fileno()).st_mode):  # It was replaced since the first check.
                raise FileError(where, fault)
            yield file
        except FileNotFoundError:
            raise
        except OSError as error:
            raise FileError(where, f"cannot be read: {error.strerror or error}") from error


def _state(path: Path, folder: int | None) -> os.stat_result:
    """That of a file in an open folder; where the system opens none, as Windows, of that at the path."""
    return os.stat(path if folder is None else path.name, dir_fd=folder, follow_symlinks=False)


def _folder(path: Path, stack: ExitStack, inside: int | None = None) -> int | None:
    """A folder, open until the end of the block."""
    if os.open not in os.supports_dir_fd:
        return None
    flags = os.O_RDONLY | os.O_DIRECTORY
    found = os.open(path, flags) if inside is None else os.open(path.name, flags | _NOFOLLOW, dir_fd=inside)
    stack.callback(os.close, found)
    return found


def read_own(path: str | Path) -> bytes:
    """A file of a folder that this program writes to: itself, and not what somebody's link there leads to.

    Raises as ``open_regular`` does, and ``FileError`` for a symbolic link.
    """
    with open_regular(path, follow=False) as file:
        return file.read()


def append_own(path: str | Path) -> BinaryIO:
    """A file of such a folder, opened to be locked or appended to; made where there is none. Raises as ``read_own``."""
    try:
        with suppress(FileNotFoundError):
            if fault := not_regular(Path(path).lstat().st_mode):
                raise FileError(path, fault)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NONBLOCK | _NOFOLLOW | _BINARY, 0o666)
    except OSError as error:
        raise FileError(path, f"cannot be written: {error.strerror or error}") from error
    if fault := not_regular(os.fstat(descriptor).st_mode):  # It was replaced since the first check.
        os.close(descriptor)
        raise FileError(path, fault)
    return os.fdopen(descriptor, "ab")


def mapped_array(
    path: str | Path,
    file: BinaryIO | FileIO,
    dtype: np.dtype[Any] | str,
    offset: int,
    shape: tuple[int, ...],
    order: Literal["C", "F"] = "C",
) -> np.memmap[Any, np.dtype[Any]]:
    """An array in an open file as a read-only ``numpy.memmap``.

    Raises ``FileError`` where the system has no room for it among the addresses of the process, as under ``ulimit -v``.
    """
    try:
        return np.memmap(file, dtype, "r", offset, shape, order)
    except OSError as error:
        wanted = size(math.prod(shape) * np.dtype(dtype).itemsize)
        raise FileError(path, f"cannot be mapped into memory ({wanted}): {error.strerror or error}") from error


def stored_bytes(file: FileIO | BinaryIO) -> int:
    """The bytes of an open file that are stored: its size without the holes of a sparse file.

    The position of the file stays. Where the system does not tell, holes count as stored.
    """
    end = os.fstat(file.fileno()).st_size
    if not hasattr(os, "SEEK_HOLE"):
        return end
    descriptor, stored, at = file.fileno(), 0, 0
    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        while at < end:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
            at = os.lseek(descriptor, start, os.SEEK_HOLE)
            stored += at - start
    except OSError as error:  # ENXIO: only a hole follows.
        return stored if error.errno == errno.ENXIO else end
    finally:
        os.lseek(descriptor, position, os.SEEK_SET)
    return stored


def read_exactly(file: FileIO, count: int, where: str) -> bytes:
    """The next ``count`` bytes. Raises ``FormatError`` where the file ends first, though it was long enough."""
    data = file.read(count)
    while len(data) < count:
        if not (more := file.read(count - len(data))):
            raise shrunk(where, count - len(data))
        data += more
    return data


def shrunk(where: str, missing: int) -> FormatError:
    """The error for a file that another program has truncated since its size was read."""
    return FormatError(where, f"became shorter while it was read: {missing} bytes are missing")


_turn: Final = Lock()

if hasattr(os, "preadv"):

    def read_at(file: FileIO, memory: Sequence[Bytes], offset: int, where: str) -> None:
        """Read from ``offset`` into the pieces of ``memory``, one after the other; the file's position is not used.

        Thread-safe.

        Raises:
            FormatError: the file ends first, though it was long enough a moment ago.
        """
        pieces = [piece.data for piece in memory if len(piece)]
        while pieces:
            batch = pieces[:_AT_ONCE]
            got = os.preadv(file.fileno(), batch, offset)
            if not got:
                raise shrunk(where, sum(map(len, pieces)))
            offset += got
            while batch and got >= len(batch[0]):
                got -= len(batch.pop(0))
            pieces[:_AT_ONCE] = [batch[0][got:], *batch[1:]] if batch else []

else:  # Windows

    def read_at(file: FileIO, memory: Sequence[Bytes], offset: int, where: str) -> None:
        """As above, for one thread at a time."""
        with _turn:
            file.seek(offset)
            for piece in memory:
                piece[...] = np.frombuffer(read_exactly(file, len(piece), where), np.uint8)


if hasattr(os, "pwrite"):

    def write_at(file: BinaryIO, data: Bytes, offset: int) -> None:
        """Write ``data`` at ``offset``; the file's position is not used. Thread-safe.

        The file's buffer must be empty. The system starts to write to the disk while the caller continues. Raises
        ``OSError``.
        """
        done = 0
        while done < len(data):
            done += os.pwrite(file.fileno(), data[done:].data, offset + done)
        first, last = offset // mmap.PAGESIZE, (offset + len(data)) // mmap.PAGESIZE
        if last > first and hasattr(os, "posix_fadvise"):  # Whole pages alone: the last one is written to again.
            with suppress(OSError):  # A hint, which not every file system takes; fsync reports errors.
                os.posix_fadvise(file.fileno(), first * mmap.PAGESIZE, (last - first) * mmap.PAGESIZE, _BEGIN)

else:  # Windows

    def write_at(file: BinaryIO, data: Bytes, offset: int) -> None:
        """As above, for one thread at a time."""
        with _turn:
            file.seek(offset)
            file.write(data.data)


_BEGIN: Final = getattr(os, "POSIX_FADV_DONTNEED", 0)
"""The advice that starts to write dirty pages to the disk now; they stay in memory until they are written."""

_AT_ONCE: Final = 512
"""The most pieces that one call reads; Linux and macOS allow 1,024 (``IOV_MAX``)."""
