"""Atomic writes: after a crash at any moment, a path holds the old bytes or the new ones.

Every output gets its name by ``publish``, its last step. That replaces what is there, unless the path was to be new: a
command without ``--force`` looks when it begins (``must_be_new``), and another program may write meanwhile.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from threading import Thread
from typing import BinaryIO, Final

from portable_nn.core.errors import FileError, TakenError

SUFFIX: Final = ".pnn-tmp"
"""The suffix of temporary files: ``.digits.safetensors.5f0c9a1e.pnn-tmp``."""

if sys.platform == "win32":  # There, a file cannot be removed while it is open: that is the lock.

    def _lock(file: BinaryIO | int) -> None:
        pass

    def _remove_if_unlocked(path: Path) -> None:
        path.unlink()

    def _open_folder(path: Path) -> int:
        return os.open(os.devnull, os.O_RDONLY)  # Folders cannot be opened, and none is removed as an orphan.

    def _link(made: Path, target: Path) -> None:
        made.rename(target)

else:
    import fcntl

    def _lock(file: BinaryIO | int) -> None:
        with suppress(OSError):  # Some network file systems have no locks; orphans then stay.
            fcntl.flock(file, fcntl.LOCK_EX)

    def _remove_if_unlocked(path: Path) -> None:
        is_folder = stat.S_ISDIR(path.lstat().st_mode)
        descriptor = _open_folder(path) if is_folder else os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_folder:
                shutil.rmtree(path)
            else:
                path.unlink()
        finally:
            os.close(descriptor)

    def _open_folder(path: Path) -> int:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)

    def _link(made: Path, target: Path) -> None:
        """Give a file or folder a name that nothing has. Raises ``OSError`` where something has it."""
        if made.is_dir():
            target.mkdir()
            try:
                made.rename(target)  # A folder replaces an empty one,
            except OSError:
                target.rmdir()  # though not on every file system.
                made.rename(target)
            return
        try:
            os.link(made, target)
        except FileExistsError:
            raise
        except OSError:  # A file system without hard links.
            target.open("xb").close()
            try:
                made.replace(target)
            except OSError:
                target.unlink()
                raise


@contextmanager
def atomic_write(path: str | Path, *, follow: bool = True) -> Iterator[BinaryIO]:
    """A new file, to be written and read, that is published at ``path`` when the block ends without an exception.

    The bytes go to a temporary file in the same folder, and are on the disk before it is renamed. A symbolic link is
    followed, and stays; without ``follow``, as in folders that this program keeps for itself, it is replaced, and what
    it leads to stays as it is. An existing file's mode is kept; a new one's follows the umask. On any error the old
    file is unchanged and the temporary one is removed; if the process was killed, the next save of ``path`` removes it.

    Raises:
        FileError: the folder is missing, the path is not a regular file or is read-only, the disk is full, ...
        TakenError: as ``publish`` does.
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
            publish(temporary, target, path)
    except OSError as error:
        raise FileError(path, f"cannot be written: {reason_of(error, path)}") from error


def write_whole(path: str | Path, data: bytes, *, follow: bool = True) -> None:
    """Write a file of ``data`` as ``atomic_write`` does."""
    with atomic_write(path, follow=follow) as file:
        file.write(data)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder, which gets the name ``path`` when the block ends without an exception. None is ever replaced.

    What a killed process has left of one is removed by the next that makes it. Raises as ``atomic_write`` does.
    """
    try:
        target = Path(os.path.realpath(path))
        remove_orphans(target.parent, re.escape(target.name))
        part = _hidden(target)
        part.mkdir()
        descriptor = _open_folder(part)
        try:
            _lock(descriptor)
            yield part
            publish(part, target, path)
        finally:
            shutil.rmtree(part, ignore_errors=True)
            os.close(descriptor)
    except OSError as error:
        raise FileError(path, f"cannot be written: {reason_of(error, path)}") from error


# -- the last step


def publish(made: Path, target: Path, path: str | Path) -> None:
    """Give ``made``, a complete file or folder, the name ``target``; ``made`` may still be a name of it then.

    A file there is replaced, unless ``path``, by which the user knows it, must be new, as each folder must. Then
    nothing is replaced, and what was made gets another name beside it: ``mine-2.safetensors``.

    Raises:
        TakenError: the path must be new, and something is there; nothing is kept of a set of files (``all_or_none``).
        OSError: the system refuses.
    """
    if not (is_new(path) or made.is_dir()):
        with _undoable(target), freed_later(target):
            made.replace(target)
            sync_folder(target.parent)
        return
    if not _is_placed(made, target):
        raise TakenError(path, None if _steps.get() is not None else _beside(made, target, path))
    with _undoable(target, is_new=True):
        sync_folder(target.parent)
        _forget(path)


def _beside(made: Path, target: Path, path: str | Path) -> Path:
    """The first name like ``target`` that nothing had, which ``made`` has now."""
    others = (target.with_name(f"{target.stem}-{number}{target.suffix}") for number in count(2))
    kept = next(each for each in others if _is_placed(made, each))
    sync_folder(target.parent)
    near = Path(path).with_name(kept.name)  # As the user writes it.
    return near if near.exists() and near.samefile(kept) else kept


def reserve(path: str | Path) -> None:
    """Make an empty file at a path that must be new, for one that grows while it can be read.

    Raises ``TakenError`` where something is there, and ``OSError``.
    """
    if is_new(path):
        try:
            Path(os.path.realpath(path)).open("xb").close()
        except FileExistsError:
            raise TakenError(path) from None
        _forget(path)


def _is_placed(made: Path, target: Path) -> bool:
    """True if ``made`` has the name ``target`` now, which nothing had."""
    try:
        _link(made, target)
    except OSError as error:
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
            raise
        # A server of NFS may say so of the link that it has just made.
        return made.is_file() and target.is_file() and made.samefile(target)
    return True


_new: Final = ContextVar[set[str] | None]("_new", default=None)
"""The paths that must be new, as they are given and without links."""


@contextmanager
def replacing_nothing() -> Iterator[None]:
    """The block of a command, in which ``must_be_new`` says which of its files must not replace others."""
    token = _new.set(set())
    try:
        yield
    finally:
        _new.reset(token)


def must_be_new(path: str | Path) -> None:
    """Let nothing be replaced at a path until something was published there."""
    if (names := _new.get()) is not None:
        names |= _spellings(path)


def is_new(path: str | Path) -> bool:
    """True if nothing may be replaced at a path."""
    names = _new.get()
    return bool(names) and not _spellings(path).isdisjoint(names or ())


def _forget(path: str | Path) -> None:
    """Let a file be replaced from now on, which is this command's own."""
    if (names := _new.get()) is not None:
        names -= _spellings(path)


def _spellings(path: str | Path) -> set[str]:
    return {str(Path(path).absolute()), os.path.realpath(path)}


# -- several files


class _Step:
    """A change of one file: what was there, under another name, and how it was left."""

    def __init__(self, target: Path, is_new: bool) -> None:
        self.target, self.is_done = target, False
        self.left: tuple[int, int] | None = None
        self.kept = None if is_new or not target.is_file() else _hidden(target)
        if self.kept is None:
            return
        try:
            self.kept.hardlink_to(target)
        except OSError:  # A file system without hard links.
            shutil.copy2(target, self.kept)
        self._file = self.kept.open("rb")
        _lock(self._file)  # Otherwise the next save would remove it as an orphan.

    def undo(self, before: Sequence[_Step]) -> None:
        """Bring back what was there, as steps ``before`` left it, unless another program has put a file there since."""
        if not self.is_done or _state(self.target) != self.left:
            return
        if self.kept:
            self._file.close()
            if self.left:
                self.kept.replace(self.target)
            else:
                _is_placed(self.kept, self.target)
        elif self.left:
            self.target.unlink()
        for step in before:  # On a file system without hard links it is a copy.
            if step.target == self.target:
                step.left = _state(self.target)

    def forget(self) -> None:
        """Remove what was there."""
        if self.kept:
            self._file.close()
            self.kept.unlink(missing_ok=True)


def _state(path: Path) -> tuple[int, int] | None:
    """The identity of a file, which tells it from others at the same path; ``None`` where there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


_steps: Final = ContextVar[list[_Step] | None]("_steps", default=None)
"""The changes since an ``all_or_none`` began."""


@contextmanager
def all_or_none() -> Iterator[None]:
    """Undo all that was published or removed in the block if it ends with an exception.

    A file that another program has put there since stays. A block within another is undone with that.
    """
    outer = _steps.get()
    steps = [] if outer is None else outer
    token, begin = _steps.set(steps), len(steps)
    try:
        yield
    except BaseException:
        while len(steps) > begin:
            step = steps.pop()
            with suppress(OSError):  # The others are brought back nevertheless.
                step.undo(steps)
                step.forget()
        raise
    finally:
        _steps.reset(token)
        while outer is None and steps:
            steps.pop().forget()


@contextmanager
def _undoable(target: Path, *, is_new: bool = False) -> Iterator[None]:
    """Let ``all_or_none`` undo what the block does to a file, or that it is there now, where it ``is_new``."""
    if (steps := _steps.get()) is None:
        yield
        return
    steps.append(step := _Step(target, is_new))
    yield
    step.left, step.is_done = _state(target), True


def remove(path: Path) -> None:
    """Remove a file that may be there, so that ``all_or_none`` can bring it back. Raises ``OSError``."""
    with _undoable(path):
        path.unlink(missing_ok=True)


# -- how


def resolve(path: str | Path) -> tuple[Path, int | None]:
    """``path`` with symbolic links resolved, and the mode of that file, or ``None`` where there is none."""
    target = Path(os.path.realpath(path))
    try:
        status = target.lstat()
    except FileNotFoundError:
        return target, None
    from portable_nn.core.files import not_regular  # With numpy, which a command that prints a script does without.

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
        path = _hidden(target)
        file = path.open("x+b")
        _lock(file)
        if os.fstat(file.fileno()).st_nlink:
            return file, path
        file.close()  # Another process removed it as an orphan before it was locked.


def _hidden(target: Path) -> Path:
    """The name of a temporary file or folder."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}{SUFFIX}")


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
