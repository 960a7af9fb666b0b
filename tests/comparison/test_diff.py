"""``diff``: what is the same is never accused, and where two models part is named.

Faults are planted and rewrites are made here, by the onnx package and by other tools, without asking the detector.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic

import portable_nn as pnn
from portable_nn.comparison.report import as_page, as_text
from portable_nn.comparison.structure import difference_of
from portable_nn.core.errors import GraphError, ShapeError, UsageError
from portable_nn.runtimes.table import RUNTIMES, Runtime


@cache
def network() -> pnn.Network:
    net = pnn.Sequential(
        pnn.Input(3, 12, 12), pnn.Conv2d(8, kernel=3, padding=1), pnn.BatchNorm2d(), pnn.ReLU(), pnn.MaxPool2d(2),
        pnn.Conv2d(8, kernel=3, padding=1), pnn.GELU(), pnn.Flatten(), pnn.Dense(32), pnn.LayerNorm(), pnn.Tanh(),
        pnn.Dense(32), pnn.Sigmoid(), pnn.Dense(5), pnn.Softmax(), seed=0,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for name in ("running_mean", "running_var", "weight", "bias"):
        array = net.parameters[f"batch_norm_1.{name}"]
        array[...] = rng.uniform(0.5, 1.5, array.shape)
    return net


@pytest.fixture
def model(tmp_path: Path) -> ModelProto:
    """The network as another program's file, at a version without LayerNormalization as one node."""
    pnn.export_onnx(network(), tmp_path / "a.onnx", opset=16)
    found = onnx.load(tmp_path / "a.onnx")
    del found.metadata_props[:]
    found.producer_name = "somebody"
    return found


def node(model: ModelProto, name: str) -> onnx.NodeProto:
    return next(each for each in model.graph.node if each.name == name)


def array(model: ModelProto, name: str) -> np.ndarray:
    return numpy_helper.to_array(next(each for each in model.graph.initializer if each.name == name)).copy()


def put(model: ModelProto, name: str, elements: np.ndarray) -> None:
    next(each for each in model.graph.initializer if each.name == name).CopyFrom(
        numpy_helper.from_array(elements, name)
    )


def other_names(model: ModelProto) -> ModelProto:
    """The same with other names of all nodes and values but the inputs and outputs."""
    kept = {each.name for each in (*model.graph.input, *model.graph.output)}
    names: dict[str, str] = {"": ""}

    def renamed(name: str) -> str:
        return name if name in kept else names.setdefault(name, f"v{len(names)}")

    for place, each in enumerate(model.graph.node):
        each.name = f"n{place}"
        each.input[:], each.output[:] = map(renamed, each.input), map(renamed, each.output)
    for tensor in model.graph.initializer:
        tensor.name = renamed(tensor.name)
    del model.graph.value_info[:]
    return model


# -- the same


def optimised(model: ModelProto, level: str) -> ModelProto:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath, options.log_severity_level = "optimised.onnx", 4
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load("optimised.onnx")


def simplified(model: ModelProto) -> ModelProto:
    return pytest.importorskip("onnxsim").simplify(model)[0]


def with_identities(model: ModelProto) -> ModelProto:
    """An Identity behind each node."""
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for place, each in enumerate(nodes):
        passed = f"passed {place}"
        model.graph.node.extend([each, helper.make_node("Identity", [passed], [each.output[0]])])
        model.graph.node[-2].output[0] = passed
    return model


def as_products(model: ModelProto) -> ModelProto:
    """Each Gemm as MatMul and Add."""
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for each in nodes:
        if each.op_type != "Gemm":
            model.graph.node.append(each)
            continue
        put(model, each.input[1], np.ascontiguousarray(array(model, each.input[1]).T))
        model.graph.node.extend(
            [
                helper.make_node("MatMul", each.input[:2], [f"{each.name} product"]),
                helper.make_node("Add", [f"{each.name} product", each.input[2]], each.output),
            ]
        )
    return model


REWRITES: dict[str, Callable[[ModelProto], ModelProto]] = {
    "other names": other_names,
    "basic": lambda model: optimised(model, "BASIC"),
    "extended": lambda model: optimised(model, "EXTENDED"),
    "simplified": simplified,
    "identities": with_identities,
    "products": as_products,
    "all": lambda model: optimised(other_names(with_identities(as_products(model))), "EXTENDED"),
}


@pytest.mark.parametrize("rewrite", REWRITES.values(), ids=REWRITES)
def test_a_rewrite_is_not_accused(rewrite: Callable[[ModelProto], ModelProto], model: ModelProto, tmp_path: Path,
                                  monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    found = pnn.diff("a.onnx", rewrite(model))
    assert (found.verdict, found.partings, found.weights) == ("same", (), ())
    assert all(gap.max_abs_error < 1e-6 for gap in found.outputs.values())


def test_the_same_bytes_are_said_to_be_that(tmp_path: Path, model: ModelProto) -> None:
    onnx.save(model, tmp_path / "b.onnx")
    onnx.save(model, tmp_path / "c.onnx")
    assert pnn.diff(tmp_path / "b.onnx", tmp_path / "c.onnx").verdict == "identical"


def test_kinds_of_models_may_differ(tmp_path: Path) -> None:
    """A weight file, an ONNX file, and a module of PyTorch with the same numbers."""
    network().save(tmp_path / "a.h5")
    pnn.export_onnx(network(), tmp_path / "a.onnx")
    assert pnn.diff(tmp_path / "a.h5", tmp_path / "a.onnx").verdict == "same"
    assert pnn.diff(network(), tmp_path / "a.onnx").verdict == "same"


# -- other weights


def halved(model: ModelProto) -> tuple[str, str]:
    elements = array(model, "conv_2.bias")
    elements[...] = np.arange(8)
    elements[:4] = 0
    put(model, "conv_2.bias", elements)
    return "conv_2", "differ"


def swapped(model: ModelProto) -> tuple[str, str]:
    one, other = array(model, "batch_norm_1.weight"), array(model, "batch_norm_1.bias")
    put(model, "batch_norm_1.weight", other)
    put(model, "batch_norm_1.bias", one)
    return "batch_norm_1", "is 'batch_norm_1.bias' of A"


def transposed(model: ModelProto) -> tuple[str, str]:
    put(model, "dense_2.weight", np.ascontiguousarray(array(model, "dense_2.weight").T))
    return "dense_2", "transposed"


def scaled(model: ModelProto) -> tuple[str, str]:
    put(model, "dense_1.weight", array(model, "dense_1.weight") * np.float32(1.01))
    return "dense_1", "scaled by 1.01"


@pytest.mark.parametrize("change", [halved, swapped, transposed, scaled])
def test_weights_that_differ_are_named_and_how(change: Callable[[ModelProto], tuple[str, str]], model: ModelProto,
                                               tmp_path: Path) -> None:  # fmt: skip
    name, how = change(model)
    found = pnn.diff(tmp_path / "a.onnx", model)
    assert found.verdict == "weights"
    assert all(name in each.nodes for each in found.weights)
    assert any(how in each.how for each in found.weights)
    assert not found.partings


def test_differences_of_arrays_in_words() -> None:
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    assert difference_of(x, x.astype(np.float16).astype(np.float32)) == "rounded to float16"
    assert difference_of(x, x * np.float32(2)) == "scaled by 2"
    assert difference_of(x, x[:, ::-1]) == "the same elements in another order"
    changed = x.copy()
    changed[0, :3] += 0.5
    assert difference_of(x, changed) == "3 of 20 elements differ, by up to 0.5"
    assert difference_of(x, x.T) == "transposed"
    assert difference_of(x, 0 * x) == "20 of 20 elements are 0"
    assert difference_of(np.float32([0.2]), np.float32([0.25])) == "scaled by 1.25"
    with np.errstate(all="raise"):
        assert difference_of(x[0], np.full_like(x[0], -np.inf)) == "5 of 5 elements differ, by up to inf"


def test_attributes_that_say_what_holds_without_them_are_no_difference(tmp_path: Path) -> None:
    """Of one convolution, of which one file writes out everything and the other nothing."""
    usual = {"kernel_shape": [3, 3], "dilations": [1, 1], "pads": [0] * 4, "strides": [1, 1], "group": 1}
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    other = weight.copy()
    other[1, 2, 0, 1] += 0.5
    for name, attributes, numbers in (("a", {}, weight), ("b", usual, other)):
        made = helper.make_graph(
            [helper.make_node("Conv", ["x", "w"], ["y"], **attributes)], "g",
            [helper.make_tensor_value_info("x", 1, [1, 3, 8, 8])],
            [helper.make_tensor_value_info("y", 1, [1, 4, 6, 6])],
            [numpy_helper.from_array(numbers, "w")],
        )  # fmt: skip
        onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / f"{name}.onnx")
    found = pnn.diff(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert (found.verdict, [each.how for each in found.weights]) == (
        "weights",
        ["1 of 108 elements differ, by up to 0.5"],
    )


def test_numbers_without_a_zero_point_have_a_type(tmp_path: Path) -> None:
    """What QuantizeLinear and DequantizeLinear do without one, with a wrong scale, is another function."""
    scales = [numpy_helper.from_array(np.float32(each), name) for name, each in (("s", 0.05), ("t", 0.08))]
    for name, nodes in (
        ("a", [helper.make_node("Identity", ["x"], ["d"])]),
        (
            "b",
            [
                helper.make_node("QuantizeLinear", ["x", "s"], ["q"]),
                helper.make_node("DequantizeLinear", ["q", "t"], ["d"]),
            ],
        ),
    ):
        made = helper.make_graph(
            [*nodes, helper.make_node("Relu", ["d"], ["y"])], "g", [helper.make_tensor_value_info("x", 1, [3, 8])],
            [helper.make_tensor_value_info("y", 1, [3, 8])], scales if name == "b" else [],
        )  # fmt: skip
        onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / f"{name}.onnx")
    found = pnn.diff(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert found.verdict == "parted"


# -- another function


def epsilon(model: ModelProto) -> str:
    [attribute] = [each for each in node(model, "batch_norm_1").attribute if each.name == "epsilon"]
    attribute.f = 1e-3
    return "batch_norm_1"


def leaky(model: ModelProto) -> str:
    node(model, "relu_1").op_type = "LeakyRelu"
    return "relu_1"


def average(model: ModelProto) -> str:
    pool = node(model, "max_pool_1")
    pool.op_type = "AveragePool"
    kept = [each for each in pool.attribute if each.name in ("kernel_shape", "strides")]
    del pool.attribute[:]
    pool.attribute.extend(kept)
    return "max_pool_1"


def axis(model: ModelProto) -> str:
    """Only with several examples does the first axis say anything."""
    [attribute] = [each for each in node(model, "softmax_1").attribute if each.name == "axis"] or [None]
    if attribute is None:
        node(model, "softmax_1").attribute.append(helper.make_attribute("axis", 0))
    else:
        attribute.i = 0
    return "softmax_1"


def rewired(model: ModelProto) -> str:
    node(model, "tanh_1").input[0] = "dense_1"
    return "tanh_1"


def skipped(model: ModelProto) -> str:
    """The sigmoid is left out, so that the layer behind it reads something else."""
    node(model, "dense_3").input[0] = "dense_2"
    return "dense_3"


@pytest.mark.parametrize("rename", [False, True], ids=["", "other names"])
@pytest.mark.parametrize("fault", [epsilon, leaky, average, axis, rewired, skipped])
def test_the_node_at_which_they_part_is_named(fault: Callable[[ModelProto], str], model: ModelProto, tmp_path: Path,
                                              *, rename: bool) -> None:  # fmt: skip
    name = fault(model)
    place = [each.name for each in model.graph.node].index(name)
    if rename:
        name = other_names(model).graph.node[place].name
    found = pnn.diff(tmp_path / "a.onnx", model)
    assert found.verdict == "parted"
    [parting] = found.partings
    assert parting.nodes_b == (name,)
    assert parting.apart > parting.guaranteed >= parting.likely
    assert parting.shown == "beyond rounding"


def test_nodes_that_part_together_are_listed_from_the_first_one() -> None:
    """A way of seven nodes with nothing in common, of which the verdict's table leaves some out."""
    ways = ("Sin", "Cos", "Abs", "Tanh", "Elu", "Relu", "Sigmoid"), ("Exp", "Atan", "Neg", "Erf", "Floor", "Ceil")
    texts = (" ".join(f"v{n + 1} = {name}(v{n})" for n, name in enumerate(way)) for way in ways)
    ends = (f"(float[n,4] v0) => (float[n,4] v{len(way)})" for way in ways)
    found = pnn.diff(*(made(f"{end} {{{text}}}") for end, text in zip(ends, texts, strict=True)))
    [parting] = found.partings
    assert len(parting.nodes_a) == 7
    [row] = [line for line in as_text(found).splitlines() if line.startswith("v1")]
    assert row.startswith("v1, v2, v3, v4, v5, and 2 more  v1, v2, v3, v4, v5, and 1 more ")


def test_two_faults_are_both_named(model: ModelProto, tmp_path: Path) -> None:
    names = [leaky(model), rewired(model)]
    assert [each.nodes_b[-1] for each in pnn.diff(tmp_path / "a.onnx", model).partings] == names


def test_a_fault_in_an_optimised_model_is_named_at_its_nodes(model: ModelProto, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """The convolution with its normalisation and activation is one node there."""
    monkeypatch.chdir(tmp_path)
    leaky(model)
    found = pnn.diff("a.onnx", optimised(model, "EXTENDED"))
    assert found.verdict == "parted"
    assert found.partings[0].nodes_a[-1] == "relu_1"
    assert len(found.partings) == 1


def made(nodes: str, weights: dict[str, np.ndarray] | None = None) -> ModelProto:
    """A model of a text in the syntax of onnx.parser: ``(inputs) => (outputs) {nodes}``."""
    found = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> g {nodes}')
    found.graph.initializer.extend(numpy_helper.from_array(each, name) for name, each in (weights or {}).items())
    return found


ATTENTION = """(float[n,4,4,4] x) => (float[n,4,4,4] y) {
    [split] q = Transpose<perm = [0, 2, 1, 3]>(x) [turn] t = Transpose<perm = [0, 1, 3, 2]>(q)
    [same] r = Reshape(t, shape) [scale] k = Mul(r, half) [product] p = MatMul(q, k) [soft] y = Softmax(p)}"""
"""Where all sides are equal, any order of axes fits."""

COMPARED = """(float[n,4] x) => (float[n,4] y, bool[n,4] z) {
    [one] a = Gemm(x, w, b) [other] c = Gemm(x, v, d) [sum] s = Sub(a, c) [less] z = Less(a, c) [add] y = Add(s, b)}"""

ELSEWHERE = [
    (ATTENTION, "perm = [0, 2, 1, 3]", "perm = [0, 3, 1, 2]", "split"),
    (ATTENTION, "perm = [0, 1, 3, 2]", "perm = [0, 2, 1, 3]", "turn"),
    (ATTENTION, "Reshape(t", "Reshape(q", "same"),
    (ATTENTION, "MatMul(q, k)", "MatMul(k, q)", "product"),
    (COMPARED, "Less(a, c)", "Less(c, a)", "less"),
    (COMPARED, "Sub(a, c)", "Sub(c, a)", "sum"),
    (COMPARED, "Add(s, b)", "Add(s, d)", "add"),
]
"""A model, what of it is another way, and the node where the fault is: what reads it may seem to have it."""


@pytest.mark.parametrize("rename", [False, True], ids=["", "other names"])
@pytest.mark.parametrize(("text", "right", "wrong", "name"), ELSEWHERE, ids=[f"{each[2]}" for each in ELSEWHERE])
def test_the_node_with_the_fault_is_named_and_not_what_reads_it(text: str, right: str, wrong: str, name: str,
                                                                *, rename: bool) -> None:  # fmt: skip
    rng = np.random.default_rng(0)
    weights = {each: rng.standard_normal((4, 4) if each in "wv" else 4).astype(np.float32) for each in "wvbd"}
    weights |= {"half": np.float32(0.5), "shape": np.array([0, 4, 4, 4])}
    one, other = (made(each, weights) for each in (text, text.replace(right, wrong)))
    place = [each.name for each in other.graph.node].index(name)
    found = pnn.diff(one, other_names(other) if rename else other)
    assert found.verdict == "parted"
    assert [each.nodes_b for each in found.partings] == [(other.graph.node[place].name,)]


BRANCH = """(float[n,4] x) => (float[n,4] y) {
    big = ReduceSum<keepdims = 0>(x) no = Less(big, big)
    [choice] y = If(no) <then_branch = t () => (float[n,4] a) {[there] a = Neg(x)},
                         else_branch = e () => (float[n,4] b) {[half] h = Mul(x, k) [bend] b = Tanh(h)}>}"""

LOOP = """(float[n,4] x) => (float[n,4] y) {
    [steps] y = Loop(three, yes, x) <body = b (int64 i, bool c, float[n,4] s) => (bool d, float[n,4] r)
        {d = Identity(c) [grow] g = Add(s, k) [bend] r = Tanh(g)}>}"""

SCAN = """(float[n,4] x) => (float[4] y, float[n,4] z) {
    [steps] y, z = Scan<num_scan_inputs = 1, body = b (float[4] s, float[4] v) => (float[4] r, float[4] q)
        {[grow] g = Add(s, v) [bend] r = Tanh(g) q = Identity(r)}>(zeros, x)}"""

INSIDE = [
    (BRANCH, "Mul(x, k)", "Add(x, k)", "choice", "in its else_branch, half of A and half of B: Mul in A, Add in B"),
    (LOOP, "Tanh(g)", "Sigmoid(g)", "steps", "in its body, bend of A and bend of B: Tanh in A, Sigmoid in B"),
    (LOOP, "Add(s, k)", "Sub(s, k)", "steps", "in its body, grow of A and grow of B: Add in A, Sub in B"),
    (SCAN, "Tanh(g)", "Sin(g)", "steps", "in its body, bend of A and bend of B: Tanh in A, Sin in B"),
]
"""A model, what in a body is another way, the node that has the body, and what is said of it."""


@pytest.mark.parametrize(("text", "right", "wrong", "name", "why"), INSIDE, ids=[each[2] for each in INSIDE])
def test_the_node_in_a_body_is_named(text: str, right: str, wrong: str, name: str, why: str) -> None:
    weights = {"k": np.float32([0.5, 1, 1.5, 2]), "three": np.array(3), "yes": np.array(True)}
    weights |= {"zeros": np.zeros(4, np.float32)}
    found = pnn.diff(made(text, weights), made(text.replace(right, wrong), weights))
    assert (found.verdict, found.partings[0].nodes_b) == ("parted", (name,))
    assert found.partings[0].why == why


def test_a_value_that_is_brought_back_from_another_order_of_axes_is_the_same() -> None:
    """On numbers of any size: what is brought back was made before it, and by a function that may have limits."""
    text = "(float[n,4,4] x) => (float[n,4,4] y, float[n,4,4] z) {l = LayerNormalization(x, s) t = Transpose<perm = "
    text += "[0, 2, 1]>(l) y = Tanh(l) z = Tanh(t)}"
    back = text.replace("y = Tanh(l)", "b = Transpose<perm = [0, 2, 1]>(t) y = Tanh(b)")
    one, other = (made(each, {"s": np.ones(4, np.float32)}) for each in (text, back))
    assert [pnn.diff(*each).verdict for each in ((one, other), (other, one))] == ["same"] * 2


@pytest.mark.parametrize("wrong", ["Neg(x)", "Sqrt(x)"])
def test_a_branch_that_no_input_takes_decides_only_where_it_is_the_same(wrong: str) -> None:
    text = BRANCH.replace("Less(big, big)", "Greater(big, k)").replace("Neg(x)", "Identity(x)")
    one, other = (made(each, {"k": np.float32(1e6)}) for each in (text, text.replace("Identity(x)", wrong)))
    found = pnn.diff(one, other)
    assert found.verdict == "undecided"
    assert "'choice' (If) agrees on all inputs, but its then_branch, which none takes, differs: there" in found.reason
    assert pnn.diff(one, made(text, {"k": np.float32(1e6)})).verdict == "same"


@pytest.mark.parametrize("wrong", ["Neg(x)", "Tanh(x)"])
def test_a_branch_that_sizes_decide_is_compared(wrong: str) -> None:
    text = """(float[n,4] x) => (float[n,4] y) {
        sizes = Shape<end = 1>(x) many = Greater(sizes, k) is_so = Squeeze(many)
        [choice] y = If(is_so) <then_branch = t () => (float[n,4] a) {[there] a = Identity(x)},
                                else_branch = e () => (float[n,4] b) {[here] b = Abs(x)}>}"""
    found = pnn.diff(*(made(each, {"k": np.array([99])}) for each in (text, text.replace("Identity(x)", wrong))))
    assert found.verdict == "undecided"
    assert "its then_branch, which none takes, differs: there and there" in found.reason


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        ("a = Abs(x) r = Identity(a)", "r = Identity(x)", "whole numbers of the other sign"),
        ("a = Min(x, k) r = Identity(a)", "r = Identity(x)", "whole numbers 32 times as large"),
        ("s = Sign(x) r = Mul(x, s)", "r = Abs(x)", ""),
    ],
)
def test_whole_numbers_that_are_not_drawn_decide(one: str, other: str, where: str) -> None:
    """Inputs of whole numbers are drawn as 0 and 1 where nothing says what they may be."""
    models = [
        made(f"(int64[n,4] x) => (float[n,4] y) {{{text} y = Cast<to = 1>(r)}}", {"k": np.int64(9)})
        for text in (other, one)
    ]
    found = pnn.diff(*models)
    assert found.verdict == ("undecided" if where else "same")
    assert where in found.reason


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("l = Sin(x) s = Cos(x) y = Where(g, l, s)", "y = Cos(x)"),
        ("l = Sin(x) s = Cos(x) y = Where(g, l, s)", "l = Neg(x) s = Cos(x) y = Where(g, l, s)"),
        ("xx = Mul(x, z) y = Min(xx, k)", "y = Mul(x, z)"),
    ],
)
def test_a_side_that_no_input_takes_decides(one: str, other: str) -> None:
    """Nor one value: the sides of a Where, or a product of two inputs."""
    texts = [one, other, "l = Sin(x) s = Cos(x) n = Not(g) y = Where(n, s, l)"]
    head = "(float[n,4] x, float[n,4] z) => (float[n,4] y) {g = Greater(x, k)"
    models = [made(f"{head} {text}}}", {"k": np.float32(20)}) for text in texts]
    for each in (models[:2], models[1::-1]):
        found = pnn.diff(*each)
        assert found.verdict == "undecided"
        assert "agrees on all inputs, but not on numbers 32 times as large" in found.reason
    assert pnn.diff(models[0], models[2]).verdict == ("same" if "Where" in one else "parted")


def test_numbers_below_the_least_of_float16_are_rounded_to_its_multiples() -> None:
    texts = [
        "(float[n,4] x) => (float[n,4] y) {q = Mul(x, x) y = Mul(q, q)}",
        "(float[n,4] x) => (float[n,4] y) {h = Cast<to = 10>(x) q = Mul(h, h) r = Mul(q, q) y = Cast<to = 1>(r)}",
    ]
    small = np.geomspace(1e-6, 2, 8, dtype=np.float32).reshape(2, 4)
    for each in (texts, texts[::-1]):
        assert pnn.diff(*map(made, each)).verdict == "same"
        assert pnn.diff(*map(made, each), inputs={"x": small}).verdict == "same"
    wrong = made(texts[1].replace("Mul(q, q)", "Mul(q, h)"))
    assert pnn.diff(made(texts[0]), wrong).verdict == "parted"


CHOSEN = "b = Identity(m) a = Where(b, x, lowest)"
"""Scores, of which a mask hides some."""


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        ("g = Greater(x, k)", "g = GreaterOrEqual(x, k)", "multiples of a half"),
        ("n = ReduceL2<axes = [1]>(x) g = Div(x, n)", "g = LpNormalization<axis = 1>(x)", "multiples of a half"),
        ("p = Pow(x, two) r = Relu(x) g = Add(p, r)", "p = Pow(x, two) r = Abs(x) g = Add(p, r)", "of the other sign"),
        (
            "s = ReduceMax<keepdims = 0>(x) a = Relu(x) g = Mul(a, s)",
            "s = ReduceMax<keepdims = 0>(x) a = Clip(x, k, most) g = Mul(a, s)",
            "numbers 32 times as large",
        ),
    ],
)
def test_ties_signs_and_single_numbers_decide(one: str, other: str, where: str) -> None:
    stored = {"k": np.float32(0), "two": np.float32(2), "most": np.float32(6)}
    texts = [f"(float[n,4] x) => (float[n,4] y) {{{text} y = Cast<to = 1>(g)}}" for text in (one, other)]
    for each in (texts, texts[::-1]):
        found = pnn.diff(*(made(text, stored) for text in each))
        assert found.verdict == "undecided"
        assert where in found.reason


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x)",
            "MaxPool<kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1>(x)",
        ),
        ("Conv<strides = [2, 2], pads = [0, 0, 1, 1]>(x, w)", 'Conv<strides = [2, 2], auto_pad = "SAME_UPPER">(x, w)'),
    ],
    ids=["ceil_mode", "auto_pad"],
)
def test_sizes_that_are_odd_decide(one: str, other: str) -> None:
    """A stride of 2 divides even sizes alone, where both give the same."""
    weights = {"w": np.random.default_rng(0).normal(size=(3, 2, 3, 3)).astype(np.float32)}
    texts = [f"(float[n,2,h,w] x) => (float[n,c,i,j] y) {{y = {text}}}" for text in (one, other)]
    for each in (texts, texts[::-1]):
        assert pnn.diff(*(made(text, weights) for text in each)).verdict == "parted"


@pytest.mark.parametrize("lowest", [-1e4, -1e9, -3.4e38])
@pytest.mark.parametrize(
    "masked",
    [
        "f = Cast<to = 1>(m) g = Sub(one, f) p = Mul(g, lowest) a = Add(x, p)",
        "p = Where(m, zero, lowest) a = Add(x, p)",
        "a = Where(m, x, lowest)",
    ],
)
def test_a_mask_that_is_added_is_one_that_is_chosen(masked: str, lowest: float) -> None:
    """The mask alone is near what it hides, as far as its own deviation says."""
    stored = {"one": np.float32(1), "zero": np.float32(0), "lowest": np.float32(lowest)}
    texts = [f"(float[n,8] x, bool[n,8] m) => (float[n,8] y) {{{each} y = Softmax(a)}}" for each in (masked, CHOSEN)]
    for each in (texts, texts[::-1]):
        assert pnn.diff(*(made(text, stored) for text in each)).verdict == "same"
    wrong = made(texts[0].replace("y = Softmax(a)", "b = Mul(a, two) y = Softmax(b)"), {**stored, "two": np.float32(2)})
    assert pnn.diff(made(texts[1], stored), wrong).verdict == "parted"


def test_the_parts_of_a_split_without_sizes_are_as_many_as_its_outputs() -> None:
    text = "(float[n,4] x) => (float[n,1] y) {a, b = Split<axis = 1>(x) y = ReduceMax<axes = [1]>(a)}"
    found = pnn.diff(made(text), made(text.replace("a, b", "a, b, c, d")))
    assert found.verdict == "parted"
    assert found.partings[0].why == "(1, 2) in A, (1, 1) in B"


def test_dynamic_steps_are_compared_on_numbers_of_both_signs() -> None:
    """A zero point that is forgotten is 0 on positive numbers."""
    weight = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    text = """(float[n,4] x) => (float[n,4] y) {q, s, z = DynamicQuantizeLinear(x) i = MatMulInteger(q, w)
        f = Cast<to = 1>(i) k = Mul(s, step) y = Mul(f, k)}"""
    narrow = {"w": np.round(weight / 0.02).astype(np.int8), "step": np.float32(0.02)}
    floats = made("(float[n,4] x) => (float[n,4] y) {y = MatMul(x, w)}", {"w": weight})
    assert pnn.diff(made(text, narrow), floats).verdict == "parted"
    assert pnn.diff(made(text.replace("(q, w)", "(q, w, z)"), narrow), floats).verdict == "same"


@pytest.mark.parametrize(
    ("nodes", "words", "verdict"),
    [
        ("(string[n,2] x) => (int64[n,2] y) {y = ai.onnx.ml.LabelEncoder<keys_strings = [WORDS], values_int64s = [1, 2]"
         ", default_int64 = 0>(x)}", ('"cat", "dog"', '"cat", "cow"'), "parted"),
        ('(float[n,2] x) => (string[n] y, float[n,2] z) {y, z = ai.onnx.ml.LinearClassifier<classlabels_strings = '
         '[WORDS], coefficients = [1.0, 0.5, -1.0, -0.5], intercepts = [0.0, 0.1], post_transform = "NONE">(x)}',
         ('"a", "b"', '"b", "a"'), "parted"),
        ('(float[n,2] x) => (string[n] y, float[n,2] z) {y, z = ai.onnx.ml.LinearClassifier<classlabels_strings = '
         '[WORDS], coefficients = [1.0, 0.5, -1.0, -0.5], intercepts = [0.0, 0.1], post_transform = "NONE">(x)}',
         ('"a", "b"', '"a", "c"'), "same"),
    ],
)  # fmt: skip
def test_words_that_numbers_stand_for_are_compared(nodes: str, words: tuple[str, str], verdict: str) -> None:
    head = '<ir_version: 8, opset_import: ["": 17, "ai.onnx.ml": 3]> g '
    found = pnn.diff(*(onnx.parser.parse_model(head + nodes.replace("WORDS", each)) for each in words))
    assert found.verdict == verdict
    text = " ".join([found.reason, *found.notes])
    assert "{} in A, and {} in B".format(*(each.replace('"', "") for each in words)) in text


def test_classes_are_those_of_the_output_with_the_same_name() -> None:
    x = pnn.Input(4, name="x")
    first, second = pnn.Dense(2, name="first")(x), pnn.Dense(2, name="second")(x)
    one = pnn.Network(x, [first, second], seed=0, labels=["a", "b"])
    other = pnn.Network(x, [second, first], seed=0, labels=["b", "a"])
    found = pnn.diff(one, other)  # The classes are those of "first" here, and of "second" there.
    assert (found.verdict, found.notes) == ("same", ())


def test_a_single_number_that_is_scaled_and_moved_is_an_input() -> None:
    scaled = "(float s, float[n,4] x) => (float[n,4] y) {g = Mul(s, half) o = Sub(one, g) y = Mul(x, o)}"
    one = made(scaled, {"half": np.float32(0.5), "one": np.float32(1)})
    assert pnn.diff(one, made("(float s, float[n,4] x) => (float[n,4] y) {y = Mul(x, s)}")).verdict == "parted"


def test_a_size_that_is_another_where_numbers_are_negative_decides() -> None:
    text = "(int64[n,4] x) => (int64[m] y) {s = ReduceSum<keepdims = 0>(x) y = Range(zero, s, one)}"
    stored = {"zero": np.int64(0), "one": np.int64(1)}
    other = made(text.replace("{", "{a = Abs(x) ").replace("(x) y", "(a) y"), stored)
    found = pnn.diff(other, made(text, stored))
    assert found.verdict == "undecided"
    assert "'y' (Range) agrees on all inputs, but not on whole numbers of the other sign" in found.reason


def test_inputs_are_those_of_the_same_name_in_any_order() -> None:
    one = made("(float[n,3] x, float[n,3] y) => (float[n,3] z) {z = Sub(x, y)}")
    assert pnn.diff(one, made("(float[n,3] y, float[n,3] x) => (float[n,3] z) {z = Sub(x, y)}")).verdict == "same"
    assert pnn.diff(one, made("(float[n,3] y, float[n,3] x) => (float[n,3] z) {z = Sub(y, x)}")).verdict == "parted"


def test_files_of_the_same_bytes_may_have_other_weights_beside_them(tmp_path: Path) -> None:
    for name, value in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        text = "(float[n,300] x) => (float[n,300] y) {y = Mul(x, w)}"
        found = made(text, {"w": np.full(300, value, np.float32)})
        path = tmp_path / name / "m.onnx"
        onnx.save(found, path, save_as_external_data=True, location="w.bin", size_threshold=10)
    files = [tmp_path / name / "m.onnx" for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert pnn.diff(*files).verdict == "weights"
    assert pnn.diff(files[0], files[0]).verdict == "identical"


def test_outputs_that_no_element_of_an_input_decides_are_compared() -> None:
    """A shape, and a constant."""
    one = made("(float[n,3] x) => (float[n,3] z, int64[2] s) {z = Relu(x) s = Shape(x)}")
    text = "(float[n,3] x) => (float[n,3] z, int64[2] s) {z = Max(x, k) s = Shape"
    assert pnn.diff(one, made(text + "(z)}", {"k": np.zeros(1, np.float32)})).verdict == "same"
    turned = text.replace("s = Shape", "t = Transpose(z) s = Shape") + "(t)}"
    assert pnn.diff(one, made(turned, {"k": np.zeros(1, np.float32)})).verdict == "parted"
    text = "(float[n,3] x) => (float[n,3] z, float[1] k) "
    one = made(text + "{z = Relu(x)}", {"k": np.zeros(1, np.float32)})
    other = made(text + "{z = Max(x, q)}", {"k": np.ones(1, np.float32), "q": np.zeros(1, np.float32)})
    assert pnn.diff(one, other).verdict == "undecided"


def test_a_model_that_ends_before_the_last_node_of_the_other_parts_there() -> None:
    short, whole = (
        pnn.Sequential(pnn.Input(8), pnn.Dense(6), pnn.Sigmoid(), pnn.Dense(4), *[pnn.Sigmoid()] * more, seed=0)
        for more in (False, True)
    )
    for one, other, last in ((whole, short, ("sigmoid_2", "dense_2")), (short, whole, ("dense_2", "sigmoid_2"))):
        found = pnn.diff(one, other)
        assert found.verdict == "parted"
        assert (found.partings[0].nodes_a[-1], found.partings[0].nodes_b[-1]) == last


def test_without_a_bound_nothing_is_decided() -> None:
    """Of a determinant no bound of rounding is known."""
    one = made("(float[n,3,3] x) => (float[n] y) {y = Det(x)}")
    found = pnn.diff(one, made("(float[n,3,3] x) => (float[n] y) {y = ReduceMean<axes = [1, 2], keepdims = 0>(x)}"))
    assert found.verdict == "undecided"
    assert "no bound of rounding is known" in found.reason


def test_a_case_has_the_inputs_that_show_it(tmp_path: Path) -> None:
    """Of one example alone, the largest one is that example."""
    one = made("(float[n,3] x) => (float[n,3] y) {y = Mul(x, k)}", {"k": np.zeros(1, np.float32)})
    other = made("(float[n,3] x) => (float[n,3] y) {m = ReduceMax<axes = [0]>(x) y = Sub(x, m)}")
    found = pnn.diff(one, other, repro=tmp_path / "case")
    assert found.verdict == "parted"
    sides = []
    for side in "ab":
        place = tmp_path / "case" / side / "test_data_set_0"
        sides.append(numpy_helper.to_array(onnx.load_tensor(place / "output_0.pb")))
    assert np.abs(sides[0] - sides[1]).max() >= found.partings[0].apart > 0.1
    scaled = made("(float[n,3] x) => (float[n,3] y) {y = Mul(x, k)}", {"k": np.full(1, 2, np.float32)})
    assert pnn.diff(one, scaled, repro=tmp_path / "weights").verdict == "weights"
    done = subprocess.run([sys.executable, tmp_path / "weights" / "run.py"], capture_output=True, text=True, check=True)
    assert "largest difference 0\n" not in done.stdout
    note = pnn.diff(one, one, repro=tmp_path / "none").notes[-1]
    assert note.endswith("none: not written, as no nodes are found that differ")
    with pytest.raises(UsageError, match="writes a new folder in one that exists"):
        pnn.diff(one, other, repro=tmp_path / "no" / "case")


def test_other_inputs_or_outputs_make_another_function(tmp_path: Path) -> None:
    one, other = (pnn.Sequential(pnn.Input(size), pnn.Dense(3), seed=0) for size in (4, 5))
    found = pnn.diff(one, other)
    assert found.verdict == "parted"
    assert "(batch, 4) and (batch, 5)" in found.reason


def test_outputs_of_other_sizes_are_said_to_be_that() -> None:
    found = pnn.diff(*(pnn.Sequential(pnn.Input(4), pnn.Dense(size), seed=0) for size in (3, 5)))
    assert found.notes == ("output 'dense_1' has the shape (batch, 3) in A, and (batch, 5) in B",)
    assert "not comparable" in as_text(found)
    assert "inf" not in as_text(found)


def test_axes_of_an_input_may_have_another_order() -> None:
    first = made("(float[n,3,4,5] x) => (float[n,3,4,5] z) {z = Elu(x)}")
    last, wrong = (
        made("(float[n,4,5,3] x) => (float[n,3,4,5] z) {y = Transpose <perm = [0, 3, 1, 2]> (x) z = " + each)
        for each in ("Elu (y)}", "Elu <alpha = 0.5> (y)}")
    )
    for pair in ((first, last), (last, first)):
        found = pnn.diff(*pair)
        assert (found.verdict, len(found.notes)) == ("same", 1)
    assert found.notes[0].startswith("B takes input 'x' as (n, 3, 4, 5), and A as (n, 4, 5, 3): both get the same")
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    for feeds in (None, {"x": x}):
        parted = pnn.diff(first, wrong, inputs=feeds)
        assert (parted.verdict, parted.partings[0].nodes_a) == ("parted", ("z",))


# -- faults of PyTorch's exporter
#
# The exporter and the networks are the real ones; the fault is rebuilt from the texts. When the rewriter of onnxscript
# folded a BatchNormalization into a convolution without a bias, it called the new bias after what the convolution reads
# (microsoft/onnxscript #2680 corrects that). So two that read the same value, as in every ResNet where a path is
# downsampled, had one bias between them, or none if it was then taken for zeros.


def resnet(block: str, folder: Path) -> ModelProto:
    """A trained ResNet of torchvision with one block in each stage, as both exporters of PyTorch write it."""
    torch, nets = pytest.importorskip("torch"), pytest.importorskip("torchvision.models.resnet")
    torch.manual_seed(0)
    net = nets.ResNet(getattr(nets, block), [1, 1, 1, 1], num_classes=10)
    for each in net.modules():
        if isinstance(each, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(each.bias)
    with torch.no_grad():
        net(torch.randn(4, 3, 32, 32))
    x = (torch.randn(2, 3, 32, 32),)
    for name, dynamo in (("a", False), ("b", True)):
        torch.onnx.export(net.eval(), x, str(folder / f"{name}.onnx"), dynamo=dynamo, verbose=False)
    return onnx.load(folder / "b.onnx")


def beside(model: ModelProto) -> list[onnx.NodeProto]:
    """The pairs of convolutions that read the same value."""
    convolutions = [each for each in model.graph.node if each.op_type == "Conv"]
    return [
        each
        for each in convolutions
        if any(other is not each and other.input[0] == each.input[0] for other in convolutions)
    ]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # Of both exporters.
def test_a_resnet_without_accuracy_is_named_at_the_bias_of_another_convolution(tmp_path: Path) -> None:
    """pytorch/pytorch #169178: a ResNet-18, of whose classes none was right."""
    model = resnet("BasicBlock", tmp_path)
    assert pnn.diff(tmp_path / "a.onnx", tmp_path / "b.onnx").verdict == "same"
    first, second, *_ = beside(model)
    first.input[2] = second.input[2]
    found = pnn.diff(tmp_path / "a.onnx", model)
    assert found.verdict == "parted"
    assert [each.nodes_b for each in found.partings] == [(first.name,)]
    assert f"'{second.input[2]}': " in found.partings[0].why


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_a_resnet_with_other_outputs_is_named_at_the_convolution_without_a_bias(tmp_path: Path) -> None:
    """pytorch/pytorch #168224: a ResNet-50, whose outputs were far from those of PyTorch."""
    model = resnet("Bottleneck", tmp_path)
    first, *_ = beside(model)
    lost = first.input.pop()
    found = pnn.diff(tmp_path / "a.onnx", model)
    assert (found.verdict, found.partings[0].nodes_b) == ("parted", (first.name,))
    assert lost
    assert found.partings[0].why.startswith("without '")


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_a_resnet_with_a_bias_of_another_shape_is_refused_at_that_node(tmp_path: Path) -> None:
    """pytorch/pytorch #166797: a ResNet-50, where the bias of one convolution had the channels of another."""
    model = resnet("Bottleneck", tmp_path)
    first, second, *_ = beside(model)
    first.input[2] = second.input[2]
    with pytest.raises(GraphError, match=rf"'{first.name}' \(Conv\): B must be \(64,\)"):
        pnn.diff(tmp_path / "a.onnx", model)


# -- in another type


class Drawn(CalibrationDataReader):
    """Inputs for the calibration of a quantised model."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.left = [{"input": rng.standard_normal((4, 3, 12, 12)).astype(np.float32)} for _ in range(20)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


def quantised(model: ModelProto, **options: object) -> ModelProto:
    """With pairs of QuantizeLinear and DequantizeLinear, by onnxruntime."""
    onnxruntime.quantization.quantize_static(model, "quantised.onnx", Drawn(), **options)
    return onnx.load("quantised.onnx")


def in_integers(model: ModelProto, **options: object) -> ModelProto:
    """With products of whole numbers."""
    kinds = onnxruntime.quantization.QuantFormat.QOperator, onnxruntime.quantization.QuantType.QUInt8
    return quantised(model, quant_format=kinds[0], activation_type=kinds[1], **options)


def as_it_runs(model: ModelProto) -> ModelProto:
    """With steps that follow from the numbers."""
    onnxruntime.quantization.quantize_dynamic(model, "dynamic.onnx")
    return onnx.load("dynamic.onnx")


def fused(model: ModelProto) -> ModelProto:
    """The same with products of floats and whole numbers in one node."""
    return optimised(as_it_runs(model), "EXTENDED")


def half(model: ModelProto) -> ModelProto:
    return pytest.importorskip("onnxconverter_common.float16").convert_float_to_float16(model)


NARROW: dict[str, tuple[Callable[[ModelProto], ModelProto], str]] = {
    "float16": (half, "one of them is in float16, which explains all differences; the largest of an output is "),
    "int8": (quantised, "one of them is in int8, which explains all differences; the largest of an output is "),
    "int8 by channel": (lambda model: quantised(model, per_channel=True), "one of them is in int8, which explains all"),
    "integer products": (in_integers, "one of them is in int8, uint8, which explains all differences"),
    "integer products by channel": (
        lambda model: in_integers(model, per_channel=True),
        "one of them is in int8, uint8, which",
    ),
    "as it runs": (as_it_runs, "one of them is in int8, uint8, which explains all differences"),
    "as it runs, fused": (fused, "one of them is in int8, uint8, which explains all differences"),
}


@pytest.mark.quick("float16")
@pytest.mark.parametrize("kind", NARROW)
def test_a_narrower_type_is_no_other_function(kind: str, model: ModelProto, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    change, words = NARROW[kind]
    found = pnn.diff("a.onnx", change(model), inputs=Drawn().left[0])
    assert (found.verdict, found.partings) == ("same", ())
    assert words in found.reason
    back = pnn.diff(change(onnx.load("a.onnx")), "a.onnx", inputs=Drawn().left[0])
    assert (back.verdict, back.partings) == ("same", ())
    assert words in back.reason


def test_a_product_whose_bias_is_within_a_step_is_no_other_function(tmp_path: Path) -> None:
    network = pnn.Sequential(pnn.Input(16), pnn.Dense(16), pnn.ReLU(), pnn.Dense(4), seed=0)
    for name in network.parameters:
        if name.endswith("bias"):
            network.parameters[name][:] = np.linspace(-0.01, 0.01, len(network.parameters[name]))
    pnn.export_onnx(network, tmp_path / "a.onnx")
    quantize_dynamic(tmp_path / "a.onnx", tmp_path / "b.onnx")
    for one, other in (("a.onnx", "b.onnx"), ("b.onnx", "a.onnx")):
        found = pnn.diff(tmp_path / one, tmp_path / other)
        assert (found.verdict, found.partings) == ("same", ())
    model = onnx.load(tmp_path / "b.onnx")
    put(model, "dense_2.bias", -array(model, "dense_2.bias"))
    found = pnn.diff(tmp_path / "a.onnx", model)
    assert found.verdict == "parted"
    assert found.partings[0].nodes_b[-1].startswith("dense_2")


def test_a_wrong_scale_before_a_bias_is_one_place_and_names_the_weights(tmp_path: Path) -> None:
    """The product before the bias is nearer to the right result than that with the bias."""
    network = pnn.Sequential(pnn.Input(16), pnn.Dense(16), pnn.ReLU(), pnn.Dense(4), seed=0)
    network.parameters["dense_2.bias"][:] = np.linspace(-0.06, 0.06, 4)
    pnn.export_onnx(network, tmp_path / "a.onnx")
    quantize_dynamic(tmp_path / "a.onnx", tmp_path / "b.onnx")
    model = onnx.load(tmp_path / "b.onnx")
    put(model, "dense_2.weight_Transposed_scale", array(model, "dense_2.weight_Transposed_scale") * np.float32(1.3))
    for found in (pnn.diff(tmp_path / "a.onnx", model), pnn.diff(model, tmp_path / "a.onnx")):
        [at] = found.partings
        assert {at.nodes_a[-1], at.nodes_b[-1]} == {"dense_2", "dense_2_Add"}
        assert at.why.startswith("'dense_2.weight_Transposed_quantized', which 'dense_2_MatMul_quant' (MatMulInteger)")


def shorter_steps(model: ModelProto) -> str:
    put(model, "conv_2_scale", array(model, "conv_2_scale") / np.float32(4))
    return "conv_2_DequantizeLinear"


def other_scale(model: ModelProto) -> str:
    back = node(model, "conv_2_DequantizeLinear")
    model.graph.initializer.append(numpy_helper.from_array(array(model, back.input[1]) * np.float32(2), "twice"))
    back.input[1] = "twice"
    return back.name


def other_sign(model: ModelProto) -> str:
    elements = array(model, "conv_2.weight_quantized")
    elements[2] = -elements[2]
    put(model, "conv_2.weight_quantized", elements)
    return "conv_2"


def sign_of_integers(model: ModelProto) -> str:
    other_sign(model)
    return "conv_2_quant"


def sign_as_it_runs(model: ModelProto) -> str:
    other_sign(model)
    return "conv_2_bias_add"


def scale_of_an_input(model: ModelProto) -> str:
    """That of what the first layer makes, where the second reads it."""
    reader = node(model, "dense_3_quant")
    model.graph.initializer.append(numpy_helper.from_array(array(model, reader.input[1]) * np.float32(1.5), "more"))
    reader.input[1] = "more"
    return reader.name


def zero_of_weights(model: ModelProto) -> str:
    reader = node(model, "dense_2_quant")
    model.graph.initializer.append(numpy_helper.from_array(array(model, reader.input[5]) + np.int8(20), "zero"))
    reader.input[5] = "zero"
    return reader.name


def rewired_addition(model: ModelProto) -> str:
    """Its inputs swapped, each with the scale of the other."""
    reader = next(each for each in model.graph.node if each.op_type == "QLinearAdd")
    reader.input[0], reader.input[3] = reader.input[3], reader.input[0]
    return str(reader.name)


def softsign(model: ModelProto) -> str:
    node(model, "tanh_1").op_type = "Softsign"
    return "tanh_1"


IN_NARROW = [
    (quantised, shorter_steps),
    (quantised, other_scale),
    (quantised, other_sign),
    (quantised, softsign),
    (half, softsign),
    (in_integers, sign_of_integers),
    (in_integers, scale_of_an_input),
    (in_integers, zero_of_weights),
    (in_integers, softsign),
    (as_it_runs, sign_as_it_runs),
    (as_it_runs, softsign),
]


@pytest.mark.quick("as_it_runs")
@pytest.mark.parametrize(("change", "fault"), IN_NARROW, ids=[f"{a.__name__} {b.__name__}" for a, b in IN_NARROW])
def test_in_a_narrower_type_the_node_at_which_they_part_is_named(
    change: Callable[[ModelProto], ModelProto], fault: Callable[[ModelProto], str], model: ModelProto, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    narrow = change(model)
    name = fault(narrow)
    found = pnn.diff("a.onnx", narrow, inputs=Drawn().left[0])
    assert (found.verdict, [each.nodes_b[-1] for each in found.partings]) == ("parted", [name])
    back = pnn.diff(narrow, "a.onnx", inputs=Drawn().left[0])
    assert (back.verdict, [each.nodes_a[-1] for each in back.partings]) == ("parted", [name])


def test_numbers_that_are_read_with_the_scale_of_others_are_told(
    model: ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sum may be of another size, and is normalised: no bound tells it from rounding."""
    monkeypatch.chdir(tmp_path)
    narrow = in_integers(model)
    name = rewired_addition(narrow)
    found = pnn.diff("a.onnx", narrow, inputs=Drawn().left[0])
    assert found.verdict == "undecided"
    assert f"'{name}' (QLinearAdd) reads 'gelu_1.constant_3_quantized' with another scale or zero point" in found.reason


@pytest.mark.long
def test_inputs_beyond_the_steps_decide_nothing(model: ModelProto, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    narrow = quantised(model)
    shorter_steps(narrow)
    found = pnn.diff("a.onnx", narrow)
    assert found.verdict == "undecided"
    assert "saturates: numbers are from" in found.reason
    assert "inputs of the kind that it is quantised for" in found.reason


@pytest.mark.long
def test_of_two_quantised_models_with_other_steps_nothing_is_said(
    model: ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = pnn.diff(in_integers(model), as_it_runs(onnx.load("a.onnx")), inputs=Drawn().left[0])
    assert found.verdict == "undecided"
    assert "both are quantised: each beside the model of floats says more" in found.reason


@pytest.mark.parametrize(
    ("reader", "read"),
    [
        ("gelu_1.erf_1_QuantizeLinear", "gelu_1.mul_1_DequantizeLinear_Output"),
        ("gelu_1.erf_1_DequantizeLinear", "gelu_1.mul_1_QuantizeLinear_Output"),
    ],
)
def test_of_two_models_with_the_same_steps_what_reads_another_value_is_named(
    reader: str, read: str, model: ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Erf is left out: what quantises its result, or brings that back, reads what is before it."""
    monkeypatch.chdir(tmp_path)
    narrow, other = quantised(model), onnx.load("quantised.onnx")
    node(other, reader).input[0] = read
    found = pnn.diff(narrow, other)
    assert (found.verdict, found.partings[0].nodes_b[-1]) == ("parted", reader)


def test_of_one_graph_with_other_steps_the_scales_and_zero_points_are_named(
    model: ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    narrow, other = quantised(model), onnx.load("quantised.onnx")
    scale, zero = next(node for node in other.graph.node if node.op_type == "QuantizeLinear").input[1:]
    put(other, scale, array(other, scale) * np.float32(1.25))
    put(other, zero, array(other, zero) + np.int8(3))
    found = pnn.diff(narrow, other)
    before = int(array(narrow, zero))
    assert found.verdict == "weights"
    assert {each.name_b: each.how for each in found.weights} == {
        scale: "scaled by 1.25", zero: f"is {before + 3}, not {before}",
    }  # fmt: skip


@pytest.mark.long
def test_few_wrong_numbers_among_steps_are_named_though_bounds_excuse_them(
    model: ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight that is 8 steps off, and a zero point that is 1 off where it is read."""
    monkeypatch.chdir(tmp_path)
    narrow = in_integers(model)
    elements = array(narrow, "dense_2.weight_quantized")
    elements[3, 4] += np.int8(8 if elements[3, 4] < 0 else -8)
    put(narrow, "dense_2.weight_quantized", elements)
    found = pnn.diff("a.onnx", narrow, inputs=Drawn().left[0])
    assert found.verdict == "undecided"
    assert "'dense_2.weight_quantized', which 'dense_2_quant' (QGemm) reads: 1 of 1,024 elements" in found.reason
    narrow = in_integers(onnx.load("a.onnx"))
    reader = node(narrow, "dense_3_quant")
    narrow.graph.initializer.append(numpy_helper.from_array(array(narrow, reader.input[2]) + np.uint8(1), "zero"))
    reader.input[2] = "zero"
    found = pnn.diff("a.onnx", narrow, inputs=Drawn().left[0])
    assert found.verdict == "undecided"
    assert "'dense_3_quant' (QGemm) reads 'sigmoid_1_quantized' with another scale or zero point than" in found.reason


def test_a_weight_that_its_type_does_not_explain_is_not_passed_over(model: ModelProto, tmp_path: Path) -> None:
    """In float16, sums explain as much as this weight moves them."""
    narrow = half(model)
    put(narrow, "dense_2.weight", array(narrow, "dense_2.weight") * np.float16(1.02))
    found = pnn.diff(tmp_path / "a.onnx", narrow)
    assert found.verdict == "undecided"
    assert "but not 'dense_2.weight', which 'dense_2' (Gemm) reads: " in found.reason


# -- in another runtime


@pytest.mark.quick("onnxruntime")
@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime-basic", "onnxruntime-extended", "reference", "openvino",
                                  "tract", "opencv", "mnn", "torch", "numpy"])  # fmt: skip
def test_a_model_is_the_same_in_another_runtime(name: str, model: ModelProto, tmp_path: Path) -> None:
    if name in RUNTIMES and RUNTIMES[name].version is None:
        pytest.skip(RUNTIMES[name].needs)
    found = pnn.diff(tmp_path / "a.onnx", model, runtime_b=name)
    assert (found.verdict, found.partings) == ("same", ())
    assert all(gap.max_abs_error < 1e-5 for gap in found.outputs.values())


IN_RUNTIME = {
    "one node": ({"at_run": "found = [found[0] * np.float32(1.001 if 'Tanh' in operators else 1)]"},
                 "parted", "tanh_1", ""),
    "several nodes": ({"at_run": "found = [found[0] * np.float32(2 if {'Gemm', 'Tanh'} <= {*operators} else 1)]"},
                      "undecided", "", "output 'softmax_1' as a whole is another; first at 'tanh_1' (Tanh)"),
    "a node refused": ({"at_load": "assert 'Erf' not in operators, 'no Erf here'"},
                       "undecided", "", "(refused: no Erf here); first at"),
    "all refused": ({"at_load": "raise OSError('no library')"}, "undecided", "", "(refused: no library)"),
    "crash": ({"at_run": "os._exit(3) if 'Tanh' in operators else None"},
              "undecided", "", "(crashed: ended with code 3); first at 'tanh_1' (Tanh)"),
}  # fmt: skip
"""What a runtime does wrong, the verdict, the node at which the models part, and what the reason says."""


@pytest.mark.long
@pytest.mark.parametrize("kind", IN_RUNTIME)
def test_a_node_that_a_runtime_computes_wrongly_is_named(
    kind: str, stand_in: Callable[..., str], model: ModelProto
) -> None:
    faults, verdict, name, reason = IN_RUNTIME[kind]
    found = pnn.diff(model, model, runtime_b=stand_in(**faults))
    assert found.verdict == verdict
    assert [each.nodes_b for each in found.partings] == [(each,) for each in (name,) if each]
    assert reason in found.reason
    assert found.b.endswith("in OpenCV " + np.__version__)


@pytest.mark.long
def test_a_fault_that_is_known_of_a_runtime_is_found(tmp_path: Path) -> None:
    """Softplus above 88, where OpenCV 5 gives infinity: if a later version does not, the models are the same."""
    cv2 = pytest.importorskip("cv2", reason=RUNTIMES["opencv"].needs)
    model = made("(float[n,3] x) => (float[n,3] z) {[first] y = Relu(x) [up] z = Softplus(y)}", {})
    x = np.array([[1, 10, 100]], np.float32)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    net.setInput(x)
    found = pnn.diff(model, model, inputs={"x": x}, runtime_b="opencv", repro=tmp_path / "case")
    if np.allclose(net.forward(), np.logaddexp(0, x)):
        assert found.verdict == "same"
        return
    assert (found.verdict, found.partings[0].nodes_b) == ("parted", ("up",))
    done = subprocess.run([sys.executable, tmp_path / "case" / "run.py"], capture_output=True, text=True, check=True)
    assert "b (" in done.stdout
    assert "largest difference 0\n" not in done.stdout


def test_what_the_inputs_do_not_show_is_not_called_the_same() -> None:
    """A row of a table that is not looked up, a limit that is not reached; a limit that no number reaches is none."""
    rng = np.random.default_rng(0)
    table, w = rng.normal(size=(50, 8)).astype(np.float32), rng.normal(size=(8, 4)).astype(np.float32)
    other = table.copy()
    other[37] += 1
    looked_up = """(int64[n,3] i) => (float[n,3,4] y) {[look] e = Gather(t, i) m = MatMul(e, w) y = %s}"""
    one = made(looked_up % "Relu(m)", {"t": table, "w": w})
    for rows, verdict in ((table, "same"), (other, "undecided")):
        found = pnn.diff(one, made(looked_up % "Clip(m, zero)", {"t": rows, "w": w, "zero": np.float32(0)}))
        assert found.verdict == verdict
        assert verdict == "same" or ("'look'" in found.reason and "8 of 400 elements" in found.reason)
    limited = "(float[n,8] x) => (float[n,4] y) {[sum] z = MatMul(x, w) [act] y = %s}"
    relu = made(limited % "Relu(z)", {"w": w})
    for high, verdict in ((20.0, "undecided"), (3.4e38, "same")):
        found = pnn.diff(
            relu, made(limited % "Clip(z, zero, high)", {"w": w, "zero": np.float32(0), "high": np.float32(high)})
        )
        assert (found.verdict, "Relu in A, Clip in B" in found.reason) == (verdict, verdict != "same")


def test_another_constant_of_another_value_is_no_difference() -> None:
    """c·(x + x) is 2c·x, also where c is read first, and x is computed."""
    c = np.random.default_rng(0).normal(size=4).astype(np.float32)
    for x in ("x", "h"):
        text = "(float[n,4] x) => (float[n,4] y) {h = Tanh(x) %s y = Mul(c, %s)}"
        one = made(text % (f"a = Add({x}, {x})", "a"), {"c": c})
        assert pnn.diff(one, made(text % ("", x), {"c": 2 * c})).verdict == "same"


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_another_row_is_found_beside_a_mask_of_the_lowest_numbers(dtype: str) -> None:
    """Thirty-two times as large, such a mask is infinite, of which numpy does not warn."""
    kind = dtype.removesuffix("32")
    text = f"(int64[n] i) => ({kind}[n,4] y) {{e = Gather(t, i) q = Add(e, low) y = %s}}"
    table, low = np.random.default_rng(0).normal(size=(50, 4)).astype(dtype), np.zeros(4, dtype)
    other = table.copy()
    other[37] += 1
    low[3] = np.finfo(dtype).min
    one = made(text % "Relu(q)", {"t": table, "low": low})
    for rows, verdict in ((table, "same"), (other, "undecided")):
        found = made(text % "Max(q, zero)", {"t": rows, "low": low, "zero": np.zeros((), dtype)})
        assert pnn.diff(one, found, inputs={"i": np.arange(20)}).verdict == verdict


@pytest.mark.long
def test_what_is_kept_in_int8_is_named_and_its_faults_are_found() -> None:
    """A matrix with a scale for each column, and a table of which rows are looked up before they become floats."""
    rng = np.random.default_rng(0)
    table, w = rng.normal(size=(50, 8)).astype(np.float32), rng.normal(size=(8, 4)).astype(np.float32)
    scales = np.abs(w).max(axis=0) / 127
    whole = {"q": np.rint(w / scales).astype(np.int8), "s": scales}
    plain = "(float[n,8] x) => (float[n,4] y) {%s y = MatMul(x, w)}"
    pair = made(plain % "", {"w": w}), made(plain % "w = DequantizeLinear<axis = 1>(q, s)", whole)
    for one, other in (pair, pair[::-1]):
        found = pnn.diff(one, other)
        assert (found.verdict, [each.how for each in found.weights]) == ("weights", ["rounded to int8"])
    whole["q"][0, 0] -= 2 * np.sign(whole["q"][0, 0])
    found = pnn.diff(pair[0], made(plain % "w = DequantizeLinear<axis = 1>(q, s)", whole))
    assert "elements differ" in found.weights[0].how

    looked_up = "(int64[n,3] i) => (float[n,3,8] y) {e = Gather(t, i) y = %s}"
    floats, kept = made(looked_up % "Tanh(e)", {"t": table}), looked_up % "Tanh(d)"
    kept = kept.replace("y = T", "d = DequantizeLinear(e, s) y = T")
    step = np.float32(np.abs(table).max() / 127)
    assert pnn.diff(floats, made(kept, {"t": np.rint(table / step).astype(np.int8), "s": step})).verdict == "same"
    for row in range(50):
        other = table.copy()
        other[row, 3] -= 0.5 * np.sign(other[row, 3])
        found = pnn.diff(floats, made(kept, {"t": np.rint(other / step).astype(np.int8), "s": step}))
        assert found.verdict in ("parted", "undecided")
        assert "1 of 400 elements" in found.reason + "".join(each.why for each in found.partings)


def written(text: str, opset: int = 17, **arrays: Any) -> ModelProto:
    """A model in the text of the standard, of numbers ``x``, (2, 4, 8), and their product ``h`` with weights."""
    head = f'<ir_version: 8, opset_import: ["" : {opset}, "ai.onnx.ml" : 4, "own" : 1]>'
    body, _, functions = text.partition("|")
    found = onnx.parser.parse_model(
        f"{head} g (float[2,4,8] x) => (float[2,4,8] y) {{ h = MatMul(x, w) {body} }} {functions}"
    )
    arrays |= {"w": np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)}
    found.graph.initializer.extend(numpy_helper.from_array(np.asarray(each), name) for name, each in arrays.items())
    return found


FUNCTION = 'y = own.act(h) | <domain: "own", opset_import: ["" : 17]> act (a) => (c) {{ s = {}(a) c = Mul(s, a) }}'
DROPOUT = "d = Dropout(h, share, trains) y = MatMul(d, w)"
STEPS = "q = QuantizeLinear(h, scale, zero) d = DequantizeLinear(q, scale, zero) y = MatMul(d, w)"
UNLIKE = {
    "Softmax": (written("y = Softmax(h)", 11), written("y = Softmax(h)", 13), "y"),
    "LogSoftmax": (written("y = LogSoftmax<axis=1>(h)", 12), written("y = LogSoftmax(h)", 13), "y"),
    "Dropout": (*(written(DROPOUT, share=np.float32(0.3), trains=trains) for trains in (False, True)), "d"),
    "function": (written(FUNCTION.format("Sigmoid")), written(FUNCTION.format("HardSigmoid")), ""),
    "CastLike": (
        *(
            written("k = Mul(h, s) q = CastLike(k, c) y = Cast<to=1>(q)", s=np.float32(60), c=np.zeros(1, dtype))
            for dtype in ("int8", "int32")
        ),
        "q",
    ),
    "zero point": (*(written(STEPS, scale=np.float32(0.1), zero=np.zeros((), each)) for each in ("i1", "u1")), None),
}
"""Models of which the nodes, as written, are the same; the node at which they part, where the inputs show it."""


@pytest.mark.parametrize("name", UNLIKE)
def test_what_is_written_alike_and_means_something_else_is_not_the_same(name: str) -> None:
    a, b, at = UNLIKE[name]
    x = np.random.default_rng(1).standard_normal((2, 4, 8)).astype(np.float32)
    as_written = onnxruntime.SessionOptions()
    as_written.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    sessions = (onnxruntime.InferenceSession(each.SerializeToString(), as_written) for each in (a, b))
    outputs = [each.run(None, {"x": x})[0] for each in sessions]
    assert not np.allclose(*outputs, atol=0.01)
    found = pnn.diff(a, b)
    assert found.verdict == ("undecided" if at is None else "parted")
    assert at is None or any(
        at in parting.nodes_b or (not at and "Sigmoid in B" in parting.why) for parting in found.partings
    )


def test_outputs_of_other_names_are_compared_in_order() -> None:
    a, b = written("y = Relu(h)"), written("y = Relu(h)")
    for each, operator in ((a, "Add"), (b, "Sub")):
        each.graph.node.append(helper.make_node(operator, ["x", "h"], [operator.lower()]))
        each.graph.output.add(name=operator.lower()).type.tensor_type.elem_type = 1
    found = pnn.diff(a, b)
    assert found.verdict == "parted"
    assert found.partings[0].nodes_b == ("sub",)
    b.graph.output[0].name, b.graph.node[1].output[0] = "z", "z"
    del a.graph.output[1]
    found = pnn.diff(a, b)
    assert found.verdict == "same"
    assert found.notes == ("outputs that one model has alone are left out: 'sub' of B",)


def test_weights_that_were_rounded_otherwise_are_the_same() -> None:
    a, b = written("y = Relu(h)"), written("y = Relu(h)")
    put(b, "w", np.nextafter(array(a, "w"), np.float32(9)))
    assert pnn.diff(a, b).verdict == "same"
    assert "rounding of w" in pnn.diff(a, b).reason
    put(b, "w", array(a, "w") * np.float32(1.00001))
    assert pnn.diff(a, b).verdict == "weights"
    for large in (1e6, np.finfo(np.float32).min, -np.inf):  # Beside it, others are not small enough to be roundings.
        beside = array(a, "w")
        beside[0, 0] = large
        other = beside.copy()
        other[1] += np.float32(0.01)
        for model, weights in ((a, beside), (b, other)):
            put(model, "w", weights)
        assert pnn.diff(a, b).verdict == "weights"
    for large in (np.inf, np.nan, np.finfo(np.float32).max):
        other = beside.copy()
        other[0, 0] = large
        put(b, "w", other)
        assert pnn.diff(a, b).verdict == "weights"


def test_a_mask_that_is_missing_is_named() -> None:
    """The mask of a causal attention is infinite, which no rounding makes of a number."""
    text = "t = Transpose<perm = [0, 2, 1]>(x) s = MatMul(h, t) m = %s p = Softmax(m) y = MatMul(p, x)"
    masked = written(text % "Add(s, mask)", mask=np.triu(np.full((4, 4), -np.inf, np.float32), 1))
    [parting] = pnn.diff(masked, written(text % "Identity(s)")).partings
    assert (parting.nodes_b, parting.shown) == (("m",), "beyond rounding")


def test_tables_that_no_input_looks_up_are_compared() -> None:
    table = np.arange(3000, dtype=np.float32)
    rows = [table, np.where((table > 1500) & (table < 1600), 0, table)]
    models = []
    for each in rows:
        found = written("y = ai.onnx.ml.LabelEncoder<keys_ints=[0],values_floats=[0.0]>(x)")
        del found.graph.node[0], found.graph.initializer[:], found.graph.node[-1].attribute[:]
        found.graph.input[0].type.tensor_type.elem_type = 7
        tensors = {"keys_tensor": np.arange(3000), "values_tensor": each, "default_tensor": np.zeros(1, np.float32)}
        found.graph.node[-1].attribute.extend(
            helper.make_attribute(key, numpy_helper.from_array(value)) for key, value in tensors.items()
        )
        models.append(found)
    found = pnn.diff(*models)
    assert found.verdict == "undecided"
    assert "another values_tensor" in found.reason
    assert pnn.diff(models[0], models[0]).same


def test_an_output_that_is_always_empty_shows_nothing() -> None:
    none = np.zeros(1, np.int64)
    a, b = (written(f"n = {each}(x) y = Slice(n, none, none)", none=none) for each in ("Relu", "Elu"))
    for each in (a, b):
        each.graph.output[0].type.tensor_type.ClearField("shape")
    assert not pnn.diff(a, b).same


@pytest.mark.quick("Mish")
@pytest.mark.parametrize("module", ["LayerNorm(8)", "Softplus()", "Mish()", "RMSNorm(8)"])
@pytest.mark.filterwarnings("ignore")  # Of PyTorch's exporters.
def test_both_exporters_of_pytorch_are_not_accused(module: str, tmp_path: Path) -> None:
    """LayerNormalization and its parts; Softplus with a limit of 20 that no number reaches, and without one."""
    torch = pytest.importorskip("torch")
    x, made = (torch.randn(2, 5, 8),), eval(f"torch.nn.{module}", {"torch": torch}).eval()
    torch.onnx.export(made, x, str(tmp_path / "a.onnx"), dynamo=True, opset_version=18, external_data=False)
    other = (
        {"dynamo": True, "opset_version": 23} if module.startswith("RMS") else {"dynamo": False, "opset_version": 13}
    )
    torch.onnx.export(made, x, str(tmp_path / "b.onnx"), **other)
    for pair in (("a.onnx", "b.onnx"), ("b.onnx", "a.onnx")):
        found = pnn.diff(*(tmp_path / name for name in pair))
        assert found.verdict == "same", found.reason


def test_inputs_are_paired_by_what_they_take_and_one_that_nothing_reads_is_left_out() -> None:
    """As an exporter leaves out the types of tokens, and another one keeps them; and with names in another order."""
    nodes = "{m = MatMul(%s, w) e = Gather(t, %s) y = Add(m, e)}"
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(8, 4)).astype(np.float32), "t": rng.normal(size=(9, 4)).astype(np.float32)}
    one = made("(float[n,8] x, int64[n] i) => (float[n,4] y) " + nodes % ("x", "i"), weights)
    other = made(
        "(int64[n] ids, float[n,8] seen, int64[n] kinds) => (float[n,4] y) " + nodes % ("seen", "ids"), weights
    )
    for a, b in ((one, other), (other, one)):
        found = pnn.diff(a, b)
        assert found.verdict == "same"
        assert "'kinds' of " in found.notes[0]
        assert "'x'" in found.notes[1]
        assert "'seen'" in found.notes[1]
    given = {"x": rng.normal(size=(2, 8)).astype(np.float32), "i": np.array([0, 8])}
    weights["t"] = np.concatenate([weights["t"][:8], weights["t"][:1]])
    changed = made("(float[n,8] x, int64[n] i) => (float[n,4] y) " + nodes % ("x", "i"), weights)
    assert pnn.diff(changed, other, inputs=given).weights[0].how.startswith("4 of 36")


def test_there_must_be_such_a_runtime(model: ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"the runtime of B must be among onnxruntime-basic, .*, not 'tflite'"):
        pnn.diff(model, model, runtime_b="tflite")
    row = Runtime(title="Nothing", module="nothing", packages=("no-such-package-anywhere",), needs="pip install it")
    monkeypatch.setitem(RUNTIMES, "nothing", row)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="Nothing, as the runtime of B, is not installed: pip install it"):
        pnn.diff(model, model, runtime_b="nothing")


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_files_of_other_opsets_are_the_same(opset: int, model: ModelProto, tmp_path: Path) -> None:
    pnn.export_onnx(network(), tmp_path / "b.onnx", opset=opset)
    assert pnn.diff(tmp_path / "a.onnx", tmp_path / "b.onnx").verdict == "same"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Of PyTorch's older exporter.
def test_an_object_of_another_code_base_is_a_model(tmp_path: Path) -> None:
    """PyTorch's own exporter makes the file; where an example is needed, it is what the other model takes."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    torch.onnx.export(module, (torch.zeros(2, 4),), str(tmp_path / "a.onnx"), dynamo=False)
    assert pnn.diff(module, tmp_path / "a.onnx").verdict == "same"
    with torch.no_grad():
        module[2].bias += 1
    found = pnn.diff(tmp_path / "a.onnx", module)
    assert (found.verdict, found.weights[0].name_a) == ("weights", "2.bias")


def test_outputs_that_both_have_are_compared() -> None:
    x = pnn.Input(4, name="x")
    y, z = pnn.Dense(3, name="y")(x), pnn.Tanh()(x)
    found = pnn.diff(pnn.Network(x, [y, z], seed=0), pnn.Network(x, y, seed=0))
    assert found.verdict == "same"
    assert found.notes == ("outputs that one model has alone are left out: 'tanh_1' of A",)


def test_a_file_of_examples_may_have_what_is_right_for_them() -> None:
    network = pnn.Sequential(pnn.Input(3), pnn.Dense(2), seed=0)
    other = pnn.Sequential(pnn.Input(3), pnn.Dense(2), seed=1)
    x, y = np.ones((4, 3), np.float32), np.zeros(4)
    found = pnn.diff(network, other, inputs={network.inputs[0].name: x, "y": y})
    assert str(found).splitlines()[2].startswith("verdict  the same graph with other weights")
    with pytest.raises(ShapeError, match="'y' is not one of the inputs"):
        pnn.diff(network, other, inputs={"y": y})


def test_given_inputs_decide(tmp_path: Path) -> None:
    """Where all numbers are positive, Relu and Identity are the same."""
    x = pnn.Input(4, name="x")
    one, other = (pnn.Network(x, pnn.Dense(2)(made), seed=0) for made in (pnn.ReLU()(x), x * 1.0))
    positive = np.random.default_rng(0).uniform(1, 2, (3, 4)).astype(np.float32)
    assert pnn.diff(one, other, inputs={"x": positive}).verdict == "same"
    assert pnn.diff(one, other, inputs={"x": -positive}).verdict == "parted"
    with pytest.raises(ShapeError, match="'y' is not one of the inputs x"):
        pnn.diff(one, other, inputs={"y": positive})


@pytest.mark.long
def test_the_page_of_a_thousand_nodes_is_quick_to_make() -> None:
    """Every node of both is on it."""
    x = h = pnn.Input(4, name="x")
    for _ in range(200):
        h = pnn.Tanh()(h) + 1.0
    found = pnn.diff(pnn.Network(x, h), pnn.Network(x, h * 1.0))
    page = as_page(found).decode()
    assert found.verdict == "same"
    assert page.count("(Tanh)") == 400


def _two() -> list[pnn.Network]:
    """Two networks of the same weights and other activations."""
    return [
        pnn.Sequential(pnn.Input(4), pnn.Dense(8), each, pnn.Dense(3), seed=0)
        for each in (pnn.ReLU(), pnn.LeakyReLU(0.5))
    ]


@pytest.mark.parametrize("given", [np.ones((0, 4)), np.full((5, 4), np.nan), np.full((5, 4), np.inf)])
def test_inputs_that_can_show_no_difference_are_refused(given: Any) -> None:
    with pytest.raises(UsageError, match=r"^'input' of inputs must hold finite numbers"):
        pnn.diff(*_two(), inputs={"input": given})
    with pytest.raises(UsageError, match=r"^inputs must hold finite numbers"):
        pnn.diff(*_two(), inputs=given)


def test_one_array_is_the_input_of_models_that_have_one(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((5, 4)))
    for given in (np.ones((5, 4)), np.ones((5, 4)).tolist(), tmp_path / "x.npy"):
        assert pnn.diff(*_two(), inputs=given).verdict == "parted"


@pytest.mark.parametrize("dtype", [object, str, [("a", "f4")]])
def test_a_file_that_holds_no_numbers_is_named(tmp_path: Path, dtype: Any) -> None:
    np.save(tmp_path / "o.npy", np.zeros((5, 4), dtype))
    with pytest.raises(UsageError, match=r"o\.npy must hold arrays of finite numbers"):
        pnn.diff(*_two(), inputs=tmp_path / "o.npy")


def test_a_file_whose_arrays_are_no_inputs_is_named_first(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.ones((5, 4)), y=np.ones(5))
    with pytest.raises(
        ShapeError, match=r"data\.npz, for network: 3 faults\n  'x' is not one of the inputs input"
    ) as caught:
        pnn.diff(*_two(), inputs=tmp_path / "data.npz")
    assert str(caught.value).startswith(str(tmp_path))


def test_products_by_zero_are_no_idle_values() -> None:
    """Both one-hot encodings rely on a column of zeros, x * 0, each in another way: it must not be varied."""
    pytest.importorskip("sklearn")
    to_onnx = pytest.importorskip("skl2onnx").to_onnx
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import KBinsDiscretizer

    x = np.random.default_rng(0).standard_normal((200, 6)).astype(np.float32)
    bins = KBinsDiscretizer(4, encode="onehot-dense")
    if "quantile_method" in bins.get_params():  # Of some versions, which warn of their default.
        bins.set_params(quantile_method="averaged_inverted_cdf")
    fitted = make_pipeline(bins, Ridge()).fit(x, np.abs(x @ np.arange(6)))
    assert pnn.diff(fitted, to_onnx(fitted, x[:1])).verdict == "same"
    other = make_pipeline(bins, Ridge()).fit(x, np.abs(x @ np.arange(1, 7)))
    assert pnn.diff(other, to_onnx(fitted, x[:1])).verdict != "same"


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore:Iterating over a tensor")
def test_windows_of_tokens_in_integers_are_accused_of_nothing(tmp_path: Path, seed: int) -> None:
    """Attention in windows, as Swin has it: onnxruntime moves the Transpose behind the Split, and quantises both."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxruntime.quantization")

    class Windows(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.qkv, self.out = torch.nn.LayerNorm(8), torch.nn.Linear(8, 24), torch.nn.Linear(8, 8)

        def forward(self, x: Any) -> Any:
            y = x.view(1, 2, 4, 2, 4, 8).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, 8)
            q, k, v = self.qkv(self.norm(y)).reshape(-1, 16, 3, 2, 4).permute(2, 0, 3, 1, 4)
            y = (((q @ k.transpose(-2, -1)) * 0.5).softmax(-1) @ v).transpose(1, 2).reshape(-1, 16, 8)
            return x + self.out(y).view(1, 2, 2, 4, 4, 8).permute(0, 1, 3, 2, 4, 5).reshape(1, 8, 8, 8)

    torch.manual_seed(seed)
    paths = [str(tmp_path / f"{name}.onnx") for name in ("floats", "folded", "whole")]
    net, x = Windows().eval(), torch.zeros(1, 8, 8, 8)
    torch.onnx.export(net, (x,), paths[0], dynamo=False, opset_version=17, input_names=["input"])
    onnxruntime.quantization.quant_pre_process(paths[0], paths[1], skip_symbolic_shape=True)
    kind = onnxruntime.quantization.QuantFormat.QOperator
    few = Drawn()  # Others go beyond the steps that are set by these.
    few.left = [{"input": np.random.default_rng(k).standard_normal((1, 8, 8, 8)).astype(np.float32)} for k in range(6)]
    onnxruntime.quantization.quantize_static(paths[1], paths[2], few, quant_format=kind)
    assert pnn.diff(paths[0], paths[2]).verdict in {"same", "undecided"}
