"""Symbolic values: a ``Symbol`` knows its type and the operator and inputs that compute it.

Layers, losses and gradient rules are written in symbols: ``dy * (1 - y * y)`` makes three nodes. ``tracing`` turns the
symbols that lead to some outputs into a ``Graph``, and ``replay`` a graph into symbols.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias

import numpy as np
from msgspec import UNSET, UnsetType

from portable_nn.core.arguments import check_kinds
from portable_nn.core.arrays import as_array
from portable_nn.core.dims import is_open
from portable_nn.core.errors import Fault, GraphError, UsageError
from portable_nn.core.graph import Attribute, Shape, Tensor
from portable_nn.operators.inference import infer_node, named
from portable_nn.operators.registry import (
    DTYPE_CODES,
    REGISTRY,
    Array,
    Attr,
    InvalidNode,
    Operator,
    OperatorContext,
    Type,
    lookup,
)

Scalar: TypeAlias = int | float
_clock = itertools.count()


class Origin:
    """The origin of some symbols: an operator with its inputs and attributes; none for an input or a parameter."""

    def __init__(
        self,
        operator: Operator | None,
        inputs: Sequence[Symbol | None],
        attributes: Mapping[str, Attribute],
        name: str | None,
        stem: str,
    ) -> None:
        self.operator, self.inputs, self.attributes = operator, tuple(inputs), dict(attributes)
        self.name, self.stem = name, stem
        self.time = next(_clock)
        self.outputs: tuple[Symbol, ...] = ()

    @property
    def label(self) -> str:
        """The node, as messages name it."""
        kind = self.operator.name if self.operator else "input"
        return f"'{self.name}' ({kind})" if self.name else f"'{self.stem}' ({kind})"


class Symbol:
    """A value of a graph that is being built; arithmetic on it makes nodes."""

    def __init__(self, type: Type, origin: Origin, index: int = 0, name: str | None = None) -> None:
        self.type, self.origin, self.index, self.name = type, origin, index, name

    @property
    def shape(self) -> Shape:
        """The shape, with symbolic sizes as names."""
        return self.type.shape

    @property
    def dtype(self) -> str:
        """The element type, as numpy writes it."""
        return self.type.dtype

    def __repr__(self) -> str:
        return f"<{self.name or self.origin.label}: {self.type}>"

    def __add__(self, other: Symbol | Scalar) -> Symbol:
        return emit("Add", self, like(other, self))

    def __radd__(self, other: Scalar) -> Symbol:
        return emit("Add", like(other, self), self)

    def __sub__(self, other: Symbol | Scalar) -> Symbol:
        return emit("Sub", self, like(other, self))

    def __rsub__(self, other: Scalar) -> Symbol:
        return emit("Sub", like(other, self), self)

    def __mul__(self, other: Symbol | Scalar) -> Symbol:
        return emit("Mul", self, like(other, self))

    def __rmul__(self, other: Scalar) -> Symbol:
        return emit("Mul", like(other, self), self)

    def __truediv__(self, other: Symbol | Scalar) -> Symbol:
        return emit("Div", self, like(other, self))

    def __rtruediv__(self, other: Scalar) -> Symbol:
        return emit("Div", like(other, self), self)

    def __pow__(self, other: Symbol | Scalar) -> Symbol:
        return emit("Pow", self, like(other, self))

    def __rpow__(self, other: Scalar) -> Symbol:
        return emit("Pow", like(other, self), self)

    def __matmul__(self, other: Symbol | Array) -> Symbol:
        return emit("MatMul", self, like(other, self))

    def __neg__(self) -> Symbol:
        return emit("Neg", self)

    def __abs__(self) -> Symbol:
        return emit("Abs", self)

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **options: Any) -> Symbol:
        """The operator that is called as a function of numpy is: ``np.sin(x)``, ``2 * x`` with an array of numpy."""
        name = _operator(function)
        if ("", name) not in REGISTRY or method != "__call__" or options:
            self._no_function(function)
        return emit(name, *(like(each, self) for each in inputs))

    def _no_function(self, function: Callable[..., Any]) -> NoReturn:
        functions = {each for each in vars(np).values() if isinstance(each, np.ufunc)}
        known = sorted(each.__name__ for each in functions if ("", _operator(each)) in REGISTRY)
        raise UsageError(
            f"np.{function.__name__} is no function of symbols, as it is used here: emit(operator, …) makes any node "
            f"of ONNX, and those of numpy are {', '.join(known)}"
        )

    def __array_function__(self, function: Any, types: Any, given: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """The result of functions that only add and multiply, or move, as numpy's own arrays of objects have it."""
        with suppress(TypeError, AttributeError):
            return function._implementation(*given, **options)
        return self._no_function(function)

    def _undecided(self, *_: object) -> NoReturn:
        raise UsageError(
            "a symbol has no value yet, for a condition or as a number: emit('Where', np.greater(x, 0), a, b) is a "
            "where x is above 0, and b elsewhere; np.maximum, np.minimum and abs need no condition; np.sin and the "
            "like take symbols, and math.sin does not"
        )

    __gt__ = __ge__ = __lt__ = __le__ = __float__ = _undecided


def _operator(function: np.ufunc) -> str:
    """The name that the operator of a function of numpy has, if there is one."""
    return _OTHERWISE.get(function, function.__name__.replace("arc", "a").capitalize())


_OTHERWISE: Final[Mapping[np.ufunc, str]] = {
    np.subtract: "Sub",
    np.multiply: "Mul",
    np.divide: "Div",
    np.negative: "Neg",
    np.absolute: "Abs",
    np.power: "Pow",
    np.matmul: "MatMul",
    np.maximum: "Max",
    np.minimum: "Min",
}
"""The operators that have another name than numpy's function."""


class Leaf(Symbol):
    """A symbol that no node computes: an input, or a parameter with its initializer."""

    def __init__(
        self,
        name: str | None,
        dtype: str,
        shape: Shape,
        *,
        stem: str = "input",
        parameter: bool = False,
        trainable: bool = True,
        initial: Any = None,
    ) -> None:
        super().__init__(Type(dtype, shape), Origin(None, (), {}, name, stem), 0, name)
        self.origin.outputs = (self,)
        self.parameter, self.trainable, self.initial = parameter, trainable, initial
        self.packed: str | UnsetType = UNSET
        self.owner: Symbol | None = None
        """The node that a parameter is named after; ``None`` for the first one that reads it."""


def plain_float(value: float) -> float:
    """A float attribute as ONNX has it (binary32), written as the shortest decimal that means it."""
    return float(str(np.float32(value)))


def plain(operator: Operator, attributes: Mapping[str, Any]) -> dict[str, Attribute]:
    """Attributes as the graph holds them: tuples for lists, Python numbers, floats in the precision of ONNX."""
    result: dict[str, Attribute] = {}
    for name, value in attributes.items():
        if value is None:
            continue
        if isinstance(value, (list, tuple, np.ndarray)):
            items = [item.item() if isinstance(item, np.generic) else item for item in value]
            value = tuple(plain_float(item) if isinstance(item, float) else item for item in items)
        elif operator.attributes.get(name, Attr(int)).kind is float:
            value = plain_float(value)
        elif isinstance(value, (bool, np.integer, np.bool_)):
            value = int(value)
        result[name] = value
    return result


def emit_all(
    operator: str,
    *inputs: Symbol | None,
    outputs: int = 1,
    name: str | None = None,
    stem: str | None = None,
    domain: str = "",
    **attributes: Any,
) -> tuple[Symbol, ...]:
    """Make a node; the symbols of its outputs.

    ``name`` is its exact name, ``stem`` the stem of a numbered one. Raises ``GraphError`` where the inputs do not fit.
    """
    try:
        found = lookup(operator, domain)
        given = plain(found, attributes)
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        read = [v.type if v is not None else None for v in inputs]
        # Without an exact name, each node has data-dependent sizes of its own all the same.
        label = name or f"{stem or operator.lower()} {next(_clock)}"
        types = named(infer_node(found, read, given, outputs), label)
    except InvalidNode as invalid:
        node = f"'{name or stem}' ({operator})" if name or stem else operator
        raise GraphError([Fault(node, str(invalid))]) from None
    origin = Origin(found, inputs, given, name, stem or operator.lower())
    origin.outputs = tuple(Symbol(type, origin, index) for index, type in enumerate(types))
    return origin.outputs


@check_kinds
def emit(operator: str, *inputs: Symbol | None, **attributes: Any) -> Symbol:
    """Make a node; the symbol of its first output.

    Args:
        operator: an ONNX operator.
        inputs: its inputs; ``None`` for an optional one that is left out.
        attributes: its attributes by the names that ONNX gives them, and what ``emit_all`` takes: ``name``, the exact
            name of the node, or ``stem``, the stem of a numbered one, and ``domain``.

    Raises ``GraphError`` where the inputs do not fit the operator.

    >>> import portable_nn as pnn
    >>> pnn.emit("Softmax", pnn.Input(10), axis=-1)
    <'softmax' (Softmax): float32 (batch, 10)>
    """
    return emit_all(operator, *inputs, **attributes)[0]


def constant(value: Any, dtype: str) -> Symbol:
    """A small array as a Constant node."""
    array = as_array(value, "the constant", dtype)
    shortest = plain_float if dtype == "float32" else lambda item: item
    data = tuple(int(item) if dtype == "bool" else shortest(item) for item in array.ravel().tolist())
    return emit("Constant", value=Tensor(dtype, array.shape, data))


def integers(values: Iterable[int]) -> Symbol:
    """A 1-D int64 constant: shapes, axes, pads."""
    return constant(list(values), "int64")


def like(value: Symbol | Scalar | Array, other: Symbol) -> Symbol:
    """A number or array as a constant of the type of ``other``; a symbol as it is."""
    return value if isinstance(value, Symbol) else constant(value, other.dtype)


WIDER: Final = {
    **dict.fromkeys(("int8", "uint8", "int16", "uint16"), "int32"),
    "uint32": "int64",
    "uint64": "float64",
}
"""For element types that onnxruntime 1.32 lacks kernels for, one that has these, and holds their numbers."""


def in_wider(
    name: str, dtypes: Collection[str], use: OperatorContext, opset: int, place: int = 0
) -> Callable[..., Symbol] | None:
    """The ``substitute`` of an operator that onnxruntime has no kernels of for ``dtypes``: it computes in wider ones.

    The element type of the input at ``place`` decides, and the inputs of this type are made wider.
    """
    dtype = use.type(place).dtype
    return partial(_in_wider, name, use.type().dtype, dtype) if dtype in dtypes else None


def _in_wider(name: str, result: str, dtype: str, *inputs: Symbol | None, **attributes: Any) -> Symbol:
    wide = (cast(each, WIDER[dtype]) if each is not None and each.dtype == dtype else each for each in inputs)
    return cast(emit(name, *wide, **attributes), result)


def cast(value: Symbol, dtype: str) -> Symbol:
    """``value`` as ``dtype``; itself where it is that already."""
    return value if value.dtype == dtype else emit("Cast", value, to=DTYPE_CODES[dtype])


def sizes(value: Symbol, axes: Sequence[int] | None = None) -> Symbol:
    """The shape of ``value`` (or its sizes along ``axes``) as a 1-D int64 symbol; a constant where it is known."""
    dims = [value.shape[axis] for axis in (range(len(value.shape)) if axes is None else axes)]
    numbers = [dim for dim in dims if isinstance(dim, int)]
    if len(numbers) == len(dims):
        return integers(numbers)
    if axes is None:
        return emit("Shape", value)
    return emit("Concat", *(emit("Shape", value, start=axis, end=axis + 1) for axis in axes), axis=0)


def size_of(value: Symbol, axis: int) -> Symbol:
    """The size of ``value`` along an axis as an int64 scalar."""
    return emit("Squeeze", sizes(value, [axis]), integers([0]))


def squeezed(value: Symbol, *axes: int) -> Symbol:
    """``value`` without axes of size 1."""
    return emit("Squeeze", value, integers(axes))


def unsqueezed(value: Symbol, *axes: int) -> Symbol:
    """``value`` with new axes of size 1; itself where there are none."""
    return emit("Unsqueeze", value, integers(axes)) if axes else value


def count_up(end: Symbol) -> Symbol:
    """0, 1, 2, … below the integer scalar ``end``, in its element type."""
    return emit("Range", constant(0, end.dtype), end, constant(1, end.dtype))


def zeros_like(value: Symbol) -> Symbol:
    """Zeros of the shape and type of ``value``, which need not be known yet."""
    return emit("Expand", constant(0, value.dtype), sizes(value))


def fit(gradient: Symbol, value: Symbol) -> Symbol:
    """Sum ``gradient`` over the axes along which ``value`` was broadcast, so that it has the shape of ``value``."""
    if gradient.shape == value.shape:
        return gradient
    lead = len(gradient.shape) - len(value.shape)
    stretched = [axis + lead for axis, dim in enumerate(value.shape) if dim == 1 and gradient.shape[axis + lead] != 1]
    if stretched:
        gradient = emit("ReduceSum", gradient, integers(stretched), keepdims=1)
    if lead:
        gradient = emit("ReduceSum", gradient, integers(range(lead)), keepdims=0)
    if gradient.shape == value.shape or not any(map(is_open, value.shape)):
        return gradient
    # Along data-dependent sizes it is known once they are whether the value was broadcast.
    single = emit("Reshape", emit("NonZero", emit("Equal", sizes(value), constant(1, "int64"))), integers([-1]))
    return emit("Reshape", emit("ReduceSum", gradient, single, noop_with_empty_axes=1), sizes(value), allowzero=1)


class GradientContext(OperatorContext):
    """A use with its symbols, as a gradient rule is called with it."""

    def __init__(
        self,
        operator: Operator,
        attributes: Mapping[str, Attribute],
        x: Sequence[Symbol | None],
        y: Sequence[Symbol],
        dy: Sequence[Symbol | None],
    ) -> None:
        super().__init__(operator, [v.type if v is not None else None for v in x], attributes, len(y))
        self._x, self._dy = x, dy
        self.y: Sequence[Symbol] = y

    @property
    def inputs(self) -> int:
        """The number of inputs."""
        return len(self._x)

    @property
    def x(self) -> Sequence[Symbol]:
        """The inputs; only those that ``has`` confirms may be touched."""
        return self._x  # type: ignore[return-value]

    @property
    def back(self) -> Sequence[Symbol | None]:
        """The gradients of the outputs; ``None`` where nothing flows back."""
        return self._dy

    @property
    def dy(self) -> Symbol:
        """The gradient of the first output."""
        found = self._dy[0]
        if found is None:
            self.fail(f"{self.operator.name} has a gradient through its first output only")
        return found


Gradient: TypeAlias = Callable[[GradientContext], Sequence[Symbol | None] | Symbol]
