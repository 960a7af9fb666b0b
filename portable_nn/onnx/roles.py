"""The roles of arrays in a model that another program wrote: weights, which training changes, or constants.

A model does not say. What reads an array tells most (the kernel of a convolution is a weight, what a comparison reads
is none), its name the rest: exporters name parameters after the modules that have them (``layers.0.gamma``), and what
they fold after nothing (``val_12``, ``onnx::Add_345``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

from onnx import GraphProto, NodeProto

from portable_nn.core.graph import Graph
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.core.text import quantity
from portable_nn.onnx.opsets.microsoft import DOMAIN
from portable_nn.onnx.opsets.support import label, noted
from portable_nn.operators import Operator, find, is_of_shape, known_operator

FOLDED: Final = re.compile(
    r"""(onnx::\w+_\d+                        # PyTorch's older exporter: folded or transposed
    |.*_output_\d+                            # … and what its nodes make
    |\d+                                      # … and what it had no name for
    |(val|const|constant|tmp|_?v|c)(_\d+)*    # PyTorch's newer exporter, and optimisers
    |_?(c_)?(lifted_)?tensor(_constant)?_?\d* # … constants in the code
    |(scalar_tensor(_default)?|full|full_like|zeros|ones|arange|linspace|eye|expand|unsqueeze|squeeze|view|reshape
      |permute|transpose|t|slice|select|cat|clone|detach|index|repeat|mul|add|sub|div)(_\d+)*
    |(const_fold_opt_|const|Const).*          # tf2onnx
    |[A-Z][a-z]\d*_\w+cst\d*                  # skl2onnx: numbers in an expression
    |.*(/Const|_const|/y|/x)(_\d+)?)""",
    re.VERBOSE,
)
"""The last parts of names that exporters give to what is no parameter of its own."""

FILLED: Final = re.compile(r"(zeros|ones|full(_like)?|arange|linspace|eye)(_\d+)*")
"""Names after functions that fill an array: the initial state of a loop, also where a product reads it."""

BUFFERS: Final = re.compile(
    r"""(.*_)?masks?|fill|.*_fill|masked_bias|inv_freq|freqs?(_cis)?|anchors?|strides?|running_\w+|epsilon|eps
    |(initial_)?(h|c|hidden|cell)_?(0|states?)?|(initial_)\w*states?|(init|prev)_?[hc]\d*|fb|mel\w*|window|dft\w*
    |negate|(minus_)?(zero|half|one|two|three|ten)s?""",
    re.VERBOSE,
)
"""The last parts of names that say that no training changes an array: masks, fills, frequencies, states, numbers."""

LEARNED: Final = re.compile(
    r"weight|bias|kernel|gamma|beta|alpha|gain|gate|scale|temp|lambda|slope|logit|coef|param|token|embed|table|query|pos",
    re.IGNORECASE,
)
"""Words in the names of parameters."""

DOUBTFUL: Final = re.compile(r"pe|pos(itional)?_?enc(oding)?s?|.*coords?(_table)?|mean|std")
"""The last parts of names of arrays that some train and others compute."""

LEAST: Final = -100
"""The number from which on one is negative enough to mask with."""

KEEPING: Final = "export with do_constant_folding=False, or optimize=False where dynamo=True"
"""The advice that makes PyTorch's exporters write each parameter as it is."""

APART: Final = "though an exporter may have merged them as equal: optimize=False where dynamo=True keeps these apart"


class Role(NamedTuple):
    """The role of an array: whether training changes it, and whether its name and use leave no doubt."""

    trains: bool
    is_sure: bool = True


def roles_of(graph: GraphProto, arrays: NamedArrays) -> dict[str, Role]:
    """The role of each of ``arrays``, floats of a model by name."""
    uses, stored = _Uses(graph), {tensor.name for tensor in graph.initializer}
    scales = {
        name for name in arrays if re.sub("_scale$", "_zero_point", name) in stored - {name}
    }  # Of quantised numbers.
    return {
        name: Role(False) if name in scales else _role(name, array, list(uses.of(name)))
        for name, array in arrays.items()
    }


class _Use(NamedTuple):
    """A node that reads an array, or what nodes of other shapes make of it, and the place of the input."""

    node: NodeProto
    place: int
    is_bias: bool

    @property
    def is_weight(self) -> bool:
        """True if constants there are weights."""
        operator = _operator(self.node)
        if operator is None or self.is_bias:
            return self.is_bias
        # Any input of a product may be one; of an operator that names its weights, those alone.
        return self.place in operator.weights or (operator.family == "linear" and not operator.weights)

    @property
    def is_bound(self) -> bool:
        """True if constants there are bounds and thresholds: no gradient flows back to what is only compared."""
        operator = _operator(self.node)
        compares = operator is not None and operator.elementwise and operator.gradient is None
        return compares or (self.node.op_type == "Clip" and self.place > 0)


class _Uses:
    """The readers of the values of a graph."""

    def __init__(self, graph: GraphProto) -> None:
        self._readers: dict[str, dict[int, tuple[NodeProto, list[int]]]] = {}
        for number, node in enumerate(graph.node):
            for place, name in enumerate(node.input):
                self._readers.setdefault(name, {}).setdefault(number, (node, []))[1].append(place)
        self._products = {name for node in graph.node if _is_product(node) for name in node.output}

    def of(self, name: str) -> Iterator[_Use]:
        """The uses of a value, also through operators that only move its elements."""
        left, seen = [name], {name}
        while left:
            for node, places in self._readers.get(left.pop(), {}).values():
                others = set(node.input) - seen
                is_bias = node.op_type == "Add" and not self._products.isdisjoint(others)
                moving = [_moves(node, place) and not (node.op_type == "Concat" and others) for place in places]
                yield from (
                    _Use(node, place, is_bias) for place, moves in zip(places, moving, strict=True) if not moves
                )
                if any(moving):
                    left += [each for each in node.output if each not in seen]
                    seen.update(node.output)


def _operator(node: NodeProto) -> Operator | None:
    """The operator of a node, of a fused one the product in it."""
    is_fused = node.domain == DOMAIN and node.op_type.startswith("Fused")
    return find(node.op_type.removeprefix("Fused")) if is_fused else find(node.op_type, node.domain)


def _is_product(node: NodeProto) -> bool:
    """True if a node computes a product with weights."""
    operator = _operator(node)
    return bool(operator and operator.family == "linear" and operator.name != "Attention")


def _moves(node: NodeProto, place: int) -> bool:
    """True if a node only moves the elements of an input."""
    operator = _operator(node)
    return bool(operator and operator.family == "layout" and place in operator.passes and place not in operator.weights)


def _role(name: str, array: Array, uses: list[_Use]) -> Role:
    last = re.split(r"[./]", name.removesuffix(":0"))[-1]
    is_folded = any(map(FOLDED.fullmatch, (name, last)))
    weight = _weight(name, array, uses, is_folded=is_folded)
    if (FILLED if is_folded else BUFFERS).fullmatch(last):
        return Role(False, is_sure=weight is None)
    if DOUBTFUL.fullmatch(last) and not is_folded:
        return Role(False, is_sure=False)
    if is_mask(array):
        return Role(False)
    if weight:
        return weight
    if is_folded or {use.is_bound for use in uses} == {True}:
        return Role(False, is_sure=array.size == 1 or not _is_combined(uses))
    if "." in name or LEARNED.search(last) or "Gather" in {use.node.op_type for use in uses}:
        return Role(True)
    return Role(array.size > 1, is_sure=False)


def _weight(name: str, array: Array, uses: list[_Use], *, is_folded: bool) -> Role | None:
    """The role of an array that is read as weights are; ``None`` where it is not."""
    readers = [use for use in uses if use.is_weight]
    if is_folded and array.size == 1 and not any(name in use.node.input for use in readers):
        return None  # A number that fills an array, such as the zeros that a state begins with.
    if all(use.node.op_type == "Gather" for use in readers):
        return None
    # One that is added, and of several axes, may be folded from fewer numbers.
    return Role(True, is_sure=not (is_folded and array.ndim > 1 and all(use.is_bias for use in uses)))


def is_mask(array: Array) -> bool:
    """True if an array holds zeros and one large negative number, as what is added to scores of attention does."""
    if not array.size or (least := array.min()) > LEAST:
        return False
    return bool(((array == 0) | (array == least)).all())


def _is_combined(uses: list[_Use]) -> bool:
    """True if an array is added to values, multiplied by them, or one of several parts of them."""
    found = [_operator(use.node) for use in uses]
    return any(operator and (operator.affine or (operator.passes and not operator.elementwise)) for operator in found)


# -- notes for the report


def doubts(roles: Mapping[str, Role]) -> Iterator[str]:
    """Notes on the arrays that may be either."""
    for trains, said in (
        (True, "trained, though they may be constants (--freeze keeps them)"),
        (
            False,
            f"kept, though they may be weights (--freeze '!NAME' trains; to have what they were made of, {KEEPING})",
        ),
    ):
        yield from noted(said, [name for name, role in roles.items() if role.trains == trains and not role.is_sure])


def shared(graph: GraphProto, trained: Collection[str]) -> Iterator[str]:
    """A note on the ``trained`` arrays that several nodes read: tied on purpose, or merged because they were equal."""
    readers: dict[str, dict[str, None]] = {}
    for node in graph.node:
        if is_of_shape(node.op_type):  # It reads none of its numbers.
            continue
        for name in node.input:
            if name in trained:
                readers.setdefault(name, {})[label(node)] = None
    found = [f"{name}' of '" + "' and '".join(nodes) for name, nodes in readers.items() if len(nodes) > 1]
    yield from noted("weights that several nodes share, and that train as one", found, APART)


def folded_normalisation(graph: GraphProto) -> Iterator[str]:
    """A note on the nodes into whose weights the exporter has folded batch normalisation."""
    nodes = [label(node) for node in graph.node if _has_folded(node)]
    yield from noted("batch normalisation is folded into the weights of nodes", nodes, f"to train it, {KEEPING}")


def _has_folded(node: NodeProto) -> bool:
    rules = (entry.value for entry in node.metadata_props if entry.key == "pkg.onnxscript.rewriter.rule_name")
    weight = node.input[1] if node.op_type in ("Conv", "ConvTranspose") and len(node.input) > 1 else ""
    return any("FuseBatchNorm" in rule for rule in rules) or bool(
        re.match(r"(onnx::Conv|ConvBnFusion_)(?!.*(_quantized|_DequantizeLinear_Output)$)", weight)
    )


class Count(NamedTuple):
    """The number of parameters that training changes, and of those that are kept; running statistics are neither."""

    weights: int
    constants: int

    def __str__(self) -> str:
        verb = "trains" if self.weights == 1 else "train"
        kept = "is kept" if self.constants == 1 else "are kept"
        return f"{quantity(self.weights, 'weight')} {verb}, {quantity(self.constants, 'constant')} {kept}"


def counted(graph: Graph) -> Count:
    """The numbers of parameters of a graph that train, and that are constants."""
    states = set[str]()
    for node in graph.nodes:
        operator = known_operator(node)
        places = operator.state.values() if operator else ()
        states.update(node.inputs[place] for place in places if place < len(node.inputs))
    trained = sum(value.trainable for value in graph.parameters)
    return Count(trained, sum(not value.trainable and value.name not in states for value in graph.parameters))
