"""Gradients of quantised numbers, straight through the rounding, against PyTorch's fake quantisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from standard_side import run_plan

from portable_nn.operators import Leaf, Symbol, constant, emit, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array

torch: Any = pytest.importorskip("torch")

SCALE, POINT = 0.125, 9


def back_and_forth(x: Symbol, scale: Any, point: Any, dtype: str, axis: int = 1) -> Symbol:
    both = constant(scale, "float32"), constant(point, dtype)
    return emit("DequantizeLinear", emit("QuantizeLinear", x, *both, axis=axis), *both, axis=axis)


def ours(function: Callable[[Symbol], Symbol], x: Array) -> tuple[Array, Array]:
    leaf = Leaf("x", "float32", x.shape)
    y = function(leaf)
    [slope] = gradients([y], [constant(np.arange(y_size(y)).reshape(y.shape), "float32")], [leaf])
    assert slope is not None
    found = run_plan(trace([leaf], [y, slope]).graph, {"x": x})
    return found[0], found[1]


def y_size(y: Symbol) -> int:
    return int(np.prod([dim for dim in y.shape if isinstance(dim, int)]))


def theirs(function: Callable[[Any], Any], x: Array) -> tuple[Array, Array]:
    leaf = torch.from_numpy(x).requires_grad_(True)
    y = function(leaf)
    y.backward(torch.arange(y.numel(), dtype=torch.float32).reshape(y.shape))
    return y.detach().numpy(), leaf.grad.numpy()


def numbers(*shape: int) -> Array:
    """Some of them beyond the range of a byte at ``SCALE``, none near a tie of the rounding."""
    random = np.random.default_rng(3)
    whole = random.integers(-300, 300, shape)
    return ((whole + random.uniform(-0.4, 0.4, shape)) * SCALE).astype(np.float32)


def fake(x: Any, scale: float, point: int, dtype: str) -> Any:
    limits = np.iinfo(dtype)
    return torch.fake_quantize_per_tensor_affine(x, scale, point, limits.min, limits.max)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16"])
def test_a_tensor(dtype: str) -> None:
    x = numbers(4, 5) * (200 if dtype.endswith("16") else 1)
    found = ours(lambda value: back_and_forth(value, SCALE, POINT, dtype), x)
    for mine, other in zip(found, theirs(lambda value: fake(value, SCALE, POINT, dtype), x), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)
    assert 0 < np.count_nonzero(found[1] == 0) < x.size - 1


def test_a_scale_for_each_channel() -> None:
    x, scales, points = numbers(3, 4, 5), np.float32([0.125, 0.25, 0.5, 1]), np.int8([0, 3, -9, 20])

    def per_channel(value: Any) -> Any:
        tensors = torch.from_numpy(scales), torch.from_numpy(points.astype(np.int32))
        return torch.fake_quantize_per_channel_affine(value, *tensors, 1, -128, 127)

    found = ours(lambda value: back_and_forth(value, scales, points, "int8"), x)
    for mine, other in zip(found, theirs(per_channel, x), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)


def test_numbers_whose_range_is_measured() -> None:
    x = np.abs(numbers(6, 5))
    x[0, 0] = 255 * SCALE  # So that the scale is SCALE, and the zero point 0.
    x = np.minimum(x, x[0, 0])

    def measured(value: Symbol) -> Symbol:
        from portable_nn.operators import emit_all

        return emit("DequantizeLinear", *emit_all("DynamicQuantizeLinear", value, outputs=3))

    found = ours(measured, x)
    wanted = theirs(lambda value: fake(value, SCALE, 0, "uint8"), x)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-6)


WEIGHTS = np.random.default_rng(4).integers(-9, 9, (6, 5)).astype(np.int8)
KERNEL = np.random.default_rng(5).integers(-9, 9, (4, 2, 3, 3)).astype(np.int8)


def parts(x: Symbol) -> tuple[Symbol, Symbol, Symbol]:
    scale, point = constant(SCALE, "float32"), constant(POINT, "uint8")
    return emit("QuantizeLinear", x, scale, point), scale, point


def product(x: Symbol) -> Symbol:
    last = constant(4.0, "float32"), constant(128, "uint8")
    factor = constant(WEIGHTS, "int8"), constant(0.5, "float32"), constant(2, "int8")
    return emit("DequantizeLinear", emit("QLinearMatMul", *parts(x), *factor, *last), *last)


def convolution(x: Symbol) -> Symbol:
    last = constant(16.0, "float32"), constant(128, "uint8")
    factor = constant(KERNEL, "int8"), constant([0.5] * 4, "float32"), constant([2] * 4, "int8")
    return emit("DequantizeLinear", emit("QLinearConv", *parts(x), *factor, *last, pads=[1, 1, 1, 1]), *last)


def whole_product(x: Symbol) -> Symbol:
    whole, scale, point = parts(x)
    sums = emit("MatMulInteger", whole, constant(WEIGHTS, "int8"), point, constant(2, "int8"))
    return emit("DequantizeLinear", sums, scale * 0.5)


def whole_convolution(x: Symbol) -> Symbol:
    whole, scale, point = parts(x)
    sums = emit("ConvInteger", whole, constant(KERNEL, "int8"), point, constant(2, "int8"), pads=[1, 1, 1, 1])
    return emit("DequantizeLinear", sums, scale * 0.5)


def matmul(x: Any) -> Any:
    return fake(x, SCALE, POINT, "uint8") @ torch.from_numpy((WEIGHTS - 2.0) * 0.5).float()


def conv(x: Any) -> Any:
    kernel = torch.from_numpy((KERNEL - 2.0) * 0.5).float()
    return torch.nn.functional.conv2d(fake(x, SCALE, POINT, "uint8"), kernel, padding=1)


@pytest.mark.parametrize(
    ("mine", "other", "shape"),
    [
        (product, lambda x: fake(matmul(x), 4.0, 128, "uint8"), (3, 6)),
        (convolution, lambda x: fake(conv(x), 16.0, 128, "uint8"), (2, 2, 4, 4)),
        (whole_product, matmul, (3, 6)),
        (whole_convolution, conv, (2, 2, 4, 4)),
    ],
    ids=["QLinearMatMul", "QLinearConv", "MatMulInteger", "ConvInteger"],
)
def test_a_product_of_bytes(mine: Callable[[Symbol], Symbol], other: Callable[[Any], Any], shape: Any) -> None:
    x = numbers(*shape)
    for found, wanted in zip(ours(mine, x), theirs(other, x), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)
