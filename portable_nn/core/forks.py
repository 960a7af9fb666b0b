"""Forks of a process whose other threads compute.

A fork copies the thread that asks for it, and no other: what the others hold at that moment, be it a lock of this
package, of OpenBLAS or of onnxruntime, stays held in the child for ever. Each thread therefore holds a lock of its own
while it computes, and a fork first takes those of all threads, which is to say that it waits until they have finished.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from threading import Lock, RLock
from typing import TYPE_CHECKING, Final
from weakref import WeakSet, WeakValueDictionary

if TYPE_CHECKING:
    from _thread import RLock as Turn

PATIENCE: Final = 60.0
"""Seconds that a fork waits for the computations of other threads: some models never end."""


def after_fork(action: Callable[[], None]) -> Callable[[], None]:
    """Have ``action`` called in every process that is forked from this one, where the system can fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=action)
    return action


class _Thread(threading.local):
    """The lock of the present thread."""

    def __init__(self) -> None:
        self.turn: Turn = RLock()
        with _adding:
            _turns.add(self.turn)


_adding: Final = RLock()
_turns: Final = WeakSet["Turn"]()
_taken: Final = list["Turn"]()
_own: Final = _Thread()


def computing() -> Turn | nullcontext[None]:
    """The lock of the present thread, as a context for what must not be cut off by a fork.

    Within it a thread may wait for other locks, as long as the threads that hold them are within such a block, too.
    """
    return _NOTHING if threading.get_ident() in _helpers else _own.turn


def help_others() -> None:
    """Make the present thread one that computes only while another waits for it within ``computing``.

    That thread's lock holds a fork up for both. With one of its own, which a fork may already have taken, the helper
    would wait for the fork, and the fork for the thread that waits for the helper.
    """
    _helpers.add(threading.get_ident())


_helpers: Final = set[int]()
_NOTHING: Final = nullcontext()


@after_fork
def _without_helpers() -> None:
    _helpers.clear()


class Locked:
    """An object with a lock, which is open in a forked process: the thread that held it is missing there."""

    def __init__(self) -> None:
        self._lock = Lock()
        _locked[id(self)] = self


_locked: Final = WeakValueDictionary[int, Locked]()


def _wait() -> None:
    """Take the locks of all threads; after ``PATIENCE``, go on without those that are missing."""
    end = time.monotonic() + PATIENCE
    _adding.acquire()
    for turn in list(_turns):
        if turn.acquire(timeout=max(0.0, end - time.monotonic())):
            _taken.append(turn)


def _go_on() -> None:
    while _taken:
        _taken.pop().release()
    _adding.release()


def _begin() -> None:
    """In the child: forget the locks of threads that are missing, and open those of objects."""
    _turns.clear()
    _turns.add(_own.turn)
    _go_on()
    for each in list(_locked.values()):
        each._lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait, after_in_parent=_go_on, after_in_child=_begin)
