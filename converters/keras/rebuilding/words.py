"""Activations that Keras has by a word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from portable_nn.core.graph import Node
from portable_nn.operators import lookup

WORDS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "Relu": ("relu", {}),
    "Sigmoid": ("sigmoid", {}),
    "Tanh": ("tanh", {}),
    "Softplus": ("softplus", {}),
    "Softsign": ("softsign", {}),
    "Mish": ("mish", {}),
    "HardSwish": ("hard_silu", {}),
    "Exp": ("exponential", {}),
    "Selu": ("selu", {"alpha": 1.6732632, "gamma": 1.050701}),  # Klambauer et al., NeurIPS 2017
    "Swish": ("silu", {"alpha": 1.0}),
    "Gelu": ("gelu", {"approximate": "none"}),
    "Elu": ("elu", {"alpha": 1.0}),
    "Celu": ("celu", {"alpha": 1.0}),
    "LeakyRelu": ("leaky_relu", {"alpha": 0.2}),
    "Softmax": ("softmax", {"axis": -1}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 1 / 6, "beta": 0.5}),
}
"""The name of Keras's function for an operator, and the options that it has there."""


def plain_activation(node: Node) -> str | None:
    """The name of Keras's function that a node is."""
    word, options = WORDS.get(node.operator, (None, {}))
    known = lookup(node.operator, node.domain).attributes
    found = {name: node.attributes.get(name, known[name].default) for name in options}
    same = (each == found[name] or _is_near(each, found[name]) for name, each in options.items())
    return word if all(same) else None


def _is_near(one: Any, other: Any) -> bool:
    return isinstance(one, float) and isinstance(other, float) and abs(one - other) < 1e-6
