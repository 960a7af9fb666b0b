"""Native code that crashes, loops, waits or takes all memory: its process ends, and this one goes on."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import isolated_tasks as tasks
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from portable_nn.core import isolated
from portable_nn.core.errors import FormatError
from portable_nn.core.isolated import LibraryEndedError, LibraryError, ask

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)
NUMBERS = st.sampled_from(["?", "<f2", "<f4", "<f8", "|i1", "<u2", "<i4", "<u8"])
GRIDS = NUMBERS.flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0)))
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits and timers of Linux")


def process() -> Any:
    return isolated._sides[tasks.__name__].process


@given(said=JSON, given=st.lists(GRIDS, max_size=3))
def test_what_is_asked_and_answered_arrives(said: Any, given: list[Any]) -> None:
    found, made = ask(tasks.echoed, 0, *given, said=said)
    assert found == said
    assert [(each.dtype, each.shape, each.tobytes()) for each in made] == [
        (each.dtype, each.shape, each.tobytes()) for each in given
    ]


def test_arrays_also_arrive_without_memory_that_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    isolated.end_all()
    monkeypatch.delattr(os, "memfd_create", raising=False)
    for size in (0, 7, 10**6, 10**7):
        given = np.arange(size, dtype=np.float32)
        said, [found, other] = ask(tasks.echoed, 2**30, given, given[::2], said=size)
        assert (said, np.array_equal(found, given), len(other)) == (size, True, len(given[::2]))
    isolated.end_all()


@given(parts=st.lists(GRIDS.filter(lambda array: array.ndim > 0), min_size=1, max_size=4))
def test_parts_of_an_array_are_one(parts: list[Any]) -> None:
    """Of several types as well, and an error where their rows do not fit."""
    try:
        wanted = np.concatenate(parts)
    except ValueError:
        wanted = None
    if wanted is None:
        with pytest.raises(LibraryError):
            ask(tasks.joined, 2**20, *parts)
        return
    _, [found, first] = ask(tasks.joined, 2**20, *parts)
    assert (found.dtype, found.shape, found.tobytes()) == (wanted.dtype, wanted.shape, wanted.tobytes())
    assert first.tobytes() == parts[0].tobytes()


def test_a_process_that_cannot_be_started_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    isolated.end_all()
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(LibraryEndedError, match=r"^no process can be started: No such file"):
        ask(tasks.echoed, 0, said=1)


def test_surrogates_and_numbers_of_floats_arrive() -> None:
    said = ["\ud800", "\0", float("inf"), 5e-324, ["日本"]]
    assert ask(tasks.echoed, 0, said=said)[0] == said


def test_it_is_another_process_with_the_limit_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ask(tasks.where, 0)
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "77M")
    (number, claimed), _ = ask(tasks.where, 0)
    assert number == process().pid != os.getpid()
    assert claimed == str(77 * 2**20)


def test_errors_come_back() -> None:
    with pytest.raises(FormatError, match=r"^a\.bin: is damaged$"):
        ask(tasks.damaged, 0, path="a.bin")
    with pytest.raises(LibraryError, match=r"^line 1\nline 2$"):
        ask(tasks.refused, 0, words="line 1\nline 2")
    assert ask(tasks.printed, 0)[0] == "said"


def test_nothing_but_the_table_is_done() -> None:
    with pytest.raises(LibraryError, match="_elsewhere"):
        ask(tasks.outside, 0)


@linux
def test_a_crash_ends_the_process_alone() -> None:
    for _ in range(2):
        with pytest.raises(LibraryEndedError, match=r"^its process was ended by SIGSEGV$"):
            ask(tasks.crashed, 0)
        assert ask(tasks.echoed, 0, said=1)[0] == 1


@linux
def test_what_was_asked_before_is_no_fault_of_what_is_asked_now() -> None:
    assert [ask(tasks.worn, 0)[0] for _ in range(3)] == [1, 1, 1]
    process().kill()
    assert ask(tasks.echoed, 0, said=1)[0] == 1


@linux
@pytest.mark.parametrize(("task", "factor"), [(tasks.endless, 1), (tasks.waiting, 0.25)])
def test_time_is_limited(monkeypatch: pytest.MonkeyPatch, task: Any, factor: float) -> None:
    """Processor time, and for what waits the clock."""
    monkeypatch.setattr(isolated, "SECONDS", 0.2 * factor)
    ask(tasks.echoed, 10**6, said=1)
    begin = time.monotonic()
    with pytest.raises(LibraryEndedError, match=r"^it took more than"):
        ask(task, 0)
    assert time.monotonic() - begin < 60
    assert ask(tasks.echoed, 10**6, said=1)[0] == 1


@pytest.mark.long
@linux
def test_memory_is_limited_by_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "1M")
    with pytest.raises(LibraryError, match=r"^it takes more than .* MB of memory$"):
        ask(tasks.filled, 0, size=2**28)
    _, [found] = ask(tasks.filled, 2**22, size=2**28)
    assert len(found) == 2**28
    for _ in range(5):  # What was given back counts no more.
        ask(tasks.filled, 0, size=2**26)


@linux
def test_more_than_may_be_claimed_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the process had the memory, as where no system limits it."""
    monkeypatch.setattr(isolated, "SPARE", 2**20)
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "1K")
    ask(tasks.echoed, 2**30, said=1)
    with pytest.raises(LibraryError):
        ask(tasks.filled, 0, size=2**22)
    assert ask(tasks.echoed, 0, said=1)[0] == 1


@linux
def test_an_interrupt_leaves_no_answer_behind() -> None:
    """At a terminal, it reaches the processes of a group: this one is in another."""
    ask(tasks.echoed, 0, said=1)
    assert os.getpgid(process().pid) != os.getpgid(0)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            ask(tasks.waiting, 10**6)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert ask(tasks.echoed, 0, said=2)[0] == 2


def test_threads_take_turns() -> None:
    def work(number: int) -> bool:
        given = np.full(50_000 + number, number)
        said, [found] = ask(tasks.echoed, 0, given, said=number)
        return said == number and (found == given).all()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_has_one_of_its_own() -> None:
    ask(tasks.echoed, 0, said=1)
    own, over = process().pid, threading.Event()

    def repeat() -> None:
        while not over.is_set():
            assert ask(tasks.echoed, 0, np.ones(100_000), said=3)[0] == 3

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        child = os.fork()
        if not child:
            try:
                (number, *_), _ = ask(tasks.where, 0)
                isolated.end_all()
                os._exit(0 if number != own else 1)
            except BaseException:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        over.set()
        thread.join()
    assert ask(tasks.where, 0)[0][0] == own
    gc.collect()  # No warning of a process that nobody waited for.
