"""Verdicts against much longer runs, by games and methods in plain Python that share no code with them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from longer_runs import Array, contradiction, coupled, distances

from portable_nn.adversarial import METHODS, game, simulate
from portable_nn.adversarial.runs.verdict import WORDS, Verdict

GAMES: dict[str, Callable[[np.random.Generator], dict[str, Any]]] = {
    "bilinear": lambda rng: {},
    "xᵀAy": lambda rng: {"matrix": np.round(rng.normal(size=(2, 2)), 2).tolist()},
    "stochastic-bilinear": lambda rng: {"seed": int(rng.integers(100)), "spread": float(rng.choice([0.1, 0.5, 1]))},
    "quadratic": lambda rng: dict(zip("abc", np.round(rng.normal(size=3), 2).tolist(), strict=True)),
    "dirac-gan": lambda rng: {"gamma": float(rng.choice([0, 0, 0.3, 1]))},
    "dirac-wgan-gp": lambda rng: {"gamma": float(rng.choice([0.1, 1])), "norm": float(rng.choice([0.3, 1]))},
    "ridge-minimax": lambda rng: {},
    "ridge-other": lambda rng: {},
    "ridge-bent": lambda rng: {},
    "forsaken": lambda rng: {},
    "matching-pennies": lambda rng: {},
    "rock-paper-scissors": lambda rng: {},
    "x*y - 0.1*x**4 + 0.1*y**4": lambda rng: {},
    "sin(x)*sin(y)": lambda rng: {},
}
"""Games with random options."""

SCHEDULES: dict[str, Callable[[int], float]] = {
    "1/sqrt(t)": lambda t: t**-0.5,
    "1/t": lambda t: 1 / t,
    "1/t^2": lambda t: t**-2.0,
    "log": lambda t: 1 / math.log(t + math.e - 1),
}

EXACT: dict[str, Callable[[complex, float, dict[str, Any]], list[complex]]] = {
    "simultaneous": lambda m, h, o: [1 - h * m],
    "extragradient": lambda m, h, o: [1 - h * m + (h * m) ** 2],
    "proximal": lambda m, h, o: [1 / (1 + h * m)],
    "midpoint": lambda m, h, o: [(2 - h * m) / (2 + h * m)],
    "runge-kutta": lambda m, h, o: [1 - h * m + (h * m) ** 2 / 2 - (h * m) ** 3 / 6 + (h * m) ** 4 / 24],
    "optimistic": lambda m, h, o: np.roots([1, 2 * h * m - 1, -h * m]).tolist(),
    "momentum": lambda m, h, o: np.roots([1, h * m - 1 - o["beta"], o["beta"]]).tolist(),
    "lookahead": lambda m, h, o: [abs(1 - o["alpha"] + o["alpha"] * (1 - h * m) ** o["k"]) ** (1 / o["k"])],
}
"""The eigenvalues of a step by an eigenvalue of J and the rate: the formulas of the literature, once more."""

LINEAR: dict[str, Callable[[dict[str, Any]], Any]] = {
    "bilinear": lambda o: [[0, -1], [1, 0]],
    "xᵀAy": lambda o: coupled(np.array(o["matrix"])),
    "quadratic": lambda o: [[o["a"], o["b"]], [-o["b"], o["c"]]],
    "ridge-minimax": lambda o: [[-6, 4], [-4, 2]],
    "ridge-other": lambda o: [[6, 4], [-4, -2]],
}
"""J of the games of which it is constant."""


@dataclass(frozen=True)
class Sample:
    """The arguments of a random run."""

    game: str
    method: str
    game_options: dict[str, Any]
    options: dict[str, Any]
    rate: float
    decay: str | None
    noise: float
    start: tuple[float, ...]
    steps: int

    def verdict(self) -> tuple[Verdict, Array, dict[str, Any]]:
        """What the package says."""
        played = game("bilinear" if self.game == "xᵀAy" else self.game, **self.game_options)
        run = simulate(
            played, self.method, self.start, self.rate, self.steps, decay=self.decay, noise=self.noise, **self.options
        )
        return run.verdicts[0], played.equilibria, dict(run.options)

    def approaches(self, verdict: Verdict) -> bool:
        """Whether a run that is hundred times as long comes to an equilibrium, whose eigenvalues decide the matter."""
        curved = self.game not in {*LINEAR, "xᵀAy", "stochastic-bilinear", "dirac-wgan-gp"}
        if not curved or self.decay or self.noise or not METHODS[self.method].has_operator:
            return False
        if verdict.basis == "local":
            return True
        played = game(self.game, **self.game_options)
        run = simulate(played, self.method, self.start, self.rate, 100 * self.steps, record=50, **self.options)
        return bool(run.lengths[-1] < 1e-6)

    @property
    def has_closed_form(self) -> bool:
        """Whether the tables know its factor."""
        return self.method in EXACT and self.game in LINEAR and not (self.decay or self.noise)

    def closed_form(self, options: dict[str, Any]) -> float:
        """The factor by the tables."""
        found = [
            abs(value)
            for m in np.linalg.eigvals(np.array(LINEAR[self.game](self.game_options), dtype=float)).tolist()
            for value in EXACT[self.method](complex(m), self.rate, options)
        ]
        return max(found)


def samples(count: int, seed: int) -> list[Sample]:
    """So many random runs."""
    rng = np.random.default_rng(seed)
    return [_sample(rng) for _ in range(count)]


def _sample(rng: np.random.Generator) -> Sample:
    name, method = str(rng.choice([*GAMES])), str(rng.choice([*METHODS]))
    size = 4 if name in {"xᵀAy", "stochastic-bilinear", "rock-paper-scissors"} else 2
    options: dict[str, Any] = {}
    if method == "lookahead" and rng.random() < 0.5:
        options = {"k": int(rng.integers(2, 12)), "alpha": float(np.round(rng.uniform(0.1, 0.9), 2))}
    if method in {"consensus"} and rng.random() < 0.5:
        options = {"gamma": float(np.round(rng.uniform(0.05, 2), 2))}
    return Sample(
        game=name,
        method=method,
        game_options=GAMES[name](rng),
        options=options,
        rate=float(np.round(10 ** rng.uniform(-2.5, 0.2), 4)),
        decay=str(rng.choice([*SCHEDULES])) if rng.random() < 0.25 else None,
        noise=float(rng.choice([0.01, 0.1])) if rng.random() < 0.15 else 0.0,
        start=tuple(np.round(rng.uniform(-1.5, 1.5, size), 2).tolist()),
        steps=int(rng.choice([100, 200, 499])),
    )


def checked(runs: list[Sample], times: int) -> Iterator[tuple[Sample, Verdict, str]]:
    """Each run with its verdict, and what a run so many times as long says against it."""
    for run in runs:
        verdict, equilibria, options = run.verdict()
        decay = SCHEDULES[run.decay] if run.decay else lambda t: 1.0
        known = verdict.basis == "seen" or "from there" in verdict.text  # Of a point that is not in the table.
        d = distances(
            "bilinear" if run.game == "xᵀAy" else run.game,
            run.method,
            run.start,
            lambda t, run=run, decay=decay: run.rate * decay(t),  # type: ignore[misc]
            run.steps if known else times * run.steps,
            equilibria,
            run.game_options,
            options,
            run.noise,
        )
        factor = run.closed_form(options) if run.has_closed_form else None
        yield run, verdict, "" if known else contradiction(verdict, d, run.steps, factor)


def agrees(verdict: Verdict, factor: float) -> bool:
    """Whether a verdict is that of a factor in closed form."""
    word = WORDS[verdict.status]
    if abs(factor - 1) < 1e-12:  # Within rounding errors of 1.
        return word in {"cycles", "stays", "converges", "diverges"}
    return word == "diverges" if factor > 1 else word in {"converges", "no equilibrium"}


def summary(runs: list[Sample], times: int) -> tuple[Counter[str], list[str]]:
    """How many runs have which verdict, and what is wrong."""
    counts: Counter[str] = Counter()
    wrong = []
    for run, verdict, against in checked(runs, times):
        counts[verdict.basis] += 1
        if against:
            wrong.append(f"{run}: {verdict.message}; but {against}")
        if run.has_closed_form:
            counts["closed form"] += 1
            factor = run.closed_form({**{k: o.default for k, o in METHODS[run.method].options.items()}, **run.options})
            if verdict.basis != "proved" or not agrees(verdict, factor):
                wrong.append(f"{run}: {verdict.message}; but the factor is {factor!r}")
        elif run.approaches(verdict):
            counts["approach"] += 1
            counts["approach, seen alone"] += verdict.basis == "seen"
    return counts, wrong


FOUR = (1.04, -0.61, 0.35, 0.8)
NOISY = {"matrix": [[1.11, -0.98], [-0.28, 0.61]]}
QUARTIC = "x*y - 0.1*x**4 + 0.1*y**4"
BORDER: dict[str, tuple[Sample, str]] = {
    "on the flat tail of exp(-r²/100)": (
        Sample("ridge-bent", "simultaneous", {}, {}, 1.0, None, 0.0, (1.0, 1.0), 499),
        "seen",
    ),
    "a neutral cycle that drifts outwards": (
        Sample("dirac-gan", "alternating", {"gamma": 0.0}, {}, 0.1, None, 0.0, (1.0, 1.0), 499),
        "seen",
    ),
    "on its way to a cycle": (
        Sample("forsaken", "simultaneous", {}, {}, 0.0512, None, 0.0, (-0.453, 1.041), 100),
        "seen",
    ),
    "a falling rate that leaves every bound": (
        Sample(QUARTIC, "simultaneous", {}, {}, 0.1, "1/sqrt(t)", 0.0, (0.2, 0.15), 499),
        "seen",
    ),
    "bounded for ten million steps": (
        Sample("xᵀAy", "extra-adam", NOISY, {}, 0.1, None, 0.0, FOUR, 499),
        "seen",
    ),
    "noise beside a linear map": (
        Sample("xᵀAy", "competitive-linear", NOISY, {}, 0.1, None, 0.01, FOUR, 200),
        "proved",
    ),
    "an equilibrium that attracts": (
        Sample("dirac-gan", "simultaneous", {"gamma": 1.0}, {}, 0.1, None, 0.0, (0.5, 0.5), 200),
        "local",
    ),
}
"""Runs whose verdicts longer ones have refuted, and others of their kind."""


@pytest.mark.long
@pytest.mark.parametrize("name", BORDER)
def test_what_is_said_no_longer_run_refutes(name: str) -> None:
    run, basis = BORDER[name]
    [(_, verdict, against)] = checked([run], 100)
    assert (verdict.basis, against) == (basis, "")


def test_the_distance_and_the_residual_fall_by_powers_of_their_own() -> None:
    """On -x⁴/4 + y⁴/4 an anchored run is where x³ = (x₀ - x)/(ηk), about: x falls as k^(-1/3), F as 1/k."""
    verdict = simulate("-x**4/4 + y**4/4", "anchored", (0.6, 0.7), 0.1, 20_000).verdicts[0]
    distance, residual = (float(power) for power in re.findall(r"k\^(-[\d.]+)", verdict.text))
    assert verdict.basis == "seen"
    assert (distance, residual) == (pytest.approx(-1 / 3, abs=0.02), pytest.approx(-1, abs=0.05))


@pytest.mark.long
def test_the_exponent_of_random_matrices_has_an_error_that_covers_other_runs() -> None:
    """Lyapunov exponents of runs with other samples differ by about √2 standard errors."""
    found = []
    for seed in range(20):
        verdict = simulate("stochastic-bilinear", "extragradient", learning_rate=0.1, steps=2000, seed=seed).verdicts[0]
        found.append(
            [float(number) for number in re.findall(r"is (-?[\d.e-]+), .* error of ([\d.e-]+)", verdict.text)[0]]
        )
    exponents, errors = np.array(found).T
    assert 0.6 < exponents.std(ddof=1) / errors.mean() < 1.5


@pytest.mark.sweep
def test_no_verdict_of_a_thousand_runs_is_refuted() -> None:
    counts, wrong = summary(samples(1000, seed=0), 1000)
    print(counts)
    assert wrong == []
    assert counts["approach, seen alone"] <= 0.2 * counts["approach"]
    assert counts["closed form"] > 50


@pytest.mark.long
@pytest.mark.minutes
def test_no_verdict_of_some_of_them_is_refuted() -> None:
    counts, wrong = summary(samples(100, seed=1), 50)
    assert wrong == []
    assert counts["approach, seen alone"] <= 0.3 * counts["approach"]
