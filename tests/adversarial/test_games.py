"""Games: their derivatives against differences, their equilibria and eigenvalues against the publications."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from portable_nn.adversarial import GAMES, Game, game, linear_game
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.operators import emit
from portable_nn.operators.registry import Array

STEP = 1e-6
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in GAMES),
    ("bilinear", {"matrix": [[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]]}),
    ("dirac-gan", {"gamma": 0.7}),
    ("dirac-gan", {"sigma": 1.3, "gamma": 0.2}),
    ("quadratic", {"a": -0.5, "b": 2.0, "c": 3.0}),
    ("x0*y1 - 0.1*x0**2 + sin(x1)*y0/(2 + cos(y1))", {}),
    ("exp(-x**2)*log(3 + y**2) + tanh(x*y) - sqrt(4 + x**2)", {}),
    ("x**3*y - y**-2 + 2**x + x**1.5*0", {}),
]


def slopes(function: Any, z: Array) -> Array:
    """∂function/∂z by central differences, on a new last axis."""
    sides = [(function(z + STEP * unit) - function(z - STEP * unit)) / (2 * STEP) for unit in np.eye(z.shape[-1])]
    return np.stack(sides, axis=-1)


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_field_and_jacobian_equal_differences(name: str, options: dict[str, Any]) -> None:
    found = game(name, **options)
    z = np.random.default_rng(3).uniform(0.2, 1.2, (4, 5, found.size))
    gradient = slopes(found.value, z)
    gradient[..., : found.players[0]] *= -1
    assert np.allclose(found.field(z), gradient, atol=1e-7)
    assert found.jacobian(z).shape == (4, 5, found.size, found.size)
    assert np.allclose(found.jacobian(z), slopes(found.field, z), atol=1e-7)


@pytest.mark.parametrize(("name", "options"), VARIANTS[: len(GAMES) + 4], ids=str)
def test_field_is_zero_in_the_equilibria(name: str, options: dict[str, Any]) -> None:
    found = game(name, **options)
    assert len(found.equilibria) >= 1
    inside = found.equilibria if name != "dirac-wgan-gp" else np.empty((0, 2))  # there F jumps
    assert np.allclose(found.field(inside), 0, atol=1e-12)
    assert np.allclose(found.distance(found.equilibria), 0)


def test_one_point_of_the_bilinear_game_is_computed_by_hand() -> None:
    found = game("bilinear")
    assert found.value([2, 3]) == 6
    assert found.field([2, 3]).tolist() == [-3, 2]
    assert found.jacobian([2, 3]).tolist() == [[0, -1], [1, 0]]
    assert found.lipschitz == 1
    assert found.linear


def test_bilinear_of_a_matrix() -> None:
    matrix = np.random.default_rng(0).normal(size=(2, 3))
    found, x, y = game("bilinear", matrix=matrix), np.array([1.0, -2.0]), np.array([0.5, 1.0, 2.0])
    z = np.concatenate([x, y])
    assert found.players == (2, 3)
    assert np.allclose(found.value(z), x @ matrix @ y)
    assert np.allclose(found.field(z), [*(-matrix @ y), *(matrix.T @ x)])
    assert found.lipschitz == pytest.approx(np.linalg.norm(matrix, 2))


def test_distance_leaves_out_directions_in_which_all_is_equilibrium() -> None:
    found = game("bilinear", matrix=[[2.0, 0.0]])  # y1 does nothing
    assert found.distance([3.0, 4.0, 100.0]) == pytest.approx(5)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.9, 1.0, 2.5])
def test_dirac_gan_with_r1_has_the_eigenvalues_of_mescheder(gamma: float) -> None:
    found = np.linalg.eigvals(-game("dirac-gan", gamma=gamma).jacobian([0, 0]))
    root = np.emath.sqrt(gamma**2 / 4 - 1 / 4)
    wanted = np.array([-gamma / 2 + root, -gamma / 2 - root])
    assert np.allclose(np.sort_complex(found), np.sort_complex(wanted), atol=1e-7 if gamma == 1 else 1e-14)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 1.4, 2.0])
def test_dirac_gan_with_instance_noise_has_the_eigenvalues_of_mescheder(sigma: float) -> None:
    found = np.linalg.eigvals(-game("dirac-gan", sigma=sigma).jacobian([0, 0]))
    first, second = 1 / 2, -1 / 4  # first and second derivative at 0 of f(t) = -log(1 + exp(-t))
    root = np.emath.sqrt(second**2 * sigma**4 - first**2)
    wanted = np.array([second * sigma**2 + root, second * sigma**2 - root])
    assert np.allclose(np.sort_complex(found), np.sort_complex(wanted), atol=1e-13)


def test_instance_noise_is_the_mean_over_noise() -> None:
    """The quadrature against a fine sum over the normal distribution."""
    u = np.linspace(-8, 8, 4001)
    weights = np.exp(-u * u / 2) / np.exp(-u * u / 2).sum()
    x, y, sigma = 0.7, -0.4, 0.8
    wanted = -(weights * (np.logaddexp(0, -x * (y + sigma * u)) + np.logaddexp(0, -x * sigma * u))).sum()
    assert game("dirac-gan", sigma=sigma).value([x, y]) == pytest.approx(wanted, abs=1e-8)


def test_equilibrium_of_forsaken_is_that_of_the_paper() -> None:
    [point] = game("forsaken").equilibria
    assert point == pytest.approx([0.078, 0.412], abs=5e-4)


def test_quadratic_has_the_jacobian_of_the_paper() -> None:
    assert game("quadratic", a=2, b=3, c=5).jacobian([1, 1]).tolist() == [[2, 3], [-3, 5]]


def test_ridges_are_those_of_the_paper_with_x_minimising() -> None:
    x, y = 0.3, -0.8
    assert game("ridge-minimax").value([x, y]) == pytest.approx(-(-3 * x * x - y * y + 4 * x * y))
    assert game("ridge-other").value([x, y]) == pytest.approx(-(3 * x * x + y * y + 4 * x * y))
    bent = (4 * x**2 - (y - 3 * x + 0.05 * x**3) ** 2 - 0.1 * y**4) * np.exp(-0.01 * (x * x + y * y))
    assert game("ridge-bent").value([x, y]) == pytest.approx(-bent)


def test_matching_pennies_is_the_mean_gain_of_two_coins() -> None:
    x, y = 0.4, -1.1
    p, q = 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(-y))
    payoff = p * q + (1 - p) * (1 - q) - p * (1 - q) - (1 - p) * q
    assert game("matching-pennies").value([x, y]) == pytest.approx(payoff)


def test_rock_paper_scissors_pays_one_for_a_win() -> None:
    found, sure = game("rock-paper-scissors"), 40.0
    rock, paper, scissors = [sure, 0.0], [0.0, sure], [-sure, -sure]
    assert found.value([*paper, *rock]) == pytest.approx(1)
    assert found.value([*scissors, *paper]) == pytest.approx(1)
    assert found.value([*rock, *scissors]) == pytest.approx(1)
    assert found.value([*rock, *paper]) == pytest.approx(-1)
    assert found.value([*rock, *rock]) == pytest.approx(0)


def test_samples_of_the_stochastic_game_have_its_field_as_their_mean() -> None:
    found = game("stochastic-bilinear", samples=5, seed=7)
    assert found.sampled is not None
    z = np.tile([1.0, 2.0, 3.0, 4.0], (20_000, 1))
    fields = found.sampled(z, np.random.default_rng(0))
    assert len(np.unique(fields.round(9), axis=0)) == 5
    assert np.allclose(fields.mean(0), found.field(z[0]), atol=0.05)


def test_a_function_of_your_own() -> None:
    found = game(lambda x, y: x * y + 0.1 * emit("Sin", x) * y, name="mine")
    assert found.field([1, 2]) == pytest.approx([-2 - 0.2 * np.cos(1), 1 + 0.1 * np.sin(1)])
    vector = game(lambda x, y: x[0] * y[1] - x[1] * y[0], players=(2, 2))
    assert vector.field([1, 2, 3, 4]).tolist() == [-4, 3, -2, 1]
    assert vector.linear


def test_functions_and_arrays_of_numpy_are_those_of_a_game() -> None:
    found = game(lambda x, y: np.sin(x) * np.tanh(y) - abs(x) + np.float64(2) * np.maximum(x, y) + 2**x)
    assert found.value([0.5, -1.5]) == pytest.approx(np.sin(0.5) * np.tanh(-1.5) - 0.5 + 2 * 0.5 + 2**0.5)
    slope = -np.cos(0.5) * np.tanh(-1.5) + 1 - 2 - np.log(2) * 2**0.5, np.sin(0.5) / np.cosh(-1.5) ** 2
    assert found.field([0.5, -1.5]) == pytest.approx(slope)
    a = np.random.default_rng(0).normal(size=(2, 3))
    for function in (
        lambda x, y: x @ a @ y,
        lambda x, y: x @ (a @ y),
        lambda x, y: np.stack(x) @ a @ np.stack(y),
        lambda x, y: np.dot(np.dot(x, a), y),
    ):
        bilinear = game(function, players=(2, 3))
        x, y = np.array([1.0, -2]), np.array([0.5, 3, -1])
        assert bilinear.linear
        assert bilinear.field([*x, *y]) == pytest.approx([*(-a @ y), *(x @ a)])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x, y: (x if x > 0 else -x) * y, "emit('Where', np.greater(x, 0), a, b) is a where x is above 0, and b"),
        (
            lambda x, y: np.hypot(x, y),
            "np.hypot is no function of symbols, as it is used here: emit(operator, …)",
        ),
        (lambda x, y: np.mean(x * y), "np.mean is no function of symbols, as it is used here"),
        (lambda x, y: np.log1p(x) * y, "those of numpy are absolute, add, arccos"),
        (lambda x, y: math.sin(x) * y, "a symbol has no value yet, for a condition or as a number"),
    ],
    ids=["condition", "hypot", "mean", "log1p", "math"],
)
def test_what_symbols_do_not_do_is_said(function: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        game(function)


def test_a_condition_on_values_is_a_node() -> None:
    found = game(lambda x, y: emit("Where", np.greater(x, 0), x * y, 3 * x * y))
    assert found.value([[2.0, 5], [-2, 5]]).tolist() == [10, -30]


def test_equilibria_of_a_formula_are_found() -> None:
    found = game("(x - 1)*(y + 0.5)").equilibria
    assert np.allclose(found, [[1, -0.5]])
    several = game("x**3/3 - x + y**2").equilibria
    assert sorted(several[:, 0].round(9).tolist()) == [-1, 1]
    assert len(game("x + exp(y)").equilibria) == 0


def test_linear_game_of_a_jacobian() -> None:
    found = linear_game([[0.5, -2], [2, 1]])
    assert found.field([1, 1]).tolist() == [-1.5, 3]
    assert slopes(found.value, np.array([1.0, 1.0])) == pytest.approx([1.5, 3])


def test_a_game_stays_the_game_it_is() -> None:
    found = game("bilinear")
    assert game(found) is found
    assert isinstance(found, Game)
    with pytest.raises(AttributeError):
        found.name = "other"  # type: ignore[misc]


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    ("bilinaer", {}, "there is no game 'bilinaer': did you mean 'bilinear'? there are bilinear, stochastic-bilinear, "),
    (3, {}, "a game is a name, a formula or a function of x and y, not 3"),
    ("quadratic", {"d": 1}, "the game 'quadratic' has no option 'd': it has a (1.0), b (1.0), c (1.0)"),
    ("forsaken", {"a": 1}, "the game 'forsaken' has no option 'a': it has none"),
    ("dirac-gan", {"gamma": -1}, "gamma must be a number of at least 0, not -1"),
    ("dirac-gan", {"gamma": np.nan}, "gamma must be a number of at least 0, not nan"),
    ("stochastic-bilinear", {"samples": 2.5}, "samples must be a whole number from 1 to 10000, not 2.5"),
    ("bilinear", {"matrix": [1, 2]}, "matrix must be a matrix (numbers of x, numbers of y), not of shape (2,)"),
    ("bilinear", {"matrix": [[1, np.inf]]}, "matrix must be finite: it is inf at (0, 1)"),
    ("bilinear", {"matrix": "A"}, "matrix must be a matrix (numbers of x, numbers of y), not 'A'"),
    ("x + (-2)**y", {}, "-2 to the power of a variable is no number everywhere: the base must be above 0"),
    ("x*y", {"gamma": 1}, "a game of your own has no option 'gamma': it has name, title, equilibria"),
    (lambda x, y: 3, {}, "the function of a game must make one number of x and y by + - * / ** and operators, not 3"),
    (lambda x, y: x * y, {"equilibria": [1.0]}, "points of the game 'custom' have shape (…, 2)"),
    (game("bilinear"), {"matrix": 1}, "the game 'bilinear' is made already: it takes no matrix"),
]


@pytest.mark.parametrize(
    ("name", "options", "message"), REFUSED, ids=lambda v: v.__name__ if callable(v) else str(v)[:40]
)
def test_what_is_no_game_is_refused(name: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, ShapeError), match=re.escape(message)):
        game(name, **options)


def test_points_of_another_size_are_refused() -> None:
    message = "points of the game 'bilinear' have shape (…, 2), 1 numbers of x and 1 of y, not (3,)"
    with pytest.raises(ShapeError, match=re.escape(message)):
        game("bilinear").field([1, 2, 3])


@pytest.mark.parametrize(
    ("jacobian", "players", "message"),
    [
        ([[1, 2]], None, "the Jacobian must be a square matrix of at least 2 rows, not of shape (1, 2)"),
        (np.eye(3), None, "players must say how many of the 3 numbers are those of x, and how many of y"),
        (np.eye(3), (3, 0), "players must be two whole numbers above 0 whose sum is 3, not (3, 0)"),
    ],
)
def test_what_is_no_jacobian_is_refused(jacobian: Any, players: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        linear_game(jacobian, players)
