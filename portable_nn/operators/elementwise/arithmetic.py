"""Arithmetic, comparison, logic, bits and trigonometry, element by element, with broadcasting.

Each row of a table below is one operator: its numpy function and its gradient.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial, reduce

import numpy as np

from portable_nn.core.dims import product, total
from portable_nn.operators.base import (
    ALL,
    ANY,
    FLOATS,
    INTEGERS,
    NUMBERS,
    REQUIRED,
    Array,
    Attr,
    GradientContext,
    Interval,
    KernelContext,
    OperatorContext,
    Portability,
    Step,
    Symbol,
    Type,
    cast,
    constant,
    emit,
    fit,
    in_wider,
    integers,
    register,
    whole,
)
from portable_nn.operators.elements import (
    columns,
    each,
    extreme,
    folded,
    is_equal,
    is_less,
    is_less_or_equal,
    ratio,
    remainder,
    rounded,
    times,
    truncated,
    whole_ratio,
)
from portable_nn.operators.elementwise.building import (
    arithmetic,
    binary,
    broadcast_shape,
    broadcast_type,
    same_type,
    unary,
    variadic,
)
from portable_nn.operators.limits import AS_SOFTPLUS, IS_NAN

SIGNED = NUMBERS - {"uint8", "uint16", "uint32", "uint64"}


def both(n: GradientContext, first: Symbol, second: Symbol) -> list[Symbol]:
    """The gradients of two inputs, each summed to the shape of its input."""
    return [fit(first, n.x[0]), fit(second, n.x[1])]


def _divide_integers(a: Array, b: Array, out: Array) -> None:
    """Division that rounds towards zero: ``a`` less its remainder, which has the sign of ``a``, divides exactly."""
    np.floor_divide(a - np.fmod(a, b), b, out=out)


def _divide(n: KernelContext) -> Step:
    if n.type().dtype in INTEGERS:
        return partial(_divide_integers, n.x[0], n.x[1], n.out())
    return partial(np.divide, n.x[0], n.x[1], out=n.out())


def _power_type(use: OperatorContext) -> Type:
    use.check_dtype(use.type(0).dtype, FLOATS | {"int32", "int64"})
    use.check_dtype(use.type(1).dtype, NUMBERS)
    return use.like(broadcast_shape(use, (0, 1)))


def _power_gradient(n: GradientContext) -> list[Symbol | None]:
    base, exponent = n.x[0], cast(n.x[1], n.x[0].dtype)
    to_base = fit(n.dy * exponent * base ** (exponent - 1), base)
    if n.x[1].dtype not in FLOATS:
        return [to_base, None]
    positive = emit("Greater", base, base * 0)
    logarithm = emit("Log", emit("Where", positive, base, base * 0 + 1))
    return [to_base, fit(cast(n.dy * n.y[0] * logarithm, n.x[1].dtype), n.x[1])]


def _extreme_gradient(n: GradientContext) -> list[Symbol]:
    """The gradient goes to the inputs that attain the extreme, in equal shares."""
    masks = [cast(emit("Equal", x, n.y[0]), n.dy.dtype) for x in (n.x[i] for i in range(n.inputs))]
    share = n.dy / reduce(lambda a, b: a + b, masks)
    return [fit(share * mask, n.x[i]) for i, mask in enumerate(masks)]


def _where_type(use: OperatorContext) -> Type:
    if use.type(0).dtype != "bool":
        use.fail(f"condition must be bool, not {use.type(0).dtype}")
    return Type(use.common_dtype(ANY, 1), broadcast_shape(use, range(3)))


def _where(n: KernelContext) -> list[Step]:
    out = n.out()
    return [partial(np.copyto, out, n.x[2]), partial(np.copyto, out, n.x[1], where=n.x[0])]


def _where_gradient(n: GradientContext) -> list[Symbol | None]:
    zero = n.dy * 0
    return [
        None,
        fit(emit("Where", n.x[0], n.dy, zero), n.x[1]),
        fit(emit("Where", n.x[0], zero, n.dy), n.x[2]),
    ]


def _modulo_type(use: OperatorContext) -> Type:
    use.choice("fmod", (0, 1))
    found = broadcast_type(use, NUMBERS)
    if found.dtype in FLOATS and not use.int("fmod"):
        use.fail(f"fmod must be 1 for {found.dtype}: the remainder has the sign of A")
    return found


def _modulo_gradient(n: GradientContext) -> list[Symbol | None]:
    if n.dy.dtype not in FLOATS:
        return [None, None]
    a, b = n.x
    return list(both(n, n.dy, -n.dy * emit("Round", (a - n.y[0]) / b)))


def _is_infinite(n: KernelContext) -> Step:
    x, out = n.x[0], n.out()
    negative, positive = n.int("detect_negative"), n.int("detect_positive")
    if negative and positive:
        return partial(np.isinf, x, out=out)
    if negative or positive:
        return partial(np.equal, x, x.dtype.type(np.inf if positive else -np.inf), out=out)
    return partial(out.fill, False)


def _is_infinite_lowering(x: Symbol, *, detect_negative: int = 1, detect_positive: int = 1) -> Symbol:
    """Of all numbers, x - x is NaN for the infinities alone."""
    gone = x - x
    found = emit("And", emit("Equal", x, x), emit("Not", emit("Equal", gone, gone)))
    if detect_negative and detect_positive:
        return found
    if detect_negative or detect_positive:
        return emit("And", found, emit("Greater" if detect_positive else "Less", x, constant(0, x.dtype)))
    return emit("And", found, constant(False, "bool"))


def _divisors(use: OperatorContext) -> Interval | None:
    """Whole numbers that are not 0."""
    return Interval(1, 9) if use.type(1).dtype in INTEGERS else None


def _shares(n: GradientContext, share: Symbol) -> Sequence[Symbol]:
    return [fit(share, n.x[i]) for i in range(n.inputs)]


POSITIVE = Interval(0.1, 3)

unary(
    "Neg",
    np.negative,
    lambda n: -n.dy,
    SIGNED,
    constant=each(np.negative, lambda a: product([-1, whole(a)])),
    polynomial=True,
)
unary("Abs", np.absolute, lambda n: n.dy * emit("Sign", n.x[0]), NUMBERS, constant=each(np.abs, lambda a: a))
unary("Exp", np.exp, lambda n: n.dy * n.y[0], names=("input", "output"))
unary(
    "Log",
    np.log,
    lambda n: n.dy / n.x[0],
    names=("input", "output"),
    samples=POSITIVE,
    portability=Portability(limits=(AS_SOFTPLUS,)),
)
unary("Sqrt", np.sqrt, lambda n: n.dy * 0.5 / n.y[0], constant=each(np.sqrt), samples=POSITIVE)
unary(
    "Reciprocal", np.reciprocal, lambda n: -n.dy * n.y[0] * n.y[0], constant=each(np.reciprocal, lambda a: ratio(1, a))
)
unary("Sign", np.sign, None, NUMBERS, names=("input", "output"))
unary("Floor", np.floor, None, constant=each(np.floor, partial(rounded, "floor")))
unary("Ceil", np.ceil, None, constant=each(np.ceil, partial(rounded, "ceil")))
unary("Round", np.rint, None, constant=each(np.rint))
unary("Not", np.logical_not, None, frozenset({"bool"}), constant=each(np.logical_not))
unary("IsNaN", np.isnan, None, FLOATS, "bool", portability=Portability(limits=(IS_NAN,)))

binary(
    "Add",
    np.add,
    lambda n: both(n, n.dy, n.dy),
    constant=each(operator.add, lambda a, b: total([whole(a), whole(b)])),
    affine=True,
)
binary(
    "Sub",
    np.subtract,
    lambda n: both(n, n.dy, -n.dy),
    constant=each(operator.sub, lambda a, b: total([whole(a), product([-1, whole(b)])])),
    affine=True,
)
binary(
    "Mul",
    np.multiply,
    lambda n: both(n, n.dy * n.x[1], n.dy * n.x[0]),
    constant=each(operator.mul, times),
    affine=True,
)
binary("Equal", np.equal, None, ANY, "bool", constant=each(np.equal, is_equal))
binary("Greater", np.greater, None, NUMBERS, "bool", constant=each(np.greater, lambda a, b: is_less(b, a)))
binary(
    "GreaterOrEqual",
    np.greater_equal,
    None,
    NUMBERS,
    "bool",
    constant=each(np.greater_equal, lambda a, b: is_less_or_equal(b, a)),
)
binary("Less", np.less, None, NUMBERS, "bool", constant=each(np.less, is_less))
binary("LessOrEqual", np.less_equal, None, NUMBERS, "bool", constant=each(np.less_equal, is_less_or_equal))
binary("And", np.logical_and, None, frozenset({"bool"}), constant=each(np.logical_and))
binary("Or", np.logical_or, None, frozenset({"bool"}), constant=each(np.logical_or))
binary("Xor", np.logical_xor, None, frozenset({"bool"}), constant=each(np.logical_xor))

variadic("Sum", np.add, lambda n: _shares(n, n.dy))
variadic("Mean", np.add, lambda n: _shares(n, n.dy / n.inputs), mean=True)
variadic(
    "Max", np.maximum, _extreme_gradient, constant=partial(folded, np.maximum, partial(extreme, "max")), passes=ALL
)
variadic(
    "Min", np.minimum, _extreme_gradient, constant=partial(folded, np.minimum, partial(extreme, "min")), passes=ALL
)

register(
    arithmetic(
        "Div",
        ("A", "B"),
        lambda use: broadcast_type(use, NUMBERS),
        _divide,
        lambda n: both(n, n.dy / n.x[1], -n.dy * n.y[0] / n.x[1]),
        outputs=("C",),
        overwrites_input=True,
        keeps_layout=True,
        constant=lambda use, type: each(truncated, whole_ratio if type.dtype in INTEGERS else ratio)(use, type),
        samples={1: _divisors},
        affine={0: np.divide},
        polynomial=True,
    )
)
register(
    arithmetic(
        "Pow",
        ("X", "Y"),
        _power_type,
        lambda n: partial(np.power, n.x[0], n.x[1], out=n.out(), casting="unsafe"),
        _power_gradient,
        outputs=("Z",),
        constant=each(np.power),
        samples={0: POSITIVE, 1: lambda use: Interval(0, 3) if use.type(1).dtype in INTEGERS else None},
        portability=Portability(substitute=partial(in_wider, "Pow", INTEGERS - {"int32", "int64"}, place=1)),
        polynomial=True,
    )
)
register(
    arithmetic(
        "Where",
        ("condition", "X", "Y"),
        _where_type,
        _where,
        _where_gradient,
        passes=(1, 2),
        constant=lambda use, type: tuple(a if condition else b for condition, a, b in columns(use, type)),
    )
)
register(
    arithmetic(
        "Mod",
        ("A", "B"),
        _modulo_type,
        # The remainder has the sign of A with fmod, otherwise that of B.
        lambda n: partial(np.fmod if n.int("fmod") else np.remainder, n.x[0], n.x[1], out=n.out()),
        _modulo_gradient,
        {"fmod": Attr(int, 0)},
        outputs=("C",),
        overwrites_input=True,
        keeps_layout=True,
        constant=lambda use, type: each(np.fmod if use.int("fmod") else np.mod, remainder)(use, type),
        samples={1: _divisors},
    )
)
register(
    arithmetic(
        "IsInf",
        ("X",),
        partial(same_type, result="bool"),
        _is_infinite,
        None,
        {"detect_negative": Attr(int, 1), "detect_positive": Attr(int, 1)},
        outputs=("Y",),
        lowering=_is_infinite_lowering,
    )
)


UNSIGNED = frozenset(dtype for dtype in INTEGERS if dtype.startswith("u"))
_LEAST = -(2**63)


def _shift_type(use: OperatorContext) -> Type:
    use.choice("direction", list(_SHIFTS))
    return broadcast_type(use, UNSIGNED)


_SHIFTS = {"LEFT": np.left_shift, "RIGHT": np.right_shift}


def _bits(x: Symbol) -> Symbol:
    """The 64 bits of an integer in two's complement along a new last axis, the lowest first; each 0 or 1 as int64."""
    whole = cast(x, "int64")
    negative = cast(emit("Less", whole, constant(0, "int64")), "int64")
    rest = emit("Unsqueeze", whole - negative * _LEAST, integers([-1]))
    low = emit("Mod", rest / integers(2**place for place in range(63)), constant(2, "int64"))
    return emit("Concat", low, emit("Unsqueeze", negative, integers([-1])), axis=-1)


def _bit_by_bit(operator: str) -> None:
    """Register an operator of two inputs that combines their bits."""
    ufunc = {"And": np.bitwise_and, "Or": np.bitwise_or, "Xor": np.bitwise_xor}[operator]

    def lowering(a: Symbol, b: Symbol) -> Symbol:
        # And is the product of two bits, Xor the square of their difference, Or the sum of both.
        first, second = _bits(a), _bits(b)
        different = (first - second) * (first - second)
        both = first * second
        bits = {"And": both, "Xor": different}.get(operator, both + different)
        # Each times what it is worth; onnxruntime adds up integers exactly in products of matrices only.
        return cast(bits @ integers([*(2**place for place in range(63)), _LEAST]), a.dtype)

    register(
        arithmetic(
            f"Bitwise{operator}",
            ("A", "B"),
            lambda use: broadcast_type(use, INTEGERS),
            lambda n: partial(ufunc, n.x[0], n.x[1], out=n.out()),
            None,
            outputs=("C",),
            overwrites_input=True,
            keeps_layout=True,
            lowering=lowering,
        )
    )


register(
    arithmetic(
        "BitShift",
        ("X", "Y"),
        _shift_type,
        # numpy shifts all bits out where the standard does.
        lambda n: partial(_SHIFTS[n.string("direction")], n.x[0], n.x[1], out=n.out()),
        None,
        {"direction": Attr(str, REQUIRED)},
        outputs=("Z",),
        overwrites_input=True,
        keeps_layout=True,
        samples={1: Interval(0, 7)},
    )
)
for _operator in ("And", "Or", "Xor"):
    _bit_by_bit(_operator)
register(
    arithmetic(
        "BitwiseNot",
        ("X",),
        partial(same_type, allowed=INTEGERS),
        lambda n: partial(np.invert, n.x[0], out=n.out()),
        None,
        outputs=("Y",),
        overwrites_input=True,
        keeps_layout=True,
        # -1 - x, whatever bits lie beyond those of the element type.
        lowering=lambda x: cast(-1 - cast(x, "int64"), x.dtype),
    )
)


def _root(x: Symbol) -> Symbol:
    return emit("Sqrt", x)


_DERIVATIVES: dict[str, tuple[np.ufunc, Callable[[Symbol, Symbol], Symbol]]] = {
    "Acos": (np.arccos, lambda x, y: -1 / _root(1 - x * x)),
    "Acosh": (np.arccosh, lambda x, y: 1 / (_root(x - 1) * _root(x + 1))),
    "Asin": (np.arcsin, lambda x, y: 1 / _root(1 - x * x)),
    "Asinh": (np.arcsinh, lambda x, y: 1 / _root(x * x + 1)),
    "Atan": (np.arctan, lambda x, y: 1 / (x * x + 1)),
    "Atanh": (np.arctanh, lambda x, y: 1 / (1 - x * x)),
    "Cos": (np.cos, lambda x, y: -emit("Sin", x)),
    "Cosh": (np.cosh, lambda x, y: emit("Sinh", x)),
    "Sin": (np.sin, lambda x, y: emit("Cos", x)),
    "Sinh": (np.sinh, lambda x, y: emit("Cosh", x)),
    "Tan": (np.tan, lambda x, y: y * y + 1),
}


_INSIDE = Interval(-0.9, 0.9)
_SAMPLES = {"Acos": _INSIDE, "Acosh": Interval(1.1, 3), "Asin": _INSIDE, "Atanh": _INSIDE}


def _function(name: str, function: np.ufunc, derivative: Callable[[Symbol, Symbol], Symbol]) -> None:
    unary(
        name,
        function,
        lambda n: n.dy * derivative(n.x[0], n.y[0]),
        names=("input", "output"),
        samples=_SAMPLES.get(name),
    )


for _name, (_ufunc, _derivative) in _DERIVATIVES.items():
    _function(_name, _ufunc, _derivative)
