"""The pages of lessons compute what Python computes, on random settings."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages.browsers import HERE, need_packages

from portable_nn.adversarial import (
    METHODS,
    game,
    simulate,
    spectral_radius,
    spectrum,
    stability_limit,
    update_operator,
)
from portable_nn.adversarial.methods.program import schedule_program
from portable_nn.adversarial.runs.rates import DECAYS
from portable_nn.adversarial.theory.closed_forms import FORMS, FORMULAS
from portable_nn.lessons.game import game_data
from portable_nn.operators import Array

CLOSE = 1e-12


def computed(folder: Path, calls: list[list[Any]], shared: dict[str, Any] | None = None) -> list[Any]:
    """What the functions of the pages return."""
    need_packages("esbuild")
    path = folder / "calls.json"
    path.write_text(json.dumps({"shared": shared or {}, "calls": calls}))
    done = subprocess.run(["node", HERE / "lessons.cjs", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def drawn(rng: np.random.Generator, name: str, linear: bool = True) -> tuple[list[float], float, int, dict[str, Any]]:
    """A start, a learning rate, a number of steps, and options of a method, some of them left out."""
    options: dict[str, Any] = {}
    for option, row in METHODS[name].options.items():
        low, high = max(row.low, -1.0), min(row.high, 1.0)
        if rng.random() < 0.7 and option != "follower":
            options[option] = int(rng.integers(1, 9)) if row.whole else round(float(rng.uniform(low, high)), 6)
    start = rng.uniform(-2, 2, 2).tolist()
    return start, float(10 ** rng.uniform(-3, 0)), int(rng.integers(1, 200)), options


def as_array(value: Any) -> Array:
    return np.array(value, dtype=float)


@pytest.mark.long
def test_points_of_runs_on_x_y(tmp_path: Path) -> None:
    data = game_data(game("bilinear"))
    methods = {method["name"]: method for method in data["methods"]}
    rng = np.random.default_rng(0)
    cases = [(name, *drawn(rng, name)) for name in methods for _ in range(10)]
    calls = [["dynamics", "simulate", {"shared": name}, *rest] for name, *rest in cases]
    for (name, start, rate, steps, options), found in zip(cases, computed(tmp_path, calls, methods), strict=True):
        wanted = simulate("bilinear", name, start, rate, steps, **options).z
        points = as_array(found).reshape(-1, 2)
        scale = np.maximum(1.0, np.maximum.accumulate(np.abs(wanted).max(-1)))[:, None]
        error = np.abs(points - wanted) / scale
        assert np.array_equal(np.isfinite(points), np.isfinite(wanted)), name
        assert np.nanmax(error, initial=0) <= CLOSE, (name, start, rate, steps, options)


@pytest.mark.long
def test_points_of_runs_whose_rate_falls(tmp_path: Path) -> None:
    data = game_data(game("bilinear"))
    methods = {method["name"]: method for method in data["methods"]}
    rng = np.random.default_rng(3)
    formulas = {**DECAYS, "0.3/(1 + t/7)": "0.3/(1 + t/7)"}
    programs = {name: schedule_program(formula) for name, formula in formulas.items()}
    assert [name for name, program in programs.items() if program is None] == ["constant"]
    cases = [(name, decay, *drawn(rng, name)) for name in methods for decay in programs]
    shared = {**methods, **{f"decay {name}": program and program._asdict() for name, program in programs.items()}}
    calls = [
        ["dynamics", "simulate", {"shared": name}, *rest, {"shared": f"decay {decay}"}] for name, decay, *rest in cases
    ]
    for (name, decay, start, rate, steps, options), found in zip(cases, computed(tmp_path, calls, shared), strict=True):
        given = {"decay": decay} if decay in DECAYS else {"decay": lambda step: 0.3 / (1 + (step + 1) / 7)}
        wanted = simulate("bilinear", name, start, rate, steps, **given, **options).z
        points = as_array(found).reshape(-1, 2)
        scale = np.maximum(1.0, np.maximum.accumulate(np.abs(wanted).max(-1)))[:, None]
        assert np.nanmax(np.abs(points - wanted) / scale, initial=0) <= CLOSE, (name, decay, rate, steps, options)


def matched(found: Array, wanted: Array) -> float:
    """The largest distance of eigenvalues from those they are matched with."""
    left, worst = list(wanted), 0.0
    for value in found:
        place = int(np.argmin([abs(value - other) for other in left]))
        worst = max(worst, abs(value - left.pop(place)))
    return worst


@pytest.mark.long
def test_updates_as_matrices_and_their_eigenvalues(tmp_path: Path) -> None:
    data = game_data(game("bilinear"))
    methods = {method["name"]: method for method in data["methods"] if method["local"]}
    rng = np.random.default_rng(1)
    cases = [(name, rate, options) for name in methods for _ in range(12) for _, rate, _, options in [drawn(rng, name)]]
    calls = [["dynamics", "spectrum", {"shared": name}, *rest] for name, *rest in cases]
    assert len(methods) == 20
    for (name, rate, options), found in zip(cases, computed(tmp_path, calls, methods), strict=True):
        operator = update_operator(name, "bilinear", rate, **options)
        scale = max(1.0, float(np.abs(operator).max()))
        assert np.abs(as_array(found["operator"]) - operator).max() <= CLOSE * scale, (name, rate, options)
        wanted = spectrum(name, "bilinear", rate, **options)
        _, left, right = eigensystem(operator)
        condition = float((np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=0)).max())
        values = np.array([value["re"] + 1j * value["im"] for value in found["values"]])
        assert matched(values, wanted) <= CLOSE * scale * max(1.0, condition), (name, rate, options)
        radius = spectral_radius(name, "bilinear", rate, **options)
        assert found["radius"] == pytest.approx(radius, rel=CLOSE, abs=CLOSE), (name, rate, options)


def eigensystem(matrix: Array) -> tuple[Array, Array, Array]:
    values, right = np.linalg.eig(matrix)
    return values, np.linalg.pinv(right), right


def test_eigenvalues_of_random_matrices(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    matrices = [rng.standard_normal((size, size)) for size in range(1, 9) for _ in range(25)]
    matrices += [np.eye(3), np.zeros((4, 4)), np.array([[0.0, 1.0], [1.0, 0.0]]), np.diag([3.0, -3.0, 1.0])]
    matrices += [np.roll(np.eye(size), 1, axis=0) for size in (3, 4, 5, 8)]  # The roots of 1.
    found = computed(tmp_path, [["eigenvalues", "eigenvalues", matrix.tolist()] for matrix in matrices])
    for matrix, values in zip(matrices, found, strict=True):
        _, left, right = eigensystem(matrix)
        condition = float((np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=0)).max())
        numbers = np.array([value["re"] + 1j * value["im"] for value in values])
        assert matched(numbers, np.linalg.eigvals(matrix)) <= CLOSE * max(1.0, condition)
        assert np.all(np.diff(np.abs(numbers)) <= 1e-12)


@pytest.mark.long
def test_stability_limits(tmp_path: Path) -> None:
    methods = {method["name"]: method for method in game_data(game("bilinear"))["methods"] if method["local"]}
    rng = np.random.default_rng(3)
    cases = [(name, drawn(rng, name)[3] if times else {}) for name in methods for times in range(3)]
    calls = [["dynamics", "stabilityLimit", {"shared": name}, options] for name, options in cases]
    for (name, options), found in zip(cases, computed(tmp_path, calls, methods), strict=True):
        wanted = stability_limit(name, "bilinear", **options)
        assert float(str(found).lower()) == pytest.approx(wanted, rel=CLOSE), (name, options)


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["quadratic", "dirac-gan", "dirac-wgan-gp", "ridge-minimax", "ridge-other", "forsaken"]
)
def test_payoffs_and_runs_on_other_games(tmp_path: Path, name: str) -> None:
    found_game = game(name)
    data = game_data(found_game)
    rng = np.random.default_rng(4)
    points = rng.uniform(-1.5, 1.5, (40, 2))
    program = {"payoff": data["game"]["payoff"]}
    values = computed(
        tmp_path, [["program", "evaluate", {"shared": "payoff"}, point] for point in points.tolist()], program
    )
    assert np.allclose(as_array(values)[:, 0], found_game.value(points), rtol=CLOSE, atol=CLOSE)
    methods = {method["name"]: method for method in data["methods"]}
    cases = [(row, *drawn(rng, row)) for row in methods for _ in range(10)]
    calls = [
        ["dynamics", "simulate", {"shared": row}, start, 0.2 * rate, min(steps, 30), o]
        for row, start, rate, steps, o in cases
    ]
    for (row, start, rate, steps, options), points in zip(cases, computed(tmp_path, calls, methods), strict=True):
        wanted = simulate(found_game, row, start, 0.2 * rate, min(steps, 30), **options).z
        got = as_array(points).reshape(-1, 2)
        near = np.abs(wanted).max(-1) < 100  # Where a run overflows, each rounding error does.
        error = np.abs(got[near] - wanted[near]) / np.maximum(1.0, np.abs(wanted[near]).max(-1, keepdims=True))
        assert error.max(initial=0) <= CLOSE, (row, start, rate, options)


POWERS = str.maketrans({"²": "**2", "³": "**3", "⁶": "**6", "⁸": "**8"})
LETTERS = {"η": "h", "γ": "gamma", "β": "beta", "i": "1j", "p": "pull", "r": "relax", "√": "np.sqrt"}


def evaluated(formula: str, names: dict[str, Any]) -> Any:
    """A formula as people write it."""
    written, before = "", ""
    bars = iter(["abs(", ")"] * formula.count("|"))
    for token in re.findall(r"\*\*\d|\d+|[^\s\d]", formula.translate(POWERS)):
        ends = token in "+-/)=" or token.startswith("**")
        text = next(bars) if token == "|" else LETTERS.get(token, token)
        closes = ends or (token == "|" and text == ")")
        if before and before not in "+-/(√" and not closes and not (before == "|" and written.endswith("(")):
            written += "*"
        elif before == "√" and token == "|":
            written, text = written + "(", text
        written, before = written + text, token
    written += ")" * (written.count("(") - written.count(")"))
    return eval(written, {"np": np, **names})


@pytest.mark.parametrize("name", [name for name in FORMULAS if name != "lookahead"])
def test_formulas_say_what_the_closed_forms_compute(name: str) -> None:
    text = FORMULAS[name].split(", r =")[0]
    options = {key: 0.3 if row.default is None else row.default for key, row in METHODS[name].options.items()}
    first, limit, second = (*re.split(" up to η = |, then ", text), "", "")[:3]
    for h in (0.05, 0.3, 0.9, 2.5):
        formula = second if limit and h > float(limit) else first
        if formula.startswith("root of "):
            polynomial = evaluated(formula.removeprefix("root of "), {"h": h, "λ": np.poly1d([1, 0]), **options})
            found = np.abs(polynomial.roots).max()
        else:
            found = evaluated(formula, {"h": h, "λ": options.get("lam"), **options})
        assert found == pytest.approx(float(FORMS[name](h, **options)), rel=1e-9), h


def test_every_closed_form_has_its_formula() -> None:
    assert list(FORMULAS) == list(FORMS)
