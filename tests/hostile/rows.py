"""How hostile files are listed, and what must happen to each: it is refused with its message, and that is all."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forge_hdf5
import forge_npz
import forge_safetensors
import h5py  # noqa: F401  (before memory is measured)
import pytest
from forge import Forge, sha256

import portable_nn as pnn
from portable_nn.core.errors import EditedWarning, FormatError
from portable_nn.format import has_manifest, load

CARRIERS: dict[str, Callable[[Forge], bytes]] = {
    ".safetensors": forge_safetensors.pack,
    ".h5": forge_hdf5.pack,
    ".npz": forge_npz.pack,
}
"""What packs a file, by the suffix of its name."""

CONSTANT = 2**20
"""Bytes of memory that a refusal may take beside those of the file, ..."""

PARSED = 24
"""... and those of its manifest so many times. It has at most ``MANIFEST`` bytes."""

MANIFEST = 2**24

READ = "another program has re-saved this file"
"""In place of a message: the framing is legal, and the file is read with a note that has these words."""

LONGEST = 200_000
"""Characters of a message: a hostile file cannot flood a terminal."""

NETWORK = pnn.Sequential(pnn.Input(2), pnn.Dense(2), pnn.Sigmoid(), pnn.Dense(2), seed=0)

FOREIGN: dict[str, tuple[bytes, str]] = {
    "html_page": (
        b"\n<!DOCTYPE html>\n<html><head><title>Not found</title></head></html>",
        "is an HTML page: the download gave a page about the file, not the file$",
    ),
    "git_lfs_pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n",
        "is a Git LFS pointer, not the file itself: run 'git lfs pull'$",
    ),
    "pickle": (
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
        "is a Python pickle: it can run any code when it is loaded, and is not read$",
    ),
    "zip_archive": (
        b"PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl",
        "is a zip archive, such as torch.save, Keras or numpy's savez write$",
    ),
}
"""Files of other kinds that have the name of a weight file, and what is said of them, whatever its suffix."""

Row = Callable[[str, str], Callable[[Callable[..., Any]], Callable[..., Any]]]


def register(rows: list[Any]) -> Row:
    """A decorator for functions that make a hostile file of a valid one.

    It takes the number in the project's list of hostile files, and a pattern for what must be said of the file.
    """

    def row(number: str, message: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def add(make: Callable[..., Any]) -> Callable[..., Any]:
            rows.append(pytest.param(make, message, id=f"{number}-{make.__name__}"))
            return make

        return add

    return row


def foreign(*names: str) -> list[Any]:
    """Rows for files of other kinds, the fifth in the project's list."""
    return [pytest.param(lambda _, name=name: FOREIGN[name][0], FOREIGN[name][1], id=f"5-{name}") for name in names]


def met(path: Path, make: Callable[[Forge], bytes], message: str) -> None:
    """What is made of a valid file is refused, or, where the message is ``READ``, read as what is in it."""
    valid = Forge()
    content = make(valid)
    if message != READ:
        refused(path, content, message)
        return
    path.write_bytes(content)
    read_again(path, valid)


def read_again(path: Path, valid: Forge) -> None:
    """A file that another program has written is read with a note: manifest and tensors are those of ``valid``."""
    expected = {n: (each.dtype, each.shape, valid.data[each.start : each.stop]) for n, each in valid.stored.items()}
    for lazy in (False, True):
        found = load(path, lazy=lazy, digest=sha256(valid.text))
        assert [note.startswith(READ) for note in found.notes] == [True]
        arrays = {name: (a.dtype.name, list(a.shape), a.tobytes()) for name, a in found.tensors.items()}
        assert arrays == expected
    assert has_manifest(path)
    with pytest.warns(EditedWarning, match=READ):
        pnn.load(path)


def refused(path: Path, content: bytes, message: str, **options: Any) -> None:
    """Nobody gets anything of a file with this ``content``; the message begins with its path and has ``message``."""
    path.write_bytes(content)
    expected = f"(?s)^{re.escape(str(path))}: .*(?:{message})"
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=expected) as caught:
            load(path, **options)
        assert tracemalloc.get_traced_memory()[1] < len(content) + CONSTANT + PARSED * min(len(content), MANIFEST)
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < LONGEST
    assert all(line.isprintable() for line in str(caught.value).split("\n"))
    with pytest.raises(FormatError, match=expected):
        load(path, lazy=True, verify="eager", **options)
    before = {name: array.tobytes() for name, array in NETWORK.parameters.items()}
    with pytest.raises(FormatError, match=expected):
        NETWORK.load_weights(path)
    assert {name: array.tobytes() for name, array in NETWORK.parameters.items()} == before
