"""Faults that ``faults.py`` plants: a table of kinds, each of which changes one node of a model or what it reads.

They go round the kinds, and each kind round the nodes in an order of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import onnx
from fault_models import Arrays, copied, graphs, inner, inputs, nodes, run
from onnx import NodeProto, TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
LIMIT = 1e-3
"""A difference beyond this share of an output's spread is no rounding; below, double precision decides."""

DRAWS = 2
"""On so many inputs a fault may move an output."""


class Pair(NamedTuple):
    """A model that differs from another one, and the truth about the difference."""

    model: onnx.ModelProto
    kind: str
    nodes: tuple[str, ...] = ()
    """Names in it of the nodes of which any is the right answer."""
    moved: bool = False
    """Whether an output differs by more than rounding, on one of the inputs tried."""
    renamed: bool = False
    """Whether values and nodes have other names than in the other model."""


@dataclass
class Place:
    """A node of a copy that is changed, and what is known of the model as it was."""

    model: onnx.ModelProto
    node: NodeProto
    nodes: Sequence[NodeProto]
    values: Arrays
    rng: np.random.Generator
    readers: Mapping[str, Sequence[NodeProto]]

    def pick(self, found: Iterable[Any]) -> Any:
        """One of them; LookupError if there are none."""
        found = list(found)
        return found[self.rng.integers(len(found)) if found else 0]

    def given(self) -> dict[str, Any]:
        """Attributes of the node, and the defaults of those that it does not state."""
        if self.node.domain:
            return {}
        [opset] = [each.version for each in self.model.opset_import if not each.domain]
        schema = onnx.defs.get_schema(self.node.op_type, opset)
        defaults = (each.default_value for each in schema.attributes.values() if each.default_value.name)
        return {each.name: helper.get_attribute_value(each) for each in (*defaults, *self.node.attribute)}

    def keep(self, kept: Callable[[str], bool], **stated: Any) -> None:
        """Leave out other attributes, and state these."""
        attributes = [each for each in self.node.attribute if kept(each.name)]
        attributes += [helper.make_attribute(*each) for each in stated.items()]
        del self.node.attribute[:]
        self.node.attribute.extend(attributes)

    def weights(self) -> dict[int, TensorProto]:
        """Numbers of the model that this node alone reads, by the place of the input."""
        stored = {each.name: each for each in self.model.graph.initializer if each.data_type in NUMBERS}
        names = {at: name for at, name in enumerate(self.node.input) if len(self.readers[name]) == 1}
        return {at: stored[name] for at, name in names.items() if name in stored}


NUMBERS = {TensorProto.FLOAT: np.float32, TensorProto.INT8: np.int8}


def put(tensor: TensorProto, changed: Array) -> None:
    kind = NUMBERS[tensor.data_type]
    whole = np.clip(np.rint(changed), -128, 127) if kind is np.int8 else changed
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(whole, kind), tensor.name))


Kind = Callable[[Place], tuple[str, ...] | None]
KINDS: dict[str, Kind] = {}
"""Each changes a model, and returns the names of the nodes at fault if they are others than the given one.

A LookupError or ValueError says that it does not apply; the model is then as it was.
"""


def kind(name: str, *given: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        KINDS[name] = lambda place: function(place, *given)
        return function

    return register


# -- weights


def one_element(array: Array, rng: np.random.Generator) -> Array:
    change = np.zeros(array.size)
    change[rng.integers(array.size)] = (array.std() or 1) * rng.choice([-1, 1])
    return array + change.reshape(array.shape)


def sign_of_a_channel(array: Array, rng: np.random.Generator) -> Array:
    sign = np.where(np.arange(len(array)) == rng.integers(len(array)), -1, 1)
    return array * sign.reshape(-1, *[1] * (array.ndim - 1))


def is_bias(place: Place, at: int, array: Array) -> bool:
    return array.ndim == 1 and array.size > 1 and (at == 2 or place.node.op_type == "Add")


@kind("weight: one element", lambda place, at, array: array.size > 1, one_element)
@kind("weight: 1 % larger", lambda place, at, array: array.size > 1, lambda array, rng: array * 1.01)
@kind("weight: sign of a channel", lambda place, at, array: array.ndim > 1, sign_of_a_channel)
@kind(
    "weight: transposed",
    lambda place, at, array: array.ndim in (2, 4) and array.shape[0] == array.shape[1],
    lambda array, rng: array.swapaxes(0, 1),
)
@kind("bias: half zeroed", is_bias, lambda array, rng: array * (np.arange(len(array)) < len(array) // 2))
def changed_weight(place: Place, fits: Callable[..., bool], change: Callable[..., Array]) -> None:
    arrays = [(each, numpy_helper.to_array(each), at) for at, each in place.weights().items()]
    tensor, array, _ = place.pick(each for each in arrays if fits(place, each[2], each[1]))
    put(tensor, change(array, place.rng))


@kind("weights: two swapped")
def swapped(place: Place) -> tuple[str, ...]:
    mine, used = place.pick(each for each in place.weights().values() if np.prod(each.dims) > 1), place.readers
    fitting = (each for each in place.model.graph.initializer if each.data_type == mine.data_type)
    fitting = (each for each in fitting if each.dims == mine.dims and len(used[each.name]) == 1)
    other = place.pick(each for each in fitting if used[each.name][0].name != place.node.name)
    one, two = numpy_helper.to_array(mine), numpy_helper.to_array(other)
    put(mine, two)
    put(other, one)
    return (place.node.name, used[other.name][0].name)


@kind("batch statistics: stale", (3, 4), lambda mean, variance: (0.9 * mean, 0.9 * variance + 0.1))
@kind("batch statistics: swapped with scale and shift", (1, 4, 2, 3), lambda a, b, c, d: (b, a, d, c))
def statistics(place: Place, at: Sequence[int], change: Callable[..., Sequence[Array]]) -> None:
    """Stale ones are those of a step of a momentum of 0.1 before, when they were 0 and 1."""
    found = place.weights() if place.node.op_type == "BatchNormalization" else {}
    tensors = [found[each] for each in at]
    arrays = change(*map(numpy_helper.to_array, tensors))
    for tensor, array in zip(tensors, arrays, strict=True):
        put(tensor, array)


@kind("gates: another order")
def gates(place: Place) -> None:
    """Two gates of an LSTM or a GRU change places, in all of its weights."""
    count, found = {"LSTM": 4, "GRU": 3}[place.node.op_type], place.weights()
    order, two = np.arange(count), place.rng.choice(count, 2, replace=False)
    order[two] = two[::-1]
    for tensor in [found[at] for at in (1, 2, 3)]:
        array = numpy_helper.to_array(tensor)
        size = array.shape[1] // count // (2 if array.ndim == 2 else 1)  # two biases: of the input and of the state
        parts = array.reshape(len(array), -1, count, size, *array.shape[2:])
        put(tensor, parts[:, :, order].reshape(array.shape))


# -- attributes


def another_axis(place: Place, old: int) -> int:
    rank = np.ndim(place.values.get(place.node.output[0], 0))
    return int(place.pick(each for each in range(rank) if each != old % rank))


def shifted(place: Place, old: Sequence[int]) -> list[int]:
    """One cell of a pad goes from one end of an axis to the other."""
    change = np.zeros((2, len(old) // 2), int)
    at = place.pick(np.flatnonzero(old))
    change.flat[at], change.flat[at - change.shape[1]] = -1, 1
    return [int(each) for each in old + change.ravel()]


def permuted(place: Place, old: Sequence[int]) -> list[int]:
    """Two equal sides of what is transposed change places."""
    shape = np.shape(place.values.get(place.node.output[0], 0))
    i, j = place.pick((i, j) for i in range(len(shape)) for j in range(i) if shape[i] == shape[j] > 1)
    return [old[{i: j, j: i}.get(at, at)] for at in range(len(old))]


def one_of(*choices: Any) -> Callable[[Place, Any], Any]:
    return lambda place, old: place.pick(each for each in choices if each != old and old in choices)


@kind("attribute: axis", {"axis": another_axis})
@kind("attribute: epsilon", {"epsilon": lambda place, old: max(1e-3, 100 * old)})
@kind("attribute: pads", {"pads": shifted})
@kind("attribute: strides", {"strides": lambda place, old: [1 if max(old) > 1 else 2] * len(old)})
@kind("attribute: alpha", {name: lambda place, old: 1.5 * old for name in ("alpha", "beta", "gamma")})
@kind("attribute: transposed operand", {name: one_of(0, 1) for name in ("transA", "transB")})
@kind("attribute: order of axes", {"perm": permuted})
@kind("attribute: rounding", {"nearest_mode": one_of(b"floor", b"ceil", b"round_prefer_floor", b"round_prefer_ceil")})
@kind(
    "attribute: mode",
    {
        "coordinate_transformation_mode": one_of(b"half_pixel", b"pytorch_half_pixel", b"asymmetric", b"align_corners"),
        "count_include_pad": one_of(0, 1),
        "approximate": one_of(b"none", b"tanh"),
        "direction": one_of(b"forward", b"reverse"),
        "linear_before_reset": one_of(0, 1),
        "mode": one_of(b"DCR", b"CRD"),
    },
)
def changed_attribute(place: Place, changes: Mapping[str, Callable[[Place, Any], Any]]) -> None:
    given = place.given()
    name = place.pick(name for name in changes if name in given)
    place.keep(lambda each: each != name, **{name: changes[name](place, given[name])})


# -- edges and operators


@kind("edge: another value")
def rewired(place: Place) -> None:
    """The node reads another value of the same shape, which is computed before it."""
    before, values = [each.name for each in place.model.graph.input], place.values
    for node in place.model.graph.node[: place.model.graph.node[:].index(place.node)]:
        before += node.output
    at = place.pick(at for at, name in enumerate(place.node.input) if name in before and name in values)
    old = values[place.node.input[at]]
    alike = (
        name for name in before if name in values and (values[name].shape, values[name].dtype) == (old.shape, old.dtype)
    )
    place.node.input[at] = place.pick(name for name in alike if old.size > 1 and not np.allclose(values[name], old))


ORDERED = {"Sub": 0, "Div": 0, "Pow": 0, "MatMul": 0, "Concat": 0, "Where": 1, "Less": 0, "Greater": 0}
"""Operators of which two inputs can change places, and the place of the first."""


@kind("edge: operands swapped")
def operands(place: Place) -> None:
    first, read = ORDERED[place.node.op_type], place.node.input
    read[first], read[first + 1] = read[first + 1], read[first]


SIMILAR: dict[str, Sequence[str]] = {
    "Relu": ("LeakyRelu", "Softplus", "Abs"),
    "LeakyRelu": ("Relu", "Elu"),
    "Elu": ("Celu", "Selu", "LeakyRelu"),
    "Selu": ("Elu",),
    "Softplus": ("Relu",),
    "Sigmoid": ("HardSigmoid",),
    "HardSigmoid": ("Sigmoid",),
    "HardSwish": ("Mish", "Relu"),
    "Mish": ("HardSwish",),
    "Tanh": ("Softsign", "Erf"),
    "Erf": ("Tanh",),
    "Max": ("Min", "Sum"),
    "Min": ("Max", "Mean"),
    "Add": ("Sub", "Max"),
    "Sub": ("Add",),
    "Mul": ("Add",),
    "Div": ("Mul",),
    "Softmax": ("LogSoftmax", "Hardmax"),
    "LogSoftmax": ("Softmax",),
    "MaxPool": ("AveragePool",),
    "AveragePool": ("MaxPool",),
    "GlobalAveragePool": ("GlobalMaxPool",),
    "ReduceMean": ("ReduceSum", "ReduceMax"),
    "ReduceSum": ("ReduceMean", "ReduceL2"),
    "Sqrt": ("Abs",),
    "Less": ("LessOrEqual", "Greater"),
    "Greater": ("GreaterOrEqual", "Less"),
}
ROUNDING = {"Floor": ("Round", "Ceil"), "Ceil": ("Floor", "Round"), "Round": ("Floor", "Ceil")}


@kind("operator: a similar one", SIMILAR)
@kind("rounding: another way", ROUNDING)
def replaced(place: Place, table: Mapping[str, Sequence[str]]) -> None:
    place.node.op_type = place.pick(table[place.node.op_type])
    known = onnx.defs.get_schema(place.node.op_type).attributes
    place.keep(lambda name: name in known and name not in ("alpha", "beta"))


@kind("transpose: missing")
def missing(place: Place) -> tuple[str, ...]:
    """Where both shapes are the same, so that readers of the value can do without."""
    before, after = {"Transpose": (place.node.input[0], place.node.output[0])}[place.node.op_type]
    place.pick(name for name in (before,) if place.values[name].shape == place.values[after].shape)
    readers = place.readers[after]
    place.pick(readers)
    for reader in readers:
        reader.input[:] = [before if name == after else name for name in reader.input]
    place.model.graph.node.remove(place.node)
    return tuple(each.name for each in readers)


# -- a fault by its number


def distances(ones: Arrays, others: Arrays) -> float:
    """The largest difference between outputs, as a share of the spread of each."""
    found = [0.0]
    for one, other in zip(ones.values(), others.values(), strict=True):
        if one.dtype.kind == "f" and one.size:
            one, other = one.astype(float), other.astype(float)
            found.append(float(np.abs(one - other).max() / (one.std() or np.abs(one).max() or 1)))
        else:
            found.append(float(not np.array_equal(one, other)))
    return max(found)


def doubled(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in double precision."""
    model = copied(model)
    float32, float64 = TensorProto.FLOAT, TensorProto.DOUBLE
    for graph in graphs(model.graph):
        held = (each.t for node in graph.node for each in node.attribute if each.type == onnx.AttributeProto.TENSOR)
        for tensor in chain(graph.initializer, held):
            if tensor.data_type == float32:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(float), tensor.name))
        for value in chain(graph.input, graph.output):
            if value.type.tensor_type.elem_type == float32:
                value.type.tensor_type.elem_type = float64
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "Cast" and attribute.i == float32:
                    attribute.i = float64
    return model


def in_double(model: onnx.ModelProto, given: Arrays) -> dict[str, Any]:
    from onnx.reference import ReferenceEvaluator

    wide = {name: value.astype(float) if value.dtype == np.float32 else value for name, value in given.items()}
    names = [each.name for each in model.graph.output]
    return dict(zip(names, ReferenceEvaluator(doubled(model)).run(names, wide), strict=True))


def moves(a: onnx.ModelProto, b: onnx.ModelProto, given: Arrays, ones: Arrays, others: Arrays) -> bool:
    """Whether the outputs differ by more than rounding: ten times of what single precision leaves of double."""
    apart = distances(ones, others)
    if apart > LIMIT or not apart:
        return apart > 0
    try:
        exact, changed = in_double(a, given), in_double(b, given)
    except Exception:  # the reference lacks some operators, and some kinds of others
        return False
    return distances(exact, changed) > 10 * max(distances(exact, ones), distances(changed, others))


def valid(model: onnx.ModelProto, given: Sequence[Arrays], wanted: Sequence[Arrays]) -> list[dict[str, Any]]:
    """The outputs of a faulty model; none where it does not run, or some are no numbers or of other shapes."""
    try:
        onnx.checker.check_model(model)
        found = [run(model, each) for each in given]
    except Exception:
        return []
    for ones, others in zip(wanted, found, strict=True):
        for one, other in zip(ones.values(), others.values(), strict=True):
            numbers = one.dtype.kind == other.dtype.kind == "f"
            if one.shape != other.shape or one.dtype != other.dtype or (numbers and not np.isfinite(other).all()):
                return []
    return found


class Planting:
    """The faults of a model, one of each kind after another."""

    def __init__(self, name: str, model: onnx.ModelProto, seed: int = 0) -> None:
        self.name, self.seed, self.model, self.seen = name, seed, model, {model.SerializeToString()}
        self.given = [inputs(model, seed) for seed in range(DRAWS)]
        self.wanted = [run(model, each) for each in self.given]
        self.values = {**self.given[0], **run(model, self.given[0], every=True)}

    def __iter__(self) -> Iterator[Pair]:
        waiting = [self.of_kind(what) for what in KINDS]
        while waiting:
            for each in tuple(waiting):
                if found := next(each, None):
                    yield found
                else:
                    waiting.remove(each)

    def of_kind(self, what: str) -> Iterator[Pair]:
        """Distinct faults of a kind, round after round at all nodes, until a round has none."""
        rng, fresh = np.random.default_rng(crc32(f"{self.name} {what}".encode()) + self.seed), self.place
        order, place = rng.permutation(len(nodes(self.model))), fresh(rng)
        while True:
            before = len(self.seen)
            for at in order:
                place.node = place.nodes[at]
                try:
                    truth = KINDS[what](place) or (place.node.name,)
                except (LookupError, ValueError):
                    continue
                if pair := self.judged(what, place, truth):
                    yield pair
                place = fresh(rng)
            if len(self.seen) == before:
                return

    def place(self, rng: np.random.Generator) -> Place:
        model = copied(self.model)
        readers = defaultdict[str, list[NodeProto]](list)
        for node in (found := nodes(model)):
            for name in {*node.input}:
                readers[name].append(node)
        return Place(model, found[0], found, self.values, rng, readers)

    def judged(self, what: str, place: Place, truth: tuple[str, ...]) -> Pair | None:
        """The pair with its truth; None if there was the same before, or the faulty model does not run."""
        data = place.model.SerializeToString()
        if data in self.seen or not (others := valid(place.model, self.given, self.wanted)):
            return None
        self.seen.add(data)
        outputs = zip(self.given, self.wanted, others, strict=True)
        moved = any(moves(self.model, place.model, *each) for each in outputs)
        return Pair(place.model, what, answers(place, truth), moved)


def answers(place: Place, truth: tuple[str, ...]) -> tuple[str, ...]:
    """The nodes at fault, readers of what these make of constants alone, and nodes that have them in a branch."""
    constants = {each.name for each in place.model.graph.initializer}
    for node in place.model.graph.node:
        if {*node.input} <= constants:
            constants.update(node.output)
            if node.name in truth:
                truth += tuple(each.name for name in node.output for each in place.readers[name])
        if {each.name for graph in inner(node) for each in graph.node} & {*truth}:
            truth += (node.name,)
    return truth
