"""A second thread for work that falls into two halves."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import Final

from portable_nn.core.forks import after_fork, computing, help_others


def side_by_side(first: Callable[[], object], second: Callable[[], object]) -> None:
    """Run both: ``second`` in a thread of its own if there is another core, and nobody else uses that thread now.

    The numbers must not depend on which it was. An error of either is raised when both have ended.
    """
    if cores() == 1 or not _LOCK[0].acquire(blocking=False):
        first()
        second()
        return
    taken = _LOCK[0]
    try:
        with computing():
            other = _worker(os.getpid()).submit(second)
            try:
                first()
            finally:
                other.result()
    finally:
        taken.release()


def cores() -> int:
    """The cores that this process may use."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(found, most_threads() or found)


def most_threads() -> int:
    """The most threads that one computation of this process has; 0 for as many as there are cores."""
    return _MOST[0]


def limit_threads(count: int) -> None:
    """Give computations of this process no more threads than these: others of its kind use the other cores.

    Sessions of onnxruntime have as many threads as they were made with.
    """
    _MOST[0] = count


@cache
def _worker(process: int) -> ThreadPoolExecutor:
    """The second thread of ``process``: a forked process does not have that of its parent."""
    return ThreadPoolExecutor(1, f"portable-nn half of {process}", initializer=help_others)


_MOST: Final = [0]

_LOCK: Final = [Lock()]
"""Held by whoever uses the second thread."""


@after_fork
def _open_lock() -> None:
    _LOCK[0] = Lock()
