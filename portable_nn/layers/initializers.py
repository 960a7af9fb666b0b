"""Initializers: what the first values of parameters are drawn from.

A layer takes one by name, or a number, an array, or a function of a random generator and the shape:

>>> import portable_nn as pnn
>>> layer = pnn.Dense(200, weight_initial="he_normal", bias_initial=0.1)
>>> layer = pnn.Dense(200, weight_initial=lambda rng, shape: rng.uniform(-0.1, 0.1, shape))

In the table, every ``_normal`` is a normal and every ``_uniform`` a uniform distribution of mean 0:

    glorot_…   variance 2 / (fan_in + fan_out): Glorot and Bengio, AISTATS 2010; also called Xavier
    he_…       variance 2 / fan_in: He et al., ICCV 2015; also called Kaiming
    lecun_…    variance 1 / fan_in: LeCun et al., "Efficient BackProp", 1998
    book       the same as lecun_normal: T. Rashid, "Make Your Own Neural Network", 2016
    zeros, ones

``fan_in`` is the number of inputs of one unit, ``fan_out`` the number of units that one input reaches. A weight (out,
in) has fan_in = in and fan_out = out; for a kernel (out, in / groups, …) both are multiplied by its number of cells, as
in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeAlias

import numpy as np

from portable_nn.core.arrays import as_array, check_range
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.core.memory import aligned_copy
from portable_nn.operators.registry import Array
from portable_nn.operators.symbols import Leaf
from portable_nn.operators.tracing import Traced

Draw: TypeAlias = "Callable[[np.random.Generator, tuple[int, ...]], Array]"
Initial: TypeAlias = "str | float | Array | Draw"


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """``(fan_in, fan_out)`` of a weight (out, in) or a kernel (out, in / groups, …); of a vector, its length twice."""
    if len(shape) < 2:
        size = shape[0] if shape else 1
        return size, size
    area = math.prod(shape[2:])
    return shape[1] * area, shape[0] * area


def _normal(variance: Callable[[int, int], float], rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.normal(0.0, math.sqrt(variance(*fans(shape))), shape)


def _uniform(variance: Callable[[int, int], float], rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    limit = math.sqrt(3 * variance(*fans(shape)))
    return rng.uniform(-limit, limit, shape)


_VARIANCES: Final[Mapping[str, Callable[[int, int], float]]] = {
    "glorot": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "he": lambda fan_in, fan_out: 2 / fan_in,
    "lecun": lambda fan_in, fan_out: 1 / fan_in,
}
"""The variance of the first values from fan_in and fan_out."""

INITIALIZERS: Final[Mapping[str, Draw]] = {
    **{
        f"{scheme}_{kind}": partial(distribution, variance)
        for scheme, variance in _VARIANCES.items()
        for kind, distribution in (("normal", _normal), ("uniform", _uniform))
    },
    "book": partial(_normal, _VARIANCES["lecun"]),
    "zeros": lambda rng, shape: np.zeros(shape),
    "ones": lambda rng, shape: np.ones(shape),
}
"""By name."""


def initial_parameters(traced: Traced, rng: np.random.Generator) -> dict[str, Array]:
    """The initial values of the parameters of a graph by name, drawn in their order."""
    leaves = {name: symbol for symbol, name in traced.names.items() if isinstance(symbol, Leaf)}
    found = {}
    for value in traced.graph.parameters:
        shape = tuple(int(dim) for dim in value.shape)
        found[value.name] = initial_values(leaves[value.name].initial, rng, shape, value.dtype, value.name)
    return found


def initial_values(initial: Initial, rng: np.random.Generator, shape: tuple[int, ...], dtype: str, name: str) -> Array:
    """The first values of a parameter, (\\*shape).

    Args:
        initial: an initializer's name, a number, an array of that shape, or a function of ``(rng, shape)``.
        rng: the random generator that values are drawn from.
        shape: the shape of the parameter.
        dtype: its element type.
        name: its name, for messages.

    Raises ``UsageError`` for an unknown name and ``ShapeError`` for values of another shape.
    """
    if isinstance(initial, str):
        if initial not in INITIALIZERS:
            raise UsageError(f"{name}: initializer must be one of {', '.join(INITIALIZERS)}, not {initial!r}")
        initial = INITIALIZERS[initial]
    values = as_array(initial(rng, shape) if callable(initial) else initial, f"{name}: the initial value")
    if values.shape not in {(), shape}:
        raise ShapeError(f"{name}: initial values have shape {values.shape}, not {shape}")
    check_range(values, dtype, f"{name}: the initial value")
    return aligned_copy(np.broadcast_to(values, shape), dtype)
