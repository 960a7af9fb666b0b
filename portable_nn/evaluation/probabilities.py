"""The probabilities that outputs stand for."""

from __future__ import annotations

from typing import Final

import numpy as np

from portable_nn.operators.registry import Array

LEAST: Final = float(np.finfo(np.float64).eps)
"""The least probability whose logarithm is taken, and 1 less it the largest, where a model gives probabilities."""


def softmax(numbers: Array) -> Array:
    """Numbers ``(…, classes)`` as shares, whose sum is 1 in each row."""
    powers = np.exp(numbers - numbers.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def probabilities(numbers: Array, kind: str, temperature: float = 1.0) -> Array:
    """Outputs ``(n, width)`` as probabilities ``(n, classes)``.

    Args:
        numbers: the outputs; one alone is about the second of two classes.
        kind: ``logits``, ``binary_logits`` or ``probabilities``, as in ``OutputInfo``.
        temperature: logits are divided by it. Probabilities are taken for those of logits: their logarithms are.
    """
    numbers, kind = _logits(numbers, kind, temperature)
    if kind == "logits":
        numbers = softmax(numbers)
    elif kind == "binary_logits":
        numbers = (1 + np.tanh(numbers / 2)) / 2  # The logistic function, without overflow.
    return np.concatenate([1 - numbers, numbers], axis=1) if numbers.shape[1] == 1 else numbers


def log_probabilities(numbers: Array, kind: str, temperature: float = 1.0) -> Array:
    """The logarithms of ``probabilities``, without the loss of digits that these have near 0."""
    numbers, kind = _logits(numbers, kind, temperature)
    if kind == "logits":
        shifted = numbers - numbers.max(axis=1, keepdims=True)
        found: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    elif kind == "binary_logits" and numbers.shape[1] == 1:
        found = -np.logaddexp(0, np.concatenate([numbers, -numbers], axis=1))
    else:
        found = np.log(probabilities(numbers, kind).clip(LEAST, 1))
    return found


def _logits(numbers: Array, kind: str, temperature: float) -> tuple[Array, str]:
    """The numbers after a division by the temperature, and their kind; themselves where that is 1."""
    if temperature == 1:
        return numbers, kind
    if kind != "probabilities":
        return numbers / temperature, kind
    clipped = numbers.clip(LEAST, 1 - LEAST)
    if numbers.shape[1] == 1:
        return (np.log(clipped) - np.log1p(-clipped)) / temperature, "binary_logits"
    return np.log(clipped) / temperature, "logits"


def quantities(numbers: Array, kind: str) -> Array:
    """The quantities ``(n, count)`` among outputs: all, or of ``gaussian`` the means."""
    return numbers[:, : numbers.shape[1] // 2] if kind == "gaussian" else numbers
