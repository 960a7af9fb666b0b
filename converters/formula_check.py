"""Networks compared with the formula that somebody's own program computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from portable_nn.core.errors import VerificationError
from portable_nn.network import Network
from portable_nn.onnx.verify import BATCHES, Difference, Tolerance, difference
from portable_nn.operators import Array


def compare_with_formula(
    network: Network,
    formula: Callable[[Array], Array],
    draw: Callable[[np.random.Generator, int], Array],
    what: str,
    tolerance: Tolerance,
    seed: int,
) -> Difference:
    """The largest difference between the numpy engine and a formula, at two batch sizes.

    Args:
        network: the network, of one input and one output.
        formula: examples (n, inputs) → outputs (n, outputs) in float64.
        draw: makes so many examples, in the type of the input.
        what: how the error begins; it names the two sides.
        tolerance: how far they may part.
        seed: that of the examples.

    Raises ``VerificationError`` where they part further.
    """
    rng, worst = np.random.default_rng(seed), Difference()
    for batch in BATCHES:
        given = draw(rng, batch)
        expected = formula(given)
        worst = worst.or_more(compare_numbers(network.predict(given), expected, what, tolerance))
    return worst


def compare_numbers(ours: Array, expected: Array, what: str, tolerance: Tolerance) -> Difference:
    """The difference of two arrays. Raises ``VerificationError``, which begins with ``what``, where it is too far."""
    found, allowed = difference(ours, expected), tolerance.allowed(expected)
    if not found.max_abs_error <= allowed:
        raise VerificationError(f"{what} part by {found.max_abs_error:.3g}; {allowed:.3g} would be allowed")
    return found
