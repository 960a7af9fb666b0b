"""The answers of scikit-learn's estimators, as outputs of networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import UsageError
from portable_nn.core.text import some
from portable_nn.layers import Dense
from portable_nn.operators import Symbol

Kind: TypeAlias = Literal["values", "logits", "binary_logits", "probabilities"]
Method: TypeAlias = Literal["predict_proba", "decision_function", "predict", "transform"]

Layers: TypeAlias = tuple[tuple[NDArray[Any], NDArray[Any]], ...]
"""Weights (inputs, outputs) and biases."""


@dataclass(frozen=True)
class Output:
    """The answer of an estimator, and its meaning.

    Attributes:
        symbol: its numbers.
        kind: what they are.
        method: the method of the estimator that gives the same; for logits of probabilities, these.
        labels: the classes.
        loss: the loss that the estimator was trained with, as ``fit`` takes it; ``""`` where this package has none.
        notes: what could not be kept.
        layers: the weights (in, out) and biases that train, where the output is a network of dense layers.
        activation: the function between these, as scikit-learn calls it.
    """

    symbol: Symbol
    kind: Kind
    method: Method
    labels: tuple[str, ...] = ()
    loss: str = ""
    notes: tuple[str, ...] = ()
    layers: Layers = ()
    activation: str = "identity"


def labels_of(classes: Any) -> tuple[str, ...]:
    """The labels of classes as text. Raises ``UsageError`` where two are the same."""
    found = tuple(str(each) for each in np.asarray(classes).tolist())
    if len(set(found)) < len(found):
        raise UsageError(f"the classes {some(found)} are not different as text")
    return found


def linear(x: Symbol, weight: Any, bias: Any) -> tuple[Symbol, Layers]:
    """A dense layer of coefficients (outputs, inputs) and intercepts, and these as layers."""
    weight = np.atleast_2d(np.asarray(weight.toarray() if hasattr(weight, "toarray") else weight))  # sparsify()
    bias = np.broadcast_to(np.asarray(bias, weight.dtype), (len(weight),)).copy()
    layer = Dense(len(weight), weight_initial=weight, bias_initial=bias, name="dense_1")
    return layer(x), ((weight.T, bias),)
