"""Arrays of numbers, made of what users give; what is none is refused by its name, with the call that makes one of it.

Whatever takes arrays takes them through ``as_array``, which returns an array of numbers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from portable_nn.core.errors import UsageError
from portable_nn.core.files import recognise
from portable_nn.core.foreign_values import is_path, is_picture, is_sparse, is_table, is_tensor
from portable_nn.core.text import said, shortened

NUMBERS: Final = "fiub"
"""The kinds of element types that hold real numbers, in numpy's letters."""

PART: Final = 2**20
"""The number of elements that ``check_range`` looks at at once."""


class _Other(NamedTuple):
    """An object that was given in place of an array.

    Attributes:
        is_one: whether something is one.
        what: what it is, in words.
        instead: what to do; ``{x}`` is what was given.
        of_each: what to do with a list of them, where that is another call.
    """

    is_one: Callable[[Any], bool]
    what: str
    instead: str
    of_each: str = ""


def _is_a(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _starts_picture(data: Any) -> bool:
    return isinstance(data, bytes | bytearray) and (recognise(bytes(data[:64])) or "").endswith("picture")


_AS_TRAINED: Final = "; if the network has columns, pnn.prepare(network, rows_as_dicts) numbers words as in training"
_TARGETS: Final = ("y", "labels")
"""The names of arguments that are no inputs of a network."""

_OTHERS: Final = (
    _Other(is_path, "a path", "pnn.prepare(network, path) makes examples of a file"),
    _Other(is_picture, "a picture", "pnn.prepare(network, picture) makes examples of pictures"),
    _Other(
        lambda x: hasattr(x, "read") and _starts_picture(x.getvalue() if hasattr(x, "getvalue") else b""),
        "the file of a picture",
        "pnn.predict and pnn.prepare take the picture PIL.Image.open({x})",
    ),
    _Other(lambda x: hasattr(x, "read"), "an open file", "np.load(path) and pnn.prepare(network, path) read files"),
    _Other(
        is_sparse, "a sparse matrix", "{x}.toarray() is an array", "np.vstack([each.toarray() for each in {x}]) is one"
    ),
    _Other(
        _is_a(Mapping),
        "a dict",
        "np.column_stack(list({x}.values())) puts its columns side by side",
        "np.array([list(each.values()) for each in {x}]) has a row of each" + _AS_TRAINED,
    ),
    _Other(
        lambda x: isinstance(x, Iterator) and not hasattr(x, "__array__"),
        "an iterator",
        "np.stack(list({x})) is an array of what it yields",
    ),
    _Other(_is_a(Set), "a set, which has no order", "give a list"),
    _Other(
        lambda x: isinstance(x, bytes | bytearray) and _starts_picture(x),
        "the bytes of a picture",
        "pnn.predict and pnn.prepare take the picture PIL.Image.open(io.BytesIO({x}))",
    ),
    _Other(_is_a(bytes, bytearray), "bytes", "np.frombuffer({x}, np.uint8) is an array of them"),
)

_ELEMENTS: Final[Mapping[str, tuple[str, str]]] = {
    "c": ("complex numbers", "np.abs({x}), {x}.real and {x}.imag are real"),
    "M": ("dates", "({x} - {x}.min()) / np.timedelta64(1, 'D') is a number of days"),
    "m": ("durations", "{x} / np.timedelta64(1, 's') is a number of seconds"),
    "V": ("records", "np.lib.recfunctions.structured_to_unstructured({x}) has a column for each field"),
}
"""The contents of arrays of other kinds, and the advice for each."""


_WIDER: Final[Mapping[str, DTypeLike]] = {"int": np.int8, "uin": np.uint8}
"""The types that hold whole numbers of 4 bits and fewer, as ml_dtypes has them; its floats are held in float32."""


def as_array(value: Any, name: str, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """``value`` as an array of real numbers, of ``dtype`` if it is given.

    Raises ``UsageError`` where it is none, holds masked values, or numbers that are too large for ``dtype``: the
    message calls it ``name`` and says what makes such an array of it.
    """
    if type(value) is not np.ndarray or value.dtype.kind not in NUMBERS:
        value = _converted(value, name)
    return value if dtype is None else cast(value, dtype, name)


def cast(array: NDArray[Any], dtype: DTypeLike, name: str) -> NDArray[Any]:
    """``array`` as ``dtype``. Raises ``UsageError`` that names the first number that is too large for it."""
    if array.dtype == dtype:
        return array
    try:
        with np.errstate(over="raise"):
            return array.astype(dtype, copy=False)
    except FloatingPointError:
        with np.errstate(over="ignore"):
            lost = np.argwhere(np.isinf(array.astype(dtype)) & np.isfinite(array))[0]
        found = array[tuple(lost)]
        raise UsageError(f"{name}{_place(lost)} is {found:g}, which {np.dtype(dtype)} cannot hold") from None


def check_range(array: NDArray[Any], dtype: DTypeLike, name: str) -> None:
    """Raise as ``cast`` does, without keeping a copy."""
    if not array.ndim:
        cast(array, dtype, name)
    elif array.dtype != dtype and array.size:
        step = max(1, PART * len(array) // array.size)
        for start in range(0, len(array), step):
            cast(array[start : start + step], dtype, name if start == 0 else f"{name}[{start}:]")


def column(value: Any, name: str) -> NDArray[Any]:
    """A column of a table as numbers; text and objects that are numbers become floats.

    Raises ``UsageError`` as ``as_array`` does.
    """
    found = _found(value, name)
    if found.dtype.kind in "OUST" and found.ndim:
        try:
            return found.astype(np.float64)
        except (TypeError, ValueError, OverflowError):
            pass  # The reason follows.
    return as_array(value, name)


def _converted(value: Any, name: str) -> NDArray[Any]:
    found = _found(value, name)
    if found.dtype.kind == "V" and not issubclass(found.dtype.type, np.void):
        return found.astype(_WIDER.get(found.dtype.name[:3], np.float32))
    if found.dtype.kind not in NUMBERS and is_table(value):
        columns = [column(value[each], f"column '{each}' of {name}") for each in value.columns]
        return np.column_stack(columns)
    if found.dtype.kind not in NUMBERS:
        raise UsageError(_other_elements(value, found, name))
    if _has_masks(value, found.ndim + (found.dtype.kind == "f" and bool(np.isnan(found).any()))):
        places: Any = np.argwhere(np.ma.getmaskarray(value)) if isinstance(value, np.ma.MaskedArray) else []
        which = f"{_place(places[0])} is the first of {len(places):,}" if len(places) else " has"
        raise UsageError(
            f"{name}{which} masked values, which say nothing: fill them with numbers, as x.filled(0) does, or leave "
            "these examples out"
        )
    return found


def _found(value: Any, name: str) -> NDArray[Any]:
    """``value`` as an array of numpy. Raises ``UsageError`` for what is of another kind, or becomes no array."""
    is_list = isinstance(value, list | tuple)
    first = value[0] if is_list and value else value
    for is_one, what, instead, of_each in _OTHERS:
        if is_one(first) and not (is_list and _is_word(first)):
            given, call = (f"a list that begins with {what}", of_each or instead) if is_list else (what, instead)
            raise UsageError(f"{name} must be an array of numbers, not {given}: {call.format(x=_called(name))}")
    try:
        return np.asarray(value)
    except Exception as error:  # Whatever an ``__array__`` raises.
        if any(map(is_tensor, value if is_list else [value])):
            reason = f"and this tensor is none {said(error)}: x.detach().to_dense().cpu().float().numpy() is one"
        elif is_list:
            reason = f"with as many in each row, not {shortened(value)}"
        else:
            reason = f"and this {type(value).__name__} does not become one {said(error)}"
        raise UsageError(f"{name} must be an array of numbers, {reason}") from error


def _is_word(text: object) -> bool:
    """True if this may be the name of a class, or a number, rather than the name of a file."""
    return isinstance(text, str) and (" " in text or not PurePath(text).suffix[1:2].isalpha())


def _called(name: str) -> str:
    """The words in a call for the value that messages call ``name``."""
    return name if name.isidentifier() else "x"


def _other_elements(value: Any, found: NDArray[Any], name: str) -> str:
    if found.dtype.kind == "O" and not found.ndim:
        return f"{name} must be an array of numbers, not {shortened(value)} of type {type(value).__name__}"
    holds, instead = (
        _ELEMENTS.get(found.dtype.kind)
        or (_of_objects(found) if found.dtype.kind == "O" else None)
        or _of_text(found.astype(object).astype(str))
    )
    called = _called(name)
    table = "" if called in _TARGETS or "unique" not in instead else _AS_TRAINED
    return f"{name} must be an array of numbers, but holds {holds}: {instead.format(x=called)}{table}"


def _of_text(found: NDArray[Any]) -> tuple[str, str]:
    example = shortened(str(found.ravel()[0])) if found.size else ""
    try:
        found.astype(np.float64)
    except ValueError:
        return f"text such as {example}", "np.unique({x}, return_inverse=True)[1] numbers words from 0"
    return f"numbers as text, such as {example}", "np.array({x}, np.float64) reads them"


def _of_objects(found: NDArray[Any]) -> tuple[str, str] | None:
    """The contents of an array of objects; ``None`` where they are text."""
    if all(isinstance(each, str) for each in found.flat):
        return None
    for place in np.ndindex(found.shape):
        try:
            float(found[place])
        except (TypeError, ValueError, OverflowError):
            what = f"{shortened(found[place])} of type {type(found[place]).__name__} at {_place(place)}"
            return what, "put a number there, or leave that example out"
    return "numbers as Python objects", "np.array({x}, np.float64) has them as numbers"


def _has_masks(value: Any, depth: int) -> bool:
    """True if there are masked values in an array, or in a list of arrays that is so many axes deep."""
    if isinstance(value, np.ma.MaskedArray):
        return bool(np.ma.is_masked(value))
    if depth < 2 or not isinstance(value, list | tuple):
        return False
    looked_into = np.ma.MaskedArray | list | tuple if depth > 2 else np.ma.MaskedArray
    inner = any(issubclass(kind, looked_into) for kind in set(map(type, value)))
    return inner and any(_has_masks(each, depth - 1) for each in value)


def _place(index: Sequence[int] | NDArray[Any]) -> str:
    return f"[{', '.join(map(str, index))}]" if len(index) else ""
