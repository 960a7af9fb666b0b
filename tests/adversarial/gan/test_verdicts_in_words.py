"""What is said of samples that were drawn from known mixtures."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from portable_nn.adversarial.gan.modes import Ring, mode_metrics
from portable_nn.adversarial.gan.verdicts import pattern_verdict, ring_verdict

RNG = np.random.default_rng(5)


def ring(*looks: tuple[list[int], float, float]) -> str:
    """The verdict on looks: samples of these modes, this share of them at the modes, all this far from the centre."""
    samples = []
    for modes, share, far in looks:
        points = Ring().centres[RNG.choice(modes, 2500)] + 0.005 * RNG.standard_normal((2500, 2))
        points[int(share * 2500) :] *= 0.3
        samples.append(points * far)
    return ring_verdict(Ring(), asdict(mode_metrics(samples[-1])), samples)


ALL = list(range(8))


@pytest.mark.parametrize(
    ("expected", "looks"),
    [
        ("covered: all 8 of 8 modes", [(ALL, 1, 1)] * 6),
        ("covered: all 8 of 8 modes", [([0], 1, 1), (ALL, 1, 1), ([0], 1, 1), *[(ALL, 1, 1)] * 5]),
        ("collapsed: only 3 of 8 modes", [([1, 4, 6], 0.9, 1)] * 6),
        ("collapsed: only 1 of 8 modes", [([n], 0.9, 1) for n in range(6)]),
        ("undecided: 3 of 8 modes", [([1, 4, 6], 0.3, 1)] * 6),
        ("undecided: 0 of 8 modes", [(ALL, 1, 9.0)] * 8),
        ("undecided: 0 of 8 modes", [(ALL, 1, 1), (ALL, 1, 9.0)]),
        ("diverged: samples went farther", [(ALL, 1, 1.5**n) for n in range(8)]),
        ("cycled: a mode was lost and came back 2 times", [([n % 2], 1, 1) for n in range(10)]),
    ],
)
def test_the_ring(expected: str, looks: list[tuple[list[int], float, float]]) -> None:
    assert ring(*looks).startswith(expected)


@pytest.mark.parametrize(
    ("expected", "deviation", "errors"),
    [
        ("covered", 0.04, [3, 1, 0.2, 0.01, 0.02, 0.01]),
        ("collapsed", 0.01, [3, 1, 0.2, 0.01, 0.02, 0.01]),
        ("undecided", 0.04, [3, 1, 0.2]),
        ("undecided", 0.04, [0.06] * 10),
        ("undecided", 0.04, [1, 5]),
        ("diverged", 0.04, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]),
        ("undecided", 0.04, [0.1, 0.2, 0.4, 0.8, 1.6, 1.7]),
        ("cycled", 0.04, [1, 1, 1, 1, 1, 0.01, 0.2, 0.01, 0.2, 0.01]),
        ("covered", 0.04, [0.04, 0.06] * 5 + [0.04]),
    ],
)
def test_the_pattern(expected: str, deviation: float, errors: list[float]) -> None:
    figures = {"error": errors[-1], "deviation": deviation}
    assert pattern_verdict(0.05, figures, errors).partition(":")[0] == expected
