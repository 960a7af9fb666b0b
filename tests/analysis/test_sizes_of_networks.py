"""Sizes of whole networks, against onnxruntime's shapes, counts with PyTorch's hooks, and fields by autograd."""

from __future__ import annotations

import json
import re

import numpy as np
import onnx
import onnxruntime
import pytest
from foreign import FLOAT, INT64, linear, write
from onnx import helper
from torch_files import to_onnx

import portable_nn as pnn
from portable_nn.analysis.sizes import NetSizes, NodeSize, as_json, as_text
from portable_nn.core.errors import FormatError, UsageError
from portable_nn.outputs.reports import size_net

NETWORKS = ["resnet18", "mobilenet_v2", "mobilenet_v3_small", "squeezenet1_1"]


def rows_of(net: NetSizes) -> dict[str, NodeSize]:
    return {row.name: row for row in net.nodes}


# -- against other tools, on files that this package did not make


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_are_those_that_onnxruntime_computes(exported, name):
    path = exported(name).path
    model = onnx.load(path)
    inferred = {
        value.name: tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for graph in [onnx.shape_inference.infer_shapes(model).graph]
        for value in (*graph.value_info, *graph.output)
    }
    names = [name for node in model.graph.node for name in node.output]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    computed = session.run(names, {"x": np.zeros((2, 3, 224, 224), np.float32)})
    ours = [shape for row in size_net(path, inputs=(2, 3, 224, 224)).nodes for shape in row.outputs]
    assert ours == [array.shape for array in computed]
    named = [shape for row in size_net(path).nodes for shape in row.outputs]
    assert all(shape == inferred[name] for name, shape in zip(names, named, strict=True) if name in inferred)


def counted_by_hooks(module) -> tuple[int, int]:
    """Multiply-adds and parameters of an inference: normalization is part of the convolution before it, as a bias."""
    import torch

    counts = []

    def hook(layer, inputs, output):
        positions = output.numel() // layer.weight.shape[0]
        counts.append((positions * layer.weight.numel(), layer.weight.numel() + layer.weight.shape[0]))

    handles = [
        layer.register_forward_hook(hook)
        for layer in module.modules()
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)
    ]
    module(torch.zeros(1, 3, 224, 224))
    for handle in handles:
        handle.remove()
    return sum(adds for adds, _ in counts), sum(parameters for _, parameters in counts)


PUBLISHED = {"resnet18": 1.81, "mobilenet_v2": 0.30, "mobilenet_v3_small": 0.06, "squeezenet1_1": 0.35}
"""Multiply-adds in 10⁹, as torchvision's documentation has them."""


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
def test_multiply_adds_and_parameters_are_those_that_hooks_count(exported, name):
    module, path = exported(name)
    net = size_net(path)
    assert (net.multiply_adds, net.parameters) == counted_by_hooks(module)
    assert net.parameter_bytes == 4 * net.parameters
    assert net.multiply_adds / 1e9 == pytest.approx(PUBLISHED[name], abs=0.006)
    assert net.counted_for == {"N": 1}
    assert size_net(path, inputs=(3, 3, 224, 224)).multiply_adds == 3 * net.multiply_adds


@pytest.mark.long
@pytest.mark.parametrize(("name", "published"), [("resnet18", 11_689_512), ("mobilenet_v2", 3_504_872)])
def test_running_statistics_are_no_parameters(tmp_path, name, published):
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    module = getattr(torchvision.models, name)(weights=None).train()
    options = {"training": torch.onnx.TrainingMode.TRAINING, "do_constant_folding": False}
    assert size_net(to_onnx(module, tmp_path / "m.onnx", (2, 3, 64, 64), **options)).parameters == published


@pytest.mark.long
def test_the_receptive_field_of_resnet18_is_the_published_one(exported):
    # Araujo, Norris and Sim (2019), table 1, for ResNet-v1 of PyTorch's kind.
    row = rows_of(size_net(exported("resnet18").path))["/layer4/layer4.1/conv2/Conv"]
    assert (row.field, row.jump, row.sees_all) == ((435, 435), (32, 32), False)


# -- receptive fields, against gradients


def classes(nn):
    """Modules for what ``Sequential`` cannot say."""
    import torch

    class Residual(nn.Module):
        def __init__(self, *branch):
            super().__init__()
            self.branch = nn.Sequential(*branch)

        def forward(self, x):
            return x + self.branch(x)

    class Joined(Residual):
        def forward(self, x):
            return torch.cat([self.branch(x), x], 1)

    class Moved(nn.Module):
        def forward(self, x):
            return nn.functional.gelu(nn.functional.layer_norm(x.permute(0, 2, 3, 1), (2,))).permute(0, 3, 1, 2)

    return {"Residual": Residual, "Joined": Joined, "Moved": Moved}


NETS = {
    "a chain": "Conv2d(2, 2, 3), ReLU(), MaxPool2d(2), Conv2d(2, 2, 5, 2, 2), AvgPool2d(3, 1)",
    "dilation": "Conv2d(2, 2, (3, 1), dilation=(2, 1)), BatchNorm2d(2), Conv2d(2, 2, 3, dilation=3)",
    "strides that differ": "Conv2d(2, 2, (3, 5), (1, 3)), Conv2d(2, 2, (2, 3), (2, 1))",
    "a shortcut": "Conv2d(2, 2, 3, 2), Residual(Conv2d(2, 2, 3, padding=1), ELU(), Conv2d(2, 2, 3, padding=1))",
    "branches that join": "Joined(Conv2d(2, 2, 5, padding=2)), Conv2d(4, 1, 3)",
    "a transposed convolution": "Conv2d(2, 2, 3, 2), ConvTranspose2d(2, 2, 4, 2, 1), Conv2d(2, 2, 3)",
    "an uneven one": "Conv2d(2, 2, 3, 2), ConvTranspose2d(2, 2, 3, 2), Conv2d(2, 2, 1)",
    "up and down again": "Upsample(scale_factor=3), Conv2d(2, 2, 5), MaxPool2d(2)",
    "smoothly": "Upsample(scale_factor=2, mode='bilinear'), Conv2d(2, 2, 3)",
    "smoothly by three": "Conv2d(2, 2, 3), Upsample(scale_factor=3, mode='bilinear')",
    "shuffled pixels": "Conv2d(2, 8, 3), PixelShuffle(2), Conv2d(2, 2, 3)",
    "padding of its own": "ZeroPad2d((1, 2, 3, 0)), Conv2d(2, 2, 5, 2)",
    "a normalization that moves axes": "Conv2d(2, 2, 3, 2), Moved(), Conv2d(2, 2, 3)",
    "a channel at a time": "Conv2d(2, 2, 3, groups=2), PReLU(2), Softmax(1), Conv2d(2, 2, 3)",
}


@pytest.mark.parametrize("name", NETS)
def test_receptive_fields_are_those_of_gradients(tmp_path, name):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)  # The gradient of a maximum is at one of its places: of few draws, not all of them are seen.
    module = eval(f"Sequential({NETS[name]})", vars(torch.nn) | classes(torch.nn)).eval()
    for value in module.parameters():
        torch.nn.init.uniform_(value, 0.5, 1)
    last = size_net(to_onnx(module, tmp_path / "m.onnx", (1, 2, 48, 48))).nodes[-1]
    x = torch.rand(1, 2, 48, 48, requires_grad=True)
    y = module(x)
    centre, seen = [size // 2 for size in y.shape[2:]], []
    for row in range(centre[0] - 2, centre[0] + 2):
        for column in range(centre[1] - 2, centre[1] + 2):
            [gradient] = torch.autograd.grad(y[0, :, row, column].square().sum(), x, retain_graph=True)
            places = gradient[0].abs().sum(0).nonzero()
            seen.append((places.max(0).values - places.min(0).values + 1).tolist())
    assert last.field == tuple(max(sizes) for sizes in zip(*seen, strict=True))
    assert last.jump == tuple(pytest.approx(48 / size, rel=0.25) for size in y.shape[2:])


@pytest.mark.parametrize("layers", ["pooled", "scaled", "flat"])
def test_what_sees_everything(tmp_path, layers):
    nn = pytest.importorskip("torch").nn

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))

        def forward(self, x):
            return x * self.scale(x)[..., None, None]

    modules = {
        "pooled": nn.Sequential(nn.Conv2d(2, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)),
        "scaled": nn.Sequential(nn.Conv2d(2, 2, 3), Scaled(), nn.Conv2d(2, 2, 3)),
        "flat": nn.Sequential(nn.InstanceNorm2d(2), nn.Conv2d(2, 2, 3)),
    }
    net = size_net(to_onnx(modules[layers].eval(), tmp_path / "m.onnx", (1, 2, 8, 8)))
    assert (net.nodes[-1].sees_all, net.nodes[-1].field) == (True, ())


def test_pixels_that_become_channels(tmp_path):
    nodes = [
        helper.make_node("SpaceToDepth", ["x"], ["s"], "apart", blocksize=2),
        helper.make_node("Conv", ["s", "w"], ["y"], "conv"),
    ]
    weights = {"w": np.ones((1, 4, 3, 3), np.float32)}
    path = write(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [1, 1, 8, 8])}, {"y": (FLOAT, [1, 1, 2, 2])}, weights)
    assert size_net(path).nodes[-1].field == (6, 6)  # A kernel of 3 over blocks of 2.


def test_nothing_is_said_of_fields_that_are_not_known(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Flatten", ["c"], ["f"], "flat"),
        helper.make_node("Reshape", ["c", "swap"], ["y"], "swap"),
    ]
    weights = {"w": np.ones((4, 1, 3, 3), np.float32), "swap": np.array([1, 4, 36])}
    net = size_net(write(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [1, 1, 8, 8])}, {"y": (FLOAT, [1, 4, 36])}, weights))
    assert [(row.field, row.sees_all) for row in net.nodes] == [((3, 3), False), ((), False), ((), False)]
    said = "mixes or moves cells in a way that is not followed"
    assert [row.field_ends for row in net.nodes] == ["", f"Flatten {said}", f"Reshape {said}"]
    assert f"the receptive field ends here: Reshape {said}" in as_text(net)


def test_branches_that_do_not_move_alike_are_no_fault(tmp_path):
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Resize", ["p", "", "", "size"], ["r"], "resize", mode="cubic"),
        helper.make_node("Slice", ["x", "from", "to", "axes"], ["s"], "slice"),
        helper.make_node("Add", ["r", "s"], ["y"], "add"),
    ]
    numbers = {"size": [1, 1, 4, 4], "from": [2, 2], "to": [6, 6], "axes": [2, 3]}
    weights = {name: np.array(values) for name, values in numbers.items()}
    net = size_net(
        write(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [1, 1, 8, 8])}, {"y": (FLOAT, [1, 1, 4, 4])}, weights)
    )
    assert net.nodes[-1].outputs == ((1, 1, 4, 4),)
    assert net.nodes[-1].field == ()
    said = "mixes or moves cells in a way that is not followed"
    assert [row.field_ends for row in net.nodes] == ["", f"Resize {said}", f"Slice {said}", ""]


# -- options, coverage, costs


def spatial(path, operator, shape, weight=None, **attributes):
    inputs, weights = ["x"], {}
    if weight is not None:
        inputs, weights = ["x", "w"], {"w": np.ones(weight, np.float32)}
    node = helper.make_node(operator, inputs, ["y"], "it", **attributes)
    return write(path, [node], {"x": (FLOAT, shape)}, {"y": (FLOAT, ["a", "b", "c", "d"][: len(shape)])}, weights)


@pytest.mark.parametrize(
    ("options", "operator", "shape", "weight", "attributes"),
    [
        ("7x7/2 p3", "Conv", [1, 3, 224, 224], (4, 3, 7, 7), {"strides": [2, 2], "pads": [3] * 4}),
        ("1x1", "Conv", [1, 3, 8, 8], (4, 3, 1, 1), {}),
        (
            "3x5/1x2 p0x2 d2x1",
            "Conv",
            [1, 3, 9, 9],
            (4, 3, 3, 5),
            {"strides": [1, 2], "pads": [0, 2, 0, 2], "dilations": [2, 1]},
        ),
        ("3x3 p0:1 g3", "Conv", [1, 3, 8, 8], (6, 1, 3, 3), {"pads": [0, 0, 1, 1], "group": 3}),
        ("5 p2", "Conv", [1, 3, 8], (4, 3, 5), {"pads": [2, 2]}),
        ("3x3/2 p0:1", "Conv", [1, 3, 8, 8], (4, 3, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ("3x3 p1", "Conv", ["N", 3, "h", "w"], (4, 3, 3, 3), {"pads": [1] * 4}),
        ("", "Conv", ["N", 3, "h", "w"], (4, 3, 3, 3), {"auto_pad": "SAME_UPPER"}),
        (
            "4x4/2 p1 o1",
            "ConvTranspose",
            [1, 3, 8, 8],
            (3, 4, 4, 4),
            {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]},
        ),
        ("3x3/2 ceil", "MaxPool", [1, 3, 8, 8], None, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ],
)
def test_options_in_short(tmp_path, options, operator, shape, weight, attributes):
    [row] = size_net(spatial(tmp_path / "m.onnx", operator, shape, weight, **attributes)).nodes
    assert row.options == options


def test_coverage_and_risks(tmp_path):
    [row] = size_net(
        spatial(tmp_path / "m.onnx", "Conv", [1, 3, 8, 9], (4, 3, 3, 3), strides=[2, 3], auto_pad="VALID")
    ).nodes
    assert row.coverage == ("never read: row 7 (the last of 8)",)
    [row] = size_net(spatial(tmp_path / "m.onnx", "ConvTranspose", [1, 3, 4, 4], (3, 4, 3, 3), strides=[2, 2])).nodes
    assert row.coverage == ()
    [risk] = row.risks
    assert risk.startswith("uneven overlap, which risks checkerboard artifacts: ")


def test_multiply_adds_are_one_for_each_weight_at_each_position(tmp_path):
    torch = pytest.importorskip("torch")
    # With ones for weights and inputs, and no padding, the sum of the outputs counts the products.
    layer = torch.nn.ConvTranspose2d(4, 6, (3, 2), stride=2, groups=2, bias=False)
    torch.nn.init.ones_(layer.weight)
    expected = int(layer(torch.ones(1, 4, 5, 7)).sum())
    assert size_net(to_onnx(layer, tmp_path / "m.onnx", (1, 4, 5, 7))).multiply_adds == expected
    layer = torch.nn.Conv1d(4, 6, 3, stride=2, groups=2, bias=False)
    torch.nn.init.ones_(layer.weight)
    expected = int(layer(torch.ones(1, 4, 9)).sum())
    assert size_net(to_onnx(layer, tmp_path / "m.onnx", (1, 4, 9))).multiply_adds == expected


@pytest.mark.parametrize(
    ("operator", "a", "b", "attributes", "y", "expected"),
    [
        ("Gemm", [5, 3], [3, 7], {}, [5, 7], 5 * 3 * 7),
        ("Gemm", [3, 5], [7, 3], {"transA": 1, "transB": 1}, [5, 7], 5 * 3 * 7),
        ("MatMul", [2, 4, 5, 3], [4, 3, 7], {}, [2, 4, 5, 7], 2 * 4 * 5 * 3 * 7),
        ("MatMul", [3], [3, 7], {}, [7], 3 * 7),
    ],
)
def test_multiply_adds_of_products(tmp_path, operator, a, b, attributes, y, expected):
    node = helper.make_node(operator, ["a", "b"], ["y"], "it", **attributes)
    net = size_net(write(tmp_path / "m.onnx", [node], {"a": (FLOAT, a), "b": (FLOAT, b)}, {"y": (FLOAT, y)}))
    assert (net.multiply_adds, net.parameters) == (expected, 0)


def test_memory_is_let_go_after_the_last_use(tmp_path):
    # x(8 kB) → a(16 kB) → b(16 kB); c = b + a; y = mean of c. Alive at c: a, b and c, but x no more: 48 kB.
    nodes = [
        helper.make_node("Concat", ["x", "x"], ["a"], "a", axis=0),
        helper.make_node("Relu", ["a"], ["b"], "b"),
        helper.make_node("Add", ["b", "a"], ["c"], "c"),
        helper.make_node("Relu", ["c"], ["d"], "d"),
        helper.make_node("ReduceMean", ["d"], ["y"], "y", axes=[0], keepdims=1),
    ]
    net = size_net(write(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [1, 2000])}, {"y": (FLOAT, [1, 2000])}))
    assert [row.bytes for row in net.nodes] == [16_000, 16_000, 16_000, 16_000, 8_000]
    assert (net.bytes, net.peak, net.peak_at) == (72_000, 48_000, "c")


def test_weights_that_nodes_share_are_counted_once_and_those_of_constants_where_they_are_used(tmp_path):
    nodes = [
        helper.make_node("Identity", ["w"], ["same"], "copy"),
        helper.make_node("MatMul", ["x", "w"], ["a"], "one"),
        helper.make_node("MatMul", ["a", "same"], ["b"], "two"),
        helper.make_node("Reshape", ["b", "shape"], ["y"], "shape"),
    ]
    weights = {"w": np.ones((3, 3), np.float32), "shape": np.array([-1]), "idle": np.ones(5, np.float32)}
    net = size_net(write(tmp_path / "m.onnx", nodes, {"x": (FLOAT, ["N", 3])}, {"y": (FLOAT, ["M"])}, weights))
    assert [(row.parameters, row.constant) for row in net.nodes] == [(0, True), (9, False), (0, False), (0, False)]
    assert [row.shared for row in net.nodes] == [0, 0, 9, 0]
    text = as_text(net)
    assert re.search(r"^two .* \(9\) ", text, re.MULTILINE)
    assert "9 (36 B); those in brackets are counted at an earlier node" in text
    assert (net.parameters, net.parameter_bytes, net.bytes) == (9, 36, 36)


def test_element_types_have_their_sizes(tmp_path):
    node = helper.make_node("Gather", ["w", "x"], ["y"], "g")
    table = np.zeros((7, 2), np.float16)
    path = write(tmp_path / "m.onnx", [node], {"x": (INT64, [5])}, {"y": (10, [5, 2])}, {"w": table})
    [row] = size_net(path).nodes
    assert (row.outputs, row.bytes, row.parameters) == (((5, 2),), 20, 14)


# -- what is not known


def test_operators_that_are_not_supported_have_the_shapes_that_the_file_tells(tmp_path):
    nodes = [
        helper.make_node("Swirl", ["x"], ["s"], "swirl", domain="com.example"),
        helper.make_node("MatMul", ["s", "w"], ["y"], "product"),
        helper.make_node("Swirl", ["x"], ["z"], "dark", domain="com.example"),
        helper.make_node("Relu", ["z"], ["q"], "after"),
        helper.make_node("Einsum", ["x", "x"], ["e"], "einsum", equation="ij,ij->i"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [2, 4])],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in "yqe"],
        [onnx.numpy_helper.from_array(np.ones((6, 3), np.float32), "w")],
        value_info=[helper.make_tensor_value_info("s", FLOAT, [2, 6])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "m.onnx")
    net = size_net(tmp_path / "m.onnx")
    rows = rows_of(net)
    assert (rows["swirl"].operator, rows["swirl"].outputs) == ("com.example.Swirl", ((2, 6),))
    assert (rows["product"].outputs, rows["product"].multiply_adds) == (((2, 3),), 36)
    assert (rows["dark"].outputs, rows["after"].outputs, rows["after"].bytes) == ((None,), (None,), None)
    assert rows["einsum"].outputs == ((2,),)
    assert (net.multiply_adds, net.bytes, net.peak, net.uncounted) == (36, None, None, {"Einsum": 1})
    lines = as_text(net).splitlines()
    assert "multiply-adds  36, of MatMul; not counted: 1 Einsum" in lines
    assert "?              unknown, as some shapes are: --in sets symbolic sizes of the inputs" in lines


def test_sizes_that_the_inputs_leave_open(tmp_path):
    path = spatial(tmp_path / "m.onnx", "Conv", ["N", 3, "h", "w"], (4, 3, 3, 3), pads=[1] * 4)
    net = size_net(path)
    assert (net.nodes[0].outputs, net.counted_for) == ((("N", 4, "h", "w"),), {"N": 1})
    assert (net.nodes[0].field, net.multiply_adds, net.bytes) == ((3, 3), None, None)
    net = size_net(path, inputs=("N", 3, 8, 16))
    assert net.nodes[0].outputs == (("N", 4, 8, 16),)
    assert net.multiply_adds == 4 * 3 * 9 * 8 * 16
    net = size_net(path, inputs={"x": (5, 3, 8, 16)})
    assert (net.counted_for, net.multiply_adds) == ({}, 5 * 4 * 3 * 9 * 8 * 16)


# -- models of this package, and what is printed


def test_a_shipped_model():
    net = size_net("digits-mlp")
    assert [(row.name, row.parameters, row.multiply_adds, row.bytes) for row in net.nodes] == [
        ("mul_1", 1, 0, 3136),
        ("rescaling_1", 1, 0, 3136),
        ("hidden", 157_000, 156_800, 800),
        ("activation", 0, 0, 800),
        ("digit", 2_010, 2_000, 40),
    ]
    assert (net.parameters, net.multiply_adds, net.counted_for) == (159_012, 158_800, {"batch": 1})
    assert (net.peak, net.peak_at) == (4 * (784 + 784), "mul_1")


def test_a_network_that_is_not_saved():
    net = size_net(pnn.Sequential(pnn.Input(4), pnn.Dense(2)))
    assert (net.model, net.parameters, net.multiply_adds) == ("network", 10, 8)


def test_the_text():
    assert as_text(size_net("digits-mlp")).splitlines() == [
        "node         operator  input      output     field  parameters  mult-adds  memory",
        "mul_1        Mul       batch,784  batch,784                  1             3.1 kB",
        "rescaling_1  Add       batch,784  batch,784                  1             3.1 kB",
        "hidden       Gemm      batch,784  batch,200            157,000      157 k   800 B",
        "activation   Sigmoid   batch,200  batch,200                                 800 B",
        "digit        Gemm      batch,200  batch,10               2,010     2.00 k    40 B",
        "",
        "nodes          5",
        "parameters     159,012 (636 kB)",
        "multiply-adds  159 k, of Gemm",
        "memory         7.9 kB for all outputs; at most 6.3 kB at one time, inputs included, at mul_1",
        "counted for    batch=1",
    ]


def test_what_is_to_know_stands_below_the_node(tmp_path):
    path = spatial(tmp_path / "m.onnx", "Conv", [1, 3, 8, 8], (4, 3, 3, 3), strides=[2, 2])
    lines = as_text(size_net(path)).splitlines()
    assert lines[1] == "it    Conv 3x3/2  1,3,8,8  1,4,3,3    3/2         108        972   144 B"
    assert lines[2] == "    never read: row 7 (the last of 8) and column 7 (the last of 8)"
    lines = as_text(size_net(path), width=60).splitlines()
    assert lines[2:4] == ["    never read: row 7 (the last of 8) and column 7 (the last", "    of 8)"]


@pytest.mark.long
def test_names_are_cut_where_a_terminal_is_narrow(exported):
    net = size_net(exported("mobilenet_v3_small").path)
    wide, narrow = as_text(net).splitlines(), as_text(net, width=110).splitlines()
    assert max(map(len, wide)) > 140
    assert wide[1].startswith("/features/features.0/features.0.0/Conv ")
    assert narrow[1].startswith("….0/features.0.0  Conv 3x3/2 p1 ")  # Not the operator once more.
    assert any(line.startswith("/Flatten ") for line in narrow)
    assert max(map(len, narrow[: narrow.index("")])) < 125


@pytest.mark.long
def test_json_has_all_of_it(exported):
    found = json.loads(json.dumps(as_json(size_net(exported("resnet18").path))))
    first = found["nodes"][0]
    assert (first["name"], first["operator"], first["options"]) == ("/conv1/Conv", "Conv", "7x7/2 p3")
    assert (first["inputs"], first["outputs"]) == ([["N", 3, 224, 224]], [["N", 64, 112, 112]])
    assert (first["field"], first["jump"]) == ([7, 7], [2.0, 2.0])
    assert found["counted_for"] == {"N": 1}


def test_files_and_sizes_that_cannot_be(tmp_path):
    (tmp_path / "m.onnx").write_text("hello")
    with pytest.raises(FormatError, match="is a text file, not an ONNX model"):
        size_net(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match=r"^input 'x' has 2 dimensions, \(n, 3\), not 3$"):
        size_net(linear(tmp_path / "l.onnx"), inputs=(1, 2, 3))
