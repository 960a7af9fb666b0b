"""Train a network in numpy, save it in a strict file that describes itself, and run it anywhere ONNX runs."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from portable_nn.errors import PortableNNError as PortableNNError
    from portable_nn.inspection import inspect as inspect
    from portable_nn.layers import Dense as Dense
    from portable_nn.layers import Dropout as Dropout
    from portable_nn.layers import Flatten as Flatten
    from portable_nn.layers import Input as Input
    from portable_nn.layers import LeakyReLU as LeakyReLU
    from portable_nn.layers import LogSoftmax as LogSoftmax
    from portable_nn.layers import ReLU as ReLU
    from portable_nn.layers import Reshape as Reshape
    from portable_nn.layers import Sigmoid as Sigmoid
    from portable_nn.layers import Softmax as Softmax
    from portable_nn.layers import Softplus as Softplus
    from portable_nn.layers import Tanh as Tanh
    from portable_nn.layers import concatenate as concatenate
    from portable_nn.models import load_model as load_model
    from portable_nn.network import Network as Network
    from portable_nn.network import Sequential as Sequential
    from portable_nn.network import load as load
    from portable_nn.predictions import Prediction as Prediction
    from portable_nn.predictions import Predictions as Predictions
    from portable_nn.predictions import predict as predict
    from portable_nn.training.classifier import train_classifier as train_classifier
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

__version__ = "0.1.0"

_HOMES = {
    "errors": ["PortableNNError"],
    "layers": [
        "Dense", "Dropout", "Flatten", "Input", "LeakyReLU", "LogSoftmax", "ReLU", "Reshape", "Sigmoid", "Softmax",
        "Softplus", "Tanh", "concatenate",
    ],
    "inspection": ["inspect"],
    "models": ["load_model"],
    "network": ["Network", "Sequential", "load"],
    "predictions": ["Prediction", "Predictions", "predict"],
    "training.classifier": ["train_classifier"],
    "training.fit": ["EarlyStopping", "History"],
    "training.optimizers": ["SGD", "Adam", "AdamW", "RMSProp"],
    "training.schedules": ["CosineDecay", "ExponentialDecay", "StepDecay", "Warmup"],
}  # fmt: skip
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
