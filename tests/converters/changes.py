"""Networks of different kinds, and small changes of one side of a conversion, which a verification must notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
from msgspec.structs import replace
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper
from torch_files import to_onnx

import portable_nn as pnn
from portable_nn.converters.onnx import import_onnx
from portable_nn.core.graph import Graph, Node, Tensor
from portable_nn.network import Network
from portable_nn.onnx.writing import to_model
from portable_nn.operators import constant, emit, emit_all, integers

Array = np.ndarray[Any, Any]


# -- networks


def mlp() -> Network:
    layers = [pnn.Dense(16), pnn.Sigmoid(), pnn.Dense(12), pnn.Tanh(), pnn.Dense(4), pnn.Softmax()]
    return pnn.Sequential(pnn.Input(10), *layers, seed=0)


def cnn() -> Network:
    layers = [
        pnn.Conv2d(6, kernel=5, padding=2),
        pnn.ReLU(),
        pnn.MaxPool2d(2),
        pnn.Conv2d(8, kernel=3),
        pnn.LeakyReLU(),
    ]
    return pnn.Sequential(pnn.Input(1, 14, 14), *layers, pnn.AvgPool2d(2), pnn.Flatten(), pnn.Dense(10), seed=0)


def residual() -> Network:
    x = pnn.Input(3, 10, 10)
    h = pnn.ReLU()(pnn.BatchNorm2d()(pnn.Conv2d(8, kernel=3, padding=1)(x)))
    for stride in (1, 2):
        inner = pnn.ReLU()(pnn.BatchNorm2d()(pnn.Conv2d(8, kernel=3, padding=1, stride=stride)(h)))
        inner = pnn.BatchNorm2d()(pnn.Conv2d(8, kernel=3, padding=1)(inner))
        h = pnn.ReLU()(inner + (h if stride == 1 else pnn.Conv2d(8, kernel=1, stride=2)(h)))
    return with_statistics(Network(x, pnn.Dense(5)(pnn.Flatten()(pnn.GlobalAvgPool()(h))), seed=1))


def depthwise() -> Network:
    x = pnn.Input(4, 9, 9)
    h = pnn.Hardswish()(pnn.BatchNorm2d()(pnn.Conv2d(4, kernel=3, padding=1, groups=4)(x)))
    h = pnn.ReLU6()(pnn.BatchNorm2d()(pnn.Conv2d(8, kernel=1)(h)))
    gate = pnn.Hardsigmoid()(pnn.Conv2d(8, kernel=1)(pnn.GlobalAvgPool()(h)))
    return with_statistics(Network(x, pnn.Dense(3)(pnn.Flatten()(h * gate)), seed=2))


def transformer() -> Network:
    x = pnn.Input("time", 12)
    h = pnn.LayerNorm()(x)
    q, k, v = (pnn.Dense(12)(h) for _ in range(3))
    scores = emit("Softmax", emit("MatMul", q, emit("Transpose", k, perm=[0, 2, 1])) * 0.3, axis=-1)
    h = x + pnn.Dense(12)(emit("MatMul", scores, v))
    h = h + pnn.Dense(12)(pnn.GELU()(pnn.Dense(24)(pnn.LayerNorm(eps=1e-6)(h))))
    return Network(x, pnn.Dense(4)(emit("ReduceMean", h, integers([1]), keepdims=0)), seed=3)


def generator() -> Network:
    layers = [pnn.Dense(8 * 4 * 4), pnn.Reshape(8, 4, 4), pnn.ConvTranspose2d(6, kernel=4, stride=2, padding=1)]
    layers += [pnn.BatchNorm2d(), pnn.ReLU(), pnn.ConvTranspose2d(1, kernel=3, stride=2, padding=1), pnn.Tanh()]
    return with_statistics(pnn.Sequential(pnn.Input(6), *layers, seed=4))


def autoencoder() -> Network:
    layers = [pnn.Conv2d(4, kernel=3, padding=1), pnn.ELU(), pnn.MaxPool2d(2), pnn.Conv2d(6, kernel=3, padding=1)]
    layers += [pnn.SELU(), pnn.Upsample(scale_factor=2, mode="bilinear"), pnn.Conv2d(1, kernel=3, padding=1)]
    return pnn.Sequential(pnn.Input(1, 8, 8), *layers, pnn.Sigmoid(), seed=5)


def unet() -> Network:
    x = pnn.Input(2, 8, 8)
    down = pnn.ReLU()(pnn.Conv2d(4, kernel=3, padding=1)(x))
    inner = pnn.SiLU()(pnn.Conv2d(6, kernel=3, padding=1)(pnn.MaxPool2d(2)(down)))
    up = pnn.Upsample(scale_factor=2)(inner)
    return Network(x, pnn.Conv2d(1, kernel=1)(pnn.concatenate(up, down, axis=1)), seed=6)


def detector() -> Network:
    """Its outputs are at most 1e-6 on noise."""
    x = pnn.Input(3, 12, 12)
    h = pnn.ReLU()(pnn.Conv2d(6, kernel=3, padding=1)(x))
    h = pnn.ReLU()(pnn.ConvTranspose2d(4, kernel=2, stride=2)(pnn.MaxPool2d(2)(h)))
    net = Network(x, pnn.Sigmoid()(pnn.Conv2d(1, kernel=1, name="logits")(h)), seed=7)
    net.parameters["logits.bias"][...] = -16
    net.parameters["logits.weight"][...] *= 0.1
    return net


def zero_head() -> Network:
    net = pnn.Sequential(
        pnn.Input(8), pnn.Dense(12), pnn.ReLU(), pnn.Dense(12), pnn.GELU(), pnn.Dense(3, name="head"), seed=8
    )
    net.parameters["head.weight"][...] = 0
    net.parameters["head.bias"][...] = 0
    return net


def table() -> Network:
    """Numbers, and categories that index tables of vectors."""
    x, i = pnn.Input(5, name="numbers"), pnn.Input(2, name="categories", dtype="int64")
    rng = np.random.default_rng(9)
    vectors = constant(rng.normal(size=(7, 3)), "float32")
    parts = emit("Reshape", emit("Gather", vectors, i), integers([0, -1]))
    scaled = (x - constant(rng.normal(size=5), "float32")) / constant(1 + rng.random(5), "float32")
    h = pnn.ReLU()(pnn.Dense(10)(pnn.concatenate(scaled, parts, axis=1)))
    return Network([x, i], pnn.Dense(2)(h), seed=9)


def mixer() -> Network:
    x = pnn.Input(6, 8)
    h = pnn.LayerNorm()(x)
    h = emit("Transpose", pnn.Dense(6)(pnn.GELU()(pnn.Dense(10)(emit("Transpose", h, perm=[0, 2, 1])))), perm=[0, 2, 1])
    h = pnn.RMSNorm()(x + h)
    return Network(x, pnn.Dense(3)(emit("ReduceMax", h, integers([1]), keepdims=0)), seed=10)


def groups() -> Network:
    layers = [pnn.Conv2d(8, kernel=3), pnn.GroupNorm(4), pnn.Mish(), pnn.Conv2d(4, kernel=3, dilation=2)]
    layers += [pnn.InstanceNorm(affine=True), pnn.PReLU(), pnn.LPPool2d(2, 2)]
    return pnn.Sequential(pnn.Input(3, 12, 12), *layers, pnn.Flatten(), pnn.Dense(3), seed=11)


def signal() -> Network:
    layers = [pnn.Conv1d(6, kernel=5, stride=2), pnn.ELU(alpha=0.5), pnn.Conv1d(4, kernel=3, padding=1), pnn.CELU()]
    return pnn.Sequential(pnn.Input(2, 30), *layers, pnn.AvgPool1d(2), pnn.Flatten(), pnn.Dense(2), seed=12)


def twins() -> Network:
    """The distance of two inputs, through the same layer."""
    a, b, layer = pnn.Input(6, name="a"), pnn.Input(6, name="b"), pnn.Dense(8)
    one, other = pnn.Tanh()(layer(a)), pnn.Tanh()(layer(b))
    ratio = one / (emit("Abs", other) + 0.5)
    distance = emit("ReduceL2", one - other, integers([1]))
    return Network([a, b], [distance, pnn.LogSoftmax()(pnn.Dense(3)(ratio))], seed=13)


def contrast() -> Network:
    layers = [pnn.Conv2d(6, kernel=3), pnn.LocalResponseNorm(5), pnn.Softplus(), pnn.Conv2d(4, kernel=3, groups=2)]
    return pnn.Sequential(pnn.Input(3, 9, 9), *layers, pnn.Pad((1, 1), mode="reflect"), pnn.GlobalMaxPool(), seed=14)


def several() -> Network:
    x = pnn.Input(9)
    parts = emit_all("Split", pnn.Dense(12)(x), outputs=3, axis=1, num_outputs=3)
    first = emit("Pow", emit("Abs", parts[0]) + 0.1, constant(1.5, "float32"))
    best = emit_all("TopK", parts[1], integers([2]), outputs=2)
    return Network(x, [emit("Sub", first, parts[2]), best[0], emit("Softmax", parts[2], axis=1)], seed=15)


def pictures() -> Network:
    layers = [pnn.PixelUnshuffle(2), pnn.Conv2d(8, kernel=3, padding=1), pnn.Softsign(), pnn.PixelShuffle(2)]
    return pnn.Sequential(pnn.Input(1, 8, 8), *layers, pnn.Hardtanh(-0.4, 0.4), seed=16)


def small_numbers() -> Network:
    """Each layer makes its values a thousand times smaller."""
    net = pnn.Sequential(
        pnn.Input(6), pnn.Dense(8), pnn.Tanh(), pnn.Dense(8), pnn.LeakyReLU(0.2), pnn.Dense(2), seed=17
    )
    for name, array in net.parameters.items():
        array[...] *= np.float32(1e-3 if name.endswith("weight") else 1e-6)
    return net


def volumes() -> Network:
    layers = [pnn.Conv3d(3, kernel=2), pnn.BatchNorm3d(), pnn.ThresholdedReLU(0.1), pnn.MaxPool3d(2), pnn.Flatten()]
    return with_statistics(pnn.Sequential(pnn.Input(1, 5, 5, 5), *layers, pnn.Dense(2), seed=18))


NETWORKS: Final[Mapping[str, Callable[[], Network]]] = {
    build.__name__: build
    for build in (
        mlp, cnn, residual, depthwise, transformer, generator, autoencoder, unet, detector, zero_head, table, mixer,
        groups, signal, twins, contrast, several, pictures, small_numbers, volumes,
    )
}  # fmt: skip


def from_torch() -> dict[str, tuple[Network, ModelProto]]:
    """Networks as PyTorch exports them, and as they are imported; none without PyTorch."""
    try:
        import torch
    except ImportError:
        return {}
    from torch import nn

    torch.manual_seed(0)
    picture, norm = (2, 3, 12, 12), nn.BatchNorm2d(6)
    nn.init.uniform_(norm.weight)
    layer = nn.TransformerEncoderLayer(12, 3, 24, batch_first=True)
    modules = {
        "torch encoder": (nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), (2, 5, 12)),
        "torch convolutions": (
            nn.Sequential(
                *(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), norm, nn.Upsample(scale_factor=2, mode="bilinear")),
                *(
                    nn.GroupNorm(2, 6),
                    nn.SiLU(),
                    nn.Conv2d(6, 6, 3, 2, groups=3),
                    nn.AdaptiveAvgPool2d(1),
                    nn.Flatten(),
                ),
            ),
            picture,
        ),
        "torch normalisation": (
            nn.Sequential(nn.Flatten(), nn.LayerNorm(432), nn.GELU(), nn.Linear(432, 8), nn.Softmax(-1)),
            picture,
        ),
    }
    found = {}
    with TemporaryDirectory() as folder:
        for name, (module, shape) in modules.items():
            path = to_onnx(module.eval(), Path(folder) / "a.onnx", shape, opset_version=17)
            found[name] = import_onnx(path), onnx.load(path)
    return found


def with_statistics(net: Network) -> Network:
    """``net`` with running statistics as training leaves them."""
    rng = np.random.default_rng(20)
    for name, array in net.parameters.items():
        if "running" in name:
            array[...] = rng.uniform(0.3, 2, array.shape)
    return net


# -- changes


class Changed(NamedTuple):
    """Both sides, of which one is changed.

    Attributes:
        graph: the network's graph.
        parameters: the values of its parameters.
        model: the file.
        what: the change in words.
        node: the name of the node, or of the tensor, that is changed.
        before: the network and the file as they were.
    """

    graph: Graph
    parameters: dict[str, Array]
    model: ModelProto
    what: str
    node: str
    before: tuple[Network, ModelProto] | None = None


def changed(net: Network, model: ModelProto, rng: np.random.Generator) -> Changed:
    """``net`` and its file, with one change on one side."""
    while True:
        side, kind = ("network", "file")[rng.integers(2)], ("weight", "attribute", "inputs")[rng.integers(3)]
        found = CHANGES[side, kind](net, deepcopy(model), rng)
        if found is not None:
            return found._replace(before=(net, model))


def other_array(array: Array, rng: np.random.Generator) -> tuple[Array, str] | None:
    """Another array of the same shape; ``None`` where that change does nothing."""
    how = WEIGHTS[rng.integers(len(WEIGHTS))]
    new = array.copy()
    match how:
        case "zeroed":
            new[...] = 0
        case "doubled":
            new *= 2
        case "reversed":
            new = new.ravel()[::-1].reshape(array.shape).copy()
        case "times 1.01":
            new = (new * 1.01).astype(array.dtype)
        case "one element + 1":
            place = rng.integers(new.size)
            new.flat[place : place + 1] += 1  # As an array: the largest integer becomes the smallest.
    return None if np.array_equal(new, array) else (new, how)


WEIGHTS: Final = ("zeroed", "doubled", "reversed", "times 1.01", "one element + 1")


def other_value(name: str, value: Any, rng: np.random.Generator) -> Any:
    """Another value of an attribute."""
    if isinstance(value, float):
        return float(np.float32(value * (2, 0.5, 1.1, -1)[rng.integers(4)] if value else 0.1))
    if isinstance(value, str):
        options = MODES.get(name, {}).get(value, ())
        return options[rng.integers(len(options))] if options else value
    if isinstance(value, tuple) and value and all(isinstance(item, int) for item in value):
        if name == "perm":
            return tuple(int(item) for item in rng.permutation(value))
        place, step = rng.integers(len(value)), (1, -1)[rng.integers(2)]
        return tuple(max(0, item + step) if each == place else item for each, item in enumerate(value))
    if isinstance(value, int) and name not in {"to", "dtype", "num_outputs"}:
        return 1 - value if value in (0, 1) else value + (1, -1)[rng.integers(2)]
    return value


MODES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "mode": {
        "reflect": ("edge", "constant"),
        "linear": ("nearest", "cubic"),
        "nearest": ("linear",),
        "DCR": ("CRD",),
        "CRD": ("DCR",),
    },
    "approximate": {"none": ("tanh",), "tanh": ("none",)},
    "coordinate_transformation_mode": {"half_pixel": ("asymmetric", "align_corners"), "asymmetric": ("half_pixel",)},
    "nearest_mode": {"floor": ("ceil",), "round_prefer_floor": ("ceil",)},
}

DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "LeakyRelu": {"alpha": 0.01},
    "Elu": {"alpha": 1.0},
    "Celu": {"alpha": 1.0},
    "Selu": {"alpha": 1.67326, "gamma": 1.0507},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "Softmax": {"axis": -1},
    "LogSoftmax": {"axis": -1},
    "BatchNormalization": {"epsilon": 1e-5},
    "InstanceNormalization": {"epsilon": 1e-5},
    "LayerNormalization": {"epsilon": 1e-5, "axis": -1},
    "Gemm": {"alpha": 1.0, "beta": 1.0, "transB": 0},
    "ThresholdedRelu": {"alpha": 1.0},
    "Flatten": {"axis": 1},
    "Gather": {"axis": 0},
    "AveragePool": {"count_include_pad": 0},
    "Gelu": {"approximate": "none"},
}
"""Attributes that a node may leave out."""


def _network_weight(net: Network, model: ModelProto, rng: np.random.Generator) -> Changed | None:
    names = sorted(net.parameters)
    if not names:
        return None
    name = names[rng.integers(len(names))]
    found = other_array(np.asarray(net.parameters[name]), rng)
    if found is None:
        return None
    return Changed(net.graph, {**net.parameters, name: found[0]}, model, f"network: {name} {found[1]}", name)


def _file_weight(net: Network, model: ModelProto, rng: np.random.Generator) -> Changed | None:
    """A change of an initializer, or of a Constant node, of floats or of integers."""
    tensors = [(tensor, tensor.name) for tensor in model.graph.initializer]
    tensors += [
        (node.attribute[0].t, node.output[0])
        for node in model.graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    ]
    tensor, name = tensors[rng.integers(len(tensors))]
    array = numpy_helper.to_array(tensor)
    found = other_array(array, rng) if array.size and array.dtype.kind in "fi" else None
    if found is None:
        return None
    tensor.CopyFrom(numpy_helper.from_array(found[0], tensor.name))
    return Changed(net.graph, dict(net.parameters), model, f"file: {name} {found[1]}", name)


def _network_attribute(net: Network, model: ModelProto, rng: np.random.Generator) -> Changed | None:
    place = int(rng.integers(len(net.graph.nodes)))
    node = net.graph.nodes[place]
    values = {**DEFAULTS.get(node.operator, {}), **node.attributes}
    values = {name: value for name, value in values.items() if not isinstance(value, Tensor)}
    if not values:
        return None
    name = sorted(values)[rng.integers(len(values))]
    new = other_value(name, values[name], rng)
    if new == values[name]:
        return None
    made = replace(node, attributes={**node.attributes, name: new})
    what = f"network: {node.name} ({node.operator}) {name} {values[name]} → {new}"
    return Changed(_with(net.graph, place, made), dict(net.parameters), model, what, node.name)


def _file_attribute(net: Network, model: ModelProto, rng: np.random.Generator) -> Changed | None:
    node = model.graph.node[int(rng.integers(len(model.graph.node)))]
    values = dict(DEFAULTS.get(node.op_type, {}))
    for each in node.attribute:
        value = helper.get_attribute_value(each)
        values[each.name] = (
            value.decode() if isinstance(value, bytes) else tuple(value) if isinstance(value, list) else value
        )
    values = {name: value for name, value in values.items() if not isinstance(value, TensorProto)}
    if not values:
        return None
    name = sorted(values)[rng.integers(len(values))]
    new = other_value(name, values[name], rng)
    if new == values[name]:
        return None
    kept: list[AttributeProto] = [each for each in node.attribute if each.name != name]
    kept.append(helper.make_attribute(name, list(new) if isinstance(new, tuple) else new))
    del node.attribute[:]
    node.attribute.extend(kept)
    what = f"file: {node.name} ({node.op_type}) {name} {values[name]} → {new}"
    return Changed(net.graph, dict(net.parameters), model, what, node.name)


def _network_inputs(net: Network, model: ModelProto, rng: np.random.Generator) -> Changed | None:
    place = int(rng.integers(len(net.graph.nodes)))
    node = net.graph.nodes[place]
    turned = _turned(node.inputs, rng)
    if turned is None:
        return None
    what = f"network: {node.name} ({node.operator}) inputs {node.inputs} → {turned}"
    graph = _with(net.graph, place, replace(node, inputs=turned))
    return Changed(graph, dict(net.parameters), model, what, node.name)


def _file_inputs(net: Network, model: ModelProto, rng: np.random.Generator) -> Changed | None:
    node = model.graph.node[int(rng.integers(len(model.graph.node)))]
    turned = _turned(tuple(node.input), rng)
    if turned is None:
        return None
    what = f"file: {node.name} ({node.op_type}) inputs {tuple(node.input)} → {turned}"
    node.input[:] = turned
    return Changed(net.graph, dict(net.parameters), model, what, node.name)


def _turned(names: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...] | None:
    if len(set(names)) < 2:
        return None
    one, other = rng.choice(len(names), 2, replace=False)
    found = list(names)
    found[one], found[other] = found[other], found[one]
    return None if tuple(found) == names else tuple(found)


def _with(graph: Graph, place: int, node: Node) -> Graph:
    return replace(graph, nodes=(*graph.nodes[:place], node, *graph.nodes[place + 1 :]))


Change = Callable[[Network, ModelProto, np.random.Generator], "Changed | None"]

CHANGES: Final[Mapping[tuple[str, str], Change]] = {
    ("network", "weight"): _network_weight,
    ("file", "weight"): _file_weight,
    ("network", "attribute"): _network_attribute,
    ("file", "attribute"): _file_attribute,
    ("network", "inputs"): _network_inputs,
    ("file", "inputs"): _file_inputs,
}


def several_of(count: int, seed: int, *, torch: bool) -> Iterator[tuple[str, Changed]]:
    """``count`` changes, over all networks in turn, with the names of these; also those that ``torch`` exports."""
    rng = np.random.default_rng(seed)
    built: dict[str, Network | tuple[Network, ModelProto]] = {name: build() for name, build in NETWORKS.items()}
    built |= from_torch() if torch else {}
    for number in range(count):
        name = list(built)[number % len(built)]
        found = built[name]
        if isinstance(found, Network):
            opset = (13, 17, 21)[int(rng.integers(3))]
            yield f"{name} at opset {opset}", changed(found, to_model(found.graph, found.parameters, opset=opset), rng)
        else:
            yield name, changed(*found, rng)
