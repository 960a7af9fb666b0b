"""The names that users choose from, in calls and at the command line, and the defaults that several of these share.

This module imports nothing of the package, so that ``--help`` can show both without loading numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

__all__ = ["OnnxRuntime"]

PROVIDERS: Final[Mapping[str, tuple[str, str]]] = {
    "cpu": ("CPUExecutionProvider", "pip install onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "pip uninstall -y onnxruntime && pip install onnxruntime-gpu"),
    "tensorrt": ("TensorrtExecutionProvider", "pip uninstall -y onnxruntime && pip install onnxruntime-gpu"),
    "migraphx": ("MIGraphXExecutionProvider", "pip uninstall -y onnxruntime && pip install onnxruntime-migraphx"),
    "coreml": ("CoreMLExecutionProvider", "it comes with onnxruntime on macOS"),
    "directml": ("DmlExecutionProvider", "pip uninstall -y onnxruntime && pip install onnxruntime-directml"),
    "openvino": ("OpenVINOExecutionProvider", "pip uninstall -y onnxruntime && pip install onnxruntime-openvino"),
    "qnn": ("QNNExecutionProvider", "pip uninstall -y onnxruntime && pip install onnxruntime-qnn"),
}
"""The execution providers that onnxruntime runs models on: its name for each, and the command that installs it."""

AUTO: Final = "auto"
"""The fastest provider that is installed."""


@dataclass(frozen=True)
class OnnxRuntime:
    """The engine onnxruntime with options, for ``engine=``.

    Args:
        provider: what it runs models on: ``cpu``, ``cuda``, ``tensorrt``, ``migraphx``, ``coreml``, ``directml``,
            ``openvino`` or ``qnn``, as far as the installed onnxruntime was built with it, or any other that it has, in
            small letters. ``auto`` takes the fastest that is installed, TensorRT excepted, which compiles a model for
            minutes. What a provider cannot run is run by ``cpu``. Numbers may differ between providers in their last
            digits, or in more where one computes with fewer bits.

    A provider that is not installed raises ``MissingProviderError``, with the command that brings it; of one that is
    installed and does not start, or that runs no node of the model, ``ProviderWarning`` tells.
    """

    provider: str = "cpu"

    def __str__(self) -> str:
        return f"onnxruntime ({self.provider})"


EngineKind: TypeAlias = Literal["numpy", "onnxruntime"]
"""The names of engines."""

Engine: TypeAlias = EngineKind | OnnxRuntime
"""The engine that runs a graph."""

FloatType: TypeAlias = Literal["float32", "float64"]


def provider_of(engine: Engine) -> str:
    """The provider that an engine, which is onnxruntime, runs on."""
    return engine.provider if isinstance(engine, OnnxRuntime) else OnnxRuntime.provider


Found: TypeAlias = Literal["auto", "light", "dark"]
"""The colour of the ink in a picture: light on dark, dark on light, or to be detected for each picture."""

OPTIMIZERS: Final[Mapping[str, str]] = {
    "sgd": "SGD",
    "rmsprop": "RMSProp",
    "adam": "Adam",
    "adamw": "AdamW",
    "amsgrad": "AMSGrad",
    "lion": "Lion",
}
"""Optimizers: the name, and the class in ``training.optimizers``."""

SCHEDULES: Final[Mapping[str, str]] = {
    "step": "StepDecay",
    "exponential": "ExponentialDecay",
    "cosine": "CosineDecay",
    "one-cycle": "OneCycle",
    "plateau": "ReduceOnPlateau",
}
"""Schedules of the learning rate: the name, and the class in ``training.schedules``."""

LOSSES: Final[Mapping[str, str]] = {
    "mean_squared_error": "MeanSquaredError",
    "mean_absolute_error": "MeanAbsoluteError",
    "huber": "Huber",
    "gaussian": "GaussianLikelihood",
    "cross_entropy": "CrossEntropy",
    "focal": "Focal",
    "binary_cross_entropy": "BinaryCrossEntropy",
    "kl_divergence": "KLDivergence",
    "hinge": "Hinge",
}
"""Losses: the name, and the class in ``training.losses``."""

METRICS: Final[Mapping[str, Literal["classes", "numbers"]]] = {
    **dict.fromkeys(("accuracy", "precision", "recall", "f1"), "classes"),
    **dict.fromkeys(("mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "r2"), "numbers"),
}
"""Metrics: the name, which is that of the function in ``training.metrics``, and what it compares."""

ACTIVATIONS: Final[Mapping[str, tuple[str, str]]] = {
    "sigmoid": ("Sigmoid", "lecun_normal"),
    "tanh": ("Tanh", "glorot_uniform"),
    "relu": ("ReLU", "he_normal"),
}
"""Activations of a classifier: the name, the layer, and the initializer of the weights before it."""

Function: TypeAlias = Literal["sigmoid", "tanh", "relu", "softmax", "identity"]
FUNCTIONS: Final = get_args(Function)
"""Functions after layers whose arrays somebody trained by hand; ``converters.arrays`` computes them."""

Scheme: TypeAlias = Literal["simultaneous", "alternating", "optimistic", "extragradient"]
"""The order in which two players move."""

GanExample: TypeAlias = Literal["pattern", "ring"]
GanRecipe: TypeAlias = Literal["regularised", "plain"]
GanMethod: TypeAlias = Literal["alternating", "simultaneous", "extragradient", "optimistic_adam", "consensus"]
GanLoss: TypeAlias = Literal["saturating", "non_saturating", "wasserstein_gp", "hinge"]
"""The choices of ``simulate gan``; a test compares them with the tables in ``adversarial.gan``."""

PREPARATIONS: Final = (
    "imagenet",
    "imagenet-v2",
    "keras-tf",
    "keras-caffe",
    "keras-torch",
    "clip",
    "siglip",
    "vit",
    "yolo",
    "detection",
    "segmentation",
    "mnist",
    "mnist-torch",
    "digits",
    "unit",
    "levels",
)
"""Named preparations of pictures: the keys of ``preprocessing.named.NAMED``."""

Prepare: TypeAlias = Literal["digits", "none"]
"""The preparation of digits, of pixels and of photographs, in ``train``, ``tune`` and ``import``; or none."""

Fit: TypeAlias = Literal["crop", "stretch", "letterbox", "shorter", "none", "digit"]
"""The ways to bring a picture to the size of an input.

``crop``: its shorter side is scaled, and the middle cut out; ``stretch``: scaled without regard to its aspect ratio;
``letterbox``: scaled to fit, and the rest filled with grey; ``shorter``: as crop, but nothing is cut off; ``none``: as
it is; ``digit``: the drawing is found in it and laid out as in MNIST."""

OPTIMIZER: Final = "adam"
"""The optimizer of a training."""

BATCH_SIZE: Final = 256
"""The number of examples that are computed at once in prediction and evaluation of files and tables."""

MOST_AT_ONCE: Final = 512
"""The most examples that ``Network.predict`` computes at once of arrays, unless another number is asked for."""
