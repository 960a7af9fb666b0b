"""The table of JAX's primitives: a row for each, written in the module of its family; and the values they work on.

A value is kept as it is easiest for the next node: its axes may be in another order in the graph than in JAX, so that
a convolution whose channels are last there is followed by its activation function without a transposition between, and
its sizes may be 1 where they are only repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias

import numpy as np

from portable_nn.converters.jax.sizes import Size, is_known, size_symbol
from portable_nn.converters.rows import Function, Rows
from portable_nn.core.errors import RefusalError
from portable_nn.operators import Array, Leaf, Symbol, constant, emit, integers

Axes: TypeAlias = tuple[int, ...]


class Held(NamedTuple):
    """A value of JAX, as the graph has it.

    Attributes:
        symbol: what computes it. It has one axis for each of the value, whose size may be 1 where the value only
            repeats it; or no axis at all where all elements are the same.
        shape: the shape in JAX.
        axes: which axis of the value each axis of the symbol is.
        value: its elements where they are known.
    """

    symbol: Symbol
    shape: tuple[Size, ...]
    axes: Axes
    value: Array | None = None


class Call:
    """A use of a primitive: its parameters, the types of its outputs, and the graph that is built.

    Attributes:
        name: the primitive.
        params: its parameters.
        outs: the abstract values of its outputs.
    """

    def __init__(self, name: str, params: Mapping[str, Any], outs: Sequence[Any], names: Mapping[str, Symbol]) -> None:
        self.name, self.params, self.outs, self._names = name, params, outs, names

    @property
    def shape(self) -> tuple[Size, ...]:
        """The shape of the first output."""
        return tuple(self.outs[0].shape)

    @property
    def dtype(self) -> str:
        """The element type of the first output."""
        return str(self.outs[0].dtype)

    def refuse(self, why: str) -> NoReturn:
        """Raise ``RefusalError``: there is no counterpart for this use."""
        raise RefusalError(f"{self.name} {why}")

    def held(self, symbol: Symbol, axes: Axes | None = None, index: int = 0) -> Held:
        """An output."""
        shape = tuple(self.outs[index].shape)
        return Held(symbol, shape, tuple(range(len(shape))) if axes is None else axes)

    # -- sizes

    def sizes(self, shape: Sequence[Size]) -> Symbol:
        """A shape as a symbol."""
        if all(map(is_known, shape)):
            return integers([int(size) for size in shape])
        return emit("Concat", *(size_symbol(size, self._names) for size in shape), axis=0)

    def size(self, size: Size) -> Symbol:
        """A size as a symbol of one element."""
        return size_symbol(size, self._names)

    def reshaped(self, symbol: Symbol, shape: Sequence[Size]) -> Symbol:
        """``symbol`` in another shape; one size that is not known is left to Reshape."""
        open_sizes = [place for place, size in enumerate(shape) if not is_known(size)]
        if len(open_sizes) == 1 and 0 not in shape:
            wanted = [int(size) if is_known(size) else -1 for size in shape]
            return emit("Reshape", symbol, integers(wanted))
        options = {"allowzero": 1} if 0 in shape else {}
        return emit("Reshape", symbol, self.sizes(shape), **options)

    # -- values in the form that a node needs

    def laid(self, held: Held, axes: Axes | None = None) -> Symbol:
        """The symbol with its axes in this order, by default that of JAX; sizes may still be 1."""
        axes = tuple(range(len(held.shape))) if axes is None else axes
        if not held.symbol.shape or held.axes == axes:
            return held.symbol
        order = [held.axes.index(axis) for axis in axes]
        sizes = [held.symbol.shape[place] for place in order]
        if sum(size != 1 for size in sizes) <= 1 and all(isinstance(size, int) for size in sizes):
            return emit("Reshape", _before_reshape(held.symbol), integers([int(size) for size in sizes]))
        return emit("Transpose", held.symbol, perm=order)

    def exact(self, held: Held, axes: Axes | None = None) -> Symbol:
        """The symbol with all its sizes, and its axes in this order, by default that of JAX."""
        axes = tuple(range(len(held.shape))) if axes is None else axes
        symbol, shape = self.laid(held, axes), [held.shape[axis] for axis in axes]
        if not symbol.shape and shape:
            return emit("Expand", symbol, self.sizes(shape))
        repeated = [s == 1 and not (is_known(size) and size == 1) for s, size in zip(symbol.shape, shape, strict=True)]
        return emit("Expand", symbol, self.sizes(shape)) if any(repeated) else symbol

    def known(self, held: Held) -> Array:
        """The elements. Raises ``RefusalError`` where they are not known."""
        if held.value is None:
            self.refuse("of places that are computed")
        return held.value


def _before_reshape(symbol: Symbol) -> Symbol:
    origin = symbol.origin
    if origin.operator and origin.operator.name == "Reshape" and origin.inputs[0] is not None:
        return origin.inputs[0]
    return symbol


def _is_uniform(array: Array) -> bool:
    first = array.flat[0]
    return bool((array == first).all() or (array != array).all())


SMALL: Final = 64
"""The elements up to which an array is a constant in the graph; larger ones are parameters that are not trained."""


def held_constant(array: Any) -> Held:
    """A value that is known."""
    array = np.asarray(array)
    if array.ndim and array.size and _is_uniform(array):
        symbol = constant(array.flat[0], array.dtype.name)
    elif array.size <= SMALL:
        symbol = constant(array, array.dtype.name)
    else:
        symbol = Leaf(None, array.dtype.name, array.shape, stem="constant", parameter=True, trainable=False,
                      initial=array)  # fmt: skip
    return Held(symbol, array.shape, tuple(range(array.ndim)), array)


ROWS: Final = Rows()
"""A row goes from a ``Call`` and the values of its inputs to the value, or values, of its outputs."""

row = ROWS.row


def elementwise(*primitives: str) -> Callable[[Function], Function]:
    """Decorate what computes each element from those at its place: a function of the call and the symbols."""

    def add(function: Function) -> Function:
        @row(*primitives)
        def build(call: Call, *values: Held) -> Held:
            wide = [each for each in values if each.symbol.shape]
            axes = max(wide, key=_weight).axes if wide else tuple(range(len(call.shape)))
            return call.held(function(call, *(call.laid(each, axes) for each in values)), axes)

        return function

    return add


def _weight(held: Held) -> int:
    """The cost of transposing a value: by the number of its axes that are not 1."""
    return sum(size != 1 for size in held.symbol.shape)
