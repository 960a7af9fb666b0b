"""Keras's activations, as functions by name and as layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from portable_nn import layers
from portable_nn.converters.keras.spec import LAYERS, Held, Spec, config_of
from portable_nn.converters.rows import Rows
from portable_nn.core.errors import RefusalError
from portable_nn.core.graph import format_shape
from portable_nn.layers.layer import Layer, OperatorLayer
from portable_nn.operators import Symbol, constant, emit

Activation: TypeAlias = Callable[[Symbol], Symbol]


class Composed(Layer):
    """A function of several nodes, or of weights, whose last node bears the name."""

    def __init__(self, name: str, make: Callable[[Layer, Symbol], Symbol]) -> None:
        super().__init__(name)
        self._make = make

    def __call__(self, x: Symbol) -> Symbol:
        """The result of the function for ``x``."""
        return self._make(self, x)


_LAYERS: Final[Mapping[str, str]] = {
    "relu": "ReLU",
    "relu6": "ReLU6",
    "elu": "ELU",
    "selu": "SELU",
    "celu": "CELU",
    "gelu": "GELU",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "silu": "SiLU",
    "swish": "SiLU",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "hard_sigmoid": "Hardsigmoid",
    "hard_silu": "Hardswish",
    "hard_swish": "Hardswish",
    "hard_tanh": "Hardtanh",
    "hard_shrink": "Hardshrink",
    "soft_shrink": "Softshrink",
    "mish": "Mish",
    "softmax": "Softmax",
    "log_softmax": "LogSoftmax",
}
"""The functions that are layers here."""

_COMPOSED: Final[Mapping[str, Callable[[Layer, Symbol], Symbol]]] = {
    "leaky_relu": lambda layer, x: layer.emit("LeakyRelu", x, alpha=0.2),
    "exponential": lambda layer, x: layer.emit("Exp", x),
    "log_sigmoid": lambda layer, x: layer.emit("Neg", emit("Softplus", -x)),
    "tanh_shrink": lambda layer, x: layer.emit("Sub", x, emit("Tanh", x)),
    "squareplus": lambda layer, x: layer.emit("Mul", x + emit("Sqrt", x * x + 4.0), constant(0.5, x.dtype)),
}
"""Those that are nodes."""

_ACTIVATIONS: Final = Rows()
"""The layers that may be the activation of another one."""

NAMES: Final = frozenset({*_LAYERS, *_COMPOSED, "linear"})
"""The names of all functions that are known."""


def activated(spec: Spec, x: Held, option: str = "activation") -> Held:
    """``x`` after the activation of a layer: a function by its name, or a layer."""
    found = spec.get(option)
    if isinstance(found, Mapping) and found.get("class_name") in _ACTIVATIONS:
        kind = str(found["class_name"])
        inner = spec.inside(dict(config_of(found)), kind, f"{spec.name}.activation", option)
        result: Held = _ACTIVATIONS[kind](inner, x)
        inner.check_options()
        return result
    return applied(spec, function_name(found), x, f"{spec.name}.{option}")


def function_name(found: object) -> str:
    """The name of a function in a configuration. Raises ``RefusalError`` for one that is none of Keras's own."""
    if found is None:
        return "linear"
    if isinstance(found, Mapping):  # As Keras writes functions: with their name, or a registered object.
        registered = found.get("registered_name")
        name = found.get("config") if found.get("class_name") == "function" else found.get("class_name")
        if found.get("class_name") == "function" and registered not in (None, name, "function"):
            raise RefusalError(f"its activation '{registered}' is an object of its own: code is not taken over")
    else:
        name = found
    if not isinstance(name, str) or name not in NAMES:
        raise RefusalError(f"its activation {name!r:.80} is none that is known here")
    return name


def applied(spec: Spec, function: str, x: Held, name: str) -> Held:
    """``x`` after a function by its name, which is one of each element, or of the last axis."""
    if function == "linear":
        return x
    kind = _LAYERS.get(function)
    layer = spec.once(lambda: getattr(layers, kind)(name=name) if kind else Composed(name, _COMPOSED[function]), name)
    return Held(layer(x.plain), mask=x.mask) if function.endswith("softmax") else x.each(layer)


# -- the layers


@_ACTIVATIONS.row("Activation")
def _activation(spec: Spec, x: Held) -> Held:
    found = spec.get("activation")
    if isinstance(found, Mapping) and found.get("class_name") in _ACTIVATIONS:
        return activated(spec, x)
    function = function_name(found)
    if function == "linear":
        return x.each(spec.once(lambda: OperatorLayer("Identity", "identity", spec.name)))
    return applied(spec, function, x, spec.name)


@_ACTIVATIONS.row("ReLU")
def _relu(spec: Spec, x: Held) -> Held:
    most = None if spec.get("max_value") is None else spec.number("max_value")
    slope, threshold = spec.number("negative_slope"), spec.number("threshold")
    return x.each(spec.once(lambda: _relu_layer(spec.name, most, slope, threshold)))


def _relu_layer(name: str, most: float | None, slope: float, threshold: float) -> Layer:
    """x clipped at ``most`` above ``threshold``, otherwise slope · (x - threshold), as Keras computes it."""
    if threshold == 0 and slope == 0:
        return layers.ReLU(name=name) if most is None else layers.Clip(0, most, name=name)
    if threshold == 0 and most is None:
        return layers.LeakyReLU(slope, name=name)
    if slope == 0 and most is None:
        return layers.ThresholdedReLU(threshold, name=name)

    def make(layer: Layer, x: Symbol) -> Symbol:
        above = emit("Greater", x, constant(threshold, x.dtype))
        top = x if most is None else emit("Min", x, constant(most, x.dtype))
        return layer.emit("Where", above, top, (x - threshold) * slope)

    return Composed(name, make)


@_ACTIVATIONS.row("LeakyReLU")
def _leaky_relu(spec: Spec, x: Held) -> Held:
    slope = spec.number("negative_slope", spec.number("alpha", 0.3))
    return x.each(spec.once(lambda: layers.LeakyReLU(slope, name=spec.name)))


@_ACTIVATIONS.row(ELU=("alpha", 1.0), ThresholdedReLU=("theta", 1.0))
def _with_a_number(option: tuple[str, float], spec: Spec, x: Held) -> Held:
    number = spec.number(*option)
    return x.each(spec.once(lambda: getattr(layers, spec.kind)(number, name=spec.name)))


@_ACTIVATIONS.row("PReLU")
def _prelu(spec: Spec, x: Held) -> Held:
    """A slope for each of the entries of an example, but for those along shared axes."""
    shared = spec.listed("shared_axes", spec.get("shared_axes") or [])
    sizes = [1 if axis in shared else size for axis, size in enumerate(x.shape)][1:]

    def make() -> Layer:
        slope = spec.weight(*sizes)
        return Composed(
            spec.name, lambda layer, x: layer.emit("PRelu", x, layer.parameter("weight", slope.shape, x.dtype, slope))
        )

    return Held(spec.once(make)(x.plain), mask=x.mask)


@_ACTIVATIONS.row("Softmax")
def _softmax(spec: Spec, x: Held, *masks: Held) -> Held:
    """The softmax with a mask: hidden entries are as low as Keras has them before, and 0 behind, also where all are
    hidden."""
    axis = spec.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if type(axis) is not int:
        spec.refuse("a Softmax over several axes has no counterpart here")
    seen = masks[0].plain if masks else x.mask
    plain = x.plain
    if seen is None:
        return Held(spec.once(lambda: layers.Softmax(axis, name=spec.name))(plain))
    if seen.dtype != "bool":
        seen = emit("Greater", seen, constant(0.5, seen.dtype))
    fits = [one == 1 or one == other for one, other in zip(seen.shape[::-1], plain.shape[::-1], strict=False)]
    if len(seen.shape) > len(plain.shape) or not all(fits):
        spec.refuse(f"a mask of {format_shape(seen.shape)} does not fit {format_shape(plain.shape)}")
    low = emit("Where", seen, plain, constant(-3e4 if x.dtype == "float16" else -1e9, x.dtype))
    made = spec.once(lambda: layers.Softmax(axis, name=spec.name))(low)
    return Held(emit("Where", seen, made, constant(0, x.dtype)), mask=x.mask if len(seen.shape) == 2 else None)


for _name, _function in _ACTIVATIONS.items():
    LAYERS.row(_name)(_function)
