"""Arithmetic, comparisons and elementary functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from portable_nn.converters.array import ELEMENTARY, FORMULAS, angle
from portable_nn.converters.jax.primitives.table import Call, Held, elementwise, row
from portable_nn.core.graph import INTERNAL, Tensor
from portable_nn.operators import DTYPE_CODES, FLOATS, Symbol, cast, constant, emit


def _bits(operator: str, *x: Symbol) -> Symbol:
    return emit(operator if x[0].dtype == "bool" else f"Bitwise{operator}", *x)


_OPERATORS: Final = {
    **ELEMENTARY, "add": "Add", "sub": "Sub", "mul": "Mul", "neg": "Neg", "logistic": "Sigmoid", "div": "Div",
    "eq": "Equal", "gt": "Greater", "ge": "GreaterOrEqual", "lt": "Less", "le": "LessOrEqual", "add_any": "Add",
    "eq_to": "Equal", "lt_to": "Less", "le_to": "LessOrEqual", "min": "Min",
}  # fmt: skip
"""The primitives that are an operator."""

_FUNCTIONS: Final[Mapping[str, Callable[..., Symbol]]] = {
    **{name: FORMULAS[name] for name in ("erfc", "exp2", "log1p", "rsqrt", "square")},
    **{name: partial(_bits, name.capitalize()) for name in ("and", "or", "xor", "not")},
    "atan2": angle,
    "cbrt": lambda x: emit("Sign", x) * emit("Pow", emit("Abs", x), constant(1 / 3, x.dtype)),
    "is_finite": lambda x: emit("Not", emit("Or", emit("IsInf", x), emit("IsNaN", x))),
    "ne": lambda a, b: emit("Not", emit("Equal", a, b)),
    "pow": lambda x, y: emit("Pow", x, cast(y, x.dtype)),
    "rem": lambda a, b: emit("Mod", a, b, fmod=1),
    "stop_gradient": lambda x: emit("StopGradient", x, domain=INTERNAL) if x.dtype in FLOATS else x,
}
"""Those that are a function of the symbols alone."""

for _name, _function in {**{name: partial(emit, each) for name, each in _OPERATORS.items()}, **_FUNCTIONS}.items():
    if _name != "round":  # JAX rounds in two ways.
        elementwise(_name)(partial(lambda make, call, *x: make(*x), _function))


@row("copy", "copy_p", "optimization_barrier", "reduce_precision", "sharding_constraint")
def _same(call: Call, *values: Held) -> list[Held]:
    return list(values)


@elementwise("expm1")
def _expm1(call: Call, x: Symbol) -> Symbol:
    """Exact near 0 from below, where the exponential units of flax use it."""
    zero = constant(0, x.dtype)
    return emit("Elu", emit("Min", x, zero)) + (emit("Exp", emit("Max", x, zero)) - 1)


def _number(value: Symbol) -> float | None:
    """The number that a constant without axes is."""
    literal = value.origin.attributes.get("value")
    return float(literal.data[0]) if isinstance(literal, Tensor) and not value.shape else None


@elementwise("max")
def _max(call: Call, a: Symbol, b: Symbol) -> Symbol:
    """Relu where one of them is 0; the other one where one is the least that there is."""
    for one, other in ((a, b), (b, a)):
        number = _number(one) if other.dtype in FLOATS and other.shape else None
        if number == 0:
            return emit("Relu", other)
        if number == -math.inf:
            return other
    return emit("Max", a, b)


@elementwise("integer_pow")
def _integer_pow(call: Call, x: Symbol) -> Symbol:
    power = call.params["y"]
    if power == 2:
        return x * x
    if power == 3:
        return x * x * x
    return emit("Reciprocal", x) if power == -1 and x.dtype in FLOATS else emit("Pow", x, constant(power, x.dtype))


@elementwise("round")
def _round(call: Call, x: Symbol) -> Symbol:
    if "EVEN" in str(call.params["rounding_method"]):
        return emit("Round", x)
    return emit("Sign", x) * emit("Floor", emit("Abs", x) + 0.5)


@elementwise("convert_element_type")
def _cast(call: Call, x: Symbol) -> Symbol:
    dtype = str(call.params["new_dtype"])
    if dtype not in DTYPE_CODES:
        call.refuse(f"to {dtype}, which graphs do not have")
    return cast(x, dtype)


@elementwise("select_n")
def _select(call: Call, which: Symbol, *cases: Symbol) -> Symbol:
    """Of two by a truth value, the second where it holds; of several by their number."""
    if which.dtype == "bool":
        return emit("Where", which, cases[1], cases[0])
    found = cases[-1]
    for number, case in reversed(list(enumerate(cases[:-1]))):
        found = emit("Where", emit("Equal", which, constant(number, which.dtype)), case, found)
    return found


@elementwise("clamp")
def _clamp(call: Call, low: Symbol, x: Symbol, high: Symbol) -> Symbol:
    if not low.shape and not high.shape:
        return emit("Clip", x, low, high)
    return emit("Min", emit("Max", x, low), high)
