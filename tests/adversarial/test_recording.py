"""Steps on plain floats do what numpy does with arrays: solvers, games of more numbers, implicit steps, failures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from portable_nn.adversarial import METHODS, Game, game, simulate
from portable_nn.adversarial.methods.recording import Recording, eliminated, pivoted
from portable_nn.adversarial.methods.tape import Tape
from portable_nn.operators.registry import Array

MATRIX = game("bilinear", matrix=[[0.7, -1.2], [0.4, 0.9], [-0.3, 0.2]])
SCISSORS = game("rock-paper-scissors")
SAMPLED = game("stochastic-bilinear", spread=0.3)


class Functions:
    """The functions of a game, as of one that is given by arrays: nothing of it can be recorded."""

    def __init__(self, of: Game) -> None:
        self.linear, self.value, self.field, self.jacobian = of.linear, of.value, of.field, of.jacobian


def on_arrays(of: Game) -> Game:
    return replace(of, functions=Functions(of))


@pytest.mark.parametrize("size", [1, 3, 4, 8])
def test_systems_are_solved_as_numpy_solves_them(size: int) -> None:
    rng = np.random.default_rng(size)
    matrix, v = rng.standard_normal((size, size)), rng.standard_normal(size)
    matrix[0, 0] = 0.0 if size > 1 else 2.0  # No pivot.
    wanted = np.linalg.solve(matrix, v)
    assert np.allclose(pivoted(*matrix.ravel().tolist(), *v.tolist()), wanted, rtol=1e-9)
    regular = matrix + 5 * np.eye(size)
    tape = Tape(size * size + size)
    rows = [tape.variables[row * size : (row + 1) * size] for row in range(size)]
    compiled = tape.compiled(eliminated(rows, tape.variables[size * size :], pivots=False))
    found = compiled.function(*regular.ravel().tolist(), *v.tolist())
    assert np.allclose(found, np.linalg.solve(regular, v), rtol=1e-12)


def test_a_singular_system_has_no_solution() -> None:
    with pytest.raises(ZeroDivisionError):
        pivoted(1.0, 2.0, 3.0, 2.0, 4.0, 6.0, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0)


def test_constants_that_python_cannot_write_and_signed_zeros() -> None:
    tape = Tape(1)
    [x] = tape.variables
    compiled = tape.compiled([x + float("inf"), x * float("nan"), x - float("-inf"), 0.0 - x, -0.0])
    found = np.array(compiled.function(0.0))
    assert np.array_equal(found, [np.inf, np.nan, np.inf, 0.0, 0.0], equal_nan=True)
    assert np.signbit(found).tolist()[-1]


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[Recording]:
    """The recordings that are run."""
    found: list[Recording] = []
    run = Recording.run
    monkeypatch.setattr(Recording, "run", lambda self, *given: (found.append(self), run(self, *given))[1])
    return found


PLAYED = {"matrix": MATRIX, "scissors": SCISSORS, "sampled": SAMPLED}


@pytest.mark.parametrize(
    ("method", "name"),
    # Follow-the-ridge is defined for some of them alone.
    [(m, name) for m in METHODS for name in PLAYED if m != "follow-the-ridge" or name == "scissors"],
)
@pytest.mark.parametrize("schedule", [{}, {"decay": "1/sqrt(t)", "noise": 0.1}], ids=["constant", "noisy"])
def test_games_of_more_numbers_are_played_as_by_numpy(
    method: str, name: str, schedule: dict[str, Any], replayed: list[Recording]
) -> None:
    played = PLAYED[name]
    if METHODS[method].implicit and played is SAMPLED:
        schedule = {**schedule, "noise": 0.0}  # Samples and noise are drawn in another order.
    start = np.linspace(0.6, -0.4, played.size)
    floats = simulate(played, method, start, (0.05, 0.08), 40, seed=3, **schedule)
    arrays = simulate(on_arrays(played), method, start, (0.05, 0.08), 40, seed=3, **schedule)
    assert len(replayed) == 1  # The floats alone.
    assert np.isfinite(floats.z).all()
    assert np.allclose(floats.z, arrays.z, rtol=1e-10, atol=1e-12)
    assert (floats.nfev, floats.njev) == pytest.approx((arrays.nfev, arrays.njev), rel=0.1)


@pytest.mark.parametrize("method", ["proximal", "midpoint"])
@pytest.mark.parametrize("name", ["forsaken", "dirac-gan", "sin(x)*sin(y)"])
def test_implicit_steps_of_curved_games_are_those_of_numpy(name: str, method: str, replayed: list[Recording]) -> None:
    played = game(name)
    floats = simulate(played, method, (0.9, -0.4), 0.2, 60, noise=0.02)
    arrays = simulate(on_arrays(played), method, (0.9, -0.4), 0.2, 60, noise=0.02)
    assert len(replayed) == 1
    assert np.allclose(floats.z, arrays.z, rtol=1e-10, atol=1e-12)


FAILING: list[tuple[str, str, tuple[float, float], float, float]] = [
    ("forsaken", "midpoint", (0.6, 0.5), 1.5, 0.0),
    ("forsaken", "midpoint", (0.7, 0.6), 1.5, 0.0),
    ("forsaken", "competitive", (1.7, 0.4), 1.5, 0.0),
    ("ridge-bent", "proximal", (0.3, -0.7), 1.5, 0.0),
    ("forsaken", "midpoint", (0.6, 0.5), 1.5, 0.05),
]


@pytest.mark.parametrize(("name", "method", "start", "rate", "noise"), FAILING)
def test_a_run_that_ends_on_its_way_goes_on_with_arrays_from_there(
    name: str, method: str, start: Array, rate: float, noise: float
) -> None:
    played = game(name)
    floats = simulate(played, method, start, rate, 30, noise=noise)
    arrays = simulate(on_arrays(played), method, start, rate, 30, noise=noise)
    ends = int(np.argmin(np.isfinite(arrays.z).all(-1)))
    assert 1 < ends < 30
    assert np.allclose(floats.z[:ends], arrays.z[:ends], rtol=1e-6)
    assert np.array_equal(np.isnan(floats.z), np.isnan(arrays.z))
    assert floats.failures.keys() == arrays.failures.keys()
    assert all(words[:80] == arrays.failures[run][:80] for run, words in floats.failures.items())
