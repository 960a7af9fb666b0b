"""``predict --out FILE --resume`` after inputs or options have changed.

Several processes compute what is new, and give the file that one process gives; one process refuses to go on, with what
has changed.
"""

from __future__ import annotations

import os
import random
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from PIL import Image

import portable_nn.core.partial
import portable_nn.scale.run
from portable_nn.cli import main
from portable_nn.scale.computing import compute

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a command that is killed is a forked one")

KILLED = 77
"""The exit code of a process that ends in the middle, without any cleaning up."""


def picture(rng: random.Random) -> Image.Image:
    pixels = np.zeros((28, 28), np.uint8)
    left, top = rng.randrange(3, 20), rng.randrange(3, 10)
    pixels[top : top + rng.randrange(6, 16), left : left + rng.randrange(2, 6)] = rng.randrange(150, 256)
    return Image.fromarray(pixels)


def rows(rng: random.Random, count: int) -> np.ndarray:
    return np.random.default_rng(rng.randrange(2**32)).integers(0, 256, (count, 784)).astype(np.uint8)


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


@dataclass
class Case:
    """A folder of inputs, and the options of the command."""

    place: Path
    random: random.Random
    inputs: list[str] = field(default_factory=lambda: ["scans", "rows.npy", "train-images-idx3-ubyte", "table.csv"])
    options: list[str] = field(default_factory=lambda: ["--engine", "numpy", "--batch-size", "1"])

    def __post_init__(self) -> None:
        rng, scans = self.random, self.place / "scans"
        scans.mkdir()
        for number in range(7):
            picture(rng).save(scans / f"{number}.bmp")  # All of one size.
        np.save(self.place / "rows.npy", rows(rng, 9))
        (self.place / "train-images-idx3-ubyte").write_bytes(idx(rows(rng, 3).reshape(3, 28, 28)))
        (self.place / "train-labels-idx1-ubyte").write_bytes(idx(np.array([1, 2, 3], np.uint8)))
        self.table(rows(rng, 2))
        (self.place / "names.txt").write_text("\n".join("abcdefghij"))

    def table(self, found: np.ndarray) -> None:
        (self.place / "table.csv").write_text("\n".join(",".join(f"{each:03}" for each in row) for row in found) + "\n")

    def command(self, out: str, *more: str) -> list[str]:
        return ["predict", "digits-mlp", *self.inputs, *self.options, "--out", out, "--quiet", *more]

    def scan(self) -> Path:
        return self.random.choice(sorted((self.place / "scans").glob("*.bmp")))


Change: TypeAlias = Callable[[Case], None]


def as_before(path: Path, write: Callable[[], object]) -> None:
    """Write a file again, and give it the times that it had, as archives do."""
    then = path.stat()
    time.sleep(0.02)  # More than a tick of the clock of the file system: two writes within one are not told apart.
    write()
    os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))


def another_picture(case: Case) -> None:
    path = case.scan()
    as_before(path, lambda: picture(case.random).save(path))


def other_rows(case: Case) -> None:
    path = case.place / "rows.npy"
    as_before(path, lambda: np.save(path, rows(case.random, 9)))


def fewer_rows(case: Case) -> None:
    np.save(case.place / "rows.npy", rows(case.random, 4))


def another_table(case: Case) -> None:
    as_before(case.place / "table.csv", lambda: case.table(rows(case.random, 2)))


def other_labels(case: Case) -> None:
    path = case.place / "train-labels-idx1-ubyte"
    as_before(path, lambda: path.write_bytes(idx(np.array([3, 2, 1], np.uint8))))


def names_exchanged(case: Case) -> None:
    one, *_, other = sorted((case.place / "scans").glob("*.bmp"))
    one.rename(case.place / "aside")
    other.rename(one)
    (case.place / "aside").rename(other)


def another_name(case: Case) -> None:
    case.scan().rename(case.place / "scans" / f"{case.random.choice('0 z')}new.bmp")


def one_more(case: Case) -> None:
    picture(case.random).save(case.place / "scans" / f"{case.random.choice('0 3z')}more.bmp")


def one_less(case: Case) -> None:
    case.scan().unlink()


def a_damaged_one(case: Case) -> None:
    path = case.scan()
    path.write_bytes(path.read_bytes()[:40])


def one_is_a_link(case: Case) -> None:
    path = case.scan()
    picture(case.random).save(case.place / "elsewhere.bmp")
    path.unlink()
    path.symlink_to(case.place / "elsewhere.bmp")


def one_input_more(case: Case) -> None:
    np.save(case.place / "more.npy", rows(case.random, 3))
    case.inputs.insert(case.random.randrange(len(case.inputs) + 1), "more.npy")


def another_order(case: Case) -> None:
    first, *others = case.inputs
    case.inputs[:] = [*others, first]


DATA: tuple[Change, ...] = (
    another_picture,
    other_rows,
    fewer_rows,
    another_table,
    other_labels,
    names_exchanged,
    another_name,
    one_more,
    one_less,
    a_damaged_one,
    one_is_a_link,
    one_input_more,
    another_order,
)
"""Changes of data, after which several processes go on."""

OF_ROWS = (["--top", "2"], ["--labels", "names.txt"], ["--task", "numbers"])
"""Options that shards do not depend on: the rows are written from the same shards."""

OF_SHARDS = (["--engine", "onnxruntime"], ["--batch-size", "2"], ["--polarity", "dark"])
"""Options that shards depend on."""


def killed(case: Case, count: int, *more: str) -> None:
    """Run the command until ``count`` shards or batches are there, and end it there without cleaning up."""
    process = os.fork()
    if not process:
        done = 0

        def counted(*given: Any, **options: Any) -> Any:
            nonlocal done
            if done == count:
                os._exit(KILLED)
            done += 1
            return compute(*given, **options)

        keep = portable_nn.core.partial.Part.keep

        def kept(part: Any, *given: Any, **options: Any) -> None:
            nonlocal done
            if done == count and not more:
                os._exit(KILLED)
            done += not more
            keep(part, *given, **options)

        portable_nn.scale.run.compute = counted
        portable_nn.core.partial.EVERY = 0.0
        portable_nn.core.partial.Part.keep = kept  # type: ignore[method-assign]
        try:
            main(case.command("out.jsonl", *more))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == KILLED


def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, *more: str) -> Case:
    """A run that was killed in the middle."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["portable-nn"])
    case = Case(tmp_path, random.Random(seed))
    killed(case, case.random.randrange(1, 7), *more)
    return case


def option(options: list[str]) -> str:
    """What a message says of an option that has changed."""
    return options[0].removeprefix("--").replace("-", "[-_]") + " was "


WORKERS = ("--workers", "0", "--shard-size", "2")


def check_as_one_process(case: Case, capfd: pytest.CaptureFixture[str]) -> None:
    """Go on, and compare with one process that computes all anew."""
    code = main(case.command("out.jsonl", *WORKERS, "--resume"))
    found = capfd.readouterr().err
    assert code == main(case.command("whole.jsonl", "--force")), found
    assert found == capfd.readouterr().err
    assert Path("out.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    assert not list(Path().glob("out.jsonl.*"))


@pytest.mark.long
@pytest.mark.parametrize("change", DATA)
def test_several_processes_compute_what_has_changed(tmp_path, monkeypatch, capfd, change: Change) -> None:
    case = begun(tmp_path, monkeypatch, 0, *WORKERS)
    change(case)
    check_as_one_process(case, capfd)


@pytest.mark.long
@pytest.mark.parametrize("options", OF_ROWS)
def test_several_processes_write_other_rows(tmp_path, monkeypatch, capfd, options: list[str]) -> None:
    case = begun(tmp_path, monkeypatch, 0, *WORKERS)
    case.options += options
    check_as_one_process(case, capfd)


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.long if seed < 16 else pytest.mark.sweep) for seed in range(1, 60)]
)
def test_several_processes_after_several_changes(tmp_path, monkeypatch, capfd, seed: int) -> None:
    case = begun(tmp_path, monkeypatch, seed, *WORKERS)
    for change in case.random.choices(DATA, k=case.random.randrange(1, 5)):
        change(case)
    if case.random.random() < 0.5:
        killed(case, 0, *WORKERS, "--resume")
        case.random.choice(DATA)(case)
    check_as_one_process(case, capfd)


@pytest.mark.long
@pytest.mark.parametrize("options", OF_SHARDS)
def test_several_processes_refuse_other_answers(tmp_path, monkeypatch, capfd, options: list[str]) -> None:
    case = begun(tmp_path, monkeypatch, 0, *WORKERS)
    case.options += options
    assert main(case.command("out.jsonl", *WORKERS, "--resume")) == 2
    said = capfd.readouterr().err
    assert "out.jsonl.shards has shards of something else: " in said
    assert re.search(option(options), said)
    assert main(case.command("out.jsonl", *WORKERS, "--force")) == main(case.command("whole.jsonl"))
    assert Path("out.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


def test_several_processes_refuse_to_leave_an_input_out(tmp_path, monkeypatch, capfd) -> None:
    case = begun(tmp_path, monkeypatch, 0, *WORKERS)
    del case.inputs[1]
    assert main(case.command("out.jsonl", *WORKERS, "--resume")) == 2
    assert "rows.npy, and have not" in capfd.readouterr().err


@pytest.mark.quick("other_rows")
@pytest.mark.parametrize("change", DATA)
def test_one_process_says_what_has_changed(tmp_path, monkeypatch, capfd, change: Change) -> None:
    case = begun(tmp_path, monkeypatch, 0)
    change(case)
    before = Path("out.jsonl.part").read_bytes()
    assert main(case.command("out.jsonl", "--resume")) == 2
    said = capfd.readouterr().err
    assert "out.jsonl.part cannot be gone on with: the " in said
    assert Path("out.jsonl.part").read_bytes() == before
    assert main(case.command("out.jsonl", "--force")) == main(case.command("whole.jsonl"))
    assert Path("out.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


@pytest.mark.parametrize("options", [*OF_ROWS, *OF_SHARDS])
def test_one_process_says_which_option_has_changed(tmp_path, monkeypatch, capfd, options: list[str]) -> None:
    case = begun(tmp_path, monkeypatch, 0)
    case.options += options
    assert main(case.command("out.jsonl", "--resume")) == 2
    assert re.search(option(options), capfd.readouterr().err)


def test_one_process_goes_on_where_nothing_has_changed(tmp_path, monkeypatch) -> None:
    case = begun(tmp_path, monkeypatch, 0)
    assert main(case.command("out.jsonl", "--resume")) == main(case.command("whole.jsonl"))
    assert Path("out.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


@pytest.mark.long
def test_chunks_of_a_data_set_that_changed_within_their_sizes_and_times(tmp_path, monkeypatch, capfd) -> None:
    zarr = pytest.importorskip("zarr")
    monkeypatch.chdir(tmp_path)
    case = Case(tmp_path, random.Random(0), ["echoes.zarr"], ["--inputs", "w", "--engine", "numpy"])
    case.options += ["--batch-size", "1"]
    store = zarr.open_group("echoes.zarr", mode="w")
    store.create_array("w", data=rows(case.random, 12).astype("float32"), chunks=(3, 784), compressors=None)
    killed(case, 2, *WORKERS)
    one, other = sorted(Path("echoes.zarr").rglob("c/*/0"))[:2]
    swapped = other.read_bytes(), one.read_bytes()
    for path, data in zip((one, other), swapped, strict=True):
        as_before(path, lambda path=path, data=data: path.write_bytes(data))
    check_as_one_process(case, capfd)
