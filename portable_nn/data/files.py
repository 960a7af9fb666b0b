"""Opening data files, and naming in one line what a file is that cannot be used."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from portable_nn.core.errors import DataError, FormatError
from portable_nn.core.files import recognise
from portable_nn.core.isolated import LibraryError
from portable_nn.core.packages import need
from portable_nn.core.text import said

ADVICE = {
    "a PNG picture": " that is damaged or cut short",
    "a JPEG picture": " that is damaged or cut short",
    "a GIF picture": " that is damaged or cut short",
    "a PDF document": ": export its page as PNG",
    "an SVG drawing": ": export it as PNG",
    "a HEIC photograph": ": export it as JPEG",
}
"""The advice that is added to the names of some kinds of files (see ``recognise``) that cannot be read as pictures."""


@contextmanager
def opened(path: str | Path, expected: str) -> Iterator[BinaryIO]:
    """The open file. Every error of the system becomes a ``DataError`` that says what was ``expected``.

    Raises:
        DataError: no such file, a folder, a device, no permission, an I/O error.
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


@contextmanager
def read_by(package: str, extra: str, path: str | Path, otherwise: str) -> Iterator[None]:
    """A block that has a library read a file, by its absolute path, in a process of its own (see ``core.isolated``).

    Raises:
        MissingPackageError: the library is missing, which ``extra`` would install.
        DataError: the file is damaged; the library refuses it, or ends at it: ``otherwise``, and its own words.
    """
    need(f"reading {path}", extra, package)
    try:
        yield
    except FormatError as error:
        raise DataError(f"{path}{error.path.removeprefix(str(Path(path).absolute()))}", error.reason) from None
    except LibraryError as error:
        raise DataError(path, f"{otherwise} {said(f'{package}: {error}')}") from None


def what_is(start: bytes) -> str:
    """The kind of a file that begins with ``start`` and is no readable picture, as far as one can tell."""
    if not start:
        return "an empty file"
    if kind := recognise(start):
        return kind + ADVICE.get(kind, "")
    return "a text file" if _is_text(start) else "a file of an unknown kind, or one that is damaged"


def _is_text(start: bytes) -> bool:
    try:
        # The incremental decoder accepts an incomplete last character.
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return "".join(text.split()).isprintable()
