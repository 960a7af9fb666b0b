"""Keras's activations, as functions by name and as layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from portable_nn import layers
from portable_nn.converters.keras.held import Held
from portable_nn.converters.keras.layers.rows import LAYERS
from portable_nn.converters.keras.spec import Spec
from portable_nn.converters.rows import Rows
from portable_nn.core.errors import RefusalError
from portable_nn.core.graph import format_shape
from portable_nn.layers.layer import Layer, OperatorLayer
from portable_nn.operators import Symbol, constant, emit

Activation: TypeAlias = Callable[[Symbol], Symbol]


class _Composed(Layer):
    """A function of several nodes, of which the last bears the name."""

    def __init__(self, name: str, make: Callable[[Layer, Symbol], Symbol]) -> None:
        super().__init__(name)
        self._make = make

    def __call__(self, x: Symbol) -> Symbol:
        return self._make(self, x)


def _composed(make: Callable[[Layer, Symbol], Symbol]) -> Callable[[str], Layer]:
    return lambda name: _Composed(name, make)


def _squareplus(layer: Layer, x: Symbol) -> Symbol:
    return layer.emit("Mul", x + emit("Sqrt", x * x + 4.0), constant(0.5, x.dtype))


_BY_ELEMENT: Final[Mapping[str, Callable[[str], Layer]]] = {
    "relu": lambda name: layers.ReLU(name=name),
    "relu6": lambda name: layers.ReLU6(name=name),
    "leaky_relu": lambda name: layers.LeakyReLU(0.2, name=name),
    "elu": lambda name: layers.ELU(name=name),
    "selu": lambda name: layers.SELU(name=name),
    "celu": lambda name: layers.CELU(name=name),
    "gelu": lambda name: layers.GELU(name=name),
    "softplus": lambda name: layers.Softplus(name=name),
    "softsign": lambda name: layers.Softsign(name=name),
    "silu": lambda name: layers.SiLU(name=name),
    "swish": lambda name: layers.SiLU(name=name),
    "sigmoid": lambda name: layers.Sigmoid(name=name),
    "tanh": lambda name: layers.Tanh(name=name),
    "exponential": lambda name: OperatorLayer("Exp", "exp", name),
    "hard_sigmoid": lambda name: layers.Hardsigmoid(name=name),
    "hard_silu": lambda name: layers.Hardswish(name=name),
    "hard_swish": lambda name: layers.Hardswish(name=name),
    "hard_tanh": lambda name: layers.Hardtanh(name=name),
    "hard_shrink": lambda name: layers.Hardshrink(name=name),
    "soft_shrink": lambda name: layers.Softshrink(name=name),
    "mish": lambda name: layers.Mish(name=name),
    "log_sigmoid": _composed(lambda layer, x: layer.emit("Neg", emit("Softplus", -x))),
    "tanh_shrink": _composed(lambda layer, x: layer.emit("Sub", x, emit("Tanh", x))),
    "squareplus": _composed(_squareplus),
}
"""The functions that work element by element: the layer of each, for the name of its node."""

_OF_LAST: Final[Mapping[str, Callable[[str], Layer]]] = {
    "softmax": lambda name: layers.Softmax(-1, name=name),
    "log_softmax": lambda name: layers.LogSoftmax(-1, name=name),
}
"""Those over the last axis."""

_ACTIVATIONS: Final = Rows()
"""The layers that may be the activation of another one."""

NAMES: Final = frozenset({*_BY_ELEMENT, *_OF_LAST, "linear"})
"""The names of all functions that are known."""


def activated(spec: Spec, x: Held, option: str = "activation") -> Held:
    """``x`` after the activation of a layer: a function by its name, or a layer."""
    found = spec.get(option)
    if isinstance(found, Mapping) and found.get("class_name") in _ACTIVATIONS:
        kind = str(found["class_name"])
        inner = spec.inside(dict(found.get("config") or {}), kind, f"{spec.name}.activation", option)
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
    """``x`` after a function by its name."""
    if function in _BY_ELEMENT:
        return x.each(spec.once(lambda: _BY_ELEMENT[function](name), name))
    if function in _OF_LAST:
        return Held(spec.once(lambda: _OF_LAST[function](name), name)(x.plain), mask=x.mask)
    return x


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

    return _Composed(name, make)


@_ACTIVATIONS.row("LeakyReLU")
def _leaky_relu(spec: Spec, x: Held) -> Held:
    slope = spec.number("negative_slope", spec.number("alpha", 0.3))
    return x.each(spec.once(lambda: layers.LeakyReLU(slope, name=spec.name)))


@_ACTIVATIONS.row("ELU")
def _elu(spec: Spec, x: Held) -> Held:
    alpha = spec.number("alpha", 1.0)
    return x.each(spec.once(lambda: layers.ELU(alpha, name=spec.name)))


class _PRelu(Layer):
    """A slope for each of the entries of an example, but for those along shared axes."""

    def __init__(self, name: str, slope: Any) -> None:
        super().__init__(name)
        self.slope = slope

    def __call__(self, x: Symbol) -> Symbol:
        return self.emit("PRelu", x, self.parameter("weight", self.slope.shape, x.dtype, self.slope))


@_ACTIVATIONS.row("PReLU")
def _prelu(spec: Spec, x: Held) -> Held:
    shared = spec.get("shared_axes") or []
    if not isinstance(shared, list) or any(type(axis) is not int for axis in shared):
        spec.refuse(f"its option shared_axes must be whole numbers, not {shared!r:.60}")
    sizes = [1 if axis in shared else size for axis, size in enumerate(x.shape)][1:]
    layer = spec.once(lambda: _PRelu(spec.name, spec.weight(*sizes)))
    return Held(layer(x.plain), mask=x.mask)


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


@_ACTIVATIONS.row("ThresholdedReLU")
def _thresholded(spec: Spec, x: Held) -> Held:
    theta = spec.number("theta", 1.0)
    return x.each(spec.once(lambda: layers.ThresholdedReLU(theta, name=spec.name)))


for _name, _function in _ACTIVATIONS.items():
    LAYERS.row(_name)(_function)
