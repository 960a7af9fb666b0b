"""The table of operators, and what an operator's rules are given.

An operator is registered once, by the module that is its home, with three rules:

- ``infer(use)`` gives the types of its outputs, or raises ``Misfit`` with what does not fit;
- ``kernel(bound)`` gives the numpy calls that compute it, over arrays that are already there;
- ``gradient(back)`` gives, as new graph nodes, what flows back to each input.
"""

from __future__ import annotations

import builtins
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypeAlias

import numpy as np

from portable_nn.graph import Attribute, Dim, Shape, Tensor, format_shape

if TYPE_CHECKING:
    from portable_nn.operators.symbols import Symbol

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Step: TypeAlias = Callable[[], object]

ONNX_DTYPES: Final[Mapping[int, str]] = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
"""Element types by the number that ONNX gives them (``TensorProto.DataType``)."""

DTYPE_CODES: Final[Mapping[str, int]] = {dtype: code for code, dtype in ONNX_DTYPES.items()}
FLOATS: Final = frozenset({"float16", "float32", "float64"})
INTEGERS: Final = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})
NUMBERS: Final = FLOATS | INTEGERS


class Type(NamedTuple):
    """What is known of a value before anything runs; ``content`` holds the elements of a small integer array."""

    dtype: str
    shape: Shape
    content: tuple[Dim, ...] | None = None

    def __str__(self) -> str:
        return f"{self.dtype} {format_shape(self.shape)}"


class Misfit(Exception):  # noqa: N818 - never leaves the package: it becomes a Fault with the node's name
    """A node whose inputs or attributes do not fit its operator."""


REQUIRED: Final = object()
"""In an attribute table: the attribute must be given."""


class Attr(NamedTuple):
    """One attribute of an operator: its type, and what it is when absent (``None``: the rule decides)."""

    kind: type[int] | type[float] | type[str] | type[tuple[int, ...]] | type[Tensor]
    default: Any = None
    item: type[int] | type[float] = int

    def takes(self, value: object) -> bool:
        """Whether ``value`` is of this type; a tuple, with all its items."""
        items = value if isinstance(value, tuple) else ()
        return type(value) is self.kind and all(type(item) is self.item for item in items)

    def __str__(self) -> str:
        return f"tuple of {self.item.__name__}" if self.kind is tuple else self.kind.__name__


class Use:
    """One use of an operator: typed access to its attributes and to the types of its inputs."""

    def __init__(
        self,
        operator: Operator,
        types: Sequence[Type | None],
        attributes: Mapping[str, Attribute],
        outputs: builtins.int = 1,
    ) -> None:
        self.operator, self.types, self.attributes, self.output_count = operator, types, attributes, outputs

    def _attribute(self, name: str) -> Any:
        return self.attributes.get(name, self.operator.attributes[name].default)

    def int(self, name: str) -> builtins.int:
        """An integer attribute."""
        value: int = self._attribute(name)
        return value

    def float(self, name: str) -> builtins.float:
        """A float attribute."""
        value: float = self._attribute(name)
        return value

    def string(self, name: str) -> str:
        """A string attribute."""
        value: str = self._attribute(name)
        return value

    def ints(self, name: str) -> tuple[builtins.int, ...] | None:
        """A list of integers, or ``None`` when it is absent."""
        value: tuple[int, ...] | None = self._attribute(name)
        return value

    def has(self, index: builtins.int) -> bool:
        """Whether the optional input ``index`` is given."""
        return index < len(self.types) and self.types[index] is not None

    def type(self, index: builtins.int = 0) -> Type:
        """The type of an input that must be there."""
        found = self.types[index] if index < len(self.types) else None
        if found is None:
            self.fail(f"input '{self.operator.input_name(index)}' is missing")
        return found

    def like(self, shape: Iterable[Dim]) -> Type:
        """The element type of the first input with another shape."""
        return Type(self.type().dtype, tuple(shape))

    def content(self, index: builtins.int, allowed: Collection[str] = ("int64",)) -> tuple[Dim, ...]:
        """The elements of an integer input that must be known before the graph runs."""
        dtype, _, found = self.type(index)
        if dtype not in allowed:
            self.fail(f"input '{self.operator.input_name(index)}' must be {' or '.join(sorted(allowed))}, not {dtype}")
        if found is None:
            self.fail(f"input '{self.operator.input_name(index)}' must be a constant: its values decide the shape")
        return found

    def numbers(self, index: builtins.int, allowed: Collection[str] = ("int64",)) -> tuple[builtins.int, ...]:
        """As ``content``, where a symbolic size will not do."""
        found = self.content(index, allowed)
        numbers = tuple(dim for dim in found if isinstance(dim, int))
        if len(numbers) != len(found):
            self.fail(f"input '{self.operator.input_name(index)}' holds the unknown size {format_shape(found)}")
        return numbers

    def axis(self, axis: builtins.int, rank: builtins.int) -> builtins.int:
        """``axis`` counted from the front, checked against ``rank``."""
        if not -rank <= axis < rank:
            self.fail(f"axis {axis} is outside an input of {rank} dimensions")
        return axis % rank

    def axes(self, axes: Iterable[builtins.int], rank: builtins.int) -> tuple[builtins.int, ...]:
        """Several axes counted from the front, sorted, each once."""
        found = sorted(self.axis(axis, rank) for axis in axes)
        if len(set(found)) != len(found):
            self.fail(f"the axes {tuple(axes)} name one axis twice")
        return tuple(found)

    def fail(self, message: str) -> NoReturn:
        """Raise the ``Misfit`` of this use."""
        raise Misfit(message)


class Bound(Use, ABC):
    """A use whose input arrays are there: what a kernel is given by the numpy engine."""

    x: Sequence[Array]
    """The input arrays; only those that ``has`` confirms may be touched."""
    rng: np.random.Generator

    @abstractmethod
    def output_shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of output ``index``."""

    @abstractmethod
    def is_constant(self, index: int) -> bool:
        """Whether input ``index`` is the same in every run."""

    @abstractmethod
    def out(self, index: int = 0, over: int | None = None, *, by_columns: bool = False) -> Array:
        """The array that output ``index`` is to be written into; it may be that of input ``over``.

        It lies in memory by rows, or ``by_columns``; element by element, as the inputs do.
        """

    @abstractmethod
    def view(self, array: Array, index: int = 0) -> None:
        """Make output ``index`` the same memory as ``array``, a view of an input: nothing runs for it."""

    @abstractmethod
    def scratch(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Memory that only this node's steps use."""

    @abstractmethod
    def filled(self, shape: tuple[int, ...], dtype: Any, value: float) -> Array:
        """A shared array that holds ``value`` everywhere and is never written."""

    def scratch_like(self, array: Array, dtype: Any = None) -> Array:
        """Work memory of the shape of ``array`` that lies as it does: numpy is slow where layouts differ."""
        dtype = dtype or array.dtype
        return self.scratch(array.T.shape, dtype).T if lies_by_columns(array) else self.scratch(array.shape, dtype)

    def filled_like(self, array: Array, value: float) -> Array:
        """``filled`` of the shape of ``array`` that lies as it does."""
        shape, dtype = array.shape, array.dtype
        return self.filled(shape[::-1], dtype, value).T if lies_by_columns(array) else self.filled(shape, dtype, value)


def lies_by_columns(array: Array) -> bool:
    """Whether the first axis of ``array`` is the one that runs fastest in memory, and not the last."""
    return array.flags.f_contiguous and not array.flags.c_contiguous


class Backward(Use):
    """A use with its symbols: what a gradient rule is given."""

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
        """How many inputs the use has."""
        return len(self._x)

    @property
    def x(self) -> Sequence[Symbol]:
        """The inputs; only those that ``has`` confirms may be touched."""
        return self._x  # type: ignore[return-value]

    @property
    def dy(self) -> Symbol:
        """What flows back into the first output."""
        found = self._dy[0]
        if found is None:
            self.fail(f"{self.operator.name} has a gradient through its first output only")
        return found


Infer: TypeAlias = Callable[[Use], Type | tuple[Type, ...]]
Kernel: TypeAlias = Callable[[Bound], Iterable[Step] | Step | None]
Gradient: TypeAlias = "Callable[[Backward], Sequence[Symbol | None] | Symbol]"
Training: TypeAlias = "Callable[[Sequence[Symbol | None], Mapping[str, Attribute], str], Sequence[Symbol]]"


@dataclass(frozen=True)
class Operator:
    """One operator: its signature in the standard's names, and its rules.

    ``inputs`` are formal names; one that ends in ``?`` may be absent, in ``*`` may repeat. ``gradient`` is ``None``
    where nothing flows back. ``inplace`` says that the kernel may write its output over an input of the same shape.
    ``training`` gives the nodes that stand for it while training, where those differ. An operator of the package's own
    domain has a ``lowering``: the same in standard operators.
    """

    name: str
    inputs: tuple[str, ...]
    infer: Infer
    kernel: Kernel
    gradient: Gradient | None
    attributes: Mapping[str, Attr] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("output",)
    inplace: bool = False
    training: Training | None = None
    lowering: Callable[..., Any] | None = None
    domain: str = ""

    def input_name(self, index: int) -> str:
        """The formal name of input ``index``."""
        return self.inputs[min(index, len(self.inputs) - 1)].rstrip("?*")

    def check(self, attributes: Mapping[str, Attribute], inputs: Sequence[object], outputs: int) -> None:
        """Raise ``Misfit`` for an unknown, missing or mistyped attribute, or a wrong number of inputs or outputs."""
        for name, value in attributes.items():
            known = self.attributes.get(name)
            if known is None:
                raise Misfit(f"attribute '{name}' is not one of {self.name}'s ({', '.join(self.attributes) or 'none'})")
            if not known.takes(value):
                raise Misfit(f"attribute '{name}' must be of type {known}, not {value!r}")
        missing = [n for n, a in self.attributes.items() if a.default is REQUIRED and n not in attributes]
        if missing:
            raise Misfit(f"attribute '{missing[0]}' is missing")
        needed = sum(not name.endswith("?") for name in self.inputs)
        most = len(self.inputs) if not self.inputs or not self.inputs[-1].endswith("*") else None
        if len(inputs) < needed or (most is not None and len(inputs) > most):
            wanted = f"{needed}" if most == needed else f"{needed} to {most}" if most else f"{needed} or more"
            raise Misfit(f"{self.name} takes {wanted} {'input' if wanted == '1' else 'inputs'}, not {len(inputs)}")
        if not 1 <= outputs <= len(self.outputs):
            wanted = "1 output" if len(self.outputs) == 1 else f"1 to {len(self.outputs)} outputs"
            raise Misfit(f"{self.name} has {wanted}, not {outputs}")


REGISTRY: dict[tuple[str, str], Operator] = {}


def register(operator: Operator) -> Operator:
    """Put ``operator`` into the table; a second one of the same name is a programming error."""
    key = (operator.domain, operator.name)
    if key in REGISTRY:
        raise ValueError(f"operator {operator.name} is registered twice")
    REGISTRY[key] = operator
    return operator


def lookup(name: str, domain: str = "") -> Operator:
    """The operator of that name, or ``Misfit`` that says there is none."""
    found = REGISTRY.get((domain, name))
    if found is None:
        full = f"{domain}.{name}" if domain else name
        raise Misfit(f"operator '{full}' is not supported")
    return found
