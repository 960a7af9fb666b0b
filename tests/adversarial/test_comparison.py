"""Methods at equal numbers of gradient evaluations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from portable_nn.adversarial import METHODS, compare, game, simulate
from portable_nn.adversarial.methods.table import COMPARED
from portable_nn.adversarial.runs.comparison import spent
from portable_nn.core.errors import UsageError

GRADIENTS = {
    "simultaneous": 1, "alternating": 1, "extragradient": 2, "optimistic": 1, "competitive": 2, "consensus": 2,
    "symplectic": 3, "hamiltonian": 2, "lola": 2, "lookahead": 1, "anchored": 2, "runge-kutta": 4,
}  # fmt: skip
"""Gradients and products with the Jacobian a step, by the publications."""

FACTORS = {
    "simultaneous": 1.00498756, "alternating": 1.0, "extragradient": 0.99503769, "optimistic": 0.99493615,
    "alternating-optimistic": 0.99000102, "proximal": 0.99503719, "competitive": 0.99503719, "lola": 0.98508883,
    "consensus": 0.90553851, "hamiltonian": 0.9, "momentum": 1.00074303, "alternating-momentum": 0.99851779,
    "lookahead": 0.99623717,
}  # fmt: skip
"""Published closed forms at a rate of 0.1 on x·y."""


def test_each_method_has_the_same_number_of_gradients_and_no_more() -> None:
    found = compare(methods=[*GRADIENTS], evaluations=1000)
    assert [entry.name for entry in found.entries] == [*GRADIENTS]
    for entry in found.entries:
        cost = GRADIENTS[entry.name]
        assert 1000 - 2 * cost < entry.spent <= 1000
        assert entry.forecast.cost == cost
        assert entry.evaluations[0] == 0
        assert entry.evaluations[-1] == entry.spent
        assert np.allclose(np.diff(entry.evaluations[1:]), cost)
        assert len(entry.evaluations) == len(entry.result.distance)


def test_the_first_gradient_of_optimistic_is_counted() -> None:
    [entry] = compare(methods="optimistic", evaluations=10).entries
    assert (int(entry.result.t[-1]), entry.result.nfev) == (9, 10)
    assert entry.evaluations.tolist() == [0.0, *range(2, 11)]


def test_the_run_is_that_of_simulate() -> None:
    [entry] = compare("quadratic", "consensus", (1.0, -2.0), 0.2, 100, options={"consensus": {"gamma": 0.5}}).entries
    alone = simulate("quadratic", "consensus", (1.0, -2.0), 0.2, 50, gamma=0.5)
    assert np.array_equal(entry.result.z, alone.z)
    assert entry.forecast.options == {"gamma": 0.5}


def test_closed_form_eigenvalues_and_measurement_agree_with_the_published_factors() -> None:
    found = compare(methods=[*FACTORS], evaluations=2000)
    for entry in found.entries:
        assert entry.forecast.closed_form == pytest.approx(FACTORS[entry.name], abs=6e-9), entry.name
        assert entry.forecast.spectral_radius == pytest.approx(entry.forecast.closed_form, abs=1e-8)
        assert entry.measured == pytest.approx(entry.forecast.closed_form, abs=1e-8)
        assert entry.per_evaluation == pytest.approx(entry.measured ** (1 / entry.forecast.cost), rel=1e-3)


def test_stability_limits() -> None:
    limits = {entry.name: entry.forecast.stability_limit for entry in compare(methods="all", evaluations=100).entries}
    assert limits["extragradient"] == pytest.approx(1, abs=1e-6)
    assert limits["optimistic"] == pytest.approx(1 / math.sqrt(3), abs=1e-6)
    assert limits["alternating"] == pytest.approx(2, abs=1e-6)
    assert limits["simultaneous"] == 0
    assert limits["proximal"] == math.inf
    assert limits["adam"] is None
    assert set(limits) == set(METHODS)


def test_what_is_not_known_is_none() -> None:
    adam, anchored = compare(methods=["adam", "anchored"], evaluations=50).entries
    for entry in (adam, anchored):
        theory = entry.forecast
        assert (theory.closed_form, theory.spectral_radius, theory.stability_limit) == (None, None, None)
    [falling] = compare(methods="extragradient", decay="1/sqrt(t)", evaluations=50).entries
    assert (falling.forecast.closed_form, falling.forecast.spectral_radius) == (None, None)
    [formula] = compare(methods="extragradient", learning_rate="0.1/t", evaluations=50).entries
    assert (formula.forecast.closed_form, formula.forecast.spectral_radius) == (None, None)
    [pair] = compare(methods="simultaneous", learning_rate=(0.1, 0.2), evaluations=50).entries
    assert pair.forecast.closed_form is None
    assert pair.forecast.spectral_radius == pytest.approx(math.sqrt(1 + 0.1 * 0.2))  # |1 ± i√(ab)|
    assert pair.measured == pytest.approx(pair.forecast.spectral_radius, abs=1e-8)


def test_of_a_matrix_the_slowest_singular_value_counts() -> None:
    matrix = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])  # Three numbers against two: along one nothing happens.
    largest, smallest = np.linalg.svd(matrix, compute_uv=False)
    extra, plain = compare(
        game("bilinear", matrix=matrix), ["extragradient", "simultaneous"], np.ones(5), 0.1, 4000
    ).entries
    h = 0.1 * smallest
    assert extra.forecast.closed_form == pytest.approx(math.sqrt(1 - h**2 + h**4))
    assert plain.forecast.closed_form == pytest.approx(math.hypot(1, 0.1 * largest))
    for entry in (extra, plain):
        assert entry.forecast.spectral_radius == pytest.approx(entry.forecast.closed_form, abs=1e-10)
        assert entry.measured == pytest.approx(entry.forecast.closed_form, abs=1e-8)


def test_near_the_equilibrium_of_dirac_gan_the_rate_is_halved() -> None:
    [entry] = compare("dirac-gan", "simultaneous", evaluations=10).entries
    assert entry.forecast.closed_form == pytest.approx(math.hypot(1, 0.05))  # Mescheder et al.: eigenvalues ±i/2.


def test_an_implicit_step_of_a_bent_game_pays_for_its_iterations() -> None:
    [entry] = compare("forsaken", "proximal", evaluations=1000).entries
    assert 800 < spent(entry.result) <= 1000
    assert int(entry.result.t[-1]) < 300
    assert entry.evaluations[-1] == pytest.approx(entry.spent)


def test_the_nearest_come_first() -> None:
    found = compare(evaluations=500)
    ends = [float(entry.result.distance[-1]) for entry in found.ranked]
    assert ends == sorted(ends)
    assert found.ranked[0].name == "consensus"
    assert found.ranked[-1].name == "simultaneous"
    assert tuple(entry.name for entry in found.entries) == COMPARED


def test_one_that_overflows_comes_last() -> None:
    found = compare(methods=["simultaneous", "extragradient"], learning_rate=0.9, evaluations=5000)
    assert found.ranked[-1].name == "simultaneous"
    assert not np.isfinite(found.ranked[-1].end)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": ["lola", "nosuch"]}, "there is no method 'nosuch'"),
        ({"methods": []}, "methods must be one or more of simultaneous, .*, or 'all'"),
        (
            {"methods": "runge-kutta", "evaluations": 3},
            "evaluations must be at least 4 for a step of the method 'runge-kutta', not 3",
        ),
        ({"methods": "optimistic", "evaluations": 1}, "evaluations must be at least 2 for a step of the method"),
        ({"evaluations": 0}, "evaluations must be a whole number from 1"),
        ({"evaluations": 1.5}, "evaluations must be a whole number"),
        ({"options": {"lola": {"gamma": 1}}}, "options are given for the method 'lola', which is not among simul"),
        ({"options": {"consensus": {"beta": 1}}}, "the method 'consensus' has no option 'beta': it has gamma"),
        ({"learning_rate": [0.1, 0.2]}, "methods are compared from one start at one rate: give one of each"),
        ({"start": np.ones((3, 2))}, "methods are compared from one start at one rate"),
        ({"game": "nosuch"}, "there is no game 'nosuch'"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compare(**arguments)
