"""Processes that run models: with limits of time and memory, and an answer where one ends without."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from portable_nn.core.tensors import Array
from portable_nn.core.text import size
from portable_nn.runtimes.task import Port

Outcome: TypeAlias = Literal["ran", "refused", "crashed", "timed out"]

LONGEST: Final = 240
"""Characters of a runtime's own words that are kept."""

_PROGRAM: Final = """
import sys
sys.path[:] = {path!r}
from portable_nn.runtimes.side import main
main({module!r}, {listed!r}, {memory})
"""

_THREADED: Final = ("OMP", "OPENBLAS", "MKL", "RAYON")

_ONE_THREAD: Final = {f"{name}_NUM_THREADS": "1" for name in _THREADED}
"""The environment in which they compute with one thread."""


class Job(NamedTuple):
    """A model, whose file's name ends in ``suffix``, and the inputs on which it is to run."""

    model: bytes
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    feeds: Sequence[Mapping[str, Array]]
    suffix: str = ".onnx"


class Answer(NamedTuple):
    """The answer of a runtime to a job.

    Args:
        outcome: whether it ran, and otherwise how it failed.
        reason: why, mostly in its own words.
        outputs: for each of the inputs, the outputs by name.
        seconds: how long it took, with its start.
    """

    outcome: Outcome
    reason: str = ""
    outputs: Sequence[Mapping[str, Array]] = ()
    seconds: float = 0.0


def run_jobs(module: str, jobs: Sequence[Job], *, timeout: float, memory: int) -> Iterator[Answer]:
    """The answers of a runtime to several jobs, in order.

    One process runs them; where it ends or is ended at one of them, the next process goes on after that.

    Args:
        module: the module that has the runtime's ``load``.
        jobs: what to run.
        timeout: the seconds that one job may take.
        memory: the bytes that the process may take, and so each process that it starts.
    """
    with tempfile.TemporaryDirectory(prefix="portable-nn-", ignore_cleanup_errors=True) as name:
        tasks = [_task(Path(name) / str(place), job) for place, job in enumerate(jobs)]
        done = 0
        while done < len(tasks):
            listed = Path(name) / "tasks.json"
            listed.write_text(json.dumps(tasks[done:]), encoding="utf-8")
            for failed, answer in _run(module, listed, tasks[done:], jobs[done:], timeout, memory):
                done += 1
                yield answer
                if failed:
                    break


def _task(folder: Path, job: Job) -> dict[str, Any]:
    """Write the files of a job."""
    folder.mkdir()
    path = folder / f"model{job.suffix}"
    path.write_bytes(job.model)
    for place, feeds in enumerate(job.feeds):
        arrays: Any = {str(number): feeds[port.name] for number, port in enumerate(job.inputs)}
        np.savez(folder / f"{place}.npz", **arrays)
    return {
        "path": str(path),
        "inputs": job.inputs,
        "outputs": job.outputs,
        "folder": str(folder),
        "feeds": [*range(len(job.feeds))],
    }


def _run(
    module: str, listed: Path, tasks: Sequence[Mapping[str, Any]], jobs: Sequence[Job], timeout: float, memory: int
) -> Iterator[tuple[bool, Answer]]:
    """The answers of one process, each with whether the process is over."""
    program = _PROGRAM.format(path=sys.path, module=module, listed=str(listed), memory=memory)
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-c", program],
            cwd=listed.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | _ONE_THREAD,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            lines = _lines(process.stdout)
            for task, job in zip(tasks, jobs, strict=True):
                begin = time.perf_counter()
                try:
                    line = lines.get(timeout=timeout)
                except queue.Empty:
                    yield True, Answer("timed out", f"not done after {timeout:g} s", (), timeout)
                    return
                seconds = time.perf_counter() - begin
                if not line:
                    process.wait()
                    yield True, Answer("crashed", _end(process.returncode, errors, memory), (), seconds)
                    return
                yield False, _answer(json.loads(line), task, job, seconds, memory)
        finally:
            _end_all(process)


def _lines(pipe: IO[bytes]) -> queue.Queue[bytes]:
    """The lines of a pipe as they come; an empty one at its end."""
    found: queue.Queue[bytes] = queue.Queue()

    def read() -> None:
        for line in pipe:
            found.put(line)
        found.put(b"")

    threading.Thread(target=read, daemon=True).start()
    return found


def _answer(said: Mapping[str, str], task: Mapping[str, Any], job: Job, seconds: float, memory: int) -> Answer:
    if said["reason"]:
        return Answer("refused", brief(said["reason"]) or "without a word", (), seconds)
    found = []
    for place in task["feeds"]:
        path = Path(task["folder"]) / f"{place}-found.npz"
        with np.load(path) as arrays:
            found.append({port.name: arrays[str(number)] for number, port in enumerate(job.outputs)})
    return Answer("ran", "", found, seconds)


def _end(code: int, errors: IO[bytes], memory: int) -> str:
    """The end of a process in words, with the last line that it wrote."""
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - 4000))
    written = errors.read().decode(errors="replace").strip().splitlines()
    last = brief(next((line for line in reversed(written) if line.strip()), ""))
    try:
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    except ValueError:
        how = f"ended with code {code}"
    if "bad_alloc" in last or "MemoryError" in last:
        how += f", at most {size(memory)} of memory allowed"
    return f"{how}: {last}" if last else how


def brief(text: str) -> str:
    """A message of a runtime on one line, without paths and colours, and its beginning where it is long."""
    text = re.sub(r"\x1b\[[0-9;]*m|0x[0-9a-f]{6,}", "", text)
    text = re.sub(r"(?:[A-Za-z]:)?(?:/[\w.+~-]+){2,}/", "", text)
    text = " ".join(text.partition("Stack backtrace:")[0].split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _end_all(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it has started."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()
    if process.stdout:
        process.stdout.close()
