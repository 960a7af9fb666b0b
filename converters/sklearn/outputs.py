"""The answers of scikit-learn's estimators, as outputs of networks."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import UsageError
from portable_nn.core.text import some
from portable_nn.core.tolerances import ATOL, ESTIMATED
from portable_nn.layers import Dense
from portable_nn.network import Network
from portable_nn.onnx.verify import Tolerance
from portable_nn.operators import Symbol, cast, constant, emit, integers

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


ACTIVATIONS: Final[Mapping[str, str]] = {"logistic": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}
"""The operators of scikit-learn's activations."""


def dense(x: Symbol, layers: Layers, activation: str = "identity") -> Symbol:
    """Dense layers, and the function between them that scikit-learn calls ``activation``."""
    for place, (weight, bias) in enumerate(layers, 1):
        x = Dense(weight.shape[1], weight_initial=weight.T, bias_initial=bias, name=f"dense_{place}")(x)
        if activation in ACTIVATIONS and place < len(layers):
            x = emit(ACTIVATIONS[activation], x)
    return x


def linear(x: Symbol, weight: Any, bias: Any) -> tuple[Symbol, Layers]:
    """A dense layer of coefficients (outputs, inputs) and intercepts, and these as layers."""
    weight = np.atleast_2d(np.asarray(weight.toarray() if hasattr(weight, "toarray") else weight))  # sparsify()
    layers = ((weight.T, np.broadcast_to(np.asarray(bias, weight.dtype), (len(weight),)).copy()),)
    return dense(x, layers), layers


def normalised(shares: Symbol) -> Symbol:
    """Shares that add up to 1; the same for all classes where all are 0."""
    total = emit("ReduceSum", shares, integers([1]), keepdims=1)
    nothing = emit("Equal", total, constant(0, shares.dtype))
    same = constant(1 / int(shares.shape[1]), shares.dtype)
    return emit("Where", nothing, same, shares / (total + cast(nothing, shares.dtype)))


def tolerance_of(network: Network, atol: float | None, rtol: float | None) -> Tolerance:
    """The tolerance of a comparison, absolute and relative to the largest number; by default by the network's type."""
    return Tolerance.of(ESTIMATED.get(network.graph.inputs[0].dtype, ATOL), atol, rtol)


def answers(estimator: Any, method: str, x: Any) -> NDArray[Any]:
    """The numbers that scikit-learn computes, (n, numbers). Raises ``UsageError`` for rows that it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = getattr(estimator, method)(x)
        except ValueError as error:
            said = str(error).partition("\n")[0]
            raise UsageError(
                f"{type(estimator).__name__} does not take the rows that both sides are compared on: verify=False "
                f"compares nothing (scikit-learn says: {said})"
            ) from error
    found = np.asarray(found.toarray() if hasattr(found, "toarray") else found, np.float64)
    return found.reshape(len(found), -1)
