"""Branches and loops, with bodies in their attributes."""

from __future__ import annotations

from cases.case import Case, positive, real, scalar, whole
from portable_nn.core.graph import Graph, Node, Parameter, Tensor, Value


def body(name: str, inputs: str, outputs: str, outside: str, *nodes: Node) -> tuple[Graph]:
    """A body whose names are single words; the node that has it says its types."""
    values = tuple(Value(each, "", ()) for each in inputs.split())
    captured = tuple(Parameter(each, "", ()) for each in outside.split())
    return (Graph(values, tuple(outputs.split()), captured, nodes, name),)


def node(text: str, **attributes: object) -> Node:
    """``y = Operator a b``"""
    made, _, call = text.partition(" = ")
    operator, *inputs = call.split()
    outputs = tuple(made.split())
    return Node(outputs[0], operator, tuple(inputs), outputs, attributes)  # type: ignore[arg-type]


def number(name: str, value: int, dtype: str) -> Node:
    return node(f"{name} = Constant", value=Tensor(dtype, (), (value,)))


THEN = body("then", "", "y z", "x w", node("a = MatMul x w"), node("y = Tanh a"), node("z = Mul x y"))
ELSE = body("else", "", "y z", "x", node("y = Exp x"), node("z = Neg y"))
NESTED = body(
    "nested",
    "",
    "y z",
    "c x w",
    node("n = Not c"),
    node("p q = If n x x w", then_branch=THEN, else_branch=ELSE),
    node("y = Mul p x"),
    node("z = Add q x"),
)
CELL = body(
    "cell", "h x", "n o", "w", node("a = MatMul h w"), node("b = Add a x"), node("n = Tanh b"), node("o = Mul n x")
)
SUMS = body("sums", "x", "y", "w", node("y = Mul x w"))
COUNTED = body("counted", "i c v", "c n o", "w", node("a = MatMul v w"), node("n = Sin a"), node("o = Exp n"))
UNTIL = body(
    "until",
    "i c v",
    "g n",
    "w most",
    node("n = MatMul v w"),
    node("a = Abs n"),
    node("s = ReduceSum a", keepdims=0),
    node("g = Less s most"),
)
ONCE = body("once", "i c v", "no v", "", number("no", 0, "bool"))
SWAPPED = body("swapped", "i c v u", "c u v r u", "w", node("r = Gather w i"))
SHIFTED = body("shifted", "i c v u", "c n v v", "w", node("r = Gather w i"), node("n = Add r u"))
STEPPED = body("stepped", "i c v", "c n o", "w", node("n o = Scan v v w", body=CELL, num_scan_inputs=1))
CHOSEN = body(
    "chosen",
    "h x",
    "n n",
    "w most",
    node("s = ReduceSum x", keepdims=0),
    node("c = Less s most"),
    node("n z = If c h h w", then_branch=THEN, else_branch=body("other", "", "y h", "h", node("y = Neg h"))),
)


def _control() -> list[Case]:
    x, w, many = real(2, 3), real(3, 3), real(2, 5, 3)
    ways = {"then_branch": THEN, "else_branch": ELSE}
    rows = [Case("If", (scalar(yes, "bool"), x, x, w), ways, wrt=(1, 2, 3), outputs=2) for yes in (True, False)]
    inner = {"then_branch": NESTED, "else_branch": ELSE}
    rows += [
        Case("If", (scalar(True, "bool").reshape(1), x, scalar(yes, "bool"), x, w), inner, wrt=(1, 3, 4), outputs=2)
        for yes in (True, False)
    ]
    rows.append(Case("If", (scalar(False, "bool"), x, x, w), ways, wrt=(1,), constants=(0,), outputs=2))
    along = {"body": CELL, "num_scan_inputs": 1, "scan_input_axes": (1,), "scan_output_axes": (1,)}
    for ways_in, ways_out in ((0, 0), (1, 0), (0, 1)):
        turned = {"scan_input_directions": (ways_in,), "scan_output_directions": (ways_out,)}
        rows.append(Case("Scan", (x, many, w), along | turned, wrt=(0, 1, 2), outputs=2))
    rows.append(Case("Scan", (real(4, 3), real(3)), {"body": SUMS, "num_scan_inputs": 1}, wrt=(0, 1)))
    three, forever, yes = scalar(3, "int64"), scalar(2**40, "int64"), scalar(True, "bool")
    loop = {"body": COUNTED}
    rows += [
        Case("Loop", (three, None, x, w), loop, wrt=(2, 3), constants=(0,), outputs=2),
        Case("Loop", (three, yes, x, w), loop, wrt=(2, 3), constants=(0, 1), outputs=2),
        Case("Loop", (scalar(9, "int64"), None, x, w, scalar(40.0)), {"body": UNTIL}, wrt=(2, 3), constants=(0,)),
        Case("Loop", (forever, yes, positive(2, 3), w * 2, scalar(1e4)), {"body": UNTIL}, constants=(0,)),
        Case("Loop", (None, None, whole(2)), {"body": ONCE}),
        Case("Loop", (three, None, real(3), real(3), w), {"body": SWAPPED}, wrt=(2, 3, 4), constants=(0,), outputs=4),
        Case("Loop", (three, None, real(3), real(3), w), {"body": SHIFTED}, wrt=(2, 3, 4), constants=(0,), outputs=3),
        Case("Loop", (three, None, real(3, 3), w), {"body": STEPPED}, wrt=(2, 3), constants=(0,), outputs=2),
        Case("Scan", (x, real(4, 3), w, scalar(0.1)), {"body": CHOSEN, "num_scan_inputs": 1}, wrt=(0, 2), outputs=2),
    ]
    return rows


CASES = [*_control()]
