"""Native code of another package on a stranger's file, in a process of its own: a damaged file can crash it.

Such code may also never end, or take any amount of memory. What it may be asked is the table ``TASKS`` of a module;
each such module has one process, which starts when it is first needed, with limits of processor time and memory for
each task, is replaced after a crash, and ends with this process. It protects from crashes: it is no sandbox.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import FileIO
from threading import Lock
from typing import Any, Final, ParamSpec, TypeAlias

from portable_nn.core.errors import FormatError
from portable_nn.core.forks import Locked, after_fork, computing
from portable_nn.core.isolated_side import WAITING, Array, receive, send
from portable_nn.core.limits import UNPACKED, allowance, limit

P = ParamSpec("P")

Answer: TypeAlias = tuple[Any, list[Array]]
"""The answer of a task: an object that JSON can express, and arrays of numbers."""

SECONDS: Final = 5.0
"""The processor time that a task may take, as libraries do not end on some damaged files ..."""

PER_BYTE: Final = 1e-5
"""... and how much more for each byte of the file; shape inference takes a hundredth of that for many small nodes."""

SPARE: Final = 2**27
"""The memory that a task may take for threads and buffers of libraries ..."""

COPIES: Final = 2
"""... and how many times what the file may claim (see ``limits``): what is decoded exists in two forms for a while."""

_PROGRAM: Final = """
import sys
sys.path[:] = {path!r}
from portable_nn.core.isolated_side import main
main({module!r}, {shared!r})
"""


class LibraryError(Exception):
    """The library has refused a file, with its words. Never leaves the package."""


class LibraryEndedError(LibraryError):
    """The process of the library has crashed, or used up its time.

    Args:
        words: how it ended.
        is_late: whether its time was used up: then it is not tried again.
    """

    def __init__(self, words: str, is_late: bool) -> None:
        self.is_late = is_late
        super().__init__(words)


def ask(
    task: Callable[P, tuple[Any, Sequence[Array | list[Array]]]], stored: int, *arrays: P.args, **what: P.kwargs
) -> Answer:
    """The answer of ``task(*arrays, **what)``, which runs in the process of its module.

    Args:
        task: a function of the table ``TASKS`` of its module; in place of an array it may return a list of its parts.
            The module has also a function ``prepare``, which imports the library before memory is limited.
        stored: the bytes of the file: time and memory are limited in proportion to them.
        arrays: arrays of numbers.
        what: what JSON can say; paths are absolute, as the process stays in the folder in which it began.

    Raises:
        FormatError: the task raises it.
        LibraryError: it raises another error.
        LibraryEndedError: the process ends before it answers.
    """
    side = _sides.setdefault(task.__module__, _Side(task.__module__))
    with computing(), side.turn:
        was_running = side.process is not None
        try:
            return side.answer(task.__name__, stored, arrays, what)
        except LibraryEndedError as error:
            if error.is_late or not was_running:
                raise
        # The process may have been ended, or damaged by what it was asked before.
        return side.answer(task.__name__, stored, arrays, what)


class _Side(Locked):
    """The process for the tasks of one module, if it runs."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self._module = module
        self.process: subprocess.Popen[bytes] | None = None
        self._shared: FileIO | None = None

    @property
    def turn(self) -> Lock:
        """Of several threads, one asks at a time."""
        return self._lock

    def answer(self, name: str, stored: int, arrays: Any, what: Any) -> Answer:
        """The answer of a task. Raises as ``ask`` does."""
        seconds = SECONDS + PER_BYTE * stored
        memory = SPARE + COPIES * allowance(stored, UNPACKED)
        process = self.process or self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        begin = time.monotonic()
        try:
            send(process.stdin, [name, what, seconds, memory, str(limit())], [[each] for each in arrays])
            (outcome, *said), made = receive(process.stdout, memory, self._shared)
        except MemoryError:  # In this process, for what the other one had room for.
            self.end()
            raise LibraryError("its result needs more memory than there is") from None
        except (OSError, EOFError, ValueError, TypeError) as error:
            self.end(5.0 if isinstance(error, OSError | EOFError) else 0.0)
            is_late = -process.returncode in _TIMERS or time.monotonic() - begin >= WAITING * seconds
            how = f"it took more than {seconds:.0f} s" if is_late else f"its process {_end_of(process)}"
            raise LibraryEndedError(how, is_late) from None
        except BaseException:  # A late answer would be taken for that to the next request.
            self.end()
            raise
        if outcome == "done":
            return said[0], made
        raise FormatError(*said) if outcome == "damaged" else LibraryError(*said)

    def _started(self) -> subprocess.Popen[bytes]:
        """A new process, which an interrupt at the terminal does not reach: it would end it at a good file."""
        try:
            shared = os.memfd_create("answers") if hasattr(os, "memfd_create") else None
            self._shared = None if shared is None else FileIO(shared, "r+")
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM.format(path=sys.path, module=self._module, shared=shared)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                pass_fds=() if shared is None else (shared,),
                process_group=0,  # In the same session, as Linux shares out its time by sessions.
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            self.leave()
            raise LibraryEndedError(f"no process can be started: {error.strerror or error}", True) from None
        return self.process

    def end(self, patience: float = 0.0) -> None:
        """End the process, if it does not end by itself within some seconds."""
        if process := self.process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience)
            process.kill()
            process.wait()
            self.leave()

    def leave(self) -> None:
        """Close what leads to the process, and have none: in a fork, it is that of the parent."""
        process, self.process = self.process, None
        for file in (self._shared, *(() if process is None else (process.stdin, process.stdout))):
            if file is not None:
                file.close()
        if process is not None and process.returncode is None:
            process.returncode = 0  # It is no child of this process, which must not wait for it.


_TIMERS: Final = [getattr(signal, name) for name in ("SIGPROF", "SIGALRM") if hasattr(signal, name)]
"""The signals that end a process whose time is used up."""

_sides: Final = dict[str, _Side]()


def _end_of(process: subprocess.Popen[bytes]) -> str:
    """The end of a process, in words."""
    try:
        return f"was ended by {signal.Signals(-process.returncode).name}"
    except ValueError:
        return f"ended with code {process.returncode}"


@atexit.register
def end_all() -> None:
    """End all processes."""
    for side in _sides.values():
        side.end()


@after_fork
def _leave() -> None:
    for side in _sides.values():
        side.leave()
