"""The inputs that users give: paths, and in memory arrays, pictures and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.arrays import as_array, column
from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.foreign_values import is_path, is_picture, is_table
from portable_nn.core.text import quantity
from portable_nn.data.images import pixels_of
from portable_nn.data.stored import Stored, as_stored, rows_of
from portable_nn.data.stored_files import open_stored


@dataclass(frozen=True)
class Picture:
    """A decoded picture, ``(height, width)`` or ``(height, width, channels)``, and what messages call it."""

    name: str
    pixels: NDArray[Any]


@dataclass(frozen=True)
class Examples:
    """Examples ``(n, …)``, or one alone, and what messages call them and, by its place, one of them; and labels.

    ``first`` is the place of the first of them.
    """

    name: str
    x: NDArray[Any] | Stored
    place: str = "[{}]"
    y: NDArray[Any] | Stored | None = None
    first: int = 0

    def part(self, start: int, stop: int) -> Examples:
        """Those from a place on, which stay where they are stored."""
        x = as_stored(self.x, self.name).part(start, stop)
        y = None if self.y is None else as_stored(self.y, self.name).part(start, stop)
        return Examples(self.name, x, self.place, y, self.first + start)


@dataclass(frozen=True)
class Labelled:
    """The file of a picture, and the class that its folder is named after."""

    path: Path
    label: str

    @property
    def name(self) -> str:
        """The name in messages."""
        return str(self.path)


@dataclass(frozen=True)
class Named:
    """The names of the arrays in a file that hold the examples, and of those that hold what is right for them."""

    inputs: Sequence[str] = ()
    targets: Sequence[str] = ()


Source: TypeAlias = Path | Labelled | Picture | Examples


def sources(given: Any) -> list[Source]:
    """The inputs that were given, one by one.

    A path, an image of Pillow, an array of examples, which may be stored and large, a data frame, a dict of columns, or
    a list of paths, of images or of what numpy makes one array of examples of. Columns are taken in their order.

    Raises:
        UsageError: something else.
        DataError: an image that cannot be decoded, or columns that do not hold as many numbers each.
    """
    if _is_one(given):
        return [_one(given, "x")]
    if is_table(given):
        if len(set(given.columns)) < len(given.columns):
            names = ", ".join(map(str, given.columns))
            raise UsageError(f"the columns of a table must have names of their own, not {names}")
        given = {name: given[name] for name in given.columns}
    if isinstance(given, Mapping):
        return [Examples("x", side_by_side(given))]
    if isinstance(given, (list, tuple)) and (not given or any(map(_is_one, given))):
        return [_one(each, f"x[{place}]") for place, each in enumerate(given)]
    given = rows_of(given, "inputs")
    array = given if isinstance(given, Stored) else as_array(given, "inputs")
    if not array.ndim:
        raise UsageError(f"inputs is one number, {array}: give a path, a picture, a table, or an array of examples")
    if not array.size:
        raise UsageError(f"the array holds no examples: its shape is {array.shape}")
    return [Examples("x", array)]


def named_sources(given: Any, named: Named) -> list[Source]:
    """The arrays that have names in a file, or in several.

    Raises ``UsageError`` for what is no path, and as ``open_stored`` does; ``DataError`` where there are not as many
    targets as examples.
    """
    found = list[Source]()
    for path in given if isinstance(given, (list, tuple)) else [given]:
        if not is_path(path):
            raise UsageError(f"names of arrays are for files, and this is of the type {type(path).__name__}")
        x = open_stored(path, named.inputs, named.targets)
        y = open_stored(path, named.targets, named.inputs) if named.targets else None
        if y is not None and len(y) != len(x):
            raise DataError(y.name, f"expected {quantity(len(x), 'row')}, as in {x.name}, found {len(y):,}")
        found.append(Examples(str(path), x, ":{}", y))
    return found


def _is_one(given: Any) -> bool:
    return is_path(given) or is_picture(given) or isinstance(given, Source)


def _one(given: Any, name: str) -> Source:
    """A path or a picture, perhaps among others."""
    if isinstance(given, Labelled | Picture | Examples):
        return given
    if is_path(given):
        return Path(given)
    if is_picture(given):
        return _picture(given, name)
    raise UsageError(f"{name} is of type {type(given).__name__}, among paths and pictures: give each kind by itself")


def _picture(image: Any, name: str) -> Picture:
    name = str(getattr(image, "filename", "") or name)
    return Picture(name, pixels_of(image, name))


def side_by_side(table: Mapping[Any, Any]) -> NDArray[Any]:
    """The columns side by side, (n, columns); a single one may hold whole examples."""
    arrays = {name: column(values, f"column '{name}'") for name, values in table.items()}
    if not arrays:
        raise UsageError("the table has no columns")
    for name, array in arrays.items():
        if not array.ndim:
            raise UsageError(
                f"column '{name}' is one number, {array}: columns are lists, such as [{array}] for one row"
            )
    first = next(iter(arrays.values()))
    if len(arrays) == 1 and first.ndim > 1:
        return first
    for name, array in arrays.items():
        if array.ndim != 1 or len(array) != len(first):
            raise DataError(f"column '{name}'", f"expected {quantity(len(first), 'number')}, found shape {array.shape}")
    return np.stack(list(arrays.values()), axis=1)
