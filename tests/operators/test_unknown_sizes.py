"""Joining and cutting axes whose size is known only when a plan is made, and what flows back."""

from __future__ import annotations

import numpy as np
import pytest
from standard_side import run_plan

from portable_nn.core.graph import Shape
from portable_nn.operators import Leaf, Symbol, emit, integers, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array

FAR = 2**31 - 1


def run(leaves: list[Leaf], output: Symbol, arrays: list[Array]) -> list[Array]:
    """The output, then what flows back to each input when 1, 2, 3, … flow into it."""
    seed = Leaf("seed", "float64", output.shape)
    back = gradients([output], [seed], leaves)
    found = [symbol for symbol in back if symbol is not None]
    assert [symbol.shape for symbol in found] == [leaf.shape for leaf in leaves]
    feeds = {str(leaf.name): array for leaf, array in zip(leaves, arrays, strict=True)}
    [value] = run_plan(trace(leaves, [output]).graph, feeds)
    weights = np.arange(1.0, 1 + value.size).reshape(value.shape)
    return run_plan(trace([*leaves, seed], [output, *found]).graph, feeds | {"seed": weights})


@pytest.mark.parametrize(
    ("start", "end", "step", "wanted", "name"),
    [
        (1, FAR, 1, slice(1, None), "time+-1"),
        (0, -2, 1, slice(0, -2), "time+-2"),
        (1, -1, 1, slice(1, -1), "time+-2"),
        (0, FAR, 1, slice(None), "time"),
        (-1, -FAR, -1, slice(None, None, -1), "time"),
    ],
)
@pytest.mark.parametrize("size", [3, 6])
def test_slice(start: int, end: int, step: int, wanted: slice, name: str, size: int) -> None:
    leaf = Leaf("x", "float64", ("batch", "time", 2))
    cut = emit("Slice", leaf, integers([start]), integers([end]), integers([1]), integers([step]))
    assert cut.shape == ("batch", name, 2)
    x = np.random.default_rng(0).normal(size=(2, size, 2))
    found, back = run([leaf], cut, [x])
    np.testing.assert_array_equal(found, x[:, wanted])
    expected = np.zeros_like(x)
    expected[:, wanted] = np.arange(1.0, 1 + found.size).reshape(found.shape)
    np.testing.assert_array_equal(back, expected)


def test_every_other_cell_before_axes_of_unknown_sizes() -> None:
    leaf = Leaf("x", "float64", (3, 5, "height", "width"))
    cut = emit("Slice", leaf, integers([0]), integers([FAR]), integers([1]), integers([2]))
    x = np.random.default_rng(0).normal(size=(3, 5, 2, 4))
    found, back = run([leaf], cut, [x])
    np.testing.assert_array_equal(found, x[:, ::2])
    np.testing.assert_array_equal(back[:, 1::2], 0)
    np.testing.assert_array_equal(back[:, ::2].ravel(), np.arange(1.0, 1 + found.size))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_concat(order: tuple[int, ...]) -> None:
    shapes: list[Shape] = [("batch", "time"), ("batch", 1), ("batch", "more")]
    arrays = [np.random.default_rng(i).normal(size=(2, size)) for i, size in enumerate((3, 1, 4))]
    leaves = [Leaf(f"x{i}", "float64", shapes[i]) for i in order]
    joined = emit("Concat", *leaves, axis=1)
    assert joined.shape == ("batch", "more+time+1")
    found, *back = run(leaves, joined, [arrays[i] for i in order])
    np.testing.assert_array_equal(found, np.concatenate([arrays[i] for i in order], axis=1))
    np.testing.assert_array_equal(np.concatenate(back, axis=1).ravel(), np.arange(1.0, 17))


def test_constant_value_gets_what_flows_to_the_border() -> None:
    leaf, value = Leaf("x", "float64", ("batch", "time")), Leaf("v", "float64", ())
    padded = emit("Pad", leaf, integers([0, 1, 0, 2]), value)
    x = np.random.default_rng(0).normal(size=(2, 3))
    found, back, border = run([leaf, value], padded, [x, np.array(0.5)])
    np.testing.assert_array_equal(found, np.pad(x, ((0, 0), (1, 2)), constant_values=0.5))
    np.testing.assert_array_equal(back, [[2, 3, 4], [8, 9, 10]])
    assert border == 1 + 5 + 6 + 7 + 11 + 12


@pytest.mark.parametrize(
    ("bounds", "wanted", "name"),
    [
        (lambda time: (integers([0]), time), lambda time: slice(0, time), "min(rows,time)"),
        (lambda time: (time, integers([FAR])), lambda time: slice(time, None), "rows+-1*time"),
        (lambda time: (-time, integers([FAR])), lambda time: slice(-time, None), "time"),
        (lambda time: (integers([1]), -time), lambda time: slice(1, -time), "rows+-1*time+-1"),
        (lambda time: (time, time + time), lambda time: slice(time, 2 * time), "min(2*time,rows)+-1*time"),
    ],
    ids=["up to", "from", "the last", "inside", "the second"],
)
@pytest.mark.parametrize(("rows", "time"), [(6, 2), (9, 4)])
def test_slice_between_sizes_of_another_value(bounds, wanted, name, rows, time) -> None:  # type: ignore[no-untyped-def]
    table, other = Leaf("x", "float64", ("rows", 2)), Leaf("q", "float64", ("time",))
    start, end = bounds(emit("Shape", other))
    cut = emit("Slice", table, start, end, integers([0]))
    assert cut.shape == (name, 2)
    seed = Leaf("seed", "float64", cut.shape)
    [back] = gradients([cut], [seed], [table])
    assert back is not None
    assert back.shape == table.shape
    x, q = np.random.default_rng(0).normal(size=(rows, 2)), np.zeros(time)
    expected, flowing = np.zeros_like(x), x[wanted(time)]
    weights = np.arange(1.0, 1 + flowing.size).reshape(flowing.shape)
    expected[wanted(time)] = weights
    found, gradient = run_plan(trace([table, other, seed], [cut, back]).graph, {"x": x, "q": q, "seed": weights})
    np.testing.assert_array_equal(found, flowing)
    np.testing.assert_array_equal(gradient, expected)
