"""Random models of branches and loops in each other, as another program would write them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import numpy as np
from hypothesis import strategies as st
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

SHAPE = (2, 3)


def tensor(name: str, kind: int = TensorProto.FLOAT, shape: tuple[int | str, ...] | None = SHAPE) -> object:
    return helper.make_tensor_value_info(name, kind, shape)


def literal(name: str, value: object, dtype: str) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(value, dtype)))


class Builder:
    """Nodes that read the floats of one shape that are known, and make more."""

    def __init__(self, draw: st.DrawFn, depth: int) -> None:
        self.draw, self.depth, self.numbers = draw, depth, count(1)

    def name(self, stem: str) -> str:
        return f"{stem}{next(self.numbers)}"

    def graph(
        self, known: list[str], inputs: list[object], depth: int, first: Callable[[list[NodeProto]], list[str]]
    ) -> GraphProto:
        """A body that makes what ``first`` makes, and a float of the shape."""
        nodes = list[NodeProto]()
        known = self.steps(list(known), nodes, depth)
        made = first(nodes)
        y = self.name("y")
        nodes.append(helper.make_node("Tanh", [known[-1]], [y]))
        outputs = [tensor(each, TensorProto.BOOL, None) for each in made]
        weights = []
        if self.draw(st.booleans()):  # A body has constants of its own.
            w, z = self.name("w"), self.name("y")
            weights.append(numpy_helper.from_array(np.linspace(-1, 1, 3, dtype=np.float32), w))
            nodes.append(helper.make_node("Add", [y, w], [z]))
            y = z
        return helper.make_graph(nodes, self.name("body"), inputs, [*outputs, tensor(y)], weights)

    def steps(self, known: list[str], nodes: list[NodeProto], depth: int) -> list[str]:
        kinds = ["unary", "binary", *["if", "loop", "while", "scan"] * (depth > 0)]
        for kind in self.draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3)):
            made = self.name("v")
            reads = self.draw(st.lists(st.sampled_from(known), min_size=2, max_size=2))
            if kind == "unary":
                nodes.append(helper.make_node(self.draw(st.sampled_from(["Sin", "Neg", "Sigmoid"])), reads[:1], [made]))
            elif kind == "binary":
                nodes.append(helper.make_node(self.draw(st.sampled_from(["Add", "Mul", "Sub"])), reads, [made]))
            else:
                getattr(self, f"add_{kind}")(known, reads, made, nodes, depth - 1)
            known.append(made)
        return known

    def positive(self, name: str, nodes: list[NodeProto]) -> str:
        """Make a condition: the sum of a value is above 0."""
        total, zero, found = self.name("s"), self.name("zero"), self.name("c")
        nodes += [
            helper.make_node("ReduceSum", [name], [total], keepdims=0),
            literal(zero, 0, "float32"),
            helper.make_node("Greater", [total, zero], [found]),
        ]
        return found

    def add_if(self, known: list[str], reads: list[str], made: str, nodes: list[NodeProto], depth: int) -> None:
        condition = self.positive(reads[0], nodes)
        branches = {way: self.graph(known, [], depth, lambda _: []) for way in ("then_branch", "else_branch")}
        nodes.append(helper.make_node("If", [condition], [made], self.name("if"), **branches))

    def add_loop(self, known: list[str], reads: list[str], made: str, nodes: list[NodeProto], depth: int) -> None:
        """A known number of turns, below and above what is unrolled, and what it makes in each."""
        turns = self.draw(st.sampled_from([0, 1, 3, 17]))
        most, i, c, v, state, all_turns = (self.name(stem) for stem in ("m", "i", "c", "v", "state", "turns"))
        nodes.append(literal(most, turns, "int64"))
        inputs = [tensor(i, TensorProto.INT64, ()), tensor(c, TensorProto.BOOL, ()), tensor(v)]
        body = self.graph([*known, v], inputs, depth, lambda nodes: [self.copied(c, nodes)])
        step = self.name("step")
        body.node.append(helper.make_node("Neg", [body.output[1].name], [step]))
        body.output.append(tensor(step))
        nodes += [
            helper.make_node("Loop", [most, "", reads[0]], [state, all_turns], self.name("loop"), body=body),
            literal(axes := self.name("axes"), [0], "int64"),
            helper.make_node("ReduceSum", [all_turns, axes], [total := self.name("t")], keepdims=0),
            helper.make_node("Add", [total, state], [made]),
        ]

    def add_while(self, known: list[str], reads: list[str], made: str, nodes: list[NodeProto], depth: int) -> None:
        """A loop that data may end."""
        most, i, c, v = (self.name(stem) for stem in ("m", "i", "c", "v"))
        nodes.append(literal(most, self.draw(st.sampled_from([2, 20])), "int64"))
        start = self.positive(reads[1], nodes) if self.draw(st.booleans()) else ""
        inputs = [tensor(i, TensorProto.INT64, ()), tensor(c, TensorProto.BOOL, ()), tensor(v)]
        body = self.graph([*known, v], inputs, depth, lambda nodes: [self.positive(v, nodes)])
        nodes.append(helper.make_node("Loop", [most, start, reads[0]], [made], self.name("loop"), body=body))

    def add_scan(self, known: list[str], reads: list[str], made: str, nodes: list[NodeProto], depth: int) -> None:
        """Over three columns, as a row each; states stay of one shape."""
        v, x, last, found = (self.name(stem) for stem in ("v", "x", "last", "found"))
        body = self.graph([*known, v], [tensor(v), tensor(x, shape=(2,))], depth, lambda _: [])
        wide, axes, row = self.name("wide"), self.name("axes"), self.name("row")
        body.node.extend(
            [
                literal(axes, [1], "int64"),
                helper.make_node("Unsqueeze", [x, axes], [wide]),
                helper.make_node("Add", [body.output[0].name, wide], [row]),
                helper.make_node("ReduceSum", [row, axes], [column := self.name("column")], keepdims=0),
            ]
        )
        del body.output[:]
        body.output.extend([tensor(row), tensor(column, shape=(2,))])
        ways = {f"scan_{side}_directions": [self.draw(st.integers(0, 1))] for side in ("input", "output")}
        axes_of = {"scan_input_axes": [1], "scan_output_axes": [1]}
        options = {"num_scan_inputs": 1, **ways, **axes_of}
        nodes += [
            helper.make_node("Scan", reads, [last, found], self.name("scan"), body=body, **options),
            helper.make_node("Add", [last, found], [made]),
        ]

    def copied(self, name: str, nodes: list[NodeProto]) -> str:
        found = self.name("c")
        nodes.append(helper.make_node("Identity", [name], [found]))
        return found


@st.composite
def models(draw: st.DrawFn, depth: int = 2) -> ModelProto:
    builder, nodes = Builder(draw, depth), list[NodeProto]()
    known = builder.steps(["a", "b", "w"], nodes, depth)
    nodes.append(helper.make_node("Identity", [known[-1]], ["out"]))
    weight = numpy_helper.from_array(np.array([[0.5, -1, 2], [1, 0.25, -0.5]], np.float32), "w")
    graph = helper.make_graph(nodes, "nested", [tensor("a"), tensor("b")], [tensor("out")], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
