"""The files of an input: a folder stands for the pictures in it, the name of a shipped model for its samples."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from portable_nn.catalog import CALLED
from portable_nn.core.errors import DataError, DataWarning, warn
from portable_nn.data.batches import Bad, bad
from portable_nn.data.dataset import kind_of
from portable_nn.data.given import Labelled, Picture, Source
from portable_nn.data.images import SUFFIXES
from portable_nn.data.tables import STDIN


def expanded(source: Source | Bad, strict: bool) -> list[Source | Bad]:
    """The files of one input: itself, or the pictures in a folder or, labelled by their names, in its folders; those of
    the samples of a shipped model, which its name stands for where there is no such file.

    Raises ``DataError`` with ``strict``, where there is no such file; otherwise a ``Bad`` takes its place.
    """
    if not isinstance(source, Path):
        return [source]
    try:
        if str(source) in CALLED and not source.exists():
            return list(_samples(str(source)))
        if is_folder(source):
            return list(_in_folder(source))
        # What a link leads to, or that it leads nowhere, says who reads it: as of one among others in a folder.
        if str(source) != STDIN and not os.path.lexists(source):
            hint = "; the name of a shipped model, such as digits, stands for its samples"
            hint *= "samples" in source.parts
            if {*",{="} & {*source.name}:
                hint = "; rows are read from a file, or with - from standard input"
            raise DataError(source, f"expected a file or folder, found neither{hint}")
    except DataError as error:
        return [bad(error, strict)]
    return [source]


def is_folder(path: Path) -> bool:
    """True if a path is that of a folder of pictures, and not of arrays."""
    return path.is_dir() and kind_of(path) == "picture"


def is_picture(source: Source | Bad) -> bool:
    """True if an input is taken for a picture: a file, by its name."""
    if isinstance(source, Picture | Labelled):
        return True
    return isinstance(source, Path) and kind_of(source) == "picture"


def name_of(source: Source | Bad) -> str:
    """The name of an input in messages."""
    return str(source) if isinstance(source, Path) else source.name


def _in_folder(folder: Path) -> Sequence[Path | Labelled]:
    """The pictures in a folder; where there are none, those in the folders in it, each of which is a class.

    Raises ``DataError`` where there are none at all, or a folder cannot be read.
    """
    found, folders = listed(folder)
    if not found:
        labelled = [Labelled(path, each.name) for each in folders for path in listed(each)[0]]
        if not labelled:
            raise DataError(folder, f"the folder has no images (files named {' '.join(sorted(SUFFIXES))})")
        return labelled
    if inner := next((each for each in folders if listed(each)[0]), None):
        text = f"{folder}: pictures in folders in it, such as {inner}, are not read: give these folders as well"
        warn(text, DataWarning)
    return found


def _samples(name: str) -> Iterator[Path]:
    """The samples of a shipped model, by the shorter one of their paths."""
    for path in sorted(CALLED[name].samples.iterdir()):
        with suppress(ValueError):  # On another drive.
            path = min(path, Path(os.path.relpath(path)), key=lambda each: len(str(each)))
        yield path


def listed(folder: Path) -> tuple[list[Path], list[Path]]:
    """The pictures directly in a folder, and the folders in it, sorted by name, without hidden ones, as macOS puts into
    archives. There may be millions: each is looked at once, as the folder lists it."""
    pictures, folders, endings = list[str](), list[str](), tuple(SUFFIXES)
    try:
        with os.scandir(folder) as entries:
            for each in entries:
                if each.name.startswith("."):
                    continue
                if _is_folder(each):
                    folders.append(each.name)
                elif each.name.lower().endswith(endings):
                    pictures.append(each.name)
    except OSError as error:
        raise DataError(folder, f"the folder cannot be read: {error.strerror}") from error
    return _in_order(folder, pictures), _in_order(folder, folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link that leads nowhere is taken for a picture, which cannot be read.
        return False


def _in_order(folder: Path, names: Iterable[str]) -> list[Path]:
    return [folder / name for name in sorted(names, key=os.path.normcase)]
