"""Every row of the table of risks: when it applies, when it does not, and that onnxruntime does what is said of it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from foreign import FLOAT
from onnx import helper, numpy_helper

import portable_nn as pnn
from portable_nn.analysis.portability import RISKS
from portable_nn.operators import REGISTRY
from portable_nn.outputs.reports import check, known_limits

SCALES = np.array([1, 1, 2, 2], np.float32)


def model(operator, shape=(1, 2, 8, 8), *weights, opset=18, outputs="y", dtype=FLOAT, **attributes):
    """One node, which reads ``x`` and the weights; one that is None is left out."""
    names = ["x", *("" if weight is None else f"w{place}" for place, weight in enumerate(weights))]
    stored = [(name, weight) for name, weight in zip(names[1:], weights, strict=True) if name]
    graph = helper.make_graph(
        [helper.make_node(operator, names, list(outputs), "it", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", dtype, [f"y{axis}" for axis in range(len(shape))])],
        [numpy_helper.from_array(np.asarray(weight), name) for name, weight in stored],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def reported(tmp_path, *arguments, **options):
    onnx.save(model(*arguments, **options), tmp_path / "m.onnx")
    found = check(tmp_path / "m.onnx").findings
    assert not [each for each in found if each.level == "error" and not each.message.startswith("training_mode: ")]
    return [(each.level, each.message, each.hint) for each in found if each.node == "it"]


KERNEL = np.arange(54, dtype=np.float32).reshape(3, 2, 3, 3)
OPEN = (1, 2, "h", "w")
ROWS_OF_6, ROWS_OF_8 = (np.linspace(-1, 1, rows * 5, dtype=np.float32).reshape(1, rows, 5) for rows in (6, 8))

WRITE = "use explicit pads"
GENTLE = "runtimes agree on the pads here, but the standard deprecates it"
CASES = {
    "pads by a rule, of open sizes": (
        ("Conv", OPEN, KERNEL), {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        ("warning", "auto_pad SAME_UPPER: OpenCV 5.0 ignores the input size, on which the pads depend", WRITE),
    ),
    "pads by a rule that are even": (
        ("Conv", (1, 2, 7, 7), KERNEL), {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        ("note", f"auto_pad SAME_LOWER: {GENTLE}",
         f"{WRITE}: Conv(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])"),
    ),
    "no pads by a rule": (
        ("AveragePool", (1, 2, 8, 8)), {"auto_pad": "VALID", "kernel_shape": [2, 2], "strides": [2, 2]},
        ("note", f"auto_pad VALID: {GENTLE}",
         f"{WRITE}: AveragePool(kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])"),
    ),
    "a size that is wished for": (
        ("ConvTranspose", (1, 3, 4, 4), KERNEL[:, :, :2, :2]), {"output_shape": [8, 8], "strides": [2, 2]},
        ("warning", "output_shape: OpenCV 5.0 gives an output of another size",
         f"{WRITE}: ConvTranspose(kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])"),
    ),
    "rounding up, of open sizes": (
        ("MaxPool", OPEN), {"ceil_mode": 1, "kernel_shape": [2, 2], "strides": [2, 2]},
        ("warning",
         "ceil_mode 1: OpenCV 5.0 and OpenVINO 2026.4 keep a last window that onnxruntime drops, and average others",
         "whether that matters depends on the sizes of the input: give them"),
    ),
    "antialias": (
        ("Resize", (1, 2, 8, 8), None, SCALES / np.float32([1, 1, 4, 4])), {"antialias": 1, "mode": "linear"},
        ("warning", "antialias 1: OpenCV 5.0 and OpenVINO 2026.4 ignore it", "blur before, with a convolution"),
    ),
    "rare coordinates": (
        ("Resize", (1, 2, 8, 8), None, SCALES),
        {"coordinate_transformation_mode": "half_pixel_symmetric", "mode": "linear", "opset": 19},
        ("warning",
         "coordinate_transformation_mode half_pixel_symmetric: OpenVINO 2026.4 refuses it, OpenCV 5.0 refuses it or "
         "takes another", "all runtimes have align_corners, asymmetric, half_pixel, pytorch_half_pixel"),
    ),
    "weights at the edge": (
        ("Resize", (1, 2, 8, 8), None, SCALES), {"exclude_outside": 1, "mode": "cubic"},
        ("warning", "exclude_outside 1: OpenVINO 2026.4 ignores it, onnxruntime 1.32 has it for cubic alone",
         "leave it out"),
    ),
    "proportions that are kept": (
        ("Resize", (1, 2, 8, 8), None, None, np.array([1, 2, 4, 5])),
        {"keep_aspect_ratio_policy": "not_larger", "mode": "linear"},
        ("warning", "keep_aspect_ratio_policy not_larger: OpenCV 5.0 and OpenVINO 2026.4 ignore it",
         "give the output sizes"),
    ),
    "sizes that are not whole": (
        ("Resize", (1, 2, 7, 8), None, np.array([1, 1, 1.5, 1.5], np.float32)), {"mode": "nearest"},
        ("warning",
         "scales: where size times scale is not whole, OpenCV 5.0 takes the ratio of the sizes for the scale",
         "give sizes instead"),
    ),
    "softmax of before opset 13": (
        ("Softmax", (1, 2, 8, 8)), {"opset": 11},
        ("warning",
         "axis: before opset 13 it means all axes from there on; OpenCV 5.0 and for Softmax OpenVINO 2026.4 take it "
         "alone",
         "flatten the input first, or write the file at opset 13 or newer"),
    ),
    "padding by wrapping": (
        ("Pad", (1, 2, 8, 8), np.array([0, 0, 1, 1] * 2)), {"mode": "wrap", "opset": 19},
        ("warning", "mode wrap: OpenVINO 2026.4 refuses it", "concatenate slices of the input"),
    ),
    "statistics of the batch": (
        ("BatchNormalization", (2, 3, 4), *[np.ones(3, np.float32)] * 4),
        {"training_mode": 1, "opset": 15, "outputs": "ymv"},
        ("warning",
         "training_mode 1: onnxruntime 1.32 writes the new running statistics over the old ones, which other nodes may "
         "share", "compute the statistics of the batch in plain operators, as export does"),
    ),
    "noise": (
        ("Dropout", (1, 4), np.float32(0.5), np.array(True)), {},
        ("error",
         "training_mode: this training mode drops elements at random in each run, and no two runs agree",
         "export the model in evaluation mode, which in PyTorch is model.eval()"),
    ),
    "an even neighbourhood": (
        ("LRN", (1, 4, 8, 8)), {"size": 2},
        ("warning", "size 2: onnxruntime 1.32 and OpenCV 5.0 refuse even ones", "use an odd one"),
    ),
    "recurrent networks with the batch first": (
        ("GRU", (2, 4, 3), ROWS_OF_6[:, :, :3], ROWS_OF_6[:, :, 3:]),
        {"layout": 1, "hidden_size": 2, "outputs": ["", "y"]},
        ("warning", "layout 1: onnxruntime 1.32 refuses batches as the first axis",
         "transpose before and after it, as export does"),
    ),
    "a clip in an LSTM": (
        ("LSTM", (4, 2, 3), ROWS_OF_8[:, :, :3], ROWS_OF_8[:, :, 3:]),
        {"clip": 3.0, "hidden_size": 2, "outputs": ["", "y"]},
        ("note",
         "clip: the standard does not say whether the state c is clipped before its activation function; "
         "onnxruntime 1.32 and portable-nn do not", "compare with the runtime that the file is for"),
    ),
    "recurrent networks in double precision": (
        ("GRU", (4, 2, 3), *(rows.astype(np.float64) for rows in (ROWS_OF_6[:, :, :3], ROWS_OF_6[:, :, 3:]))),
        {"hidden_size": 2, "outputs": ["", "y"], "dtype": onnx.TensorProto.DOUBLE},
        ("warning", "X: onnxruntime 1.32 has no kernels for float64",
         "export writes a known number of steps in other operators, and computes an open one in float32"),
    ),
    "an approximation": (
        ("Gelu", (1, 4)), {"approximate": "tanh", "opset": 20},
        ("note", "approximate tanh: OpenCV 5.0 computes the exact form, which differs by up to 0.0004", ""),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_risks(tmp_path, case):
    arguments, options, expected = CASES[case]
    assert reported(tmp_path, *arguments, **options) == [expected]


def test_every_row_has_a_case():
    claims = {message.split(": ", 1)[1] for _, _, (_, message, _) in CASES.values()}
    limits = {limit for operator in REGISTRY.values() for limit in operator.portability.limits}
    shown = {limit.problem for limit in limits if limit.level != "known" and not limit.after}
    assert {row.problem for row in RISKS} | shown == claims


@pytest.mark.parametrize(
    ("layers", "shape", "told"),
    [
        ([pnn.Tanh()], (3,), ["OpenCV 5.0 gives NaN"]),
        ([pnn.Softplus()], (3,), ["OpenCV 5.0 gives infinity"]),
        ([pnn.GRU(2)], (4, 3), ["tract 0.23 and OpenCV 5.0 need numbers"]),
        ([pnn.MaxPool2d(2)], (1, 4, 4), []),
        ([pnn.MaxPool3d(2)], (1, 4, 4, 4), ["MNN 3.6 crashes"]),
        ([pnn.Conv2d(4, 3, groups=2)], (2, 4, 4), []),
        ([pnn.Conv3d(4, 3, groups=2)], (2, 4, 4, 4), []),
        ([pnn.ConvTranspose2d(4, 2, groups=2)], (2, 4, 4), ["onnx.reference 1.23 fails"]),
    ],
)
def test_what_is_known_of_operators_is_told_where_a_runtime_has_failed_alone(layers, shape, told):
    network = pnn.Sequential(pnn.Input(*shape), *layers, seed=0)
    found = [each.message for each in known_limits(network)]
    assert len(found) == len(told)
    assert all(part in message for part, message in zip(told, found, strict=True))
    assert not [each for each in pnn.check(network).findings if each.message in found]


HARMLESS = {
    "pads in numbers": (("Conv", (1, 2, 7, 7), KERNEL), {"pads": [0, 1, 1, 0]}),
    "rounding up that changes nothing": (
        ("MaxPool", (1, 2, 8, 8)), {"ceil_mode": 1, "kernel_shape": [2, 2], "strides": [2, 2]},
    ),
    "rounding up where all agree": (
        ("MaxPool", (1, 2, 8, 8)), {"ceil_mode": 1, "kernel_shape": [3, 3], "strides": [2, 2]},
    ),
    "antialias that enlarges": (("Resize", (1, 2, 8, 8), None, SCALES), {"antialias": 1, "mode": "linear"}),
    "usual coordinates": (
        ("Resize", (1, 2, 8, 8), None, SCALES), {"coordinate_transformation_mode": "align_corners", "mode": "linear"},
    ),
    "whole sizes": (("Resize", (1, 2, 8, 6), None, np.array([1, 1, 1.5, 1.5], np.float32)), {"mode": "nearest"}),
    "softmax along the last axis": (("Softmax", (1, 2, 8, 8)), {"opset": 11, "axis": 3}),
    "softmax since opset 13": (("Softmax", (1, 2, 8, 8)), {"opset": 13, "axis": 1}),
    "softmax of rows": (("Softmax", (3, 8)), {"opset": 11}),
    "padding by reflection": (("Pad", (1, 2, 8, 8), np.array([0, 0, 1, 1] * 2)), {"mode": "reflect"}),
    "an odd neighbourhood": (("LRN", (1, 4, 8, 8)), {"size": 3}),
    "no approximation": (("Gelu", (1, 4)), {"opset": 20}),
}  # fmt: skip


@pytest.mark.parametrize("case", HARMLESS)
def test_what_is_no_risk(tmp_path, case):
    arguments, options = HARMLESS[case]
    assert reported(tmp_path, *arguments, **options) == []


@pytest.mark.parametrize(
    ("arguments", "options", "begin"),
    [
        (("Conv", (1, 2, 8, 8), KERNEL), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, "auto_pad SAME_UPPER: "),
        (
            ("ConvTranspose", (1, 3, 4, 4), KERNEL[:, :, :2, :2]),
            {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
            "auto_pad SAME_LOWER: ",
        ),
        (
            ("MaxPool", (1, 2, 9, 9)),
            {"ceil_mode": 1, "kernel_shape": [2, 2], "strides": [2, 2], "pads": [1] * 4},
            "ceil",
        ),
        (
            ("AveragePool", (1, 2, 8, 8)),
            {"ceil_mode": 1, "kernel_shape": [3, 3], "strides": [2, 2], "count_include_pad": 1, "opset": 19},
            "ceil",
        ),
    ],
)
def test_risks_that_follow_from_sizes_are_reported_by_the_cautions_of_sizes(tmp_path, arguments, options, begin):
    [(level, message, _)] = reported(tmp_path, *arguments, **options)
    assert level == "warning"
    assert message.startswith(begin)


def runs_in_onnxruntime(*arguments, **options):
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 4
    data = model(*arguments, **options)
    session = onnxruntime.InferenceSession(data.SerializeToString(), quiet, providers=["CPUExecutionProvider"])
    shape = [dim.dim_value for dim in data.graph.input[0].type.tensor_type.shape.dim]
    return session.run(None, {"x": np.random.default_rng(0).normal(size=shape).astype(np.float32)})[0]


def test_onnxruntime_does_what_the_rows_say_of_it():
    with pytest.raises(Exception, match="size_ % 2 == 1"):
        runs_in_onnxruntime("LRN", (1, 4, 8, 8), size=2)
    with pytest.raises(Exception, match="exclude_outside"):
        runs_in_onnxruntime("Resize", (1, 2, 8, 8), None, SCALES, exclude_outside=1, mode="linear")
    pooled = runs_in_onnxruntime(
        "MaxPool", (1, 2, 9, 9), ceil_mode=1, kernel_shape=[2, 2], strides=[2, 2], pads=[1] * 4
    )
    assert pooled.shape == (1, 2, 5, 5)  # And not 6: the last window is dropped.
    spread = runs_in_onnxruntime("Softmax", (1, 2, 8, 8), opset=11)
    assert float(spread.sum()) == pytest.approx(1, rel=1e-5)  # Over all axes, and not over the 2 channels.
