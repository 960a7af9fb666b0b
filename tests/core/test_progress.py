"""How far a long run is, and how fast."""

from __future__ import annotations

import io
import re
import sys
import time

import pytest

from portable_nn.core import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_lines_have_the_throughput_since_the_last(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress.counting("examples") as show:
        for seconds, done in ((0, 500), (10, 1000), (30, 60_500), (60, 63_500), (90, 63_501)):
            clock[0] = 100.0 + seconds
            show(done, 90_500)
    assert capsys.readouterr().err.splitlines() == [
        "60,500 of 90,500 examples, 2,000 per second, 15 s left",
        "63,500 of 90,500 examples, 100 per second, 270 s left",
        "63,501 of 90,500 examples, 0.033 per second, 809,970 s left",
    ]


def test_lines_without_a_total_or_anything_done(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress.counting("rows") as show:
        show(0, None)
        clock[0] += 30
        show(60, None)
        clock[0] += 30
        show(60, 100)
    assert capsys.readouterr().err.splitlines() == ["60 rows, 2 per second", "60 of 100 rows, 0 per second"]


def test_the_bar_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with progress.counting("examples") as show:
        for done in range(0, 50, 10):
            time.sleep(0.03)
            show(done, 100)
        time.sleep(0.2)
    assert re.search(r"40/100.* per second", terminal.getvalue())
