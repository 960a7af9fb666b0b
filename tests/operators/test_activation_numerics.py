"""Activation functions at the edges of the numbers, against closed forms computed by Python's ``math``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import activation
from cases.case import Case
from hypothesis import given
from hypothesis import strategies as st
from onnx import defs
from standard_side import run_plan, run_runtime

from portable_nn.operators import Leaf, emit, lookup, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.elementwise.blocks import BLOCK
from portable_nn.operators.elementwise.gelu import LOGISTIC
from portable_nn.operators.registry import Array

ULPS = {"float16": 0.51, "float32": 4, "float64": 5}
"""Distances from the true error function in units of its last place."""


def run(operator: str, x: Array, **attributes: Any) -> Array:
    leaf = Leaf("x", x.dtype.name, x.shape)
    return run_plan(trace([leaf], [emit(operator, leaf, **attributes)]).graph, {"x": x})[0]


def applied(function: Callable[[float], float], x: Array) -> Array:
    return np.array([function(float(value)) for value in x.ravel()]).reshape(x.shape)


def assert_erf(x: Array) -> None:
    found, wanted = run("Erf", x), applied(math.erf, x)
    assert found.dtype == x.dtype
    unit = np.spacing(np.maximum(np.abs(wanted), np.finfo(x.dtype).tiny).astype(x.dtype)).astype(np.float64)
    assert np.all(np.abs(found - wanted) <= ULPS[x.dtype.name] * unit)


@pytest.mark.parametrize("dtype", ULPS)
def test_error_function_on_a_dense_grid(dtype: str) -> None:
    """Near 0, where it is 2/√π·x, through the bend, and in the tails, where it is 1; more than a block of each."""
    with np.errstate(over="ignore", under="ignore"):
        small = np.geomspace(float(np.finfo(dtype).tiny), 1, BLOCK // 2).astype(dtype)
        ends = np.array([0, np.finfo(dtype).max, 0.46875, np.nextafter(0.46875, 1), 4, 6, np.inf], dtype)
        x = np.concatenate([np.linspace(0, 7, BLOCK + 9).astype(dtype), small, ends])
    assert_erf(np.concatenate([x, -x]))


def test_polynomial_of_single_precision_is_as_near_as_it_says() -> None:
    x = np.concatenate([np.geomspace(1e-8, 1, 2000), np.linspace(1, 8, 7000)])
    coefficients = np.array(LOGISTIC, np.float32).astype(np.float64)
    np.testing.assert_allclose(np.tanh(x * np.polyval(coefficients, x * x)), applied(math.erf, x), rtol=7.3e-8)


def test_error_function_is_near_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    x = np.linspace(-6, 6, 50_001)
    for dtype, tolerance in (("float32", 2e-7), ("float64", 4e-16)):
        found, wanted = run("Erf", x.astype(dtype)), torch.erf(torch.tensor(x.astype(dtype))).numpy()
        assert np.abs(found - wanted).max() <= tolerance


@given(st.lists(st.floats(allow_nan=False, allow_subnormal=False, width=64), max_size=20))
def test_error_function_of_any_double(values: list[float]) -> None:
    assert_erf(np.array(values))


@given(st.lists(st.floats(allow_nan=False, allow_subnormal=False, width=32), max_size=20))
def test_error_function_of_any_single(values: list[float]) -> None:
    assert_erf(np.array(values, np.float32))


def test_error_function_is_odd_and_keeps_the_sign_of_zero() -> None:
    for dtype in ("float32", "float64"):
        x = np.linspace(0, 7, 1001).astype(dtype)
        np.testing.assert_array_equal(run("Erf", -x), -run("Erf", x))
        assert np.signbit(run("Erf", np.array([-0.0], dtype))).all()


def gelu(x: float) -> float:
    return -0.0 if x == -math.inf else x * math.erfc(-x / math.sqrt(2)) / 2


def tanh_gelu(x: float) -> float:
    """From x / (1 + exp(-2z)) = x · (1 + tanh(z)) / 2, which loses nothing where it is small."""
    z = math.sqrt(2 / math.pi) * x * (1 + 0.044715 * x * x) if abs(x) < 1e3 else x
    return x / (1 + math.exp(-2 * z)) if z > -300 else -0.0


def swish(x: float) -> float:
    return x / (1 + math.exp(-x)) if x > -700 else -0.0


def mish(x: float) -> float:
    return x * math.tanh(math.log1p(math.exp(x))) if abs(x) < 40 else max(x, 0.0)


def elu(x: float) -> float:
    return x if x > 0 else math.expm1(x)


def softsign(x: float) -> float:
    return x / (1 + abs(x)) if math.isfinite(x) else math.copysign(1, x)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


FORMS: list[tuple[str, dict[str, Any], Callable[[float], float]]] = [
    ("Sigmoid", {}, sigmoid),
    ("Elu", {}, elu),
    ("Selu", {}, lambda x: 1.050701 * (x if x > 0 else 1.6732632 * math.expm1(x))),
    ("Celu", {"alpha": 2.0}, lambda x: x if x > 0 else 2 * math.expm1(x / 2)),
    ("Gelu", {}, gelu),
    ("Gelu", {"approximate": "tanh"}, tanh_gelu),
    ("HardSigmoid", {}, lambda x: max(0.0, min(1.0, 0.2 * x + 0.5))),
    ("HardSwish", {}, lambda x: x if x >= 3 else 0.0 if x <= -3 else x * (x + 3) / 6),
    ("Mish", {}, mish),
    ("Swish", {}, swish),
    ("Swish", {"alpha": -1.0}, lambda x: -swish(-x)),
    ("Softsign", {}, softsign),
    ("ThresholdedRelu", {}, lambda x: x if x > 1 else 0.0),
    ("Shrink", {"lambd": 1.0, "bias": 0.5}, lambda x: x - math.copysign(0.5, x) if abs(x) > 1 else 0.0),
    ("Shrink", {"lambd": -1.0, "bias": 0.5}, lambda x: x + 0.5 if x < 1 else x - 0.5),
    ("LeakyRelu", {"alpha": 0.5}, lambda x: max(x, x / 2)),
    ("LeakyRelu", {"alpha": 0.0}, lambda x: max(x, 0.0)),
    ("LeakyRelu", {"alpha": 2.0}, lambda x: min(x, 2 * x)),
]
TOLERANCE = {"float16": 2e-3, "float32": 4e-7, "float64": 1e-14}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("operator", "attributes", "form"), FORMS, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_over_the_whole_range(
    operator: str, attributes: dict[str, Any], form: Callable[[float], float], dtype: str
) -> None:
    """From minus infinity to infinity; what is no number stays none."""
    if operator == "Celu" and dtype != "float32":
        return
    largest = float(np.finfo(dtype).max)
    ends = [-math.inf, -largest / 2, -1e4, -1e2, 0.0, 1e2, 1e4, largest / 2, math.inf]
    x = np.concatenate([np.linspace(-12, 12, 2001), ends]).astype(dtype)
    found, wanted = run(operator, x, **attributes), applied(form, x)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    assert np.isnan(run(operator, np.array([np.nan], dtype), **attributes)).all()


@pytest.mark.parametrize(
    ("operator", "attributes", "form"),
    [
        ("Sigmoid", {}, sigmoid),
        ("Swish", {}, swish),
        ("Mish", {}, mish),
        ("Gelu", {"approximate": "tanh"}, tanh_gelu),
        ("Elu", {}, elu),
        ("Softsign", {}, softsign),
    ],
)
def test_small_results_keep_their_relative_precision(
    operator: str, attributes: dict[str, Any], form: Callable[[float], float]
) -> None:
    """(1 + tanh(x / 2)) / 2, for one, is 0 in float32 from x = -17 down, where the sigmoid is 4e-8."""
    left = np.concatenate([np.linspace(-30, -1, 500), -np.geomspace(1e-30, 1, 100)])
    if operator == "Gelu":
        left = left[left > -5]
    for dtype, tolerance in (("float32", 1e-5), ("float64", 1e-13)):
        x = left.astype(dtype)
        np.testing.assert_allclose(run(operator, x, **attributes), applied(form, x), rtol=tolerance)


HUGE = np.array([-1e30, -1e15, -50, 50, 1e15, 1e30], np.float32)
SLOPES: list[tuple[str, dict[str, Any], tuple[float, float]]] = [
    ("Sigmoid", {}, (0, 0)),
    ("Tanh", {}, (0, 0)),
    ("Softplus", {}, (0, 1)),
    ("Elu", {}, (0, 1)),
    ("Celu", {}, (0, 1)),
    ("Gelu", {}, (0, 1)),
    ("Gelu", {"approximate": "tanh"}, (0, 1)),
    ("Erf", {}, (0, 0)),
    ("HardSigmoid", {}, (0, 0)),
    ("HardSwish", {}, (0, 1)),
    ("Mish", {}, (0, 1)),
    ("Swish", {}, (0, 1)),
    ("ThresholdedRelu", {}, (0, 1)),
    ("Shrink", {}, (1, 1)),
]


@pytest.mark.parametrize(("operator", "attributes", "wanted"), SLOPES, ids=str)
def test_slope_far_out(operator: str, attributes: dict[str, Any], wanted: tuple[float, float]) -> None:
    leaf, seed = Leaf("x", "float32", HUGE.shape), Leaf("seed", "float32", HUGE.shape)
    [slope] = gradients([emit(operator, leaf, **attributes)], [seed], [leaf])
    assert slope is not None
    [found] = run_plan(trace([leaf, seed], [slope]).graph, {"x": HUGE, "seed": np.ones_like(HUGE)})
    np.testing.assert_allclose(found, np.repeat(wanted, 3), atol=1e-12)


NEWER = [case for case in activation.CASES if not case.domain and lookup(case.operator).lowering]


def test_what_is_newer_than_opset_13() -> None:
    assert {case.operator for case in NEWER} == {"HardSwish", "Mish", "Gelu", "Swish"}


@pytest.mark.parametrize("case", NEWER, ids=str)
def test_lowering_is_the_same_in_operators_of_opset_13(case: Case) -> None:
    [leaf], [output] = case.build("float32")
    lowering = lookup(case.operator, case.domain).lowering
    assert lowering is not None
    graph = trace([leaf], [lowering(leaf, **case.attributes)]).graph
    for node in graph.nodes:
        assert defs.get_schema(node.operator, 13).since_version <= 13
    feeds = case.feeds("float32")
    for found in (run_plan(graph, feeds), run_runtime(graph, feeds)):
        np.testing.assert_allclose(found, run_plan(trace([leaf], [output]).graph, feeds), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bounds", [(), (-2,), (None, 3), (-2, 3), (3, -2)])
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16"])
def test_clip_of_every_type_of_number(dtype: str, bounds: tuple[int | None, ...]) -> None:
    if dtype.startswith("u"):
        bounds = tuple(None if bound is None else abs(bound) for bound in bounds)
    x = np.array([0, 1, 2, 3, 4, 100], dtype) - np.array(0 if dtype.startswith("u") else 2, dtype)
    leaves = [Leaf("x", dtype, x.shape), *(None if b is None else Leaf(f"b{b}", dtype, ()) for b in bounds)]
    graph = trace([leaf for leaf in leaves if leaf], [emit("Clip", *leaves)]).graph
    [found] = run_plan(graph, {"x": x} | {f"b{b}": np.array(b, dtype) for b in bounds if b is not None})
    low, high = (*bounds, None, None)[:2]
    wanted = [min(max(v, v if low is None else low), math.inf if high is None else high) for v in x.tolist()]
    np.testing.assert_array_equal(found, np.array(wanted, dtype), strict=True)
