"""What the first values of parameters are drawn from.

``fan_in`` is the number of inputs of one unit, ``fan_out`` that of the units that one input reaches: for a weight
(out, in) they are in and out; for a kernel (out, in / groups, …) both are counted for each cell of it, as PyTorch does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import numpy as np

from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.core.memory import aligned_copy
from portable_nn.operators.registry import Array

Initial: TypeAlias = "str | float | Array | Callable[[np.random.Generator, tuple[int, ...]], Array]"


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """``(fan_in, fan_out)`` of a weight (out, in) or a kernel (out, in / groups, …); of a vector, its length twice."""
    if len(shape) < 2:
        size = shape[0] if shape else 1
        return size, size
    area = math.prod(shape[2:])
    return shape[1] * area, shape[0] * area


def _normal(variance: Callable[[int, int], float]) -> Callable[[np.random.Generator, tuple[int, ...]], Array]:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return rng.normal(0.0, math.sqrt(variance(*fans(shape))), shape)

    return draw


def _uniform(variance: Callable[[int, int], float]) -> Callable[[np.random.Generator, tuple[int, ...]], Array]:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        limit = math.sqrt(3 * variance(*fans(shape)))
        return rng.uniform(-limit, limit, shape)

    return draw


def _glorot(fan_in: int, fan_out: int) -> float:
    """Glorot and Bengio, AISTATS 2010."""
    return 2 / (fan_in + fan_out)


def _he(fan_in: int, fan_out: int) -> float:
    """He et al., ICCV 2015."""
    return 2 / fan_in


def _lecun(fan_in: int, fan_out: int) -> float:
    """LeCun et al., "Efficient BackProp", 1998."""
    return 1 / fan_in


INITIALIZERS: Final[Mapping[str, Callable[[np.random.Generator, tuple[int, ...]], Array]]] = {
    "glorot_normal": _normal(_glorot),
    "glorot_uniform": _uniform(_glorot),
    "he_normal": _normal(_he),
    "he_uniform": _uniform(_he),
    "lecun_normal": _normal(_lecun),
    "lecun_uniform": _uniform(_lecun),
    "book": _normal(_lecun),
    "zeros": lambda rng, shape: np.zeros(shape),
    "ones": lambda rng, shape: np.ones(shape),
}
"""By name. ``book`` is T. Rashid's normal(0, fan_in^-0.5), which is LeCun's."""


def initial_values(initial: Initial, rng: np.random.Generator, shape: tuple[int, ...], dtype: str, name: str) -> Array:
    """An array of ``shape`` by an initializer's name, a number, an array, or a function of ``(rng, shape)``.

    Raises ``UsageError`` for an unknown name and ``ShapeError`` for values of another shape.
    """
    if isinstance(initial, str):
        if initial not in INITIALIZERS:
            raise UsageError(f"{name}: initializer must be one of {', '.join(INITIALIZERS)}, not {initial!r}")
        initial = INITIALIZERS[initial]
    values = np.asarray(initial(rng, shape) if callable(initial) else initial)
    if values.shape not in {(), shape}:
        raise ShapeError(f"{name}: initial values have shape {values.shape}, not {shape}")
    return aligned_copy(np.broadcast_to(values, shape), dtype)
