"""Padding and its gradient against PyTorch, numpy and counting, in every layout of memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standard_side import lowered, run_plan

from portable_nn.core.errors import GraphError
from portable_nn.core.graph import Graph
from portable_nn.operators import Leaf, emit, integers, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
THEIRS = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def graph_of(x: Array, pads: Sequence[int], mode: str, layout: Sequence[int] | None = None) -> Graph:
    """Pad and what flows back, on an input whose axes lie in memory in the order ``layout``."""
    order = list(layout or range(x.ndim))
    leaf = Leaf("x", x.dtype.name, tuple(x.shape[axis] for axis in order))
    data = emit("Transpose", leaf, perm=[order.index(axis) for axis in range(x.ndim)])
    padded = emit("Pad", data, integers(pads), mode=mode)
    seed = Leaf("seed", x.dtype.name, tuple(padded.shape[axis] for axis in order))
    flowing = emit("Transpose", seed, perm=[order.index(axis) for axis in range(x.ndim)])
    [back] = gradients([padded], [flowing], [data])
    assert back is not None
    return trace([leaf, seed], [padded, back]).graph


def seed_of(graph: Graph) -> Array:
    return np.random.default_rng(1).normal(size=[int(size) for size in graph.inputs[1].shape])


def run(x: Array, pads: Sequence[int], mode: str, layout: Sequence[int] | None = None) -> tuple[Array, Array, Array]:
    """What Pad gives, a seed of its shape, and what flows back of that."""
    graph = graph_of(x, pads, mode, layout)
    seed = seed_of(graph).astype(x.dtype)
    order = list(layout or range(x.ndim))
    padded, back = run_plan(graph, {"x": x.transpose(order), "seed": seed})
    return padded, seed.transpose([order.index(axis) for axis in range(x.ndim)]), back


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layout", [(0, 1, 2, 3), (2, 1, 3, 0), (3, 2, 1, 0)])
@pytest.mark.parametrize("sides", [(1, 1, 1, 1), (0, 3, 2, 0), (3, 2, 0, 0), (4, 4, 3, 3)])
@pytest.mark.parametrize("mode", THEIRS)
def test_pad_and_its_gradient_equal_those_of_pytorch(
    mode: str, sides: tuple[int, ...], layout: tuple[int, ...], dtype: str
) -> None:
    torch = pytest.importorskip("torch")
    left, right, top, bottom = sides
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(dtype)
    padded, seed, back = run(x, (0, 0, top, left, 0, 0, bottom, right), mode, layout)
    tensor = torch.from_numpy(x).requires_grad_()
    wanted = torch.nn.functional.pad(tensor, sides, THEIRS[mode])
    wanted.backward(torch.from_numpy(seed.copy()))
    np.testing.assert_array_equal(padded, wanted.detach().numpy(), strict=True)
    np.testing.assert_allclose(back, tensor.grad.numpy(), rtol=0, atol=TOLERANCE[dtype] * 10)


@st.composite
def uses(draw: st.DrawFn) -> tuple[tuple[int, ...], list[int], str, list[int]]:
    """A shape, pads that may cut as well as add, a mode, and a layout of memory."""
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    before = [draw(st.integers(1 - size, 9)) for size in shape]
    after = [draw(st.integers(1 - size - min(start, 0), 9)) for size, start in zip(shape, before, strict=True)]
    layout = draw(st.permutations(range(len(shape))))
    return shape, [*before, *after], draw(st.sampled_from(list(THEIRS))), layout


def cut_and_padded(x: Array, pads: Sequence[int], mode: str) -> Array:
    """The same by numpy.pad, which does not cut."""
    before, after = pads[: x.ndim], pads[x.ndim :]
    kept = [slice(max(-b, 0), s - max(-a, 0)) for b, a, s in zip(before, after, x.shape, strict=True)]
    added: Any = [(max(b, 0), max(a, 0)) for b, a in zip(before, after, strict=True)]
    return np.asarray(np.pad(x[tuple(kept)], added, mode))  # type: ignore[call-overload]


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(uses())
def test_borders_of_any_width_equal_those_of_numpy(use: tuple[tuple[int, ...], list[int], str, list[int]]) -> None:
    """Also wider than the axis; and the gradient is a sum over the copies of each cell."""
    shape, pads, mode, layout = use
    x = np.random.default_rng(0).normal(size=shape)
    padded, seed, back = run(x, pads, mode, layout)
    np.testing.assert_array_equal(padded, cut_and_padded(x, pads, mode))
    cells = cut_and_padded(1 + np.arange(x.size).reshape(shape), pads, mode)
    wanted = np.bincount(cells.ravel(), seed.ravel(), minlength=1 + x.size)[1:].reshape(shape)
    np.testing.assert_allclose(back, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(uses())
def test_gradient_in_standard_operators_is_the_same(use: tuple[tuple[int, ...], list[int], str, list[int]]) -> None:
    shape, pads, mode, _ = use
    x = np.random.default_rng(0).normal(size=shape)
    graph = graph_of(x, pads, mode)
    feeds = {"x": x, "seed": seed_of(graph)}
    for found, wanted in zip(run_plan(lowered(graph), feeds), run_plan(graph, feeds), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "uint8", "int16", "uint64", "bool"])
@pytest.mark.parametrize("mode", THEIRS)
def test_every_element_type_is_copied(mode: str, dtype: str) -> None:
    x = np.array([[1, 0, 3], [0, 5, 6]]).astype(dtype)
    leaf = Leaf("x", dtype, x.shape)
    [found] = run_plan(trace([leaf], [emit("Pad", leaf, integers([1, 2, 0, 1]), mode=mode)]).graph, {"x": x})
    np.testing.assert_array_equal(found, np.pad(x, ((1, 0), (2, 1)), mode), strict=True)  # type: ignore[call-overload]


def test_a_number_without_axes_is_padded_by_nothing() -> None:
    x = np.array(2.5)
    padded, _, _ = run(x, (), "constant")
    np.testing.assert_array_equal(padded, x, strict=True)


@pytest.mark.parametrize("size", [4, 7])
@pytest.mark.parametrize("mode", THEIRS)
def test_an_axis_of_unknown_size(mode: str, size: int) -> None:
    x, pads = np.random.default_rng(0).normal(size=(2, size)), [0, 2, 0, -1]
    leaf = Leaf("x", "float64", ("batch", "time"))
    padded = emit("Pad", leaf, integers(pads), mode=mode)
    assert padded.shape == ("batch", "time+1")
    seed = Leaf("seed", "float64", padded.shape)
    [back] = gradients([padded], [seed], [leaf])
    assert back is not None
    assert back.shape == leaf.shape
    _, values, wanted = run(x, pads, mode)
    found = run_plan(trace([leaf, seed], [padded, back]).graph, {"x": x, "seed": values})
    np.testing.assert_array_equal(found[0], cut_and_padded(x, pads, mode))
    np.testing.assert_array_equal(found[1], wanted)


def test_gradient_of_an_unknown_size_has_no_form_in_standard_operators() -> None:
    leaf = Leaf("x", "float32", ("batch", "time"))
    padded = emit("Pad", leaf, integers([0, 1, 0, 1]), mode="reflect")
    seed = Leaf("seed", "float32", padded.shape)
    [back] = gradients([padded], [seed], [leaf])
    assert back is not None
    graph = trace([seed], [back]).graph
    message = (
        r"^the gradient of Pad in mode 'reflect' needs the size of axis 1 in standard operators, "
        r"and it is the unknown time\+2$"
    )
    with pytest.raises(GraphError, match=message):
        lowered(graph)
