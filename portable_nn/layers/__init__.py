"""Builders: each adds nodes, and the parameters they need, to a graph in the making.

A builder is called on a symbol and gives a symbol. Called twice, it uses the same parameters twice.
"""

from portable_nn.layers.activation import (
    CELU,
    ELU,
    GELU,
    SELU,
    Clip,
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softshrink,
    Softsign,
    Tanh,
    ThresholdedReLU,
)
from portable_nn.layers.convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from portable_nn.layers.dense import Dense
from portable_nn.layers.dropout import Dropout
from portable_nn.layers.layer import Input, Layer
from portable_nn.layers.normalization import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LocalResponseNorm,
    RMSNorm,
)
from portable_nn.layers.pooling import (
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    GlobalAvgPool,
    GlobalLPPool,
    GlobalMaxPool,
    LPPool1d,
    LPPool2d,
    LPPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from portable_nn.layers.resizing import PixelShuffle, PixelUnshuffle, Upsample
from portable_nn.layers.shape import Flatten, Pad, Reshape, concatenate

__all__ = [
    "CELU", "ELU", "GELU", "SELU", "AvgPool1d", "AvgPool2d", "AvgPool3d", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d",
    "Clip", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "Dense", "Dropout",
    "Flatten", "GlobalAvgPool", "GlobalLPPool", "GlobalMaxPool", "GroupNorm", "Hardshrink", "Hardsigmoid", "Hardswish",
    "Hardtanh", "Input", "InstanceNorm", "LPPool1d", "LPPool2d", "LPPool3d", "Layer", "LayerNorm", "LeakyReLU",
    "LocalResponseNorm", "LogSoftmax", "MaxPool1d", "MaxPool2d", "MaxPool3d", "Mish", "PReLU", "Pad", "PixelShuffle",
    "PixelUnshuffle", "RMSNorm", "ReLU", "ReLU6", "Reshape", "SiLU", "Sigmoid", "Softmax", "Softplus", "Softshrink",
    "Softsign", "Tanh", "ThresholdedReLU", "Upsample", "concatenate",
]  # fmt: skip
