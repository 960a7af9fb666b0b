"""Activation functions and their gradients against PyTorch, in every layout of memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from standard_side import run_plan

from portable_nn.operators import Leaf, Symbol, constant, emit, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.elementwise.blocks import BLOCK
from portable_nn.operators.registry import Array

torch = pytest.importorskip("torch")
F = torch.nn.functional
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}

Row = tuple[str, Mapping[str, Any], Callable[[Any], Any]]
ROWS: list[Row] = [
    ("Relu", {}, F.relu),
    ("Sigmoid", {}, torch.sigmoid),
    ("Tanh", {}, torch.tanh),
    ("Softplus", {}, F.softplus),
    ("LeakyRelu", {"alpha": 0.25}, lambda x: F.leaky_relu(x, 0.25)),
    ("LeakyRelu", {"alpha": 2.0}, lambda x: F.leaky_relu(x, 2.0)),
    ("LeakyRelu", {"alpha": -0.5}, lambda x: F.leaky_relu(x, -0.5)),
    ("LeakyRelu", {"alpha": 0.0}, lambda x: F.leaky_relu(x, 0.0)),
    ("Elu", {}, F.elu),
    ("Elu", {"alpha": 1.5}, lambda x: F.elu(x, 1.5)),
    ("Celu", {}, F.celu),
    ("Celu", {"alpha": 0.5}, lambda x: F.celu(x, 0.5)),
    ("Celu", {"alpha": -2.0}, lambda x: F.celu(x, -2.0)),
    ("Gelu", {}, F.gelu),
    ("Gelu", {"approximate": "tanh"}, lambda x: F.gelu(x, approximate="tanh")),
    ("Erf", {}, torch.erf),
    ("HardSigmoid", {"alpha": 0.25, "beta": 0.5}, lambda x: torch.clamp(x * 0.25 + 0.5, 0, 1)),
    ("HardSwish", {}, F.hardswish),
    ("Mish", {}, F.mish),
    ("Swish", {}, F.silu),
    ("Swish", {"alpha": 1.75}, lambda x: x * torch.sigmoid(1.75 * x)),
    ("Swish", {"alpha": -1.0}, lambda x: x * torch.sigmoid(-x)),
    ("Softsign", {}, F.softsign),
    ("ThresholdedRelu", {"alpha": 0.75}, lambda x: F.threshold(x, 0.75, 0.0)),
    ("ThresholdedRelu", {"alpha": -0.75}, lambda x: F.threshold(x, -0.75, 0.0)),
    ("Shrink", {"lambd": 0.75}, lambda x: F.hardshrink(x, 0.75)),
    ("Shrink", {"lambd": 0.75, "bias": 0.75}, lambda x: F.softshrink(x, 0.75)),
]
CROSSED = [
    (row, dtype, shape)
    for row in ROWS
    for dtype in TOLERANCE
    for shape in ((4, 5), (2, 3, 4, 5), (BLOCK + 7,), ())
    if (row[0], dtype) != ("Celu", "float64")
]


def assert_close(found: Array, wanted: Any, dtype: str) -> None:
    wanted = wanted.detach().numpy()
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert np.abs(found - wanted).max() <= TOLERANCE[dtype] * np.abs(wanted).max()


def numbers(*shape: int, dtype: str, scale: float = 3.0) -> Array:
    return np.asarray(np.random.default_rng(sum(shape)).normal(0, scale, shape).astype(dtype))


def both_ways(build: Callable[..., Symbol], *arrays: Array) -> list[Array]:
    """The value of ``build``, and what flows back to each of ``arrays`` from a seed of 0.5, 1.5, 2.5, …"""
    leaves = [Leaf(f"x{place}", array.dtype.name, array.shape) for place, array in enumerate(arrays)]
    value = build(*leaves)
    seed = Leaf("seed", value.dtype, value.shape)
    flowing = [symbol for symbol in gradients([value], [seed], leaves) if symbol is not None]
    assert len(flowing) == len(leaves)
    feeds = {f"x{place}": array for place, array in enumerate(arrays)} | {"seed": seed_of(value.shape, value.dtype)}
    return run_plan(trace([*leaves, seed], [value, *flowing]).graph, feeds)


def seed_of(shape: Any, dtype: str) -> Array:
    return (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 7 + 0.5).astype(dtype)


def torch_both_ways(function: Callable[..., Any], *arrays: Array) -> list[Any]:
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    value = function(*tensors)
    value.backward(torch.tensor(seed_of(tuple(value.shape), arrays[0].dtype.name)))
    return [value, *(tensor.grad for tensor in tensors)]


@pytest.mark.parametrize(
    ("row", "dtype", "shape"), CROSSED, ids=lambda value: value[0] if value in ROWS else str(value)
)
def test_value_and_gradient(row: Row, dtype: str, shape: tuple[int, ...]) -> None:
    operator, attributes, theirs = row
    x = numbers(*shape, dtype=dtype)
    found = both_ways(lambda leaf: emit(operator, leaf, **attributes), x)
    for ours, wanted in zip(found, torch_both_ways(theirs, x), strict=True):
        assert_close(ours, wanted, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_selu(dtype: str) -> None:
    """PyTorch has more digits of its two constants than ONNX."""
    x = numbers(4, 5, dtype=dtype)
    for ours, wanted in zip(both_ways(lambda leaf: emit("Selu", leaf), x), torch_both_ways(F.selu, x), strict=True):
        np.testing.assert_allclose(ours, wanted.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("operator", ["Sigmoid", "Gelu", "Erf", "Mish", "HardSwish", "LeakyRelu", "Shrink"])
@pytest.mark.parametrize("perm", [(1, 0, 2), (2, 1, 0), (1, 2, 0), (0, 1, 2)])
@pytest.mark.parametrize("part", [slice(None), slice(1, 4)])
def test_in_any_layout(operator: str, perm: tuple[int, ...], part: slice) -> None:
    """Neither the order of the axes in memory nor gaps between the elements change the numbers."""
    x = numbers(5, 6, 7, dtype="float64")
    leaf = Leaf("x", "float64", x.shape)
    places = [constant([value], "int64") for value in (part.indices(5)[0], part.indices(5)[1], 0)]
    turned = emit("Transpose", emit("Slice", leaf, *places), perm=list(perm))
    [found] = run_plan(trace([leaf], [emit(operator, turned)]).graph, {"x": x})
    [wanted] = run_plan(trace([flat := Leaf("x", "float64", (210,))], [emit(operator, flat)]).graph, {"x": x.ravel()})
    np.testing.assert_allclose(found, wanted.reshape(x.shape)[part].transpose(perm), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(5,), (4, 5), (4, 5, 2), (2, 5, 3, 3)])
@pytest.mark.parametrize("count", [1, 5])
def test_parametric_relu(shape: tuple[int, ...], count: int, dtype: str) -> None:
    """PyTorch's weight goes along the channels; a slope of ONNX is broadcast from the last axis."""
    x, weight = numbers(*shape, dtype=dtype), numbers(count, dtype=dtype, scale=0.5)
    if len(shape) == 1 and count > 1:
        with pytest.raises(RuntimeError):
            F.prelu(torch.tensor(x), torch.tensor(weight))
        return
    spread = (count, *[1] * max(len(shape) - 2, 0))
    value, to_x, to_slope = both_ways(lambda x, slope: emit("PRelu", x, slope), x, weight.reshape(spread))
    wanted = torch_both_ways(F.prelu, x, weight)
    for ours, theirs in zip((value, to_x, to_slope.reshape(count)), wanted, strict=True):
        assert_close(ours, theirs, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bounds", [(-1, 2), (-1, None), (None, 2), (0, 6)])
def test_clip_with_fixed_bounds(bounds: tuple[float | None, float | None], dtype: str) -> None:
    """At the bounds themselves too, where the gradient passes one bound, and does not pass two."""
    theirs = F.hardtanh if None not in bounds else torch.clamp
    x = np.array([-5, -1, -0.5, 0, 0.25, 2, 6, 9], dtype)
    symbols = [None if bound is None else constant(bound, dtype) for bound in bounds]
    found = both_ways(lambda leaf: emit("Clip", leaf, *symbols), x)
    for ours, wanted in zip(found, torch_both_ways(lambda x: theirs(x, *bounds), x), strict=True):
        assert_close(ours, wanted, dtype)


@pytest.mark.parametrize("limits", [(-1.0, 2.0), (2.0, -1.0)])
def test_clip_with_bounds_that_are_learned(limits: tuple[float, float]) -> None:
    x, low, high = numbers(4, 5, dtype="float64"), *(np.array(limit) for limit in limits)
    found = both_ways(lambda *leaves: emit("Clip", *leaves), x, low, high)
    for ours, wanted in zip(found, torch_both_ways(torch.clamp, x, low, high), strict=True):
        assert_close(ours, wanted, "float64")
