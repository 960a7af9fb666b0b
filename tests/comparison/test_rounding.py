"""Bounds of rounding errors: never below what engines are off by, and close where the error has a closed form."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

import numpy as np
import pytest
from cases import CASES
from cases.case import Case
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from portable_nn.core.errors import PortableNNError
from portable_nn.core.graph import Graph, Node, Value
from portable_nn.engines.once import run_numpy
from portable_nn.onnx.session import Session
from portable_nn.onnx.verification.rounding import Unbounded, bounds, explained
from portable_nn.onnx.writing import to_bytes, to_model
from portable_nn.operators import REGISTRY, trace
from portable_nn.operators.rounding import ROUNDING

U = 2.0**-24
"""The unit of rounding of float32."""

UNBOUNDED = {
    "Det", "If", "Loop", "Scan", "NonMaxSuppression", "SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss",
    "BatchNormalization", "Resize", "RoiAlign",
}  # fmt: skip
"""Operators of which no bound is known, in some of their uses."""

SCALES = (1.0, -0.03, 700.0)


@cache
def cases_of() -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in CASES:
        found.setdefault(case.operator, []).append(case)
    return found


def within(case: Case, scale: float) -> int:
    """Compare both engines with the bounds of a case on scaled inputs, and return the number of their outputs."""
    leaves, outputs = case.build("float32")
    graph, feeds = trace(leaves, outputs).graph, case.feeds("float32")
    free = {f"x{place}" for place in case.wrt}
    feeds = {name: array * np.float32(scale) if name in free else array for name, array in feeds.items()}
    try:
        with np.errstate(all="ignore"):
            limits = bounds(graph, {}, feeds)
            sides = [run_numpy(graph, {}, feeds)]
    except (Unbounded, KeyError):
        assert case.operator in UNBOUNDED
        return 0
    except PortableNNError:  # Scaled, an input is out of its range.
        assert scale != 1
        return 0
    with suppress(PortableNNError):  # onnxruntime does not have every use.
        sides.append(Session(to_bytes(to_model(graph, {})), threads=1).run(feeds))
    for side in sides:
        for name, array in side.items():
            if array.dtype.kind == "f":
                with np.errstate(all="ignore"):
                    apart = np.abs(array.astype(np.float64) - limits[name].value)
                known = np.isfinite(array) & np.isfinite(limits[name].value)
                assert (apart <= limits[name].errors[0])[known].all(), (str(case), name)
                assert (limits[name].errors[1] <= limits[name].errors[0]).all()
    return len(sides) * len(outputs)


@pytest.mark.quick("MatMul", "Conv", "Softmax", "Gelu", "ReduceMean")
@pytest.mark.parametrize("operator", sorted(name for domain, name in REGISTRY if not domain and name in cases_of()))
def test_no_engine_is_off_by_more_than_the_guaranteed_bound(operator: str) -> None:
    """In all there are some 5,000 nodes in each engine; the reference is float64."""
    found = [within(case, scale) for case in cases_of()[operator] for scale in SCALES]
    assert any(found) or operator in UNBOUNDED


FUNCTIONS = sorted(
    name
    for name, each in ROUNDING.items()
    if each.kind == "function" and name not in {"Cast", "CastLike", "PRelu", "Mod", "Pow", "Celu"}
)


@pytest.mark.quick("Exp", "Tanh", "Sigmoid", "Erf", "Gelu", "Log", "Softplus", "Swish")
@pytest.mark.parametrize("operator", FUNCTIONS)
def test_functions_are_off_by_no_more_than_was_measured(operator: str) -> None:
    """Over all exponents of float32, with 29 numbers in each; the reference is float64."""
    x = np.outer(np.exp2(np.arange(-126, 128.0)), 1 + np.arange(29) / 29).ravel()
    x = np.concatenate([x, -x, [0]]).astype(np.float32)
    graph = Graph((Value("x", "float32", x.shape),), ("y",), (), (Node("n", operator, ("x",), ("y",)),))
    with np.errstate(all="ignore"):
        limit = bounds(graph, {}, {"x": x})["y"]
        sides = [run_numpy(graph, {}, {"x": x})["y"]]
    with suppress(PortableNNError):
        sides.append(Session(to_bytes(to_model(graph, {}, opset=24, portable=False)), threads=1).run({"x": x})["y"])
    for side in sides:
        known = np.isfinite(side) & (np.abs(limit.value) < 3e38)
        with np.errstate(all="ignore"):
            assert (np.abs(side - limit.value) <= limit.errors[0])[known].all()
        assert known.sum() >= np.isfinite(limit.value).sum() / 2 or operator in {"Sinh", "Cosh", "Exp"}


def test_equal_terms_are_explained_and_a_fault_is_not() -> None:
    """Roundings of equal terms in a row add up; float16, which kernels sum in float32, is not explained at all."""
    x, w = np.full((1, 3000), 0.1, np.float32), np.full((3000, 1), 0.7, np.float32)
    graph = Graph(
        (Value("x", "float32", x.shape), Value("w", "float32", w.shape)),
        ("y",), (), (Node("n", "MatMul", ("x", "w"), ("y",)),),
    )  # fmt: skip
    in_a_row = np.cumsum((x[0] * w[:, 0]).astype(np.float32), dtype=np.float32)[-1]
    exact = x[0].astype(np.float64) @ w[:, 0].astype(np.float64)
    bound = explained(graph, {}, {"x": x, "w": w}, "y")
    assert bound is not None
    assert 1e-4 < abs(in_a_row - exact) < bound.item() < 1e-4 * exact
    half = Graph((Value("x", "float16", (1, 9)), Value("w", "float16", (9, 1))), ("y",), (), graph.nodes)
    assert explained(half, {}, {"x": x[:, :9].astype("f2"), "w": w[:9].astype("f2")}, "y") is None


def _limits(operator: str, **feeds: np.ndarray) -> np.ndarray:
    values = tuple(Value(name, array.dtype.name, array.shape) for name, array in feeds.items())
    graph = Graph(values, ("y",), (), (Node("n", operator, tuple(feeds), ("y",)),))
    return np.asarray(bounds(graph, {}, feeds)["y"].errors)


@given(arrays(np.float32, (3, 40), elements=st.floats(-1e3, 1e3, width=32)))
def test_of_a_product_it_is_the_closed_form(a: np.ndarray) -> None:
    """γ(n + 2)·|A||B|, and λ√n in the place of n where that is less (λ = 6); 2 for what is added."""
    b = np.linspace(-2, 2, 80, dtype=np.float32).reshape(40, 2)
    size = np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64))
    counts = np.array([42, 6 * np.sqrt(42)]) * U
    expected = (counts / (1 - counts))[:, None, None] * size
    np.testing.assert_allclose(_limits("MatMul", a=a, b=b), expected, rtol=1e-6, atol=1e-35)


def test_what_moves_elements_has_no_error() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    assert not _limits("Transpose", x=x).any()
    assert not _limits("Relu", x=x).any()


def test_of_signed_data_it_is_far_above_what_is_seen() -> None:
    """Some 30 times at n = 64, which is why there is a likely one beside it."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=shape).astype(np.float32) for shape in ((50, 4096), (4096, 20)))
    seen = np.abs((a @ b).astype(np.float64) - a.astype(np.float64) @ b).max()
    guaranteed, likely = (errors.max() for errors in _limits("MatMul", a=a, b=b))
    assert guaranteed > 300 * seen
    assert 10 * seen < likely < guaranteed / 8
