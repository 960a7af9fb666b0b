"""The registration of an operator is all that any part of the package needs to treat it rightly."""

from __future__ import annotations

import ast
import importlib
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from architecture import operator_tables
from cases import CASES, Case
from onnx import helper
from standard_side import run_plan

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.core.errors import GraphError
from portable_nn.core.graph import INTERNAL, Graph
from portable_nn.diagram.boxes import diagram
from portable_nn.engines.apart import keeps_examples_apart, mixes_examples
from portable_nn.engines.plan import Plan
from portable_nn.layers.layer import Layer
from portable_nn.onnx.samples import varied
from portable_nn.operators import REGISTRY, Leaf, Operator, Symbol, emit, trace
from portable_nn.operators.elementwise.building import same_type
from portable_nn.operators.linear.blas import has_threads_to_set
from portable_nn.operators.registry import ALL, Array, Interval, KernelContext, Step, find, register
from portable_nn.outputs.reports import check, inspect, size_net
from portable_nn.training import halves

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """The operators are those they were when a test ends."""
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


def network(operator: str, domain: str = "", weights: tuple[int, ...] = (3, 2, 3, 3)) -> pnn.Network:
    """A convolution of 3x3 cells with a stride of 2, and the operator."""
    x = Leaf("x", "float32", ("batch", 2, 9, 9))
    weight = Leaf("weight", "float32", weights, parameter=True)
    y = emit(operator, emit("Conv", x, weight, strides=[2, 2]), domain=domain, name="it")
    array = np.linspace(-1, 1, int(np.prod(weights)), dtype=np.float32).reshape(weights)
    return pnn.Network.from_graph(trace([x], [y]).graph, {"weight": array})


def assert_treated_rightly(net: pnn.Network, tmp_path: Path) -> None:
    """All that asks for facts about operators, on a network whose last node is an activation function."""
    [*_, row] = size_net(net).nodes
    assert (row.field, row.jump) == ((3, 3), (2.0, 2.0))
    assert not [finding for finding in check(net).findings if finding.level != "note"]
    assert [box.family for box in diagram(inspect(net)).boxes] == [
        "input or output",
        "weights",
        "activation",
        "input or output",
    ]
    assert keeps_examples_apart(net.graph)
    x = RNG.normal(size=(3, 2, 9, 9)).astype(np.float32)
    ours = net.predict(x)
    for float16 in (False, True):
        path = tmp_path / f"{float16}.onnx"
        export_onnx(net, path, float16=float16)
        [theirs] = onnxruntime.InferenceSession(path).run(None, {"x": x})
        np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=5e-3 if float16 else 1e-5)
    with warnings.catch_warnings():  # An operator of this package in a manifest is one of another version.
        warnings.simplefilter("ignore", pnn.EditedWarning)
        back = import_onnx(tmp_path / "False.onnx")
    np.testing.assert_allclose(back.predict(x), ours, rtol=1e-5, atol=1e-6)


def model_of(operator: str, path: Path) -> Path:
    value = partial(helper.make_tensor_value_info, elem_type=onnx.TensorProto.FLOAT, shape=("n", 3))
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"], "it")], "g", [value("x")], [value("y")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_an_operator_is_put_back_from_its_home_alone(tmp_path: Path) -> None:
    net, file = network("Softsign"), model_of("Softsign", tmp_path / "softsign.onnx")
    assert_treated_rightly(net, tmp_path)

    others = {key: operator for key, operator in REGISTRY.items() if key != ("", "Softsign")}
    home = importlib.import_module(REGISTRY.pop(("", "Softsign")).gradient.__module__)  # type: ignore[union-attr]
    with pytest.raises(GraphError, match="operator 'Softsign' is not supported"):
        network("Softsign")
    assert "ai.onnx.Softsign" in {node.operator for node in import_onnx(file).graph.nodes}
    assert any("needs onnxruntime" in each.message and "Softsign" in each.message for each in check(file).findings)

    REGISTRY.clear()
    importlib.reload(home)
    found = REGISTRY["", "Softsign"]
    REGISTRY.clear()
    REGISTRY.update(others)
    register(found)
    assert_treated_rightly(network("Softsign"), tmp_path)
    assert import_onnx(file).predict(np.ones((1, 3), np.float32)) == pytest.approx(0.5)


def _bump(n: KernelContext) -> list[Step]:
    x, out, work = n.x[0], n.out(), n.scratch_like(n.x[0])
    return [
        partial(np.multiply, x, x, out=work),
        partial(np.negative, work, out=work),
        partial(np.exp, work, out=work),
        partial(np.multiply, x, work, out=out),
    ]


def _bump_lowering(x: Symbol) -> Symbol:
    return x * emit("Exp", -(x * x))


def test_a_new_operator_is_one_registration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(
        Operator(
            "Bump",
            ("X",),
            same_type,
            _bump,
            "lowering",
            outputs=("Y",),
            domain=INTERNAL,
            lowering=_bump_lowering,
            family="activation",
            elementwise=True,
            samples={0: Interval(0.5, 2)},
        )
    )
    net = network("Bump", INTERNAL)
    assert_treated_rightly(net, tmp_path)
    names = {node.op_type for node in onnx.load(tmp_path / "False.onnx").graph.node}
    assert names == {"Conv", "Mul", "Neg", "Exp"}

    x = Leaf("x", "float32", ("batch", 4))
    graph = trace([x], [emit("Bump", x, domain=INTERNAL)]).graph
    drawn = [array for feeds in varied(graph, np.random.default_rng(0)) for array in feeds.values()]
    assert [array.shape for array in drawn] == [(1, 4), (3, 4), (3, 4)]
    assert all(0.5 <= array.min() <= array.max() <= 2 for array in drawn)

    ran: list[halves.Halves] = []
    run = halves.Halves.run
    monkeypatch.setattr(halves.Halves, "run", lambda self: (ran.append(self), run(self)))
    y = np.zeros((64, 3, 4, 4))
    net.fit(RNG.normal(size=(64, 2, 9, 9)), y, loss="mean_squared_error", batch_size=32, epochs=1)
    assert len(ran) == 2 * has_threads_to_set()


def test_a_node_that_shares_memory_with_its_input_is_what_the_registration_allows() -> None:
    """Exp keeps the order of axes in memory, as it may overwrite its input; a comparison does neither."""
    x = Leaf("x", "float32", (2, 3, 4))
    turned = emit("Exp", emit("Transpose", x, perm=[2, 0, 1]))
    layout = Plan(trace([x], [turned]).graph, {}, {}).outputs
    [array] = layout.values()
    assert array.strides == np.empty((2, 3, 4), np.float32).transpose(2, 0, 1).strides
    compared = emit("Equal", turned, turned)
    [mask] = Plan(trace([x], [compared]).graph, {}, {}).outputs.values()
    assert mask.flags.c_contiguous


# -- what registrations claim, of every operator


def facts_of(case: Case) -> Operator:
    return REGISTRY[case.domain, case.operator]


def outputs_of(graph: Graph, feeds: Mapping[str, Array]) -> list[Array]:
    return [np.copy(array) for array in run_plan(graph, feeds)]


def has_one_constant_for_all(case: Case) -> bool:
    """Whether no constant input of a case differs from element to element, so that only its inputs are reversed."""
    return all(np.size(case.inputs[index]) <= 1 for index in case.constants)


@pytest.mark.quick("Relu", "Add", "Where", "Clip", "Pow", "Cast", "Gelu", "Equal")
@pytest.mark.parametrize(
    "case", [case for case in CASES if facts_of(case).elementwise and has_one_constant_for_all(case)], ids=str
)
def test_an_elementwise_operator_takes_reversed_inputs_to_a_reversed_output(case: Case) -> None:
    leaves, outputs = case.build("float32")
    graph, feeds = trace(leaves, outputs).graph, case.feeds("float32")
    reversed_feeds = {name: np.flip(array) for name, array in feeds.items()}
    for found, turned in zip(outputs_of(graph, feeds), outputs_of(graph, reversed_feeds), strict=True):
        np.testing.assert_array_equal(np.flip(turned), found)


@pytest.mark.quick("Transpose", "Split", "ReverseSequence")
@pytest.mark.parametrize("case", [case for case in CASES if facts_of(case).rearranges], ids=str)
def test_an_operator_that_rearranges_keeps_each_element_once(case: Case) -> None:
    leaves, outputs = case.build("float32")
    feeds = case.feeds("float32")
    numbers = np.arange(feeds["x0"].size).reshape(feeds["x0"].shape)
    feeds["x0"] = (numbers % 2 if feeds["x0"].dtype == bool else numbers).astype(feeds["x0"].dtype)
    found = [array.ravel() for array in outputs_of(trace(leaves, outputs).graph, feeds)]
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.sort(feeds["x0"].ravel()))


def apart(case: Case) -> bool:
    """Whether its operator claims that it computes each example by itself, and the batch is its first axis."""
    operator = facts_of(case)
    claimed = operator.elementwise or operator.batch_inputs == "all"
    if not (case.batched and (claimed or (operator.batch_inputs == "first" and case.batched == (0,)))):
        return False
    _, outputs = case.build("float32", "batch")
    return not mixes_examples(case.attributes) and all(output.shape[:1] == ("batch",) for output in outputs)


@pytest.mark.quick("Conv", "Gemm", "Relu", "Concat", "Pad", "MaxPool", "InstanceNormalization", "Where")
@pytest.mark.parametrize("case", [case for case in CASES if apart(case)], ids=str)
def test_an_operator_that_keeps_examples_apart_computes_each_by_itself(case: Case) -> None:
    leaves, outputs = case.build("float32", "batch")
    graph, feeds = trace(leaves, outputs).graph, case.feeds("float32")
    together = outputs_of(graph, feeds)
    for place in range(len(together[0])):
        one = {
            name: array[place : place + 1] if int(name[1:]) in case.batched else array for name, array in feeds.items()
        }
        for whole, alone in zip(together, outputs_of(graph, one), strict=True):
            near = 1e-6 * max(1.0, float(np.abs(whole).max(initial=0)))
            np.testing.assert_allclose(alone, whole[place : place + 1], rtol=1e-5, atol=near)


def monotone(case: Case) -> bool:
    """Whether its operator claims to be monotone with these attributes, and takes floats."""
    claim = facts_of(case).monotone
    return bool(claim(case.attributes) if callable(claim) else claim) and case.feeds("float32")["x0"].dtype.kind == "f"


@pytest.mark.parametrize("case", [case for case in CASES if monotone(case)], ids=str)
def test_a_monotone_operator_changes_places_with_the_maximum(case: Case) -> None:
    leaves, outputs = case.build("float32")
    graph, feeds = trace(leaves, outputs).graph, case.feeds("float32")
    other = RNG.normal(size=feeds["x0"].shape).astype(np.float32)
    [first], [second] = outputs_of(graph, feeds), outputs_of(graph, {**feeds, "x0": other})
    [both] = outputs_of(graph, {**feeds, "x0": np.maximum(feeds["x0"], other)})
    np.testing.assert_array_equal(both, np.maximum(first, second))


@pytest.mark.parametrize("operator", ["Sin", "Tan", "Round", "Shrink", "ThresholdedRelu", "Not", "IsNaN", "HardSwish"])
def test_the_receptive_field_is_kept_by_every_elementwise_operator(operator: str) -> None:
    x = Leaf("x", "float32", ("batch", 2, 9, 9))
    pooled = emit("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    inner = emit("Greater", pooled, pooled * 2) if operator == "Not" else pooled
    net = pnn.Network.from_graph(trace([x], [emit(operator, inner)]).graph, {})
    assert [row.field for row in size_net(net).nodes if row.operator == operator] == [(3, 3)]


@pytest.mark.parametrize("layer", [pnn.Softshrink(), pnn.Hardshrink(), pnn.ThresholdedReLU(), pnn.Softsign()])
def test_networks_with_shrinking_layers_train_in_halves(layer: Layer) -> None:
    net = pnn.Sequential(pnn.Input(2, 8, 8), pnn.Conv2d(4, 3), layer, pnn.Flatten(), pnn.Dense(3), seed=0)
    assert keeps_examples_apart(net.graph)


@pytest.mark.quick("Conv", "Gemm", "Softmax", "LSTM", "Slice", "MaxPool", "LayerNormalization", "Where")
@pytest.mark.parametrize("operator", REGISTRY.values(), ids=lambda operator: operator.name)
def test_facts_are_about_inputs_and_attributes_that_there_are(operator: Operator) -> None:
    some = len(operator.inputs) if not operator.inputs or operator.inputs[-1][-1] != "*" else ALL.stop
    assert {*operator.weights, *operator.settings, *operator.samples, *operator.state.values()} <= {
        *range(min(some, 9))
    }
    assert operator.passes in (ALL, ()) or set(operator.passes) <= {*range(some)}
    assert not set(operator.weights) & set(operator.settings)
    assert {name for name, _ in operator.portability.since} <= set(operator.attributes)
    names = {*operator.attributes, *(name.rstrip("?*") for name in operator.inputs)}
    assert {limit.option for limit in operator.portability.limits} <= names
    assert not (operator.elementwise and (operator.receptive or operator.window))


def test_former_names_are_found() -> None:
    schemas = {(schema.name, schema.domain) for schema in onnx.defs.get_all_schemas_with_history()}
    former = {name: operator.name for operator in REGISTRY.values() for name in operator.portability.former_names}
    assert former == {"Upsample": "Resize", "Scatter": "ScatterElements"}
    assert {(name, "") for name in former} <= schemas
    for name, now in former.items():
        assert onnx.defs.get_schema(name).deprecated
        assert find(name) is REGISTRY["", now]
    assert find("Upsample", INTERNAL) is None


NAMES = frozenset(name for domain, name in REGISTRY if not domain)

EXCEPTIONS = {
    "onnx/opsets/forms.py": "adapters from opset to opset, with their code",
    "source/c_operators/": "what operators are in C, with their code",
    "converters/array/": "what operators are in numpy, with their code",
    "jax/operators/own.py": "what operators are in JAX alone, with their code",
    "torch/source_rows.py": "what operators are in PyTorch alone, with their code",
    "keras/rebuilding/words.py": "the names of Keras's activations",
    "converters/layers/weights.py": "the names of Keras's layers with weights",
    "layers/pytorch.py": "the names of PyTorch's modules",
    "onnx/opsets/microsoft.py": "what operators of com.microsoft are in those of the standard, with their code",
    "onnx/opsets/newer.py": "what opsets after that of the graphs brought, with their code",
}


@pytest.mark.long
def test_no_table_of_operator_names_outside_the_operators() -> None:
    found = {}
    for folder in ("portable_nn", "converters", "models"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith("portable_nn/operators/") and (
                lines := operator_tables(ast.parse(path.read_text(encoding="utf-8")), NAMES)
            ):
                found[name] = lines
    allowed = {name for name in found if any(each in name for each in EXCEPTIONS)}
    assert {name: lines for name, lines in found.items() if name not in allowed} == {}, "make it a field of Operator"
    assert all(any(each in name for name in allowed) for each in EXCEPTIONS), "an exception that is none any more"
