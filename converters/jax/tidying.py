"""Nodes of a traced model as a network has them: what JAX computes in several primitives is one operator again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from portable_nn.core.graph import Attribute, Graph, Node, Shape, Tensor
from portable_nn.operators import Types, infer, lookup
from portable_nn.rewrites.unused import needed

UNSCALED, UNSHIFTED = "unscaled", "unshifted"
"""The names of the constants of batch norms without a scale or a bias."""


def tidied(graph: Graph, momenta: Mapping[str, float]) -> Graph:
    """The same graph with Gemm, convolutions with their bias, BatchNormalization and Softmax.

    ``momenta`` has the momentum of each batch norm, by the beginning of the names of its parameters. Nodes that read
    the kernel of a layer bear its name.
    """
    found = _Tidying(graph, momenta)
    for node in graph.nodes:
        found.add(node)
    made = replace(graph, nodes=tuple(found.made.values()))
    return _named(replace(made, nodes=needed(made, made.outputs)))


class _Tidying:
    """Takes the nodes one after the other: a rule makes one of a node and of those that lead to it."""

    def __init__(self, graph: Graph, momenta: Mapping[str, float]) -> None:
        self.types: Types = infer(graph).types
        self.parameters = {value.name: value for value in graph.parameters}
        self.reads = Counter([*graph.outputs, *(name for node in graph.nodes for name in node.inputs)])
        self.momenta = momenta
        self.made: dict[str, Node] = {}

    def add(self, node: Node) -> None:
        """Add a node in its simplest form."""
        node = self.bare(node)
        rules = (self.normalized, self.biased, self.softmax)
        found = next((made for rule in rules if (made := rule(node))), node)
        self.made[node.outputs[0]] = found

    # -- what leads to a value

    def by(self, value: str, operator: str, *, once: bool = False) -> Node | None:
        """The node that makes a value, if it is of that operator, and nothing else reads it where that matters."""
        node = self.made.get(value)
        return node if node and node.operator == operator and not (once and self.reads[value] > 1) else None

    def shape(self, value: str) -> Shape:
        return self.types[value].shape

    def vector(self, value: str) -> str:
        """The value of which this one is another shape, where both are a row of numbers."""
        node = self.by(value, "Reshape") or self.by(value, "Unsqueeze")
        if node is None or any(sum(dim != 1 for dim in self.shape(each)) > 1 for each in (value, node.inputs[0])):
            return value
        return self.vector(node.inputs[0])

    def sides(self, node: Node | None) -> Iterator[tuple[str, str]]:
        """Both inputs of a node of two, in both orders."""
        if node and len(node.inputs) == 2:
            yield node.inputs[0], node.inputs[1]
            yield node.inputs[1], node.inputs[0]

    # -- rules

    def bare(self, node: Node) -> Node:
        """Without shapes (1, …, n) of rows that broadcast all the same."""
        if not lookup(node.operator, node.domain).elementwise or len(node.inputs) < 2:
            return node
        ranks = [len(self.shape(name)) for name in node.inputs]
        inputs = list(node.inputs)
        for place, name in enumerate(node.inputs):
            row, shape = self.vector(name), self.shape(name)
            others = max(rank for other, rank in enumerate(ranks) if other != place)
            if row != name and len(self.shape(row)) == 1 and shape[-1:] == self.shape(row) and others >= len(shape):
                inputs[place] = row
        return replace(node, inputs=tuple(inputs))

    def biased(self, node: Node) -> Node | None:
        """Gemm, or a convolution with its bias."""
        if node.operator != "Add":
            return None
        for product, bias in self.sides(node):
            row = self.vector(bias)
            if self.shape(row) != self._channels(product):
                continue
            dense = self.by(product, "MatMul", once=True)
            if dense and [len(self.shape(each)) for each in dense.inputs] == [2, 2] and row == bias:
                x, kernel = dense.inputs
                turned = self.by(kernel, "Transpose")
                options = {"transB": 1} if turned else {}
                inputs = (x, turned.inputs[0] if turned else kernel, row)
                return replace(node, operator="Gemm", inputs=inputs, attributes=options)
            convolution = self.by(product, "Conv", once=True) or self.by(product, "ConvTranspose", once=True)
            if convolution and len(convolution.inputs) == 2 and self._is_per_channel(bias, product):
                return replace(convolution, name=node.name, inputs=(*convolution.inputs, row), outputs=node.outputs)
        return None

    def _channels(self, value: str) -> Shape:
        """The shape of a row of numbers, one for each channel."""
        return self.shape(value)[1:2]

    def _is_per_channel(self, row: str, value: str) -> bool:
        shape, wanted = self.shape(row), self.shape(value)
        whole = (1,) * (len(wanted) - len(shape)) + shape
        return whole == (1, *wanted[1:2], *(1,) * (len(wanted) - 2))

    def normalized(self, node: Node) -> Node | None:
        """(x - mean) · (scale / √(var + ε)), with running statistics, and behind it the bias; either may be missing."""
        if node.operator == "Add":
            return self._shifted(node)
        if node.operator != "Mul":
            return None
        for centred, factor in self.sides(node):
            difference = self.by(centred, "Sub", once=True)
            for inverse, scale in (*self.sides(self.by(self.vector(factor), "Mul")), (factor, None)):
                found = self._statistics(difference, inverse)
                if found is None:
                    continue
                x, mean, variance, epsilon = found
                layer = mean.rpartition(".")[0]
                rows = [mean, variance, *([self.vector(scale)] if scale else [])]
                fits = all(self.shape(row) == self._channels(x) and row in self.parameters for row in rows)
                if self.momenta.get(layer) is None or not fits:
                    continue
                weight = rows[2] if scale else self._filled(f"{layer}.{UNSCALED}", 1, mean)
                inputs = (x, weight, self._filled(f"{layer}.{UNSHIFTED}", 0, mean), mean, variance)
                options: dict[str, Attribute] = {"epsilon": epsilon, "momentum": self.momenta[layer]}
                return replace(node, operator="BatchNormalization", inputs=inputs, attributes=options)
        return None

    def _filled(self, name: str, number: int, like: str) -> str:
        """A constant row of one number, of the shape and type of a parameter: training changes none of it."""
        (size,), dtype = self.parameters[like].shape, self.parameters[like].dtype
        assert isinstance(size, int)
        value = Tensor(dtype, (size,), (float(number),) * size)
        self.made[name] = Node(name, "Constant", (), (name,), {"value": value})
        return name

    def _shifted(self, node: Node) -> Node | None:
        """A batch norm with the bias that is added behind it."""
        for scaled, bias in self.sides(node):
            norm, row = self.by(scaled, "BatchNormalization", once=True), self.vector(bias)
            if norm is None or not norm.inputs[2].endswith(UNSHIFTED) or row not in self.parameters:
                continue
            x, scale, _, *statistics = norm.inputs
            if self.shape(row) == self._channels(x) and self._is_per_channel(bias, x):
                return replace(norm, name=node.name, inputs=(x, scale, row, *statistics), outputs=node.outputs)
        return None

    def _statistics(self, difference: Node | None, inverse: str) -> tuple[str, str, str, float] | None:
        """x, the mean, the variance and ε."""
        reciprocal = self.by(self.vector(inverse), "Reciprocal")
        root = self.by(reciprocal.inputs[0], "Sqrt") if reciprocal else None
        for variance, epsilon in self.sides(self.by(root.inputs[0], "Add") if root else None):
            number = self.types[epsilon].constant
            if difference and number and len(number) == 1 and isinstance(number[0], float):
                x, mean = difference.inputs
                return x, self.vector(mean), self.vector(variance), number[0]
        return None

    def softmax(self, node: Node) -> Node | None:
        """exp(x - max x) / Σ exp(x - max x)."""
        if node.operator != "Div":
            return None
        power, total = node.inputs
        exponential = self.by(power, "Exp")
        shifted = self.by(exponential.inputs[0], "Sub", once=True) if exponential else None
        axis, largest = self._along(total, "ReduceSum", power), None
        if shifted:
            stopped = self.by(shifted.inputs[1], "StopGradient")  # As JAX has it: the derivative is the same.
            maximum = stopped.inputs[0] if stopped else shifted.inputs[1]
            largest = self._along(maximum, "ReduceMax", shifted.inputs[0])
        if axis is None or axis != largest or not shifted:
            return None
        return replace(node, operator="Softmax", inputs=shifted.inputs[:1], attributes={"axis": axis})

    def _along(self, value: str, operator: str, of: str) -> int | None:
        """The one axis along which a value reduces another, and which stays with the size 1."""
        kept = self.by(value, "Unsqueeze")
        reduced = self.by(kept.inputs[0], operator) if kept else None
        if kept is None or reduced is None or reduced.inputs[0] != of:
            return None
        axes = [self.types[each.inputs[1]].constant for each in (kept, reduced)]
        same = axes[0] == axes[1] and axes[0] is not None and len(axes[0]) == 1
        return int(axes[0][0]) if same and axes[0] else None


def _named(graph: Graph) -> Graph:
    """With the names of the modules whose kernels they read for nodes."""
    taken = {*graph.values(), *(node.name for node in graph.nodes)}
    parameters = {value.name for value in graph.parameters}
    nodes, renamed = list[Node](), dict[str, str]()
    for node in graph.nodes:
        places = lookup(node.operator, node.domain).weights
        weights = [node.inputs[place] for place in places if place < len(node.inputs)]
        name = next((each.rpartition(".")[0] for each in weights if each in parameters), "")
        if name and name not in taken:
            taken.add(name)
            if node.outputs[0] not in graph.outputs:
                renamed[node.outputs[0]] = name
            node = replace(node, name=name)
        nodes.append(replace(node, inputs=tuple(renamed.get(each, each) for each in node.inputs),
                             outputs=tuple(renamed.get(each, each) for each in node.outputs)))  # fmt: skip
    return replace(graph, nodes=tuple(nodes))
