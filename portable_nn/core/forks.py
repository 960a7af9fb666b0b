"""What a forked process does with what it has from its parent, whose other threads do not exist there."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock
from typing import Final
from weakref import WeakValueDictionary


def after_fork(action: Callable[[], None]) -> Callable[[], None]:
    """Have ``action`` called in every process that is forked from this one, where the system can fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=action)
    return action


class Locked:
    """An object with a lock, which is open in a forked process: the thread that held it is missing there."""

    def __init__(self) -> None:
        self._lock = Lock()
        _ALIVE[id(self)] = self


_ALIVE: Final = WeakValueDictionary[int, Locked]()


@after_fork
def _open_locks() -> None:
    for each in list(_ALIVE.values()):
        each._lock = Lock()
