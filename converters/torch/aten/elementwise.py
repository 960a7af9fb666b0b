"""Operators that compute each element by itself: arithmetic, comparisons, activation functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np

from portable_nn.converters.array import ELEMENTARY, FORMULAS, angle
from portable_nn.converters.torch.aten.rows import ROWS, Use, row
from portable_nn.operators import FLOATS, Symbol, cast, constant, emit, emit_all, integers


def _same(operator: str, use: Use, x: Symbol, **options: Any) -> Symbol:
    if options.get("decimals"):
        use.refuse("rounding to decimals")
    x = use.promoted(x)
    if x.dtype not in FLOATS and use.target.split(".")[1] in {"floor", "ceil", "round"}:
        return x
    return emit(operator, x)


@row(mul="Mul", pow="Pow", maximum="Max", minimum="Min", **{"max.other": "Max", "min.other": "Min"})
def _arithmetic(operator: str, use: Use, a: Any, b: Any) -> Symbol:
    if use.dtype == "bool":
        return emit("And", use.promoted(a), use.promoted(b))
    return emit(operator, use.promoted(a), use.promoted(b))


@row(eq="Equal", lt="Less", le="LessOrEqual", gt="Greater", ge="GreaterOrEqual")
def _comparison(operator: str, use: Use, a: Any, b: Any) -> Symbol:
    common = "int32" if use.common == "bool" and operator != "Equal" else use.common
    return emit(operator, use.promoted(a, common), use.promoted(b, common))


@row("ne")
def _ne(use: Use, a: Any, b: Any) -> Symbol:
    return emit("Not", _comparison("Equal", use, a, b))


@row(logical_and="And", logical_or="Or", logical_xor="Xor")
@row(bitwise_and="And", bitwise_or="Or", bitwise_xor="Xor", __and__="And", __or__="Or", __xor__="Xor")
def _truth(operator: str, use: Use, a: Any, b: Any) -> Symbol:
    if use.dtype == "bool":
        return emit(operator, use.promoted(a, "bool"), use.promoted(b, "bool"))
    return emit(f"Bitwise{operator}", use.promoted(a), use.promoted(b))


@row("logical_not", "bitwise_not")
def _not(use: Use, x: Symbol) -> Symbol:
    return emit("Not", cast(x, "bool")) if use.dtype == "bool" else emit("BitwiseNot", x)


@row(isnan="IsNaN", isinf="IsInf")
def _tested(operator: str, use: Use, x: Symbol) -> Symbol:
    return emit(operator, x)


@row("isfinite")
def _isfinite(use: Use, x: Symbol) -> Symbol:
    return emit("Not", emit("Or", emit("IsNaN", x), emit("IsInf", x)))


@row("add")
def _add(use: Use, a: Any, b: Any, alpha: float = 1) -> Symbol:
    a, b = use.promoted(a), use.promoted(b)
    if use.dtype == "bool":
        return emit("Or", a, b)
    return emit("Add", a, b if alpha == 1 else b * alpha)


@row("sub")
def _sub(use: Use, a: Any, b: Any, alpha: float = 1) -> Symbol:
    b = use.promoted(b)
    return emit("Sub", use.promoted(a), b if alpha == 1 else b * alpha)


@row("rsub")
def _rsub(use: Use, a: Any, b: Any, alpha: float = 1) -> Symbol:
    return _sub(use, b, a, alpha)


@row("div", "true_divide", "divide")
def _div(use: Use, a: Any, b: Any, rounding_mode: str | None = None) -> Symbol:
    a, b = use.promoted(a), use.promoted(b)
    if rounding_mode is None:
        return emit("Div", a, b)
    if rounding_mode == "floor":
        return _floor_divide(use, a, b)
    quotient = emit("Div", a, b)
    return _trunc(use, quotient) if use.dtype in FLOATS else quotient


@row("floor_divide")
def _floor_divide(use: Use, a: Any, b: Any) -> Symbol:
    a, b = use.promoted(a), use.promoted(b)
    if use.dtype in FLOATS:
        return emit("Floor", a / b)
    return emit("Div", a - emit("Mod", a, b), b)  # Mod has the sign of the divisor, as in Python.


@row("remainder")
def _remainder(use: Use, a: Any, b: Any) -> Symbol:
    a, b = use.promoted(a), use.promoted(b)
    return a - emit("Floor", a / b) * b if use.dtype in FLOATS else emit("Mod", a, b)


@row("fmod")
def _fmod(use: Use, a: Any, b: Any) -> Symbol:
    return emit("Mod", use.promoted(a), use.promoted(b), fmod=1)


@row("pow.Tensor_Scalar")
def _power(use: Use, x: Symbol, exponent: float) -> Symbol:
    x = use.promoted(x)
    if exponent == 2:
        return x * x
    if exponent == 0.5 and use.dtype in FLOATS:
        return emit("Sqrt", x)
    return emit("Pow", x, use.promoted(exponent))


@row("trunc")
def _trunc(use: Use, x: Symbol) -> Symbol:
    return emit("Sign", x) * emit("Floor", emit("Abs", x)) if x.dtype in FLOATS else x


@row("frac")
def _frac(use: Use, x: Symbol) -> Symbol:
    return x - _trunc(use, x)


@row("clamp", "clip", "clamp_min", "clamp_max", "hardtanh", "relu6")
def _clamp(use: Use, x: Symbol, min: Any = None, max: Any = None) -> Symbol:
    name = use.target.split(".")[1].rstrip("_")
    low, high = {"clamp_max": (None, min), "relu6": (0, 6)}.get(name, (min, max))
    if name == "hardtanh":
        low, high = -1 if min is None else min, 1 if max is None else max
    x, low, high = use.promoted(x), *(None if each is None else use.promoted(each) for each in (low, high))
    if any(each is not None and each.shape for each in (low, high)):
        x = x if low is None else emit("Max", x, low)
        return x if high is None else emit("Min", x, high)
    return emit("Clip", x, low, high)


@row("where")
def _where(use: Use, condition: Symbol, a: Any, b: Any) -> Symbol:
    return emit("Where", cast(condition, "bool"), use.promoted(a), use.promoted(b))


@row("masked_fill")
def _masked_fill(use: Use, x: Symbol, mask: Symbol, value: Any) -> Symbol:
    return emit("Where", cast(mask, "bool"), use.promoted(value), use.promoted(x))


@row("lerp")
def _lerp(use: Use, start: Symbol, end: Symbol, weight: Any) -> Symbol:
    return start + (end - start) * use.promoted(weight)


@row("addcmul")
def _addcmul(use: Use, x: Symbol, a: Symbol, b: Symbol, value: float = 1) -> Symbol:
    return x + (a * b if value == 1 else a * b * value)


@row("addcdiv")
def _addcdiv(use: Use, x: Symbol, a: Symbol, b: Symbol, value: float = 1) -> Symbol:
    return x + (a / b if value == 1 else a / b * value)


@row("leaky_relu")
def _leaky_relu(use: Use, x: Symbol, negative_slope: float = 0.01) -> Symbol:
    return emit("LeakyRelu", x, alpha=float(negative_slope))


@row("rrelu", "rrelu_with_noise", "rrelu_with_noise_functional")
def _rrelu(use: Use, x: Symbol, *rest: Any, **options: Any) -> Any:
    """With the mean of the slopes that PyTorch draws while it trains."""
    lower, upper = [each for each in rest if isinstance(each, (int, float)) and not isinstance(each, bool)] or (
        options.get("lower", 1 / 8), options.get("upper", 1 / 3)
    )  # fmt: skip
    if lower != upper:
        use.note("RReLU trains with the mean of its slopes, of which PyTorch draws one for each element")
    found = emit("LeakyRelu", x, alpha=(lower + upper) / 2)
    return (found, None) if use.target.startswith("aten.rrelu_with_noise_functional") else found


@row("elu")
def _elu(use: Use, x: Symbol, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Symbol:
    if input_scale != 1:
        use.refuse("an input_scale")
    found = emit("Elu", x, alpha=float(alpha))
    return found if scale == 1 else found * scale


@row("celu")
def _celu(use: Use, x: Symbol, alpha: float = 1.0) -> Symbol:
    if x.dtype == "float32":
        return emit("Celu", x, alpha=float(alpha))
    return emit("Elu", x / alpha) * alpha  # ONNX has Celu for float32 alone.


@row("gelu")
def _gelu(use: Use, x: Symbol, approximate: str = "none") -> Symbol:
    return emit("Gelu", x, approximate=approximate)


@row("hardsigmoid")
def _hardsigmoid(use: Use, x: Symbol) -> Symbol:
    return emit("HardSigmoid", x, alpha=1 / 6, beta=0.5)


@row("softplus")
def _softplus(use: Use, x: Symbol, beta: float = 1, threshold: float = 20) -> Symbol:
    """x where β·x is above the threshold; log(1 + exp(β·x)) / β is that already above the usual one."""
    scaled = x if beta == 1 else x * beta
    found = emit("Softplus", scaled) if beta == 1 else emit("Softplus", scaled) / beta
    if threshold >= _NEARLY_LINEAR:
        return found
    return emit("Where", emit("Greater", scaled, constant(threshold, x.dtype)), x, found)


_NEARLY_LINEAR: Final = 20
"""From there on, log(1 + exp(x)) is x to 2e-9."""


@row(softshrink=True, hardshrink=False)
def _shrink(is_soft: bool, use: Use, x: Symbol, lambd: float = 0.5) -> Symbol:
    return emit("Shrink", x, lambd=float(lambd), bias=float(lambd) if is_soft else 0.0)


@row("threshold")
def _threshold(use: Use, x: Symbol, threshold: float, value: float) -> Symbol:
    return emit("Where", emit("Greater", x, constant(threshold, x.dtype)), x, constant(value, x.dtype))


@row("prelu")
def _prelu(use: Use, x: Symbol, weight: Symbol) -> Symbol:
    if len(x.shape) > 2 and weight.shape != (1,):
        weight = emit("Reshape", weight, integers([-1, *[1] * (len(x.shape) - 2)]))
    return emit("PRelu", x, weight)


@row("glu")
def _glu(use: Use, x: Symbol, dim: int = -1) -> Symbol:
    value, gate = emit_all("Split", x, outputs=2, axis=dim, num_outputs=2)
    return value * emit("Sigmoid", gate)


@row("nan_to_num")
def _nan_to_num(
    use: Use, x: Symbol, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Symbol:
    """Infinities without a value become the largest and the least number of the type."""
    if x.dtype not in FLOATS:
        return x
    limits = np.finfo(x.dtype)
    posinf = float(limits.max) if posinf is None else posinf
    neginf = float(limits.min) if neginf is None else neginf
    x = emit("Where", emit("IsNaN", x), constant(nan or 0, x.dtype), x)
    x = emit("Where", emit("IsInf", x, detect_negative=0), constant(posinf, x.dtype), x)
    return emit("Where", emit("IsInf", x, detect_positive=0), constant(neginf, x.dtype), x)


@row("atan2")
def _atan2(use: Use, y: Symbol, x: Symbol) -> Symbol:
    return angle(use.promoted(y), use.promoted(x))


_OTHERS: Final = {"neg": "Neg", "reciprocal": "Reciprocal", "mish": "Mish", "selu": "Selu", "silu": "Swish"}
"""Operators of one input that array code has no function for."""

for _name, _operator in {**ELEMENTARY, **_OTHERS, "hardswish": "HardSwish"}.items():
    ROWS.setdefault(_name, partial(_same, _operator))


@row(**FORMULAS, log_sigmoid=lambda x: -emit("Softplus", -x), tanhshrink=lambda x: x - emit("Tanh", x))
def _formula(make: Callable[[Symbol], Symbol], use: Use, x: Symbol) -> Symbol:
    return make(use.promoted(x))
