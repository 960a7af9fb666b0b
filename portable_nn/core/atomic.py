"""Atomic replacement of files: after a crash at any moment, the path holds the old bytes or the new ones."""

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
"""The suffix of temporary files: ``.digits.safetensors.5f0c9a1e.pnn-tmp``."""

if sys.platform == "win32":  # There, a file cannot be removed while it is open: that is the lock.

    def _lock(file: BinaryIO) -> None:
        pass

    def _remove_if_unlocked(path: Path) -> None:
        path.unlink()

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        with suppress(OSError):  # Some network file systems have no locks; orphans then stay.
            fcntl.flock(file, fcntl.LOCK_EX)

    def _remove_if_unlocked(path: Path) -> None:
        with path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


@contextmanager
def atomic_write(path: str | Path, *, follow: bool = True) -> Iterator[BinaryIO]:
    """A new file, to be written and read, that replaces the one at ``path`` when the block ends without an exception.

    The bytes go to a temporary file in the same folder, and are on the disk before it is renamed. A symbolic link is
    followed, and stays; without ``follow``, as in folders that this program keeps for itself, it is replaced, and what
    it leads to stays as it is. An existing file's mode is kept; a new one's follows the umask. On any error the old
    file is unchanged and the temporary one is removed; if the process was killed, the next save of ``path`` removes it.

    Raises:
        FileError: the folder is missing, the path is not a regular file or is read-only, the disk is full, ...
    """
    try:
        target, mode = resolve(path) if follow else _itself(Path(path))
        remove_orphans(target.parent, re.escape(target.name))
        with _temporary(target) as (file, temporary):
            if mode is not None:
                temporary.chmod(mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
            if sys.platform == "win32":  # There, an open file cannot be renamed; elsewhere the lock must be held.
                file.close()
            with freed_later(target):
                temporary.replace(target)
                sync_folder(target.parent)
    except OSError as error:
        raise FileError(path, f"cannot be written: {reason_of(error, path)}") from error


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder, which gets the name ``path`` when the block ends without an exception. None is ever replaced.

    What a killed process has left of one is removed by the next that makes it. Raises ``FileError``.
    """
    part = path.with_name(f".{path.name}{SUFFIX}")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            yield part
            part.rename(path)
            sync_folder(path.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise FileError(path, f"cannot be written: {reason_of(error, path)}") from error


def resolve(path: str | Path) -> tuple[Path, int | None]:
    """``path`` with symbolic links resolved, and the mode of that file, or ``None`` where there is none."""
    target = Path(os.path.realpath(path))
    try:
        status = target.lstat()
    except FileNotFoundError:
        return target, None
    if fault := not_regular(status.st_mode):
        to_itself = fault.replace("link", "link to itself")  # All others have been resolved.
        raise FileError(path, to_itself)
    if not os.access(target, os.W_OK):
        raise FileError(path, "is read-only")
    return target, stat.S_IMODE(status.st_mode)


def _itself(path: Path) -> tuple[Path, int | None]:
    """As ``resolve``, but a symbolic link counts as no file: renaming another file to its name replaces the link."""
    target = Path(os.path.realpath(path.parent), path.name)
    return (target, None) if target.is_symlink() else resolve(target)


@contextmanager
def _temporary(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new, locked file beside ``target``; it is removed at the end unless it was renamed."""
    file, path = _create(target)
    try:
        yield file, path
    finally:
        with suppress(OSError):  # Closing tries to flush again what could not be written, and fails again.
            file.close()
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _create(target: Path) -> tuple[BinaryIO, Path]:
    while True:
        path = target.with_name(f".{target.name}.{secrets.token_hex(4)}{SUFFIX}")
        file = path.open("x+b")
        _lock(file)
        if os.fstat(file.fileno()).st_nlink:
            return file, path
        file.close()  # Another process removed it as an orphan before it was locked.


def remove_orphans(folder: Path, names: str) -> None:
    """Remove temporary files of killed saves in ``folder``; ``names`` is a regular expression for the target's name.

    The system releases the locks of a process that ends.
    """
    pattern = re.compile(rf"\.{names}\.[0-9a-f]{{8}}{re.escape(SUFFIX)}")
    for path in folder.iterdir():
        if pattern.fullmatch(path.name):
            with suppress(OSError):  # Locked: the process that writes it is alive.
                _remove_if_unlocked(path)


def sync_folder(folder: Path) -> None:
    """Make the rename durable where the system can; without it, the path holds either file after a crash."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def put_back(path: str | Path) -> Iterator[None]:
    """Restore the present state of ``path`` (the same file, or none) if the block ends with an exception."""
    target = Path(os.path.realpath(path))
    if not target.is_file():
        existed = os.path.lexists(target)  # A folder or a device: nobody overwrites those.
        try:
            yield
        except BaseException:
            if not existed:
                target.unlink(missing_ok=True)
            raise
        return
    kept = target.with_name(f".{target.name}.{secrets.token_hex(4)}{SUFFIX}")
    try:
        kept.hardlink_to(target)
    except OSError:  # A file system without hard links.
        shutil.copy2(target, kept)
    try:
        with kept.open("rb") as file:
            _lock(file)  # Otherwise the next save would remove it as an orphan.
            yield
    except BaseException:
        kept.replace(target)
        raise
    finally:
        kept.unlink(missing_ok=True)


@contextmanager
def freed_later(path: Path) -> Iterator[None]:
    """Free the disk space of the file at ``path``, which is replaced in the block, in a background thread.

    For 100 MB that takes the system 20 ms.
    """
    old = None
    if sys.platform != "win32":
        with suppress(OSError):  # The file does not exist or may not be read.
            old = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield
    finally:
        if old is not None:
            try:
                Thread(target=os.close, args=(old,)).start()
            except RuntimeError:  # The interpreter is ending, or the system has no thread left.
                os.close(old)


def reason_of(error: OSError, path: str | Path) -> str:
    """Why a file cannot be written."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"there is no folder '{Path(os.path.realpath(path)).parent}'"
    return error.strerror or str(error)
