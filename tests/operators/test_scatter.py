"""Slices by tuples of indices, what is chosen by constants, and cells back in their places, against PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from misfits import Row, assert_refused, f, i, row_id
from standard_side import run_plan

from portable_nn.core.errors import GraphError
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, Symbol, constant, emit, integers, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array

RNG = np.random.default_rng(3)


def run(output: Symbol, feeds: Mapping[Leaf, Array], wrt: Sequence[Leaf]) -> list[Array]:
    """The output, then what flows back to each of ``wrt`` when 1, 2, 3, … flow into it."""
    seed = Leaf("seed", output.dtype, output.shape)
    back = gradients([output], [seed], list(wrt))
    arrays = {str(leaf.name): array for leaf, array in feeds.items()}
    [value] = run_plan(trace(list(feeds), [output]).graph, arrays)
    weights = np.arange(1.0, 1 + value.size).reshape(value.shape).astype(value.dtype)
    found = [symbol for symbol in back if symbol is not None]
    return run_plan(trace([*feeds, seed], [output, *found]).graph, arrays | {"seed": weights})


def flow(value: Any) -> None:
    torch = pytest.importorskip("torch")
    value.backward(torch.arange(1.0, 1 + value.numel(), dtype=value.dtype).reshape(value.shape))


def test_gathered_slices_of_a_batch_that_is_not_known() -> None:
    torch = pytest.importorskip("torch")
    x, places = Leaf("x", "float64", ("batch", "time", 2)), Leaf("i", "int64", ("batch", 3, 1))
    array, indices = RNG.normal(size=(2, 4, 2)), RNG.integers(-4, 4, (2, 3, 1))
    gathered = emit("GatherND", x, places, batch_dims=1)
    assert gathered.shape == ("batch", 3, 2)
    found, back = run(gathered, {x: array, places: indices}, [x])
    leaf = torch.tensor(array, requires_grad=True)
    wanted = leaf[torch.arange(2)[:, None], torch.tensor(indices[..., 0])]
    flow(wanted)
    np.testing.assert_array_equal(found, wanted.detach())
    np.testing.assert_allclose(back, leaf.grad)


@pytest.mark.parametrize("accumulate", [False, True])
def test_scattered_slices_and_what_flows_back(accumulate: bool) -> None:
    torch = pytest.importorskip("torch")
    x, updates = Leaf("x", "float64", ("rows", 3)), Leaf("u", "float64", (2,))
    places = np.array([[1, 2], [-1, 0]])
    array, values = RNG.normal(size=(4, 3)), RNG.normal(size=2)
    put = emit("ScatterND", x, constant(places, "int64"), updates, reduction="add" if accumulate else "none")
    found = run(put, {x: array, updates: values}, [x, updates])
    leaf, new = torch.tensor(array, requires_grad=True), torch.tensor(values, requires_grad=True)
    wanted = leaf.index_put((torch.tensor(places[:, 0]), torch.tensor(places[:, 1])), new, accumulate=accumulate)
    flow(wanted)
    for ours, theirs in zip(found, (wanted.detach(), leaf.grad, new.grad), strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_the_last_of_several_updates_stays() -> None:
    x, updates = Leaf("x", "float32", (3,)), Leaf("u", "float32", (3,))
    put = emit("ScatterND", x, constant([[1], [1], [0]], "int64"), updates)
    [found] = run_plan(trace([x, updates], [put]).graph, {"x": np.zeros(3, "f"), "u": np.array([5, 6, 7], "f")})
    assert found.tolist() == [7, 6, 0]


@pytest.mark.parametrize("index", [(0, 3), (2, 0), (0, -4), (-3, 0)])
@pytest.mark.parametrize("operator", ["GatherND", "ScatterND"])
def test_an_index_that_is_outside_raises_an_error_while_it_runs(operator: str, index: tuple[int, int]) -> None:
    x, places, updates = Leaf("x", "float32", (2, 3)), Leaf("i", "int64", (1, 2)), Leaf("u", "float32", (1,))
    more = [updates] if operator == "ScatterND" else []
    plan = Plan(trace([x, places, *more], [emit(operator, x, places, *more, name="here")]).graph, {}, {})
    plan.run()
    plan.inputs["i"][...] = index
    axis = 0 if index[0] else 1
    message = f"index {index[axis]} is outside axis {axis}, which has {(2, 3)[axis]} elements"
    with pytest.raises(GraphError, match=rf"^'here' \({operator}\): {message}$"):
        plan.run()


def test_a_constant_index_that_is_outside_raises_an_error_when_the_plan_is_made() -> None:
    x = Leaf("x", "float32", ("rows",))
    graph = trace([x], [emit("GatherND", x, constant([[2]], "int64"), name="here")]).graph
    with pytest.raises(GraphError, match=r"^'here' \(GatherND\): index 2 is outside axis 0, which has 2 elements$"):
        Plan(graph, {"x": (2,)}, {})


@pytest.mark.parametrize("reduction", ["mul", "max", "min"])
def test_reductions_without_a_gradient_say_so(reduction: str) -> None:
    y = emit("ScatterND", x := f(3), constant([[0]], "int64"), constant([1], "float32"), reduction=reduction, name="it")
    expected = f"it has a gradient with reduction none and add only, not {reduction}"
    with pytest.raises(GraphError, match=rf"^'it' \(ScatterND\): {expected}$"):
        gradients([y], [y], [x])


def test_what_is_not_zero_in_a_shape_that_is_known() -> None:
    x = Leaf("x", "float32", ("batch", 3))
    ones = emit("ConstantOfShape", emit("Shape", x, start=1), value=constant([1], "int64").origin.attributes["value"])
    found = emit("NonZero", ones)
    assert found.type.shape == (1, 3)
    [places] = run_plan(trace([x], [found]).graph, {"x": np.zeros((2, 3), "f")})
    assert places.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint64", "float16", "float64"])
def test_one_hot_rows_of_indices_of_any_type(dtype: str) -> None:
    x, values = Leaf("x", dtype, (3,)), constant([0, 1], "int64")
    [found] = run_plan(
        trace([x], [emit("OneHot", x, constant(200.0, "float32"), values)]).graph, {"x": np.array([0, 1, 100], dtype)}
    )
    np.testing.assert_array_equal(found, np.eye(200, dtype="int64")[[0, 1, 100]])


def test_unpooling_is_that_of_torch() -> None:
    """PyTorch counts the cells of each channel, the standard those of all."""
    torch = pytest.importorskip("torch")
    pool = {"kernel_shape": (2, 3), "strides": (2, 3)}
    x = Leaf("x", "float64", ("batch", 2, 2, 2))
    places = Leaf("i", "int64", x.shape)
    array = RNG.normal(size=(3, 2, 4, 6))
    values, indices = torch.nn.functional.max_pool2d(torch.tensor(array), (2, 3), return_indices=True)
    values.requires_grad_()
    wanted = torch.nn.functional.max_unpool2d(values, indices, (2, 3))
    flow(wanted)
    first = np.arange(6).reshape(3, 2, 1, 1) * 24
    unpooled = emit("MaxUnpool", x, places, **pool)
    assert unpooled.shape == ("batch", 2, 4, 6)
    found, back = run(unpooled, {x: values.detach().numpy(), places: indices.numpy() + first}, [x])
    np.testing.assert_array_equal(found, wanted.detach())
    np.testing.assert_array_equal(back, values.grad)


def test_unpooling_to_a_larger_output_leaves_zeros_behind() -> None:
    """The standard's own example: the indices count through 4 by 4 cells."""
    x, places = Leaf("x", "float64", (1, 1, 2, 2)), constant(np.array([[[[5, 7], [13, 15]]]]), "int64")
    unpooled = emit("MaxUnpool", x, places, integers([1, 1, 5, 5]), kernel_shape=(2, 2), strides=(2, 2))
    found, back = run(unpooled, {x: np.array([[[[5.0, 6], [7, 8]]]])}, [x])
    wanted = np.zeros((5, 5))
    wanted[1, 1], wanted[1, 3], wanted[3, 1], wanted[3, 3] = 5, 6, 7, 8
    np.testing.assert_array_equal(found[0, 0], wanted)
    np.testing.assert_array_equal(back[0, 0], [[7, 9], [17, 19]])


@pytest.mark.parametrize("index", [-1, 4])
def test_a_cell_that_is_not_there_raises_an_error_while_it_runs(index: int) -> None:
    x, places = Leaf("x", "float32", (1, 1, 2)), Leaf("i", "int64", (1, 1, 2))
    graph = trace([x, places], [emit("MaxUnpool", x, places, kernel_shape=(2,), strides=(2,), name="here")]).graph
    plan = Plan(graph, {}, {})
    plan.inputs["i"][...] = [[[0, index]]]
    message = f"I must hold indices from 0 to 3, not {min(0, index)} to {max(0, index)}"
    with pytest.raises(GraphError, match=rf"^'here' \(MaxUnpool\): {message}$"):
        plan.run()


@pytest.mark.parametrize("options", [{}, {"dilations": (2, 1)}, {"strides": (2, 3), "pads": (1, 2, 1, 2)}], ids=str)
def test_columns_fold_as_in_torch(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    image, block = (6, 7), (2, 3)
    named = {"dilation": options.get("dilations", 1), "stride": options.get("strides", 1)}
    fold = torch.nn.Fold(image, block, padding=options.get("pads", (0, 0))[:2], **named)
    length = torch.nn.Unfold(block, padding=fold.padding, **named)(torch.zeros(1, 2, *image)).shape[-1]
    x = Leaf("x", "float64", ("batch", 12, length))
    leaf = torch.tensor(RNG.normal(size=(3, 12, length)), requires_grad=True)
    wanted = fold(leaf)
    flow(wanted)
    folded = emit("Col2Im", x, integers(image), integers(block), **options)
    assert folded.shape == ("batch", 2, 6, 7)
    found, back = run(folded, {x: leaf.detach().numpy()}, [x])
    np.testing.assert_allclose(found, wanted.detach())
    np.testing.assert_allclose(back, leaf.grad)


ROWS: list[Row] = [
    ("GatherND", [f(), i(1)], {}, "data () and indices (1,) must have an axis"),
    (
        "GatherND",
        [f(2, 3), i(2, 1)],
        {"batch_dims": 2},
        "batch_dims must be 0 or more, and less than the axes of data (2, 3) and of indices (2, 1), not 2",
    ),
    ("GatherND", [f(2, 3), i(4, 1)], {"batch_dims": 1}, "data (2, 3) and indices (4, 1) differ before axis 1"),
    ("GatherND", [f(2, 3), i(4, 3)], {}, "indices must be tuples of 1 to 2 numbers, not of 3"),
    ("GatherND", [f(2, 3), i("n")], {}, "indices must be tuples of 1 to 2 numbers, not of n"),
    ("GatherND", [f(2), Leaf(None, "int32", (1, 1))], {}, "indices must be int64, not int32"),
    (
        "ScatterND",
        [f(2, 3), i(4, 1), f(4, 2)],
        {},
        "updates must be float32 (4, 3), as the data and indices are, not float32 (4, 2)",
    ),
    (
        "ScatterND",
        [f(2), i(1, 1), f(1)],
        {"reduction": "mean"},
        "reduction must be one of none, add, mul, max, min, not 'mean'",
    ),
    ("Compress", [f(2), constant([0, 0, 1], "bool")], {"axis": 0}, "condition keeps element 2, but there are 2"),
    ("Compress", [f(2), constant([1], "int64")], {}, "input 'condition' must be a list of bool, not int64 (1,)"),
    (
        "MaxUnpool",
        [f(1, 1, 2), i(1, 1, 3)],
        {"kernel_shape": (2,)},
        "I must be int64 (1, 1, 2), as X is, not int64 (1, 1, 3)",
    ),
    (
        "MaxUnpool",
        [f(1, 1, 2), i(1, 1, 2), integers([1, 1, 3])],
        {"kernel_shape": (2,), "strides": (2,)},
        "output_shape must be (1, 1, 4) or more, not (1, 1, 3)",
    ),
    (
        "MaxUnpool",
        [f(1, 1, 2), i(1, 1, 2), integers([4])],
        {"kernel_shape": (2,)},
        "output_shape must have 3 sizes, not (4,)",
    ),
    (
        "Col2Im",
        [f(1, 6, 4), integers([3, 4]), integers([3])],
        {},
        "image_shape and block_shape must be as many sizes of 1 or more, not (3, 4) and (3,)",
    ),
    (
        "Col2Im",
        [f(1, 6, 4), integers([3, 4]), integers([4, 1])],
        {},
        "a window of (4, 1) does not fit an image of (3, 4)",
    ),
    ("Col2Im", [f(1, 6, 4), integers([3]), integers([2])], {}, "2 windows fit the image, but axis 2 has 4"),
    (
        "Col2Im",
        [f(1, 5, 2), integers([3]), integers([2])],
        {},
        "a block of 2 cells needs an axis 1 in multiples of 2, not 5",
    ),
    (
        "Col2Im",
        [f(5, 2), integers([3]), integers([2])],
        {},
        "input must be (batch, channels·cells, windows), not (5, 2)",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_invalid_nodes_raise_an_error(row: Row) -> None:
    assert_refused(row)
