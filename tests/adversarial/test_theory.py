"""Theory beside measurement: closed forms, spectral radii and factors measured from runs are the same."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import numpy as np
import pytest

from portable_nn.adversarial import (
    METHODS,
    exact_factor,
    forecast,
    game,
    invariant,
    simulate,
    spectral_radius,
    spectrum,
    stability_limit,
    update_operator,
)
from portable_nn.adversarial.runs.run import fit
from portable_nn.core.errors import UsageError

WITH_FORM = [name for name, row in METHODS.items() if exact_factor(name, 0.1) is not None and row.linear]
MATRIX = np.random.default_rng(5).normal(size=(3, 3))
LEFT, SIGMAS, RIGHT = np.linalg.svd(MATRIX)

PUBLISHED: list[tuple[str, dict[str, float], float]] = [
    ("simultaneous", {}, 1.00498756),
    ("alternating", {}, 1.0),
    ("extragradient", {}, 0.99503769),
    ("extragradient", {"gamma": 1.0}, 0.90553851),
    ("optimistic", {}, 0.99493615),
    ("alternating-optimistic", {}, 0.99000102),
    ("alternating-optimistic", {"gamma": 0.0}, 1.0),  # Alternating play.
    ("optimistic", {"gamma": 0.0}, 1.00498756),  # Simultaneous play.
    # λ² - (1 - i(η + g))λ - ig for η = 0.1 and a strength g of 0.3.
    ("optimistic", {"gamma": 0.3}, max(abs(root) for root in np.roots([1, -(1 - 0.4j), -0.3j]))),
    ("prediction", {}, 0.99**0.5),
    ("slingshot", {}, 0.99**0.5),
    ("smoothed", {}, 0.95**0.5),
    ("smoothed", {"pull": 0.0}, 1.0),  # Alternating play.
    ("proximal", {}, 0.99503719),
    ("competitive", {}, 0.99503719),
    ("competitive-linear", {}, 0.99503769),
    ("lola", {}, 0.98508883),
    ("consensus", {"gamma": 1.0}, 0.90553851),
    ("symplectic", {"lam": 1.0}, 0.90553851),
    ("hamiltonian", {}, 0.9),
    ("momentum", {"beta": -0.5}, 1.00074303),
    ("alternating-momentum", {"beta": -0.5}, 0.99851779),
    ("lookahead", {"k": 5, "alpha": 0.5}, 0.99623717),
    ("midpoint", {}, 1.0),
    ("runge-kutta", {}, (1 - 1e-6 / 72 + 1e-8 / 576) ** 0.5),
]


@pytest.mark.parametrize(("method", "options", "factor"), PUBLISHED, ids=str)
def test_factors_at_a_rate_of_a_tenth_are_those_of_the_literature(
    method: str, options: dict[str, float], factor: float
) -> None:
    assert exact_factor(method, 0.1, **options) == pytest.approx(factor, abs=1e-8)
    assert spectral_radius(method, "bilinear", 0.1, **options) == pytest.approx(factor, abs=1e-8)
    assert simulate("bilinear", method, steps=600, **options).rate == pytest.approx(factor, abs=1e-8)


def test_every_closed_form_has_a_published_factor() -> None:
    assert {method for method, _, _ in PUBLISHED} == set(WITH_FORM)


@pytest.mark.parametrize(("method", "rate"), list(product(WITH_FORM, [0.01, 0.1, 0.5])))
def test_closed_form_spectral_radius_and_measured_factor_are_equal(method: str, rate: float) -> None:
    exact = exact_factor(method, rate)
    assert spectral_radius(method, "bilinear", rate) == pytest.approx(exact, abs=1e-8)
    assert simulate("bilinear", method, [0.6, 0.7], rate, 600).rate == pytest.approx(exact, abs=1e-8)


@pytest.mark.parametrize(
    ("played", "method"),
    [
        (played, name)
        for played, (name, row) in product(["bilinear", "quadratic"], METHODS.items())
        if row.has_operator and (played, name) != ("bilinear", "follow-the-ridge")  # Where it is not defined.
    ],
)
def test_every_linear_method_runs_at_its_spectral_radius_and_closed_form(method: str, played: str) -> None:
    """All methods that have an update operator, replayed on floats and iterated in numpy."""
    radius = spectral_radius(method, played, 0.1)
    alone, together = simulate(played, method, steps=600), simulate(played, method, [[0.6, 0.7]], steps=600)
    assert alone.rate == pytest.approx(radius, abs=1e-8)
    assert together.rate == pytest.approx([radius], abs=1e-8)
    factor = exact_factor(method, 0.1)
    if factor is not None and played == "bilinear":
        assert factor == pytest.approx(radius, abs=1e-8)


@pytest.mark.parametrize(("method", "rate"), list(product(WITH_FORM, [0.01, 0.1, 0.5])))
def test_vector_games_scale_by_each_singular_value(method: str, rate: float) -> None:
    """A run that starts in the plane of one singular value stays in it, and has its factor."""
    played = game("bilinear", matrix=MATRIX)
    exact = [exact_factor(method, rate, sigma) for sigma in SIGMAS]
    assert spectral_radius(method, played, rate) == pytest.approx(max(exact), abs=1e-8)
    starts = [np.concatenate([LEFT[:, place], 0.3 * RIGHT[place]]) for place in range(len(SIGMAS))]
    for sigma, start, factor in zip(SIGMAS, starts, exact, strict=True):
        found = simulate(played, method, start, rate, 30)
        # Rounding puts a little of the other planes into a run, and that may grow faster: it is measured in its plane.
        plane = np.array([np.concatenate([start[:3], 0 * start[3:]]), np.concatenate([0 * start[:3], start[3:] / 0.3])])
        period = METHODS[method].period
        assert period is not None
        repeat = period(found.options)
        assert fit(found.z @ plane.T, repeat).factor == pytest.approx(factor, abs=1e-8), sigma


@pytest.mark.parametrize("method", WITH_FORM)
def test_closed_forms_take_arrays(method: str) -> None:
    rates = np.array([[0.01, 0.1], [0.5, 1.2]])
    each = [[exact_factor(method, rate) for rate in row] for row in rates.tolist()]
    assert exact_factor(method, rates) == pytest.approx(np.array(each))


@pytest.mark.parametrize("rate", [0.6, 1.0, 1.1, 1.9, 2.5])
@pytest.mark.parametrize(
    "method",
    ["prediction", "slingshot", "smoothed", "alternating", "optimistic", "runge-kutta", "extragradient", "momentum"],
)
def test_closed_forms_hold_for_large_rates(method: str, rate: float) -> None:
    assert exact_factor(method, rate) == pytest.approx(spectral_radius(method, "bilinear", rate), abs=1e-8)


def test_closed_form_takes_a_rate_times_sigma() -> None:
    alone = exact_factor("consensus", 0.1 * 2.0, gamma=0.5 * 2.0)
    assert alone == pytest.approx(exact_factor("consensus", 0.1, 2.0, gamma=0.5))
    played = game("bilinear", matrix=[[2.0]])
    assert spectral_radius("consensus", played, 0.1, gamma=0.5) == pytest.approx(alone)


def test_extragradient_is_best_at_the_root_of_a_half() -> None:
    rates = np.linspace(0.01, 0.99, 9801)
    factors = exact_factor("extragradient", rates)
    assert rates[np.argmin(factors)] == pytest.approx(0.5**0.5, abs=1e-4)
    assert factors.min() == pytest.approx(3**0.5 / 2, abs=1e-8)


LIMITS = [
    ("simultaneous", 0.0),
    ("alternating", 2.0),
    ("extragradient", 1.0),
    ("optimistic", 3**-0.5),
    ("proximal", np.inf),
    ("competitive", np.inf),
    ("midpoint", np.inf),
    ("lola", 3**0.5 / 2),
    ("consensus", 1.0),
    ("hamiltonian", 2.0),
    ("momentum", 0.0),
    ("runge-kutta", 8**0.5),
    ("prediction", 2 / 3**0.5),
    ("slingshot", 2**0.5),
]


@pytest.mark.parametrize(("method", "limit"), LIMITS)
def test_stability_limits_by_bisection_equal_the_formulas(method: str, limit: float) -> None:
    assert stability_limit(method, "bilinear") == pytest.approx(limit, abs=1e-6)


@pytest.mark.parametrize(("method", "limit"), [("extragradient", 1.0), ("optimistic", 3**-0.5), ("alternating", 2.0)])
def test_stability_limits_of_vector_games_go_by_the_largest_singular_value(method: str, limit: float) -> None:
    assert stability_limit(method, game("bilinear", matrix=MATRIX)) == pytest.approx(limit / SIGMAS[0], abs=1e-6)


def test_stability_limit_takes_options_and_jacobians() -> None:
    assert stability_limit("extragradient", "bilinear", gamma=0.5) == pytest.approx(
        0.8, abs=1e-6
    )  # 2 gamma / (1 + gamma^2)
    assert stability_limit("simultaneous", "bilinear", scheme="alternating") == pytest.approx(2, abs=1e-6)
    assert stability_limit("simultaneous", np.array([[3.0, 0.0], [0.0, 1.0]])) == pytest.approx(2 / 3, abs=1e-6)
    assert stability_limit("simultaneous", np.zeros((2, 2))) == np.inf


def test_quadratic_games_have_the_factors_of_their_eigenvalues() -> None:
    """Zhang & Yu 2019: μ an eigenvalue of J = [[a, b], [-b, c]]."""
    played, rate = game("quadratic", a=0.4, b=1.1, c=0.7), 0.2
    mu = np.linalg.eigvals([[0.4, 1.1], [-1.1, 0.7]])[0] * rate
    assert spectral_radius("simultaneous", played, rate) == pytest.approx(abs(1 - mu))
    assert spectral_radius("extragradient", played, rate) == pytest.approx(abs(1 - mu + mu * mu))
    assert spectral_radius("proximal", played, rate) == pytest.approx(1 / abs(1 + mu))
    roots = np.abs(np.roots([1, -(1 - 2 * mu), -mu]))
    assert spectral_radius("optimistic", played, rate) == pytest.approx(roots.max())


def test_update_operators_written_by_hand() -> None:
    h = 0.1
    assert np.allclose(update_operator("simultaneous", "bilinear", h), [[1, h], [-h, 1]])
    assert np.allclose(update_operator("alternating", "bilinear", h), [[1, h], [-h, 1 - h * h]])
    jacobian = np.array([[0.0, -1.0], [1.0, 0.0]])
    square = update_operator("optimistic", "bilinear", h)  # state (z, the last F)
    assert np.allclose(square, np.block([[np.eye(2) - 2 * h * jacobian, h * np.eye(2)], [jacobian, np.zeros((2, 2))]]))
    pair = update_operator("simultaneous", jacobian, (0.1, 0.3))
    assert np.allclose(pair, [[1, 0.1], [-0.3, 1]])


def test_operator_moves_a_run() -> None:
    played = game("bilinear", matrix=MATRIX)
    z = np.linspace(-1, 1, 6)
    for method in ("alternating", "consensus", "competitive", "runge-kutta"):
        moved = update_operator(method, played, 0.2) @ z
        assert np.allclose(simulate(played, method, z, 0.2, 1).z[-1], moved)


def test_spectrum_has_the_largest_eigenvalue_first() -> None:
    found = spectrum("optimistic", "bilinear", 0.1)
    assert len(found) == 4
    assert np.all(np.diff(np.abs(found)) <= 1e-15)
    assert abs(found[0]) == pytest.approx(0.99493615, abs=1e-8)


def test_lookahead_has_the_operator_of_its_period() -> None:
    found = spectrum("lookahead", "bilinear", 0.1, k=3, alpha=0.4)
    assert abs(found[0]) == pytest.approx(abs(0.6 + 0.4 * (1 + 0.1j) ** 3))


def test_dirac_gan_has_the_factors_of_a_rate_half_as_large() -> None:
    """Its eigenvalues are ±i/2, so that every factor holds near the equilibrium with η → η/2."""
    for method in WITH_FORM:
        weights = [
            option.default for name, option in METHODS[method].options.items() if name in {"gamma", "lam", "pull"}
        ]
        if not any(weights) and method != "hamiltonian":
            assert spectral_radius(method, "dirac-gan", 0.3) == pytest.approx(exact_factor(method, 0.15), abs=1e-9)


def test_two_steps_with_rates_of_both_signs_multiply_by_exactly_one_minus_the_square() -> None:
    """Shugart & Altschuler 2025: (I + ηA)(I - ηA) = I - η²A², where A² = I on x·y."""
    for rate in (0.1, 0.5, 1.0, 1.3):
        assert np.allclose(update_operator("slingshot", "bilinear", rate), (1 - rate * rate) * np.eye(2), atol=1e-15)
        found = simulate("bilinear", "slingshot", learning_rate=rate, steps=100)
        assert np.allclose(found.z[2::2], (1 - rate * rate) * found.z[:-2:2], atol=1e-14)
    # Plain gradient descent-ascent whose rates are (η, -η), then (-η, η).
    x, y = 0.6, 0.7
    for step in range(10):
        first = 0.1 if step % 2 == 0 else -0.1
        x, y = x + first * y, y + first * x
    assert simulate("bilinear", "slingshot", steps=10).z[-1] == pytest.approx([x, y], abs=1e-14)


def test_prediction_and_two_steps_of_slingshot_at_a_rate_of_one_end_in_the_equilibrium() -> None:
    for method in ("prediction", "slingshot"):
        assert np.abs(simulate("bilinear", method, learning_rate=1.0, steps=2).z[-1]).max() < 1e-15


@pytest.mark.parametrize("relax", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 1.0, 3.0])
def test_adaptive_extragradient_has_the_factor_of_the_proximal_point(rate: float, relax: float) -> None:
    """On x·y the projection is a factor of 1/(1 + η²), so that relax = 1 gives 1/(1 + iη)."""
    exact = abs(1 - relax * 1j * rate * (1 - 1j * rate) / (1 + rate * rate))
    found = forecast("bilinear", "adaptive-extragradient", rate, relax=relax)
    assert found.closed_form == pytest.approx(exact, abs=1e-14)
    assert (found.spectral_radius, found.stability_limit) == (None, None)
    steps = [simulate("bilinear", "adaptive-extragradient", z, rate, 1, relax=relax).z[-1] for z in np.eye(2)]
    assert np.abs(np.linalg.eigvals(np.array(steps).T)).max() == pytest.approx(exact, abs=1e-14)
    found_rate = simulate("bilinear", "adaptive-extragradient", learning_rate=rate, steps=100, relax=relax).rate
    assert found_rate == pytest.approx(exact)
    if relax == 1:
        assert exact == pytest.approx(exact_factor("proximal", rate), abs=1e-15)
    assert forecast(game("bilinear", matrix=MATRIX), "adaptive-extragradient", rate).closed_form is None
    rotated = game("bilinear", matrix=[[0.0, 2.0], [-2.0, 0.0]])  # Both singular values are 2.
    factor = forecast(rotated, "adaptive-extragradient", rate).closed_form
    assert factor == pytest.approx(exact_factor("proximal", 2 * rate), abs=1e-14)


def test_alternating_play_conserves_its_invariant() -> None:
    quantity = invariant("alternating", "bilinear", 0.1)
    assert quantity is not None
    found = simulate("bilinear", "alternating", [0.6, 0.7], 0.1, 10_000)
    x, y = found.z.T
    assert quantity(found.z) == pytest.approx(x * x + y * y + 0.1 * x * y)
    assert np.ptp(quantity(found.z)) < 1e-12


@pytest.mark.parametrize("method", ["alternating", "midpoint"])
def test_invariants_of_vector_games(method: str) -> None:
    played = game("bilinear", matrix=MATRIX)
    quantity = invariant(method, played, 0.3)
    assert quantity is not None
    found = simulate(played, method, np.linspace(-1, 1, 6), 0.3, 2000)
    assert np.ptp(found.distance) > (1e-3 if method == "alternating" else 0)
    assert np.ptp(quantity(found.z)) < 1e-12


def test_no_invariant_where_there_is_none() -> None:
    assert invariant("extragradient") is None
    assert invariant("alternating", "quadratic") is None
    assert invariant("alternating", "forsaken") is None


@pytest.mark.parametrize("roots", [[0.9], [1.1, 0.3], [0.99 * np.exp(0.3j), 0.99 * np.exp(-0.3j)], [1.0, 0.999]])
def test_fitted_rate_is_the_largest_root(roots: list[complex]) -> None:
    n = np.arange(200)[:, None]
    points = np.real(sum((place + 1) * root**n for place, root in enumerate(roots)))
    assert fit(points).factor == pytest.approx(abs(roots[0]), abs=1e-9)


def test_fitted_rate_of_what_is_not_linear_is_near() -> None:
    n = np.arange(400)
    noisy = 0.98**n * np.random.default_rng(0).uniform(0.9, 1.1, 400)
    assert fit(noisy[:, None]).factor == pytest.approx(0.98, abs=2e-3)
    assert np.isnan(fit(np.zeros((10, 1))).factor)


def test_methods_without_a_closed_form() -> None:
    assert exact_factor("anchored", 0.1) is None
    assert exact_factor("adam", 0.1) is None


REFUSED: list[tuple[Any, str]] = [
    (lambda: update_operator("adam", "bilinear", 0.1), "the method 'adam' has no update matrix: its step is not linea"),
    (lambda: spectrum("anchored", "bilinear", 0.1), "the method 'anchored' has no update matrix: its step is never"),
    (lambda: stability_limit("rmsprop"), "the method 'rmsprop' has no update matrix"),
    (lambda: spectral_radius("lola", "bilinear", -1), "learning_rate must be a number of at least 0, or a pair of the"),
    (lambda: spectral_radius("lola", "x + exp(y)", 0.1), "no equilibrium of the game 'x + exp(y)' is known: give the "),
    (lambda: spectral_radius("lola", np.eye(3), 0.1), "players must say how many of the 3 numbers are those of x"),
    (lambda: exact_factor("lolla", 0.1), "there is no method 'lolla': did you mean 'lola'?"),
    (lambda: exact_factor("momentum", 0.1, gamma=1), "the method 'momentum' has no option 'gamma': it has beta (-0.5)"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_what_makes_no_sense_is_refused(call: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        call()
