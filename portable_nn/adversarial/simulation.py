"""Playing a game: one run on plain floats, or many starts and rates in one pass of numpy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.choices import Option, finite_array
from portable_nn.adversarial.compiled import clock_columns, compile_run
from portable_nn.adversarial.game import Game
from portable_nn.adversarial.games import game as find_game
from portable_nn.adversarial.methods import Method, Options, find_method
from portable_nn.adversarial.oracle import ArrayOracle
from portable_nn.adversarial.rates import Rate, Rates, Schedule, read_rates
from portable_nn.adversarial.result import Result
from portable_nn.adversarial.steps import Now, State
from portable_nn.core.errors import UsageError
from portable_nn.operators.registry import Array

START: Final = (0.6, 0.7)
"""Where the article starts; x's number, and y's."""

STEPS: Final = 499
"""How many steps the article takes: its plot has 500 points."""

MOST_BYTES: Final = 4_000_000_000
"""How large the record of a run may be."""

_STEPS: Final = Option(STEPS, "steps", 1, 1_000_000_000, whole=True)


def simulate(
    game: str | Game | Callable[[Any, Any], Any] = "bilinear",
    method: str | Method = "simultaneous",
    start: object = None,
    learning_rate: Rate = 0.1,
    steps: int = STEPS,
    *,
    scheme: str | None = None,
    decay: str | Schedule | None = None,
    noise: float = 0.0,
    seed: int = 0,
    record: int = 1,
    **options: object,
) -> Result:
    """Let two players play by a method, from ``start`` (d,) or from many starts (…, d) at once.

    Args:
        game: A name of ``GAMES``, a formula, a function of symbols, or a ``Game``.
        method: A name of ``METHODS``.
        start: Where to begin; by default where the article does, in every number of x and y.
        learning_rate: A number; a tuple of x's and y's; a list or array of them, each a run of its own; a formula of
            the step t = 1, 2, …, such as ``0.1/sqrt(t)``; or a function of the step 0, 1, ….
        steps: How many.
        scheme: The variant of the method whose ``scheme`` this is: one of ``SCHEMES``.
        decay: What the rate is multiplied by: a name of ``DECAYS``, or a function of the step 0, 1, ….
        noise: Standard deviation of what is added to each number of each gradient.
        seed: What the noise, and the samples of a stochastic game, are drawn from.
        record: After how many steps to keep the point; the first and the last are kept always.
        options: The method's own, such as gamma, beta, k and alpha.

    A run that grows beyond the largest number is no error: the verdict says so. Raises ``UsageError`` for what makes no
    sense, with the valid choices.
    """
    found, row = find_game(game), find_method(method, scheme)
    filled = row.fill(options)
    count = int(_STEPS.check("steps", steps))
    every = int(Option(1, "record", 1, whole=True).check("record", record))
    spread = Option(0.0, "noise", 0).check("noise", noise)
    rng = np.random.default_rng(int(Option(0, "seed", 0, whole=True).check("seed", seed)))
    rates = read_rates(learning_rate, decay, count)
    z = _start(found, start)
    runs = (*rates.shape, *z.shape[:-1])
    t = np.append(np.arange(0, count, every), count)
    _check_size(len(t), runs, found.size, every)
    with np.errstate(all="ignore"):
        fast = _fast(found, row, filled, rates, z, count, every) if not runs and not spread else None
        if fast is None:
            oracle = ArrayOracle(found, spread, rng)
            record_, nfev, njev = _slow(oracle, row, filled, rates, np.broadcast_to(z, (*runs, found.size)), t)
        else:
            record_, nfev, njev = fast
    return Result(found, row, filled, rates, t, record_, round(nfev), round(njev))


def _start(game: Game, start: object) -> Array:
    """The starts (…, d)."""
    if start is None:
        return np.repeat(START, game.players)
    wanted = f"{game.size} numbers, or an array (…, {game.size}) of many starts"
    array = finite_array("start", start, wanted)
    if array.ndim == 0 or array.shape[-1] != game.size or not array.size:
        raise UsageError(f"start must be {wanted}, for the game '{game.name}'; its shape is {array.shape}")
    return array


def _check_size(kept: int, runs: tuple[int, ...], size: int, every: int) -> None:
    total = 8 * kept * size * int(np.prod(runs, dtype=object))
    if total > MOST_BYTES:
        raise UsageError(
            f"{kept:,} points of {int(np.prod(runs, dtype=object)):,} runs would take {total / 1e9:.1f} GB: "
            f"keep fewer with record={every * (total // MOST_BYTES + 1)} or more"
        )


def _fast(
    game: Game, row: Method, options: Options, rates: Rates, z: Array, steps: int, every: int
) -> tuple[Array, float, float] | None:
    """One run on plain floats; ``None`` where it cannot be compiled, or leaves what floats compute without an error."""
    compiled = compile_run(game, row, options)
    if compiled is None:
        return None
    oracle = ArrayOracle(game)
    columns = [_column(rates, player, steps) for player in (0, 1)]
    ticks = zip(range(1, steps + 1), *columns, *clock_columns(row, options, steps), strict=False)
    rate = np.array([rates.base[0] * rates.factors[0, 0], rates.base[1] * rates.factors[0, 1]])
    state = row.begin(Now(oracle, rate, row.ticks(0, options), options), z)
    flat = tuple(float(number) for vector in state for number in vector)
    try:
        xs, ys, last = compiled.run(flat, ticks, every)
    except (ArithmeticError, ValueError):
        return None
    kept = np.array([z.tolist()[:1] + xs, z.tolist()[1:] + ys]).T
    if steps % every:
        kept = np.vstack([kept, last])
    return kept, oracle.nfev + steps * compiled.evaluations, oracle.njev + steps * compiled.jacobians


def _column(rates: Rates, player: int, steps: int) -> Any:
    """The rate of a player at each step."""
    return repeat(rates.column(player, 1)[0], steps) if len(rates.factors) == 1 else rates.column(player, steps)


def _slow(
    oracle: ArrayOracle, row: Method, options: Options, rates: Rates, z: Array, t: Array
) -> tuple[Array, float, float]:
    """All runs at once: (kept points, …, d)."""
    game, steps = oracle.game, int(t[-1])
    record = np.empty((len(t), *z.shape))
    base = _per_number(game, rates, z.ndim - 1)
    constant = len(rates.factors) == 1
    now = Now(oracle, base * np.repeat(rates.factors[0], game.players), row.ticks(0, options), options)
    state: State = row.begin(now, z.copy())
    record[0] = z
    place = 1
    for step in range(steps):
        if not constant:
            now.rate = base * np.repeat(rates.factors[step], game.players)
        now.clock = row.ticks(step, options)
        state = row.step(now, state)
        if step + 1 == t[place]:
            record[place] = state[0]
            place += 1
    return record, oracle.nfev, oracle.njev


def _per_number(game: Game, rates: Rates, axes: int) -> Array:
    """The rate of each number of z, with axes for the rates and 1 for each axis of the starts: (…, d)."""
    both = np.stack(np.broadcast_arrays(*rates.base), axis=-1)
    numbers = np.repeat(both, game.players, axis=-1)
    return numbers.reshape(*both.shape[:-1], *[1] * (axes - both.ndim + 1), game.size)
