"""Activations that Keras has by a word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from portable_nn.converters.keras.rebuilding.nodes import real, whole
from portable_nn.core.graph import Node

WORDS: Final[Mapping[str, str]] = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus", "Softsign": "softsign",
    "Selu": "selu", "Mish": "mish", "HardSwish": "hard_silu", "Exp": "exponential",
}  # fmt: skip

SCALE: Final = (1.6732632, 1.050701)
"""The constants alpha and gamma of Selu (Klambauer et al., NeurIPS 2017)."""


def _is_usual(selu: Node) -> bool:
    """True if a Selu has the constants of its paper, which Keras's function has."""
    constants = (real(selu, "alpha", SCALE[0]), real(selu, "gamma", SCALE[1]))
    return all(abs(found - usual) < 1e-6 for found, usual in zip(constants, SCALE, strict=True))


def plain_activation(node: Node) -> str | None:
    """The name of Keras's function that a node is."""
    if node.operator == "Selu" and not _is_usual(node):
        return None
    if node.operator in WORDS:
        return WORDS[node.operator]
    if node.operator == "Swish" and real(node, "alpha", 1.0) == 1:
        return "silu"
    if node.operator == "Gelu" and node.attributes.get("approximate", "none") == "none":
        return "gelu"
    if node.operator == "Elu" and real(node, "alpha", 1.0) == 1:
        return "elu"
    if node.operator == "Celu" and real(node, "alpha", 1.0) == 1:
        return "celu"
    if node.operator == "LeakyRelu" and abs(real(node, "alpha", 0.01) - 0.2) < 1e-7:
        return "leaky_relu"
    if node.operator == "Softmax" and whole(node, "axis", -1) == -1:
        return "softmax"
    if node.operator == "HardSigmoid" and abs(real(node, "alpha", 0.2) - 1 / 6) < 1e-7:
        return "hard_sigmoid"
    return None
