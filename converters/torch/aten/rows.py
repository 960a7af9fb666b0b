"""The table of rows, what a row is called with, and what rows share: types, axes and sizes.

A row is a function ``(use, *arguments)`` whose arguments are those of the ATen operator, by its names. Tensors are
symbols; sizes are whole numbers, or symbols (1,) of int64 where they are known only when the network runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from portable_nn.converters.rows import Rows
from portable_nn.core.errors import RefusalError, refuse
from portable_nn.core.graph import Dim
from portable_nn.operators import Array, Symbol, cast, constant, emit, integers, sizes, squeezed, unsqueezed

Size: TypeAlias = int | Symbol
"""A size: a number, or a symbol (1,) of int64."""

Row: TypeAlias = Callable[..., Any]

ROWS: Final = Rows()
"""The rows by the name of the operator: ``add`` for all of its overloads, or ``max.dim`` for one."""

row: Final = ROWS.row


class Result(NamedTuple):
    """The type that PyTorch gives a result: its element type as numpy writes it, and its number of axes."""

    dtype: str
    rank: int


Make: TypeAlias = Callable[[Array, int], Array]
"""Makes of drawn numbers such as PyTorch takes, given a size."""


class Stated(NamedTuple):
    """The numbers that PyTorch takes as an input, where the network takes more: the function that makes them, and their
    size."""

    make: Make
    size: Dim


class Use:
    """One use of an operator: what PyTorch says of its results and arguments, and where notes go.

    Attributes:
        target: the operator, ``aten.add.Tensor``.
        results: of each result that is a tensor.
        common: the element type that the tensors and numbers among the arguments are promoted to.
        trains: whether the module was exported in training mode, so that what it does not do there is meant.
        learns: whether a gradient may flow back through an argument.
        note: takes what could not be kept.
        stated: by the symbols of inputs, which numbers they may be.
    """

    def __init__(
        self,
        target: str,
        results: Sequence[Result],
        common: str,
        *,
        trains: bool,
        learns: bool,
        note: Callable[[str], None],
    ) -> None:
        self.target, self.results, self.common, self.note = target, results, common, note
        self.trains, self.learns = trains, learns
        self.stated = dict[Symbol, Stated]()

    refuse = staticmethod(refuse)

    @property
    def dtype(self) -> str:
        """The element type of the first result."""
        return self.results[0].dtype

    def state(self, value: Symbol, make: Make, size: Dim) -> None:
        """Say of a value which numbers PyTorch takes, if it is an input: a proof draws no others."""
        while value.origin.operator is not None and value.origin.operator.name == "Cast" and value.origin.inputs[0]:
            value = value.origin.inputs[0]
        self.stated[value] = Stated(make, size)

    def promoted(self, value: Any, dtype: str | None = None) -> Symbol:
        """An argument, a tensor, a number or a size, in the element type of the result."""
        dtype = dtype or self.dtype
        return constant(value, dtype) if not isinstance(value, Symbol) else cast(value, dtype)


def row_of(target: str) -> Row | None:
    """The row of an operator, ``aten.max.dim`` or ``_operator.mul``: that of the overload, or that of all."""
    name, _, overload = target.removeprefix("aten.").rpartition(".")
    kinds = [name] if not name.endswith("_") or name.endswith("__") else [name, name[:-1]]
    names = [each for kind in kinds for each in (f"{kind}.{overload}", kind)]
    return next((ROWS[each] for each in names if each in ROWS), None)


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the first."""
    return axis + max(rank, 1) if axis < 0 else axis


def axes_of(axes: int | Iterable[int] | None, rank: int) -> list[int]:
    """Axes counted from the first; all of them for ``None`` and for none."""
    if isinstance(axes, int):
        axes = [axes]
    found = [axis_of(axis, rank) for axis in axes or ()]
    return found or list(range(rank))


def scalar(size: Any, dtype: str = "int64") -> Symbol:
    """A size, or a number, as a symbol without axes."""
    if not isinstance(size, Symbol):
        return constant(size, dtype)
    return cast(squeezed(size, 0) if size.shape else size, dtype)


def size_along(x: Symbol, axis: int) -> Size:
    """The size of a tensor along an axis."""
    dim = x.shape[axis]
    return dim if isinstance(dim, int) else sizes(x, [axis_of(axis, len(x.shape))])


def known(size: Size) -> Dim | None:
    """A size as far as it is known: a number, a name or a formula of names."""
    if isinstance(size, int):
        return size
    found = size.type.constant
    return found[0] if found and isinstance(found[0], (int, str)) else None


def vector(each: Iterable[Size]) -> Symbol:
    """Sizes as one symbol (n,) of int64."""
    parts: list[Symbol | list[int]] = []
    for size in each:
        if isinstance(size, Symbol):
            parts.append(size if size.shape else unsqueezed(size, 0))
        elif parts and isinstance(parts[-1], list):
            parts[-1].append(size)
        else:
            parts.append([size])
    made = [integers(part) if isinstance(part, list) else part for part in parts] or [integers([])]
    return made[0] if len(made) == 1 else emit("Concat", *made, axis=0)


def reshaped(x: Symbol, wanted: Sequence[Size]) -> Symbol:
    """``x`` in another shape: an unknown size is copied from the same axis or follows from the rest, if possible."""
    dims = [size if isinstance(size, int) else known(size) for size in wanted]
    if list(x.shape) == dims:
        return x
    given = list(wanted)
    if 0 not in dims:
        for axis, dim in enumerate(dims):
            if isinstance(dim, str) and axis < len(x.shape) and x.shape[axis] == dim:
                given[axis] = 0
        unknown = [axis for axis, size in enumerate(given) if not isinstance(size, int)]
        if len(unknown) == 1 and -1 not in dims:
            given[unknown[0]] = -1
        return emit("Reshape", x, vector(given))
    if -1 in dims:
        raise RefusalError("a shape with a size of 0 and one that follows from the rest")
    return emit("Reshape", x, vector(given), allowzero=1)


def expanded(x: Symbol, wanted: Sequence[Size]) -> Symbol:
    """``x`` broadcast to a shape; -1 keeps the size of its axis."""
    lead = len(wanted) - len(x.shape)
    given = [
        (1 if axis >= lead and x.shape[axis - lead] != 1 else size)
        if isinstance(size, Symbol)
        else 1
        if size == -1
        else size
        for axis, size in enumerate(wanted)
    ]
    dims = [x.shape[axis - lead] if size == 1 and axis >= lead else size for axis, size in enumerate(given)]
    return x if list(x.shape) == dims else emit("Expand", x, vector(given))


def filled(value: Any, shape: Sequence[Size], dtype: str) -> Symbol:
    """A tensor of one number, which may be a symbol."""
    number = cast(scalar(value, dtype), dtype) if isinstance(value, Symbol) else constant(value, dtype)
    return emit("Expand", number, vector(shape)) if len(shape) else number


def sliced(x: Symbol, axis: int, start: Size, end: Size, step: int = 1) -> Symbol:
    """A part of ``x`` along one axis."""
    whole = start == 0 and isinstance(end, int) and end >= 2**62
    if whole and step == 1:
        return x
    steps = [integers([step])] if step != 1 else []
    return emit("Slice", x, vector([start]), vector([end]), integers([axis]), *steps)


def shape_of(x: Symbol) -> list[Size]:
    """The sizes of a tensor."""
    return [size_along(x, axis) for axis in range(len(x.shape))]


def batched(x: Symbol, axes: int, operator: str, *others: Symbol | None, **options: Any) -> Symbol:
    """The node for an input with so many axes behind the channels; of one example, with a batch for the time being."""
    if len(x.shape) == axes + 2:
        return emit(operator, x, *others, **options)
    return squeezed(emit(operator, unsqueezed(x, 0), *others, **options), 0)


def transposed(x: Symbol, perm: Sequence[int]) -> Symbol:
    """``x`` with its axes in another order."""
    return x if list(perm) == list(range(len(perm))) else emit("Transpose", x, perm=list(perm))


def swapped(x: Symbol, one: int, other: int) -> Symbol:
    """``x`` with two of its axes exchanged."""
    perm = list(range(len(x.shape)))
    a, b = axis_of(one, len(perm)), axis_of(other, len(perm))
    if perm:
        perm[a], perm[b] = perm[b], perm[a]
    return transposed(x, perm)


def count(x: Symbol, axes: Sequence[int]) -> Symbol:
    """The number of elements along these axes, in the element type of ``x``, as a symbol that broadcasts."""
    dims = [x.shape[axis] for axis in axes]
    numbers = [dim for dim in dims if isinstance(dim, int)]
    fixed = constant(math.prod(numbers), x.dtype)
    if len(numbers) == len(dims):
        return fixed
    rest = [axis for axis in axes if not isinstance(x.shape[axis], int)]
    product = emit("ReduceProd", cast(sizes(x, rest), x.dtype), integers([0]), keepdims=0)
    return product * fixed


def each(value: Any, axes: int) -> list[Any]:
    """One number for every axis, or one for each: as a list of one for each."""
    found = list(value) if isinstance(value, (list, tuple)) else [value]
    return found * axes if len(found) == 1 else found
