"""Fits of echoes: they find what made an echo without speckle, and err by as much as was measured elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from portable_nn.core.errors import UsageError
from portable_nn.models.altimetry.bounds import cramer_rao
from portable_nn.models.altimetry.echoes import Sea, mean_echoes, speckled
from portable_nn.models.altimetry.retracking import METHODS, retrack

pytest.importorskip("scipy")


@pytest.mark.parametrize("method", METHODS)
def test_an_echo_without_speckle_is_found_exactly(method):
    sea = Sea(np.array([1.5, 6.0]), np.array([0.8, -2.1]), np.array([0.7, 350.0]), 0.1, np.array([0.014, 7.0]))
    found = retrack(mean_echoes(sea), sea, method)
    np.testing.assert_allclose(found[:, 0], sea.height, rtol=2e-3)
    np.testing.assert_allclose(found[:, 1], sea.epoch, atol=2e-3)
    np.testing.assert_allclose(found[:, 2], sea.amplitude, rtol=1e-3)
    np.testing.assert_allclose(found[:, 3], sea.sine_squared[0, 0], atol=5e-7)


def test_what_is_refused():
    with pytest.raises(UsageError, match=r"^method must be one of mle3, mle4, likelihood, not 'ocean'"):
        retrack(np.ones((1, 104)), Sea(1.0), "ocean")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"^unknowns must be 3 or 4, not 5"):
        retrack(np.ones((1, 104)), Sea(1.0), unknowns=5)


@pytest.mark.long
@pytest.mark.parametrize(
    ("height", "mle3", "mle4", "likelihood"), [(1.0, 3.0, 2.97, 1.04), (2.0, 2.7, 2.77, 1.02), (4.0, 2.7, 2.9, 1.0)]
)
def test_errors_are_as_measured(height, mle3, mle4, likelihood):
    """By the bound of three unknowns; 250 echoes know an error to 5 %, of which three are allowed."""
    rng = np.random.default_rng(11)
    sea = Sea(np.full(250, height), rng.uniform(-3, 3, 250))
    echoes = speckled(mean_echoes(sea), rng)
    bound = float(np.sqrt(cramer_rao(Sea(height))[0, 0, 0]))
    for method, wanted in zip(METHODS, (mle3, mle4, likelihood), strict=True):
        error = retrack(echoes, sea, method)[:, 0] - height
        assert np.sqrt((error**2).mean()) / bound == pytest.approx(wanted, rel=0.15), method
