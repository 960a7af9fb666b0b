"""Verdicts against closed forms, second-order tests by brute force, and steps that are not defined."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from longer_runs import PLANE, Plane, distances, plays, scissors, scissors_bent

from portable_nn.adversarial import METHODS, compare, forecast, game, simulate
from portable_nn.adversarial.games.kinds import kind_of
from portable_nn.adversarial.runs.verdict import WORDS
from portable_nn.adversarial.theory.schedules import remaining
from portable_nn.core.errors import UsageError

D0 = math.hypot(0.6, 0.7)


def word(**arguments: Any) -> str:
    """The word of the verdict on a run."""
    return WORDS[simulate(**arguments).status]


@pytest.mark.parametrize("rate", [1e-6, 1e-4, 0.5, 1.999, 2.001])
def test_a_rate_too_small_to_see_it_in_the_run_changes_nothing(rate: float) -> None:
    """√(1 + η²) is above 1 and √(1 - η² + η⁴) below it for each η < 1; alternating play is stable up to 2."""
    assert word(method="simultaneous", learning_rate=rate) == "diverges"
    assert word(method="alternating", learning_rate=rate) == ("cycles" if rate < 2 else "diverges")
    assert (word(method="extragradient", learning_rate=rate) == "diverges") == (rate > 1)


def test_a_cycle_has_the_bounds_of_its_ellipse_even_if_the_run_is_a_small_part_of_it() -> None:
    """With rates a of x and b of y, alternating play conserves x²/a + y²/b + xy: its ellipse is that of a quadric."""
    a, b = 0.04, 0.0001
    found = simulate(method="alternating", learning_rate=(a, b), steps=30).verdicts[0]
    level = 0.6**2 / a + 0.7**2 / b + 0.6 * 0.7
    radii = np.sqrt(level / np.linalg.eigvalsh([[1 / a, 0.5], [0.5, 1 / b]]))
    assert WORDS[found.status] == "cycles"
    assert (found.low, found.high) == pytest.approx((radii.min(), radii.max()), rel=1e-3)


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.5])
def test_simultaneous_descent_with_falling_rates_never_converges(rate: float) -> None:
    """∏(1 + η²/t²) = sinh(πη)/(πη): at rates η/t the distance ends at its square root times the first."""
    found = simulate(learning_rate=rate, decay="1/t").verdicts[0]
    end = D0 * math.sqrt(math.sinh(math.pi * rate) / (math.pi * rate))
    assert WORDS[found.status] == "stays"
    assert found.low * (1 - 1e-4) <= end <= found.high * (1 + 1e-4)
    assert found.high / found.low < 1.001
    for decay in ("1/sqrt(t)", "log"):  # Σ η²/t and Σ η²/log² t have no end.
        assert word(learning_rate=rate, decay=decay) == "diverges"


def test_hamiltonian_descent_with_falling_rates() -> None:
    """∏(1 - η/t²) = sin(π√η)/(π√η), and ∏(1 - η/t) is 0."""
    found = simulate(method="hamiltonian", learning_rate=0.3, decay="1/t^2").verdicts[0]
    end = D0 * math.sin(math.pi * math.sqrt(0.3)) / (math.pi * math.sqrt(0.3))
    assert found.low * (1 - 1e-4) <= end <= found.high * (1 + 1e-4)
    assert found.high / found.low < 1.001
    assert word(method="hamiltonian", learning_rate=0.3, decay="1/t") == "converges"
    assert word(method="extragradient", learning_rate=0.3, decay="1/sqrt(t)") == "converges"
    assert word(method="extragradient", learning_rate=0.3, decay="1/t") == "stays"


@pytest.mark.parametrize(
    ("rate", "log_factor", "wanted"),
    [
        (lambda t: 1 / t, lambda h: np.log1p(h * h), math.log(math.sinh(math.pi) / math.pi / (1 + 1) / (1 + 1 / 4))),
        (lambda t: t**-2.0, lambda h: np.log1p(-h / 2), None),
        (lambda t: t**-1.1, lambda h: -h, None),
        (lambda t: 1 / t, lambda h: -h, -math.inf),
        (lambda t: t**-0.5, lambda h: h * h, math.inf),
        (lambda t: 1 / t, lambda h: 0 * h, 0.0),
        (lambda t: 1 / (t * np.log(t + 2)), lambda h: -h, "unknown"),
        (lambda t: 2 + np.sin(t), lambda h: -h, "unknown"),
    ],
)
def test_what_is_left_of_a_sum(rate: Any, log_factor: Any, wanted: Any) -> None:
    found = remaining(log_factor, rate, 2)
    if wanted is None:  # By a sum, and the integral of its tail.
        t = np.arange(3.0, 2_000_001)
        tail = 0.0 if rate(2.0) == 0.25 else -(2e6**-0.1) / 0.1
        wanted = float(log_factor(rate(t)).sum()) + tail
    if wanted == "unknown":
        assert found is None
    else:
        assert found == pytest.approx(wanted, rel=0.02)


def test_a_schedule_that_knows_no_later_steps_leaves_the_verdict_to_the_run_itself() -> None:
    rates = [0.1] * 60
    assert word(learning_rate=lambda step: rates[step], steps=60) == "grew"


NAMES = ["bilinear", "ridge-minimax", "ridge-other", "quadratic", "dirac-gan", "forsaken", "matching-pennies"]
QUADRATICS = [{"a": -1.0}, {"c": -2.0}, {"a": -1.0, "c": -0.5, "b": 0.1}]


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in NAMES), *(("quadratic", options) for options in QUADRATICS)]
)
def test_who_gains_by_moving_alone(name: str, options: dict[str, float]) -> None:
    """By brute force: f at points beside the one with F = 0."""
    played = game(name, **options)
    point, step = played.equilibria[0], 1e-3
    found = kind_of(played, point)
    at, x, y = (float(played.value(point + shift)) for shift in ([0, 0], [step, 0], [0, step]))
    assert (found.x_gains > 0) == (x > at + 1e-9)
    assert (found.y_gains < 0) == (y < at - 1e-9)
    if found.x_gains or found.y_gains:  # y answers each move of x as well as it can, from far away.
        answers = point[1] + np.linspace(-1e-2, 1e-2, 2001)
        values = [
            float(played.value(np.stack([np.full(2001, point[0] + move), answers], -1)).min()) for move in (0, step)
        ]
        is_minimax = not found.y_gains and values[1] < values[0] - 1e-12
        assert found.is_equilibrium == is_minimax


def test_a_kink_at_the_equilibrium_has_no_eigenvalues() -> None:
    """|x| in WGAN-GP: the gradient jumps at 0, so that no matrix describes it there."""
    assert forecast("dirac-wgan-gp", "simultaneous").spectral_radius is None
    assert WORDS[simulate("dirac-wgan-gp", "simultaneous").status] == "went round"


FORSAKEN = ("forsaken", {}, 0.0, 1)


@pytest.mark.long
@pytest.mark.parametrize("method", ["proximal", "midpoint"])
def test_an_implicit_step_is_a_solution_or_a_failure(method: str) -> None:
    """Each step of 60 runs against F by hand, at a rate at which Newton's method often fails."""
    starts = np.random.default_rng(0).uniform(-2, 2, (60, 2))
    rate = 2.0 if method == "midpoint" else 1.0
    found = simulate("forsaken", method, starts, rate, 40)
    plain = Plane(*FORSAKEN)
    for run in range(60):
        steps = np.isfinite(found.z[:, run]).all(-1).sum() - 1
        for z, w in zip(found.z[:steps, run], found.z[1 : steps + 1, run], strict=True):
            at = (z + w) / 2 if method == "midpoint" else w
            force = plain.exact(complex(*at))
            left = np.abs(w - z + np.array([force.real, force.imag]) * rate)
            assert left.max() <= 1e-7 * (1 + np.abs(w).max())
        assert (run in found.failures) == (steps < 40)
    failed = [verdict for verdict in found.verdicts if WORDS[verdict.status] == "fails"]
    assert 0 < len(failed) == len(found.failures) < 60
    assert all("Newton's method does not find" in verdict.message for verdict in failed)
    assert all(float(verdict.message.rpartition("= ")[2]) > 1e-8 for verdict in failed)


@pytest.mark.long
def test_a_failure_ends_its_own_run_alone() -> None:
    start = (1.9, -1.7)
    together = simulate("forsaken", "proximal", [start, (0.1, 0.4)], 1.0, 60)
    alone = simulate("forsaken", "proximal", start, 1.0, 60)
    assert np.isnan(alone.z[-1]).all()
    assert np.isnan(together.z[-1, 0]).all()
    assert np.allclose(together.z[-1, 1], simulate("forsaken", "proximal", (0.1, 0.4), 1.0, 60).z[-1])
    assert alone.message == together.verdicts[0].message
    step = int(alone.message.split()[2])
    assert np.isfinite(alone.z[step - 1]).all()
    assert np.isnan(alone.z[step]).all()


def test_a_noisy_implicit_step_has_noise_of_its_own_once() -> None:
    """The noise of a step is that for which its equation holds: normal, of the deviation that was asked for."""
    found = simulate("dirac-gan", "proximal", np.ones((4000, 2)), 0.2, 1, noise=0.3)
    assert not found.failures
    force = np.array([Plane("dirac-gan", {"gamma": 0.0}, 0.0, 1).exact(complex(*w)) for w in found.z[1]])
    noise = (1 - found.z[1]) / 0.2 - np.stack([force.real, force.imag], -1)
    assert noise.std() == pytest.approx(0.3, rel=0.03)
    assert abs(noise.mean()) < 0.01


@pytest.mark.parametrize("start", [(0.6, 0.7), [[0.6, 0.7], [1.0, 2.0]]])
def test_follow_the_ridge_is_not_defined_where_the_follower_has_no_curvature(start: Any) -> None:
    found = simulate("bilinear", "follow-the-ridge", start)
    assert {WORDS[verdict.status] for verdict in found.verdicts} == {"fails"}
    assert "step 1 of the method 'follow-the-ridge' is not defined" in found.verdicts[0].message
    assert forecast("bilinear", "follow-the-ridge").stability_limit is None
    assert forecast("ridge-minimax", "follow-the-ridge").stability_limit is not None


@pytest.mark.long
@pytest.mark.parametrize("method", ["simultaneous", "alternating", "optimistic", "extra-adam", "lookahead", "momentum"])
@pytest.mark.parametrize("played", ["bilinear", "dirac-gan"])
def test_noise_is_the_same_on_plain_floats_and_in_numpy(method: str, played: str) -> None:
    alone = simulate(played, method, (0.6, 0.7), 0.1, 2500, noise=0.1, seed=3, decay="1/sqrt(t)")
    together = simulate(played, method, [(0.6, 0.7)], 0.1, 2500, noise=0.1, seed=3, decay="1/sqrt(t)")
    assert np.allclose(alone.z, together.z[:, 0], atol=1e-8)
    assert (alone.nfev, alone.njev) == (together.nfev, together.njev)


@pytest.mark.parametrize("method", ["simultaneous", "adam"])
@pytest.mark.parametrize("played", ["bilinear", "stochastic-bilinear"])
def test_learning_rates_of_zero_move_nobody_whatever_the_noise(method: str, played: str) -> None:
    found = simulate(played, method, learning_rate=0.0, noise=0.5)
    assert (found.z == found.z[0]).all()
    assert found.verdicts[0].message.endswith("the point does not move")


def test_noise_keeps_a_run_where_the_stationary_distribution_is() -> None:
    """Extragradient on x·y with noise: the variance v of each number is v(1 - η² + η⁴) + η²(1 + η²)σ²."""
    rate, sigma = 0.3, 0.1
    found = simulate(method="extragradient", learning_rate=rate, noise=sigma).verdicts[0]
    typical = math.sqrt(2 * rate**2 * (1 + rate**2) * sigma**2 / (rate**2 - rate**4))
    assert WORDS[found.status] == "stays"
    assert float(re.findall(r"at about ([\d.]+);", found.text)[0]) == pytest.approx(typical, rel=1e-3)


@pytest.mark.long
@pytest.mark.parametrize(("method", "rate"), [("rmsprop", 0.1), ("optimistic-rmsprop", 0.3), ("adam", 0.02)])
def test_adaptive_methods_do_not_converge_whatever_their_first_steps_look_like(method: str, rate: float) -> None:
    """The second half of 24,950 steps, against plain Python: what is said of it is what was seen."""
    run = simulate("bilinear", method, learning_rate=rate, steps=24_950)
    found = run.verdicts[0]
    d = distances("bilinear", method, (0.6, 0.7), lambda t: rate, 24_950, np.zeros((1, 2)), {}, run.options, 0.0)
    late = d[len(d) // 2 :]
    assert found.basis == "seen"
    assert (found.low, found.high) == pytest.approx((late.min(), late.max()), rel=1e-6)
    assert late.min() > 0.1 * rate


def test_equal_strengths_have_equal_factors() -> None:
    """z - η(F + sJᵀF) is z - ηF(z - sF) on x·y, where Jᵀ = -J."""
    methods = ["consensus", "extragradient", "symplectic", "optimistic"]
    consensus, extra, symplectic, optimistic = compare(methods=methods, equal_strength=True).entries
    assert consensus.forecast.closed_form == pytest.approx(extra.forecast.closed_form, abs=1e-15)
    assert symplectic.forecast.closed_form == pytest.approx(extra.forecast.closed_form, abs=1e-15)
    assert [one.strength for one in (consensus, extra, symplectic, optimistic)] == [0.1, 0.1, 0.1, 0.1]
    first, second = compare(methods=["consensus", "extragradient"], options={"extragradient": {"gamma": 1.0}}).entries
    assert first.measured == pytest.approx(second.measured, abs=1e-9)
    assert first.measured == pytest.approx(0.90553851, abs=1e-8)
    with pytest.raises(UsageError, match="equal strengths need one learning rate, the same for both and at each step"):
        compare(learning_rate=(0.1, 0.2), equal_strength=True)
    with pytest.raises(UsageError, match="gamma of consensus cannot be set where all strengths are to be equal"):
        compare(options={"consensus": {"gamma": 2}}, equal_strength=True)


@pytest.mark.parametrize("name", sorted(set(PLANE) & {"dirac-gan", "ridge-bent", "forsaken", "matching-pennies"}))
def test_the_games_of_the_independent_judge_are_those_of_the_package(name: str) -> None:
    played, plain = game(name), Plane(name, {"gamma": 0.0}, 0.0, 1)
    for x, y in np.random.default_rng(1).uniform(-2, 2, (20, 2)):
        force = plain.exact(complex(x, y))
        assert np.allclose(played.field((x, y)), [force.real, force.imag])
        assert np.allclose(np.ravel(played.jacobian((x, y))), plain.jacobian(complex(x, y)))


def test_the_derivatives_of_the_judge_s_scissors_are_those_of_the_package() -> None:
    played = game("rock-paper-scissors")
    for z in np.random.default_rng(1).normal(size=(20, 4)) * 3:
        assert np.allclose(played.field(z), scissors(z), rtol=1e-12, atol=1e-15)
        assert np.allclose(played.jacobian(z), scissors_bent(z), rtol=1e-12, atol=1e-15)


@pytest.mark.long
@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_numbers_too_small_to_have_digits_are_no_failure_of_newton_s_method(gamma: float) -> None:
    """The proximal step contracts by 1/|1 + ηλ| for the eigenvalues λ of J: to 0, on the way through 5e-324."""
    run = simulate(game("dirac-gan", gamma=gamma), "proximal", (0.15, 0.47), 1.5, 25_000)
    factor = max(1 / abs(1 + 1.5 * value) for value in np.linalg.eigvals([[gamma, -0.5], [0.5, 0]]))
    assert factor**25_000 == 0
    assert WORDS[run.status] == "converges"
    assert not run.failures


@pytest.mark.long
def test_the_methods_of_the_independent_judge_are_all_of_them() -> None:
    for name, row in METHODS.items():
        options = {key: option.default for key, option in row.options.items()}
        steps = plays(Plane("ridge-minimax", {}, 0.0, 1), name, 0.3 + 0.2j, lambda t: 0.05, options)
        z = [next(steps) for _ in range(12)][-1]
        assert np.allclose(simulate("ridge-minimax", name, (0.3, 0.2), 0.05, 12).z[-1], [z.real, z.imag]), name


JUMPS = {
    "sign": lambda x, y: np.sign(x) * y,
    "sign and xy": lambda x, y: np.sign(x) * y + 0.1 * x * y,
    "floor": lambda x, y: np.floor(x) * y,
    "ceil": lambda x, y: np.ceil(x) * y + x * y,
    "steps of y": lambda x, y: x * np.floor(y) - 0.1 * x * x,
    "abs": lambda x, y: abs(x) * y + 0.2 * x * y,
    "max": lambda x, y: np.maximum(x, 0.1) * y,
    "min": lambda x, y: np.minimum(x, y) * 0.3 + x * y,
}


@pytest.mark.parametrize("name", JUMPS)
@pytest.mark.parametrize("start", [(0.6, 0.7), (1.6, 0.7), (-0.3, -1.2)])
def test_a_game_with_jumps_or_kinks_is_not_proved_to_do_what_its_steps_do_not(
    name: str, start: tuple[float, float]
) -> None:
    """The independent truth: descent-ascent in plain numpy, on central differences of the payoff."""
    payoff, z, small = JUMPS[name], np.array(start), 1e-6
    verdict = simulate(game(payoff), "simultaneous", steps=50, start=start).verdicts[0]
    for _ in range(2000):
        by_x = (payoff(z[0] + small, z[1]) - payoff(z[0] - small, z[1])) / (2 * small)
        by_y = (payoff(z[0], z[1] + small) - payoff(z[0], z[1] - small)) / (2 * small)
        z = z + 0.1 * np.array([by_x if abs(by_x) < 1e4 else 0.0, -by_y if abs(by_y) < 1e4 else 0.0])
    assert verdict.basis != "proved" or (WORDS[verdict.status] in ("stays", "converges") and np.allclose(z, start)), (
        verdict.message
    )


def test_a_start_is_at_rest_by_its_gradients_and_not_by_equilibria_that_are_given_wrongly() -> None:
    wrong = game(lambda x, y: x * y + x, equilibria=[[0, 0]])
    result = simulate(wrong, "simultaneous", steps=1, start=(0, 0), learning_rate=0.1)
    assert "F = 0" not in result.message
    assert np.allclose(result.z[-1], [0.1, 0.0])
