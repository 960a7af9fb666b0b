"""The 40 models of ``faults.py``, kept in a folder once they are made, and what is asked of any model of ONNX here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from onnx import helper, numpy_helper

Arrays = Mapping[str, np.ndarray[Any, Any]]

TOKENS = 16
"""Whole numbers that a model is given are below this."""


# -- models


def handmade(text: str, **weights: Any) -> onnx.ModelProto:
    """A model in ONNX's text form, with its weights."""
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 18]> {text}')
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(each), name) for name, each in weights.items())
    return model


def weight(rng: np.random.Generator, *shape: int) -> Any:
    return (rng.normal(size=shape) * (2 / float(np.prod(shape[1:]))) ** 0.5).astype(np.float32)


def branches() -> onnx.ModelProto:
    """An ``If`` whose branches have weights of their own and one of the graph around them."""
    rng = np.random.default_rng(0)
    return handmade(
        """chosen (float[4, 8] x) => (float[4, 8] y, float[4, 8] z) {
            a = Gemm <transB = 1> (x, w1, b1)
            h = Relu (a)
            total = ReduceSum <keepdims = 0> (h)
            enough = Less (total, most)
            c = If (enough) <
                then_branch = below () => (float[4, 8] p) { p0 = MatMul (h, w2)  p1 = Add (p0, b2)  p = Tanh (p1) },
                else_branch = above () => (float[4, 8] q) { q0 = MatMul (h, w3)  q1 = Sub (q0, x)  q = Sigmoid (q1) }
            >
            y = Gemm (c, w4, b1)
            d = Sub (c, h)
            z = Max (d, x)
        }""",
        **{f"w{place}": weight(rng, 8, 8) for place in (1, 2, 3, 4)},
        b1=weight(rng, 8),
        b2=weight(rng, 8),
        most=np.float32(35),
    )


def suppression() -> onnx.ModelProto:
    """A small detector, whose boxes are chosen by a NonMaxSuppression."""
    rng = np.random.default_rng(0)
    return handmade(
        """detector (float[1, 3, 32, 32] x) => (float[n, 4] boxes, float[n] scores) {
            c1 = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, w1, b1)
            r1 = LeakyRelu <alpha = 0.1> (c1)
            c2 = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (r1, w2, b2)
            r2 = HardSwish (c2)
            h = Conv (r2, w3, b3)
            flat = Reshape (h, shape)
            rows = Transpose <perm = [0, 2, 1]> (flat)
            at, size, score = Split <axis = 2> (rows, parts)
            centre = Sigmoid (at)
            half = Exp (size)
            low = Sub (centre, half)
            high = Add (centre, half)
            corners = Concat <axis = 2> (low, high)
            sure = Sigmoid (score)
            by_class = Transpose <perm = [0, 2, 1]> (sure)
            found = NonMaxSuppression (corners, by_class, most, overlap)
            places = Gather <axis = 1> (found, two)
            all = Squeeze (corners, zero)
            boxes = Gather (all, places)
            each = Reshape (sure, one_row)
            scores = Gather (each, places)
        }""",
        w1=weight(rng, 8, 3, 3, 3), b1=weight(rng, 8), w2=weight(rng, 16, 8, 3, 3), b2=weight(rng, 16),
        w3=weight(rng, 5, 16, 1, 1), b3=weight(rng, 5), shape=np.array([1, 5, 64]), parts=np.array([2, 2, 1]),
        most=np.array([10]), overlap=np.float32([0.5]), two=np.array(2), zero=np.array([0]), one_row=np.array([64]),
    )  # fmt: skip


def quantised(name: str) -> onnx.ModelProto:
    """A model in int8, as onnxruntime's static quantisation writes it."""
    from onnxruntime.quantization import QuantFormat, quantize_static

    model = of_torch(name)
    rows = iter([inputs(model, seed) for seed in range(8)])
    reader = SimpleNamespace(get_next=lambda: next(rows, None))
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, f"{folder}/a.onnx")
        quantize_static(f"{folder}/a.onnx", f"{folder}/b.onnx", reader, QuantFormat.QDQ, per_channel=True)
        return onnx.load(f"{folder}/b.onnx")


def of_torch(name: str) -> onnx.ModelProto:
    from fault_torch import SOURCES

    return SOURCES[name].model()


def of_keras(*layers: Callable[[Any], Any], shape: tuple[int, ...]) -> onnx.ModelProto:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    rng = np.random.default_rng(0)
    network = keras.Sequential([keras.Input(shape), *(each(keras.layers) for each in layers)])
    network(np.zeros((1, *shape), np.float32))
    for each in network.weights:
        drawn = rng.normal(size=each.shape)
        flat = len(each.shape) == 1
        scale = 0.3 if flat else (2 / np.prod(each.shape[:-1])) ** 0.5
        each.assign(np.abs(drawn) + 0.5 if "variance" in each.path else drawn * scale + ("gamma" in each.path))
    with tempfile.TemporaryDirectory() as folder:
        network.export(f"{folder}/a.onnx", format="onnx", verbose=False)
        return onnx.load(f"{folder}/a.onnx")


def of_sklearn(regression: bool) -> onnx.ModelProto:
    from skl2onnx import to_onnx
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    rng = np.random.default_rng(0)
    x = (2 * rng.normal(size=(300, 8)) + 1).astype(np.float32)
    kind, y = (MLPRegressor, x @ rng.normal(size=8)) if regression else (MLPClassifier, (x > 1).sum(1) // 3)
    last = kind(hidden_layer_sizes=(16, 8), activation="tanh" if regression else "relu", max_iter=60, random_state=0)
    pipeline = make_pipeline(StandardScaler(), *([] if regression else [MinMaxScaler()]), last)
    options = {} if regression else {"zipmap": False}
    found: onnx.ModelProto = to_onnx(pipeline.fit(x, y), x[:1], target_opset=18, options=options)
    return found


def of_ours(*layers: Callable[[Any], Any], shape: tuple[int, ...]) -> onnx.ModelProto:
    """A network of this package with drawn weights."""
    import portable_nn as pnn

    network, rng = pnn.Sequential(pnn.Input(*shape), *(each(pnn) for each in layers), seed=0), np.random.default_rng(0)
    for name, each in network.parameters.items():
        if each.ndim < 2 and each.dtype == np.float32:
            each[...] = (
                0.5 + np.abs(rng.normal(size=each.shape)) if "var" in name else each + 0.3 * rng.normal(size=each.shape)
            )
    with tempfile.TemporaryDirectory() as folder:
        pnn.export_onnx(network, f"{folder}/a.onnx", verify=False)
        return onnx.load(f"{folder}/a.onnx")


TORCH = (
    "mlp", "activations", "arithmetic", "cnn", "cnn-folded", "residual", "depthwise", "unet", "unet-dynamo",
    "group-norm", "upscaling", "gated-sequence", "mixer", "mixer-dynamo", "lstm", "gru", "encoder", "detector-heads",
    "squeezenet", "shufflenet", "mobilenet", "timm-resnet", "timm-efficientnet", "timm-vit", "timm-convnext", "bert",
    "gpt2", "llama", "distilbert",
)  # fmt: skip

MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    **{name: lambda name=name: of_torch(name) for name in TORCH},
    "branches": branches,
    "suppression": suppression,
    "quantised-cnn": lambda: quantised("cnn"),
    "quantised-mlp": lambda: quantised("mlp"),
    "sklearn-classifier": lambda: of_sklearn(False),
    "sklearn-regressor": lambda: of_sklearn(True),
    "keras-cnn": lambda: of_keras(
        lambda k: k.Conv2D(8, 3, padding="same"),
        lambda k: k.BatchNormalization(),
        lambda k: k.ReLU(),
        lambda k: k.DepthwiseConv2D(3),
        lambda k: k.MaxPooling2D(),
        lambda k: k.Flatten(),
        lambda k: k.Dense(6, "softmax"),
        shape=(12, 12, 3),
    ),
    "keras-sequence": lambda: of_keras(
        lambda k: k.Conv1D(8, 3),
        lambda k: k.LeakyReLU(),
        lambda k: k.BatchNormalization(),
        lambda k: k.Dense(8, "gelu"),
        lambda k: k.GlobalAveragePooling1D(),
        lambda k: k.Dense(5, "silu"),
        shape=(8, 4),
    ),
    "our-transformer": lambda: of_ours(
        lambda p: p.SinusoidalPositions(4),
        lambda p: p.TransformerEncoderLayer(4, units=32),
        lambda p: p.Flatten(),
        lambda p: p.Dense(5),
        shape=(4, 16),
    ),
    "our-lstm": lambda: of_ours(lambda p: p.LSTM(12, bidirectional=True), lambda p: p.Dense(4), shape=(6, 8)),
    "our-cnn": lambda: of_ours(
        lambda p: p.Conv2d(8, 3, padding=1),
        lambda p: p.BatchNorm2d(),
        lambda p: p.ELU(),
        lambda p: p.AvgPool2d(2),
        lambda p: p.Conv2d(8, 3, groups=8),
        lambda p: p.GroupNorm(2),
        lambda p: p.GELU(),
        lambda p: p.GlobalAvgPool(),
        lambda p: p.Dense(6),
        lambda p: p.Softmax(),
        shape=(3, 16, 16),
    ),
}


# -- what is asked of any model


def inner(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in a node, those in their nodes too."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield from graphs(attribute.g)


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and those in its nodes."""
    yield graph
    for node in graph.node:
        yield from inner(node)


def nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """All nodes, those of branches too."""
    return [node for graph in graphs(model.graph) for node in graph.node]


def tidied(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without texts for people and stated shapes, each node with a name of its own."""
    model = onnx.inliner.inline_local_functions(model)
    for graph in graphs(model.graph):
        for field in ("doc_string", "metadata_props", "value_info"):
            graph.ClearField(field)  # type: ignore[arg-type]
        for tensor in graph.initializer:
            tensor.ClearField("doc_string")
            tensor.ClearField("metadata_props")
    model.ClearField("metadata_props")
    names = set[str]()
    for place, node in enumerate(nodes(model)):
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
        if not node.name or node.name in names:
            node.name = f"{node.op_type}_{place}"
        names.add(node.name)
    return model


def model_of(name: str, cache: Path) -> onnx.ModelProto:
    """One of the models; made if the folder has it not."""
    path = cache / f"{name}.onnx"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        made = tidied(MODELS[name]())
        onnx.checker.check_model(made)
        part = path.with_suffix(f".{os.getpid()}")
        onnx.save(made, part)
        part.rename(path)
    return onnx.load(path)


def inputs(model: onnx.ModelProto, seed: int) -> dict[str, Any]:
    """Numbers for each input: normal, or whole numbers that fit any vocabulary here; 2 of what has no size."""
    rng, stored = np.random.default_rng([seed, 29]), {each.name for each in model.graph.initializer}
    found = {}
    for each in model.graph.input:
        if each.name in stored:
            continue
        kind = each.type.tensor_type
        shape = [dim.dim_value or 2 for dim in kind.shape.dim]
        numbers = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        drawn = rng.normal(size=shape) if numbers.kind == "f" else rng.integers(TOKENS, size=shape)
        found[each.name] = drawn.astype(numbers)
    return found


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(model.SerializeToString())


def run(model: onnx.ModelProto, given: Arrays, *, every: bool = False, optimised: bool = False) -> dict[str, Any]:
    """The outputs of a model in onnxruntime, or all values of its outermost graph."""
    import onnxruntime

    if every:
        model, wanted = copied(model), {each.name for each in model.graph.output}
        values = [name for node in model.graph.node for name in node.output if name and name not in wanted]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in values)
    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(given)), strict=True))
