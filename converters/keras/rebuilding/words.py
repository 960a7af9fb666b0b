"""Activations that Keras has by a word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from portable_nn.core.graph import Node
from portable_nn.operators import lookup


class Word(NamedTuple):
    """An activation in Keras.

    Attributes:
        name: that of Keras's function.
        options: those of the operator that the function has.
        option: the class of Keras's layer, and its option, that take any alpha.
    """

    name: str | None
    options: Mapping[str, Any] = {}
    option: tuple[str, str] | None = None


WORDS: Final[Mapping[str, Word]] = {
    "Relu": Word("relu"),
    "Sigmoid": Word("sigmoid"),
    "Tanh": Word("tanh"),
    "Softplus": Word("softplus"),
    "Softsign": Word("softsign"),
    "Mish": Word("mish"),
    "HardSwish": Word("hard_silu"),
    "Exp": Word("exponential"),
    "Selu": Word("selu", {"alpha": 1.6732632, "gamma": 1.050701}),  # Klambauer et al., NeurIPS 2017
    "Swish": Word("silu", {"alpha": 1.0}),
    "Gelu": Word("gelu", {"approximate": "none"}),
    "Elu": Word("elu", {"alpha": 1.0}, ("ELU", "alpha")),
    "Celu": Word("celu", {"alpha": 1.0}),
    "LeakyRelu": Word("leaky_relu", {"alpha": 0.2}, ("LeakyReLU", "negative_slope")),
    "ThresholdedRelu": Word(None, {}, ("ReLU", "threshold")),
    "Softmax": Word("softmax", {"axis": -1}),
    "HardSigmoid": Word("hard_sigmoid", {"alpha": 1 / 6, "beta": 0.5}),
}
"""The activations, by operator."""


def plain_activation(node: Node) -> str | None:
    """The name of Keras's function that a node is."""
    word = WORDS.get(node.operator, Word(None))
    known = lookup(node.operator, node.domain).attributes
    found = {name: node.attributes.get(name, known[name].default) for name in word.options}
    same = (each == found[name] or _is_near(each, found[name]) for name, each in word.options.items())
    return word.name if all(same) else None


def _is_near(one: Any, other: Any) -> bool:
    return isinstance(one, float) and isinstance(other, float) and abs(one - other) < 1e-6
