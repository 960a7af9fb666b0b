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
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, NoReturn, TypeAlias

import numpy as np

from portable_nn.core.graph import Attribute, Dim, Shape, Tensor, format_shape

if TYPE_CHECKING:
    from portable_nn.operators.symbols import Symbol

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Step: TypeAlias = Callable[[], object]
Order: TypeAlias = tuple[int, ...]
"""Axes from the one that runs slowest in memory to the fastest."""

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
    """What is known of a value before anything runs; ``content`` holds the elements of a constant list of numbers.

    Two are equal that have the same element type and shape, whatever is known of the elements.
    """

    dtype: str
    shape: Shape
    content: tuple[Dim | float, ...] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Type) and self[:2] == other[:2]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:2])

    def __str__(self) -> str:
        return f"{self.dtype} {format_shape(self.shape)}"


class Misfit(Exception):  # noqa: N818 - never leaves the package: it becomes a Fault with the node's name
    """A node whose inputs or attributes do not fit its operator."""


class Unfixed(Misfit):
    """A node that would have to know before it runs what is computed only then."""


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

    def _known(self, index: builtins.int, allowed: Collection[str], why: str) -> tuple[Any, ...]:
        dtype, _, found = self.type(index)
        if dtype not in allowed:
            self.fail(f"input '{self.operator.input_name(index)}' must be {' or '.join(sorted(allowed))}, not {dtype}")
        if found is None:
            raise Unfixed(f"input '{self.operator.input_name(index)}' must be a constant{why}")
        return found

    def content(self, index: builtins.int, allowed: Collection[str] = ("int64",)) -> tuple[Dim, ...]:
        """The elements of an integer input that must be known before the graph runs."""
        return self._known(index, allowed, ": its values decide the shape")

    def floats(self, index: builtins.int, allowed: Collection[str] = FLOATS) -> tuple[builtins.float, ...]:
        """The elements of a float input that must be known before the graph runs."""
        return self._known(index, allowed, "")

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
    def out(self, index: int = 0, over: int | None = None, *, order: Order | None = None) -> Array:
        """The array that output ``index`` is to be written into; it may be that of input ``over``.

        Its axes lie in memory in ``order``, by default as they come; element by element, as those of the inputs do.
        """

    @abstractmethod
    def view(self, array: Array, index: int = 0) -> None:
        """Make output ``index`` the same memory as ``array``, a view of an input: nothing runs for it."""

    @abstractmethod
    def scratch(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Memory that only this node's steps use."""

    @abstractmethod
    def own(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Memory of this node alone: zeros at first, and kept from run to run."""

    @abstractmethod
    def derived(self, index: int, kind: str, shape: tuple[int, ...]) -> tuple[Array, bool]:
        """Zeros for what input ``index`` is to be copied into; the same for each node that wants this ``kind`` of copy.

        And whether this node is the first one, which fills it.
        """

    @abstractmethod
    def filled(self, shape: tuple[int, ...], dtype: Any, value: float) -> Array:
        """A shared array that holds ``value`` everywhere and is never written."""

    def scratch_like(self, array: Array, dtype: Any = None) -> Array:
        """Work memory of the shape of ``array`` that lies as it does: numpy is slow where layouts differ."""
        order = memory_order(array)
        return laid_in(order, self.scratch(tuple(array.shape[axis] for axis in order), dtype or array.dtype))

    def filled_like(self, array: Array, value: float) -> Array:
        """``filled`` of the shape of ``array`` that lies as it does."""
        order = memory_order(array)
        return laid_in(order, self.filled(tuple(array.shape[axis] for axis in order), array.dtype, value))


def memory_order(array: Array) -> Order:
    """The axes of ``array`` from the one that runs slowest in memory to the fastest."""
    return tuple(sorted(range(array.ndim), key=lambda axis: -array.strides[axis]))


def laid_in(order: Order, array: Array) -> Array:
    """``array``, whose axes stand as they lie in memory, with its axes where ``order`` has taken them from."""
    return array.transpose([order.index(axis) for axis in range(len(order))])


def is_dense(array: Array) -> bool:
    """Whether the elements fill a piece of memory, in whatever order of the axes."""
    return array.flags.c_contiguous or array.transpose(memory_order(array)).flags.c_contiguous


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
    def back(self) -> Sequence[Symbol | None]:
        """What flows back into each output; ``None`` where nothing does."""
        return self._dy

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

    ``inputs`` are formal names; one that ends in ``?`` may be absent, in ``*`` may repeat, as may an output's.
    ``gradient`` is ``None`` where nothing flows back, and ``"lowering"`` where that is what flows back through the
    lowering. ``inplace`` says that the kernel may write its output over an input of the same shape. ``training`` gives
    the nodes that stand for it while training, where those differ; ``state`` then tells which of its outputs takes the
    place of which input from run to run. An operator of the package's own domain has a ``lowering``, and so has a
    standard one that is newer than opset 13: the same in standard operators of opset 13.
    """

    name: str
    inputs: tuple[str, ...]
    infer: Infer
    kernel: Kernel
    gradient: Gradient | Literal["lowering"] | None
    attributes: Mapping[str, Attr] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("output",)
    inplace: bool = False
    training: Training | None = None
    state: Mapping[int, int] = field(default_factory=dict)
    lowering: Callable[..., Any] | None = None
    domain: str = ""

    def input_name(self, index: int) -> str:
        """The formal name of input ``index``."""
        return self.inputs[min(index, len(self.inputs) - 1)].rstrip("?*")

    def output_name(self, index: int) -> str:
        """The formal name of output ``index``, numbered where it repeats."""
        repeats = index - len(self.outputs) + 1
        name = self.outputs[min(index, len(self.outputs) - 1)].rstrip("*")
        return f"{name}_{repeats}" if repeats > 0 else name

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
        repeats = self.outputs[-1].endswith("*")
        if outputs < 1 or (outputs > len(self.outputs) and not repeats):
            several = "1 or more outputs" if repeats else f"1 to {len(self.outputs)} outputs"
            wanted = several if repeats or len(self.outputs) > 1 else "1 output"
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
