"""Sizes of a few nodes that use each other's results are formulas of any length: they end, in time and by name."""

from __future__ import annotations

import pytest

from portable_nn.core.dims import LONGEST, TooLongError, product, rounded_quotient, total
from portable_nn.core.errors import GraphError
from portable_nn.core.graph import Graph, Node, Tensor, Value
from portable_nn.operators import infer

NUMBERS = Node("k", "Constant", (), ("k",), {"value": Tensor("int64", (1,), (3,))})


def graph(*nodes: Node) -> Graph:
    first = Node("s0", "Shape", ("x",), ("s0",), {"start": 0, "end": 1})
    return Graph((Value("x", "float32", ("n", "m")),), (nodes[-1].outputs[0],), (), (NUMBERS, first, *nodes))


def node(operator: str, inputs: tuple[str, ...], output: str, **attributes: int) -> Node:
    return Node(output, operator, inputs, (output,), attributes)


STEPS = {
    "fibonacci": lambda i: [
        node("Add", (f"s{i}", f"s{max(0, i - 1)}"), f"a{i}"),
        node("Div", (f"a{i}", "k"), f"s{i + 1}"),
    ],
    "powers": lambda i: [node("Mul", (f"s{i}", f"s{i}"), f"s{i + 1}")],
    "polynomials": lambda i: [
        node("Add", (f"s{i}", "k"), f"a{i}"),
        node("Mul", (f"s{i}", f"a{i}"), f"s{i + 1}"),
    ],
    "extremes": lambda i: [
        node("Add", (f"s{i}", f"s{max(0, i - 1)}"), f"a{i}"),
        node("Sub", ("k", f"a{i}"), f"b{i}"),
        node("Max", (f"b{i}", f"s{i}"), f"s{i + 1}"),
    ],
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_constant_that_is_an_endless_formula_is_unknown(step: object) -> None:
    nodes = [each for i in range(60) for each in step(i)]  # type: ignore[operator]
    types = infer(graph(*nodes)).types
    assert types["s1"].constant is not None
    assert types["s60"].constant is None
    assert all(len(str(each)) <= LONGEST for type in types.values() for each in type.constant or ())


def test_a_shape_that_is_an_endless_formula_is_refused() -> None:
    flat = Node("x0", "Flatten", ("x",), ("x0",), {"axis": 2})
    pairs = [
        each
        for i in range(30)
        for each in (
            node("Transpose", (f"x{i}",), f"t{i}"),
            node("MatMul", (f"x{i}", f"t{i}"), f"g{i}"),
            node("Flatten", (f"g{i}",), f"f{i}", axis=2),
            Node(f"x{i + 1}", "Pad", (f"f{i}", "pads"), (f"x{i + 1}",), {}),
        )
    ]
    pads = Node("pads", "Constant", (), ("pads",), {"value": Tensor("int64", (4,), (1, 0, 0, 0))})
    with pytest.raises(GraphError, match=r"its sizes are formulas of more than 4,000 characters"):
        infer(graph(pads, flat, *pairs))


def test_the_limits_of_one_formula() -> None:
    many = total(f"a{place}" for place in range(200))
    with pytest.raises(TooLongError):
        product([many, many])
    with pytest.raises(TooLongError):
        rounded_quotient("floor", "a" * LONGEST, 2)
    assert product([many, 2])
