"""Activation functions. They work element by element and keep the shape, but ``Softmax`` and ``LogSoftmax``."""

from __future__ import annotations

from portable_nn.core.arguments import check_layer
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.numbers import Count, Finite, Integer, NonNegative
from portable_nn.layers.layer import Layer, OperatorLayer
from portable_nn.operators import Symbol, constant, emit, integers

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "SELU",
    "Clip",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "ThresholdedReLU",
]


@check_layer
def ReLU(*, name: str | None = None) -> Layer:
    """Rectified linear unit: max(x, 0)."""
    return OperatorLayer("Relu", "relu", name)


@check_layer
def LeakyReLU(alpha: Finite = 0.01, *, name: str | None = None) -> Layer:
    """Leaky ReLU: x where x > 0, alpha·x elsewhere. Source: Maas et al. (2013).

    Args:
        alpha: the slope for negative x, PyTorch's ``negative_slope``.
        name: the name of the node.

    Raises ``UsageError`` where ``alpha`` is not a finite number.
    """
    return OperatorLayer("LeakyRelu", "leaky_relu", name, alpha=float(alpha))


@check_layer
def ThresholdedReLU(alpha: Finite = 1.0, *, name: str | None = None) -> Layer:
    """Thresholded ReLU: x where x > alpha, 0 elsewhere. Source: Konda et al. (2014), arXiv:1402.3337.

    Args:
        alpha: the threshold.
        name: the name of the node.

    Raises ``UsageError`` where ``alpha`` is not a finite number.
    """
    return OperatorLayer("ThresholdedRelu", "thresholded_relu", name, alpha=float(alpha))


@check_layer
def ELU(alpha: Finite = 1.0, *, name: str | None = None) -> Layer:
    """Exponential linear unit: x where x > 0, alpha·(exp(x) - 1) elsewhere.

    Source: Clevert et al. (2015), arXiv:1511.07289.

    Args:
        alpha: for very negative x the result approaches -alpha.
        name: the name of the node.

    Raises ``UsageError`` where ``alpha`` is not a finite number.
    """
    return OperatorLayer("Elu", "elu", name, alpha=float(alpha))


class SELU(Layer):
    """Scaled ELU: 1.0507·x where x > 0, 1.7581·(exp(x) - 1) elsewhere.

    With weights of mean 0 and variance 1 / inputs (``lecun_normal``) it drives activations towards mean 0 and variance
    1. Source: Klambauer et al., "Self-normalizing neural networks" (2017), arXiv:1706.02515.
    """

    alpha, gamma = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name)

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        if x.dtype != "float64":
            return self.emit("Selu", x)
        below = emit("Elu", emit("Clip", x, None, constant(0, x.dtype)))  # Selu's attributes are in single precision.
        return self.emit("Add", emit("Relu", x) * self.gamma, below * (self.gamma * self.alpha))


class CELU(Layer):
    """Continuously differentiable ELU: x where x > 0, alpha·(exp(x / alpha) - 1) elsewhere.

    Source: Barron (2017), arXiv:1704.07483.

    Args:
        alpha: for very negative x the result approaches -alpha.
        name: the name of the node.

    Raises ``UsageError`` where ``alpha`` is 0 or not a finite number.
    """

    def __init__(self, alpha: Finite = 1.0, *, name: str | None = None) -> None:
        super().__init__(name)
        self.alpha = float(alpha)
        if self.alpha == 0:
            raise UsageError("CELU: alpha must not be 0: x is divided by it")

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        if x.dtype == "float32":
            return self.emit("Celu", x, alpha=self.alpha)
        return self.emit("Mul", emit("Elu", x / self.alpha), constant(self.alpha, x.dtype))  # Celu takes float32 alone.


@check_layer
def GELU(approximate: str = "none", *, name: str | None = None) -> Layer:
    """Gaussian error linear unit: x · Φ(x), where Φ is the distribution function of the standard normal distribution.

    Source: Hendrycks and Gimpel (2016), arXiv:1606.08415.

    Args:
        approximate: ``"none"`` for Φ(x) = (1 + erf(x / √2)) / 2, or ``"tanh"`` for
            Φ(x) ≈ (1 + tanh(√(2 / π) · (x + 0.044715·x³))) / 2.
        name: the name of the node.

    Raises ``UsageError`` for any other ``approximate``.
    """
    if approximate not in {"none", "tanh"}:
        raise UsageError(f"GELU: approximate must be 'none' or 'tanh', not {approximate!r}")
    return OperatorLayer("Gelu", "gelu", name, approximate=approximate)


@check_layer
def Sigmoid(*, name: str | None = None) -> Layer:
    """The logistic function: 1 / (1 + exp(-x)), between 0 and 1."""
    return OperatorLayer("Sigmoid", "sigmoid", name)


class Hardsigmoid(Layer):
    """A piecewise linear sigmoid: x / 6 + 1 / 2, clipped to 0 … 1."""

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name)

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        if x.dtype != "float64":
            return self.emit("HardSigmoid", x, alpha=1 / 6, beta=0.5)
        bounds = constant(0, x.dtype), constant(6, x.dtype)  # The attributes of HardSigmoid are in single precision.
        return self.emit("Div", emit("Clip", x + 3, *bounds), constant(6, x.dtype))


@check_layer
def SiLU(*, name: str | None = None) -> Layer:
    """Sigmoid linear unit, also called Swish: x · sigmoid(x). Source: Elfwing et al. (2017), arXiv:1702.03118."""
    return OperatorLayer("Swish", "silu", name)


@check_layer
def Hardswish(*, name: str | None = None) -> Layer:
    """x · Hardsigmoid(x). Source: Howard et al., "Searching for MobileNetV3" (2019), arXiv:1905.02244."""
    return OperatorLayer("HardSwish", "hardswish", name)


@check_layer
def Mish(*, name: str | None = None) -> Layer:
    """x · tanh(Softplus(x)) = x · tanh(log(1 + exp(x))). Source: Misra (2019), arXiv:1908.08681."""
    return OperatorLayer("Mish", "mish", name)


@check_layer
def Tanh(*, name: str | None = None) -> Layer:
    """The hyperbolic tangent, between -1 and 1."""
    return OperatorLayer("Tanh", "tanh", name)


@check_layer
def Softplus(*, name: str | None = None) -> Layer:
    """A smooth ReLU: log(1 + exp(x))."""
    return OperatorLayer("Softplus", "softplus", name)


@check_layer
def Softsign(*, name: str | None = None) -> Layer:
    """x / (1 + |x|), between -1 and 1."""
    return OperatorLayer("Softsign", "softsign", name)


@check_layer
def Softshrink(lambd: NonNegative = 0.5, *, name: str | None = None) -> Layer:
    """Soft thresholding: x - lambd where x > lambd, x + lambd where x < -lambd, 0 elsewhere.

    Args:
        lambd: the threshold λ, at least 0; spelled as PyTorch and ONNX spell it.
        name: the name of the node.

    Raises ``UsageError`` where ``lambd`` is negative or not a finite number.
    """
    return OperatorLayer("Shrink", "softshrink", name, lambd=float(lambd), bias=float(lambd))


@check_layer
def Hardshrink(lambd: Finite = 0.5, *, name: str | None = None) -> Layer:
    """Hard thresholding: x where |x| > lambd, 0 elsewhere.

    Args:
        lambd: the threshold λ; spelled as PyTorch and ONNX spell it.
        name: the name of the node.

    Raises ``UsageError`` where ``lambd`` is not a finite number.
    """
    return OperatorLayer("Shrink", "hardshrink", name, lambd=float(lambd))


class Clip(Layer):
    """min(max(x, lower bound), upper bound).

    The gradient is 0 at two bounds and beyond, as that of ``ReLU6`` and ``Hardtanh``; at a single bound it is 1.

    Args:
        min: the lower bound; none by default.
        max: the upper bound; none by default. Where it is below ``min``, every element becomes ``max``.
        name: the name of the node.

    Raises ``UsageError`` where a bound is not a finite number.
    """

    def __init__(self, min: Finite | None = None, max: Finite | None = None, *, name: str | None = None) -> None:
        super().__init__(name)
        self.bounds = [None if value is None else float(value) for value in (min, max)]

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        return self.emit("Clip", x, *(None if value is None else constant(value, x.dtype) for value in self.bounds))


@check_layer
def ReLU6(*, name: str | None = None) -> Layer:
    """ReLU with an upper bound: min(max(x, 0), 6). Source: Krizhevsky (2010)."""
    return Clip(0, 6, name=name)


@check_layer
def Hardtanh(min_val: Finite = -1.0, max_val: Finite = 1.0, *, name: str | None = None) -> Layer:
    """A piecewise linear tanh: min(max(x, min_val), max_val).

    Args:
        min_val: the lower bound.
        max_val: the upper bound.
        name: the name of the node.

    Raises ``UsageError`` where a bound is not a finite number.
    """
    return Clip(min_val, max_val, name=name)


class PReLU(Layer):
    """Parametric ReLU: x where x > 0, weight·x elsewhere; the weight is trained.

    Parameter: ``weight`` (num_parameters,). Source: He et al., "Delving deep into rectifiers" (2015), arXiv:1502.01852.

    Args:
        num_parameters: 1 for one weight, or the number of channels of (batch, channels, …) for one a channel.
        init: the first value of every weight.
        name: the name of the node.

    Raises ``UsageError`` for a count that is no positive whole number or an ``init`` that is not finite, and
    ``GraphError`` where the input has more or fewer channels than there are weights.
    """

    def __init__(self, num_parameters: Count = 1, init: Finite = 0.25, *, name: str | None = None) -> None:
        super().__init__(name)
        self.num_parameters = int(num_parameters)
        self.init = float(init)

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        count, rank = self.num_parameters, len(x.shape)
        if count > 1 and (rank < 2 or x.shape[1] != count):
            raise self.invalid(f"its {count} weights need (batch, {count}, …), not {format_shape(x.shape)}")
        weight = self.parameter("weight", (count,), x.dtype, self.init)
        slope = emit("Reshape", weight, integers([count, *[1] * (rank - 2)])) if count > 1 and rank > 2 else weight
        return self.emit("PRelu", x, slope)


@check_layer
def Softmax(axis: Integer = -1, *, name: str | None = None) -> Layer:
    """exp(x) / Σ exp(x): positive numbers whose sum along ``axis`` is 1. The shape stays the same.

    Args:
        axis: the axis, PyTorch's ``dim``.
        name: the name of the node.

    The loss ``cross_entropy`` includes it: a network that is trained with this loss ends without a Softmax.
    """
    return OperatorLayer("Softmax", "softmax", name, axis=axis)


@check_layer
def LogSoftmax(axis: Integer = -1, *, name: str | None = None) -> Layer:
    """log(Softmax(x)) = x - log Σ exp(x) along ``axis``. The shape stays the same.

    Args:
        axis: the axis, PyTorch's ``dim``.
        name: the name of the node.
    """
    return OperatorLayer("LogSoftmax", "log_softmax", name, axis=axis)
