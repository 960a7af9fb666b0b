"""What is known of lists before anything runs: numbers as the engine computes them, sizes by their names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portable_nn.core.errors import GraphError
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, Symbol, constant, emit, integers, trace

UNARY = {"int64": ("Abs", "Identity", "Neg"), "float32": ("Abs", "Ceil", "Floor", "Neg", "Round", "Reciprocal", "Sqrt")}
BINARY = {
    "int64": ("Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Equal", "Less", "LessOrEqual", "Greater"),
    "float32": ("Add", "Sub", "Mul", "Div", "Max", "Min", "Equal", "Less", "GreaterOrEqual"),
}


def computed(symbol: Symbol) -> np.ndarray[Any, Any]:
    """What the engine makes of a symbol that follows from constants."""
    return next(iter(Plan(trace([], [symbol]).graph, {}, {}).outputs.values()))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_numbers_are_those_that_the_engine_computes(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(["int64", "float32"]))
    item = st.integers(-9, 9) if dtype == "int64" else st.floats(-9, 9, width=32)
    length = data.draw(st.integers(1, 3))
    first, second = (constant(data.draw(st.lists(item, min_size=n, max_size=n)), dtype) for n in (length, 1))
    operator = data.draw(st.sampled_from(UNARY[dtype] + BINARY[dtype]))
    inputs = [first] if operator in UNARY[dtype] else [first, second]
    try:
        found = emit(operator, *inputs)
    except GraphError:  # An integer has no remainder of a float.
        return
    if found.type.constant is None:
        divides = operator in {"Div", "Mod"} and dtype == "int64" and second.type.constant == (0,)
        assert divides
        return
    np.testing.assert_array_equal(np.array(found.type.constant, found.dtype), computed(found))


def size(name: str) -> Symbol:
    """A list of one size, which is not known."""
    return emit("Shape", Leaf("x", "float32", (name,)))


def real(value: Symbol) -> Symbol:
    return emit("Cast", value, to=1)


ROWS: list[tuple[str, Symbol, tuple[Any, ...] | None]] = [
    ("a product with a whole float", real(size("h")) * 2.0, ("2*h",)),
    ("a fraction", real(size("h")) * 0.5, ("(0.5*h)",)),
    ("its floor", emit("Floor", real(size("h")) * 0.5), ("floor(0.5*h)",)),
    ("its ceiling", emit("Ceil", real(size("h")) / 2.0), ("ceil(h/2)",)),
    ("as a whole number", emit("Cast", real(size("h")) * 0.5, to=7), ("floor(0.5*h)",)),
    ("a whole division", size("h") / 2, ("floor(h/2)",)),
    ("one of a sum", (size("h") + 1) / 2, ("floor((h+1)/2)",)),
    ("one that is exact", size("4*h+2") / 2, ("2*h+1",)),
    ("a remainder of nothing", emit("Mod", size("4*h"), integers([2])), (0,)),
    ("a remainder", emit("Mod", size("h"), integers([2])), ("-2*floor(h/2)+h",)),
    ("the negative", -size("h"), ("-1*h",)),
    ("the larger", emit("Max", size("h"), integers([4])), ("max(4,h)",)),
    ("is it -1", emit("Equal", size("h"), integers([-1])), (0,)),
    ("is it itself", emit("Equal", size("h"), size("h")), (1,)),
    ("is it 3", emit("Equal", size("h"), integers([3])), None),
    ("is it negative", emit("Less", size("h"), integers([0])), (0,)),
    ("is it not", emit("GreaterOrEqual", size("h"), integers([0])), (1,)),
    ("a choice", emit("Where", emit("Equal", size("h"), integers([-1])), integers([1]), size("h")), ("h",)),
    ("all of a shape", emit("ReduceProd", emit("Shape", Leaf("y", "float32", ("b", 3, "t"))), keepdims=0), ("3*b*t",)),
    ("as a list", emit("Reshape", emit("Size", Leaf("y", "float32", ("b", 3))), integers([1])), ("3*b",)),
    ("as often as it takes", emit("Expand", size("h"), integers([3])), ("h", "h", "h")),
]  # fmt: skip


@pytest.mark.parametrize(("symbol", "content"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_sizes_without_a_number(symbol: Symbol, content: tuple[Any, ...] | None) -> None:
    assert symbol.type.constant == content


def test_whole_numbers_must_not_leave_their_type() -> None:
    assert (integers([2**62]) * 4).type.constant is None


def test_long_lists_and_tables_are_left_to_run() -> None:
    assert emit("ConstantOfShape", integers([1025])).type.constant is None
    assert (constant([[1, 2]], "int64") + 1).type.constant is None
