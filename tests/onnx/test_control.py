"""Branches and loops of ONNX files: read, computed, trained, saved and written, against onnxruntime and PyTorch."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from cases import CASES, control
from code_bases import TARGETS, Use
from hypothesis import HealthCheck, given, settings
from nested_models import models
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx, read_onnx
from portable_nn.converters.source.c_compiling import compiler
from portable_nn.core.errors import FormatError, GraphError, PortableNNError, UnsupportedError, UsageError
from portable_nn.core.graph import Graph, Node, Parameter, Value, bodies
from portable_nn.core.limits import DEEPEST, TIME, UNROLLED
from portable_nn.engines.once import run_numpy
from portable_nn.format.manifest import Manifest
from portable_nn.format.meaning import InputInfo, OutputInfo
from portable_nn.format.validate import manifest_faults
from portable_nn.onnx.reading import from_model
from portable_nn.onnx.writing import to_model
from portable_nn.operators import Type, constant, replay, trace
from portable_nn.operators.costs import multiply_adds
from portable_nn.operators.differentiation import gradients

Arrays = Mapping[str, np.ndarray]


def theirs(model: ModelProto, feeds: Arrays) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    # The optimiser of onnxruntime 1.32 has ended the process on one of the random models.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return list(session.run(None, dict(feeds)))


def value(name: str, shape: object = None, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def literal(name: str, number: object, dtype: str) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(number, dtype)))


def body(name: str, outputs: list[str], *nodes: NodeProto, inputs: tuple[Any, ...] = ()) -> GraphProto:
    return helper.make_graph(list(nodes), name, list(inputs), [value(each) for each in outputs])


def model(*nodes: NodeProto, inputs: tuple[Any, ...] = (), opset: int = 17, **weights: np.ndarray) -> ModelProto:
    """A model from ``x`` (n, 3) to ``y``."""
    stored = [numpy_helper.from_array(np.asarray(each), name) for name, each in weights.items()]
    graph = helper.make_graph(list(nodes), "g", [value("x", ["n", 3]), *inputs], [value("y")], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


W = np.linspace(-0.9, 1.1, 9, dtype=np.float32).reshape(3, 3)
X = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)
CONDITION = (
    helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
    literal("zero", 0, "float32"),
    helper.make_node("Greater", ["total", "zero"], ["c"]),
)
DOUBLE = body("double", ["d"], helper.make_node("Add", ["x", "x"], ["d"]))
MATRIX = body("matrix", ["m"], helper.make_node("MatMul", ["x", "w"], ["m"]))


def choice(then: GraphProto = MATRIX, other: GraphProto = DOUBLE, **options: Any) -> ModelProto:
    node = helper.make_node("If", ["c"], ["y"], "choice", then_branch=then, else_branch=other)
    return model(*CONDITION, node, w=W, **options)


LOOP_INPUTS = (value("i", [], TensorProto.INT64), value("g", [], TensorProto.BOOL), value("v", None))


def loop(
    *nodes: NodeProto, most: int | None = 40, outputs: tuple[str, ...] = ("g", "u"), start: str = ""
) -> ModelProto:
    """A loop over ``v``, which begins as ``x``."""
    inner = body("turns", list(outputs), *nodes, inputs=LOOP_INPUTS)
    count = [] if most is None else [literal("most", most, "int64")]
    node = helper.make_node("Loop", ["most" if count else "", start, "x"], ["y"], "loop", body=inner)
    return model(*CONDITION, *count, node, w=W)


TURN = (helper.make_node("MatMul", ["v", "w"], ["p"]), helper.make_node("Tanh", ["p"], ["u"]))


def operators(graph: Graph) -> set[str]:
    return {node.operator for node in graph.nodes}


# -- the standard's own tests

SEQUENCES = {"test_if_seq", "test_if_opt", "test_loop13_seq", "test_loop16_seq_none"}
BATCHES = {"test_scan_sum"}


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, from the suite's own reference code.
def test_the_standards_own_tests_of_control_flow() -> None:
    names = ("test_if", "test_loop", "test_scan_", "test_scan9")
    found = [case for case in load_model_tests(kind="node") if case.name.startswith(names)]
    assert {case.name for case in found} >= SEQUENCES | BATCHES | {"test_if", "test_loop11", "test_scan9_scalar"}
    for case in found:
        inputs, outputs = case.data_sets[0]
        entries = [each.name for each in case.model.graph.input]
        if case.name in SEQUENCES | BATCHES:
            with pytest.raises(PortableNNError, match=r"[Ss]eq|Optional|batches|Scan"):
                read_onnx(case.model)
            continue
        fixed = {
            name: x for name, x in zip(entries, inputs, strict=True) if np.ndim(x) <= 1 and case.name == "test_loop11"
        }
        net = import_onnx(case.model, weights={n: x for n, x in fixed.items() if n in ("trip_count", "cond")})
        given = {name: x for name, x in zip(entries, inputs, strict=True) if name in [v.name for v in net.graph.inputs]}
        ours = net.predict(given)
        for name, wanted in zip((each.name for each in case.model.graph.output), outputs, strict=True):
            np.testing.assert_allclose(ours[name] if isinstance(ours, dict) else ours, wanted, rtol=1e-6)


# -- random ones


@pytest.mark.parametrize(
    "examples", [5, pytest.param(25, marks=pytest.mark.long), pytest.param(150, marks=pytest.mark.sweep)]
)
def test_random_nested_models_are_what_onnxruntime_computes(examples: int) -> None:
    many = settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    many(given(models(depth=1 if examples < 10 else 3))(as_onnxruntime))()


def as_onnxruntime(proto: ModelProto) -> None:
    """Read, written and read again; and the gradient of the sum by its graph, which onnxruntime runs as well."""
    read = from_model(proto, "model")
    written = to_model(read.graph, read.parameters)
    onnx.checker.check_model(written, full_check=True)
    again = from_model(written, "written")
    feeds = {name: np.random.default_rng(1).normal(size=(2, 3)).astype(np.float32) for name in "ab"}
    [wanted] = theirs(proto, feeds)
    for found in (
        run_numpy(read.graph, read.parameters, feeds)["out"],
        theirs(written, feeds)[0],
        run_numpy(again.graph, again.parameters, feeds)["out"],
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    symbols = replay(read.graph)
    flowing = gradients([symbols["out"]], [constant(np.ones((2, 3)), "float32")], [symbols["a"], symbols["b"]])
    if found := [each for each in flowing if each is not None]:
        graph = trace([symbols["a"], symbols["b"]], found).graph  # type: ignore[list-item]
        weights = {each.name: read.parameters[each.name] for each in graph.parameters}
        ours = run_numpy(graph, weights, feeds)
        for name, back in zip(graph.outputs, theirs(to_model(graph, weights), feeds), strict=True):
            np.testing.assert_allclose(ours[name], back, rtol=1e-3, atol=1e-3)


# -- as source code

each_source = pytest.mark.parametrize("target", ["numpy", "torch", "c"])


def in_source(target: str, network: pnn.Network, feeds: Arrays) -> Arrays:
    """The outputs of a network as source code of a code base."""
    if target == "torch":
        pytest.importorskip("torch")
    if target == "c" and not compiler():
        pytest.skip("needs a C compiler")
    [case, *_] = CASES
    return TARGETS[target].run(Use(case, network, feeds, {}, None, {}))[0]


@each_source
@pytest.mark.quick("5-numpy", "5-torch")
@pytest.mark.parametrize("examples", [5, pytest.param(50, marks=pytest.mark.long)])
def test_random_nested_models_are_source_that_computes_the_same(target: str, examples: int) -> None:
    feeds = {name: np.random.default_rng(1).normal(size=(2, 3)).astype(np.float32) for name in "ab"}

    def is_same(proto: ModelProto) -> None:
        found = in_source(target, import_onnx(proto, verify=False), feeds)["out"]
        np.testing.assert_allclose(found, theirs(proto, feeds)[0], rtol=1e-4, atol=1e-4)

    many = settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    many(given(models(depth=2))(is_same))()


@each_source
def test_turns_that_data_and_sizes_decide_are_written_in_source(target: str) -> None:
    """A loop of so many turns as an input says, while a condition is true, and a scan of as many as there are rows."""
    until = control.body(
        "until",
        "i go v",
        "more n",
        "most",
        control.node("n = Add v v"),
        control.node("s = ReduceSum n", keepdims=0),
        control.node("more = Less s most"),
    )
    rows = control.body("rows", "v r", "n c", "", control.node("n = Add v r"), control.node("c = Tanh n"))
    inputs = [("m", "int64", ()), ("go", "bool", ()), ("x", "float32", (3,)), ("all", "float32", (1, "steps", 3))]
    nodes = (
        control.number("most", 100, "float32"),
        control.node("v = Loop m go x most", body=until),
        control.number("first", 0, "int64"),
        control.node("matrix = Gather all first", axis=0),
        control.node("last each = Scan v matrix", body=rows, num_scan_inputs=1),
    )
    graph = Graph(tuple(Value(*each) for each in inputs), ("v", "last", "each"), (), nodes)
    net = pnn.Network.from_graph(graph, {})
    for most, begins, steps in ((0, True, 1), (3, True, 4), (2**40, True, 2), (5, False, 3)):
        feeds = {"m": np.array(most), "go": np.array(begins), "x": np.array([1, -0.5, 2], np.float32)}
        feeds["all"] = np.linspace(-1, 1, 3 * steps, dtype=np.float32).reshape(1, steps, 3)
        found = in_source(target, net, feeds)
        for name, wanted in zip(graph.outputs, theirs(to_model(graph, {}), feeds), strict=True):
            np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-6, err_msg=name)


# -- what is kept


@pytest.mark.parametrize("suffix", ["safetensors", "h5", "npz", "onnx"])
def test_a_branch_is_kept_in_every_file(suffix: str, tmp_path: Path) -> None:
    net = import_onnx(choice())
    path = tmp_path / f"choice.{suffix}"
    if suffix == "onnx":
        export_onnx(net, path)
        back = import_onnx(path)
        plain = onnx.load(path)
        del plain.metadata_props[:]
        plain.producer_name = "another"
        assert import_onnx(plain).graph.nodes == net.graph.nodes
    else:
        net.save(path)
        back = pnn.load(path)
    assert back.graph == net.graph
    [node] = [node for node in back.graph.nodes if node.operator == "If"]
    assert [name for name, _ in bodies(node)] == ["else_branch", "then_branch"]
    for x in (abs(X), -abs(X)):
        np.testing.assert_allclose(back.predict(x), theirs(choice(), {"x": x})[0], rtol=1e-6)


def test_the_proof_names_branches_that_it_cannot_see() -> None:
    assert read_onnx(choice()).outputs.not_exercised == {}
    inner = body("inner", ["d"], helper.make_node("If", ["c"], ["d"], "in", then_branch=MATRIX, else_branch=DOUBLE))
    found = read_onnx(choice(inner)).outputs.not_exercised
    assert found == {"'choice' (If)": "whether both branches of 'in' (If) in it ran is not known"}


def test_what_a_body_makes_may_hide_a_name_outside() -> None:
    """The standard forbids it, and files have it: what is inside counts."""
    hiding = body(
        "hiding", ["total"], helper.make_node("Mul", ["x", "x"], ["zero"]), helper.make_node("Exp", ["zero"], ["total"])
    )
    hidden = body("hidden", ["d"], helper.make_node("Neg", ["x"], ["q"]), helper.make_node("Add", ["q", "x"], ["d"]))
    net = import_onnx(choice(hiding, hidden), verify=False)
    np.testing.assert_allclose(net.predict(abs(X)), np.exp(X * X), rtol=1e-6)
    assert not net.predict(-abs(X)).any()


def test_weights_in_branches_train_and_numbers_stay() -> None:
    then = body(
        "then", ["t"], helper.make_node("MatMul", ["x", "kernel"], ["p"]), helper.make_node("Mul", ["p", "two"], ["t"])
    )
    then.initializer.extend([numpy_helper.from_array(W, "kernel"), numpy_helper.from_array(np.float32(2), "two")])
    net = import_onnx(choice(then))
    assert {each.name: each.trainable for each in net.graph.parameters}["kernel"]
    assert not {each.name: each.trainable for each in net.graph.parameters}.get("two", False)


def test_inputs_that_become_constants_decide_branches() -> None:
    rate = [literal("rate", 16000, "int64"), helper.make_node("Equal", ["sr", "rate"], ["k"])]
    short = body(
        "short", ["s"], literal("places", [0, 1], "int64"), helper.make_node("Gather", ["x", "places"], ["s"], axis=1)
    )
    node = helper.make_node("If", ["k"], ["y"], "rate", then_branch=MATRIX, else_branch=short)
    proto = model(*rate, node, inputs=(value("sr", [], TensorProto.INT64),), w=W)
    with pytest.raises(GraphError, match=r"'rate' \(If\): output 1 is float32 \(n, 2\) one way and float32 \(n, 3\) "):
        import_onnx(proto)
    for number, shape in ((16000, (4, 3)), (8000, (4, 2))):
        net = import_onnx(proto, values={"sr": number})
        assert [each.name for each in net.graph.inputs] == ["x"]
        found = net.predict(X)
        assert found.shape == shape
        np.testing.assert_allclose(found, theirs(proto, {"x": X, "sr": np.array(number)})[0], rtol=1e-6)
    for wrong in ({"sr": 1.5}, {"rate": 1}, {"x": 0}):
        with pytest.raises(UsageError, match=r"^model: (a value is given for '(rate|x)'|'sr' is int64 \(\), and 1.5)"):
            import_onnx(proto, values=wrong)


def test_what_bodies_cannot_do_yet_is_refused_by_name() -> None:
    drop = body("drop", ["d"], helper.make_node("Dropout", ["x"], ["d"], "drop"))
    net = import_onnx(choice(drop))
    with pytest.raises(GraphError, match=r"'choice' \(If\): 'drop' \(Dropout\) is in a body of it, and does there "):
        net.fit(X, X, loss="mean_squared_error", epochs=1)
    with pytest.raises(UsageError, match="its bodies are not given sequences in parts"):
        import_onnx(choice()).stateful()


# -- loops


def test_few_turns_become_nodes_and_more_stay_a_loop() -> None:
    for turns in (0, 1, UNROLLED, UNROLLED + 1):
        proto = loop(*TURN, most=turns)
        net = import_onnx(proto)
        assert ("Loop" in operators(net.graph)) == (turns > UNROLLED)
        np.testing.assert_allclose(net.predict(X), theirs(proto, {"x": X})[0], rtol=1e-5, atol=1e-6)


def test_a_loop_whose_state_grows_is_read_where_it_has_few_turns() -> None:
    growing = helper.make_node("Concat", ["v", "x"], ["u"], axis=0)
    np.testing.assert_array_equal(import_onnx(loop(growing, most=3)).predict(X), np.concatenate([X] * 4))
    with pytest.raises(GraphError, match=r"'loop' \(Loop\): state 1, from turn to turn, is float32 \(n, 3\) one way"):
        import_onnx(loop(growing, most=30))


@pytest.mark.parametrize(("start", "end", "size"), [("next", "after", 4), ("at", "next", 5), ("at", "after", 6)])
def test_a_loop_takes_one_step_in_each_turn_by_its_number(start: str, end: str, size: int) -> None:
    """``x[t : t + 1]``, and ``x[t : t + 2]``, whose size is another at the end."""
    turns = body(
        "turns", ["g", "u"],
        literal("one", 1, "int64"), literal("first", [0], "int64"),
        helper.make_node("Add", ["one", "i"], ["t"]), helper.make_node("Add", ["t", "one"], ["s"]),
        *(helper.make_node("Unsqueeze", [a, "first"], [b]) for a, b in (("i", "at"), ("t", "next"), ("s", "after"))),
        helper.make_node("Slice", ["x", start, end, "first"], ["step"]),
        helper.make_node("MatMul", ["v", "w"], ["p"]), helper.make_node("Add", ["p", "step"], ["u"]),
        inputs=LOOP_INPUTS,
    )  # fmt: skip
    proto = model(
        literal("zero", 0, "int64"), literal("before", [size - 5], "int64"),
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "zero"], ["rows"]), helper.make_node("Add", ["rows", "before"], ["most"]),
        literal("zeros", [[0, 0, 0]], "float32"),
        helper.make_node("Loop", ["most", "", "zeros"], ["y"], "loop", body=turns), w=W,
    )  # fmt: skip
    if size > 5:
        with pytest.raises(GraphError, match=r"'loop' \(Loop\): state 1, from turn to turn, is .*size"):
            import_onnx(proto)
        return
    net = import_onnx(proto)
    for rows in (2, 5, 30):
        x = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
        np.testing.assert_allclose(net.predict(x), theirs(proto, {"x": x})[0], rtol=1e-5, atol=1e-5)


def counted(
    compare: str, *more: NodeProto, outputs: tuple[str, ...] = ("go", "t", "u", "s"), start: str = "goes"
) -> Any:
    """``while k < rows: k += 1`` from 2, over a state that begins as zeros, whose sines are collected."""
    ends = ("k", "rows") if compare.startswith("Less") else ("rows", "k")
    turns = body(
        "turns", list(outputs),
        literal("one", 1, "int64"), helper.make_node("Add", ["k", "one"], ["t"]),
        helper.make_node(compare, [{"k": "t"}.get(each, each) for each in ends], ["less"]),
        helper.make_node("MatMul", ["v", "w"], ["p"]), helper.make_node("Add", ["p", "zeros"], ["u"]),
        helper.make_node("Cos", ["u"], ["s"]), *(more or [helper.make_node("Identity", ["less"], ["go"])]),
        inputs=(*LOOP_INPUTS[:2], value("k", [], TensorProto.INT64), value("v", [1, 3])),
    )  # fmt: skip
    for each in turns.output:
        kinds = {"go": TensorProto.BOOL, "t": TensorProto.INT64}
        each.type.tensor_type.elem_type = kinds.get(each.name, TensorProto.FLOAT)
    made = ["count", "y", "all"][: len(outputs) - 1]
    proto = model(
        *CONDITION, helper.make_node("Shape", ["x"], ["sizes"]), literal("first", 0, "int64"), literal("k", 2, "int64"),
        helper.make_node("Gather", ["sizes", "first"], ["rows"]), literal("zeros", [[0.1, 0, 0]], "float32"),
        helper.make_node(compare, ends, ["goes"]), literal("always", True, "bool"),
        helper.make_node("Loop", ["", start, "k", "zeros"], made, "loop", body=turns), w=W,
    )  # fmt: skip
    proto.graph.output.extend(helper.make_empty_tensor_value_info(each) for each in made if each != "y")
    return proto


@pytest.mark.parametrize("compare", ["Less", "LessOrEqual", "Greater", "GreaterOrEqual"])
def test_a_counter_that_ends_a_loop_gives_its_number_of_turns(compare: str, tmp_path: Path) -> None:
    proto = counted(compare)
    net = import_onnx(proto)
    export_onnx(net, tmp_path / "again.onnx")
    for rows in (1, 2, 3, 30):
        feeds = {"x": np.ones((rows, 3), np.float32)}
        wanted, found = theirs(proto, feeds), net.predict(feeds["x"])
        again = theirs(onnx.load(tmp_path / "again.onnx"), feeds)
        assert int(wanted[1]) == max(2, rows + compare.endswith("Equal"))
        for name, array, second in zip(("y", "count", "all"), wanted, again, strict=True):
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(second, array, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("more", "outputs", "start"),
    [
        ((), ("go", "t", "u"), "always"),
        ((), ("go", "t", "u"), "c"),
        ((helper.make_node("Not", ["less"], ["n"]), helper.make_node("Not", ["n"], ["go"])), ("go", "t", "u"), "goes"),
        (
            (
                literal("four", 4.0, "float32"), helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
                helper.make_node("Less", ["f", "four"], ["few"]), helper.make_node("And", ["few", "less"], ["go"]),
            ),
            ("go", "t", "u", "s"),
            "always",
        ),
        (
            (
                helper.make_node("ReduceSum", ["u"], ["sum"], keepdims=0), literal("most", 0.2, "float32"),
                helper.make_node("Less", ["sum", "most"], ["low"]), helper.make_node("And", ["low", "less"], ["go"]),
            ),
            ("go", "t", "u"),
            "goes",
        ),
    ],
    ids=["at least one turn", "another condition first", "not seen", "two counters", "data as well"],
)  # fmt: skip
def test_conditions_that_are_not_those_of_a_counter_alone(more: Any, outputs: tuple[str, ...], start: str) -> None:
    proto = counted("Less", *more, outputs=outputs, start=start)
    net = import_onnx(proto)
    for rows in (1, 3, 30):
        for sign in (1, -1):
            x = np.full((rows, 3), sign, np.float32)
            for array, wanted in zip(net.predict(x).values(), theirs(proto, {"x": x}), strict=True):
                np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("turns", [0, 17])
def test_what_a_loop_makes_in_each_turn_is_written_with_its_shape(turns: int, tmp_path: Path) -> None:
    proto = loop(*TURN, helper.make_node("Sin", ["u"], ["s"]), most=turns, outputs=("g", "u", "s"))
    proto.graph.node[-1].output.append("all")
    proto.graph.output.append(value("all"))
    export_onnx(import_onnx(proto, verify=turns > 0), tmp_path / "a.onnx", sizes={"n": 4})
    _, made = theirs(onnx.load(tmp_path / "a.onnx"), {"x": X})
    assert made.shape == (turns, 4, 3)


@pytest.mark.parametrize("most", [-5, -(2**63), 0])
def test_no_turns(most: int) -> None:
    np.testing.assert_array_equal(import_onnx(loop(*TURN, most=most)).predict(X), X)


ENDS = (
    *TURN,
    helper.make_node("Abs", ["u"], ["a"]),
    helper.make_node("ReduceMax", ["a"], ["largest"], keepdims=0),
    helper.make_node("Greater", ["largest", "zero"], ["g2"]),
)


def test_turns_without_end_are_refused_or_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GraphError, match="it never ends: its condition is always true, and it has no number of turns"):
        import_onnx(loop(*TURN, most=None))
    with pytest.raises(PortableNNError, match=r"goes through [\d,]+ elements, which takes some [\d,]+ s; at most 60 s"):
        import_onnx(loop(*TURN, most=2**40))
    monkeypatch.setenv(TIME, "0.05")
    proto = loop(*ENDS, most=2**62, outputs=("g2", "u"), start="c")
    net = import_onnx(proto, verify=False)
    with pytest.raises(GraphError, match=r"'loop' \(Loop\): goes on after [\d,]+ turns; at most 0.05 s of processor"):
        net.predict(abs(X))
    np.testing.assert_array_equal(net.predict(-abs(X)), -abs(X))


@pytest.mark.parametrize(
    ("nodes", "outputs", "message"),
    [
        ((helper.make_node("Cast", ["v"], ["u"], to=TensorProto.INT64),), ("g", "u"), "float32 .* one way and int64 "),
        ((helper.make_node("ReduceSum", ["v"], ["u"], keepdims=0),), ("g", "u"), r"one way and float32 \(\) the other"),
        ((helper.make_node("Exp", ["v"], ["u"]),), ("u", "u"), "the condition that its body makes must be one bool"),
        ((helper.make_node("Exp", ["v"], ["u"]),), ("g",), "its body makes 1 values, and needs 2"),
        ((helper.make_node("Exp", ["y"], ["u"]),), ("g", "u"), "reads 'y', which nothing before it makes"),
        ((helper.make_node("Exp", ["u"], ["u"]),), ("g", "u"), "reads 'u', which nothing before it makes"),
        ((helper.make_node("Exp", ["v"], ["u"]),) * 2, ("g", "u"), "makes values twice: .u."),
        ((helper.make_node("SequenceAt", ["v", "i"], ["u"]),), ("g", "u"), "operator 'SequenceAt'"),
    ],
)
def test_bodies_that_do_not_fit_are_refused_with_the_reason(
    nodes: tuple[NodeProto, ...], outputs: tuple[str, ...], message: str
) -> None:
    with pytest.raises((FormatError, GraphError, UnsupportedError), match=message):
        import_onnx(loop(*nodes, outputs=outputs))


SCAN = helper.make_node("Scan", ["v0", "x"], ["last", "y"], "scan", num_scan_inputs=1, body=body(
    "turn", ["n", "o"], helper.make_node("Add", ["h", "r"], ["n"]), helper.make_node("Sin", ["n"], ["o"]),
    inputs=(value("h"), value("r")),
))  # fmt: skip


@pytest.mark.parametrize("most", [3, 40])
def test_a_body_that_takes_other_inputs_is_refused(most: int) -> None:
    proto = loop(*TURN, most=most)
    del proto.graph.node[-1].attribute[0].g.input[2]
    with pytest.raises(PortableNNError, match=r"'turns' takes 2 inputs and is given 3|reads 'v'"):
        import_onnx(proto)


@pytest.mark.parametrize("kind", ["no condition in it", "no outputs", "an input without a name"])
def test_a_body_without_some_part_is_refused(kind: str) -> None:
    proto = loop(*TURN, start="start")
    inner = proto.graph.node[-1].attribute[0].g
    proto.graph.initializer.append(
        numpy_helper.from_array(np.ones(0 if kind.startswith("no c") else (), bool), "start")
    )
    if kind == "no outputs":
        del inner.output[:]
    elif kind.startswith("an input"):
        inner.input[0].name = ""
    with pytest.raises(PortableNNError):
        import_onnx(proto)


def test_the_cost_of_a_loop_with_an_operator_that_is_not_supported_is_not_known() -> None:
    inner = Graph((Value("i", "", ()), Value("g", "", ())), ("g", "u"), (), (Node("s", "Swirl", ("i",), ("u",)),))
    node = Node("l", "Loop", ("most", ""), ("y",), {"body": (inner,)})
    assert multiply_adds(node, {"most": Type("int64", ()), "y": Type("float32", (3,))}) is None


def test_a_branch_without_a_condition_in_it_is_refused() -> None:
    proto = choice()
    del proto.graph.node[:-1]
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(0, bool), "c"))
    with pytest.raises(PortableNNError, match=r"its condition must be one truth value, not bool \(0,\)"):
        import_onnx(proto)


@pytest.mark.parametrize("ring", [1, 2])
def test_branches_that_decide_themselves_are_refused(ring: int) -> None:
    proto = choice()
    *_, last = proto.graph.node
    del proto.graph.node[:-1]
    for place in range(ring - 1):
        proto.graph.node.add().CopyFrom(last)
        proto.graph.node[-1].output[:] = [f"c{place}"]
        last.input[:] = [f"c{place}"]
    proto.graph.node[-1].input[:] = [proto.graph.node[0].output[0]]
    with pytest.raises(PortableNNError, match="which nothing before it makes"):
        import_onnx(proto)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        (helper.make_attribute("body", 0.5), "'body' must be of type"),
        (helper.make_attribute("body", "x"), "'body' must be of type"),
        (helper.make_attribute("num_scan_inputs", "x"), "'num_scan_inputs' must be of type"),
        (helper.make_attribute("num_scan_inputs", 2**62), "of which it reads 4611686018427387904 in steps"),
        (helper.make_attribute("scan_input_axes", "x"), "'scan_input_axes' must be of type"),
        (None, "attribute 'num_scan_inputs' is missing"),
    ],
)
def test_a_scan_with_other_attributes_is_refused(attribute: Any, message: str) -> None:
    proto = model(SCAN, v0=np.zeros(3, np.float32))
    import_onnx(proto)
    [scan] = proto.graph.node
    name = attribute.name if attribute else "num_scan_inputs"
    kept = [each for each in scan.attribute if each.name != name]
    del scan.attribute[:]
    scan.attribute.extend([*kept, *([attribute] if attribute else [])])
    with pytest.raises(PortableNNError, match=message):
        import_onnx(proto)


@pytest.mark.long
def test_branches_in_branches_have_an_end() -> None:
    inner = body("deepest", ["d"], helper.make_node("Exp", ["x"], ["d"]))
    for depth in range(DEEPEST + 1):
        node = helper.make_node("If", ["c"], [f"y{depth}"], then_branch=inner, else_branch=DOUBLE)
        inner = body(f"depth {depth}", [f"y{depth}"], node)
        if depth == DEEPEST - 2:
            np.testing.assert_allclose(import_onnx(choice(inner)).predict(abs(X)), np.exp(abs(X)), rtol=1e-6)
    with pytest.raises(FormatError, match=f"its loops and branches are in each other more than {DEEPEST} times"):
        import_onnx(choice(inner))


def manifest_of(graph: Graph) -> Manifest:
    values = tuple(InputInfo(value.name) for value in graph.inputs)
    return Manifest(graph=graph, inputs=values, outputs=tuple(OutputInfo(name) for name in graph.outputs))


def branching(then: tuple[Any, ...], captured: tuple[str, ...] = ("x",)) -> Graph:
    other = Graph((), ("y",), (Parameter("x", "", ()),), (Node("n", "Neg", ("x",), ("y",)),), "other")
    node = Node("if", "If", ("c", "x", *captured), ("out",), {"then_branch": then, "else_branch": (other,)})
    return Graph((Value("c", "bool", ()), Value("x", "float32", (2,))), ("out",), (), (node,))


def test_bodies_in_a_manifest_are_checked() -> None:
    good = Graph((), ("y",), (Parameter("x", "", ()),), (Node("n", "Exp", ("x",), ("y",)),), "then")
    assert manifest_faults(manifest_of(branching((good,)))) == []
    assert manifest_of(branching((good,))).version == 4
    typed = Graph((), ("y",), (Parameter("x", "float32", (2,)),), good.nodes, "then")
    hidden = Graph((), ("y\u200b",), good.parameters, (Node("n", "Exp", ("x",), ("y\u200b",)),), "then")
    internal = Graph(
        (), ("y",), good.parameters, (Node("n", "MaxPoolGrad", ("x",), ("y",), {}, "portable_nn"),), "then"
    )
    deep = good
    for _ in range(DEEPEST + 1):
        deep = Graph((), ("out",), (Parameter("c", "", ()), Parameter("x", "", ())), branching((deep,)).nodes, "deep")
    for then, message in (
        ((typed,), "has a type, which the node says"),
        ((hidden,), "has a control or invisible character"),
        ((internal,), "is internal and cannot be in a file"),
        ((good, good), "has 2 graphs, and must have one"),
        ((), "must be one graph, not 0"),
        ((1,), "must be of type tuple of Graph"),
        ((deep,), f"at most {DEEPEST} are allowed"),
    ):
        faults = manifest_faults(manifest_of(branching(then)))
        assert faults
        assert any(message in fault for fault in faults), faults


# -- PyTorch


def scripted(kind: str) -> Any:
    import torch

    class Turns(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = torch.nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = x
            for _ in range(x.size(0)):
                h = torch.tanh(self.a(h))
            return h

    class Until(Turns):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h, i = x, 0
            while bool(h.abs().sum() < 40) and i < 20:
                h, i = torch.tanh(self.a(h)) * 1.5 + h, i + 1
            return h

    class Nested(Turns):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if bool(x.sum() > 0):
                h = self.a(x)
                if bool(h.mean() > 0):  # noqa: SIM108 - TorchScript
                    h = h * 2
                else:
                    h = torch.exp(h)
            else:
                h = x - 1
            return h

    return {"turns": Turns, "until": Until, "nested": Nested}[kind]()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["turns", "until", "nested"])
def test_scripted_modules_of_pytorch_compute_and_train(kind: str) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = scripted(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            torch.jit.script(module), (torch.from_numpy(X),), file := io.BytesIO(), dynamo=False, input_names=["x"],
            dynamic_axes={"x": {0: "n"}},
        )  # fmt: skip
    net = import_onnx(onnx.load_from_string(file.getvalue()))
    assert operators(net.graph) & {"If", "Loop"}
    assert_same_as_pytorch(net, module, [abs(X), X, X[:1]], trains=kind != "until")


@pytest.mark.long
def test_cond_of_pytorch_computes_and_trains() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)

    class Choice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cond(x.sum() > 0, lambda x: torch.relu(self.a(x)), lambda x: torch.sin(self.b(x)), (x,))

    module = Choice()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.from_numpy(X),), file := io.BytesIO(), dynamo=True, verbose=False)
    net = import_onnx(onnx.load_from_string(file.getvalue()))
    assert "If" in operators(net.graph)
    assert_same_as_pytorch(net, module, [abs(X), -abs(X)])


def assert_same_as_pytorch(net: pnn.Network, module: Any, inputs: list[np.ndarray], *, trains: bool = True) -> None:
    """The same values, and the same weights after a step of gradient descent."""
    import torch

    for x in inputs:
        with torch.no_grad():
            np.testing.assert_allclose(net.predict(x), module(torch.from_numpy(x)).numpy(), rtol=1e-4, atol=1e-5)
    if not trains:
        with pytest.raises(GraphError, match="the number of its turns depends on the data, and has no bound"):
            net.fit(inputs[0], inputs[0], loss="mean_squared_error", optimizer=pnn.SGD(0.1), epochs=1)
        return
    x = inputs[0]
    ((module(torch.from_numpy(x)) - torch.ones(x.shape)) ** 2).mean().backward()
    net.fit(x, np.ones_like(x), loss="mean_squared_error", optimizer=pnn.SGD(0.1), epochs=1, batch_size=len(x))
    for name, parameter in module.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        wanted = (parameter - 0.1 * gradient).detach().numpy()
        np.testing.assert_allclose(net.parameters[name], wanted, rtol=1e-4, atol=1e-6)


RUN = """
import sys
import numpy as np
import portable_nn as pnn
from portable_nn.onnx.session import Session

runs = {"import": lambda: pnn.import_onnx(sys.argv[2]).predict, "session": lambda: Session(sys.argv[2]).run}
run = runs[sys.argv[1]]()
for row in ([1, 2], [-3, 3]):
    found = run({"x": np.array([row], np.float32)})
    print(*np.ravel(found["y4"] if isinstance(found, dict) else found).tolist())
"""


@pytest.mark.quick("session")
@pytest.mark.parametrize(
    ("how", "is_function"), [("import", False), ("import", True), ("session", False), ("session", True)]
)
def test_branches_in_each_other_that_constants_decide_do_not_end_the_process(
    how: str, is_function: bool, tmp_path: Path
) -> None:
    """Four in each other, and in them one that data decide, which reads a weight: they end the optimiser."""
    arms = (
        body("then", ["a"], helper.make_node("MatMul", ["x", "w"], ["a"])),
        body("else", ["b"], helper.make_node("Abs", ["x"], ["b"])),
    )
    inner = body(
        "at 0",
        ["y0"],
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["c"], to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["y0"], then_branch=arms[0], else_branch=arms[1]),
    )
    inner.initializer.append(numpy_helper.from_array(np.array([[1, 2], [3, 4]], np.float32), "w"))
    for depth in range(1, 5):
        decided = helper.make_node("If", [f"yes{depth}"], [f"y{depth}"], then_branch=inner, else_branch=inner)
        inner = body(f"at {depth}", [f"y{depth}"], decided)
        inner.initializer.append(numpy_helper.from_array(np.array(True), f"yes{depth}"))
    inner.input.append(value("x", ["N", 2]))
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(inner, opset_imports=opsets, ir_version=8)
    if is_function:
        nodes = [literal("yes4", True, "bool"), *inner.node]
        model.functions.append(helper.make_function("own", "F", ["x"], ["y4"], nodes, opsets))
        model.opset_import.append(helper.make_opsetid("own", 1))
        del model.graph.node[:], model.graph.initializer[:]
        model.graph.node.append(helper.make_node("F", ["x"], ["y4"], domain="own"))
    onnx.save(model, tmp_path / "m.onnx")
    command = [sys.executable, "-c", RUN, how, str(tmp_path / "m.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["7.0 10.0", "3.0 3.0"], done.stderr
