"""The activation functions of recurrent operators: in place in numpy, with their slopes, and as symbols."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.operators.base import Array, KernelContext, OperatorContext, Step, Symbol, constant, emit

Numbers = Callable[[float], Array]
"""Gives an array of no axes that holds a number: numpy computes with it faster than with a Python number."""


class Function(NamedTuple):
    """An activation function with its parameters."""

    name: str
    alpha: float
    beta: float


class Made(NamedTuple):
    """The computation of a function.

    ``value`` gives the steps that compute it in place of its argument, and ``slope`` those that compute its derivative
    from the argument, which they may overwrite, and from the value. ``value`` may use the array that it is given last.
    """

    value: Callable[[Function, Numbers, Array, Array], list[Step]]
    slope: Callable[[Function, Numbers, Array, Array], list[Step]]
    symbol: Callable[[Function, Symbol], Symbol]
    alpha: float | None = None
    beta: float | None = None


def _sigmoid(f: Function, number: Numbers, x: Array, work: Array) -> list[Step]:
    """(1 + tanh(x / 2)) / 2, which neither overflows nor divides."""
    half = number(0.5)
    return [
        partial(np.multiply, x, half, out=x),
        partial(np.tanh, x, out=x),
        partial(np.multiply, x, half, out=x),
        partial(np.add, x, half, out=x),
    ]


def _sigmoid_slope(f: Function, number: Numbers, x: Array, y: Array) -> list[Step]:
    return [partial(np.multiply, y, y, out=x), partial(np.subtract, y, x, out=x)]


def _tanh_slope(f: Function, number: Numbers, x: Array, y: Array) -> list[Step]:
    return [partial(np.multiply, y, y, out=x), partial(np.subtract, number(1), x, out=x)]


def _affine(f: Function, number: Numbers, x: Array, work: Array) -> list[Step]:
    return [partial(np.multiply, x, number(f.alpha), out=x), partial(np.add, x, number(f.beta), out=x)]


def _leaky_relu(f: Function, number: Numbers, x: Array, work: Array) -> list[Step]:
    return [
        partial(np.minimum, x, number(0), out=work),
        partial(np.multiply, work, number(f.alpha), out=work),
        partial(np.maximum, x, number(0), out=x),
        partial(np.add, x, work, out=x),
    ]


def _leaky_relu_slope(f: Function, number: Numbers, x: Array, y: Array) -> list[Step]:
    return [
        partial(np.greater, x, number(0), out=x),
        partial(np.multiply, x, number(1 - f.alpha), out=x),
        partial(np.add, x, number(f.alpha), out=x),
    ]


def _thresholded_relu(f: Function, number: Numbers, x: Array, work: Array) -> list[Step]:
    def cut() -> None:
        np.copyto(x, 0, where=x <= f.alpha)

    return [cut]


def _scaled_tanh(f: Function, number: Numbers, x: Array, work: Array) -> list[Step]:
    return [
        partial(np.multiply, x, number(f.beta), out=x),
        partial(np.tanh, x, out=x),
        partial(np.multiply, x, number(f.alpha), out=x),
    ]


def _scaled_tanh_slope(f: Function, number: Numbers, x: Array, y: Array) -> list[Step]:
    return [
        partial(np.multiply, x, number(f.beta), out=x),
        partial(np.tanh, x, out=x),
        partial(np.multiply, x, x, out=x),
        partial(np.subtract, number(1), x, out=x),
        partial(np.multiply, x, number(f.alpha * f.beta), out=x),
    ]


def _hard_sigmoid(f: Function, number: Numbers, x: Array, work: Array) -> list[Step]:
    return [*_affine(f, number, x, work), partial(np.clip, x, number(0), number(1), out=x)]


def _hard_sigmoid_slope(f: Function, number: Numbers, x: Array, y: Array) -> list[Step]:
    def slope() -> None:
        np.multiply((y > 0) & (y < 1), number(f.alpha), out=x)

    return [slope]


def _elu(f: Function, number: Numbers, x: Array, work: Array) -> list[Step]:
    return [
        partial(np.minimum, x, number(0), out=work),
        partial(np.expm1, work, out=work),
        partial(np.multiply, work, number(f.alpha), out=work),
        partial(np.maximum, x, number(0), out=x),
        partial(np.add, x, work, out=x),
    ]


def _elu_slope(f: Function, number: Numbers, x: Array, y: Array) -> list[Step]:
    def slope() -> None:
        above = x > 0
        np.minimum(x, number(0), out=x)
        np.exp(x, out=x)
        np.multiply(x, number(f.alpha), out=x)
        np.copyto(x, 1, where=above)

    return [slope]


def _softsign(f: Function, number: Numbers, x: Array, work: Array) -> list[Step]:
    return [
        partial(np.absolute, x, out=work),
        partial(np.add, work, number(1), out=work),
        partial(np.divide, x, work, out=x),
    ]


def _softsign_slope(f: Function, number: Numbers, x: Array, y: Array) -> list[Step]:
    return [
        partial(np.absolute, x, out=x),
        partial(np.add, x, number(1), out=x),
        partial(np.multiply, x, x, out=x),
        partial(np.reciprocal, x, out=x),
    ]


def _standard(*options: str) -> Callable[[Function, Symbol], Symbol]:
    """The operator of the same name, with these of the parameters as its attributes."""
    return lambda f, x: emit(f.name, x, **{name: getattr(f, name) for name in options})


NONE: Final = math.nan
"""The default of a parameter that has none: the standard does not say one, and runtimes differ."""

FUNCTIONS: Final[Mapping[str, Made]] = {
    "Sigmoid": Made(_sigmoid, _sigmoid_slope, _standard()),
    "Tanh": Made(lambda f, number, x, work: [partial(np.tanh, x, out=x)], _tanh_slope, _standard()),
    "Relu": Made(
        lambda f, number, x, work: [partial(np.maximum, x, number(0), out=x)],
        lambda f, number, x, y: [partial(np.greater, x, number(0), out=x)],
        _standard(),
    ),
    "Affine": Made(
        _affine, lambda f, number, x, y: [partial(x.fill, f.alpha)], lambda f, x: x * f.alpha + f.beta, NONE, NONE
    ),
    "LeakyRelu": Made(_leaky_relu, _leaky_relu_slope, _standard("alpha"), 0.01),
    "ThresholdedRelu": Made(
        _thresholded_relu,
        lambda f, number, x, y: [partial(np.greater, x, number(f.alpha), out=x)],
        _standard("alpha"),
        1.0,
    ),
    "ScaledTanh": Made(_scaled_tanh, _scaled_tanh_slope, lambda f, x: emit("Tanh", x * f.beta) * f.alpha, NONE, NONE),
    "HardSigmoid": Made(_hard_sigmoid, _hard_sigmoid_slope, _standard("alpha", "beta"), 0.2, 0.5),
    "Elu": Made(_elu, _elu_slope, _standard("alpha"), 1.0),
    "Softsign": Made(_softsign, _softsign_slope, _standard()),
    "Softplus": Made(lambda f, number, x, work: [partial(np.logaddexp, x, number(0), out=x)], _sigmoid, _standard()),
}
"""The functions that the standard allows, with the defaults of their parameters, which are those of its operators."""

_SPELLED: Final = {name.lower(): name for name in FUNCTIONS}


def functions_of(use: OperatorContext, defaults: Sequence[str], directions: int) -> list[tuple[Function, ...]]:
    """The functions of each direction; runtimes ignore case in their names, and so does this.

    The parameters are given one after the other, for those functions alone that have them.
    """
    given = use.attributes.get("activations")
    silent = given == use.operator.attributes["activations"].default  # Which has two directions' functions for one.
    names = [str(name) for name in given] if isinstance(given, tuple) and not silent else [*defaults] * directions
    if len(names) != len(defaults) * directions:
        use.fail(f"activations must be {len(defaults)} functions for each direction, not {', '.join(names) or 'none'}")
    if unknown := [name for name in names if name.lower() not in _SPELLED]:
        use.fail(f"activations must be of {', '.join(FUNCTIONS)}, and '{unknown[0]}' is none of them")
    made = [FUNCTIONS[_SPELLED[name.lower()]] for name in names]
    alphas = _parameters(use, "activation_alpha", [each.alpha for each in made])
    betas = _parameters(use, "activation_beta", [each.beta for each in made])
    found = [Function(_SPELLED[n.lower()], a, b) for n, a, b in zip(names, alphas, betas, strict=True)]
    return [tuple(found[start : start + len(defaults)]) for start in range(0, len(found), len(defaults))]


def _parameters(use: OperatorContext, name: str, defaults: Sequence[float | None]) -> list[float]:
    """A parameter of each function; 0 for one that has none."""
    given: Any = use.attributes.get(name)
    values = [float(value) for value in given] if isinstance(given, tuple) else []
    takers = sum(default is not None for default in defaults)
    if takers and len(values) > takers:
        use.fail(f"{name} has {len(values)} numbers, and {takers} of the activation functions have such a parameter")
    rest = iter(values)
    found = [0.0 if default is None else next(rest, default) for default in defaults]
    if any(map(math.isnan, values)):
        use.fail(f"{name} must be numbers, not NaN")
    if any(map(math.isnan, found)):
        use.fail(
            f"{name} must have {takers} {'number' if takers == 1 else 'numbers'}: Affine and ScaledTanh have no default"
        )
    return found


def explicit(functions: Iterable[Function]) -> dict[str, tuple[float, ...]]:
    """The attributes that give the parameters of all functions, whatever a runtime takes for their defaults."""
    taken = {
        f"activation_{name}": tuple(getattr(f, name) for f in functions if getattr(FUNCTIONS[f.name], name) is not None)
        for name in ("alpha", "beta")
    }
    return {name: values for name, values in taken.items() if values}


class Activator(NamedTuple):
    """Makes the steps of activation functions that work on arrays of one type, after a clip of their arguments."""

    number: Numbers
    clip: float | None

    @classmethod
    def of(cls, n: KernelContext, dtype: object, clip: float | None) -> Activator:
        """For the kernel of a node."""
        return cls(lambda value: n.filled((), dtype, value), clip)

    def steps(self, f: Function, x: Array, work: Array, slope: Array | None = None) -> list[Step]:
        """The steps that put f(x) in place of x, and its derivative into ``slope``; ``work`` is as large as x."""
        made, steps = FUNCTIONS[f.name], list[Step]()
        if self.clip is None:
            value = made.value(f, self.number, x, work)
            if slope is None:
                return value
            return [partial(np.copyto, slope, x), *value, *made.slope(f, self.number, slope, x)]
        low, high = self.number(-self.clip), self.number(self.clip)
        inside = np.empty(x.shape if slope is not None else 0, np.bool_)
        if slope is not None:  # Where the clip changes x, the derivative is 0.
            steps += [partial(np.absolute, x, out=slope), partial(np.less, slope, high, out=inside)]
        steps.append(partial(np.clip, x, low, high, out=x))
        if slope is not None:
            steps.append(partial(np.copyto, slope, x))
        steps += made.value(f, self.number, x, work)
        if slope is not None:
            steps += [*made.slope(f, self.number, slope, x), partial(np.multiply, slope, inside, out=slope)]
        return steps


def activated(f: Function, x: Symbol, clip: float | None) -> Symbol:
    """f(x), with x clipped before."""
    if clip is not None:
        x = emit("Clip", x, constant(-clip, x.dtype), constant(clip, x.dtype))
    return FUNCTIONS[f.name].symbol(f, x)
