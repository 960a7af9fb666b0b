"""``--timeout``: a command in a process of its own, which is ended when its time is over.

Nothing less ends every computation: a model may loop for ever inside of onnxruntime, and so may the parser of a file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

from portable_nn.core.errors import PortableNNError, UsageError
from portable_nn.core.limits import TIME

MOST: Final = 1_000_000
"""The longest limit in seconds; systems do not wait for any time."""

GRACE: Final = 5
"""Seconds after which a process ends itself, should the one that was to end it have been killed."""


PROGRAM: Final = """
import sys
sys.path[:] = {path!r}
from portable_nn.__main__ import main
sys.exit(main(limited=True))
"""
"""The program of a process with a limit."""


class TimeLimit(BaseException):
    """The command is to run with a limit of so many seconds. Never leaves ``main``."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


has_limit = False
"""True if ``run_within`` has started this process."""


def limit_time(seconds: float) -> None:
    """Raise ``TimeLimit`` unless this process has its limit already. Raises ``UsageError`` for a time that is none."""
    if not 0 < seconds <= MOST:
        raise UsageError(f"--timeout must be a number of seconds above 0, at most {MOST:,}, not {seconds:g}")
    if not has_limit:
        raise TimeLimit(seconds)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds + GRACE)


def run_within(seconds: float, arguments: Sequence[str]) -> int:
    """Run a command line in a process of its own, and return its exit code.

    Raises ``PortableNNError`` where it takes longer; the process is then ended.
    """
    end = time.monotonic() + seconds
    # The limits on what a model computes are then these seconds.
    environment = {**os.environ, TIME: str(seconds)}
    process = subprocess.Popen([sys.executable, "-P", "-c", PROGRAM.format(path=sys.path), *arguments], env=environment)
    try:
        while True:
            try:
                return process.wait(max(0, end - time.monotonic()))
            except KeyboardInterrupt:  # The command has got it as well, and ends as it does.
                continue
    except subprocess.TimeoutExpired:
        raise PortableNNError(
            f"not done after {seconds:g} s (--timeout), and stopped: the model may never end, or need more time"
        ) from None
    finally:
        process.kill()
        process.wait()
