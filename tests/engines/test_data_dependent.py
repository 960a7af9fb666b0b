"""Sizes that depend on data: the nodes that decide them, and plans that go on with what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import ModelProto, helper, numpy_helper

import portable_nn as pnn
from portable_nn.core.dims import agreed, is_open, names_in, opened_by
from portable_nn.core.errors import GraphError
from portable_nn.engines.once import run_numpy
from portable_nn.engines.plan import MOST, Plan
from portable_nn.onnx.reading import from_model
from portable_nn.operators import Leaf, constant, emit, infer, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array

node = helper.make_node


def model(
    nodes: Sequence[Any], inputs: Mapping[str, tuple[Any, Sequence[Any]]], outputs: str, stored: Mapping[str, Any] = {}
) -> ModelProto:
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
        for name, (dtype, shape) in inputs.items()
    ]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs.split()]
    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
    graph = helper.make_graph(nodes, "g", values, results, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def both(made: ModelProto, feeds: Mapping[str, Array]) -> tuple[list[Array], list[Array]]:
    """What numpy and what onnxruntime compute."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    theirs = onnxruntime.InferenceSession(made.SerializeToString(), options).run(None, dict(feeds))
    read = from_model(made, "m")
    ours = run_numpy(read.graph, read.parameters, feeds)
    return [ours[value.name] for value in made.graph.output], theirs


def assert_same(made: ModelProto, feeds: Mapping[str, Array]) -> None:
    for one, other in zip(*both(made, feeds), strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_array_equal(one, other)


def alone(operator: str, feeds: Mapping[str, Array], outputs: str = "y", **attributes: Any) -> ModelProto:
    inputs = {name: (array.dtype, array.shape) for name, array in feeds.items()}
    return model([node(operator, list(feeds), outputs.split(), **attributes)], inputs, outputs)


# -- operators, against onnxruntime


SMALL = arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)


@given(x=arrays.arrays(st.sampled_from(["float32", "int64", "bool"]), SMALL, elements=st.integers(0, 1)))
@settings(max_examples=50, deadline=None)
def test_nonzero_is_onnxruntimes(x: Array) -> None:
    assert_same(alone("NonZero", {"x": x}), {"x": x})


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_compress_is_onnxruntimes(data: st.DataObject) -> None:
    x = data.draw(arrays.arrays("float32", SMALL, elements=st.integers(-9, 9)))
    axis = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1))
    size = x.size if axis is None else x.shape[axis]
    feeds = {"x": x, "c": data.draw(arrays.arrays("bool", st.integers(0, size)))}
    assert_same(alone("Compress", feeds, **({} if axis is None else {"axis": axis})), feeds)


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_unique_is_onnxruntimes(data: st.DataObject) -> None:
    shape = arrays.array_shapes(max_dims=3, max_side=4)  # onnxruntime ends the process for some empty ones.
    x = data.draw(arrays.arrays(st.sampled_from(["float32", "int64"]), shape, elements=st.integers(-1, 1)))
    axis = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1))
    options = {"sorted": data.draw(st.integers(0, 1)), **({} if axis is None else {"axis": axis})}
    assert_same(alone("Unique", {"x": x}, "y first where count", **options), {"x": x})


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_nms_is_onnxruntimes(data: st.DataObject) -> None:
    """Ties, equal boxes, boxes without area, swapped corners, NaN, and nothing at all."""
    batch, classes, count = (data.draw(st.integers(low, high)) for low, high in ((0, 2), (1, 2), (0, 9)))
    numbers = st.sampled_from(np.float32([-1, 0, 0.5, 1, 1.3, 2, 3, np.inf, np.nan]).tolist())
    feeds = {
        "boxes": data.draw(arrays.arrays("float32", (batch, count, 4), elements=numbers)),
        "scores": data.draw(
            arrays.arrays("float32", (batch, classes, count), elements=st.sampled_from([0, 0.25, 0.5, 1]))
        ),
    }
    limits = {
        "most": np.int64([data.draw(st.sampled_from([-1, 0, 1, 3, 2**40]))]),
        "overlap": np.float32([data.draw(st.sampled_from([0, 0.25, 0.5, 1]))]),
        "least": np.float32([data.draw(st.sampled_from([-np.inf, 0, 0.25, np.nan]))]),
    }
    feeds |= dict(list(limits.items())[: data.draw(st.integers(0, 3))])
    if "least" in feeds and feeds["scores"].size:
        feeds["scores"].flat[0] = np.nan
    assert_same(alone("NonMaxSuppression", feeds, center_point_box=data.draw(st.integers(0, 1))), feeds)


@pytest.mark.parametrize(
    ("operator", "feeds", "message"),
    [
        ("Unique", {"x": np.float32([1, np.nan])}, "NaN"),
        (
            "NonMaxSuppression",
            {"b": np.zeros((1, 2, 4), "float32"), "s": np.float32([[[np.nan, 1]]]), "m": np.int64([2])},
            "no order",
        ),
        (
            "NonMaxSuppression",
            {
                "b": np.zeros((1, 1, 4), "float32"),
                "s": np.ones((1, 1, 1), "float32"),
                "m": np.int64([2]),
                "i": np.float32([2]),
            },
            "iou_threshold must be 0 to 1",
        ),
        ("Compress", {"x": np.float32([1]), "c": np.array([False, True])}, "keeps element 1, but there are 1"),
    ],
)
def test_what_no_two_runtimes_agree_on_is_refused(operator: str, feeds: Mapping[str, Array], message: str) -> None:
    read = from_model(alone(operator, feeds), "m")
    with pytest.raises(GraphError, match=message):
        run_numpy(read.graph, read.parameters, feeds)


# -- hostile: limits before memory


@pytest.mark.parametrize(
    ("operator", "feeds", "message"),
    [
        ("Range", {"a": np.int64(0), "b": np.int64(2**40), "d": np.int64(1)}, "memory|bytes|GB|TB"),
        ("Range", {"a": np.float32(0), "b": np.float32(1), "d": np.float32(np.nan)}, "delta must be a number"),
        ("Expand", {"x": np.float32([1]), "s": np.int64([2**20, 2**20])}, "memory|bytes|GB|TB"),
        ("Expand", {"x": np.float32([1, 2]), "s": np.int64([3])}, "does not broadcast"),
        ("Tile", {"x": np.float32([1]), "n": np.int64([2**40])}, "memory|bytes|GB|TB"),
        ("Tile", {"x": np.float32([1]), "n": np.int64([-1])}, "repeats must be 0 or more"),
        ("ConstantOfShape", {"s": np.int64([2**40])}, "memory|bytes|GB|TB"),
        ("ConstantOfShape", {"s": np.int64([-2])}, "sizes of 0 or more"),
        ("Reshape", {"x": np.float32([1]), "s": np.int64([-1, -1])}, "may have one size of -1"),
        ("Resize", {"x": np.ones((1, 1, 2, 2), "float32"), "": None, "s": np.float32([1, 1, np.nan, 1])}, "positive"),
        (
            "Resize",
            {"x": np.ones((1, 1, 2, 2), "float32"), "": None, "s": np.float32([1, 1, 2**30, 1])},
            "memory|GB|TB",
        ),
        ("Resize", {"x": np.ones((1, 1, 2, 2), "float32"), "": None, "s": np.float32([1, 1, -1, 1])}, "positive"),
        ("Pad", {"x": np.float32([1]), "p": np.int64([2**40, 0])}, "memory|bytes|GB|TB"),
        ("Pad", {"x": np.float32([1]), "p": np.int64([-2, 0])}, "pads"),
        (
            "OneHot",
            {"x": np.int64([0]), "d": np.int64(-3), "v": np.float32([0, 1])},
            "depth must be one number of 0 or",
        ),
        ("OneHot", {"x": np.int64([0]), "d": np.int64(2**40), "v": np.float32([0, 1])}, "memory|bytes|GB|TB"),
        ("HannWindow", {"n": np.int64(2**62)}, "memory|bytes|GB|TB"),
        ("HannWindow", {"n": np.int64(-1)}, "size must be one number of 0 or more"),
        ("CenterCropPad", {"x": np.float32([1]), "s": np.int64([2**40])}, "memory|bytes|GB|TB"),
        ("Split", {"x": np.float32([1]), "s": np.int64([2])}, "make 2, but axis 0 has 1"),
        ("Squeeze", {"x": np.float32([1]), "a": np.int64([2**62])}, "is outside an input of 1 dimensions"),
        ("Unsqueeze", {"x": np.float32([1]), "a": np.int64([0, 0])}, "name one axis twice"),
        ("ReduceSum", {"x": np.float32([[1]]), "a": np.int64([1, -1])}, "name one axis twice"),
        ("CumSum", {"x": np.float32([1]), "a": np.int64(1)}, "axis 1 is outside"),
        ("DFT", {"x": np.ones((1, 2, 1), "float32"), "n": np.int64(2**40)}, "memory|bytes|GB|TB"),
        ("DFT", {"x": np.ones((1, 2, 1), "float32"), "n": np.int64(0)}, "length of the signal must be 1 or more"),
        ("STFT", {"x": np.ones((1, 9, 1), "float32"), "s": np.int64(0)}, "frames of 9 in steps of 0 are none"),
    ],
)
def test_computed_sizes_are_limited_before_memory_is_taken(operator: str, feeds: dict[str, Any], message: str) -> None:
    inputs = {name: (array.dtype, array.shape) for name, array in feeds.items() if name}
    read = from_model(model([node(operator, list(feeds), ["y"], name="here")], inputs, "y"), "m")
    with pytest.raises(GraphError, match=message) as caught:
        run_numpy(read.graph, read.parameters, {name: array for name, array in feeds.items() if name})
    assert "here" in str(caught.value)


@pytest.mark.parametrize("count", [-1, 6, 2**40])
def test_a_computed_k_is_within_the_axis(count: int) -> None:
    feeds = {"x": np.zeros((2, 5), "float32"), "k": np.int64([count])}
    read = from_model(
        model([node("TopK", ["x", "k"], ["y", "i"])], {"x": ("float32", (2, 5)), "k": ("int64", (1,))}, "y i"), "m"
    )
    with pytest.raises(GraphError, match="K must be 0 to 5"):
        run_numpy(read.graph, read.parameters, feeds)


def test_sizes_that_are_decided_without_end_are_refused() -> None:
    nodes = [node("NonZero", ["x"], ["x0"])]
    nodes += [node("NonZero", [f"x{place}"], [f"x{place + 1}"], name=f"n{place}") for place in range(150)]
    read = from_model(model(nodes, {"x": ("float32", [1])}, "x150"), "m")
    with pytest.raises(GraphError, match="more than 100 times in a row"):
        run_numpy(read.graph, {}, {"x": np.ones(1, "float32")})


# -- the plan


CHAIN = model(
    [
        node("Greater", ["x", "half"], ["mask"]),
        node("NonZero", ["mask"], ["places"], name="bright"),
        node("Transpose", ["places"], ["rows"]),
        node("GatherND", ["x", "rows"], ["values"]),
        node("Size", ["values"], ["count"]),
        node("Min", ["count", "three"], ["few"]),
        node("Reshape", ["few", "one"], ["k"]),
        node("TopK", ["values", "k"], ["best", "at"], axis=0),
        node("ReduceMax", ["at"], ["last"], keepdims=0),
        node("Range", ["zero", "last", "unit"], ["numbers"], name="numbers"),
        node("Mul", ["best", "best"], ["y"]),
    ],
    {"x": ("float32", ["batch", 5])},
    "y numbers",
    {"half": np.float32(0.5), "three": np.int64(3), "zero": np.int64(0), "unit": np.int64(1), "one": np.int64([1])},
)
"""A size that a mask decides flows on; a second one follows from what was selected."""


def test_sizes_have_names_that_flow_on() -> None:
    read = from_model(CHAIN, "m")
    types = infer(read.graph).types
    assert types["values"].shape == ("size(bright)",)
    assert types["y"].shape == ("min(3,size(bright))",)
    assert types["numbers"].shape == ("size(numbers)",)
    assert "size(bright)" in str(pnn.import_onnx(CHAIN))


def test_a_network_is_imported_with_verification_saved_and_exported(tmp_path: Any) -> None:
    network = pnn.import_onnx(CHAIN)
    network.save(tmp_path / "m.safetensors")
    again = pnn.load(tmp_path / "m.safetensors")
    assert pnn.export_onnx(again, tmp_path / "m.onnx").max_abs_error < 1e-6
    for seed in range(6):
        x = np.random.default_rng(seed).normal(size=(seed + 1, 5)).astype("float32") + (seed == 5)
        theirs = dict(zip(("y", "numbers"), both(CHAIN, {"x": x})[1], strict=True))
        for engine in ("numpy", "onnxruntime"):
            found = again.predict({"x": x}, engine=engine)
            for name, array in theirs.items():
                np.testing.assert_array_equal(found[name], array)


def test_what_sizes_select_is_known_before_the_first_run() -> None:
    """The shape is constant once the plan is made, but no array of it has been computed then."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Equal", ["shape", "three"], ["is"]),
        node("Compress", ["shape", "is"], ["y"]),
        node("NonZero", ["is"], ["at"]),
    ]
    made = model(nodes, {"x": ("float32", ["a", "b", "c"])}, "y at", {"three": np.int64(3)})
    for shape in ((1, 3, 2), (3, 3, 3), (2, 1, 1)):
        assert_same(made, {"x": np.zeros(shape, "float32")})


def test_a_branch_may_decide_a_size() -> None:
    """As exporters of detectors write it: no boxes where there are none, otherwise what is selected of them."""
    none = helper.make_graph(
        [node("Constant", [], ["none"], value=numpy_helper.from_array(np.zeros(0, "float32")))],
        "then",
        [],
        [helper.make_empty_tensor_value_info("none")],
    )
    some = helper.make_graph(
        [
            node("ReduceMax", ["k"], ["most"], keepdims=0),
            node("Equal", ["k", "most"], ["is"]),
            node("Compress", ["k", "is"], ["some"]),
        ],
        "else",
        [],
        [helper.make_empty_tensor_value_info("some")],
    )
    made = model(
        [
            node("Greater", ["x", "half"], ["mask"]),
            node("Compress", ["x", "mask"], ["k"]),
            node("Size", ["k"], ["count"]),
            node("Equal", ["count", "zero"], ["empty"]),
            node("If", ["empty"], ["best"], name="either", then_branch=none, else_branch=some),
            node("Mul", ["best", "best"], ["y"]),
        ],
        {"x": ("float32", [5])},
        "y",
        {"half": np.float32(0.5), "zero": np.int64(0)},
    )
    read = from_model(made, "m")
    assert infer(read.graph).types["y"].shape == ("size(either)",)
    for x in ([0, 0, 0, 0, 0], [0, 1, 2, 2, 0], [1, 0, 0, 0, 3]):
        assert_same(made, {"x": np.float32(x)})


def test_plans_are_kept_for_sizes_that_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[Plan]()
    begin = Plan.__init__

    def counted(self: Plan, *args: Any, **options: Any) -> None:
        made.append(self)
        begin(self, *args, **options)

    read = from_model(CHAIN, "m")
    monkeypatch.setattr(Plan, "__init__", counted)
    plan = Plan(read.graph, {"x": (2, 5)}, read.parameters)
    inputs = [np.where(np.arange(10) < count, 1.0, 0.0).reshape(2, 5) for count in range(1, 9)]
    for x in inputs * 3:
        plan.inputs["x"][...] = x
        plan.run()
        assert len(plan.outputs["y"]) == min(3, int(x.sum()))
    assert len(made) <= 1 + 3 * len(inputs)
    assert len(plan._kept) <= MOST


def test_what_is_selected_of_all_examples_is_not_computed_in_batches() -> None:
    made = model(
        [
            node("Greater", ["x", "half"], ["mask"]),
            node("Reshape", ["mask", "flat"], ["chosen"]),
            node("Compress", ["x", "chosen"], ["values"]),
            node("ReduceSum", ["values"], ["sum"], keepdims=0),
            node("Add", ["x", "sum"], ["y"]),
        ],
        {"x": ("float32", ["batch", 5])},
        "y",
        {"half": np.float32(0.5), "flat": np.int64([-1])},
    )
    x = np.random.default_rng(0).normal(size=(1500, 5)).astype("float32")
    np.testing.assert_allclose(pnn.import_onnx(made).predict(x), both(made, {"x": x})[1][0], rtol=1e-5)


def test_sizes_that_data_make_different_are_refused_by_the_node_that_they_meet_in() -> None:
    nodes = [node("NonZero", ["x"], ["a"]), node("NonZero", ["z"], ["b"]), node("Add", ["a", "b"], ["y"], name="sum")]
    read = from_model(model(nodes, {"x": ("float32", [5]), "z": ("float32", [5])}, "y"), "m")
    x = np.ones(5, "float32")
    np.testing.assert_array_equal(run_numpy(read.graph, {}, {"x": x, "z": x})["y"], [[0, 2, 4, 6, 8]])
    with pytest.raises(GraphError, match=r"'sum' \(Add\): the shapes \(1, 5\) and \(1, 2\) do not broadcast"):
        run_numpy(read.graph, {}, {"x": x, "z": np.float32([1, 1, 0, 0, 0])})


def test_a_network_without_such_nodes_is_one_plan() -> None:
    network = pnn.Sequential(pnn.Input(3), pnn.Dense(2), seed=0)
    network.predict(np.zeros((4, 3)))
    [plan] = network._execution.plans.kept.values()
    assert not plan._parts.deciding
    assert not plan._kept


def test_a_step_of_training_goes_through_what_was_selected() -> None:
    """Half the sum of squares of selected products, whose gradient is the sum of outer products where the mask is."""
    x, mask = Leaf("x", "float64", (3, 4)), Leaf("mask", "bool", (6,))
    w = Leaf("w", "float64", (4, 2), parameter=True)
    chosen = emit("Compress", x @ w, mask)
    loss = emit("ReduceSum", chosen * chosen * 0.5, keepdims=0)
    [slope] = gradients([loss], [constant(1.0, "float64")], [w])
    assert slope is not None
    traced = trace([x, mask], [loss, w - slope])
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
    before = weights.copy()
    plan = Plan(traced.graph, {}, {"w": weights}, outputs=[traced.names[loss]], updates={"w": traced.graph.outputs[1]})
    for taken in ([1, 0, 1, 1, 0, 0], [0] * 6, [1] * 6):
        plan.inputs["x"][...], plan.inputs["mask"][...] = values, taken
        plan.run()
        flow = (values @ before) * np.reshape(taken, (3, 2))
        np.testing.assert_allclose(plan.outputs[traced.names[loss]], (flow**2).sum() / 2)
        before = before - values.T @ flow
        np.testing.assert_allclose(weights, before)


# -- dims


def test_a_data_dependent_size_may_be_any_other() -> None:
    assert agreed("size(a)", "size(b)") in {"size(a)", "size(b)"}
    assert agreed("size(a)", "batch") == "batch"
    assert agreed("2*size(a)", 8) == 8
    assert agreed("batch", "time") is None


@given(st.text(max_size=20))
def test_any_name_of_a_node_makes_one_name_of_a_size(name: str) -> None:
    [size] = opened_by(("size()",), name)
    assert is_open(size)
    assert names_in([size]) == {size}


@pytest.mark.parametrize("axes", [[0], [1], [-1, 0]])
def test_gradients_add_up_along_axes_that_data_name(axes: list[int]) -> None:
    """What was broadcast along axes of size 1 is known only when the graph runs."""
    x, along = Leaf("x", "float64", (3, 4)), Leaf("axes", "int64", (len(axes),))
    mean = emit("ReduceMean", x, along)
    made = (x - mean) * (x + mean * mean)
    seed = Leaf("seed", "float64", (3, 4))
    [found] = gradients([made], [seed], [x])
    assert found is not None
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(3, 4)), "seed": rng.normal(size=(3, 4)), "axes": np.int64(axes)}
    graph = trace([x, along, seed], [found]).graph
    [got] = run_numpy(graph, {}, feeds).values()

    def loss(x: Array) -> float:
        mean = x.mean(axis=tuple(axes), keepdims=True)
        return float(np.sum((x - mean) * (x + mean * mean) * feeds["seed"]))

    wanted = np.empty((3, 4))
    for place in np.ndindex(wanted.shape):
        step = np.zeros((3, 4))
        step[place] = 1e-6
        wanted[place] = (loss(feeds["x"] + step) - loss(feeds["x"] - step)) / 2e-6
    np.testing.assert_allclose(got, wanted, atol=1e-8)
