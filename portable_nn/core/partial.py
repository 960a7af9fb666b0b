"""Files that take long to write: what an interrupted run has written of one is kept, and the next run goes on with it.

The bytes go to ``heights.csv.part``, which is renamed at the end; ``heights.csv.part.json``, the journal, says how many
of them count, what was done when they were written, and what they follow from. A process may be killed at any moment:
bytes that the journal does not count are cut off by the next run, and written again.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

from portable_nn.core.atomic import publish, reason_of, resolve, write_whole
from portable_nn.core.errors import FileError, PortableNNError, TakenError, UsageError
from portable_nn.core.files import not_regular, read_own
from portable_nn.core.jsons import parsed_json

PART: Final = ".part"
"""The suffix of the beginning of a file."""

JOURNAL: Final = ".part.json"
"""The suffix of its journal."""

EVERY: Final = 2.0
"""Seconds after which the journal is written again."""

Assemble: TypeAlias = Callable[[Path, Path], None]
"""Writes, from what was written for it, a file or folder: as a whole, or not at all."""

if sys.platform == "win32":

    def try_lock(file: BinaryIO) -> bool:
        """True: there, an open file cannot be renamed or removed by others."""
        return True

else:
    import fcntl

    def try_lock(file: BinaryIO) -> bool:
        """True if no other process writes the file; the system releases the lock of one that ends."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # Some network file systems have no locks.
            pass
        return True


class Part:
    """The beginning of a file.

    Args:
        path: the file that it becomes.
        target: the same without links.
        origin: what its bytes follow from, as text by name.

    ``file`` is open for writing, at the end of what counts. ``state`` is what was done by then, as ``keep`` got it;
    ``None`` where nothing was.
    """

    def __init__(self, path: str | Path, target: Path, origin: Mapping[str, str] | None) -> None:
        self.becomes, self.target = Path(path), target
        self.path, self.journal = target.with_name(target.name + PART), target.with_name(target.name + JOURNAL)
        self.origin, self.can_be_resumed = dict(origin or {}), origin is not None
        self.file: BinaryIO
        self.state: dict[str, Any] | None = None
        self._now: tuple[int, Mapping[str, Any]] | None = None
        self._written = time.monotonic()

    def begin(self, *, resume: bool, force: bool) -> None:
        """Open the file: anew, or as an interrupted run left it. Raises as ``partial_write`` does."""
        is_there = self._open()
        try:
            found = self._read()
            if is_there and self._goes_on(found, resume=resume, force=force):
                return
        except BaseException:
            if not is_there:
                self.path.unlink(missing_ok=True)
            self._close()
            raise
        try:
            self.file.truncate(0)
            self._write(0, {})
        except BaseException:
            self.remove()
            raise

    @property
    def kept(self) -> dict[str, Any] | None:
        """The state that another run can go on with: the journal says so, wherever a signal came."""
        found = self._read()
        return found["state"] if found and found["size"] else None

    def _goes_on(self, found: Mapping[str, Any] | None, *, resume: bool, force: bool) -> bool:
        """True if this run goes on with the file, of which the journal says what was ``found``."""
        # One without a byte and without a journal is of a run that was killed, or had no room, between the two.
        if found is None and os.fstat(self.file.fileno()).st_size and not force:
            raise UsageError(f"{self.path} exists already, without the journal of a run: force=True replaces it")
        if not (found and found["size"]):
            return False
        if not resume and not force:
            done = "resume=True goes on with it, and force=True begins anew"
            raise UsageError(f"{self.path} was left by an interrupted run: {done}")
        differing = differences(found["origin"], self.origin)
        if resume and not differing:
            self._go_on(found)
            return True
        if resume and not force:
            raise UsageError(f"{self.path} cannot be gone on with: {'; '.join(differing)}. force=True begins anew")
        return False

    def keep(self, state: Mapping[str, Any], *, every: float | None = None) -> None:
        """Say that all bytes so far count, and what is done (as JSON has it); the journal has it after a while."""
        if not self.can_be_resumed:
            return
        self._now = (self.file.tell(), state)
        if time.monotonic() - self._written >= (EVERY if every is None else every):
            self._save()

    def finish(self, mode: int | None, assemble: Assemble | None) -> None:
        """Give the file its name, when all of it is on the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        if assemble:
            assemble(self.path, self.becomes)
        else:
            if sys.platform == "win32":  # There, an open file cannot be renamed.
                self.file.close()
            if mode is not None:
                self.path.chmod(mode)
            publish(self.path, self.target, self.becomes)
        self.remove()

    def leave(self, error: BaseException) -> None:
        """Keep what another run can go on with, and remove what none can: where the model or the data are at fault.

        What is complete, and in another file than it was to be, needs no other run.
        """
        is_over = isinstance(error, TakenError)
        is_fault = isinstance(error, PortableNNError) and not isinstance(error, FileError)
        if not (is_over or is_fault):
            with suppress(OSError, FileError):  # A full disk: what the journal says stays true.
                self._save()
        if is_over or is_fault or self.kept is None:
            self.remove()

    def remove(self) -> None:
        """Remove the file and its journal; the file first, because a journal alone says nothing.

        While it is locked: another process may begin one of the same name as soon as this one has become the target.
        """
        is_ours = self.file.closed or self._is_still(self.file)
        if sys.platform == "win32":  # There, an open file cannot be removed.
            self._close()
        for path in (self.path, self.journal)[not is_ours :]:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        with suppress(OSError):  # Closing tries to flush again what could not be written, and fails again.
            self.file.close()

    def _open(self) -> bool:
        """Open the file, which is made where there is none, and lock it; whether it was there."""
        is_there = os.path.lexists(self.path)
        if is_there and (fault := not_regular(self.path.lstat().st_mode)):
            raise FileError(self.path, f"{fault}: no run of this program makes one")
        file = open(self.path, "r+b", opener=lambda name, flags: os.open(name, flags | os.O_CREAT, 0o666))  # noqa: SIM115
        if not try_lock(file) or not self._is_still(file):
            file.close()
            raise UsageError(f"{self.path} is being written by another process")
        if os.fstat(file.fileno()).st_nlink > 1:  # Of a run that was killed after it had published it: see ``publish``.
            self.path.unlink()
            self.journal.unlink(missing_ok=True)
            file.close()
            return self._open()
        self.file = file
        return is_there

    def _is_still(self, file: BinaryIO) -> bool:
        """True if the file was not renamed by its process between being opened and locked."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def _go_on(self, found: Mapping[str, Any]) -> None:
        if self.file.seek(0, os.SEEK_END) < found["size"]:
            raise UsageError(f"{self.path} is shorter than its journal says: force=True begins anew")
        self.file.truncate(found["size"])
        self.file.seek(found["size"])
        self.state = found["state"]
        self._now = (found["size"], found["state"])

    def _read(self) -> dict[str, Any] | None:
        """The journal; ``None`` where there is none. Raises ``UsageError`` where it is another file."""
        if not os.path.lexists(self.journal):
            return None
        try:
            found: dict[str, Any] = parsed_json(read_own(self.journal))
            size, origin, state = found["size"], found["origin"], found["state"]
            if not (isinstance(size, int) and size >= 0 and isinstance(origin, dict) and isinstance(state, dict)):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{self.journal} is no journal of this program, or damaged: remove it") from None
        return found

    def _save(self) -> None:
        if self._now is None:
            return
        self.file.flush()
        os.fsync(self.file.fileno())
        self._write(*self._now)
        self._written = time.monotonic()

    def _write(self, size: int, state: Mapping[str, Any]) -> None:
        text = json.dumps({"size": size, "origin": self.origin, "state": state}, indent=1)
        write_whole(self.journal, text.encode(), follow=False)


@contextmanager
def partial_write(
    path: str | Path,
    origin: Mapping[str, str] | None,
    *,
    resume: bool = False,
    force: bool = False,
    assemble: Assemble | None = None,
) -> Iterator[Part]:
    """The beginning of the file at ``path``, which it becomes when the block ends without an exception.

    A symbolic link is followed, and an existing file's mode is kept, as ``atomic_write`` does. What the block has
    written by its last ``Part.keep`` stays where the process is killed or interrupted, or the disk is full, after a few
    seconds at least; so it does where an input cannot be read any more. Where an argument is at fault, nothing stays.

    Args:
        path: the file.
        origin: what all of its bytes follow from, as text by name: the model, the data, the options;
            ``None`` where these are not there for another run, so that nothing is kept for it.
        resume: go on where an interrupted run stopped, if there was one.
        force: begin anew otherwise, whatever there is.
        assemble: what writes the file from what the block has written, where it is not the same.

    Raises:
        UsageError: an interrupted run has left the beginning of this file, and neither ``resume`` nor ``force`` is set;
            with ``resume``, it follows from something else; or another process writes it.
        FileError: the file cannot be written.
        TakenError: as ``publish`` does.
    """
    try:
        target, mode = resolve(path)
        part = Part(path, target, origin)
        part.begin(resume=resume, force=force)
        try:
            yield part
            part.finish(mode, assemble)
        except BaseException as error:
            part.leave(error)
            raise
        finally:
            part._close()
    except OSError as error:
        kept = f"; {part.path} has what was written, for a run that resumes it" if part.kept is not None else ""
        raise FileError(path, f"cannot be written: {reason_of(error, path)}{kept}") from error


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The options that were others before, each with both values, in words."""
    return [
        f"{name} was {then.get(name, 'not given')}, and is {now.get(name, 'not given')}"
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    ]
