"""The files and folders that a network was trained on, which its metadata name by their digests."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final

import xxhash

from portable_nn.core.errors import DataError
from portable_nn.core.files import open_regular

TRAINED_ON: Final = "trained_on"
"""The entry of the metadata: for each file or folder its digest, the shares that were held out, and the split's seed.

The first share is for validation; the second, after the seed, is for the test, where there is one.
"""

SOME: Final = 256
"""The most files of a folder whose bytes count, spread over all of them."""

_SHARE: Final = r"0(?:\.\d{1,9})?|\d(?:\.\d{1,9})?e-\d{1,3}"
ENTRY: Final = re.compile(
    rf"(?P<digest>[0-9a-f]{{16}}) (?P<held_out>{_SHARE}) (?P<seed>\d{{1,40}})"
    rf"(?: (?P<test>{_SHARE})(?P<blocks> in blocks)?)?"
)


def training_file(path: Path, held_out: float, seed: int, test: float = 0, blocks: bool = False) -> str:
    """The entry of a file or folder; empty for standard input. Raises ``FileError`` for a file that is unreadable.

    ``blocks`` says that the examples to test on are blocks of arrays that were given by name, and not rows.
    The whole file is read, so this comes before a training, whose result then waits for nothing.
    """
    tested = f" {test:g}{' in blocks' * blocks}" if test else ""
    return f"{_digest(path)} {held_out:g} {seed}{tested}" if path.is_file() or path.is_dir() else ""


def note_trained(metadata: MutableMapping[str, str], entry: str) -> None:
    """Add the entry of a file, if there is one, to ``metadata``."""
    entries = dict.fromkeys(filter(None, [*metadata.get(TRAINED_ON, "").split(", "), entry]))
    if entries:
        metadata[TRAINED_ON] = ", ".join(entries)


def trained_notes(trained_on: str, data: Any) -> list[str]:
    """A sentence for each path in ``data`` with the bytes of a file that the network was trained on."""
    known = _known(trained_on)
    paths = [
        Path(each) for each in (data if isinstance(data, list | tuple) else [data]) if isinstance(each, str | Path)
    ]
    found = [
        (path, known[digest])
        for path in paths
        if known and (path.is_file() or path.is_dir()) and (digest := _digest(path)) in known
    ]
    return [
        f"{path}: the model was trained on these examples{_but(*trainings)}; figures on new data may be worse"
        for path, trainings in found
    ]


def test_share(trained_on: str, path: Path, blocks: bool) -> tuple[float, int]:
    """The share of a file or folder that was held out to test the network, and the seed; ``blocks`` as it is read now.

    Raises ``DataError`` where there is none, or others would be drawn.
    """
    trainings = _known(trained_on).get(_digest(path), [])
    if len(trainings) > 1:
        raise DataError(path, "the model was trained on it several times, each with other examples held out")
    if not trainings or not trainings[0]["test"]:
        raise DataError(path, "none of its examples were held out to test the model: train --test SHARE does it")
    if blocks != bool(trainings[0]["blocks"]):
        do = "leave --inputs and --target out" if blocks else "name its arrays as then, with --inputs and --target"
        raise DataError(
            path, f"other examples were held out to test the model than would be drawn: {do} (inputs=, targets=)"
        )
    return float(trainings[0]["test"]), int(trainings[0]["seed"])


def known_before(metadata: Mapping[str, str], entry: str) -> bool:
    """True if a network had been trained on the file of an entry before, with other rows held out."""
    return len(_known(metadata.get(TRAINED_ON, "")).get(entry.partition(" ")[0], [])) > 1


def _known(trained_on: str) -> dict[str, list[re.Match[str]]]:
    """Each training in the entry of the metadata, by the digests of files. Words of others say nothing."""
    known = dict[str, list[re.Match[str]]]()
    for found in filter(None, map(ENTRY.fullmatch, trained_on.split(", "))):
        known.setdefault(found["digest"], []).append(found)
    return known


def _but(training: re.Match[str], *others: re.Match[str]) -> str:
    shares = [training["held_out"]] * (training["held_out"] != "0")
    shares += [f"{training['test']} (which --test evaluates)"] * bool(training["test"])
    if others or not shares:
        return ""
    return f", but for a share of {' and of '.join(shares)}, held out with seed {training['seed']}"


def _digest(path: Path) -> str:
    """The XXH3-64 of a file's bytes; of a folder, of all names and sizes and of ``SOME`` files."""
    if path.is_dir():
        files = sorted(each for each in path.glob("*/[!.]*") if each.is_file())
        known = [_digest(each) for each in files[:: len(files) // SOME + 1]]
        return xxhash.xxh3_64_hexdigest(
            repr([*((str(each.relative_to(path)), each.stat().st_size) for each in files), *known]).encode()
        )
    found = xxhash.xxh3_64()
    with open_regular(path) as file:
        while part := file.read(2**20):
            found.update(part)
    return found.hexdigest()
