"""Simulation: one run on plain floats, or many starts and learning rates in one pass of numpy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.adversarial.games.derivatives import Payoff
from portable_nn.adversarial.games.game import Game, Samples
from portable_nn.adversarial.games.options import Option, finite_array
from portable_nn.adversarial.games.table import game as find_game
from portable_nn.adversarial.methods.oracle import Failure, Oracle
from portable_nn.adversarial.methods.recording import Recording, record_step
from portable_nn.adversarial.methods.steps import MethodState, StepContext
from portable_nn.adversarial.methods.table import Method, MethodOptions, find_method
from portable_nn.adversarial.runs.rates import LearningRate, Rates, RateSchedule, read_rates
from portable_nn.adversarial.runs.result import Result
from portable_nn.core.errors import UsageError
from portable_nn.operators import Array

START: Final = (0.6, 0.7)
"""The default start: x in each variable of x, y in each of y."""

STEPS: Final = 499
"""The default number of steps: 500 points."""

MOST_BYTES: Final = 4_000_000_000
"""The largest size of the recorded points."""

DRAWN: Final = 1024
"""The number of steps for which random numbers are drawn at once."""


def simulate(
    game: str | Game | Payoff = "bilinear",
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

    Divergence is a result, not an error: see ``Result.status``. So is a step that is not defined, as where Newton's
    method does not solve the equation of an implicit one: the points from there on are nan. Raises ``UsageError`` for
    arguments that are not valid, with those that are.

    >>> simulate("bilinear", "extragradient", steps=2000).verdicts[0].text
    'the distance is multiplied by 0.9950377 per step, to 4.403e-05'
    """
    found, row = find_game(game), find_method(method, scheme)
    filled = row.fill(options)
    count = int(Option(STEPS, "steps", 1, 1_000_000_000, whole=True).check("steps", steps))
    every = int(Option(1, "record", 1, whole=True).check("record", record))
    spread = Option(0.0, "noise", 0).check("noise", noise)
    first = int(Option(0, "seed", 0, whole=True).check("seed", seed))
    rates = read_rates(learning_rate, decay, count)
    z = _start(found, start)
    runs = (*rates.shape, *z.shape[:-1])
    _check_size(-(-count // every) + 1, runs, found.size, every)
    t = np.append(np.arange(0, count, every), count)
    play = _Play(found, row, filled, rates, spread, first)

    def again(steps: int) -> Result:
        arguments: dict[str, Any] = {"decay": decay, "noise": noise, "seed": first, "record": steps, **filled}
        return simulate(found, row, z, learning_rate, steps, **arguments)

    with np.errstate(all="ignore"):
        begun = play.begin(np.broadcast_to(z, (*runs, found.size)))
        recording = play.recorded(begun) if not runs else None
        kept = play.replay(recording, begun, t) if recording else play.iterate(begun, t)
    points, state, nfev, njev, failures = kept
    return Result(found, row, filled, rates, t, points, state, round(nfev), round(njev), spread, failures, again)


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


class _Kept(NamedTuple):
    """The results of a run: points (n, …, d), the last state, nfev, njev, and why runs have ended, by their flat
    index."""

    points: Array
    state: Array
    nfev: float
    njev: float
    failures: dict[int, str]


class _Begun(NamedTuple):
    """The state of a run, or of many: the oracle, the context with it, the state, and the steps that were made."""

    oracle: Oracle
    context: StepContext
    state: MethodState
    steps: int = 0


@dataclass(frozen=True)
class _Play:
    """The game, the method and the settings of a run."""

    game: Game
    row: Method
    options: MethodOptions
    rates: Rates
    noise: float
    seed: int

    def begin(self, z: Array) -> _Begun:
        """The start z (…, d), with an oracle whose noise is that of the first step."""
        rate = _per_variable(self.game, self.rates, z.ndim - 1) * np.repeat(self.rates.factors[0], self.game.players)
        oracle = Oracle(self.game, self.noise, np.random.default_rng(self.seed))
        context = StepContext(oracle, rate, self.row.ticks(0, self.options), self.options)
        return _Begun(oracle, context, self.row.begin(context, z.copy()))

    def recorded(self, begun: _Begun) -> Recording | None:
        """A step of one run on plain floats; ``None`` where it cannot be."""
        rate = begun.context.rate.tolist() if self.rates.constant else None
        return record_step(self.game, self.row, self.options, len(begun.state), rate, bool(self.noise))

    def replay(self, recording: Recording, begun: _Begun, t: Array) -> _Kept:
        """One run on plain floats; from a step on that has no finite result, or no solution, on arrays."""
        oracle, steps = begun.oracle, int(t[-1])
        numbers = [float(number) for vector in begun.state for number in vector]
        played = recording.run(numbers, self._inputs(oracle, recording, steps), int(t[1]))
        nfev = oracle.nfev + played.steps * recording.evaluations + recording.iterations
        njev = oracle.njev + played.steps * recording.jacobians + recording.iterations
        points, last = np.array(played.points), np.array(played.state).reshape(-1, self.game.size)
        if played.steps == steps:
            return _Kept(points, last, nfev, njev, {})
        again = self.begin(begun.state[0])
        for size in _blocks(played.steps):
            self._drawn(again.oracle, recording.calls, size)
        again.oracle.nfev, again.oracle.njev = nfev, njev
        rest = self.iterate(again._replace(state=tuple(last), steps=played.steps), t[len(points) - 1 :])
        return rest._replace(points=np.concatenate([points, rest.points[1:]]))

    def _inputs(self, oracle: Oracle, recording: Recording, steps: int) -> Iterable[Sequence[float]]:
        """The inputs of each step of a recording besides the state."""
        parts: list[Iterable[Sequence[float]]] = []
        if not self.rates.constant:
            columns = [self.rates.column(player, steps) for player, n in enumerate(self.game.players) for _ in range(n)]
            parts.append(zip(*columns, strict=True))
        if self.row.clock:
            parts.append(self.row.ticks(step, self.options) for step in range(steps))
        if self.noise or self.game.sampled:
            drawn = (self._drawn(oracle, recording.calls, size) for size in _blocks(steps))
            parts.append(chain.from_iterable(drawn))
        if len(parts) < 2:
            return parts[0] if parts else repeat((), steps)
        return (tuple(chain(*given)) for given in zip(*parts, strict=True))

    def _drawn(self, oracle: Oracle, calls: int, steps: int) -> list[list[float]]:
        """The random numbers of the calls of F in each of so many steps, in the order in which arrays draw them."""
        rng, size, samples = oracle.rng, self.game.size, self.game.sampled
        if not isinstance(samples, Samples):
            drawn = self.noise * rng.standard_normal((steps, calls * size))
        elif not self.noise:
            drawn = samples.matrices[rng.integers(len(samples.matrices), size=(steps, calls))]
        else:
            count = len(samples.matrices)
            both = [(rng.integers(count), rng.standard_normal(size)) for _ in range(steps * calls)]
            drawn = np.array([[*samples.matrices[place].ravel(), *self.noise * noise] for place, noise in both])
        return drawn.reshape(steps, -1).tolist()

    def iterate(self, begun: _Begun, t: Array) -> _Kept:
        """All runs at once, from where they are; ``t`` begins with the last step that was recorded before."""
        oracle, context, state, begin = begun
        rates = self.rates
        points, failures = np.full((len(t), *state[0].shape), np.nan), dict[int, str]()
        base = _per_variable(self.game, rates, state[0].ndim - 1)
        points[0] = state[0]
        place = 1
        for step in range(begin, int(t[-1])):
            if not rates.constant:
                context.rate = base * np.repeat(rates.factors[step], self.game.players)
            context.clock = self.row.ticks(step, self.options)
            state = self.row.step(context, state)
            if oracle.failure:
                failures = {**_explained(oracle.failure, self.row, step + 1), **failures}
                oracle.failure = None
            if step + 1 == t[place]:
                points[place] = state[0]
                place += 1
            if np.isnan(state[0]).any(-1).all():
                break  # What follows has no meaning.
        return _Kept(points, np.array(state), oracle.nfev, oracle.njev, failures)


def _blocks(steps: int) -> Iterator[int]:
    """Steps in blocks, of which the noise is drawn at once."""
    whole, rest = divmod(steps, DRAWN)
    yield from repeat(DRAWN, whole)
    if rest:
        yield rest


def _explained(failure: Failure, row: Method, step: int) -> dict[int, str]:
    """Why runs end at a step, by their flat index."""
    sizes = np.broadcast_to(failure.residual, failure.runs.shape).ravel()
    return {
        run: f"step {step:,} of the method '{row.name}' is not defined: {failure.words}"
        + f", and leaves {failure.left} = {sizes[run]:.4g}"
        + (f"; the method requires {row.requires}" if row.requires else "")
        for run in np.flatnonzero(failure.runs).tolist()
    }


def _per_variable(game: Game, rates: Rates, axes: int) -> Array:
    """The rate of each variable, with axes for the rates and 1 for each axis of the starts: (…, d)."""
    both = np.stack(np.broadcast_arrays(*rates.base), axis=-1)
    numbers = np.repeat(both, game.players, axis=-1)
    return numbers.reshape(*both.shape[:-1], *[1] * (axes - both.ndim + 1), game.size)
