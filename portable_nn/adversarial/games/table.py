"""The table of games from the literature.

Where x minimises in the publication, f has the opposite sign here: the vector field and Jacobian are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.games.derivatives import Payoff
from portable_nn.adversarial.games.expressions import CONSTANTS, FUNCTIONS, parse, sizes
from portable_nn.adversarial.games.game import Game, Linear, Samples, coupled, linear_game, made_from
from portable_nn.adversarial.games.options import Option, filled, finite_array, no_such
from portable_nn.core.errors import UsageError
from portable_nn.operators import Array, Symbol, emit

AT_ZERO: Final = ((0.0, 0.0),)


@dataclass(frozen=True)
class NamedGame:
    """A game of the table: its name, its formula as text, its source, and how it is made.

    ``options`` are its numeric options; ``arrays`` are options that are arrays, with what each must be.
    """

    name: str
    title: str
    source: str
    make: Callable[..., Game]
    options: dict[str, Option] = field(default_factory=dict)
    arrays: dict[str, str] = field(default_factory=dict)

    def __call__(self, **options: object) -> Game:
        """The game with these options. Raises ``UsageError`` for unknown options and values out of range."""
        arrays = {name: options.pop(name) for name in self.arrays if options.get(name) is not None}
        checked = {name: finite_array(name, value, self.arrays[name]) for name, value in arrays.items()}
        return self.make(self, **checked, **filled(f"the game '{self.name}'", options, self.options))

    def derived(self, function: Payoff, players: tuple[int, int] = (1, 1), at: object = None) -> Game:
        """The game of a payoff on symbols."""
        return made_from(function, players, name=self.name, title=self.title, equilibria=at, source=self.source)


def _bilinear(row: NamedGame, matrix: Array | None = None) -> Game:
    if matrix is None:
        return row.derived(lambda x, y: x * y, at=AT_ZERO)
    if matrix.ndim != 2 or not matrix.size:
        raise UsageError(f"matrix must be a matrix (numbers of x, numbers of y), not of shape {matrix.shape}")
    return linear_game(coupled(matrix), matrix.shape, name=row.name, title="xᵀAy", source=row.source)


def _stochastic(row: NamedGame, samples: float, size: float, spread: float, seed: float) -> Game:
    """xᵀĀy, where Ā is the mean of random matrices; each gradient is that of one of them, drawn anew."""
    rng, count, players = np.random.default_rng(int(seed)), int(samples), (int(size), int(size))
    matrices = np.eye(int(size)) + spread * rng.standard_normal((count, *players))
    stack = np.array([coupled(matrix) for matrix in matrices])
    functions = Linear(np.mean(stack, axis=0), players[0])
    return Game(row.name, row.title, players, functions, np.zeros((1, sum(players))), row.source, Samples(stack))


def _quadratic(row: NamedGame, a: float, b: float, c: float) -> Game:
    return linear_game([[a, b], [-b, c]], name=row.name, title=row.title, source=row.source)


def _log_sigmoid(value: Any) -> Any:
    return -emit("Softplus", -value)


def _dirac(row: NamedGame, gamma: float, sigma: float) -> Game:
    """x is the discriminator's slope ψ, y the generator's point θ; instance noise is integrated by quadrature."""
    if not sigma:
        return row.derived(lambda x, y: _log_sigmoid(x * y) - 0.5 * gamma * x * x, at=AT_ZERO)
    places, weights = np.polynomial.hermite_e.hermegauss(8)
    shares = weights / weights.sum()

    def function(x: Symbol, y: Symbol) -> Symbol:
        total = x * x * (-0.5 * gamma)
        for place, share in zip(places.tolist(), shares.tolist(), strict=True):
            fake, real = _log_sigmoid(x * (y + sigma * place)), _log_sigmoid(x * (sigma * place))
            total = total + (fake + real) * share
        return total

    return row.derived(function, at=AT_ZERO)


def _dirac_wgan(row: NamedGame, gamma: float, norm: float) -> Game:
    def function(x: Symbol, y: Symbol) -> Symbol:
        excess = emit("Abs", x) - norm
        return x * y - 0.5 * gamma * excess * excess

    return row.derived(function, at=AT_ZERO)


def _forsaken(row: NamedGame) -> Game:
    def phi(z: Any) -> Any:
        square = z * z
        return square / 4 - square * square / 2 + square * square * square / 6

    return row.derived(lambda x, y: phi(y) - phi(x) - x * (y - 0.45))


def _valley(row: NamedGame) -> Game:
    def function(x: Symbol, y: Symbol) -> Symbol:
        bend = y - 3 * x + 0.05 * x * x * x
        fourth = y * y * y * y
        hill = emit("Exp", (x * x + y * y) * -0.01)
        return -(4 * x * x - bend * bend - 0.1 * fourth) * hill

    return row.derived(function, at=AT_ZERO)


def _scissors(row: NamedGame) -> Game:
    def strategy(logits: tuple[Symbol, Symbol]) -> list[Symbol]:
        weights = [emit("Exp", logit) for logit in logits]
        total = weights[0] + weights[1] + 1
        return [*(weight / total for weight in weights), 1 / total]

    def function(x: tuple[Symbol, Symbol], y: tuple[Symbol, Symbol]) -> Symbol:
        (r, p, s), (rock, paper, scissors) = strategy(x), strategy(y)
        return r * (scissors - paper) + p * (rock - scissors) + s * (paper - rock)

    found = row.derived(function, (2, 2), at=np.zeros((1, 4)))
    return replace(found, actions=("rock", "paper", "scissors"))


def _ridge(sign: float) -> Callable[[NamedGame], Game]:
    return lambda row: row.derived(lambda x, y: -(x * x * (3 * sign) + y * y * sign + x * y * 4), at=AT_ZERO)


_STRENGTH: Final = Option(1.0, "weight of the gradient penalty", low=0)

_ROWS: Final = (
    NamedGame(
        "bilinear",
        "x·y",
        "the game of the article; xᵀAy with matrix=A",
        _bilinear,
        arrays={"matrix": "a matrix (numbers of x, numbers of y)"},
    ),
    NamedGame(
        "stochastic-bilinear",
        "E xᵀAy over random A",
        "Chavdarova et al. 2019, arXiv 1904.08598",
        _stochastic,
        {
            "samples": Option(100, "number of random matrices", 1, 10_000, whole=True),
            "size": Option(2, "variables of each player", 1, 100, whole=True),
            "spread": Option(0.5, "standard deviation of the matrices about the identity", 0),
            "seed": Option(0, "seed of the matrices", 0, whole=True),
        },
    ),
    NamedGame(
        "quadratic",
        "-(a/2·x² + b·x·y - c/2·y²)",
        "Zhang & Yu 2019, arXiv 1908.05699; x minimises there",
        _quadratic,
        {
            "a": Option(1.0, "curvature of x; f is concave in x where it is positive"),
            "b": Option(1.0, "coupling of the players"),
            "c": Option(1.0, "curvature of y; f is convex in y where it is positive"),
        },
    ),
    NamedGame(
        "dirac-gan",
        "-log(1 + exp(-x·y)) - gamma/2·x²",
        "Mescheder et al. 2018, arXiv 1801.04406",
        _dirac,
        {
            "gamma": Option(0.0, "weight of the R1 penalty", 0),
            "sigma": Option(0.0, "standard deviation of the instance noise", 0),
        },
    ),
    NamedGame(
        "dirac-wgan-gp",
        "x·y - gamma/2·(|x| - norm)²",
        "Mescheder et al. 2018, arXiv 1801.04406",
        _dirac_wgan,
        {"gamma": _STRENGTH, "norm": Option(0.3, "target norm of the discriminator's gradient", 0)},
    ),
    NamedGame(
        "ridge-minimax",
        "3x² + y² - 4xy",
        "Wang et al. 2019, arXiv 1910.07512, g₁; x minimises there: the origin is a local minimax",
        _ridge(-1.0),
    ),
    NamedGame(
        "ridge-other",
        "-3x² - y² - 4xy",
        "Wang et al. 2019, arXiv 1910.07512, g₂; x minimises there: the origin is no local minimax",
        _ridge(1.0),
    ),
    NamedGame(
        "ridge-bent",
        "-(4x² - (y - 3x + x³/20)² - y⁴/10)·exp(-(x² + y²)/100)",
        "Wang et al. 2019, arXiv 1910.07512, g₃; x minimises there",
        _valley,
    ),
    NamedGame(
        "forsaken",
        "φ(y) - φ(x) - x(y - 0.45), φ(z) = z²/4 - z⁴/2 + z⁶/6",
        "Hsieh et al. 2020, arXiv 2006.09065; x minimises there",
        _forsaken,
    ),
    NamedGame(
        "matching-pennies",
        "tanh(x/2)·tanh(y/2)",
        "mixed strategies sigmoid(x) and sigmoid(y)",
        lambda row: row.derived(lambda x, y: emit("Tanh", x * 0.5) * emit("Tanh", y * 0.5), at=AT_ZERO),
    ),
    NamedGame(
        "rock-paper-scissors",
        "pᵀAq, p = softmax(x₀, x₁, 0), q = softmax(y₀, y₁, 0)",
        "mixed strategies; the variables are the logits of rock and paper against scissors",
        _scissors,
    ),
)

GAMES: Final[Mapping[str, NamedGame]] = {row.name: row for row in _ROWS}
"""The games by name; called with its options, an entry makes the game."""


def game(name: str | Game | Payoff, /, **options: Any) -> Game:
    """A game by its name in ``GAMES``, from a formula such as ``x0*y1 - 0.1*x0**2``, or from a function of symbols.

    Args:
        name: the name, formula or function f(x, y); a ``Game`` is returned as it is.
        options: for a name, the options of that game, such as ``gamma``; for a formula or function ``equilibria``,
            ``name`` and ``title``; for a function also ``players``, the numbers of variables of x and y (1, 1).

    Raises ``UsageError`` for anything else, and lists the games.

    >>> game("dirac-gan", gamma=1.0)
    <game dirac-gan: -log(1 + exp(-x·y)) - gamma/2·x²>
    """
    if isinstance(name, Game):
        if options:
            raise UsageError(f"the game '{name.name}' is made already: it takes no {', '.join(options)}")
        return name
    if callable(name):
        return made_from(name, **_known(options, "players", "name", "title", "equilibria"))
    if not isinstance(name, str):
        raise UsageError(f"a game is a name, a formula or a function of x and y, not {name!r}")
    if name in GAMES:
        return GAMES[name](**options)
    if not _is_formula(name):
        raise no_such("game", name, GAMES)
    return from_formula(name, **_known(options, "name", "title", "equilibria"))


def from_formula(text: str, **options: Any) -> Game:
    """The game of a formula in x and y, or in x0, x1, … and y0, y1, …. Raises ``UsageError``."""
    expression = parse(text)
    players = sizes(expression)

    def function(x: Any, y: Any) -> Any:
        values: dict[str, Any] = {}
        for player, given in (("x", x), ("y", y)):
            parts = given if isinstance(given, tuple) else (given,)
            values |= {f"{player}{place}": part for place, part in enumerate(parts)} | {player: parts[0]}
        return expression.evaluate(values)

    return made_from(function, players, **{"name": expression.text, "title": expression.text, **options})


def _is_formula(text: str) -> bool:
    """True if a text that names no game is meant as a formula."""
    words = re.findall(r"[^\W\d]\w*", text)
    readable = [word for word in words if word in {*FUNCTIONS, *CONSTANTS} or re.fullmatch(r"[xy]\d*", word)]
    return any(sign in text for sign in "*+/()") or (words != [] and len(readable) == len(words))


def _known(options: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in options:
        if name not in names:
            raise UsageError(f"a game of your own has no option '{name}': it has {', '.join(names)}")
    return options
