"""Keras's layers as this package's: one row for each class of layers, in the module of its family."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from portable_nn.converters.keras.layers import (
    activations,
    attention,
    convolutional_recurrent,
    convolutions,
    linear,
    merging,
    normalization,
    pooling,
    preparation,
    recurrent,
    regularization,
    shapes,
)
from portable_nn.converters.keras.layers.operations import OPERATIONS

__all__ = ["LAYERS", "OPERATIONS"]

LAYERS: Final[Mapping[str, Callable[..., Any]]] = {
    **linear.LAYERS,
    **convolutions.LAYERS,
    **pooling.LAYERS,
    **normalization.LAYERS,
    **regularization.LAYERS,
    **shapes.LAYERS,
    **preparation.LAYERS,
    **activations.LAYERS,
    **recurrent.LAYERS,
    **convolutional_recurrent.LAYERS,
    **attention.LAYERS,
    **merging.LAYERS,
}
"""The function that makes each layer of Keras, by the name of its class."""
