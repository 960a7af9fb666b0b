"""Tasks for the tests of ``core.isolated``: what native code on a damaged file may do."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import Any

import numpy as np

from portable_nn.core.errors import FormatError

Answer = tuple[Any, list[Any]]

_worn = list[int]()


def prepare() -> None:
    """Nothing."""


def echoed(*arrays: Any, said: Any) -> Answer:
    return said, list(arrays)


def joined(*arrays: Any) -> tuple[Any, Any]:
    return None, [list(arrays), arrays[0]]


def where() -> Answer:
    return [os.getpid(), os.environ.get("PORTABLE_NN_MEMORY")], []


def damaged(*, path: str) -> Answer:
    raise FormatError(path, "is damaged")


def refused(*, words: str) -> Answer:
    raise LookupError(words)


def printed() -> Answer:
    os.write(1, b"what a library prints")
    print("and Python")
    return "said", []


def crashed() -> Answer:
    ctypes.string_at(0)
    return None, []


def worn() -> Answer:
    """As heap that an earlier file has damaged: the second call in a process ends it."""
    _worn.append(1)
    if len(_worn) > 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    return len(_worn), []


def endless() -> Answer:
    while True:
        pass


def waiting() -> Answer:
    time.sleep(1000)
    return None, []


def filled(*, size: int) -> Answer:
    return None, [np.ones(size, np.uint8)]


def _elsewhere() -> Answer:
    return "not in the table", []


outside = _elsewhere

TASKS = (echoed, joined, where, damaged, refused, printed, crashed, worn, endless, waiting, filled)
