"""A run with all that is to be said of it; the update of a method as linear algebra; what would converge."""

from __future__ import annotations

import math

import numpy as np
import pytest

from portable_nn.adversarial import METHODS, Forecast, analyse, converging, forecast, report, spectral_radius
from portable_nn.core.errors import UsageError


def test_the_run_of_the_article() -> None:
    found = report()
    assert found.lengths[0] == pytest.approx(math.hypot(0.6, 0.7))
    assert found.lengths[-1] == pytest.approx(11.038, abs=5e-4)
    assert found.turn == pytest.approx(2 * math.pi / math.atan(0.1))
    assert (found.tenfold, found.is_reached) == (463, True)
    assert found.forecast.stability_limit == 0


@pytest.mark.parametrize(("rate", "steps"), [(0.1, 463), (0.01, 46_054), (0.001, 4_605_172)])
def test_a_smaller_rate_only_delays(rate: float, steps: int) -> None:
    found = report(learning_rate=rate, steps=100).tenfold
    exact = math.log(10) / math.log(math.hypot(1, rate))
    assert found == math.ceil(exact)
    assert exact == pytest.approx(steps, abs=1)


def test_steps_to_a_tenth_where_it_falls() -> None:
    short, long = (report(method="extragradient", steps=steps) for steps in (100, 600))
    assert short.tenfold == long.tenfold == math.ceil(math.log(10) / -math.log(0.9950376877284599))
    assert (short.is_reached, long.is_reached) == (False, True)


def test_where_it_circles_there_is_no_such_step_but_averages_arrive() -> None:
    found = report(method="alternating", steps=1000)
    assert found.tenfold is None
    assert not found.is_reached
    assert found.averaged == pytest.approx(0.00358, abs=1e-5)


def test_from_an_equilibrium_nothing_is_foretold() -> None:
    assert report(start=(0, 0), steps=10).tenfold is None


def test_what_converges_does_and_is_sorted_by_cost() -> None:
    found = converging("bilinear", 0.1)
    names = {row.method.name for row in found}
    expected = {
        name
        for name, row in METHODS.items()
        if row.has_operator and name != "follow-the-ridge" and spectral_radius(name, "bilinear", 0.1) < 1 - 1e-9
    } | {"adaptive-extragradient"}
    assert names == expected >= {"extragradient", "optimistic", "proximal", "consensus", "hamiltonian"}
    assert not names & {"simultaneous", "alternating", "momentum", "midpoint"}
    costs = [row.per_evaluation for row in found]
    assert costs == sorted(costs)


def test_the_remedies_depend_on_the_rate() -> None:
    assert {row.method.name for row in converging("bilinear", 1.5)} == {
        "proximal",
        "competitive",
        "hamiltonian",
        "runge-kutta",
        "adaptive-extragradient",
    }
    assert report(learning_rate="0.1/t", steps=5).remedies == ()
    assert report(decay="1/t", steps=5).remedies == ()
    assert report(learning_rate=(0.1, 0.2), steps=5).remedies


def test_what_stops_where_a_player_gains_by_moving_alone_is_no_remedy() -> None:
    """At (0, 0) f is convex in x, which maximises it, so that x gains by every move, and y likewise."""
    game = "x*y + 0.3*x**2 - 0.3*y**2"
    assert report(game, "consensus", steps=5).verdict.message.startswith("no equilibrium")
    found = report(game, steps=5)
    assert found.remedies == ()
    assert "(0, 0), where F = 0, is no equilibrium: x gains and y gains by moving alone" in found.verdict.message
    assert report("x*y - 0.3*x**2 + 0.3*y**2", steps=5).remedies


def test_a_forecast_of_what_has_no_equilibrium() -> None:
    found = forecast("x + y", "simultaneous")
    assert found == Forecast(found.method, {}, 1, None, None, None)
    assert (found.converges, found.per_evaluation) == (None, None)


def test_a_run_of_what_has_no_equilibrium() -> None:
    found = report("x + y", steps=10)
    assert found.lengths.tolist() == pytest.approx([math.sqrt(2)] * 11)  # ‖F‖, which is the same everywhere.
    assert np.isnan(found.averaged)
    assert found.remedies == ()


@pytest.mark.filterwarnings("error")
def test_a_rate_that_is_far_too_large() -> None:
    found = report(method="extragradient", learning_rate=1e308, steps=20)
    assert (found.forecast.closed_form, found.forecast.spectral_radius, found.turn) == (None, None, None)
    assert "beyond the largest number" in found.verdict.message
    assert {row.method.name for row in found.remedies} == {"proximal", "competitive"}


def test_a_report_is_on_one_run() -> None:
    with pytest.raises(UsageError, match="a report is on one run: give one start and one rate"):
        report(learning_rate=[0.1, 0.2])


def test_analysis_of_the_article_s_game() -> None:
    [found] = analyse()
    assert found.jacobian.tolist() == [[0, -1], [1, 0]]
    assert found.operator.tolist() == [[1, 0.1], [-0.1, 1]]
    assert sorted(found.eigenvalues.tolist(), key=lambda value: complex(value).imag) == pytest.approx(
        [1 - 0.1j, 1 + 0.1j]
    )
    assert found.conserved is None
    assert found.equilibrium.tolist() == [0, 0]


def test_analysis_of_several_methods_and_rates() -> None:
    found = analyse(methods=["alternating", "lookahead"], learning_rates=[0.1, (0.1, 0.2)])
    assert [(one.forecast.method.name, one.learning_rate) for one in found] == [
        ("alternating", 0.1),
        ("alternating", (0.1, 0.2)),
        ("lookahead", 0.1),
        ("lookahead", (0.1, 0.2)),
    ]
    assert [one.conserved for one in found] == ["‖x‖² + ‖y‖² + rate·f", None, None, None]
    assert [one.repeats for one in found] == [1, 1, 5, 5]
    assert [one.turn is None for one in found] == [False, False, True, True]
    for one in found:
        largest = float(np.abs(one.eigenvalues[0])) ** (1 / one.repeats)
        assert largest == pytest.approx(one.forecast.spectral_radius)


def test_all_are_those_that_have_a_matrix() -> None:
    names = [one.forecast.method.name for one in analyse(methods="all")]
    # On x·y the follower has no curvature of its own, without which follow-the-ridge is not defined.
    assert names == [row.name for row in METHODS.values() if row.has_operator and row.name != "follow-the-ridge"]
    assert len(analyse("quadratic", methods="all")) == len(names) + 1


def test_what_has_no_matrix_is_refused() -> None:
    with pytest.raises(UsageError, match="the method 'adam' has no update matrix: its step is not linear"):
        analyse(methods="adam")
    with pytest.raises(UsageError, match=r"rate of 1e\+308 the update of the method 'extragradient' is no matrix"):
        analyse(methods="extragradient", learning_rates=[1e308])
    with pytest.raises(UsageError, match=r"no equilibrium of the game 'x \+ y' is known"):
        analyse("x + y")
