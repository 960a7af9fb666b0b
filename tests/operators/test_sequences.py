"""What is counted, repeated, summed up and reversed, where sizes are names, and what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from misfits import Row, assert_refused, f, i, row_id
from standard_side import run_plan

from portable_nn.core.errors import GraphError
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, Symbol, constant, emit, integers, trace
from portable_nn.operators.differentiation import gradients


def number(value: Any, dtype: str = "int64") -> Symbol:
    return constant(value, dtype)


def size_of(x: Leaf, axis: int) -> Symbol:
    return emit("Squeeze", emit("Shape", x, start=axis, end=axis + 1), integers([0]))


@pytest.mark.parametrize(
    ("start", "limit", "delta", "wanted"),
    [
        (0, 1, 1, "time"),
        (3, 1, 1, "time+-3"),
        (0, 2, 1, "2*time"),
        (0, 4, 2, "2*time"),
        (1, 1, 2, "ceil((time+-1)/2)"),
    ],
)
def test_a_range_to_a_size_that_is_not_known(start: int, limit: int, delta: int, wanted: str) -> None:
    x = Leaf("x", "float32", ("batch", "time"))
    counted = emit("Range", number(start), size_of(x, 1) * limit, number(delta))
    assert counted.shape == (wanted,)
    for size in (4, 7):
        [found] = run_plan(trace([x], [counted]).graph, {"x": np.zeros((2, size), np.float32)})
        np.testing.assert_array_equal(found, np.arange(start, size * limit, delta))


def test_a_range_down_from_a_size_that_is_not_known() -> None:
    x = Leaf("x", "float32", ("time",))
    counted = emit("Range", size_of(x, 0), number(0), number(-1))
    assert counted.shape == ("time",)
    [found] = run_plan(trace([x], [counted]).graph, {"x": np.zeros(3, np.float32)})
    assert found.tolist() == [3, 2, 1]


@pytest.mark.parametrize("name", ["hann", "hamming", "blackman"])
@pytest.mark.parametrize("periodic", [0, 1])
def test_windows_are_those_of_torch(name: str, periodic: int) -> None:
    torch = pytest.importorskip("torch")
    window = emit(f"{name.title()}Window", number(9), periodic=periodic, output_datatype=11)
    [found] = run_plan(trace([], [window]).graph, {})
    options = {"alpha": 25 / 46, "beta": 21 / 46} if name == "hamming" else {}
    wanted = getattr(torch, f"{name}_window")(9, periodic=bool(periodic), dtype=torch.float64, **options)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-15)


def test_a_window_of_a_size_that_is_not_known() -> None:
    x = Leaf("x", "float32", ("time",))
    window = emit("HannWindow", size_of(x, 0))
    assert window.shape == ("time",)
    [found] = run_plan(trace([x], [window]).graph, {"x": np.zeros(1, np.float32)})
    np.testing.assert_array_equal(found, [0])


def test_tiles_of_sizes_that_are_not_known_and_what_flows_back() -> None:
    torch = pytest.importorskip("torch")
    x = Leaf("x", "float64", ("batch", "time", 2))
    repeats = emit("Concat", integers([1]), emit("Shape", x, start=0, end=1), integers([3]), axis=0)
    tiled = emit("Tile", x, repeats)
    assert tiled.shape == ("batch", "batch*time", 6)
    seed = Leaf("seed", "float64", tiled.shape)
    [back] = gradients([tiled], [seed], [x])
    assert back is not None
    array = np.random.default_rng(0).normal(size=(2, 3, 2))
    weights = np.random.default_rng(1).normal(size=(2, 6, 6))
    found, flowing = run_plan(trace([x, seed], [tiled, back]).graph, {"x": array, "seed": weights})
    leaf = torch.tensor(array, requires_grad=True)
    wanted = leaf.tile(1, 2, 3)
    wanted.backward(torch.tensor(weights))
    np.testing.assert_array_equal(found, wanted.detach())
    np.testing.assert_allclose(flowing, leaf.grad, rtol=1e-12)


def test_a_list_that_is_tiled_may_be_a_shape() -> None:
    x = Leaf("x", "float32", ("batch", 4))
    shape = emit("Tile", emit("Shape", x), integers([2]))
    assert emit("Expand", constant(1.0, "float32"), shape).shape == ("batch", 4, "batch", 4)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("exclusive", [False, True])
def test_running_sums_are_those_of_torch(reverse: bool, exclusive: bool) -> None:
    torch = pytest.importorskip("torch")
    x = Leaf("x", "float64", (3, 5))
    sums = emit("CumSum", x, number(1), reverse=int(reverse), exclusive=int(exclusive))
    array = np.random.default_rng(0).normal(size=(3, 5))
    tensor = torch.tensor(array)
    turned = tensor.flip(1) if reverse else tensor
    wanted = turned.cumsum(1) - (turned if exclusive else 0)
    [found] = run_plan(trace([x], [sums]).graph, {"x": array})
    np.testing.assert_allclose(found, wanted.flip(1) if reverse else wanted, atol=1e-15)


def test_a_crop_of_sizes_that_are_not_known() -> None:
    x = Leaf("x", "float32", ("batch", "height"))
    cut = emit("CenterCropPad", x, integers([4]), axes=[1])
    assert cut.shape == ("batch", 4)
    for size, wanted in ((7, [2, 3, 4, 5]), (3, [1, 2, 3, 0]), (2, [0, 1, 2, 0]), (4, [1, 2, 3, 4])):
        array = np.arange(1, size + 1, dtype=np.float32)[None]
        [found] = run_plan(trace([x], [cut]).graph, {"x": array})
        assert found.tolist() == [wanted]


ROWS: list[Row] = [
    ("Range", [number(0), number(5), number(0)], {}, "delta must be a number that is not 0, not 0"),
    (
        "Range",
        [number(0), number(5.0, "float32"), number(1)],
        {},
        "start, limit and delta must be one number each, of one type, not int64 (), float32 (), int64 ()",
    ),
    ("Range", [number(0, "uint8")] * 3, {}, "it is not defined for uint8"),
    ("HannWindow", [integers([3, 4])], {}, "size must be one number of 0 or more, not int64 (2,)"),
    ("HannWindow", [number(-1)], {}, "size must be one number of 0 or more, not int64 ()"),
    (
        "HannWindow",
        [number(3)],
        {"output_datatype": 9},
        "attribute 'output_datatype' is 9, an element type that is not supported",
    ),
    ("CumSum", [f(2, 3), integers([0, 1])], {}, "axis must be one number, not int64 (2,)"),
    ("DFT", [f(2, 8, 1), integers([3, 4])], {}, "dft_length must be one number, not int64 (2,)"),
    ("DFT", [f(2, 8, 1), None, integers([])], {}, "axis must be one number, not int64 (0,)"),
    ("STFT", [f(2, 8, 1), integers([3, 4])], {}, "frame_step must be one number, not int64 (2,)"),
    ("STFT", [f(2, 8, 1), number(1), None, integers([3, 4])], {}, "frame_length must be one number, not int64 (2,)"),
    ("CumSum", [f(2, 3), number(2)], {}, "axis 2 is outside an input of 2 dimensions"),
    ("CumSum", [Leaf(None, "int8", (2,)), number(0)], {}, "it is not defined for int8"),
    ("Tile", [f(2, 3), integers([2])], {}, "repeats must have a number for each of the 2 axes, not (2,)"),
    ("Tile", [f(2), integers([-1])], {}, "repeats must be 0 or more, not (-1,)"),
    ("ReverseSequence", [f(4), i(4)], {}, "input must have a batch axis and a time axis, not (4,)"),
    ("ReverseSequence", [f(4, 3), i(4)], {}, "sequence_lens must be int64 (3,), not int64 (4,)"),
    (
        "ReverseSequence",
        [f(4, 3), i(4)],
        {"time_axis": 1},
        "batch_axis and time_axis must be 0 and 1 or 1 and 0, not 1 and 1",
    ),
    ("CenterCropPad", [f(4, 3), integers([2])], {}, "shape must have a size for each of the 2 axes, not (2,)"),
    ("CenterCropPad", [f(4), integers([-2])], {}, "shape must hold sizes of 0 or more, not (-2,)"),
    ("CenterCropPad", [f(4, 3), integers([2, 2])], {"axes": (0, -2)}, "the axes (0, 0) name one axis twice"),
]


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_invalid_nodes_raise_an_error(row: Row) -> None:
    assert_refused(row)


@pytest.mark.parametrize("length", [-1, 5])
def test_a_sequence_that_is_too_long_raises_an_error_while_it_runs(length: int) -> None:
    x, lengths = Leaf("x", "float32", (4, 2)), Leaf("n", "int64", (2,))
    plan = Plan(trace([x, lengths], [emit("ReverseSequence", x, lengths, name="here")]).graph, {}, {})
    plan.run()
    plan.inputs["n"][...] = [0, length]
    message = f"a sequence of length {length} does not fit the time axis, which has 4 elements"
    with pytest.raises(GraphError, match=rf"^'here' \(ReverseSequence\): {message}$"):
        plan.run()
