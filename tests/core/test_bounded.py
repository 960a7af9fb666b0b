"""Work within a limit of processor time: what it returns and raises, and how it is given up."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextvars import ContextVar

import pytest

from portable_nn.core import bounded as module
from portable_nn.core.bounded import OvertimeError, bounded


class Busy:
    """Work that computes until it is told to stop, or for ever."""

    def __init__(self, *, listens: bool = True) -> None:
        self.listens, self.stopped, self.ended = listens, threading.Event(), threading.Event()

    def __call__(self) -> None:
        while not (self.stopped.is_set() and self.listens):
            pass
        self.ended.set()


def test_what_work_returns_and_raises() -> None:
    assert bounded(lambda: 42, [60.0]) == 42
    with pytest.raises(KeyError, match="missing"):
        bounded(lambda: {}["missing"], [60.0])


def test_work_has_the_context_of_who_calls() -> None:
    variable = ContextVar("variable", default="none")
    variable.set("mine")
    assert bounded(variable.get, [60.0]) == "mine"


def test_work_that_never_ends_is_stopped_after_the_last_limit() -> None:
    busy, asked = Busy(), []

    def limits():
        for limit in (0.02, 0.05):
            asked.append(limit)
            yield limit

    with pytest.raises(OvertimeError) as raised:
        bounded(busy, limits(), busy.stopped.set)
    assert raised.value.seconds == 0.05
    assert asked == [0.02, 0.05]
    assert busy.ended.wait(60)


def test_work_that_does_not_listen_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.01)
    busy = Busy(listens=False)
    with pytest.raises(OvertimeError):
        bounded(busy, [0.02], busy.stopped.set)
    assert not busy.ended.is_set()
    busy.listens = True
    assert busy.ended.wait(60)


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="the processor time of a thread is not known")
def test_neither_waiting_nor_what_others_compute_is_counted() -> None:
    other = Busy()
    threading.Thread(target=other, daemon=True).start()
    assert bounded(lambda: time.sleep(0.4), [0.2]) is None
    other.stopped.set()
    assert other.ended.wait(60)


def test_ctrl_c_is_heard_at_once_and_stops_the_work() -> None:
    busy = Busy()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell has it ignored behind an "&".
    threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT]).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            bounded(busy, [3600.0], busy.stopped.set)
    finally:
        signal.signal(signal.SIGINT, before)
    assert busy.ended.wait(60)
