"""Random runs of ``predict`` in several processes, with what may happen to them, compared with one process."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from ordeals import memory_of, workers_of
from PIL import Image

LATEST = 900
"""Seconds after which a command hangs."""

NAMES = ("digit {}", "bild ä{}", "数{}", "a#2 {}", "a:{}", "  {} ", "new\nline{}", '"{}", 7', os.fsdecode(b"\xff{}"))
"""Names that files may have."""

FILES = (".csv", ".json", ".jsonl", ".parquet", ".npz", ".npy", ".h5", ".zarr")
"""What ``--out`` writes."""


def digit(rng: random.Random) -> np.ndarray:
    """Something light on dark: one stroke, or two that are drawings of their own."""
    pixels = np.zeros((28, 28), np.uint8)
    left, top = rng.randrange(3, 10), rng.randrange(3, 8)
    pixels[top : top + rng.randrange(10, 18), left : left + rng.randrange(2, 6)] = rng.randrange(150, 256)
    if rng.random() < 0.1:
        pixels[6:22, 21:25] = 255
    return pixels


def rows(rng: random.Random, count: int) -> np.ndarray:
    """Pictures as rows ``(count, 28, 28)``."""
    return np.array([digit(rng) for _ in range(count)]).reshape(count, 28, 28)


# -- inputs: each function writes something into a folder, and returns what the command is given


def folder(rng: random.Random, place: Path, count: int = 0) -> Path:
    """Pictures in a folder, some of them damaged, hidden, or none."""
    place.mkdir(parents=True)
    for number in range(count or rng.randrange(1, 30)):
        path = place / (rng.choice(NAMES).format(number) + rng.choice((".png", ".PNG", ".bmp")))
        Image.fromarray(digit(rng)).save(path)
        damage = rng.randrange(30)
        if damage == 0:
            path.write_bytes(path.read_bytes()[: rng.randrange(60)])
        elif damage == 1:
            path.write_bytes(b"")
        elif damage == 2:
            path.rename(path.with_name("." + path.name))
        elif damage == 3:
            path.with_name(f"link {number}.png").symlink_to("nowhere")
    return place


def classes(rng: random.Random, place: Path) -> Path:
    """Folders of pictures, each of which is named after a class."""
    for name in rng.sample("0123456789", rng.randrange(1, 4)):
        folder(rng, place / name, rng.randrange(1, 8))
    return place


def picture(rng: random.Random, place: Path) -> Path:
    path = place.with_name(place.name + " one.png")
    Image.fromarray(digit(rng)).save(path)
    return path


def missing(rng: random.Random, place: Path) -> Path:
    return place.with_name(place.name + rng.choice(("", ".png", ".npy", ".csv")))


def npy(rng: random.Random, place: Path) -> Path:
    path, found = place.with_name(place.name + ".npy"), rows(rng, rng.randrange(0, 60))
    if rng.random() < 0.3 and len(found):
        found = found.astype("float32")
        found[rng.randrange(len(found)), 3, 4] = rng.choice((np.nan, -1, 300))
    np.save(path, found[0] if len(found) and rng.random() < 0.1 else found)
    if rng.random() < 0.1:
        path.write_bytes(path.read_bytes()[: rng.randrange(20, 2000)])
    return path


def csv(rng: random.Random, place: Path) -> Path:
    path, found = place.with_name(place.name + ".csv"), rows(rng, rng.randrange(1, 40)).reshape(-1, 784)
    labelled = rng.random() < 0.5
    lines = [",".join(map(str, [rng.randrange(10)] * labelled + row.tolist())) for row in found]
    if rng.random() < 0.3:
        lines[rng.randrange(len(lines))] = rng.choice(("", "1,2,3", "x" + lines[0], lines[0] + ",7"))
    path.write_text("\n".join(lines) + "\n")
    return path


def npz(rng: random.Random, place: Path) -> Path:
    path = place.with_name(place.name + ".npz")
    found = rows(rng, rng.randrange(1, 40))
    np.savez(path, x=found, y=np.arange(len(found)) % 10)
    return path


def stored(rng: random.Random, place: Path, suffix: str) -> Path:
    """An array with a name, for ``--inputs``."""
    path, found = place.with_name(place.name + suffix), rows(rng, rng.randrange(1, 80)).astype("float32")
    if rng.random() < 0.2:
        found[rng.randrange(len(found)), 3, 4] = rng.choice((np.nan, -1, 300))
    if suffix == ".npz":
        np.savez(path, images=found)
    elif suffix == ".h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("images", data=found, chunks=rng.choice((None, (min(7, len(found)), 28, 28))))
    elif suffix == ".zarr":
        zarr.open_group(path, mode="w").create_array("images", data=found, chunks=(rng.randrange(1, 30), 28, 28))
    else:
        cells = pa.FixedSizeListArray.from_arrays(found.ravel(), 784)
        pq.write_table(pa.table({"images": cells}), path, row_group_size=rng.randrange(1, 30))
    return path


Maker: TypeAlias = Callable[[random.Random, Path], Path]

FREE: tuple[Maker, ...] = (folder, folder, folder, classes, picture, missing, npy, npy, csv, npz)
NAMED: tuple[Maker, ...] = tuple(partial(stored, suffix=suffix) for suffix in (".npz", ".h5", ".zarr", ".parquet"))


# -- what happens


@dataclass
class Event:
    """Something that happens to a run, after some seconds or when there are some shards.

    Args:
        what: ``worker``, ``client``, ``disk`` (it is full), ``change`` (of the inputs, before the run) or ``nothing``.
        signal: what is sent.
        seconds, shards: when.
    """

    what: str
    signal: int = 0
    seconds: float = 0
    shards: int = 0


@dataclass
class RandomRun:
    """A run that follows from its seed.

    Args:
        place: an empty folder for inputs and outputs, on a small disk where disks are to be full.
        aside: another one, with room.
        seed: of all that is random.
        bucket: a URL for the shards of some runs.
    """

    place: Path
    aside: Path
    seed: int
    bucket: str | None = None

    def __post_init__(self) -> None:
        rng = self.random = random.Random(self.seed)
        data = self.place / rng.choice(("data", "données #1"))
        data.mkdir()
        self.is_named = rng.random() < 0.3
        makers = rng.choices(NAMED if self.is_named else FREE, k=rng.randrange(1, 4))
        self.inputs = [make(rng, data / f"in {number}") for number, make in enumerate(makers)]
        self.suffix = rng.choice(FILES)
        self.workers = rng.choice((0, 1, 1, 2, 2, 3))
        options = ["--batch-size", "1"]  # What is computed together has a part in the last digits.
        options += ["--inputs", "images"] if self.is_named else []
        options += rng.choice(([], [], [], ["--strict"], ["--top", "2"], ["--engine", "numpy"], ["--output", "digit"]))
        self.options = options
        self.shard_size = rng.randrange(1, 24)
        self.model = rng.choice(("digits", "digits", "digits-mlp"))
        self.shards = f"{self.bucket}/run-{self.seed}" if self.bucket and rng.random() < 0.2 else None
        self.events = [self._event() for _ in range(rng.choice((0, 1, 1, 2, 3)))]

    def _event(self) -> Event:
        rng = self.random
        what = rng.choice(("worker", "worker", "client", "client", "disk", "change"))
        signals = (signal.SIGKILL, signal.SIGTERM, *([signal.SIGINT] if what == "client" else []))
        return Event(what, rng.choice(signals), rng.uniform(0, 5), rng.randrange(12))

    def __str__(self) -> str:
        given = [str(each.relative_to(self.place)) for each in self.inputs]
        how = f"{self.options} {self.suffix}, workers {self.workers}, {self.shard_size} a shard, in {self.shards}"
        return f"{self.seed}: {self.model} {given} {how}; {self.events}"

    # -- running

    def command(self, out: Path, *more: str) -> list[str]:
        begin = [sys.executable, "-m", "portable_nn", "predict", self.model]
        return [*begin, *map(str, self.inputs), *self.options, "--out", str(out), *more]

    def serial(self, out: Path) -> tuple[int, str]:
        found = subprocess.run(self.command(out, "--quiet"), capture_output=True, text=True, timeout=LATEST)
        return found.returncode, found.stderr

    def run(self, out: Path, event: Event) -> tuple[int, str]:
        """A run in several processes, to which something happens."""
        more = ["--workers", str(self.workers), "--shard-size", str(self.shard_size), "--quiet"]
        more += ["--shards", self.shards] if self.shards else []
        temporary = self.aside / "tmp"
        temporary.mkdir(exist_ok=True)
        filler = self.place / "filler"
        if event.what == "change":
            self._change()
        if event.what == "disk":
            self._fill(filler)
        log = self.aside / "log.txt"
        shards = out.with_name(out.name + ".shards")
        seen = set[int]()
        with log.open("w") as file:
            process = subprocess.Popen(
                self.command(out, *more, "--resume"),
                stderr=file,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "TMPDIR": str(temporary)},
            )
            begun, happened = time.monotonic(), event.what not in ("worker", "client")
            while process.poll() is None:
                seen.update(workers_of(process.pid))
                late = time.monotonic() - begun
                if late > LATEST:
                    process.kill()
                    raise AssertionError(f"{self}: the command hangs")
                count = len(list(shards.glob("*.json"))) if shards.exists() else 0
                if not happened and (late > event.seconds + 3 * (self.workers > 0) or count > event.shards):
                    happened = self._signal(event, process.pid)
                time.sleep(0.01)
        filler.unlink(missing_ok=True)
        killed = process.returncode == -signal.SIGKILL
        end = time.monotonic() + 30
        while any(map(memory_of, seen)) and time.monotonic() < end:
            time.sleep(0.05)
        assert not any(map(memory_of, seen)), f"{self}: workers stay"
        if not killed:
            left = sorted(each.name for each in temporary.iterdir() if each.name not in ("dask-scratch-space", ".ses"))
            assert not left, f"{self}: temporary files stay: {left}"
        return process.returncode, log.read_text()

    def _signal(self, event: Event, client: int) -> bool:
        found = workers_of(client) if event.what == "worker" else [client]
        if found:
            os.kill(self.random.choice(found), event.signal)
        return bool(found)

    def _fill(self, filler: Path) -> None:
        """Leave a few kilobytes of the disk."""
        room = self.random.randrange(1, 60) * 1024
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65536))
            except OSError:
                file.truncate(max(0, file.tell() - room))

    def _change(self) -> None:
        """Rewrite one of the inputs, or a picture of it."""
        path = self.random.choice(self.inputs)
        pictures = sorted(path.rglob("*.png")) if path.is_dir() else []
        if pictures:
            for _ in range(2):
                Image.fromarray(digit(self.random)).save(path / f"more {self.random.randrange(99)}.png")
            pictures[0].unlink()
        elif path.suffix == ".npy" and path.exists():
            np.save(path, rows(self.random, 20))


def content(path: Path) -> dict[str, bytes]:
    """All bytes of a file, or of a folder that is one data set."""
    if path.is_dir():
        return {str(each.relative_to(path)): each.read_bytes() for each in sorted(path.rglob("*")) if each.is_file()}
    return {"": path.read_bytes()} if path.exists() else {}
