"""Every rewrite in the table keeps the numbers, changes nothing that it was given, and can be turned off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from msgspec.structs import replace

import portable_nn as pnn
from portable_nn.converters.onnx.adapting import program_of
from portable_nn.core.errors import GraphError, UsageError
from portable_nn.core.graph import INTERNAL, Graph
from portable_nn.engines.plan import Plan
from portable_nn.onnx.session import session_of
from portable_nn.operators import DTYPE_CODES, Leaf, constant, emit, infer, integers, trace
from portable_nn.operators.registry import Array
from portable_nn.rewrites import DEFAULT, INFERENCE, REWRITES, Program, Rewrite, rewritten
from portable_nn.rewrites.sizes import fixed_sizes
from portable_nn.training.losses import LOSSES
from portable_nn.training.optimizers import SGD
from portable_nn.training.step import TrainingStep
from portable_nn.training.updating import Updating

Arrays = Mapping[str, Array]

X = np.random.default_rng(1).normal(size=(6, 3, 8, 8)).astype(np.float32)


def numpy_engine(program: Program, feeds: Arrays) -> dict[str, Array]:
    shapes = {name: array.shape for name, array in feeds.items()}
    plan = Plan(program.graph, shapes, program.parameters, rewrites=())
    for name, array in feeds.items():
        plan.inputs[name][...] = array
    plan.run()
    return {name: array.copy() for name, array in plan.outputs.items()}


def onnxruntime_engine(program: Program, feeds: Arrays) -> dict[str, Array]:
    return session_of(program.graph, program.parameters).run(feeds)


def small(batch: int | str = "batch") -> Program:
    """Convolution, activation, pool, and a second output that a reshape makes; ``side`` leads to no output."""
    rng = np.random.default_rng(0)
    x = Leaf("x", "float32", (batch, 3, 8, 8))
    w, b = Leaf("w", "float32", (4, 3, 3, 3), parameter=True), Leaf("b", "float32", (4,), parameter=True)
    active = emit("Relu", emit("Conv", x, w, b, name="conv"), name="relu")
    pool = emit("MaxPool", active, kernel_shape=[2, 2], strides=[2, 2], name="pool")
    flat = emit("Reshape", pool, integers([batch, 36] if isinstance(batch, int) else [-1, 36]), name="flat")
    graph = trace([x], [flat, emit("Neg", pool, name="side")]).graph
    parameters = {each.name: rng.normal(size=each.shape).astype(np.float32) for each in graph.parameters}
    return Program(replace(graph, outputs=("flat",)), parameters)


def noted() -> Program:
    """A convolution and an activation with what does something in training alone after each."""
    x, w = Leaf("x", "float32", ("batch", 3, 8, 8)), Leaf("w", "float32", (4, 3, 3, 3), parameter=True)
    dropped = emit("Dropout", emit("Conv", x, w), constant(0.5, "float32"))
    active = emit("Relu", emit("StopGradient", dropped, domain=INTERNAL))
    graph = trace([x], [emit("Dropout", active, name="flat")]).graph
    return Program(graph, {"w": np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)})


def normalized() -> Program:
    """A convolution, its batch normalization, and an activation, for six examples."""
    rng = np.random.default_rng(0)
    x = Leaf("x", "float32", (6, 3, 8, 8))
    w = Leaf("w", "float32", (4, 3, 3, 3), parameter=True)
    each = [Leaf(name, "float32", (4,), parameter=True) for name in ("scale", "shift", "mean", "variance")]
    graph = trace([x], [emit("Relu", emit("BatchNormalization", emit("Conv", x, w), *each), name="flat")]).graph
    arrays = {each.name: rng.uniform(0.5, 1, each.shape).astype(np.float32) for each in graph.parameters}
    return Program(graph, arrays)


def doubled() -> Program:
    """In float64 throughout: a weight, a cast and a constant."""
    rng = np.random.default_rng(0)
    x, w = Leaf("x", "float64", (6, 3, 8, 8)), Leaf("w", "float64", (8, 5), parameter=True)
    y = emit("MatMul", x, w) * emit("Cast", integers([3]), to=DTYPE_CODES["float64"]) + 0.1
    return Program(trace([x], [y]).graph, {"w": rng.normal(size=(8, 5))})


class Case(NamedTuple):
    """A program, the rewrite of it, inputs for the result, and how to find what it must compute from the program."""

    program: Program
    rewrite: Rewrite
    feeds: Arrays
    expected: Callable[[Program, Arrays], Mapping[str, Array]] = numpy_engine
    shows: Callable[[Graph], Any] = len
    before: Any = None
    after: Any = None


def operators(graph: Graph) -> list[str]:
    return [node.operator for node in graph.nodes if node.operator not in {"Constant", "Reshape"}]


def first_size(graph: Graph) -> object:
    return graph.inputs[0].shape[0]


def two_at_a_time(program: Program, feeds: Arrays) -> dict[str, Array]:
    parts = [numpy_engine(program, {"x": feeds["x"][start : start + 2]}) for start in range(0, 6, 2)]
    return {"flat": np.concatenate([part["flat"] for part in parts])}


def rounded(program: Program, feeds: Arrays) -> dict[str, Array]:
    weights = dict(program.parameters)
    return numpy_engine(program._replace(parameters={**weights, "w": weights["w"].astype(np.float16)}), feeds)


def cases() -> dict[str, Case]:
    rewrite = {name: rule.rewrite for name, rule in REWRITES.items()}
    return {
        "training": Case(
            noted(),
            rewrite["training"],
            {"x": X},
            shows=operators,
            before=["Conv", "Dropout", "StopGradient", "Relu", "Dropout"],
            after=["Conv", "Relu", "Identity"],
        ),
        "normalization": Case(
            normalized(),
            rewrite["normalization"],
            {"x": X},
            shows=lambda graph: [name for name in operators(graph) if name in {"Conv", "BatchNormalization", "Relu"}],
            before=["Conv", "BatchNormalization", "Relu"],
            after=["Conv", "Relu"],
        ),
        "max-pool-first": Case(
            rewrite["unused"](small()),
            rewrite["max-pool-first"],
            {"x": X},
            shows=operators,
            before=["Conv", "Relu", "MaxPool"],
            after=["Conv", "MaxPool", "Add", "Relu"],
        ),
        "unused": Case(
            small(),
            rewrite["unused"],
            {"x": X},
            shows=lambda graph: "Neg" in operators(graph),
            before=True,
            after=False,
        ),
        "any-batch": Case(small(2), rewrite["any-batch"], {"x": X}, two_at_a_time, first_size, before=2, after="batch"),
        "sizes": Case(
            small(), partial(fixed_sizes, sizes={"batch": 6}), {"x": X}, shows=first_size, before="batch", after=6
        ),
        "float16": Case(
            small(),
            rewrite["float16"],
            {"x": X},
            rounded,
            lambda graph: [each.dtype for each in graph.parameters],
            ["float32", "float32"],
            ["float16", "float32"],
        ),
        "float32": Case(
            doubled(),
            rewrite["float32"],
            {"x": X},
            shows=lambda graph: {value.dtype for value in infer(graph).types.values()} & {"float32", "float64"},
            before={"float64"},
            after={"float32"},
        ),
    }


def test_every_rewrite_has_a_case_and_a_summary() -> None:
    assert list(cases()) == list(REWRITES)
    assert all(rule.summary and "\n" not in rule.summary for rule in REWRITES.values())
    assert sorted(DEFAULT) == ["max-pool-first", "unused"]
    assert sorted(INFERENCE - DEFAULT) == ["normalization", "training"]


@pytest.mark.parametrize("name", REWRITES)
@pytest.mark.parametrize("engine", [numpy_engine, onnxruntime_engine])
def test_it_keeps_the_numbers(name: str, engine: Callable[[Program, Arrays], dict[str, Array]]) -> None:
    case = cases()[name]
    after = case.rewrite(case.program)
    assert (case.shows(case.program.graph), case.shows(after.graph)) == (case.before, case.after)
    expected, found = case.expected(case.program, case.feeds), engine(after, case.feeds)
    assert found.keys() == expected.keys()
    for output, array in expected.items():
        np.testing.assert_allclose(found[output], array, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", REWRITES)
def test_it_is_pure(name: str) -> None:
    case = cases()[name]
    graph, arrays = case.program.graph, {key: array.tobytes() for key, array in case.program.parameters.items()}
    one, two = case.rewrite(case.program), case.rewrite(case.program)
    assert case.program.graph == graph == cases()[name].program.graph
    assert {key: array.tobytes() for key, array in case.program.parameters.items()} == arrays
    assert (one.graph, one.notes) == (two.graph, two.notes)


@pytest.mark.parametrize("name", REWRITES)
def test_it_can_be_turned_off(name: str) -> None:
    case = cases()[name]
    if name != "sizes":  # Without sizes it changes nothing.
        assert case.shows(rewritten(case.program, [name]).graph) == case.after
    assert case.shows(rewritten(case.program, DEFAULT - {name}).graph) == case.before
    assert rewritten(case.program, ()) == case.program


def test_a_plan_can_do_without_each() -> None:
    """Were the node that leads to no output computed, it would fail: its index is beyond the table."""
    x, table = Leaf("x", "int64", ("batch",)), Leaf("t", "float32", (3, 2), parameter=True)
    graph = trace([x], [emit("Cast", x, to=1, name="y"), emit("Gather", table, x, name="row")]).graph
    graph = replace(graph, outputs=("y",))
    plans = [Plan(graph, {"x": (1,)}, {"t": np.zeros((3, 2), np.float32)}, rewrites=each) for each in (DEFAULT, ())]
    for plan in plans:
        plan.inputs["x"][...] = 7
    plans[0].run()
    assert plans[0].outputs["y"] == 7
    with pytest.raises(GraphError, match=r"'row' \(Gather\)"):
        plans[1].run()


@pytest.mark.long
@pytest.mark.parametrize("model", ["digits", "digits-cnn"])
def test_a_shipped_model_computes_the_same_without_rewrites(model: str) -> None:
    network = pnn.load_model(model)
    [value] = network.graph.inputs
    x = np.random.default_rng(0).uniform(0, 255, (5, *map(int, value.shape[1:]))).astype(value.dtype)
    expected, found = network.predict({value.name: x}), numpy_engine(program_of(network), {value.name: x})
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-6, atol=1e-6)


def test_a_plan_runs_what_it_is_asked_for() -> None:
    program = small()
    plan = Plan(program.graph, {"x": X.shape}, program.parameters, rewrites=["float16"])
    plan.inputs["x"][...] = X
    plan.run()
    np.testing.assert_allclose(plan.outputs["flat"], rounded(program, {"x": X})["flat"], rtol=1e-6, atol=1e-6)


def test_training_can_do_without_them() -> None:
    def step(rewrites: frozenset[str]) -> tuple[list[str], dict[str, Array]]:
        network = pnn.Sequential(
            pnn.Input(3, 8, 8), pnn.Conv2d(4, 3), pnn.ReLU(), pnn.MaxPool2d(2), pnn.Flatten(), pnn.Dense(2), seed=0
        )
        [name] = network.graph.outputs
        losses, target = {name: LOSSES["mean_squared_error"]()}, {name: np.zeros((6, 2), np.float32)}
        made = TrainingStep(
            network,
            losses,
            {network.graph.inputs[0].name: X},
            target,
            Updating(SGD(0.1)),
            weighted=None,
            rewrites=rewrites,
        )
        plan = made.plan(6)
        for array in plan.inputs.values():
            array[...] = X if array.shape == X.shape else 0.1 if array.ndim == 0 else 0
        plan.run()
        return operators(made.graph), {key: array.copy() for key, array in network.parameters.items()}

    (first, one), (second, two) = step(DEFAULT), step(frozenset())
    assert first.index("MaxPool") < first.index("Relu")
    assert second.index("MaxPool") > second.index("Relu")
    for key, array in one.items():
        np.testing.assert_allclose(array, two[key], rtol=1e-5, atol=1e-6)


def test_an_unknown_name() -> None:
    with pytest.raises(
        UsageError, match=r"^there is no rewrite 'float8': there are training, normalization, max-pool-first, unused, "
    ):
        rewritten(small(), ["float8"])
