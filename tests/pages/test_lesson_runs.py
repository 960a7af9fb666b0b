"""Pages of games run as Python does: two learning rates, noise, random matrices, several numbers of each player."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from pages.test_lesson_numbers import CLOSE, as_array, computed, drawn, matched

from portable_nn.adversarial import (
    METHODS,
    Game,
    game,
    linear_game,
    simulate,
    spectral_radius,
    spectrum,
    update_operator,
)
from portable_nn.adversarial.theory.forecast import near_equilibrium
from portable_nn.core.errors import UsageError
from portable_nn.lessons.game import game_data, game_page

SEEDS: Final = (0, 1, 42, 2**40 + 7, 2**53 - 1)

GAMES: Final = {
    "x·y": game("bilinear"),
    "three against two": game("bilinear", matrix=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    "quadratic": game("quadratic", a=0.3, b=1.2, c=-0.2),
    "rock-paper-scissors": game("rock-paper-scissors"),
    "random": game("stochastic-bilinear", samples=30, spread=0.3),
    "random, eight numbers": game("stochastic-bilinear", samples=3, size=4),
    "formula": game("x0*y1 - x1*y0 - 0.1*x0**2 + 0.2*sin(y0)"),
}


def test_the_numbers_are_those_of_numpy(tmp_path: Path) -> None:
    """Where numpy has others, these are drawn anew: in the ziggurat's tail and at its edges, too."""
    count = 20_000
    found = computed(tmp_path, [["said", "normals", seed, count] for seed in SEEDS])
    for seed, numbers in zip(SEEDS, found, strict=True):
        wanted = np.random.default_rng(seed).standard_normal(count)
        assert np.abs(wanted).max() > 3.7  # The tail.
        np.testing.assert_allclose(as_array(numbers), wanted, rtol=1e-13, atol=0)


def test_whole_numbers_share_their_bits_with_normal_ones_as_in_numpy(tmp_path: Path) -> None:
    most = [1, 3, 100, 2**31 + 5]
    [found] = computed(tmp_path, [["said", "mixed", 5, most, 500]])
    rng = np.random.default_rng(5)
    wanted = [[*(int(rng.integers(count)) for count in most), rng.standard_normal()] for _ in range(500)]
    np.testing.assert_allclose(as_array(found), np.array(wanted), rtol=1e-13, atol=0)


RUN: Final = ("start", "learning_rate", "steps", "options")


def settings(rng: np.random.Generator, found: Game, name: str, reach: float = 1.0) -> dict[str, Any]:
    """Random arguments of a run, with two learning rates."""
    _, rate, steps, options = drawn(rng, name)
    start = rng.uniform(-2, 2, found.size).tolist()
    rates = (reach * rate, reach * float(10 ** rng.uniform(-3, 0)) if rng.random() < 0.7 else reach * rate)
    noise = float(rng.uniform(0, 1)) if rng.random() < 0.7 else 0.0
    arguments = {"start": start, "learning_rate": rates, "steps": steps, "noise": noise}
    return {**arguments, "seed": int(rng.integers(1000)), "options": options}


def chance(data: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    return {"noise": given["noise"], "seed": given["seed"], "samples": data["game"]["samples"]}


def run(found: Game, name: str, given: dict[str, Any]) -> Any:
    arguments = {key: value for key, value in given.items() if key != "options"}
    return simulate(found, name, **arguments, **given["options"])


@pytest.mark.long
@pytest.mark.parametrize("which", GAMES)
def test_points_of_runs(tmp_path: Path, which: str) -> None:
    found_game = GAMES[which]
    data = game_data(found_game)
    methods = {method["name"]: method for method in data["methods"]}
    assert len(methods) >= 30
    rng = np.random.default_rng(7)
    reach = 1.0 if found_game.linear else 0.2
    cases = [(name, settings(rng, found_game, name, reach)) for name in methods for _ in range(8)]
    for _, given in cases:
        given["steps"] = given["steps"] if found_game.linear else min(given["steps"], 30)
    calls = [
        ["dynamics", "simulate", {"shared": name}, *(given[key] for key in RUN), None, chance(data, given)]
        for name, given in cases
    ]
    for (name, given), points in zip(cases, computed(tmp_path, calls, methods), strict=True):
        wanted = run(found_game, name, given).z
        got = as_array(points).reshape(-1, found_game.size)
        near = np.abs(wanted).max(-1) < (1e200 if found_game.linear else 100)
        assert np.array_equal(np.isfinite(got), np.isfinite(wanted)) or not found_game.linear, (name, given)
        scale = np.maximum(1.0, np.maximum.accumulate(np.abs(wanted[near]).max(-1)))[:, None]
        error = np.max(np.abs(got[near] - wanted[near]) / scale, initial=0)
        if error > CLOSE:  # A step that is no linear map may magnify rounding errors: as much as it does Python's own.
            assert not METHODS[name].linear, (name, given)
            other = run(found_game, name, {**given, "start": [value * (1 + 1e-14) for value in given["start"]]}).z
            assert error <= 100 * np.max(np.abs(other[near] - wanted[near]) / scale), (name, given)


@pytest.mark.long
def test_payoffs_of_several_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    for found_game in GAMES.values():
        points = rng.uniform(-1.5, 1.5, (20, found_game.size))
        program = {"payoff": game_data(found_game)["game"]["payoff"]}
        calls = [["program", "evaluate", {"shared": "payoff"}, point] for point in points.tolist()]
        values = as_array(computed(tmp_path, calls, program))[:, 0]
        np.testing.assert_allclose(values, found_game.value(points), rtol=CLOSE, atol=CLOSE)


@pytest.mark.long
@pytest.mark.parametrize("which", ["three against two", "quadratic", "rock-paper-scissors", "random"])
def test_updates_at_two_rates(tmp_path: Path, which: str) -> None:
    """On the game near the equilibrium, as ``simulate spectrum`` has it."""
    local = near_equilibrium(GAMES[which])
    assert local is not None
    data = game_data(GAMES[which])
    methods = {method["name"]: method for method in data["methods"] if method["local"]}
    rng = np.random.default_rng(9)
    cases = [(name, settings(rng, GAMES[which], name)) for name in methods for _ in range(4)]
    calls = [
        ["dynamics", "spectrum", {"shared": name}, given["learning_rate"], given["options"]] for name, given in cases
    ]
    for (name, given), found in zip(cases, computed(tmp_path, calls, methods), strict=True):
        rates, options = given["learning_rate"], given["options"]
        operator = update_operator(name, local, rates, **options)
        scale = max(1.0, float(np.abs(operator).max()))
        assert np.abs(as_array(found["operator"]) - operator).max() <= CLOSE * scale, (name, given)
        values = np.array([value["re"] + 1j * value["im"] for value in found["values"]])
        assert matched(values, spectrum(name, local, rates, **options)) <= 1e-6 * scale
        radius = spectral_radius(name, local, rates, **options)
        assert found["radius"] == pytest.approx(radius, rel=1e-7, abs=1e-7), (name, given)


SAYS: Final = {
    "converges": "come to.*Proved|Near.*Local|Over.*Seen",
    "cycles": "go round.*Proved",
    "diverges": "move away.*Proved|adds up.*Proved|beyond all",
    "stays": "rest elsewhere.*Proved|noise keeps.*Proved|Nobody moves",
    "no equilibrium": "no equilibrium|Near.*Local",
    "fails": "not defined",
    "overflowed": "beyond all",
} | dict.fromkeys(("fell", "grew", "went round", "varied"), "Near.*Local|Seen")
"""How the page's verdict may go where Python's begins so: both say of linear games what is proved."""


def random_game(rng: np.random.Generator, linear: bool) -> Game:
    kind = int(rng.integers(3 if linear else 8))
    if kind == 0:
        return game("bilinear")
    if kind == 1:
        shape = rng.integers(1, 4, 2)
        return game("bilinear", matrix=np.diag([1.0, 2.0]) if rng.random() < 0.3 else rng.normal(size=shape))
    if kind == 2:
        a, b, c = rng.uniform(-1, 1, 3)
        return game("quadratic", a=a, b=0.0 if rng.random() < 0.3 else b, c=c)
    if kind == 3:
        return game("stochastic-bilinear", size=int(rng.integers(1, 3)), samples=20)
    names = ("rock-paper-scissors", "dirac-gan", "matching-pennies", "ridge-minimax")
    return game(names[kind - 4])


@pytest.mark.parametrize(
    ("count", "linear"),
    [pytest.param(60, True, marks=pytest.mark.long), pytest.param(300, False, marks=pytest.mark.sweep)],
)
def test_the_verdict_is_pythons(tmp_path: Path, count: int, linear: bool) -> None:
    """Also from starts that lack some directions, and at rates where eigenvalues are on the unit circle."""
    rng = np.random.default_rng(10)
    cases, calls, shared = [], [], {}
    for number in range(count):
        found_game = random_game(rng, linear)
        data = game_data(found_game)
        methods = {method["name"]: method for method in data["methods"] if method["local"] or not linear}
        name = list(methods)[rng.integers(len(methods))]
        given = settings(rng, found_game, name)
        if rng.random() < 0.6:
            given["noise"] = 0.0
        if rng.random() < 0.3:
            given["learning_rate"] = (float(rng.choice([1e-6, 0.1, 0.5, 1.0, 1.99999, 2.0])),) * 2
        if rng.random() < 0.3:
            given["start"] = [0.0, *given["start"][1:]]
        shared |= {f"method {number}": methods[name], f"rest {number}": data["game"]["rest"]}
        setting = {key: given[key] for key in ("start", "steps", "options")} | {"rate": given["learning_rate"]}
        setting["chance"] = chance(data, given)
        calls.append(["said", "verdict", {"shared": f"method {number}"}, {"shared": f"rest {number}"}, setting])
        cases.append((found_game, name, given))
    for (found_game, name, given), said in zip(cases, computed(tmp_path, calls, shared), strict=True):
        result = run(found_game, name, given)
        verdict, where = result.verdicts[0], (found_game, name, given, result.message, said["words"])
        expected = next(words for start, words in SAYS.items() if verdict.message.startswith(start))
        assert re.search(expected, said["words"]), where
        if np.isfinite(result.distance[-1]) and result.distance[-1] < 1e6:
            assert as_array(said["far"]) == pytest.approx(result.distance[[0, -1]], rel=1e-8, abs=1e-8), where
        factor = re.search(r"in the end each step multiplies their distance by ([\d.e+-]+)\.", said["words"])
        multiplied = re.search(r"is multiplied by ([\d.]+) per step", verdict.message)
        if factor and multiplied:
            assert float(factor[1].rstrip(".")) == pytest.approx(float(multiplied[1]), rel=2e-6), where


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((linear_game([[0.0, -1.0], [2.0, 0.0]]),), {}, "made from arrays"),
        ((game("bilinear", matrix=np.ones((5, 4))),), {}, "at most 8 numbers: 'bilinear' has 5 of x and 4 of y"),
        ((game("stochastic-bilinear", samples=10_000),), {}, "at most 100,000 entries of random matrices"),
        ((game("bilinear", matrix=[[1.0, 2.0]]), "follow-the-ridge"), {}, "cannot show the method 'follow-the-ridge'"),
        (("rock-paper-scissors", "midpoint"), {}, "cannot show the method 'midpoint'"),
        ((), {"learning_rate": (0.1, 0.2, 0.3)}, "two of them"),
        ((), {"learning_rate": lambda step: 0.1}, "two of them"),
        ((), {"noise": -1.0}, "noise must be"),
        ((), {"seed": 2**53}, "a page takes a seed up to 9,007,199,254,740,991"),
        (("rock-paper-scissors",), {"start": [1.0, 2.0]}, "start must be 4 numbers, x0, x1, y0, y1"),
    ],
)
def test_what_still_cannot_be_shown_is_named(arguments: tuple[Any, ...], options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        game_page(*arguments, **options)


def test_a_follower_is_part_of_the_page() -> None:
    """Its step is another program, so that the page has no control for it."""
    data = game_data(game("ridge-minimax"), {"follow-the-ridge": {"follower": 0}})
    other = game_data(game("ridge-minimax"))
    [one], [two] = (
        [method for method in each["methods"] if method["name"] == "follow-the-ridge"] for each in (data, other)
    )
    assert (one["fixed"], two["fixed"]) == ({"follower": 0}, {"follower": 1})
    assert one["program"] != two["program"]
