"""Runs of ``predict --workers`` in which processes are killed and disks are full; what a machine goes through."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bounded import no_larger_files

LATEST = 3600
"""Seconds after which a run is given up."""


def command(inputs: list[Path], out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "portable_nn", "predict", "digits", *map(str, inputs), "--out", str(out), *more]


def serial(inputs: list[Path], out: Path) -> list[str]:
    """The lines that one process writes."""
    found = subprocess.run(command(inputs, out), capture_output=True, text=True, timeout=LATEST)
    assert found.returncode == 0, found.stderr
    return out.read_text().splitlines()


def workers_of(client: int) -> list[int]:
    """The processes that a client has started to compute."""
    found = list[int]()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == client:
                line = (path.parent / "cmdline").read_bytes()
                found += [int(path.parent.name)] if b"spawn_main" in line else []
        except OSError:
            continue
    return found


def memory_of(process: int) -> int:
    """The most memory that a process has had, in bytes; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
    except OSError:
        return 0


class Ordeal:
    """A run, and what is done to it.

    Args:
        inputs: what is predicted.
        out: the file that is written.
        shards: how many shards there are in all.
        options: more of the command line.
        seed: when something happens.
    """

    def __init__(self, inputs: list[Path], out: Path, shards: int, *options: str, seed: int = 0) -> None:
        self.inputs, self.out, self.shards, self.options = inputs, out, shards, options
        self.random = random.Random(seed)
        self.memory = 0
        self.folder = out.with_name(out.name + ".shards")

    def run(self, meanwhile: Callable[[int, int], bool] = lambda client, done: True, limit: int | None = None) -> int:
        """Run the command; ``meanwhile`` is called with its process and the shards that are there, until it is True.

        ``limit``: the bytes that a file may have, as where a disk is full. Returns the exit code.
        """
        more = ["--workers", "2", "--resume", *self.options]

        def limited() -> None:
            if limit is not None:
                no_larger_files(limit)

        log = self.out.with_name("log.txt")
        with log.open("w") as file:
            process = subprocess.Popen(command(self.inputs, self.out, *more), stderr=file, preexec_fn=limited)
            begun, is_done = time.monotonic(), False
            while process.poll() is None:
                workers = workers_of(process.pid)
                self.memory = max([self.memory, *map(memory_of, workers)])
                is_done = is_done or meanwhile(process.pid, self.done())
                assert time.monotonic() - begun < LATEST
                time.sleep(0.02)
        self.log = log.read_text()
        return process.returncode

    def done(self) -> int:
        return len(list(self.folder.glob("*.json")))

    def kill_workers(self, times: int) -> Callable[[int, int], bool]:
        """Kill a worker, so many times, each at a random moment."""
        before = self.done()
        moments = sorted(before + self.random.randrange(max(1, self.shards - before - 3)) for _ in range(times))
        killed = list[int]()

        def meanwhile(client: int, done: int) -> bool:
            workers = workers_of(client)
            if done >= moments[len(killed)] and len(workers) > 1:
                time.sleep(self.random.uniform(0, 0.05))
                killed.append(self.random.choice(workers))
                os.kill(killed[-1], signal.SIGKILL)
            return len(killed) == times

        return meanwhile

    def kill_client(self) -> Callable[[int, int], bool]:
        """Kill the client at a random moment."""
        before = self.done()
        moment = before + self.random.randrange(1, max(2, (self.shards - before) // 2))

        def meanwhile(client: int, done: int) -> bool:
            if done < moment:
                return False
            os.kill(client, signal.SIGKILL)
            return True

        return meanwhile
