"""The program that ``isolated`` starts: it does the tasks of one module until no more are asked for."""

from __future__ import annotations

import faulthandler
import json
import math
import mmap
import os
import signal
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from io import FileIO
from typing import IO, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.arrays import NUMBERS
from portable_nn.core.errors import FileError
from portable_nn.core.jsons import parsed_json
from portable_nn.core.limits import VARIABLE
from portable_nn.core.text import size

Array: TypeAlias = NDArray[Any]

_LENGTH: Final = struct.Struct("<Q")

WAITING: Final = 4
"""The time on the clock that a task may take, as a multiple of its processor time: one that waits for ever takes no
processor time."""

KEPT: Final = 2**26
"""The most bytes that the shared file in memory keeps: it is as large as the largest answer."""

_UNKNOWN: Final = 2**30
"""The memory that this program is taken to have where the system does not say."""


def send(pipe: IO[bytes], said: Any, arrays: Iterable[Sequence[Array]], shared: FileIO | None = None) -> None:
    """Write a message: what JSON can say, and arrays of numbers. Raises ``OSError``.

    Args:
        pipe: where it is written.
        said: what is said.
        arrays: the parts of each array; parts have rows of one type and shape.
        shared: a file in memory for the arrays: two processes take fewer turns than at a pipe.
    """
    bodies, kinds = list[memoryview](), list[Any]()
    for parts in arrays:
        first = parts[0]
        kinds.append((first.dtype.str, first.shape if len(parts) == 1 else (sum(map(len, parts)), *first.shape[1:])))
        bodies += (np.ascontiguousarray(part).reshape(-1).view(np.uint8).data for part in parts)
    text = json.dumps([said, kinds]).encode()
    if shared is not None:
        shared.seek(0)
        _write(shared, bodies)
    _write(pipe, [_LENGTH.pack(len(text)), text, *(bodies if shared is None else ())])


def receive(pipe: IO[bytes], most: int, shared: FileIO | None = None) -> tuple[Any, list[Array]]:
    """Read a message of at most ``most`` bytes. Raises ``OSError``, ``EOFError``, and ``ValueError`` for another."""
    (length,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size, most).data)
    said, kinds = parsed_json(_exactly(pipe, length, most).tobytes(), nan=True)
    if shared is not None:
        shared.seek(0)
    arrays = list[Array]()
    for name, shape in kinds:
        dtype = np.dtype(name)
        if dtype.kind not in NUMBERS:
            raise ValueError(f"{dtype} is no type of numbers")
        count = math.prod(shape) * dtype.itemsize
        arrays.append(_exactly(shared or pipe, count, most).view(dtype).reshape(shape))
        most -= count
    if shared is not None and shared.tell() > KEPT:
        shared.truncate(0)
    return said, arrays


def _write(file: IO[bytes] | FileIO, parts: Iterable[bytes | memoryview]) -> None:
    for part in parts:
        left = memoryview(part)
        while left:
            left = left[file.write(left) :]


def _exactly(file: IO[bytes] | FileIO, count: int, most: int) -> NDArray[np.uint8]:
    if not 0 <= count <= most:
        raise ValueError(f"a message has {count} bytes")
    memory = np.empty(count, np.uint8)
    left = memory.data
    while left:
        if not (got := file.readinto(left)):  # type: ignore[union-attr]
            raise EOFError("it broke off")
        left = left[got:]
    return memory


def main(module: str, memory_file: int | None) -> None:
    """Do the tasks of a module that are asked for on standard input: those of its table ``TASKS``, and no others."""
    requests, answers = FileIO(os.dup(0)), FileIO(os.dup(1), "w")
    shared = None if memory_file is None else FileIO(memory_file, "r+")
    os.dup2(2, 1)  # Keep what libraries print out of the answers.
    room = import_module(module)
    tasks = {task.__name__: task for task in room.TASKS}
    is_prepared = False
    answer: list[Any]
    made: list[list[Array]]
    while True:
        try:
            (name, what, seconds, memory, claimed), arrays = receive(requests, 2**63)
        except EOFError:
            return
        os.environ[VARIABLE] = claimed
        try:
            if not is_prepared:
                room.prepare()
                is_prepared = True
            _limit(seconds, memory)
            said, found = tasks[name](*arrays, **what)
            answer, made = ["done", said], [_parts(each) for each in found]
        except FileError as error:
            answer, made = ["damaged", error.path, error.reason], []
        except MemoryError:
            answer, made = ["refused", f"it takes more than {size(memory)} of memory"], []
        except Exception as error:  # Libraries raise what they like.
            answer, made = ["refused", str(error) or type(error).__name__], []
        _limit(0, None)
        send(answers, answer, made, shared)
        arrays, found, made = [], [], []


def _parts(array: Array | list[Array]) -> list[Array]:
    """The parts of an array that can be sent one after the other."""
    if not isinstance(array, list):
        return [array]
    kinds = {(part.dtype, part.shape[1:]) for part in array}
    return array if len(kinds) == 1 else [np.concatenate(array)]


def _limit(seconds: float, memory: int | None) -> None:
    """End the process after that much more processor time, even within C++ code; and limit the memory that it takes.

    0 and ``None`` for no limit. Windows has neither these timers nor that limit: there the clock alone ends it.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, WAITING * seconds)
    elif seconds:
        faulthandler.dump_traceback_later(WAITING * seconds, exit=True)
    else:
        faulthandler.cancel_dump_traceback_later()
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # A crash here is no event.
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = hard if memory is None else _used() + memory
        resource.setrlimit(
            resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


def _used() -> int:
    """The memory of this process that counts for the limit."""
    try:
        return int(os.pread(_sizes(), 200, 0).split()[5]) * mmap.PAGESIZE
    except OSError:  # No Linux.
        return _UNKNOWN


@cache
def _sizes() -> int:
    return os.open("/proc/self/statm", os.O_RDONLY)
