"""The error function, and the Gaussian error linear unit, which is made of it.

numpy has no error function, and scipy would be a dependency for this one alone: here it is made of polynomials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np

from portable_nn.operators.base import (
    Array,
    Attr,
    GradientContext,
    KernelContext,
    Limit,
    OperatorContext,
    Portability,
    Step,
    Symbol,
    Type,
    emit,
    register,
)
from portable_nn.operators.elementwise.activation import activation, clip
from portable_nn.operators.elementwise.blocks import by_blocks, number
from portable_nn.operators.elementwise.building import same_type

LOGISTIC: Final = (
    5.605569e-09,
    2.2771426e-08,
    -4.748051e-06,
    8.4384694e-05,
    -0.000614365,
    -0.0001957813,
    0.10277007,
    1.1283792,
)
"""Coefficients of p, the highest power first, in erf(x) = tanh(x · p(x²)): float32's error function.

Page (Applied Statistics 26, 1977) has this form with two terms, which are those of the ``tanh`` approximation of Gelu.
These eight, taken as float32, are a minimax fit by Lawson's algorithm: the relative error is below 7.3e-8 everywhere,
for beyond the fit's |x| = 3.9 both functions are 1.
"""

CENTRE: Final = (
    (
        1.85777706184603153e-1,
        3.16112374387056560e0,
        1.13864154151050156e2,
        3.77485237685302021e2,
        3.20937758913846947e3,
    ),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
TAIL: Final = (
    (
        2.15311535474403846e-8,
        5.64188496988670089e-1,
        8.88314979438837594e0,
        6.61191906371416295e1,
        2.98635138197400131e2,
        8.81952221241769090e2,
        1.71204761263407058e3,
        2.05107837782607147e3,
        1.23033935479799725e3,
    ),
    (
        1.0,
        1.57449261107098347e1,
        1.17693950891312499e2,
        5.37181101862009858e2,
        1.62138957456669019e3,
        3.29079923573345963e3,
        4.36261909014324716e3,
        3.43936767414372164e3,
        1.23033935480374942e3,
    ),
)
"""Numerators and denominators of W. J. Cody, Mathematics of Computation 23, 1969, the highest powers first.

erf(x) is x times CENTRE of x² up to |x| = 0.46875; from there, 1 - erf(x) is exp(-x²) times TAIL of x.
"""

NEAR: Final = 0.46875
FAR: Final = 6.0
"""The end of CENTRE, and the x from which 1 - erf(x) vanishes in float64; Cody's limit of TAIL, 4, matters to erfc
alone."""

LEAST: Final = -40.0
"""Gelu of this is 0, so smaller inputs are clipped to it: -∞ · 0 is NaN."""


def horner(coefficients: Sequence[float], x: Array, out: Array) -> list[Step]:
    """The polynomial of ``x`` with these coefficients, the highest power first."""
    first, second, *rest = coefficients
    steps: list[Step] = [] if first == 1 else [partial(np.multiply, x, number(first, x), out=out)]
    steps.append(partial(np.add, out if steps else x, number(second, x), out=out))
    for value in rest:
        steps += [partial(np.multiply, out, x, out=out), partial(np.add, out, number(value, x), out=out)]
    return steps


def ratio(polynomials: Sequence[Sequence[float]], x: Array, out: Array, work: Array) -> list[Step]:
    """One polynomial of ``x`` divided by the other."""
    return [*horner(polynomials[0], x, out), *horner(polynomials[1], x, work), partial(np.divide, out, work, out=out)]


def single_erf(n: KernelContext, x: Array, out: Array, work: Sequence[Array]) -> list[Step]:
    """tanh(x · p(x²)), which needs no bound: where x² overflows, the tanh of infinity is 1."""
    square, p = work
    return [
        partial(np.multiply, x, x, out=square),
        *horner(LOGISTIC, square, p),
        partial(np.multiply, p, x, out=p),
        partial(np.tanh, p, out=out),
    ]


def double_erf(n: KernelContext, x: Array, out: Array, work: Sequence[Array]) -> list[Step]:
    """Both of Cody's approximations, and a choice between them by arithmetic: numpy's own is slower than either."""
    size, near, far, z, other = work
    return [
        partial(np.absolute, x, out=size),
        partial(np.minimum, size, number(NEAR, x), out=far),
        partial(np.multiply, far, far, out=z),
        *ratio(CENTRE, z, near, other),
        partial(np.multiply, near, far, out=near),
        partial(np.minimum, size, number(FAR, x), out=z),
        *ratio(TAIL, z, far, other),
        partial(np.multiply, z, z, out=z),
        partial(np.negative, z, out=z),
        partial(np.exp, z, out=z),
        partial(np.multiply, far, z, out=far),
        partial(np.subtract, number(1, x), far, out=far),
        partial(np.subtract, far, near, out=far),
        partial(np.greater, size, number(NEAR, x), out=z),
        partial(np.multiply, far, z, out=far),
        partial(np.add, near, far, out=near),
        partial(np.copysign, near, x, out=out),
    ]


def logistic_gelu(
    coefficients: Sequence[float], n: KernelContext, x: Array, out: Array, work: Sequence[Array]
) -> list[Step]:
    """x / (1 + exp(x · p(x²))), which keeps the relative precision of small results."""
    square, p = work
    return [
        partial(np.maximum, x, number(LEAST, x), out=out),
        partial(np.multiply, out, out, out=square),
        *horner(coefficients, square, p),
        partial(np.multiply, p, out, out=p),
        partial(np.exp, p, out=p),
        partial(np.add, p, number(1, x), out=p),
        partial(np.divide, out, p, out=out),
    ]


TANH_GELU: Final = partial(logistic_gelu, [-2 * math.sqrt(2 / math.pi) * factor for factor in (0.044715, 1)])
SINGLE_GELU: Final = partial(
    logistic_gelu, [-math.sqrt(2) * c / 2**power for power, c in zip(range(len(LOGISTIC))[::-1], LOGISTIC, strict=True)]
)
"""The coefficients of p above, for x / √2: tanh(z) is 2 / (1 + exp(-2·z)) - 1."""


def double_gelu(n: KernelContext, x: Array, out: Array, work: Sequence[Array]) -> list[Step]:
    """x / 2 · (1 + erf(x / √2))."""
    half, *rest = work
    return [
        partial(np.maximum, x, number(LEAST, x), out=out),
        partial(np.multiply, out, number(0.5, x), out=half),
        partial(np.multiply, out, number(math.sqrt(0.5), x), out=out),
        *double_erf(n, out, out, rest),
        partial(np.add, out, number(1, x), out=out),
        partial(np.multiply, out, half, out=out),
    ]


def _gelu_type(use: OperatorContext) -> Type:
    use.choice("approximate", ("none", "tanh"))
    return same_type(use)


def _gelu(n: KernelContext) -> list[Step]:
    """Hendrycks and Gimpel, arXiv:1606.08415."""
    if n.string("approximate") == "tanh":
        return by_blocks(n, TANH_GELU, 2)
    return by_blocks(n, double_gelu, 6) if n.x[0].dtype == np.float64 else by_blocks(n, SINGLE_GELU, 2)


def _gelu_gradient(n: GradientContext) -> Symbol:
    """The distribution function of x plus x times its density; likewise for the logistic function of x · p(x²)."""
    x = n.x[0]
    if n.string("approximate") == "tanh":
        factor = 2 * math.sqrt(2 / math.pi)
        x = clip(x, -16, 16)  # Where the slope is 0 or 1, and nothing overflows.
        square = x * x
        s = emit("Sigmoid", x * (square * (factor * 0.044715) + factor))
        return n.dy * (s + x * (square * (factor * 3 * 0.044715) + factor) * (s - s * s))
    x = x * math.sqrt(0.5)
    density = x * emit("Exp", -(x * x)) * (2 / math.sqrt(math.pi))
    return n.dy * ((emit("Erf", x) + density) * 0.5 + 0.5)


def _gelu_lowering(x: Symbol, *, approximate: str = "none") -> Symbol:
    if approximate == "tanh":
        function = emit("Tanh", (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi))
    else:
        function = emit("Erf", x * math.sqrt(0.5))
    return x * 0.5 * (1 + function)


_TANH = Limit(
    "approximate",
    lambda use, shape: use.attributes.get("approximate") == "tanh",
    "OpenCV 5.0 computes the exact form, which differs by up to 0.0004",
    "",
    "note",
)

register(
    activation(
        "Erf",
        ("input",),
        same_type,
        lambda n: by_blocks(n, double_erf, 5) if n.x[0].dtype == np.float64 else by_blocks(n, single_erf, 2),
        lambda n: n.dy * (emit("Exp", -(n.x[0] * n.x[0])) * (2 / math.sqrt(math.pi))),
    )
)
register(
    activation(
        "Gelu",
        ("X",),
        _gelu_type,
        _gelu,
        _gelu_gradient,
        {"approximate": Attr(str, "none")},
        outputs=("Y",),
        lowering=_gelu_lowering,
        portability=Portability(limits=(_TANH,)),
    )
)
