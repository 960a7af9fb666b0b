"""Times of simulations, of a long run on plain floats and of many runs in numpy: ``python adversarial.py``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from portable_nn.adversarial import simulate
from portable_nn.adversarial.runs.result import Result

ROUNDS = 5


def report(title: str, play: Callable[[], Result], steps: int) -> None:
    """Print the median time of a run, and of one step of it."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        play()
        times.append(time.perf_counter() - begun)
    median = statistics.median(times)
    print(f"{title:<58} {median:6.2f} s   {median / steps * 1e9:8.1f} ns a step", flush=True)


if __name__ == "__main__":
    starts = np.random.default_rng(0).normal(size=(10_000, 2))
    for method in ("simultaneous", "alternating", "extragradient", "optimistic"):
        report(
            f"1,000,000 steps of x·y, {method}", lambda m=method: simulate("bilinear", m, steps=1_000_000), 1_000_000
        )
    for method in ("simultaneous", "extragradient"):
        title = f"10,000 runs of 1,000 steps of x·y, {method}"
        report(title, lambda m=method: simulate("bilinear", m, starts, steps=1_000), 10_000_000)
