"""Open files, and say in one line what a file is that cannot be used."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from portable_nn.core.errors import DataError

MAX_UNPACKED = 4 * 2**30
"""What is compressed is unpacked into memory only up to this many bytes: a small file may claim to hold any amount."""

SIGNATURES = {
    b"\x89PNG": "a PNG picture that is damaged or cut short",
    b"\xff\xd8\xff": "a JPEG picture that is damaged or cut short",
    b"GIF8": "a GIF picture that is damaged or cut short",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "an array of numpy: name it .npy",
    b"%PDF": "a PDF document: export its page as PNG",
    b"PK\x03\x04": "a zip archive, or what is one inside (.npz, Office documents)",
    b"\x1f\x8b": "a file that gzip compressed",
    b"version https://git-lfs": "a Git LFS pointer in place of the file: run git lfs pull",
    b"<svg": "an SVG drawing: export it as PNG",
    b"<": "a web page or other markup",
}
"""How files begin, and what they then are; the first that fits counts."""

HEIC_BRANDS = (b"ftypheic", b"ftypheix", b"ftypmif1")


@contextmanager
def opened(path: str | Path, expected: str) -> Iterator[BinaryIO]:
    """The open file; whatever the operating system has against it becomes an error that says what was ``expected``.

    Raises:
        DataError: no such file, a folder, a device, no permission, a fault while reading.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            found = "a folder" if path.is_dir() else "a pipe or device"
            raise DataError(path, f"expected {expected}, found {found}")
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise DataError(path, f"expected {expected}, found no such file") from None
    except OSError as error:
        raise DataError(path, f"expected {expected}, but it cannot be read: {error.strerror or error}") from error


def what_is(start: bytes) -> str:
    """What a file is that begins with ``start``, as far as one can tell."""
    if not start:
        return "an empty file"
    if start[4:12] in HEIC_BRANDS:
        return "a HEIC photograph: export it as JPEG"
    for signature, kind in SIGNATURES.items():
        if start.lstrip().startswith(signature):
            return kind
    return "a text file" if _is_text(start) else "a file of an unknown kind, or one that is damaged"


def _is_text(start: bytes) -> bool:
    try:
        # The incremental decoder allows for a last character that is cut in two.
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return "".join(text.split()).isprintable()
