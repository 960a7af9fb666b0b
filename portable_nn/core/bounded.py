"""Native code that may compute for ever, in a thread of its own: it is given up when its processor time is over.

Nothing interrupts such code from outside. It is asked to stop; where it does not listen, its thread is left behind, and
ends with the process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from threading import Event, Thread, get_ident
from typing import Any, Final, TypeVar

T = TypeVar("T")

LEAST: Final = 0.05
"""The fewest seconds between two looks at the processor time."""

MOST: Final = 1.0
"""The most: not every system tells a thread that waits of Ctrl-C."""

GRACE: Final = 2.0
"""Seconds in which code may stop that was asked to."""


class OvertimeError(Exception):
    """The processor time is over, of so many seconds. Never leaves the package."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


def bounded(work: Callable[[], T], limits: Iterable[float], stop: Callable[[], object] = lambda: None) -> T:
    """The result of ``work``, or the error that it raises.

    Args:
        work: is called in another thread.
        limits: the seconds of processor time that it may take; each is asked for when those before are over.
        stop: asks it to stop, when they are over, or this thread is interrupted.

    Raises ``OvertimeError``.
    """
    thread, limit = _Work(work), 0.0
    thread.start()
    try:
        for limit in limits:
            if thread.ends_within(limit):
                break
        else:
            raise OvertimeError(limit)
    except BaseException:
        stop()
        thread.done.wait(GRACE)
        raise
    if thread.error is not None:
        raise thread.error
    result: T = thread.result
    return result


class _Work(Thread):
    """A thread that does one thing, and knows the processor time that it has used."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self.work, self.context = work, copy_context()
        self.done = Event()
        self.result: Any = None
        self.error: BaseException | None = None
        self.used: Callable[[], float] = lambda: 0.0

    def run(self) -> None:
        self.used = _clock()
        try:
            self.result = self.context.run(self.work)
        except BaseException as error:
            self.error = error
        self.done.set()

    def ends_within(self, seconds: float) -> bool:
        """True if the process has ended before it has used so many seconds."""
        try:
            while (left := seconds - self.used()) > 0:
                if self.done.wait(min(MOST, max(LEAST, left))):
                    return True
        except OSError:  # A thread that has ended has no clock any more.
            self.done.wait()
        return self.done.is_set()


def _clock() -> Callable[[], float]:
    """The processor time of the present thread, or of the process, where the system has no such clock."""
    if hasattr(time, "pthread_getcpuclockid"):
        return partial(time.clock_gettime, time.pthread_getcpuclockid(get_ident()))
    begun = time.process_time()
    return lambda: time.process_time() - begun
