"""Opening a file that may be anything, and saying what it is when it is not a weight file."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Final

from portable_nn.errors import FileError, FormatError
from portable_nn.memory import Bytes

_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link to itself",
}

_FOREIGN: Final = (
    (rb"version https://git-lfs", "is a Git LFS pointer, not the file itself: run 'git lfs pull'"),
    (rb"(?i)\s*<(!doctype|html|head)", "is an HTML page: the download gave a page about the file, not the file"),
    (rb"PK\x03\x04", "is a zip archive, such as torch.save, Keras or numpy's savez write"),
    (rb"\x80[\x02-\x05]", "is a Python pickle: it can run any code when it is loaded, and is not read"),
    (rb"\x89HDF\r\n\x1a\n", "is an HDF5 file: its name should end in .h5"),
    (rb"\x93NUMPY", "is a numpy .npy file"),
    (rb"GGUF", "is a GGUF file"),
    # Protocol buffers have no signature: this is field 1 (ir_version), then a field that an ONNX model may have.
    (rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x32\x3a\x42\x72]", "is an ONNX model: import it with import_onnx"),
)
"""How files begin that people take for weight files, and what to say of them."""


def recognise(head: bytes) -> str | None:
    """What a file that begins with ``head`` is, or ``None`` where that is not known."""
    return next((text for pattern, text in _FOREIGN if re.match(pattern, head)), None)


def not_regular(mode: int) -> str | None:
    """``None`` for the ``st_mode`` of a regular file, otherwise what is wrong with it."""
    if stat.S_ISREG(mode):
        return None
    return f"is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a regular file"


@contextmanager
def open_regular(path: str | Path) -> Iterator[FileIO]:
    """The regular file at ``path``, open for reading without a buffer; never waits for the writer of a FIFO.

    Raises:
        FileError: the file is missing, is a folder, FIFO or device, or the system refuses to open or read it.
    """
    try:
        if fault := not_regular(Path(path).stat().st_mode):
            raise FileError(path, fault)
        with open(path, "rb", buffering=0, opener=_open_now) as file:
            if fault := not_regular(os.fstat(file.fileno()).st_mode):  # exchanged since the first look
                raise FileError(path, fault)
            yield file
    except FileNotFoundError:
        raise FileError(path, "does not exist") from None
    except OSError as error:
        raise FileError(path, f"cannot be read: {error.strerror or error}") from error


def _open_now(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_into(file: FileIO, memory: Bytes, where: str) -> None:
    """Fill ``memory`` from ``file``. One call to the system, or a few for gigabytes.

    Raises:
        FormatError: the file ends first, though it was long enough a moment ago.
    """
    done = 0
    while done < len(memory):
        count = file.readinto(memory[done:].data)
        if not count:
            raise FormatError(where, f"became shorter while it was read: {len(memory) - done} bytes are missing")
        done += count
