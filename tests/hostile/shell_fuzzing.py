"""The commands themselves on changed files: ``python shell_fuzzing.py [FIRST] COUNT [--kind=KIND]`` runs so many cases.

Each case, a number, is a file, changed at random, and a command line that reads it. It runs in a process of its own,
with limits of memory and processor time: most are forked from one that has imported everything, some are programs that
begin anew. Every exit code but 0 to 4, a traceback, a signal and a time-out is a failure. Of one KIND, many cases run
in one process after the other, and what fails there is run again alone.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # Threads do not survive a fork.
    os.environ["PORTABLE_NN_TIME"] = "2"  # For what a model computes: loops may be without end.
    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here), str(here.parents[1]), str(here.parent / "converters"), str(here.parent)]

from file_changes import scrambled
from shell_files import FILE, Kind, kinds

CODES: Final = range(5)
MEMORY: Final = 2 * 2**30
"""Bytes of address space that a command may take beyond what its imports take."""

SECONDS: Final = 20
"""Seconds of processor time; five times as many on the clock end a process that waits for ever."""

TOGETHER: Final = 500
"""Cases of one kind that run in one process."""

WHOLE: Final = 100
"""One of so many cases is a program that begins anew."""


@dataclass(frozen=True)
class Case:
    """A command line and the files that it reads, by name; the first is the changed one."""

    number: int
    kind: str
    line: tuple[str, ...]
    files: Mapping[str, bytes]


def case(number: int, table: Mapping[str, Kind]) -> Case:
    """The case of this number: always the same."""
    dice = random.Random(number)
    name = list(table)[number % len(table)]
    kind = table[name]
    file, data = dice.choice(list(kind.files.items()))
    change = dice.choice([scrambled, *kind.changes])
    line = tuple(file if word == FILE else word for word in dice.choice(kind.lines).split(" "))
    try:
        changed = change(data, dice)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError):  # What the format cannot hold in any way.
        changed = scrambled(data, dice)
    return Case(
        number, name, line, {file: changed} | {other: kind.beside[other] for other in kind.beside if other != file}
    )


@contextmanager
def laid_out(found: Case, where: Path | str | None = None) -> Iterator[Path]:
    """A folder with the files of a case."""
    with tempfile.TemporaryDirectory(dir=where or _memory()) as folder:
        for name, data in found.files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        yield Path(folder)


def _memory() -> str | None:
    """A folder in memory, where the system has one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def limited() -> None:
    """Limit this process."""
    with suppress(OSError, ValueError):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    seconds = int(time.process_time()) + SECONDS  # Of several cases in this process, each has so many.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def forked(found: Case, folder: Path) -> tuple[int, str]:
    """The exit code of a case, negative for a signal, and its messages; in a fork of this process."""
    child = os.fork()
    if not child:
        code = _in_child(found, folder)
        _end_helpers()
        os._exit(code)
    return _ended(child), _messages(folder)


def in_turn(cases: Iterable[Case]) -> bytes:
    """The exit codes of cases that run in one fork after the other, up to the one that ends it."""
    with tempfile.TemporaryDirectory(dir=_memory()) as scratch:
        codes = Path(scratch) / "codes"
        codes.touch()
        child = os.fork()
        if not child:
            for found in cases:
                with laid_out(found, scratch) as folder, codes.open("ab") as file:
                    code = _in_child(found, folder)
                    file.write(bytes([70 if "Traceback" in _messages(folder) else code]))
                    os.chdir(scratch)
            _end_helpers()
            os._exit(0)
        _ended(child, TOGETHER * SECONDS)
        return codes.read_bytes()


def _messages(folder: Path) -> str:
    path = folder / "messages of the command"
    return path.read_text(errors="replace") if path.exists() else ""


def _in_child(found: Case, folder: Path) -> int:
    """The exit code of a case that runs in this process, which is a fork; its messages are in a file."""
    try:
        os.chdir(folder)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)  # First: where it is closed, the next file would be it.
        out = os.open(folder / "messages of the command", os.O_WRONLY | os.O_CREAT)
        os.dup2(out, 1)
        os.dup2(out, 2)
        for each in {nothing, out} - {0, 1, 2}:
            os.close(each)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        limited()
        return _command(found)
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        sys.stderr.flush()
        return 70


def _command(found: Case) -> int:
    from portable_nn.cli import main

    code = 70
    try:
        code = main(found.line)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _end_helpers() -> None:
    """Of what runs at exit, this alone: the parent's temporary folders are not this process's."""
    if helper := sys.modules.get("portable_nn.core.isolated"):
        helper.end_all()


def _ended(child: int, seconds: float = 5 * SECONDS) -> int:
    """The exit code of a child, which is killed where it waits for ever."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGALRM


def program(found: Case, folder: Path) -> tuple[int, str]:
    """The same as a program that begins anew."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "portable_nn", *found.line]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, stdin=subprocess.DEVNULL, env=environment, check=False,
            preexec_fn=_limited_anew, timeout=5 * SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return -signal.SIGALRM, ""
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def _limited_anew() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (2 * MEMORY, 2 * MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def fault(found: Case, folder: Path) -> tuple[int, str]:
    """The exit code of a case, and what is wrong with that, if anything."""
    run = program if random.Random(found.number).randrange(WHOLE) == 0 else forked
    code, messages = run(found, folder)
    if code < 0 and _may_loop(found):  # A model may loop for ever: then the option for such models must end it.
        timed = Case(found.number, found.kind, (*found.line, "--timeout", "5"), found.files)
        code, messages = program(timed, folder)
    if code not in CODES or "Traceback" in messages:
        return code, f"exit code {code}\n{messages[-2000:]}"
    return code, ""


def _may_loop(found: Case) -> bool:
    first = next(iter(found.files.values()))
    return b"Loop" in first or b"Scan" in first


def prepare() -> None:
    """Import what commands import, without starting threads."""
    import matplotlib  # noqa: F401
    import onnxruntime  # noqa: F401

    import portable_nn.converters.onnx
    import portable_nn.opening.convert
    import portable_nn.outputs.reports
    import portable_nn.prediction.predictions
    import portable_nn.recipes.classifier
    import portable_nn.recipes.tuning  # noqa: F401


def run(first: int, count: int, kind: str = "") -> Iterator[tuple[Case, int, str]]:
    """The cases of these numbers, their exit codes, and the faults of those that fail."""
    prepare()
    with tempfile.TemporaryDirectory() as scratch:
        table = kinds(Path(scratch), kind)
        numbers = range(first, first + count)
        if kind:
            table = {kind: table[kind]}
        while numbers:
            codes = in_turn(case(number, table) for number in numbers[:TOGETHER]) if kind else b""
            if kind and len(codes) < len(numbers[:TOGETHER]):
                print(f"… case {numbers[len(codes)]} ended its process, and runs alone", flush=True)
            for number, code in zip(numbers, [*codes, None], strict=False):  # The one behind them ended the process.
                found = case(number, table)
                if code in CODES:
                    yield found, code, ""
                    continue
                with laid_out(found) as folder:
                    yield found, *fault(found, folder)
            numbers = numbers[len(codes) + 1 :]


def keep(found: Case, folder: Path) -> None:
    """Write the files of a case, to look at."""
    for name, data in found.files.items():
        path = folder / str(found.number) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def main() -> int:
    kind = next((word.removeprefix("--kind=") for word in sys.argv if word.startswith("--kind=")), "")
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    *first, count = map(int, words[:2])
    codes, failed = Counter[int](), 0
    for found, code, wrong in run(first[0] if first else 0, count, kind):
        codes[code] += 1
        if found.number % 500 == 499:
            print(f"… {found.number}: {dict(sorted(codes.items()))}", flush=True)
        if wrong:
            failed += 1
            print(f"case {found.number} ({found.kind}): {' '.join(found.line)}\n{wrong}\n", flush=True)
            if len(words) > 2:
                keep(found, Path(words[2]))
    print(f"{failed} of {count} failed; exit codes: {dict(sorted(codes.items()))}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
