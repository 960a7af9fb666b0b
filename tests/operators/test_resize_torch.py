"""Resizing and its gradient against PyTorch and onnxruntime, in every layout of memory.

onnxruntime leaves the standard where the result has the shape of the input: it copies, whatever scales and region of
interest say. onnx's reference is the other side there.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from standard_side import lowered, run_plan, run_reference, run_runtime

from portable_nn.core.errors import GraphError
from portable_nn.core.graph import Graph
from portable_nn.operators import Leaf, Symbol, constant, emit, integers, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
PYTORCH: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "nearest": ("nearest", {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    "nearest-exact": ("nearest", {"nearest_mode": "round_prefer_ceil"}),
    "linear": ("linear", {}),
    "cubic": ("cubic", {}),
}
THEIR_NAMES = {("linear", 1): "linear", ("linear", 2): "bilinear", ("linear", 3): "trilinear", ("cubic", 2): "bicubic"}


def resized(x: Symbol, sides: Sequence[float | int], **attributes: Any) -> Symbol:
    """``x`` with the axes behind the first two resized by floats, or to whole numbers."""
    if all(isinstance(side, int) for side in sides):
        return emit("Resize", x, None, None, integers([*map(int, x.shape[:2]), *map(int, sides)]), **attributes)
    return emit("Resize", x, None, constant([1, 1, *sides], "float32"), **attributes)


def graph_of(x: Array, sides: Sequence[float], layout: Sequence[int] | None = None, **attributes: Any) -> Graph:
    """Resize and what flows back, on an input whose axes lie in memory in the order ``layout``."""
    order = list(layout or range(x.ndim))
    back_order = [order.index(axis) for axis in range(x.ndim)]
    leaf = Leaf("x", x.dtype.name, tuple(x.shape[axis] for axis in order))
    data = emit("Transpose", leaf, perm=back_order)
    y = resized(data, sides, **attributes)
    seed = Leaf("seed", x.dtype.name, tuple(y.shape[axis] for axis in order))
    [back] = gradients([y], [emit("Transpose", seed, perm=back_order)], [data])
    assert back is not None
    return trace([leaf, seed], [y, back]).graph


def run(x: Array, sides: Sequence[float], layout: Sequence[int] | None = None, **attributes: Any) -> tuple[Array, ...]:
    """What Resize gives, a seed of its shape, and what flows back of that."""
    graph, order = graph_of(x, sides, layout, **attributes), list(layout or range(x.ndim))
    shape = [int(size) for size in graph.inputs[1].shape]
    seed = np.random.default_rng(1).normal(size=shape).astype(x.dtype)
    y, back = run_plan(graph, {"x": x.transpose(order), "seed": seed})
    return y, seed.transpose([order.index(axis) for axis in range(x.ndim)]), back


def theirs(x: Array, seed: Array, sides: Sequence[float], mode: str, **options: Any) -> tuple[Array, Array]:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(x.copy()).requires_grad_()
    whole = all(isinstance(side, int) for side in sides)
    mode = THEIR_NAMES.get((mode, len(sides)), mode)
    where = {"size": tuple(sides)} if whole else {"scale_factor": tuple(sides)}
    y = torch.nn.functional.interpolate(tensor, mode=mode, **where, **options)
    y.backward(torch.from_numpy(seed.copy()))
    return y.detach().numpy(), tensor.grad.numpy()


def assert_close(found: Array, wanted: Array) -> None:
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE[found.dtype.name] * np.abs(wanted).max(initial=1))


SIDES: list[tuple[tuple[int, ...], tuple[float, ...]]] = [
    ((5, 6), (2.0, 2.0)),
    ((5, 6), (0.5, 1.5)),
    ((5, 6), (9, 4)),
    ((6, 5), (1, 5)),
    ((6, 5), (1.25, 0.75)),
    ((4, 7), (4.0, 3.0)),
    ((4,), (2.0,)),
    ((7,), (3,)),
    ((3, 2, 4), (2.0, 2.0, 0.5)),
    ((3, 2, 4), (2, 5, 4)),
]


CROSSED = [
    (shape, sides, mode, align_corners)
    for shape, sides in SIDES
    for mode, (ours, _) in PYTORCH.items()
    for align_corners in ((None,) if ours == "nearest" else (False, True))
    if ours == "nearest" or (ours, len(shape)) in THEIR_NAMES
]


@pytest.mark.parametrize(
    ("shape", "sides", "mode", "align_corners", "dtype"),
    [(*row, dtype) for row in CROSSED for dtype in TOLERANCE],
)
def test_resize_and_its_gradient_equal_those_of_pytorch(
    shape: tuple[int, ...], sides: tuple[float, ...], mode: str, align_corners: bool | None, dtype: str
) -> None:
    ours, attributes = PYTORCH[mode]
    options = {} if align_corners is None else {"align_corners": align_corners}
    if align_corners:
        attributes = {"coordinate_transformation_mode": "align_corners"}
    x = np.random.default_rng(0).normal(size=(2, 3, *shape)).astype(dtype)
    for layout in list(itertools.permutations(range(x.ndim)))[:: 5 if x.ndim < 5 else 31]:
        y, seed, back = run(x, sides, layout, mode=ours, **attributes)
        wanted, wanted_back = theirs(x, seed, sides, mode, **options)
        assert_close(y, wanted)
        assert_close(back, wanted_back)


@pytest.mark.parametrize("sides", [(1.75, 0.625), (119, 260), (35, 75), (2.0, 2.0)])
@pytest.mark.parametrize("mode", PYTORCH)
def test_axes_longer_than_a_block_of_the_matrix(mode: str, sides: tuple[float, ...]) -> None:
    ours, attributes = PYTORCH[mode]
    x = np.random.default_rng(0).normal(size=(1, 2, 70, 150))
    y, seed, back = run(x, sides, mode=ours, **attributes)
    wanted, wanted_back = theirs(x, seed, sides, mode)
    assert_close(y, wanted)
    assert_close(back, wanted_back)


def forward(x: Array, sides: Sequence[float], **attributes: Any) -> Graph:
    leaf = Leaf("x", x.dtype.name, x.shape)
    return trace([leaf], [resized(leaf, sides, **attributes)]).graph


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sides", [(0.5, 0.25), (3, 4), (14, 2), (1, 1)])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_antialias_without_cells_outside_is_that_of_pytorch(mode: str, sides: tuple[float, ...], dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 2, 8, 12)).astype(dtype)
    options: dict[str, Any] = {"mode": mode, "antialias": 1, "exclude_outside": 1, "cubic_coeff_a": -0.5}
    y, seed, back = run(x, sides, **options)
    wanted, wanted_back = theirs(x, seed, sides, mode, antialias=True)
    assert_close(y, wanted)
    assert_close(back, wanted_back)


@st.composite
def uses(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[float, ...], dict[str, Any]]:
    """Images and uses of Resize that onnxruntime takes."""
    mode = draw(st.sampled_from(["nearest", "linear", "cubic"]))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    whole = draw(st.booleans())
    side: st.SearchStrategy[float] = st.integers(1, 12) if whole else st.integers(5, 32).map(lambda n: n / 10)
    sides = draw(st.tuples(side, side))
    where = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
    options: dict[str, Any] = {"mode": mode}
    if mode == "nearest":
        options["nearest_mode"] = draw(st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]))
    else:
        where.append("half_pixel_symmetric")
        options["antialias"] = draw(st.integers(0, 1))
    if mode == "cubic" or options.get("antialias"):
        options["exclude_outside"] = draw(st.integers(0, 1))
        options["cubic_coeff_a"] = draw(st.sampled_from([-0.75, -0.5, -1.0]))
    options["coordinate_transformation_mode"] = draw(st.sampled_from(where))
    return shape, sides, options


@pytest.mark.long
@pytest.mark.parametrize("examples", [80, pytest.param(300, marks=pytest.mark.long)])
def test_any_use_equals_that_of_onnxruntime(examples: int) -> None:
    settings(max_examples=examples, deadline=None)(given(uses())(equals_that_of_onnxruntime))()


def equals_that_of_onnxruntime(use: tuple[tuple[int, ...], tuple[float, ...], dict[str, Any]]) -> None:
    shape, sides, options = use
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    graph = forward(x, sides, **options)
    [found] = run_plan(graph, {"x": x})
    pairs = list(zip(x.shape[2:], found.shape[2:], sides, strict=True))
    # Of an axis that stays as long as it is, onnxruntime makes a copy; antialiased, of every one.
    copied = [size == result and side not in (1.0, size) for size, result, side in pairs]
    assume(not (any(copied) if options.get("antialias") else found.shape == x.shape))
    # What ONNX's own inference takes for another size is refused before onnxruntime sees it.
    exact = [size * float(np.float32(side)) for size, side in zip(x.shape[2:], sides, strict=True)]
    assume(found.size and (type(sides[0]) is int or found.shape[2:] == tuple(map(int, exact))))
    [wanted] = run_runtime(graph, {"x": x})
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5)


@pytest.mark.long
@settings(max_examples=50, deadline=None)
@given(uses())
def test_gradient_in_standard_operators_is_the_same(
    use: tuple[tuple[int, ...], tuple[float, ...], dict[str, Any]],
) -> None:
    shape, sides, options = use
    x = np.random.default_rng(0).normal(size=shape)
    graph = graph_of(x, sides, **options)
    feeds = {"x": x, "seed": np.random.default_rng(1).normal(size=[int(size) for size in graph.inputs[1].shape])}
    for found, wanted in zip(run_plan(lowered(graph), feeds), run_plan(graph, feeds), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


CROPS = [[0, 0, 0.2, -0.1, 1, 1, 1.3, 0.7], [0, 0, 0.9, 0.1, 1, 1, 0.1, 1.0], [0, 0, 1.5, 0, 1, 1, 2.0, 1]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sides", [(4, 5), (1, 3), (9, 1)])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("region", CROPS)
def test_region_of_interest(region: list[float], mode: str, sides: tuple[int, int], dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 2, 4, 5)).astype(dtype)
    leaf, roi = Leaf("x", dtype, x.shape), constant(region, dtype)
    options = {"mode": mode, "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": -3.5}
    graph = trace([leaf], [emit("Resize", leaf, roi, None, integers([2, 2, *sides]), **options)]).graph
    run_standard = run_reference if dtype == "float64" or sides == (4, 5) else run_runtime
    np.testing.assert_allclose(run_plan(graph, {"x": x})[0], run_standard(graph, {"x": x})[0], rtol=0, atol=1e-5)


def test_what_flows_to_extrapolated_cells_is_lost() -> None:
    x, roi = Leaf("x", "float64", (1, 1, 3)), constant([0, 0, 0.5, 1, 1, 1.5], "float64")
    where = {"coordinate_transformation_mode": "tf_crop_and_resize"}
    y = emit("Resize", x, roi, None, integers([1, 1, 3]), extrapolation_value=9.0, **where)
    [back] = gradients([y], [constant([[[1.0, 10, 100]]], "float64")], [x])
    assert back is not None
    found = run_plan(trace([x], [y, back]).graph, {"x": np.array([[[1.0, 2, 3]]])})
    np.testing.assert_array_equal(found[0], [[[2, 3, 9]]])
    np.testing.assert_array_equal(found[1], [[[0, 1, 10]]])


def test_what_flows_to_cells_around_a_doubled_axis_is_lost() -> None:
    """Six cells of which the middle four are two cells, each twice."""
    x, roi = Leaf("x", "float64", (2,)), constant([-0.125, 1.125], "float64")
    where = {"coordinate_transformation_mode": "tf_crop_and_resize"}
    y = emit("Resize", x, roi, None, integers([6]), **where)
    [back] = gradients([y], [constant([1.0, 2, 4, 8, 16, 32], "float64")], [x])
    assert back is not None
    found = run_plan(trace([x], [y, back]).graph, {"x": np.array([3.0, 5])})
    np.testing.assert_array_equal(found[0], [0, 3, 3, 5, 5, 0])
    np.testing.assert_array_equal(found[1], [2 + 4, 8 + 16])


@pytest.mark.parametrize("mode", PYTORCH)
def test_nothing_may_come_out(mode: str) -> None:
    ours, attributes = PYTORCH[mode]
    x = np.ones((1, 2, 3, 4))
    y, _, back = run(x, (0.1, 2.0), mode=ours, **attributes)
    assert y.shape == (1, 2, 0, 8)
    np.testing.assert_array_equal(back, np.zeros_like(x))


@pytest.mark.parametrize(
    ("size", "scale", "result"),
    [(10, 0.7, 7), (5, 2.6, 13), (10, 0.3, 3), (3, 1 / 3, 1), (100, 0.29, 29), (7, 1.0, 7), (3, 0.1, 0), (2, 0.75, 1)],
)
def test_sizes_are_rounded_down(size: int, scale: float, result: int) -> None:
    """Also where the nearest single of the scale is a little less than it."""
    assert emit("Resize", Leaf("x", "float32", (size,)), None, constant([scale], "float32")).shape == (result,)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32"])
@pytest.mark.parametrize("sides", [(2.0, 2.0), (7, 3)])
def test_whole_numbers_are_copied(sides: tuple[float, ...], dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 100, (2, 3, 4, 5)).astype(dtype)
    graph = forward(x, sides)
    np.testing.assert_array_equal(run_plan(graph, {"x": x})[0], run_runtime(graph, {"x": x})[0], strict=True)


@pytest.mark.parametrize("mode", PYTORCH)
def test_half_precision(mode: str) -> None:
    ours, attributes = PYTORCH[mode]
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    halves = run(x.astype("float16"), (2.0, 1.5), mode=ours, **attributes)
    doubles = run(x.astype("float16").astype("float64"), (2.0, 1.5), mode=ours, **attributes)
    for found, wanted in zip(halves, doubles, strict=True):
        assert found.dtype == np.float16
        np.testing.assert_allclose(found, wanted, rtol=0, atol=4e-3 * np.abs(wanted).max())


def test_a_cell_that_is_no_number_is_copied_like_any_other() -> None:
    x = np.array([[[1, np.nan, np.inf, -np.inf]]], np.float32)
    [found] = run_plan(forward(x, (2.0,)), {"x": x})
    np.testing.assert_array_equal(found, np.repeat(x, 2, axis=2))


@pytest.mark.parametrize(
    ("scale", "name"),
    [
        (1.0, "height"),
        (3.0, "3*height"),
        (0.5, "floor(height/2)"),
        (0.7, "floor(0.7*(height))"),
        (1.5, "floor(1.5*(height))"),
    ],
)
def test_unknown_sizes(scale: float, name: str) -> None:
    leaf = Leaf("x", "float64", ("batch", 2, "height", "2*width+1"))
    y = emit("Resize", leaf, None, constant([1, 1, scale, 0.5], "float32"), mode="linear")
    assert y.shape == ("batch", 2, name, "floor((2*width+1)/2)")
    seed = Leaf("seed", "float64", y.shape)
    [back] = gradients([y], [seed], [leaf])
    assert back is not None
    assert back.shape == leaf.shape
    again = gradients([back], [Leaf("again", "float64", leaf.shape)], [seed])[0]
    assert again is not None
    assert again.shape == y.shape
    x = np.random.default_rng(0).normal(size=(3, 2, 10, 7))
    wanted, values, wanted_back = run(x, (scale, 0.5), mode="linear")
    found = run_plan(trace([leaf, seed], [y, back]).graph, {"x": x, "seed": values})
    np.testing.assert_array_equal(found[0], wanted)
    np.testing.assert_array_equal(found[1], wanted_back)


def test_sizes_taken_from_another_value() -> None:
    small, large = Leaf("small", "float64", ("batch", 2, "h")), Leaf("large", "float64", ("batch", 2, "height"))
    y = emit("Resize", small, None, None, emit("Shape", large), mode="linear")
    assert y.shape == ("batch", 2, "height")
    feeds = {"small": np.random.default_rng(0).normal(size=(3, 2, 4)), "large": np.zeros((3, 2, 9))}
    [found] = run_plan(trace([small, large], [y]).graph, feeds)
    assert_close(found, theirs(feeds["small"], np.ones((3, 2, 9)), (9,), "linear")[0])


def test_no_scales_may_be_an_empty_list() -> None:
    leaf, none = Leaf("x", "float32", (1, 1, 2)), constant([], "float32")
    y = emit("Resize", leaf, none, none, integers([1, 1, 4]))
    [found] = run_plan(trace([leaf], [y]).graph, {"x": np.array([[[1, 2]]], np.float32)})
    np.testing.assert_array_equal(found, [[[1, 1, 2, 2]]])


def test_gradient_of_an_unknown_size_has_no_form_in_standard_operators() -> None:
    leaf = Leaf("x", "float32", ("batch", 2, "height"))
    y = emit("Resize", leaf, None, constant([1, 1, 2], "float32"), mode="linear")
    seed = Leaf("seed", "float32", y.shape)
    [back] = gradients([y], [seed], [leaf])
    assert back is not None
    message = "^the gradient of Resize needs the size of axis 2 in standard operators, and it is the unknown height$"
    with pytest.raises(GraphError, match=message):
        lowered(trace([leaf, seed], [back]).graph)


@pytest.mark.parametrize("layout", list(itertools.permutations(range(4)))[::5])
@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space_in_any_layout(mode: str, layout: tuple[int, ...]) -> None:
    """And back again: SpaceToDepth, and the gradient, undo it."""
    x = np.random.default_rng(0).normal(size=(2, 12, 3, 5)).astype("float32")
    leaf = Leaf("x", "float32", tuple(x.shape[axis] for axis in layout))
    data = emit("Transpose", leaf, perm=[layout.index(axis) for axis in range(4)])
    y = emit("DepthToSpace", data, blocksize=2, mode=mode)
    [back] = gradients([y], [y], [data])
    assert back is not None
    found, again = run_plan(trace([leaf], [y, back]).graph, {"x": x.transpose(layout)})
    plain = Leaf("x", "float32", x.shape)
    wanted = run_runtime(trace([plain], [emit("DepthToSpace", plain, blocksize=2, mode=mode)]).graph, {"x": x})
    np.testing.assert_array_equal(found, wanted[0])
    np.testing.assert_array_equal(again, x)


def test_blocks_of_unknown_sizes() -> None:
    leaf = Leaf("x", "float32", ("batch", 3, "2*height", "width"))
    y = emit("SpaceToDepth", leaf, blocksize=2)
    assert y.shape == ("batch", 12, "height", "floor(width/2)")
    image = emit("DepthToSpace", y, blocksize=2, mode="CRD")
    assert image.shape == ("batch", 3, "2*height", "2*floor(width/2)")
    [back] = gradients([image], [image], [y])
    assert back is not None
    assert back.shape == y.shape
