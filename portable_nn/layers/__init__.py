"""Builders: each adds nodes, and the parameters they need, to a graph in the making.

A builder is called on a symbol and gives a symbol. Called twice, it uses the same parameters twice.
"""

from portable_nn.layers.activation import LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Softplus, Tanh
from portable_nn.layers.dense import Dense
from portable_nn.layers.dropout import Dropout
from portable_nn.layers.layer import Input, Layer
from portable_nn.layers.shape import Flatten, Reshape, concatenate

__all__ = [
    "Dense", "Dropout", "Flatten", "Input", "Layer", "LeakyReLU", "LogSoftmax", "ReLU", "Reshape", "Sigmoid",
    "Softmax", "Softplus", "Tanh", "concatenate",
]  # fmt: skip
