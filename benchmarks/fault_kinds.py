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
from fault_models import Arrays, copied, graphs, inputs, nodes, run
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

    @property
    def here(self) -> tuple[str, ...]:
        return (self.node.name,)

    def given(self) -> dict[str, Any]:
        """Attributes of the node, and the defaults of those that it does not state."""
        try:
            opset = max(each.version for each in self.model.opset_import if each.domain == self.node.domain)
            schema = onnx.defs.get_schema(self.node.op_type, opset, self.node.domain)
        except onnx.defs.SchemaError:
            return {}
        stated = [each.default_value for each in schema.attributes.values() if each.default_value.name]
        return {each.name: helper.get_attribute_value(each) for each in (*stated, *self.node.attribute)}

    def state(self, name: str, value: Any) -> tuple[str, ...]:
        kept = [each for each in self.node.attribute if each.name != name]
        del self.node.attribute[:]
        self.node.attribute.extend([*kept, helper.make_attribute(name, value)])
        return self.here

    def weights(self, *, alone: bool = True) -> dict[int, TensorProto]:
        """Numbers that the node reads from the model, by the place of the input; those that no other node reads."""
        stored = {each.name: each for each in self.model.graph.initializer if each.data_type in NUMBERS}
        return {
            place: stored[name]
            for place, name in enumerate(self.node.input)
            if name in stored and (len(self.readers[name]) == 1 or not alone)
        }

    def pick(self, found: Iterable[Any]) -> Any:
        """One of them; None of none."""
        found = list(found)
        return found[self.rng.integers(len(found))] if found else None


NUMBERS = {TensorProto.FLOAT: np.float32, TensorProto.INT8: np.int8}


def put(tensor: TensorProto, changed: Array) -> None:
    kind = NUMBERS[tensor.data_type]
    whole = np.clip(np.rint(changed), -128, 127) if kind is np.int8 else changed
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(whole, kind), tensor.name))


Kind = Callable[[Place], tuple[str, ...]]
KINDS: dict[str, Kind] = {}
"""Each returns the names of the nodes that are at fault; none where it does not apply, which leaves the model alone."""


def kind(name: str) -> Callable[[Kind], Kind]:
    def register(function: Kind) -> Kind:
        KINDS[name] = function
        return function

    return register


# -- weights


def one_element(array: Array, rng: np.random.Generator) -> Array:
    changed = array.astype(float)
    changed.flat[rng.integers(array.size)] += (array.std() or 1) * rng.choice([-1, 1])
    return changed


def sign_of_a_channel(array: Array, rng: np.random.Generator) -> Array:
    changed = array.astype(float)
    changed[rng.integers(len(array))] *= -1
    return changed


def half_zeroed(array: Array, rng: np.random.Generator) -> Array:
    return array * (np.arange(len(array)) < len(array) // 2)


CHANGES: dict[str, tuple[Callable[[Place, int, Array], bool], Callable[[Array, np.random.Generator], Array]]] = {
    "weight: one element": (lambda place, at, array: array.size > 1, one_element),
    "weight: 1 % larger": (lambda place, at, array: array.size > 1, lambda array, rng: array * 1.01),
    "weight: sign of a channel": (lambda place, at, array: array.ndim > 1, sign_of_a_channel),
    "weight: transposed": (
        lambda place, at, array: array.ndim in (2, 4) and array.shape[0] == array.shape[1],
        lambda array, rng: array.swapaxes(0, 1),
    ),
    "bias: half zeroed": (
        lambda place, at, array: array.ndim == 1 and array.size > 1 and (at == 2 or place.node.op_type == "Add"),
        half_zeroed,
    ),
}
"""Changes of one weight: of which it is one, and what it is afterwards."""


def change_of_weight(name: str, place: Place) -> tuple[str, ...]:
    fits, change = CHANGES[name]
    found = [each for at, each in place.weights().items() if fits(place, at, numpy_helper.to_array(each))]
    if not found:
        return ()
    tensor = place.pick(found)
    before = numpy_helper.to_array(tensor)
    put(tensor, change(before, place.rng))
    return place.here if (numpy_helper.to_array(tensor) != before).any() else ()


for each in CHANGES:
    KINDS[each] = lambda place, name=each: change_of_weight(name, place)  # type: ignore[misc]


@kind("weights: two swapped")
def swapped(place: Place) -> tuple[str, ...]:
    mine, used = place.pick(place.weights().values()), place.readers
    if mine is None or np.prod(mine.dims) < 2:
        return ()
    others = (each for each in place.model.graph.initializer if each.data_type == mine.data_type)
    fitting = (each for each in others if each.dims == mine.dims and len(used[each.name]) == 1 and each is not mine)
    other = place.pick(each for each in fitting if used[each.name][0].name != place.node.name)
    if other is None:
        return ()
    one, two = numpy_helper.to_array(mine), numpy_helper.to_array(other)
    put(mine, two), put(other, one)
    return (place.node.name, used[other.name][0].name)


def statistics(place: Place, change: Callable[..., tuple[Array, Array]], *at: int) -> tuple[str, ...]:
    found = place.weights()
    if place.node.op_type != "BatchNormalization" or not {*at} <= {*found}:
        return ()
    tensors = [found[i] for i in at]
    for tensor, changed in zip(tensors, change(*map(numpy_helper.to_array, tensors)), strict=True):
        put(tensor, changed)
    return place.here


@kind("batch statistics: stale")
def stale(place: Place) -> tuple[str, ...]:
    """As one step of a momentum of 0.1 before, when they were those of the data's spread of 1 about 0."""
    return statistics(place, lambda mean, variance: (0.9 * mean, 0.9 * variance + 0.1), 3, 4)


@kind("batch statistics: swapped")
def swapped_statistics(place: Place) -> tuple[str, ...]:
    return statistics(place, lambda one, other: (other, one), *((2, 3) if place.rng.random() < 0.5 else (1, 4)))


@kind("gates: another order")
def gates(place: Place) -> tuple[str, ...]:
    """Two gates of an LSTM or a GRU change places, in all of its weights."""
    count = {"LSTM": 4, "GRU": 3}.get(place.node.op_type)
    found = [place.weights().get(at) for at in (1, 2, 3)]
    if not count or None in found:
        return ()
    order = np.arange(count)
    one, other = place.rng.choice(count, 2, replace=False)
    order[[one, other]] = other, one
    for tensor in found:
        array = numpy_helper.to_array(tensor)
        size = array.shape[1] // count // (2 if array.ndim == 2 else 1)  # two biases: of the input and of the state
        parts = array.reshape(len(array), -1, count, size, *array.shape[2:])
        put(tensor, parts[:, :, order].reshape(array.shape))
    return place.here


# -- attributes


@kind("attribute: axis")
def axis(place: Place) -> tuple[str, ...]:
    old, rank = place.given().get("axis"), np.ndim(place.values.get(place.node.output[0], 0))
    if old is None or rank < 2:
        return ()
    return place.state("axis", int(place.pick(each for each in range(rank) if each != old % rank)))


@kind("attribute: epsilon")
def epsilon(place: Place) -> tuple[str, ...]:
    old = place.given().get("epsilon")
    return place.state("epsilon", 100 * old) if old else ()


@kind("attribute: pads")
def pads(place: Place) -> tuple[str, ...]:
    """One cell of a pad goes from one end of an axis to the other."""
    old = place.given().get("pads")
    at = place.pick(np.flatnonzero(old or []))
    if at is None:
        return ()
    moved = np.array(old)
    moved[at] -= 1
    moved[(at + len(moved) // 2) % len(moved)] += 1
    return place.state("pads", moved.tolist())


@kind("attribute: strides")
def strides(place: Place) -> tuple[str, ...]:
    """The strides of another axis or of none, or kernels of another reach, with pads for it."""
    old = place.given()
    if place.node.op_type not in ("Conv", "MaxPool", "AveragePool") or "kernel_shape" not in old:
        return ()
    if any(old.get("pads", ())) and any(each > 1 for each in old["kernel_shape"]):
        reach = old.get("dilations") or [1] * len(old["kernel_shape"])
        place.state("pads", [2 * each for each in old["pads"]])
        return place.state("dilations", [2 * each for each in reach])
    steps = old.get("strides") or [1]
    return place.state("strides", [1] * len(steps) if max(steps) > 1 else [2] * len(old["kernel_shape"]))


@kind("attribute: alpha")
def alpha(place: Place) -> tuple[str, ...]:
    name = place.pick(name for name, value in place.given().items() if name in ("alpha", "beta", "gamma") and value)
    if name is None or place.node.op_type in ("LSTM", "GRU"):
        return ()
    return place.state(name, 1.5 * place.given()[name])


@kind("attribute: transposed operand")
def transposed_operand(place: Place) -> tuple[str, ...]:
    name = place.pick(name for name in place.given() if name in ("transA", "transB"))
    return place.state(name, 1 - place.given()[name]) if name else ()


CHOICES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "Resize": ("coordinate_transformation_mode", (b"half_pixel", b"asymmetric", b"align_corners")),
    "AveragePool": ("count_include_pad", (0, 1)),
    "Gelu": ("approximate", (b"none", b"tanh")),
    "LSTM": ("direction", (b"forward", b"reverse")),
    "GRU": ("linear_before_reset", (0, 1)),
    "Pad": ("mode", (b"constant", b"reflect", b"edge")),
    "DepthToSpace": ("mode", (b"DCR", b"CRD")),
    "ReduceMean": ("keepdims", (0, 1)),
}


@kind("attribute: mode")
def mode(place: Place) -> tuple[str, ...]:
    name, choices = CHOICES.get(place.node.op_type, ("", ()))
    old = place.given().get(name)
    return place.state(name, place.pick(each for each in choices if each != old)) if old in choices else ()


@kind("attribute: order of axes")
def permutation(place: Place) -> tuple[str, ...]:
    """Two equal sides of what is transposed change places."""
    order = place.given().get("perm")
    if order is None:
        return ()
    shape = place.values.get(place.node.output[0], np.zeros(())).shape
    ends = [(i, j) for i in range(len(shape)) for j in range(i) if shape[i] == shape[j] > 1]
    if not ends:
        return ()
    i, j = place.pick(ends)
    return place.state("perm", [order[{i: j, j: i}.get(at, at)] for at in range(len(order))])


# -- edges and operators


@kind("edge: another value")
def rewired(place: Place) -> tuple[str, ...]:
    """The node reads another value of the same shape, which is computed before it."""
    before = list[str](given.name for given in place.model.graph.input)
    for node in place.model.graph.node:
        if node.name == place.node.name:
            break
        before += node.output
    else:
        return ()
    at = place.pick(at for at, name in enumerate(place.node.input) if name in before and name in place.values)
    if at is None:
        return ()
    old = place.values[place.node.input[at]]
    fitting = ((name, place.values[name]) for name in before if name in place.values)
    name = place.pick(
        name
        for name, value in fitting
        if value.shape == old.shape and value.dtype == old.dtype and value.size > 1 and not np.allclose(value, old)
    )
    if name is None:
        return ()
    place.node.input[at] = name
    return place.here


ORDERED = {"Sub": 0, "Div": 0, "Pow": 0, "MatMul": 0, "Concat": 0, "Where": 1, "Less": 0, "Greater": 0}
"""Operators of which two inputs can change places, and the place of the first."""


@kind("edge: operands swapped")
def operands(place: Place) -> tuple[str, ...]:
    first, read = ORDERED.get(place.node.op_type), place.node.input
    if first is None or len(read) < first + 2 or read[first] == read[first + 1]:
        return ()
    read[first], read[first + 1] = read[first + 1], read[first]
    return place.here


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


def replaced(place: Place, table: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    if place.node.op_type not in table:
        return ()
    place.node.op_type = place.pick(table[place.node.op_type])
    known = onnx.defs.get_schema(place.node.op_type).attributes
    kept = [each for each in place.node.attribute if each.name in known and each.name not in ("alpha", "beta")]
    del place.node.attribute[:]
    place.node.attribute.extend(kept)
    return place.here


@kind("operator: a similar one")
def operator(place: Place) -> tuple[str, ...]:
    return replaced(place, SIMILAR)


@kind("rounding: another way")
def rounding(place: Place) -> tuple[str, ...]:
    if place.node.op_type == "Resize" and place.given().get("mode") == b"nearest":
        old = place.given()["nearest_mode"]
        return place.state("nearest_mode", place.pick({b"floor", b"ceil", b"round_prefer_ceil"} - {old}))
    return replaced(place, ROUNDING)


@kind("transpose: missing")
def missing(place: Place) -> tuple[str, ...]:
    """Where both shapes are the same, so that readers of the value can do without."""
    if place.node.op_type != "Transpose" or place.node not in place.model.graph.node:
        return ()
    before, after = place.node.input[0], place.node.output[0]
    shapes = [place.values[name].shape for name in (before, after) if name in place.values]
    if len(shapes) < 2 or shapes[0] != shapes[1] or not place.readers[after]:
        return ()
    names = tuple(each.name for each in place.readers[after])
    for reader in place.readers[after]:
        reader.input[:] = [before if name == after else name for name in reader.input]
    place.model.graph.node.remove(place.node)
    return names


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

    def __init__(self, name: str, model: onnx.ModelProto) -> None:
        self.name, self.model, self.seen = name, model, {model.SerializeToString()}
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
        rng, fresh = np.random.default_rng(crc32(f"{self.name} {what}".encode())), self.place
        order, place = rng.permutation(len(nodes(self.model))), fresh(rng)
        while True:
            before = len(self.seen)
            for at in order:
                place.node = place.nodes[at]
                if truth := KINDS[what](place):
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
        stored = {each.name for each in place.model.graph.initializer}
        if {*place.node.input} <= stored:  # what it makes is a constant: its readers are right answers too
            truth += tuple(each.name for name in place.node.output for each in place.readers[name])
        outputs = zip(self.given, self.wanted, others, strict=True)
        return Pair(place.model, what, truth, any(moves(self.model, place.model, *each) for each in outputs))
