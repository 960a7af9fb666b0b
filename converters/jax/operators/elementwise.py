"""Arithmetic, comparisons and activation functions in JAX."""

from __future__ import annotations

import operator as python
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp

from portable_nn.converters.jax.operators.table import Use, plain, row
from portable_nn.operators import ONNX_DTYPES


def absolute(x: Any) -> Any:
    """|x|, whose slope at 0 is 0, as that of the kernel; that of JAX is 1."""
    return x * jnp.sign(x)


def _below(x: Any) -> Any:
    """x where it is not above 0, and 0 elsewhere: at 0 the slope of what is computed of it counts."""
    return jnp.where(x > 0, jnp.zeros((), x.dtype), x)


plain("Abs", absolute)
plain("Ceil", jnp.ceil)
plain("Cos", jnp.cos)
plain("Cosh", jnp.cosh)
plain("Exp", jnp.exp)
plain("Floor", jnp.floor)
plain("Log", jnp.log)
plain("Round", jnp.round)
plain("Sign", jnp.sign)
plain("Sin", jnp.sin)
plain("Sinh", jnp.sinh)
plain("Sqrt", jnp.sqrt)
plain("Tan", jnp.tan)
plain("Acos", jnp.arccos)
plain("Acosh", jnp.arccosh)
plain("Asin", jnp.arcsin)
plain("Asinh", jnp.arcsinh)
plain("Atan", jnp.arctan)
plain("Atanh", jnp.arctanh)
plain("Add", jnp.add)
plain("Sub", jnp.subtract)
plain("Mul", jnp.multiply)
plain("Neg", jnp.negative)
plain("Reciprocal", lambda x: 1 / x)
plain("Identity", lambda x: x)
plain("StopGradient", jax.lax.stop_gradient)
plain("Tanh", jnp.tanh)
plain("Erf", jax.scipy.special.erf)
plain("And", jnp.logical_and)
plain("Or", jnp.logical_or)
plain("Xor", jnp.logical_xor)
plain("Not", jnp.logical_not)
plain("BitwiseAnd", jnp.bitwise_and)
plain("BitwiseOr", jnp.bitwise_or)
plain("BitwiseXor", jnp.bitwise_xor)
plain("BitwiseNot", jnp.bitwise_not)
plain("Equal", jnp.equal)
plain("Greater", jnp.greater)
plain("GreaterOrEqual", jnp.greater_equal)
plain("Less", jnp.less)
plain("LessOrEqual", jnp.less_equal)
plain("IsNaN", jnp.isnan)
plain("Where", jnp.where)
plain("Sigmoid", jax.nn.sigmoid)
plain("Relu", jax.nn.relu)
plain("Softplus", lambda x: jnp.logaddexp(x, jnp.zeros((), x.dtype)))
plain("Softsign", lambda x: x / (1 + jnp.abs(x)))
plain("PRelu", lambda x, slope: jnp.where(x > 0, x, slope * x))
plain("Sum", lambda *x: reduce(jnp.add, x))
plain("Max", lambda *x: reduce(jnp.maximum, x))
plain("Min", lambda *x: reduce(jnp.minimum, x))
plain("Mean", lambda *x: reduce(jnp.add, x) / len(x))


@row("Div")
def _div(use: Use, a: Any, b: Any) -> Any:
    """Of integers, the quotient without its fraction."""
    a, b = jnp.broadcast_arrays(a, b)
    return jax.lax.div(a, b)


@row("Mod")
def _mod(use: Use, a: Any, b: Any) -> Any:
    return jnp.fmod(a, b) if use.int("fmod") else jnp.mod(a, b)


@row("Pow")
def _pow(use: Use, x: Any, y: Any) -> Any:
    return jnp.power(x, y).astype(x.dtype)


@row("BitShift")
def _shift(use: Use, x: Any, y: Any) -> Any:
    way = python.lshift if use.string("direction") == "LEFT" else python.rshift
    bits = jnp.iinfo(x.dtype).bits
    return jnp.where(y < bits, way(x, jnp.minimum(y, bits - 1)), jnp.zeros((), x.dtype))


@row("Cast")
def _cast(use: Use, x: Any) -> Any:
    return x.astype(jax.dtypes.canonicalize_dtype(ONNX_DTYPES[use.int("to")]))


@row("Clip")
def _clip(use: Use, x: Any, low: Any = None, high: Any = None) -> Any:
    """Where a limit is reached nothing flows back, as from the kernel."""
    if low is not None:
        x = jnp.where(x > low, x, low) if x.dtype.kind == "f" else jnp.maximum(x, low)
    if high is not None:
        x = jnp.where(x < high, x, high) if x.dtype.kind == "f" else jnp.minimum(x, high)
    return x


@row("LeakyRelu")
def _leaky_relu(use: Use, x: Any) -> Any:
    return jnp.where(x > 0, x, use.float("alpha") * x)


@row("Elu")
def _elu(use: Use, x: Any) -> Any:
    return jnp.where(x > 0, x, use.float("alpha") * jnp.expm1(_below(x)))


@row("Celu")
def _celu(use: Use, x: Any) -> Any:
    alpha = use.float("alpha")
    return jnp.where(x > 0, x, alpha * jnp.expm1(_below(x) / alpha))


@row("Selu")
def _selu(use: Use, x: Any) -> Any:
    below = use.float("alpha") * jnp.expm1(_below(x))
    return use.float("gamma") * jnp.where(x > 0, x, below)


@row("HardSigmoid")
def _hard_sigmoid(use: Use, x: Any) -> Any:
    inner = use.float("alpha") * x + use.float("beta")
    return jnp.where(inner > 0, jnp.where(inner < 1, inner, 1), 0).astype(x.dtype)


@row("HardSwish")
def _hard_swish(use: Use, x: Any) -> Any:
    return x * jnp.where(x > -3, jnp.where(x < 3, x / 6 + 0.5, 1), 0)


@row("ThresholdedRelu")
def _thresholded_relu(use: Use, x: Any) -> Any:
    return jnp.where(x > use.float("alpha"), x, 0)


@row("Shrink")
def _shrink(use: Use, x: Any) -> Any:
    bias, edge = jnp.asarray(use.float("bias"), x.dtype), use.float("lambd")
    return jnp.where(x < -edge, x + bias, jnp.where(x > edge, x - bias, jnp.zeros((), x.dtype)))
