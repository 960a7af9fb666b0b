"""The files that a network was trained on, which its metadata name by their digests."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Final

import xxhash

from portable_nn.core.files import open_regular

TRAINED_ON: Final = "trained_on"
"""The entry of the metadata: for each file its XXH3-64, the share that was held out, and the seed of the split."""


def training_file(path: Path, held_out: float, seed: int) -> str:
    """The entry of a file; empty for a folder and standard input. Raises ``FileError`` for a file that is unreadable.

    The whole file is read, so this comes before a training, whose result then waits for nothing.
    """
    return f"{_digest(path)} {held_out:g} {seed}" if path.is_file() else ""


def note_trained(metadata: MutableMapping[str, str], entry: str) -> None:
    """Add the entry of a file, if there is one, to ``metadata``."""
    entries = dict.fromkeys(filter(None, [*metadata.get(TRAINED_ON, "").split(", "), entry]))
    if entries:
        metadata[TRAINED_ON] = ", ".join(entries)


def trained_notes(trained_on: str, data: Any) -> list[str]:
    """A sentence for each path in ``data`` with the bytes of a file that the network was trained on."""
    known = dict(entry.split(" ", 1) for entry in trained_on.split(", ") if " " in entry)
    paths = [
        Path(each) for each in (data if isinstance(data, list | tuple) else [data]) if isinstance(each, str | Path)
    ]
    found = [(path, known[digest]) for path in paths if known and path.is_file() and (digest := _digest(path)) in known]
    return [
        f"{path}: the model was trained on these rows{_but(how)}; figures on new data may be worse"
        for path, how in found
    ]


def _but(how: str) -> str:
    held_out, _, seed = how.partition(" ")
    return "" if held_out == "0" else f", but for a share of {held_out}, held out with seed {seed}"


def _digest(path: Path) -> str:
    found = xxhash.xxh3_64()
    with open_regular(path) as file:
        while part := file.read(2**20):
            found.update(part)
    return found.hexdigest()
