"""Small ONNX files as other programs write them, with random weights, and inputs for each: rows of ``FILES``.

Each function writes ``path``, and returns arrays that the file's inputs take, in their order.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Make = Callable[[Path], Sequence[Array]]


class File(NamedTuple):
    """A file: the program that writes it, the module that must be installed for that, and the function."""

    producer: str
    module: str
    make: Make


FILES: Final[dict[str, File]] = {}


def row(name: str, producer: str, module: str, *given: object, **options: object) -> Callable[[Any], Any]:
    """Add a file by its name, which the function writes with these arguments."""

    def add(make: Any) -> Any:
        FILES[name] = File(producer, module, partial(make, *given, **options))
        return make

    return add


def real(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def words(*shape: int, most: int = 99, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(1, most, shape)


# -- networks of PyTorch, which several programs rewrite


def _conv() -> tuple[Any, Sequence[Array]]:
    from torch import nn

    layers = (
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, groups=2),
        nn.Hardswish(), nn.Conv2d(16, 16, 1), nn.Sigmoid(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
    )  # fmt: skip
    return nn.Sequential(*layers), [real(4, 3, 12, 12)]


def _mlp() -> tuple[Any, Sequence[Array]]:
    from torch import nn

    return nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 5)), [real(4, 32)]


def _rows() -> tuple[Any, Sequence[Array]]:
    """Layers of several rows each, which are products of matrices and additions."""
    return _mlp()[0], [real(4, 7, 32)]


def _lstm() -> tuple[Any, Sequence[Array]]:
    from torch import nn

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.lstm = nn.Embedding(99, 16), nn.LSTM(16, 12, batch_first=True, bidirectional=True)
            self.out = nn.Linear(24, 5)

        def forward(self, x: Any) -> Any:
            return self.out(self.lstm(self.words(x))[0])

    return Tagger(), [words(4, 7)]


def _transformer() -> tuple[Any, Sequence[Array]]:
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.out = nn.Embedding(99, 32), nn.Linear(32, 5)
            self.layers = nn.ModuleList(
                nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=first) for first in (True, False)
            )

        def forward(self, x: Any) -> Any:
            h = self.words(x)
            for layer in self.layers:
                h = layer(h)
            return self.out(h)

    return Encoder(), [words(4, 7)]


NETWORKS: Final = {"conv": _conv, "mlp": _mlp, "rows": _rows, "lstm": _lstm, "transformer": _transformer}


def export(module: Any, given: Sequence[Array], path: Path, *, dynamo: bool = False, **options: Any) -> Sequence[Array]:
    """Export a module, or a scripted one, of PyTorch as it is."""
    import torch

    module = module.eval()
    defaults: dict[str, Any] = {"external_data": False, "verbose": False} if dynamo else {"opset_version": 17}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, tuple(map(torch.from_numpy, given)), str(path), dynamo=dynamo, **defaults | options)
    return given


def network(name: str, path: Path, **options: Any) -> Sequence[Array]:
    """Export one of ``NETWORKS`` with an open batch."""
    import torch

    torch.manual_seed(0)
    made, given = NETWORKS[name]()
    if not options.get("dynamo"):
        options["input_names"], options["dynamic_axes"] = ["x"], {"x": {0: "batch"}}
    return export(made, given, path, **options)


# -- onnxruntime's quantiser


def _quantised(kind: str, path: Path, write: Callable[[Path, Path, Sequence[Array]], None]) -> Sequence[Array]:
    """Rewrite the float file of a network, which is removed."""
    from onnxruntime.quantization import quant_pre_process

    floats = path.with_suffix(".floats.onnx")
    given = network(kind, floats)
    quant_pre_process(floats, floats, skip_symbolic_shape=True)
    write(floats, path, given)
    floats.unlink()
    return given


_QUANTISER = ("onnxruntime's quantiser", "onnxruntime")


@row("conv QDQ int8 per channel", *_QUANTISER, "conv", "QDQ", "QInt8", "QInt8", per_channel=True)
@row("conv QOperator uint8", *_QUANTISER, "conv", "QOperator", "QUInt8", "QUInt8")
@row("mlp QDQ uint8 int8", *_QUANTISER, "mlp", "QDQ", "QUInt8", "QInt8")
@row("mlp QDQ int16", *_QUANTISER, "mlp", "QDQ", "QInt16", "QInt8")
@row("transformer QDQ int8", *_QUANTISER, "transformer", "QDQ", "QInt8", "QInt8")
@row("transformer QOperator per channel", *_QUANTISER, "transformer", "QOperator", "QUInt8", "QInt8", per_channel=True)
def static(kind: str, form: str, activations: str, weights: str, path: Path, **options: Any) -> Sequence[Array]:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    def write(floats: Path, path: Path, given: Sequence[Array]) -> None:
        rows = iter([{"x": given[0]}])

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def get_next(self) -> dict[str, Array] | None:
                return next(rows, None)

        quantize_static(
            floats, path, Reader(), quant_format=QuantFormat[form], activation_type=QuantType[activations],
            weight_type=QuantType[weights], **options,
        )  # fmt: skip

    return _quantised(kind, path, write)


@row("conv dynamic uint8", *_QUANTISER, "conv", "QUInt8")
@row("mlp dynamic int8 per channel", *_QUANTISER, "mlp", "QInt8", per_channel=True)
@row("lstm dynamic int8", *_QUANTISER, "lstm", "QInt8")
@row("transformer dynamic uint8", *_QUANTISER, "transformer", "QUInt8")
def dynamic(kind: str, weights: str, path: Path, **options: Any) -> Sequence[Array]:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    return _quantised(
        kind, path, lambda floats, path, _: quantize_dynamic(floats, path, weight_type=QuantType[weights], **options)
    )


@row("mlp 4 bits", *_QUANTISER, "rows", "QOperator", is_symmetric=True)
@row("transformer 4 bits with Gather", *_QUANTISER, "transformer", "QOperator", ops=("MatMul", "Gather"))
@row("mlp 4 bits QDQ", *_QUANTISER, "rows", "QDQ")
def four_bits(
    kind: str, form: str, path: Path, *, ops: tuple[str, ...] = ("MatMul",), is_symmetric: bool = False
) -> Sequence[Array]:
    import onnx
    from onnxruntime.quantization import QuantFormat, matmul_nbits_quantizer

    def write(floats: Path, path: Path, _: object) -> None:
        config = matmul_nbits_quantizer.DefaultWeightOnlyQuantConfig(
            block_size=16, is_symmetric=is_symmetric, quant_format=QuantFormat[form], op_types_to_quantize=ops,
            quant_axes=(("MatMul", 0), ("Gather", 1)),
        )  # fmt: skip
        made = matmul_nbits_quantizer.MatMulNBitsQuantizer(onnx.load(floats), algo_config=config)
        made.process()
        made.model.save_model_to_file(str(path))

    return _quantised(kind, path, write)


# -- branches and loops by both exporters of PyTorch

_TORCHSCRIPT, _DYNAMO = ("PyTorch's older exporter", "torch"), ("PyTorch's newer exporter", "onnxscript")


@row("scripted branch", *_TORCHSCRIPT, "branch")
@row("scripted loop of data", *_TORCHSCRIPT, "while")
@row("scripted loop of steps", *_TORCHSCRIPT, "steps")
@row("scripted loop in a branch", *_TORCHSCRIPT, "both")
def scripted(kind: str, path: Path) -> Sequence[Array]:
    import torch
    from producer_scripts import SCRIPTS

    torch.manual_seed(0)
    made, given = SCRIPTS[kind]()
    axes = {"x": {0: "batch"} if kind != "steps" else {0: "steps"}}
    return export(torch.jit.script(made.eval()), given, path, input_names=["x"], dynamic_axes=axes)


@row("torch.cond", *_DYNAMO, "cond")
@row("torch.cond in torch.cond", *_DYNAMO, "nested")
@row("while_loop", *_DYNAMO, "while")
@row("scan", *_DYNAMO, "scan")
def higher_order(kind: str, path: Path) -> Sequence[Array]:
    import torch
    from producer_scripts import HIGHER

    torch.manual_seed(0)
    made, given = HIGHER[kind]()
    return export(made, given, path, dynamo=True)


# -- onnxruntime's optimiser of transformers

_OPTIMISER = ("onnxruntime's optimiser", "transformers")
_TEXT: Final = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99,
    "max_position_embeddings": 64,
}  # fmt: skip


def _bert() -> Any:
    import transformers

    return transformers.BertModel(transformers.BertConfig(**_TEXT, attn_implementation="eager"))


def _distilbert() -> Any:
    import transformers

    sizes = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": 99, "max_position_embeddings": 64}
    return transformers.DistilBertModel(transformers.DistilBertConfig(**sizes, attn_implementation="eager"))


def _gpt2() -> Any:
    import transformers

    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99, "n_positions": 64, "use_cache": False}
    return transformers.GPT2Model(transformers.GPT2Config(**sizes, attn_implementation="eager"))


def _vit() -> Any:
    import transformers

    sizes = {key: value for key, value in _TEXT.items() if key.startswith(("hidden", "num", "inter"))}
    config = transformers.ViTConfig(image_size=16, patch_size=4, attn_implementation="eager", **sizes)
    return transformers.ViTModel(config, add_pooling_layer=False)


def _text(*names: str) -> dict[str, Array]:
    mask = np.ones((2, 7), np.int64)
    mask[-1, 5:] = 0
    every = {"input_ids": words(2, 7), "attention_mask": mask, "token_type_ids": words(2, 7, most=2)}
    return {name: every[name] for name in names}


TRANSFORMERS: Final[dict[str, tuple[Callable[[], Any], dict[str, Array]]]] = {
    "bert": (_bert, _text("input_ids", "attention_mask", "token_type_ids")),
    "distilbert": (_distilbert, _text("input_ids", "attention_mask")),
    "gpt2": (_gpt2, _text("input_ids", "attention_mask")),
    "vit": (_vit, {"pixel_values": real(2, 3, 16, 16)}),
}


@row("bert fused", *_OPTIMISER, "bert", "bert")
@row("distilbert fused", *_OPTIMISER, "distilbert", "bert")
@row("gpt2 fused", *_OPTIMISER, "gpt2", "gpt2")
@row("vit fused", *_OPTIMISER, "vit", "vit")
@row("bert fused float16", *_OPTIMISER, "bert", "bert", half=True)
def fused(kind: str, model_type: str, path: Path, *, half: bool = False) -> Sequence[Array]:
    import torch
    from onnxruntime.transformers import optimizer

    torch.manual_seed(0)
    make, feeds = TRANSFORMERS[kind]
    model = make().eval()

    class First(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *given: Any) -> Any:
            return self.model(**dict(zip(feeds, given, strict=True)), return_dict=True).last_hidden_state

    axes = {name: {0: "batch"} | ({1: "length"} if array.ndim == 2 else {}) for name, array in feeds.items()}
    given = export(
        First(), [*feeds.values()], path, input_names=[*feeds], output_names=["state"], dynamic_axes=axes,
        opset_version=14,
    )  # fmt: skip
    made = optimizer.optimize_model(str(path), model_type, num_heads=4, hidden_size=32, opt_level=0)
    if half:
        made.convert_float_to_float16()
    made.save_model_to_file(str(path))
    return given


@row("conv, extended level", "onnxruntime's optimiser", "torch", "conv")
@row("transformer, extended level", "onnxruntime's optimiser", "torch", "transformer")
def extended(kind: str, path: Path) -> Sequence[Array]:
    import onnxruntime

    plain = path.with_suffix(".plain.onnx")
    given = network(kind, plain)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath, options.log_severity_level = str(path), 3
    onnxruntime.InferenceSession(plain, options)
    plain.unlink()
    return given


# -- torchvision's detectors


@row("fasterrcnn", "torchvision's detectors", "torchvision", "fasterrcnn_mobilenet_v3_large_320_fpn", 64)
@row("ssdlite", "torchvision's detectors", "torchvision", "ssdlite320_mobilenet_v3_large", 320)
@row("retinanet", "torchvision's detectors", "torchvision", "retinanet_resnet50_fpn", 64)
def detector(name: str, size: int, path: Path) -> Sequence[Array]:
    import torch
    from torchvision.models import detection

    torch.manual_seed(0)
    sizes = {} if name.startswith("ssd") else {"min_size": size, "max_size": size}
    made = getattr(detection, name)(weights=None, weights_backbone=None, **sizes).eval()
    x = np.random.default_rng(0).random((3, size, size), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(made, ([torch.from_numpy(x)],), str(path), dynamo=False, opset_version=17)
    return [x]


# -- simplifiers


@row("conv, onnxslim", "onnxslim and onnxsim", "onnxslim", "conv")
@row("transformer, onnxslim", "onnxslim and onnxsim", "onnxslim", "transformer")
def slim(kind: str, path: Path) -> Sequence[Array]:
    import onnx
    import onnxslim

    given = network(kind, path)
    onnx.save(onnxslim.slim(str(path)), path)
    return given


@row("lstm, onnxsim", "onnxslim and onnxsim", "onnxsim", "lstm")
@row("transformer, onnxsim", "onnxslim and onnxsim", "onnxsim", "transformer", dynamo=True)
def simplified(kind: str, path: Path, **options: Any) -> Sequence[Array]:
    import onnx
    import onnxsim

    given = network(kind, path, **options)
    onnx.save(onnxsim.simplify(str(path))[0], path)
    return given


# -- scikit-learn by skl2onnx


@row("pipeline of an MLP", "skl2onnx", "skl2onnx", "mlp")
@row("logistic regression", "skl2onnx", "skl2onnx", "logistic")
@row("gradient boosting", "skl2onnx", "skl2onnx", "boosting")
@row("nearest neighbours", "skl2onnx", "skl2onnx", "neighbours")
def estimator(kind: str, path: Path) -> Sequence[Array]:
    from skl2onnx import to_onnx
    from sklearn.decomposition import PCA
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, StandardScaler

    x = real(200, 6)
    y = (x[:, 0] * x[:, 1] > 0).astype(int) + (x[:, 2] > 0)
    estimators = {
        "mlp": lambda: make_pipeline(StandardScaler(), PCA(4), MLPClassifier((16,), max_iter=20, random_state=0)),
        "logistic": lambda: make_pipeline(MinMaxScaler(), PolynomialFeatures(2), LogisticRegression()),
        "boosting": lambda: GradientBoostingClassifier(n_estimators=5, random_state=0),
        "neighbours": lambda: KNeighborsRegressor(3),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = estimators[kind]().fit(x, y)
        options = {id(made): {"zipmap": False}} if kind != "neighbours" else {}
        path.write_bytes(to_onnx(made, x[:1], options=options).SerializeToString())
    return [x[:20]]


# -- Keras and TensorFlow by tf2onnx, JAX by jax2onnx, Paddle by paddle2onnx


@row("conv of Keras", "tf2onnx", "tf2onnx", "conv")
@row("lstm of Keras", "tf2onnx", "tf2onnx", "lstm")
@row("attention of Keras", "tf2onnx", "tf2onnx", "attention")
@row("tf.while_loop", "tf2onnx", "tf2onnx", "while")
def tensorflow(kind: str, path: Path) -> Sequence[Array]:
    import tf2onnx
    from producer_scripts import TENSORFLOW

    function, signature, given = TENSORFLOW[kind]()
    tf2onnx.convert.from_function(function, input_signature=signature, opset=17, output_path=str(path))
    return given


@row("mlp of flax", "jax2onnx", "jax2onnx", "mlp")
@row("conv of JAX", "jax2onnx", "jax2onnx", "conv")
@row("lax.scan", "jax2onnx", "jax2onnx", "scan")
@row("lax.cond", "jax2onnx", "jax2onnx", "cond")
def jax(kind: str, path: Path) -> Sequence[Array]:
    from jax2onnx import to_onnx
    from producer_scripts import JAX

    function, given = JAX[kind]()
    to_onnx(function, list(given), return_mode="file", output_path=str(path))
    return given


@row("conv of Paddle", "paddle2onnx", "paddle2onnx", "conv")
@row("lstm of Paddle", "paddle2onnx", "paddle2onnx", "lstm")
def paddle(kind: str, path: Path) -> Sequence[Array]:
    import paddle
    from producer_scripts import PADDLE

    paddle.seed(0)
    made, spec, given = PADDLE[kind]()
    made.eval()
    paddle.onnx.export(made, str(path.with_suffix("")), input_spec=spec, opset_version=15)
    return given
