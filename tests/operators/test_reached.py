"""How far indices reach that are computed of sizes: the largest that numpy computes, at any sizes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from portable_nn import Input, Network, emit
from portable_nn.operators import Symbol, constant, infer, integers, sizes_for_indices
from portable_nn.operators.registry import Array

NAMES = ("a", "b", "c")


class Whole(NamedTuple):
    """A value that a graph computes of sizes, and the same in numpy: an expression in names."""

    symbol: Symbol
    python: str


def _leaves() -> tuple[list[Input], list[Whole]]:
    """Inputs of one axis, and the places along each of them, on an axis of their own, which each is used once."""
    inputs = [Input(name=name, batch=name) for name in NAMES]
    counted = []
    for axis, each in enumerate(inputs):
        size = emit("Squeeze", emit("Shape", each))
        places = emit("Range", constant(0, "int64"), size, constant(1, "int64"))
        shape = [-1 if place == axis else 1 for place in range(len(inputs))]
        counted.append(Whole(emit("Reshape", places, integers(shape)), f"np.arange({NAMES[axis]}).reshape({shape})"))
    return inputs, counted


@st.composite
def _expression(draw: st.DrawFn, inputs: list[Input], leaves: list[Whole]) -> Whole:
    found = leaves[0]
    for leaf in leaves[1:]:
        found = _joined(draw(st.sampled_from(["Add", "Sub", "Mul"])), *draw(st.permutations([found, leaf])))
        number = draw(st.integers(-3, 5))
        size = draw(st.sampled_from(range(len(NAMES))))
        others = [Whole(constant(number, "int64"), f"np.int64({number})"),
                  Whole(emit("Squeeze", emit("Shape", inputs[size])), NAMES[size])]  # fmt: skip
        found = _joined(draw(st.sampled_from(["Add", "Sub", "Mul"])), found, draw(st.sampled_from(others)))
    return found


def _joined(operator: str, one: Whole, other: Whole) -> Whole:
    sign = {"Add": "+", "Sub": "-", "Mul": "*"}[operator]
    return Whole(emit(operator, one.symbol, other.symbol), f"({one.python} {sign} {other.python})")


@settings(max_examples=40, deadline=None)
@given(st.data(), st.fixed_dictionaries(dict.fromkeys(NAMES, st.integers(1, 6))))
def test_the_largest_index_is_the_one_that_numpy_computes(data: st.DataObject, to: dict[str, int]) -> None:
    inputs, leaves = _leaves()
    index = data.draw(_expression(inputs, leaves))
    table = Input(name="table", batch="rows")
    graph = Network([*inputs, table], emit("Gather", table, index.symbol, name="y")).graph
    found = dict(sizes_for_indices(graph, infer(graph).types))
    computed: Array = eval(index.python, {"np": np, **to})
    assert int(eval(str(found["rows"]), dict(to))) == computed.max() + 1
