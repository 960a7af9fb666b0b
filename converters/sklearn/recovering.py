"""What the nodes of a network before its first layer do, as steps that scikit-learn has: the way back of pipelines."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from portable_nn.converters.sklearn.categories import ABSENT
from portable_nn.converters.sklearn.values import Array, Entry, Operation, Value, features, joined, source, taken
from portable_nn.core.graph import Node


@dataclass(frozen=True)
class Call:
    """A node, with what is known of its inputs: values, arrays of fixed numbers, or ``None``.

    Attributes:
        node: the node.
        inputs: what goes in.
        roles: the names of those that are parameters, after the last dot, by place; ``""`` for others.
        trained: whether they are parameters that train.
    """

    node: Node
    inputs: tuple[Value | Array | None, ...]
    roles: tuple[str, ...]
    trained: tuple[bool, ...]

    def split(self) -> tuple[Value, int] | None:
        """The value, and the place of the numbers beside it, if there is one of each."""
        values = [place for place, each in enumerate(self.inputs) if isinstance(each, Value)]
        arrays = [place for place, each in enumerate(self.inputs) if isinstance(each, np.ndarray)]
        if len(values) != 1 or len(arrays) != 1:
            return None
        x = self.inputs[values[0]]
        assert isinstance(x, Value)
        return x, arrays[0]

    def numbers(self, place: int, width: int) -> Array | None:
        """An input as one number for each of ``width`` features; ``None`` if it is none of that."""
        array = self.inputs[place] if place < len(self.inputs) else None
        if (
            not isinstance(array, np.ndarray)
            or array.size not in (1, width)
            or array.shape[:-1].count(1) < array.ndim - 1
        ):
            return None
        return np.broadcast_to(array.reshape(-1), (width,))


AUTOMATIC: Final = re.compile(r"[a-z0-9]+_\d+")
"""The names of nodes that nobody named."""


def value_of(call: Call) -> Value:
    """What a node makes of values. Of the kind ``unknown`` where that is no step of scikit-learn."""
    node, read = call.node, [each for each in call.inputs if isinstance(each, Value)]
    title = "" if AUTOMATIC.fullmatch(node.name) else node.name
    if any(each.kind == "unknown" for each in read):
        return Value("unknown", 0, title=title)
    make = None if node.domain else HANDLERS.get(node.operator)
    found = make(call) if make and read else None
    if found is None:
        return Value("unknown", 0, title=title)
    return _titled(found, title) if title and node.operator != "Concat" else found


def _titled(x: Value, title: str) -> Value:
    """A value, whose last steps have a name."""
    if x.kind in ("row", "taken"):
        return x
    if x.kind == "joined":
        return joined([each if each.title else _titled(each, title) for each in x.bases])
    return replace(x, title=title)


# -- arithmetic


def _arithmetic(call: Call) -> Value | None:
    operator = call.node.operator
    if operator == "Mul" and call.inputs[0] is call.inputs[1]:
        return _function("square", call)
    if (encoded := _computed(call)) is not None:
        return encoded
    x, by = call.inputs
    if operator == "Div" and isinstance(by, Value) and by.kind == "norm":
        is_one = by.of["safe"] and by.base is x
        return Value("normalised", by.width, by.bases, {"norm": by.of["norm"]}) if is_one else None
    if (parts := call.split()) is None:
        return None
    x, place = features(parts[0]), parts[1]
    numbers = call.numbers(place, x.width)
    if numbers is None or (operator in ("Sub", "Div") and place == 0):
        return None
    if x.kind == "function" and not x.title and not call.roles[place]:
        names = SHIFTED.get((x.of["name"], operator), {})
        for number, name in names.items():
            if np.allclose(numbers, number, rtol=1e-6, atol=0):
                return replace(x, of={"name": name})
    step = Operation(operator, numbers, call.roles[place])
    if x.kind == "arithmetic" and not x.title:
        return replace(x, of={"steps": (*x.of["steps"], step)})
    return Value("arithmetic", x.width, (x,), {"steps": (step,)})


def _clip(call: Call) -> Value | None:
    x = call.inputs[0]
    if not isinstance(x, Value) or x.kind != "arithmetic" or len(call.inputs) != 3:
        return None
    low, high = call.numbers(1, 1), call.numbers(2, 1)
    if low is None or high is None:
        return None
    return replace(x, of={"steps": (*x.of["steps"], Operation("Clip", np.concatenate([low, high])))})


SHIFTED: Final[Mapping[tuple[str, str], Mapping[float, str]]] = {
    ("exp", "Sub"): {1.0: "expm1"},
    ("log", "Div"): {float(np.log(10)): "log10", float(np.log(2)): "log2"},
}
"""What a function is called once a number is subtracted from it, or divides it."""

FUNCTIONS: Final[Mapping[str, str]] = {
    "Abs": "abs",
    "Cos": "cos",
    "Exp": "exp",
    "Log": "log",
    "Neg": "negative",
    "Reciprocal": "reciprocal",
    "Sign": "sign",
    "Sigmoid": "expit",
    "Sin": "sin",
    "Sqrt": "sqrt",
    "Tanh": "tanh",
}
"""The functions of numpy, and of scipy.special, by operator."""


def _function(name: str, call: Call) -> Value | None:
    given = call.inputs[0]
    if not isinstance(given, Value) or given.kind in ("truth", "greater"):
        return None
    x = features(given)
    if name == "log" and x.kind == "arithmetic" and not x.title and len(x.of["steps"]) == 1:
        [step] = x.of["steps"]
        if step.operator == "Add" and not step.role and (step.numbers == 1).all():
            return Value("function", x.width, x.bases, {"name": "log1p"})
    return Value("function", x.width, (x,), {"name": name})


def _matmul(call: Call) -> Value | None:
    """A projection, or what is made of categories; all else is a layer."""
    x, matrix = call.inputs
    if not isinstance(x, Value) or not isinstance(matrix, np.ndarray) or matrix.ndim != 2:
        return None
    if x.kind == "flags" and call.roles[1].partition("_")[0] in ("", "encodings", "codes", "vectors"):
        return _with_matrix(x, matrix, call.roles[1].partition("_")[0])
    if call.roles[1] != "components" or call.trained[1]:
        return None
    x, mean = features(x), np.zeros(x.width)
    steps = x.of.get("steps", ())
    if x.kind == "arithmetic" and not x.title and steps[-1].operator == "Sub":
        mean = steps[-1].numbers
        x = replace(x, of={"steps": steps[:-1]}) if len(steps) > 1 else x.base
        return Value("projected", matrix.shape[1], (x,), {"components": matrix.T, "mean": mean})
    return Value("projected", matrix.shape[1], (x,), {"components": matrix.T})


# -- comparisons, and what they choose


def _is_nan(call: Call) -> Value | None:
    [x] = call.inputs
    if not isinstance(x, Value):
        return None
    base, places = source(x)
    return Value("truth", x.width, (base,), {"places": places, "codes": (np.nan,) * x.width})


def _equal(call: Call) -> Value | None:
    if (parts := call.split()) is None:
        return None
    x, place = parts
    array = call.inputs[place]
    assert isinstance(array, np.ndarray)
    if x.kind == "norm":
        return replace(x, of={**x.of, "is_zero": True}) if (array == 0).all() else None
    if array.ndim > 2 or (array.ndim == 2 and len(array) != 1) or (x.width != 1 and array.size not in (1, x.width)):
        return None
    codes = np.broadcast_to(array.reshape(-1), (max(array.size, x.width),)).astype(np.float64)
    if x.kind == "filled" and (x.of["fills"] <= ABSENT / 2).all():  # Missing values, to be compared with.
        codes, x = np.where(codes <= ABSENT / 2, np.nan, codes), x.base
    base, places = source(x)
    places = places if len(places) == len(codes) else places * len(codes)
    return Value("truth", len(codes), (base,), {"places": places, "codes": tuple(codes.tolist())})


def _where(call: Call) -> Value | None:
    test, yes, no = call.inputs
    if isinstance(test, np.ndarray) and isinstance(yes, Value) and isinstance(no, Value):
        return _either(test.reshape(-1), yes, no)
    if not isinstance(test, Value) or not isinstance(no, Value):
        return None
    if test.kind == no.kind == "norm":
        one = call.numbers(1, 1)
        is_safe = bool(test.of.get("is_zero")) and test.base is no.base and one is not None and one[0] == 1
        return replace(no, of={**no.of, "safe": True}) if is_safe else None
    fills = call.numbers(1, no.width)
    if test.kind != "truth" or fills is None or source(no) != (test.base, test.of["places"]):
        return None
    return Value("filled", no.width, (no,), {"gaps": test.of["codes"], "fills": fills, "strategy": call.roles[1]})


def _either(choice: Array, yes: Value, no: Value) -> Value | None:
    """Comparisons of which each feature has one of two."""
    if {yes.kind, no.kind} != {"truth"} or source(yes)[0].base is not source(no)[0].base or len(choice) != yes.width:
        return None
    if yes.of["places"] != no.of["places"]:
        return None
    codes = tuple(a if first else b for first, a, b in zip(choice, yes.of["codes"], no.of["codes"], strict=True))
    return replace(yes, of={"places": yes.of["places"], "codes": codes})


def _greater(call: Call) -> Value | None:
    parts = call.split()
    numbers = call.numbers(1, parts[0].width) if parts and parts[1] == 1 else None
    if parts is None or numbers is None:
        return None
    return Value("greater", parts[0].width, (features(parts[0]),), {"threshold": numbers})


def _cast(call: Call) -> Value | None:
    [x] = call.inputs
    assert isinstance(x, Value)
    if x.kind == "truth":
        return replace(x, kind="flags")
    return x


def _norm(name: str) -> Callable[[Call], Value | None]:
    def make(call: Call) -> Value | None:
        x = call.inputs[0]
        if not isinstance(x, Value) or not call.node.attributes.get("keepdims", 1):
            return None
        if x.kind == "flags" and name == "sum":
            return _with_matrix(x, np.ones((x.width, 1)), "")
        if name == "max":
            x = x.base if x.kind == "function" and x.of["name"] == "abs" else None
        return Value("norm", x.width, (x,), {"norm": name, "safe": False}) if x and name != "sum" else None

    return make


# -- categories


def _with_matrix(flags: Value, matrix: Array, role: str) -> Value | None:
    """What is made of the categories of one feature."""
    places, codes = flags.of["places"], np.array(flags.of["codes"])
    if len(set(places)) > 1 or len(matrix) != len(codes):
        return None
    entry = Entry(places[0], codes, matrix, np.zeros(matrix.shape[1]), role)
    return Value("encoded", matrix.shape[1], flags.bases, {"entries": (entry,)})


def _computed(call: Call) -> Value | None:
    """Arithmetic with what was made of the categories of a feature makes other numbers of them."""
    arrays = [each for each in call.inputs if isinstance(each, np.ndarray)]
    if any(call.roles) or any(array.size > 1 and array.shape[:-1].count(1) < array.ndim - 1 for array in arrays):
        return None
    values = [each for each in call.inputs if isinstance(each, Value)]
    entries = [entry for each in values if (entry := _entry(each)) is not None]
    if (
        not entries
        or len(entries) + len(arrays) < len(call.inputs)
        or any(x.base is not values[0].base for x in values)
    ):
        return None
    first = entries[0]
    if any(each.place != first.place or not _same(each.codes, first.codes) for each in entries):
        return None
    function, left = FUNCTIONS_OF_TWO[call.node.operator], iter(entries)
    pairs = [(each, each) if isinstance(each, np.ndarray) else next(left)[2:4] for each in call.inputs]
    (a, c), (b, d) = pairs
    role = next((each.role for each in entries if each.role), "")
    entry = Entry(first.place, first.codes, function(a, b), np.ravel(function(c, d)), role)
    return Value("encoded", entry.made.shape[1], values[0].bases, {"entries": (entry,)})


FUNCTIONS_OF_TWO: Final[Mapping[str, Callable[[Array, Array], Array]]] = {
    "Add": np.add,
    "Div": np.divide,
    "Mul": np.multiply,
    "Sub": np.subtract,
}


def _entry(x: Value | None) -> Entry | None:
    """The one feature whose categories became numbers; ``None`` where there is none, or it is a step by now."""
    if x is None or x.title or x.kind not in ("flags", "encoded"):
        return None
    found = features(x)
    entries = found.of.get("entries", ())
    return entries[0] if found.kind == "encoded" and len(entries) == 1 else None


def _same(a: Array, b: Array) -> bool:
    return np.array_equal(a, b, equal_nan=True)


def _gather(call: Call) -> Value | None:
    x, places = call.inputs
    if not isinstance(x, Value) or not isinstance(places, np.ndarray) or places.ndim != 1:
        return None
    return taken(x, [int(place) for place in places]) if call.node.attributes.get("axis", 0) in (1, -1) else None


def _concat(call: Call) -> Value | None:
    if call.node.attributes.get("axis") not in (1, -1) or not all(isinstance(each, Value) for each in call.inputs):
        return None
    return joined([each for each in call.inputs if isinstance(each, Value)])


def _same_value(call: Call) -> Value | None:
    return call.inputs[0] if isinstance(call.inputs[0], Value) else None


HANDLERS: Final[Mapping[str, Callable[[Call], Value | None]]] = {
    **dict.fromkeys(("Add", "Div", "Mul", "Sub"), _arithmetic),
    **dict.fromkeys(("Dropout", "Flatten", "Identity"), _same_value),
    **{operator: partial(_function, name) for operator, name in FUNCTIONS.items()},
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Equal": _equal,
    "Gather": _gather,
    "Greater": _greater,
    "IsNaN": _is_nan,
    "MatMul": _matmul,
    "ReduceL1": _norm("l1"),
    "ReduceL2": _norm("l2"),
    "ReduceMax": _norm("max"),
    "ReduceSum": _norm("sum"),
    "Where": _where,
}
"""What each operator makes of values: steps, or parts of them."""
