"""The structure of two models: whether they are one graph, and which of its constants differ, and how."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, permutations, starmap
from typing import Any, Final, NamedTuple

import numpy as np
from onnx import NodeProto

from portable_nn.comparison.side import AXES, Side
from portable_nn.comparison.steps import made_by, read_by, weights
from portable_nn.core.graph import format_shape, trimmed
from portable_nn.core.tensors import Array
from portable_nn.onnx.opsets.forms import changes_of, same
from portable_nn.onnx.opsets.standard import signature
from portable_nn.onnx.opsets.support import opset_in
from portable_nn.onnx.storage.tensors import from_attribute, is_attribute
from portable_nn.onnx.verification.differences import difference, gaps, largest_gap, precision
from portable_nn.onnx.verification.rounding import STEP
from portable_nn.operators.narrow import NARROW, rounded

SETTINGS: Final = 64
"""The most elements of a constant of whole numbers that is a setting, such as a shape, and no weight; zero points and
whole numbers that have a scale are weights."""

_CLOSE: Final = 1e-6
"""The largest relative difference of numbers that are the same but for a factor that was rounded."""

FOLDED: Final = 4.0
"""The units in the last place that folding may move a constant by."""

ROUNDED: Final = "rounded otherwise"
"""The difference of constants of which each element is moved by folding alone."""

LONG: Final = 80
"""The length from which on the value of an attribute is not shown."""

BODY: Final = "with SHA-256 "
"""Before the digest of an attribute that is no number or text."""


class WeightGap(NamedTuple):
    """A constant that differs.

    Attributes:
        name_a: its name in the first model.
        name_b: that in the second.
        how: the difference in words: ``transposed``, ``scaled by 2``, ``rounded to float16``, ``3 of 64 elements``, ….
        largest: the largest absolute difference; infinite where the shapes differ.
        nodes: the nodes of the second model that read it.
    """

    name_a: str
    name_b: str
    how: str
    largest: float
    nodes: tuple[str, ...]


class Structure:
    """The graph of a model without names: what each value is computed by, from which inputs and settings."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._hashes: dict[str, str] = {
            name: f"input {place} {side.input_types[name]}" for place, name in enumerate(side.inputs)
        }
        self._numbers = {
            name for node in side.nodes for each in (*read_by(node), made_by(node) or ()) for name in each if each
        }
        for node in side.nodes:
            made = self._made(node)
            for place, name in enumerate(node.output):
                if place == 0 and _passes(side, node):
                    self._hashes[name] = self.hash_of(node.input[0])
                elif name and name not in side.constants:
                    self._hashes[name] = f"{made} {place}"

    @cached_property
    def digest(self) -> tuple[str, ...]:
        """All outputs."""
        return tuple(self.hash_of(name) for name in self.side.outputs)

    def hash_of(self, name: str) -> str:
        """The computation of a value; of a weight only that it is one."""
        if name in self._hashes:
            return self._hashes[name]
        array = self.side.constants.get(name)
        if array is None:
            return f"absent {bool(name)}"
        if array.dtype.kind in "iub" and array.size <= SETTINGS and name not in self._numbers:
            return f"{array.dtype} {array.shape} {array.tolist()}"
        return f"weight {array.dtype} {array.ndim}"

    def _made(self, node: NodeProto) -> str:
        read = [self.hash_of(name) for name in self.side.read_by[id(node)]] if _has_body(node) else None
        inputs = read or [self.hash_of(name) for name in trimmed(node.input)]
        parts = len(node.output) if node.op_type == "Split" else 1  # Without sizes, their number says what they are.
        text = "\n".join([node.op_type, node.domain, str(parts), *attributes(self.side, node), *inputs])
        return hashlib.sha256(text.encode()).hexdigest()


def attributes(side: Side, node: NodeProto) -> list[str]:
    """The attributes of a node that are not at their default, and since when it means what it does, in words."""
    opset = opset_in(side.model) if node.domain in ("", "ai.onnx") else 0
    known = signature(node.op_type, opset)
    defaults = known.defaults if known else {}
    changes = [each.since for each in changes_of(node.op_type) if each.newer is not same and each.since <= opset]
    found = []
    if changes:
        found.append(f"its form since opset {changes[-1]}")
    for each in sorted(node.attribute, key=lambda each: each.name):
        if not is_attribute(each):
            digest = hashlib.sha256(each.SerializeToString(deterministic=True)).hexdigest()
            found.append(f"{each.name} {BODY}{digest}")
        elif (value := from_attribute(each, "")) != defaults.get(each.name) and not _is_usual(node, each.name, value):
            found.append(f"{each.name} is {value}")
    return found


_USUAL: Final = {"pads": 0, "output_padding": 0, "dilations": 1, "strides": 1}
"""The number of each axis where an attribute of a convolution or a pooling is not given."""


def _is_usual(node: NodeProto, name: str, value: Any) -> bool:
    """True where an attribute says what holds without it; the shape of a kernel is that of the weight."""
    is_kernel = name == "kernel_shape" and node.op_type.startswith("Conv")
    return is_kernel or (name in _USUAL and {*value} == {_USUAL[name]})


def weight_gaps(one: Side, other: Side) -> list[WeightGap] | None:
    """The constants that differ between two models, in the order of the nodes that read them.

    ``None`` where the graphs are not the same, also where what is one constant of the second is several of the first:
    then a node reads another value, which is computed in the same way from other constants.
    """
    if Structure(one).digest != Structure(other).digest:
        return None
    apart, known = list[tuple[str, str]](), dict[str, Array]()
    for a, b in _constants(one, other):
        if not _equal(one.constants[a], known.setdefault(b, one.constants[a])):
            return None
        apart += [] if _equal(one.constants[a], other.constants[b]) else [(a, b)]
    readers = {b: _readers(other, b) for _, b in apart}
    found = []
    for a, b in sorted(apart, key=lambda pair: min(map(other.nodes.index, readers[pair[1]]), default=0)):
        x, y = one.constants[a], other.constants[b]
        swapped = next((name for name, _ in apart if name != a and _equal(one.constants[name], y)), "")
        how = (
            f"is '{swapped}' of A" if swapped else _to_steps(one, a, y) or _to_steps(other, b, x) or difference_of(x, y)
        )
        found.append(WeightGap(a, b, how, largest_gap(x, y), tuple(node.name or node.output[0] for node in readers[b])))
    return found


def _constants(one: Side, other: Side) -> dict[tuple[str, str], None]:
    """The pairs of constants that stand at the same places."""
    pairs, seen = dict[tuple[str, str], None](), set[tuple[str, str]]()
    waiting = [*zip(one.outputs, other.outputs, strict=True)]
    while waiting:
        a, b = starmap(_passed, zip((one, other), waiting.pop(), strict=True))
        if (a, b) not in seen and a in one.constants and b in other.constants:
            pairs[a, b] = None
        elif (a, b) not in seen and a in one.maker and b in other.maker:
            waiting += [*zip(_inputs(one, a), _inputs(other, b), strict=False)]
        seen.add((a, b))
    return pairs


def _inputs(side: Side, value: str) -> Sequence[str]:
    node = side.maker[value]
    return side.reads(value) if _has_body(node) else trimmed(node.input)


@np.errstate(over="ignore")
def difference_of(one: Array, other: Array) -> str:
    """The difference between two arrays in words."""
    for axes, words in _turns(one.ndim):
        if one.size > 1 and _equal(one.transpose(axes), other):
            return words
    if one.shape != other.shape:
        return f"has the shape {format_shape(other.shape)}, not {format_shape(one.shape)}"
    folded = FOLDED * precision(one)
    if folded and np.isclose(one, other, rtol=folded, atol=0, equal_nan=True).all():
        return ROUNDED
    is_round = other.any() and np.isfinite(other).all()  # Zeros and single numbers are round in many types.
    name = _rounded_to(one, other) if is_round else None
    if name == "float16" or (name and one.size > 1):
        return f"rounded to {name}"
    if one.size == 1 and (one.dtype.kind in "iub" or not np.isfinite(other).all()):
        return f"is {other.item()}, not {one.item()}"
    return _of_elements(one.ravel().astype(np.float64), other.ravel().astype(np.float64))


def node_difference(one: Side, other: Side, a: str, b: str) -> str:
    """The difference of the nodes that make a value of each model, where that can be said in a few words."""
    if a not in one.maker:
        return ""
    first, second = one.shown(a), other.shown(b)
    if first.op_type != second.op_type:
        return by_letter(one, other, first.op_type, second.op_type)
    ours, theirs = attributes(one, first), attributes(other, second)
    differing = [*(f"{each} in {one.letter}" for each in ours if each not in theirs)]
    differing += [f"{each} in {other.letter}" for each in theirs if each not in ours]
    if differing:
        # Of a table or a body, the name says enough.
        short = (text if len(text) < LONG and BODY not in text else f"another {text.split()[0]}" for text in differing)
        return ", ".join(dict.fromkeys(short))
    if len(second.input) < len(first.input):
        return f"without '{first.input[len(second.input)]}' in {other.letter}"
    pairs = zip(map(one.constants.get, first.input), map(other.constants.get, second.input), strict=False)
    return _largest(dict(zip(second.input, pairs, strict=False)))


def by_letter(one: Side, other: Side, mine: str, theirs: str) -> str:
    """Words on each of two models, in the order of their letters."""
    return ", ".join(sorted((f"{mine} in {one.letter}", f"{theirs} in {other.letter}"), key=lambda text: text[-1]))


def _largest(pairs: Mapping[str, tuple[Array | None, Array | None]]) -> str:
    """The difference of the constants that differ most, as a share of their numbers."""
    found = {
        f"'{name}': {difference_of(x, y)}": difference(y, x).max_rel_error
        for name, (x, y) in pairs.items()
        if x is not None and y is not None and not np.array_equal(x, y)
    }
    return max(found, key=lambda text: found[text], default="")


@np.errstate(all="ignore")
def _of_elements(a: Array, b: Array) -> str:
    scale = float(a @ b / (a @ a)) if a.any() else 0.0
    if scale and f"{scale:.6g}" != "1" and np.allclose(a * scale, b, rtol=_CLOSE, atol=0):
        return f"scaled by {scale:.6g}"
    if a.size > 1 and np.array_equal(np.sort(a), np.sort(b)):
        return "the same elements in another order"
    moved = a != b
    share = f"{int(moved.sum()):,} of {a.size:,} elements"
    return f"{share} differ, by up to {np.abs(a - b).max():.3g}" if b[moved].any() else f"{share} are 0"


def _turns(rank: int) -> Iterator[tuple[tuple[int, ...], str]]:
    """The orders of axes but that in which they stand, and each in words."""
    for axes in permutations(range(rank)) if rank <= AXES else ():
        if axes != tuple(range(rank)):
            yield axes, "transposed" if rank == 2 else f"with its axes in the order {format_shape(axes)}"


def _rounded_to(one: Array, other: Array) -> str | None:
    """The narrower type of floats to which a rounding of the first array gives the second."""
    if one.dtype.kind != "f":
        return None
    with np.errstate(over="ignore"):
        same_types = (name for name in ("float16", "float32") if _equal(one.astype(name), other))
        narrow = (each.name for code, each in NARROW.items() if each.is_float and _equal(rounded(one, code), other))
        return next(chain(same_types, narrow), None)


def _to_steps(side: Side, name: str, array: Array) -> str:
    """The type to whose steps an array was rounded, in words, where the constant of that name is the result."""
    made = weights(side, [name]) if name in side.maker and side.maker[name].op_type == "DequantizeLinear" else ()
    fits = (each for each in made if (gaps(each.numbers, array) <= each.half * (1 + STEP)).all())
    return next((f"rounded to {side.constants[each.name].dtype.name}" for each in fits), "")


def _equal(one: Array, other: Array) -> bool:
    return one.shape == other.shape and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _readers(side: Side, name: str) -> list[NodeProto]:
    """The nodes that read a constant, also through others that depend on no input."""
    names = {name}
    for node in side.nodes:
        if not names.isdisjoint(side.read_by[id(node)]) and all(each in side.constants for each in node.output if each):
            names.update(node.output)
    return [
        node
        for node in side.nodes
        if not names.isdisjoint(side.read_by[id(node)])
        and not all(each in side.constants for each in node.output if each)
    ]


def _passed(side: Side, name: str) -> str:
    """The value that is handed on by nodes that do nothing."""
    while name in side.maker and side.maker[name].output[0] == name and _passes(side, side.maker[name]):
        if name in side.constants:
            break
        name = side.maker[name].input[0]
    return name


def _passes(side: Side, node: NodeProto) -> bool:
    """True if the first output of a node is its first input."""
    trains = len(node.input) > 2 and side.constants.get(node.input[2], True)
    return node.op_type == "Identity" or (node.op_type == "Dropout" and not trains)


def _has_body(node: NodeProto) -> bool:
    return any(each.HasField("g") for each in node.attribute)
