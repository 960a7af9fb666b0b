"""Methods over many learning rates."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from portable_nn.adversarial import exact_factor, find_method, simulate, sweep
from portable_nn.adversarial.runs.sweeping import RATES
from portable_nn.adversarial.runs.verdict import CYCLES, DIVERGES
from portable_nn.core.errors import UsageError

METHODS = ["simultaneous", "alternating", "extragradient", "optimistic", "consensus", "lookahead"]


def test_the_measured_factor_is_the_closed_form_at_every_rate() -> None:
    found = sweep(methods=METHODS, rates=np.geomspace(0.02, 0.5, 9))
    assert found.names == tuple(METHODS)
    assert found.measured.shape == found.spectral_radius.shape == found.status.shape == (6, 9)
    for place, name in enumerate(METHODS):
        factors = exact_factor(name, found.rates)
        assert np.allclose(found.measured[place], factors, rtol=0, atol=1e-8), name
        assert np.allclose(found.spectral_radius[place], factors, rtol=0, atol=1e-8), name


@pytest.mark.long
def test_a_row_is_what_simulate_gives_at_those_rates() -> None:
    found = sweep("forsaken", "extragradient", [0.3, 0.1], (0.5, 0.5), 50)
    assert found.rates.tolist() == [0.1, 0.3]  # In order.
    assert found.start.tolist() == [0.5, 0.5]
    alone = simulate("forsaken", "extragradient", (0.5, 0.5), 0.3, 50)
    assert found.measured[0, 1] == pytest.approx(alone.rate)
    assert found.status[0, 1] == alone.status


@pytest.mark.long
def test_limits_and_where_runs_change_their_verdict() -> None:
    limits = {"simultaneous": 0.0, "alternating": 2.0, "extragradient": 1.0, "optimistic": 1 / math.sqrt(3)}
    found = sweep(methods=[*limits])
    assert np.allclose(found.limits, [*limits.values()], atol=1e-6)
    assert np.allclose(found.rates, np.geomspace(*RATES))
    for place, limit in enumerate(limits.values()):
        assert (found.status[place][found.rates > limit] == DIVERGES).all()
        assert (found.status[place][found.rates < limit] <= CYCLES).all()


def test_the_best_rate_of_extragradient() -> None:
    # √(1 - η² + η⁴) is least, √3/2, at η = 1/√2.
    rates = np.append(np.geomspace(0.1, 0.99, 30), 1 / math.sqrt(2))
    found = sweep(methods="extragradient", rates=rates)
    assert found.rates[found.best[0]] == pytest.approx(1 / math.sqrt(2))
    assert found.measured[0, found.best[0]] == pytest.approx(math.sqrt(3) / 2)
    assert found.per_evaluation[0, found.best[0]] == pytest.approx((math.sqrt(3) / 2) ** 0.5)


@pytest.mark.long
def test_what_theory_does_not_know_is_no_number() -> None:
    found = sweep(methods=["adam", "anchored", "extragradient"], rates=[0.05, 0.1], steps=60)
    assert np.isnan(found.limits).tolist() == [True, True, False]
    assert np.isnan(found.spectral_radius).all(axis=1).tolist() == [True, True, False]
    assert np.isfinite(found.measured).all()
    assert found.costs.tolist() == [1, 2, 2]


def test_progress_hears_of_each_method() -> None:
    heard: list[tuple[int, int]] = []
    sweep(methods=METHODS[:3], rates=[0.1], steps=10, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_a_method_of_ones_own() -> None:
    own = replace(find_method("optimistic"), name="mine")
    assert sweep(methods=[own], rates=[0.1]).measured == sweep(methods=["optimistic"], rates=[0.1]).measured


def test_options_of_a_method() -> None:
    found = sweep(methods="lookahead", rates=[0.1], options={"lookahead": {"k": 10, "alpha": 0.3}})
    assert found.measured[0, 0] == pytest.approx(exact_factor("lookahead", 0.1, k=10, alpha=0.3), abs=1e-8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rates": []}, "rates must be a list of numbers above 0"),
        ({"rates": 0.1}, "rates must be a list of numbers above 0, not 0.1"),
        ({"rates": [0.1, 0]}, r"rates must be a list of numbers above 0, not \[0.1, 0\]"),
        ({"rates": [0.1, np.inf]}, "rates must be finite"),
        ({"rates": "fast"}, "rates must be a list of numbers above 0, not 'fast'"),
        ({"start": np.ones((3, 2))}, "rates are swept from one start: start must be 2 numbers"),
        ({"steps": 0}, "steps must be a whole number from 1"),
        ({"methods": "nosuch"}, "there is no method 'nosuch'"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sweep(**arguments)
