"""Replacing a file as a whole: after a crash at any moment, the path holds the old bytes or the new ones."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import BinaryIO, Final

from portable_nn.core.errors import FileError
from portable_nn.core.files import not_regular

SUFFIX: Final = ".pnn-tmp"
"""How the names of temporary files end: ``.digits.safetensors.5f0c9a1e.pnn-tmp``."""

if sys.platform == "win32":  # There, a file cannot be removed while it is open: that is the lock.

    def _lock(file: BinaryIO) -> None:
        pass

    def _remove_if_unlocked(path: Path) -> None:
        path.unlink()

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        with suppress(OSError):  # Some network file systems have no locks; orphans then stay where they are.
            fcntl.flock(file, fcntl.LOCK_EX)

    def _remove_if_unlocked(path: Path) -> None:
        with path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """A new file, open for writing, that replaces the one at ``path`` when the block ends without an exception.

    The bytes go to a temporary file in the same folder, and are on the disk before it is renamed. A symbolic link is
    followed, and stays. An existing file's mode is kept; a new one's follows the umask. Whatever goes wrong, the old
    file is as it was and the temporary one is gone; where the process was killed, the next save of ``path`` removes
    it.

    Raises:
        FileError: the folder is missing, the path is not a regular file or is read-only, the disk is full, ...
    """
    try:
        target, mode = _resolve(path)
        remove_orphans(target.parent, re.escape(target.name))
        with _temporary(target) as (file, temporary):
            if mode is not None:
                temporary.chmod(mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
            if sys.platform == "win32":  # There, an open file cannot be renamed; elsewhere the lock must be held.
                file.close()
            with _freed_later(target):
                temporary.replace(target)
                _sync_folder(target.parent)
    except OSError as error:
        raise FileError(path, f"cannot be written: {_reason(error, path)}") from error


def _resolve(path: str | Path) -> tuple[Path, int | None]:
    """The file behind ``path``, and the mode that it has if it exists."""
    target = Path(os.path.realpath(path))
    try:
        status = target.lstat()
    except FileNotFoundError:
        return target, None
    if fault := not_regular(status.st_mode):
        raise FileError(path, fault)
    if not os.access(target, os.W_OK):
        raise FileError(path, "is read-only")
    return target, stat.S_IMODE(status.st_mode)


@contextmanager
def _temporary(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new, locked file beside ``target``; if it is still there at the end, it is removed."""
    file, path = _create(target)
    try:
        yield file, path
    finally:
        with suppress(OSError):  # What could not be written is tried once more on closing, and fails again.
            file.close()
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _create(target: Path) -> tuple[BinaryIO, Path]:
    while True:
        path = target.with_name(f".{target.name}.{secrets.token_hex(4)}{SUFFIX}")
        file = path.open("xb")
        _lock(file)
        if os.fstat(file.fileno()).st_nlink:
            return file, path
        file.close()  # Another process took it for an orphan before it was locked.


def remove_orphans(folder: Path, names: str) -> None:
    """Remove what killed saves of files in ``folder`` left, whose names the regular expression ``names`` matches.

    Their locks went with their processes.
    """
    pattern = re.compile(rf"\.{names}\.[0-9a-f]{{8}}{re.escape(SUFFIX)}")
    for path in folder.iterdir():
        if pattern.fullmatch(path.name):
            with suppress(OSError):  # Locked: its owner is alive.
                _remove_if_unlocked(path)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can: the bytes of both files are safe in any case."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def put_back(path: str | Path) -> Iterator[None]:
    """Should the block end with an exception, what is at ``path`` now is there again: the same file, or none."""
    target = Path(os.path.realpath(path))
    if not target.is_file():
        was_there = os.path.lexists(target)  # A folder or a device: nobody writes over those.
        try:
            yield
        except BaseException:
            if not was_there:
                target.unlink(missing_ok=True)
            raise
        return
    kept = target.with_name(f".{target.name}.{secrets.token_hex(4)}{SUFFIX}")
    try:
        kept.hardlink_to(target)
    except OSError:  # A file system without links.
        shutil.copy2(target, kept)
    try:
        with kept.open("rb") as file:
            _lock(file)  # The next save would take it for an orphan.
            yield
    except BaseException:
        kept.replace(target)
        raise
    finally:
        kept.unlink(missing_ok=True)


@contextmanager
def _freed_later(path: Path) -> Iterator[None]:
    """Nobody waits until the space of the file at ``path``, which is replaced in the block, has been given back.

    For 100 MB that takes the system 20 ms.
    """
    old = None
    if sys.platform != "win32":
        with suppress(OSError):  # There is none, or it may not be read.
            old = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield
    finally:
        if old is not None:
            try:
                Thread(target=os.close, args=(old,)).start()
            except RuntimeError:  # The interpreter is ending, or the system has no thread left.
                os.close(old)


def _reason(error: OSError, path: str | Path) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"there is no folder '{Path(os.path.realpath(path)).parent}'"
    return error.strerror or str(error)
