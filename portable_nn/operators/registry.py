"""The registry of operators, and the contexts that their rules are called with.

An operator is registered once, by the module that is its home. Its three main rules are:

- ``infer``: from ``OperatorContext`` to the types of the outputs; raises ``InvalidNode``;
- ``kernel``: from ``KernelContext`` to the numpy calls that compute the outputs, in arrays that are allocated;
- ``gradient``: from ``GradientContext`` (in ``symbols``) to the gradients of the inputs, as new graph nodes.

All other fields of ``Operator`` are facts that other modules read: none of these keeps a table of operator names.
"""

from __future__ import annotations

import builtins
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal, NamedTuple, NoReturn, Protocol, TypeAlias

import numpy as np

from portable_nn.core.dims import agreed_shape, opened
from portable_nn.core.errors import refuse
from portable_nn.core.graph import INTERNAL, Attribute, Dim, Graph, Node, Shape, Tensor, format_shape
from portable_nn.core.tensors import Array as Array
from portable_nn.core.tensors import NamedArrays as NamedArrays
from portable_nn.operators.streamed import Streamed
from portable_nn.sizes.operation import Kind, Mode
from portable_nn.sizes.receptive import Fields

Step: TypeAlias = Callable[[], object]
Order: TypeAlias = tuple[int, ...]
"""Axes from the largest stride to the smallest."""

ONNX_DTYPES: Final[Mapping[int, str]] = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
"""Element types by the number that ONNX gives them (``TensorProto.DataType``)."""

DTYPE_CODES: Final[Mapping[str, int]] = {dtype: code for code, dtype in ONNX_DTYPES.items()}
FLOATS: Final = frozenset({"float16", "float32", "float64"})
INTEGERS: Final = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})
NUMBERS: Final = FLOATS | INTEGERS
ANY: Final = NUMBERS | {"bool"}
WIDE: Final = FLOATS | {"int32", "int64", "uint32", "uint64"}
"""The element types that the standard defines matrix products, powers and sums for."""


class Type(NamedTuple):
    """The element type and shape of a value, and its elements where constant propagation finds them.

    ``constant`` has the elements of a constant value of at most one axis; a symbolic size is a name. Comparisons ignore
    it.
    """

    dtype: str
    shape: Shape
    constant: tuple[Dim | float, ...] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Type) and self[:2] == other[:2]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:2])

    def __str__(self) -> str:
        return f"{self.dtype} {format_shape(self.shape)}"


Types: TypeAlias = Mapping[str, Type]
"""The types of values by their names."""


class InvalidNode(Exception):  # noqa: N818 - never leaves the package: it becomes a Fault with the node's name
    """A node whose inputs or attributes do not fit its operator."""


class DataDependentShape(InvalidNode):
    """A node with a data-dependent shape: it depends on the elements of an input that is not constant."""


REQUIRED: Final = object()
"""In an attribute table: the attribute must be given."""


class Attr(NamedTuple):
    """One attribute of an operator: its type, and its default (``None``: the rule decides).

    ``spelled`` where some runtimes refuse or misunderstand a node that leaves it out: portable files have the default.
    """

    kind: type[int] | type[float] | type[str] | type[tuple[int, ...]] | type[Tensor]
    default: Any = None
    item: type[int] | type[float] | type[str] | type[Graph] = int
    spelled: bool = False

    @property
    def is_body(self) -> bool:
        """True if it is a body: one graph."""
        return self.item is Graph

    def takes(self, value: object) -> bool:
        """True if ``value`` is of this type; a tuple, with all its items."""
        items = value if isinstance(value, tuple) else ()
        return type(value) is self.kind and all(type(item) is self.item for item in items)

    def __str__(self) -> str:
        return f"tuple of {self.item.__name__}" if self.kind is tuple else self.kind.__name__


class OperatorContext:
    """A use of an operator, as its rules see it: typed access to the attributes and to the types of the inputs."""

    def __init__(
        self,
        operator: Operator,
        types: Sequence[Type | None],
        attributes: Mapping[str, Attribute],
        outputs: builtins.int = 1,
    ) -> None:
        self.operator, self.types, self.attributes, self.output_count = operator, types, attributes, outputs

    refuse = staticmethod(refuse)

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

    def body(self, name: str) -> Graph:
        """A body: an attribute that is one graph."""
        found = self._attribute(name)
        if len(found) != 1:
            self.fail(f"attribute '{name}' must be one graph, not {len(found)}")
        graph: Graph = found[0]
        return graph

    def has(self, index: builtins.int) -> bool:
        """True if the optional input ``index`` is given."""
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
            raise DataDependentShape(f"input '{self.operator.input_name(index)}' must be a constant{why}")
        return found

    def constant(
        self, index: builtins.int, allowed: Collection[str] = ("int64",), *, single: builtins.bool = False
    ) -> tuple[Dim, ...]:
        """The elements of an integer input, or its ``single`` one, that must be constant: they decide the shape.

        Sizes may be symbolic.
        """
        found = self._known(index, allowed, ": its values decide the shape")
        if single and self.type(index).shape not in {(), (1,)}:
            self.fail(f"{self.operator.input_name(index)} must be one number, not {self.type(index)}")
        return found

    def floats(self, index: builtins.int, allowed: Collection[str] = FLOATS) -> tuple[builtins.float, ...]:
        """The elements of a float input that must be constant."""
        return self._known(index, allowed, "")

    def numbers(
        self, index: builtins.int, allowed: Collection[str] = ("int64",), *, single: builtins.bool = False
    ) -> tuple[builtins.int, ...]:
        """As ``constant``, where no size may be symbolic."""
        found = self.constant(index, allowed, single=single)
        numbers = tuple(dim for dim in found if isinstance(dim, int))
        if len(numbers) != len(found):
            self.fail(f"input '{self.operator.input_name(index)}' holds the unknown size {format_shape(found)}")
        return numbers

    def length_of(self, index: builtins.int) -> Dim:
        """The number of elements of an input that must be a list."""
        shape = self.type(index).shape
        if len(shape) != 1:
            self.fail(f"input '{self.operator.input_name(index)}' must be a list, not {format_shape(shape)}")
        return shape[0]

    def opened(self, rank: Dim, places: Collection[builtins.int] | None = None) -> Type:
        """The first input with data-dependent sizes: all, or those of the axes ``places``; of ``rank`` axes."""
        if not isinstance(rank, builtins.int):
            self.fail(f"the number of axes of its output is the unknown size {rank}")
        return self.like(
            opened(axis) if places is None or axis in places else self.type().shape[axis] for axis in range(rank)
        )

    def choice(self, name: str, allowed: Sequence[str | builtins.int]) -> Any:
        """An attribute that must be one of the values ``allowed``."""
        value = self._attribute(name)
        if value not in allowed:
            names = [str(each) for each in allowed]
            wanted = " or ".join(names) if len(names) == 2 else f"one of {', '.join(names)}"
            self.fail(f"{name} must be {wanted}, not {value!r}")
        return value

    def at_least(self, name: str, least: builtins.int = 1) -> builtins.int:
        """An integer attribute that must not be below ``least``."""
        value = self.int(name)
        if value < least:
            self.fail(f"{name} must be {least} or more, not {value}")
        return value

    def check_dtype(self, dtype: str, allowed: Collection[str]) -> None:
        """Fail where the operator is not defined for an element type."""
        if dtype not in allowed:
            self.fail(f"it is not defined for {dtype}")

    def common_dtype(
        self, allowed: Collection[str], start: builtins.int = 0, apart: Collection[builtins.int] = ()
    ) -> str:
        """The element type that all inputs from ``start`` on share, but for those at the places ``apart``."""
        places = [place for place in range(start, len(self.types)) if self.has(place) and place not in apart]
        first, dtypes = self.type(start).dtype, [self.type(place).dtype for place in places]
        if len(set(dtypes)) > 1:
            self.fail(f"its inputs have different element types: {', '.join(dtypes)}")
        self.check_dtype(first, allowed)
        return first

    def expect(self, index: builtins.int, wanted: Type, why: str = "") -> None:
        """Fail where input ``index`` is of another element type or shape than ``wanted``; the message adds ``why``."""
        found = self.type(index)
        if found.dtype != wanted.dtype or agreed_shape(found.shape, wanted.shape) is None:
            self.fail(f"{self.operator.input_name(index)} must be {wanted}{why}, not {found}")

    def axis(self, axis: builtins.int, rank: builtins.int) -> builtins.int:
        """``axis`` counted from the front, checked against ``rank``."""
        if not -rank <= axis < rank:
            self.fail(f"axis {axis} is outside an input of {rank} dimensions")
        return axis % rank

    def attribute_axis(self) -> builtins.int:
        """The attribute ``axis`` counted from the front of the first input."""
        return self.axis(self.int("axis"), len(self.type().shape))

    def axes(self, axes: Iterable[builtins.int], rank: builtins.int) -> tuple[builtins.int, ...]:
        """Several axes counted from the front, sorted, each once."""
        found = sorted(self.axis(axis, rank) for axis in axes)
        if len(set(found)) != len(found):
            self.fail(f"the axes {tuple(axes)} name one axis twice")
        return tuple(found)

    def fail(self, message: str) -> NoReturn:
        """Raise ``InvalidNode`` with a message about this use."""
        raise InvalidNode(message)


class Compiled(Protocol):
    """A body that was compiled: fill ``inputs``, call ``run``, read ``outputs``."""

    @property
    def inputs(self) -> NamedArrays:
        """The arrays of its inputs by name."""

    @property
    def outputs(self) -> NamedArrays:
        """The arrays of its outputs by name."""

    def run(self) -> None:
        """Compute the outputs."""


class KernelContext(OperatorContext, ABC):
    """A use with its arrays, as the numpy engine gives it to a kernel when a plan is compiled."""

    x: Sequence[Array]
    """The input arrays; only those that ``has`` confirms may be touched."""
    rng: np.random.Generator

    @abstractmethod
    def output_shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of output ``index``."""

    @abstractmethod
    def is_constant(self, index: int) -> bool:
        """True if input ``index`` is the same in every run."""

    @abstractmethod
    def is_read(self, index: int) -> bool:
        """True if output ``index`` is read by another node, or after the run."""

    @abstractmethod
    def out(self, index: int = 0, over: int | None = None, *, order: Order | None = None) -> Array:
        """The array for output ``index``.

        Args:
            index: which output.
            over: an input whose memory may be reused, if this node is the last one to read it. By default any input
                may be reused by an operator that ``overwrites_input``.
            order: the order of its axes in memory; by default row-major, or that of an input where the operator
                ``keeps_layout``.
        """

    @abstractmethod
    def view(self, array: Array, index: int = 0) -> None:
        """Make output ``index`` a view of an input, ``array``: it costs nothing when the plan runs."""

    @abstractmethod
    def compiled(self, body: Graph, types: Types, captured: NamedArrays) -> Compiled:
        """A body ready to run: its inputs and what it reads from outside have ``types``, and the latter are arrays."""

    @abstractmethod
    def scratch(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Uninitialised work memory for the steps of this node; other nodes reuse it."""

    @abstractmethod
    def own(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Zero-initialised memory of this node alone, kept from run to run."""

    @abstractmethod
    def derived(self, index: int, kind: str, shape: tuple[int, ...]) -> tuple[Array, bool]:
        """A zero-initialised buffer for a copy of input ``index``, and whether this node has to fill it.

        The buffer is shared by all nodes that ask for this ``kind`` of copy; the first one fills it.
        """

    @abstractmethod
    def filled(self, shape: tuple[int, ...], dtype: Any, value: float) -> Array:
        """A shared read-only array that holds ``value`` everywhere."""

    def in_order(self, array: Array, dtype: Any = None) -> tuple[Array, list[Step]]:
        """``array`` in row-major order and of type ``dtype``: itself, or a copy, and the step that makes that."""
        dtype = dtype or array.dtype
        if array.dtype == dtype and array.flags.c_contiguous:
            return array, []
        copy = self.scratch(array.shape, dtype)
        return copy, [partial(np.copyto, copy, array)]

    def scratch_like(self, array: Array, dtype: Any = None) -> Array:
        """Work memory of the shape and memory layout of ``array``: numpy is slow where layouts differ."""
        order = memory_order(array)
        return laid_in(order, self.scratch(tuple(array.shape[axis] for axis in order), dtype or array.dtype))

    def filled_like(self, array: Array, value: float) -> Array:
        """``filled`` of the shape and memory layout of ``array``."""
        order = memory_order(array)
        return laid_in(order, self.filled(tuple(array.shape[axis] for axis in order), array.dtype, value))


def memory_order(array: Array) -> Order:
    """The axes of ``array`` from the largest stride to the smallest."""
    return tuple(sorted(range(array.ndim), key=lambda axis: -array.strides[axis]))


def laid_in(order: Order, array: Array) -> Array:
    """``array``, whose axes are in ``order``, transposed to their usual order."""
    return array.transpose([order.index(axis) for axis in range(len(order))])


def is_dense(array: Array) -> bool:
    """True if the elements are contiguous in memory, with the axes in any order."""
    return array.flags.c_contiguous or array.transpose(memory_order(array)).flags.c_contiguous


class Interval(NamedTuple):
    """A closed interval that sample inputs are drawn from."""

    low: float
    high: float

    def within(self, other: Interval | None) -> Interval:
        """The intersection of both; this interval where that is empty."""
        if other is None:
            return self
        both = Interval(max(self.low, other.low), min(self.high, other.high))
        return both if both.low <= both.high else self


class Limit(NamedTuple):
    """An option of an operator that some runtime lacks, ignores or implements differently.

    ``applies`` is given a use and the shape of its first output, ``None`` where that is unknown; the attributes of the
    use are those of the file, whose opset may be an older one. A limit with ``before`` holds below that opset alone.
    One with ``after`` holds at the end of such a chain of operators (``core.graph.links``), which a runtime takes for
    another operator; portable files have an Identity in it. The level ``known`` is reported where a runtime has failed.
    """

    option: str
    applies: Callable[[OperatorContext, Shape | None], bool]
    problem: str
    hint: str
    level: Literal["error", "warning", "note", "known"] = "warning"
    before: int | None = None
    after: tuple[str, ...] = ()


Family: TypeAlias = Literal["linear", "normalization", "activation", "reduction", "arithmetic", "layout"]
"""The families of operators: products with matrices or kernels, normalizations, activation functions, pools and
reductions, other arithmetic, and everything that moves, makes or converts elements."""

Infer: TypeAlias = Callable[[OperatorContext], Type | tuple[Type, ...]]
Kernel: TypeAlias = Callable[[KernelContext], Iterable[Step] | Step | None]
Constant: TypeAlias = Callable[[OperatorContext, Type], tuple[Dim | float, ...]]


Ends: TypeAlias = tuple[tuple[Dim, Dim], ...]
"""The smallest and the largest number of a whole-number value: for each place along its last axis, or once for all."""

APART: Final = 8
"""The most places for which they are followed apart, as those of the coordinates of GatherND are."""

CALL: Final = 10_000
"""The number of elements that a step of a loop in Python counts as: ten microseconds."""


@dataclass(frozen=True)
class Portability:
    """The facts about an operator that runtimes and versions of the standard make, and not its mathematics.

    Args:
        substitute: takes a use and an opset that has the operator, and gives the function of symbols, like a
            ``lowering``, that the use is written as in ONNX files; ``None`` where it is written as it is. For uses that
            onnxruntime 1.32 has no kernel for, refuses, or computes wrongly.
        portable: takes a use, and gives what it is written as in portable files, in the manner of ``substitute``: for
            uses that one of the runtimes of ``docs/conformance.md`` lacks or computes wrongly, where all of them have
            the parts.
        limits: options that some runtimes lack or implement differently.
        aborts_on_empty: onnxruntime 1.32 ends the process where an input has no elements.
        coarse: onnxruntime 1.32 is off by far more than rounding in single precision, and not in double.
        since: the opset since which an attribute may have a value, where that is newer than the attribute.
        former_names: names under which older opsets have it.
    """

    substitute: Callable[[OperatorContext, int], Callable[..., Any] | None] | None = None
    portable: Callable[[OperatorContext], Callable[..., Any] | None] | None = None
    limits: tuple[Limit, ...] = ()
    aborts_on_empty: bool = False
    coarse: bool = False
    since: Mapping[tuple[str, str], int] = field(default_factory=dict)
    former_names: tuple[str, ...] = ()


EVERYWHERE: Final = Portability()
"""The facts about an operator that runtimes and versions treat alike."""


@dataclass(frozen=True)
class Operator:
    """An operator: its signature in the standard's names, its rules, and the facts that other modules read.

    Args:
        name: its name in the standard.
        inputs: formal names; one that ends in ``?`` may be absent, in ``*`` may repeat.
        infer: gives the types of the outputs of a use, or raises ``InvalidNode``.
        kernel: gives the numpy calls that compute a use.
        gradient: takes a ``GradientContext`` and returns the gradients of the inputs as symbols; ``None`` where nothing
            flows back, ``"lowering"`` for the gradient of the lowering.
        attributes: by name.
        outputs: formal names; one that ends in ``*`` may repeat.
        domain: empty for the standard, ``INTERNAL`` for the operators of this package.
        training: makes the nodes that replace a use while training, from its inputs, attributes and name.
        state: which output becomes the next value of which input, as running statistics do while training.
        truncated: makes the nodes that replace a use while training, as ``training`` does, where ``truncation`` is the
            number of steps through which a gradient flows back.
        streamed: takes a use and gives the form of it that is given a sequence in parts; ``None`` where it keeps
            nothing from step to step. Raises ``InvalidNode`` where there is none.
        lowering: the same in standard operators of opset 13; every operator of another domain has one, and so have
            standard ones that are newer.
        stored: the version of the weight format that a file with it has, where that is not the oldest one; 0 for one
            of this package that no file may have.
        portability: what runtimes and older versions of the standard make of it.
        constant: constant propagation, for outputs of at most one axis: the elements of the first output, where
            those of all inputs are known.
        family: what it does.
        elementwise: each element of an output is computed from the elements at its place in the inputs, which
            broadcast. So examples do not mix, and receptive fields do not grow.
        overwrites_input: the kernel may write its output over an input of the same shape and element type.
        keeps_layout: outputs have their axes in memory in the order of the inputs; otherwise they are row-major.
        batch_inputs: which inputs may have the batch as their first axis and each example is still computed by itself
            (but see ``engines/apart.py`` for attributes that change that).
        mixes: takes a use and gives the sizes of axes along which it combines elements, such as the steps of a
            recurrence: what lies along such an axis are no examples.
        receptive: takes a ``FieldContext`` and returns the receptive fields of the first output, or ``None``.
        window: kind and mode of a convolution or pool, as ``sizes`` has them.
        multiply_adds: takes a use and the shape of its first output; the product of what it returns is the number of
            multiply-adds. One of the family ``linear`` without this is reported as not counted.
        visits: takes a use and the shape of its first output; the product of what it returns is the number of elements
            that the kernel goes through, where that is far more than those of inputs and outputs: of a window, or of a
            loop, whose numpy calls count as ``CALL`` each.
        polynomial: outputs are ratios of polynomials of the inputs, or powers: functions without jumps and kinks.
        monotone: f(max(a, b)) = max(f(a), f(b)) for all elements, to the last bit; may depend on the attributes.
        probabilities: outputs are probabilities.
        summary: what it makes of all elements that it reduces or pools, where heads of networks do so.
        weights: inputs that training changes: constants there are weights, however small.
        entries: takes a use of one with bodies, and gives the types of a body's inputs.
        settings: inputs that are options, not data: no training changes them, and some decide a shape.
        passes: inputs whose elements are, or may be, elements of the outputs.
        indexes: for inputs whose elements are indices, a rule for the sizes that they count along: one for each place
            along the last axis, or one for all.
        ends: takes a use and the ``Ends`` of its inputs, and gives those of its output, where that does not follow from
            ``passes`` and ``affine``; ``None`` where they are unknown.
        affine: for each input on which the output depends as a·x + b, where the others are constants, the function of
            all inputs in numpy.
        samples: the interval that sample values of an input are drawn from, or a rule for it; of whole numbers
            without one, any small ones go into arithmetic.
        of_shape: it reads nothing of its input but the shape.
        rearranges: its outputs together have each element of its first input once.
        unsized: takes a use whose sizes are data-dependent (``infer`` has raised ``DataDependentShape``) and gives the
            types of its outputs, with ``dims.opened`` for such sizes. The kernel is called once all inputs are known.
    """

    name: str
    inputs: tuple[str, ...]
    infer: Infer
    kernel: Kernel
    gradient: Callable[[Any], Any] | Literal["lowering"] | None
    attributes: Mapping[str, Attr] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("output",)
    domain: str = ""
    training: Callable[..., Sequence[Any]] | None = None
    state: Mapping[int, int] = field(default_factory=dict)
    truncated: Callable[..., Sequence[Any]] | None = None
    streamed: Callable[[OperatorContext], Streamed | None] | None = None
    lowering: Callable[..., Any] | None = None
    stored: int = 0
    portability: Portability = EVERYWHERE
    constant: Constant | None = None
    family: Family = "layout"
    elementwise: bool = False
    overwrites_input: bool = False
    keeps_layout: bool = False
    batch_inputs: Literal["none", "first", "all"] = "none"
    mixes: Callable[[OperatorContext], Iterable[Dim]] | None = None
    receptive: Callable[[Any], Fields | None] | None = None
    window: tuple[Kind, Mode] | None = None
    multiply_adds: Callable[[OperatorContext, Shape], Iterable[Dim]] | None = None
    visits: Callable[[OperatorContext, Shape], Iterable[Dim]] | None = None
    polynomial: bool = False
    monotone: bool | Callable[[Mapping[str, Attribute]], bool] = False
    probabilities: bool = False
    summary: Literal["mean", "max"] | None = None
    weights: tuple[int, ...] = ()
    entries: Callable[[OperatorContext], Sequence[Type]] | None = None
    settings: tuple[int, ...] = ()
    passes: Sequence[int] = ()
    indexes: Mapping[int, Callable[[OperatorContext], Shape]] = field(default_factory=dict)
    ends: Callable[[OperatorContext, Sequence[Ends | None]], Ends | None] | None = None
    affine: Mapping[int, Callable[..., Any]] = field(default_factory=dict)
    samples: Mapping[int, Interval | Callable[[OperatorContext], Interval | None]] = field(default_factory=dict)
    of_shape: bool = False
    rearranges: bool = False
    unsized: Callable[[OperatorContext], Type | tuple[Type, ...]] | None = None

    @property
    def moves(self) -> bool:
        """True if the operator moves elements, and computes none."""
        return self.family == "layout" and bool(self.passes)

    def input_name(self, index: int) -> str:
        """The formal name of input ``index``."""
        return self.inputs[min(index, len(self.inputs) - 1)].rstrip("?*")

    def output_name(self, index: int) -> str:
        """The formal name of output ``index``, numbered where it repeats."""
        repeats = index - len(self.outputs) + 1
        name = self.outputs[min(index, len(self.outputs) - 1)].rstrip("*")
        return f"{name}_{repeats}" if repeats > 0 else name

    def check(self, attributes: Mapping[str, Attribute], inputs: Sequence[object], outputs: int) -> None:
        """Raise ``InvalidNode`` for a wrong attribute, or a wrong number of inputs or outputs."""
        for name, value in attributes.items():
            known = self.attributes.get(name)
            if known is None:
                raise InvalidNode(
                    f"attribute '{name}' is not one of {self.name}'s ({', '.join(self.attributes) or 'none'})"
                )
            if not known.takes(value):
                raise InvalidNode(f"attribute '{name}' must be of type {known}, not {value!r}")
        missing = [n for n, a in self.attributes.items() if a.default is REQUIRED and n not in attributes]
        if missing:
            raise InvalidNode(f"attribute '{missing[0]}' is missing")
        _check_count(f"{self.name} takes", "input", self.inputs, len(inputs), sum(n[-1] != "?" for n in self.inputs))
        _check_count(f"{self.name} has", "output", self.outputs, outputs)


def _check_count(verb: str, noun: str, formal: Sequence[str], count: int, least: int = 1) -> None:
    """Raise ``InvalidNode`` for fewer than ``least``, or more than the ``formal`` names, whose last one may repeat."""
    repeats = bool(formal) and formal[-1].endswith("*")
    if count < least or (count > len(formal) and not repeats):
        wanted = f"{least} or more" if repeats else f"{least}" if least == len(formal) else f"{least} to {len(formal)}"
        raise InvalidNode(f"{verb} {wanted} {noun}{'' if wanted == '1' else 's'}, not {count}")


REGISTRY: dict[tuple[str, str], Operator] = {}

OPAQUE: dict[str, Callable[[str], Operator]] = {}
"""By the domain in its name, what makes the operator of a node that onnxruntime runs (see ``opaque.nodes``)."""

ALL: Final = range(2**31)
"""All inputs of an operator that takes any number of them."""


def register(operator: Operator) -> Operator:
    """Put ``operator`` into the table; a second one of the same name is a programming error."""
    key = (operator.domain, operator.name)
    if key in REGISTRY:
        raise ValueError(f"operator {operator.name} is registered twice")
    REGISTRY[key] = operator
    return operator


def lookup(name: str, domain: str = "") -> Operator:
    """The operator of that name. Raises ``InvalidNode`` for an unknown one."""
    found = REGISTRY.get((domain, name)) or _opaque(name, domain)
    if found is None:
        full = f"{domain}.{name}" if domain else name
        raise InvalidNode(f"operator '{full}' is not supported")
    return found


def _opaque(name: str, domain: str) -> Operator | None:
    make = OPAQUE.get(name.rpartition(".")[0]) if domain == INTERNAL else None
    return make(name) if make else None


def operator_of(node: Node) -> Operator:
    """The operator of a node. Raises ``InvalidNode`` for an unknown one."""
    return lookup(node.operator, node.domain)


def types_read(node: Node, types: Types) -> list[Type | None]:
    """The types of the inputs of a node; ``None`` for one that is left out, or whose type is not known."""
    return [types.get(name) if name else None for name in node.inputs]


def use_of(node: Node, types: Types) -> OperatorContext:
    """The use of an operator by a node, with the inputs whose types are known."""
    return OperatorContext(operator_of(node), types_read(node, types), node.attributes, len(node.outputs))


def window_kind(name: str, domain: str) -> Kind | None:
    """The kind of a convolution or pool; ``None`` for other operators."""
    operator = find(name, domain)
    return operator.window[0] if operator and operator.window else None


def current_name(name: str) -> str:
    """The name that a standard operator has today: ``Resize`` for ``Upsample``."""
    if ("", name) in REGISTRY:
        return name
    return next((operator.name for operator in REGISTRY.values() if name in operator.portability.former_names), name)


def find(name: str, domain: str = "") -> Operator | None:
    """The operator of that name, which may be a former one, or ``None``."""
    return REGISTRY.get((domain, name if domain else current_name(name))) or _opaque(name, domain)


def known_operator(node: Node) -> Operator | None:
    """The operator of a node, which may have a former name, or ``None``."""
    return find(node.operator, node.domain)


def is_of_shape(name: str) -> bool:
    """True if an operator of the standard reads nothing of its input but the shape."""
    operator = find(name)
    return operator is not None and operator.of_shape


def family(name: str, domain: str = "") -> Family | None:
    """The family of an operator; ``None`` of an unknown operator of another domain.

    One that is not registered is of the family of what it is a form of, as QLinearConv is of Conv, or ``layout``.
    """
    operator = find(name, domain) or find(re.sub("QLinear|Integer|Roi", "", name), domain)
    return operator.family if operator else None if domain else "layout"
