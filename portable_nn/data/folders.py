"""Folders of pictures to learn from: one folder for each class, which is named like it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import DataError, FileError
from portable_nn.core.text import quantity, several
from portable_nn.data.apart import split
from portable_nn.data.batches import Bad, Taken
from portable_nn.data.expanding import listed
from portable_nn.data.given import Labelled
from portable_nn.data.images import read_image
from portable_nn.data.sources import iterate
from portable_nn.format.validate import hides

TOGETHER: Final = 64
"""The pictures that are prepared before they are written."""

SEEN: Final = 100
"""The number of pictures that a size is found by."""

SIDES: Final = (8, 64)
"""The least and the largest side of a size that is found."""


Parts: TypeAlias = tuple[list[Labelled], list[Labelled]]
"""Pictures to learn from, and those that are held out."""


def labelled_pictures(folder: str | Path) -> list[Labelled]:
    """The pictures in the folders in ``folder``, sorted by class and name. Hidden files, and what is no picture by its
    name, are left out.

    Raises ``DataError`` that names pictures that are in no class, and folders that hold none.
    """
    loose, folders = listed(Path(folder))
    inside = {each: listed(each) for each in folders}
    found = [Labelled(path, each.name) for each in folders for path in inside[each][0]]
    classes = {each.label for each in found}
    faults = [f"{each.name} is in none of them" for each in loose]
    for each in folders:
        if deep := [inner.name for inner in inside[each][1] if listed(inner)[0]]:
            hint = "" if each.name in classes else f": if {each.name} holds the classes, give it instead"
            faults.append(f"pictures are too deep, in {each.name}/{deep[0]}{hint}")
        elif each.name not in classes:
            faults.append(f"{each.name} has none")
        elif hides(each.name):
            faults.append(f"{each.name!r} cannot be a label, with control or invisible characters")
    if faults or len(classes) < 2:
        wrong = several(faults) or f"there are pictures of {quantity(len(classes), 'class')}"
        raise DataError(folder, f"expected a folder for each of two or more classes, with pictures in it, but {wrong}")
    return found


def divided(pictures: Sequence[Labelled], share: float, seed: int, what: str = "validation") -> Parts:
    """Pictures to learn from, in a random order, and a share to hold out: of each class as many as its size says.

    Raises as ``apart.split`` does.
    """
    count, held_out = len(pictures), len(split(len(pictures), share, seed, what)[1])
    order = np.random.default_rng(seed).permutation(count)
    labels = np.array([each.label for each in pictures])[order]
    grouped = np.argsort(labels, kind="stable")
    _, starts, sizes = np.unique(labels[grouped], return_index=True, return_counts=True)
    place = np.empty(count)
    place[grouped] = (np.arange(count) - np.repeat(starts, sizes) + 0.5) / np.repeat(sizes, sizes)
    drawn = [pictures[at] for at in order[np.argsort(place, kind="stable")]]
    return drawn[held_out:], drawn[:held_out]


def examples_of(
    pictures: Sequence[Labelled], taken: Taken, left_out: list[Bad]
) -> tuple[NDArray[np.float32], list[Any]]:
    """The examples that pictures become for a model, and their labels; those that cannot be used go to ``left_out``.

    They are in a temporary file, which is mapped into memory: only ``TOGETHER`` of them are in memory at once.

    Raises:
        FileError: the temporary file cannot be written.
        DataError: two pictures become examples of different sizes, for a model that takes any size.
    """
    labels, shape = list[Any](), (0, *taken.shape)
    try:
        with tempfile.TemporaryFile() as file:
            for each in iterate(pictures, taken, batch_size=TOGETHER, strict=False) if pictures else ():
                if isinstance(each, Bad):
                    left_out.append(each)
                    continue
                if labels and each.x.shape[1:] != shape[1:]:
                    found = f"becomes {each.x.shape[1:]}, and others {shape[1:]}"
                    raise DataError(each.names[0], f"{found}: training needs pictures of one size")
                shape = each.x.shape
                file.write(np.ascontiguousarray(each.x, np.float32).data)
                labels += each.labels or ()
            file.flush()
            shape = (len(labels), *shape[1:])
            return np.memmap(file, np.float32, "r", shape=shape) if labels else np.empty(shape, np.float32), labels
    except OSError as error:
        reason = f"prepared pictures cannot be kept there: {error.strerror}; TMPDIR names another folder"
        raise FileError(tempfile.gettempdir(), reason) from None


def look(pictures: Sequence[Labelled]) -> tuple[int, bool]:
    """The side of a square that fits pictures, and whether they have colours, as up to ``SEEN`` of them say.

    The side is the median of their shorter ones, within ``SIDES`` and rounded down to a multiple of four.
    """
    sides, in_colour = list[int](), False
    for each in pictures[:: -(-len(pictures) // SEEN)]:
        with suppress(DataError):  # Who reads all of them says it.
            pixels = read_image(each.path)
            sides.append(min(pixels.shape[:2]))
            in_colour |= pixels.ndim == 3 and pixels.shape[2] > 2 and bool((pixels[..., 1:3] != pixels[..., :1]).any())
    side = int(np.median(sides or SIDES[1:]))
    return min(max(side // 4 * 4, SIDES[0]), SIDES[1]), in_colour
