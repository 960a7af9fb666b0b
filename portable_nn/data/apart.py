"""Examples that are held out of a training: to validate it, or to test the network on what it has never seen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UsageError
from portable_nn.core.numbers import BelowOne
from portable_nn.core.text import quantity
from portable_nn.data.dataset import Dataset
from portable_nn.data.frames import Frame
from portable_nn.data.given import Examples
from portable_nn.data.stored import Blocks, Stored, held_out
from portable_nn.data.stored_files import open_stored, side_by_side

PLACE = ", example {} of the test"
"""The name of an example, after that of its file."""


def split(count: int, share: float, seed: int, what: str = "validation") -> tuple[NDArray[Any], NDArray[Any]]:
    """The places of the examples to train on, and of those that are held out. Raises as ``divided`` does."""
    held = round(count * share)
    _check(held, count, share, what)
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[held:]), np.sort(order[:held])


def divided(arrays: Sequence[Stored], share: float, seed: int, what: str = "validation") -> tuple[Blocks, Blocks]:
    """The rows to train on, and those held out. Raises ``UsageError`` for a share that leaves a side empty."""
    count = len(arrays[0])
    _check(round(count * share), count, share, what)
    return held_out(arrays, share, seed)


def _check(held: int, count: int, share: float, what: str) -> None:
    if share and not 0 < held < count:
        raise UsageError(
            f"{what} of {share:g} leaves nothing on one side of {quantity(count, 'example')}: 0 is for none"
        )


@check_kinds
def apart(data: Any, test: BelowOne, seed: int) -> tuple[Any, Any]:
    """The examples that a training may see, and the share to test on, which the same arguments give again.

    Of a ``Frame`` or a ``Dataset`` rows are drawn, and of arrays by name blocks of them, as ``held_out`` says it.
    """
    if isinstance(data, Frame | Dataset):
        seen, unseen = split(len(data), test, seed, "test")
        return data.taken(seen), data.taken(unseen)
    rest, tested = divided(list(data.values()), test, seed, "test")
    return {name: rest.of(x) for name, x in data.items()}, {name: tested.of(x) for name, x in data.items()}


def by_name(path: Path, *names: Sequence[str]) -> dict[str, Stored]:
    """The arrays of a file that have names, one by one."""
    return {name: open_stored(path, [name], chain(*names)) for each in names for name in each}


def to_evaluate(tested: Frame | Dataset | dict[str, Stored], path: Path, *names: Sequence[str]) -> Frame | Examples:
    """Examples to test on as ``evaluate`` takes them; arrays by name stand side by side."""
    where = str(path)
    if isinstance(tested, Frame):
        return tested
    if isinstance(tested, Dataset):
        return Examples(where, tested.x, PLACE, tested.y)
    x, y = (side_by_side([tested[name] for name in each], where) for each in names)
    return Examples(where, x, PLACE, y)
