"""The spellings in PyTorch and ONNX: word for word, and both run, to the same numbers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from portable_nn.cli.size.answer import torch_line
from portable_nn.core.errors import PortableNNError, UsageError
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, constant, emit, trace
from portable_nn.sizes import Operation, Window, conv, convt, node_operation, onnx_text, pool, torch_text

torch = pytest.importorskip("torch")

TEXTS = [
    (conv(5, stride=2, padding=2, axes=2),
     "torch.nn.Conv2d(1, 1, kernel_size=5, stride=2, padding=2)",
     "Conv(kernel_shape=[5, 5], strides=[2, 2], pads=[2, 2, 2, 2])"),
    (convt(2, stride=2, padding=1, axes=2),
     "torch.nn.ConvTranspose2d(1, 1, kernel_size=2, stride=2, padding=1)",
     "ConvTranspose(kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1])"),
    (conv((3, 5), stride=(1, 2), dilation=(2, 1)),
     "torch.nn.Conv2d(1, 1, kernel_size=(3, 5), stride=(1, 2), dilation=(2, 1))",
     "Conv(kernel_shape=[3, 5], strides=[1, 2], pads=[0, 0, 0, 0], dilations=[2, 1])"),
    (conv(3, padding=((0, 1), (2, 2))),
     "torch.nn.Sequential(torch.nn.ZeroPad2d((2, 2, 0, 1)), torch.nn.Conv2d(1, 1, kernel_size=3))",
     "Conv(kernel_shape=[3, 3], strides=[1, 1], pads=[0, 2, 1, 2])"),
    (conv(3, padding="same", axes=3),
     "torch.nn.Conv3d(1, 1, kernel_size=3, padding='same')",
     'Conv(kernel_shape=[3, 3, 3], strides=[1, 1, 1], auto_pad="SAME_UPPER")'),
    (conv(3, padding="valid"),
     "torch.nn.Conv1d(1, 1, kernel_size=3)", 'Conv(kernel_shape=[3], strides=[1], auto_pad="VALID")'),
    (convt(3, stride=2, padding=1, output_padding=1),
     "torch.nn.ConvTranspose1d(1, 1, kernel_size=3, stride=2, padding=1, output_padding=1)",
     "ConvTranspose(kernel_shape=[3], strides=[2], pads=[1, 1], output_padding=[1])"),
    (convt(3, stride=2, padding=((1, 0),)),
     "torch.nn.ConvTranspose1d(1, 1, kernel_size=3, stride=2, padding=1, output_padding=1)",
     "ConvTranspose(kernel_shape=[3], strides=[2], pads=[1, 0])"),
    (convt(3, stride=2, padding=((0, 1), (1, 2))),
     "torch.nn.Sequential(torch.nn.ConvTranspose2d(1, 1, kernel_size=3, stride=2, padding=(0, 1)), "
     "torch.nn.ZeroPad2d((0, -1, 0, -1)))",
     "ConvTranspose(kernel_shape=[3, 3], strides=[2, 2], pads=[0, 1, 1, 2])"),
    (pool(2), "torch.nn.MaxPool1d(kernel_size=2)", "MaxPool(kernel_shape=[2], strides=[2], pads=[0, 0])"),
    (pool(3, stride=2, padding=1, dilation=2, ceil=True, axes=2),
     "torch.nn.MaxPool2d(kernel_size=3, stride=2, padding=1, dilation=2, ceil_mode=True)",
     "MaxPool(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], dilations=[2, 2], ceil_mode=1)"),
    (pool(2, padding=((1, 0),)),
     'torch.nn.Sequential(torch.nn.ConstantPad1d((1, 0), float("-inf")), torch.nn.MaxPool1d(kernel_size=2))',
     "MaxPool(kernel_shape=[2], strides=[2], pads=[1, 0])"),
    (pool(3, stride=2, padding=1, mode="average", axes=2),
     "torch.nn.AvgPool2d(kernel_size=3, stride=2, padding=1, count_include_pad=False)",
     "AveragePool(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])"),
    (pool(3, padding=1, mode="average", count_include_pad=True),
     "torch.nn.AvgPool1d(kernel_size=3, padding=1)",
     "AveragePool(kernel_shape=[3], strides=[3], pads=[1, 1], count_include_pad=1)"),
    (pool(3, padding=((0, 1),), mode="average", count_include_pad=True),
     "torch.nn.Sequential(torch.nn.ZeroPad1d((0, 1)), torch.nn.AvgPool1d(kernel_size=3))",
     "AveragePool(kernel_shape=[3], strides=[3], pads=[0, 1], count_include_pad=1)"),
    (pool(2, mode="average", axes=3), "torch.nn.AvgPool3d(kernel_size=2)",
     "AveragePool(kernel_shape=[2, 2, 2], strides=[2, 2, 2], pads=[0, 0, 0, 0, 0, 0])"),
    (pool(3, stride=1, padding=1, mode="lp", axes=2),
     "torch.nn.Sequential(torch.nn.ZeroPad2d((1, 1, 1, 1)), torch.nn.LPPool2d(2, kernel_size=3, stride=1))",
     "LpPool(kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])"),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "in_torch", "in_onnx"), TEXTS)
def test_texts(operation: Operation, in_torch: str, in_onnx: str) -> None:
    assert torch_text(operation) == in_torch
    assert onnx_text(operation) == in_onnx


def test_channels_and_groups() -> None:
    operation = conv(3, groups=2, axes=2)
    assert torch_text(operation, 4, 6) == "torch.nn.Conv2d(4, 6, kernel_size=3, groups=2)"
    assert onnx_text(operation) == "Conv(kernel_shape=[3, 3], strides=[1, 1], pads=[0, 0, 0, 0], group=2)"


def parsed(text: str) -> tuple[str, dict[str, Any]]:
    """The operator and attributes of an ``onnx_text``."""
    op_type, _, attributes = text.partition("(")
    return op_type, eval(f"dict({attributes}")


def run_onnx(op_type: str, attributes: dict[str, Any], x: Any, weight: Any = None) -> Any:
    names = ["x"] if weight is None else ["x", "w"]
    arrays = dict(zip(names, (x, weight), strict=False))
    inputs = [helper.make_tensor_value_info(name, 1, array.shape) for name, array in arrays.items()]
    graph = helper.make_graph(
        [helper.make_node(op_type, names, ["y"], **attributes)],
        "one",
        inputs,
        [helper.make_tensor_value_info("y", 1, [None] * x.ndim)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    [found] = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, arrays)
    return found


def numbers(shape: Sequence[int]) -> Any:
    return np.random.default_rng(6).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("operation", [operation for operation, *_ in TEXTS], ids=onnx_text)
def test_both_spellings_compute_the_same(operation: Operation) -> None:
    x = numbers((2, 1, *range(9, 9 + operation.axes)))
    module = eval(torch_text(operation), {"torch": torch})
    weights = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    for bias in [parameter for parameter in module.parameters() if parameter.ndim == 1]:
        torch.nn.init.zeros_(bias)
    with torch.no_grad():
        theirs = module(torch.from_numpy(x)).numpy()
    op_type, attributes = parsed(onnx_text(operation))
    found = run_onnx(op_type, attributes, x, weights[0].detach().numpy() if weights else None)
    assert found.shape[2:] == operation.output_size(x.shape[2:])
    np.testing.assert_allclose(theirs, found, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("operation", [operation for operation, *_ in TEXTS], ids=onnx_text)
def test_node_that_is_read_back(operation: Operation) -> None:
    op_type, attributes = parsed(onnx_text(operation))
    assert node_operation(op_type, attributes, (9,) * operation.axes) == operation


def test_auto_pad_means_the_pads_that_onnxruntime_takes() -> None:
    """Sizes and values; of a transposed convolution too, but for rows that lack, which onnxruntime leaves out.

    With dilation it does not run a convolution, and takes none into account for a pool: that is a caution of its own.
    """
    rng = random.Random(7)
    for _ in range(150):
        kernel, stride = rng.randint(1, 5), rng.randint(1, 3)
        auto_pad: Any = rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"])
        # A pool that skips cells has nothing to pad, and onnxruntime fails on it.
        op_type = rng.choice(["Conv", "ConvTranspose", *(["MaxPool"] if kernel >= stride else [])])
        dilation = rng.choice([1, 2]) if op_type == "ConvTranspose" or auto_pad == "VALID" else 1
        attributes = {"kernel_shape": [kernel], "strides": [stride], "dilations": [dilation], "auto_pad": auto_pad}
        x, weight = numbers((1, 1, 11)), None if op_type == "MaxPool" else numbers((1, 1, kernel))
        operation = node_operation(op_type, attributes, 11)
        assert operation.auto_pad == auto_pad
        resolved = operation.resolved(11)
        if resolved.windows[0].output_padding:
            continue
        theirs = run_onnx(op_type, attributes, x, weight)
        assert theirs.shape[2:] == operation.output_size(11)
        found = run_onnx(*parsed(onnx_text(resolved)), x, weight)
        np.testing.assert_array_equal(found, theirs)


@pytest.mark.parametrize(("op_type", "output"), [("Conv", None), ("MaxPool", 9), ("AveragePool", 9), ("LpPool", 9)])
def test_onnxruntime_takes_no_dilation_with_auto_pad(op_type: str, output: int | None) -> None:
    """What ``cautions`` says of it."""
    attributes = {"kernel_shape": [3], "dilations": [2], "auto_pad": "SAME_UPPER"}
    if output is None:
        with pytest.raises(Exception, match="Dilation not supported for AutoPadType"):
            run_onnx(op_type, attributes, numbers((1, 1, 11)), numbers((1, 1, 3)))
    else:
        assert run_onnx(op_type, attributes, numbers((1, 1, 11))).shape == (1, 1, output)


def test_output_shape_means_the_pads_that_onnxruntime_takes() -> None:
    x, weight = numbers((1, 1, 5)), numbers((1, 1, 4))
    for wanted in range(6, 14):
        for auto_pad in ("NOTSET", "SAME_UPPER", "SAME_LOWER"):
            attributes = {"strides": [2], "output_shape": [wanted], "auto_pad": auto_pad}
            operation = node_operation("ConvTranspose", attributes, 5, (4,))
            assert operation.output_size(5) == (wanted,)
            assert operation.auto_pad == "NOTSET"
            theirs = run_onnx("ConvTranspose", attributes, x, weight)
            np.testing.assert_array_equal(run_onnx(*parsed(onnx_text(operation)), x, weight), theirs)


def test_output_shape_with_batch_and_channels() -> None:
    attributes = {"strides": (2, 2), "output_shape": (1, 8, 10, 9)}
    found = node_operation("ConvTranspose", attributes, (5, 5), (2, 2)).output_size((5, 5))
    assert found == (10, 9)


def test_attributes_that_are_absent() -> None:
    assert node_operation("Conv", {}, (9, 9), (3, 5)) == conv((3, 5))
    assert node_operation("ConvInteger", {}, (9, 9), (3, 5), ("conv", "max")) == conv((3, 5))
    assert node_operation("MaxPool", {"kernel_shape": (2,)}, 9) == pool(2, stride=1)
    assert node_operation("Conv", {"group": 3}, 9, (3,)).groups == 3


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({}, "Conv needs the attribute 'kernel_shape', or the shape of its weight"),
        ({"kernel_shape": (3, 3), "pads": (1, 1)}, "pads must have 4 numbers for 2 axes, not 2"),
        ({"kernel_shape": (3,)}, "kernel must be one number or 2, one for each axis, not 1: (3,)"),
        ({"kernel_shape": (3, 3), "strides": (1, 0)}, "stride must be at least 1, not 0"),
        (
            {"kernel_shape": (3, 3), "auto_pad": "SAME"},
            "auto_pad must be one of NOTSET, SAME_UPPER, SAME_LOWER, VALID, not 'SAME'",
        ),
    ],
)
def test_node_that_makes_no_sense(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        node_operation("Conv", attributes, (9, 9))
    assert str(caught.value) == message


TORCH_LACKS = [
    (conv(3, axes=4), "PyTorch has layers of 1 to 3 spatial axes, not 4"),
    (conv(3, stride=2, padding="same"),
     "PyTorch has no auto_pad SAME_UPPER: resolve it for an input size first"),
    (conv(3, auto_pad="SAME_LOWER"), "PyTorch has no auto_pad SAME_LOWER: resolve it for an input size first"),
    (pool(3, padding="same"), "PyTorch has no auto_pad SAME_UPPER: resolve it for an input size first"),
    (pool(3, dilation=2, mode="average"), "PyTorch's AvgPool has no dilation"),
    (pool(3, dilation=2, mode="lp"), "PyTorch's LPPool has no dilation"),
    (pool(3, padding=((0, 1),), ceil=True),
     "PyTorch has no ceil_mode with asymmetric pads, or pads of more than half the kernel"),
    (pool(3, padding=((0, 1),), mode="average"),
     "PyTorch has no average pool that excludes asymmetric pads, or pads of more than half the kernel"),
    (Operation("convt", (Window(3, 2, output_padding=2),)),
     "PyTorch has no output_padding of 2: it must be smaller than stride or dilation"),
    (conv(3, groups=2), "groups must divide in_channels: 1 channels make no 2 equal groups"),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "message"), TORCH_LACKS, ids=[message for _, message in TORCH_LACKS])
def test_what_pytorch_lacks(operation: Operation, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        torch_text(operation)
    assert str(caught.value) == message


AUTO_PADS: list[Any] = ["SAME_UPPER", "SAME_LOWER", "VALID"]


def drawn(rng: random.Random) -> tuple[Operation, list[int]] | None:
    """A random operation and the sizes of its input; ``None`` where they do not fit."""
    axes = rng.randint(1, 3)
    sizes = [rng.randint(1, 8) for _ in range(axes)]

    def each(low: int, high: int) -> Any:
        return tuple(rng.randint(low, high) for _ in range(axes))

    pairs = tuple((rng.randint(0, 3), rng.randint(0, 3)) for _ in range(axes))
    options: dict[str, Any] = {
        "stride": each(1, 3),
        "dilation": each(1, 3) if rng.random() < 0.4 else 1,
        "padding": rng.choice([0, rng.randint(0, 2), pairs, "same"]),
        "axes": axes,
    }
    kind = rng.choice([conv, convt, pool])
    if kind is pool:
        mode = rng.choice(["max", "average", "lp"])
        options |= {"mode": mode, "ceil": rng.random() < 0.5}
        options |= {"count_include_pad": rng.random() < 0.5} if mode == "average" else {}
    if kind is convt:
        options["output_padding"] = each(0, 2)
    if options["padding"] == 0 and rng.random() < 0.5:
        options["auto_pad"] = rng.choice(AUTO_PADS)
    try:
        operation = kind(each(1, 4), **options)
        operation.output_size(sizes)
    except PortableNNError:
        return None
    return operation, sizes


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("count", [300, pytest.param(8000, marks=pytest.mark.long)])
def test_every_line_for_pytorch_runs_and_computes_the_same(count: int) -> None:
    """Of an input of positive numbers: PyTorch's powers have signs."""
    rng, with_line = random.Random(count), 0
    while with_line < count:
        found = drawn(rng)
        if found is None or (line := torch_line(found[0], found[1], (1, 1))) is None:
            continue
        with_line += 1
        operation, sizes = found
        x = np.abs(numbers((1, 1, *sizes))).astype(np.float64) + 0.1
        module = eval(line, {"torch": torch}).double()
        with torch.no_grad():
            theirs = module(torch.from_numpy(x)).numpy()
        assert theirs.shape[2:] == operation.output_size(sizes), line
        weights = [value.detach().numpy() for value in module.parameters()]
        inputs = [constant(value, "float64") for value in weights]
        op_type, attributes = parsed(onnx_text(operation.resolved(sizes)))
        leaf = Leaf("x", "float64", x.shape)
        graph = trace([leaf], [emit(op_type, leaf, *inputs, **attributes)]).graph
        plan = Plan(graph, {"x": x.shape}, {})
        plan.inputs["x"][...] = x
        plan.run()
        np.testing.assert_allclose(plan.outputs[graph.outputs[0]], theirs, rtol=1e-9, atol=1e-12, err_msg=line)
