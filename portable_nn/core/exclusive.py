"""A folder for one process at a time."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Final

from portable_nn.core.errors import FileError, UsageError
from portable_nn.core.files import append_own, read_own
from portable_nn.core.forks import after_fork
from portable_nn.core.jsons import parsed_json

NAME: Final = "in-use.lock"
"""The lock file in the folder: JSON with the host, the process id and the time since when it is held."""

if sys.platform == "win32":
    import msvcrt

    _AT: Final = 2**30  # Behind the text: Windows would not let others read what is locked.

    def _locked(file: BinaryIO) -> bool:
        file.seek(_AT)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import errno
    import fcntl

    def _locked(file: BinaryIO) -> bool:
        try:  # A record lock, which a forked process does not inherit, as it would one of ``flock``.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in {errno.EACCES, errno.EAGAIN}  # Otherwise there are no locks here.
        return True


_turn = Lock()
_held: Final = set[str]()
"""The folders that this process holds: the system refuses a lock to other processes only."""


@contextmanager
def exclusive(folder: Path, what: str) -> Iterator[None]:
    """Hold ``folder``, which is made if it does not exist, for ``what`` this process does in the block.

    The system keeps the lock: a process that ends, however, releases it, and a forked one does not have it. It holds
    between processes of one machine, its containers included; between machines on NFS from version 4 on, and on Windows
    shares. A file system without locks (some network and user-space ones) refuses nobody.

    Raises:
        UsageError: this process, or another one, holds the folder: which one, and since when.
        FileError: the folder or the lock file cannot be made.
    """
    key = os.path.realpath(folder)
    with _turn:
        if key in _held:
            raise UsageError(f"{folder} is in use by another {what} of this process: {_ADVICE}")
        _held.add(key)
    try:
        with _made(folder), _lock_file(folder, what):
            yield
    finally:
        _held.discard(key)


_ADVICE: Final = "wait until that one has ended, or use another folder"


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make ``folder`` if it does not exist; remove it again if nothing was put into it."""
    try:
        folder.mkdir()
    except FileExistsError:
        yield
        return
    except OSError as error:
        raise FileError(folder, f"cannot be made: {error.strerror}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # It is not empty.
            folder.rmdir()


@contextmanager
def _lock_file(folder: Path, what: str) -> Iterator[None]:
    path = folder / NAME
    with _open_locked(path, lambda: _refusal(folder, what)) as file:
        process, now = os.getpid(), datetime.now(UTC).isoformat(" ", "seconds")
        file.truncate(0)
        file.write(json.dumps({"host": socket.gethostname(), "process": process, "since": now}).encode())
        file.flush()
        try:
            yield
        finally:
            if os.getpid() == process:  # Not in a forked one.
                with suppress(OSError):
                    path.unlink()  # While it is locked: who waits for it sees that it is gone. Windows refuses.


def _open_locked(path: Path, refusal: Callable[[], UsageError]) -> BinaryIO:
    """The file at ``path``, locked by this process. Raises ``refusal()`` where another process holds it."""
    while True:
        file = append_own(path)
        if not _locked(file):
            file.close()
            raise refusal()
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # Its owner removed it between the two lines above.


def _refusal(folder: Path, what: str) -> UsageError:
    try:
        owner = parsed_json(read_own(folder / NAME))
        whose = f"process {owner['process']:d} on {owner['host']}, since {owner['since']}"
    except (FileError, ValueError, KeyError, TypeError):
        whose = "another process"
    return UsageError(f"{folder} is in use by the {what} of {whose}: {_ADVICE}")


@after_fork
def _forget() -> None:
    """In a forked process: hold nothing."""
    global _turn
    _turn = Lock()
    _held.clear()
