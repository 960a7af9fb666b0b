"""Operations of ``keras.ops`` that are functions of each entry, or of the entries along axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from portable_nn.converters.keras.held import Held
from portable_nn.converters.keras.layers.activations import applied
from portable_nn.converters.keras.layers.moving import all_places, one_axis, places
from portable_nn.converters.keras.spec import Spec
from portable_nn.core.graph import INTERNAL
from portable_nn.operators import FLOATS, Symbol, constant, emit, integers


def unary(operator: str) -> Callable[..., Held]:
    """A function of each element."""
    return lambda spec, x: x.each(lambda symbol: emit(operator, symbol, name=spec.next_name()))


def function(name: str) -> Callable[..., Held]:
    """An activation."""
    return lambda spec, x: applied(spec, name, x, spec.next_name())


def stop_gradient(spec: Spec, x: Held) -> Held:
    """The same, through which no gradient flows back."""
    if x.dtype not in FLOATS:
        return x
    return x.each(lambda symbol: emit("StopGradient", symbol, name=spec.next_name(), domain=INTERNAL))


def rounded(spec: Spec, x: Held) -> Held:
    """The nearest whole number."""
    spec.only("decimals", 0)
    return unary("Round")(spec, x)


def shrink(spec: Spec, x: Held) -> Held:
    """x - t, x + t or 0 (soft), or x or 0 (hard), from a threshold t on."""
    limit = spec.number("threshold", 0.5)
    bias = limit if spec.kind == "SoftShrink" else 0.0
    return x.each(lambda symbol: emit("Shrink", symbol, lambd=limit, bias=bias, name=spec.next_name()))


def composed(make: Callable[[Symbol], Symbol]) -> Callable[..., Held]:
    """A function of each element, made of several operators."""
    return lambda spec, x: x.each(lambda symbol: emit("Identity", make(symbol), name=spec.next_name()))


def sloped(operator: str, option: str, attribute: str, default: float) -> Callable[..., Held]:
    """An activation with a number."""

    def build(spec: Spec, x: Held) -> Held:
        options = {attribute: spec.number(option, default)}
        return x.each(lambda symbol: emit(operator, symbol, name=spec.next_name(), **options))

    return build


def clip(spec: Spec, x: Held) -> Held:
    """Not below the one number, and not above the other."""
    low, high = (constant(spec.number(option), x.dtype) for option in ("x_min", "x_max"))
    return x.each(lambda symbol: emit("Clip", symbol, low, high, name=spec.next_name()))


def variance(root: bool) -> Callable[..., Held]:
    """Var and Std, of the whole population."""

    def build(spec: Spec, x: Held) -> Held:
        axes = all_places(spec, x.rank)
        keep, plain = int(spec.flag("keepdims")), x.plain
        apart = plain - emit("ReduceMean", plain, integers(axes), keepdims=1)
        made = emit("ReduceMean", apart * apart, integers(axes), keepdims=keep)
        return Held(emit("Sqrt" if root else "Identity", made, name=spec.next_name()))

    return build


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


def normalize(spec: Spec, x: Held) -> Held:
    """Divided by the Euclidean norm along an axis, which is at least ``epsilon``."""
    spec.only("order", 2)
    axis = integers([one_axis(spec, x.rank)])
    least = spec.number("epsilon", 1e-7) if spec.get("epsilon") is not None else 1e-7
    bounded = emit("Max", emit("ReduceL2", x.plain, axis, keepdims=1), constant(least, x.dtype))
    return Held(emit("Div", x.plain, bounded, name=spec.next_name()))


def normalised(operator: str) -> Callable[..., Held]:
    """Softmax and LogSoftmax along an axis."""
    return lambda spec, x: Held(emit(operator, x.plain, axis=one_axis(spec, x.rank), name=spec.next_name()))


def gelu(spec: Spec, x: Held) -> Held:
    """GELU, by the error function or approximated by tanh."""
    kind = "tanh" if spec.flag("approximate", True) else "none"
    return x.each(lambda symbol: emit("Gelu", symbol, approximate=kind, name=spec.next_name()))


OPERATIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "Negative": unary("Neg"),
    "StopGradient": stop_gradient,
    "Round": rounded,
    "Absolute": unary("Abs"),
    "Abs": unary("Abs"),
    "Exp": unary("Exp"),
    "Log": unary("Log"),
    "Sqrt": unary("Sqrt"),
    **{
        name: unary(name)
        for name in ("Sin", "Cos", "Tan", "Sinh", "Cosh", "Floor", "Ceil", "Sign", "Erf", "Reciprocal", "Identity")
    },
    **{f"Arc{name}": unary(f"A{name}") for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "Isnan": unary("IsNaN"),
    "Isinf": unary("IsInf"),
    "Rsqrt": composed(lambda x: emit("Reciprocal", emit("Sqrt", x))),
    "Log1p": composed(lambda x: emit("Log", x + 1.0)),
    "Expm1": composed(lambda x: emit("Exp", x) - 1.0),
    "Log2": composed(lambda x: emit("Log", x) * (1 / math.log(2))),
    "Log10": composed(lambda x: emit("Log", x) * (1 / math.log(10))),
    "Clip": clip,
    "Var": variance(root=False),
    "Std": variance(root=True),
    "Norm": norm,
    "Normalize": normalize,
    "LeakyRelu": sloped("LeakyRelu", "negative_slope", "alpha", 0.2),
    "Elu": sloped("Elu", "alpha", "alpha", 1.0),
    "Celu": sloped("Celu", "alpha", "alpha", 1.0),
    **{
        "".join(map(str.title, name.split("_"))): function(name)
        for name in ("selu", "softsign", "log_sigmoid", "hard_sigmoid", "hard_silu", "hard_tanh", "tanh_shrink", "mish")
    },
    "Square": lambda spec, x: x.each(lambda symbol: emit("Mul", symbol, symbol, name=spec.next_name())),
    "Relu": function("relu"),
    "Relu6": function("relu6"),
    "Sigmoid": function("sigmoid"),
    "Tanh": function("tanh"),
    "Silu": function("silu"),
    "Softplus": function("softplus"),
    "LogicalNot": unary("Not"),
    "Gelu": gelu,
    "Softmax": normalised("Softmax"),
    "LogSoftmax": normalised("LogSoftmax"),
    "SoftShrink": shrink,
    "HardShrink": shrink,
}
"""The function that makes each operation, by the name of its class: ``(operation, argument, …) → tensor``."""
