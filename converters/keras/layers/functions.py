"""Operations of ``keras.ops`` that are functions of each entry, or of the entries along axes."""

from __future__ import annotations

from collections.abc import Callable

from portable_nn.converters.array import FORMULAS
from portable_nn.converters.keras.layers.activations import applied
from portable_nn.converters.keras.layers.moving import all_places, one_axis, places
from portable_nn.converters.keras.spec import OPERATIONS, Held, Spec
from portable_nn.core.graph import INTERNAL
from portable_nn.operators import FLOATS, Symbol, constant, emit, integers


@OPERATIONS.row(
    Absolute="Abs", Arccos="Acos", Arccosh="Acosh", Arcsin="Asin", Arcsinh="Asinh", Arctan="Atan", Arctanh="Atanh",
    Isinf="IsInf", Isnan="IsNaN", LogicalNot="Not", Negative="Neg",
)  # fmt: skip
def unary(operator: str, spec: Spec, x: Held) -> Held:
    """A function of each element."""
    return x.each(lambda symbol: emit(operator, symbol, name=spec.next_name()))


@OPERATIONS.row(
    "Abs", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "Identity", "Log", "Reciprocal", "Sign", "Sin", "Sinh", "Sqrt",
    "Tan",
)  # fmt: skip
def same_name(spec: Spec, x: Held) -> Held:
    """A function of each element that the standard has by the same name."""
    return unary(spec.kind, spec, x)


@OPERATIONS.row(
    HardSigmoid="hard_sigmoid", HardSilu="hard_silu", HardTanh="hard_tanh", LogSigmoid="log_sigmoid", Mish="mish",
    Relu="relu", Relu6="relu6", Selu="selu", Sigmoid="sigmoid", Silu="silu", Softplus="softplus", Softsign="softsign",
    Tanh="tanh", TanhShrink="tanh_shrink",
)  # fmt: skip
def function(name: str, spec: Spec, x: Held) -> Held:
    """An activation."""
    return applied(spec, name, x, spec.next_name())


@OPERATIONS.row("Square")
def square(spec: Spec, x: Held) -> Held:
    """x · x."""
    return x.each(lambda symbol: emit("Mul", symbol, symbol, name=spec.next_name()))


@OPERATIONS.row("StopGradient")
def stop_gradient(spec: Spec, x: Held) -> Held:
    """The same, through which no gradient flows back."""
    if x.dtype not in FLOATS:
        return x
    return x.each(lambda symbol: emit("StopGradient", symbol, name=spec.next_name(), domain=INTERNAL))


@OPERATIONS.row("Round")
def rounded(spec: Spec, x: Held) -> Held:
    """The nearest whole number."""
    spec.only("decimals", 0)
    return unary("Round", spec, x)


@OPERATIONS.row("SoftShrink", "HardShrink")
def shrink(spec: Spec, x: Held) -> Held:
    """x - t, x + t or 0 (soft), or x or 0 (hard), from a threshold t on."""
    limit = spec.number("threshold", 0.5)
    bias = limit if spec.kind == "SoftShrink" else 0.0
    return x.each(lambda symbol: emit("Shrink", symbol, lambd=limit, bias=bias, name=spec.next_name()))


@OPERATIONS.row(**{name.capitalize(): FORMULAS[name] for name in ("expm1", "log1p", "log2", "log10", "rsqrt")})
def composed(make: Callable[[Symbol], Symbol], spec: Spec, x: Held) -> Held:
    """A function of each element, made of several operators."""
    return x.each(lambda symbol: emit("Identity", make(symbol), name=spec.next_name()))


@OPERATIONS.row(LeakyRelu=("negative_slope", 0.2), Elu=("alpha", 1.0), Celu=("alpha", 1.0))
def sloped(option: tuple[str, float], spec: Spec, x: Held) -> Held:
    """An activation with a number."""
    alpha = spec.number(*option)
    return x.each(lambda symbol: emit(spec.kind, symbol, name=spec.next_name(), alpha=alpha))


@OPERATIONS.row("Clip")
def clip(spec: Spec, x: Held) -> Held:
    """Not below the one number, and not above the other."""
    low, high = (constant(spec.number(option), x.dtype) for option in ("x_min", "x_max"))
    return x.each(lambda symbol: emit("Clip", symbol, low, high, name=spec.next_name()))


@OPERATIONS.row(Var="Identity", Std="Sqrt")
def variance(operator: str, spec: Spec, x: Held) -> Held:
    """Var and Std, of the whole population."""
    axes = all_places(spec, x.rank)
    keep, plain = int(spec.flag("keepdims")), x.plain
    apart = plain - emit("ReduceMean", plain, integers(axes), keepdims=1)
    made = emit("ReduceMean", apart * apart, integers(axes), keepdims=keep)
    return Held(emit(operator, made, name=spec.next_name()))


@OPERATIONS.row("Norm")
def norm(spec: Spec, x: Held) -> Held:
    """The norm of vectors along one axis."""
    order = spec.get("ord")
    if order not in (None, 1, 2, "fro") or type(order) is bool:
        spec.refuse(f"its option ord={order!r:.60} has no counterpart here")
    if spec.get("axis") is None or len(found := places(spec, "axis", x.rank)) != 1:
        spec.refuse("its norm is not that of vectors along one axis")
    keep = int(spec.flag("keepdims"))
    return Held(
        emit(f"ReduceL{order if order == 1 else 2}", x.plain, integers(found), keepdims=keep, name=spec.next_name())
    )


@OPERATIONS.row("Normalize")
def normalize(spec: Spec, x: Held) -> Held:
    """Divided by the Euclidean norm along an axis, which is at least ``epsilon``."""
    spec.only("order", 2)
    axis = integers([one_axis(spec, x.rank)])
    least = spec.number("epsilon", 1e-7) if spec.get("epsilon") is not None else 1e-7
    bounded = emit("Max", emit("ReduceL2", x.plain, axis, keepdims=1), constant(least, x.dtype))
    return Held(emit("Div", x.plain, bounded, name=spec.next_name()))


@OPERATIONS.row("Softmax", "LogSoftmax")
def normalised(spec: Spec, x: Held) -> Held:
    """Softmax and LogSoftmax along an axis."""
    return Held(emit(spec.kind, x.plain, axis=one_axis(spec, x.rank), name=spec.next_name()))


@OPERATIONS.row("Gelu")
def gelu(spec: Spec, x: Held) -> Held:
    """GELU, by the error function or approximated by tanh."""
    kind = "tanh" if spec.flag("approximate", True) else "none"
    return x.each(lambda symbol: emit("Gelu", symbol, approximate=kind, name=spec.next_name()))
