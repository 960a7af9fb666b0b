"""The operators of the graph in JAX: importing this package imports JAX."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from portable_nn.converters.array import ROWS
from portable_nn.converters.array.use import ArrayUse
from portable_nn.converters.jax.operators.functions import DIALECT
from portable_nn.converters.jax.operators.own import OWN, constant_of

EXPRESSED: Final = {*ROWS, *OWN} - {"NonZero"}
"""The operators that are computed as they are; JAX has no array of a size that data decide."""


def compute_of(use: ArrayUse) -> Callable[..., Any] | None:
    """The function that computes a node from its inputs, ``None`` for one that is left out; ``None`` without a row."""
    own = OWN.get(use.operator.name)
    if own:
        return partial(own, use)
    return (constant_of(use) if use.operator.name in ROWS else None) or DIALECT.compute(use)
