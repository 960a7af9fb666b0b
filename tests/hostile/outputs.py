"""Runs commands while another program writes where they write, or while the disk is full; see ``test_hostile_outputs``.

    python outputs.py HOW COUNT SEED FOLDER

HOW is one of ``RUNS``. Each command runs in a child of this process, which has imported all that they need, in FOLDER.
What went wrong is printed as JSON, and how often each thing happened.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

import numpy as np

import portable_nn as pnn
from portable_nn.cli import main

MODEL, ROWS, TABLE = "../model.safetensors", "../rows.npy", "../rows.csv"

LINES = {
    "new.safetensors": f"convert {MODEL} new.safetensors",
    "new.h5": f"convert {MODEL} new.h5",
    "new.npz": f"convert {MODEL} new.npz",
    "new.onnx": f"export {MODEL} new.onnx --verify none",
    "new-data.onnx": f"export {MODEL} new-data.onnx --verify none --external-data 0",
    "new.py": f"export {MODEL} new.py --code numpy --verify none",
    "new.c": f"export {MODEL} new.c --verify none",
    "new.csv": f"predict {MODEL} {TABLE} --engine numpy --out new.csv",
    "new.jsonl": f"predict {MODEL} {TABLE} --engine numpy --out new.jsonl",
    "new.txt": f"predict {MODEL} {TABLE} --engine numpy --out new.txt",
    "new.parquet": f"predict {MODEL} {TABLE} --engine numpy --out new.parquet",
    "arrays.npy": f"predict {MODEL} {ROWS} --engine numpy --out arrays.npy",
    "arrays.npz": f"predict {MODEL} {ROWS} --engine numpy --out arrays.npz",
    "arrays.h5": f"predict {MODEL} {ROWS} --engine numpy --out arrays.h5",
    "arrays.zarr": f"predict {MODEL} {ROWS} --engine numpy --out arrays.zarr",
    "new.json": f"inspect {MODEL} --out new.json",
    "new.dot": f"inspect {MODEL} --plot new.dot",
    "trained.npz": "train 3-64-4 ../examples.npz --validation 0 --epochs 1 --out trained.npz",
    "metrics.csv": "train 3-64-4 ../examples.npz --validation 0 --epochs 1 --out t.h5 --plot metrics.csv",
}
"""What a command writes, and its line."""

PRECIOUS = b"precious"


def write_inputs(folder: Path) -> None:
    """What the lines read, beside the folder."""
    rng = np.random.default_rng(0)
    network = pnn.Sequential(pnn.Input(3), pnn.Dense(2000), pnn.Tanh(), pnn.Dense(4), labels="abcd", seed=0)
    network.save(folder.parent / "model.safetensors")
    x = rng.normal(size=(400, 3)).astype(np.float32)
    np.save(folder.parent / "rows.npy", x)
    np.savetxt(folder.parent / "rows.csv", x, delimiter=",", header="x,y,z", comments="")
    np.savez(folder.parent / "examples.npz", x=x, y=rng.integers(0, 4, 400))


def contents(folder: Path) -> dict[str, bytes | None]:
    """The files in a folder, and the empty folders."""
    found = sorted(folder.rglob("*"))
    there = {each.relative_to(folder).as_posix(): each.read_bytes() if each.is_file() else None for each in found}
    return {name: data for name, data in there.items() if data is not None or not any((folder / name).iterdir())}


def without_links() -> None:
    """As on a file system without hard links, for what this package does: zarr needs some."""
    really = os.link

    def refused(source: Path, target: Path) -> None:
        if Path(source).suffix in {".pnn-tmp", ".part"}:
            raise PermissionError(1, "Operation not permitted")
        really(source, target)

    os.link = refused  # type: ignore[assignment]


class Command:
    """A command line in a child."""

    def __init__(self, words: str, before: Callable[[], object] = lambda: None) -> None:
        self.told, tell = os.pipe()
        self.child = os.fork()
        if self.child:
            os.close(tell)
            return
        code = 99
        try:
            sys.stderr = os.fdopen(tell, "w", buffering=1)
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
            before()
            code = main([*words.split(), "--quiet"])
        finally:
            os._exit(code)

    def wait(self) -> tuple[int, str]:
        """The exit code, and what it says."""
        with os.fdopen(self.told, "rb") as file:
            text = file.read().decode()
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1]), text


class Run:
    """One kind of run, many times."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng, self.folder = random.Random(seed), folder
        self.faults, self.seen = list[str](), Counter[str]()
        self.expected, self.takes = dict[str, dict[str, bytes | None]](), dict[str, float]()
        for name, line in LINES.items():
            begin = time.monotonic()
            code, text = Command(line).wait()
            self.takes[name] = time.monotonic() - begin
            assert (code, text) == (0, ""), (line, text)
            self.expected[name] = contents(folder)
            self.clear()

    def clear(self) -> None:
        for each in self.folder.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()

    def must(self, holds: object, what: str) -> None:
        if not holds:
            self.faults.append(f"{what}; there is {sorted(contents(self.folder))}")

    def before(self) -> Callable[[], object]:
        """Sometimes a file system without links."""
        return self.rng.choice([without_links, lambda: None, lambda: None])

    def is_complete(self, name: str, kept: str = "") -> bool:
        """Whether all that a command writes is there and nothing else, but for what took its name."""
        there = contents(self.folder)
        if kept:
            there = {each.replace(kept, name, 1): there[each] for each in there if each.partition("/")[0] != name}
        return there == self.expected[name]


def kept_name(name: str) -> str:
    return f"{Path(name).stem}-2{Path(name).suffix}"


class Appearing(Run):
    """Another program makes a file of the same name at some moment, or the very same command does."""

    def once(self) -> None:
        name = self.rng.choice(list(LINES))
        if self.rng.random() < 0.3:
            self.twice(name)
            return
        if name == "metrics.csv":  # It is there from the beginning on.
            name = "trained.npz"
        command = Command(LINES[name], self.before())
        time.sleep(self.rng.uniform(0, 1.2 * self.takes[name]))
        target, made = self.folder / name, False
        with suppress(FileExistsError):
            if self.rng.random() < 0.2:
                target.mkdir()
            else:
                with target.open("xb") as file:
                    file.write(PRECIOUS)
            made = True
            before = target.stat().st_ino
        code, text = command.wait()
        case = f"{name}: {code}: {text.strip()}"
        if not made:
            self.seen["the command was first"] += 1
            self.must(code == 0 and self.is_complete(name), f"{case}, though nothing else was made")
            return
        self.must(target.stat().st_ino == before, f"{case}: what another program has made is gone")
        self.must(target.is_dir() or target.read_bytes() == PRECIOUS, f"{case}: … has other bytes")
        self.must(not target.is_dir() or not any(target.iterdir()), f"{case}: … has files in it")
        self.must(code in (2, 3), f"{case}: it was not told")
        others = {each for each in contents(self.folder) if each.partition("/")[0] != name}
        if "what was made is in" in text:
            self.seen["it was kept beside"] += 1
            kept = kept_name(name)
            self.must(f"what was made is in {kept}" in text, f"{case}: it is said to be elsewhere")
            self.must(self.is_complete(name, kept), f"{case}: what is kept is not complete")
        else:
            self.seen["it was refused" if code == 2 else "nothing was written"] += 1
            self.must(not others, f"{case}: something was written")

    def twice(self, name: str) -> None:
        commands = [Command(LINES[name], self.before())]
        time.sleep(self.rng.uniform(0, 0.2 * self.takes[name]))
        commands.append(Command(LINES[name], self.before()))
        found = [each.wait() for each in commands]
        codes, text = sorted(code for code, _ in found), " | ".join(text.strip() for _, text in found)
        self.must(codes in ([0, 2], [0, 3]), f"{name} twice: {codes}: {text}")
        there = contents(self.folder)
        first = {each: data for each, data in there.items() if each in self.expected[name]}
        self.must(first == self.expected[name], f"{name} twice: {text}: the first is not complete")
        self.seen["two commands, and one was told"] += 1
        for each in {*there} - {*self.expected[name]}:
            self.must("-2." in each.partition("/")[0], f"{name} twice: {text}: {each} was left")


class Full(Run):
    """There is room for some bytes alone."""

    @contextmanager
    def room(self, size: int) -> Iterator[Callable[[], object]]:
        """So many bytes are free; what a command does first."""
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def once(self) -> None:
        name = self.rng.choice(list(LINES))
        expected = self.expected[name]
        total = sum(len(data or b"") for data in expected.values())
        is_old = self.rng.random() < 0.5 and not name.endswith(".zarr")
        if is_old:
            (self.folder / name).write_bytes(PRECIOUS)
        links = self.before()
        with self.room(int(self.rng.uniform(0, 1.3 * total))) as limited:
            line = LINES[name] + " --force" * is_old
            code, text = Command(line, lambda: (limited(), links())).wait()
        case = f"{name}{' (old)' if is_old else ''}: {code}: {text.strip()}"
        if code == 0:
            self.seen["there was room"] += 1
            self.must(contents(self.folder) == expected, f"{case}, and what is there is not complete")
            return
        self.seen["there was none"] += 1
        self.must(code == 3, f"{case}: no error of a file")
        there = contents(self.folder)
        old = {name: PRECIOUS} if is_old else {}
        if name == "metrics.csv":  # It grows while it can be read.
            there.pop(name, None), old.pop(name, None)
        self.must({each: data for each, data in there.items() if each == name} == old, f"{case}: {name} was changed")
        self.must({*there} <= {name, f"{name}.part", f"{name}.part.json"}, f"{case}: something was left")
        code, text = Command(LINES[name] + " --force").wait()
        self.must((code, contents(self.folder)) == (0, expected), f"{case}; and the next time: {code}: {text}")


class FullDisk(Full):
    """The same on a small disk."""

    @contextmanager
    def room(self, size: int) -> Iterator[Callable[[], object]]:
        filler = self.folder.parent / "filler"
        status = os.statvfs(self.folder)
        with filler.open("wb") as file:
            file.write(bytes(max(0, status.f_bavail * status.f_frsize - size)))
        yield lambda: None
        filler.unlink()


RUNS: dict[str, type[Appearing | Full]] = {"appearing": Appearing, "limit": Full, "disk": FullDisk}


IMPORTED = ("h5py", "pyarrow.parquet", "zarr", "portable_nn.converters.onnx", "portable_nn.converters.source")
"""What takes long to import, once for all children."""


def run(how: str, count: str, seed: str, place: str) -> None:
    for each in IMPORTED:
        import_module(each)
    folder = Path(place) / "outputs"
    folder.mkdir()
    write_inputs(folder)
    os.chdir(folder)
    found = RUNS[how](int(seed), folder)
    for _ in range(int(count)):
        found.once()
        found.clear()
    json.dump({"faults": found.faults, "seen": found.seen}, sys.stdout)


if __name__ == "__main__":
    run(*sys.argv[1:])
