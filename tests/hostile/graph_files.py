"""Small ONNX models with bodies, sequences, whole numbers of few bits and foreign operators, and changes of each.

A change is one of ``CHANGES``: of what bounds the work that a file asks for, of what it names, or of any part of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
from file_changes import change_message, messages_in, scrambled
from google.protobuf.message import DecodeError
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    TensorShapeProto,
    TypeProto,
    ValueInfoProto,
    helper,
    numpy_helper,
    parser,
)
from onnx_cases import DRAWN, graph_of

from portable_nn.core.errors import PortableNNError
from portable_nn.onnx.writing import to_model

HEAD = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1, "ai.onnx.ml" : 3]>'
X_TO_Y = "g (float[N, 4] x) => (float[N, 4] y)"

TEXTS = {
    "branch": """
        s = ReduceSum <keepdims = 0> (x)
        zero = Constant <value = float {0}> ()
        c = Greater (s, zero)
        y = If (c) <then_branch = t () => (float[N, 4] a) { a = MatMul (x, w) },
                    else_branch = e () => (float[N, 4] b) { b = Abs (x) }>""",
    "branches in branches": """
        s = ReduceSum <keepdims = 0> (x)
        zero = Constant <value = float {0}> ()
        c = Greater (s, zero)
        y = If (c) <then_branch = t () => (float[N, 4] a)
            { a = If (c) <then_branch = t2 () => (float[N, 4] d) { d = Neg (x) },
                          else_branch = e2 () => (float[N, 4] f) { f = Exp (x) }> },
                    else_branch = e () => (float[N, 4] b) { b = Abs (x) }>""",
    "few turns": """
        n = Constant <value = int64 {3}> ()
        y = Loop (n, "", x) <body = b (int64 i, bool c, float[N, 4] v) => (bool d, float[N, 4] u)
            { d = Identity (c) u = MatMul (v, w) }>""",
    "many turns": """
        n = Constant <value = int64 {40}> ()
        go = Constant <value = bool {1}> ()
        y, all = Loop (n, go, x) <body = b (int64 i, bool c, float[N, 4] v) => (bool d, float[N, 4] u, float[N, 4] o)
            { d = Identity (c) u = MatMul (v, w) o = Tanh (u) }>""",
    "turns until": """
        n = Constant <value = int64 {9223372036854775807}> ()
        go = Constant <value = bool {1}> ()
        most = Constant <value = float {9}> ()
        half = Constant <value = float {0.5}> ()
        y = Loop (n, go, x) <body = b (int64 i, bool c, float[N, 4] v) => (bool d, float[N, 4] u)
            { u = Mul (v, half) m = ReduceSum <keepdims = 0> (u) d = Greater (m, most) }>""",
    "scan": """
        y, all = Scan <num_scan_inputs = 1, body = b (float[4] h, float[4] r) => (float[4] n, float[4] o)
            { p = MatMul (h, w) q = Add (p, r) n = Tanh (q) o = Sin (n) }> (h0, x)""",
    "a branch in a loop": """
        n = Constant <value = int64 {20}> ()
        zero = Constant <value = float {0}> ()
        y = Loop (n, "", x) <body = b (int64 i, bool c, float[N, 4] v) => (bool d, float[N, 4] u)
            { d = Identity (c) s = ReduceSum <keepdims = 0> (v) k = Greater (s, zero)
              u = If (k) <then_branch = t () => (float[N, 4] a) { a = MatMul (v, w) },
                          else_branch = e () => (float[N, 4] f) { f = Abs (v) }> }>""",
    "sequence": """
        one = Constant <value = int64 {1}> ()
        e = SequenceEmpty <dtype = 1> ()
        f = SequenceInsert (e, x)
        s = SequenceInsert (f, x, one)
        k = SequenceLength (s)
        a = SequenceAt (s, one)
        r = SequenceErase (s, one)
        y = ConcatFromSequence <axis = 0> (r)""",
    "split sequence": """
        two = Constant <value = int64 {2}> ()
        s = SplitToSequence <axis = 1, keepdims = 1> (x, two)
        y = ConcatFromSequence <axis = 1> (s)""",
    "sequence map": """
        s = SequenceConstruct (x, x)
        m = SequenceMap (s) <body = b (float[N, 4] v) => (float[N, 4] u) { u = Neg (v) }>
        zero = Constant <value = int64 {0}> ()
        y = SequenceAt (m, zero)""",
    "optional": """
        o = Optional (x)
        h = OptionalHasElement (o)
        y = OptionalGetElement (o)""",
    "quantised": """
        s = Constant <value = float {0.1}> ()
        z = Constant <value = uint8 {3}> ()
        q = QuantizeLinear (x, s, z)
        y = DequantizeLinear (q, s, z)""",
    "quantised weights": """
        s = Constant <value = float[4] {0.1, 0.2, 0.3, 0.4}> ()
        z = Constant <value = int8[4] {0, 1, 2, 3}> ()
        q = Constant <value = int8[4, 4] {1,2,3,4,5,6,7,8,-1,-2,-3,-4,-5,-6,-7,-8}> ()
        v = DequantizeLinear <axis = 1> (q, s, z)
        y = MatMul (x, v)""",
    "dynamic": """
        q, s, z = DynamicQuantizeLinear (x)
        v = Constant <value = int8[4, 4] {1,2,3,4,5,6,7,8,-1,-2,-3,-4,-5,-6,-7,-8}> ()
        m = MatMulInteger (q, v, z)
        f = Cast <to = 1> (m)
        y = Mul (f, s)""",
    "data": """
        k = Constant <value = int64[1] {-1}> ()
        i = NonZero (x)
        t = Transpose (i)
        g = GatherND (x, t)
        u = Unique (g)
        r = Reshape (u, k)
        one = Constant <value = int64[1] {1}> ()
        y = Expand (r, one)""",
    "range": """
        zero = Constant <value = int64 {0}> ()
        one = Constant <value = int64 {1}> ()
        n = Constant <value = int64 {4}> ()
        r = Range (zero, n, one)
        f = Cast <to = 1> (r)
        shape = Constant <value = int64[2] {1, 4}> ()
        b = Expand (f, shape)
        t = Tile (b, shape)
        o = ConstantOfShape (shape)
        pads = Constant <value = int64[4] {1, 0, 0, 2}> ()
        p = Pad (x, pads)
        y = Add (x, f)""",
    "opaque": """
        shape = Constant <value = int64[3] {-1, 2, 2}> ()
        back = Constant <value = int64[2] {-1, 4}> ()
        r = Reshape (x, shape)
        i = com.microsoft.Inverse (r)
        h = Reshape (i, back)
        y = MatMul (h, w)""",
    "opaque trees": """
        y = ai.onnx.ml.TreeEnsembleRegressor <n_targets = 1, nodes_treeids = [0, 0, 0], nodes_nodeids = [0, 1, 2],
            nodes_featureids = [0, 0, 0], nodes_modes = ["BRANCH_LEQ", "LEAF", "LEAF"], nodes_values = [0.5, 0.0, 0.0],
            nodes_truenodeids = [1, 0, 0], nodes_falsenodeids = [2, 0, 0], target_treeids = [0, 0],
            target_nodeids = [1, 2], target_ids = [0, 0], target_weights = [1.0, 2.0]> (x)""",
    "signals": """
        shape = Constant <value = int64[3] {-1, 4, 1}> ()
        step = Constant <value = int64 {2}> ()
        size = Constant <value = int64 {4}> ()
        r = Reshape (x, shape)
        d = DFT (r)
        h = HannWindow (size)
        y = STFT (r, step, h, size)""",
}
"""The nodes of models that take ``x``; ``w`` and ``h0`` are weights."""

FUNCTION = f"""{HEAD[:-2]}, "own" : 1]> {X_TO_Y} {{ z = own.twice (x) y = own.twice (z) }}
    <domain: "own", opset_import: ["" : 21]> twice (a) => (b) {{ b = Add (a, a) }}"""


def files() -> dict[str, bytes]:
    """The models, by the names of files."""
    made = {name: parser.parse_model(f"{HEAD} {X_TO_Y} {{{text}}}") for name, text in TEXTS.items()}
    weights = {"w": np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4), "h0": np.zeros(4, np.float32)}
    for each in made.values():
        each.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    made["function"] = parser.parse_model(FUNCTION)
    made |= {f"microsoft {place}": each for place, each in enumerate(_microsoft())}
    made |= {f"case {place}": each for place, each in enumerate(_cases())}
    return {f"{name.replace(' ', '_')}.onnx": each.SerializeToString() for name, each in made.items()}


def _microsoft() -> Iterator[ModelProto]:
    from test_onnx_microsoft import CASES, model_of

    for case in CASES:
        yield model_of(case)[0]


def _cases() -> Iterator[ModelProto]:
    """Those of operators with bodies, and on whole numbers of few bits."""
    for name in DRAWN:
        graph = graph_of(name)
        if name in ("If", "Loop", "Scan") or "Quantize" in name or "Integer" in name or name.startswith("QLinear"):
            weights = {value.name: np.ones(value.shape, value.dtype) for value in graph.parameters}
            with suppress(PortableNNError):
                yield to_model(graph, weights, opset=21)


# -- changes

Change: TypeAlias = Callable[[ModelProto, random.Random], None]

SIZES = (-(2**63), -1, 0, 1, 2, 3, 15, 17, 2**16, 2**20, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1)
FLOATS = (0.0, -0.0, -1.0, 1e-45, 1e-30, 1e30, 3.4e38, float("inf"), float("-inf"), float("nan"))
DOMAINS = (
    "",
    "ai.onnx",
    "ai.onnx.ml",
    "com.microsoft",
    "com.microsoft.nchwc",
    "own",
    "evil",
    "ai.onnx.training",
    "é\0",
)
OPERATORS = (
    "If", "Loop", "Scan", "SequenceMap", "SequenceConstruct", "SplitToSequence", "SequenceAt", "Optional", "NonZero",
    "QuantizeLinear", "DequantizeLinear", "Inverse", "Cast", "Expand", "Tile", "Range", "ConstantOfShape", "Reshape",
    "MatMulNBits", "GroupQueryAttention", "EPContext", "StringNormalizer", "RandomNormal", "Identity", "Nothing", "",
)  # fmt: skip


def found(model: ModelProto, kind: type[Any]) -> list[Any]:
    """The messages of a kind in a model."""
    return [each for each in messages_in(model) if isinstance(each, kind)]


def picked(model: ModelProto, kind: type[Any], dice: random.Random) -> Any:
    """One of them. Raises ``IndexError`` where there is none."""
    return dice.choice(found(model, kind))


def constant(model: ModelProto, dice: random.Random) -> None:
    """A number of a constant or weight: a count of turns, a size, a scale, a zero point."""
    tensor = picked(model, TensorProto, dice)
    array = np.array(numpy_helper.to_array(tensor))
    if not array.size:
        return
    place, choices = dice.randrange(array.size), FLOATS if array.dtype.kind not in "iub" else SIZES
    with np.errstate(all="ignore"):
        value = np.array(dice.choice(choices)).astype(array.dtype)
    (np.put if dice.randrange(3) else lambda array, _, value: array.fill(value))(array, place, value)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def retyped(model: ModelProto, dice: random.Random) -> None:
    """A constant of another type or shape, of as many numbers: a zero point beyond its range."""
    tensor = picked(model, TensorProto, dice)
    array, kind = numpy_helper.to_array(tensor), dice.choice([1, 2, 3, 5, 6, 7, 9, 10, 11, 12, 16, 17, 21, 22, 23, 25])
    shape = dice.choice([array.shape, (array.size,), (1, *array.shape), (array.size, 1), (0,)])
    values = [0] * int(np.prod(shape)) if dice.randrange(2) else array.astype(float).reshape(-1)[: int(np.prod(shape))]
    with np.errstate(all="ignore"):
        tensor.CopyFrom(helper.make_tensor(tensor.name, kind, shape, values))


def dimension(model: ModelProto, dice: random.Random) -> None:
    """A size that a value, or a tensor, is said to have."""
    if dice.randrange(3):
        dim = picked(model, TensorShapeProto.Dimension, dice)
        if dice.randrange(3):
            dim.dim_value = dice.choice(SIZES)
        else:
            dim.dim_param = dice.choice(("N", "M", "", "N*2**40", "-1", "9" * 40, "N+N+N", "floor(N/0)", "\0"))
    else:
        tensor = picked(model, TensorProto, dice)
        tensor.dims[:] = [dice.choice(SIZES) for _ in range(dice.randrange(4))]


def element_type(model: ModelProto, dice: random.Random) -> None:
    """The type that a value is said to have, or a sequence, or an optional, of it."""
    type, kind = picked(model, TypeProto, dice), dice.randrange(4)
    old = TypeProto.FromString(type.SerializeToString())
    if kind == 0:
        type.sequence_type.elem_type.CopyFrom(old)
    elif kind == 1:
        type.optional_type.elem_type.CopyFrom(old)
    elif kind == 2:
        for _ in range(dice.choice((1, 30, 80))):
            type.sequence_type.elem_type.CopyFrom(TypeProto.FromString(type.SerializeToString()))
    else:
        type.tensor_type.elem_type = dice.randrange(-1, 28)


def attribute(model: ModelProto, dice: random.Random) -> None:
    """A number or text of an attribute, or one of another type, or of another node."""
    one, kind = picked(model, AttributeProto, dice), dice.randrange(5)
    if kind == 0:
        one.ParseFromString(picked(model, AttributeProto, dice).SerializeToString())  # It may be a part of it.
    elif kind == 1:
        one.type = dice.randrange(0, 15)
    elif kind == 2:
        one.name = picked(model, AttributeProto, dice).name
    elif one.ints and kind == 3:
        one.ints[dice.randrange(len(one.ints))] = dice.choice(SIZES)
    else:
        new = dice.choice(
            [dice.choice(SIZES), dice.choice(FLOATS), "x", [dice.choice(SIZES)] * dice.choice((1, 2, 40))]
        )
        one.CopyFrom(helper.make_attribute(one.name, new))


def names(model: ModelProto, dice: random.Random) -> None:
    """An input or output of a node, or of a graph, under the name of another, of none, or twice."""
    nodes = found(model, NodeProto)
    every = [each for node in nodes for each in (*node.input, *node.output)] + ["", "nothing", "x", "y"]
    node = dice.choice(nodes)
    side = dice.choice((node.input, node.input, node.output))
    way = dice.randrange(4)
    if way == 0 and side:
        del side[dice.randrange(len(side))]
    elif way == 1:
        side.append(dice.choice(every))
    elif way == 2 and side:
        side[dice.randrange(len(side))] = dice.choice(every)
    else:
        picked(model, ValueInfoProto, dice).name = dice.choice(every)


def operator(model: ModelProto, dice: random.Random) -> None:
    """A node of another operator or domain, or a domain of another version."""
    node, way = picked(model, NodeProto, dice), dice.randrange(3)
    if way == 0:
        node.op_type = dice.choice((*OPERATORS, picked(model, NodeProto, dice).op_type))
    elif way == 1:
        node.domain = dice.choice(DOMAINS)
    else:
        opset = dice.choice([*model.opset_import] or [model.opset_import.add()])
        opset.version = dice.choice((-1, 0, 1, 6, 7, 9, 11, 12, 13, 17, 22, 25, 28, 99, 2**62))


def order(model: ModelProto, dice: random.Random) -> None:
    """Nodes of a graph in another order, twice, or fewer; or its inputs and outputs."""
    graph = picked(model, GraphProto, dice)
    items = dice.choice((graph.node, graph.node, graph.input, graph.output, graph.initializer))
    chosen = [type(each).FromString(each.SerializeToString()) for each in items]
    way = dice.randrange(3)
    if way == 0:
        dice.shuffle(chosen)
    elif way == 1:
        chosen += chosen[: dice.randrange(3)] * dice.choice((1, 1, 50))
    else:
        chosen = chosen[: dice.randrange(len(chosen) + 1)]
    del items[:]
    items.extend(chosen)


def deeper(model: ModelProto, dice: random.Random) -> None:
    """The nodes of the graph within branches or loops in each other, up to far more than may be."""
    inner = GraphProto.FromString(model.graph.SerializeToString())
    kept = [ValueInfoProto.FromString(each.SerializeToString()) for each in inner.output]
    is_loop, turns = dice.randrange(2), dice.choice((0, 1, 2, 17, 2**31, 2**63 - 1))
    for level in range(dice.choice((1, 2, 3, 5, 15, 17, 40))):
        del inner.input[:]
        outside = GraphProto(name=f"at {level}")
        ends = [f"{value.name} {level}" for value in kept]
        ways = ("then_branch", "else_branch") if not is_loop else ("body",)
        start, value = (np.array(turns), "turns") if is_loop else (np.array(True), "yes")
        outside.initializer.append(numpy_helper.from_array(start, f"{value} {level}"))
        if is_loop:
            inner.input.append(helper.make_tensor_value_info(f"i {level}", TensorProto.INT64, []))
            inner.input.append(helper.make_tensor_value_info(f"c {level}", TensorProto.BOOL, []))
            inner.node.append(helper.make_node("Identity", [f"c {level}"], [f"d {level}"]))
            inner.output.insert(0, helper.make_tensor_value_info(f"d {level}", TensorProto.BOOL, []))
        node = helper.make_node("Loop" if is_loop else "If", [f"{value} {level}"], ends, **dict.fromkeys(ways, inner))
        outside.node.append(node)
        outside.output.extend(helper.make_empty_tensor_value_info(name) for name in ends)
        if outside.ByteSize() > 300_000:  # Both branches hold the whole graph: so they double at each level.
            break
        inner, kept = outside, [*outside.output]
    inner.input.extend(model.graph.input)
    model.graph.CopyFrom(inner)


def longer(model: ModelProto, dice: random.Random) -> None:
    """Many inputs and outputs of a node, or many nodes one after the other."""
    node = picked(model, NodeProto, dice)
    if dice.randrange(2):
        node.input.extend([*node.input] * dice.choice((1, 10, 200)))
        return
    graph = dice.choice([each for each in found(model, GraphProto) if each.node])
    last, many = graph.node[-1], dice.choice((3, 30, 300))
    if last.output:
        for place in range(many):
            name = last.output[0] if not place else f"more {place}"
            graph.node.append(helper.make_node(dice.choice(("Add", "Mul")), [name, name], [f"more {place + 1}"]))
        del graph.output[:]
        graph.output.append(helper.make_empty_tensor_value_info(f"more {many}"))


def message(model: ModelProto, dice: random.Random) -> None:
    """Any field of any message."""
    change_message(model, dice)


CHANGES: Sequence[Change] = (
    constant, constant, retyped, dimension, element_type, attribute, names, operator, order, deeper, longer, message,
)  # fmt: skip


def changed(data: bytes, dice: random.Random) -> bytes:
    """A model after one to three changes."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
        for _ in range(dice.randint(1, 3)):
            dice.choice(CHANGES)(model, dice)
        return model.SerializeToString()
    except (DecodeError, UnicodeDecodeError, ValueError, TypeError, IndexError, AttributeError, OverflowError):
        return scrambled(data, dice)
