"""Train a network in numpy, save it in a strict file that describes itself, and run it anywhere ONNX runs."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from portable_nn.core.errors import PortableNNError as PortableNNError
    from portable_nn.layers import CELU as CELU
    from portable_nn.layers import ELU as ELU
    from portable_nn.layers import GELU as GELU
    from portable_nn.layers import SELU as SELU
    from portable_nn.layers import AvgPool1d as AvgPool1d
    from portable_nn.layers import AvgPool2d as AvgPool2d
    from portable_nn.layers import AvgPool3d as AvgPool3d
    from portable_nn.layers import BatchNorm1d as BatchNorm1d
    from portable_nn.layers import BatchNorm2d as BatchNorm2d
    from portable_nn.layers import BatchNorm3d as BatchNorm3d
    from portable_nn.layers import Clip as Clip
    from portable_nn.layers import Conv1d as Conv1d
    from portable_nn.layers import Conv2d as Conv2d
    from portable_nn.layers import Conv3d as Conv3d
    from portable_nn.layers import ConvTranspose1d as ConvTranspose1d
    from portable_nn.layers import ConvTranspose2d as ConvTranspose2d
    from portable_nn.layers import ConvTranspose3d as ConvTranspose3d
    from portable_nn.layers import Dense as Dense
    from portable_nn.layers import Dropout as Dropout
    from portable_nn.layers import Flatten as Flatten
    from portable_nn.layers import GlobalAvgPool as GlobalAvgPool
    from portable_nn.layers import GlobalLPPool as GlobalLPPool
    from portable_nn.layers import GlobalMaxPool as GlobalMaxPool
    from portable_nn.layers import GroupNorm as GroupNorm
    from portable_nn.layers import Hardshrink as Hardshrink
    from portable_nn.layers import Hardsigmoid as Hardsigmoid
    from portable_nn.layers import Hardswish as Hardswish
    from portable_nn.layers import Hardtanh as Hardtanh
    from portable_nn.layers import Input as Input
    from portable_nn.layers import InstanceNorm as InstanceNorm
    from portable_nn.layers import LayerNorm as LayerNorm
    from portable_nn.layers import LeakyReLU as LeakyReLU
    from portable_nn.layers import LocalResponseNorm as LocalResponseNorm
    from portable_nn.layers import LogSoftmax as LogSoftmax
    from portable_nn.layers import LPPool1d as LPPool1d
    from portable_nn.layers import LPPool2d as LPPool2d
    from portable_nn.layers import LPPool3d as LPPool3d
    from portable_nn.layers import MaxPool1d as MaxPool1d
    from portable_nn.layers import MaxPool2d as MaxPool2d
    from portable_nn.layers import MaxPool3d as MaxPool3d
    from portable_nn.layers import Mish as Mish
    from portable_nn.layers import Pad as Pad
    from portable_nn.layers import PixelShuffle as PixelShuffle
    from portable_nn.layers import PixelUnshuffle as PixelUnshuffle
    from portable_nn.layers import PReLU as PReLU
    from portable_nn.layers import ReLU as ReLU
    from portable_nn.layers import ReLU6 as ReLU6
    from portable_nn.layers import Reshape as Reshape
    from portable_nn.layers import RMSNorm as RMSNorm
    from portable_nn.layers import Sigmoid as Sigmoid
    from portable_nn.layers import SiLU as SiLU
    from portable_nn.layers import Softmax as Softmax
    from portable_nn.layers import Softplus as Softplus
    from portable_nn.layers import Softshrink as Softshrink
    from portable_nn.layers import Softsign as Softsign
    from portable_nn.layers import Tanh as Tanh
    from portable_nn.layers import ThresholdedReLU as ThresholdedReLU
    from portable_nn.layers import Upsample as Upsample
    from portable_nn.layers import concatenate as concatenate
    from portable_nn.model_files import load_model as load_model
    from portable_nn.model_files.checking import check as check
    from portable_nn.model_files.inspecting import inspect as inspect
    from portable_nn.model_files.predictions import Prediction as Prediction
    from portable_nn.model_files.predictions import Predictions as Predictions
    from portable_nn.model_files.predictions import predict as predict
    from portable_nn.network import Network as Network
    from portable_nn.network import Sequential as Sequential
    from portable_nn.network import Snapshot as Snapshot
    from portable_nn.network import load as load
    from portable_nn.recipes.classifier import train_classifier as train_classifier
    from portable_nn.training.fit import EarlyStopping as EarlyStopping
    from portable_nn.training.fit import History as History
    from portable_nn.training.optimizers import SGD as SGD
    from portable_nn.training.optimizers import Adam as Adam
    from portable_nn.training.optimizers import AdamW as AdamW
    from portable_nn.training.optimizers import RMSProp as RMSProp
    from portable_nn.training.schedules import CosineDecay as CosineDecay
    from portable_nn.training.schedules import ExponentialDecay as ExponentialDecay
    from portable_nn.training.schedules import StepDecay as StepDecay
    from portable_nn.training.schedules import Warmup as Warmup

from portable_nn.core.version import __version__ as __version__

_HOMES = {
    "model_files.checking": ["check"],
    "core.errors": ["PortableNNError"],
    "layers": [
        "AvgPool1d",
        "AvgPool2d",
        "AvgPool3d",
        "BatchNorm1d",
        "BatchNorm2d",
        "BatchNorm3d",
        "CELU",
        "Clip",
        "Conv1d",
        "Conv2d",
        "Conv3d",
        "ConvTranspose1d",
        "ConvTranspose2d",
        "ConvTranspose3d",
        "Dense",
        "Dropout",
        "ELU",
        "Flatten",
        "GELU",
        "GlobalAvgPool",
        "GlobalLPPool",
        "GlobalMaxPool",
        "GroupNorm",
        "Hardshrink",
        "Hardsigmoid",
        "Hardswish",
        "Hardtanh",
        "Input",
        "InstanceNorm",
        "LPPool1d",
        "LPPool2d",
        "LPPool3d",
        "LayerNorm",
        "LeakyReLU",
        "LocalResponseNorm",
        "LogSoftmax",
        "MaxPool1d",
        "MaxPool2d",
        "MaxPool3d",
        "Mish",
        "PReLU",
        "Pad",
        "PixelShuffle",
        "PixelUnshuffle",
        "RMSNorm",
        "ReLU",
        "ReLU6",
        "Reshape",
        "SELU",
        "SiLU",
        "Sigmoid",
        "Softmax",
        "Softplus",
        "Softshrink",
        "Softsign",
        "Tanh",
        "ThresholdedReLU",
        "Upsample",
        "concatenate",
    ],
    "model_files.inspecting": ["inspect"],
    "model_files": ["load_model"],
    "network": ["Network", "Sequential", "Snapshot", "load"],
    "model_files.predictions": ["Prediction", "Predictions", "predict"],
    "recipes.classifier": ["train_classifier"],
    "training.fit": ["EarlyStopping", "History"],
    "training.optimizers": ["SGD", "Adam", "AdamW", "RMSProp"],
    "training.schedules": ["CosineDecay", "ExponentialDecay", "StepDecay", "Warmup"],
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted([*_HOME_OF, "__version__"])

# In a checkout, ``converters`` and ``models`` lie beside this package and not in it (see pyproject.toml).
_ROOT = Path(__file__).parent.parent
if (_ROOT / "pyproject.toml").is_file():
    __path__.append(str(_ROOT))


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for, so that the command line starts quickly."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'portable_nn' has no attribute '{name}'")
    return getattr(importlib.import_module(f"portable_nn.{_HOME_OF[name]}"), name)
