"""The files that a network was trained on, which its metadata name by their digests."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Final

import xxhash

TRAINED_ON: Final = "trained_on"
"""The entry of the metadata: for each file its XXH3-64, the share that was held out, and the seed of the split."""


def note_trained(metadata: MutableMapping[str, str], path: Path, held_out: float, seed: int) -> None:
    """Note in ``metadata`` that a network was trained on a file; a folder and standard input have no digest."""
    if path.is_file():
        entries = [*metadata.get(TRAINED_ON, "").split(", "), f"{_digest(path)} {held_out:g} {seed}"]
        metadata[TRAINED_ON] = ", ".join(filter(None, dict.fromkeys(entries)))


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
    with path.open("rb") as file:
        while part := file.read(2**20):
            found.update(part)
    return found.hexdigest()
