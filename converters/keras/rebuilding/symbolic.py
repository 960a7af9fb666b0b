"""Tensors of a Keras model as array code uses arrays, and ``keras.ops`` in the place of numpy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, Final

import numpy as np

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.rebuilding.values import Laid, finite, plain
from portable_nn.core.dims import difference, rounded_quotient
from portable_nn.core.errors import RefusalError
from portable_nn.core.graph import Dim

Numbers = Sequence[int]
Along = Callable[[str], Any]
Turn = Callable[[Numbers], Any]


def _unnamed(size: str) -> Any:
    raise RefusalError(f"no input has the size {size or 'that is computed here'}")


@dataclass(frozen=True)
class Open:
    """A size that is open.

    Args:
        dim: the size as the graph has it; ``""`` where that is not known.
        along: gives as many ones of int32 as a size says.
    """

    dim: Dim = ""
    along: Along = _unnamed

    def _refuse(self, *_: object) -> Any:
        raise RefusalError(f"it computes with the size {self.dim or 'that is computed here'}, which is open")

    __index__ = __lt__ = __le__ = __gt__ = __ge__ = __neg__ = __add__ = __radd__ = __sub__ = __rsub__ = _refuse
    __mul__ = __rmul__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __truediv__ = __rtruediv__ = _refuse


UNNAMED: Final = "reshaped"
"""The name of a layer until its node is made, which names it."""


class Symbolic:
    """A tensor of Keras, as array code uses an array.

    Args:
        made: the tensor, and its axes.
        turn: gives the tensor with its axes in another order.
        sizes: its sizes, where more than Keras's is known.
    """

    __array_ufunc__ = None  # An array of numpy leaves arithmetic with a tensor to this class.

    def __init__(self, made: Laid, turn: Turn | None = None, sizes: Sequence[Any] | None = None) -> None:
        self.made, self.ndim, self.dtype = made, len(made.axes), np.dtype(made.tensor.dtype)
        found = [made.tensor.shape[axis] for axis in made.axes]
        self.shape = tuple(sizes or (Open() if size is None else size for size in found))
        self.laid = turn or partial(turned, made)

    def __getattr__(self, name: str) -> Any:
        return partial(getattr(NUMPY, name), self)

    @property
    def held(self) -> Any:
        """The tensor with its axes in the order of the graph."""
        return self.laid(plain(self.ndim))

    @property
    def T(self) -> Symbolic:  # noqa: N802
        """Its axes in reverse order."""
        return self.transpose(*reversed(range(self.ndim)))

    def astype(self, dtype: Any) -> Any:
        """Its elements in another type."""
        return self if np.dtype(dtype) == self.dtype else NUMPY.cast(self, np.dtype(dtype).name)

    def transpose(self, *axes: int) -> Symbolic:
        """Its axes in another order: the tensor stays as it is."""
        made = Laid(self.made.tensor, tuple(self.made.axes[axis] for axis in axes))
        return Symbolic(made, sizes=[self.shape[axis] for axis in axes])

    def reshape(self, *sizes: Any) -> Any:
        """Its elements in another shape: the number of examples may be open, and one other size."""
        listed = [*sizes[0]] if isinstance(sizes[0], tuple | list) else [*sizes]
        known = [[size for size in shape if not isinstance(size, Open)] for shape in (self.shape, listed)]
        if -1 in listed and len(listed) - len(known[1]) == self.ndim - len(known[0]):
            listed[listed.index(-1)] = math.prod(known[0]) // -math.prod(known[1])
        wanted = [-1 if isinstance(each, Open) else int(each) for each in listed]
        sizes, of_examples = self.held.shape[1:], wanted[:1] == [-1] and listed[0] == self.shape[0]
        is_same = wanted.count(-1) == 2 or (None not in sizes and math.prod(sizes) == math.prod(wanted[1:]))
        if of_examples and is_same:  # What Keras takes for the sizes of attention may be others.
            return tensor(keras().layers.Reshape(wanted[1:], name=UNNAMED)(self.held))
        if wanted.count(-1) > 1:
            raise RefusalError("a Reshape of Keras leaves the number of examples and one other size open")
        return NUMPY.reshape(self, wanted)

    def __getitem__(self, key: Any) -> Any:
        """A part; along an open axis, one cell is taken by its number, as Keras does not know how long a part is."""
        keys = key if isinstance(key, tuple) else (key,)
        if None in keys or Ellipsis in keys:
            return NUMPY.expand_dims(self, 0) if key is None else tensor(self.held[key])
        made = [part for each, size in zip(keys, self.shape, strict=False) for part in _keys(each, size)]
        return self if all(each == slice(None) for each in made) else tensor(self.held[tuple(made)])

    def __invert__(self) -> Any:
        return _word(self, "not")(self)

    def __neg__(self) -> Any:
        return NUMPY.negative(self)

    def __abs__(self) -> Any:
        return NUMPY.abs(self)

    def _refuse(self) -> Any:
        raise RefusalError("it reads a number that is computed")

    __index__ = __int__ = __float__ = __bool__ = __len__ = _refuse


def _keys(each: Any, size: Any) -> list[Any]:
    """The part of an axis as Keras takes it."""
    if not isinstance(each, slice):
        return [each]
    if isinstance(each.stop, Open) and each.stop != size:
        raise RefusalError("it cuts an axis to another open size")
    start, stop = each.start or 0, None if isinstance(each.stop, Open) else each.stop
    is_one = isinstance(size, Open) and (stop or 0) == start + 1
    return [start, None] if is_one else [slice(each.start, stop, each.step)]


def tensor(held: Any) -> Symbolic:
    """A tensor of Keras with the axes of the graph."""
    return Symbolic(Laid(held, plain(len(held.shape))))


def turned(made: Laid, axes: Numbers) -> Any:
    """A tensor with its axes in another order."""
    dims = [made.axes[axes.index(axis)] for axis in range(len(axes))]
    return made.tensor if dims == sorted(dims) else keras().ops.transpose(made.tensor, dims)


def _word(x: Symbolic, word: str) -> Any:
    return getattr(NUMPY, f"{'logical' if x.dtype == bool else 'bitwise'}_{word}")


def _operator(word: str) -> tuple[Callable[[Symbolic, Any], Any], Callable[[Symbolic, Any], Any]]:
    """The functions of a sign of Python, for a tensor before it and behind it."""

    def find(x: Symbolic) -> Any:
        return _word(x, word) if word in ("and", "or", "xor") else getattr(NUMPY, word)

    return lambda x, other: find(x)(x, other), lambda x, other: find(x)(other, x)


_SIGNS: Final = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide", "pow": "power",
    "matmul": "matmul", "and": "and", "or": "or", "xor": "xor", "lt": "less", "le": "less_equal", "gt": "greater",
    "ge": "greater_equal", "eq": "equal", "ne": "not_equal",
}  # fmt: skip
for _sign, _meaning in _SIGNS.items():
    for _name, _function in zip((f"__{_sign}__", f"__r{_sign}__"), _operator(_meaning), strict=True):
        setattr(Symbolic, _name, _function)


def _each(function: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_each(function, each) for each in value)
    return function(value)


def written(value: Any) -> Any:
    """A value as Keras takes it, and writes it into its file."""
    if isinstance(value, Symbolic):
        return value.held
    if isinstance(value, np.ndarray | np.generic | float):
        array = finite(np.asarray(value))
        return array if array.ndim else array.item()
    return value


def _tensors(value: Any) -> list[Symbolic]:
    if isinstance(value, list | tuple):
        return [each for one in value for each in _tensors(one)]
    return [value] if isinstance(value, Symbolic) else []


class _Numpy:
    """``keras.ops`` as array code uses numpy; of numbers that are known, numpy itself."""

    def __getattr__(self, name: str) -> Any:
        known = getattr(np, name, None)
        if isinstance(known, ModuleType):
            raise RefusalError("has no layer in Keras")
        if hasattr(np, name) and (isinstance(known, type) or not callable(known)):
            return known

        def compute(*given: Any, **options: Any) -> Any:
            if known is not None and not _tensors([*given, *options.values()]):
                return known(*given, **options)
            function = getattr(keras().ops, name, None)
            if function is None:
                raise RefusalError(f"this version of Keras has no {name}")
            return _each(tensor, function(*_each(written, given), **{k: _each(written, v) for k, v in options.items()}))

        return compute

    @staticmethod
    def clip(x: Any, low: Any, high: Any) -> Any:
        """One limit or both."""
        x = x if low is None else NUMPY.maximum(x, low)
        return x if high is None else NUMPY.minimum(x, high)

    @staticmethod
    def power(x: Any, exponent: Any) -> Any:
        """A root, as norms write it, is one of a sum of powers: its slope at 0 is 0."""
        is_root = isinstance(exponent, float) and 0 < exponent < 1
        held = [written(each) for each in (NUMPY.maximum(x, float(np.finfo(x.dtype).tiny)) if is_root else x, exponent)]
        return tensor(keras().ops.power(*held))

    @staticmethod
    def squeeze(x: Symbolic, axis: Any = None) -> Any:
        """Without axes of size 1."""
        every = [each for each, size in enumerate(x.shape) if size == 1] if axis is None else np.atleast_1d(axis)
        places = {int(each) % x.ndim for each in every}
        kept = [each for place, each in enumerate(x.made.axes) if place not in places]
        made = keras().ops.squeeze(x.made.tensor, tuple(sorted(x.made.axes[place] for place in places)))
        return Symbolic(Laid(made, tuple(sorted(kept).index(each) for each in kept)))

    @staticmethod
    def expand_dims(x: Any, axis: Any) -> Any:
        """New axes of size 1; the examples stay along the tensor's first axis wherever the graph has them."""
        new = [int(each) % (x.ndim + np.size(axis)) for each in np.atleast_1d(axis)]
        if not isinstance(x, Symbolic):
            return np.expand_dims(x, tuple(new))
        old = [each for each in range(x.ndim + len(new)) if each not in new]
        order, held = [*old[:1], *(each for each in range(x.ndim + len(new)) if each not in old[:1])], x.held
        for place, each in enumerate(order):
            held = keras().ops.expand_dims(held, place) if each in new else held
        return Symbolic(Laid(held, tuple(order.index(each) for each in range(len(order)))))

    @staticmethod
    def cumsum(x: Any, axis: int, dtype: Any = None) -> Any:
        """In the type of x."""
        return tensor(keras().ops.cumsum(x.held, axis=axis))

    @staticmethod
    def full(shape: Sequence[Any], value: Any, dtype: Any) -> Any:
        """One number everywhere."""
        return expand(np.full([1 if isinstance(each, Open) else int(each) for each in shape], value, dtype), shape)

    @staticmethod
    def ones(shape: Sequence[Any], dtype: Any) -> Any:
        """1 everywhere."""
        return NUMPY.full(shape, 1, dtype)

    @staticmethod
    def arange(*bounds: Any, dtype: Any = np.int64) -> Any:
        """Numbers that count up; as many as an open size says: sums of ones."""
        start, stop, step = (0, *bounds, 1) if len(bounds) == 1 else (*bounds, 1)[:3]
        if not isinstance(stop, Open):
            return np.arange(start, stop, step, dtype=dtype)
        count = rounded_quotient("ceil", difference(stop.dim, start), step)
        places = tensor(keras().ops.subtract(keras().ops.cumsum(stop.along(str(count)), axis=0), 1))
        return places.astype(dtype) * step + start


NUMPY: Final = _Numpy()
"""The namespace of array code."""


def expand(x: Any, shape: Sequence[Any]) -> Any:
    """A tensor or an array, repeated: times ones of the sizes of the result."""
    rank = max(x.ndim, len(shape))
    before, after = (*[1] * (rank - x.ndim), *x.shape), (*[1] * (rank - len(shape)), *shape)
    sizes = [known if size == 1 else size for size, known in zip(after, before, strict=True)]
    new = [1 if size == known else size for size, known in zip(sizes, before, strict=True)]
    ones = np.ones([1 if isinstance(size, Open) else int(size) for size in new], x.dtype)
    for axis, size in enumerate(new):
        if isinstance(size, Open):
            row = NUMPY.expand_dims(tensor(size.along(str(size.dim))), [each for each in range(rank) if each != axis])
            ones = row.astype(x.dtype) * ones
    return ones & x if x.dtype == bool else ones * x
