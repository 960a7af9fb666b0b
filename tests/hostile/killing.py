"""Kills a process that writes a file, at one boundary after the other; run as a program by ``test_hostile_kill``.

    python killing.py SCENARIO FOLDER SUFFIX

In FOLDER, an old file is replaced by a new one in a child that dies by SIGKILL at its first call of the system, then at
the second, and so on until it comes to its end. What was at the path each time is printed as JSON.
"""

from __future__ import annotations

import ctypes
import fcntl
import io
import itertools
import json
import os
import resource
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forge import Forge
from msgspec.structs import replace
from rows import CARRIERS

from portable_nn.cli import main
from portable_nn.core.atomic import atomic_write, must_be_new, replacing_nothing
from portable_nn.format import load, save, writing

Work = Callable[[], Any]

# How to die. Each takes what to do and a number, and gives whether the child died of it.

TRACE_ME, TO_NEXT_CALL = 0, 24


def ptrace(request: int, process: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(ctypes.c_long(request), ctypes.c_long(process), None, None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def at_a_system_call(work: Work, number: int) -> bool | None:
    """Between two of them, whatever Python does: the kernel stops the child there. Linux may forbid it.

    It stops twice a call, at its beginning and at its end.
    """
    child = os.fork()
    if not child:
        try:
            ptrace(TRACE_ME)
        except (AttributeError, OSError):
            os._exit(0)
        os.kill(os.getpid(), signal.SIGSTOP)
        work()
        os._exit(0)
    if not os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1]):
        return None
    for _ in range(2 * number):
        ptrace(TO_NEXT_CALL, child)
        if os.WIFEXITED(os.waitpid(child, 0)[1]):
            return False
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def at_a_call_of_python(work: Work, number: int) -> bool:
    """Before one that has to do with files, or in the middle of a write."""

    def arranged() -> None:
        die_before_call(number)
        work()

    return died(arranged)


def at_a_size(work: Work, number: int) -> bool:
    """Where a file would get larger than so many times 48 bytes, in the middle of a write."""

    def arranged() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (48 * number, 48 * number))
        work()

    return died(arranged)


def died(work: Work) -> bool:
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)


def die_before_call(number: int) -> None:
    """Count the calls of this process that have to do with files, and kill it before one of them."""
    calls = itertools.count()

    def count() -> None:
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            count()
            return function(*arguments, **options)

        return call

    def in_two(write: Callable[..., int], data: Any, *at: int) -> int:
        """A write that can stop in the middle."""
        memory = memoryview(data).cast("B")
        half = len(memory) // 2
        count()
        done = write(memory[:half], *at)
        count()
        return done + write(memory[half:], *(start + done for start in at))

    def pwrite(file: int, data: Any, offset: int, real: Any = os.pwrite) -> int:
        return in_two(lambda part, at: real(file, part, at), data, offset)

    class Raw(io.FileIO):
        def write(self, data: Any) -> int:
            return in_two(super().write, data)

        seek, close, truncate = (counted(getattr(io.FileIO, name)) for name in ("seek", "close", "truncate"))

    def opened(path: Any, mode: str = "r", buffering: int = -1, *arguments: Any, **options: Any) -> Any:
        count()
        if "b" not in mode or "r" in mode:
            return real(path, mode, buffering, *arguments, **options)
        raw = Raw(path, mode.replace("b", ""))
        return raw if buffering == 0 else io.BufferedWriter(raw)

    real = io.open
    io.open = opened  # type: ignore[assignment]
    fcntl.flock = counted(fcntl.flock)
    os.pwrite = pwrite
    for name in (
        "fsync",
        "fdatasync",
        "replace",
        "rename",
        "link",
        "unlink",
        "chmod",
        "open",
        "close",
        "ftruncate",
        "fstat",
    ):
        setattr(os, name, counted(getattr(os, name)))


MEANS = {each.__name__: each for each in (at_a_system_call, at_a_call_of_python, at_a_size)}

# What to do


def saved(folder: Path, suffix: str) -> tuple[Path, Work]:
    """A save over another network."""
    path = folder / f"net{suffix}"
    path.write_bytes(CARRIERS[suffix](Forge().only("w", "uint8", [3], b"old")))
    contents = _new(folder, suffix)
    return path, lambda: save(path, contents.manifest, contents.tensors)


def threaded(folder: Path, suffix: str) -> tuple[Path, Work]:
    """The same as for a large network: threads write, hash, and leave parts to the disk meanwhile."""
    writing.WORTH_THREADS = writing.SMALL = 0  # type: ignore[misc]
    return saved(folder, suffix)


def made(folder: Path, suffix: str) -> tuple[Path, Work]:
    """A save where there was nothing."""
    contents = _new(folder, suffix)
    path = folder / f"net{suffix}"
    return path, lambda: save(path, contents.manifest, contents.tensors)


def claimed(folder: Path, suffix: str) -> tuple[Path, Work]:
    """A save where there must be nothing."""
    path, save = made(folder, suffix)

    def work() -> None:
        with replacing_nothing():
            must_be_new(path)
            save()

    return path, work


def mapped(folder: Path, suffix: str) -> tuple[Path, Work]:
    """A save over the very file that the tensors are mapped from."""
    path = folder / f"net{suffix}"
    path.write_bytes(CARRIERS[suffix](Forge()))

    def work() -> None:
        contents = load(path, lazy=True)
        save(path, replace(contents.manifest, metadata={"note": "new"}), contents.tensors)

    return path, work


def linked(folder: Path, suffix: str) -> tuple[Path, Work]:
    """A save through a symbolic link from another folder."""
    path, _ = saved(folder, suffix)
    contents = _new(folder, suffix)
    (folder.parent / "elsewhere").mkdir()
    link = folder.parent / "elsewhere" / f"link{suffix}"
    link.symlink_to(path)
    return path, lambda: save(link, contents.manifest, contents.tensors)


def predicted(folder: Path, suffix: str) -> tuple[Path, Work]:
    """Results of a command that go into a file."""
    model, rows, path = folder.parent / f"net{suffix}", folder.parent / "rows.csv", folder / "results.json"
    model.write_bytes(CARRIERS[suffix](Forge()))
    rows.write_text("x,y\n1,2\n3,4\n")
    path.write_text("old")
    command = [
        "predict",
        str(model),
        str(rows),
        "--engine",
        "numpy",
        "--format",
        "json",
        "--quiet",
        "--force",
        "-o",
        str(path),
    ]
    assert main(command) == 0  # so that all is imported
    path.write_text("old")
    return path, lambda: main(command)


def _new(folder: Path, suffix: str) -> Any:
    path = folder.parent / f"new{suffix}"
    path.write_bytes(CARRIERS[suffix](Forge()))
    return load(path)


SCENARIOS = {each.__name__: each for each in (saved, threaded, made, claimed, mapped, linked, predicted)}


# What came of it


def states(path: Path, work: Work, means: Callable[[Work, int], bool | None]) -> list[dict[str, Any]] | None:
    """What there is after each death; the last one is without."""
    old = path.read_bytes() if path.exists() else None
    seen = []
    for number in itertools.count():
        dead = means(work, number)
        if dead is None:
            return None
        seen.append(look(path))
        if path.suffix == ".json":  # predict keeps what it has written until it is run again.
            work()
        with atomic_write(path) as file:  # the next save
            file.write(old or b"")
        seen[-1]["left"] = len(set(path.parent.iterdir()) - {path})
        if old is None:
            path.unlink()
        if not dead:
            return seen
    return None


def look(path: Path) -> dict[str, Any]:
    there = path.exists()
    return {
        "content": path.read_bytes().hex() if there else "none",
        "mode": stat.S_IMODE(path.stat().st_mode) if there else 0o640,
        "orphans": len(set(path.parent.iterdir()) - {path}),
    }


def run(scenario: str, folder: str, suffix: str) -> None:
    os.umask(0o027)
    path, work = SCENARIOS[scenario](Path(folder), suffix)
    before = look(path)
    json.dump({"before": before, **{name: states(path, work, means) for name, means in MEANS.items()}}, sys.stdout)


if __name__ == "__main__":
    run(*sys.argv[1:])
