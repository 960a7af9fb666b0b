"""Time two or more sides, each in a process of its own, round after round, and print medians and ratios.

Every side is a function that is imported by name in a fresh process, prepares itself, and returns the seconds that one
unit of work took. Processes of different libraries never run at the same time: their thread pools would disturb each
other.

On a busy machine, ``taskset -c 1 python …`` compares all sides on one core, in processor time.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def measure(module: str, function: str, *arguments: object) -> float:
    """Run ``module.function(*arguments)`` in a new process; the seconds it returns."""
    code = f"import json, {module}; print(json.dumps({module}.{function}(*{list(arguments)!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE, check=False)
    if done.returncode:
        raise SystemExit(f"{module}.{function}{arguments} failed:\n{done.stderr}")
    seconds: float = json.loads(done.stdout.splitlines()[-1])
    return seconds


def processor() -> str:
    """The processor, and the number of its cores that this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{names[0] if names else platform.processor() or platform.machine()}, {cores} cores"


def compare(title: str, sides: dict[str, tuple[object, ...]], rounds: int = 7) -> None:
    """Print a row: the median of each side, and how many times the first is as fast as each other one."""
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, (module, function, *arguments) in sides.items():
            times[side].append(measure(str(module), str(function), *arguments))
    medians = {side: statistics.median(found) for side, found in times.items()}
    ours, *others = medians
    text = "  ".join(f"{side} {median * 1e6:9.1f} µs" for side, median in medians.items())
    ratios = "  ".join(f"{medians[other] / medians[ours]:.2f} x {other}" for other in others)
    print(f"{title:<38} {text}   {ratios}", flush=True)
