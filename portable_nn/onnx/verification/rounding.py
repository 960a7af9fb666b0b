"""Bounds of rounding errors: how far two right implementations may part on the same nodes and inputs.

A running error analysis (Higham, *Accuracy and Stability of Numerical Algorithms*, chapter 3): nodes are computed in
float64, each value beside a bound of its error where every operation rounds to a unit u. A sum of n products has at
most γ(n)·Σ|a||b| with γ(n) = n·u / (1 - n·u), in any order; a function of a library has the error that was measured of
it; an operator that only moves elements has none. Operators that are made of others are bounded as these. Beside this
*guaranteed* bound stands the *likely* one: roundings of either sign grow as λ√n, and exceed that with a probability of
at most 2n·exp(-λ²/2) (Higham and Mary, SIAM J. Sci. Comput. 41, 2019), here with λ = 6: below 10⁻⁴ for n = 1,000.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from msgspec.structs import replace

from portable_nn.core.errors import GraphError
from portable_nn.core.graph import Graph, Node, Value, bodies, own_inputs
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.engines.once import run_numpy, run_plan
from portable_nn.engines.plan import Plan
from portable_nn.onnx.reading import decides_shapes
from portable_nn.onnx.storage.tensors import literal
from portable_nn.onnx.verification.differences import gaps
from portable_nn.onnx.wide import only_narrow, wide_node
from portable_nn.operators import (
    InvalidNode,
    OperatorContext,
    Symbol,
    Type,
    emit,
    infer,
    integers,
    known_operator,
    lookup,
)
from portable_nn.operators.costs import multiply_adds, volume
from portable_nn.operators.inference import add_types
from portable_nn.operators.linear.fourier import transform
from portable_nn.operators.normalization.statistics import per_channel
from portable_nn.operators.rounding import ROUNDING
from portable_nn.rewrites.lowering import form_of
from portable_nn.rewrites.scope import Scope

LAMBDA: Final = 6.0
"""The λ of likely bounds."""

SUSPICIOUS: Final = 10.0
"""The multiple of the likely bound from which on a difference is suspicious."""

TINY: Final = float(np.finfo(np.float32).tiny)
"""Smaller numbers may become 0."""

FUSED: Final = 2.0
"""The units in the last place of 1 that a function within another operator may be off by."""


class Bounded(NamedTuple):
    """A value in float64, and bounds of the error of each element: ``errors[0]`` guaranteed, ``errors[1]`` likely."""

    value: Array
    errors: Array


class Unbounded(Exception):  # noqa: N818 - never leaves the package: there is no bound then
    """A node of which no bound is known."""


def bounds(
    graph: Graph,
    parameters: NamedArrays,
    feeds: NamedArrays,
    off: Mapping[str, float] = MappingProxyType({}),
    *,
    steps: bool = False,
) -> dict[str, Bounded]:
    """The outputs of a graph with bounds of the errors of one implementation.

    Two implementations are at most twice as far apart. ``feeds`` and ``parameters`` are exact but for those that are
    ``off`` by so much in each element. With ``steps``, what is quantised counts as a number that was rounded to a step.

    Raises ``Unbounded`` with the first node that has no bound, and ``GraphError`` where shapes do not fit.
    """
    known = {name: exact(array, off.get(name, 0.0)) for name, array in {**parameters, **feeds}.items()}
    for node in graph.nodes:
        if node.operator == "Constant" and (name := node.outputs[0]) in off:
            known[name] = exact(_constant(node), off[name])
    return _outputs(graph, known, steps=steps)


def explained(graph: Graph, parameters: NamedArrays, feeds: NamedArrays, output: str) -> Array | None:
    """The distance of two implementations that their roundings probably explain, for each element of an output.

    Only for graphs whose nodes are exact or sums of products, in float32 or float64: of others, such as normalisations
    of nearly equal numbers, and of float16, which kernels sum in float32, bounds are so wide that they would excuse
    faults. ``None`` there.
    """
    nodes = [node for node in graph.nodes if node.operator != "Constant"]
    kinds = {ROUNDING[node.operator].kind for node in nodes if node.operator in ROUNDING and not node.domain}
    known = all(node.operator in ROUNDING or ((each := known_operator(node)) and each.moves) for node in nodes)
    narrow = any(value.dtype == "float16" for value in (*graph.inputs, *graph.parameters))
    if narrow or not known or not kinds <= {"exact", "sum"}:
        return None
    try:
        errors = bounds(graph, parameters, {value.name: feeds[value.name] for value in graph.inputs})[output].errors
    except (Unbounded, GraphError):
        return None
    return np.asarray(2 * errors[1])


def _outputs(graph: Graph, known: dict[str, Bounded], *, steps: bool = False) -> dict[str, Bounded]:
    shapes = {value.name: known[value.name].value.shape for value in graph.inputs}
    scope = Scope.of(graph, dict(infer(graph, shapes).types))
    for node in graph.nodes:
        (_add_stepped if steps and is_quantised(node.operator) else _add)(node, known, scope)
    return {name: known[name] for name in graph.outputs}


_QUANTISED: Final = re.compile("^(De|Dynamic)?[Qq]uantize|QLinear|(MatMul|Conv)Integer|^QGemm$")


def is_quantised(operator: str) -> bool:
    """True for operators that round numbers to the steps of whole ones, or compute with such."""
    return _QUANTISED.search(operator) is not None


def _add_stepped(node: Node, known: dict[str, Bounded], scope: Scope) -> None:
    """Add what a quantised node computes, where whole numbers are the real ones that were rounded to them.

    Products of whole numbers are exact: they are bounded as the products of floats that they are made of.
    """
    if rule := _STEPPED.get(node.operator.removesuffix("Linear")):
        known |= zip(node.outputs, rule(node, known, scope), strict=False)
        return
    form = lookup(node.operator).lowering
    for part in scope.spliced(node, form) if form else ():
        if part.operator == "Cast":  # Into another type, without a rounding.
            x = known[part.inputs[0]]
            known[part.outputs[0]] = Bounded(x.value.astype(np.float64), x.errors)
        elif is_quantised(part.operator):
            _add_stepped(part, known, scope)
        else:
            _add(part, known, scope, (node.operator,))


def _beside(node: Node, known: Mapping[str, Bounded]) -> tuple[Bounded, Array, Array]:
    """The number in a node, its scale and its zero point."""
    x, *settings = (known[name] for name in node.inputs if name)
    axis, rank = node.attributes.get("axis", 1), x.value.ndim
    around = [1] * rank
    if rank and isinstance(axis, int):
        around[axis % rank] = -1
    if node.attributes.get("block_size"):
        raise Unbounded(str(node))
    scale, zero = (
        each.value.astype(np.float64).reshape(around if each.value.size > 1 else ()) for each in (*settings, _ZERO)[:2]
    )
    return x, scale, zero


def _to_steps(node: Node, known: Mapping[str, Bounded], scope: Scope) -> list[Bounded]:
    """A number in steps before it is rounded to a whole one: off by half a step.

    What saturates has no such error: that is not explained, unless the number is given, and so compared before.
    """
    x, scale, zero = _beside(node, known)
    value, kind = x.value / scale + zero, np.dtype(scope.types[node.outputs[0]].dtype)
    if kind.kind not in "iu":
        raise Unbounded(str(node))
    limits = np.iinfo(kind)
    beyond = np.maximum(value - limits.max, limits.min - value) - 0.5 - STEP
    half = np.where(beyond < 0, 0.5, 0.0 if x.errors.any() else beyond + 0.5)
    return [Bounded(value, x.errors / scale + half + STEP)]


def _from_steps(node: Node, known: Mapping[str, Bounded], scope: Scope) -> list[Bounded]:
    """The number that one in steps stands for."""
    x, scale, zero = _beside(node, known)
    value = (x.value.astype(np.float64) - zero) * scale
    return [Bounded(value, x.errors * scale + UNIT * np.abs(value))]


def _to_own_steps(node: Node, known: Mapping[str, Bounded], scope: Scope) -> list[Bounded]:
    """A number in steps of its own range, with their scale and zero point."""
    x = known[node.inputs[0]]
    low, high = (float(found(x.value, initial=0.0)) for found in (np.min, np.max))
    scale = (high - low) / 255 or 1.0
    zero = np.asarray(round(-low / scale))
    off = 2 * x.errors.reshape(2, -1).max(axis=1, initial=0.0) / 255 + UNIT * scale
    errors = (x.errors + off.reshape(2, *[1] * x.value.ndim) * np.abs(x.value) / scale) / scale + 0.5 + STEP
    return [Bounded(x.value / scale + zero, errors), Bounded(np.asarray(scale), off), exact(zero)]


_STEPPED: Final[Mapping[str, Callable[[Node, Mapping[str, Bounded], Scope], list[Bounded]]]] = {
    "Quantize": _to_steps,
    "Dequantize": _from_steps,
    "DynamicQuantize": _to_own_steps,
}
"""Operators between numbers and their steps, without what their names end in."""

STEP: Final = 1e-4
"""The share of a step by which its end may be off, as quotients are rounded."""

UNIT: Final = float(np.finfo(np.float32).eps)
"""The unit in the last place of 1."""

_ZERO: Final = Bounded(np.zeros(()), np.zeros(2))
"""The point of 0 where none is given."""


def _constant(node: Node) -> Array:
    return run_numpy(replace(_NOTHING, outputs=node.outputs, nodes=(node,)), {}, {})[node.outputs[0]]


def exact(array: Array, off: float = 0.0) -> Bounded:
    """A value without an error, or ``off`` by so much in each element."""
    value = array.astype(np.float64) if array.dtype.kind == "f" or off else array
    return Bounded(value, np.full((2, *value.shape), off))


def _add(node: Node, known: dict[str, Bounded], scope: Scope, above: tuple[str, ...] = ()) -> None:
    """Add what a node computes to the values that are ``known``; ``above`` are the operators that it is a part of."""
    if node.operator == "Constant":
        if node.outputs[0] not in known:
            known[node.outputs[0]] = exact(_constant(node))
        return
    if node.operator == "If":
        known |= zip(node.outputs, _taken(node, known, scope).values(), strict=True)
        return
    use = _Use(node, known, scope, fused=bool(above))
    rule = None if node.domain else _rule(use)
    if rule is None:
        _add_parts(use, known, scope, above)
        return
    with np.errstate(all="ignore"):
        made = rule(use)
    for name, value, found in zip(filter(None, node.outputs), use.values, made, strict=True):
        known[name] = Bounded(value, np.nan_to_num(found, nan=math.inf, posinf=math.inf))
        if name not in scope.types:
            add_types(node, scope.types)


def _add_parts(use: _Use, known: dict[str, Bounded], scope: Scope, above: tuple[str, ...]) -> None:
    """Add what the parts of a node compute."""
    node = use.node
    form = FORMS.get(node.operator) or form_of(use.context)
    if form is None or node.operator in above or any(True for _ in bodies(node)):
        raise Unbounded(str(node))
    try:
        parts = scope.spliced(node, form)
    except (GraphError, InvalidNode) as error:
        raise Unbounded(f"{node}: {error}") from None
    for part in parts:
        _add(part, known, scope, (*above, node.operator))
    if node.operator == "Resize":  # The places of cells are rounded as well, and with them the weights.
        value, errors = known[node.outputs[0]]
        known[node.outputs[0]] = Bounded(value, errors + 8 * use.unit * max(value.shape) * np.abs(value).max(initial=0))


def _taken(node: Node, known: Mapping[str, Bounded], scope: Scope) -> dict[str, Bounded]:
    """The outputs of the branch that is taken."""
    taken = "then_branch" if known[node.inputs[0]].value.all() else "else_branch"
    start, found = len(own_inputs(node)), dict[str, Bounded]()
    for name, body in bodies(node):
        read = node.inputs[start : start + len(body.parameters)]
        start += len(read)
        if name == taken:
            inner = {each.name: known[outer] for each, outer in zip(body.parameters, read, strict=True)}
            inputs = tuple(
                Value(each, scope.types[outer].dtype, inner[each].value.shape)
                for each, outer in zip(inner, read, strict=True)
            )
            found = _outputs(replace(body, inputs=inputs, parameters=()), inner)
    return found


def _rule(use: _Use) -> Rule | None:
    if use.node.operator in _OWN:
        return _OWN[use.node.operator]
    known = ROUNDING.get(use.node.operator)
    return _KINDS[known.kind] if known else _ends if use.operator.moves else None


_NOTHING: Final = Graph((), (), (), ())


class _Use:
    """A node with its inputs; ``values`` are its outputs in float64. It is ``fused`` where it is a part of another."""

    def __init__(self, node: Node, known: Mapping[str, Bounded], scope: Scope, *, fused: bool) -> None:
        operator = known_operator(node)
        if operator is None:
            raise Unbounded(str(node))
        self.node, self.operator, self.context, self.fused = node, operator, scope.use(node), fused
        self.scope, self.x = scope, {name: known[name] for name in node.inputs if name}
        self._plans = dict[bool, Plan]()

    @property
    def values(self) -> list[Array]:
        """The outputs."""
        if not hasattr(self, "_values"):
            self._values = self.run({name: each.value for name, each in self.x.items()})
        return self._values

    @property
    def floats(self) -> list[np.finfo[Any]]:
        """The limits of the float types among inputs and outputs."""
        names = [name for name in (*self.node.inputs, *self.node.outputs) if name in self.scope.types]
        kinds = [np.dtype(self.scope.types[name].dtype) for name in names]
        return [np.finfo(kind) for kind in kinds if kind.kind == "f"]

    @property
    def unit(self) -> float:
        """The unit of rounding: that of the coarsest float type."""
        return max((float(each.eps) / 2 for each in self.floats), default=0.0)

    @property
    def tiny(self) -> float:
        """The least number of float16 above 0, of which others near it are multiples; for wider types ``TINY``."""
        return 2.0**-24 if any(each.bits == 16 for each in self.floats) else TINY

    def growth(self, terms: float) -> Array:
        """γ of a sum of so many terms: guaranteed, and likely."""
        counts = np.array([terms, min(terms, LAMBDA * math.sqrt(terms))]) * self.unit
        return np.where(counts < 1, counts / (1 - counts), math.inf)

    def run(self, arrays: NamedArrays, *, magnitudes: bool = False) -> list[Array]:
        """The outputs for other inputs; of their ``magnitudes``, with nothing subtracted."""
        if magnitudes not in self._plans:
            self._plans[magnitudes] = self._plan(magnitudes=magnitudes)
        made = run_plan(self._plans[magnitudes], arrays)
        return [made[name].copy() for name in self.node.outputs if name]

    def _plan(self, *, magnitudes: bool) -> Plan:
        node, narrow = wide_node(self.node), only_narrow(self.node)
        if magnitudes:
            signs = {name: abs(value) for name, value in node.attributes.items() if isinstance(value, float)}
            node = replace(node, operator="Add" if node.operator == "Sub" else node.operator)
            node = replace(node, attributes={**node.attributes, **signs})
        inputs, constants = list[Value](), list[Node]()
        for name, each in self.x.items():
            narrowed = name in narrow and each.value.dtype.kind == "f"
            array = each.value.astype(np.float32) if narrowed else each.value
            setting = name in {self.node.inputs[place] for place in self.operator.settings if place < len(node.inputs)}
            if setting or narrowed or decides_shapes(array):
                constants.append(Node(f"{name} value", "Constant", (), (name,), {"value": literal(array)}))
            else:
                inputs.append(Value(name, array.dtype.name, array.shape))
        outputs = tuple(filter(None, node.outputs))
        graph = Graph(tuple(inputs), outputs, (), (*constants, node))
        return Plan(graph, {value.name: value.shape for value in inputs}, {}, rewrites=())

    def moved(self, kind: int, sign: int) -> list[Array]:
        """The outputs where all inputs are off by their errors."""
        return self.run(
            {
                name: each.value + sign * each.errors[kind] if each.value.dtype.kind == "f" else each.value
                for name, each in self.x.items()
            }
        )


Form: TypeAlias = Callable[..., Symbol | Sequence[Symbol]]
Rule: TypeAlias = Callable[[_Use], Sequence[Array]]


def _ends(use: _Use) -> list[Array]:
    """The errors that inputs bring to an operator which is monotone in each of them, or convex in one."""
    found = [np.zeros((2, *value.shape)) for value in use.values]
    if any(each.errors.any() for each in use.x.values()):
        for kind, sign in ((0, 1), (0, -1), (1, 1), (1, -1)):
            for error, value, moved in zip(found, use.values, use.moved(kind, sign), strict=True):
                apart = gaps(moved, value) if moved.shape == value.shape else math.inf
                error[kind] = np.maximum(error[kind], apart)
    return found


def _function(use: _Use) -> list[Array]:
    """The errors of a function of a library, as they were measured."""
    measured = ROUNDING[use.node.operator]
    x = np.abs(next(iter(use.x.values())).value) if measured.of_input else 0.0
    # Kernels of fused operators have functions of their own, which are near 0 as far off as near 1.
    absolute = max(measured.absolute, FUSED if use.fused else 0.0)
    last_place = 2 * use.unit
    return [
        error + last_place * (measured.relative * np.abs(value) + measured.of_input * x + absolute) + use.tiny
        for error, value in zip(_ends(use), use.values, strict=True)
    ]


def _products(use: _Use) -> list[Array]:
    """The errors of sums of products: they have as many roundings as terms, of the sums of the magnitudes."""
    sizes = {name: np.abs(each.value) if each.value.dtype.kind == "f" else each.value for name, each in use.x.items()}
    within = use.run(sizes, magnitudes=True)
    most = max((each.value.size for each in use.x.values()), default=1)
    several = (multiply_adds(use.node, use.scope.types) or most) / max(1, volume(use.values[0].shape))
    terms = 2 + (most if ROUNDING[use.node.operator].kind == "scan" else max(several, len(use.x)))
    growth, found = use.growth(terms), [np.empty((2, *value.shape)) for value in use.values]
    for kind in (0, 1):
        off = {
            name: size + use.x[name].errors[kind] if size.dtype.kind == "f" else size for name, size in sizes.items()
        }
        for error, size, moved in zip(found, within, use.run(off, magnitudes=True), strict=True):
            error[kind] = growth[kind] * moved + (moved - size) + terms * use.tiny
    return found


def _quotient(use: _Use) -> list[Array]:
    """The errors of a quotient: both inputs move it."""
    one, other = (use.x[name] for name in use.node.inputs)
    [value] = use.values
    if value.dtype.kind != "f":
        return [np.zeros((2, *value.shape))]
    size, found = np.abs(value), np.empty((2, *value.shape))
    for kind in (0, 1):
        left = np.abs(other.value) - other.errors[kind]
        off = (one.errors[kind] + size * other.errors[kind]) / left
        found[kind] = np.where(left > 0, off, math.inf) + use.unit * size + use.tiny
    return [found]


def _local_response(use: _Use) -> list[Array]:
    """The errors of a local response normalisation: a sum of the squares of ``size`` channels, and a power of it."""
    if any(each.errors.any() for each in use.x.values()):
        raise Unbounded(str(use.node))
    size, beta = use.context.int("size"), use.context.float("beta")
    [value], [x] = use.values, use.x.values()
    # Where the power is an exponential, its argument is rounded too.
    powers = 1 + np.abs(np.log(np.abs(np.where(value, x.value / np.where(value, value, 1), 1))))
    growth = use.growth((size + 16) * max(1.0, beta)).reshape(2, *[1] * value.ndim)
    return [growth * powers * np.abs(value) + use.tiny]


def _transformed(use: _Use) -> list[Array]:
    """The errors of a Fourier transform, whose algorithms add all numbers of a signal up in each: as if each wave were
    1 everywhere."""
    x, given = use.x[use.node.inputs[0]], [use.x[name].value if name else None for name in use.node.inputs]
    types = [
        None if each is None else Type(each.dtype.name, each.shape, tuple(each.ravel().tolist()) if place else None)
        for place, each in enumerate(given)
    ]
    found = transform(OperatorContext(use.operator, types, use.node.attributes))
    along, length = (found.axis - x.value.ndim, -1), float(found.length)
    share = (1 + use.context.int("onesided")) / length if use.context.int("inverse") else 1.0
    growth = use.growth(2 * length + 2).reshape(2, *[1] * x.value.ndim)
    errors = growth * np.abs(x.value).sum(along, keepdims=True) + x.errors.sum(along, keepdims=True)
    return [np.broadcast_to(share * errors, (2, *use.values[0].shape)) + use.tiny]


_OWN: Final[Mapping[str, Rule]] = {"LRN": _local_response, "DFT": _transformed}
"""Operators with a rule of their own."""


def _scanned(use: _Use) -> list[Array]:
    """The errors of sums of up to all elements; an operator that puts elements into an array may only move them."""
    adds = use.node.attributes.get("reduction", "none") in ("add", "mul") or use.operator.family != "layout"
    return list((_products if adds or use.node.operator == "Col2Im" else _ends)(use))


_KINDS: Final[Mapping[str, Rule]] = {
    "exact": _ends,
    "sum": _products,
    "scan": _scanned,
    "quotient": _quotient,
    "function": _function,
}

FORMS: Final[dict[str, Form]] = {}
"""The operators that are bounded as others, where their lowering says nothing of rounding or there is none."""


def _form(operator: str) -> Callable[[Form], Form]:
    """Put the form of an operator into the table."""
    return lambda form: FORMS.setdefault(operator, form)


@_form("Softmax")
def _softmax(x: Symbol, *, axis: int = -1) -> Symbol:
    exponential = emit("Exp", x - emit("ReduceMax", x, integers([axis]), keepdims=1))
    return exponential / emit("ReduceSum", exponential, integers([axis]), keepdims=1)


@_form("LogSoftmax")
def _log_softmax(x: Symbol, *, axis: int = -1) -> Symbol:
    less = x - emit("ReduceMax", x, integers([axis]), keepdims=1)
    return less - emit("Log", emit("ReduceSum", emit("Exp", less), integers([axis]), keepdims=1))


def _standardized(x: Symbol, axes: Sequence[int], epsilon: float) -> tuple[Symbol, Symbol, Symbol]:
    """Standardised values, the mean and 1/σ. The variance is the mean of the squares less the square of the mean, as no
    other way to it has larger errors."""
    mean, squares = (emit("ReduceMean", each, integers(axes), keepdims=1) for each in (x, x * x))
    inverse = emit("Reciprocal", emit("Sqrt", squares - mean * mean + epsilon))
    return (x - mean) * inverse, mean, inverse


@_form("LayerNormalization")
def _layer(
    x: Symbol, scale: Symbol, bias: Symbol | None = None, *, axis: int = -1, epsilon: float = 1e-5, **_: object
) -> list[Symbol]:
    rank = len(x.shape)
    made, mean, inverse = _standardized(x, range(axis % rank, rank), epsilon)
    return [made * scale if bias is None else made * scale + bias, mean, inverse]


@_form("InstanceNormalization")
def _instance(x: Symbol, scale: Symbol, bias: Symbol, *, epsilon: float = 1e-5) -> Symbol:
    rank = len(x.shape)
    made = _standardized(x, range(2, rank), epsilon)[0]
    return made * per_channel(scale, rank) + per_channel(bias, rank)


@_form("BatchNormalization")
def _batch(
    x: Symbol, scale: Symbol, bias: Symbol, mean: Symbol, variance: Symbol, *, epsilon: float = 1e-5, **_: object
) -> Symbol:
    rank, slope = len(x.shape), scale / emit("Sqrt", variance + epsilon)
    return x * per_channel(slope, rank) + per_channel(bias - mean * slope, rank)


@_form("ReduceL2")
def _euclidean(x: Symbol, axes: Symbol | None = None, **attributes: int) -> Symbol:
    return emit("Sqrt", emit("ReduceSumSquare", x, axes, **attributes))


@_form("ReduceLogSum")
def _log_sum(x: Symbol, axes: Symbol | None = None, **attributes: int) -> Symbol:
    return emit("Log", emit("ReduceSum", x, axes, **attributes))


@_form("ReduceLogSumExp")
def _log_sum_exp(x: Symbol, axes: Symbol | None = None, **attributes: int) -> Symbol:
    return emit("Log", emit("ReduceSum", emit("Exp", x), axes, **attributes))


@_form("LpNormalization")
def _unit_vector(x: Symbol, *, axis: int = -1, p: int = 2) -> Symbol:
    return x / emit("ReduceL1" if p == 1 else "ReduceL2", x, integers([axis]), keepdims=1)
