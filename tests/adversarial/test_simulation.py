"""Runs: the article's, what it says of them, many at once, rates, noise, averages, verdicts and refusals."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from portable_nn.adversarial import METHODS, game, simulate, update_operator
from portable_nn.adversarial.runs.verdict import (
    CONVERGES,
    CYCLES,
    DIVERGES,
    FAILED,
    FELL,
    GREW,
    OVERFLOWED,
    STAYS,
    TURNED,
    WORDS,
)
from portable_nn.core.errors import ShapeError, UsageError


def test_the_run_of_the_article() -> None:
    found = simulate("bilinear", start=(0.6, 0.7), learning_rate=0.1, steps=499)
    assert found.t.tolist() == list(range(500))
    assert found.z.shape == (500, 2)
    assert (found.nfev, found.njev) == (499, 0)
    assert found.distance[-1] == pytest.approx(11.038, abs=5e-4)
    assert found.distance[-1] == pytest.approx(np.hypot(0.6, 0.7) * 1.01 ** (499 / 2), rel=1e-12)
    assert np.allclose(found.residual, found.distance)
    assert (found.status, found.success) == (DIVERGES, False)
    assert found.message == f"diverges {BY}: the distance is multiplied by 1.004988 per step"
    assert np.array_equal(simulate().z, found.z)


def test_it_turns_by_the_arc_tangent_of_the_rate_clockwise() -> None:
    z = simulate("bilinear", learning_rate=0.1).z
    angle = np.unwrap(np.arctan2(z[:, 1], z[:, 0]))
    assert np.allclose(np.diff(angle), -np.arctan(0.1), atol=1e-12)
    assert 2 * np.pi / np.arctan(0.1) == pytest.approx(63.04, abs=5e-3)


@pytest.mark.parametrize(("rate", "steps"), [(0.1, 463), (0.01, 46_054)])
def test_a_smaller_rate_only_delays_it(rate: float, steps: int) -> None:
    """Ten times the radius takes log 10 / log √(1 + η²) steps: 462.8 and 46,054.0."""
    distance = simulate("bilinear", learning_rate=rate, steps=steps + 1).distance
    assert distance[steps - 1] < 10 * distance[0] < distance[steps + 1]
    assert distance[steps] == pytest.approx(10 * distance[0], rel=rate / 20)


@pytest.mark.parametrize("rate", [0.1, 0.01, 0.001])
def test_at_a_fixed_time_a_smaller_rate_keeps_it_bounded(rate: float) -> None:
    """The growth at time T = kη is e^(ηT/2), to first order in η."""
    time = 20.0
    found = simulate("bilinear", learning_rate=rate, steps=round(time / rate), record=1000)
    growth = found.distance[-1] / found.distance[0]
    assert growth == pytest.approx(np.exp(rate * time / 2), rel=rate**2 * time)


def test_the_continuous_limit_is_a_circle() -> None:
    found = simulate("bilinear", "runge-kutta", (0.6, 0.7), 0.05, 400)
    time = 0.05 * found.t
    circle = [0.6 * np.cos(time) + 0.7 * np.sin(time), 0.7 * np.cos(time) - 0.6 * np.sin(time)]
    assert np.allclose(found.z, np.transpose(circle), atol=1e-6)


def test_averages_of_alternating_play_converge_and_of_simultaneous_diverge() -> None:
    alternating = simulate("bilinear", "alternating", steps=1000)
    before, after = np.linalg.norm(alternating.average[[0, -1]], axis=1)
    assert before == pytest.approx(0.92, abs=5e-3)
    assert after < 0.02
    mean = np.array([alternating.z[: place + 1].mean(0) for place in (0, 10, 1000)])
    assert np.allclose(alternating.average[[0, 10, 1000]], mean)
    simultaneous = simulate("bilinear", steps=2000)
    assert np.linalg.norm(simultaneous.average[-1]) > 10


@pytest.mark.long
@pytest.mark.parametrize("method", [name for name, row in METHODS.items() if row.anchored])
def test_anchored_methods_fall_as_one_over_k(method: str) -> None:
    """Yoon & Ryu 2021: ‖F‖ falls with a slope of -1 in a double logarithm."""
    found = simulate("bilinear", method, learning_rate=0.1, steps=20_000)
    late = slice(2000, None)
    slope = np.polyfit(np.log(found.t[late]), np.log(found.residual[late]), 1)[0]
    assert slope == pytest.approx(-1, abs=0.02)
    assert found.success
    assert "the distance falls as 1/k, to " in found.message


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
def test_fast_extragradient_in_closed_form(rate: float) -> None:
    """With z = x + iy and J = i, (k + 1)z(k + 1) = a·k·z(k) + (1 - iη)z(0), a = 1 - iη - η²: a geometric sum."""
    found = simulate("bilinear", "fast-extragradient", learning_rate=rate, steps=400)
    k, a = np.arange(1, 401), 1 - 1j * rate - rate * rate
    wanted = complex(0.6, 0.7) * (1 - a**k) / (1j * rate * k)
    assert np.allclose(found.z[1:] @ [1, 1j], wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", ["anchored", "fast-extragradient", "anchored-popov"])
def test_anchored_methods_end_at_the_start_over_the_rate_times_the_steps(method: str) -> None:
    """The anchor's pull β and ηF balance: ηJz = β(z(0) - z), so that k·‖z‖ tends to ‖z(0)‖/η."""
    found = simulate("bilinear", method, learning_rate=0.3, steps=20_000)
    assert found.distance[-1] * 20_000 * 0.3 == pytest.approx(found.distance[0], rel=1e-3)


def test_the_rates_of_varying_anchored_extragradient_fall_to_their_limit() -> None:
    """k·‖z‖ tends to ‖z(0)‖ over the limit of the rates, which Yoon & Ryu give for 0.618: about 0.437."""
    found = simulate("bilinear", "varying-anchored", learning_rate=0.618, steps=20_000)
    assert found.distance[0] / found.distance[-1] / 20_000 == pytest.approx(0.437, abs=1e-3)
    twice = game("bilinear", matrix=[[2.0]])
    scaled = simulate(twice, "varying-anchored", learning_rate=0.309, lipschitz=2.0, steps=300)
    assert np.allclose(scaled.z, found.z[:301], atol=1e-12)  # The same game in other units.


MINIMAX = {"symplectic", "consensus", "follow-the-ridge"}
ANYWHERE = {"hamiltonian", "slingshot"}
"""They go to each point where F = 0."""
SMOOTH = [name for name, row in METHODS.items() if row.has_operator and name not in ANYWHERE]


@pytest.mark.parametrize("method", SMOOTH)
def test_ridges_end_as_published(method: str) -> None:
    """Wang et al. 2019: at the minimax three methods arrive; at the point that is none all do but follow-the-ridge.

    There f = -3x² - y² - 4xy, which y minimises: ∂²f/∂y² = -2, so that y gains by moving alone.
    """
    options: dict[str, Any] = {"gamma": 0.15} if method == "consensus" else {}
    runs = {"learning_rate": 0.05, "steps": 2000, **options}
    assert simulate("ridge-minimax", method, (0.3, 0.5), **runs).success == (method in MINIMAX)
    other = simulate("ridge-other", method, (0.3, 0.5), **runs)
    assert not other.success
    assert (WORDS[other.status] == "no equilibrium") == (method != "follow-the-ridge")
    assert (other.distance[-1] < 1e-6) == (method != "follow-the-ridge")
    if method != "follow-the-ridge":
        assert other.message.endswith("(0, 0), where F = 0, but y gains by moving alone (its curvature is -2)")


@pytest.mark.parametrize("method", sorted(ANYWHERE))
def test_what_follows_the_size_of_f_goes_to_any_point_where_it_is_0(method: str) -> None:
    """Two steps of slingshot are I - η²H² near it, for the matrix H of second derivatives: of the same kind."""
    assert simulate("ridge-minimax", method, (0.3, 0.5), 0.02, 8000).success
    assert WORDS[simulate("ridge-other", method, (0.3, 0.5), 0.02, 8000).status] == "no equilibrium"
    h = np.array([[-6, 4], [4, -2]])
    assert np.allclose(update_operator("slingshot", "ridge-minimax", 0.1), np.eye(2) - 0.01 * h @ h)


@pytest.mark.long
@pytest.mark.parametrize("method", ["simultaneous", "alternating", "extragradient", "optimistic", "momentum"])
def test_on_the_bent_ridge_follow_the_ridge_arrives_and_others_cycle(method: str) -> None:
    start = (2.0, 1.0)
    assert simulate("ridge-bent", "follow-the-ridge", start, 0.05, 1000).status == 0
    found = simulate("ridge-bent", method, start, 0.05, 4000)
    assert found.status == TURNED
    assert found.distance[-1000:].min() > 0.1


@pytest.mark.long
@pytest.mark.parametrize(
    "method",
    ["simultaneous", "alternating", "extragradient", "optimistic", "momentum", "competitive-linear", "lookahead"],
)
def test_forsaken_is_missed_by_most(method: str) -> None:
    """Hsieh et al. 2020: a cycle around the equilibrium attracts the methods, wherever they begin outside."""
    starts = [[0.5, 0.6], [1.2, -0.8], [-1.0, 1.0]]
    found = simulate("forsaken", method, starts, 0.05, 6000)
    assert found.status.tolist() == [TURNED] * 3
    late = found.z[-2000:]
    assert np.all(found.distance[-2000:] > 0.5)
    assert np.all(np.abs(late) < 2)
    angles = np.unwrap(np.arctan2(*(late - game("forsaken").equilibria[0]).transpose(2, 0, 1)[::-1]), axis=0)
    assert np.all(np.abs(angles[-1] - angles[0]) > 4 * np.pi)


@pytest.mark.long
@pytest.mark.parametrize("method", ["consensus", "symplectic", "hamiltonian"])
def test_forsaken_is_found_by_those_that_go_down_the_residual(method: str) -> None:
    found = simulate("forsaken", method, [[0.5, 0.6], [0.6, 0.1]], 0.05, 6000)
    assert np.allclose(found.z[-1], game("forsaken").equilibria[0])
    # There ∂²f/∂y² = φ''(y) = ½ - 6y² + 5y⁴ is negative: y, which minimises f, gains by moving alone.
    y = game("forsaken").equilibria[0, 1]
    curvature = 0.5 - 6 * y**2 + 5 * y**4
    assert curvature < 0
    assert found.message == "of 2 runs: 2 no equilibrium"
    assert found.verdicts[0].message.endswith(f"y gains by moving alone (its curvature is {curvature:.4g})")


@pytest.mark.long
def test_dirac_gan_converges_with_r1_and_circles_with_wgan_gp() -> None:
    plain = simulate("dirac-gan", "alternating", (0.5, 0.5), 0.1, 5000)
    assert plain.status in {TURNED, GREW}
    regularised = simulate(game("dirac-gan", gamma=1.0), "simultaneous", (0.5, 0.5), 0.1, 1000)
    assert regularised.status == 0
    penalised = simulate(game("dirac-wgan-gp", gamma=1.0, norm=0.3), "simultaneous", (0.5, 0.5), 0.01, 20_000)
    assert penalised.status == TURNED
    assert penalised.distance[-5000:].min() > 0.01


@pytest.mark.long
@pytest.mark.parametrize("name", ["matching-pennies", "rock-paper-scissors"])
def test_games_of_chance_spiral_out_by_descent_and_in_by_extragradient(name: str) -> None:
    played = game(name)
    start = np.full(played.size, 0.5) + np.arange(played.size) / 10
    spiral = simulate(played, "simultaneous", start, 0.5, 2000)
    assert not spiral.success
    assert spiral.distance[-1] > 3 * spiral.distance[0]
    assert simulate(played, "extragradient", start, 0.5, 8000).success


@pytest.mark.parametrize("method", ["adam", "alternating-adam", "optimistic-adam", "extra-adam"])
def test_adam_with_a_constant_rate_does_not_stay_converged(method: str) -> None:
    found = simulate("bilinear", method, learning_rate=0.01, steps=60_000, record=10)
    assert found.distance[-1000:].max() > 1e-3


def test_many_starts_and_rates_run_in_one_pass() -> None:
    starts, rates = [[[1.0, 0.0], [0.6, 0.7]]], [0.01, 0.1, 0.2]
    found = simulate("bilinear", "extragradient", starts, rates, 30)
    assert found.z.shape == (31, 3, 1, 2, 2)
    assert found.rate.shape == found.status.shape == (3, 1, 2)
    for place, rate in enumerate(rates):
        single = simulate("bilinear", "extragradient", (0.6, 0.7), rate, 30)
        assert np.allclose(found.z[:, place, 0, 1], single.z, atol=1e-15)
        assert found.rate[place, 0, 1] == pytest.approx(single.rate)
    assert found.nfev == 60


def test_rates_of_each_player() -> None:
    found = simulate("bilinear", start=(1.0, 2.0), learning_rate=(0.1, 0.3), steps=1)
    assert found.z[-1].tolist() == pytest.approx([1 + 0.1 * 2, 2 - 0.3 * 1])
    many = simulate("bilinear", start=(1.0, 2.0), learning_rate=([0.1, 0.2], 0.3), steps=1)
    assert many.z[-1] == pytest.approx(np.array([[1.2, 1.7], [1.4, 1.7]]))


@pytest.mark.parametrize(
    ("rate", "decay", "wanted"),
    [
        (0.2, "1/sqrt(t)", lambda t: 0.2 / t**0.5),
        (0.2, "1/t", lambda t: 0.2 / t),
        (0.2, "constant", lambda t: 0.2),
        ("0.5*exp(-t/10)", None, lambda t: 0.5 * np.exp(-t / 10)),
        ("1/t", None, lambda t: 1 / t),
        (lambda step: 0.3 / (step + 2), None, lambda t: 0.3 / (t + 1)),
        (0.2, lambda step: 0.5**step, lambda t: 0.2 * 0.5 ** (t - 1)),
        (lambda step: (0.3, 0.3 / (step + 1)), None, lambda t: np.array([0.3, 0.3 / t])),
    ],
)
def test_rates_that_change(rate: Any, decay: Any, wanted: Any) -> None:
    z = np.array([0.6, 0.7])
    for t in range(1, 13):
        z = z - wanted(t) * np.array([-z[1], z[0]])
    assert np.allclose(simulate("bilinear", learning_rate=rate, decay=decay, steps=12).z[-1], z, atol=1e-14)
    two = simulate("bilinear", start=[[0.6, 0.7], [1, 1]], learning_rate=rate, decay=decay, steps=12)
    assert np.allclose(two.z[-1, 0], z, atol=1e-14)


def test_noise_comes_from_the_seed() -> None:
    first, again, other = (simulate(noise=0.1, seed=seed, steps=50).z for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    steps = simulate("x*0 + y*0", start=np.zeros((20_000, 2)), noise=0.5, learning_rate=1.0, steps=1).z[-1]
    assert steps.std() == pytest.approx(0.5, rel=0.02)


@pytest.mark.long
def test_extragradient_on_samples_diverges_where_they_differ_much() -> None:
    """Chavdarova et al. 2019: what converges with the whole gradient may diverge with gradients of samples."""
    near, far = game("stochastic-bilinear", spread=0.1), game("stochastic-bilinear", spread=2.0, samples=1000)
    run = {"learning_rate": 0.1, "steps": 3000, "seed": 3}
    converging, diverging = simulate(near, "extragradient", **run), simulate(far, "extragradient", **run)
    assert (converging.status, diverging.status) == (FELL, GREW)
    assert np.array_equal(simulate(near, "extragradient", **run).z, converging.z)
    assert simulate(game("bilinear", matrix=far.jacobian(np.zeros(4))[2:, :2].T), "extragradient", steps=3000).success


@pytest.mark.parametrize("start", [[0.6, 0.7], [[0.6, 0.7], [1, 2]]])
def test_every_so_many_steps_are_kept(start: Any) -> None:
    full, part = simulate(start=start, steps=25), simulate(start=start, steps=25, record=10)
    assert part.t.tolist() == [0, 10, 20, 25]
    assert np.array_equal(part.z, full.z[part.t])
    assert part.nfev == 25


def test_the_measured_factor_is_one_step_s_whatever_is_kept() -> None:
    for method in ("simultaneous", "optimistic", "lookahead"):
        found = simulate("bilinear", method, steps=1999, record=7)
        assert found.rate == pytest.approx(simulate("bilinear", method).rate, abs=1e-9)


def test_overflow_is_a_verdict_and_no_warning() -> None:
    found = simulate("bilinear", learning_rate=3.0, steps=3000)
    assert found.message == f"diverges {BY}: the distance is multiplied by 3.162278 per step"
    last = int(np.argmin(np.isfinite(found.distance)))
    assert abs(last - np.log(np.finfo(float).max) / np.log(10**0.5)) < 3
    for name in ("x*y + exp(x**2)", "x**3*y**3 - x/y"):
        assert simulate(name, start=[[3.0, 2.0], [1.0, 2.0]], learning_rate=2.0, steps=100).status[0] == OVERFLOWED
        assert np.array_equal(
            simulate(name, start=(3.0, 2.0), learning_rate=2.0, steps=100).z,
            simulate(name, start=[(3.0, 2.0)], learning_rate=2.0, steps=100).z[:, 0],
            equal_nan=True,
        )


BY = "(proved by the eigenvalues)"
VERDICTS = [
    (
        {"method": "consensus", "steps": 600},
        CONVERGES,
        f"converges {BY}: the distance is multiplied by 0.9055385 per step, to ",
    ),
    (
        {"method": "extragradient"},
        CONVERGES,
        f"converges {BY}: the distance is multiplied by 0.9950377 per step",
    ),
    (
        {"method": "runge-kutta"},
        CONVERGES,
        f"converges {BY}: the distance is multiplied by 0.9999999931 per step",
    ),
    (
        {"method": "alternating"},
        CYCLES,
        f"cycles {BY}: the distance stays between 0.9217 and 0.969",
    ),
    (
        {"method": "anchored"},
        CONVERGES,
        "converges (proved by the eigenvalues of its limit): the distance falls as 1/k, to 0.01",
    ),
    ({"start": (0, 0)}, CONVERGES, "converges (proved as F = 0 there): the start is an equilibrium"),
    ({"learning_rate": 0, "steps": 3}, STAYS, "stays (proved as the rates are 0): the point does not move"),
    ({"steps": 1}, DIVERGES, f"diverges {BY}: the distance is multiplied by 1.004988 per step"),
    (
        {"game": "x*y + sqrt(2 - x)", "start": (1.99, 5)},
        FAILED,
        "fails: step 4, from (2.141, 4.405), is not defined: f or a gradient is NaN there",
    ),
    (
        {"game": "log(x)*y"},
        FAILED,
        "fails: step 54, from (-0.37, -0.4602), is not defined: f or a gradient is NaN there",
    ),
    (
        {"game": "log(x)*y", "record": 10},
        FAILED,
        "fails: between step 50, at (0.5133, -0.8341), and step 60 f or a gradient is NaN",
    ),
    ({"game": "log(x - 3)*y"}, FAILED, "fails: f or a gradient is NaN at the start (0.6, 0.7)"),
    ({"game": "exp(y) - exp(-x)", "steps": 30}, FELL, "fell (seen in 30 steps): ‖F‖ went from 2.087 to "),
]


@pytest.mark.parametrize(("arguments", "status", "message"), VERDICTS, ids=str)
def test_verdicts(arguments: dict[str, Any], status: int, message: str) -> None:
    found = simulate(**arguments)
    assert found.message.startswith(message)
    assert found.status == status
    assert found.success == (status == CONVERGES)


def test_the_verdict_of_many_runs_counts_them() -> None:
    found = simulate("bilinear", "extragradient", learning_rate=[0.0, 0.5, 0.9, 1.5, 2.0], steps=400)
    assert found.message == "of 5 runs: 2 converges, 1 stays, 2 diverges"
    assert found.status.tolist() == [STAYS, CONVERGES, CONVERGES, DIVERGES, DIVERGES]
    assert found.verdicts[3].message == f"diverges {BY}: the distance is multiplied by 1.952562 per step"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"learning_rate": -0.1}, "learning_rate must be a number of at least 0, a pair (rate of x, rate of y), a list"),
    ({"learning_rate": np.nan}, "or a function of the step, not nan"),
    ({"learning_rate": True}, "or a function of the step, not True"),
    ({"learning_rate": (0.1, 0.2, 0.3)}, "or a function of the step, not (0.1, 0.2, 0.3)"),
    ({"learning_rate": (0.1, "fast")}, "or a function of the step, not (0.1, 'fast')"),
    ({"learning_rate": []}, "or a function of the step, not []"),
    ({"learning_rate": ([0.1, 0.2], [1, 2, 3])}, "learning_rate has 2 rates of x and 3 of y: give as many"),
    ({"learning_rate": "fast"}, "'fast' contains 'fast'"),
    ({"learning_rate": "1/(t - 3)"}, "learning_rate '1/(t - 3)' gives -0.5 at step 0: it must be finite"),
    ({"learning_rate": lambda step: None}, "learning_rate gives None at step 0: the function must give a nu"),
    ({"decay": "1/sqrt"}, "there is no decay '1/sqrt': did you mean '1/sqrt(t)'? there are constant"),
    ({"steps": 0}, "steps must be a whole number from 1 to 1e+09, not 0"),
    ({"steps": 2.5}, "steps must be a whole number from 1 to 1e+09, not 2.5"),
    ({"record": 0}, "record must be a whole number of at least 1, not 0"),
    ({"noise": -1}, "noise must be a number of at least 0, not -1"),
    ({"seed": "a"}, "seed must be a whole number of at least 0, not 'a'"),
    ({"start": (1, 2, 3)}, "start must be 2 numbers, or an array (…, 2) of many starts, for the game 'bilinear'"),
    ({"start": 1}, "for the game 'bilinear'; its shape is ()"),
    ({"start": (np.inf, 1)}, "start must be finite: it is inf at (0,)"),
    ({"start": "middle"}, "start must be 2 numbers, or an array (…, 2) of many starts, not 'middle'"),
    ({"start": np.ones((1000, 2)), "steps": 10**6}, "1,000,001 points of 1,000 runs would take 16.0 GB: keep few"),
    ({"game": "bilinaer"}, "there is no game 'bilinaer': did you mean 'bilinear'?"),
    ({"method": "gradient"}, "there is no method 'gradient'"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, ShapeError), match=re.escape(message)):
        simulate(**arguments)
