"""What onnxruntime cannot run, or computes wrongly, is written in other operators, at every opset."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from cases import CASES
from cases.case import Case
from onnx import helper, numpy_helper

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx
from portable_nn.core.errors import GraphError, UsageError
from portable_nn.core.graph import OPSET
from portable_nn.layers import Layer
from portable_nn.onnx.opsets.translation import OLDEST_WRITTEN
from portable_nn.onnx.session import Session
from portable_nn.onnx.writing import to_bytes, to_model
from portable_nn.operators import Leaf, emit_all, trace

torch = pytest.importorskip("torch")
nn: Any = torch.nn

Row = tuple[Layer, Any, tuple[int, ...]]
"""A layer, a function of PyTorch that computes the same, and the shape of an example."""

OPSETS = (OLDEST_WRITTEN, 17, 22, OPSET)


def _transposed() -> Iterator[Row]:
    """Transposed convolutions whose output_padding is less than the dilation and not less than the stride."""
    for axes, (stride, dilation, more, padding) in itertools.product(
        (1, 2, 3), ((1, 2, 1, 0), (1, 3, 2, 1), (2, 3, 2, 0), (2, 3, 2, 3), (1, 3, 1, 2))
    ):
        options = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": more}
        bias = padding != 1
        layer = getattr(pnn, f"ConvTranspose{axes}d")(4, 3, groups=2, bias=bias, **options)
        theirs = getattr(nn, f"ConvTranspose{axes}d")(2, 4, 3, groups=2, bias=bias, **options)
        yield layer, theirs, (2, *(4, 3, 5)[:axes])


def _pools() -> Iterator[Row]:
    for axes in (1, 2, 3):
        sizes = (7, 8, 10)[:axes]
        for kernel, stride, padding in ((2, 3, 0), (3, 2, 1), (3, 4, 1)):
            options = {"stride": stride, "padding": padding, "ceil_mode": True}
            average, largest = (getattr(pnn, f"{name}Pool{axes}d") for name in ("Avg", "Max"))
            yield average(kernel, **options), getattr(nn, f"AvgPool{axes}d")(kernel, **options), (2, *sizes)
            theirs = getattr(nn, f"MaxPool{axes}d")(kernel, dilation=2, **options)
            yield largest(kernel, dilation=2, **options), theirs, (2, *sizes)


def _norms() -> Iterator[Row]:
    for axes, affine in itertools.product((1, 2, 3), (False, True)):
        shape, options = (3, *(4, 5, 6)[:axes]), {"affine": affine, "track_running_stats": False}
        yield getattr(pnn, f"BatchNorm{axes}d")(**options), getattr(nn, f"BatchNorm{axes}d")(3, **options), shape
    for size, rank in itertools.product((3, 4), (2, 3, 4, 5)):
        options = {"alpha": 0.5, "beta": 0.6, "k": 1.5}
        if rank > 2:  # PyTorch has no other.
            yield (
                pnn.LocalResponseNorm(size, **options),
                nn.LocalResponseNorm(size, **options),
                (6, 3, 2, 4)[: rank - 1],
            )


def _others() -> Iterator[Row]:
    yield pnn.SiLU(), nn.SiLU(), (5,)
    for p in (1, 2, 3):
        yield pnn.GlobalLPPool(p), lambda x, p=p: torch.linalg.vector_norm(x, p, (2, 3), keepdim=True), (2, 3, 4)


ROWS = [*_transposed(), *_pools(), *_norms(), *_others()]


def name_of(row: Any) -> str:
    return row[0].stem if isinstance(row, tuple) else str(row)


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_it_is_pytorchs_in_every_file(row: Row, tmp_path: Any) -> None:
    layer, theirs, shape = row
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    net = pnn.Network(inputs=(start := pnn.Input(*shape)), outputs=layer(start), seed=0)
    for name, parameter in getattr(theirs, "named_parameters", list)():
        [ours] = [each for each in net.parameters if each.endswith(name)]
        parameter.data = torch.from_numpy(np.array(net.parameters[ours]))
    wanted = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(net.predict(x), wanted, rtol=1e-5, atol=2e-6)
    for opset in OPSETS:
        export_onnx(net, tmp_path / "it.onnx", opset=opset)
        [found] = Session(to_bytes(onnx.load(tmp_path / "it.onnx"))).run({"input": x}).values()
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_maximum_of_dilated_windows_may_be_padded_by_the_kernel_and_more(axes: int, kernel: int) -> None:
    """PyTorch has no such padding: there the input is padded before."""
    sizes = (7, 8, 10)[:axes]
    net = pnn.Sequential(
        pnn.Input(2, *sizes), getattr(pnn, f"MaxPool{axes}d")(kernel, stride=1, dilation=3, padding="same")
    )
    x = np.random.default_rng(0).normal(size=(2, 2, *sizes)).astype(np.float32)
    whole = 3 * (kernel - 1)
    padded = nn.functional.pad(torch.from_numpy(x), [whole // 2, whole - whole // 2] * axes, value=-torch.inf)
    wanted = getattr(nn, f"MaxPool{axes}d")(kernel, 1, dilation=3)(padded).numpy()
    for engine in ("numpy", "onnxruntime"):
        np.testing.assert_array_equal(net.predict(x, engine=engine), wanted)


def test_without_statistics_one_value_in_each_channel_gives_the_bias_and_trains_nothing() -> None:
    """By the definition: x - mean is 0. PyTorch refuses both."""
    net = pnn.Sequential(pnn.Input(3), pnn.BatchNorm1d(track_running_stats=False, name="norm"), pnn.Dense(2), seed=0)
    net.parameters["norm.bias"][:] = [1, 2, 3]
    x = np.ones((1, 3), np.float32)
    for engine in ("numpy", "onnxruntime"):
        found = net.predict(x, engine=engine)
        np.testing.assert_allclose(found, [net.parameters["dense_1.weight"] @ [1, 2, 3]], rtol=1e-6)
    with pytest.raises(GraphError, match="needs two values or more of each channel"):
        net.fit(x, np.zeros((1, 2), np.float32), loss="mean_squared_error", epochs=1)


def test_equal_constants_beside_it_stay_what_they_are() -> None:
    """onnxruntime shares equal constants, and its BatchNormalization in training mode would write into them."""
    net = pnn.Sequential(
        pnn.Input(3, 4, 4),
        pnn.BatchNorm2d(affine=False, track_running_stats=False),
        pnn.BatchNorm2d(affine=False, track_running_stats=False),
    )
    x = np.random.default_rng(0).normal(3, 2, size=(4, 3, 4, 4)).astype(np.float32)
    wanted = nn.BatchNorm2d(3, affine=False, track_running_stats=False)(torch.from_numpy(x))
    for _ in range(3):
        found = net.predict(x, engine="onnxruntime")
        np.testing.assert_allclose(found, wanted.numpy(), atol=2e-5)


@pytest.mark.parametrize("outputs", [1, 3])
def test_running_statistics_that_are_read_are_written_too(outputs: int) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(4, 3, 5)), *(rng.uniform(0.5, 2, 3) for _ in range(4))]
    leaves = [Leaf(f"x{i}", "float32", each.shape) for i, each in enumerate(arrays)]
    made = emit_all("BatchNormalization", *leaves, outputs=3, training_mode=1, momentum=0.8, name="node")
    model = to_model(trace(leaves, made[:outputs]).graph, {})
    assert {node.op_type for node in model.graph.node} == {
        "Add", "Constant", "Div", "Mul", "ReduceMean", "Sqrt", "Sub", "Unsqueeze", *["Squeeze"] * (outputs > 1)
    }  # fmt: skip
    x, scale, bias, mean, variance = (torch.from_numpy(each.astype(np.float32)) for each in arrays)
    y = nn.functional.batch_norm(x, mean.clone(), variance.clone(), scale, bias, training=True)
    by_channel = x.transpose(0, 1).reshape(3, -1)
    moved = [0.8 * mean + 0.2 * by_channel.mean(1), 0.8 * variance + 0.2 * by_channel.var(1, correction=0)]
    feeds = {f"x{i}": each.astype(np.float32) for i, each in enumerate(arrays)}
    found = Session(to_bytes(model)).run(feeds).values()
    for mine, other in zip(found, [y, *moved][:outputs], strict=True):
        np.testing.assert_allclose(mine, other.numpy(), rtol=1e-5, atol=1e-6)


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def _with_one_output(model: onnx.ModelProto, constants: Sequence[str], feeds: dict[str, Any]) -> onnx.ModelProto:
    """The model with a copy of its first output, and copies of ``constants``, which become initializers."""
    first = model.graph.output[0].name
    del model.graph.output[:]
    inputs = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for name in (first, *constants):
        model.graph.node.append(helper.make_node("Identity", [name], [f"{name}/kept"]))
        model.graph.output.append(onnx.ValueInfoProto(name=f"{name}/kept"))
    model.graph.initializer.extend(numpy_helper.from_array(feeds[name], name) for name in constants)
    return model


LACKING = {("Gemm", "int64"), ("Gemm", "int32"), ("PRelu", "int32"), ("RoiAlign", "float32")}
"""What onnxruntime 1.32 has no kernel for, at some opset or at all."""


def overwritten(case: Case, opset: int, build: Callable[..., onnx.ModelProto]) -> set[str]:
    """The inputs that a node has changed in onnxruntime: arrays that were fed, and initializers."""
    feeds = case.feeds("float32")
    found = set[str]()
    for constants in ([], list(feeds)):
        session = _session(_with_one_output(build(case, opset), constants, feeds))
        given = {name: array.copy() for name, array in feeds.items() if name not in constants}
        for _ in range(2):
            values = dict(zip([output.name for output in session.get_outputs()], session.run(None, given), strict=True))
        kept = {**given, **{name: values[f"{name}/kept"] for name in constants}}
        found |= {name for name, array in feeds.items() if kept[name].tobytes() != array.tobytes()}
    return found


def _written(case: Case, opset: int) -> onnx.ModelProto:
    return to_model(trace(*case.build("float32")).graph, {}, opset=opset)


def _as_it_is(case: Case, opset: int) -> onnx.ModelProto:
    """A BatchNormalization in training mode as no file of ours has it."""
    names = list(case.feeds("float32"))
    node = helper.make_node(case.operator, names, ["y", "mean", "variance"], **case.attributes)
    entries = [helper.make_tensor_value_info(k, 1, v.shape) for k, v in case.feeds("float32").items()]
    graph = helper.make_graph([node], "it", entries, [onnx.ValueInfoProto(name="y")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


TRAINING = [case for case in CASES if case.operator == "BatchNormalization" and case.attributes.get("training_mode")]


def test_this_finds_what_onnxruntime_overwrites() -> None:
    assert overwritten(TRAINING[0], 17, _as_it_is) == {"x3", "x4"}
    assert overwritten(TRAINING[0], 17, _written) == set()


@pytest.mark.long
@pytest.mark.parametrize("opset", [17, OPSET])
def test_nothing_that_is_written_overwrites_what_it_reads(opset: int) -> None:
    """Every case of every operator of the standard, with its inputs fed, and as initializers."""
    count = 0
    for case in CASES:
        types = {array.dtype.name for array in case.feeds("float32").values()}
        if case.domain or any((case.operator, each) in LACKING for each in types):
            continue
        try:
            _written(case, opset)
        except UsageError:  # The opset lacks it.
            continue
        count += 1
        assert overwritten(case, opset, _written) == set(), case
    assert count > 1000
