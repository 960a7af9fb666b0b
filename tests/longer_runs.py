"""An independent judge of verdicts: games, methods and the long run in plain Python, without the package.

The derivatives are by hand. A point of a game of two numbers is the complex number x + iy, whose arithmetic is that of
plain floats; those of other games are arrays. ``contradiction`` says what about a verdict a longer run refutes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Options = Mapping[str, Any]
Second = Callable[[float, float, Options], tuple[float, float, float, float, float]]
"""∂f/∂x, ∂f/∂y, ∂²f/∂x², ∂²f/∂x∂y, ∂²f/∂y² of x and y."""


def _quadratic(x: float, y: float, o: Options) -> tuple[float, float, float, float, float]:
    a, b, c = o["a"], o["b"], o["c"]
    return -a * x - b * y, -b * x + c * y, -a, -b, c


def _dirac(x: float, y: float, o: Options) -> tuple[float, float, float, float, float]:
    s = 1 / (1 + math.exp(x * y)) if x * y < 700 else 0.0
    bend, gamma = s * (1 - s), o["gamma"]
    return y * s - gamma * x, x * s, -y * y * bend - gamma, s - x * y * bend, -x * x * bend


def _wgan(x: float, y: float, o: Options) -> tuple[float, float, float, float, float]:
    sign = (x > 0) - (x < 0)
    return y - o["gamma"] * (abs(x) - o["norm"]) * sign, x, -o["gamma"] * abs(sign), 1.0, 0.0


def _bent(x: float, y: float, o: Options) -> tuple[float, float, float, float, float]:
    b, bx = y - 3 * x + x**3 / 20, -3 + 0.15 * x * x
    g, gx, gy = 4 * x * x - b * b - y**4 / 10, 8 * x - 2 * b * bx, -2 * b - 0.4 * y**3
    gxx, gxy, gyy = 8 - 2 * bx * bx - 0.6 * b * x, -2 * bx, -2 - 1.2 * y * y
    h = math.exp(-(x * x + y * y) / 100)
    hx, hy = -0.02 * x * h, -0.02 * y * h
    hxx, hxy, hyy = (4e-4 * x * x - 0.02) * h, 4e-4 * x * y * h, (4e-4 * y * y - 0.02) * h
    return (
        -(gx * h + g * hx),
        -(gy * h + g * hy),
        -(gxx * h + 2 * gx * hx + g * hxx),
        -(gxy * h + gx * hy + gy * hx + g * hxy),
        -(gyy * h + 2 * gy * hy + g * hyy),
    )


def _forsaken(x: float, y: float, o: Options) -> tuple[float, float, float, float, float]:
    def slope(z: float) -> float:
        return z / 2 - 2 * z**3 + z**5

    def curve(z: float) -> float:
        return 0.5 - 6 * z**2 + 5 * z**4

    return -slope(x) - y + 0.45, slope(y) - x, -curve(x), -1.0, curve(y)


def _pennies(x: float, y: float, o: Options) -> tuple[float, float, float, float, float]:
    s, t = math.tanh(x / 2), math.tanh(y / 2)
    ds, dt = (1 - s * s) / 2, (1 - t * t) / 2
    return ds * t, s * dt, -s * ds * t, ds * dt, -s * t * dt


def _waves(x: float, y: float, o: Options) -> tuple[float, float, float, float, float]:
    a, b, c, d = math.sin(x), math.cos(x), math.sin(y), math.cos(y)
    return b * c, a * d, -a * c, b * d, -a * c


PLANE: dict[str, Second] = {
    "bilinear": lambda x, y, o: (y, x, 0.0, 1.0, 0.0),
    "quadratic": _quadratic,
    "dirac-gan": _dirac,
    "dirac-wgan-gp": _wgan,
    "ridge-minimax": lambda x, y, o: (6 * x - 4 * y, 2 * y - 4 * x, 6.0, -4.0, 2.0),
    "ridge-other": lambda x, y, o: (-6 * x - 4 * y, -2 * y - 4 * x, -6.0, -4.0, -2.0),
    "ridge-bent": _bent,
    "forsaken": _forsaken,
    "matching-pennies": _pennies,
    "x*y - 0.1*x**4 + 0.1*y**4": lambda x, y, o: (y - 0.4 * x**3, x + 0.4 * y**3, -1.2 * x**2, 1.0, 1.2 * y**2),
    "sin(x)*sin(y)": _waves,
}


class FailedError(ArithmeticError):
    """A step has no solution."""


class Plane:
    """A game of two numbers: points x + iy, matrices of four numbers row by row."""

    first = 1
    zero: Any = 0j

    def __init__(self, name: str, options: Options, noise: float, seed: int) -> None:
        self.f, self.options, self.noise, self.rng = PLANE[name], options, noise, np.random.default_rng(seed)
        self.kept: list[complex] = []

    def drawn(self) -> complex:
        """Noise."""
        if not self.noise:
            return 0j
        if not self.kept:
            self.kept = (self.noise * self.rng.standard_normal((4096, 2)) @ [1, 1j]).tolist()
        return self.kept.pop()

    def exact(self, z: complex) -> complex:
        """F without noise."""
        gx, gy, *_ = self.f(z.real, z.imag, self.options)
        return complex(-gx, gy)

    def field(self, z: complex) -> complex:
        """F with noise."""
        return self.exact(z) + self.drawn()

    def jacobian(self, z: complex) -> Any:
        """The Jacobian of F."""
        *_, fxx, fxy, fyy = self.f(z.real, z.imag, self.options)
        return -fxx, -fxy, fxy, fyy

    def joined(self, a: complex, b: complex) -> complex:
        """x of a, y of b."""
        return complex(a.real, b.imag)

    def times(self, m: Any, v: complex) -> complex:
        """A matrix times a vector."""
        return complex(m[0] * v.real + m[1] * v.imag, m[2] * v.real + m[3] * v.imag)

    def turned(self, m: Any) -> Any:
        """The transpose."""
        return m[0], m[2], m[1], m[3]

    def off(self, m: Any) -> Any:
        """Without the blocks of each player."""
        return 0.0, m[1], m[2], 0.0

    def shifted(self, h: float, m: Any) -> Any:
        """I + hM."""
        return 1 + h * m[0], h * m[1], h * m[2], 1 + h * m[3]

    def solved(self, m: Any, v: complex) -> complex:
        """The solution of a system."""
        det = m[0] * m[3] - m[1] * m[2]
        if abs(det) < 1e-14:
            raise FailedError
        return complex(m[3] * v.real - m[1] * v.imag, m[0] * v.imag - m[2] * v.real) / det

    def answer(self, m: Any, v: complex) -> complex:
        """What the follower y adds."""
        if m[3] == 0:  # However small it is else, so is what is divided by it.
            raise FailedError
        return complex(0, v.imag / m[3])

    def each(self, f: Callable[[float], float], v: complex) -> complex:
        """f of each number."""
        return complex(f(v.real), f(v.imag))

    def over(self, a: complex, b: complex) -> complex:
        """a / b, number by number."""
        return complex(a.real / b.real, a.imag / b.imag)

    def size(self, v: complex) -> float:
        """The length of a vector."""
        return abs(v)

    def along(self, a: complex, b: complex) -> float:
        """The inner product."""
        return (a * b.conjugate()).real


class Space:
    """A game of two numbers for each player: arrays of four."""

    first = 2

    def __init__(self, name: str, options: Options, noise: float, seed: int) -> None:
        self.name, self.noise, self.rng = name, noise, np.random.default_rng(seed)
        self.zero: Any = np.zeros(4)
        self.matrices: Array | None = None
        if name == "stochastic-bilinear":
            drawn = np.random.default_rng(int(options["seed"])).standard_normal((100, 2, 2))
            self.matrices = np.array([coupled(np.eye(2) + options["spread"] * part) for part in drawn])
        elif "matrix" in options:
            self.matrices = coupled(np.array(options["matrix"]))[None]

    def drawn(self) -> Any:
        """Noise."""
        return self.noise * self.rng.standard_normal(4) if self.noise else 0.0

    def exact(self, z: Array) -> Array:
        """F, of a sample where there are several."""
        if self.matrices is None:
            return scissors(z)
        chosen = self.matrices[self.rng.integers(len(self.matrices)) if len(self.matrices) > 1 else 0]
        return np.asarray(chosen @ z)

    def field(self, z: Array) -> Array:
        """F with noise."""
        return self.exact(z) + self.drawn()

    def jacobian(self, z: Array) -> Array:
        """The Jacobian of F."""
        if self.matrices is not None:
            return np.asarray(self.matrices.mean(0))
        return scissors_bent(z)

    def joined(self, a: Array, b: Array) -> Array:
        """x of a, y of b."""
        return np.concatenate([a[:2], b[2:]])

    def times(self, m: Array, v: Array) -> Array:
        """A matrix times a vector."""
        return np.asarray(m @ v)

    def turned(self, m: Array) -> Array:
        """The transpose."""
        return m.T

    def off(self, m: Array) -> Array:
        """Without the blocks of each player."""
        found = m.copy()
        found[:2, :2] = found[2:, 2:] = 0
        return found

    def shifted(self, h: float, m: Array) -> Array:
        """I + hM."""
        return np.eye(4) + h * m

    def solved(self, m: Array, v: Array) -> Array:
        """The solution of a system."""
        if not np.isfinite(m).all() or abs(np.linalg.det(m)) < 1e-14:
            raise FailedError
        return np.asarray(np.linalg.solve(m, v))

    def answer(self, m: Array, v: Array) -> Array:
        """What the follower y adds."""
        return np.concatenate([[0, 0], Space.solved(self, m[2:, 2:], v[2:])])

    def each(self, f: Callable[[float], float], v: Array) -> Array:
        """f of each number."""
        return np.array([f(number) for number in v.tolist()])

    def over(self, a: Array, b: Array) -> Array:
        """a / b, number by number."""
        return a / b

    def size(self, v: Array) -> float:
        """The length of a vector."""
        return math.sqrt(float(v @ v))

    def along(self, a: Array, b: Array) -> float:
        """The inner product."""
        return float(a @ b)


def coupled(matrix: Array) -> Array:
    """J of xᵀAy."""
    zero = np.zeros_like(matrix)
    return np.block([[zero, -matrix], [matrix.T, zero]])


WINS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0.0]])


def scissors(z: Array) -> Array:
    """F of rock, paper, scissors in the logits."""
    p, q = np.exp([z[0], z[1], 0]), np.exp([z[2], z[3], 0])
    p, q = p / p.sum(), q / q.sum()
    gain, loss = WINS @ q, p @ WINS
    value = p @ gain
    return np.concatenate([-(p * (gain - value))[:2], (q * (loss - value))[:2]])


def scissors_bent(z: Array) -> Array:
    """Its Jacobian, by the derivatives of softmax: ∂pᵢ/∂xₐ = pᵢ(δᵢₐ - pₐ)."""
    p, q = np.exp([z[0], z[1], 0]), np.exp([z[2], z[3], 0])
    p, q = p / p.sum(), q / q.sum()
    gain, loss = WINS @ q, p @ WINS
    value = p @ gain
    dp, dq = np.diag(p) - np.outer(p, p), np.diag(q) - np.outer(q, q)
    own_x = dp * (gain - value)[:, None] - np.outer(p, p * (gain - value))
    own_y = dq * (loss - value)[:, None] - np.outer(q, q * (loss - value))
    both = dp @ WINS @ dq
    return np.block([[-own_x[:2, :2], -both[:2, :2]], [both.T[:2, :2], own_y[:2, :2]]])


def _newton(g: Any, z: Any, h: float) -> Any:
    added, w = g.drawn(), z
    if getattr(g, "matrices", None) is not None and len(g.matrices) > 1:  # A sample of F, and the mean of J.
        return z - g.solved(g.shifted(h, g.jacobian(z)), h * (g.exact(z) + added))
    for _ in range(60):
        step = g.solved(g.shifted(h, g.jacobian(w)), w - z + h * (g.exact(w) + added))
        w = w - step
        if g.size(step) < 1e-13:
            break
    if not g.size(w - z + h * (g.exact(w) + added)) <= 1e-6 * (1 + g.size(w)):
        raise FailedError
    return w


def plays(g: Any, method: str, z: Any, rate: Callable[[int], float], o: Options) -> Iterator[Any]:
    """The points after each step; ``rate`` gives η at steps 1, 2, …"""
    if "adam" in method or "rmsprop" in method:
        yield from _adaptive(g, method, z, rate, o)
        return
    if method in NEWER:
        yield from NEWER[method](g, z, rate, o)
        return
    joined, last, slow, start, velocity = g.joined, z, z, z, g.zero
    if method in {"optimistic", "alternating-optimistic"}:
        last = g.field(z)
    step = 0
    while True:
        step += 1
        h = rate(step)
        if method == "simultaneous":
            z = z - h * g.field(z)
        elif method == "alternating":
            half = joined(z - h * g.field(z), z)
            z = joined(half, half - h * g.field(half))
        elif method == "extragradient":
            gamma = h if o.get("gamma") is None else o["gamma"]
            z = z - h * g.field(z - gamma * g.field(z))
        elif method == "optimistic":
            now, weight = g.field(z), h if o.get("gamma") is None else o["gamma"]
            z, last = z - (h + weight) * now + weight * last, now
        elif method == "alternating-optimistic":
            now, weight = g.field(z), h if o.get("gamma") is None else o["gamma"]
            half = joined(z - (h + weight) * now + weight * last, z)
            after = g.field(half)
            z, last = joined(half, half - (h + weight) * after + weight * last), joined(now, after)
        elif method == "proximal":
            z = _newton(g, z, h)
        elif method == "midpoint":
            z = 2 * _newton(g, z, h / 2) - z
        elif method == "competitive":
            z = z - g.solved(g.shifted(h, g.off(g.jacobian(z))), h * g.field(z))
        elif method in {"competitive-linear", "lola"}:
            now = g.field(z)
            z = z - h * (now - (2 if method == "lola" else 1) * g.times(g.off(g.jacobian(z)), h * now))
        elif method == "consensus":
            now = g.field(z)
            z = z - h * (now + o["gamma"] * g.times(g.turned(g.jacobian(z)), now))
        elif method == "symplectic":
            now, j = g.field(z), g.jacobian(z)
            z = z - h * (now + o["lam"] * (g.times(g.turned(j), now) - g.times(j, now)) / 2)
        elif method == "hamiltonian":
            z = z - h * g.times(g.turned(g.jacobian(z)), g.field(z))
        elif method == "follow-the-ridge":
            now, j = g.field(z), g.jacobian(z)
            z = z - h * now + g.answer(j, g.times(g.off(j), h * now))
        elif method == "momentum":
            velocity = o["beta"] * velocity - h * g.field(z)
            z = z + velocity
        elif method == "alternating-momentum":
            one = o["beta"] * velocity - h * g.field(z)
            half = joined(z + one, z)
            other = o["beta"] * velocity - h * g.field(half)
            z, velocity = joined(half, half + other), joined(one, other)
        elif method == "lookahead":
            z = z - h * g.field(z)
            if step % o["k"] == 0:
                z = slow = slow + o["alpha"] * (z - slow)
        elif method == "anchored":
            pulled = z + (start - z) / (step + 1)
            z = pulled - h * g.field(pulled - h * g.field(z))
        elif method == "runge-kutta":
            a = g.field(z)
            b = g.field(z - h * a / 2)
            c = g.field(z - h * b / 2)
            z = z - h * (a + 2 * b + 2 * c + g.field(z - h * c)) / 6
        else:
            raise ValueError(method)
        yield z


def _prediction(g: Any, z: Any, rate: Callable[[int], float], o: Options) -> Iterator[Any]:
    for step in count(1):
        moved = g.joined(z - rate(step) * g.field(z), z)
        expected = g.joined(2 * moved - z, z)
        z = g.joined(moved, z - rate(step) * g.field(expected))
        yield z


def _slingshot(g: Any, z: Any, rate: Callable[[int], float], o: Options) -> Iterator[Any]:
    for step in count(1):
        h = rate(step) if step % 2 else -rate(step)
        now = g.field(z)
        z = g.joined(z - h * now, z + h * now)
        yield z


def _smoothed(g: Any, z: Any, rate: Callable[[int], float], o: Options) -> Iterator[Any]:
    slow = z
    for step in count(1):
        h = rate(step)
        z = g.joined(z, z - h * (g.field(z) + o["pull"] * (z - slow)))
        z = g.joined(z - h * g.field(z), z)
        slow = (1 - o["beta"]) * slow + o["beta"] * z
        yield z


def _varying(g: Any, z: Any, rate: Callable[[int], float], o: Options) -> Iterator[Any]:
    """EAG-V in the form of its authors: a(k+1) = a(k)/(1 - a²L²) · (1 - (k+2)²/((k+1)(k+3)) · a²L²)."""
    start, a = z, 1.0
    for step in count(1):
        k, h = step - 1, rate(step) * a
        pulled = z + (start - z) / (k + 2)
        z = pulled - h * g.field(pulled - h * g.field(z))
        q = (h * o["lipschitz"]) ** 2
        a = a / (1 - q) * (1 - (k + 2) ** 2 / ((k + 1) * (k + 3)) * q)
        yield z


def _fast(g: Any, z: Any, rate: Callable[[int], float], o: Options) -> Iterator[Any]:
    start = z
    for step in count(1):
        pull, h = 1 / step, rate(step)
        half = z + pull * (start - z) - (1 - pull) * h * g.field(z)
        z = z + pull * (start - z) - h * g.field(half)
        yield z


def _anchored_popov(g: Any, z: Any, rate: Callable[[int], float], o: Options) -> Iterator[Any]:
    start, past = z, g.field(z)
    for step in count(1):
        pulled, h = start / (step + 1) + step * z / (step + 1), rate(step)
        past = g.field(pulled - h * past)
        z = pulled - h * past
        yield z


def _adaptive_extragradient(g: Any, z: Any, rate: Callable[[int], float], o: Options) -> Iterator[Any]:
    """By its authors' H = id - ηF: z + relax·a(Hw - Hz), a = ⟨w - z, Hw - Hz⟩/‖Hw - Hz‖²."""
    for step in count(1):
        h = rate(step)
        first = z - h * g.field(z)
        w = first
        away = (w - h * g.field(w)) - first
        length = g.size(away)
        if length:
            unit = away / length
            z = z + o["relax"] * g.along(w - z, unit) * unit
        yield z


NEWER: dict[str, Callable[[Any, Any, Callable[[int], float], Options], Iterator[Any]]] = {
    "prediction": _prediction,
    "slingshot": _slingshot,
    "smoothed": _smoothed,
    "varying-anchored": _varying,
    "fast-extragradient": _fast,
    "anchored-popov": _anchored_popov,
    "adaptive-extragradient": _adaptive_extragradient,
}
"""Methods with a loop of their own."""


def _adaptive(g: Any, method: str, z: Any, rate: Callable[[int], float], o: Options) -> Iterator[Any]:
    m = v = last = g.zero
    ones = g.each(lambda _: o["epsilon"], g.zero)

    def scaled(field: Any, m: Any, v: Any, t: int) -> tuple[Any, Any, Any]:
        square = g.each(lambda number: number * number, field)
        if "rmsprop" in method:
            v = o["alpha"] * v + (1 - o["alpha"]) * square
            return g.over(field, g.each(math.sqrt, v) + ones), m, v
        m = o["beta1"] * m + (1 - o["beta1"]) * field
        v = o["beta2"] * v + (1 - o["beta2"]) * square
        root = g.each(math.sqrt, v / (1 - o["beta2"] ** t)) + ones
        return g.over(m / (1 - o["beta1"] ** t), root), m, v

    step = 0
    while True:
        step += 1
        h = rate(step)
        if method.startswith("alternating"):
            one, m1, v1 = scaled(g.field(z), m, v, step)
            half = g.joined(z - h * one, z)
            other, m2, v2 = scaled(g.field(half), m, v, step)
            z, m, v = g.joined(half, half - h * other), g.joined(m1, m2), g.joined(v1, v2)
        elif method.startswith("optimistic"):
            now, m, v = scaled(g.field(z), m, v, step)
            z, last = z - h * (2 * now - last), now
        elif method.startswith("extra"):
            ahead, m, v = scaled(g.field(z), m, v, 2 * step - 1)
            now, m, v = scaled(g.field(z - h * ahead), m, v, 2 * step)
            z = z - h * now
        else:
            now, m, v = scaled(g.field(z), m, v, step)
            z = z - h * now
        yield z


@np.errstate(all="ignore")
def distances(
    name: str,
    method: str,
    start: tuple[float, ...],
    rate: Callable[[int], float],
    steps: int,
    equilibria: Array,
    game_options: Options,
    options: Options,
    noise: float,
) -> Array:
    """The distance to the nearest equilibrium, (steps + 1,); inf after an overflow, nan after a failure."""
    g: Any = (Plane if len(start) == 2 else Space)(name, game_options, noise, 1)
    z: Any = complex(*start) if len(start) == 2 else np.array(start)
    points = np.full((steps + 1, len(start)), np.inf)
    points[0] = start
    step = 0
    try:
        for step, after in zip(range(1, steps + 1), plays(g, method, z, rate, options), strict=False):
            points[step] = (after.real, after.imag) if len(start) == 2 else after
            if not np.abs(points[step]).max() < 1e150:
                break
    except FailedError:
        points[step + 1 :] = np.nan
    except (ArithmeticError, ValueError):
        pass
    if not len(equilibria):
        return np.array([g.size(g.exact(complex(*p) if len(start) == 2 else p)) for p in points])
    return np.asarray(np.min([np.sqrt(np.square(points - e).sum(-1)) for e in equilibria], axis=0))


def contradiction(verdict: Any, d: Array, steps: int, factor: float | None = None) -> str:
    """What the distances d of a much longer run say against a verdict on one of so many steps; "" for nothing.

    ``factor`` per step is that of a formula of the literature, where there is one. A verdict that is only seen claims
    nothing of later steps.
    """
    word, late = verdict.message.split(" (")[0], d[len(d) // 2 :]
    if verdict.basis == "seen":
        return ""
    before, after = float(d[steps // 2 : steps + 1].max()), float(late.max())
    if word == "diverges":
        if np.isfinite(late).all() and after < before * (1 - 1e-6):
            return f"it falls from {before:.4g} to {after:.4g}"
        return _against_factor(factor, d, steps)
    if not np.isfinite(late).all():
        return "it overflows"
    if word in {"converges", "no equilibrium"}:
        turned = 2.0 if "product" in verdict.reason else 1.0  # A slow turn of an ellipse comes to its longer axis.
        if after > before * turned * (1 + 1e-6) + 1e-9:
            return f"it grows from {before:.4g} to {after:.4g}"
        return _against_factor(factor, d, steps)
    low, high, least, most, room = float(late.min()), after, verdict.low, verdict.high, 1.05
    if "noise" in verdict.text:  # As many independent squares are averaged as a step forgets what was before.
        low = high = float(np.sqrt(np.mean(np.square(late))))
        least = most = float(re.findall(r"at about ([\d.e-]+);", verdict.text)[0])
        forgets = 1 - float(re.findall(r"multiplied by ([\d.e-]+) per step", verdict.text)[0])
        room = 1 + 4 / math.sqrt(len(late) * max(forgets, 1e-12))
    if high > most * room or low < least / room - 1e-12:
        return f"it is between {low:.4g} and {high:.4g}, not between {least:.4g} and {most:.4g}"
    return f"it never comes to {most:.4g}" if word == "cycles" and high < most / 2 else ""


def _against_factor(factor: float | None, d: Array, steps: int) -> str:
    """Whether a factor of theory is not that of the distances, as far as these are no rounding errors and finite."""
    usable = np.isfinite(d) & (d > 1e-10)
    last = (len(d) if usable.all() else int(np.argmin(usable))) - 1
    if factor is None or last <= steps:
        return ""
    wanted = np.log(factor) * (0.9 * last - steps / 2)
    if abs(wanted) < 0.2:
        return ""
    seen = np.log(d[9 * last // 10 : last + 1].max() / d[steps // 2 : steps + 1].max())
    return "" if 0.3 < seen / wanted < 3 else f"it changes by {seen:.3g} in the logarithm, not by {wanted:.3g}"
