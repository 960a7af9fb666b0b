"""Methods: the table, and what a step does against a few lines of plain numpy."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from longer_runs import NEWER

from portable_nn.adversarial import GAMES, METHODS, SCHEMES, Game, find_method, game, simulate
from portable_nn.core.errors import UsageError
from portable_nn.operators.registry import Array

RATE = 0.07
GAME = game("x*y + 0.3*sin(x)*y**2 - 0.1*x**2")
VECTOR = game("x0*y0 - 2*x1*y1 + 0.2*x0*x1*y0**2")
Play = Callable[[Game, Array, int], Array]


def shuffled(point: Game, z: Array, first: Array) -> Array:
    """z with the numbers of x from ``first``."""
    return np.concatenate([first[: point.players[0]], z[point.players[0] :]])


def simultaneous(played: Game, z: Array, steps: int) -> Array:
    for _ in range(steps):
        z = z - RATE * played.field(z)
    return z


def alternating(played: Game, z: Array, steps: int) -> Array:
    n = played.players[0]
    for _ in range(steps):
        z = z.copy()
        z[:n] -= RATE * played.field(z)[:n]
        z[n:] -= RATE * played.field(z)[n:]
    return z


def extragradient(played: Game, z: Array, steps: int) -> Array:
    for _ in range(steps):
        z = z - RATE * played.field(z - RATE * played.field(z))
    return z


def optimistic(played: Game, z: Array, steps: int) -> Array:
    last = played.field(z)
    for _ in range(steps):
        field = played.field(z)
        z, last = z - RATE * (2 * field - last), field
    return z


def lookahead(played: Game, z: Array, steps: int) -> Array:
    slow = z
    for step in range(1, steps + 1):
        z = z - RATE * played.field(z)
        if step % 5 == 0:
            z = slow = slow + 0.5 * (z - slow)
    return z


def anchored(played: Game, z: Array, steps: int) -> Array:
    start = z
    for k in range(steps):
        half = z + (start - z) / (k + 2) - RATE * played.field(z)
        z = z + (start - z) / (k + 2) - RATE * played.field(half)
    return z


def consensus(played: Game, z: Array, steps: int) -> Array:
    for _ in range(steps):
        field = played.field(z)
        z = z - RATE * (field + played.jacobian(z).T @ field)
    return z


def symplectic(played: Game, z: Array, steps: int) -> Array:
    for _ in range(steps):
        field, jacobian = played.field(z), played.jacobian(z)
        z = z - RATE * (field + (jacobian - jacobian.T).T @ field / 2)
    return z


def competitive(played: Game, z: Array, steps: int) -> Array:
    """Each player's best answer in the game to second order, as its two equations."""
    n = played.players[0]
    for _ in range(steps):
        # f has the slopes (-F_x, F_y) and the mixed derivative -J_xy.
        field, mixed = played.field(z), -played.jacobian(z)[:n, n:]
        up, down = -field[:n], field[n:]
        dx = np.linalg.solve(np.eye(n) + RATE**2 * mixed @ mixed.T, RATE * (up - RATE * mixed @ down))
        dy = np.linalg.solve(np.eye(len(down)) + RATE**2 * mixed.T @ mixed, -RATE * (down + RATE * mixed.T @ up))
        z = z + np.concatenate([dx, dy])
    return z


def proximal(played: Game, z: Array, steps: int) -> Array:
    for _ in range(steps):
        w = z
        for _ in range(200):
            w = z - RATE * played.field(w)
        z = w
    return z


def midpoint(played: Game, z: Array, steps: int) -> Array:
    for _ in range(steps):
        w = z
        for _ in range(200):
            w = z - RATE * played.field((z + w) / 2)
        z = w
    return z


def adam(played: Game, z: Array, steps: int) -> Array:
    m, v = np.zeros_like(z), np.zeros_like(z)
    for t in range(1, steps + 1):
        field = played.field(z)
        m, v = 0.9 * m + 0.1 * field, 0.999 * v + 0.001 * field**2
        z = z - RATE * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return z


def optimistic_adam(played: Game, z: Array, steps: int) -> Array:
    m, v, last = np.zeros_like(z), np.zeros_like(z), np.zeros_like(z)
    for t in range(1, steps + 1):
        field = played.field(z)
        m, v = 0.9 * m + 0.1 * field, 0.999 * v + 0.001 * field**2
        now = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        z, last = z - 2 * RATE * now + RATE * last, now
    return z


def extra_adam(played: Game, z: Array, steps: int) -> Array:
    m, v, t = np.zeros_like(z), np.zeros_like(z), 0
    for _ in range(steps):
        ahead = z
        for _ in range(2):
            field, t = played.field(ahead), t + 1
            m, v = 0.9 * m + 0.1 * field, 0.999 * v + 0.001 * field**2
            ahead = z - RATE * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        z = ahead
    return z


def alternating_rmsprop(played: Game, z: Array, steps: int) -> Array:
    n, v = played.players[0], np.zeros_like(z)
    for _ in range(steps):
        for part in (slice(None, n), slice(n, None)):
            field = played.field(z)[part]
            v[part] = 0.99 * v[part] + 0.01 * field**2
            z = z.copy()
            z[part] -= RATE * field / (np.sqrt(v[part]) + 1e-8)
    return z


PLAYS: dict[str, Play] = {
    "simultaneous": simultaneous,
    "alternating": alternating,
    "extragradient": extragradient,
    "optimistic": optimistic,
    "lookahead": lookahead,
    "anchored": anchored,
    "consensus": consensus,
    "symplectic": symplectic,
    "competitive": competitive,
    "proximal": proximal,
    "midpoint": midpoint,
    "adam": adam,
    "optimistic-adam": optimistic_adam,
    "extra-adam": extra_adam,
    "alternating-rmsprop": alternating_rmsprop,
}


@pytest.mark.parametrize("played", [GAME, VECTOR], ids=["numbers", "vectors"])
@pytest.mark.parametrize("method", PLAYS)
def test_method_does_what_a_few_lines_of_numpy_do(method: str, played: Game) -> None:
    start = np.linspace(0.5, 0.8, played.size)
    found = simulate(played, method, start, RATE, 40).z[-1]
    assert np.allclose(found, PLAYS[method](played, start, 40), atol=1e-12)


class Judged:
    """A game of the package for the loops of the independent judge."""

    def __init__(self, played: Game) -> None:
        self.played, self.first = played, played.players[0]

    def field(self, z: Array) -> Array:
        return self.played.field(z)

    def joined(self, a: Array, b: Array) -> Array:
        return np.concatenate([a[: self.first], b[self.first :]])

    def size(self, v: Array) -> float:
        return float(np.linalg.norm(v))

    def along(self, a: Array, b: Array) -> float:
        return float(a @ b)


@pytest.mark.parametrize("played", [GAME, VECTOR], ids=["numbers", "vectors"])
@pytest.mark.parametrize("method", NEWER)
def test_newer_methods_do_what_the_independent_loops_do(method: str, played: Game) -> None:
    start, options = np.linspace(0.5, 0.8, played.size), METHODS[method].fill({})
    judge = NEWER[method](Judged(played), start, lambda step: RATE / step**0.5, options)
    wanted = [next(judge) for _ in range(40)]
    found = simulate(played, method, start, RATE, 40, decay="1/sqrt(t)").z
    assert np.allclose(found[1:], wanted, atol=1e-12)


@pytest.mark.parametrize("method", ["optimistic", "alternating-optimistic"])
def test_optimism_has_a_strength_of_its_own(method: str) -> None:
    """z - ηF - gamma(F - the last F); with gamma = η it is the method without the option."""
    usual = simulate(GAME, method, learning_rate=RATE, steps=40).z
    assert np.allclose(simulate(GAME, method, learning_rate=RATE, steps=40, gamma=RATE).z, usual, atol=1e-14)
    n, z, last = 1, np.array([0.6, 0.7]), GAME.field([0.6, 0.7])
    for _ in range(40):
        parts = [slice(None, n), slice(n, None)] if method != "optimistic" else [slice(None)]
        z, now = z.copy(), last.copy()
        for part in parts:
            now[part] = GAME.field(z)[part]
            z[part] += -RATE * now[part] - 0.2 * (now[part] - last[part])
        last = now
    assert np.allclose(simulate(GAME, method, learning_rate=RATE, steps=40, gamma=0.2).z[-1], z, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_replayed_steps_and_numpy_do_the_same(method: str) -> None:
    alone = simulate(GAME, method, [0.6, 0.7], (0.05, 0.08), 60, decay="1/sqrt(t)")
    together = simulate(GAME, method, [[0.1, 0.2], [0.6, 0.7]], (0.05, 0.08), 60, decay="1/sqrt(t)")
    assert np.allclose(alone.z, together.z[:, 1], atol=1e-12)
    if method not in {"proximal", "midpoint"}:  # these take as many iterations as the slowest of the runs
        assert (alone.nfev, alone.njev) == (together.nfev, together.njev)


PAIRS = [name for name in GAMES if game(name).players == (1, 1)]


@pytest.mark.parametrize("method", ["extragradient", "consensus"])
@pytest.mark.parametrize(
    "name", [*PAIRS, "log(2 + sin(x)*cos(y)) + sqrt(3 + x*y)*x - 1/(2 + y**2)", "x**2.5*y", "y**x"]
)
def test_every_game_of_two_numbers_is_played_alike_by_both(name: str, method: str) -> None:
    alone = simulate(name, method, (0.6, 0.7), 0.03, 20)
    together = simulate(name, method, [(0.1, 0.2), (0.6, 0.7)], 0.03, 20)
    assert np.isfinite(alone.z).all()
    assert np.allclose(alone.z, together.z[:, 1], atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_costs_are_those_of_the_table(method: str) -> None:
    row = METHODS[method]
    calls = {"field": 0, "jacobian": 0}

    class Counting:
        linear = True

        def value(self, z: Array) -> Array:
            return GAME.value(z)

        def field(self, z: Array) -> Array:
            calls["field"] += 1
            return game("quadratic").field(z)

        def jacobian(self, z: Array) -> Array:
            calls["jacobian"] += 1
            return game("quadratic").jacobian(z)

    counted = Game("counted", "-(x² + 2xy - y²)/2", (1, 1), Counting(), np.zeros((1, 2)))
    found = simulate(counted, method, [1.0, 1.0], 0.1, 30)
    begun = found.nfev - 30 * row.evaluations
    assert begun == ("field" in row.kept)
    # A method whose players move in turn asks twice and uses half of each answer; Newton's step is checked once more.
    twice = row.scheme == "alternating" or method in {"proximal", "midpoint"}
    assert calls["field"] == (2 if twice else 1) * 30 * row.evaluations + begun
    assert calls["jacobian"] == found.njev == 30 * bool(row.jacobians)


def test_rates_of_both_players_in_competitive_gradient_descent() -> None:
    """To second order, x plays the best answer to y's answer: the equations with a rate for each player."""
    rates = np.array([0.3, 0.05])
    field, mixed = GAME.field([0.6, 0.7]), -GAME.jacobian([0.6, 0.7])[0, 1]
    # dx = η_x(f_x + f_xy dy), dy = -η_y(f_y + f_xy dx)
    matrix = [[1, -rates[0] * mixed], [rates[1] * mixed, 1]]
    wanted = np.array([0.6, 0.7]) + np.linalg.solve(matrix, [-rates[0] * field[0], -rates[1] * field[1]])
    assert np.allclose(simulate(GAME, "competitive", [0.6, 0.7], (0.3, 0.05), 1).z[-1], wanted, atol=1e-14)


def test_rows_tell_what_people_need() -> None:
    for name, row in METHODS.items():
        assert row.name == name
        assert row.title
        assert row.source
        assert row.evaluations >= 1
        assert all(option.meaning for option in row.options.values())
    assert METHODS["consensus"].fill({}) == {"gamma": 1.0}
    assert METHODS["momentum"].fill({"beta": -0.3}) == {"beta": -0.3}
    assert METHODS["lookahead"].fill({}) == {"k": 5, "alpha": 0.5}


@pytest.mark.parametrize(
    ("method", "scheme", "found"),
    [
        ("simultaneous", "alternating", "alternating"),
        ("simultaneous", "extragradient", "extragradient"),
        ("optimistic", "alternating", "alternating-optimistic"),
        ("momentum", "alternating", "alternating-momentum"),
        ("adam", "optimistic", "optimistic-adam"),
        ("rmsprop", "extragradient", "extra-rmsprop"),
        ("extra-adam", "simultaneous", "adam"),
        ("lola", "simultaneous", "lola"),
        ("lola", None, "lola"),
    ],
)
def test_schemes_are_variants_of_a_method(method: str, scheme: str | None, found: str) -> None:
    assert find_method(method, scheme).name == found
    assert scheme is None or scheme in SCHEMES


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"method": "extragradeint"}, "there is no method 'extragradeint': did you mean 'extragradient'? there are simult"),
    ({"method": "extra"}, "there is no method 'extra': did you mean 'extra-adam', 'extragradient', 'extra-rmsprop', "),
    ({"method": 4}, "there is no method 4: there are simultaneous, alternating"),
    ({"scheme": "alternate"}, "there is no scheme 'alternate': did you mean 'alternating'? there are simultaneous, al"),
    ({"method": "lola", "scheme": "alternating"}, "the method 'lola' has no alternating variant; there are "),
    ({"gamma": 1}, "the method 'simultaneous' has no option 'gamma': it has none"),
    ({"matrix": 1}, "it has none; those of a game go to it: game(NAME, matrix=…), or --set game.matrix=…"),
    ({"method": "consensus", "beta": 1}, "the method 'consensus' has no option 'beta': it has gamma (1.0)"),
    ({"method": "momentum", "beta": 2}, "beta must be a number from -1 to 1, not 2"),
    ({"method": "lookahead", "k": 0}, "k must be a whole number from 1 to 10000, not 0"),
    ({"method": "lookahead", "alpha": "half"}, "alpha must be a number from 0 to 1, not 'half'"),
    ({"method": "adam", "beta1": 1}, "beta1 must be a number from 0 to 0.999999, not 1"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_is_no_method_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        simulate(**arguments)
