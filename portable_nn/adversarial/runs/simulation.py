"""Simulation: one run on plain floats, or many starts and learning rates in one pass of numpy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from typing import Any, Final

import numpy as np

from portable_nn.adversarial.games.game import Game
from portable_nn.adversarial.games.options import Option, finite_array
from portable_nn.adversarial.games.table import game as find_game
from portable_nn.adversarial.methods.oracle import ArrayOracle
from portable_nn.adversarial.methods.steps import MethodState, StepContext
from portable_nn.adversarial.methods.table import Method, MethodOptions, find_method
from portable_nn.adversarial.methods.tape import record_step
from portable_nn.adversarial.runs.rates import LearningRate, Rates, RateSchedule, read_rates
from portable_nn.adversarial.runs.result import Result
from portable_nn.core.errors import UsageError
from portable_nn.operators.registry import Array

START: Final = (0.6, 0.7)
"""The default start: x in each variable of x, y in each of y."""

STEPS: Final = 499
"""The default number of steps: 500 points."""

MOST_BYTES: Final = 4_000_000_000
"""The largest size of the recorded points."""


def simulate(
    game: str | Game | Callable[[Any, Any], Any] = "bilinear",
    method: str | Method = "simultaneous",
    start: object = None,
    learning_rate: LearningRate = 0.1,
    steps: int = STEPS,
    *,
    scheme: str | None = None,
    decay: str | RateSchedule | None = None,
    noise: float = 0.0,
    seed: int = 0,
    record: int = 1,
    **options: object,
) -> Result:
    """Run a method on a game, from one start (d,) or many (…, d).

    Args:
        game: a name of ``GAMES``, a formula, a function of symbols, or a ``Game``.
        method: a name of ``METHODS``.
        start: the first point; by default (0.6, 0.7), x in each variable of x and y in each of y.
        learning_rate: a number; a tuple of x's and y's; a list or array of numbers, each a run of its own; a formula of
            the step t = 1, 2, …, such as ``0.1/sqrt(t)``; or a function of the step 0, 1, ….
        steps: number of steps.
        scheme: the update scheme, one of ``SCHEMES``, if it is another than the method's.
        decay: a factor of the learning rate: a name of ``DECAYS``, or a function of the step 0, 1, ….
        noise: standard deviation of Gaussian noise on each component of each gradient.
        seed: of the noise and of the samples of a stochastic game.
        record: keep every so many steps; the first and the last point are always kept.
        options: the method's own, such as gamma, beta, k and alpha.

    Divergence is a result, not an error: see ``Result.status``. Raises ``UsageError`` for arguments that are not valid,
    with those that are.

    >>> simulate("bilinear", "extragradient", steps=2000).message
    'converges: the distance is multiplied by 0.9950377 per step, to 4.403e-05'
    """
    found, row = find_game(game), find_method(method, scheme)
    filled = row.fill(options)
    count = int(Option(STEPS, "steps", 1, 1_000_000_000, whole=True).check("steps", steps))
    every = int(Option(1, "record", 1, whole=True).check("record", record))
    spread = Option(0.0, "noise", 0).check("noise", noise)
    rng = np.random.default_rng(int(Option(0, "seed", 0, whole=True).check("seed", seed)))
    rates = read_rates(learning_rate, decay, count)
    z = _start(found, start)
    runs = (*rates.shape, *z.shape[:-1])
    t = np.append(np.arange(0, count, every), count)
    _check_size(len(t), runs, found.size, every)
    with np.errstate(all="ignore"):
        kept = _replay(found, row, filled, rates, z, count, every) if not runs and not spread else None
        if kept is None:
            oracle = ArrayOracle(found, spread, rng)
            kept = _iterate(oracle, row, filled, rates, np.broadcast_to(z, (*runs, found.size)), t)
    points, nfev, njev = kept
    return Result(found, row, filled, rates, t, points, round(nfev), round(njev))


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
    count = int(np.prod(runs, dtype=object))
    total = 8 * kept * size * count
    if total > MOST_BYTES:
        raise UsageError(
            f"{kept:,} points of {count:,} runs would take {total / 1e9:.1f} GB: "
            f"keep fewer with record={every * (total // MOST_BYTES + 1)} or more"
        )


def _replay(
    game: Game, row: Method, options: MethodOptions, rates: Rates, z: Array, steps: int, every: int
) -> tuple[Array, float, float] | None:
    """One run on plain floats: points (n, 2), nfev, njev; ``None`` where it cannot be, or where it overflows."""
    if game.function is None or game.players != (1, 1) or game.sampled:
        return None
    oracle = ArrayOracle(game)
    first = (float(rates.base[0] * rates.factors[0, 0]), float(rates.base[1] * rates.factors[0, 1]))
    state = row.begin(StepContext(oracle, np.array(first), row.ticks(0, options), options), z)
    constant = len(rates.factors) == 1
    recording = record_step(game, row, options, len(state), first if constant else None)
    if recording is None:
        return None
    inputs: Iterable[Sequence[float]] = repeat((), steps)
    if not constant:
        inputs = zip(rates.column(0, steps), rates.column(1, steps), strict=True)
    if row.clock:
        inputs = (tuple(chain(given, row.ticks(step, options))) for step, given in enumerate(inputs))
    try:
        points = recording.run([float(number) for vector in state for number in vector], inputs, every)
    except (ArithmeticError, ValueError):
        return None
    nfev, njev = oracle.nfev + steps * recording.evaluations, oracle.njev + steps * recording.jacobians
    return np.array(points).T, nfev, njev


def _iterate(
    oracle: ArrayOracle, row: Method, options: MethodOptions, rates: Rates, z: Array, t: Array
) -> tuple[Array, float, float]:
    """All runs at once: points (n, …, d), nfev, njev."""
    game = oracle.game
    points = np.empty((len(t), *z.shape))
    base = _per_variable(game, rates, z.ndim - 1)
    context = StepContext(oracle, base * np.repeat(rates.factors[0], game.players), row.ticks(0, options), options)
    state: MethodState = row.begin(context, z.copy())
    points[0] = z
    place = 1
    for step in range(int(t[-1])):
        if len(rates.factors) > 1:
            context.rate = base * np.repeat(rates.factors[step], game.players)
        context.clock = row.ticks(step, options)
        state = row.step(context, state)
        if step + 1 == t[place]:
            points[place] = state[0]
            place += 1
    return points, oracle.nfev, oracle.njev


def _per_variable(game: Game, rates: Rates, axes: int) -> Array:
    """The rate of each variable, with axes for the rates and 1 for each axis of the starts: (…, d)."""
    both = np.stack(np.broadcast_arrays(*rates.base), axis=-1)
    numbers = np.repeat(both, game.players, axis=-1)
    return numbers.reshape(*both.shape[:-1], *[1] * (axes - both.ndim + 1), game.size)
