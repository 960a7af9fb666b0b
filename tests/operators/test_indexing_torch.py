"""Gathers, scatters and splits against PyTorch, and what they make of shapes and of indices that are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from misfits import Row, assert_refused, f, i, row_id
from standard_side import run_plan

from portable_nn.core.errors import GraphError
from portable_nn.core.graph import Dim
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, constant, emit, emit_all, integers, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


def run(
    operator: str, arrays: Sequence[Array], wrt: Sequence[int], *, outputs: int = 1, **attributes: Any
) -> list[Array]:
    """The outputs, and what flows back to ``wrt`` when the arange of its size flows into each output."""
    leaves = [Leaf(f"x{i}", x.dtype.name, x.shape) for i, x in enumerate(arrays)]
    made = emit_all(operator, *leaves, outputs=outputs, **attributes)
    seeds = [constant(arange(symbol.shape), symbol.dtype) for symbol in made]
    back = gradients(made, seeds, [leaves[i] for i in wrt])
    graph = trace(leaves, [*made, *(symbol for symbol in back if symbol is not None)]).graph
    return run_plan(graph, {f"x{i}": x for i, x in enumerate(arrays)})


def arange(shape: Sequence[Dim]) -> Array:
    sizes = [int(size) for size in shape]
    return np.arange(1.0, 1 + np.prod(sizes)).reshape(sizes)


def theirs(function: Any, arrays: Sequence[Array], wrt: Sequence[int]) -> list[Array]:
    """The same of a function of PyTorch."""
    torch = pytest.importorskip("torch")
    tensors = [torch.from_numpy(x).requires_grad_(i in wrt) for i, x in enumerate(arrays)]
    found = function(torch, *tensors)
    outputs = list(found) if isinstance(found, tuple) else [found]
    torch.autograd.backward(outputs, [torch.from_numpy(arange(y.shape)).to(y.dtype) for y in outputs])
    return [*(y.detach().numpy() for y in outputs), *(tensors[i].grad.numpy() for i in wrt)]


def assert_same(found: list[Array], wanted: list[Array]) -> None:
    for ours, other in zip(found, wanted, strict=True):
        assert (ours.dtype, ours.shape) == (other.dtype, other.shape)
        atol = TOLERANCE[ours.dtype.name] * float(np.abs(other).max(initial=1))
        np.testing.assert_allclose(ours, other, rtol=0, atol=atol)


@st.composite
def indexed(draw: st.DrawFn) -> tuple[Array, Array, int]:
    """Data, indices that have as many axes and are no larger beside their axis, and that axis."""
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    axis = draw(st.integers(0, len(shape) - 1))
    sizes = [draw(st.integers(0, 5) if place == axis else st.integers(1, size)) for place, size in enumerate(shape)]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    data = rng.normal(size=shape).astype(draw(st.sampled_from(list(TOLERANCE))))
    return data, rng.integers(0, shape[axis], sizes), axis


@pytest.mark.long
@settings(max_examples=60, deadline=None)  # The first imports PyTorch.
@given(indexed())
def test_gather_elements_is_torchs_gather(case: tuple[Array, Array, int]) -> None:
    data, indices, axis = case
    found = run("GatherElements", [data, indices], [0], axis=axis - data.ndim)
    assert_same(found, theirs(lambda torch, x, i: torch.gather(x, axis, i), [data, indices], [0]))


@settings(max_examples=60, deadline=None)  # The first imports PyTorch.
@given(indexed())
def test_scatter_elements_is_torchs_scatter_add(case: tuple[Array, Array, int]) -> None:
    data, indices, axis = case
    arrays = [data, indices, np.ones(indices.shape, data.dtype)]
    found = run("ScatterElements", arrays, [0, 2], axis=axis, reduction="add")
    assert_same(found, theirs(lambda torch, x, i, u: torch.scatter_add(x, axis, i, u), arrays, [0, 2]))


@pytest.mark.long
@settings(max_examples=60, deadline=None)  # The first imports PyTorch.
@given(indexed(), st.sampled_from(["mul", "max", "min"]))
def test_scatter_elements_reduces_as_torch_does(case: tuple[Array, Array, int], reduction: str) -> None:
    data, indices, axis = case
    arrays = [data, indices, np.linspace(-1, 2, indices.size, dtype=data.dtype).reshape(indices.shape)]
    reduce = {"mul": "prod", "max": "amax", "min": "amin"}[reduction]
    found = run("ScatterElements", arrays, [], axis=axis, reduction=reduction)
    assert_same(found, theirs(lambda torch, x, i, u: x.scatter_reduce(axis, i, u, reduce), arrays, [0])[:1])


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_scatter_elements_is_torchs_scatter(dtype: str) -> None:
    """Where no two updates go to one place: otherwise PyTorch does not say which of them stays."""
    rng = np.random.default_rng(0)
    indices = rng.permuted(np.tile(np.arange(5), (3, 1)), axis=1)[:, :4]
    arrays = [rng.normal(size=(3, 5)).astype(dtype), indices, rng.normal(size=(3, 4)).astype(dtype)]
    found = run("ScatterElements", arrays, [0, 2], axis=1)
    assert_same(found, theirs(lambda torch, x, i, u: torch.scatter(x, 1, i, u), arrays, [0, 2]))


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("shape", [(6,), (2, 3), (0,), ()])
def test_gather_is_torchs_index_select(shape: tuple[int, ...], axis: int, dtype: str) -> None:
    rng = np.random.default_rng(1)
    data, indices = rng.normal(size=(4, 3, 5)).astype(dtype), rng.integers(0, 3, shape)
    place = axis % 3

    def select(torch: Any, x: Any, i: Any) -> Any:
        return torch.index_select(x, axis, i.reshape(-1)).reshape(*x.shape[:place], *shape, *x.shape[place + 1 :])

    found = run("Gather", [data, indices], [0], axis=axis)
    assert_same(found, theirs(select, [data, indices], [0]))


@pytest.mark.parametrize(("count", "axis"), [(3, 0), (4, 0), (2, 1), (1, 1)])
def test_split_is_torchs_split(count: int, axis: int) -> None:
    data = np.random.default_rng(2).normal(size=(7, 4))
    size = -(-data.shape[axis] // count)
    found = run("Split", [data], [0], axis=axis, num_outputs=count, outputs=count)
    assert_same(found, theirs(lambda torch, x: torch.split(x, size, axis), [data], [0]))


def test_nothing_flows_through_the_parts_that_are_not_used() -> None:
    x = Leaf("x", "float64", ("batch", 5))
    _, middle, _ = emit_all("Split", x, integers([1, 3, 1]), axis=1, outputs=3, name="cut")
    [gradient] = gradients([middle], [middle * 2], [x])
    assert gradient is not None
    array = np.arange(10.0).reshape(2, 5)
    [found] = run_plan(trace([x], [gradient]).graph, {"x": array})
    np.testing.assert_array_equal(found, array * [0, 2, 2, 2, 0])


def test_outputs_of_one_split_have_names_of_their_own() -> None:
    x = Leaf("x", "float32", (6,))
    graph = trace([x], emit_all("Split", x, num_outputs=3, outputs=3)).graph
    assert graph.outputs == ("split_1", "split_1.outputs_1", "split_1.outputs_2")


# -- shapes that are computed


def test_sizes_flow_through_gather_and_split() -> None:
    """As exporters write x.view(x.shape[0], -1): the batch stays a name."""
    x = Leaf("x", "float32", ("batch", 4, 3))
    shape = emit("Shape", x)
    batch = emit("Unsqueeze", emit("Gather", shape, constant(0, "int64"), axis=0), integers([0]))
    flat = emit("Reshape", x, emit("Concat", batch, integers([-1]), axis=0))
    first, rest = emit_all("Split", shape, integers([1, 2]), outputs=2)
    swapped = emit("Concat", emit("Gather", rest, integers([1, -2])), first, axis=0)
    assert flat.shape == ("batch", 12)
    assert (first.type.constant, rest.type.constant) == (("batch",), (4, 3))
    assert emit("Reshape", x, swapped).shape == (3, 4, "batch")


@pytest.mark.long
@settings(deadline=None)
@given(
    st.lists(st.integers(-9, 9), min_size=3, max_size=3),
    st.lists(st.integers(-9, 9), min_size=1, max_size=3),
    st.sampled_from(["Add", "Sub", "Mul", "Div"]),
    st.sampled_from(["int64", "int32"]),
)
def test_arithmetic_on_sizes_is_that_of_the_arrays(
    left: list[int], right: list[int], operator: str, dtype: str
) -> None:
    right = right[:1] if len(right) != len(left) else right
    right = [number or 1 for number in right] if operator == "Div" else right
    made = emit(operator, constant(left, dtype), constant(right, dtype))
    [found] = run_plan(trace([], [made]).graph, {})
    assert made.type.constant == tuple(found.tolist())


def test_arithmetic_on_sizes_without_a_number() -> None:
    batch, four = (emit("Gather", emit("Shape", Leaf("x", "float32", ("batch", 4))), integers([i])) for i in (0, 1))
    assert (batch * 6 / 3).type.constant == ("2*batch",)
    assert (batch + four - 4).type.constant == ("batch",)
    assert (four / 3).type.constant == (1,)
    assert (batch / 2).type.constant == ("floor(batch/2)",)
    assert (four / 0).type.constant is None
    assert (four * 2**62).type.constant is None
    assert (four * integers([])).type.constant == ()


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ("batch", ["ceil(batch/2)", "batch+-1*ceil(batch/2)"]),
        ("4*batch", ["2*batch", "2*batch"]),
    ],
)
def test_parts_of_a_size_that_is_not_known(size: str, sizes: list[str]) -> None:
    made = emit_all("Split", Leaf("x", "float32", (size,)), num_outputs=2, outputs=2)
    assert sorted(str(symbol.shape[0]) for symbol in made) == sorted(sizes)
    assert emit("Concat", *made, axis=0).shape == (size,)


# -- what is refused


MISFITS: list[Row] = [
    ("Gather", [f(2, 3), f(1)], {}, "indices must be int32 or int64, not float32"),
    ("Gather", [f(), i(1)], {}, "axis 0 is outside an input of 0 dimensions"),
    ("Gather", [f(2, 3), i(1)], {"axis": 2}, "axis 2 is outside an input of 2 dimensions"),
    ("Gather", [f(2, 3), integers([0, 3])], {"axis": -1}, "index 3 is outside axis 1, which has 3 elements"),
    ("GatherElements", [f(2, 3), i(2)], {},
     "indices (2,) must have as many axes as data (2, 3), and no more along any but axis 0"),
    ("GatherElements", [f(2, "width"), i(3, 4)], {"axis": 1},
     "indices (3, 4) must have as many axes as data (2, width), and no more along any but axis 1"),
    ("ScatterElements", [f(2, 3), i(2, 1), f(2, 2)], {"axis": 1},
     "updates must be float32 (2, 1), as the data and indices are, not float32 (2, 2)"),
    ("ScatterElements", [f(3), i(2), i(2)], {},
     "updates must be float32 (2,), as the data and indices are, not int64 (2,)"),
    ("ScatterElements", [f(3), i(2), f(2)], {"reduction": "sum"},
     "reduction must be one of none, add, mul, max, min, not 'sum'"),
    ("ScatterElements", [Leaf(None, "bool", (3,)), i(2), Leaf(None, "bool", (2,))], {"reduction": "add"},
     "it is not defined for bool"),
    ("Split", [f(4), integers([2, 3])], {"outputs": 2}, "the sizes (2, 3) make 5, but axis 0 has 4"),
    ("Split", [f(4), integers([5, -1])], {"outputs": 2}, "the sizes (5, -1) must be 0 or more"),
    ("Split", [f(4), integers([2, 2])], {"outputs": 3}, "it is split into 2 parts, but has 3 outputs"),
    ("Split", [f(4), integers([2, 2])], {"outputs": 2, "num_outputs": 2},
     "it takes the sizes of its outputs (split) or their number (num_outputs), not both"),
    ("Split", [f(4)], {"num_outputs": 0}, "num_outputs must be 1 or more, not 0"),
    ("Split", [f(5)], {"num_outputs": 4, "outputs": 4},
     "an axis of 5 cannot be split into 4 parts of 2, of which only the last is smaller"),
    ("Split", [f(4)], {"num_outputs": 4, "outputs": 0}, "Split has 1 or more outputs, not 0"),
]  # fmt: skip


@pytest.mark.parametrize("row", MISFITS, ids=row_id)
def test_node_that_does_not_fit(row: Row) -> None:
    assert_refused(row)


def test_sizes_of_parts_are_compared_when_the_size_is_known() -> None:
    x = Leaf("x", "float32", ("batch", 2))
    graph = trace([x], emit_all("Split", x, integers([1, 2]), outputs=2, name="here")).graph
    Plan(graph, {"x": (3, 2)}, {})
    with pytest.raises(GraphError, match=r"^'here' \(Split\): the sizes \(1, 2\) make 3, but axis 0 has 4$"):
        Plan(graph, {"x": (4, 2)}, {})


@pytest.mark.parametrize("index", [-4, 3])
@pytest.mark.parametrize("operator", ["Gather", "GatherElements", "ScatterElements"])
def test_an_index_that_is_outside_raises_an_error_while_it_runs(operator: str, index: int) -> None:
    x, places = Leaf("x", "float32", (2, 3)), Leaf("i", "int64", (2, 1))
    more = [emit("Cast", places, to=1)] if operator == "ScatterElements" else []
    plan = Plan(trace([x, places], [emit(operator, x, places, *more, axis=1, name="here")]).graph, {}, {})
    plan.run()
    plan.inputs["i"][...] = [[0], [index]]
    with pytest.raises(
        GraphError, match=rf"^'here' \({operator}\): index {index} is outside axis 1, which has 3 elements$"
    ):
        plan.run()


def test_a_constant_index_that_is_outside_raises_an_error_when_the_plan_is_made() -> None:
    x = Leaf("x", "float32", ("batch", 2))
    graph = trace([x], [emit("Gather", x, integers([2]), name="here")]).graph
    with pytest.raises(GraphError, match=r"^'here' \(Gather\): index 2 is outside axis 0, which has 2 elements$"):
        Plan(graph, {"x": (2, 2)}, {})


@pytest.mark.parametrize("reduction", ["mul", "max", "min"])
def test_reductions_without_a_gradient_say_so(reduction: str) -> None:
    x = Leaf("x", "float32", (3,))
    y = emit("ScatterElements", x, integers([0]), constant([1.0], "float32"), reduction=reduction, name="here")
    expected = f"it has a gradient with reduction none and add only, not {reduction}"
    with pytest.raises(GraphError, match=rf"^'here' \(ScatterElements\): {expected}$"):
        gradients([y], [y], [x])
