"""Convolutions and pools against PyTorch: values and gradients over a table that crosses all options."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, emit, emit_all, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array

torch = pytest.importorskip("torch")
functional = torch.nn.functional
torch.set_num_threads(1)  # Arrays this small take PyTorch many times longer on two.

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
SIZES = {1: (8,), 2: (7, 5), 3: (4, 5, 3)}


def values_and_gradients(operator: str, arrays: Mapping[str, Array], seed: Array, **options: Any) -> list[Array]:
    """The output of a node, and what flows back to each input from ``seed``; the batch is not known beforehand."""
    leaves = [
        Leaf(name, x.dtype.name, ("batch", *x.shape[1:]) if name == "x" else x.shape) for name, x in arrays.items()
    ]
    y = emit(operator, *leaves, **options)
    flowing = Leaf("seed", y.dtype, y.shape)
    found = [symbol for symbol in gradients([y], [flowing], leaves) if symbol is not None]
    assert len(found) == len(leaves)
    graph = trace([*leaves, flowing], [y, *found]).graph
    plan = Plan(graph, {"x": arrays["x"].shape, "seed": seed.shape}, {})
    for name, array in {**arrays, "seed": seed}.items():
        plan.inputs[name][...] = array
    plan.run()
    plan.run()  # What the first run leaves behind in memory of its own must not show.
    return [plan.outputs[name] for name in graph.outputs]


def compare(operator: str, arrays: Mapping[str, Array], theirs: Callable[..., Any], **options: Any) -> None:
    tensors = [torch.tensor(x, requires_grad=True) for x in arrays.values()]
    y = theirs(*tensors)
    seed = np.random.default_rng(7).normal(size=y.shape).astype(str(y.detach().numpy().dtype))
    wanted = [y, *torch.autograd.grad(y, tensors, torch.tensor(seed))]
    found = values_and_gradients(operator, arrays, seed, **options)
    for ours, tensor in zip(found, wanted, strict=True):
        array = tensor.detach().numpy()
        assert ours.shape == array.shape
        assert np.abs(ours - array).max() <= TOLERANCE[array.dtype.name] * max(1, np.abs(array).max())


def drawn(*shape: int, dtype: str, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


CROSSED = list(itertools.product((1, 2, 3), (1, 2, 3), (1, 2), (0, 2), (1, 2, 4), (2, 24)))
"""Axes, stride, dilation, pad, groups (4: every channel for itself), batch (a large one is laid out by rows)."""


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.long)])
@pytest.mark.parametrize(("axes", "stride", "dilation", "pad", "groups", "batch"), CROSSED)
def test_conv(axes: int, stride: int, dilation: int, pad: int, groups: int, batch: int, dtype: str) -> None:
    kernel = (3, 2, 3)[:axes]
    arrays = {
        "x": drawn(batch, 4, *(size + 2 for size in SIZES[axes]), dtype=dtype),
        "w": drawn(8, 4 // groups, *kernel, dtype=dtype),
        "b": drawn(8, dtype=dtype),
    }
    theirs = getattr(functional, f"conv{axes}d")
    compare(
        "Conv",
        arrays,
        lambda x, w, b: theirs(x, w, b, stride=stride, padding=pad, dilation=dilation, groups=groups),
        strides=[stride] * axes,
        dilations=[dilation] * axes,
        pads=[pad] * (2 * axes),
        group=groups,
    )


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.long)])
@pytest.mark.parametrize(("axes", "stride", "dilation", "pad", "groups", "batch"), CROSSED)
def test_conv_transpose(axes: int, stride: int, dilation: int, pad: int, groups: int, batch: int, dtype: str) -> None:
    kernel = (3, 2, 3)[:axes]
    more = max(stride, dilation) - 1
    arrays = {
        "x": drawn(batch, 4, *SIZES[axes], dtype=dtype),
        "w": drawn(4, 8 // groups, *kernel, dtype=dtype),
        "b": drawn(8, dtype=dtype),
    }
    theirs = getattr(functional, f"conv_transpose{axes}d")
    options = {"stride": stride, "padding": pad, "output_padding": more, "dilation": dilation, "groups": groups}
    compare(
        "ConvTranspose",
        arrays,
        lambda x, w, b: theirs(x, w, b, **options),
        strides=[stride] * axes,
        dilations=[dilation] * axes,
        pads=[pad] * (2 * axes),
        output_padding=[more] * axes,
        group=groups,
    )


@pytest.mark.parametrize("batch", [3, 40])
@pytest.mark.parametrize("pads", [(0, 1, 2, 0), (3, 0, 0, 2), (4, 4, 4, 4), (0, 0, 5, 1)])
def test_conv_with_pads_that_differ(pads: tuple[int, ...], batch: int) -> None:
    """PyTorch pads by a function of its own; more pads than the kernel spans among them."""
    arrays = {"x": drawn(batch, 3, 6, 5, dtype="float64"), "w": drawn(4, 3, 3, 2, dtype="float64")}
    top, left, bottom, right = pads
    compare(
        "Conv",
        arrays,
        lambda x, w: functional.conv2d(functional.pad(x, (left, right, top, bottom)), w),
        pads=pads,
    )


@pytest.mark.long
@pytest.mark.parametrize("channels", [1, 3, 20])
@pytest.mark.parametrize("filters", [1, 8, 40])
def test_conv_of_every_width(channels: int, filters: int) -> None:
    """Few and many channels go different ways."""
    arrays = {"x": drawn(16, channels, 8, 8, dtype="float32"), "w": drawn(filters, channels, 5, 5, dtype="float32")}
    compare("Conv", arrays, lambda x, w: functional.conv2d(x, w, padding=2), pads=[2, 2, 2, 2])


def test_a_convolution_of_what_another_one_gives() -> None:
    """Arrays that lie by rows and in planes meet in one graph, and a weight may be a view."""
    arrays = {
        "x": drawn(20, 3, 9, 9, dtype="float64"),
        "v": drawn(3, 4, 3, 3, dtype="float64"),
        "w": drawn(4, 5, 2, 2, dtype="float64"),
    }
    x, v, w = (Leaf(name, "float64", array.shape) for name, array in arrays.items())
    turned = emit("Transpose", v, perm=[1, 0, 2, 3])
    h = emit("Conv", x, turned, strides=[2, 2])
    y = emit("ConvTranspose", h, w, dilations=[2, 2])
    graph = trace([x, v, w], [y]).graph
    plan = Plan(graph, {}, {})
    for name, array in arrays.items():
        plan.inputs[name][...] = array
    plan.run()
    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    middle = functional.conv2d(tensors["x"], tensors["v"].permute(1, 0, 2, 3), stride=2)
    wanted = functional.conv_transpose2d(middle, tensors["w"], dilation=2)
    np.testing.assert_allclose(plan.outputs[graph.outputs[0]], wanted.numpy(), atol=1e-12)


POOLED = ((1, 2, 3), (2, 3), (1, 2, 3), (0, 1), (False, True))
"""Axes, kernel, stride, pad, ceil_mode."""


@pytest.mark.parametrize(
    ("axes", "kernel", "stride", "pad", "ceil", "dilation", "ties"),
    list(itertools.product(*POOLED, (1, 2), (False, True))),
)
def test_max_pool(axes: int, kernel: int, stride: int, pad: int, ceil: bool, dilation: int, ties: bool) -> None:
    """With ties, what flows back goes to the first of the largest, as in PyTorch."""
    x = drawn(3, 2, *(size + 3 for size in SIZES[axes]), dtype="float64")
    x = np.round(x) if ties else x
    theirs = getattr(functional, f"max_pool{axes}d")
    compare(
        "MaxPool",
        {"x": x},
        lambda x: theirs(x, kernel, stride, pad, dilation, ceil_mode=ceil),
        kernel_shape=[kernel] * axes,
        strides=[stride] * axes,
        dilations=[dilation] * axes,
        pads=[pad] * (2 * axes),
        ceil_mode=int(ceil),
    )


@pytest.mark.parametrize(
    ("axes", "kernel", "stride", "pad", "ceil", "counted", "dtype"),
    list(itertools.product(*POOLED, (False, True), TOLERANCE)),
)
def test_average_pool(axes: int, kernel: int, stride: int, pad: int, ceil: bool, counted: bool, dtype: str) -> None:
    x = drawn(3, 2, *(size + 1 for size in SIZES[axes]), dtype=dtype)
    theirs = getattr(functional, f"avg_pool{axes}d")
    compare(
        "AveragePool",
        {"x": x},
        lambda x: theirs(x, kernel, stride, pad, ceil, counted),
        kernel_shape=[kernel] * axes,
        strides=[stride] * axes,
        pads=[pad] * (2 * axes),
        ceil_mode=int(ceil),
        count_include_pad=int(counted),
    )


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_lp_pool_of_power_2(axes: int, stride: int) -> None:
    theirs = getattr(functional, f"lp_pool{axes}d")
    options = {"kernel_shape": [2] * axes, "strides": [stride] * axes}
    x = drawn(2, 3, *SIZES[axes], dtype="float64")
    compare("LpPool", {"x": x}, lambda x: theirs(x, 2.0, 2, stride), **options)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_global_pools(axes: int) -> None:
    x = drawn(2, 3, *SIZES[axes], dtype="float64")
    spatial = tuple(range(2, 2 + axes))
    compare("GlobalAveragePool", {"x": x}, lambda x: x.mean(spatial, keepdim=True))
    compare("GlobalMaxPool", {"x": x}, lambda x: getattr(functional, f"adaptive_max_pool{axes}d")(x, 1))
    compare("GlobalLpPool", {"x": x}, lambda x: x.abs().pow(3).sum(spatial, keepdim=True) ** (1 / 3), p=3)


def test_indices_of_the_largest() -> None:
    x = np.round(drawn(2, 3, 8, 7, dtype="float64"))
    leaf = Leaf("x", "float64", x.shape)
    y, indices = emit_all("MaxPool", leaf, outputs=2, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0])
    plan = Plan(trace([leaf], [y, indices]).graph, {}, {})
    plan.inputs["x"][...] = x
    plan.run()
    wanted, places = functional.max_pool2d(torch.tensor(x), (3, 2), (2, 2), (1, 0), return_indices=True)
    values, found = plan.outputs.values()
    np.testing.assert_array_equal(values, wanted.numpy())
    planes = np.arange(6).reshape(2, 3, 1, 1) * 56  # PyTorch counts within a plane, ONNX in the whole array.
    np.testing.assert_array_equal(found, places.numpy() + planes)
