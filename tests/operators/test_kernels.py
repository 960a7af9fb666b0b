"""Kernels against onnxruntime, or onnx's reference where onnxruntime has no kernel for the type."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from cases import CASES, Case
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel
from standard_side import LACKING, lowered, run_plan, run_reference, run_runtime

from portable_nn.core.errors import GraphError
from portable_nn.core.graph import Graph
from portable_nn.operators import infer, lookup, trace
from portable_nn.operators.registry import Array, DataDependentShape
from portable_nn.operators.spatial import pool_windows

TOLERANCE = {"float16": 4e-3, "float32": 2e-6, "float64": 1e-7}
"""ONNX stores attributes such as ``alpha`` as float32 in a float64 node too, where onnxruntime rounds them so."""


def graph_of(case: Case, dtype: str, batch: str | None = None) -> Graph:
    leaves, outputs = case.build(dtype, batch)
    return trace(leaves, outputs).graph


def run_standard(graph: Graph, feeds: Mapping[str, Array]) -> list[Array]:
    node = graph.nodes[-1]
    if node.operator == "ConvInteger":  # onnxruntime has one zero point for all filters, and onnx's reference as well.
        x, w, *points = feeds.values()
        x_point, w_point = [*points, *np.zeros((2, 1))][:2]
        floats = (x - x_point.astype(float), w - w_point.astype(float).reshape(-1, *[1] * (w.ndim - 1)))
        case = Case("Conv", floats, node.attributes)
        return [each.astype("int32") for each in run_runtime(graph_of(case, "float32"), case.feeds("float32"))]
    try:
        return run_runtime(graph, feeds)
    except NoKernel:
        if node.operator == "Mean":
            # onnx's reference adds in place, and fails where the first input is not the largest.
            return [np.mean(np.broadcast_arrays(*feeds.values()), axis=0)]
        if node.operator == "GlobalLpPool":
            # onnxruntime has an older version of it only, onnx's reference none.
            p = int(str(node.attributes.get("p", 2)))
            return [(abs(x) ** p).sum(tuple(range(2, x.ndim)), keepdims=True) ** (1 / p) for x in feeds.values()]
        return run_reference(graph, feeds)


WRONG_REFERENCE = {"ConvTranspose", "GlobalMaxPool", "MeanVarianceNormalization"}
"""What onnxruntime has for float32 only, and onnx's reference gets wrong where there are groups, or not two axes, or
where what the standard says of it in other operators is of another type."""


UNWRITTEN = frozenset({"GRU", "LSTM", "RNN"})
"""What onnxruntime has for float32 alone, and for sequences whose steps are the first axis."""


def is_unwritten(case: Case, dtype: str) -> bool:
    return case.operator in UNWRITTEN and (dtype == "float64" or bool(case.attributes.get("layout")))


def assert_same(found: list[Array], wanted: list[Array], dtype: str) -> None:
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        scale = np.abs(theirs[np.isfinite(theirs)], dtype=np.float64).max(initial=1) if theirs.dtype.kind == "f" else 1
        np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)


@pytest.mark.quick("Conv", "Gemm", "Softmax", "LSTM", "Slice", "MaxPool", "LayerNormalization", "Where")
@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(case, dtype, id=f"{case}-{dtype}", marks=[pytest.mark.long] if dtype == "float64" else [])
        for case in CASES
        for dtype in ("float32", "float64")
        if case.exists_in(dtype)
    ],
)
def test_kernel_equals_the_standard(case: Case, dtype: str) -> None:
    graph, feeds = graph_of(case, dtype), case.feeds(dtype)
    if case.operator in WRONG_REFERENCE and dtype == "float64":
        single = run_standard(graph_of(case, "float32"), case.feeds("float32"))
        assert_same(run_plan(graph, feeds), [array.astype(dtype) for array in single], "float32")
        return
    standard = lowered(graph, also=UNWRITTEN if is_unwritten(case, dtype) else LACKING)
    # The standard has the statistics of groups computed in float32, whatever the type of what comes in and goes out.
    tolerance = "float32" if case.operator == "GroupNormalization" else dtype
    assert_same(run_plan(graph, feeds), run_standard(standard, feeds), tolerance)


@pytest.mark.quick("Attention", "Trilu", "Gelu", "LayerNormalization", "GridSample")
@pytest.mark.parametrize(
    "case", [case for case in CASES if not case.domain and lookup(case.operator).lowering is not None], ids=str
)
def test_what_is_said_in_other_operators_equals_the_kernel(case: Case) -> None:
    graph, feeds = graph_of(case, "float32"), case.feeds("float32")
    try:
        said = lowered(graph, also={case.operator})
    except (GraphError, DataDependentShape):  # What it needs is said.
        if case.operator not in {"CenterCropPad", "Col2Im", "DFT", "Loop", "RoiAlign"}:
            raise
        return
    assert_same(run_plan(said, feeds), run_plan(graph, feeds), "float32")


@pytest.mark.quick("MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool")
@pytest.mark.parametrize("case", [case for case in CASES if case.operator.endswith("Pool")], ids=str)
def test_a_long_window_equals_the_standard(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a step for each of its places, and not for each of its cells; here all windows are long."""
    monkeypatch.setattr(pool_windows, "LONG", 0)
    graph, feeds = graph_of(case, "float32"), case.feeds("float32")
    assert_same(run_plan(graph, feeds), run_standard(lowered(graph, also=LACKING), feeds), "float32")


@pytest.mark.quick("Conv", "Gemm", "Softmax", "LSTM", "Slice", "MaxPool", "LayerNormalization", "Where")
@pytest.mark.parametrize("case", [case for case in CASES if case.batched], ids=str)
def test_batch_may_be_unknown_until_the_plan_is_made(case: Case) -> None:
    known, unknown = graph_of(case, "float32"), graph_of(case, "float32", "batch")
    feeds = case.feeds("float32")
    types = infer(unknown).types
    sizes = {x.shape[0] for i, x in enumerate(case.inputs) if x is not None and i in case.batched}
    [size] = sizes
    for name, at_once in zip(unknown.outputs, known.outputs, strict=True):
        bound = tuple(eval(str(dim), {"batch": size}) for dim in types[name].shape)
        assert bound == infer(known).types[at_once].shape
    assert_same(run_plan(unknown, feeds), run_plan(known, feeds), "float64")


FLOAT16 = {
    "Add", "Sub", "Mul", "Div", "Neg", "Abs", "Exp", "Log", "Sqrt", "Relu", "Sigmoid", "Tanh", "Softplus", "LeakyRelu",
    "Sum", "Mean", "Max", "Min", "Pow", "Where", "Gemm", "MatMul", "Softmax", "LogSoftmax", "ReduceSum", "ReduceMean",
    "Erf", "Gelu", "Swish", "Mish", "Softsign", "Elu", "Selu", "HardSigmoid", "HardSwish", "ThresholdedRelu", "PRelu",
    "Clip", "Shrink", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Sinh", "Tan", "CumSum", "Trilu",
    "Tile", "MeanVarianceNormalization", "GatherND", "ScatterND", "Col2Im", "Det",
}  # fmt: skip


@pytest.mark.quick("Gemm", "Softmax", "Tanh", "Where", "ReduceMean", "Gelu", "CumSum", "ScatterND")
@pytest.mark.parametrize("case", [case for case in CASES if case.operator in FLOAT16 and case.wrt], ids=str)
def test_kernel_in_half_precision(case: Case) -> None:
    exact = run_plan(graph_of(case, "float64"), {n: x.astype("float16") for n, x in case.feeds("float64").items()})
    found = run_plan(graph_of(case, "float16"), case.feeds("float16"))
    for half, double in zip(found, exact, strict=True):
        assert half.dtype == np.float16
        np.testing.assert_allclose(half, double, rtol=8e-3, atol=8e-3)


OF_NOTHING = {
    "ReduceProd": 1, "ReduceMax": -np.inf, "ReduceMin": np.inf, "ReduceLogSum": -np.inf, "ReduceLogSumExp": -np.inf,
    "ReduceMean": np.nan, "SoftmaxCrossEntropyLoss mean": np.nan, "NegativeLogLikelihoodLoss mean": np.nan,
}  # fmt: skip
"""What a reduction over no elements gives, where it is not 0."""


def may_be_empty(case: Case) -> bool:
    """Not where a size of -1 would be 0 / 0, nor where a position in the batch or its variance is asked for."""
    if case.attributes.get("training_mode"):
        return False
    shape = case.inputs[1].tolist() if case.operator == "Reshape" and case.inputs[1] is not None else []
    return bool(case.batched) and case.operator not in {"ArgMax", "ArgMin"} and not (0 in shape and -1 in shape)


@pytest.mark.quick("Conv", "Gemm", "Softmax", "LSTM", "Slice", "MaxPool", "LayerNormalization", "Where")
@pytest.mark.parametrize("case", [case for case in CASES if may_be_empty(case)], ids=str)
def test_kernel_of_an_empty_batch(case: Case) -> None:
    feeds = {
        name: array[:0] if int(name[1:]) in case.batched else array for name, array in case.feeds("float32").items()
    }
    name = f"{case.operator} {case.attributes.get('reduction', '')}".strip()
    for found in run_plan(graph_of(case, "float32", "batch"), feeds):
        np.testing.assert_array_equal(found, np.full(found.shape, OF_NOTHING.get(name, 0)))
