"""The commands themselves, as processes, on changed files of every kind that they read: see ``shell_fuzzing``."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked, and their memory limited")
HERE = Path(__file__).parent


def run(first: int, count: int, *options: str) -> None:
    command = [sys.executable, str(HERE / "shell_fuzzing.py"), str(first), str(count), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"0 of {count} failed" in done.stdout


@pytest.mark.long
def test_no_command_fails_in_a_way_that_is_not_its_own() -> None:
    """Every exit code is one of 0 to 4; there is no traceback, no signal, and no command takes too long."""
    run(0, 100)


@pytest.mark.sweep
def test_nor_does_it_in_twenty_thousand_cases() -> None:
    run(0, 20_000)


@pytest.mark.long
def test_nor_does_it_in_three_hundred_pickles() -> None:
    run(0, 300, "--kind=pickle")


@pytest.mark.sweep
def test_nor_does_it_in_a_hundred_thousand_pickles() -> None:
    run(0, 100_000, "--kind=pickle")


@pytest.mark.long
def test_nor_does_it_in_three_hundred_graphs() -> None:
    """Bodies, sequences, few bits and foreign operators."""
    run(0, 300, "--kind=graphs")


@pytest.mark.sweep
def test_nor_does_it_in_a_hundred_thousand_graphs() -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda first: run(first, 50_000, "--kind=graphs"), (0, 50_000)))
