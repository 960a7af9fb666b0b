"""Swaps files for others and back, until it is killed; run as a program by ``test_swaps``.

python swapping.py SEED FOLDER OTHER WAY
"""

from __future__ import annotations

import itertools
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

Swap = Callable[[Path, Path], None]


def by_renaming(source: Path, folder: Path) -> None:
    """Put files of ``source`` in place of those in ``folder``: each is another file from then on."""
    for each in files(source):
        shutil.copy(source / each, folder / f"{each}.new")
        (folder / f"{each}.new").replace(folder / each)


def in_place(source: Path, folder: Path) -> None:
    """Write the bytes of ``source`` into the files in ``folder``, which stay the same files."""
    for each in files(source):
        with (folder / each).open("r+b") as file:
            file.write((source / each).read_bytes())
            file.truncate()


WAYS: dict[str, Swap] = {"renaming": by_renaming, "in place": in_place}


def files(folder: Path) -> list[str]:
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())


def contents(folder: Path) -> dict[str, bytes]:
    return {each: (folder / each).read_bytes() for each in files(folder)}


if __name__ == "__main__":
    rng, folder, way = random.Random(int(sys.argv[1])), Path(sys.argv[2]), WAYS[sys.argv[4]]
    right, other = folder.with_name("right"), Path(sys.argv[3])
    for turn in itertools.count():
        way([other, right][turn % 2], folder)
        time.sleep(rng.choice([0, 0.001, 0.003, 0.01, 0.03]))
