"""Arithmetic, comparison and logic, element by element, with broadcasting.

Each row of a table below is one operator: its numpy function and its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce

import numpy as np

from portable_nn.core.dims import broadcast, product, quotient, total
from portable_nn.core.graph import Dim, format_shape
from portable_nn.operators.registry import (
    FLOATS,
    INTEGERS,
    NUMBERS,
    ONNX_DTYPES,
    REQUIRED,
    Array,
    Attr,
    Backward,
    Bound,
    Gradient,
    Operator,
    Step,
    Type,
    Use,
    register,
)
from portable_nn.operators.symbols import Symbol, cast, constant, emit, integers

ANY = NUMBERS | {"bool"}
WIDE = FLOATS | {"int32", "int64", "uint32", "uint64"}
"""What the standard defines matrix products, powers and sums for."""
SIGNED = NUMBERS - {"uint8", "uint16", "uint32", "uint64"}


def broadcast_type(use: Use, allowed: frozenset[str] = ANY, result: str | None = None, start: int = 0) -> Type:
    """The type of inputs from ``start`` on, broadcast against each other; they must be of one element type."""
    types = [use.type(index) for index in range(start, len(use.types))]
    dtypes = {type.dtype for type in types}
    if len(dtypes) > 1:
        use.fail(f"its inputs have different element types: {', '.join(type.dtype for type in types)}")
    check_dtype(use, types[0].dtype, allowed)
    shape = broadcast(*(type.shape for type in types))
    if shape is None:
        use.fail(f"the shapes {' and '.join(format_shape(type.shape) for type in types)} do not broadcast")
    return Type(result or types[0].dtype, shape)


def check_dtype(use: Use, dtype: str, allowed: frozenset[str]) -> None:
    """Fail where an operator is not defined for an element type."""
    if dtype not in allowed:
        use.fail(f"it is not defined for {dtype}")


def same_type(allowed: frozenset[str] = FLOATS) -> Callable[[Use], Type]:
    """The rule of an operator whose output is like its first input."""

    def infer(use: Use) -> Type:
        check_dtype(use, use.type().dtype, allowed)
        return Type(use.type().dtype, use.type().shape)

    return infer


def fit(gradient: Symbol, value: Symbol) -> Symbol:
    """Sum ``gradient`` over the axes along which ``value`` was broadcast, so that it has the shape of ``value``."""
    if gradient.shape == value.shape:
        return gradient
    lead = len(gradient.shape) - len(value.shape)
    stretched = [axis + lead for axis, dim in enumerate(value.shape) if dim == 1 and gradient.shape[axis + lead] != 1]
    if stretched:
        gradient = emit("ReduceSum", gradient, integers(stretched), keepdims=1)
    return emit("ReduceSum", gradient, integers(range(lead)), keepdims=0) if lead else gradient


def _shared_out(whole: Dim, parts: Dim) -> Dim | None:
    """A division of sizes, rounded towards zero; ``None`` where it is not known what comes out."""
    if isinstance(whole, int) and isinstance(parts, int) and parts:
        return abs(whole) // abs(parts) * (1 if (whole < 0) == (parts < 0) else -1)
    return quotient(whole, parts)


_ON_SIZES: Mapping[str, Callable[[Dim, Dim], Dim | None]] = {
    "Add": lambda a, b: total([a, b]),
    "Sub": lambda a, b: total([a, product([-1, b])]),
    "Mul": lambda a, b: product([a, b]),
    "Div": _shared_out,
}
"""Arithmetic that is done with sizes while they are still names: what comes out may be a shape."""


def with_sizes(use: Use, type: Type) -> Type:
    """``type`` with what comes out where both inputs are lists of sizes that are known."""
    function, first, second = _ON_SIZES.get(use.operator.name), use.type(0).content, use.type(1).content
    if function is None or first is None or second is None or type.dtype not in INTEGERS or len(type.shape) > 1:
        return type
    length = 0 if not first or not second else max(len(first), len(second))
    pairs = zip(*(sizes * (length if len(sizes) == 1 else 1) for sizes in (first, second)), strict=False)
    found, limits = [function(a, b) for a, b in pairs], np.iinfo(type.dtype)
    known = tuple(dim for dim in found if isinstance(dim, str) or (dim is not None and limits.min <= dim <= limits.max))
    return type._replace(content=known) if len(known) == len(found) else type


def unary(
    name: str,
    function: np.ufunc,
    gradient: Gradient | None,
    allowed: frozenset[str] = FLOATS,
    result: str | None = None,
    names: tuple[str, str] = ("X", "Y"),
) -> None:
    """Register an operator of one input; ``names`` are the standard's for its input and output."""

    def infer(use: Use) -> Type:
        check_dtype(use, use.type().dtype, allowed)
        return Type(result or use.type().dtype, use.type().shape)

    def kernel(n: Bound) -> Step:
        return partial(function, n.x[0], out=n.out())

    register(Operator(name, names[:1], infer, kernel, gradient, outputs=names[1:], inplace=result is None))


def binary(
    name: str,
    function: np.ufunc,
    gradient: Gradient | None,
    allowed: frozenset[str] = NUMBERS,
    result: str | None = None,
) -> None:
    """Register an operator of two inputs that broadcast."""

    def infer(use: Use) -> Type:
        return with_sizes(use, broadcast_type(use, allowed, result))

    def kernel(n: Bound) -> Step:
        return partial(function, n.x[0], n.x[1], out=n.out())

    register(Operator(name, ("A", "B"), infer, kernel, gradient, outputs=("C",), inplace=result is None))


def variadic(name: str, function: np.ufunc, gradient: Gradient, *, mean: bool = False) -> None:
    """Register an operator that folds any number of inputs that broadcast."""

    def infer(use: Use) -> Type:
        return broadcast_type(use, FLOATS if mean or name == "Sum" else NUMBERS)

    def kernel(n: Bound) -> list[Step]:
        out = n.out()
        first = partial(function, n.x[0], n.x[1], out=out) if len(n.x) > 1 else partial(np.copyto, out, n.x[0])
        steps: list[Step] = [first, *(partial(function, out, x, out=out) for x in n.x[2:])]
        if mean:
            steps.append(partial(np.divide, out, out.dtype.type(len(n.x)), out=out))
        return steps

    register(Operator(name, ("data_0*",), infer, kernel, gradient, outputs=(name.lower(),)))


def both(n: Backward, first: Symbol, second: Symbol) -> list[Symbol]:
    """The gradients of two inputs, each brought to its shape."""
    return [fit(first, n.x[0]), fit(second, n.x[1])]


def _divide_integers(a: Array, b: Array, out: Array) -> None:
    """Division towards zero: without its remainder, which has the sign of ``a``, ``a`` divides exactly."""
    np.floor_divide(a - np.fmod(a, b), b, out=out)


def _divide(n: Bound) -> Step:
    if n.type().dtype in INTEGERS:
        return partial(_divide_integers, n.x[0], n.x[1], n.out())
    return partial(np.divide, n.x[0], n.x[1], out=n.out())


def _power_type(use: Use) -> Type:
    base, exponent = use.type(0), use.type(1)
    shape = broadcast(base.shape, exponent.shape)
    check_dtype(use, base.dtype, FLOATS | {"int32", "int64"})
    check_dtype(use, exponent.dtype, NUMBERS)
    if shape is None:
        use.fail(f"the shapes {format_shape(base.shape)} and {format_shape(exponent.shape)} do not broadcast")
    return Type(base.dtype, shape)


def _power(n: Bound) -> Step:
    return partial(np.power, n.x[0], n.x[1], out=n.out(), casting="unsafe")


def _power_gradient(n: Backward) -> list[Symbol | None]:
    base, exponent = n.x[0], cast(n.x[1], n.x[0].dtype)
    to_base = fit(n.dy * exponent * base ** (exponent - 1), base)
    if n.x[1].dtype not in FLOATS:
        return [to_base, None]
    positive = emit("Greater", base, base * 0)
    logarithm = emit("Log", emit("Where", positive, base, base * 0 + 1))
    return [to_base, fit(cast(n.dy * n.y[0] * logarithm, n.x[1].dtype), n.x[1])]


def _extreme_gradient(n: Backward) -> list[Symbol]:
    """What flows back goes to the inputs that attain the extreme, in equal shares."""
    masks = [cast(emit("Equal", x, n.y[0]), n.dy.dtype) for x in (n.x[i] for i in range(n.inputs))]
    share = n.dy / reduce(lambda a, b: a + b, masks)
    return [fit(share * mask, n.x[i]) for i, mask in enumerate(masks)]


def _where_type(use: Use) -> Type:
    if use.type(0).dtype != "bool":
        use.fail(f"condition must be bool, not {use.type(0).dtype}")
    value = broadcast_type(use, start=1)
    shape = broadcast(use.type(0).shape, value.shape)
    if shape is None:
        use.fail(f"the shapes {format_shape(use.type(0).shape)} and {format_shape(value.shape)} do not broadcast")
    return Type(value.dtype, shape)


def _where(n: Bound) -> list[Step]:
    out = n.out()
    return [partial(np.copyto, out, n.x[2]), partial(np.copyto, out, n.x[1], where=n.x[0])]


def _where_gradient(n: Backward) -> list[Symbol | None]:
    zero = n.dy * 0
    return [
        None,
        fit(emit("Where", n.x[0], n.dy, zero), n.x[1]),
        fit(emit("Where", n.x[0], zero, n.dy), n.x[2]),
    ]


def _modulo_type(use: Use) -> Type:
    if use.int("fmod") not in {0, 1}:
        use.fail(f"fmod must be 0 or 1, not {use.int('fmod')}")
    found = broadcast_type(use, NUMBERS)
    if found.dtype in FLOATS and not use.int("fmod"):
        use.fail(f"fmod must be 1 for {found.dtype}: what is left over has the sign of A")
    return found


def _modulo(n: Bound) -> Step:
    """What is left over has the sign of A with ``fmod``, otherwise that of B."""
    return partial(np.fmod if n.int("fmod") else np.remainder, n.x[0], n.x[1], out=n.out())


def _modulo_gradient(n: Backward) -> list[Symbol | None]:
    if n.dy.dtype not in FLOATS:
        return [None, None]
    a, b = n.x
    return list(both(n, n.dy, -n.dy * emit("Round", (a - n.y[0]) / b)))


def _is_infinite(n: Bound) -> Step:
    x, out = n.x[0], n.out()
    negative, positive = n.int("detect_negative"), n.int("detect_positive")
    if negative and positive:
        return partial(np.isinf, x, out=out)
    if negative or positive:
        return partial(np.equal, x, x.dtype.type(np.inf if positive else -np.inf), out=out)
    return partial(out.fill, False)


def _is_infinite_lowering(x: Symbol, *, detect_negative: int = 1, detect_positive: int = 1) -> Symbol:
    """Of what is a number, only an infinity gives none when it is taken from itself."""
    gone = x - x
    found = emit("And", emit("Equal", x, x), emit("Not", emit("Equal", gone, gone)))
    if detect_negative and detect_positive:
        return found
    if detect_negative or detect_positive:
        return emit("And", found, emit("Greater" if detect_positive else "Less", x, constant(0, x.dtype)))
    return emit("And", found, constant(False, "bool"))


def _cast_type(use: Use) -> Type:
    code = use.int("to")
    if code not in ONNX_DTYPES:
        use.fail(f"attribute 'to' is {code}, an element type that is not supported")
    return Type(ONNX_DTYPES[code], use.type().shape)


def _cast(n: Bound) -> Step | None:
    wanted = n.x[1].dtype if n.has(1) else ONNX_DTYPES[n.int("to")]
    if n.x[0].dtype == wanted:
        return n.view(n.x[0])
    return partial(np.copyto, n.out(), n.x[0], casting="unsafe")


def _cast_gradient(n: Backward) -> list[Symbol | None]:
    flows = n.x[0].dtype in FLOATS and n.y[0].dtype in FLOATS
    return [cast(n.dy, n.x[0].dtype) if flows else None, None][: n.inputs]


def _square_root_gradient(n: Backward) -> Symbol:
    return n.dy * 0.5 / n.y[0]


def _shares(n: Backward, share: Symbol) -> Sequence[Symbol]:
    return [fit(share, n.x[i]) for i in range(n.inputs)]


unary("Neg", np.negative, lambda n: -n.dy, SIGNED)
unary("Abs", np.absolute, lambda n: n.dy * emit("Sign", n.x[0]), NUMBERS)
unary("Exp", np.exp, lambda n: n.dy * n.y[0], names=("input", "output"))
unary("Log", np.log, lambda n: n.dy / n.x[0], names=("input", "output"))
unary("Sqrt", np.sqrt, _square_root_gradient)
unary("Reciprocal", np.reciprocal, lambda n: -n.dy * n.y[0] * n.y[0])
unary("Sign", np.sign, None, NUMBERS, names=("input", "output"))
unary("Floor", np.floor, None)
unary("Ceil", np.ceil, None)
unary("Round", np.rint, None)
unary("Not", np.logical_not, None, frozenset({"bool"}))
unary("IsNaN", np.isnan, None, FLOATS, "bool")

binary("Add", np.add, lambda n: both(n, n.dy, n.dy))
binary("Sub", np.subtract, lambda n: both(n, n.dy, -n.dy))
binary("Mul", np.multiply, lambda n: both(n, n.dy * n.x[1], n.dy * n.x[0]))
binary("Equal", np.equal, None, ANY, "bool")
binary("Greater", np.greater, None, NUMBERS, "bool")
binary("GreaterOrEqual", np.greater_equal, None, NUMBERS, "bool")
binary("Less", np.less, None, NUMBERS, "bool")
binary("LessOrEqual", np.less_equal, None, NUMBERS, "bool")
binary("And", np.logical_and, None, frozenset({"bool"}))
binary("Or", np.logical_or, None, frozenset({"bool"}))
binary("Xor", np.logical_xor, None, frozenset({"bool"}))

variadic("Sum", np.add, lambda n: _shares(n, n.dy))
variadic("Mean", np.add, lambda n: _shares(n, n.dy / n.inputs), mean=True)
variadic("Max", np.maximum, _extreme_gradient)
variadic("Min", np.minimum, _extreme_gradient)

register(
    Operator(
        "Div",
        ("A", "B"),
        lambda use: with_sizes(use, broadcast_type(use, NUMBERS)),
        _divide,
        lambda n: both(n, n.dy / n.x[1], -n.dy * n.y[0] / n.x[1]),
        outputs=("C",),
        inplace=True,
    )
)
register(Operator("Pow", ("X", "Y"), _power_type, _power, _power_gradient, outputs=("Z",)))
register(Operator("Where", ("condition", "X", "Y"), _where_type, _where, _where_gradient))
register(
    Operator(
        "Mod",
        ("A", "B"),
        _modulo_type,
        _modulo,
        _modulo_gradient,
        {"fmod": Attr(int, 0)},
        outputs=("C",),
        inplace=True,
    )
)
register(
    Operator(
        "IsInf",
        ("X",),
        lambda use: same_type()(use)._replace(dtype="bool"),
        _is_infinite,
        None,
        {"detect_negative": Attr(int, 1), "detect_positive": Attr(int, 1)},
        outputs=("Y",),
        lowering=_is_infinite_lowering,
    )
)
_ROUNDING = {"saturate": Attr(int, 1), "round_mode": Attr(str, "up")}
register(Operator("Cast", ("input",), _cast_type, _cast, _cast_gradient, {"to": Attr(int, REQUIRED), **_ROUNDING}))
register(
    Operator(
        "CastLike",
        ("input", "target_type"),
        lambda use: Type(use.type(1).dtype, use.type().shape),
        _cast,
        _cast_gradient,
        _ROUNDING,
        lowering=lambda x, target, **_: cast(x, target.dtype),
    )
)
