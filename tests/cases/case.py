"""The table of cases: for every registered operator, uses of it that the tests compute, differentiate and compare.

To add an operator, add a row. Arrays are drawn away from kinks (0 for Relu) and ties (for Max), so that central
differences can check the gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from portable_nn.core.graph import Graph, Shape
from portable_nn.operators import Leaf, Symbol, constant, emit_all
from portable_nn.operators.registry import Array

_rng = np.random.default_rng(20)


@dataclass(frozen=True)
class Case:
    """One use of an operator.

    ``inputs`` are arrays, or ``None`` where an optional one is absent. Those in ``constants`` enter as Constant nodes,
    those in ``wrt`` are differentiated, and the first axis of those in ``batched`` may be of an unknown size.
    """

    operator: str
    inputs: tuple[Array | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    wrt: tuple[int, ...] = ()
    constants: tuple[int, ...] = ()
    batched: tuple[int, ...] = ()
    outputs: int = 1
    domain: str = ""

    def __str__(self) -> str:
        shapes = " ".join("-" if x is None else "x".join(map(str, x.shape)) or "scalar" for x in self.inputs)
        known = {name: value for name, value in self.attributes.items() if name != "value"}
        options = ",".join(f"{name}={_in_words(value)}" for name, value in known.items())
        return f"{self.operator} {shapes} {options}".replace(" ", "_").rstrip("_")

    def exists_in(self, dtype: str) -> bool:
        """Whether the standard defines the operator for floats of this type."""
        return dtype == "float32" or self.operator not in {"Celu", "RotaryEmbedding"}

    def cast(self, dtype: str) -> tuple[Array | None, ...]:
        """The inputs with ``dtype`` for every double; what must be of another float type is given in it."""
        floats = [x is not None and x.dtype == np.float64 for x in self.inputs]
        return tuple(
            x.astype(dtype) if x is not None and is_float else x
            for x, is_float in zip(self.inputs, floats, strict=True)
        )

    def build(self, dtype: str, batch: str | None = None) -> tuple[list[Leaf], tuple[Symbol, ...]]:
        """The leaves ``x0``, ``x1``, … of the inputs that are no constants, and the outputs of the node."""
        symbols = [
            None if x is None else constant(x, x.dtype.name) if index in self.constants else self._leaf(index, x, batch)
            for index, x in enumerate(self.cast(dtype))
        ]
        outputs = emit_all(
            self.operator, *symbols, outputs=self.outputs, name="node", domain=self.domain, **self.attributes
        )
        return [symbol for symbol in symbols if isinstance(symbol, Leaf)], outputs

    def _leaf(self, index: int, x: Array, batch: str | None) -> Leaf:
        shape: Shape = (batch, *x.shape[1:]) if batch and index in self.batched else x.shape
        return Leaf(f"x{index}", x.dtype.name, shape)

    def feeds(self, dtype: str) -> dict[str, Array]:
        """The arrays of those leaves."""
        return {f"x{i}": x for i, x in enumerate(self.cast(dtype)) if x is not None and i not in self.constants}


def _in_words(value: object) -> object:
    return value[0].name if isinstance(value, tuple) and value and isinstance(value[0], Graph) else value


def real(*shape: int) -> Array:
    """Numbers of both signs, none near 0 and no two near each other."""
    return np.asarray(positive(*shape) * _rng.choice([-1.0, 1.0], shape))


def positive(*shape: int) -> Array:
    """Numbers from 0.3 to 1.8, no two near each other."""
    size = int(np.prod(shape))
    apart = (_rng.permutation(size) + _rng.uniform(0.1, 0.9, size)) / max(size, 1)
    return np.asarray(apart.reshape(shape) * 1.5 + 0.3)


def whole(*shape: int, low: int = -9, high: int = 10, dtype: str = "int64") -> Array:
    return _rng.integers(low, high, shape).astype(dtype)


def truth(*shape: int) -> Array:
    return _rng.random(shape) < 0.5


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def floats(*values: float) -> Array:
    return np.array(values)


def scalar(value: Any, dtype: str = "float64") -> Array:
    return np.array(value, dtype)
